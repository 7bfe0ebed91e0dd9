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
