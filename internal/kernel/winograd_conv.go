package kernel

// A convolution of stride 1 by Winograd's method: tiles of the input, padded,
// are transformed to V, [cell][group of channels][tile][lanes], the filters to
// U, [panel of outputs][cell][channel][2 lanes], one matrix product per cell
// gives M, [cell][tile][2 lanes], and its transform goes to the output.
//
//   - Where U is small it is computed ahead, and an item of work takes a few
//     tiles through all the steps, within the second-level cache.
//   - Where U is large, V is computed ahead, in pieces of bounded size, and an
//     item takes more tiles through the products with one panel, transforming
//     its filters block by block: 4 times less to read than U.
//
// A convolution of stride 2 with an even kernel is one of stride 1 with half
// the kernel: of the input folded to a quarter of the pixels with four times
// the channels or, for the gradient, four of them, one for each phase of the
// pixels of the result (compare conv.go).

// winogradLimits are sizes that decide how the work is cut, and with it the
// order of sums. Tests lower them.
var winogradLimits = struct {
	fused   int // elements of V in an item that does all steps
	panel   int // elements of M in an item that does one panel
	ahead   int // elements of U computed ahead, at most
	filters int // elements of a block of U computed by an item
	inputs  int // elements of V computed ahead at a time, about
}{96 << 10, 144 << 10, 1 << 20, 64 << 10, 4 << 20}

type winogradStep int

const (
	winogradU winogradStep = iota
	winogradV
	winogradAll
	winogradPanel
	winogradGradPart
	winogradAddParts
)

// winogradTask is the convolution by Winograd's method in progress.
type winogradTask struct {
	p    *Pool
	t    *tier
	k    *winogradTier
	v    *winogradVariant
	f    *winogradTransforms
	step winogradStep
	s    ConvShape
	grad bool // the gradient to the input

	src, w, dst   []float32
	h, wide, c    int // of an image of src
	fold          int // pixels of src in each axis that fold to one
	inner, innerP int // channels that the products add up over; whole groups
	n, panels     int // channels of the result; of each phase
	phases        []winogradPhase
	cut           tileCut
	tiles         int  // rows of V and M of one item
	vCell, mCell  int  // distances of cells
	ahead         bool // U is computed ahead, else V
	block         int  // inner channels of a block of U
	uCell         int  // distance of cells in it
	times, time   int  // that V is computed ahead in, and the present one
	parts, blocks int  // of a weight gradient
	strips, strip int  // of channels of dy, and their length

	in    []float32 // V; U and weight gradients of parts are in memory of the pool
	space []winogradSpace
}

// winogradSpace is the scratch memory of one worker.
type winogradSpace struct{ image, v, u, m, tile []float32 }

// A winogradPhase is a part of the result with a convolution of its own.
type winogradPhase struct {
	top, left        int // pixel of src that the first window begins at
	rows, cols       int // results
	base, row, pixel int // place of the first one, and distances
	kh, kw           int // first tap
}

// tileCut is the work on rows of cols tiles.
type tileCut struct {
	work
	cols int
}

func cutTiles(n, rows, cols, limit, mr int) tileCut {
	if rows*cols <= limit {
		return tileCut{newWork(n, rows, max(1, min(limit/(rows*cols), n)), rows), cols}
	}
	return tileCut{newWork(n, rows, 1, bestBand(rows, cols, limit, mr)), cols}
}

// bestBand returns how many rows of tiles make a band, of about limit tiles at
// most: those that fill up products of mr tiles best and then those that make
// the fewest bands, of the most equal length.
func bestBand(rows, cols, limit, mr int) (best int) {
	least := 0
	for band := max(1, min(rows, limit*5/4/cols)); band > 0; band-- {
		bands := ceilDiv(rows, band)
		cost := rows/band*roundUp(band*cols, mr) + roundUp(rows%band*cols, mr)
		if cost = cost*rows + bands; best == 0 || cost <= least {
			best, least = band, cost
		}
	}
	return best
}

// tiles returns how many tiles an item has, at most.
func (c *tileCut) tiles() int { return c.images * c.band * c.cols }

// winogradForward computes ConvForward, and e, with that variant.
func (p *Pool) winogradForward(y, x, w []float32, s ConvShape, v *winogradVariant, e Epilogue) {
	q := p.startWinograd(s, v, x, w, y)
	q.h, q.wide, q.c, q.fold, q.n = s.H, s.W, s.C, v.fold, s.OutC
	outH, outW := s.OutH(), s.OutW()
	q.phases = append(q.phases[:0], winogradPhase{top: -s.Pad, left: -s.Pad, rows: outH, cols: outW, row: outW * s.OutC, pixel: s.OutC})
	q.convolve(s.N, outH, outW, e)
}

