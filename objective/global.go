package objective

import (
	"context"
	"fmt"
)

// Rematched says what re-pairing all points at once came to. Losses are mean
// squared distances of a point to its target.
type Rematched struct {
	Before, After float64 // loss with the pairing there was, and with the best one
	Reassigned    float64 // fraction of the points that got another target
	Gap           float64 // certificate: After is at most this far above the optimum
}

// Excess is (17) on all points: how much more the pairing there was cost than
// the best one, relative to the best. 0 means not stuck.
func (r Rematched) Excess() float64 {
	if r.After <= 0 {
		return 0 // every point sits on its target
	}
	return max(0, r.Before-r.After) / r.After
}

// RematchAll re-pairs all n points with all n targets, exactly. z is n x d, the
// embedding of point i in row i. progress may be nil; it is told how many points are
// settled. When ctx ends the error is its own, and nothing has changed.
func (o *NAT) RematchAll(ctx context.Context, z []float32, progress func(done, total int)) (Rematched, error) {
	if len(z) != o.n*o.d {
		panic("objective: RematchAll needs n*d embeddings")
	}
	rows := make([]int32, o.n)
	for i := range rows {
		rows[i] = int32(i)
	}
	if err := ctx.Err(); err != nil {
		return Rematched{}, err
	}
	match, err := o.matching.Rematch(o.pool, &o.solver, rows, z, o.targets, o.d)
	if err != nil {
		return Rematched{}, fmt.Errorf("re-pairing all points: %w", err)
	}
	if progress != nil {
		progress(o.n, o.n)
	}
	n := float64(o.n)
	return Rematched{Before: match.CostBefore / n, After: match.CostAfter / n, Reassigned: float64(match.Changed) / n, Gap: match.Gap / n}, nil
}
