package sphere

import (
	"math"
	"testing"
)

// The mean cosine with mu is I_{d/2}(k) / I_{d/2-1}(k): coth k - 1/k for d = 3; by
// quadrature for others.
func TestVonMisesFisher(t *testing.T) {
	for _, d := range []int{2, 3, 8, 64} {
		for _, kappa := range []float64{0, 1, 20, 300} {
			const n = 4000
			mu := Uniform(1, d, random())
			z := VonMisesFisher(n, mu, kappa, random())
			var weight, first, second, mean float64
			for i := range 20000 {
				theta := (float64(i) + .5) / 20000 * math.Pi
				c := math.Cos(theta)
				w := math.Exp(kappa*(c-1)) * math.Pow(math.Sin(theta), float64(d-2))
				weight, first, second = weight+w, first+w*c, second+w*c*c
			}
			want := first / weight
			sd := math.Sqrt(max(second/weight-want*want, 0) / n)
			for i := range n {
				row := z[i*d : (i+1)*d]
				near(t, "norm", math.Sqrt(dot(row, row)), 1, 1e-5)
				mean += dot(row, mu) / n
			}
			near(t, "mean cosine", mean, want, 5*sd+1e-6)
			if d == 3 && kappa > 0 {
				near(t, "closed form", want, 1/math.Tanh(kappa)-1/kappa, 1e-6)
			}
		}
	}
}
