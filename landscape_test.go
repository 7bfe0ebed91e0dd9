package nat

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"nat/assign"
	"nat/internal/kernel"
	"nat/sphere"
)

// labRun trains a run to experiment with; its targets are kept in float32.
func labRun(t *testing.T, change func(*Options)) (run *Run, data string) {
	t.Helper()
	data, _ = writeImages(t, smallRows, 6)
	opt := small(data, filepath.Join(t.TempDir(), "run"))
	opt.Epochs = 2
	if change != nil {
		change(&opt)
	}
	mustTrain(t, opt)
	run, err := OpenRun(opt.Out)
	if err != nil {
		t.Fatal(err)
	}
	return run, data
}

func mustLandscape(t *testing.T, run *Run, data string, opt LandscapeOptions) *Landscape {
	t.Helper()
	l, err := run.Landscape(context.Background(), data, opt, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func (l *Landscape) cost() (total float64) {
	for i, x := range l.Z {
		d := float64(x) - float64(l.Targets[i])
		total += d * d
	}
	return total
}

// All rows of the run, with the targets it left them: the gap of its gauge.
func TestLandscapeBeginsWhereTheRunEnds(t *testing.T) {
	run, data := labRun(t, nil)
	l := mustLandscape(t, run, data, LandscapeOptions{})
	if l.N != 160 || l.Dim != 8 || l.Pairing != PairingRun || l.Batch != 16 || len(l.Warnings) > 0 {
		t.Fatalf("%d rows, dim %d, pairing %s, batch %d, %v", l.N, l.Dim, l.Pairing, l.Batch, l.Warnings)
	}
	pool := kernel.NewPool(1)
	defer pool.Close()
	var s assign.Solver
	best, err := s.Points(t.Context(), pool, l.Z, l.Targets, l.N, l.N, l.Dim, assign.Options{})
	if err != nil {
		t.Fatal(err)
	}
	info, err := run.Info()
	if err != nil {
		t.Fatal(err)
	}
	if want, got := *info.LastEpoch.Train.AssignmentGap, l.cost()/best.Cost-1; abs(got-want) > 1e-6 {
		t.Errorf("excess %v, the run's gauge says %v", got, want)
	}
	epochs, err := l.Train(context.Background(), LandscapeTraining{Batch: 16, Assign: "batch", Epochs: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	e := epochs[0]
	if e.Epoch != 0 || e.Steps != 0 || abs(e.Cost-l.cost()) > 1e-5 || abs(e.Optimal-best.Cost) > 1e-5 {
		t.Errorf("before any step: %+v, want cost %v, optimum %v", e, l.cost(), best.Cost)
	}
}

// A part of the rows brings the targets that these rows held, and no others.
func TestLandscapeOfSomeRows(t *testing.T) {
	run, data := labRun(t, nil)
	whole, some := mustLandscape(t, run, data, LandscapeOptions{}), mustLandscape(t, run, data, LandscapeOptions{Limit: 50})
	if some.N != 50 || some.Pairing != PairingRun {
		t.Fatalf("%d rows, pairing %s", some.N, some.Pairing)
	}
	for k, row := range some.src.rows {
		i, ok := slices.BinarySearch(whole.src.rows, row)
		at := func(x []float32, k int) []float32 { return x[8*k : 8*k+8] }
		if !ok || !slices.Equal(at(some.Targets, k), at(whole.Targets, i)) || !slices.Equal(at(some.Z, k), at(whole.Z, i)) {
			t.Fatalf("row %d has another target or embedding than among all", row)
		}
	}
}

// With held-out data of its own a run trains on all rows.
func TestLandscapeOfARunWithVal(t *testing.T) {
	val, _ := writeImages(t, 30, 6)
	run, data := labRun(t, func(o *Options) { o.Val = val })
	if l := mustLandscape(t, run, data, LandscapeOptions{}); l.N != smallRows || l.Pairing != PairingRun {
		t.Errorf("%d rows, pairing %s, %v", l.N, l.Pairing, l.Warnings)
	}
}

func TestLandscapeOfOtherData(t *testing.T) {
	run, _ := labRun(t, nil)
	other, _ := writeImages(t, 60, 6)
	l := mustLandscape(t, run, other, LandscapeOptions{Seed: 5})
	if l.N != 60 || l.Pairing != PairingFresh || len(l.Warnings) > 0 {
		t.Errorf("%d rows, pairing %s, %v", l.N, l.Pairing, l.Warnings)
	}
	if u := sphere.WangIsola(l.Targets, l.N, l.Dim); u > -2.5 {
		t.Errorf("targets of uniformity %v", u)
	}
}

// Training goes the same way for any number of workers, and global re-pairing
// begins the next epoch from the optimum, which shows in what the epoch ends with.
func TestLandscapeTrains(t *testing.T) {
	run, data := labRun(t, nil)
	outcome := map[string][]LandscapeEpoch{}
	for _, workers := range []int{1, 3} {
		l := mustLandscape(t, run, data, LandscapeOptions{Limit: 100, Workers: workers})
		for _, how := range []string{"batch", "pool", "global"} {
			epochs, err := l.Train(context.Background(), LandscapeTraining{Batch: 16, Assign: how, Epochs: 3}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(epochs) != 4 || epochs[3].Epoch != 3 || epochs[3].Steps != 3*(100/16) || !(epochs[3].Seconds > 0) {
				t.Errorf("%s: %+v", how, epochs)
			}
			for i := range epochs {
				epochs[i].Seconds = 0
				if e := epochs[i]; e.Cost < e.Optimal || abs(e.Excess-(e.Cost/e.Optimal-1)) > 1e-9 {
					t.Errorf("%s: %+v", how, e)
				}
			}
			if before := outcome[how]; before != nil && !reflect.DeepEqual(before, epochs) {
				t.Errorf("%s: %v with one worker, %v with three", how, before, epochs)
			}
			outcome[how] = epochs
		}
	}
	if outcome["batch"][1] != outcome["global"][1] {
		t.Error("an epoch before any global re-pairing differs from one by batches")
	}
	if b, g := outcome["batch"][3], outcome["global"][3]; g.Excess >= b.Excess {
		t.Errorf("with global re-pairing the excess is %v, without %v", g.Excess, b.Excess)
	}
}

// Without a learning rate worth the name the embeddings, and so the optimum, stay.
func TestLandscapeLR(t *testing.T) {
	run, data := labRun(t, nil)
	l := mustLandscape(t, run, data, LandscapeOptions{Limit: 100})
	epochs, err := l.Train(context.Background(), LandscapeTraining{Batch: 16, Assign: "batch", Epochs: 2, LR: 1e-12}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := epochs[0].Optimal, epochs[2].Optimal; abs(a-b) > 1e-4 {
		t.Errorf("the optimum goes from %v to %v", a, b)
	}
}

func TestLandscapeRefuses(t *testing.T) {
	run, data := labRun(t, nil)
	l := mustLandscape(t, run, data, LandscapeOptions{Limit: 40})
	ctx := context.Background()
	for _, opt := range []LandscapeTraining{{41, "batch", 1, 0}, {1, "batch", 1, 0}, {8, "batch", 0, 0}, {8, "some", 1, 0}, {8, "batch", 1, -1}, {8, "batch", 1, math.NaN()}} {
		if _, err := l.Train(ctx, opt, nil); !errors.Is(err, ErrUsage) {
			t.Errorf("%+v: %v", opt, err)
		}
	}
	if _, err := run.Landscape(ctx, filepath.Join(t.TempDir(), "none.npy"), LandscapeOptions{}, nil); !errors.Is(err, ErrInput) {
		t.Errorf("data that are not there: %v", err)
	}
	if _, err := run.Landscape(ctx, data, LandscapeOptions{Limit: 1}, nil); !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), "1 row,") {
		t.Errorf("one row: %v", err)
	}
}

// Cancelled wherever it is, training ends with the cause.
func TestLandscapeStops(t *testing.T) {
	run, data := labRun(t, nil)
	l := mustLandscape(t, run, data, LandscapeOptions{})
	cause := errors.New("enough")
	for at := range 5 {
		ctx, cancel := context.WithCancelCause(context.Background())
		seen := 0
		_, err := l.Train(ctx, LandscapeTraining{Batch: 16, Assign: "batch", Epochs: 2}, func(e Event) {
			if seen++; seen == 1+5*at {
				cancel(cause)
			}
		})
		cancel(nil)
		if !errors.Is(err, cause) {
			t.Errorf("cancelled at event %d: %v", 1+5*at, err)
		}
	}
}

// A run whose targets are damaged is no obstacle, and that is said.
func TestLandscapeWithoutTargets(t *testing.T) {
	run, data := labRun(t, nil)
	to := copyRun(t, run.Dir)
	if err := (disk{}).RemoveAll(filepath.Join(to, targetsFile)); err != nil {
		t.Fatal(err)
	}
	bare, err := OpenRun(to)
	if err != nil {
		t.Fatal(err)
	}
	l := mustLandscape(t, bare, data, LandscapeOptions{})
	if l.Pairing != PairingFresh || len(l.Warnings) != 1 || !strings.Contains(l.Warnings[0], "drawn anew") {
		t.Errorf("pairing %s, warnings %v", l.Pairing, l.Warnings)
	}
}
