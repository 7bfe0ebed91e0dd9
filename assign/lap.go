package assign

import "math"

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
// columns, so a scan costs k operations and not m.
type lap[T number] struct {
	n, m  int
	c     []T // n x m costs; inf = forbidden
	inf   T
	v     []T     // column potentials
	colOf []int32 // row -> column or free
	rowOf []int32 // column -> row or free

	k     int     // candidates per row
	cand  []int32 // n x k columns, cheapest first when filled
	candC []T     // their costs
	candN []int32 // how many each row has
	limit []T     // reduced cost no other column is below

	// Search state of one augmenting path.
	dist   []T
	pred   []int32
	seen   []int64 // 2*round: reached, 2*round+1: in the tree
	round  int64
	tree   []int32 // columns in the tree, in order of distance
	heap   []entry[T]
	bound  T // distance of the nearest free column found
	target int32

	queue, next []int32

	scans, augmentations int
}

// entry is a column at a distance or, with id < 0, the columns that row ^id
// has not looked at yet, none of which is nearer than key.
type entry[T number] struct {
	key T
	id  int32
}

// reset makes room for an n x m problem whose costs the caller fills in.
func (p *lap[T]) reset(n, m, k int, inf T) {
	p.n, p.m, p.inf = n, m, inf
	p.k = min(k, m)
	p.c = grow(p.c, n*m)
	p.v = grow(p.v, m)
	p.colOf = grow(p.colOf, n)
	p.rowOf = grow(p.rowOf, m)
	p.cand = grow(p.cand, n*p.k)
	p.candC = grow(p.candC, n*p.k)
	p.candN = grow(p.candN, n)
	p.limit = grow(p.limit, n)
	p.dist = grow(p.dist, m)
	p.pred = grow(p.pred, m)
	p.seen = grow(p.seen, m)
	clear(p.seen)
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

// columnMinima sets v over columns [lo, hi) to the least cost of the column,
// the largest potentials that leave every reduced cost non-negative.
func (p *lap[T]) columnMinima(lo, hi int) {
	v := p.v[lo:hi]
	for j := range v {
		v[j] = p.inf
	}
	for i := range p.n {
		lower(v, p.c[i*p.m+lo:i*p.m+hi])
	}
}

// lower sets v to the elementwise minimum of v and row.
func lower[T number](v, row []T) {
	row = row[:len(v)]
	for j, x := range v {
		v[j] = min(x, row[j])
	}
}

// fill scans row i in full and remembers its k cheapest columns under the
// potentials of now, in order of reduced cost and, where that ties, of index.
func (p *lap[T]) fill(i int) {
	var keys [maxCandidates + 1]T
	var cols [maxCandidates + 1]int32
	k := p.k
	count := 0
	row := p.c[i*p.m : (i+1)*p.m]
	v := p.v[:len(row)]
	threshold := p.inf
	for j, cost := range row {
		r := cost - v[j]
		if r >= threshold || cost == p.inf {
			continue
		}
		at := count
		if count == k+1 {
			at = k
		} else {
			count++
		}
		for at > 0 && keys[at-1] > r {
			keys[at], cols[at] = keys[at-1], cols[at-1]
			at--
		}
		keys[at], cols[at] = r, int32(j)
		if count == k+1 {
			threshold = keys[k]
		}
	}
	p.limit[i] = p.inf
	if count == k+1 {
		p.limit[i] = keys[k]
		count = k
	}
	p.candN[i] = int32(count)
	for t, j := range cols[:count] {
		p.cand[i*k+t] = j
		p.candC[i*k+t] = row[j]
	}
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
// columns wait for a search, and so does everything once the budget is spent.
func (p *lap[T]) reduceRows() {
	for range 2 {
		budget := 4 * p.n
		p.next = p.next[:0]
		for k := 0; k < len(p.queue); {
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
// apart their reduced costs are; free where there is none.
func (p *lap[T]) bid(i int32) (first, second int32, apart T) {
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
// queued and reports the first row that has none.
func (p *lap[T]) augmentAll() (row int, ok bool) {
	for _, i := range p.queue {
		if !p.search(i) {
			return int(i), false
		}
		p.settle()
		p.flip(i)
		p.augmentations++
	}
	return 0, true
}

// search grows the tree of shortest alternating paths from row i until a free
// column is nearer than everything unexplored.
func (p *lap[T]) search(i int32) bool {
	p.round++
	p.tree = p.tree[:0]
	p.heap = p.heap[:0]
	p.bound, p.target = p.inf, free
	p.visit(i, 0)
	for len(p.heap) > 0 && p.heap[0].key < p.bound {
		e := p.pop()
		if e.id < 0 {
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
			p.relax(i, j, d)
		}
	}
	if limit := p.limit[i]; limit < p.inf && limit+offset < p.bound {
		p.push(entry[T]{limit + offset, ^i})
	}
}

// expand relaxes all columns of row i, and fills its candidates afresh for the
// searches to come.
func (p *lap[T]) expand(i int32) {
	p.scans++
	var offset T
	if j := p.colOf[i]; j != free {
		offset = p.dist[j] - p.slack(j)
	}
	row := p.c[int(i)*p.m : (int(i)+1)*p.m]
	v := p.v[:len(row)]
	bound := p.bound
	for j, cost := range row {
		if d := cost - v[j] + offset; d < bound {
			p.relax(i, int32(j), d)
			bound = p.bound
		}
	}
	p.fill(int(i))
}

// relax offers column j a path of length d through row i; d is below the bound.
func (p *lap[T]) relax(i, j int32, d T) {
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
	p.push(entry[T]{d, j})
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

// before orders the heap by distance; at the same distance columns come before
// unexplored rests, which are dear to open.
func (e entry[T]) before(f entry[T]) bool {
	return e.key < f.key || (e.key == f.key && e.id > f.id)
}

func (p *lap[T]) push(e entry[T]) {
	h := append(p.heap, e)
	at := len(h) - 1
	for at > 0 {
		up := (at - 1) / 2
		if !e.before(h[up]) {
			break
		}
		h[at] = h[up]
		at = up
	}
	h[at] = e
	p.heap = h
}

func (p *lap[T]) pop() entry[T] {
	h := p.heap
	top := h[0]
	last := h[len(h)-1]
	h = h[:len(h)-1]
	at := 0
	for {
		down := 2*at + 1
		if down >= len(h) {
			break
		}
		if down+1 < len(h) && h[down+1].before(h[down]) {
			down++
		}
		if !h[down].before(last) {
			break
		}
		h[at] = h[down]
		at = down
	}
	if len(h) > 0 {
		h[at] = last
	}
	p.heap = h
	return top
}

// infinity is the cost of a forbidden pair in T.
func infinity[T number]() T {
	var t T
	switch any(t).(type) {
	case int32:
		inf := int32(math.MaxInt32)
		return T(inf)
	default:
		return T(math.Inf(1))
	}
}
