package assign

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"nat/internal/kernel"
)

// LargeOptions are the options of [Large]. The zero value asks for the optimum.
type LargeOptions struct {
	// Pool does the matrix products; nil means one of all processors for this call.
	Pool *kernel.Pool
	// Tolerance is the relative gap that suffices; 0 asks for the optimum.
	Tolerance float64
	// TimeLimit ends the search with the best assignment found so far; 0 means none.
	// The result says how far from the optimum it may be. It is checked between
	// pieces of work, so that the call may take a little longer.
	TimeLimit time.Duration
	// Start is the current pairing, row -> column, a permutation; nil means identity.
	Start []int32
	// StartV are column potentials to begin with, as an earlier result had them in V.
	StartV []float64
	// Progress, if not nil, is called from time to time, from the calling goroutine.
	Progress func(LargeProgress)
}

// LargeProgress says how far [Large] has come.
type LargeProgress struct {
	Phase   string // "potentials", "candidates", "reduction", "paths" or "proof"
	Paired  int    // rows that have a column
	Rows    int    // of all
	Elapsed time.Duration
}

// LargeResult is a Result and how it came about.
type LargeResult struct {
	Result
	Stopped string  // "" if solved to the tolerance, else "time limit" or "canceled"
	Passes  float64 // how many times all n^2 costs were computed
}

// Large assigns n points x to n points y, both row-major in d dimensions, by squared
// Euclidean distance, in memory O(n k) where k is a few dozen: for tens or hundreds
// of thousands of points, whose matrix nobody would want to hold.
//
// Distances are float64 sums in the order of the coordinates, stored in steps of at
// most 2^-47 of the largest; on these the search is exact. U, V and Gap are
// computed in float64 from the points: u_i + v_j <= c_ij for all pairs, and Gap is
// what rounding to steps may have cost, some 1e-14 of the cost. Optimal says that the
// gap is zero in steps. The result is the same for any number of workers.
//
// When ctx is done or the time is up the result is the best permutation known with
// the gap that is proven for it; in the first case the error is the cause.
//
// Errors: *EntryError for a coordinate that is not finite.
func Large(ctx context.Context, x, y []float32, n, d int, opt LargeOptions) (*LargeResult, error) {
	if n < 0 || d < 1 || len(x) < n*d || len(y) < n*d {
		panic("assign: Large needs n*d coordinates of both sets, d >= 1")
	}
	checkPermutation(opt.Start, n)
	if opt.StartV != nil && len(opt.StartV) != n {
		panic("assign: LargeOptions.StartV must have one entry per column")
	}
	if _, err := largestNorm("points", x, n, d); err != nil {
		return nil, err
	}
	if _, err := largestNorm("targets", y, n, d); err != nil {
		return nil, err
	}
	pool := opt.Pool
	if pool == nil {
		pool = kernel.NewPool(0)
		defer pool.Close()
	}
	l := &large{opt: opt, n: n, began: time.Now(), p: newPricer(pool, x, y, n, n, d, 0), s: newSparse(n)}
	defer l.p.close()
	work := ctx
	if opt.TimeLimit > 0 {
		var cancel context.CancelFunc
		work, cancel = context.WithDeadline(ctx, l.began.Add(opt.TimeLimit))
		defer cancel()
	}
	err := l.solve(work)
	r := l.result(work)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		r.Stopped = "canceled"
		return r, fmt.Errorf("assign: %d of %d rows paired: %w", l.paired(), n, context.Cause(ctx))
	case errors.Is(err, context.DeadlineExceeded):
		r.Stopped = "time limit"
	}
	return r, nil
}

func checkPermutation(start []int32, n int) {
	if start == nil {
		return
	}
	if len(start) != n {
		panic("assign: LargeOptions.Start must have one entry per row")
	}
	taken := make([]bool, n)
	for _, j := range start {
		if j < 0 || int(j) >= n || taken[j] {
			panic("assign: LargeOptions.Start must be a permutation")
		}
		taken[j] = true
	}
}

// large is one call of Large.
type large struct {
	opt    LargeOptions
	n      int
	began  time.Time
	p      *pricer
	s      *sparse
	priced int  // rows whose costs were computed
	filled bool // every row has a list
	solved bool
}

const listLength = 32

func (l *large) solve(ctx context.Context) error {
	if l.n == 0 {
		l.solved = true
		return nil
	}
	l.report("potentials")
	if err := l.seed(ctx); err != nil {
		return err
	}
	l.report("candidates")
	queue := make([]int32, l.n)
	for i := range queue {
		queue[i] = int32(i)
	}
	if err := l.fill(ctx, queue, listLength); err != nil {
		return err
	}
	l.filled = true
	l.keepStart()
	queue = l.free()
	for round := 0; len(queue) > 0 && round < 12; round++ {
		l.report("reduction")
		queue = l.s.reduce(queue, 4*l.n, func() bool { return ctx.Err() != nil })
		stale := len(l.s.stale)
		if err := l.refill(ctx, false); err != nil {
			return err
		}
		if stale == 0 {
			if round > 2 {
				break
			}
		}
	}
	for queue = l.free(); len(queue) > 0; queue = l.free() {
		l.report("paths")
		for _, i := range queue {
			if err := ctx.Err(); err != nil {
				return err
			}
			if l.s.search(i) {
				l.s.augment(i)
			}
		}
		if err := l.refill(ctx, true); err != nil {
			return err
		}
	}
	l.solved = true
	l.report("proof")
	return ctx.Err()
}

// seed sets the potentials to begin with.
func (l *large) seed(ctx context.Context) error {
	v := l.opt.StartV
	if v == nil {
		var err error
		if v, err = coarsePotentials(ctx, l.p); v == nil {
			return err
		}
	}
	l.take(v)
	return ctx.Err()
}

