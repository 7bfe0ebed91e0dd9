package assign

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"nat/internal/kernel"
)

// circleCosts are the squared distances between n points spread evenly on the
// circle and the same points turned by delta degrees.
func circleCosts(n int, delta float64) []float64 {
	cost := make([]float64, n*n)
	for i := range n {
		for j := range n {
			turn := 2*math.Pi*float64(j-i)/float64(n) + delta*math.Pi/180
			cost[i*n+j] = 2 - 2*math.Cos(turn)
		}
	}
	return cost
}

func localMinima(t *testing.T, cost []float64, n int) (local []int, global int) {
	t.Helper()
	pool := kernel.NewPool(2)
	defer pool.Close()
	counts, err := EnumerateMinima(context.Background(), pool, cost, n, 1e-9)
	if err != nil {
		t.Fatal(err)
	}
	for b, c := range counts {
		if c.Batch != b+2 || c.GlobalMinima != counts[0].GlobalMinima || c.LocalMinima < c.GlobalMinima {
			t.Errorf("batch %d: %+v", b+2, c)
		}
		local = append(local, c.LocalMinima)
	}
	if last := counts[n-2]; last.LocalMinima != last.GlobalMinima {
		t.Errorf("with the whole set as a batch %d local minima are not global", last.LocalMinima-last.GlobalMinima)
	}
	return local, counts[0].GlobalMinima
}

// (21): the three-point figure. At 30 degrees exactly the two traps tie with
// their neighbours, and under the weak rule they count.
func TestThreePoints(t *testing.T) {
	for _, c := range []struct {
		delta         float64
		local, global int
	}{{0, 1, 1}, {10, 1, 1}, {-29.9, 1, 1}, {30, 2, 1}, {30.1, 2, 1}, {-45, 2, 1}, {59.9, 2, 1}, {60, 2, 2}, {-60, 2, 2}, {75, 2, 1}, {100, 1, 1}} {
		local, global := localMinima(t, circleCosts(3, c.delta), 3)
		if local[0] != c.local || global != c.global {
			t.Errorf("turned by %v degrees: %d local and %d global minima, want %d and %d", c.delta, local[0], global, c.local, c.global)
		}
	}
}

// (22): exact counts on the circle.
func TestCircleMinima(t *testing.T) {
	for _, c := range []struct {
		n     int
		delta float64
		want  []int
	}{
		{4, -10, []int{2, 1, 1}}, {5, -10, []int{3, 2, 1, 1}}, {6, -10, []int{3, 2, 1, 1, 1}},
		{4, -20, []int{2, 1, 1}}, {5, -20, []int{2, 2, 1, 1}}, {6, -20, []int{3, 2, 2, 1, 1}},
	} {
		if got, _ := localMinima(t, circleCosts(c.n, c.delta), c.n); !slices.Equal(got, c.want) {
			t.Errorf("%d points turned by %v degrees: %v local minima, want %v", c.n, c.delta, got, c.want)
		}
	}
}

// The definition (18), word by word: no batch, in any order, costs less.
func TestMinimaByDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for trial := range 20 {
		n := 3 + trial%3
		cost := make([]float64, n*n)
		for i := range cost {
			cost[i] = math.Floor(r.Float64() * 10) // with ties
		}
		got, _ := localMinima(t, cost, n)
		for b := 2; b <= n; b++ {
			want, perm := 0, make([]int32, n)
			for i := range perm {
				perm[i] = int32(i)
			}
			orders(perm, 0, func() {
				if !someBatchGains(cost, perm, b) {
					want++
				}
			})
			if got[b-2] != want {
				t.Errorf("n %d, batch %d: %d local minima, by definition %d", n, b, got[b-2], want)
			}
		}
	}
}

// someBatchGains tries all rearrangements that move at most b rows.
func someBatchGains(cost []float64, perm []int32, b int) bool {
	own, gains := permCost(cost, perm), false
	other := slices.Clone(perm)
	orders(other, 0, func() {
		moved := 0
		for i := range other {
			if other[i] != perm[i] {
				moved++
			}
		}
		gains = gains || moved <= b && permCost(cost, other) < own-1e-9
	})
	return gains
}

// (19), with its values for N = 6.
func TestDegrees(t *testing.T) {
	for b, want := range map[int][2]int{2: {15, 30}, 3: {55, 120}, 4: {190, 360}, 5: {454, 720}, 6: {719, 720}} {
		if got := [2]int{Neighbours(6, b), QuotedOutDegree(6, b)}; got != want {
			t.Errorf("batch %d: %v neighbours and quoted degree, want %v", b, got, want)
		}
	}
	if got := Neighbours(20, 20); got != 2432902008176640000-1 {
		t.Errorf("a batch of everything reaches %d of 20! - 1", got)
	}
}

