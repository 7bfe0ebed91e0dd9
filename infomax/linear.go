package infomax

import (
	"math/rand/v2"

	"gonum.org/v1/gonum/mat"

	"nat/sphere"
)

// Projected draws n points z = A x / ||A x|| of the linear encoder of (5): x is normal
// in `inputs` dimensions, and A has the given singular values, all positive, and
// random singular vectors; its rows are orthonormal if they are all 1, and then z is
// uniform. z is n x d, d = len(singular) >= 2, at most inputs.
func Projected(n, inputs int, singular []float64, r *rand.Rand) (z []float32) {
	d := len(singular)
	if n < 0 || d < 2 || inputs < d {
		panic("infomax: Projected wants n >= 0 and 2 <= len(singular) <= inputs")
	}
	for _, s := range singular {
		if !(s > 0) {
			panic("infomax: Projected wants positive singular values")
		}
	}
	left, right := orthonormal(d, d, r), orthonormal(inputs, d, r)
	var scaled, a mat.Dense
	scaled.Mul(left, mat.NewDiagDense(d, singular))
	a.Mul(&scaled, right.T())
	z = make([]float32, n*d)
	x, y := mat.NewVecDense(inputs, nil), mat.NewVecDense(d, nil)
	for i := range n {
		for k := range inputs {
			x.SetVec(k, r.NormFloat64())
		}
		y.MulVec(&a, x)
		norm := mat.Norm(y, 2)
		for k := range d {
			z[i*d+k] = float32(y.AtVec(k) / norm)
		}
	}
	return z
}

// orthonormal draws cols orthonormal columns of length rows: uniform axes, each made
// orthogonal to those before it, twice for the rounding of the first time.
func orthonormal(rows, cols int, r *rand.Rand) *mat.Dense {
	q := mat.NewDense(rows, cols, nil)
	for j := range cols {
		column := mat.NewVecDense(rows, nil)
		for k, v := range sphere.Uniform(1, rows, r) {
			column.SetVec(k, float64(v))
		}
		for range 2 {
			for earlier := range j {
				axis := q.ColView(earlier)
				column.AddScaledVec(column, -mat.Dot(axis, column), axis)
			}
			column.ScaleVec(1/mat.Norm(column, 2), column)
		}
		q.SetCol(j, column.RawVector().Data)
	}
	return q
}
