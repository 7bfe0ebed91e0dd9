package assign

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"nat/internal/kernel"
)

// A cold solve from points, product and certificate included.
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
				var err error
				if last, err = s.Points(pool, z, c, n, n, d, Options{}); err != nil {
					b.Fatal(err)
				}
			}
			report(b, last)
		})
	}
}

func report(b *testing.B, r *Result) {
	n := float64(len(r.Perm))
	b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64(r.RowScans)/n, "scans/row")
	b.ReportMetric(float64(r.Augmentations), "paths")
	b.ReportMetric(r.RelativeGap, "gap/cost")
}

// A float64 matrix, the proof in exact arithmetic included.
func BenchmarkMatrix(b *testing.B) {
	for _, n := range []int{256, 1024} {
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			cost := generate(n*n, rand.New(rand.NewPCG(1, 1)).Float64)
			var s Solver
			var last *Result
			for b.Loop() {
				var err error
				if last, err = s.Matrix(cost, n, n, Options{}); err != nil {
					b.Fatal(err)
				}
			}
			report(b, last)
		})
	}
}

// The search for the best pairing alone, on one core, the distances given.
func BenchmarkSolve(b *testing.B) {
	const d = 64
	pool := kernel.NewPool(1)
	defer pool.Close()
	for _, n := range []int{256, 1024, 2048} {
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			r := rand.New(rand.NewPCG(1, 1))
			var s Solver
			if _, err := s.Points(pool, uniformPoints(r, n, d), uniformPoints(r, n, d), n, n, d, Options{}); err != nil {
				b.Fatal(err)
			}
			p := &s.ints
			guess := s.guessOf(nil, n, n)
			for b.Loop() {
				p.reset(n, n, s.candidateCount(), math.MaxInt32) // keeps the costs
				p.columnMinima(0, n)
				for i := range n {
					p.fill(i)
				}
				if err := p.solve(guess); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(n2(n)*float64(b.N)/b.Elapsed().Seconds()/1e9, "Gentries/s")
		})
	}
}

func n2(n int) float64 { return float64(n) * float64(n) }
