package infomax

import (
	"math"
	"testing"

	"nat/internal/rng"
	"nat/sphere"
)

// At the level found a uniform sample keeps about half of log n, whatever n and d.
func TestHalfNoise(t *testing.T) {
	for _, c := range []struct{ n, d int }{{2, 2}, {20, 4096}, {300, 3}, {1024, 64}, {2048, 8}, {2048, 300}, {1 << 20, 2}, {1 << 30, 3}, {1 << 30, 512}} {
		sigma := HalfNoise(c.n, c.d)
		within(t, "capacity", Capacity(c.d, sigma), math.Log(float64(c.n))/2, 1e-3*math.Log(float64(c.n)))
		if c.n < 100 || c.n > 4096 {
			continue
		}
		z := sphere.Uniform(c.n, c.d, rng.New(1, rng.Targets))
		e := information(t, z, c.n, c.d, []float64{sigma}, 1)[0]
		t.Logf("%+v: sigma %.4f, %+v", c, sigma, e)
		if share := e.Nats / e.Ceiling; share < .4 || share > .51 {
			t.Errorf("n=%d d=%d sigma=%v: a uniform sample keeps %v of log n", c.n, c.d, sigma, share)
		}
	}
}

func BenchmarkHalfNoise(b *testing.B) {
	for b.Loop() {
		HalfNoise(2048, 64)
	}
}
