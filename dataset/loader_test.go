package dataset

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"testing"
	"time"
)

func digitsLoader(t testing.TB, workers int) *Loader {
	t.Helper()
	s := Digits("train")
	rows, _ := s.HoldOut()
	norm, err := FitNormalizer(context.Background(), s, rows)
	if err != nil {
		t.Fatal(err)
	}
	l, err := NewLoader(s, LoaderOptions{Batch: 100, Views: 2, Seed: 7, Workers: workers, Rows: rows, Norm: norm, Augment: DefaultAugment(s)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func TestLoaderSameBatchesForAnyWorkers(t *testing.T) {
	const batches = 80 // more than two epochs
	var want []Batch
	for _, workers := range []int{1, 2, 3, 8} {
		l := digitsLoader(t, workers)
		l.Start(context.Background(), 0, 0)
		for k := range batches {
			b, err := l.Next()
			if err != nil {
				t.Fatal(err)
			}
			if workers == 1 {
				want = append(want, Batch{Epoch: b.Epoch, Index: b.Index, Rows: slices.Clone(b.Rows), X: slices.Clone(b.X)})
			}
			w := want[k]
			if b.Epoch != w.Epoch || b.Index != w.Index || !slices.Equal(b.Rows, w.Rows) || !slices.Equal(b.X, w.X) {
				t.Fatalf("%d workers: batch %d differs from that of one worker", workers, k)
			}
			l.Recycle(b)
		}
	}
	for _, start := range []int{0, 1, 35, 36, 37, 79} {
		per := digitsLoader(t, 1).BatchesPerEpoch()
		l := digitsLoader(t, 2)
		l.Start(context.Background(), start/per, start%per)
		b, err := l.Next()
		if err != nil {
			t.Fatal(err)
		}
		if w := want[start]; !slices.Equal(b.Rows, w.Rows) || !slices.Equal(b.X, w.X) {
			t.Errorf("restart at batch %d differs", start)
		}
	}
}

// Every row appears at most once an epoch, epochs differ, and the views of a row
// differ.
func TestLoaderEpochs(t *testing.T) {
	l := digitsLoader(t, 2)
	l.Start(context.Background(), 0, 0)
	var orders [2][]int32
	for epoch := range 2 {
		for k := range l.BatchesPerEpoch() {
			b, err := l.Next()
			if err != nil {
				t.Fatal(err)
			}
			if b.Epoch != epoch || b.Index != k {
				t.Fatalf("batch %d of epoch %d, want %d of %d", b.Index, b.Epoch, k, epoch)
			}
			orders[epoch] = append(orders[epoch], b.Rows...)
			if half := len(b.X) / 2; slices.Equal(b.X[:half], b.X[half:]) {
				t.Fatal("the two views are the same")
			}
			l.Recycle(b)
		}
	}
	if slices.Equal(orders[0], orders[1]) {
		t.Error("two epochs have the same order")
	}
	for _, rows := range orders {
		seen := map[int32]bool{}
		for _, r := range rows {
			if seen[r] || r < 0 || int(r) >= len(l.opt.Rows) {
				t.Fatalf("row %d twice, or out of range", r)
			}
			seen[r] = true
		}
	}
	if len(orders[0]) != len(l.opt.Rows)/100*100 {
		t.Errorf("%d rows in an epoch of %d", len(orders[0]), len(l.opt.Rows))
	}
}

func TestPlainMatchesSet(t *testing.T) {
	l := digitsLoader(t, 3)
	rows := []int{5, 0, 77, 3822}
	x := make([]float32, len(rows)*64)
	if err := Plain(context.Background(), l.set, l.opt.Norm, l.opt.Out, rows, x, 3); err != nil {
		t.Fatal(err)
	}
	for k, i := range rows {
		for j, v := range readRow(t, l.set, i) {
			if want := (v - l.opt.Norm.Mean[0]) * (1 / l.opt.Norm.Std[0]); x[k*64+j] != want {
				t.Fatalf("row %d value %d is %v, want %v", i, j, x[k*64+j], want)
			}
		}
	}
}

// Close at any moment leaves no goroutine behind; nor does a cancelled context.
func TestLoaderLeavesNoGoroutines(t *testing.T) {
	before := runtime.NumGoroutine()
	for take := range 6 {
		l := digitsLoader(t, 4)
		ctx, cancel := context.WithCancel(context.Background())
		l.Start(ctx, 0, 0)
		for range take {
			if _, err := l.Next(); err != nil { // not recycled, on purpose
				t.Fatal(err)
			}
		}
		if take%2 == 1 {
			cancel()
			for range 10 { // what was made ahead may still come
				if _, err := l.Next(); err != nil {
					if !errors.Is(err, context.Canceled) {
						t.Errorf("error %v", err)
					}
					break
				}
			}
		}
		l.Start(context.Background(), 1, 3) // restart drops the old position
		if b, err := l.Next(); err != nil || b.Epoch != 1 || b.Index != 3 {
			t.Errorf("after a restart: %v", err)
		}
		l.Close()
		l.Close()
		cancel()
	}
	for range 50 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}

func TestLoaderSteadyStateAllocatesLittle(t *testing.T) {
	l := digitsLoader(t, 2)
	l.Start(context.Background(), 0, 0)
	step := func() {
		b, err := l.Next()
		if err != nil {
			t.Fatal(err)
		}
		l.Recycle(b)
	}
	for range 10 {
		step()
	}
	if allocs := testing.AllocsPerRun(60, step); allocs > 10 {
		t.Errorf("%.1f allocations a batch", allocs)
	}
}

func TestLoaderOptions(t *testing.T) {
	s := Digits("test")
	rows := []int{0, 1, 2, 3}
	norm := Normalizer{Mean: []float32{0}, Std: []float32{1}}
	for name, opt := range map[string]LoaderOptions{
		"batch":        {Batch: 0, Rows: rows, Norm: norm},
		"smaller":      {Batch: 5, Rows: rows, Norm: norm},
		"normalizer":   {Batch: 2, Rows: rows},
		"cannot":       {Batch: 2, Rows: rows, Norm: norm, Out: Shape{9, 8, 1}},
		"augmentation": {Batch: 2, Rows: rows, Norm: norm, Augment: Augment{Flip: 3}},
	} {
		if _, err := NewLoader(s, opt); err == nil || !contains(err.Error(), name) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// The order of an epoch is fixed for ever, so that later versions resume runs.
func TestOrderIsFixed(t *testing.T) {
	l := digitsLoader(t, 1)
	l.Start(context.Background(), 3, 1)
	b, err := l.Next()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(b.Rows[:4], []int32{2978, 770, 3481, 2746}) {
		t.Errorf("first rows %v", b.Rows[:4])
	}
}

func BenchmarkLoader(b *testing.B) {
	for _, c := range []struct {
		name string
		in   Shape
		a    *Set
	}{
		{"28x28x1", Shape{28, 28, 1}, &Set{opened: opened{shape: Shape{28, 28, 1}, out: Shape{28, 28, 1}}}},
		{"32x32x3", Shape{32, 32, 3}, &Set{opened: opened{shape: Shape{32, 32, 3}, out: Shape{32, 32, 3}}}},
		{"64x64x3", Shape{74, 74, 3}, &Set{opened: opened{shape: Shape{74, 74, 3}, out: Shape{64, 64, 3}}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := c.a
			v := newViewer(s, s.out, Normalizer{Mean: make([]float32, s.out.C), Std: slices.Repeat([]float32{1}, s.out.C)})
			copy(v.row, randomImage(s.shape, 1))
			a, dst := DefaultAugment(s), make([]float32, s.out.Size())
			for b.Loop() {
				for i := range 512 {
					v.augment(dst, &a, 1, 2, uint64(i), 0)
				}
			}
			b.ReportMetric(float64(512*b.N)/b.Elapsed().Seconds(), "views/s")
		})
	}
}

// Making the views of a row allocates nothing, whatever the format.
func TestViewsAllocateNothing(t *testing.T) {
	cifar := t.TempDir()
	for name, b := range cifar10Members() {
		write(t, b, cifar, name)
	}
	small, large := npyBytes(t, []int{9, 6, 5, 3}, noise(9*90, 1)), npyBytes(t, []int{9, 40, 30}, noise(9*1200, 1))
	dir := t.TempDir()
	for name, path := range map[string]string{
		"idx": idxFolder(t, true), "idx file": idxFolder(t, false), "cifar": cifar,
		"array": write(t, small, dir, "small.npy"), "array beyond the cache": write(t, large, dir, "large.npy"),
	} {
		s := mustOpen(t, path, Options{CacheBytes: 30_000})
		rows := make([]int, s.Len())
		for i := range rows {
			rows[i] = i
		}
		norm, err := FitNormalizer(context.Background(), s, rows)
		if err != nil {
			t.Fatal(err)
		}
		l, err := NewLoader(s, LoaderOptions{Batch: 4, Views: 2, Seed: 1, Workers: 1, Rows: rows, Norm: norm, Augment: DefaultAugment(s)})
		if err != nil {
			t.Fatal(err)
		}
		v, b := newViewer(s, s.out, norm), l.newSlot()
		row := func() {
			if err := l.makeRow(v, b, 0); err != nil {
				t.Fatal(err)
			}
		}
		row()
		if n := testing.AllocsPerRun(50, row); n > 0 {
			t.Errorf("%s: %v allocations a row", name, n)
		}
	}
}
