package assign

import "cmp"

// heap is a binary heap of the places a search may go on from, the nearest on top.
type heap[K cmp.Ordered] []entry[K]

// entry is a column at a distance or, with id < 0, the columns that row ^id
// has not looked at yet, none of which is nearer than key.
type entry[K cmp.Ordered] struct {
	key K
	id  int32
}

// before orders the heap by distance; at the same distance columns come before
// unexplored rests, which are dear to open.
func (e entry[K]) before(f entry[K]) bool {
	return e.key < f.key || (e.key == f.key && e.id > f.id)
}

func (p *heap[K]) push(e entry[K]) {
	h := append(*p, e)
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
	*p = h
}

func (p *heap[K]) pop() entry[K] {
	h := *p
	top, last := h[0], h[len(h)-1]
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
	*p = h
	return top
}
