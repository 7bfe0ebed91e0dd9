package infomax

import (
	"context"
	"math"
	"slices"
	"testing"

	"nat/internal/kernel"
	"nat/internal/rng"
	"nat/sphere"
)

func fisherAt(t *testing.T, pool *kernel.Pool, mu []float32, n, d int, kappa, sigma float64) FisherEstimate {
	t.Helper()
	e, err := Fisher(context.Background(), pool, mu, n, d, kappa, []float64{sigma}, 1)
	if err != nil {
		t.Fatal(err)
	}
	return e[0]
}

// A head that ignores its input tells nothing, and its noisy draws are those of the uniform
// law: its price is the capacity. A sharp head is the deterministic encoder.
func TestFisherExtremes(t *testing.T) {
	pool := kernel.NewPool(2)
	defer pool.Close()
	const n = 700
	for _, d := range []int{2, 10} {
		for _, sigma := range []float64{.1, .5} {
			mu := sphere.Uniform(n, d, rng.New(4, rng.Targets))
			blind := fisherAt(t, pool, mu, n, d, 0, sigma)
			within(t, "no information", blind.Nats, 0, 1e-6)
			within(t, "price of a blind head", blind.Price, Capacity(d, sigma), 4*blind.PriceStderr)
			sharp, plain := fisherAt(t, pool, mu, n, d, 1e7, sigma), exact(t, pool, mu, n, d, sigma)
			within(t, "sharp head", sharp.Nats, plain.Nats, 4*math.Hypot(sharp.Stderr, plain.Stderr))
			within(t, "price of a sharp head", sharp.Price, 0, 4*sharp.PriceStderr+1e-3)
		}
	}
}

// The density is known, so the information agrees with that of many draws, which
// approach it from above; and with the capacity less the price, where points are many.
func TestFisherAgainstDraws(t *testing.T) {
	pool := kernel.NewPool(2)
	defer pool.Close()
	const points, draws, d, kappa, sigma = 40, 100, 4, 12, .3
	mu := sphere.Uniform(points, d, rng.New(4, rng.Targets))
	var z []float32
	for i := range points {
		z = append(z, sphere.VonMisesFisher(draws, mu[i*d:(i+1)*d], kappa, rng.New(6, rng.Noise, uint64(i)))...)
	}
	sampled, err := Stochastic(context.Background(), pool, z, points, draws, d, []float64{sigma}, 1)
	if err != nil {
		t.Fatal(err)
	}
	var sum, square float64 // over repetitions of the 40 points: a seed draws once for each
	const seeds = 40
	for seed := range uint64(seeds) {
		e, err := Fisher(context.Background(), pool, mu, points, d, kappa, []float64{sigma}, seed)
		if err != nil {
			t.Fatal(err)
		}
		sum, square = sum+e[0].Nats, square+e[0].Nats*e[0].Nats
	}
	mean := sum / seeds
	spread := math.Sqrt((square/seeds - mean*mean) / seeds)
	within(t, "by draws", sampled[0].Nats, mean, 4*spread+4*sampled[0].Stderr/math.Sqrt(draws)+.03)

	const n = 2000
	mu = sphere.Uniform(n, d, rng.New(4, rng.Targets))
	e := fisherAt(t, pool, mu, n, d, kappa, .5)
	within(t, "capacity less price", e.Nats, Capacity(d, .5)-e.Price, 4*(e.Stderr+e.PriceStderr)+.02)
}

func TestFisherInterpolates(t *testing.T) {
	pool := kernel.NewPool(2)
	defer pool.Close()
	for _, d := range []int{2, 3, 64, 1000} {
		p := interpolate(pool, d, 3e4)
		for _, k := range []float64{0, 1e-3, .37, 2, 55, 1234.5, 2.9e4, 3e4} {
			want := logMeanExp(k, d)
			within(t, "log L", p.at(k), want, 1e-7*(1+math.Abs(want)))
		}
	}
}

func TestFisherIsTheSameForAnyWorkers(t *testing.T) {
	mu := sphere.Uniform(200, 3, rng.New(4, rng.Targets))
	var want []FisherEstimate
	for _, workers := range []int{1, 3} {
		pool := kernel.NewPool(workers)
		e, err := Fisher(context.Background(), pool, mu, 200, 3, 20, []float64{.1, .4}, 1)
		pool.Close()
		if err != nil {
			t.Fatal(err)
		}
		if want == nil {
			want = e
		}
		if !slices.Equal(e, want) {
			t.Errorf("%d workers: %+v, want %+v", workers, e, want)
		}
	}
}