// winogradInputGrad computes ConvInputGrad with that variant.
func (p *Pool) winogradInputGrad(dx, dy, w []float32, s ConvShape, v *winogradVariant) {
	q := p.startWinograd(s, v, dy, w, dx)
	q.grad, q.h, q.wide, q.c, q.fold, q.n = true, s.OutH(), s.OutW(), s.OutC, 1, s.C
	q.phases = q.phases[:0]
	for kh := range v.fold {
		for kw := range v.fold {
			y, x := max(ceilDiv(s.Pad-kh, v.fold), 0), max(ceilDiv(s.Pad-kw, v.fold), 0)
			ih, iw := y*v.fold+kh-s.Pad, x*v.fold+kw-s.Pad // first row and column of the phase
			q.phases = append(q.phases, winogradPhase{
				top: y - v.r + 1, left: x - v.r + 1,
				rows: ceilDiv(s.H-ih, v.fold), cols: ceilDiv(s.W-iw, v.fold),
				base: (ih*s.W + iw) * s.C, row: v.fold * s.W * s.C, pixel: v.fold * s.C,
				kh: kh, kw: kw,
			})
		}
	}
	q.convolve(s.N, ceilDiv(s.H, v.fold), ceilDiv(s.W, v.fold), Epilogue{})
}

func (p *Pool) startWinograd(s ConvShape, v *winogradVariant, src, w, dst []float32) *winogradTask {
	q := &p.winograd
	*q = winogradTask{
		p: p, t: active, k: active.winograd, v: v, f: &active.winograd.transforms[v.index], s: s, src: src, w: w, dst: dst,
		phases: q.phases, in: q.in, space: q.space,
	}
	if len(q.space) < p.workers {
		q.space = make([]winogradSpace, p.workers)
	}
	return q
}

// convolve computes the phases, which have up to rows x cols results.
func (q *winogradTask) convolve(images, rows, cols int, e Epilogue) {
	v, lanes, nr := q.v, q.k.lanes, 2*q.k.lanes
	q.inner = q.fold * q.fold * q.c
	q.innerP = roundUp(q.inner, lanes)
	q.panels = ceilDiv(q.n, nr)
	cells := v.n * v.n
	limit := winogradLimits.panel / (cells * nr)
	q.ahead = cells*q.innerP*q.panels*nr <= winogradLimits.ahead
	if q.ahead {
		limit = min(limit, winogradLimits.fused/(cells*q.innerP))
	}
	q.cut = cutTiles(images, ceilDiv(rows, v.m), ceilDiv(cols, v.m), roundUp(max(limit, 1), q.k.mr), q.k.mr)
	q.tiles = roundUp(q.cut.tiles(), q.k.mr)
	q.vCell, q.mCell = q.innerP*q.tiles+lanes, nr*q.tiles+lanes
	q.block = q.innerP
	if !q.ahead {
		q.block = min(q.innerP, max(winogradLimits.filters/(cells*nr)/lanes, 1)*lanes)
	}
	q.uCell = q.block*nr + lanes
	ownV, ownU := 0, cells*q.uCell // of each worker
	if q.ahead {
		ownV, ownU = cells*q.vCell, 0
	}
	q.reserve(q.innerP, ownV, ownU, cells*q.mCell, max(v.m*v.m, v.r*v.r*q.block)*nr)
	q.p.then.start(e, q.dst, images*rows*cols, q.n, q.cut.items)
	if q.ahead {
		q.p.packed = grow(q.p.packed, len(q.phases)*q.panels*cells*q.uCell)
		q.times, q.time = 1, 0
		q.loop(winogradU, len(q.phases)*q.panels)
		q.loop(winogradAll, len(q.phases)*q.cut.items)
	} else {
		q.convolveSplit()
	}
	q.p.then.end()
	q.end()
}

// reserve gives every worker its scratch memory, so that no later call has to
// because other workers took part. width is that of the pixels of an image.
func (q *winogradTask) reserve(width, v, u, m, tile int) {
	step := q.v.m * q.v.stride
	image := ((q.cut.band-1)*step + q.v.n) * ((q.cut.cols-1)*step + q.v.n) * width
	for i := range q.p.workers {
		w := &q.space[i]
		w.image, w.v, w.u, w.m, w.tile = grow(w.image, image), grow(w.v, v), grow(w.u, u), grow(w.m, m), grow(w.tile, tile)
	}
}

