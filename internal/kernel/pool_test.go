package kernel

import (
	"sync/atomic"
	"testing"
	"time"
)

func TestPoolRunsEachItemOnce(t *testing.T) {
	for _, workers := range []int{1, 2, 3, 8} {
		p := NewPool(workers)
		for n := range 200 {
			hits := make([]atomic.Int32, n)
			p.Do(n, func(i int) { hits[i].Add(1) })
			for i := range hits {
				if hits[i].Load() != 1 {
					t.Fatalf("%d workers, n %d: item %d ran %d times", workers, n, i, hits[i].Load())
				}
			}
			if n%50 == 49 {
				time.Sleep(time.Millisecond) // let the helpers park
			}
		}
		p.Close()
		p.Close()
	}
}

func TestPoolChunks(t *testing.T) {
	p := NewPool(3)
	defer p.Close()
	var total atomic.Int64
	p.DoChunks(103, 10, func(lo, hi int) {
		if lo%10 != 0 || hi != min(lo+10, 103) {
			t.Errorf("piece [%d,%d)", lo, hi)
		}
		total.Add(int64(hi - lo))
	})
	if total.Load() != 103 {
		t.Errorf("pieces cover %d items, want 103", total.Load())
	}
}

func TestPoolRaisesPanicAndGoesOn(t *testing.T) {
	p := NewPool(4)
	defer p.Close()
	for i := range 100 {
		func() {
			defer func() {
				if v := recover(); v != "boom" {
					t.Fatalf("recovered %v, want boom", v)
				}
			}()
			p.Do(50, func(j int) {
				if j == i%50 {
					panic("boom")
				}
			})
			t.Fatal("Do returned")
		}()
	}
	var n atomic.Int32
	p.Do(50, func(int) { n.Add(1) })
	if n.Load() != 50 {
		t.Errorf("after a panic %d of 50 items ran", n.Load())
	}
}

func TestPoolNested(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	var n atomic.Int32
	p.Do(10, func(int) { p.Do(10, func(int) { n.Add(1) }) })
	if n.Load() != 100 {
		t.Errorf("%d of 100 nested items ran", n.Load())
	}
}

func BenchmarkPoolDispatch(b *testing.B) {
	p := NewPool(2)
	defer p.Close()
	f := func(int) {}
	for b.Loop() {
		p.Do(2, f)
	}
}
