package kernel

const (
	statFloats = 32 << 10 // elements per partial sum of a statistic, about
	elemChunk  = 16 << 10 // elements per piece of an elementwise pass
)

// passTask is the pass over rows or elements in progress: do handles the piece
// [lo, hi). Which fields are in use depends on the pass.
type passTask struct {
	do            func(q *passTask, t *tier, lo, hi int)
	n, chunk      int
	c             int // columns
	y, x, dy, dx  []float32
	w, g, m, v    []float32
	s             [7]float32
	relu, reverse bool // reverse: the last piece first
	mean, beta    []float32
	scale, slope  []float32
	shift         []float32
	coefficients  []float32 // memory of scale, slope and shift
	partial       []float64
}

func (q *passTask) run(_, i int) {
	lo := i * q.chunk
	q.do(q, active, lo, min(lo+q.chunk, q.n))
}

// startPass returns the pool's pass, empty but for its scratch memory.
func (p *Pool) startPass(n, chunk int) *passTask {
	q := &p.pass
	*q = passTask{n: n, chunk: chunk, coefficients: q.coefficients, partial: q.partial}
	return q
}

// loopPass runs do over the pieces.
func (p *Pool) loopPass(q *passTask, do func(q *passTask, t *tier, lo, hi int)) {
	q.do = do
	p.backward = q.reverse
	defer func() { p.backward = false }()
	p.loopUnless(q.n <= q.chunk, ceilDiv(q.n, q.chunk), q)
}

// startRows is startPass over the rows of a matrix, in pieces whose size
// depends on the shape only.
func (p *Pool) startRows(rows, c int) *passTask {
	if rows < 0 || c < 1 {
		panic("kernel: matrix size out of range")
	}
	q := p.startPass(rows, max(statFloats/c, 8))
	q.c = c
	return q
}

// addPartial runs do, which leaves two sums per column of each piece in what
// q.part returns for it, and adds the pieces up in order.
func (p *Pool) addPartial(q *passTask, do func(q *passTask, t *tier, lo, hi int)) (a, b []float64) {
	n := 2 * q.c
	q.partial = grow(q.partial, max(ceilDiv(q.n, q.chunk), 1)*n)
	if q.n == 0 {
		clear(q.partial) // no piece will be written
	}
	p.loopPass(q, do)
	sums := sumPieces(q.partial, n)
	return sums[:q.c], sums[q.c:]
}

// sumPieces adds up pieces of n elements in order, in the place of the first.
func sumPieces(pieces []float64, n int) []float64 {
	sums, whole := pieces[:n], active.whole(n)
	for lo := n; lo < len(pieces); lo += n {
		piece := pieces[lo : lo+n]
		if whole > 0 {
			active.addDoubles(sums[:whole], piece[:whole])
		}
		addDoublesGeneric(sums[whole:], piece[whole:])
	}
	return sums
}

// part returns the two sums of the piece that starts at row lo.
func (q *passTask) part(lo int) (a, b []float64) {
	s := q.partial[lo/q.chunk*2*q.c:][:2*q.c]
	return s[:q.c], s[q.c:]
}

// Add adds x to y, over the length of y.
func (p *Pool) Add(y, x []float32) {
	need(x, len(y))
	q := p.startPass(len(y), elemChunk)
	q.y, q.x = y, x
	p.loopPass(q, func(q *passTask, _ *tier, lo, hi int) { Axpy(q.y[lo:hi], 1, q.x[lo:hi]) })
}

// BiasGrad overwrites db with the column sums of dy, rows x c.
func (p *Pool) BiasGrad(db, dy []float32, rows, c int) {
	need(dy, rows*c)
	needColumns(c, db)
	q := p.startRows(rows, c)
	q.x = dy
	sum, _ := p.addPartial(q, func(q *passTask, t *tier, lo, hi int) {
		a, b := q.part(lo)
		clear(b)
		x, n := q.x[lo*q.c:], t.whole(q.c)
		if n > 0 {
			t.columnSums(a[:n], x, hi-lo, q.c)
		}
		columnSumsGeneric(a[n:], x[n:], hi-lo, q.c)
	})
	for j := range c {
		db[j] = float32(sum[j])
	}
}

// needColumns panics unless each s has at least c elements.
func needColumns(c int, s ...[]float32) {
	for _, v := range s {
		need(v, c)
	}
}

// ReLU sets y = x where x > 0 and slope x elsewhere (0 if slope is 0, of -Inf
// too), over the length of y. y may be x.
func (p *Pool) ReLU(y, x []float32, slope float32) {
	need(x, len(y))
	q := p.startPass(len(y), elemChunk)
	q.y, q.x, q.s[0] = y, x, slope
	if slope == 0 {
		p.loopPass(q, func(q *passTask, t *tier, lo, hi int) {
			n := lo + t.whole(hi-lo)
			t.relu(q.y[lo:n], q.x[lo:n])
			reluGeneric(q.y[n:hi], q.x[n:hi])
		})
		return
	}
	p.loopPass(q, func(q *passTask, t *tier, lo, hi int) {
		n := lo + t.whole(hi-lo)
		t.leaky(q.y[lo:n], q.x[lo:n], q.s[0])
		leakyGeneric(q.y[n:hi], q.x[n:hi], q.s[0])
	})
}

// ReLUGrad sets dx = dy where y > 0 and slope dy elsewhere, over the length of
// dx, where y is ReLU's output or its input. The derivative at zero is slope.
// dx may be dy.
func (p *Pool) ReLUGrad(dx, dy, y []float32, slope float32) {
	need(dy, len(dx))
	need(y, len(dx))
	q := p.startPass(len(dx), elemChunk)
	q.dx, q.dy, q.y, q.s[0] = dx, dy, y, slope
	if slope == 0 {
		p.loopPass(q, func(q *passTask, t *tier, lo, hi int) {
			n := lo + t.whole(hi-lo)
			t.reluGrad(q.dx[lo:n], q.dy[lo:n], q.y[lo:n])
			reluGradGeneric(q.dx[n:hi], q.dy[n:hi], q.y[n:hi])
		})
		return
	}
	p.loopPass(q, func(q *passTask, t *tier, lo, hi int) {
		n := lo + t.whole(hi-lo)
		t.leakyGrad(q.dx[lo:n], q.dy[lo:n], q.y[lo:n], q.s[0])
		leakyGradGeneric(q.dx[n:hi], q.dy[n:hi], q.y[n:hi], q.s[0])
	})
}