// convolveSplit computes V for some items at a time, and then their products.
// Each time takes items from everywhere, so that a worker has the same images
// as in other loops (see share).
func (q *winogradTask) convolveSplit() {
	size := q.v.n * q.v.n * q.vCell
	items := len(q.phases) * q.cut.items
	if items == 0 { // no images
		return
	}
	q.times = ceilDiv(items, min(max(winogradLimits.inputs/size, 1), items))
	q.in = grow(q.in, ceilDiv(items, q.times)*size)
	for q.time = range q.times {
		n := ceilDiv(items-q.time, q.times)
		q.loop(winogradV, n)
		q.loop(winogradPanel, n*q.panels)
	}
}

// item returns the item of cut, counted through all phases, that is number i of
// this time: all phases of one image follow one another.
func (q *winogradTask) item(i int) int {
	i = i*q.times + q.time
	return i%len(q.phases)*q.cut.items + i/len(q.phases)
}

func (q *winogradTask) loop(step winogradStep, items int) {
	q.step = step
	s := &q.s
	q.p.loopUnless(s.N*s.OutH()*s.OutW()*s.KH*s.KW*s.C*s.OutC <= tinyWork, items, q)
}

// end drops the caller's slices.
func (q *winogradTask) end() { q.src, q.w, q.dst = nil, nil, nil }

func (q *winogradTask) run(worker, i int) {
	w, cells := &q.space[worker], q.v.n*q.v.n
	switch q.step {
	case winogradU:
		size := cells * q.uCell
		q.filters(w, q.p.packed[i*size:][:size], &q.phases[i/q.panels], i%q.panels, 0, q.inner)
	case winogradV:
		q.inputs(w, q.in[i*cells*q.vCell:][:cells*q.vCell], q.item(i))
	case winogradAll:
		w.v = grow(w.v, cells*q.vCell)
		item := q.item(i)
		q.inputs(w, w.v, item)
		for panel := range q.panels {
			q.panel(w, w.v, item, panel)
		}
	case winogradPanel:
		q.panel(w, q.in[i/q.panels*cells*q.vCell:], q.item(i/q.panels), i%q.panels)
	case winogradGradPart:
		q.gradPart(w, i)
	case winogradAddParts:
		sumChunk(q.dst, q.p.partial, q.parts, i)
	}
}

// inputs transforms the tiles of an item.
func (q *winogradTask) inputs(w *winogradSpace, v []float32, item int) {
	ph := &q.phases[item/q.cut.items]
	n0, n1, r0, r1 := q.cut.item(item % q.cut.items)
	t := 0
	for n := n0; n < n1; n++ {
		q.inputTiles(w, v[t*q.k.lanes:], n, ph, r0, r1, 0, q.inner)
		t += (r1 - r0) * q.cut.cols
	}
}

// inputTiles transforms rows of tiles [r0, r1) of image n, channels [c0, c1).
func (q *winogradTask) inputTiles(w *winogradSpace, v []float32, n int, ph *winogradPhase, r0, r1, c0, c1 int) {
	step, cells, lanes := q.v.m*q.v.stride, q.v.n, q.k.lanes
	width := roundUp(c1-c0, lanes)
	rows, cols := (r1-r0-1)*step+cells, (q.cut.cols-1)*step+cells
	w.image = grow(w.image, rows*cols*width)
	q.window(w.image, n, ph, r0*step, rows, cols, c0, c1, width)
	t := 0
	for r := range r1 - r0 {
		for c := range q.cut.cols {
			q.f.input(v[t*lanes:], cells*q.vCell, q.vCell, q.tiles*lanes, w.image[(r*cols+c)*step*width:], cols*width, width, lanes, width/lanes)
			t++
		}
	}
}

