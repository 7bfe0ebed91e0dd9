package kernel

import "math"

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
		if n < q.c {
			columnMomentsGeneric(a[n:], b[n:], x[n:], hi-lo, q.c)
		}
	})
	setMoments(mean, variance, sum, sq, rows)
}

// setMoments sets mean and biased variance of the columns of so many rows, from
// the sums of their elements and of the squares.
func setMoments(mean, variance []float32, sum, sq []float64, rows int) {
	for j, s := range sum {
		m := s / float64(rows)
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
		p.loopPass(q, batchNormApplyAdd)
		return
	}
	p.loopPass(q, batchNormApply)
}

func batchNormApply(q *passTask, t *tier, lo, hi int) {
	y, x, n := q.y[lo*q.c:], q.x[lo*q.c:], t.whole(q.c)
	if n > 0 {
		t.normColumns(y, x, q.mean[:n], q.scale[:n], q.beta[:n], hi-lo, q.c, q.s[0])
	}
	if n < q.c {
		normColumnsGeneric(y[n:], x[n:], q.mean[n:], q.scale[n:], q.beta[n:], hi-lo, q.c, q.s[0])
	}
}

func batchNormApplyAdd(q *passTask, t *tier, lo, hi int) {
	y, x, add, n := q.y[lo*q.c:], q.x[lo*q.c:], q.w[lo*q.c:], t.whole(q.c)
	if n > 0 {
		t.normColumnsAdd(y, x, add, q.mean[:n], q.scale[:n], q.beta[:n], hi-lo, q.c, q.s[0])
	}
	if n < q.c {
		normColumnsAddGeneric(y[n:], x[n:], add[n:], q.mean[n:], q.scale[n:], q.beta[n:], hi-lo, q.c, q.s[0])
	}
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
	sums, grad := q.maskedBy(dadd)
	sum, dot := p.addPartial(q, sums)
	for j := range c {
		inv := invStd(variance[j], eps)
		dbeta[j], dgamma[j] = float32(sum[j]), float32(dot[j]*inv)
		scale := float64(gamma[j]) * inv
		q.slope[j] = float32(-scale * dot[j] * inv * inv / float64(rows))
		q.shift[j] = float32(-scale * sum[j] / float64(rows))
	}
	q.reverse = true // what the sums read last may be in a cache still
	p.loopPass(q, grad)
}

// maskedBy returns the two passes of BatchNormBackward. The second one works
// on what the first has written of dy, if it has.
func (q *passTask) maskedBy(dadd []float32) (sums, grad func(q *passTask, t *tier, lo, hi int)) {
	n := q.n * q.c
	if dadd != nil {
		need(dadd, n)
		q.w = dadd
	}
	switch {
	case q.relu && q.y != nil:
		need(q.y, n)
		if dadd == nil {
			q.w = q.dx
		}
		return batchNormSumsMasked, batchNormGradMasked
	case q.relu && dadd != nil:
		panic("kernel: the gradient of a shortcut needs the output")
	case q.relu:
		return batchNormSumsReLU, batchNormGradReLU
	case dadd != nil && n > 0 && &dadd[0] != &q.dy[0]:
		return batchNormSumsCopy, batchNormGrad
	}
	return batchNormSums, batchNormGrad
}

func batchNormSums(q *passTask, t *tier, lo, hi int) {
	a, b := q.part(lo)
	rows, at, n := hi-lo, lo*q.c, t.whole(q.c)
	dy, x := q.dy[at:], q.x[at:]
	if n > 0 {
		t.columnGrads(a[:n], b[:n], dy, x, q.mean[:n], rows, q.c)
	}
	if n < q.c {
		columnGradsGeneric(a[n:], b[n:], dy[n:], x[n:], q.mean[n:], rows, q.c)
	}
}

func batchNormSumsCopy(q *passTask, t *tier, lo, hi int) {
	batchNormSums(q, t, lo, hi)
	copy(q.w[lo*q.c:hi*q.c], q.dy[lo*q.c:])
}

func batchNormSumsMasked(q *passTask, t *tier, lo, hi int) {
	a, b := q.part(lo)
	rows, at, n := hi-lo, lo*q.c, t.whole(q.c)
	d, dy, x, y := q.w[at:], q.dy[at:], q.x[at:], q.y[at:]
	if n > 0 {
		t.columnGradsMasked(a[:n], b[:n], d, dy, x, y, q.mean[:n], rows, q.c)
	}
	if n < q.c {
		columnGradsMaskedGeneric(a[n:], b[n:], d[n:], dy[n:], x[n:], y[n:], q.mean[n:], rows, q.c)
	}
}

func batchNormSumsReLU(q *passTask, t *tier, lo, hi int) {
	a, b := q.part(lo)
	rows, at, n := hi-lo, lo*q.c, t.whole(q.c)
	dy, x := q.dy[at:], q.x[at:]
	if n > 0 {
		t.columnGradsReLU(a[:n], b[:n], dy, x, q.mean[:n], q.scale[:n], q.beta[:n], rows, q.c)
	}
	if n < q.c {
		columnGradsReLUGeneric(a[n:], b[n:], dy[n:], x[n:], q.mean[n:], q.scale[n:], q.beta[n:], rows, q.c)
	}
}

func batchNormGrad(q *passTask, t *tier, lo, hi int) { q.normGrad(t, q.dy, lo, hi) }

func batchNormGradMasked(q *passTask, t *tier, lo, hi int) { q.normGrad(t, q.w, lo, hi) }

func (q *passTask) normGrad(t *tier, dy []float32, lo, hi int) {
	rows, at, n := hi-lo, lo*q.c, t.whole(q.c)
	dx, dy, x := q.dx[at:], dy[at:], q.x[at:]
	if n > 0 {
		t.normColumnsGrad(dx, dy, x, q.mean[:n], q.scale[:n], q.slope[:n], q.shift[:n], rows, q.c)
	}
	if n < q.c {
		normColumnsGradGeneric(dx[n:], dy[n:], x[n:], q.mean[n:], q.scale[n:], q.slope[n:], q.shift[n:], rows, q.c)
	}
}

func batchNormGradReLU(q *passTask, t *tier, lo, hi int) {
	rows, at, n := hi-lo, lo*q.c, t.whole(q.c)
	dx, dy, x := q.dx[at:], q.dy[at:], q.x[at:]
	if n > 0 {
		t.normColumnsGradReLU(dx, dy, x, q.mean[:n], q.scale[:n], q.beta[:n], q.slope[:n], q.shift[:n], rows, q.c)
	}
	if n < q.c {
		normColumnsGradReLUGeneric(dx[n:], dy[n:], x[n:], q.mean[n:], q.scale[n:], q.beta[n:], q.slope[n:], q.shift[n:], rows, q.c)
	}
}
