package sphere

import (
	"math"
	"testing"

	"nat/internal/rng"
)

func TestEven(t *testing.T) {
	const n, runs = 512, 6
	for _, d := range []int{2, 3, 5} {
		var even, free float64
		for i := range uint64(runs) {
			a, b := Even(n, d, rng.New(i, rng.Targets)), Uniform(n, d, rng.New(i, rng.Noise))
			for k := range n {
				row := a[k*d : (k+1)*d]
				near(t, "norm", math.Sqrt(dot(row, row)), 1, 1e-6)
			}
			even += Rayleigh(a, n, d).Statistic / runs
			free += Rayleigh(b, n, d).Statistic / runs
		}
		if even > free/5 {
			t.Errorf("d = %d: the mean of even points is off by %g, of random ones by %g", d, even, free)
		}
	}
	a, b := Even(50, 40, rng.New(1, rng.Targets)), Even(50, 40, rng.New(1, rng.Targets))
	for i := range a {
		if a[i] != b[i] {
			t.Fatal("the same seed gives other points")
		}
	}
	near(t, "Wang-Isola in many dimensions", WangIsola(Even(1000, 40, random()), 1000, 40), WangIsolaFloor(40), .05)
}
