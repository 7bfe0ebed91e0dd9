package assign

import (
	"fmt"
	"math"
)

// maxEntry bounds the entries of a matrix, so that sums of a few of them stay
// finite.
const maxEntry = 1e300

// Matrix solves the n x m cost matrix, row-major, in float64. There is no
// tolerance anywhere: costs of 1e9 beside costs near 1, or of 1e-12, are ordered
// as they are, and Optimal says that no assignment of the stored numbers costs
// less, decided in exact arithmetic; it is false only if more near ties than can be
// looked through leave that open, within Gap. +Inf forbids a pair.
//
// Errors: *EntryError for NaN, -Inf or an entry beyond 1e300 in magnitude;
// ErrInfeasible if the forbidden pairs leave no complete assignment.
func (s *Solver) Matrix(cost []float64, n, m int, opt Options) (*Result, error) {
	if n < 0 || m < 0 || len(cost) < n*m {
		panic("assign: Matrix needs n*m costs")
	}
	cost = cost[:n*m]
	s.checkStart(opt.Start, n, m)
	if err := checkEntries(cost, m); err != nil {
		return nil, err
	}
	guess := s.guessOf(opt.Start, n, m)
	if n <= m {
		return s.solveFloats(cost, n, m, guess, opt.V)
	}
	s.flipped = grow(s.flipped, n*m)
	transpose(s.flipped, cost, n, m)
	r, err := s.solveFloats(s.flipped, m, n, invert(guess, m), nil)
	if err != nil {
		return nil, fmt.Errorf("transposed, as it has more rows than columns: %w", err)
	}
	r.swap(n)
	return r, nil
}

// checkEntries returns an *EntryError for the first entry that cannot be a cost.
func checkEntries(cost []float64, m int) error {
	for at, x := range cost {
		if !(math.Abs(x) <= maxEntry) && !math.IsInf(x, 1) {
			return &EntryError{In: "cost matrix", Row: at / m, Col: at % m, Value: x}
		}
	}
	return nil
}

func transpose(dst, src []float64, n, m int) {
	for i := range n {
		for j := range m {
			dst[j*n+i] = src[i*m+j]
		}
	}
}

// solveFloats solves n <= m.
func (s *Solver) solveFloats(cost []float64, n, m int, guess []int32, v []float64) (*Result, error) {
	p := &s.floats
	p.reset(n, m, s.candidateCount(), math.Inf(1))
	copy(p.c, cost)
	switch {
	case n < m:
		clear(p.v) // columns that stay free must keep 0, above all others
	case v != nil:
		copyPotentials(p.v, v)
	default:
		p.columnMinima(0, m)
		for j, x := range p.v {
			if math.IsInf(x, 1) {
				return nil, fmt.Errorf("assign: column %d has no permitted row: %w", j, ErrInfeasible)
			}
		}
	}
	for i := range n {
		p.fill(i)
	}
	p.scans += n
	if err := p.solve(guess); err != nil {
		return nil, err
	}
	p.undoIdle(guess, &s.walk)
	optimal := p.prove()
	r := p.floatResult(guess)
	r.Optimal = optimal
	return r, nil
}

// copyPotentials takes over the potentials of an earlier result.
func copyPotentials(dst, v []float64) {
	if len(v) != len(dst) {
		panic("assign: Options.V must have one entry per column")
	}
	for _, x := range v {
		if !(math.Abs(x) <= maxEntry) {
			panic("assign: Options.V must be finite")
		}
	}
	copy(dst, v)
}

// floatResult reads the certificate off the potentials: u_i is the least reduced
// cost of row i, and the gap is what the pairs exceed it by.
func (p *lap[T]) floatResult(guess []int32) *Result {
	r := &Result{
		Perm: make([]int32, p.n), U: make([]float64, p.n), V: make([]float64, p.m),
		Method: "jv-float64", RowScans: p.scans, Augmentations: p.augmentations,
	}
	copy(r.Perm, p.colOf)
	for j, x := range p.v {
		r.V[j] = float64(x)
	}
	var cost, initial, gap sum
	for i, j := range p.colOf {
		row := p.row(i)
		r.U[i] = float64(p.minimum(row))
		cost.add(float64(row[j]))
		gap.add(float64(row[j]-p.v[j]) - r.U[i])
		if g := guess[i]; g != free {
			initial.add(float64(row[g]))
		}
	}
	r.Cost, r.InitialCost, r.Gap = cost.value(), initial.value(), gap.value()
	r.close()
	return r
}
