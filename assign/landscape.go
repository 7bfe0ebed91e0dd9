package assign

import (
	"context"
	"math"

	"nat/internal/kernel"
)

// The landscape of the stochastic Hungarian method for fixed costs: the N!
// permutations, joined where one batch of B rows leads from one to the other
// (18). A permutation is a local minimum for B if no neighbour costs less: a
// neighbour that costs the same does not count, which is the weak form of the
// definition.
//
// What a batch changes is a set of cycles of exchanges, each of at most B rows,
// so a permutation pi is a local minimum for B exactly if no single cycle of
// at most B rows gains (20). With the weight
// w_ij = c(i, pi(j)) - c(i, pi(i)) of giving row i the column of row j, that is
// a closed walk of at most B edges and negative weight.

// MaxEnumerate is the largest number of rows that EnumerateMinima takes: 9! is
// 362,880 permutations.
const MaxEnumerate = 9

// MinimaCount says how many permutations are local minima for one batch size.
type MinimaCount struct {
	Batch        int
	LocalMinima  int
	GlobalMinima int // permutations of least cost; every one is a local minimum
}

// EnumerateMinima counts the minima of the n x n cost matrix for the batch sizes
// 2 to n over all n! permutations, n <= MaxEnumerate. Costs that differ by at
// most tol count as equal. The error is that of ctx.
func EnumerateMinima(ctx context.Context, pool *kernel.Pool, cost []float64, n int, tol float64) ([]MinimaCount, error) {
	if n < 2 || n > MaxEnumerate || len(cost) < n*n {
		panic("assign: EnumerateMinima needs an n x n matrix with 2 <= n <= 9")
	}
	counts := make([]MinimaCount, n-1)
	_, least := BruteForce(cost, n)
	// One item of work per first two columns keeps the items alike.
	parts := make([][]MinimaCount, n*(n-1))
	pool.Do(len(parts), func(i int) {
		if ctx.Err() != nil {
			return
		}
		parts[i] = countMinima(cost, n, i/(n-1), i%(n-1), least, tol)
	})
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for b := range counts {
		counts[b].Batch = b + 2
		for _, p := range parts {
			counts[b].LocalMinima += p[b].LocalMinima
			counts[b].GlobalMinima += p[b].GlobalMinima
		}
	}
	return counts, nil
}

// countMinima is EnumerateMinima over the permutations that begin with column
// first and then the second-th of the others.
func countMinima(cost []float64, n, first, second int, least, tol float64) []MinimaCount {
	counts := make([]MinimaCount, n-1)
	e := newExchanges(n)
	if second >= first {
		second++
	}
	perm := []int32{int32(first), int32(second)}
	for j := range n {
		if j != first && j != second {
			perm = append(perm, int32(j))
		}
	}
	orders(perm, 2, func() {
		size := e.smallest(cost, perm, n, tol)
		for b := range counts {
			if size == 0 || size > b+2 {
				counts[b].LocalMinima++
			}
		}
		if permCost(cost, perm) <= least+tol {
			for b := range counts {
				counts[b].GlobalMinima++
			}
		}
	})
	return counts
}

// orders calls f for every order of perm[k:].
func orders(perm []int32, k int, f func()) {
	if k >= len(perm)-1 {
		f()
		return
	}
	for i := k; i < len(perm); i++ {
		perm[k], perm[i] = perm[i], perm[k]
		orders(perm, k+1, f)
		perm[k], perm[i] = perm[i], perm[k]
	}
}

func permCost(cost []float64, perm []int32) (total float64) {
	for i, j := range perm {
		total += cost[i*len(perm)+int(j)]
	}
	return total
}

// SmallestExchange returns how many rows the smallest cycle of exchanges takes
// that lowers the cost of perm, an assignment of the n x n cost matrix, by more
// than tol; 0 if there is none, so that perm is optimal within tol. It takes
// O(n^3) for every row of the answer: for small n.
func SmallestExchange(cost []float64, perm []int32, tol float64) int {
	n := len(perm)
	if len(cost) < n*n {
		panic("assign: SmallestExchange needs an n x n matrix")
	}
	return newExchanges(n).smallest(cost, perm, n, tol)
}

// exchanges is the scratch memory of a search for cycles among n rows.
type exchanges struct{ w, walk, next []float64 }

func newExchanges(n int) *exchanges {
	return &exchanges{make([]float64, n*n), make([]float64, n*n), make([]float64, n*n)}
}

// smallest returns the length, up to limit, of the shortest closed walk of
// weight below -tol, 0 if there is none: walk holds the least weights of walks
// of exactly k edges.
func (e *exchanges) smallest(cost []float64, perm []int32, limit int, tol float64) int {
	n := len(perm)
	exchangeWeights(e.w, cost, perm)
	copy(e.walk, e.w)
	for k := 2; k <= limit; k++ {
		for i := range n {
			minPlusRow(e.next[i*n:(i+1)*n], e.walk[i*n:(i+1)*n], e.w, n)
		}
		e.walk, e.next = e.next, e.walk
		if negativeDiagonal(e.walk, n, tol) {
			return k
		}
	}
	return 0
}

