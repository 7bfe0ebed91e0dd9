package assign

import "math"

// walkBuffers hold the walks over the difference of two pairings.
type walkBuffers struct {
	owner []int32 // column -> row in the guess
	done  []bool  // row seen
	rows  []int32
	terms []float64
}

// undoIdle goes back to the guess wherever leaving it gained nothing. The two
// pairings differ in separate cycles of exchanges and, with more columns than
// rows, in chains that end in a free column; each is undone as a whole if its
// rows cost no less now than they did, summed without rounding.
func (p *lap[T]) undoIdle(guess []int32, w *walkBuffers) {
	w.owner = grow(w.owner, p.m)
	w.done = grow(w.done, p.n)
	w.rows, w.terms = grow(w.rows, p.n), grow(w.terms, 2*p.n)
	for j := range w.owner {
		w.owner[j] = free
	}
	for i, j := range guess {
		w.done[i] = j == p.colOf[i]
		if j != free {
			w.owner[j] = int32(i)
		}
	}
	for i, j := range p.colOf { // chains, from the row whose column the guess leaves free
		if !w.done[i] && w.owner[j] == free {
			p.undoFrom(int32(i), guess, w)
		}
	}
	for i := range p.colOf { // cycles
		if !w.done[i] {
			p.undoFrom(int32(i), guess, w)
		}
	}
}

// undoFrom walks one cycle or chain: row i back to its guess, the row that has
// that column now back to its own, and so on.
func (p *lap[T]) undoFrom(i int32, guess []int32, w *walkBuffers) {
	w.rows, w.terms = w.rows[:0], w.terms[:0]
	for i != free && !w.done[i] {
		w.done[i] = true
		j := guess[i]
		if j == free {
			return // the guess leaves this row without a column
		}
		w.rows = append(w.rows, i)
		row := p.c[int(i)*p.m : (int(i)+1)*p.m]
		w.terms = append(w.terms, float64(row[j]), -float64(row[p.colOf[i]]))
		i = p.rowOf[j]
	}
	if exactSign(w.terms) > 0 {
		return
	}
	for _, i := range w.rows {
		if j := p.colOf[i]; p.rowOf[j] == i {
			p.rowOf[j] = free
		}
		p.pair(i, guess[i])
	}
}

// exactSign returns the sign of the sum of the terms without rounding: they are
// added into a list of partial sums that do not overlap (Shewchuk, Discrete &
// Computational Geometry 18, 1997), whose largest decides.
func exactSign(terms []float64) int {
	var buf [32]float64
	partials := buf[:0]
	for _, x := range terms {
		if math.IsInf(x, 1) {
			return 1
		}
		kept := partials[:0]
		for _, y := range partials {
			total := x + y
			virtual := total - x
			lost := (x - (total - virtual)) + (y - virtual)
			if lost != 0 {
				kept = append(kept, lost)
			}
			x = total
		}
		partials = append(kept, x)
	}
	for k := len(partials) - 1; k >= 0; k-- {
		switch {
		case partials[k] > 0:
			return 1
		case partials[k] < 0:
			return -1
		}
	}
	return 0
}
