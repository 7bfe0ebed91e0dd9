package kernel

// The matrix product packs B, once per call, into panels as wide as a tile of
// the micro-kernel, and lets the micro-kernel read the rows of A where they
// are, or packs them if A is transposed. Items of work are blocks of C. A block
// of A stays in the second-level cache while the panels pass by, each asked for
// while the one before is in use. A product of long rows goes in blocks of
// kBlock along k, a constant because it decides the order of summation.
//
// Where C is not much higher than wide, the items go by columns: then a worker
// multiplies by the panels that it has packed itself (see share), and only A is
// read by all. To fetch B from the cache of another core, and to take its lines
// back for the next product, took up to a fifth of the time on two cores that
// share no cache.
const (
	kBlock   = 1024    // steps of k per visit to a tile of C
	mBlock   = 64      // rows of C per item of work, about
	packSide = 2048    // rows and columns of B that are packed at a time
	packRows = 64      // rows of B that are packed by an item, of all its columns
	packPart = 128     // and of a part of its columns
	maxTasks = 32      // items of work to aim at
	taskWork = 1 << 19 // multiplications that an item should have
	minTasks = 8       // items of work to have, where more cost something
	minParts = 4       // parts of the columns to have, where each is for one worker
	fewRows  = 16      // rows of C for which packing B does not pay
	tinyWork = 1 << 15 // multiplications not worth a second goroutine
)

// A workspace is the scratch memory of one worker.
type workspace struct {
	a, b       []float32 // panels and padded images
	off, steps []int     // positions of rows of A, and of its columns and the rows of B
	tile       []float32 // one tile at an edge of C
	edge       []int     // positions of its rows of A
}

// reserve makes room for a and b in every worker's scratch memory, so that
// nothing is allocated later by a worker that had no item at first.
func (p *Pool) reserve(a, b int) {
	t := active
	for i := range p.space {
		w := &p.space[i]
		w.a, w.b = grow(w.a, a), grow(w.b, b)
		w.tile, w.edge = grow(w.tile, t.mr*t.nr), grow(w.edge, t.mr)
	}
}

// grow returns s with length n, reusing its memory when it suffices. The
// contents are whatever was there.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// gemmTask is the matrix product in progress.
type gemmTask struct {
	p              *Pool
	t              *tier
	c, a, b        []float32
	ldc, lda, ldb  int
	transA, transB bool
	m, n, k        int
	acc            bool
	inPlace        bool // B is not packed
	phase          gemmPhase
	byColumns      bool
	parts, pieces  int // of the columns and rows of B, that are packed by one item
	groups, bands  int // of the columns and rows of C, that are multiplied by one item
	rows, piece    int // rows of C of an item, and of B that are packed by one
	aOff, cOff     []int
	then           *epilogue
	col            int  // of C, the first in this block
	last           bool // no more products will be added
}

// Gemm computes C = op(A) op(B), or adds it to C if accumulate is set, where
// op(A) is m x k, op(B) is k x n and C is m x n. lda, ldb and ldc are the row
// strides of the matrices as stored: with transA, A is stored k x m, and with
// transB, B is stored n x k. C must not overlap A or B.
func (p *Pool) Gemm(c []float32, ldc int, a []float32, lda int, transA bool, b []float32, ldb int, transB bool, m, n, k int, accumulate bool) {
	if m < 0 || n < 0 || k < 0 {
		panic("kernel: negative matrix size")
	}
	if m == 0 || n == 0 {
		return
	}
	needMatrix(c, ldc, m, n)
	if k == 0 {
		if !accumulate {
			clearRows(c, ldc, m, n)
		}
		return
	}
	needStored(a, lda, m, k, transA)
	needStored(b, ldb, k, n, transB)
	p.startGemm(c, ldc, a, lda, transA, b, ldb, transB, m, n, k).blocks(c, a, b, n, k, accumulate)
}

// DenseForward computes y = x w, then what e says: x is [rows,in], w [in,out]
// and y [rows,out].
func (p *Pool) DenseForward(y, x, w []float32, rows, in, out int, e Epilogue) {
	if rows < 0 || in < 1 || out < 1 {
		panic("kernel: size of a dense layer out of range")
	}
	need(y, rows*out)
	need(x, rows*in)
	need(w, in*out)
	p.then.start(e, y, rows, out, ceilDiv(rows, active.blockRows()))
	if rows > 0 {
		g := p.startGemm(y, out, x, in, false, w, out, false, rows, out, in)
		g.then = &p.then
		g.blocks(y, x, w, out, in, false)
	}
	p.then.end()
}

