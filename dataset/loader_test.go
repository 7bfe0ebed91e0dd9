package dataset

import (
	"context"
	"slices"
	"testing"
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
