package assign

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
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
	// Learned is the Learned of an earlier result for the same columns, or nil. Potentials
	// themselves do not serve a second time: when all points have moved a little, what
	// they have in common has too, and a search that begins there takes many times as long.
	// What remains of a column, be it alone or in company, is added in part to the potentials
	// to begin with, if that gives a better lower bound on a sample of rows.
	Learned []float64
	// Progress, if not nil, is called from time to time, from the calling goroutine.
	Progress func(LargeProgress)
}

// LargeProgress says how far [Large] has come.
type LargeProgress struct {
	Phase        string // "potentials", "candidates", "reduction", "paths", "proof"
	Paired, Rows int    // rows that have a column, and all
	Elapsed      time.Duration
}

// LargeResult is a Result and how it came about.
type LargeResult struct {
	Result
	Stopped string  // "" if solved to the tolerance, else "time limit" or "canceled"
	Passes  float64 // how many times all n^2 costs were computed
	// Learned is V less the potentials the search would have begun with by itself, their
	// mean taken off; nil if it was stopped before it began.
	Learned []float64
}

// Large assigns n points x to n points y, both row-major in d dimensions, by squared
// Euclidean distance, in memory O(n k) where k is a few dozen: for tens or hundreds
// of thousands of points, whose matrix nobody would want to hold.
//
// Distances are computed in float64 and stored in steps of at most 2^-47 of the
// largest; on these the search is exact, and Optimal says that nothing costs less. U, V
// and Gap are computed in float64 from the points: u_i + v_j <= c_ij for all pairs up to
// the rounding of float64, and Gap is what the steps may have cost, some 1e-14 of
// Cost. Of two optimal permutations the search prefers the one that keeps Start. The
// result is the same for any number of workers.
//
// When ctx is done or the time is up the result is the best permutation known, with
// the gap that is proven for it; in the first case the error wraps the cause.
//
// Errors: *ShapeError for d < 1, n < 0 or fewer than n*d coordinates of either set (as many
// points on one side as on the other are wanted, for others see [Solver.Points]);
// *EntryError for a coordinate or potential that is not finite; *ShapeError or *StartError
// for a Start that is no permutation.
func Large(ctx context.Context, x, y []float32, n, d int, opt LargeOptions) (*LargeResult, error) {
	if err := opt.check(x, y, n, d); err != nil {
		return nil, err
	}
	pool := opt.Pool
	if pool == nil {
		pool = kernel.NewPool(0)
		defer pool.Close()
	}
	began := time.Now()
	x, y, exponent := nearOne(x[:n*d], y[:n*d])
	l := &large{opt: opt, n: n, began: began, p: newPricer(pool, x, y, n, n, d, 0), s: newSparse(n), unit: math.Ldexp(1, 2*exponent)}
	defer l.p.close()
	work := ctx
	if opt.TimeLimit > 0 {
		var cancel context.CancelFunc
		work, cancel = context.WithDeadline(ctx, began.Add(opt.TimeLimit))
		defer cancel()
	}
	err := l.solve(work)
	l.report("proof", true)
	r := l.result(work)
	r.rescale(l.unit)
	for j := range r.Learned {
		r.Learned[j] *= l.unit
	}
	switch {
	case err == nil:
	case ctx.Err() != nil:
		r.Stopped = "canceled"
		return r, fmt.Errorf("assign: %d of %d rows paired: %w", l.paired(), n, context.Cause(ctx))
	default:
		r.Stopped = "time limit"
	}
	return r, nil
}

// nearOne returns the points divided by a power of 2 if they are so large, or so small, that
// squares would not fit in float32. Only what is 2^-126 of the largest coordinate is lost.
func nearOne(x, y []float32) (nearX, nearY []float32, exponent int) {
	const fits = 20
	var largest float64
	for _, points := range [][]float32{x, y} {
		for _, value := range points {
			largest = max(largest, math.Abs(float64(value)))
		}
	}
	if _, exponent = math.Frexp(largest); -fits <= exponent && exponent <= fits {
		return x, y, 0
	}
	factor := math.Ldexp(1, -exponent)
	return times(factor, x), times(factor, y), exponent
}

