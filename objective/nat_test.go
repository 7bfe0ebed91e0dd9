package objective

import (
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"nat/assign"
	"nat/internal/kernel"
	"nat/internal/tensorfile"
	"nat/sphere"
)

// newNAT is a NAT whose every assignment is checked by its certificate.
func newNAT(t *testing.T, n, d int, opt NATOptions, workers int) *NAT {
	t.Helper()
	pool := kernel.NewPool(workers)
	t.Cleanup(pool.Close)
	o, err := NewNAT(n, d, opt, pool)
	if err != nil {
		t.Fatal(err)
	}
	o.matching.Solved = func(rows []int32, z []float32, r *assign.Result) {
		cost := func(i, j int) float64 { return kernel.SqDist64(z[i*d:(i+1)*d], o.target(o.matching.Perm[rows[j]])) }
		// float32 distances are that far off, steps of 2^-26 included: docs of assign.Solver.Points.
		tol := 4 * float64(d+9) / (1 << 24)
		if err := assign.Verify(r, cost, len(rows), len(rows), tol); err != nil || !r.Optimal {
			t.Errorf("assignment of %d points: optimal %v, %v", len(rows), r.Optimal, err)
		}
	}
	return o
}

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s = %v, want %v within %v", what, got, want, tolerance)
	}
}

// batch is a made-up batch: rows without repetition and embeddings of V views.
func batch(r *rand.Rand, o *NAT, b int) (rows []int32, z, dz []float32) {
	for _, i := range r.Perm(o.n)[:b] {
		rows = append(rows, int32(i))
	}
	z = sphere.Uniform(o.views*b, o.d, r)
	return rows, z, make([]float32, len(z))
}

// Two points at east and west, each paired with the other's target.
func TestStepByHand(t *testing.T) {
	o := newNAT(t, 2, 2, NATOptions{Views: 2}, 1)
	copy(o.Targets(), []float32{0, 1, 1, 0}) // north, east
	copy(o.Perm(), []int32{0, 1})
	east, north := []float32{1, 0}, []float32{0, 1}
	z := slices.Concat(east, north, // view 0 of points 0 and 1
		north, north) // view 1
	dz := make([]float32, len(z))
	// Point 0 has mean (1/2, 1/2), at 1/2 from both targets; point 1 is north, which
	// point 0 holds. Exchanged, the squared distances of the views are 0 and 2 for
	// point 0, 0 and 0 for point 1; before, 2 and 0, 2 and 2.
	s, err := o.Step(Batch{Rows: []int32{0, 1}}, z, dz)
	if err != nil {
		t.Fatal(err)
	}
	want := Stats{Loss: .5, LossBefore: 1.5, Reassignment: 1, Chance: 2, Reassigned: 1, Cosine: .75, Alignment: 1,
		Information: math.NaN(), Accuracy: math.NaN(), Uniformity: math.NaN(), Divergence: math.NaN(), SquaredError: math.NaN()}
	if s.Gap < 0 || s.Gap > 1e-7 {
		t.Errorf("gap %g", s.Gap)
	}
	s.Gap = 0
	if diff := cmp.Diff(want, s, cmpopts.EquateNaNs()); diff != "" {
		t.Error(diff)
	}
	if !slices.Equal(o.Perm(), []int32{1, 0}) {
		t.Errorf("permutation %v", o.Perm())
	}
	// 2 (z - c) / 4: only view 1 of point 0 is off its target, by north - east.
	if want := []float32{0, 0, 0, 0, -.5, .5, 0, 0}; !slices.Equal(dz, want) {
		t.Errorf("gradient %v, want %v", dz, want)
	}
}

