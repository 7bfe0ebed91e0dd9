package assign

import (
	"context"
	"fmt"
	"math"
	"slices"
	"unsafe"

	"nat/internal/kernel"
)

// number is what the solver computes in: int32 fixed point for unit vectors,
// float64 for anything else.
type number interface{ int32 | float64 }

// free marks a row or a column that has no partner.
const free = -1

// maxCandidates bounds the columns a row remembers between its dense scans.
const maxCandidates = 32

// lap is one dense assignment problem with n <= m and the buffers to solve it.
//
// The algorithm is that of Jonker and Volgenant (Computing 38, 1987): column
// reduction, augmenting row reduction, then a shortest augmenting path for
// every row that is still free. One thing is different: a row is not scanned
// over all m columns each time. It remembers its few cheapest columns by
// reduced cost c_ij - v_j together with a limit that no other column was below.
// Potentials v only ever fall, so reduced costs only ever rise and the limit
// stays a lower bound: the remembered columns decide exactly as long as they
// are below it, and the row is scanned in full again when they are not.
//
//	row i, by reduced cost:   2  3  5 | 7 . . . . . .     limit 7
//	                          candidates   the rest, >= 7 for ever
//
// Near an optimum the partner of a row is nearly always among its ten cheapest
// columns, so a scan costs k operations and not m. With few columns a scan in vectors
// is as fast, and nothing is remembered.
type lap[T number] struct {
	n, m  int
	c     []T // n x m costs; inf = forbidden
	inf   T
	v     []T     // column potentials
	colOf []int32 // row -> column or free
	rowOf []int32 // column -> row or free

	k     int     // room for candidates per row
	cand  []int32 // n x k columns, cheapest first when chosen
	candC []T     // their costs
	candN []int32 // how many each row has
	limit []T     // reduced cost no other column is below

	scratch []scratch[T] // one per rowChunk rows

	// In vectors, for T = int32: see kernel.MinTwo and kernel.Relax.
	minTwo func(row, v []T) (first, second int, low, high T)
	relax  func(dist []T, pred []int32, row, v []T, offset T, from int32) (nearest int, least T)
	done   T    // distance of a column in the tree, for relax
	whole  bool // no candidates: rows are scanned in full

	auctions bool // price wars are cut short, see outbid

	// Search state of one augmenting path.
	dist   []T
	pred   []int32
	seen   []int64 // column -> 2*round: reached, 2*round+1: in the tree
	fresh  []int64 // row -> round in which its candidates were chosen afresh
	round  int64
	tree   []int32 // columns in the tree, in order of distance
	open   []int32 // columns that are not, once the search is dense
	heap   heap[T]
	saved  []T     // distances of the tree, once the search is dense
	vacant []int32 // columns without a partner, if few
	bound  T       // distance of the nearest free column found
	target int32

	queue, next []int32

	scans, augmentations int

	ctx     context.Context // of this solve
	beats   int
	stopped bool // ctx is done, and so are all loops
}

// look reports whether the solve is to stop.
func (p *lap[T]) look() bool {
	p.stopped = p.stopped || p.ctx.Err() != nil
	return p.stopped
}

// halted is look for loops of short turns: it looks now and then.
func (p *lap[T]) halted() bool {
	const turns = 256
	if p.beats++; p.beats%turns == 0 {
		p.look()
	}
	return p.stopped
}

// interrupted is the error of a solve that was stopped.
func (p *lap[T]) interrupted() error {
	paired := 0
	for _, j := range p.colOf {
		if j != free {
			paired++
		}
	}
	return fmt.Errorf("assign: stopped when %d of %d rows were paired: %w", paired, p.n, context.Cause(p.ctx))
}

