package assign

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"nat/internal/kernel"
)

func TestRematchKeepsABijection(t *testing.T) {
	pool := kernel.NewPool(1)
	defer pool.Close()
	rapid.Check(t, func(rt *rapid.T) {
		n, d := rapid.IntRange(1, 50).Draw(rt, "n"), rapid.IntRange(2, 4).Draw(rt, "d")
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		m := NewMatching(n, r)
		z, c := uniformPoints(r, n, d), uniformPoints(r, n, d)
		var s Solver
		for range 40 {
			b := 1 + r.IntN(n)
			rows := make([]int32, b)
			batch := make([]float32, 0, b*d)
			for i, row := range r.Perm(n)[:b] {
				rows[i] = int32(row)
				batch = append(batch, z[row*d:(row+1)*d]...)
			}
			solved, err := m.Solve(t.Context(), pool, &s, rows, batch, c, d)
			if err != nil {
				rt.Fatal(err)
			}
			held := func(i, j int) float64 {
				target := int(m.Perm[rows[j]])
				return squaredDistance(batch[i*d:(i+1)*d], c[target*d:(target+1)*d])
			}
			if err := Verify(solved, held, b, b, 2*storedError(d)); err != nil {
				rt.Fatal(err)
			}
			before := total(m, z, c, d)
			got, err := m.Rematch(t.Context(), pool, &s, rows, batch, c, d)
			if err != nil {
				rt.Fatal(err)
			}
			if err := m.Check(); err != nil {
				rt.Fatal(err)
			}
			after := total(m, z, c, d)
			if after > before+1e-6 || math.Abs((before-after)-(got.CostBefore-got.CostAfter)) > 1e-9 {
				rt.Fatalf("total went from %v to %v, reported %+v", before, after, got)
			}
		}
	})
}

func total(m *Matching, z, c []float32, d int) float64 {
	var sum float64
	for i, j := range m.Perm {
		sum += squaredDistance(z[i*d:(i+1)*d], c[int(j)*d:int(j+1)*d])
	}
	return sum
}

func TestMatchingCheck(t *testing.T) {
	if err := NewMatching(5, nil).Check(); err != nil {
		t.Error(err)
	}
	for _, bad := range [][]int32{{0, 0}, {0, 2}, {-1, 0}} {
		if (&Matching{Perm: bad}).Check() == nil {
			t.Errorf("%v passes", bad)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a repeated row does not panic")
		}
	}()
	pool := kernel.NewPool(1)
	defer pool.Close()
	NewMatching(3, nil).Rematch(t.Context(), pool, new(Solver), []int32{1, 1}, make([]float32, 4), make([]float32, 6), 2)
}

// circle has n equally spaced points, turned by degrees.
func circle(n int, degrees float64) []float32 {
	x := make([]float32, 0, 2*n)
	for i := range n {
		sin, cos := math.Sincos(2*math.Pi*float64(i)/float64(n) + degrees*math.Pi/180)
		x = append(x, float32(cos), float32(sin))
	}
	return x
}

// descent tells local minima of the stochastic Hungarian (18) by trying batches.
type descent struct {
	pool *kernel.Pool
	s    Solver
	n    int
	z, c []float32
}

// isMinimum reports whether no batch of size b improves the permutation, and its cost.
func (l *descent) isMinimum(t *testing.T, perm []int32, b int) (minimum bool, cost float64) {
	t.Helper()
	m := NewMatching(l.n, nil)
	copy(m.Perm, perm)
	for mask := range 1 << l.n {
		var rows []int32
		var z []float32
		for i := range l.n {
			if mask&(1<<i) != 0 {
				rows = append(rows, int32(i))
				z = append(z, l.z[2*i:2*i+2]...)
			}
		}
		if len(rows) != b {
			continue
		}
		got, err := m.Rematch(t.Context(), l.pool, &l.s, rows, z, l.c, 2)
		if err != nil {
			t.Fatal(err)
		}
		if got.CostBefore-got.CostAfter > 1e-6 {
			return false, 0
		}
	}
	return true, total(m, l.z, l.c, 2)
}

// minima counts the local minima for batches of b, and how many of them are global.
func (l *descent) minima(t *testing.T, b int) (local, global int) {
	t.Helper()
	var costs []float64
	for perm := range permutations(l.n) {
		if ok, cost := l.isMinimum(t, perm, b); ok {
			costs = append(costs, cost)
		}
	}
	best := slices.Min(costs)
	for _, cost := range costs {
		if cost < best+1e-6 {
			global++
		}
	}
	return len(costs), global
}

