package sphere

import (
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat/distmv"
	"gonum.org/v1/gonum/stat/samplemv"
)

// Even draws n points that are more evenly spread than those of [Uniform]: a Halton
// sequence, scrambled at random (Owen), sent through the normal quantile and divided
// by the norms. Each point alone is uniform. Together they have a lower
// discrepancy in few dimensions; in tens of dimensions they are as good as
// random for some thousand points.
func Even(n, d int, r *rand.Rand) []float32 {
	if n < 0 || d < 1 {
		panic("sphere: Even needs n >= 0 and d >= 1")
	}
	z := make([]float32, n*d)
	if n == 0 {
		return z
	}
	cube := mat.NewDense(n, d, nil)
	samplemv.Halton{Kind: samplemv.Owen, Q: distmv.NewUnitUniform(d, r), Src: r}.Sample(cube)
	row := make([]float64, d)
	for i := range n {
		var squares float64
		for k := range row {
			// Inside the cube, where quantiles are finite.
			u := min(max(cube.At(i, k), 1e-12), 1-1e-12)
			row[k] = math.Sqrt2 * math.Erfinv(2*u-1)
			squares += row[k] * row[k]
		}
		for k, x := range row {
			z[i*d+k] = float32(x / math.Sqrt(squares))
		}
	}
	return z
}
