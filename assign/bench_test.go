package assign

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"nat/internal/kernel"
)

// clouds are the embeddings a run of training meets: spread at the end, and at the
// beginning shifted to one side, in tight clusters, or almost one point.
var clouds = []struct {
	name string
	make func(r *rand.Rand, n, d int) []float32
}{
	{"uniform", uniformPoints},
	{"shifted", func(r *rand.Rand, n, d int) []float32 { return aroundCentres(r, n, d, 1, 1) }},
	{"clustered", func(r *rand.Rand, n, d int) []float32 { return aroundCentres(r, n, d, 20, .05) }},
	{"collapsed", func(r *rand.Rand, n, d int) []float32 { return aroundCentres(r, n, d, 1, .01) }},
}

// aroundCentres draws unit vectors centre + spread times a uniform one, normalised.
func aroundCentres(r *rand.Rand, n, d, centres int, spread float32) []float32 {
	middle := uniformPoints(r, centres, d)
	x := uniformPoints(r, n, d)
	for i := range n {
		row := x[i*d : (i+1)*d]
		var norm float64
		for k, c := range middle[i%centres*d : (i%centres+1)*d] {
			row[k] = c + spread*row[k]
			norm += float64(row[k]) * float64(row[k])
		}
		for k := range row {
			row[k] /= float32(math.Sqrt(norm))
		}
	}
	return x
}

// A cold solve from points: product, search and certificate.
func BenchmarkPoints(b *testing.B) {
	const d = 64
	pool := kernel.NewPool(0)
	defer pool.Close()
	for _, cloud := range clouds {
		for _, n := range []int{256, 1024, 2048, 4096} {
			b.Run(fmt.Sprintf("%s/n=%d", cloud.name, n), func(b *testing.B) {
				r := rand.New(rand.NewPCG(1, 1))
				z, c := cloud.make(r, n, d), uniformPoints(r, n, d)
				var s Solver
				var last *Result
				for b.Loop() {
					var err error
					if last, err = s.Points(b.Context(), pool, z, c, n, n, d, Options{}); err != nil {
						b.Fatal(err)
					}
				}
				report(b, last)
			})
		}
	}
}

// A step of training: the points have moved a little since the last solve, whose
// pairing and potentials are at hand.
func BenchmarkPointsWarm(b *testing.B) {
	const d = 64
	pool := kernel.NewPool(0)
	defer pool.Close()
	for _, cloud := range clouds {
		for _, n := range []int{256, 1024, 2048, 4096} {
			for _, move := range []float32{.02, .1} {
				b.Run(fmt.Sprintf("%s/n=%d/moved=%v", cloud.name, n, move), func(b *testing.B) {
					r := rand.New(rand.NewPCG(1, 1))
					z, c := cloud.make(r, n, d), uniformPoints(r, n, d)
					var s Solver
					before, err := s.Points(b.Context(), pool, z, c, n, n, d, Options{})
					if err != nil {
						b.Fatal(err)
					}
					nudge(z, move, r, n, d)
					var last *Result
					for b.Loop() {
						if last, err = s.Points(b.Context(), pool, z, c, n, n, d, Options{Start: before.Perm, V: before.V}); err != nil {
							b.Fatal(err)
						}
					}
					report(b, last)
				})
			}
		}
	}
}

// nudge moves unit vectors by about move.
func nudge(z []float32, move float32, r *rand.Rand, n, d int) {
	for i, x := range uniformPoints(r, n, d) {
		z[i] += move * x
	}
	for i := range n {
		row := z[i*d : (i+1)*d]
		norm := float32(math.Sqrt(squaredNorm(row)))
		for k := range row {
			row[k] /= norm
		}
	}
}

func report(b *testing.B, r *Result) {
	n := float64(len(r.Perm))
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N)*1e3, "ms")
	b.ReportMetric(float64(r.RowScans)/n, "scans/row")
	b.ReportMetric(float64(r.Augmentations), "paths")
	b.ReportMetric(r.RelativeGap, "gap/cost")
}

// The solver that does not hold the matrix, and a second time after every point has moved
// by 0.1, with what the first learned.
func BenchmarkLarge(b *testing.B) {
	const n, d = 5000, 64
	pool := kernel.NewPool(0)
	defer pool.Close()
	for _, cloud := range clouds {
		r := rand.New(rand.NewPCG(1, 1))
		z, c := cloud.make(r, n, d), uniformPoints(r, n, d)
		opt := LargeOptions{Pool: pool}
		solve := func(b *testing.B) (last *LargeResult) {
			for b.Loop() {
				var err error
				if last, err = Large(b.Context(), z, c, n, d, opt); err != nil {
					b.Fatal(err)
				}
			}
			report(b, &last.Result)
			return last
		}
		b.Run(cloud.name+"/cold", func(b *testing.B) {
			first := solve(b)
			opt.Start, opt.Learned = first.Perm, first.Learned
		})
		nudge(z, .1, r, n, d)
		b.Run(cloud.name+"/moved", func(b *testing.B) {
			if opt.Learned == nil {
				b.Skip("goes on from cold")
			}
			solve(b)
		})
	}
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
				if last, err = s.Matrix(b.Context(), cost, n, n, Options{}); err != nil {
					b.Fatal(err)
				}
			}
			report(b, last)
		})
	}
}
