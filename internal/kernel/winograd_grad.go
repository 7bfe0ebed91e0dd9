package kernel

// The weight gradient by Winograd's method. Tiles of dy take the place of the
// filter; in each cell the transformed tiles of x, [group of channels][tile]
// [lanes], are multiplied by those of dy, [2][tile][lanes], and the products
// add up over all tiles before the last transform. An item of work has a block
// of channels of x and a panel of those of dy, small enough for the sums of
// all cells to stay in the second-level cache, and transforms what it needs.

const (
	winogradBlock     = 64 // channels of x in a block
	winogradGradTiles = 32 // tiles transformed at a time
	winogradMaxParts  = 16
)

// winogradWeightGrad computes ConvWeightGrad with that variant.
func (p *Pool) winogradWeightGrad(dw, x, dy []float32, s ConvShape, v *winogradVariant) {
	q := p.startWinograd(s, v, x, dy, dw)
	size := s.KH * s.KW * s.C * s.OutC
	if s.N == 0 {
		clear(dw[:size])
		q.end()
		return
	}
	lanes, nr := q.k.lanes, 2*q.k.lanes
	q.h, q.wide, q.c, q.fold, q.n = s.H, s.W, s.C, v.fold, s.OutC
	q.phases = append(q.phases[:0], winogradPhase{top: -s.Pad, left: -s.Pad, rows: s.OutH(), cols: s.OutW()})
	q.inner = q.fold * q.fold * q.c
	q.panels, q.blocks = ceilDiv(q.n, nr), ceilDiv(q.inner, winogradBlock)
	q.cut = cutTiles(s.N, ceilDiv(s.OutH(), v.m), ceilDiv(s.OutW(), v.m), winogradGradTiles)
	q.tiles = q.cut.tiles()
	q.block = min(winogradBlock, roundUp(q.inner, lanes))
	q.vCell, q.mCell = q.block*q.tiles+lanes, nr*q.tiles+lanes
	q.parts = min(ceilDiv(minTasks, q.panels*q.blocks), winogradMaxParts, q.cut.items)
	if q.parts > 1 {
		q.partial = grow(q.partial, q.parts*size)
	}
	q.loop(winogradGradPart, q.parts*q.panels*q.blocks)
	if q.parts > 1 {
		q.loop(winogradAddParts, ceilDiv(size, elemChunk))
	}
	q.end()
}

// gradPart adds up one part of the tiles for one block of channels of x and
// one panel of those of dy.
func (q *winogradTask) gradPart(w *winogradSpace, i int) {
	lanes, nr, cells := q.k.lanes, 2*q.k.lanes, q.v.n*q.v.n
	part, block, panel := i/(q.panels*q.blocks), i/q.panels%q.blocks, i%q.panels
	c0, c1 := block*winogradBlock, min((block+1)*winogradBlock, q.inner)
	groups := ceilDiv(c1-c0, lanes)
	sum := q.block*nr + lanes // distance of cells
	w.u, w.v, w.m = grow(w.u, cells*sum), grow(w.v, cells*q.vCell), grow(w.m, cells*q.mCell)
	first, end := q.cut.items*part/q.parts, q.cut.items*(part+1)/q.parts
	for item := first; item < end; item++ {
		n0, n1, r0, r1 := q.cut.item(item)
		t := 0
		for n := n0; n < n1; n++ {
			q.inputTiles(w, w.v[t*lanes:], n, &q.phases[0], r0, r1, c0, c1)
			q.gradTiles(w, w.m[t*lanes:], n, r0, r1, panel*nr)
			t += (r1 - r0) * q.cut.cols
		}
		for j := range cells {
			q.k.col(w.u[j*sum:], w.v[j*q.vCell:], q.tiles*lanes, w.m[j*q.mCell:], q.tiles*lanes, groups, t, item > first)
		}
	}
	dst := q.dst
	if q.parts > 1 {
		dst = q.partial[part*len(q.partial)/q.parts:]
	}
	q.gradWeights(w, dst, sum, c0, c1, panel*nr)
}

