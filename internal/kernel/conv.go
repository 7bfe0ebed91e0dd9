package kernel

// Convolution is a matrix product whose rows are gathered. An output pixel
// reads KH runs of KW*C consecutive elements of its image, as images are NHWC,
// if the image carries its zero padding along. So each item of work copies a
// few images (or a band of rows of a large one) into a padded scratch image
// that stays in the second-level cache, and the micro-kernels read their rows
// from there through a table of offsets: no im2col.
//
// Where images are small, so that much of what a padded window holds is zeros,
// items are whole images instead, and the pixels that meet the same taps form
// products of their own, without the others: see clip.
//
//   - Forward: rows are output pixels, k runs over (kh, kw, c).
//   - Weight gradient: rows are (kh, kw, c), k runs over output pixels.
//   - Input gradient: an input row ih belongs to the phase r = (ih+Pad) mod
//     Stride and receives from the filter rows kh = r + Stride j, each through
//     output row (ih+Pad)/Stride - j. So each of the Stride x Stride phases is
//     a convolution of stride 1 over dy with a part of the filter, reversed.
//     Every filter element is in exactly one phase, whatever the sizes: even
//     kernels, and strides that leave pixels over, need no special case.

// ConvShape is the shape of a two-dimensional convolution: N images of H x W
// pixels with C channels, OutC filters of KH x KW, one stride and one zero
// padding for both axes.
type ConvShape struct{ N, H, W, C, OutC, KH, KW, Stride, Pad int }

// OutH returns the output height, floor((H + 2 Pad - KH) / Stride) + 1.
func (s ConvShape) OutH() int { return (s.H+2*s.Pad-s.KH)/s.Stride + 1 }

// OutW returns the output width, floor((W + 2 Pad - KW) / Stride) + 1.
func (s ConvShape) OutW() int { return (s.W+2*s.Pad-s.KW)/s.Stride + 1 }

// Flops returns the multiplications and additions of a direct convolution, and
// of either of its gradients, as a float64: those with the padding included.
func (s ConvShape) Flops() float64 {
	return 2 * float64(s.N) * float64(s.OutH()*s.OutW()) * float64(s.OutC) * float64(s.KH*s.KW*s.C)
}

// check panics unless the shape is sensible and the slices are long enough.
func (s ConvShape) check(x, w, y []float32) {
	if s.N < 0 || s.H < 1 || s.W < 1 || s.C < 1 || s.OutC < 1 || s.KH < 1 || s.KW < 1 || s.Stride < 1 || s.Pad < 0 {
		panic("kernel: convolution size out of range")
	}
	if s.H+2*s.Pad < s.KH || s.W+2*s.Pad < s.KW {
		panic("kernel: convolution kernel larger than its padded input")
	}
	need(x, s.N*s.H*s.W*s.C)
	need(w, s.KH*s.KW*s.C*s.OutC)
	need(y, s.N*s.OutH()*s.OutW()*s.OutC)
}

const (
	convRows     = 384      // output pixels per item of work, about
	gradPixels   = 512      // output pixels per step of a weight gradient, at most
	padFloats    = 96 << 10 // padded images per item of work, unless one row needs more
	gradFloats   = 1 << 21  // weight gradients of pieces of the batch, together
	minBand      = 4        // rows of a band, though they have more pixels: bands overlap by a kernel
	maxGradParts = 16
)

// A work cuts n images of so many rows into items: some whole images, or a band
// of one.
type work struct {
	n, rows int
	images  int // per item
	band    int // rows per item; all of them if images > 1
	bands   int // per image
	items   int
}

func newWork(n, rows, images, band int) work {
	bands := ceilDiv(rows, band)
	return work{n: n, rows: rows, images: images, band: band, bands: bands, items: ceilDiv(n, images) * bands}
}

// cut makes items of about pixels pixels, given rows x cols pixels per image
// and the floats of scratch memory that a row takes.
func cut(n, rows, cols, pixels, rowFloats int) work {
	limit := max(1, min(max(pixels/cols, minBand), padFloats/rowFloats)) // rows
	if rows <= limit {
		return newWork(n, rows, min(limit/rows, max(1, n)), rows)
	}
	return newWork(n, rows, 1, limit)
}

// item returns the images [n0, n1) and rows [r0, r1) of item i.
func (k work) item(i int) (n0, n1, r0, r1 int) {
	n0 = i / k.bands * k.images
	r0 = i % k.bands * k.band
	return n0, min(n0+k.images, k.n), r0, min(r0+k.band, k.rows)
}

type convKind int

const (
	packWeights convKind = iota
	packPhases
	forward
	inputGrad
	weightGrad
	addParts
)

// convTask is the convolution, or gradient of one, in progress.
type convTask struct {
	p        *Pool
	t        *tier
	kind     convKind
	s        ConvShape
	x, w, y  []float32 // or their gradients
	work     work
	clipped  bool // windows end at the border of the image: see conv_clipped.go
	clips    []clip
	from, to []int    // positions of windows and results of an item
	places   []places // the same for the phases of an input gradient
	taps     []int    // positions of the filter's taps in a window
	pixels   []int    // pairs of positions: of a window, and of its row of dy
	met      [][]int  // the same for each tap, of clipped windows
	unpacked bool     // a weight gradient reads dy in place
	phases   []convPhase
	parts    int // pieces of the batch with a weight gradient of their own
	splits   int // parts that the panels are split into
	partSize int
}

