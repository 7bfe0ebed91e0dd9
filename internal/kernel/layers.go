package kernel

import "math"

const (
	rowChunk  = 256   // rows per partial sum of a statistic
	elemChunk = 16384 // elements per piece of an elementwise pass
)

// columnSums adds up, in float64, two functions of every column over all rows:
// f adds the contributions of rows [lo, hi) to a and b.
func (p *Pool) columnSums(rows, c int, f func(a, b []float64, lo, hi int)) (a, b []float64) {
	n := (rows + rowChunk - 1) / rowChunk
	part := make([]float64, n*2*c)
	p.DoChunks(rows, rowChunk, func(lo, hi int) {
		s := part[lo/rowChunk*2*c:][:2*c]
		f(s[:c], s[c:], lo, hi)
	})
	sum := make([]float64, 2*c)
	for i, v := range part {
		sum[i%(2*c)] += v
	}
	return sum[:c], sum[c:]
}

// BatchNormForward normalises each column of x, rows x c, by its mean and
// biased variance over the rows, both written out:
// y = gamma (x - mean) / sqrt(variance + eps) + beta, then max(y, 0) if relu.
func (p *Pool) BatchNormForward(y, x, gamma, beta, mean, variance []float32, rows, c int, eps float32, relu bool) {
	need(x, rows*c)
	s, q := p.columnSums(rows, c, func(a, b []float64, lo, hi int) {
		for r := lo; r < hi; r++ {
			for j, v := range x[r*c : (r+1)*c] {
				a[j] += float64(v)
				b[j] += float64(v) * float64(v)
			}
		}
	})
	for j := range c {
		m := s[j] / float64(rows)
		mean[j] = float32(m)
		variance[j] = float32(max(q[j]/float64(rows)-m*m, 0))
	}
	p.BatchNormInfer(y, x, gamma, beta, mean, variance, rows, c, eps, relu)
}

// BatchNormInfer is BatchNormForward with a mean and a variance that are given.
func (p *Pool) BatchNormInfer(y, x, gamma, beta, mean, variance []float32, rows, c int, eps float32, relu bool) {
	need(x, rows*c)
	need(y, rows*c)
	p.DoChunks(rows, rowChunk, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			for j, v := range x[r*c : (r+1)*c] {
				v = (v-mean[j])*gamma[j]*invStd(variance[j], eps) + beta[j]
				if relu {
					v = max(v, 0)
				}
				y[r*c+j] = v
			}
		}
	})
}

func invStd(variance, eps float32) float32 {
	return float32(1 / math.Sqrt(float64(variance)+float64(eps)))
}

// BatchNormBackward computes the gradients of BatchNormForward, through mean
// and variance, from the gradient dy of its output y. With relu, dy counts only
// where y > 0. dx may be dy.
func (p *Pool) BatchNormBackward(dx, dgamma, dbeta, dy, x, y, gamma, mean, variance []float32, rows, c int, eps float32, relu bool) {
	need(dx, rows*c)
	need(dy, rows*c)
	need(x, rows*c)
	if relu {
		need(y, rows*c)
	}
	s, q := p.columnSums(rows, c, func(a, b []float64, lo, hi int) {
		for r := lo; r < hi; r++ {
			for j := range c {
				if g := dy[r*c+j]; !relu || y[r*c+j] > 0 {
					a[j] += float64(g)
					b[j] += float64(g) * float64((x[r*c+j]-mean[j])*invStd(variance[j], eps))
				}
			}
		}
	})
	for j := range c {
		dbeta[j], dgamma[j] = float32(s[j]), float32(q[j])
	}
	inv := 1 / float32(rows)
	p.DoChunks(rows, rowChunk, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			for j := range c {
				g := dy[r*c+j]
				if relu && !(y[r*c+j] > 0) {
					g = 0
				}
				k := invStd(variance[j], eps)
				xhat := (x[r*c+j] - mean[j]) * k
				dx[r*c+j] = gamma[j] * k * (g - dbeta[j]*inv - xhat*dgamma[j]*inv)
			}
		}
	})
}

// AddBias adds bias to each of the rows of y, rows x c.
func (p *Pool) AddBias(y, bias []float32, rows, c int) {
	need(y, rows*c)
	p.DoChunks(rows, rowChunk, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			Axpy(y[r*c:(r+1)*c], 1, bias)
		}
	})
}