func TestIsLocalMinimumAgrees(t *testing.T) {
	pool := kernel.NewPool(2)
	defer pool.Close()
	r := rand.New(rand.NewPCG(3, 4))
	seen := map[bool]int{}
	for trial := range 200 {
		n := 2 + trial%9
		cost := make([]float64, n*n)
		for i := range cost {
			cost[i] = r.Float64()
		}
		perm := NewMatching(n, r).Perm
		if trial%2 == 0 { // most random permutations are no minima of anything
			var s Solver
			res, err := s.Matrix(t.Context(), cost, n, n, Options{})
			if err != nil {
				t.Fatal(err)
			}
			perm = res.Perm
			for range trial / 20 {
				i, j := r.IntN(n), r.IntN(n)
				perm[i], perm[j] = perm[j], perm[i]
			}
		}
		size := SmallestExchange(cost, perm, 1e-12)
		for b := 2; b <= n+1; b++ {
			got, err := IsLocalMinimum(context.Background(), pool, cost, perm, b, 1e-12)
			if want := size == 0 || size > b; err != nil || got != want {
				t.Fatalf("n %d, batch %d: %v (%v), but the smallest exchange has %d rows", n, b, got, err, size)
			}
			seen[got]++
		}
	}
	if seen[true] < 50 || seen[false] < 50 {
		t.Errorf("the cases are one-sided: %v", seen)
	}
}

func TestDescend(t *testing.T) {
	pool := kernel.NewPool(2)
	defer pool.Close()
	const n, d = 60, 3
	r := rand.New(rand.NewPCG(5, 6))
	z, c := uniformPoints(r, n, d), uniformPoints(r, n, d)
	var s Solver
	best, err := s.Points(t.Context(), pool, z, c, n, n, d, Options{})
	if err != nil {
		t.Fatal(err)
	}
	proven := false
	for _, b := range []int{2, 3, 8, 60} {
		m := NewMatching(n, rand.New(rand.NewPCG(7, 8)))
		got, err := m.Descend(context.Background(), pool, z, c, d, rand.New(rand.NewPCG(9, 10)), DescentOptions{Batch: b, ProofCost: 1e9})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Check(); err != nil {
			t.Error(err)
		}
		idle := idlePasses * (n / b)
		if b == n { // one pass shows it
			idle = 1
		}
		if got.Batch != b || got.Steps < got.LastGain+idle || b == n && got.Steps != 2 || len(got.Trace) < 3 || len(got.Trace) > 500 {
			t.Errorf("batch %d: %d steps, the last gain at %d, a trace of %d", b, got.Steps, got.LastGain, len(got.Trace))
		}
		size := SmallestExchange(distances(z, c, n, n, d), m.Perm, 1e-6)
		if minimum := size == 0 || size > b; minimum != (got.Standstill == Proven) || minimum == got.Improvable {
			t.Errorf("batch %d stands still (%s), the smallest exchange that gains has %d rows", b, got.Standstill, size)
		}
		proven = proven || got.Standstill == Proven && b < n
		if end := got.Trace[len(got.Trace)-1].Cost; math.Abs(end-got.Cost) > 1e-4 || got.Cost < best.Cost-1e-5 {
			t.Errorf("batch %d: cost %v, by the steps %v, optimum %v", b, got.Cost, end, best.Cost)
		}
		if b == n && math.Abs(got.Cost-best.Cost) > 1e-5 {
			t.Errorf("with all points in a batch the cost is %v, the optimum %v", got.Cost, best.Cost)
		}
		if got.Cost > got.Trace[0].Cost/2 {
			t.Errorf("batch %d gets from %v to %v only", b, got.Trace[0].Cost, got.Cost)
		}
	}
	if !proven {
		t.Error("no local minimum was proven")
	}
}

// A batch that does not divide N leaves other points out in each pass, and all
// are paired in the end; one of nearly all points may not move them at once.
func TestDescendWithARest(t *testing.T) {
	pool := kernel.NewPool(2)
	defer pool.Close()
	const n, d = 50, 2
	r := rand.New(rand.NewPCG(11, 12))
	z, c := uniformPoints(r, n, d), uniformPoints(r, n, d)
	var s Solver
	best, err := s.Points(t.Context(), pool, z, c, n, n, d, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range []int{3, 26, 49} {
		m := NewMatching(n, rand.New(rand.NewPCG(7, 8)))
		got, err := m.Descend(context.Background(), pool, z, c, d, rand.New(rand.NewPCG(9, 10)), DescentOptions{Batch: b, ProofCost: 1e9})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Check(); err != nil {
			t.Error(err)
		}
		if got.Steps%(n/b) != 0 || got.Cost < best.Cost-1e-5 {
			t.Errorf("batch %d: %d steps, cost %v, optimum %v", b, got.Steps, got.Cost, best.Cost)
		}
		if b == 49 && got.Cost > 1.01*best.Cost {
			t.Errorf("49 of 50 points at a time get to %v, the optimum is %v", got.Cost, best.Cost)
		}
	}
}

func TestDescendStops(t *testing.T) {
	pool := kernel.NewPool(1)
	defer pool.Close()
	const n, d = 40, 2
	r := rand.New(rand.NewPCG(5, 6))
	z, c := uniformPoints(r, n, d), uniformPoints(r, n, d)
	run := func(ctx context.Context, opt DescentOptions) Descent {
		got, err := NewMatching(n, nil).Descend(ctx, pool, z, c, d, rand.New(rand.NewPCG(9, 10)), opt)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	if got := run(cancelled, DescentOptions{Batch: 4}); got.Standstill != Stopped || got.Steps != 0 {
		t.Errorf("cancelled: %+v", got)
	}
	if got := run(context.Background(), DescentOptions{Batch: 4, MaxSteps: 15}); got.Standstill != Stopped || got.Steps != 20 {
		t.Errorf("limited to 15 steps, in passes of 10: %+v", got)
	}
	if got := run(context.Background(), DescentOptions{Batch: 4}); got.Standstill != Idle {
		t.Errorf("without proofs: %q", got.Standstill)
	}
}
