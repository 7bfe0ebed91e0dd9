package kernel

import (
	"runtime"
	"testing"
	"time"
)

// From x, n times x/2 + 1 gives 2 + (x-2)/2^n, exactly while the digits last.
func TestFMALoop(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		for _, rounds := range []int{2, 4, 10} {
			x := newBuffer(fmaChains * active.lanes)
			want := make([]float64, len(x.s))
			for i := range x.s {
				x.s[i] = float32(2 + i<<10)
				want[i] = 2 + float64(int(i<<10)>>rounds)
			}
			active.fma(x.s, rounds)
			for i, v := range x.s {
				if float64(v) != want[i] {
					t.Fatalf("%d rounds: element %d is %g, want %g", rounds, i, v, want[i])
				}
			}
			intact(t, "fma", x)
		}
	})
}

func TestMachineLimitsAreSane(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	eachTier(t, func(t *testing.T) {
		if got := PeakFMA(p, time.Millisecond); !(got > 0.01 && got < 1e5) {
			t.Errorf("PeakFMA = %g GFLOP/s", got)
		}
	})
	if got := CopyRate(p, time.Millisecond); !(got > 0.01 && got < 1e5) {
		t.Errorf("CopyRate = %g GB/s", got)
	}
}

func BenchmarkPeak(b *testing.B) {
	for _, t := range tiers {
		for _, workers := range []int{1, 2} {
			b.Run(t.name+map[int]string{1: "/1worker", 2: "/2workers"}[workers], func(b *testing.B) {
				defer useTier(t)()
				p := NewPool(workers)
				defer p.Close()
				best := 0.0
				for b.Loop() {
					best = max(best, PeakFMA(p, 5*time.Millisecond))
				}
				b.ReportMetric(best, "GFLOP/s")
			})
		}
	}
}

func BenchmarkCopy(b *testing.B) {
	p := NewPool(0)
	defer p.Close()
	best := 0.0
	for b.Loop() {
		best = max(best, CopyRate(p, 30*time.Millisecond))
	}
	b.ReportMetric(best, "GB/s")
}

func TestHandoff(t *testing.T) {
	if d := Handoff(time.Millisecond); d <= 0 {
		t.Errorf("a line took %v from core to core", d)
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	if d := Handoff(0); d <= 0 {
		t.Errorf("a line took %v on one processor", d)
	}
}
