package probe

import (
	"context"
	"fmt"
	"math"
	"slices"

	"nat/index"
	"nat/internal/kernel"
)

// NeighbourRows are rows among which neighbours are looked for, in one space.
type NeighbourRows struct {
	Rows    []float32 // n x Dim, searched
	Queries []float32 // queries x Dim, those that search
	// Self tells of every query which of the rows it is: that one it does not find.
	// nil: no query is one of the rows.
	Self []int
	Dim  int
}

// Metric is how the rows of a space are compared.
type Metric int

const (
	// Cosine brings rows to unit length first, and does not centre them; a row of
	// zeros has the cosine 0 with every row.
	Cosine Metric = iota
	// Distance is Euclidean: the lengths of rows matter, a common shift does not.
	Distance
)

// Neighbourhood is how many nearest rows make the neighbours of a query.
const Neighbourhood = 10

// Neighbours are the nearest rows of every query, nearest first.
type Neighbours struct {
	idx  []int32 // queries x Neighbourhood
	rows int     // among which they were found
}

// Recall is how many of the neighbours in one space are neighbours in another
// as well: means over the queries, fractions of 1.
type Recall struct {
	// Recall10 is the share of the 10 nearest that are among the 10 nearest of the
	// other space, (67) of docs/math.md, and Error its standard error over the queries.
	Recall10 float64 `json:"recall_10"`
	Error    float64 `json:"error"`
	// Nearest10 is the share of queries whose nearest row is among the 10 nearest of
	// the other space.
	Nearest10 float64 `json:"nearest_10"`
}

// FindNeighbours finds the [Neighbourhood] nearest rows of every query, exactly,
// equals in the order of the rows. There must be more rows to find than these, or
// every space would have the same neighbours. The same data give the same bits for any
// number of workers.
func FindNeighbours(ctx context.Context, pool *kernel.Pool, data NeighbourRows, metric Metric) (*Neighbours, error) {
	n, queries, err := data.check(pool)
	if err != nil {
		return nil, err
	}
	s, found := newNeighbourSearch(pool, data, metric, n), Neighbourhood
	if data.Self != nil {
		found++ // itself
	}
	top := index.NewTopK(s.row(data.Queries, queries, true), queries, s.width, found, false)
	const piece = 4 * blockRows
	for lo := 0; lo < n; lo += piece {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		rows := min(piece, n-lo)
		top.Add(pool, s.row(data.Rows[lo*data.Dim:], rows, false), rows)
	}
	idx, _ := top.Result()
	return &Neighbours{idx: data.withoutSelf(idx), rows: n}, nil
}

// check returns the numbers of rows and of queries. It panics if the slices do not
// fit together, and returns an error if the contents cannot be used.
func (d NeighbourRows) check(pool *kernel.Pool) (n, queries int, err error) {
	if d.Dim < 1 || len(d.Rows)%d.Dim != 0 || len(d.Queries)%d.Dim != 0 || d.Self != nil && len(d.Self)*d.Dim != len(d.Queries) {
		panic("probe: rows and queries do not have the given shape")
	}
	n, queries = len(d.Rows)/d.Dim, len(d.Queries)/d.Dim
	others := n
	if d.Self != nil {
		others--
	}
	if queries == 0 || others <= Neighbourhood {
		return 0, 0, fmt.Errorf("probe: neighbours: %d queries search %d other rows; want a query, and more than the %d rows that it finds",
			queries, max(others, 0), Neighbourhood)
	}
	for _, part := range []struct {
		name string
		x    []float32
	}{{"row", d.Rows}, {"query", d.Queries}} {
		if i := notFinite(pool, part.x, d.Dim); i >= 0 {
			return 0, 0, fmt.Errorf("probe: neighbours: %s %d has a value that is not finite", part.name, i)
		}
	}
	return n, queries, nil
}

// withoutSelf takes every query out of what it has found. Where rows are equal to it and come before
// it, it may be missing: then the last goes.
func (d NeighbourRows) withoutSelf(idx []int32) []int32 {
	if d.Self == nil {
		return idx
	}
	const found = Neighbourhood + 1
	out := make([]int32, 0, len(d.Self)*Neighbourhood)
	for q, self := range d.Self {
		mine := idx[q*found : (q+1)*found]
		at := slices.Index(mine, int32(self))
		if at < 0 {
			at = Neighbourhood
		}
		out = append(append(out, mine[:at]...), mine[at+1:]...)
	}
	return out
}

// neighbourSearch makes of rows and queries others whose inner products are in the order
// of the metric.
type neighbourSearch struct {
	pool   *kernel.Pool
	metric Metric
	dim    int
	width  int
	mean   []float32 // of the rows, for the distance
}

func newNeighbourSearch(pool *kernel.Pool, data NeighbourRows, metric Metric, n int) *neighbourSearch {
	s := &neighbourSearch{pool: pool, metric: metric, dim: data.Dim, width: data.Dim}
	if metric == Distance {
		s.width++
		s.mean = make([]float32, data.Dim)
		for j, sum := range columnSums(pool, data.Rows, data.Dim, make([]float64, data.Dim), false) {
			s.mean[j] = float32(sum / float64(n))
		}
	}
	return s
}

// row is the form in which n rows of x, or queries, are compared: unit rows; or for the distance, x and -|x|^2/2
// for a row and x and 1 for a query, since <q,x> - |x|^2/2 = (|q|^2 - |q-x|^2)/2. The mean is
// taken off first, as it would cost digits.
func (s *neighbourSearch) row(x []float32, n int, query bool) []float32 {
	out := make([]float32, n*s.width)
	if s.metric == Cosine {
		s.pool.NormalizeRows(out, make([]float32, n), x, n, s.dim)
		return out
	}
	s.pool.DoChunks(n, 16, func(a, b int) {
		for i := a; i < b; i++ {
			to, from := out[i*s.width:(i+1)*s.width], x[i*s.dim:(i+1)*s.dim]
			var square float64
			for j, m := range s.mean {
				to[j] = from[j] - m
				square += float64(to[j]) * float64(to[j])
			}
			to[s.dim] = float32(-square / 2)
			if query {
				to[s.dim] = 1
			}
		}
	})
	return out
}

// Recall compares these neighbours with those of the same queries among the same rows in
// another space, a code of them, say.
func (n *Neighbours) Recall(code *Neighbours) Recall {
	if len(n.idx) != len(code.idx) || n.rows != code.rows {
		panic("probe: neighbours of other queries, or among other rows")
	}
	queries := len(n.idx) / Neighbourhood
	var sum, square, nearest float64
	for q := range queries {
		want, got := n.idx[q*Neighbourhood:(q+1)*Neighbourhood], code.idx[q*Neighbourhood:(q+1)*Neighbourhood]
		hits := 0
		for _, i := range want {
			if slices.Contains(got, i) {
				hits++
			}
		}
		share := float64(hits) / Neighbourhood
		sum += share
		square += share * share
		if slices.Contains(got, want[0]) {
			nearest++
		}
	}
	m := float64(queries)
	r := Recall{Recall10: sum / m, Nearest10: nearest / m}
	if queries > 1 {
		r.Error = math.Sqrt(max(0, square-sum*sum/m) / (m - 1) / m)
	}
	return r
}