// The gradient is that of the loss with the pairing after re-assignment held fixed.
func TestGradientAgainstDifferences(t *testing.T) {
	for _, views := range []int{1, 2, 3} {
		const n, b, d = 12, 5, 4
		o := newNAT(t, n, d, NATOptions{Seed: 3, Views: views}, 2)
		r := rand.New(rand.NewPCG(1, uint64(views)))
		rows, z, dz := batch(r, o, b)
		s, err := o.Step(Batch{Rows: rows}, z, dz)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "loss", s.Loss, loss(o, rows, z), 1e-12)
		const h = 1.0 / 1024
		for k := range z {
			x := z[k]
			z[k] = x + h
			up := loss(o, rows, z)
			z[k] = x - h
			down := loss(o, rows, z)
			z[k] = x
			near(t, "dz", float64(dz[k]), (up-down)/(2*h), 1e-5) // quadratic: only rounding
		}
	}
}

// loss is (15), written as it is defined.
func loss(o *NAT, rows []int32, z []float32) float64 {
	var total float64
	b := len(rows)
	for at := range o.views * b {
		c := o.target(o.Perm()[rows[at%b]])
		for k, x := range z[at*o.d : (at+1)*o.d] {
			total += (float64(x) - float64(c[k])) * (float64(x) - float64(c[k]))
		}
	}
	return total / float64(o.views*b)
}

// The pairing is the best of all for the loss of all views, not only for the mean.
func TestViewsAreMatchedTogether(t *testing.T) {
	const n, d, views = 6, 3, 3
	o := newNAT(t, n, d, NATOptions{Seed: 5, Views: views}, 1)
	r := rand.New(rand.NewPCG(2, 2))
	rows, z, dz := batch(r, o, n)
	held := make([]int32, n)
	for b, row := range rows {
		held[b] = o.Perm()[row]
	}
	cost := make([]float64, n*n)
	for i := range n {
		for j := range n {
			for v := range views {
				zi := z[(v*n+i)*d : (v*n+i+1)*d]
				cost[i*n+j] += sphere.Alignment(zi, o.target(held[j]), 1, d) / (n * views)
			}
		}
	}
	_, best := assign.BruteForce(cost, n)
	s, err := o.Step(Batch{Rows: rows}, z, dz)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "loss", s.Loss, best, 1e-6)
}

// Whatever happens, the permutation stays one, re-assignment never costs, and the
// pool is emptied in time.
func TestPermutationSurvives(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(2, 40).Draw(rt, "points")
		opt := NATOptions{
			Seed:   rapid.Uint64().Draw(rt, "seed"),
			Views:  rapid.IntRange(1, 3).Draw(rt, "views"),
			Assign: rapid.SampledFrom([]string{AssignBatch, AssignPool}).Draw(rt, "assign"),
			Pool:   rapid.IntRange(0, 3).Draw(rt, "pool"),
		}
		o := newNAT(t, n, rapid.IntRange(2, 5).Draw(rt, "dim"), opt, 1)
		r := rand.New(rand.NewPCG(opt.Seed, 9))
		b := rapid.IntRange(1, n).Draw(rt, "batch")
		for range 20 { // epochs
			order := r.Perm(n)
			for lo := 0; lo+b <= n; lo += b {
				_, z, dz := batch(r, o, b)
				rows := make([]int32, b)
				for i := range rows {
					rows[i] = int32(order[lo+i])
				}
				if r.IntN(4) == 0 { // collapsed
					for i := range z {
						z[i] = z[i%o.d]
					}
				}
				s, err := o.Step(Batch{Rows: rows}, z, dz)
				if err != nil {
					rt.Fatal(err)
				}
				if s.Reassignment < -1e-6 || s.PoolReassignment < -1e-6 || s.Reassigned < 0 || s.Reassigned > 1 {
					rt.Fatalf("%+v", s)
				}
			}
			if err := o.EndEpoch(); err != nil {
				rt.Fatal(err)
			}
		}
		if err := o.matching.Check(); err != nil {
			rt.Fatal(err)
		}
	})
}