func (p *Pool) startGemm(c []float32, ldc int, a []float32, lda int, transA bool, b []float32, ldb int, transB bool, m, n, k int) *gemmTask {
	g := &p.gemm
	*g = gemmTask{p: p, t: active, a: a, lda: lda, transA: transA, ldb: ldb, transB: transB, m: m, ldc: ldc, rows: active.blockRows(), aOff: g.aOff, cOff: g.cOff}
	g.aOff, g.cOff = g.aOff[:0], g.cOff[:0]
	for i := range min(m, g.rows) {
		g.aOff, g.cOff = append(g.aOff, i*lda), append(g.cOff, i*ldc)
	}
	return g
}

// blocks runs over the blocks of B that fit the packing buffer.
func (g *gemmTask) blocks(c, a, b []float32, n, k int, accumulate bool) {
	lda, ldb, transB := g.lda, g.ldb, g.transB
	for j := 0; j < n; j += packSide {
		for l := 0; l < k; l += packSide {
			g.c, g.b, g.n, g.k = c[j:], b[at(l, j, ldb, transB):], min(packSide, n-j), min(packSide, k-l)
			g.a = a[at(0, l, lda, g.transA):]
			g.acc = accumulate || l > 0
			g.col, g.last = j, l+packSide >= k
			g.multiply()
		}
	}
	g.a, g.b, g.c, g.then = nil, nil, nil, nil
}

// blockRows is mBlock in whole tiles.
func (t *tier) blockRows() int { return mBlock / t.mr * t.mr }

// at returns the position of element (i, j) of op(A).
func at(i, j, ld int, trans bool) int {
	if trans {
		i, j = j, i
	}
	return i*ld + j
}

// multiply does one block that fits the packing buffers.
func (g *gemmTask) multiply() {
	g.cut()
	if g.inPlace = g.m <= fewRows && !g.transB && g.n%g.t.nr == 0; !g.inPlace {
		g.cutPacking()
		g.loop(packB, g.pieces*g.parts)
	}
	g.reserve()
	g.loop(multiply, g.bands*g.groups)
}

// cut chooses the items of the product. With transA, each packs its part of A
// for itself, which more groups of columns multiply.
func (g *gemmTask) cut() {
	panels, high := ceilDiv(g.n, g.t.nr), 2*g.n
	tasks, parts := maxTasks, minParts
	if g.transA {
		tasks, parts, high = tasks/2, parts/2, g.n
	}
	g.bands = ceilDiv(g.m, g.rows)
	g.groups = min(panels, ceilDiv(tasks, g.bands), max(1, min(g.m, g.rows)*panels*g.t.nr*g.k/taskWork))
	if g.byColumns = g.m <= high && panels >= parts; g.byColumns {
		g.groups = max(g.groups, parts)
		if g.transA {
			g.groups = parts
		}
	}
}

// cutPacking chooses the items that pack B.
func (g *gemmTask) cutPacking() {
	panels := ceilDiv(g.n, g.t.nr)
	g.p.packed = grow(g.p.packed, panels*g.t.nr*g.k)
	g.piece = packRows
	switch {
	case g.transB:
		g.piece = kBlock
	case g.byColumns:
		g.piece = packPart
	}
	g.pieces = ceilDiv(g.k, g.piece)
	g.parts = min(panels, ceilDiv(2*minTasks, g.pieces))
	if g.byColumns {
		g.parts = min(panels, max(g.parts, 2*minParts))
	}
}

// reserve makes room for what block and inPlace need of a worker's memory.
func (g *gemmTask) reserve() {
	tiles := 0
	if g.transA && !g.inPlace {
		tiles = (g.rows + g.t.mr) * kBlock
	}
	g.p.reserve(tiles, 0)
	for i := range g.p.space {
		w := &g.p.space[i]
		w.off = grow(w.off, g.rows)
		if g.inPlace {
			w.steps = grow(w.steps, 2*kBlock)
		}
	}
}

type gemmPhase int

const (
	packB gemmPhase = iota
	multiply
)

func (g *gemmTask) loop(phase gemmPhase, items int) {
	g.phase = phase
	g.p.loopUnless(g.m*g.n*g.k <= tinyWork, items, g)
}

func (g *gemmTask) run(worker, i int) {
	switch g.phase {
	case packB:
		piece, part := g.item(i, g.pieces, g.parts)
		g.packPanels(piece*g.piece, part)
	case multiply:
		block, group := g.item(i, g.bands, g.groups)
		g.block(&g.p.space[worker], block, group)
	}
}

// item returns the row and the column of item i of rows x columns.
func (g *gemmTask) item(i, rows, columns int) (row, column int) {
	if g.byColumns {
		return i % rows, i / rows
	}
	return i / columns, i % columns
}