// reset makes room for an n x m problem whose costs the caller fills in.
func (p *lap[T]) reset(ctx context.Context, n, m, k int, inf T) {
	p.n, p.m, p.inf = n, m, inf
	p.ctx, p.beats, p.stopped = ctx, 0, false
	p.k = min(k, m, maxCandidates)
	if p.whole = p.minTwo != nil && m <= wholeColumns; p.whole {
		p.k = min(m, 1)
	}
	p.c = grow(p.c, n*m)
	p.v = grow(p.v, m)
	p.colOf = grow(p.colOf, n)
	p.rowOf = grow(p.rowOf, m)
	p.cand = grow(p.cand, n*p.k)
	p.candC = grow(p.candC, n*p.k)
	p.candN = grow(p.candN, n)
	p.limit = grow(p.limit, n)
	p.scratch = grow(p.scratch, chunks(n, rowChunk))
	p.dist = grow(p.dist, m)
	p.pred = grow(p.pred, m)
	p.seen = grow(p.seen, m)
	p.fresh = grow(p.fresh, n)
	// Room for the longest search, so that none of a later problem allocates.
	p.tree, p.saved, p.vacant = grow(p.tree, m)[:0], grow(p.saved, m)[:0], grow(p.vacant, m)[:0]
	p.queue, p.next = grow(p.queue, n)[:0], grow(p.next, n)[:0]
	clear(p.seen)
	clear(p.fresh)
	p.round = 0
	p.scans, p.augmentations = 0, 0
	for i := range p.colOf {
		p.colOf[i] = free
	}
	for j := range p.rowOf {
		p.rowOf[j] = free
	}
}

// grow returns a slice of length n, reusing s when it is large enough.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// row returns the costs of row i.
func (p *lap[T]) row(i int) []T { return p.c[i*p.m : (i+1)*p.m] }

// columnMinima sets v to the least cost of each column, the largest potentials that leave
// every reduced cost non-negative. It returns a column that is forbidden to all rows, free
// if there is none.
func (p *lap[T]) columnMinima() int32 {
	for j := range p.v {
		p.v[j] = p.inf
	}
	for i := range p.n {
		kernel.Lower(p.v, p.row(i))
	}
	return int32(slices.Index(p.v, p.inf))
}

// scratch is what fill needs for one row at a time.
type scratch[T number] struct {
	classes [kernel.Classes]T
	cols    [gathered]int32
	keys    [gathered]T
}

const (
	// wholeColumns is up to how many columns rows are scanned in full, if vectors can.
	wholeColumns = 512
	// gathered is how many columns below a threshold are looked through.
	gathered = 128
	// rowChunk is a piece of the parallel loops over rows. See kernel.FixedCosts.Done.
	rowChunk = 16
)

// fill scans row i in full and remembers its cheapest columns under the
// potentials of now, the cheapest first. A threshold is guessed from the minima of
// classes of columns; only if it catches far too many columns, or hardly any, is the
// row sorted out one by one. It may run for rows of different chunks at a time.
func (p *lap[T]) fill(i int) {
	row := p.row(i)
	if p.whole {
		j, _, _, _ := p.minTwo(row, p.v)
		p.cand[i*p.k], p.candC[i*p.k], p.candN[i] = int32(j), row[j], 1
		return
	}
	s := &p.scratch[i/rowChunk]
	least, threshold := p.inf, p.inf
	if p.m > p.k {
		least, threshold = s.threshold(row, p.v, p.inf)
	}
	room := len(s.cols)
	if least == threshold && threshold < p.inf { // ties without end: any of them will do
		room = p.k
		threshold = after(threshold)
	}
	count := kernel.Below(s.cols[:room], row, p.v, threshold)
	switch {
	case room == p.k && count > 1: // no column is below the least
		count, threshold = min(count, room), least
	case count > room || count < 2 && threshold < p.inf:
		count, threshold = s.cheapest(row, p.v, p.inf, p.k)
	case count > p.k:
		count, threshold = s.cut(count, row, p.v, p.k)
	}
	p.remember(i, s.cols[:count], threshold)
}