// check returns an error unless the points make a problem and the hints fit it.
func (opt *LargeOptions) check(x, y []float32, n, d int) error {
	if err := checkPoints(x, y, n, n, d); err != nil {
		return err
	}
	if _, err := largestNorm("points", x, n, d, nil); err != nil {
		return err
	}
	if _, err := largestNorm("targets", y, n, d, nil); err != nil {
		return err
	}
	if err := checkStart(opt.Start, make([]bool, n), n); err != nil {
		return err
	}
	if i := slices.Index(opt.Start, free); i >= 0 {
		return &StartError{Row: i, Col: free, Cols: n}
	}
	return checkPotentials(opt.Learned, n)
}

// large is one call of Large.
type large struct {
	opt      LargeOptions
	n        int
	began    time.Time
	reported time.Time
	p        *pricer
	s        *sparse
	twins    [][]int32 // rows with the same coordinates, more than one
	twinOf   []int32   // row -> the first with its coordinates
	coarse   []float64 // potentials to begin with
	unit     float64   // a power of 2: the cost of 1 between the points as they were given
	priced   int       // rows whose costs were computed
	filled   bool      // every row has a list
	solved   bool
}

const (
	listLength  = 32   // columns a row knows at first
	maxRounds   = 12   // of row reduction
	leastRounds = 3    // of row reduction, even if no row is stale
	denseFree   = 2048 // rows left over that are paired by the dense solver
	reportEvery = 100 * time.Millisecond
)

// solve pairs all rows, unless ctx is done before or the tolerance is reached.
func (l *large) solve(ctx context.Context) error {
	l.findTwins()
	l.report("potentials", true)
	if err := l.seed(ctx); err != nil {
		return err
	}
	l.report("candidates", true)
	if err := l.fill(ctx, allOf(l.n), listLength); err != nil {
		return err
	}
	l.filled = true
	l.keepStart()
	queue := l.free()
	for round := 0; len(queue) > 0 && round < maxRounds; round++ {
		l.report("reduction", round == 0)
		queue = l.s.reduce(queue, 4*l.n, func() bool { return ctx.Err() != nil })
		settled := len(l.s.stale) == 0
		if err := l.refill(ctx, false); err != nil {
			return err
		}
		if settled && round+1 >= leastRounds {
			break
		}
	}
	return l.paths(ctx)
}

// paths finds a shortest path for every row that is still free. Searches that need
// more than the lists know are repeated once these are longer.
func (l *large) paths(ctx context.Context) error {
	l.report("paths", true)
	for queue := l.free(); len(queue) > 0; queue = l.free() {
		if l.closeEnough(len(queue)) {
			return nil
		}
		for _, i := range queue {
			if err := ctx.Err(); err != nil {
				return err
			}
			if l.s.search(i) {
				l.s.augment(i)
			}
			l.report("paths", false)
		}
		if err := l.refill(ctx, true); err != nil {
			return err
		}
	}
	l.solved = true
	l.keepIdle()
	return ctx.Err()
}

// closeEnough reports whether the tolerance is reached if the rows still free take
// what is left.
func (l *large) closeEnough(left int) bool {
	if l.opt.Tolerance <= 0 || left > denseFree {
		return false
	}
	var cost, bound sum
	least := l.known()
	for i, j := range l.complete() {
		cost.add(l.p.distance(int32(i), j))
		bound.add(float64(least[i]) / l.p.scale)
		bound.add(float64(l.s.v[i]) / l.p.scale)
	}
	return cost.value()-bound.value() <= l.opt.Tolerance*math.Abs(cost.value())
}

// seed sets the potentials to begin with.
func (l *large) seed(ctx context.Context) error {
	var err error
	if l.coarse, err = coarsePotentials(ctx, l.p); err != nil {
		return err
	}
	learned := slices.Clone(l.opt.Learned)
	reach := math.Ldexp(1, costBits) / l.p.scale
	for j, x := range learned {
		learned[j] = min(max(x/l.unit, -reach), reach)
	}
	v, err := blend(ctx, l.p, l.coarse, learned)
	if err != nil {
		return err
	}
	largest := math.Inf(-1)
	for _, x := range v {
		largest = max(largest, x)
	}
	for j, x := range v {
		l.s.v[j] = int64(max((x-largest)*l.p.scale, -(1 << (costBits + 2))))
	}
	return ctx.Err()
}