// window copies rows x cols folded pixels of image n from row top of the
// windows on, channels [c0, c1) of each in width elements, with zeros for what
// is outside.
func (q *winogradTask) window(dst []float32, n int, ph *winogradPhase, top, rows, cols, c0, c1, width int) {
	if width > c1-c0 {
		for i := range rows * cols {
			clear(dst[i*width+c1-c0:][:width-c1+c0])
		}
	}
	for lo, hi := c0, 0; lo < c1; lo = hi {
		sub := lo / q.c // the pixel of a folded one
		hi = min(c1, (sub+1)*q.c)
		left := ph.left + sub%q.fold
		j0 := min(max(ceilDiv(-left, q.fold), 0), cols)
		j1 := max(min(ceilDiv(q.wide-left, q.fold), cols), j0)
		for i := range rows {
			d := dst[i*cols*width+lo-c0:]
			y := (top+i)*q.fold + sub/q.fold + ph.top
			if y < 0 || y >= q.h || j0 == j1 {
				zeroPixels(d, width, hi-lo, cols)
				continue
			}
			zeroPixels(d, width, hi-lo, j0)
			x := ((n*q.h+y)*q.wide+j0*q.fold+left)*q.c + lo - sub*q.c
			q.k.copyPixels(d[j0*width:], width, q.src[x:], q.fold*q.c, hi-lo, j1-j0)
			if j1 < cols {
				zeroPixels(d[j1*width:], width, hi-lo, cols-j1)
			}
		}
	}
}

// zeroPixels clears c elements of each of n pixels.
func zeroPixels(dst []float32, step, c, n int) {
	if step == c {
		clear(dst[:n*c])
		return
	}
	for i := range n {
		clear(dst[i*step:][:c])
	}
}

// copyPixels copies c elements of each of n pixels.
func (k *winogradTier) copyPixels(dst []float32, dstStep int, src []float32, srcStep, c, n int) {
	switch {
	case dstStep == c && srcStep == c:
		copy(dst[:n*c], src)
	case c%k.lanes == 0:
		k.copy(dst, dstStep, src, srcStep, c/k.lanes, n)
	default:
		for i := range n {
			copy(dst[i*dstStep:][:c], src[i*srcStep:])
		}
	}
}

// filters transforms the filters of a panel of outputs and inner channels
// [c0, c1), with zeros up to whole groups.
func (q *winogradTask) filters(w *winogradSpace, u []float32, ph *winogradPhase, panel, c0, c1 int) {
	lanes, nr := q.k.lanes, 2*q.k.lanes
	cell := q.uCell
	for i := range q.v.n * q.v.n {
		clear(u[i*cell+(c1-c0)*nr : i*cell+roundUp(c1-c0, lanes)*nr])
	}
	o := panel * nr
	if q.grad || q.n-o < nr {
		raw := q.rawFilters(w, ph, o, c0, c1)
		tap := (c1 - c0) * nr
		for half := 0; half < nr; half += lanes {
			q.f.filter(u[half:], q.v.n*cell, cell, nr, raw[half:], q.v.r*tap, tap, nr, c1-c0)
		}
		return
	}
	s := &q.s
	for lo, hi := c0, 0; lo < c1; lo = hi {
		sub := lo / q.c
		hi = min(c1, (sub+1)*q.c)
		src := q.w[((sub/q.fold*s.KW+sub%q.fold)*q.c+lo-sub*q.c)*q.n+o:]
		for half := 0; half < nr; half += lanes {
			q.f.filter(u[(lo-c0)*nr+half:], q.v.n*cell, cell, nr, src[half:], q.fold*s.KW*q.c*q.n, q.fold*q.c*q.n, q.n, hi-lo)
		}
	}
}

// rawFilters returns [tap][channel][2 lanes] for a panel of outputs from o on,
// with zeros for those that there are not. Those of an input gradient are
// transposed, and their taps reversed.
func (q *winogradTask) rawFilters(w *winogradSpace, ph *winogradPhase, o, c0, c1 int) []float32 {
	nr, r, s := 2*q.k.lanes, q.v.r, &q.s
	tap := (c1 - c0) * nr
	w.tile = grow(w.tile, r*r*tap)
	cols := min(nr, q.n-o)
	for a := range r {
		for b := range r {
			dst := w.tile[(a*r+b)*tap:][:tap]
			if cols < nr {
				clear(dst)
			}
			if q.grad {
				kh, kw := ph.kh+(r-1-a)*q.v.fold, ph.kw+(r-1-b)*q.v.fold
				q.transpose(dst, q.w[((kh*s.KW+kw)*s.C+o)*s.OutC+c0:], s.OutC, cols, c1-c0)
				continue
			}
			for c := c0; c < c1; c++ {
				sub := c / q.c
				kh, kw := a*q.fold+sub/q.fold, b*q.fold+sub%q.fold
				copy(dst[(c-c0)*nr:][:cols], q.w[((kh*s.KW+kw)*s.C+c-sub*q.c)*s.OutC+o:])
			}
		}
	}
	return w.tile
}

