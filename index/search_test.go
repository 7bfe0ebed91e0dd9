package index

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"nat/internal/kernel"
	"nat/internal/rng"
)

func normals(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

// integers are exact in float32, and so are their inner products: brute
// force and blocked search must agree to the last bit, ties included.
func integers(r *rand.Rand, n, limit int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.IntN(2*limit+1) - limit)
	}
	return x
}

// bruteForce sorts all pairs: the specification of Search.
func bruteForce(queries, data []float32, nq, n, d, k int, skipSelf bool) (idx []int32, sim []float32) {
	for q := range nq {
		type pair struct {
			i int32
			s float32
		}
		var all []pair
		for i := range n {
			if skipSelf && i == q {
				continue
			}
			var s float32
			for j := range d {
				s += queries[q*d+j] * data[i*d+j]
			}
			all = append(all, pair{int32(i), s})
		}
		slices.SortStableFunc(all, func(a, b pair) int { return cmp.Compare(b.s, a.s) })
		for j := range k {
			p := pair{-1, float32(math.Inf(-1))}
			if j < len(all) {
				p = all[j]
			}
			idx, sim = append(idx, p.i), append(sim, p.s)
		}
	}
	return idx, sim
}

func TestSearchIsBruteForce(t *testing.T) {
	pool := kernel.NewPool(2)
	defer pool.Close()
	for _, c := range []struct {
		nq, n, d, k, limit int
		skipSelf           bool
	}{
		{1, 1, 1, 1, 5, false},
		{3, 2, 4, 5, 5, false}, // fewer rows than k
		{1, 1, 3, 2, 5, true},  // nothing but itself
		{20, 50, 3, 7, 1, false},
		{50, 50, 3, 7, 1, true},                        // many ties
		{5, dataBlock + 77, 4, 10, 2, false},           // two blocks of data
		{queryBlock + 3, 19, 5, 3, 4, false},           // two blocks of queries
		{dataBlock + 9, dataBlock + 9, 2, 2, 30, true}, // self in another block
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			r := rng.New(1, "test", uint64(c.n))
			data := integers(r, c.n*c.d, c.limit)
			queries := data
			if !c.skipSelf {
				queries = integers(r, c.nq*c.d, c.limit)
			}
			idx, sim := Search(pool, queries, data, c.nq, c.n, c.d, c.k, c.skipSelf)
			wantIdx, wantSim := bruteForce(queries, data, c.nq, c.n, c.d, c.k, c.skipSelf)
			if !slices.Equal(idx, wantIdx) || !slices.Equal(sim, wantSim) {
				t.Errorf("got %v %v\nwant %v %v", head(idx), head(sim), head(wantIdx), head(wantSim))
			}
		})
	}
}

func head[T any](s []T) []T { return s[:min(len(s), 20)] }

func TestSearchInPieces(t *testing.T) {
	pool := kernel.NewPool(1)
	defer pool.Close()
	r := rng.New(2, "test")
	const nq, n, d, k = 7, 100, 6, 5
	queries, data := integers(r, nq*d, 3), integers(r, n*d, 3)
	top := NewTopK(queries, nq, d, k, false)
	for lo := 0; lo < n; {
		rows := min(n-lo, 1+r.IntN(30))
		top.Add(pool, data[lo*d:], rows)
		lo += rows
	}
	idx, sim := top.Result()
	wantIdx, wantSim := Search(pool, queries, data, nq, n, d, k, false)
	if !slices.Equal(idx, wantIdx) || !slices.Equal(sim, wantSim) {
		t.Errorf("in pieces %v %v, at once %v %v", idx, sim, wantIdx, wantSim)
	}
}

func TestSearchSameForAnyWorkers(t *testing.T) {
	r := rng.New(3, "test")
	const n, d, k = 300, 33, 9
	data := normals(r, n*d)
	var wantIdx []int32
	var wantSim []float32
	for _, workers := range []int{1, 2, 3, 7} {
		pool := kernel.NewPool(workers)
		idx, sim := Search(pool, data, data, n, n, d, k, true)
		pool.Close()
		if wantIdx == nil {
			wantIdx, wantSim = idx, sim
		}
		if !slices.Equal(idx, wantIdx) || !slices.Equal(sim, wantSim) {
			t.Errorf("%d workers find other neighbours than 1", workers)
		}
	}
}

// A rotation of queries and data, here a permutation of the coordinates with
// sign changes, which is exact, changes no inner product.
func TestSearchIsInvariantUnderRotation(t *testing.T) {
	pool := kernel.NewPool(1)
	defer pool.Close()
	r := rng.New(4, "test")
	const n, d, k = 60, 8, 6
	x := integers(r, n*d, 4)
	y := make([]float32, n*d)
	perm := r.Perm(d)
	for i := range n {
		for j, to := range perm {
			y[i*d+to] = x[i*d+j] * float32(1-2*(j%2))
		}
	}
	a, _ := Search(pool, x, x, n, n, d, k, true)
	b, _ := Search(pool, y, y, n, n, d, k, true)
	if !slices.Equal(a, b) {
		t.Error("neighbours change when the space is rotated")
	}
}

// NaN rows are never found and do not disturb the others.
func TestSearchIgnoresNaN(t *testing.T) {
	pool := kernel.NewPool(1)
	defer pool.Close()
	nan := float32(math.NaN())
	data := []float32{1, 0, nan, nan, 0, 1}
	idx, _ := Search(pool, []float32{1, .5}, data, 1, 3, 2, 3, false)
	if want := []int32{0, 2, -1}; !slices.Equal(idx, want) {
		t.Errorf("found %v, want %v", idx, want)
	}
}

func BenchmarkSearch(b *testing.B) {
	pool := kernel.NewPool(0)
	defer pool.Close()
	const nq, n, d = 1000, 6000, 1024
	r := rng.New(5, "test")
	queries, data := normals(r, nq*d), normals(r, n*d)
	for b.Loop() {
		Search(pool, queries, data, nq, n, d, 20, false)
	}
	b.ReportMetric(2*nq*n*d*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
}