// gradTiles transforms rows of tiles [r0, r1) of dy, channels from o on, of
// image n. What is outside is zero.
func (q *winogradTask) gradTiles(w *winogradSpace, d []float32, n, r0, r1, o int) {
	m, lanes, nr, ph := q.v.m, q.k.lanes, 2*q.k.lanes, &q.phases[0]
	row := ph.cols * q.n
	t := 0
	for r := r0; r < r1; r++ {
		src := q.w[(n*ph.rows+r*m)*row+o:]
		whole := 0
		if r*m+m <= ph.rows && q.n-o >= nr {
			whole = ph.cols / m
		}
		for half := range 2 {
			dst := d[half*q.tiles*lanes+t*lanes:]
			if whole > 0 {
				q.f.gradFilter(dst, q.v.n*q.mCell, q.mCell, lanes, src[half*lanes:], row, q.n, m*q.n, whole)
			}
			for c := whole; c < q.cut.cols; c++ {
				channels := min(max(q.n-o-half*lanes, 0), lanes)
				tile := q.gradTile(w, src[min(half*lanes, q.n-o):], c*m, min(m, ph.rows-r*m), min(m, ph.cols-c*m), channels)
				q.f.gradFilter(dst[c*lanes:], q.v.n*q.mCell, q.mCell, 0, tile, m*lanes, lanes, 0, 1)
			}
		}
		t += q.cut.cols
	}
}

// gradTile copies rows x cols pixels of some channels of dy, from column left
// on, to a tile that is zero elsewhere.
func (q *winogradTask) gradTile(w *winogradSpace, src []float32, left, rows, cols, channels int) []float32 {
	m, lanes := q.v.m, q.k.lanes
	w.tile = grow(w.tile, m*m*lanes)
	clear(w.tile)
	if channels > 0 {
		for i := range rows {
			for j := range cols {
				copy(w.tile[(i*m+j)*lanes:][:channels], src[(i*q.phases[0].cols+left+j)*q.n:])
			}
		}
	}
	return w.tile
}

// gradWeights transforms the sums to the gradient of the filters from input
// channel c0 to c1 and output channel o on.
func (q *winogradTask) gradWeights(w *winogradSpace, dst []float32, sum, c0, c1, o int) {
	lanes, nr, r, s := q.k.lanes, 2*q.k.lanes, q.v.r, &q.s
	row, col := q.fold*s.KW*s.C*s.OutC, q.fold*s.C*s.OutC
	for lo, hi := c0, 0; lo < c1; lo = hi {
		sub := lo / q.c
		hi = min(c1, (sub+1)*q.c)
		d := dst[((sub/q.fold*s.KW+sub%q.fold)*s.C+lo-sub*q.c)*s.OutC+o:]
		src := w.u[(lo-c0)*nr:]
		for half := 0; half < nr && o+half < q.n; half += lanes {
			channels := min(lanes, q.n-o-half)
			if channels == lanes {
				q.f.gradOutput(d[half:], row, col, s.OutC, src[half:], q.v.n*sum, sum, nr, hi-lo)
				continue
			}
			w.tile = grow(w.tile, r*r*lanes)
			for c := range hi - lo {
				q.f.gradOutput(w.tile, r*lanes, lanes, 0, src[c*nr+half:], q.v.n*sum, sum, 0, 1)
				for i := range r * r {
					copy(d[i/r*row+i%r*col+c*s.OutC+half:][:channels], w.tile[i*lanes:])
				}
			}
		}
	}
}

// addParts adds the parts of one chunk of the gradient in order.
func (q *winogradTask) addParts(i int) {
	size := len(q.partial) / q.parts
	lo := i * elemChunk
	hi := min(lo+elemChunk, size)
	dw := q.dst[lo:hi]
	copy(dw, q.partial[lo:hi])
	for part := 1; part < q.parts; part++ {
		Axpy(dw, 1, q.partial[part*size+lo:][:hi-lo])
	}
}