// transpose sets dst[j*nr+i] = src[i*ld+j] for i < rows and j < cols.
func (q *winogradTask) transpose(dst, src []float32, ld, rows, cols int) {
	nr := 2 * q.k.lanes
	whole := cols &^ 7
	for i := 0; i < rows; i += 8 {
		done := 0
		if i+8 <= rows && whole > 0 {
			q.t.transpose8(dst[i:], nr, src[i*ld:], ld, whole/8)
			done = whole
		}
		for l := i; l < min(i+8, rows); l++ {
			for j := done; j < cols; j++ {
				dst[j*nr+l] = src[l*ld+j]
			}
		}
	}
}

// panel computes the products of an item with one panel of outputs, and the
// outputs.
func (q *winogradTask) panel(w *winogradSpace, v []float32, item, panel int) {
	lanes, nr, cells := q.k.lanes, 2*q.k.lanes, q.v.n*q.v.n
	phase := item / q.cut.items
	n0, n1, r0, r1 := q.cut.item(item % q.cut.items)
	rowTiles := ceilDiv((n1-n0)*(r1-r0)*q.cut.cols, q.k.mr)
	w.m = grow(w.m, cells*q.mCell)
	var u []float32
	if q.ahead {
		u = q.p.packed[(phase*q.panels+panel)*cells*q.uCell:]
	}
	for c0 := 0; c0 < q.inner; c0 += q.block {
		depth := min(q.block, q.innerP-c0)
		if !q.ahead {
			w.u = grow(w.u, cells*q.uCell)
			u = w.u
			q.filters(w, u, &q.phases[phase], panel, c0, min(c0+depth, q.inner))
		}
		for i := range cells {
			q.k.row(w.m[i*q.mCell:], v[i*q.vCell+c0*q.tiles:], q.tiles*lanes, u[i*q.uCell:], rowTiles, depth/lanes, c0 > 0)
		}
	}
	q.outputs(w, &q.phases[phase], n0, n1, r0, r1, panel*nr)
	if !q.grad {
		outH, m := q.phases[0].rows, q.v.m
		row, rows := n0*outH+r0*m, (n1-n0-1)*outH+min(r1*m, outH)-r0*m
		q.p.then.apply(q.t, item, row*q.phases[0].cols, rows*q.phases[0].cols, panel*nr, min(panel*nr+nr, q.n))
	}
}

// outputs transforms M to the results from channel o on.
func (q *winogradTask) outputs(w *winogradSpace, ph *winogradPhase, n0, n1, r0, r1, o int) {
	m, lanes, nr := q.v.m, q.k.lanes, 2*q.k.lanes
	image := q.s.H * q.s.W * q.s.C
	if !q.grad {
		image = ph.rows * ph.row
	}
	t := 0
	for n := n0; n < n1; n++ {
		for r := r0; r < r1; r++ {
			dst := n*image + ph.base + r*m*ph.row + o
			whole := 0
			if r*m+m <= ph.rows && q.n-o >= nr {
				whole = ph.cols / m
				for half := 0; half < nr && whole > 0; half += lanes {
					q.f.output(q.dst[dst+half:], ph.row, ph.pixel, m*ph.pixel, w.m[t*nr+half:], q.v.n*q.mCell, q.mCell, nr, whole)
				}
			}
			for c := whole; c < q.cut.cols; c++ {
				q.outputPart(w, dst+c*m*ph.pixel, ph, w.m[(t+c)*nr:], min(m, ph.rows-r*m), min(m, ph.cols-c*m), min(nr, q.n-o))
			}
			t += q.cut.cols
		}
	}
}

// outputPart transforms a tile of which only rows x cols results of channels
// channels are wanted.
func (q *winogradTask) outputPart(w *winogradSpace, dst int, ph *winogradPhase, src []float32, rows, cols, channels int) {
	m, nr := q.v.m, 2*q.k.lanes
	w.tile = grow(w.tile, m*m*nr)
	for half := 0; half < nr; half += q.k.lanes {
		q.f.output(w.tile[half:], m*nr, nr, 0, src[half:], q.v.n*q.mCell, q.mCell, 0, 1)
	}
	for i := range rows {
		for j := range cols {
			copy(q.dst[dst+i*ph.row+j*ph.pixel:][:channels], w.tile[(i*m+j)*nr:])
		}
	}
}

// roundUp returns the least multiple of step that is n or more.
func roundUp(n, step int) int { return ceilDiv(n, step) * step }
