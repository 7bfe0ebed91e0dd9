package assign

import "math"

// unreachable is longer than any path.
const unreachable = math.MaxInt64 / 4

// sparse is an assignment problem of which every row knows a few columns: those of
// least reduced cost when it was filled, and a limit that the reduced cost of no
// other column is below. Potentials only fall, so the limit holds until the row is
// filled again. A step that would need a column beyond the limit is put off, and the
// row is noted as stale: stale rows are filled together, by matrix products.
type sparse struct {
	n     int
	v     []int64
	colOf []int32
	rowOf []int32
	paid  []int64 // cost of the pair of each row

	lists []list
	stale []int32 // rows to fill
	noted []bool  // row is in stale

	dist   []int64
	pred   []int32
	paidBy []int64 // cost of the pair (pred[j], j)
	seen   []int64 // column -> 2*round: reached, 2*round+1: in the tree
	round  int64
	tree   []int32
	heap   heap[int64]
	hits   []int32 // rows whose limit the search went past
	bound  int64
	target int32

	visits, augmentations int
}

// list is what a row knows.
type list struct {
	cols  []int32
	costs []int64
	limit int64
}

func newSparse(n int) *sparse {
	s := &sparse{
		n: n, v: make([]int64, n), colOf: make([]int32, n), rowOf: make([]int32, n), paid: make([]int64, n),
		lists: make([]list, n), noted: make([]bool, n),
		dist: make([]int64, n), pred: make([]int32, n), paidBy: make([]int64, n), seen: make([]int64, n),
	}
	for i := range n {
		s.colOf[i], s.rowOf[i] = free, free
	}
	return s
}

func (s *sparse) note(i int32) {
	if !s.noted[i] {
		s.noted[i] = true
		s.stale = append(s.stale, i)
	}
}

func (s *sparse) pair(i, j int32, cost int64) {
	s.colOf[i], s.rowOf[j], s.paid[i] = j, i, cost
}

// twoLeast returns the places in its list of the two cheapest columns of row i.
func (s *sparse) twoLeast(i int32) (first, second int, low, high int64) {
	s.visits++
	l := &s.lists[i]
	first, second, low, high = free, free, unreachable, unreachable
	costs := l.costs[:len(l.cols)]
	for t, j := range l.cols {
		r := costs[t] - s.v[j]
		if r < low {
			second, high = first, low
			first, low = t, r
		} else if r < high {
			second, high = t, r
		}
	}
	return first, second, low, high
}

// reduce is augmenting row reduction over the queue; it returns the rows left free.
// Rows whose list does not tell their cheapest column are noted as stale.
func (s *sparse) reduce(queue []int32, budget int, stop func() bool) (left []int32) {
	for k := 0; k < len(queue); {
		i := queue[k]
		k++
		if s.visits&1023 == 0 && stop() {
			return append(append(left, i), queue[k:]...)
		}
		first, second, low, high := s.twoLeast(i)
		l := &s.lists[i]
		if first == free || low > l.limit {
			s.note(i)
			left = append(left, i)
			continue
		}
		if high > l.limit {
			second, high = free, l.limit
		}
		j, cost := l.cols[first], l.costs[first]
		drop := high - low
		if drop == 0 && s.rowOf[j] != free && second != free && s.rowOf[l.cols[second]] == free {
			j, cost = l.cols[second], l.costs[second]
		}
		displaced := s.rowOf[j]
		if drop == 0 && displaced != free {
			if second == free {
				s.note(i)
			}
			left = append(left, i)
			continue
		}
		s.v[j] -= drop
		s.pair(i, j, cost)
		if displaced == free {
			continue
		}
		s.colOf[displaced] = free
		if budget > 0 {
			budget--
			k--
			queue[k] = displaced
		} else {
			left = append(left, displaced)
		}
	}
	return left
}

// search grows the tree of shortest alternating paths from row i until a free column
// is nearer than anything unexplored. If it went past the limit of a row on the way
// the path found need not be the shortest: those rows are noted, and it fails.
func (s *sparse) search(i int32) bool {
	s.round++
	s.tree, s.heap, s.hits = s.tree[:0], s.heap[:0], s.hits[:0]
	s.bound, s.target = unreachable, free
	s.visit(i, 0)
	for len(s.heap) > 0 && s.heap[0].key < s.bound {
		e := s.heap.pop()
		if e.id < 0 {
			s.hits = append(s.hits, ^e.id)
			continue
		}
		j := e.id
		if s.seen[j] == 2*s.round+1 || e.key > s.dist[j] {
			continue // reached again by a shorter way since
		}
		s.seen[j] = 2*s.round + 1
		s.tree = append(s.tree, j)
		row := s.rowOf[j]
		s.visit(row, e.key-(s.paid[row]-s.v[j]))
	}
	for _, row := range s.hits {
		s.note(row)
	}
	return len(s.hits) == 0 && s.target != free
}

// visit relaxes the columns of row i; offset is its distance less the reduced cost of
// its pair.
func (s *sparse) visit(i int32, offset int64) {
	s.visits++
	l := &s.lists[i]
	costs := l.costs[:len(l.cols)]
	for t, j := range l.cols {
		d := costs[t] - s.v[j] + offset
		if d >= s.bound {
			continue
		}
		if s.rowOf[j] == free {
			s.bound, s.target = d, j
			s.pred[j], s.paidBy[j] = i, costs[t]
			continue
		}
		if was := s.seen[j]; was == 2*s.round+1 || was == 2*s.round && d >= s.dist[j] {
			continue
		}
		s.seen[j], s.dist[j] = 2*s.round, d
		s.pred[j], s.paidBy[j] = i, costs[t]
		s.heap.push(entry[int64]{d, j})
	}
	if d := l.limit + offset; l.limit < unreachable && d < s.bound {
		s.heap.push(entry[int64]{d, ^i})
	}
}

// augment carries out the path that search has found.
func (s *sparse) augment(root int32) {
	s.augmentations++
	for _, j := range s.tree {
		s.v[j] += s.dist[j] - s.bound
	}
	for j := s.target; ; {
		i := s.pred[j]
		before := s.colOf[i]
		s.pair(i, j, s.paidBy[j])
		if i == root {
			return
		}
		j = before
	}
}
