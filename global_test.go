package nat

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
)

func globalRun(t *testing.T, data string) Options {
	opt := small(data, filepath.Join(t.TempDir(), "run"))
	opt.Assign, opt.AssignEvery = "global", 2
	return opt
}

// All rows are re-paired after every so many epochs, but not after the last.
func TestGlobalAssignment(t *testing.T) {
	images, _ := writeImages(t, smallRows, 6)
	for every, due := range map[int][]int{1: {0, 1, 2, 3, 4}, 2: {1, 3}, 7: nil} {
		opt := globalRun(t, images)
		opt.AssignEvery = every
		mustTrain(t, opt)
		events, err := ReadEvents(filepath.Join(opt.Out, metricsFile))
		if err != nil {
			t.Fatal(err)
		}
		var seen []int
		for _, e := range events {
			if e.Global == nil {
				continue
			}
			seen = append(seen, e.Epoch)
			g := e.Global
			if e.Kind != EventEpoch || g.Rows != 160 || !(g.Loss > 0 && g.Loss <= g.LossBefore) || g.Gap < 0 || g.Gap > 1e-7 || !(e.GlobalTime > 0) {
				t.Errorf("%s %d: %+v in %v s", e.Kind, e.Epoch, g, e.GlobalTime)
			}
			// The sample of the gauges is all rows here, read just before.
			if e.Train != nil && abs(*e.Train.AssignmentGap-g.Excess) > 1e-9 {
				t.Errorf("epoch %d: gap %v on the sample, %v on all rows", e.Epoch, *e.Train.AssignmentGap, g.Excess)
			}
		}
		if !slices.Equal(seen, due) {
			t.Errorf("every %d epochs: after epochs %v, want %v", every, seen, due)
		}
	}
}

// Interrupted in the re-pairing, wherever it is, a run ends as if it had not been.
func TestCancelledGlobalAssignment(t *testing.T) {
	images, _ := writeImages(t, smallRows, 6)
	opt := globalRun(t, images)
	mustTrain(t, opt)
	want := outcomeOf(t, opt.Out)
	for at := 1; ; at++ {
		opt.Out, opt.Resume = filepath.Join(t.TempDir(), "stopped"), false
		ctx, cancel := context.WithCancel(context.Background())
		seen := 0
		_, err := trainOn(ctx, unsynced{}, opt, func(e Event) {
			if e.Kind == EventAssign {
				if seen++; seen == at {
					cancel()
				}
			}
		}, nil)
		cancel()
		var stopped *StoppedError
		if seen < at && err == nil && at > 2 {
			return
		}
		if !errors.As(err, &stopped) {
			t.Fatalf("cancelled at report %d of the re-pairing: %v", at, err)
		}
		opt.Resume = true
		mustTrain(t, opt)
		outcomeOf(t, opt.Out).equal(t, want, fmt.Sprintf("cancelled at report %d of the re-pairing", at))
	}
}