// block computes one group of the panels of one block of rows of C.
func (g *gemmTask) block(w *workspace, block, group int) {
	t, panels := g.t, ceilDiv(g.n, g.t.nr)
	i0, rows := block*g.rows, min(g.rows, g.m-block*g.rows)
	j0 := panels * group / g.groups * t.nr
	j1 := min(panels*(group+1)/g.groups*t.nr, g.n)
	for l := 0; l < g.k; l += kBlock {
		k := min(kBlock, g.k-l)
		c, acc := g.c[i0*g.ldc+j0:], g.acc || l > 0
		a := g.a[at(i0, l, g.lda, g.transA):]
		if g.inPlace {
			w.inPlace(g, c, a, g.b[l*g.ldb+j0:], rows, j1-j0, k, acc)
			continue
		}
		b, panel := g.p.packed[j0*g.k+l*t.nr:], t.nr*g.k
		if g.transA {
			w.a = grow(w.a, ceilDiv(rows, t.mr)*t.mr*k)
			packTiles(t, w.a, a, g.lda, rows, k)
			w.cols(t, c, g.ldc, w.a, w.tileRows(t, rows, k), t.kSeq, b, panel, j1-j0, k, acc)
		} else {
			w.rows(t, c, g.cOff[:rows], a, g.aOff[:rows], b, panel, j1-j0, runs{n: 1, len: k}, acc)
		}
	}
	if g.then != nil && g.last {
		g.then.apply(t, block, i0, rows, g.col+j0, g.col+j1)
	}
}

// inPlace multiplies by whole panels of a B that is not packed, as that is read
// once or a few times only.
func (w *workspace) inPlace(g *gemmTask, c, a, b []float32, rows, n, k int, acc bool) {
	i, l := g.lda, 1
	if g.transA {
		i, l = 1, g.lda
	}
	w.off, w.steps = w.off[:0], w.steps[:0]
	for r := range rows {
		w.off = append(w.off, r*i)
	}
	for s := range k {
		w.steps = append(w.steps, s*l, s*g.ldb)
	}
	w.cols(g.t, c, g.ldc, a, w.off, w.steps, b, g.t.nr, n, k, acc)
}

// packPanels packs a piece of the rows of B, from row l on, to one part of the
// panels: few enough rows that their pages stay at hand for all panels.
func (g *gemmTask) packPanels(l, part int) {
	nr, k, panels := g.t.nr, min(g.piece, g.k-l), ceilDiv(g.n, g.t.nr)
	for i := panels * part / g.parts; i < panels*(part+1)/g.parts; i++ {
		j := i * nr
		packPanel(g.t, g.p.packed[j*g.k+l*nr:][:k*nr], g.b[at(l, j, g.ldb, g.transB):], g.ldb, g.transB, min(nr, g.n-j), k)
	}
}

// packPanel copies n columns of a k x n matrix, transposed if trans is set,
// to a panel of k rows of nr, with zeros to the right of column n.
func packPanel(t *tier, dst, src []float32, ld int, trans bool, n, k int) {
	if n < t.nr {
		clear(dst[:k*t.nr])
	}
	if !trans {
		if n == t.nr {
			t.gatherRows(dst, src, ld, k)
			return
		}
		for l := range k {
			copy(dst[l*t.nr:l*t.nr+n], src[l*ld:l*ld+n])
		}
		return
	}
	j, blocks := 0, k/8
	for ; j+8 <= n && blocks > 0; j += 8 {
		t.transpose8(dst[j:], t.nr, src[j*ld:], ld, blocks)
		for l := 8 * blocks; l < k; l++ {
			for i := j; i < j+8; i++ {
				dst[l*t.nr+i] = src[i*ld+l]
			}
		}
	}
	for ; j < n; j++ {
		for l, v := range src[j*ld : j*ld+k] {
			dst[l*t.nr+j] = v
		}
	}
}

// packTiles copies rows columns of k rows of a matrix, lda apart, to tiles of
// [k][mr], with zeros past the last column. A worker packs what it uses itself:
// what another has just written comes slowly from that one's cache.
func packTiles(t *tier, dst, a []float32, lda, rows, k int) {
	full := rows / t.mr
	if full > 0 {
		t.splitRows(dst, k*t.mr, a, lda, full, k)
	}
	if n := rows - full*t.mr; n > 0 {
		dst = dst[full*t.mr*k:][:k*t.mr]
		clear(dst)
		for l := range k {
			copy(dst[l*t.mr:l*t.mr+n], a[l*lda+full*t.mr:])
		}
	}
}

// tileRows lists the positions of rows in tiles of [k][mr].
func (w *workspace) tileRows(t *tier, rows, k int) []int {
	w.off = w.off[:0]
	for i := range rows {
		w.off = append(w.off, i/t.mr*k*t.mr+i%t.mr)
	}
	return w.off
}

