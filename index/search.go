// Package index finds nearest neighbours exactly and lays points out on a
// plane by their neighbourhoods. It works on any matrix of row vectors; with
// unit rows, as encoders of this module produce, inner products are cosines:
//
//	idx, sim := index.Search(pool, queries, data, nq, n, d, 10, false)
//	xy, err := index.Map2D(ctx, pool, z, n, d, index.MapOptions{Seed: 1})
package index

import (
	"math"
	"sort"

	"nat/internal/kernel"
)

// Sides of the block of inner products that is held at a time: 16 MiB of
// float32, whatever the number of queries and of data rows.
const (
	queryBlock = 2048
	dataBlock  = 2048
)

// Search returns, for each of the nq rows of queries (nq x d), the k rows of
// data (n x d) with the largest inner products, best first: idx and sim are
// nq x k. It is exact: every pair is compared. Equal similarities are ordered
// by the lower index. With skipSelf, query i is data row i and does not find
// itself. Where fewer than k rows can be found, idx is -1 and sim is -Inf.
func Search(pool *kernel.Pool, queries, data []float32, nq, n, d, k int, skipSelf bool) (idx []int32, sim []float32) {
	t := NewTopK(queries, nq, d, k, skipSelf)
	t.Add(pool, data, n)
	return t.Result()
}

// TopK searches data that arrive in pieces, so that they need not fit in
// memory (or in memory once more, when they must be normalised first).
type TopK struct {
	queries  []float32
	nq, d, k int
	skipSelf bool

	seen int       // data rows added so far
	idx  []int32   // nq x k, best first
	sim  []float32 // nq x k
	dots []float32 // one block of inner products
}

// NewTopK prepares the search of the k best rows for each of the nq rows of
// queries (nq x d), which it keeps and does not change.
func NewTopK(queries []float32, nq, d, k int, skipSelf bool) *TopK {
	if nq < 0 || d < 1 || k < 1 || len(queries) < nq*d {
		panic("index: queries do not have the given shape, or k < 1")
	}
	t := &TopK{queries: queries, nq: nq, d: d, k: k, skipSelf: skipSelf}
	t.idx = make([]int32, nq*k)
	t.sim = make([]float32, nq*k)
	for i := range t.idx {
		t.idx[i] = -1
		t.sim[i] = float32(math.Inf(-1))
	}
	return t
}

// Add compares every query with the next n rows of the data (n x d). Rows are
// numbered in the order in which they are added.
func (t *TopK) Add(pool *kernel.Pool, data []float32, n int) {
	if len(data) < n*t.d {
		panic("index: data do not have the given shape")
	}
	if t.dots == nil {
		t.dots = make([]float32, min(queryBlock, t.nq)*dataBlock)
	}
	for j := 0; j < n; j += dataBlock {
		cols := min(dataBlock, n-j)
		for q := 0; q < t.nq; q += queryBlock {
			rows := min(queryBlock, t.nq-q)
			pool.Gemm(t.dots, dataBlock, t.queries[q*t.d:], t.d, false, data[j*t.d:], t.d, true, rows, cols, t.d, false)
			pool.Do(rows, func(r int) {
				t.merge(q+r, t.seen+j, t.dots[r*dataBlock:r*dataBlock+cols])
			})
		}
	}
	t.seen += n
}

// merge offers query q the inner products dots with data rows first,
// first+1, ... Rows come in ascending order and a newcomer must be strictly
// better to displace, which is what orders ties by index.
func (t *TopK) merge(q, first int, dots []float32) {
	idx := t.idx[q*t.k : (q+1)*t.k]
	sim := t.sim[q*t.k : (q+1)*t.k]
	if self := q - first; t.skipSelf && self >= 0 && self < len(dots) {
		dots[self] = float32(math.Inf(-1))
	}
	worst := sim[t.k-1]
	for j, s := range dots {
		if s > worst {
			at := sort.Search(t.k, func(i int) bool { return sim[i] < s })
			copy(idx[at+1:], idx[at:])
			copy(sim[at+1:], sim[at:])
			idx[at], sim[at] = int32(first+j), s
			worst = sim[t.k-1]
		}
	}
}

// Result returns the indices and similarities found so far, each nq x k. The
// slices belong to t and change with the next Add.
func (t *TopK) Result() (idx []int32, sim []float32) { return t.idx, t.sim }
