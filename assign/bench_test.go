package assign

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"nat/internal/kernel"
)

func BenchmarkPoints(b *testing.B) {
	const d = 64
	pool := kernel.NewPool(0)
	defer pool.Close()
	for _, n := range []int{256, 1024, 2048} {
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			r := rand.New(rand.NewPCG(1, 1))
			z, c := uniformPoints(r, n, d), uniformPoints(r, n, d)
			var s Solver
			var last *Result
			for b.Loop() {
				last, _ = s.Points(pool, z, c, n, n, d, Options{})
			}
			b.ReportMetric(float64(last.RowScans)/float64(n), "scans/row")
			b.ReportMetric(last.RelativeGap, "gap/cost")
		})
	}
}

// The solve alone, the distances given.
func BenchmarkSolve(b *testing.B) {
	const d = 64
	pool := kernel.NewPool(0)
	defer pool.Close()
	for _, n := range []int{256, 1024, 2048} {
		r := rand.New(rand.NewPCG(1, 1))
		z, c := uniformPoints(r, n, d), uniformPoints(r, n, d)
		var s Solver
		if _, err := s.Points(pool, z, c, n, n, d, Options{}); err != nil {
			b.Fatal(err)
		}
		guess := s.guessOf(nil, n, n)
		costs := append([]int32(nil), s.ints.c...)
		for _, k := range []int{8, 12, 16, 24, 32} {
			b.Run(fmt.Sprintf("n=%d/k=%d", n, k), func(b *testing.B) {
				p := &s.ints
				for b.Loop() {
					p.reset(n, n, k, infinity[int32]())
					copy(p.c, costs)
					p.columnMinima(0, n)
					for i := range n {
						p.fill(i)
					}
					if err := p.solve(guess); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(p.scans)/float64(n), "scans/row")
				b.ReportMetric(float64(p.augmentations), "paths")
			})
		}
	}
}