// runs says of what a row of A consists: see rowGeneric.
type runs struct{ n, len, stride, gap int }

// rows multiplies len(aOff) rows by n columns of packed B, whose panels are
// panel elements apart: tiles inside C directly, tiles at an edge through
// scratch memory. Meanwhile it asks for the memory of the next panel. See
// rowGeneric for the rest.
func (w *workspace) rows(t *tier, c []float32, cOff []int, a []float32, aOff []int, b []float32, panel, n int, r runs, acc bool) {
	full := len(aOff) / t.mr
	turns := full * r.n * (r.len / unroll)
	for j := 0; j < n; j += t.nr {
		row := t.row
		if n-j <= t.nr/2 {
			row = t.rowHalf
		}
		next := b[min(panel, len(b)):]
		direct := 0
		if n-j >= t.nr && full > 0 {
			ahead, step := lookAhead(next, b, r.n*r.len*t.nr, turns)
			row(c[j:], cOff, a, aOff, b, full, r.n, r.len, r.stride, r.gap, acc, ahead, step)
			direct = full * t.mr
		}
		for i := direct; i < len(aOff); i += t.mr {
			m := min(t.mr, len(aOff)-i)
			w.tile = grow(w.tile, t.mr*t.nr)
			row(w.tile, t.rowSeq, a, w.edgeOf(t, aOff[i:]), b, 1, r.n, r.len, r.stride, r.gap, false, b, 0)
			for l, off := range cOff[i : i+m] {
				putRow(c[off+j:off+min(j+t.nr, n)], w.tile[l*t.nr:], acc)
			}
		}
		b = next
	}
}

// unroll is the number of steps of k in one turn of the micro-kernels.
const unroll = 4

// lookAhead returns the arguments ahead and step of a micro-kernel that makes
// so many turns, for the first n elements of next; if there are none, it
// names used, which is in cache anyway.
func lookAhead(next, used []float32, n, turns int) (ahead []float32, step int) {
	n = min(n, len(next))
	if n == 0 || turns == 0 {
		return used, 0
	}
	return next, min(ceilDiv(4*n, turns), 64)
}

// cols is rows for the column micro-kernel, colGeneric, with len(iOff) rows.
func (w *workspace) cols(t *tier, c []float32, ldc int, a []float32, iOff, pairs []int, b []float32, panel, n, k int, acc bool) {
	full := len(iOff) / t.mr
	turns := full * (k / unroll)
	for j := 0; j < n; j += t.nr {
		col := t.col
		if n-j <= t.nr/2 {
			col = t.colHalf
		}
		next := b[min(panel, len(b)):]
		direct := 0
		if n-j >= t.nr && full > 0 {
			ahead, step := lookAhead(next, b, k*t.nr, turns)
			col(c[j:], ldc, a, iOff, pairs, b, full, k, acc, ahead, step)
			direct = full * t.mr
		}
		for i := direct; i < len(iOff); i += t.mr {
			w.tile = grow(w.tile, t.mr*t.nr)
			col(w.tile, t.nr, a, w.edgeOf(t, iOff[i:]), pairs, b, 1, k, false, b, 0)
			for r := range min(t.mr, len(iOff)-i) {
				off := (i + r) * ldc
				putRow(c[off+j:off+min(j+t.nr, n)], w.tile[r*t.nr:], acc)
			}
		}
		b = next
	}
}

// edgeOf returns the positions of the rows of a tile, the first of which is
// repeated for those that are not there.
func (w *workspace) edgeOf(t *tier, offs []int) []int {
	w.edge = append(w.edge[:0], offs[:min(t.mr, len(offs))]...)
	for len(w.edge) < t.mr {
		w.edge = append(w.edge, offs[0])
	}
	return w.edge
}

func putRow(c, s []float32, acc bool) {
	if !acc {
		copy(c, s)
		return
	}
	for j, v := range s[:len(c)] {
		c[j] += v
	}
}

func clearRows(c []float32, ldc, m, n int) {
	for i := range m {
		clear(c[i*ldc : i*ldc+n])
	}
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// needMatrix panics unless s holds rows x cols with row stride ld.
func needMatrix(s []float32, ld, rows, cols int) {
	if ld < cols {
		panic("kernel: row stride less than the number of columns")
	}
	need(s, (rows-1)*ld+cols)
}

// needStored is needMatrix for a matrix that may be stored transposed.
func needStored(s []float32, ld, rows, cols int, trans bool) {
	if trans {
		rows, cols = cols, rows
	}
	needMatrix(s, ld, rows, cols)
}