// remember stores the candidates of row i.
func (p *lap[T]) remember(i int, cols []int32, limit T) {
	row := p.row(i)
	p.limit[i] = limit
	p.candN[i] = int32(len(cols))
	cand, candC := p.cand[i*p.k:], p.candC[i*p.k:]
	best, at := p.inf, 0
	for t, j := range cols {
		cand[t], candC[t] = j, row[j]
		if r := row[j] - p.v[j]; r < best {
			best, at = r, t
		}
	}
	if at > 0 {
		cand[0], cand[at] = cand[at], cand[0]
		candC[0], candC[at] = candC[at], candC[0]
	}
}

// after returns the next larger number.
func after[T number](x T) T {
	switch x := any(x).(type) {
	case int32:
		return T(x + 1)
	case float64:
		return T(math.Nextafter(x, math.Inf(1)))
	}
	return x
}

// threshold returns the least reduced cost and a value that some ten to twenty are
// below: of the minima of 16 classes of columns, the tenth. With few columns both are inf.
func (s *scratch[T]) threshold(row, v []T, inf T) (lowest, threshold T) {
	const groups, rank = 16, 10
	classes := s.classes[:kernel.Classes*4/int(unsafe.Sizeof(inf))]
	if len(row) < len(classes) {
		return inf, inf
	}
	kernel.ClassMinima(classes, row, v)
	var least [groups]T
	for b := range least {
		x := classes[b]
		for k := b + groups; k < len(classes); k += groups {
			x = min(x, classes[k])
		}
		at := b
		for at > 0 && least[at-1] > x {
			least[at] = least[at-1]
			at--
		}
		least[at] = x
	}
	return least[0], least[rank-1]
}

// cheapest collects the k cheapest columns and returns the reduced cost of the
// next as the limit, inf if there are no more.
func (s *scratch[T]) cheapest(row, v []T, inf T, k int) (count int, limit T) {
	limit = inf
	for j, cost := range row {
		r := cost - v[j]
		if !(r < limit) {
			continue
		}
		if count <= k {
			count++
		}
		s.insert(count-1, r, int32(j))
		if count > k {
			limit = s.keys[k]
		}
	}
	return min(count, k), limit
}

// cut keeps the k cheapest of count columns, the first of those that tie, and returns
// the reduced cost of the next as the limit.
func (s *scratch[T]) cut(count int, row, v []T, k int) (kept int, limit T) {
	for t, j := range s.cols[:count] {
		s.insert(t, row[j]-v[j], j)
	}
	return k, s.keys[k]
}

// insert puts a column in order of reduced cost, ties in order of arrival; at is the
// last place, whose present content is given up.
func (s *scratch[T]) insert(at int, key T, col int32) {
	for at > 0 && s.keys[at-1] > key {
		s.keys[at], s.cols[at] = s.keys[at-1], s.cols[at-1]
		at--
	}
	s.keys[at], s.cols[at] = key, col
}

// start pairs rows without a search: a row keeps its guess where no other
// column is cheaper, else takes its cheapest column if that is free. The rows
// left over are queued.
func (p *lap[T]) start(guess []int32) {
	p.queue = p.queue[:0]
	for i := range p.n {
		j := int32(free)
		if guess != nil {
			j = guess[i]
		}
		if j != free && p.candN[i] > 0 && p.rowOf[j] == free && p.c[i*p.m+int(j)]-p.v[j] <= p.least(i) {
			p.pair(int32(i), j)
		}
	}
	for i := range p.n {
		if p.colOf[i] != free {
			continue
		}
		if p.candN[i] > 0 && p.rowOf[p.cand[i*p.k]] == free {
			p.pair(int32(i), p.cand[i*p.k])
		} else {
			p.queue = append(p.queue, int32(i))
		}
	}
}

// least is the smallest reduced cost of a row that was filled just now.
func (p *lap[T]) least(i int) T { return p.candC[i*p.k] - p.v[p.cand[i*p.k]] }

func (p *lap[T]) pair(i, j int32) {
	p.colOf[i] = j
	p.rowOf[j] = i
}

