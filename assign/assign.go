// Package assign solves linear assignment problems exactly and proves it: which
// of n rows gets which of m columns so that the total cost is least.
//
//	var s assign.Solver
//	r, err := s.Matrix(ctx, []float64{4, 1, 3, 2, 0, 5, 3, 2, 2}, 3, 3, assign.Options{})
//	// r.Perm = [1 0 2], r.Cost = 5, r.Gap = 0
//
// Every result carries its certificate: potentials u and v with u_i + v_j <= c_ij
// for all pairs, so that no assignment can cost less than sum u + sum v
// ([Result.LowerBound]). Anyone can check it in O(nm) with [Verify], without
// trusting the solver.
//
// [Solver.Points] builds the costs from two sets of points (squared distances),
// [Solver.Matrix] and [Solver.Matrix32] take them as they are, [Solver.Rows] asks for
// them row by row. [Matching] is the stochastic Hungarian
// method: one permutation of all N points, improved a minibatch at a time.
package assign

import (
	"fmt"
	"math"
	"slices"
)

// Result is an assignment and the proof of its cost.
//
// For n <= m every row has a column; for n > m every column has a row and
// Perm is -1 for the rows left free. The potentials satisfy u_i + v_j <= c_ij.
// On the longer side they are never positive, and zero where nothing is
// paired; so sum u + sum v bounds the cost of every assignment from below.
type Result struct {
	Perm          []int32   // row -> column, -1 for a free row
	Cost          float64   // of Perm, in float64
	InitialCost   float64   // of Options.Start: the pairs it has
	U, V          []float64 // potentials of rows and columns
	LowerBound    float64   // no assignment costs less (up to the rounding of float64)
	Gap           float64   // Cost - LowerBound >= 0
	RelativeGap   float64   // Gap / |Cost|, 0 if Gap is 0
	Optimal       bool      // Perm is proven optimal for the matrix the solver stored, see the solver's methods
	Method        string    // "jv-int32" or "jv-float64"
	RowScans      int       // rows scanned, over candidates or in full
	Augmentations int       // rows that needed a shortest augmenting path
}

// Options are hints: they change the speed and the choice among equal optima,
// never the cost of the result. Hints that do not fit the problem are a *ShapeError, a
// *StartError or an *EntryError.
type Options struct {
	// Start is the current pairing, row -> column, -1 for none; nil means
	// identity. Of two optimal assignments the solver prefers the one that keeps
	// it: a cycle of exchanges that gains nothing is undone.
	Start []int32
	// V are column potentials to begin with, as an earlier Result had them for
	// the same columns; nil means none. Used when n == m.
	V []float64
}

// Solver holds the buffers of a solve, so that a solve in every training step
// allocates little beyond its result. The zero value is ready. A Solver serves
// one caller at a time.
type Solver struct {
	ints    lap[int32]
	floats  lap[float64]
	points  pointBuffers
	flipped []float64 // matrix of a problem with more rows than columns
	guess   []int32
	taken   []bool
	walk    walkBuffers

	candidates int // room for the columns a row remembers; 0 = 24
}

// candidateCount is how many columns a row has room to remember.
func (s *Solver) candidateCount() int {
	if s.candidates > 0 {
		return s.candidates
	}
	return 24
}

// solve runs the phases after the initial potentials are set and the
// candidates filled. The error is an *InfeasibleError or the end of the context.
func (p *lap[T]) solve(guess []int32) error {
	if p.look() {
		return p.interrupted()
	}
	p.start(guess)
	if p.auctions && !p.whole {
		p.outbid()
	}
	p.reduceRows(2)
	switch {
	case p.structured():
		p.scalePotentials(guess)
		p.reduceRows(4)
	case !p.whole && !p.auctions: // searches are dear
		p.reduceRows(4)
	}
	root, ok := p.augmentAll()
	if p.stopped {
		return p.interrupted()
	}
	if !ok {
		e := &InfeasibleError{Rows: []int32{root}}
		for _, j := range p.tree {
			e.Cols = append(e.Cols, j)
			e.Rows = append(e.Rows, p.rowOf[j])
		}
		slices.Sort(e.Rows)
		slices.Sort(e.Cols)
		return e
	}
	return nil
}

// check returns an error unless the hints fit an n x m problem.
func (s *Solver) check(opt *Options, n, m int) error {
	s.taken = grow(s.taken, m)
	if err := checkStart(opt.Start, s.taken, n); err != nil {
		return err
	}
	return checkPotentials(opt.V, m)
}

// checkStart returns an error unless start pairs n rows, or some of them, with columns of
// their own; taken has room for the columns.
func checkStart(start []int32, taken []bool, n int) error {
	if start == nil {
		return nil
	}
	if len(start) != n {
		return &ShapeError{In: "start", Rows: n, Cols: 1, Len: len(start)}
	}
	clear(taken)
	for i, j := range start {
		if j == free {
			continue
		}
		if j < free || int(j) >= len(taken) || taken[j] {
			return &StartError{Row: i, Col: int(j), Cols: len(taken)}
		}
		taken[j] = true
	}
	return nil
}

