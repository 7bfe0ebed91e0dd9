package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

func TestExpSum(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		for n := range 71 {
			// Views into larger slices, with NaN around them.
			views := make([][]float32, 3)
			for k := range views {
				buf := make([]float32, n+10)
				for i := range buf {
					buf[i] = float32(math.NaN())
				}
				views[k] = buf[5 : 5+n]
				for i := range views[k] {
					views[k][i] = float32(r.NormFloat64())
				}
			}
			a, h, e := views[0], views[1], views[2]
			const alpha, beta, gamma = 3, 1.5, -2
			sum, largest := 0.0, math.Inf(-1)
			for i := range a {
				v := alpha*(float64(a[i])-float64(h[i])) + beta*float64(e[i]) + gamma
				sum, largest = sum+math.Exp(v), max(largest, v)
			}
			got, top := ExpSum(a, h, e, alpha, beta, gamma)
			if math.Abs(float64(got)-sum) > 2e-6*sum || !(n == 0 && math.IsInf(float64(top), -1)) && math.Abs(float64(top)-largest) > 1e-5 {
				t.Fatalf("n=%d: sum %v, largest %v; want %v, %v", n, got, top, sum, largest)
			}
		}
		zero := make([]float32, 40)
		if sum, top := ExpSum(zero, zero, zero, 1, 1, -200); sum != 0 && sum > 1e-43 || top != -200 {
			t.Errorf("far away: %v, %v", sum, top)
		}
		if sum, top := ExpSum(zero, zero, zero, 1, 1, 100); !(sum > 1e38) || top != 100 {
			t.Errorf("too near: %v, %v", sum, top)
		}
	})
}

func BenchmarkExpSum(b *testing.B) {
	const n = 256
	x := make([]float32, n)
	for _, tier := range tiers {
		b.Run(fmt.Sprint(tier.name), func(b *testing.B) {
			defer useTier(tier)()
			for b.Loop() {
				ExpSum(x, x, x, 1, 1, -1)
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds()/1e9, "G/s")
		})
	}
}
