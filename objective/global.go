package objective

import (
	"context"
	"fmt"

	"nat/assign"
)

// denseRows is up to how many points the whole matrix of costs is held to re-pair
// them: 64 MiB. Beyond, the solver that computes costs as it needs them takes over.
const denseRows = 4096

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
// embedding of point i in row i. It begins with the present pairing and, beyond a
// few thousand points, with what the last re-pairing learned of the targets. progress
// may be nil; it is told how many points have a target so far, while they are searched.
// When ctx ends the error is its cause, and nothing has changed.
func (o *NAT) RematchAll(ctx context.Context, z []float32, progress func(done, total int)) (Rematched, error) {
	if len(z) != o.n*o.d {
		panic("objective: RematchAll needs n*d embeddings")
	}
	if ctx.Err() != nil {
		return Rematched{}, context.Cause(ctx)
	}
	rematch := o.rematchLarge
	if o.n <= denseRows {
		rematch = o.rematchDense
	}
	r, err := rematch(ctx, z, progress)
	if err != nil {
		return Rematched{}, fmt.Errorf("re-pairing all points: %w", err)
	}
	n := float64(o.n)
	return Rematched{Before: r.CostBefore / n, After: r.CostAfter / n, Reassigned: float64(r.Changed) / n, Gap: r.Gap / n}, nil
}

// RematchAllBytes estimates the memory that RematchAll takes for n points in d
// dimensions, their embeddings included.
func RematchAllBytes(n, d int) int64 {
	rows, dim := int64(n), int64(d)
	if n <= denseRows {
		return 4*rows*rows + 4*256*rows + 4*4*rows*dim
	}
	const lists = 1000 // bytes a point: its cheapest targets, and what the search notes
	return rows * (lists + 3*4*dim)
}

func (o *NAT) rematchDense(ctx context.Context, z []float32, progress func(done, total int)) (assign.Rematch, error) {
	rows := make([]int32, o.n)
	for i := range rows {
		rows[i] = int32(i)
	}
	r, err := o.matching.Rematch(ctx, o.pool, &o.solver, rows, z, o.targets, o.d)
	if err != nil {
		return r, err
	}
	if progress != nil {
		progress(o.n, o.n)
	}
	return r, nil
}

func (o *NAT) rematchLarge(ctx context.Context, z []float32, progress func(done, total int)) (assign.Rematch, error) {
	opt := assign.LargeOptions{Pool: o.pool, Start: o.matching.Perm}
	if o.learned != nil {
		opt.Learned = make([]float64, o.n)
		for j, x := range o.learned {
			opt.Learned[j] = float64(x)
		}
	}
	if progress != nil {
		opt.Progress = func(p assign.LargeProgress) { progress(p.Paired, p.Rows) }
	}
	r, err := assign.Large(ctx, z, o.targets, o.n, o.d, opt)
	if err != nil {
		return assign.Rematch{}, err
	}
	result := assign.Rematch{CostBefore: r.InitialCost, CostAfter: r.Cost, Gap: r.Gap}
	for i, j := range r.Perm {
		if o.matching.Perm[i] != j {
			result.Changed++
		}
	}
	copy(o.matching.Perm, r.Perm)
	o.learned = make([]float32, o.n)
	for j, x := range r.Learned {
		o.learned[j] = float32(x)
	}
	return result, nil
}
