package assign

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

	k     int     // room for candidates per row
	cand  []int32 // n x k columns, cheapest first when chosen
	candC []T     // their costs
	candN []int32 // how many each row has
	limit []T     // reduced cost no other column is below

	// Search state of one augmenting path.
	dist   []T
	pred   []int32
	seen   []int64 // column -> 2*round: reached, 2*round+1: in the tree
	fresh  []int64 // row -> round in which its candidates were chosen afresh
	round  int64
	tree   []int32 // columns in the tree, in order of distance
	open   []int32 // columns that are not, once the search is dense
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
	p.k = min(k, m, maxCandidates)
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
	p.fresh = grow(p.fresh, n)
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

// fill scans row i in full and remembers its cheapest columns under the
// potentials of now, in order of reduced cost and, where that ties, of index.
// A threshold is guessed from the minima of blocks of columns; only if it catches
// more columns than there is room for, or hardly any, is the row sorted out exactly.
func (p *lap[T]) fill(i int) {
	var buf candidates[T]
	row := p.c[i*p.m : (i+1)*p.m]
	threshold := p.inf
	if p.m > p.k {
		threshold = blockThreshold(row, p.v, p.inf)
	}
	count, fits := buf.below(row, p.v, threshold, p.k)
	if !fits || (count < 2 && threshold < p.inf) {
		count, threshold = buf.cheapest(row, p.v, p.inf, p.k)
	}
	buf.sort(count)
	p.limit[i] = threshold
	p.candN[i] = int32(count)
	for t, j := range buf.cols[:count] {
		p.cand[i*p.k+t] = j
		p.candC[i*p.k+t] = row[j]
	}
}

// candidates collects columns of one row with their reduced costs.
type candidates[T number] struct {
	keys [maxCandidates + 1]T
	cols [maxCandidates + 1]int32
}

// blockThreshold returns a value that some ten to twenty of the reduced costs
// are below: of the minima of 16 blocks of columns, the tenth.
func blockThreshold[T number](row, v []T, inf T) T {
	const blocks, rank = 16, 10
	var least [blocks]T
	size := (len(row) + blocks - 1) / blocks
	for b := range least {
		lo := min(b*size, len(row))
		x := blockMinimum(row[lo:min(lo+size, len(row))], v[lo:], inf)
		at := b
		for at > 0 && least[at-1] > x {
			least[at] = least[at-1]
			at--
		}
		least[at] = x
	}
	return least[rank-1]
}

// blockMinimum is the least of row - v, four chains of comparisons at a time.
func blockMinimum[T number](row, v []T, least T) T {
	v = v[:len(row)]
	a, b, c, d := least, least, least, least
	for len(row) >= 4 && len(v) >= 4 {
		a = min(a, row[0]-v[0])
		b = min(b, row[1]-v[1])
		c = min(c, row[2]-v[2])
		d = min(d, row[3]-v[3])
		row, v = row[4:], v[4:]
	}
	for j, cost := range row {
		a = min(a, cost-v[j])
	}
	return min(a, b, c, d)
}

// below collects the columns whose reduced cost is below the threshold, and
// reports whether there were at most room of them.
func (b *candidates[T]) below(row, v []T, threshold T, room int) (count int, fits bool) {
	v = v[:len(row)]
	for j, cost := range row {
		if r := cost - v[j]; r < threshold {
			if count == room {
				return count, false
			}
			b.keys[count], b.cols[count] = r, int32(j)
			count++
		}
	}
	return count, true
}

// cheapest collects the k cheapest columns and returns the reduced cost of the
// next as the limit, inf if there are no more.
func (b *candidates[T]) cheapest(row, v []T, inf T, k int) (count int, limit T) {
	limit = inf
	for j, cost := range row {
		r := cost - v[j]
		if !(r < limit) {
			continue
		}
		at := count
		if count > k {
			at = k
		} else {
			count++
		}
		for at > 0 && b.keys[at-1] > r {
			b.keys[at], b.cols[at] = b.keys[at-1], b.cols[at-1]
			at--
		}
		b.keys[at], b.cols[at] = r, int32(j)
		if count > k {
			limit = b.keys[k]
		}
	}
	return min(count, k), limit
}

// sort orders the first count columns by reduced cost, keeping the order of ties.
func (b *candidates[T]) sort(count int) {
	for t := 1; t < count; t++ {
		key, col := b.keys[t], b.cols[t]
		at := t
		for at > 0 && b.keys[at-1] > key {
			b.keys[at], b.cols[at] = b.keys[at-1], b.cols[at-1]
			at--
		}
		b.keys[at], b.cols[at] = key, col
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
// column is nearer than everything unexplored. Where candidates turn out to be of
// little use (costs with structure, as products a_i b_j) it goes on densely.
func (p *lap[T]) search(i int32) bool {
	p.round++
	p.tree = p.tree[:0]
	p.heap = p.heap[:0]
	p.bound, p.target = p.inf, free
	p.visit(i, 0)
	for expanded := 0; len(p.heap) > 0 && p.heap[0].key < p.bound; {
		e := p.pop()
		if e.id < 0 {
			if expanded++; expanded > 16+len(p.tree)/4 {
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
	for nearest >= 0 {
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
			p.relax(i, j, d)
		}
	}
	if limit := p.limit[i]; limit < p.inf && limit+offset < p.bound {
		p.push(entry[T]{limit + offset, ^i})
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
			p.relax(i, int32(j), d)
			bound = p.bound
		}
	}
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
