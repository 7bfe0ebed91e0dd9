package probe

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"

	"nat/internal/rng"
)

func normals(n int, r *rand.Rand) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

// among are rows that are all searched by themselves.
func among(x []float32, d int) NeighbourRows {
	self := make([]int, len(x)/d)
	for i := range self {
		self[i] = i
	}
	return NeighbourRows{Rows: x, Queries: x, Self: self, Dim: d}
}

func find(t *testing.T, data NeighbourRows, metric Metric) *Neighbours {
	t.Helper()
	n, err := FindNeighbours(context.Background(), newPool(t, 2), data, metric)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// plainNeighbours is FindNeighbours in float64, by sorting.
func plainNeighbours(data NeighbourRows, metric Metric) (idx []int32) {
	d := data.Dim
	for q := range len(data.Queries) / d {
		var order []int32
		near := make([]float64, len(data.Rows)/d)
		for i := range near {
			var dot, square, apart float64
			for j, v := range data.Rows[i*d : (i+1)*d] {
				w := float64(data.Queries[q*d+j])
				dot += float64(v) * w
				square += float64(v) * float64(v)
				apart += (float64(v) - w) * (float64(v) - w)
			}
			if near[i] = -apart; metric == Cosine {
				near[i] = dot / math.Sqrt(square)
			}
			if data.Self == nil || data.Self[q] != i {
				order = append(order, int32(i))
			}
		}
		sort.SliceStable(order, func(a, b int) bool { return near[order[a]] > near[order[b]] })
		idx = append(idx, order[:Neighbourhood]...)
	}
	return idx
}

// Beside a plain implementation, over several blocks of rows, far from the origin,
// with the queries among the rows or not; the same bits for any number of workers.
func TestNeighboursAgainstPlain(t *testing.T) {
	r := rng.New(31, "test")
	const n, d = 2500, 7
	rows := normals(n*d, r)
	for i := range rows {
		rows[i] = 20 + float32(1+i%d)*rows[i]
	}
	self := []int{0, 3, 700, 701, 2047, 2048, 2499}
	queries := make([]float32, 0, len(self)*d)
	for _, i := range self {
		queries = append(queries, rows[i*d:(i+1)*d]...)
	}
	others := normals(5*d, r)
	for i := range others {
		others[i] += 20
	}
	for _, data := range []NeighbourRows{{rows, queries, self, d}, {rows, others, nil, d}} {
		for _, metric := range []Metric{Cosine, Distance} {
			got := find(t, data, metric)
			if want := plainNeighbours(data, metric); !slices.Equal(got.idx, want) {
				t.Errorf("metric %v, self %v:\n%v, want\n%v", metric, data.Self, got.idx, want)
			}
			again, err := FindNeighbours(context.Background(), newPool(t, 3), data, metric)
			if err != nil || !slices.Equal(again.idx, got.idx) {
				t.Errorf("3 workers find other neighbours (%v)", err)
			}
		}
	}
}

// Rows on a line, folded in the middle: every position of the code has two rows, so
// that a query has its twin, then the pairs one and two steps away on both sides, nine rows,
// four of them true neighbours; the tenth is the first of four equals.
func TestRecallOfAFoldedLine(t *testing.T) {
	const n, middle = 201, 100
	line, folded := make([]float32, n), make([]float32, n)
	for i := range n {
		line[i], folded[i] = float32(i), float32(max(i-middle, middle-i))
	}
	for _, c := range []struct {
		query int
		want  float64
	}{{50, .5}, {150, .4}} { // the first of 47, 53, 147 and 153 is a neighbour of 50
		rows := func(x []float32) NeighbourRows {
			return NeighbourRows{Rows: x, Queries: x[c.query : c.query+1], Self: []int{c.query}, Dim: 1}
		}
		got := find(t, rows(line), Distance).Recall(find(t, rows(folded), Distance))
		if got.Recall10 != c.want || got.Nearest10 != 1 || got.Error != 0 {
			t.Errorf("query %d: %+v, want %v", c.query, got, c.want)
		}
	}
}

func TestRecallByHand(t *testing.T) {
	want := &Neighbours{rows: 50, idx: []int32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0}}
	code := &Neighbours{rows: 50, idx: []int32{20, 21, 22, 23, 24, 25, 26, 27, 9, 8, 9, 8, 7, 6, 5, 4, 20, 21, 22, 23}}
	got := want.Recall(code) // .2 and .6
	if math.Abs(got.Recall10-.4) > 1e-12 || math.Abs(got.Error-.2) > 1e-12 || got.Nearest10 != .5 {
		t.Errorf("%+v", got)
	}
}

