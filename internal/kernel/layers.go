package kernel

import "math"

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
	relu          bool
	mean, beta    []float32
	scale, slope  []float32
	shift         []float32
	coefficients  []float32 // memory of scale, slope and shift
	partial, sums []float64
}

func (q *passTask) run(_, i int) {
	lo := i * q.chunk
	q.do(q, active, lo, min(lo+q.chunk, q.n))
}

// startPass returns the pool's pass, empty but for its scratch memory.
func (p *Pool) startPass(n, chunk int) *passTask {
	q := &p.pass
	*q = passTask{n: n, chunk: chunk, coefficients: q.coefficients, partial: q.partial, sums: q.sums}
	return q
}

// loopPass runs do over the pieces.
func (p *Pool) loopPass(q *passTask, do func(q *passTask, t *tier, lo, hi int)) {
	q.do = do
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
	q.partial = grow(q.partial, ceilDiv(q.n, q.chunk)*n)
	p.loopPass(q, do)
	q.sums = grow(q.sums, n)
	clear(q.sums)
	for lo := 0; lo < len(q.partial); lo += n {
		for j, v := range q.partial[lo : lo+n] {
			q.sums[j] += v
		}
	}
	return q.sums[:q.c], q.sums[q.c:]
}

// part returns the two sums of the piece that starts at row lo.
func (q *passTask) part(lo int) (a, b []float64) {
	s := q.partial[lo/q.chunk*2*q.c:][:2*q.c]
	return s[:q.c], s[q.c:]
}

// BatchNormForward is BatchNormStats and BatchNormApply without shortcut. y
// may be x if no gradient is needed.
func (p *Pool) BatchNormForward(y, x, gamma, beta, mean, variance []float32, rows, c int, eps float32, relu bool) {
	p.BatchNormStats(mean, variance, x, rows, c)
	p.BatchNormApply(y, x, nil, gamma, beta, mean, variance, rows, c, eps, relu)
}

// BatchNormInfer is BatchNormApply without shortcut.
func (p *Pool) BatchNormInfer(y, x, gamma, beta, mean, variance []float32, rows, c int, eps float32, relu bool) {
	p.BatchNormApply(y, x, nil, gamma, beta, mean, variance, rows, c, eps, relu)
}

// BatchNormStats sets mean and variance to the mean and the biased variance of
// each column of x, rows x c.
func (p *Pool) BatchNormStats(mean, variance, x []float32, rows, c int) {
	if rows < 1 {
		panic("kernel: batch norm needs rows to take statistics of")
	}
	need(x, rows*c)
	needColumns(c, mean, variance)
	q := p.startRows(rows, c)
	q.x = x
	sum, sq := p.addPartial(q, func(q *passTask, t *tier, lo, hi int) {
		a, b := q.part(lo)
		n := t.whole(q.c)
		x := q.x[lo*q.c:]
		if n > 0 {
			t.columnMoments(a[:n], b[:n], x, hi-lo, q.c)
		}
		columnMomentsGeneric(a[n:], b[n:], x[n:], hi-lo, q.c)
	})
	for j := range c {
		m := sum[j] / float64(rows)
		mean[j] = float32(m)
		variance[j] = float32(max(sq[j]/float64(rows)-m*m, 0))
	}
}

// BatchNormApply normalises each column of x, rows x c, by the given mean and
// variance and adds a shortcut of the same shape, unless it is nil:
// y = gamma (x - mean) / sqrt(variance + eps) + beta + add, then max(y, 0) if
// relu. y may be x or add.
func (p *Pool) BatchNormApply(y, x, add, gamma, beta, mean, variance []float32, rows, c int, eps float32, relu bool) {
	need(x, rows*c)
	need(y, rows*c)
	needColumns(c, gamma, beta, mean, variance)
	q := p.startRows(rows, c)
	q.y, q.x = y, x
	q.columns(gamma, beta, mean, variance, eps)
	q.s[0] = float32(math.Inf(-1))
	if relu {
		q.s[0] = 0
	}
	if add != nil {
		need(add, rows*c)
		q.w = add
		p.loopPass(q, func(q *passTask, _ *tier, lo, hi int) {
			at := lo * q.c
			normColumnsAddGeneric(q.y[at:], q.x[at:], q.w[at:], q.mean, q.scale, q.beta, hi-lo, q.c, q.s[0])
		})
		return
	}
	p.loopPass(q, func(q *passTask, t *tier, lo, hi int) {
		y, x, n := q.y[lo*q.c:], q.x[lo*q.c:], t.whole(q.c)
		if n > 0 {
			t.normColumns(y, x, q.mean[:n], q.scale[:n], q.beta[:n], hi-lo, q.c, q.s[0])
		}
		normColumnsGeneric(y[n:], x[n:], q.mean[n:], q.scale[n:], q.beta[n:], hi-lo, q.c, q.s[0])
	})
}

