// Package bench measures how much of a machine nat uses: matrix products,
// convolutions, training steps and embedding, each beside the limits of the
// machine, taken in the same run.
//
//	r, err := bench.Train(ctx, bench.TrainOptions{Encoder: "convnet", Winograd: true}, nil)
//	fmt.Println(r.ImagesPerSecond, r.FractionOfPeak)
//
// What is compared is timed in turns, not one after the other, so that a
// machine that slows down, or does something else for a second, slows all of
// it. A sample of a kernel follows a call that does not count, as a call in a
// loop follows others. Times are medians of the repeats, and Spread is the distance of their
// quartiles over the median. The peak is a median as well, of samples taken
// right after those of what is measured, so that both had the same clock rate
// and the same neighbours; the best of its samples, which a burst of the clock
// makes, stands beside it.
//
// Flops count the multiplications and additions of matrix products and
// convolutions alone, two for each pair, as if every one were computed by its
// definition. Winograd's algorithms compute a convolution with fewer: their
// rate is called effective, and stands beside the true one.
package bench

import (
	"context"
	"slices"
	"time"

	"nat/internal/kernel"
	"nat/internal/rng"
)

// Progress is told how many of the repeats are done; nil is possible where it
// is a parameter.
type Progress func(done, total int)

// Machine is what every measurement says about where it was taken.
type Machine struct {
	Peak    float64 `json:"peak_gflops"`          // FMA on registers, all workers at once: median
	Best    float64 `json:"best_peak_gflops"`     // and the best of its samples
	Handoff float64 `json:"handoff_ns,omitempty"` // from one core to another: kernel.Handoff; with two threads or more
	Threads int     `json:"threads"`
	Kernel  string  `json:"kernel"` // kernel.Tier
	Steps   int     `json:"steps"`  // repeats that the medians are of
}

// Timing is what repeats of one thing have shown.
type Timing struct {
	Seconds float64 `json:"seconds"` // median
	Best    float64 `json:"best_seconds"`
	Spread  float64 `json:"spread"` // between the quartiles, over the median
}

func newTiming(seconds []float64) Timing {
	s := slices.Sorted(slices.Values(seconds))
	m := quantile(s, 0.5)
	return Timing{Seconds: m, Best: s[0], Spread: (quantile(s, 0.75) - quantile(s, 0.25)) / m}
}

// quantile interpolates between the two nearest of sorted numbers.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[i]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

// sampleTime is how long a sample of a kernel takes at least.
const sampleTime = 2 * time.Millisecond

// peakTime is how long the peak is looked for after each sample: several repeats,
// as workers that were asleep come late to the first one.
const peakTime = 3 * time.Millisecond

// load is something to be timed.
type load struct {
	run     func()
	calls   int // in a sample
	seconds []float64
}

// warm runs the load once, which allocates what it keeps, and chooses the
// length of a sample.
func (l *load) warm() {
	l.run()
	for l.calls = 1; l.once() < sampleTime; l.calls *= 2 {
	}
}

func (l *load) once() time.Duration {
	start := time.Now()
	for range l.calls {
		l.run()
	}
	return time.Since(start)
}

func (l *load) timing() Timing { return newTiming(l.seconds) }

// bench is one measurement: a pool, and the limits seen so far.
type bench struct {
	pool  *kernel.Pool
	peaks []float64 // GFLOP/s
	copy  float64   // GB/s; only with copies
}

// copyTime is how long the rate of copying is looked for at a time.
const copyTime = 20 * time.Millisecond

// measure takes steps samples of each load, in turns with each other and the
// limits.
func (b *bench) measure(ctx context.Context, loads []*load, steps int, copies bool, progress Progress) error {
	for _, l := range loads {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		l.warm()
	}
	for step := range steps {
		for _, l := range loads {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			l.run() // finds nothing of its own in the caches after all the others
			l.seconds = append(l.seconds, l.once().Seconds()/float64(l.calls))
			b.lookForPeak()
		}
		if copies && step%((steps+2)/3) == 0 { // three times, or less often
			b.copy = max(b.copy, kernel.CopyRate(b.pool, copyTime))
		}
		if progress != nil {
			progress(step+1, steps)
		}
	}
	return nil
}

func (b *bench) lookForPeak() { b.peaks = append(b.peaks, kernel.PeakFMA(b.pool, peakTime)) }

// machine sums up the limits, once everything is measured.
func (b *bench) machine(steps int) Machine {
	peaks := slices.Sorted(slices.Values(b.peaks))
	m := Machine{Peak: quantile(peaks, 0.5), Best: peaks[len(peaks)-1], Threads: b.pool.Workers(), Kernel: kernel.Tier(), Steps: steps}
	if m.Threads > 1 {
		m.Handoff = float64(kernel.Handoff(peakTime).Nanoseconds())
	}
	return m
}

// numbers returns n values between -1 and 1.
func numbers(n int, purpose uint64) []float32 {
	r, x := rng.New(1, rng.Bench, purpose), make([]float32, n)
	for i := range x {
		x[i] = 2*r.Float32() - 1
	}
	return x
}