// findTwins groups rows with the same coordinates: their costs are computed once. It
// is a collapsed network that makes many of them.
func (l *large) findTwins() {
	d := l.p.d
	row := func(i int32) []float32 { return l.p.x[int(i)*d : (int(i)+1)*d] }
	order := allOf(l.n)
	slices.SortFunc(order, func(a, b int32) int {
		return cmp.Or(slices.Compare(row(a), row(b)), cmp.Compare(a, b))
	})
	l.twinOf = allOf(l.n)
	for lo := 0; lo < l.n; {
		hi := lo + 1
		for hi < l.n && slices.Equal(row(order[lo]), row(order[hi])) {
			l.twinOf[order[hi]] = order[lo]
			hi++
		}
		if hi > lo+1 {
			l.twins = append(l.twins, order[lo:hi])
		}
		lo = hi
	}
}

// firsts reduces rows to one of each set of twins, and returns all others of these sets,
// whether they are among rows or not.
func (l *large) firsts(rows []int32) (firsts, rest []int32) {
	if len(l.twins) == 0 {
		return rows, nil
	}
	taken := make(map[int32]bool)
	for _, i := range rows {
		if first := l.twinOf[i]; !taken[first] {
			taken[first] = true
			firsts = append(firsts, first)
		}
	}
	for _, twins := range l.twins {
		if taken[twins[0]] {
			rest = append(rest, twins[1:]...)
		}
	}
	return firsts, rest
}

// fill gives rows lists of k columns.
func (l *large) fill(ctx context.Context, rows []int32, k int) error {
	rows, rest := l.firsts(rows)
	l.priced += len(rows)
	l.p.setPotentials(l.s.v)
	err := l.p.fill(ctx, rows, k, func(i int32, cols []int32, limit int64) {
		list := &l.s.lists[i]
		list.cols = append(list.cols[:0], cols...)
		list.costs = list.costs[:0]
		for _, j := range cols {
			list.costs = append(list.costs, l.p.cost(i, j))
		}
		list.limit = limit
	})
	for _, i := range rest {
		l.s.lists[i] = l.s.lists[l.twinOf[i]] // shared: only fill writes, and for all twins
	}
	return err
}

// refill gives the stale rows new lists, longer ones if asked.
func (l *large) refill(ctx context.Context, longer bool) error {
	byLength := make(map[int][]int32)
	for _, i := range l.s.stale {
		l.s.noted[i] = false
		k := listLength
		if longer {
			k = min(l.n, max(listLength, len(l.s.lists[i].cols)*3/2))
		}
		byLength[k] = append(byLength[k], i)
	}
	l.s.stale = l.s.stale[:0]
	for _, k := range slices.Sorted(maps.Keys(byLength)) {
		if err := l.fill(ctx, byLength[k], k); err != nil {
			return err
		}
	}
	return nil
}

// start is the column that row i has in the current pairing.
func (l *large) start(i int32) int32 {
	if l.opt.Start == nil {
		return i
	}
	return l.opt.Start[i]
}

