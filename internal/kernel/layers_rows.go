package kernel

import "math"

// NormalizeRows sets z = x / ||x|| for each of the rows of x, rows x d, and
// norm to the lengths. A row of zeros stays zero, with norm 0. z may be x.
func (p *Pool) NormalizeRows(z, norm, x []float32, rows, d int) {
	need(z, rows*d)
	need(x, rows*d)
	need(norm, rows)
	q := p.startRows(rows, d)
	q.y, q.x, q.v = z, x, norm
	p.loopPass(q, func(q *passTask, t *tier, lo, hi int) {
		for r := lo; r < hi; r++ {
			q.v[r] = t.normalizeRow(q.y[r*q.c:(r+1)*q.c], q.x[r*q.c:(r+1)*q.c])
		}
	})
}

// normalizeRow returns the length of x, of whose square there is no float32
// where x is very long or short.
func (t *tier) normalizeRow(z, x []float32) float32 {
	norm := math.Sqrt(t.dotRow(x, x))
	if norm == 0 {
		clear(z)
		return 0
	}
	n := t.whole(len(x))
	t.scaleDoubles(z[:n], x[:n], 1/norm)
	scaleDoublesGeneric(z[n:], x[n:], 1/norm)
	return float32(norm)
}

// dotRow is dotDoubles of any length.
func (t *tier) dotRow(a, b []float32) float64 {
	n := t.whole(len(a))
	return t.dotDoubles(a[:n], b[:n]) + dotDoublesGeneric(a[n:], b[n:])
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
	p.loopPass(q, func(q *passTask, t *tier, lo, hi int) {
		for r := lo; r < hi; r++ {
			i, j := r*q.c, (r+1)*q.c
			t.normalizeRowGrad(q.dx[i:j], q.dy[i:j], q.y[i:j], q.v[r])
		}
	})
}

func (t *tier) normalizeRowGrad(dx, dz, z []float32, norm float32) {
	if norm == 0 {
		clear(dx)
		return
	}
	n, dot := t.whole(len(dx)), float32(t.dotRow(dz, z))
	t.tangent(dx[:n], dz[:n], z[:n], dot, 1/norm)
	tangentGeneric(dx[n:], dz[n:], z[n:], dot, 1/norm)
}
