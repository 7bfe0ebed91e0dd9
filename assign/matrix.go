package assign

import (
	"context"
	"errors"
	"math"
	"slices"
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
// Errors: *ShapeError unless there are n*m costs; *EntryError for NaN, -Inf or an entry
// beyond 1e300 in magnitude; *InfeasibleError if the forbidden pairs leave no complete
// assignment; the cause of ctx, wrapped, if that is done before the end.
func (s *Solver) Matrix(ctx context.Context, cost []float64, n, m int, opt Options) (*Result, error) {
	if err := checkShape("cost matrix", n, m, len(cost)); err != nil {
		return nil, err
	}
	return s.dense(ctx, n, m, opt, func(dst []float64) { copy(dst, cost) })
}

// Matrix32 is [Solver.Matrix] of float32 costs, which are taken exactly: they are
// solved in float64.
func (s *Solver) Matrix32(ctx context.Context, cost []float32, n, m int, opt Options) (*Result, error) {
	if err := checkShape("cost matrix", n, m, len(cost)); err != nil {
		return nil, err
	}
	return s.dense(ctx, n, m, opt, func(dst []float64) {
		for at := range dst {
			dst[at] = float64(cost[at])
		}
	})
}

// Rows is [Solver.Matrix] of costs that row writes: it is called once for each of the n
// rows, in order, with room for m costs.
func (s *Solver) Rows(ctx context.Context, n, m int, row func(i int, dst []float64), opt Options) (*Result, error) {
	if err := checkShape("cost matrix", n, m, math.MaxInt); err != nil {
		return nil, err
	}
	return s.dense(ctx, n, m, opt, func(dst []float64) {
		for i := 0; i < n && ctx.Err() == nil; i++ {
			row(i, dst[i*m:(i+1)*m:(i+1)*m])
		}
	})
}

// dense solves the n x m matrix that fill writes.
func (s *Solver) dense(ctx context.Context, n, m int, opt Options, fill func(dst []float64)) (*Result, error) {
	if err := s.check(&opt, n, m); err != nil {
		return nil, err
	}
	guess := s.guessOf(opt.Start, n, m)
	p := &s.floats
	p.reset(ctx, min(n, m), max(n, m), s.candidateCount(), math.Inf(1))
	defer func() { p.ctx = nil }()
	costs := p.c
	if n > m {
		s.flipped = grow(s.flipped, n*m)
		costs = s.flipped
	}
	if fill(costs); p.look() {
		return nil, p.interrupted()
	}
	if err := checkEntries(costs, m); err != nil {
		return nil, err
	}
	if n <= m {
		return s.solveFloats(guess, opt.V)
	}
	transpose(p.c, s.flipped, n, m)
	r, err := s.solveFloats(invert(guess, m), nil)
	if err != nil {
		if e, ok := errors.AsType[*InfeasibleError](err); ok {
			e.Rows, e.Cols = e.Cols, e.Rows
		}
		return nil, err
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

// solveFloats solves n <= m costs that are there. Potentials to begin with that were of no
// use, so that rounding leaves the proof open, are not used in the end.
func (s *Solver) solveFloats(guess []int32, v []float64) (*Result, error) {
	p := &s.floats
	var optimal bool
	if p.n == p.m && p.n > 0 && v != nil {
		takeOver(p, v)
		var err error
		if optimal, err = p.solveAndProve(guess, &s.walk); err != nil {
			return nil, err
		}
		if !optimal {
			p.unpair()
		}
	}
	if !optimal {
		if p.n < p.m {
			clear(p.v) // columns that stay free must keep 0, above all others
		} else if j := p.columnMinima(); j != free {
			return nil, &InfeasibleError{Cols: []int32{j}}
		}
		var err error
		if optimal, err = p.solveAndProve(guess, &s.walk); err != nil {
			return nil, err
		}
	}
	return p.floatResult(guess, optimal), nil
}

// solveAndProve solves a problem with potentials to begin with, and reports whether the
// pairing is proven optimal.
func (p *lap[T]) solveAndProve(guess []int32, w *walkBuffers) (optimal bool, err error) {
	for i := 0; i < p.n && !p.halted(); i++ {
		p.fill(i)
	}
	p.scans += p.n
	if err := p.solve(guess); err != nil {
		return false, err
	}
	p.undoIdle(guess, w)
	optimal = p.prove()
	if p.stopped {
		return false, p.interrupted()
	}
	return optimal, nil
}

// takeOver sets the potentials to those of another time, shifted so that the largest is 0
// and none is further below it than costs differ.
func takeOver(p *lap[float64], v []float64) {
	least, most := p.inf, -p.inf
	for _, x := range p.c {
		if x < p.inf {
			least, most = min(least, x), max(most, x)
		}
	}
	largest := slices.Max(v)
	for j, x := range v {
		p.v[j] = max(x-largest, min(least-most, 0))
	}
}

// floatResult reads the certificate off the potentials: u_i is the least reduced
// cost of row i, and the gap is what the pairs exceed it by.
func (p *lap[T]) floatResult(guess []int32, optimal bool) *Result {
	r := &Result{
		Perm: make([]int32, p.n), U: make([]float64, p.n), V: make([]float64, p.m), Optimal: optimal,
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