// What must not matter does not: a rotation of the code, the order of the rows, lengths where
// cosines count, a shift where distances do. The rows themselves keep everything.
func TestRecallInvariances(t *testing.T) {
	r := rng.New(32, "test")
	const n, d, k = 400, 12, 4
	x := normals(n*d, r)
	code := make([]float32, n*k)
	for i := range n {
		copy(code[i*k:(i+1)*k], x[i*d:])
	}
	for _, metric := range []Metric{Cosine, Distance} {
		original := find(t, among(x, d), metric)
		if all := original.Recall(original); all.Recall10 != 1 || all.Nearest10 != 1 || all.Error != 0 {
			t.Errorf("of the rows themselves: %+v", all)
		}
		want := original.Recall(find(t, among(code, k), metric))
		if want.Recall10 < .1 || want.Recall10 > .9 {
			t.Fatalf("recall %v says little", want.Recall10)
		}
		same := func(what string, got Recall) {
			t.Helper()
			if math.Abs(got.Recall10-want.Recall10) > .001 || math.Abs(got.Nearest10-want.Nearest10) > .005 {
				t.Errorf("%s: %+v, before %+v", what, got, want)
			}
		}
		turned := make([]float32, n*k)
		turn := RandomProjection(newPool(t, 1), code, n, k, k, 5)
		clear(turn.Mean)
		turn.Apply(turned, code, n)
		same("rotation", original.Recall(find(t, among(turned, k), metric)))

		changed := make([]float32, n*k)
		for i := range n {
			scale, shift := float32(math.Exp(r.NormFloat64())), float32(0)
			if metric == Distance {
				scale, shift = 1, 30
			}
			for c := range k {
				changed[i*k+c] = scale*code[i*k+c] + shift
			}
		}
		same("lengths or shift", original.Recall(find(t, among(changed, k), metric)))

		px, pc := make([]float32, n*d), make([]float32, n*k)
		for to, from := range r.Perm(n) {
			copy(px[to*d:(to+1)*d], x[from*d:])
			copy(pc[to*k:(to+1)*k], code[from*k:])
		}
		same("order of the rows", find(t, among(px, d), metric).Recall(find(t, among(pc, k), metric)))
	}
}

// A code that has nothing to do with the rows keeps what chance does, 10 of 499.
func TestRecallOfChance(t *testing.T) {
	r := rng.New(33, "test")
	const n = 500
	got := find(t, among(normals(n*6, r), 6), Cosine).Recall(find(t, among(normals(n*6, r), 6), Cosine))
	if want := 10. / (n - 1); math.Abs(got.Recall10-want) > 4*got.Error || got.Error > .003 {
		t.Errorf("%+v, want %v", got, want)
	}
}

// Of many equal rows a query may not be among the first that are found; it never finds itself.
func TestNeighboursOfEqualRows(t *testing.T) {
	x := make([]float32, 2*30)
	for i := range x {
		x[i] = 1
	}
	got := find(t, among(x, 2), Cosine)
	for q := range 30 {
		mine := got.idx[q*Neighbourhood : (q+1)*Neighbourhood]
		if slices.Contains(mine, int32(q)) {
			t.Errorf("query %d finds itself: %v", q, mine)
		}
		if !slices.IsSorted(mine) {
			t.Errorf("query %d: equal rows are not in their order: %v", q, mine)
		}
	}
}

func TestNeighboursRefused(t *testing.T) {
	pool := newPool(t, 1)
	bad := func(what string, data NeighbourRows) {
		t.Helper()
		if _, err := FindNeighbours(context.Background(), pool, data, Cosine); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	x := normals(2*11, rng.New(34, "test"))
	bad("ten others", among(x, 2))
	bad("ten rows", NeighbourRows{Rows: x[:20], Queries: x[:2], Dim: 2})
	bad("no query", NeighbourRows{Rows: x, Dim: 2})
	nan := slices.Clone(x)
	nan[7] = float32(math.NaN())
	bad("not a number among the rows", NeighbourRows{Rows: nan, Queries: x[:2], Dim: 2})
	bad("not a number in a query", NeighbourRows{Rows: x, Queries: nan[6:8], Dim: 2})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := FindNeighbours(ctx, pool, NeighbourRows{Rows: x, Queries: x[:2], Dim: 2}, Cosine); err != context.Canceled {
		t.Errorf("cancelled: %v", err)
	}
}
