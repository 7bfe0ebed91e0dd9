package kernel

// Convolution is a matrix product whose rows are gathered. An output pixel
// reads KH runs of KW*C consecutive elements of its image, as images are NHWC,
// if the image carries its zero padding along. So each item of work copies a
// few images (or a band of rows of a large one) into a padded scratch image
// that stays in the second-level cache, and the micro-kernels read their rows
// from there through a table of offsets: no im2col.
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
	gradPixels   = 256      // output pixels per step of a weight gradient, at most
	padFloats    = 96 << 10 // padded images per item of work, unless one row needs more
	gradFloats   = 1 << 21  // weight gradients of pieces of the batch, together
	minBand      = 4        // rows of a band, though they have more pixels: bands overlap by a kernel
	maxGradParts = 16
)

// A work cuts N images into items: some whole images, or a band of one.
type work struct {
	images    int // per item
	band      int // rows per item; all of them if images > 1
	bands     int // per image
	items     int
	totalRows int
	n         int
}

// cut makes items of about pixels pixels, given rows x cols pixels per image
// and the floats of scratch memory that a row takes.
func cut(n, rows, cols, pixels, rowFloats int) work {
	k := work{images: 1, band: rows, bands: 1, totalRows: rows, n: n}
	limit := max(1, min(max(pixels/cols, minBand), padFloats/rowFloats)) // rows
	if rows <= limit {
		k.images = min(limit/rows, max(1, n))
	} else {
		k.band = limit
		k.bands = ceilDiv(rows, limit)
	}
	k.items = ceilDiv(n, k.images) * k.bands
	return k
}

// item returns the images [n0, n1) and rows [r0, r1) of item i.
func (k work) item(i int) (n0, n1, r0, r1 int) {
	n0 = i / k.bands * k.images
	r0 = i % k.bands * k.band
	return n0, min(n0+k.images, k.n), r0, min(r0+k.band, k.totalRows)
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
	q.work = cut(s.N, s.OutH(), s.OutW(), convRows, s.Stride*(s.W+2*s.Pad)*s.C)
	p.then.start(e, y, s.N*s.OutH()*s.OutW(), s.OutC, q.work.items)
	q.loop(forward, q.work.items)
	p.then.end()
	q.end()
}

// ConvWeightGrad overwrites dw with the gradient of ConvForward's weights,
// given its input x and the gradient dy of its output.
func (p *Pool) ConvWeightGrad(dw, x, dy []float32, s ConvShape) {
	s.check(x, dw, dy)
	if v := p.winogradFor(s, WeightGrad); v != nil {
		p.winogradWeightGrad(dw, x, dy, s, v)
		return
	}
	q := p.startConv(s, x, dw, dy)
	q.work = cut(s.N, s.OutH(), s.OutW(), gradPixels, s.Stride*(s.W+2*s.Pad)*s.C)
	q.partSize = s.KH * s.KW * s.C * s.OutC
	if s.N == 0 {
		clear(dw[:q.partSize])
		return
	}
	q.parts = min(max(gradFloats/q.partSize, 2), maxGradParts, q.work.items)
	q.splits = min(ceilDiv(minTasks, q.parts), ceilDiv(s.OutC, q.t.nr))
	p.partial = grow(p.partial, q.parts*q.partSize)
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
	q.loop(packPhases, len(q.phases))
	q.loop(inputGrad, q.work.items)
	q.end()
}

func (p *Pool) startConv(s ConvShape, x, w, y []float32) *convTask {
	q := &p.conv
	*q = convTask{p: p, t: active, s: s, x: x, w: w, y: y, phases: q.phases[:0]}
	return q
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
		q.packPhase(&q.phases[i])
	case forward:
		q.forwardItem(w, i)
	case inputGrad:
		q.inputGradItem(w, i)
	case weightGrad:
		q.weightGradPart(w, i/q.splits, i%q.splits)
	case addParts:
		q.addParts(i*elemChunk, min((i+1)*elemChunk, q.partSize))
	}
}

// images prepares the windows of output rows [r0, r1) of images [n0, n1): it
// returns the memory they lie in, from the first window on, and the distances
// between rows and between images there. Without padding they lie where they
// are.
func (q *convTask) images(w *workspace, n0, n1, r0, r1 int) (a []float32, row, image int) {
	s := &q.s
	if s.Pad == 0 {
		return q.x[(n0*s.H+r0*s.Stride)*s.W*s.C:], s.W * s.C, s.H * s.W * s.C
	}
	rows, cols := (r1-r0-1)*s.Stride+s.KH, (s.OutW()-1)*s.Stride+s.KW
	row, image = cols*s.C, rows*cols*s.C
	w.a = grow(w.a, (n1-n0)*image)
	for n := n0; n < n1; n++ {
		padImage(w.a[(n-n0)*image:], q.x[n*s.H*s.W*s.C:], s.H, s.W, s.C, r0*s.Stride-s.Pad, -s.Pad, rows, cols)
	}
	return w.a, row, image
}

