package kernel

// The weight gradient by Winograd's method. Tiles of dy take the place of the
// filter; in each cell the transformed tiles of x, [group of channels][tile]
// [lanes], are multiplied by those of dy, likewise, and the products add up
// over all tiles before the last transform. An item of work has a block of
// channels of x and a strip of those of dy, and transforms what it needs: the
// sums of all its cells stay in cache, and are read and written once in
// winogradGradTiles tiles.

const (
	winogradBlock     = 128 // channels of x in a block, and of dy in a strip
	winogradGradTiles = 32  // tiles transformed at a time
)

// winogradWeightGrad computes ConvWeightGrad with that variant.
func (p *Pool) winogradWeightGrad(dw, x, dy []float32, s ConvShape, v *winogradVariant) {
	q := p.startWinograd(s, v, x, dy, dw)
	size := s.KH * s.KW * s.C * s.OutC
	lanes := q.k.lanes
	q.h, q.wide, q.c, q.fold, q.n = s.H, s.W, s.C, v.fold, s.OutC
	q.phases = append(q.phases[:0], winogradPhase{top: -s.Pad, left: -s.Pad, rows: s.OutH(), cols: s.OutW()})
	q.inner = q.fold * q.fold * q.c
	q.block, q.strip = min(winogradBlock, roundUp(q.inner, lanes)), min(winogradBlock, roundUp(q.n, 2*lanes))
	if v.stride > 1 { // more cells: as many sums
		q.block = min(q.block, winogradBlock/2)
	}
	q.blocks, q.strips = ceilDiv(q.inner, q.block), ceilDiv(q.n, q.strip)
	q.cut = cutTiles(s.N, ceilDiv(s.OutH(), v.m), ceilDiv(s.OutW(), v.m), winogradGradTiles, 1)
	q.tiles = q.cut.tiles()
	q.vCell, q.mCell, q.uCell = q.block*q.tiles+lanes, q.strip*q.tiles+lanes, q.block*q.strip+lanes
	q.parts = min(ceilDiv(minTasks, q.blocks*q.strips), maxGradParts, q.cut.items)
	if q.parts > 1 {
		p.partial = grow(p.partial, q.parts*size)
	}
	cells := v.n * v.n
	q.reserve(q.block, cells*q.vCell, cells*q.uCell, cells*q.mCell, max(v.m*v.m*q.strip, v.r*v.r*lanes))
	q.loop(winogradGradPart, q.parts*q.blocks*q.strips)
	if q.parts > 1 {
		q.loop(winogradAddParts, ceilDiv(size, elemChunk))
	}
	q.end()
}

// gradPart adds up one part of the tiles for one block of channels of x and
// one strip of those of dy.
func (q *winogradTask) gradPart(w *winogradSpace, i int) {
	lanes, nr, cells := q.k.lanes, 2*q.k.lanes, q.v.n*q.v.n
	part, block, strip := i/(q.blocks*q.strips), i/q.strips%q.blocks, i%q.strips
	c0, c1 := block*q.block, min((block+1)*q.block, q.inner)
	o0, o1 := strip*q.strip, min((strip+1)*q.strip, q.n)
	w.u, w.v, w.m = grow(w.u, cells*q.uCell), grow(w.v, cells*q.vCell), grow(w.m, cells*q.mCell)
	first, end := q.cut.items*part/q.parts, q.cut.items*(part+1)/q.parts
	for item := first; item < end; item++ {
		n0, n1, r0, r1 := q.cut.item(item)
		t := 0
		for n := n0; n < n1; n++ {
			q.inputTiles(w, w.v[t*lanes:], n, &q.phases[0], r0, r1, c0, c1)
			q.gradTiles(w, w.m[t*lanes:], n, r0, r1, o0, o1)
			t += (r1 - r0) * q.cut.cols
		}
		group := q.tiles * lanes
		for j := range cells {
			for o := 0; o < o1-o0; o += nr {
				q.k.col(w.u[j*q.uCell+o*q.block:], w.v[j*q.vCell:], group, w.m[j*q.mCell+o*q.tiles:], group, ceilDiv(c1-c0, lanes), t, item > first)
			}
		}
	}
	dst := q.dst
	if q.parts > 1 {
		dst = q.p.partial[part*len(q.p.partial)/q.parts:]
	}
	for o := o0; o < o1; o += nr {
		q.gradWeights(w, dst, w.u[(o-o0)*q.block:], c0, c1, o)
	}
}

// gradTiles transforms rows of tiles [r0, r1) of image n of dy, channels
// [o0, o1). What is outside is zero.
func (q *winogradTask) gradTiles(w *winogradSpace, d []float32, n, r0, r1, o0, o1 int) {
	m, lanes, ph := q.v.m, q.k.lanes, &q.phases[0]
	groups, t := ceilDiv(o1-o0, lanes), 0
	for r := r0; r < r1; r++ {
		for c := range q.cut.cols {
			src, row, pixel := q.w[((n*ph.rows+r*m)*ph.cols+c*m)*q.n+o0:], ph.cols*q.n, q.n
			if rows, cols := min(m, ph.rows-r*m), min(m, ph.cols-c*m); rows < m || cols < m || (o1-o0)%lanes != 0 {
				src = q.gradTile(w, src, rows, cols, o1-o0)
				pixel = groups * lanes
				row = m * pixel
			}
			q.f.gradFilter(d[t*lanes:], q.v.n*q.mCell, q.mCell, q.tiles*lanes, src, row, pixel, lanes, groups)
			t++
		}
	}
}

// gradTile copies rows x cols pixels of some channels of dy to a tile that is
// zero elsewhere, of whole groups of channels.
func (q *winogradTask) gradTile(w *winogradSpace, src []float32, rows, cols, channels int) []float32 {
	m := q.v.m
	width := roundUp(channels, q.k.lanes)
	w.tile = grow(w.tile, m*m*width)
	clear(w.tile)
	for i := range rows {
		for j := range cols {
			copy(w.tile[(i*m+j)*width:][:channels], src[(i*q.phases[0].cols+j)*q.n:])
		}
	}
	return w.tile
}

// gradWeights transforms the sums of a panel to the gradient of the filters
// from input channel c0 to c1 and output channel o on.
func (q *winogradTask) gradWeights(w *winogradSpace, dst, sums []float32, c0, c1, o int) {
	lanes, nr, r, s := q.k.lanes, 2*q.k.lanes, q.v.r, &q.s
	row, col := q.fold*s.KW*s.C*s.OutC, q.fold*s.C*s.OutC
	for lo, hi := c0, 0; lo < c1; lo = hi {
		sub := lo / q.c
		hi = min(c1, (sub+1)*q.c)
		d := dst[((sub/q.fold*s.KW+sub%q.fold)*s.C+lo-sub*q.c)*s.OutC+o:]
		src := sums[(lo-c0)*nr:]
		for half := 0; half < nr && o+half < q.n; half += lanes {
			channels := min(lanes, q.n-o-half)
			if channels == lanes {
				q.f.gradOutput(d[half:], row, col, s.OutC, src[half:], q.v.n*q.uCell, q.uCell, nr, hi-lo)
				continue
			}
			w.tile = grow(w.tile, r*r*lanes)
			for c := range hi - lo {
				q.f.gradOutput(w.tile, r*lanes, lanes, 0, src[c*nr+half:], q.v.n*q.uCell, q.uCell, 0, 1)
				for i := range r * r {
					copy(d[i/r*row+i%r*col+c*s.OutC+half:][:channels], w.tile[i*lanes:])
				}
			}
		}
	}
}