func invStd(variance, eps float32) float64 {
	return 1 / math.Sqrt(float64(variance)+float64(eps))
}

// columns sets the coefficients of the columns that batch norm has in both
// directions, and allots those of the gradient.
func (q *passTask) columns(gamma, beta, mean, variance []float32, eps float32) {
	q.coefficients = grow(q.coefficients, 3*q.c)
	q.scale, q.slope, q.shift = q.coefficients[:q.c], q.coefficients[q.c:2*q.c], q.coefficients[2*q.c:]
	q.mean, q.beta = mean[:q.c], beta[:q.c]
	for j := range q.scale {
		q.scale[j] = float32(float64(gamma[j]) * invStd(variance[j], eps))
	}
}

// BatchNormBackward computes the gradients of BatchNormApply on the statistics
// of x itself, and so through them, from the gradient dy of its output.
// With relu, dy counts only where the output was positive: where y > 0 or, if
// y is nil, where it is so when computed again from x, which is faster, but
// not possible if there was a shortcut. dadd, unless it is nil, receives what
// counts of dy: the gradient of the shortcut. With u = (x - mean) /
// sqrt(variance + eps), dbeta = sum dy, dgamma = sum dy u, and
//
//	dx = gamma / sqrt(variance + eps) (dy - dbeta/rows - u dgamma/rows)
//
// (Ioffe and Szegedy, 2015). dx and dadd may each be dy, but not each other.
func (p *Pool) BatchNormBackward(dx, dadd, dgamma, dbeta, dy, x, y, gamma, beta, mean, variance []float32, rows, c int, eps float32, relu bool) {
	need(dx, rows*c)
	need(dy, rows*c)
	need(x, rows*c)
	needColumns(c, dgamma, dbeta, gamma, beta, mean, variance)
	q := p.startRows(rows, c)
	q.dx, q.dy, q.x, q.y, q.relu = dx, dy, x, y, relu
	q.columns(gamma, beta, mean, variance, eps)
	if dadd != nil || relu && y == nil {
		p.maskGradient(q, dadd)
	}
	if q.relu {
		need(y, rows*c)
	}
	sum, dot := p.addPartial(q, batchNormSums)
	for j := range c {
		inv := invStd(variance[j], eps)
		dbeta[j], dgamma[j] = float32(sum[j]), float32(dot[j]*inv)
		scale := float64(gamma[j]) * inv
		q.slope[j] = float32(-scale * dot[j] * inv * inv / float64(rows))
		q.shift[j] = float32(-scale * sum[j] / float64(rows))
	}
	p.loopPass(q, batchNormGrad)
}

// maskGradient writes the part of dy that counts to dadd or else to dx and
// leaves it as the gradient of a batch norm without ReLU.
func (p *Pool) maskGradient(q *passTask, dadd []float32) {
	to := q.dx
	if dadd != nil {
		need(dadd, q.n*q.c)
		to = dadd
	}
	q.w = to
	p.loopPass(q, func(q *passTask, _ *tier, lo, hi int) {
		for i := lo * q.c; i < hi*q.c; i++ {
			j := i % q.c
			keep := !q.relu
			if q.relu && q.y != nil {
				keep = q.y[i] > 0
			} else if q.relu {
				keep = (q.x[i]-q.mean[j])*q.scale[j]+q.beta[j] > 0
			}
			g := float32(0)
			if keep {
				g = q.dy[i]
			}
			q.w[i] = g
		}
	})
	q.dy, q.relu = to, false
}

