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