// The three-point figure (21).
func TestThreePointFigure(t *testing.T) {
	pool := kernel.NewPool(1)
	defer pool.Close()
	for _, c := range []struct {
		delta         float64
		local, global int
	}{{10, 1, 1}, {29, 1, 1}, {31, 2, 1}, {-45, 2, 1}, {59, 2, 1}, {60, 2, 2}} {
		l := descent{pool: pool, n: 3, z: circle(3, 0), c: circle(3, c.delta)}
		for perm := range permutations(3) {
			m := Matching{Perm: perm}
			want := 6.0 // odd: two exchanged
			if perm[1] == (perm[0]+1)%3 {
				want = 3 * (2 - 2*math.Cos((c.delta+120*float64(perm[0]))*math.Pi/180))
			}
			if got := total(&m, l.z, l.c, 2); math.Abs(got-want) > 1e-5 {
				t.Errorf("delta %v, %v costs %v, want %v", c.delta, perm, got, want)
			}
		}
		if local, global := l.minima(t, 2); local != c.local || global != c.global {
			t.Errorf("delta %v: %d local minima, %d global; want %d, %d", c.delta, local, global, c.local, c.global)
		}
		if local, _ := l.minima(t, 3); local != c.global {
			t.Errorf("delta %v: %d minima with all points in the batch, want %d", c.delta, local, c.global)
		}
	}
}

// Exact counts on the circle (22), for batches of 2, 3, ..., n.
func TestMinimaOnTheCircle(t *testing.T) {
	pool := kernel.NewPool(1)
	defer pool.Close()
	for _, c := range []struct {
		n     int
		delta float64
		want  []int
	}{
		{4, -10, []int{2, 1, 1}},
		{5, -10, []int{3, 2, 1, 1}},
		{4, -20, []int{2, 1, 1}},
		{5, -20, []int{2, 2, 1, 1}},
	} {
		l := descent{pool: pool, n: c.n, z: circle(c.n, 0), c: circle(c.n, c.delta)}
		for k, want := range c.want {
			if local, _ := l.minima(t, k+2); local != want {
				t.Errorf("n=%d delta=%v: %d minima for batches of %d, want %d", c.n, c.delta, local, k+2, want)
			}
		}
	}
}

// (20): a permutation is a minimum for batches of b if and only if no closed walk of at
// most b exchanges improves it; so minima only become fewer as b grows.
func TestMinimaHaveNoImprovingCycle(t *testing.T) {
	pool := kernel.NewPool(1)
	defer pool.Close()
	const n = 5
	r := rand.New(rand.NewPCG(10, 1))
	l := descent{pool: pool, n: n, z: uniformPoints(r, n, 2), c: uniformPoints(r, n, 2)}
	for perm := range permutations(n) {
		still := false
		for b := n; b >= 2; b-- {
			minimum, _ := l.isMinimum(t, perm, b)
			if still && !minimum {
				t.Errorf("%v is a minimum for batches of %d but not of %d", perm, b+1, b)
			}
			still = minimum
			if improving := l.improvingWalk(perm, b); improving == minimum {
				t.Errorf("%v: minimum for batches of %d: %v, improving walk: %v", perm, b, minimum, improving)
			}
		}
	}
}

// improvingWalk looks for a closed walk of at most b edges with negative weight
// w_ij = c(i, pi(j)) - c(i, pi(i)) by min-plus powers.
func (l *descent) improvingWalk(perm []int32, b int) bool {
	n := l.n
	w := make([]float64, n*n)
	for i := range n {
		zi := l.z[2*i : 2*i+2]
		own := squaredDistance(zi, l.c[2*perm[i]:2*perm[i]+2])
		for j := range n {
			w[i*n+j] = squaredDistance(zi, l.c[2*perm[j]:2*perm[j]+2]) - own
		}
	}
	power := slices.Clone(w)
	for range b - 1 {
		next := make([]float64, n*n)
		for i := range n {
			for j := range n {
				next[i*n+j] = math.Inf(1)
				for k := range n {
					next[i*n+j] = min(next[i*n+j], power[i*n+k]+w[k*n+j])
				}
			}
		}
		power = next // w_ii = 0, so that shorter walks are among these
	}
	for i := range n {
		if power[i*n+i] < -1e-6 {
			return true
		}
	}
	return false
}
