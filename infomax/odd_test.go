package infomax

import (
	"context"
	"fmt"
	"math"
	"testing"

	"nat/internal/kernel"
	"nat/internal/rng"
	"nat/sphere"
)

// oddSets are embeddings that nobody should have and somebody will.
func oddSets(n, d int) map[string][]float32 {
	sets := map[string][]float32{"uniform": sphere.Uniform(n, d, rng.New(1, rng.Targets))}
	add := func(name string, value func(i, k int, u float32) float32) {
		z := make([]float32, n*d)
		for j := range z {
			z[j] = value(j/d, j%d, sets["uniform"][j])
		}
		sets[name] = z
	}
	add("zero", func(i, k int, u float32) float32 { return 0 })
	add("one point", func(i, k int, u float32) float32 { return sets["uniform"][k] })
	add("antipodes", func(i, k int, u float32) float32 { return float32(1-2*(i%2)) * sets["uniform"][k] })
	add("pairs", func(i, k int, u float32) float32 { return sets["uniform"][i/2*d+k] })
	add("denormals", func(i, k int, u float32) float32 { return u * 1e-40 })
	add("small", func(i, k int, u float32) float32 { return u * 1e-18 })
	add("large", func(i, k int, u float32) float32 { return u * 1e6 })
	add("huge", func(i, k int, u float32) float32 { return u * 1e17 })
	add("far from the origin", func(i, k int, u float32) float32 { return 100 + u })
	return sets
}

// Whatever the embeddings and the noise: finite, not above the ceiling nor below zero by
// more than the error, and the shares are shares.
func TestInformationOfOddSets(t *testing.T) {
	for _, c := range []struct{ n, d int }{{1, 1}, {2, 1}, {2, 2}, {3, 4096}, {50, 1}, {300, 3}, {257, 64}} {
		noise := []float64{1e-6, 1e-3, .1, 1, 100, 1e6}
		for name, z := range oddSets(c.n, c.d) {
			for _, e := range information(t, z, c.n, c.d, noise, 3) {
				what := fmt.Sprintf("%s n=%d d=%d: %+v", name, c.n, c.d, e)
				slack := 6*e.Stderr + 1e-3
				if !(math.Abs(e.Nats) < 1e9) || !(e.Stderr >= 0) || e.Nats > e.Ceiling+slack || e.Nats < -slack && c.n > 40 {
					t.Error(what)
				}
				if !(e.Recovered >= 0 && e.Recovered <= 1+1e-9) {
					t.Error("recovered", what)
				}
				if name == "one point" && e.Noise >= .1 && c.d > 1 && math.Abs(e.Nats) > slack {
					t.Error("one point tells nothing:", what)
				}
			}
		}
	}
}

// Bounds and stochastic encoders of the same: no NaN.
func TestBoundsOfOddSets(t *testing.T) {
	pool := kernel.NewPool(1)
	defer pool.Close()
	const n, d = 24, 3
	for name, z := range oddSets(n, d) {
		for _, sigma := range []float64{1e-3, .3, 1e3} {
			nce, err := InfoNCE(context.Background(), pool, z, n, d, 5, []float64{sigma}, 2)
			if err != nil || !(math.Abs(nce[0].Nats) < 1e9) || !(nce[0].Stderr >= 0) {
				t.Errorf("%s sigma=%v: %+v %v", name, sigma, nce, err)
			}
			s, err := Stochastic(context.Background(), pool, z, n/2, 2, d, []float64{sigma}, 2)
			if err != nil || !(math.Abs(s[0].Nats) < 1e9) || !(s[0].Stderr >= 0) {
				t.Errorf("%s sigma=%v: %+v %v", name, sigma, s, err)
			}
		}
	}
}

func FuzzInformation(f *testing.F) {
	f.Add(uint8(9), uint8(3), .2, float32(1), uint64(1))
	f.Add(uint8(2), uint8(1), 1e-6, float32(1e-40), uint64(2))
	f.Fuzz(func(t *testing.T, n, d uint8, sigma float64, scale float32, seed uint64) {
		if n == 0 || d == 0 || !(sigma >= 1e-6 && sigma <= 1e6) || !(math.Abs(float64(scale)) < 1e17) {
			t.Skip()
		}
		z := sphere.Uniform(int(n), int(d), rng.New(seed, rng.Targets))
		for i := range z {
			z[i] *= scale
		}
		e := information(t, z, int(n), int(d), []float64{sigma}, seed)[0]
		if !(e.Nats <= e.Ceiling+8*e.Stderr+1e-3) || !(e.Stderr >= 0) || !(e.Recovered >= 0 && e.Recovered <= 1) {
			t.Errorf("%+v", e)
		}
	})
}