// BiasGrad overwrites db with the column sums of dy, rows x c.
func (p *Pool) BiasGrad(db, dy []float32, rows, c int) {
	need(dy, rows*c)
	s, _ := p.columnSums(rows, c, func(a, _ []float64, lo, hi int) {
		for r := lo; r < hi; r++ {
			for j, v := range dy[r*c : (r+1)*c] {
				a[j] += float64(v)
			}
		}
	})
	for j := range c {
		db[j] = float32(s[j])
	}
}

// ReLU sets y = x where x > 0 and slope x elsewhere, over the length of y.
func (p *Pool) ReLU(y, x []float32, slope float32) {
	need(x, len(y))
	p.DoChunks(len(y), elemChunk, func(lo, hi int) {
		for i, v := range x[lo:hi] {
			if !(v > 0) {
				v *= slope
			}
			y[lo+i] = v
		}
	})
}

// ReLUGrad sets dx = dy where y > 0 and slope dy elsewhere, over the length of
// dx, where y is ReLU's output. The derivative at zero is slope.
func (p *Pool) ReLUGrad(dx, dy, y []float32, slope float32) {
	need(dy, len(dx))
	need(y, len(dx))
	p.DoChunks(len(dx), elemChunk, func(lo, hi int) {
		for i, v := range dy[lo:hi] {
			if !(y[lo+i] > 0) {
				v *= slope
			}
			dx[lo+i] = v
		}
	})
}

// NormalizeRows sets z = x / ||x|| for each of the rows of x, rows x d, and
// norm to the lengths. A row of zeros stays zero, with norm 0.
func (p *Pool) NormalizeRows(z, norm, x []float32, rows, d int) {
	need(z, rows*d)
	need(x, rows*d)
	need(norm, rows)
	p.DoChunks(rows, 64, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			var s float64
			for _, v := range x[r*d : (r+1)*d] {
				s += float64(v) * float64(v)
			}
			norm[r] = float32(math.Sqrt(s))
			scale := float32(0)
			if s > 0 {
				scale = float32(1 / math.Sqrt(s))
			}
			for j, v := range x[r*d : (r+1)*d] {
				z[r*d+j] = v * scale
			}
		}
	})
}

// NormalizeRowsGrad computes the gradient of NormalizeRows' input from the
// gradient dz of its output z: dx = (dz - z (z.dz)) / norm, the part of dz
// tangent to the sphere. Rows of norm 0 get zero. dx may be dz.
func (p *Pool) NormalizeRowsGrad(dx, dz, z, norm []float32, rows, d int) {
	need(dx, rows*d)
	need(dz, rows*d)
	need(z, rows*d)
	need(norm, rows)
	p.DoChunks(rows, 64, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			g, u := dz[r*d:(r+1)*d], z[r*d:(r+1)*d]
			scale := float32(0)
			if norm[r] > 0 {
				scale = 1 / norm[r]
			}
			s := Dot(u, g)
			for j, v := range g {
				dx[r*d+j] = (v - u[j]*s) * scale
			}
		}
	})
}

// SGD updates w, over its length, by the gradient g with momentum v and weight decay:
// h = g + decay w, v = momentum v + h, w -= lr v, or with nesterov
// w -= lr (h + momentum v). v may be nil if momentum is 0.
func (p *Pool) SGD(w, g, v []float32, lr, momentum, decay float32, nesterov bool) {
	need(g, len(w))
	if momentum != 0 {
		need(v, len(w))
	}
	p.DoChunks(len(w), elemChunk, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			h := g[i] + decay*w[i]
			step := h
			if momentum != 0 {
				v[i] = momentum*v[i] + h
				step = v[i]
				if nesterov {
					step = h + momentum*v[i]
				}
			}
			w[i] -= lr * step
		}
	})
}

// AdamW updates w, over its length, by Adam with decoupled weight decay (Loshchilov and Hutter,
// 2019). m and v are the running moments; step counts from 1.
func (p *Pool) AdamW(w, g, m, v []float32, step int, lr, beta1, beta2, eps, decay float32) {
	need(g, len(w))
	need(m, len(w))
	need(v, len(w))
	c1 := float32(1 / (1 - math.Pow(float64(beta1), float64(step))))
	c2 := float32(1 / (1 - math.Pow(float64(beta2), float64(step))))
	p.DoChunks(len(w), elemChunk, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			m[i] = beta1*m[i] + (1-beta1)*g[i]
			v[i] = beta2*v[i] + (1-beta2)*g[i]*g[i]
			den := float32(math.Sqrt(float64(v[i]*c2))) + eps
			w[i] -= lr * (m[i]*c1/den + decay*w[i])
		}
	})
}