func batchNormSums(q *passTask, t *tier, lo, hi int) {
	a, b := q.part(lo)
	rows, at, n := hi-lo, lo*q.c, t.whole(q.c)
	dy, x := q.dy[at:], q.x[at:]
	if !q.relu {
		if n > 0 {
			t.columnGrads(a[:n], b[:n], dy, x, q.mean[:n], rows, q.c)
		}
		columnGradsGeneric(a[n:], b[n:], dy[n:], x[n:], q.mean[n:], rows, q.c)
		return
	}
	y := q.y[at:]
	if n > 0 {
		t.columnGradsPositive(a[:n], b[:n], dy, x, y, q.mean[:n], rows, q.c)
	}
	columnGradsPositiveGeneric(a[n:], b[n:], dy[n:], x[n:], y[n:], q.mean[n:], rows, q.c)
}

func batchNormGrad(q *passTask, t *tier, lo, hi int) {
	rows, at, n := hi-lo, lo*q.c, t.whole(q.c)
	dx, dy, x := q.dx[at:], q.dy[at:], q.x[at:]
	if !q.relu {
		if n > 0 {
			t.normColumnsGrad(dx, dy, x, q.mean[:n], q.scale[:n], q.slope[:n], q.shift[:n], rows, q.c)
		}
		normColumnsGradGeneric(dx[n:], dy[n:], x[n:], q.mean[n:], q.scale[n:], q.slope[n:], q.shift[n:], rows, q.c)
		return
	}
	y := q.y[at:]
	if n > 0 {
		t.normColumnsGradPositive(dx, dy, x, y, q.mean[:n], q.scale[:n], q.slope[:n], q.shift[:n], rows, q.c)
	}
	normColumnsGradPositiveGeneric(dx[n:], dy[n:], x[n:], y[n:], q.mean[n:], q.scale[n:], q.slope[n:], q.shift[n:], rows, q.c)
}

