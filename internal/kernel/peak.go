package kernel

import (
	"runtime"
	"sync/atomic"
	"time"
)

// fmaChains is the number of independent vectors in the loop of PeakFMA.
const fmaChains = 12

// fmaGeneric replaces each of the fmaChains elements of x by x/2 + 1, rounds
// times; rounds is even and positive.
func fmaGeneric(x []float32, rounds int) {
	x = x[:fmaChains]
	a, b, c, d, e, f := x[0], x[1], x[2], x[3], x[4], x[5]
	g, h, i, j, k, l := x[6], x[7], x[8], x[9], x[10], x[11]
	for range rounds {
		a, b, c, d, e, f = a*0.5+1, b*0.5+1, c*0.5+1, d*0.5+1, e*0.5+1, f*0.5+1
		g, h, i, j, k, l = g*0.5+1, h*0.5+1, i*0.5+1, j*0.5+1, k*0.5+1, l*0.5+1
	}
	x[0], x[1], x[2], x[3], x[4], x[5] = a, b, c, d, e, f
	x[6], x[7], x[8], x[9], x[10], x[11] = g, h, i, j, k, l
}

// A repeat of PeakFMA takes at least peakRepeat, long beside the start of a
// parallel loop and short beside the intervals at which other programs
// interrupt, in peakItems items for each worker, so that none waits long for
// the others.
const (
	peakRepeat = 800 * time.Microsecond
	peakItems  = 32
)

// PeakFMA measures the ceiling of every kernel here: billions of float32
// multiplications and additions a second (two for a fused one) that all
// workers of p together do on registers alone, with the instructions in use
// (Tier). It is the best of short repeats during about d, at least one.
func PeakFMA(p *Pool, d time.Duration) float64 {
	items := peakItems * p.workers
	vector := fmaChains * active.lanes
	x := make([]float32, items*vector)
	rounds := 1 << 6
	item := func() time.Duration {
		start := time.Now()
		active.fma(x[:vector], rounds)
		return time.Since(start)
	}
	// The fastest of three: an interrupted one would make items too short.
	for min(item(), item(), item()) < peakRepeat/peakItems {
		rounds *= 2
	}
	best := fastest(d, func() time.Duration {
		start := time.Now()
		p.Do(items, func(i int) { active.fma(x[i*vector:(i+1)*vector], rounds) })
		return time.Since(start)
	})
	return 2 * float64(rounds) * float64(items*vector) / best.Seconds() / 1e9
}

// fastest returns the shortest of the repeats that fit in d, at least one.
func fastest(d time.Duration, repeat func() time.Duration) time.Duration {
	end := time.Now().Add(d)
	best := repeat()
	for time.Now().Before(end) {
		best = min(best, repeat())
	}
	return best
}

// copyFloats is the length of the buffers of CopyRate, 64 MiB each, and
// copyPiece what a worker copies at a time.
const (
	copyFloats = 16 << 20
	copyPiece  = 1 << 20
)

// CopyRate measures the ceiling of what is bound by memory: billions of bytes
// a second, read and written counted both, that all workers of p together copy
// between two buffers far larger than the caches. It is the best of several
// copies during about d, at least one, and holds 128 MiB meanwhile.
func CopyRate(p *Pool, d time.Duration) float64 {
	dst, src := make([]float32, copyFloats), make([]float32, copyFloats)
	for i := 0; i < copyFloats; i += 256 {
		src[i], dst[i] = 1, 1 // pages that nobody wrote may all be one page of zeros
	}
	best := fastest(d, func() time.Duration {
		start := time.Now()
		p.DoChunks(copyFloats, copyPiece, func(lo, hi int) { copy(dst[lo:hi], src[lo:hi]) })
		return time.Since(start)
	})
	return 2 * 4 * copyFloats / best.Seconds() / 1e9
}

// handoffs is how often a repeat of Handoff passes the line back and forth, and
// handoffSpins how often a goroutine looks for it before it lets others run.
const (
	handoffs     = 1000
	handoffSpins = 1 << 12
)

// Handoff measures how long what one core has written takes to another: half
// the time in which two goroutines pass a line of memory back and forth. It is
// some tens of nanoseconds between cores that share a cache, hundreds between
// others, and says little with one processor. It is the best of several repeats
// during about d, at least one.
func Handoff(d time.Duration) time.Duration {
	var line struct {
		_    [128]byte // nothing else in the line or the adjacent one
		turn atomic.Int64
		_    [120]byte
	}
	await := func(turn int64) {
		for i := 1; line.turn.Load() < turn; i++ {
			if i%handoffSpins == 0 {
				runtime.Gosched()
			}
		}
	}
	const end = 1 << 62
	other := make(chan struct{})
	go func() {
		defer close(other)
		for turn := int64(1); line.turn.Load() < end; turn += 2 {
			await(turn)
			line.turn.CompareAndSwap(turn, turn+1)
		}
	}()
	turn := int64(0)
	best := fastest(d, func() time.Duration {
		start := time.Now()
		for range handoffs {
			line.turn.Store(turn + 1)
			turn += 2
			await(turn)
		}
		return time.Since(start)
	})
	line.turn.Store(end)
	<-other
	return best / (2 * handoffs)
}