// padImage copies the rows x cols pixels from (top, left) on of an h x w image
// of c channels, with zeros outside it.
func padImage(dst, src []float32, h, w, c, top, left, rows, cols int) {
	lo, hi := min(max(-left, 0), cols), min(max(w-left, 0), cols)
	for r := range rows {
		d := dst[r*cols*c:][:cols*c]
		if y := top + r; y < 0 || y >= h || lo >= hi {
			clear(d)
		} else {
			clear(d[:lo*c])
			copy(d[lo*c:hi*c], src[(y*w+left+lo)*c:])
			clear(d[hi*c:])
		}
	}
}

// positions are those of images x rows x cols elements that are image, row and
// col apart. They are kept, as most items of work have the same shape.
type positions struct {
	shape [6]int
	at    []int
}

func (p *positions) of(images, image, rows, row, cols, col int) []int {
	shape := [6]int{images, image, rows, row, cols, col}
	if p.shape == shape {
		return p.at
	}
	p.shape, p.at = shape, p.at[:0]
	for n := range images {
		for r := range rows {
			for c := range cols {
				p.at = append(p.at, n*image+r*row+c*col)
			}
		}
	}
	return p.at
}

// forwardItem computes the output pixels of one item.
func (q *convTask) forwardItem(w *workspace, i int) {
	s := &q.s
	n0, n1, r0, r1 := q.work.item(i)
	a, row, image := q.images(w, n0, n1, r0, r1)
	outH, outW := s.OutH(), s.OutW()
	off := w.from.of(n1-n0, image, r1-r0, row*s.Stride, outW, s.C*s.Stride)
	y := q.y[(n0*outH+r0)*outW*s.OutC:]
	w.windows(q.t, y, w.to.of(1, 0, 1, 0, len(off), s.OutC), a, off, q.p.packed, s.OutC, s.KH, s.KW*s.C, row)
	q.p.then.apply(q.t, i, (n0*outH+r0)*outW, len(off), 0, s.OutC)
}

// windows multiplies windows of runs x runLen elements, whose runs are row
// apart, by n columns of packed B in blocks of about kBlock.
func (w *workspace) windows(t *tier, c []float32, cOff []int, a []float32, aOff []int, b []float32, n, runs, runLen, row int) {
	panel := runs * runLen * t.nr
	if runLen > kBlock {
		for r := range runs {
			for l := 0; l < runLen; l += kBlock {
				w.rows(t, c, cOff, a[r*row+l:], aOff, b[(r*runLen+l)*t.nr:], panel, n, 1, min(kBlock, runLen-l), 0, r+l > 0)
			}
		}
		return
	}
	step := kBlock * 5 / 4 / runLen // 3 x 96 fits as a whole
	for r := 0; r < runs; r += step {
		w.rows(t, c, cOff, a[r*row:], aOff, b[r*runLen*t.nr:], panel, n, min(step, runs-r), runLen, row, r > 0)
	}
}

// A convPhase is the part of an input gradient for input rows ih with
// (ih + Pad) mod Stride = kh0 and columns with (iw + Pad) mod Stride = kw0.
type convPhase struct {
	kh0, kw0   int // first tap
	taps, wide int // taps in each axis
	packed     int // position of its weights
}

// planPhases lists the phases and cuts the input into items. Row and column
// numbers of items are quotients: input row ih is in row (ih+Pad)/Stride.
func (q *convTask) planPhases() {
	s, size := &q.s, 0
	for kh := range s.Stride {
		for kw := range s.Stride {
			ph := convPhase{kh, kw, ceilDiv(max(s.KH-kh, 0), s.Stride), ceilDiv(max(s.KW-kw, 0), s.Stride), size}
			q.phases = append(q.phases, ph)
			size += ph.taps * ph.wide * s.OutC * ceilDiv(s.C, q.t.nr) * q.t.nr
		}
	}
	q.p.packed = grow(q.p.packed, size)
	first, last := quotients(s.H, s)
	left, right := quotients(s.W, s)
	cols := right - left + ceilDiv(s.KW, s.Stride)
	q.work = cut(s.N, last-first+1, right-left+1, convRows, cols*s.OutC)
}

// quotients returns the first and last (i + Pad) / Stride over i < size.
func quotients(size int, s *ConvShape) (first, last int) {
	return s.Pad / s.Stride, (size - 1 + s.Pad) / s.Stride
}

// packPhase packs the weights of a phase, transposed and with the taps
// reversed: k runs over (tap row, tap column, output channel).
func (q *convTask) packPhase(ph *convPhase) {
	s, nr := &q.s, q.t.nr
	k := ph.taps * ph.wide * s.OutC
	for j := 0; j < s.C; j += nr {
		dst := q.p.packed[ph.packed+j*k:]
		for th := range ph.taps {
			for tw := range ph.wide {
				kh, kw := ph.kh0+s.Stride*(ph.taps-1-th), ph.kw0+s.Stride*(ph.wide-1-tw)
				src := q.w[((kh*s.KW+kw)*s.C+j)*s.OutC:]
				packPanel(q.t, dst[(th*ph.wide+tw)*s.OutC*nr:], src, s.OutC, true, min(nr, s.C-j), s.OutC)
			}
		}
	}
}

