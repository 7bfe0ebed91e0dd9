package infomax

import (
	"math"
	"testing"

	"nat/internal/kernel"
	"nat/internal/rng"
	"nat/sphere"
)

// Orthonormal rows give uniform points (5), whatever the other dimensions of the data.
func TestProjectedByOrthonormalRows(t *testing.T) {
	const n = 4000
	for _, c := range []struct{ inputs, d int }{{2, 2}, {40, 6}} {
		singular := make([]float64, c.d)
		for k := range singular {
			singular[k] = 1
		}
		z := Projected(n, c.inputs, singular, rng.New(1, rng.Measure))
		for _, test := range []sphere.Test{sphere.Rayleigh(z, n, c.d), sphere.Bingham(z, n, c.d)} {
			dof := float64(test.DoF)
			within(t, "uniform", test.Statistic, dof, 5*math.Sqrt(2*dof))
		}
	}
}

// In the plane E z z^T has the eigenvalues s_k / (s_1 + s_2): the angular central
// Gaussian law (D. Tyler, 1987).
func TestProjectedByUnequalRows(t *testing.T) {
	const n = 20000
	for _, ratio := range []float64{2, 10} {
		z := Projected(n, 5, []float64{ratio, 1}, rng.New(1, rng.Measure))
		var xx, xy, yy float64
		for i := range n {
			x, y := float64(z[2*i]), float64(z[2*i+1])
			xx, xy, yy = xx+x*x/n, xy+x*y/n, yy+y*y/n
		}
		want := (ratio*ratio + 1) / ((ratio + 1) * (ratio + 1))
		within(t, "trace of the square", xx*xx+2*xy*xy+yy*yy, want, .02)
	}
}

// Unequal singular values keep less than uniform points do.
func TestProjectedKeepsLess(t *testing.T) {
	pool := kernel.NewPool(2)
	defer pool.Close()
	const n, d, sigma = 2000, 4, .2
	last := exact(t, pool, sphere.Uniform(n, d, rng.New(2, rng.Targets)), n, d, sigma)
	for i, singular := range [][]float64{{1, 1, 1, 1}, {1, 1, .5, .5}, {1, .5, .2, .1}} {
		e := exact(t, pool, Projected(n, 12, singular, rng.New(1, rng.Measure)), n, d, sigma)
		spread := 4 * math.Hypot(e.Stderr, last.Stderr)
		if i == 0 {
			within(t, "orthonormal", e.Nats, last.Nats, spread+.05)
		} else if e.Nats > last.Nats-spread {
			t.Errorf("singular values %v keep %+v, after %+v", singular, e, last)
		}
		last = e
	}
}