// exchangeWeights sets w_ij = c(i, perm(j)) - c(i, perm(i)).
func exchangeWeights(w, cost []float64, perm []int32) {
	n := len(perm)
	for i := range n {
		row, own := cost[i*n:(i+1)*n], cost[i*n+int(perm[i])]
		for j, p := range perm {
			w[i*n+j] = row[p] - own
		}
	}
}

// minPlusRow sets dst_j = min over l of a_l + b_lj.
func minPlusRow(dst, a, b []float64, n int) {
	for j := range dst {
		dst[j] = math.Inf(1)
	}
	for l, s := range a {
		row := b[l*n:][:len(dst)]
		for j, v := range row {
			if t := s + v; t < dst[j] {
				dst[j] = t
			}
		}
	}
}

func negativeDiagonal(w []float64, n int, tol float64) bool {
	for i := range n {
		if w[i*n+i] < -tol {
			return true
		}
	}
	return false
}

// MinimumProofCost is the number of additions that IsLocalMinimum takes.
func MinimumProofCost(n, batch int) float64 {
	cube := float64(n) * float64(n) * float64(n)
	switch {
	case batch <= 2:
		return float64(n) * float64(n)
	default:
		products := 0
		for b := min(batch, n); b > 1; b /= 2 {
			products += 1 + b&1
		}
		return cube * float64(products)
	}
}

// IsLocalMinimum decides whether perm, an assignment of the n x n cost matrix,
// is a local minimum for batches of the given size (20): whether no exchange
// among that many rows lowers the cost by more than tol. It takes min-plus
// powers of the matrix of exchanges, O(n^3 log batch) (see MinimumProofCost) and
// three matrices of memory. The error is that of ctx.
func IsLocalMinimum(ctx context.Context, pool *kernel.Pool, cost []float64, perm []int32, batch int, tol float64) (bool, error) {
	n := len(perm)
	if len(cost) < n*n || batch < 2 {
		panic("assign: IsLocalMinimum needs an n x n matrix and a batch of at least 2")
	}
	if batch == 2 {
		return !swapGains(cost, perm, tol), ctx.Err()
	}
	w := make([]float64, n*n)
	exchangeWeights(w, cost, perm) // 0 on the diagonal: walks of at most so many edges
	var power []float64
	for b := min(batch, n); ; b /= 2 {
		if b&1 == 1 && power == nil {
			power = w
		} else if b&1 == 1 {
			power = minPlus(ctx, pool, power, w, n)
		}
		if negativeDiagonal(w, n, tol) || power != nil && negativeDiagonal(power, n, tol) {
			return false, ctx.Err()
		}
		if err := ctx.Err(); err != nil || b <= 1 {
			return true, err
		}
		w = minPlus(ctx, pool, w, w, n)
	}
}

// swapGains reports whether exchanging the columns of two rows lowers the cost
// by more than tol.
func swapGains(cost []float64, perm []int32, tol float64) bool {
	n := len(perm)
	for i := range n {
		for j := range i {
			a, b := int(perm[i]), int(perm[j])
			if cost[i*n+b]+cost[j*n+a]-cost[i*n+a]-cost[j*n+b] < -tol {
				return true
			}
		}
	}
	return false
}

// minPlus returns the n x n matrix of min over l of a_il + b_lj.
func minPlus(ctx context.Context, pool *kernel.Pool, a, b []float64, n int) []float64 {
	c := make([]float64, n*n)
	const rows = 4 // share each row of b
	pool.DoChunks(n, rows, func(lo, hi int) {
		if ctx.Err() != nil {
			return
		}
		for i := lo * n; i < hi*n; i++ {
			c[i] = math.Inf(1)
		}
		for l := range n {
			row := b[l*n : (l+1)*n]
			for i := lo; i < hi; i++ {
				s, dst := a[i*n+l], c[i*n:][:len(row)]
				for j, v := range row {
					if t := s + v; t < dst[j] {
						dst[j] = t
					}
				}
			}
		}
	})
	return c
}

// Neighbours is the number of distinct other permutations of n rows that one
// batch leads to (19): the sum over k = 2..batch of C(n, k) D_k, where D_k counts
// the permutations of k that move every element. n <= 20.
func Neighbours(n, batch int) int {
	checkDegrees(n, batch)
	total, choose, previous, derangements := 0, n, 1, 0 // C(n,1), D_0, D_1
	for k := 2; k <= batch; k++ {
		choose = choose * (n - k + 1) / k
		previous, derangements = derangements, (k-1)*(derangements+previous)
		total += choose * derangements
	}
	return total
}

// QuotedOutDegree is C(n, batch) batch!, the out-degree that is commonly given
// for a permutation (19). It counts pairs of a batch and an order within it, so
// the same neighbour several times, and the permutation itself. n <= 20.
func QuotedOutDegree(n, batch int) int {
	checkDegrees(n, batch)
	total := 1
	for k := n - batch + 1; k <= n; k++ {
		total *= k
	}
	return total
}

func checkDegrees(n, batch int) {
	if n < 2 || n > 20 || batch < 1 || batch > n {
		panic("assign: degrees are counted for 2 <= n <= 20 rows and batches of at most n")
	}
}