// AddBias adds bias to each of the rows of y, rows x c.
func (p *Pool) AddBias(y, bias []float32, rows, c int) {
	need(y, rows*c)
	needColumns(c, bias)
	q := p.startRows(rows, c)
	q.y, q.x = y, bias[:c]
	p.loopPass(q, func(q *passTask, _ *tier, lo, hi int) {
		for r := lo; r < hi; r++ {
			Axpy(q.y[r*q.c:(r+1)*q.c], 1, q.x)
		}
	})
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

// ReLU sets y = x where x > 0 and slope x elsewhere, over the length of y.
// y may be x.
func (p *Pool) ReLU(y, x []float32, slope float32) {
	need(x, len(y))
	q := p.startPass(len(y), elemChunk)
	q.y, q.x, q.s[0] = y, x, slope
	p.loopPass(q, func(q *passTask, t *tier, lo, hi int) {
		n := lo + t.whole(hi-lo)
		t.relu(q.y[lo:n], q.x[lo:n], q.s[0])
		reluGeneric(q.y[n:hi], q.x[n:hi], q.s[0])
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
	p.loopPass(q, func(q *passTask, t *tier, lo, hi int) {
		n := lo + t.whole(hi-lo)
		t.reluGrad(q.dx[lo:n], q.dy[lo:n], q.y[lo:n], q.s[0])
		reluGradGeneric(q.dx[n:hi], q.dy[n:hi], q.y[n:hi], q.s[0])
	})
}

// NormalizeRows sets z = x / ||x|| for each of the rows of x, rows x d, and
// norm to the lengths. A row of zeros stays zero, with norm 0. z may be x.
func (p *Pool) NormalizeRows(z, norm, x []float32, rows, d int) {
	need(z, rows*d)
	need(x, rows*d)
	need(norm, rows)
	q := p.startRows(rows, d)
	q.y, q.x, q.v = z, x, norm
	p.loopPass(q, func(q *passTask, _ *tier, lo, hi int) {
		for r := lo; r < hi; r++ {
			q.v[r] = normalizeRow(q.y[r*q.c:(r+1)*q.c], q.x[r*q.c:(r+1)*q.c])
		}
	})
}

// normalizeRow returns the length of x. It is summed up in float64, where the
// square of a float32 can neither overflow nor vanish.
func normalizeRow(z, x []float32) float32 {
	var s [4]float64
	for i, v := range x {
		s[i&3] += float64(v) * float64(v)
	}
	norm := math.Sqrt(s[0] + s[1] + s[2] + s[3])
	if norm == 0 {
		clear(z)
		return 0
	}
	for i, v := range x {
		z[i] = float32(float64(v) / norm)
	}
	return float32(norm)
}

// NormalizeRowsGrad computes the gradient of NormalizeRows' input from the
// gradient dz of its output z: dx = (dz - z (z.dz)) / norm, the part of dz
// tangent to the sphere. Rows of norm 0 get zero. dx may be dz.
func (p *Pool) NormalizeRowsGrad(dx, dz, z, norm []float32, rows, d int) {
	need(dx, rows*d)
	need(dz, rows*d)
	need(z, rows*d)
	need(norm, rows)
	q := p.startRows(rows, d)
	q.dx, q.dy, q.y, q.v = dx, dz, z, norm
	p.loopPass(q, func(q *passTask, _ *tier, lo, hi int) {
		for r := lo; r < hi; r++ {
			i, j := r*q.c, (r+1)*q.c
			normalizeRowGrad(q.dx[i:j], q.dy[i:j], q.y[i:j], q.v[r])
		}
	})
}

func normalizeRowGrad(dx, dz, z []float32, norm float32) {
	if norm == 0 {
		clear(dx)
		return
	}
	var s float64
	for i, v := range dz {
		s += float64(v) * float64(z[i])
	}
	dot, inv := float32(s), 1/norm
	for i, v := range dz {
		dx[i] = (v - z[i]*dot) * inv
	}
}

// SGD updates w, over its length, by the gradient g with weight decay and
// momentum: h = g + decay w, v = momentum v + h, w -= lr v, or with nesterov
// w -= lr (h + momentum v). v may be nil if momentum is 0.
func (p *Pool) SGD(w, g, v []float32, lr, momentum, decay float32, nesterov bool) {
	need(g, len(w))
	q := p.startPass(len(w), elemChunk)
	q.w, q.g, q.v = w, g, v
	if momentum == 0 {
		q.s = [7]float32{lr, decay}
		p.loopPass(q, func(q *passTask, t *tier, lo, hi int) {
			n := lo + t.whole(hi-lo)
			t.sgd(q.w[lo:n], q.g[lo:n], q.s[0], q.s[1])
			sgdGeneric(q.w[n:hi], q.g[n:hi], q.s[0], q.s[1])
		})
		return
	}
	need(v, len(w))
	q.s = [7]float32{lr, momentum, decay, 0, 1}
	if nesterov {
		q.s[3], q.s[4] = 1, momentum
	}
	p.loopPass(q, func(q *passTask, t *tier, lo, hi int) {
		n, s := lo+t.whole(hi-lo), &q.s
		t.momentum(q.w[lo:n], q.g[lo:n], q.v[lo:n], s[0], s[1], s[2], s[3], s[4])
		momentumGeneric(q.w[n:hi], q.g[n:hi], q.v[n:hi], s[0], s[1], s[2], s[3], s[4])
	})
}

// AdamW updates w, over its length, by Adam with decoupled weight decay
// (Loshchilov and Hutter, 2019): m = beta1 m + (1-beta1) g, v = beta2 v +
// (1-beta2) g^2, w -= lr (m^ / (sqrt(v^) + eps) + decay w), where
// m^ = m / (1 - beta1^step) and v^ = v / (1 - beta2^step) undo the start from
// zero. step counts from 1.
func (p *Pool) AdamW(w, g, m, v []float32, step int, lr, beta1, beta2, eps, decay float32) {
	if step < 1 {
		panic("kernel: AdamW steps count from 1")
	}
	need(g, len(w))
	need(m, len(w))
	need(v, len(w))
	c1 := float32(1 / (1 - math.Pow(float64(beta1), float64(step))))
	c2 := float32(1 / (1 - math.Pow(float64(beta2), float64(step))))
	q := p.startPass(len(w), elemChunk)
	q.w, q.g, q.m, q.v, q.s = w, g, m, v, [7]float32{lr, beta1, beta2, eps, decay, c1, c2}
	p.loopPass(q, func(q *passTask, t *tier, lo, hi int) {
		n, s := lo+t.whole(hi-lo), &q.s
		t.adamW(q.w[lo:n], q.g[lo:n], q.m[lo:n], q.v[lo:n], s[0], s[1], s[2], s[3], s[4], s[5], s[6])
		adamWGeneric(q.w[n:hi], q.g[n:hi], q.m[n:hi], q.v[n:hi], s[0], s[1], s[2], s[3], s[4], s[5], s[6])
	})
}
