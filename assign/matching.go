package assign

import (
	"context"
	"fmt"
	"math/rand/v2"

	"nat/internal/kernel"
)

// Matching is the stochastic Hungarian method, equation (14): a permutation of
// all N points that is improved one minibatch at a time. A batch of points
// exchanges targets only among its members, so that Perm stays a permutation.
type Matching struct {
	Perm []int32 // point -> target
	// Solved, if not nil, is shown every result before anything follows from it, as a
	// caller who checks certificates with [Verify] wants. The columns of r are the
	// targets that rows hold. r is valid during the call.
	Solved func(rows []int32, z []float32, r *Result)

	gathered []float32 // targets of a batch
	start    []int32   // identity
	held     []int32   // targets the batch had
	touched  []bool
	result   Result
}

// Rematch says what one batch gained.
type Rematch struct {
	CostBefore float64 // sum of squared distances with the old pairing
	CostAfter  float64 // and with the new one
	Changed    int     // points that got another target
	Gap        float64 // certificate: CostAfter is at most this far above the optimum
}

// NewMatching returns a random permutation of n drawn from r, the identity if r
// is nil.
func NewMatching(n int, r *rand.Rand) *Matching {
	m := &Matching{Perm: make([]int32, n)}
	for i := range m.Perm {
		m.Perm[i] = int32(i)
	}
	if r != nil {
		r.Shuffle(n, func(i, j int) { m.Perm[i], m.Perm[j] = m.Perm[j], m.Perm[i] })
	}
	return m
}

// Rematch solves the assignment of the points in rows, distinct indices into
// Perm with embeddings z (len(rows) x d), to the targets these points hold now,
// and writes it back. targets is N x d. An error leaves Perm as it was.
func (m *Matching) Rematch(ctx context.Context, pool *kernel.Pool, s *Solver, rows []int32, z, targets []float32, d int) (Rematch, error) {
	r, err := m.Solve(ctx, pool, s, rows, z, targets, d)
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return Rematch{}, err
	}
	result := Rematch{CostBefore: r.InitialCost, CostAfter: r.Cost, Gap: r.Gap}
	m.held = m.held[:0]
	for _, row := range rows {
		m.held = append(m.held, m.Perm[row])
	}
	for i, j := range r.Perm {
		if int(j) != i {
			m.Perm[rows[i]] = m.held[j]
			result.Changed++
		}
	}
	return result, nil
}

// Solve is Rematch without writing back: Perm of the result is relative to rows.
// The result is valid until the next call.
func (m *Matching) Solve(ctx context.Context, pool *kernel.Pool, s *Solver, rows []int32, z, targets []float32, d int) (*Result, error) {
	if len(z) < len(rows)*d || len(targets) < len(m.Perm)*d {
		panic("assign: Matching needs d coordinates for every row and every target")
	}
	m.checkRows(rows)
	b := len(rows)
	m.gathered = grow(m.gathered, b*d)
	m.start = grow(m.start, b)
	for i, row := range rows {
		m.start[i] = int32(i)
		copy(m.gathered[i*d:(i+1)*d], targets[int(m.Perm[row])*d:])
	}
	if err := s.pointsInto(ctx, &m.result, pool, z, m.gathered, b, b, d, Options{Start: m.start}); err != nil {
		return nil, fmt.Errorf("matching %d of %d points: %w", b, len(m.Perm), err)
	}
	if m.Solved != nil {
		m.Solved(rows, z, &m.result)
	}
	return &m.result, nil
}

// checkRows panics unless rows are distinct points: with a repeated one the
// permutation would be lost without a trace.
func (m *Matching) checkRows(rows []int32) {
	if len(m.touched) != len(m.Perm) {
		m.touched = make([]bool, len(m.Perm))
	}
	for _, row := range rows {
		if row < 0 || int(row) >= len(m.Perm) || m.touched[row] {
			panic("assign: rows of a batch must be distinct points")
		}
		m.touched[row] = true
	}
	for _, row := range rows {
		m.touched[row] = false
	}
}

// Check returns an error unless Perm is a bijection.
func (m *Matching) Check() error {
	owner := make([]int32, len(m.Perm))
	for i := range owner {
		owner[i] = free
	}
	for i, j := range m.Perm {
		if j < 0 || int(j) >= len(m.Perm) {
			return fmt.Errorf("assign: point %d has target %d of %d", i, j, len(m.Perm))
		}
		if owner[j] != free {
			return fmt.Errorf("assign: points %d and %d share target %d", owner[j], i, j)
		}
		owner[j] = int32(i)
	}
	return nil
}
