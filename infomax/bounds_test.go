package infomax

import (
	"context"
	"math"
	"testing"

	"nat/internal/kernel"
	"nat/internal/rng"
	"nat/sphere"
)

func within(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s = %v, want %v within %v", what, got, want, tolerance)
	}
}

func exact(t *testing.T, pool *kernel.Pool, z []float32, n, d int, sigma float64) Estimate {
	t.Helper()
	e, err := Information(context.Background(), pool, z, n, d, []float64{sigma}, 1)
	if err != nil {
		t.Fatal(err)
	}
	return e[0]
}

// twoPoints is the information of two points at distance 2 through noise sigma, by
// quadrature over the noise along the line that joins them.
func twoPoints(sigma float64) float64 {
	const step = 1e-3
	var loss float64
	for x := -9.0; x < 9; x += step {
		loss += step * math.Exp(-x*x/2) / math.Sqrt(2*math.Pi) * math.Log1p(math.Exp(-(2+2*sigma*x)/(sigma*sigma)))
	}
	return math.Ln2 - loss
}

func TestInfoNCEBounds(t *testing.T) {
	pool := kernel.NewPool(2)
	defer pool.Close()
	const n, d, sigma = 1200, 8, .3
	z := sphere.Uniform(n, d, rng.New(4, rng.Targets))
	full := exact(t, pool, z, n, d, sigma)
	last := 0.0
	for _, k := range []int{2, 10, 100, 1200} {
		e, err := InfoNCE(context.Background(), pool, z, n, d, k, []float64{sigma}, 5)
		if err != nil {
			t.Fatal(err)
		}
		if e[0].Nats > math.Log(float64(k)) || e[0].Nats > full.Nats+4*(full.Stderr+e[0].Stderr) || e[0].Nats < last-4*e[0].Stderr {
			t.Errorf("k = %d: %+v of %+v", k, e[0], full)
		}
		last = e[0].Nats
	}
	within(t, "all points", last, full.Nats, 4*full.Stderr)
}

func TestBarberAgakovBounds(t *testing.T) {
	pool := kernel.NewPool(2)
	defer pool.Close()
	for _, c := range []struct {
		n, d  int
		sigma float64
	}{{100, 8, .2}, {100, 8, .5}, {60, 3, .1}} {
		z := sphere.Uniform(c.n, c.d, rng.New(4, rng.Targets))
		full := exact(t, pool, z, c.n, c.d, c.sigma)
		for _, steps := range []int{1, 1000} {
			e, err := BarberAgakov(context.Background(), pool, z, c.n, c.d, c.sigma, Decoder{Steps: steps}, 2)
			if err != nil {
				t.Fatal(err)
			}
			slack := 4 * (e.Stderr + full.Stderr)
			if e.Nats > full.Nats+slack {
				t.Errorf("%+v, %d steps: %+v exceeds %+v", c, steps, e, full)
			}
			if steps == 1000 && e.Nats < .95*full.Nats-slack {
				t.Errorf("%+v: %+v is far below %+v", c, e, full)
			}
		}
	}
}

func TestStochastic(t *testing.T) {
	pool := kernel.NewPool(2)
	defer pool.Close()
	at := func(z []float32, n, draws, d int, sigma float64) Estimate {
		e, err := Stochastic(context.Background(), pool, z, n, draws, d, []float64{sigma}, 1)
		if err != nil {
			t.Fatal(err)
		}
		return e[0]
	}
	const n, d, sigma = 300, 6, .25
	z := sphere.Uniform(n, d, rng.New(4, rng.Targets))
	plain := exact(t, pool, z, n, d, sigma)
	one := at(z, n, 1, d, sigma)
	within(t, "one draw", one.Nats, plain.Nats, 4*math.Hypot(one.Stderr, plain.Stderr))

	// Draws that do not depend on the point say nothing of it.
	same := make([]float32, 0, 20*50*3)
	draws := sphere.Uniform(50, 3, rng.New(5, rng.Targets))
	for range 20 {
		same = append(same, draws...)
	}
	within(t, "independent draws", at(same, 20, 50, 3, .2).Nats, 0, 1e-6)

	// Two antipodes, each drawn 500 times: the information of the two.
	var pair []float32
	for range 500 {
		pair = append(pair, 1, 0)
	}
	for range 500 {
		pair = append(pair, -1, 0)
	}
	e := at(pair, 2, 500, 2, 1)
	within(t, "antipodes", e.Nats, twoPoints(1), .06)

	// A von Mises-Fisher head keeps less than its mean direction.
	var spread []float32
	for i := range 150 {
		spread = append(spread, sphere.VonMisesFisher(30, z[i*d:(i+1)*d], 30, rng.New(6, rng.Noise, uint64(i)))...)
	}
	head, mean := at(spread, 150, 30, d, sigma), exact(t, pool, z, 150, d, sigma)
	if !(head.Nats < mean.Nats-3*(head.Stderr+mean.Stderr) && head.Nats > 0) {
		t.Errorf("vMF head %+v, its means %+v", head, mean)
	}
}
