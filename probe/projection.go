package probe

import (
	"math"

	"gonum.org/v1/gonum/floats"

	"nat/internal/kernel"
	"nat/internal/rng"
)

// RandomProjection maps rows to k dimensions drawn without looking at the n x d rows of
// train but for their mean, which is taken off: an orthonormal basis of a subspace that is
// uniform among all of k <= d dimensions, by normal numbers of the stream
// [rng.Axes] of seed. k is cut to d; with k = d it is a rotation. Its
// Variance is nil.
func RandomProjection(pool *kernel.Pool, train []float32, n, d, k int, seed uint64) *Projection {
	if n < 1 || d < 1 || k < 1 || len(train) < n*d {
		panic("probe: random projection of rows that do not have the given shape, or k < 1")
	}
	p := &Projection{Dim: d, K: min(k, d), Mean: make([]float32, d), Components: make([]float32, d*min(k, d)), pool: pool}
	for j, sum := range columnSums(pool, train[:n*d], d, make([]float64, d), false) {
		p.Mean[j] = float32(sum / float64(n))
	}
	r := rng.New(seed, rng.Axes)
	var axes [][]float64
	for len(axes) < p.K {
		axis := make([]float64, d)
		for j := range axis {
			axis[j] = r.NormFloat64()
		}
		before := floats.Norm(axis, 2)
		for range 2 { // once is not enough for one that lies almost in the span of the others
			for _, other := range axes {
				floats.AddScaled(axis, -floats.Dot(axis, other), other)
			}
		}
		after := floats.Norm(axis, 2)
		if after < 1e-10*before {
			continue
		}
		floats.Scale(1/after, axis)
		for j, v := range axis {
			p.Components[j*p.K+len(axes)] = float32(v)
		}
		axes = append(axes, axis)
	}
	return p
}

// ApplyWhitened is [Projection.Apply] with every component divided by its deviation on
// the training rows, so that all have the variance 1 there; a component without any stays 0.
func (p *Projection) ApplyWhitened(dst, x []float32, n int) {
	p.Apply(dst, x, n)
	scale := make([]float32, p.K)
	for c, v := range p.Variance {
		if v > 1e-12*p.Total {
			scale[c] = float32(1 / math.Sqrt(v))
		}
	}
	for i := range n {
		row := dst[i*p.K : (i+1)*p.K]
		for c := range row {
			row[c] *= scale[c]
		}
	}
}
