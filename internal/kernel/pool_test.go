package kernel

import (
	"slices"
	"sync"
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

// A worker takes its share from the front, others from the back, and every item
// is taken once.
func TestShare(t *testing.T) {
	var s share
	s.set(3, 7)
	for _, want := range []struct {
		take func(*share) (int, bool)
		item int
		ok   bool
	}{{(*share).first, 3, true}, {(*share).last, 6, true}, {(*share).last, 5, true}, {(*share).first, 4, true}, {(*share).first, 0, false}, {(*share).last, 0, false}} {
		if i, ok := want.take(&s); i != want.item || ok != want.ok {
			t.Fatalf("took %d, %t, want %d, %t", i, ok, want.item, want.ok)
		}
	}
	const n = 100_000
	s.set(0, n)
	taken := make([]atomic.Int32, n)
	var wait sync.WaitGroup
	for _, take := range []func(*share) (int, bool){(*share).first, (*share).last, (*share).last} {
		wait.Go(func() {
			for i, ok := take(&s); ok; i, ok = take(&s) {
				taken[i].Add(1)
			}
		})
	}
	wait.Wait()
	for i := range taken {
		if got := taken[i].Load(); got != 1 {
			t.Fatalf("item %d was taken %d times", i, got)
		}
	}
}

// The items of a backward loop come last first where one worker does them all.
func TestBackward(t *testing.T) {
	p := NewPool(1)
	defer p.Close()
	p.backward = true
	var order []int
	p.Do(4, func(i int) { order = append(order, i) })
	if !slices.Equal(order, []int{3, 2, 1, 0}) {
		t.Errorf("order %v", order)
	}
}
