package infomax

import (
	"context"
	"math"
	"testing"

	"nat/internal/kernel"
	"nat/internal/rng"
	"nat/sphere"
)

// meanOver is the mean of the information over seeds, and the error of that mean.
func meanOver(t *testing.T, seeds int, of func(seed uint64) (float64, error)) (mean, err float64) {
	t.Helper()
	var sum, square float64
	for seed := range uint64(seeds) {
		x, failed := of(seed)
		if failed != nil {
			t.Fatal(failed)
		}
		sum, square = sum+x, square+x*x
	}
	mean = sum / float64(seeds)
	return mean, math.Sqrt(max(square/float64(seeds)-mean*mean, 0) / float64(seeds))
}

// threeOrthogonal is the information of three orthogonal unit vectors: the exponents of the
// other two, relative to a point's own, are -1/sigma^2 + (g_m - g_1)/sigma with three
// independent normals. By the trapezoidal rule in three dimensions.
func threeOrthogonal(sigma float64) float64 {
	const step, reach = .2, 32
	var weights, exps [2*reach + 1]float64
	for i := range weights {
		g := step * float64(i-reach)
		weights[i], exps[i] = step*math.Exp(-g*g/2)/math.Sqrt(2*math.Pi), math.Exp(g/sigma)
	}
	far := math.Exp(-1 / (sigma * sigma))
	var loss float64
	for i, wi := range weights {
		for j, wj := range weights {
			for k, wk := range weights {
				loss += wi * wj * wk * math.Log1p(far*(exps[j]+exps[k])/exps[i])
			}
		}
	}
	return math.Log(3) - loss
}

// Estimates are unbiased: their mean over seeds is the information, in closed form.
func TestInformationOfOrthogonalPoints(t *testing.T) {
	pool := kernel.NewPool(1)
	defer pool.Close()
	z := []float32{1, 0, 0, 0, 1, 0, 0, 0, 1}
	for _, sigma := range []float64{.4, .8, 3} {
		mean, err := meanOver(t, 2000, func(seed uint64) (float64, error) {
			e, failed := Information(context.Background(), pool, z, 3, 3, []float64{sigma}, seed)
			return e[0].Nats, failed
		})
		within(t, "three orthogonal points", mean, threeOrthogonal(sigma), 4*err+1e-6)
	}
}

// The bounds and the estimates of stochastic encoders agree with closed forms where there
// are such: two antipodes, points far apart, one point repeated.
func TestBoundsInClosedForm(t *testing.T) {
	pool := kernel.NewPool(2)
	defer pool.Close()
	ctx := context.Background()
	const n, d = 64, 3
	same, apart := make([]float32, n*d), make([]float32, n*d)
	for i := range n {
		copy(same[i*d:], []float32{0, 1, 0})
		apart[i*d] = float32(20 * i)
	}
	for _, c := range []struct {
		name string
		z    []float32
		k    int
		want float64
	}{{"one point", same, 8, 0}, {"far apart, 8 candidates", apart, 8, math.Log(8)}, {"far apart, all", apart, n, math.Log(n)}} {
		e, err := InfoNCE(ctx, pool, c.z, n, d, c.k, []float64{1}, 1)
		if err != nil {
			t.Fatal(err)
		}
		within(t, "InfoNCE of "+c.name, e[0].Nats, c.want, 1e-5)
	}
	const axes = 16
	unit := make([]float32, axes*axes)
	for i := range axes {
		unit[i*axes+i] = 1
	}
	e, err := BarberAgakov(ctx, pool, unit, axes, axes, .1, Decoder{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	within(t, "Barber-Agakov of orthogonal points, far apart for the noise", e.Nats, math.Log(axes), 1e-3)
	if e, err = BarberAgakov(ctx, pool, same, n, d, 1, Decoder{}, 1); err != nil || e.Nats > 4*e.Stderr+1e-3 {
		t.Errorf("Barber-Agakov of one point: %+v, %v", e, err)
	}
	pair := []float32{0, 1, 0, -1}
	for _, sigma := range []float64{.7, 1.5} {
		mean, spread := meanOver(t, 300, func(seed uint64) (float64, error) {
			e, err := Stochastic(ctx, pool, pair, 2, 1, 2, []float64{sigma}, seed)
			return e[0].Nats, err
		})
		within(t, "stochastic, antipodes", mean, twoPoints(sigma), 4*spread)
		nce, spread := meanOver(t, 300, func(seed uint64) (float64, error) {
			e, err := InfoNCE(ctx, pool, pair, 2, 2, 2, []float64{sigma}, seed)
			return e[0].Nats, err
		})
		within(t, "InfoNCE, antipodes", nce, twoPoints(sigma), 4*spread)
	}
}

// No encoder keeps more than the capacity, whatever it does.
func TestNoEncoderPassesTheCapacity(t *testing.T) {
	pool := kernel.NewPool(2)
	defer pool.Close()
	const n, d = 1500, 4
	r := rng.New(3, rng.Targets)
	even := sphere.Even(n, d, r)
	cluster := sphere.VonMisesFisher(n, []float32{1, 0, 0, 0}, 5, r)
	for name, z := range map[string][]float32{"even": even, "one cluster": cluster, "uniform": sphere.Uniform(n, d, r),
		"stretched": Projected(n, 8, []float64{1, 1, .3, .1}, r)} {
		for _, sigma := range []float64{.05, .2, .5, 2} {
			e, capacity := exact(t, pool, z, n, d, sigma), Capacity(d, sigma)
			if e.Nats > min(e.Ceiling, capacity)+4*e.Stderr {
				t.Errorf("%s at %v: %+v, capacity %v", name, sigma, e, capacity)
			}
		}
	}
}