// reduceRows is augmenting row reduction: every queued row takes its cheapest
// column and lowers its potential until the second cheapest costs the same; the
// row that had the column is queued in turn. Rows that tie between two occupied
// columns wait for the next round, and so does everything once the budget is spent.
func (p *lap[T]) reduceRows(rounds int) {
	for range rounds {
		budget := 4 * p.n
		if p.whole { // searches in vectors cost little more than bids
			budget = 2 * p.n
		}
		p.next = p.next[:0]
		for k := 0; k < len(p.queue) && !p.halted(); {
			i := p.queue[k]
			k++
			j, other, drop := p.bid(i)
			falls := drop > 0 && p.v[j]-drop < p.v[j] // in float64 a tiny drop may vanish
			if j != free && !falls && p.rowOf[j] != free && other != free && p.rowOf[other] == free {
				j = other
			}
			if j == free || (!falls && p.rowOf[j] != free) {
				p.next = append(p.next, i)
				continue
			}
			if falls {
				p.v[j] -= drop
			}
			displaced := p.rowOf[j]
			p.pair(i, j)
			if displaced == free {
				continue
			}
			p.colOf[displaced] = free
			if budget > 0 {
				budget--
				k--
				p.queue[k] = displaced
			} else {
				p.next = append(p.next, displaced)
			}
		}
		p.queue, p.next = p.next, p.queue
	}
}

// bid returns the cheapest column of row i, the second cheapest and how far
// apart their reduced costs are; free where there is none, or where it is not cheap
// enough to matter.
func (p *lap[T]) bid(i int32) (first, second int32, apart T) {
	if p.whole {
		p.scans++
		first, second, low, high := p.minTwo(p.row(int(i)), p.v)
		if p.m == 1 {
			high = low
		}
		return int32(first), int32(second), high - low
	}
	first, second, low, high := p.twoCheapest(i)
	if high > p.limit[i] {
		p.fill(int(i))
		p.scans++
		first, second, low, high = p.twoCheapest(i)
	}
	if second == free {
		return first, free, 0
	}
	return first, second, high - low
}

// twoCheapest looks among the candidates of row i only.
func (p *lap[T]) twoCheapest(i int32) (first, second int32, low, high T) {
	p.scans++
	first, second, low, high = free, free, p.inf, p.inf
	lo := int(i) * p.k
	hi := lo + int(p.candN[i])
	costs := p.candC[lo:hi]
	for t, j := range p.cand[lo:hi] {
		r := costs[t] - p.v[j]
		if r < low {
			second, high = first, low
			first, low = j, r
		} else if r < high {
			second, high = j, r
		}
	}
	return first, second, low, high
}

// augmentAll finds a shortest augmenting path for every row that is still
// queued and reports the first row that has none; the tree then holds all columns that
// can be reached from it. It ends early, and ok, if the solve is stopped.
func (p *lap[T]) augmentAll() (row int32, ok bool) {
	p.vacant = p.vacant[:0]
	for j, i := range p.rowOf {
		if i == free {
			p.vacant = append(p.vacant, int32(j))
		}
	}
	for _, i := range p.queue {
		if found := p.search(i); p.look() {
			break
		} else if !found {
			return i, false
		}
		p.settle()
		p.flip(i)
		p.augmentations++
		if at := slices.Index(p.vacant, p.target); at >= 0 {
			p.vacant = slices.Delete(p.vacant, at, at+1)
		}
	}
	return 0, true
}