func (l *large) take(v []float64) {
	largest := math.Inf(-1)
	for _, x := range v {
		largest = max(largest, x)
	}
	for j, x := range v {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			panic("assign: LargeOptions.StartV must be finite")
		}
		l.s.v[j] = int64(max((x-largest)*l.p.scale, -(1 << (costBits + 2))))
	}
}

// fill gives rows lists of k columns.
func (l *large) fill(ctx context.Context, rows []int32, k int) error {
	l.priced += len(rows)
	l.p.setPotentials(l.s.v)
	return l.p.fill(ctx, rows, k, func(i int32, cols []int32, limit int64) {
		list := &l.s.lists[i]
		list.cols = append(list.cols[:0], cols...)
		list.costs = list.costs[:0]
		for _, j := range cols {
			list.costs = append(list.costs, l.p.cost(i, j))
		}
		list.limit = limit
	})
}

// refill gives the stale rows new lists, longer ones to those that come back.
func (l *large) refill(ctx context.Context, longer bool) error {
	rows := l.s.stale
	l.s.stale = nil
	byLength := make(map[int][]int32)
	for _, i := range rows {
		l.s.noted[i] = false
		k := listLength
		if longer {
			k = min(l.n, max(listLength, len(l.s.lists[i].cols)*3/2))
		}
		byLength[k] = append(byLength[k], i)
	}
	for k, rows := range byLength {
		if err := l.fill(ctx, rows, k); err != nil {
			return err
		}
	}
	return nil
}

// keepStart pairs rows that have a cheapest column of their own, their current one first.
func (l *large) keepStart() {
	for i := range int32(l.n) {
		j := i
		if l.opt.Start != nil {
			j = l.opt.Start[i]
		}
		cost := l.p.cost(i, j)
		if _, _, low, _ := l.s.twoLeast(i); cost-l.s.v[j] <= min(low, l.s.lists[i].limit) {
			l.s.pair(i, j, cost)
		}
	}
	for i := range int32(l.n) {
		if l.s.colOf[i] != free {
			continue
		}
		first, _, low, _ := l.s.twoLeast(i)
		if first == free || low > l.s.lists[i].limit {
			l.s.note(i)
			continue
		}
		if j := l.s.lists[i].cols[first]; l.s.rowOf[j] == free {
			l.s.pair(i, j, l.s.lists[i].costs[first])
		}
	}
}

// free lists the rows without a column.
func (l *large) free() []int32 {
	var rows []int32
	for i, j := range l.s.colOf {
		if j == free {
			rows = append(rows, int32(i))
		}
	}
	return rows
}

func (l *large) paired() int { return l.n - len(l.free()) }

func (l *large) report(phase string) {
	if l.opt.Progress != nil {
		l.opt.Progress(LargeProgress{Phase: phase, Paired: l.paired(), Rows: l.n, Elapsed: time.Since(l.began)})
	}
}

// result completes the pairing and computes the certificate.
func (l *large) result(ctx context.Context) *LargeResult {
	r := &LargeResult{}
	r.Method = "sparse-int64"
	r.Perm = l.complete()
	r.U, r.V = make([]float64, l.n), make([]float64, l.n)
	least := l.bounds(ctx)
	r.Optimal = l.solved
	var cost, initial, bound sum
	for i, j := range r.Perm {
		pair := l.p.distance(int32(i), j)
		cost.add(pair)
		start := int32(i)
		if l.opt.Start != nil {
			start = l.opt.Start[i]
		}
		initial.add(l.p.distance(int32(i), start))
		r.V[i] = float64(l.s.v[i]) / l.p.scale
		r.U[i] = float64(least[i]) / l.p.scale
		r.Optimal = r.Optimal && least[i] == l.p.cost(int32(i), j)-l.s.v[j]
		bound.add(r.U[i])
		bound.add(r.V[i])
	}
	r.Cost, r.InitialCost = cost.value(), initial.value()
	r.Gap = r.Cost - bound.value()
	r.close()
	r.RowScans, r.Augmentations = l.s.visits, l.s.augmentations
	r.Passes = float64(l.priced) / float64(max(l.n, 1))
	return r
}

// complete gives the rows still free the columns still free, in order.
func (l *large) complete() []int32 {
	perm := make([]int32, l.n)
	copy(perm, l.s.colOf)
	j := 0
	for i := range perm {
		if perm[i] != free {
			continue
		}
		for l.s.rowOf[j] != free {
			j++
		}
		perm[i] = int32(j)
		j++
	}
	return perm
}

// bounds returns a lower bound of the reduced costs of each row: the least, if
// there is time to look, else what the lists know.
func (l *large) bounds(ctx context.Context) []int64 {
	least := make([]int64, l.n)
	if !l.filled {
		for i := range least {
			least[i] = 0
		}
		clear(l.s.v)
		return least
	}
	rows, bound := make([]int32, l.n), make([]int64, l.n)
	for i := range rows {
		rows[i] = int32(i)
		_, _, low, _ := l.s.twoLeast(int32(i))
		least[i] = min(low, l.s.lists[i].limit)
		if j := l.s.colOf[i]; j != free {
			bound[i] = l.s.paid[i] - l.s.v[j]
		} else {
			bound[i] = least[i]
		}
	}
	l.priced += l.n
	l.p.setPotentials(l.s.v)
	exact := make([]int64, l.n)
	if l.p.least(context.WithoutCancel(ctx), rows, l.s.v, bound, func(i int32, x int64) { exact[i] = x }) == nil && ctx.Err() == nil {
		return exact
	}
	return least
}