// epoch runs over all points in an order and with embeddings that depend on e only.
func epoch(t *testing.T, o *NAT, e, from, to, b int) (stats []Stats, grads []float32) {
	t.Helper()
	order := rand.New(rand.NewPCG(7, uint64(e))).Perm(o.n)
	for k := from; k < to; k++ {
		z := sphere.Uniform(o.views*b, o.d, rand.New(rand.NewPCG(uint64(e), uint64(k))))
		rows := make([]int32, b)
		for i := range rows {
			rows[i] = int32(order[k*b+i])
		}
		dz := make([]float32, len(z))
		s, err := o.Step(Batch{Rows: rows}, z, dz)
		if err != nil {
			t.Fatal(err)
		}
		stats = append(stats, s)
		grads = append(grads, dz...)
	}
	if to == o.n/b {
		if err := o.EndEpoch(); err != nil {
			t.Fatal(err)
		}
	}
	return stats, grads
}

// A state taken in the middle of a pool, through a file, goes on bit for bit.
func TestResumeInTheMiddleOfAPool(t *testing.T) {
	const n, d, b, batches = 64, 6, 8, 8
	opt := NATOptions{Seed: 11, Views: 2, Assign: AssignPool, Pool: 3}
	whole := newNAT(t, n, d, opt, 2)
	epoch(t, whole, 0, 0, batches, b)
	for stop := range batches {
		first := newNAT(t, n, d, opt, 1)
		epoch(t, first, 0, 0, stop, b)
		second := newNAT(t, n, d, opt, 2)
		if err := second.SetState(throughFile(t, first.State())); err != nil {
			t.Fatal(err)
		}
		epoch(t, second, 0, stop, batches, b)
		if !slices.Equal(whole.Perm(), second.Perm()) {
			t.Fatalf("stopped after %d batches: %v, want %v", stop, second.Perm(), whole.Perm())
		}
	}
}

