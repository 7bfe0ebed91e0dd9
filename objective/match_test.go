package objective

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"nat/internal/tensorfile"
	"nat/sphere"
)

// Two points whose two views disagree: the mean of the views pairs them one way, the first
// view alone the other.
func TestMatchByOneView(t *testing.T) {
	east, north := []float32{1, 0}, []float32{0, 1}
	z := slices.Concat(east, north, []float32{-.8, .6}, []float32{1, 0})
	for match, want := range map[string][]int32{MatchMean: {0, 1}, MatchView: {1, 0}} {
		o := newNAT(t, 2, 2, NATOptions{Views: 2, Match: match}, 1)
		copy(o.Targets(), slices.Concat(north, east))
		copy(o.Perm(), []int32{0, 1})
		if _, err := o.Step(Batch{Rows: []int32{0, 1}}, z, make([]float32, len(z))); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(o.Perm(), want) {
			t.Errorf("match %s: permutation %v, want %v", match, o.Perm(), want)
		}
	}
}

// The moving average halves what was before, and is what pairs.
func TestMatchByAverage(t *testing.T) {
	const n, d = 6, 3
	for _, views := range []int{1, 2} {
		o := newNAT(t, n, d, NATOptions{Views: views, Match: MatchAverage}, 2)
		rows := []int32{3, 0, 5, 1, 2, 4}
		var want [n][d]float64
		for e := range 4 {
			z := sphere.Uniform(views*n, d, rand.New(rand.NewPCG(1, uint64(e))))
			before := slices.Clone(z)
			if _, err := o.Step(Batch{Rows: rows}, z, make([]float32, len(z))); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(before, z) {
				t.Fatal("the embeddings have changed")
			}
			for i, row := range rows {
				for k := range d {
					var mean float64
					for v := range views {
						mean += float64(z[(v*n+i)*d+k]) / float64(views)
					}
					if e == 0 {
						want[row][k] = mean
					} else {
						want[row][k] = .5*want[row][k] + .5*mean
					}
					near(t, "average", float64(o.average[int(row)*d+k]), want[row][k], 1e-6)
				}
			}
		}
		// All points were in the batch, so the pairing is the best one of the averages.
		all := []int32{0, 1, 2, 3, 4, 5}
		if gap, err := o.AssignmentGap(all, o.average); err != nil || gap > 1e-9 {
			t.Errorf("%d views: gap %v of the averages, error %v", views, gap, err)
		}
	}
}

func TestMatchByAverageResumes(t *testing.T) {
	const n, d, b = 600, 16, 100
	opt := NATOptions{Seed: 1, Views: 2, Match: MatchAverage}
	whole, first, second := newNAT(t, n, d, opt, 1), newNAT(t, n, d, opt, 2), newNAT(t, n, d, opt, 3)
	for e := range 2 {
		epoch(t, whole, e, 0, n/b, b)
	}
	epoch(t, first, 0, 0, n/b, b)
	epoch(t, first, 1, 0, 2, b)
	if err := second.SetState(throughFile(t, first.State())); err != nil {
		t.Fatal(err)
	}
	epoch(t, second, 1, 2, n/b, b)
	if !slices.Equal(whole.Perm(), second.Perm()) || !slices.Equal(whole.average, second.average) {
		t.Error("another pairing after an interruption")
	}
	state := first.State()
	if err := second.SetState(state[:len(state)-1]); !errors.Is(err, tensorfile.ErrFormat) {
		t.Errorf("no averages: %v", err)
	}
}
