package kernel

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkGemmParts says where a large product falls behind the peak: what the micro-kernel
// reaches with its operands in the first-level cache, in the second, and with the panels of a
// matrix B that was packed before passing by, by one worker and by two at once, each with
// memory of its own and nothing to share. Of about a millisecond each, but for the last, the
// fastest and the mean, beside the peak of as many workers measured before and after.
func BenchmarkGemmParts(b *testing.B) {
	for _, workers := range []int{1, 2} {
		for _, part := range []struct {
			name          string
			rows, k, wide int // of A, of the sums, columns of B
		}{
			{"first level: 8x128x32", 8, 128, 32},
			{"one tile of long sums: 8x1024x32", 8, 1024, 32},
			{"second level: 64x1024x32", 64, 1024, 32},
			{"64x1024x256", 64, 1024, 256},
			{"packed: 64x1024x1024", 64, 1024, 1024},
			{"packed: 1024x1024x1024", 1024, 1024, 1024},
		} {
			b.Run(fmt.Sprintf("%s/workers=%d", part.name, workers), func(b *testing.B) {
				benchmarkPart(b, workers, part.rows, part.k, part.wide)
			})
		}
	}
}

func benchmarkPart(b *testing.B, workers, rows, k, wide int) {
	pool := NewPool(workers)
	defer pool.Close()
	t := active
	type own struct {
		w            workspace
		a, packed, c []float32
		aOff, cOff   []int
	}
	each := make([]own, workers)
	for i := range each {
		o := &each[i]
		o.a, o.packed, o.c = make([]float32, rows*k), make([]float32, wide*k+4096), make([]float32, rows*wide)
		for r := range rows {
			o.aOff, o.cOff = append(o.aOff, r*k), append(o.cOff, r*wide)
		}
	}
	times := max(1, (1<<27)/(rows*k*wide))
	multiply := func(i int) {
		o := &each[i]
		for range times {
			for r := 0; r < rows; r += 64 {
				n := min(64, rows-r)
				o.w.rows(t, o.c[r*wide:], o.cOff[:n], o.a[r*k:], o.aOff[:n], o.packed, t.nr*k, wide, runs{n: 1, len: k}, false)
			}
		}
	}
	peak := PeakFMA(pool, 100*time.Millisecond)
	b.ResetTimer()
	best := time.Hour
	for b.Loop() {
		start := time.Now()
		pool.Do(workers, multiply)
		best = min(best, time.Since(start))
	}
	peak = max(peak, PeakFMA(pool, 100*time.Millisecond))
	mean := b.Elapsed() / time.Duration(b.N)
	flops := 2 * float64(workers*times*rows*k*wide)
	b.ReportMetric(100*flops/mean.Seconds()/1e9/peak, "%of-peak")
	b.ReportMetric(100*flops/best.Seconds()/1e9/peak, "%best")
}
