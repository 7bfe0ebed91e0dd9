package bench

import (
	"context"
	"runtime"
	"time"

	"nat/encoder"
)

// EmbedResult is what [Embed] measured. Its step is the inference of a batch.
type EmbedResult struct{ Network }

// Embed times the inference of a preset, as [encoder.Network.Forward] does it,
// on random inputs in memory.
func Embed(ctx context.Context, o NetworkOptions, progress Progress) (*EmbedResult, error) {
	spec, err := o.resolve()
	if err != nil {
		return nil, err
	}
	b := o.newBench()
	defer b.pool.Close()
	x := numbers(batches*o.Batch*spec.Input.Size(), 0)
	before := liveHeap()
	net, err := encoder.New(spec, 1, b.pool)
	if err != nil {
		return nil, err
	}
	next, size := 0, o.Batch*spec.Input.Size()
	step := func() (time.Duration, error) {
		batch := x[next%batches*size:][:size]
		next++
		start := time.Now()
		net.Forward(batch, o.Batch, false)
		return time.Since(start), nil
	}
	seconds, err := b.steps(ctx, o.Steps, progress, step)
	if err != nil {
		return nil, err
	}
	r := &EmbedResult{}
	w := workOf(spec, o.Batch, b.pool)
	r.fill(o, spec, b, seconds, o.Batch, w.Forward, w.TrueForward)
	r.Allocs = allocations(allocSteps, func() { _, err = step() })
	r.Bytes = liveHeap() - before
	runtime.KeepAlive(net)
	runtime.KeepAlive(x)
	return r, err
}