// ConvForward computes y = x * w (cross-correlation, as everywhere in deep
// learning): y[n,oh,ow,o] = sum over kh, kw, c of
// x[n, oh Stride + kh - Pad, ow Stride + kw - Pad, c] w[kh,kw,c,o], where
// pixels outside the image are zero. x is [N,H,W,C], w is [KH,KW,C,OutC] and y
// is [N,OutH,OutW,OutC].
func (p *Pool) ConvForward(y, x, w []float32, s ConvShape) {
	p.ConvForwardThen(y, x, w, s, Epilogue{})
}

// ConvForwardThen is ConvForward, then what e says for the output.
func (p *Pool) ConvForwardThen(y, x, w []float32, s ConvShape, e Epilogue) {
	s.check(x, w, y)
	if v := p.winogradFor(s, Forward); v != nil {
		p.winogradForward(y, x, w, s, v, e)
		return
	}
	q := p.startConv(s, x, w, y)
	k, panels := s.KH*s.KW*s.C, ceilDiv(s.OutC, q.t.nr)
	p.packed = grow(p.packed, panels*q.t.nr*k)
	q.loop(packWeights, panels)
	q.planForward()
	p.then.start(e, y, s.N*s.OutH()*s.OutW(), s.OutC, q.work.items)
	q.loop(forward, q.work.items*q.splits)
	p.then.end()
	q.end()
}

// ConvWeightGrad overwrites dw with the gradient of ConvForward's weights,
// given its input x and the gradient dy of its output.
func (p *Pool) ConvWeightGrad(dw, x, dy []float32, s ConvShape) {
	s.check(x, dw, dy)
	size := s.KH * s.KW * s.C * s.OutC
	if s.N == 0 {
		clear(dw[:size])
		return
	}
	if v := p.winogradFor(s, WeightGrad); v != nil {
		p.winogradWeightGrad(dw, x, dy, s, v)
		return
	}
	q := p.startConv(s, x, dw, dy)
	q.planWeightGrad()
	q.partSize = size
	q.parts = min(max(gradFloats/q.partSize, 2), maxGradParts, q.work.items)
	q.splits = min(ceilDiv(2*minTasks, q.parts), ceilDiv(s.OutC, q.t.nr))
	p.partial = grow(p.partial, q.parts*q.partSize)
	if !q.unpacked {
		columns := (ceilDiv(s.OutC, q.t.nr)/q.splits + 1) * q.t.nr
		p.reserve(0, q.work.images*q.work.band*s.OutW()*columns)
	}
	q.loop(weightGrad, q.parts*q.splits)
	q.loop(addParts, ceilDiv(q.partSize, elemChunk))
	q.end()
}

// ConvInputGrad overwrites dx with the gradient of ConvForward's input, given
// the gradient dy of its output. Input pixels that no filter reached get zero.
func (p *Pool) ConvInputGrad(dx, dy, w []float32, s ConvShape) {
	s.check(dx, w, dy)
	if v := p.winogradFor(s, InputGrad); v != nil {
		p.winogradInputGrad(dx, dy, w, s, v)
		return
	}
	q := p.startConv(s, dx, w, dy)
	q.planPhases()
	q.loop(packPhases, len(q.phases)*ceilDiv(s.C, q.t.nr))
	q.loop(inputGrad, q.work.items*q.splits)
	q.end()
}

func (p *Pool) startConv(s ConvShape, x, w, y []float32) *convTask {
	q := &p.conv
	*q = convTask{
		p: p, t: active, s: s, x: x, w: w, y: y, splits: 1, phases: q.phases[:0], clips: q.clips,
		from: q.from, to: q.to, places: q.places, taps: q.taps, pixels: q.pixels, met: q.met,
	}
	return q
}

// split cuts the n columns of the result into groups of panels where there are
// few items otherwise.
func (q *convTask) split(n int) {
	q.splits = min(ceilDiv(2*minTasks, max(1, q.work.items)), ceilDiv(n, q.t.nr))
}

// columns returns the columns [j0, j1), of n, of a group of panels.
func (q *convTask) columns(split, n int) (j0, j1 int) {
	panels := ceilDiv(n, q.t.nr)
	return panels * split / q.splits * q.t.nr, min(panels*(split+1)/q.splits*q.t.nr, n)
}

func (q *convTask) loop(kind convKind, items int) {
	q.kind = kind
	s := &q.s
	q.p.loopUnless(s.N*s.OutH()*s.OutW()*s.KH*s.KW*s.C*s.OutC <= tinyWork, items, q)
}

// end drops the caller's slices.
func (q *convTask) end() { q.x, q.w, q.y = nil, nil, nil }

func (q *convTask) run(worker, i int) {
	w := &q.p.space[worker]
	switch q.kind {
	case packWeights:
		s, nr := &q.s, q.t.nr
		k := s.KH * s.KW * s.C
		packPanel(q.t, q.p.packed[i*nr*k:][:nr*k], q.w[i*nr:], s.OutC, false, min(nr, s.OutC-i*nr), k)
	case packPhases:
		panels := ceilDiv(q.s.C, q.t.nr)
		q.packPhase(&q.phases[i/panels], i%panels*q.t.nr)
	case forward:
		j0, j1 := q.columns(i%q.splits, q.s.OutC)
		q.forwardItem(w, i/q.splits, j0, j1)
	case inputGrad:
		j0, j1 := q.columns(i%q.splits, q.s.C)
		q.inputGradItem(w, i/q.splits, j0, j1)
	case weightGrad:
		q.weightGradPart(w, i/q.splits, i%q.splits)
	case addParts:
		sumChunk(q.w, q.p.partial, q.parts, i)
	}
}