// search grows the tree of shortest alternating paths from row i until a free
// column is nearer than everything unexplored. Where candidates turn out to be of
// little use (costs with structure, as products a_i b_j) it goes on densely.
func (p *lap[T]) search(i int32) bool {
	p.round++
	p.tree = p.tree[:0]
	p.heap = p.heap[:0]
	p.bound, p.target = p.inf, free
	if p.whole {
		return p.searchInVectors(i)
	}
	p.visit(i, 0)
	for expanded := 0; len(p.heap) > 0 && p.heap[0].key < p.bound && !p.halted(); {
		e := p.heap.pop()
		if e.id < 0 {
			if expanded++; expanded > 16+len(p.tree)/4 {
				if p.relax != nil {
					return p.searchInVectors(i)
				}
				return p.searchDensely(i)
			}
			p.expand(^e.id)
			continue
		}
		j := e.id
		if p.seen[j] == 2*p.round+1 || e.key > p.dist[j] {
			continue // reached again by a shorter way since
		}
		p.seen[j] = 2*p.round + 1
		p.tree = append(p.tree, j)
		p.visit(p.rowOf[j], e.key-p.slack(j))
	}
	return p.target != free
}

// searchInVectors carries on a search from row root, or begins it, with all columns
// relaxed in every step: Dijkstra's algorithm on arrays. The columns of the tree are
// marked as done in dist, and their distances kept in saved meanwhile.
func (p *lap[T]) searchInVectors(root int32) bool {
	p.saved = p.saved[:0]
	for _, j := range p.tree {
		p.saved = append(p.saved, p.dist[j])
	}
	for j, seen := range p.seen {
		switch seen {
		case 2 * p.round:
		case 2*p.round + 1:
			p.dist[j] = p.done
		default:
			p.dist[j] = p.inf
		}
	}
	if p.target != free {
		p.dist[p.target] = p.bound
	}
	nearest, least := p.relaxRow(root, 0)
	for t, j := range p.tree {
		nearest, least = p.relaxRow(p.rowOf[j], p.saved[t]-p.slack(j))
	}
	for least != p.done && least < p.inf && !p.halted() {
		if p.arrived(nearest, least) {
			break
		}
		p.tree = append(p.tree, nearest)
		p.saved = append(p.saved, least)
		p.dist[nearest] = p.done
		nearest, least = p.relaxRow(p.rowOf[nearest], least-p.slack(nearest))
	}
	for t, j := range p.tree {
		p.dist[j] = p.saved[t]
	}
	return p.target != free
}

// relaxRow offers all columns outside the tree a path through row i.
func (p *lap[T]) relaxRow(i int32, offset T) (nearest int32, least T) {
	p.scans++
	at, least := p.relax(p.dist, p.pred, p.row(int(i)), p.v, offset, i)
	return int32(at), least
}

// arrived reports whether a free column is as near as the nearest, and takes it as the
// target. Where many columns tie, this spares the search from growing over all of them.
func (p *lap[T]) arrived(nearest int32, least T) bool {
	const few = 64
	p.bound, p.target = p.inf, free
	if p.rowOf[nearest] == free {
		p.bound, p.target = least, nearest
	} else if len(p.vacant) <= few {
		for _, j := range p.vacant {
			if p.dist[j] == least {
				p.bound, p.target = least, j
				break
			}
		}
	}
	return p.target != free
}

// searchDensely carries on a search from row root with all columns outside the
// tree relaxed in every step: Dijkstra's algorithm on arrays.
func (p *lap[T]) searchDensely(root int32) bool {
	p.open = p.open[:0]
	for j, seen := range p.seen {
		if seen == 2*p.round+1 {
			continue
		}
		p.open = append(p.open, int32(j))
		if seen != 2*p.round {
			p.dist[j] = p.inf
		}
	}
	if p.target != free {
		p.dist[p.target] = p.bound
	}
	nearest := p.relaxOpen(root, 0)
	for _, j := range p.tree {
		nearest = p.relaxOpen(p.rowOf[j], p.dist[j]-p.slack(j))
	}
	for nearest >= 0 && !p.halted() {
		j := p.open[nearest]
		if p.rowOf[j] == free {
			p.bound, p.target = p.dist[j], j
			return true
		}
		p.open[nearest] = p.open[len(p.open)-1]
		p.open = p.open[:len(p.open)-1]
		p.tree = append(p.tree, j)
		nearest = p.relaxOpen(p.rowOf[j], p.dist[j]-p.slack(j))
	}
	return false
}