// checkPotentials returns an error unless there are m finite ones, or none.
func checkPotentials(v []float64, m int) error {
	if v == nil {
		return nil
	}
	if len(v) != m {
		return &ShapeError{In: "potentials", Rows: m, Cols: 1, Len: len(v)}
	}
	for j, x := range v {
		if !(math.Abs(x) <= maxEntry) {
			return &EntryError{In: "potentials", Row: j, Value: x}
		}
	}
	return nil
}

// guessOf writes the current pairing, identity if there is none, to s.guess.
func (s *Solver) guessOf(start []int32, n, m int) []int32 {
	s.guess = grow(s.guess, n)
	for i := range s.guess {
		switch {
		case start != nil:
			s.guess[i] = start[i]
		case i < m:
			s.guess[i] = int32(i)
		default:
			s.guess[i] = free
		}
	}
	return s.guess
}

// invert turns a pairing of n rows into one of m columns.
func invert(perm []int32, m int) []int32 {
	inverse := make([]int32, m)
	for j := range inverse {
		inverse[j] = free
	}
	for i, j := range perm {
		if j != free {
			inverse[j] = int32(i)
		}
	}
	return inverse
}

// swap turns the result for the transposed problem around; m is the number of
// its columns, the rows of the problem that was asked.
func (r *Result) swap(m int) {
	r.Perm = invert(r.Perm, m)
	r.U, r.V = r.V, r.U
}

// rescale multiplies all that is a cost by a power of 2, that of a cost of 1 between the points
// that were solved.
func (r *Result) rescale(unit float64) {
	if unit == 1 {
		return
	}
	for _, values := range [][]float64{r.U, r.V} {
		for k := range values {
			values[k] *= unit
		}
	}
	r.Cost, r.InitialCost, r.LowerBound, r.Gap = r.Cost*unit, r.InitialCost*unit, r.LowerBound*unit, r.Gap*unit
}

// close sets the fields that follow from Cost and Gap.
func (r *Result) close() {
	r.Gap = max(r.Gap, 0)
	r.LowerBound = r.Cost - r.Gap
	r.RelativeGap = 0
	if r.Gap > 0 {
		r.RelativeGap = r.Gap / math.Abs(r.Cost)
	}
}

// sum adds with compensation (Neumaier), so that a few large terms do not
// swallow the small ones.
type sum struct{ total, lost float64 }

func (s *sum) add(x float64) {
	t := s.total + x
	switch {
	case math.IsInf(t, 0):
	case math.Abs(s.total) >= math.Abs(x):
		s.lost += (s.total - t) + x
	default:
		s.lost += (x - t) + s.total
	}
	s.total = t
}

func (s *sum) value() float64 { return s.total + s.lost }

// Verify checks the certificate of r against the costs in O(nm): r.Perm is a
// complete assignment, the potentials are feasible (u_i + v_j <= c_ij + tol), they
// are tight on the pairs (u_i + v_j >= c_ij - tol), and on the longer side they
// are not positive and are zero where nothing is paired. Together these prove
// that r costs at most 2 min(n, m) tol more than the optimum.
func Verify(r *Result, cost func(i, j int) float64, n, m int, tol float64) error {
	if len(r.Perm) != n || len(r.U) != n || len(r.V) != m {
		return fmt.Errorf("assign: result of %d x %d for a problem of %d x %d", len(r.U), len(r.V), n, m)
	}
	inverse := make([]int32, m)
	for j := range inverse {
		inverse[j] = free
	}
	pairs := 0
	for i, j := range r.Perm {
		if j == free {
			continue
		}
		if j < 0 || int(j) >= m {
			return fmt.Errorf("assign: row %d is paired with column %d of %d", i, j, m)
		}
		if inverse[j] != free {
			return fmt.Errorf("assign: rows %d and %d share column %d", inverse[j], i, j)
		}
		inverse[j] = int32(i)
		pairs++
	}
	if pairs != min(n, m) {
		return fmt.Errorf("assign: %d pairs, a complete assignment of %d x %d has %d", pairs, n, m, min(n, m))
	}
	if err := verifySigns("row", r.U, r.Perm, n > m, tol); err != nil {
		return err
	}
	if err := verifySigns("column", r.V, inverse, m > n, tol); err != nil {
		return err
	}
	for i := range n {
		for j := range m {
			slack := cost(i, j) - r.U[i] - r.V[j]
			if !(slack >= -tol) {
				return fmt.Errorf("assign: row %d, column %d has reduced cost %g < 0", i, j, slack)
			}
			if r.Perm[i] == int32(j) && !(slack <= tol) {
				return fmt.Errorf("assign: the pair of row %d and column %d has reduced cost %g > 0", i, j, slack)
			}
		}
	}
	return nil
}

// verifySigns checks the potentials of the longer side.
func verifySigns(side string, w []float64, partner []int32, longer bool, tol float64) error {
	if !longer {
		return nil
	}
	for i, x := range w {
		if !(x <= tol) || (partner[i] == free && !(x >= -tol)) {
			return fmt.Errorf("assign: %s %d of the longer side has potential %g, want <= 0, and 0 if it is free", side, i, x)
		}
	}
	return nil
}