func throughFile(t *testing.T, ts []tensorfile.Tensor) []tensorfile.Tensor {
	t.Helper()
	var b strings.Builder
	if err := tensorfile.WriteSafetensors(&b, ts, nil); err != nil {
		t.Fatal(err)
	}
	back, _, err := tensorfile.ReadSafetensors(strings.NewReader(b.String()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	return back
}

func TestWorkersDoNotMatter(t *testing.T) {
	const n, d, b = 600, 64, 300 // more than one worker is left to
	opt := NATOptions{Seed: 1, Views: 2, Assign: AssignPool, Pool: 2}
	one := newNAT(t, n, d, opt, 1)
	stats, grads := epoch(t, one, 0, 0, n/b, b)
	for _, workers := range []int{2, 5} {
		many := newNAT(t, n, d, opt, workers)
		s, g := epoch(t, many, 0, 0, n/b, b)
		if !cmp.Equal(stats, s, cmpopts.EquateNaNs()) || !slices.Equal(grads, g) || !slices.Equal(one.Perm(), many.Perm()) {
			t.Errorf("%d workers give other bits", workers)
		}
	}
}

func TestBadStateIsRefused(t *testing.T) {
	opt := NATOptions{Seed: 1, Assign: AssignPool, Pool: 3}
	o := newNAT(t, 8, 3, opt, 1)
	epoch(t, o, 0, 0, 1, 4)
	before := slices.Clone(o.Perm())
	replace := func(name string, data any) []tensorfile.Tensor {
		ts := slices.Clone(o.State())
		for i := range ts {
			if ts[i].Name == name {
				ts[i].Data = data
			}
		}
		return ts
	}
	for what, ts := range map[string][]tensorfile.Tensor{
		"nothing":              nil,
		"a target twice":       replace("perm", []int32{0, 1, 2, 3, 4, 5, 6, 6}),
		"a target too many":    replace("perm", []int32{0, 1, 2, 3, 4, 5, 6, 8}),
		"a row twice":          replace("pool.rows", []int32{1, 2, 3, 1}),
		"a full pool":          replace("pool.batches", []int32{3}),
		"rows without batches": replace("pool.batches", []int32{0}),
		"another type":         replace("pool.z", make([]float64, 12)),
	} {
		if err := o.SetState(ts); !errors.Is(err, tensorfile.ErrFormat) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if !slices.Equal(before, o.Perm()) {
		t.Error("a refused state changed the permutation")
	}
}

// Random embeddings matched in batches of 256 stay just below the level of the best
// of 256 (24): a bijection does a little worse than everyone's free choice.
func TestCosineNearLevel(t *testing.T) {
	const n, d, b = 512, 64, 256
	o := newNAT(t, n, d, NATOptions{Seed: 2}, 2)
	rows, z, dz := batch(rand.New(rand.NewPCG(3, 3)), o, b)
	s, err := o.Step(Batch{Rows: rows}, z, dz)
	if err != nil {
		t.Fatal(err)
	}
	level := sphere.BestCosine(b, d)
	if s.Cosine > level || s.Cosine < level-.03 {
		t.Errorf("mean matched cosine %.3f, level %.3f", s.Cosine, level)
	}
	near(t, "loss", s.Loss, 1.3441, .02) // two-sample value of 256 uniform points in 64 dimensions
	near(t, "loss before", s.LossBefore, 2, .05)
	near(t, "won", s.Reassignment, s.LossBefore-s.Loss, 0)
}

// (17) is what one step over the same rows would win, and 0 after it.
func TestAssignmentGap(t *testing.T) {
	const n, d = 50, 8
	o := newNAT(t, n, d, NATOptions{Seed: 4}, 1)
	rows, z, dz := batch(rand.New(rand.NewPCG(4, 4)), o, n)
	perm := slices.Clone(o.Perm())
	gap, err := o.AssignmentGap(rows, z)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(perm, o.Perm()) {
		t.Fatal("measuring the gap changed the permutation")
	}
	s, err := o.Step(Batch{Rows: rows}, z, dz)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "gap", gap, s.Reassignment/s.Loss, 1e-9)
	if gap, err = o.AssignmentGap(rows, z); err != nil || gap != 0 {
		t.Errorf("gap after re-assignment %v (%v)", gap, err)
	}
}

// A pool exchanges targets between batches, which batches alone cannot.
func TestPoolGoesBeyondBatches(t *testing.T) {
	o := newNAT(t, 2, 2, NATOptions{Assign: AssignPool, Pool: 2}, 1)
	copy(o.Targets(), []float32{0, 1, 1, 0})
	copy(o.Perm(), []int32{0, 1})
	dz := make([]float32, 2)
	s, err := o.Step(Batch{Rows: []int32{0}}, []float32{1, 0}, dz)
	if err != nil || s.Pooled != 0 || s.Loss != 2 {
		t.Fatalf("%+v, %v", s, err)
	}
	s, err = o.Step(Batch{Rows: []int32{1}}, []float32{0, 1}, dz)
	if err != nil || s.Pooled != 2 || s.PoolReassigned != 1 || s.PoolReassignment != 2 {
		t.Fatalf("%+v, %v", s, err)
	}
	if !slices.Equal(o.Perm(), []int32{1, 0}) {
		t.Errorf("permutation %v", o.Perm())
	}
}

// With Every 3, targets move in epochs 0, 3, ..., by batches and by pools, and rows are pulled in all.
func TestEveryThirdEpoch(t *testing.T) {
	pool := kernel.NewPool(2)
	defer pool.Close()
	for _, opt := range []NATOptions{{Every: 3}, {Every: 3, Assign: AssignPool, Pool: 2}} {
		const n, b, d = 32, 8, 4
		o := must(NewNAT(n, d, opt, pool))
		for epoch := range 7 {
			before := slices.Clone(o.Perm())
			z := sphere.Uniform(n, d, rand.New(rand.NewPCG(1, uint64(epoch))))
			for k := range n / b {
				rows, dz := make([]int32, b), make([]float32, b*d)
				for i := range rows {
					rows[i] = int32(k*b + i)
				}
				s, err := o.Step(Batch{Rows: rows, Epoch: epoch}, z[k*b*d:(k+1)*b*d], dz)
				if err != nil {
					t.Fatal(err)
				}
				if epoch%3 != 0 && (s.Reassigned != 0 || s.Loss != s.LossBefore) {
					t.Errorf("epoch %d: %+v", epoch, s)
				}
				if slices.Max(dz) == 0 {
					t.Errorf("epoch %d: no pull", epoch)
				}
			}
			if err := o.EndEpoch(); err != nil {
				t.Fatal(err)
			}
			if due := epoch%3 == 0; due == slices.Equal(before, o.Perm()) {
				t.Errorf("%+v, epoch %d: re-paired %v", opt, epoch, !due)
			}
		}
	}
	if _, err := NewNAT(10, 4, NATOptions{Every: -1}, pool); err == nil {
		t.Error("every -1 epochs is accepted")
	}
}

func TestBadEmbeddingIsNamed(t *testing.T) {
	o := newNAT(t, 3, 2, NATOptions{}, 1)
	perm := slices.Clone(o.Perm())
	z := []float32{1, 0, 0, 1, float32(math.NaN()), 0}
	_, err := o.Step(Batch{Rows: []int32{0, 1, 2}}, z, make([]float32, 6))
	var entry *assign.EntryError
	if !errors.As(err, &entry) || entry.Row != 2 || entry.In != "points" {
		t.Errorf("%v", err)
	}
	if !slices.Equal(perm, o.Perm()) {
		t.Error("a failed step changed the permutation")
	}
}

func TestOptionsAreValidated(t *testing.T) {
	_, err := NewNAT(0, 1, NATOptions{Views: -1, Assign: "all", Pool: -2, Match: "best", Targets: "many", Loss: "hinge", Temperature: -3}, nil)
	for _, part := range []string{"0 points", "dimension 1", "-1 views", `"all"`, "-2 batches", `"best"`, `"many"`, `"hinge"`, "temperature -3"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not mention %q", err, part)
		}
	}
}

func TestStepReusesItsBuffers(t *testing.T) {
	const n, d, b = 128, 16, 64
	for _, opt := range []NATOptions{{}, {Loss: LossSoftmax}, {Loss: LossSinkhorn}, {Temperature: .2}} {
		opt.Views = 2
		o := newNAT(t, n, d, opt, 1)
		o.matching.Solved = nil // the check allocates
		rows, z, dz := batch(rand.New(rand.NewPCG(6, 6)), o, b)
		step := func() {
			if _, err := o.Step(Batch{Rows: rows}, z, dz); err != nil {
				t.Fatal(err)
			}
		}
		step()
		if allocs := testing.AllocsPerRun(20, step); allocs > 0 {
			t.Errorf("%+v: %v allocations per step", opt, allocs)
		}
	}
}

// Batches differ in how long the searches of their assignments are.
func TestOtherBatchesAllocateNothing(t *testing.T) {
	const n, d, b = 512, 16, 64
	o := newNAT(t, n, d, NATOptions{}, 1)
	o.matching.Solved = nil // the check allocates
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var first uint64 // of the first batch, which makes room
	for i := range 60 {
		rows, z, dz := batch(rand.New(rand.NewPCG(7, uint64(i))), o, b)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := o.Step(Batch{Rows: rows}, z, dz); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		if allocs := after.Mallocs - before.Mallocs; i == 0 {
			first = allocs
		} else if allocs > 0 {
			t.Errorf("batch %d: %d allocations, after %d in the first", i, allocs, first)
		}
	}
}

func BenchmarkStep(b *testing.B) {
	const n, d, rows, views = 60000, 64, 256, 2
	pool := kernel.NewPool(0)
	defer pool.Close()
	o, err := NewNAT(n, d, NATOptions{Views: views}, pool)
	if err != nil {
		b.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 1))
	z := sphere.Uniform(views*rows, d, r)
	dz := make([]float32, len(z))
	list := make([]int32, rows)
	b.ReportAllocs()
	for b.Loop() {
		first := r.Int32N(n - rows)
		for i := range list {
			list[i] = first + int32(i)
		}
		if _, err := o.Step(Batch{Rows: list}, z, dz); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