// relaxOpen offers all open columns a path through row i and returns the place of
// the nearest in the list, -1 if none can be reached.
func (p *lap[T]) relaxOpen(i int32, offset T) (nearest int) {
	p.scans++
	row := p.c[int(i)*p.m : (int(i)+1)*p.m]
	v, dist := p.v[:len(row)], p.dist[:len(row)]
	nearest = -1
	least := p.inf
	for t, j := range p.open {
		d := row[j] - v[j] + offset
		if d < dist[j] {
			dist[j] = d
			p.pred[j] = i
		} else {
			d = dist[j]
		}
		if d < least {
			least, nearest = d, t
		}
	}
	return nearest
}

// slack is the reduced cost of the pair that column j belongs to.
func (p *lap[T]) slack(j int32) T {
	return p.c[int(p.rowOf[j])*p.m+int(j)] - p.v[j]
}

// visit relaxes the candidates of row i, which the tree has reached; offset is
// its distance less its own reduced cost. The other columns of the row enter
// the heap as one entry, at the limit.
func (p *lap[T]) visit(i int32, offset T) {
	p.scans++
	lo := int(i) * p.k
	hi := lo + int(p.candN[i])
	costs := p.candC[lo:hi]
	for t, j := range p.cand[lo:hi] {
		if d := costs[t] - p.v[j] + offset; d < p.bound {
			p.offer(i, j, d)
		}
	}
	if limit := p.limit[i]; limit < p.inf && limit+offset < p.bound {
		p.heap.push(entry[T]{limit + offset, ^i})
	}
}

// expand looks at the columns of row i beyond its candidates. The first time in
// a search the candidates are chosen afresh, which as a rule is enough: potentials
// have fallen since they were. The second time all columns are relaxed.
func (p *lap[T]) expand(i int32) {
	var offset T
	if j := p.colOf[i]; j != free {
		offset = p.dist[j] - p.slack(j)
	}
	if p.fresh[i] != p.round {
		p.fresh[i] = p.round
		p.scans++
		p.fill(int(i))
		p.visit(i, offset)
		return
	}
	p.scans++
	row := p.c[int(i)*p.m : (int(i)+1)*p.m]
	v := p.v[:len(row)]
	bound := p.bound
	for j, cost := range row {
		if d := cost - v[j] + offset; d < bound {
			p.offer(i, int32(j), d)
			bound = p.bound
		}
	}
}

// offer shows column j a path of length d through row i; d is below the bound.
func (p *lap[T]) offer(i, j int32, d T) {
	if p.rowOf[j] == free {
		p.bound, p.target = d, j
		p.pred[j] = i
		return
	}
	if s := p.seen[j]; s == 2*p.round+1 || (s == 2*p.round && d >= p.dist[j]) {
		return
	}
	p.seen[j] = 2 * p.round
	p.dist[j] = d
	p.pred[j] = i
	p.heap.push(entry[T]{d, j})
}

// settle lowers the potentials of the tree so that the path found becomes tight.
func (p *lap[T]) settle() {
	for _, j := range p.tree {
		p.v[j] += p.dist[j] - p.bound
	}
}

// flip exchanges the pairs along the path that ends in the target.
func (p *lap[T]) flip(root int32) {
	for j := p.target; ; {
		i := p.pred[j]
		before := p.colOf[i]
		p.pair(i, j)
		if i == root {
			return
		}
		j = before
	}
}

// minimum is the least reduced cost of a row.
func (p *lap[T]) minimum(row []T) T {
	least := p.inf
	s := &p.scratch[0]
	classes := s.classes[:kernel.Classes*4/int(unsafe.Sizeof(least))]
	if len(row) >= len(classes) {
		kernel.ClassMinima(classes, row, p.v)
		return slices.Min(classes)
	}
	for j, cost := range row {
		least = min(least, cost-p.v[j])
	}
	return least
}