// keepStart pairs rows that have a cheapest column of their own, their current one first.
func (l *large) keepStart() {
	for i := range int32(l.n) {
		j := l.start(i)
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

// keepIdle goes back to the current pairing wherever leaving it gained nothing: the
// two differ in cycles, and each that costs no less than before is undone.
func (l *large) keepIdle() {
	done := make([]bool, l.n)
	for first := range int32(l.n) {
		var cycle []int32
		var gain int64
		for i := first; !done[i]; i = l.s.rowOf[l.start(i)] {
			done[i] = true
			cycle = append(cycle, i)
			gain += l.p.cost(i, l.start(i)) - l.s.paid[i]
		}
		if len(cycle) < 2 || gain > 0 {
			continue
		}
		for _, i := range cycle {
			l.s.pair(i, l.start(i), l.p.cost(i, l.start(i)))
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

// report calls Progress, at once or if it is time again.
func (l *large) report(phase string, now bool) {
	if l.opt.Progress == nil || !now && time.Since(l.reported) < reportEvery {
		return
	}
	l.reported = time.Now()
	l.opt.Progress(LargeProgress{Phase: phase, Paired: l.paired(), Rows: l.n, Elapsed: time.Since(l.began)})
}

// result completes the pairing and computes the certificate.
func (l *large) result(ctx context.Context) *LargeResult {
	r := &LargeResult{}
	r.Method = "sparse-int64"
	least := l.bounds(ctx)
	r.Perm = l.complete()
	r.U, r.V = make([]float64, l.n), make([]float64, l.n)
	r.Optimal = l.solved
	var cost, initial, bound sum
	for i, j := range r.Perm {
		cost.add(l.p.distance(int32(i), j))
		initial.add(l.p.distance(int32(i), l.start(int32(i))))
		r.U[i], r.V[i] = least[i].exact, float64(l.s.v[i])/l.p.scale
		r.Optimal = r.Optimal && least[i].steps == l.p.cost(int32(i), j)-l.s.v[j]
		bound.add(r.U[i])
		bound.add(r.V[i])
	}
	if l.filled {
		r.Learned = beyond(r.V, l.coarse)
	}
	r.Cost, r.InitialCost = cost.value(), initial.value()
	if r.InitialCost < r.Cost && !l.solved {
		r.Cost = r.InitialCost
		for i := range r.Perm {
			r.Perm[i] = l.start(int32(i))
		}
	}
	r.Gap = r.Cost - max(bound.value(), 0) // no distance is negative
	r.close()
	r.RowScans, r.Augmentations = l.s.visits, l.s.augmentations
	r.Passes = float64(l.priced) / float64(max(l.n, 1))
	return r
}

// complete pairs the rows still free with the columns still free: as well as can be if
// they are not too many, else in order.
func (l *large) complete() []int32 {
	perm := slices.Clone(l.s.colOf)
	rows := l.free()
	var cols []int32
	for j, i := range l.s.rowOf {
		if i == free {
			cols = append(cols, int32(j))
		}
	}
	best := allOf(len(rows))
	if d := l.p.d; len(rows) > 1 && len(rows) <= denseFree {
		var s Solver
		r, err := s.Points(context.Background(), l.p.pool, gather(l.p.x, rows, d), gather(l.p.y, cols, d), len(rows), len(cols), d, Options{})
		if err == nil {
			best = r.Perm
		}
	}
	for k, i := range rows {
		perm[i] = cols[best[k]]
	}
	return perm
}

// gather copies rows of x.
func gather(x []float32, rows []int32, d int) []float32 {
	out := make([]float32, 0, len(rows)*d)
	for _, i := range rows {
		out = append(out, x[int(i)*d:(int(i)+1)*d]...)
	}
	return out
}

// known returns what the lists prove of the least reduced cost of each row.
func (l *large) known() []int64 {
	least := make([]int64, l.n)
	for i := range least {
		_, _, low, _ := l.s.twoLeast(int32(i))
		least[i] = min(low, l.s.lists[i].limit)
	}
	return least
}

// bounds returns a lower bound of the reduced costs of each row: the least, if there
// is time to look, else what the lists know, and 0 if there are none.
func (l *large) bounds(ctx context.Context) []proof {
	least := make([]proof, l.n)
	if !l.filled {
		clear(l.s.v)
		return least
	}
	known := l.known()
	for i, x := range known {
		least[i] = proof{x, float64(x-1) / l.p.scale}
	}
	rows, rest := l.firsts(allOf(l.n))
	for i, j := range l.s.colOf {
		if j != free {
			first := l.twinOf[i]
			known[first] = max(known[first], l.s.paid[i]-l.s.v[j])
		}
	}
	l.p.setPotentials(l.s.v)
	found := make([]proof, l.n)
	if l.p.least(ctx, rows, l.s.v, known, func(i int32, x proof) { found[i] = x }) != nil {
		return least
	}
	l.priced += len(rows)
	for _, i := range rest {
		found[i] = found[l.twinOf[i]]
	}
	return found
}
