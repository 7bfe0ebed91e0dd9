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
	name   string
	make   func(r *rand.Rand, n, d int) []float32
	spread float32 // of a point around its centre
}{
	{"uniform", uniformPoints, 1},
	{"shifted", func(r *rand.Rand, n, d int) []float32 { return aroundCentres(r, n, d, 1, 1) }, .7},
	{"clustered", func(r *rand.Rand, n, d int) []float32 { return aroundCentres(r, n, d, 20, .05) }, .05},
	{"collapsed", func(r *rand.Rand, n, d int) []float32 { return aroundCentres(r, n, d, 1, .01) }, .01},
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
				// The first solve gets its memory from the system, which takes longer than it.
				last, err := s.Points(b.Context(), pool, z, c, n, n, d, Options{})
				if err != nil {
					b.Fatal(err)
				}
				for b.Loop() {
					if last, err = s.Points(b.Context(), pool, z, c, n, n, d, Options{}); err != nil {
						b.Fatal(err)
					}
				}
				report(b, last)
			})
		}
	}
}

// The same points and targets again: every point has moved by a part of the spread since
// the last solve, whose pairing and potentials are at hand.
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
					nudge(z, move*cloud.spread, r, n, d)
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

// Steps of a training, of a linear network on noise: a batch is drawn from all points, so
// that its targets are in other company than last time. It begins with nothing; with the
// pairing, as [Matching] does; or with the last potential of each target besides.
func BenchmarkPointsTraining(b *testing.B) {
	const points, n, epochs = 8192, 2048, 20
	pool := kernel.NewPool(0)
	defer pool.Close()
	t := newTraining(pool, points, n)
	solve := func(b *testing.B, opt Options) *Result {
		r, err := t.s.Points(b.Context(), pool, t.z, t.targets, n, n, t.d, opt)
		if err != nil {
			b.Fatal(err)
		}
		return r
	}
	for range epochs * points / n {
		t.draw()
		t.learn(solve(b, Options{}))
	}
	for _, from := range []string{"nothing", "pairing", "potentials"} {
		b.Run(fmt.Sprintf("n=%d/from=%s", n, from), func(b *testing.B) {
			var scans, kept, steps float64
			for b.Loop() {
				b.StopTimer()
				opt := t.draw()
				switch from {
				case "nothing":
					opt.V, opt.Start = nil, invert(nil, n)
				case "pairing":
					opt.V = nil
				}
				b.StartTimer()
				last := solve(b, opt)
				b.StopTimer()
				steps, scans, kept = steps+1, scans+float64(last.RowScans)/n, kept+t.learn(last)
				b.StartTimer()
			}
			b.ReportMetric(b.Elapsed().Seconds()/steps*1e3, "ms")
			b.ReportMetric(scans/steps, "scans/row")
			b.ReportMetric(100*kept/steps, "%kept")
		})
	}
}

// The solver that does not hold the matrix, and a second time after every point has moved
// by a tenth of the spread, with what the first learned.
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
		nudge(z, .1*cloud.spread, r, n, d)
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

// training is that of a linear network by noise as targets.
type training struct {
	pool        *kernel.Pool
	r           *rand.Rand
	n, d, p     int
	x, w, c     []float32 // all inputs, d x p weights, all targets
	held        []int32   // point -> target
	v           []float64 // last potential of each target
	order, rows []int32
	of          []int32   // targets of the batch
	in, z       []float32 // of the batch
	targets     []float32
	s           Solver
}

func newTraining(pool *kernel.Pool, points, n int) *training {
	const d, p = 64, 1024
	r := rand.New(rand.NewPCG(5, 5))
	t := &training{pool: pool, r: r, n: n, d: d, p: p, c: uniformPoints(r, points, d), held: allOf(points), v: make([]float64, points)}
	t.x, t.w = uniformPoints(r, points, p), uniformPoints(r, d, p)
	return t
}

// draw embeds the next batch; the options begin where its points and targets were last.
func (t *training) draw() (opt Options) {
	if len(t.order) < t.n {
		t.order = allOf(len(t.held))
		t.r.Shuffle(len(t.order), func(i, j int) { t.order[i], t.order[j] = t.order[j], t.order[i] })
	}
	t.rows, t.order = t.order[:t.n], t.order[t.n:]
	t.of = t.of[:0]
	for _, row := range t.rows {
		t.of = append(t.of, t.held[row])
		opt.V = append(opt.V, t.v[t.held[row]])
	}
	t.in, t.targets = gather(t.x, t.rows, t.p), gather(t.c, t.of, t.d)
	t.z = make([]float32, t.n*t.d)
	t.pool.Gemm(t.z, t.d, t.in, t.p, false, t.w, t.p, true, t.n, t.d, t.p, false)
	nudge(t.z, 0, t.r, t.n, t.d)
	return opt
}

// learn pairs the batch as r says, takes a step, and returns the share of points that kept
// their targets.
func (t *training) learn(r *Result) (kept float64) {
	const rate = .05
	dz := make([]float32, t.n*t.d)
	for i, j := range r.Perm {
		t.held[t.rows[i]] = t.of[j]
		t.v[t.of[i]] = r.V[i]
		if int(j) == i {
			kept += 1 / float64(t.n)
		}
		for k := range t.d {
			dz[i*t.d+k] = rate * (t.targets[int(j)*t.d+k] - t.z[i*t.d+k])
		}
	}
	t.pool.Gemm(t.w, t.p, dz, t.d, true, t.in, t.p, false, t.d, t.p, t.n, true)
	return kept
}
