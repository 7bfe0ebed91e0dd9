package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"nat/encoder"
	"nat/internal/kernel"
	"nat/objective"
)

// TrainOptions of [Train].
type TrainOptions struct {
	NetworkOptions
	Views int // inputs per row; 0: 1
}

// Validate reports everything that is wrong.
func (o TrainOptions) Validate() error {
	_, err := o.resolve()
	return err
}

// resolve fills in what was left open; the error is all that is wrong.
func (o *TrainOptions) resolve() (encoder.Spec, error) {
	if o.Views == 0 {
		o.Views = 1
	}
	spec, err := o.NetworkOptions.resolve()
	if o.Views < 1 || o.Views > 256 {
		err = errors.Join(err, fmt.Errorf("views %d: must be from 1 to 256", o.Views))
	}
	return spec, err
}

// TrainResult is what [Train] measured. The fractions are the medians of the
// share of the step's time that its four parts take.
type TrainResult struct {
	Network
	Views      int     `json:"views"`
	Forward    float64 `json:"forward_fraction"`
	Assignment float64 `json:"assignment_fraction"`
	Backward   float64 `json:"backward_fraction"`
	Optimizer  float64 `json:"optimizer_fraction"`
}

// batches of inputs are in memory, and as many times the batch are the points
// and targets: few beside a data set, but the pairing is as good as new for
// those steps, and the assignment as much work as at the start of a training.
const batches = 16

// step is a training with all it needs in memory.
type step struct {
	net   *encoder.Network
	obj   *objective.NAT
	optim encoder.Optimizer
	x     []float32 // inputs of all batches
	rows  []int32
	dz    []float32
	views int
	batch int
	next  int
	parts [4]time.Duration // of the last step: forward, assignment, backward, optimiser
}

// newStep builds network, objective and optimiser for inputs x.
func newStep(o TrainOptions, spec encoder.Spec, x []float32, pool *kernel.Pool) (*step, error) {
	s := &step{x: x, views: o.Views, batch: o.Batch, rows: make([]int32, batches*o.Batch)}
	for i := range s.rows {
		s.rows[i] = int32(i)
	}
	var err error
	if s.net, err = encoder.New(spec, 1, pool); err != nil {
		return nil, err
	}
	if s.obj, err = objective.NewNAT(len(s.rows), o.Dim, objective.NATOptions{Seed: 1, Views: o.Views}, pool); err != nil {
		return nil, err
	}
	s.optim = encoder.NewSGD(s.net.Params(), 0.9, 0, false, pool)
	s.dz = make([]float32, o.Views*o.Batch*o.Dim)
	return s, nil
}

// run does one step: forward, assignment, backward, optimiser.
func (s *step) run() error {
	i := s.next % batches
	s.next++
	size := len(s.x) / batches
	var at [5]time.Time
	at[0] = time.Now()
	z := s.net.Forward(s.x[i*size:(i+1)*size], s.views*s.batch, true)
	at[1] = time.Now()
	if _, err := s.obj.Step(objective.Batch{Rows: s.rows[i*s.batch : (i+1)*s.batch]}, z, s.dz); err != nil {
		return fmt.Errorf("step %d: %w", s.next, err)
	}
	at[2] = time.Now()
	s.net.Backward(s.dz)
	at[3] = time.Now()
	s.optim.Step(s.net.Params(), 0.01)
	at[4] = time.Now()
	for k := range s.parts {
		s.parts[k] = at[k+1].Sub(at[k])
	}
	return nil
}

func (s *step) took() (total time.Duration) {
	for _, d := range s.parts {
		total += d
	}
	return total
}

// Train times training steps of a preset on random inputs in memory.
func Train(ctx context.Context, o TrainOptions, progress Progress) (*TrainResult, error) {
	spec, err := o.resolve()
	if err != nil {
		return nil, err
	}
	b := o.newBench()
	defer b.pool.Close()
	x := numbers(batches*o.Views*o.Batch*spec.Input.Size(), 0)
	before := liveHeap()
	s, err := newStep(o, spec, x, b.pool)
	if err != nil {
		return nil, err
	}
	shares := [4][]float64{}
	seconds, err := b.steps(ctx, o.Steps, progress, func() (time.Duration, error) {
		if err := s.run(); err != nil {
			return 0, err
		}
		for k, d := range s.parts {
			shares[k] = append(shares[k], d.Seconds()/s.took().Seconds())
		}
		return s.took(), nil
	})
	if err != nil {
		return nil, err
	}
	r := &TrainResult{Views: o.Views}
	for k, share := range []*float64{&r.Forward, &r.Assignment, &r.Backward, &r.Optimizer} {
		*share = newTiming(shares[k][warmups:]).Seconds
	}
	rows := o.Views * o.Batch
	w := workOf(spec, rows, b.pool)
	r.fill(o.NetworkOptions, spec, b, seconds, rows, w.Step, w.TrueStep)
	r.Allocs = allocations(allocSteps, func() { err = errors.Join(err, s.run()) })
	r.Bytes = liveHeap() - before
	runtime.KeepAlive(s)
	return r, err
}

// warmups are steps that are not counted: they plan memory, and start threads.
const warmups = 2

// allocSteps is the number of steps in which allocations are counted.
const allocSteps = 4

// How many steps there are if nobody says it.
const (
	stepTime          = 5 * time.Second
	minSteps, maxAuto = 10, 200
	looks             = 40 // at the peak in a measurement
)

// steps times n steps, or a number that fits in stepTime, and looks at the
// peak in between.
func (b *bench) steps(ctx context.Context, n int, progress Progress, step func() (time.Duration, error)) ([]float64, error) {
	var last time.Duration
	for range warmups {
		var err error
		if last, err = step(); err != nil {
			return nil, err
		}
	}
	if n == 0 {
		n = min(max(int(stepTime/max(last, 1)), minSteps), maxAuto)
	}
	seconds := make([]float64, 0, n)
	for i := range n {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		d, err := step()
		if err != nil {
			return nil, err
		}
		seconds = append(seconds, d.Seconds())
		for range (i+1)*looks/n - i*looks/n {
			b.lookForPeak()
		}
		if progress != nil {
			progress(i+1, n)
		}
	}
	return seconds, nil
}
