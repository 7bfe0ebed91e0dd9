package objective

import (
	"nat/encoder"
	"nat/internal/kernel"
	"nat/internal/rng"
	"nat/internal/tensorfile"
	"nat/sphere"
)

// Fresh is [NAT] without memory: the targets of every batch are drawn anew, and
// matched to its points. What is left is an estimate from B points of the distance
// between the embeddings and the uniform law, descended step by step; what it lacks is
// all that a lasting pairing adds. The targets of a step come from the stream rng.Targets
// at its number, which is the state.
type Fresh struct {
	nat  *NAT // on the points of one batch
	seed uint64
	rows []int32 // 0 .. B-1
	step int64   // steps taken
}

var _ Objective = (*Fresh)(nil)

// NewFresh makes the objective for batches of b points in d dimensions. opt is as for
// [NewNAT], but targets are uniform, and matched batch by batch.
func NewFresh(b, d int, opt NATOptions, pool *kernel.Pool) (*Fresh, error) {
	nat, err := NewNAT(b, d, NATOptions{Seed: opt.Seed, Views: opt.Views, Match: opt.Match, Loss: opt.Loss, Temperature: opt.Temperature,
		FinalTemperature: opt.FinalTemperature, UniformityWeight: opt.UniformityWeight}, pool)
	if err != nil {
		return nil, err
	}
	o := &Fresh{nat: nat, seed: opt.Seed}
	for i := range b {
		o.rows = append(o.rows, int32(i))
	}
	return o, nil
}

// Step implements [Objective].
func (o *Fresh) Step(batch Batch, z, dz []float32) (Stats, error) {
	if len(batch.Rows) != len(o.rows) {
		panic("objective: a Fresh is for batches of one size")
	}
	copy(o.nat.targets, sphere.Uniform(len(o.rows), o.nat.d, rng.New(o.seed, rng.Targets, uint64(o.step))))
	copy(o.nat.Perm(), o.rows)
	stats, err := o.nat.Step(Batch{Rows: o.rows, Progress: batch.Progress}, z, dz)
	if err == nil {
		o.step++
	}
	return stats, err
}

// Params implements [Objective]: there are none.
func (o *Fresh) Params() []encoder.Param { return nil }

// EndEpoch implements [Objective].
func (o *Fresh) EndEpoch() error { return nil }

// State is the number of steps taken, by which the targets of the next are drawn.
func (o *Fresh) State() []tensorfile.Tensor { return stepState(o.step) }

// SetState takes over a State. Nothing changes on an error.
func (o *Fresh) SetState(ts []tensorfile.Tensor) error {
	step, err := findStep(ts)
	if err == nil {
		o.step = step
	}
	return err
}