// inputGradItem computes the input gradient of one item, phase by phase.
func (q *convTask) inputGradItem(w *workspace, i int) {
	s := &q.s
	n0, n1, r0, r1 := q.work.item(i)
	first, _ := quotients(s.H, s)
	left, right := quotients(s.W, s)
	q0, q1 := first+r0, first+r1
	maxTaps, maxWide := ceilDiv(s.KH, s.Stride), ceilDiv(s.KW, s.Stride)
	rows, cols := q1-q0+maxTaps-1, right-left+maxWide
	image := rows * cols * s.OutC
	w.a = grow(w.a, (n1-n0)*image)
	outH, outW := s.OutH(), s.OutW()
	for n := n0; n < n1; n++ {
		padImage(w.a[(n-n0)*image:], q.y[n*outH*outW*s.OutC:], outH, outW, s.OutC, q0-maxTaps+1, left-maxWide+1, rows, cols)
	}
	for j := range q.phases {
		ph := &q.phases[j]
		y0, y1 := phaseRange(q0, q1, ph.kh0, s.H, s)
		x0, x1 := phaseRange(left, right+1, ph.kw0, s.W, s)
		if y0 >= y1 || x0 >= x1 {
			continue
		}
		start := ((y0-q0+maxTaps-ph.taps)*cols + x0 - left + maxWide - ph.wide) * s.OutC
		off := w.from.of(n1-n0, image, y1-y0, cols*s.OutC, x1-x0, s.OutC)
		to := w.to.of(n1-n0, s.H*s.W*s.C, y1-y0, s.Stride*s.W*s.C, x1-x0, s.Stride*s.C)
		dx := q.x[((n0*s.H+y0*s.Stride+ph.kh0-s.Pad)*s.W+x0*s.Stride+ph.kw0-s.Pad)*s.C:]
		if ph.taps == 0 || ph.wide == 0 {
			for _, off := range to {
				clear(dx[off : off+s.C])
			}
			continue
		}
		w.windows(q.t, dx, to, w.a[start:], off, q.p.packed[ph.packed:], s.C, ph.taps, ph.wide*s.OutC, cols*s.OutC)
	}
}

// phaseRange narrows the quotients [lo, hi) to those whose input position
// quotient*Stride + phase - Pad is inside 0..size-1.
func phaseRange(lo, hi, phase, size int, s *ConvShape) (int, int) {
	if lo*s.Stride+phase < s.Pad {
		lo++
	}
	if (hi-1)*s.Stride+phase-s.Pad >= size {
		hi--
	}
	return lo, hi
}

// weightGradPart adds up the weight gradient over one part of the items, for
// one group of the panels of output channels.
func (q *convTask) weightGradPart(w *workspace, part, split int) {
	s, t := &q.s, q.t
	panels := ceilDiv(s.OutC, t.nr)
	j0 := panels * split / q.splits * t.nr
	j1 := min(panels*(split+1)/q.splits*t.nr, s.OutC)
	dst := q.p.partial[part*q.partSize:][:q.partSize]
	first, end := q.work.items*part/q.parts, q.work.items*(part+1)/q.parts
	for i := first; i < end; i++ {
		n0, n1, r0, r1 := q.work.item(i)
		a, row, image := q.images(w, n0, n1, r0, r1)
		off := w.from.of(n1-n0, image, r1-r0, row*s.Stride, s.OutW(), s.C*s.Stride)
		taps := w.taps.of(1, 0, s.KH, row, s.KW*s.C, 1)
		dy := q.y[(n0*s.OutH()+r0)*s.OutW()*s.OutC:]
		for l := 0; l < len(off); l += gradPixels {
			k := min(gradPixels, len(off)-l)
			w.b = grow(w.b, ceilDiv(j1-j0, t.nr)*t.nr*k)
			for j := j0; j < j1; j += t.nr {
				packPanel(t, w.b[(j-j0)*k:], dy[l*s.OutC+j:], s.OutC, false, min(t.nr, s.OutC-j), k)
			}
			w.cols(t, dst[j0:], s.OutC, a, taps, off[l:], w.b, t.nr*k, j1-j0, k, i > first || l > 0)
		}
	}
}

// addParts adds the parts of elements [lo, hi) of the weight gradient in order.
func (q *convTask) addParts(lo, hi int) {
	dw := q.w[lo:hi]
	copy(dw, q.p.partial[lo:hi])
	for part := 1; part < q.parts; part++ {
		Axpy(dw, 1, q.p.partial[part*q.partSize+lo:][:hi-lo])
	}
}
