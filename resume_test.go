package nat

import (
	"context"
	"errors"
	"fmt"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nat/dataset"
)

// Every step of a run is a place to be interrupted: in the middle of an epoch,
// of a pool, at an epoch's end. From each the run must end as if it had not been.
func TestResumeFromEveryStep(t *testing.T) {
	images, _ := writeImages(t, smallRows, 6)
	pooled := small(images, "")
	pooled.Assign, pooled.Pool, pooled.Optimizer = "pool", 4, "adamw"
	conv := small(images, "")
	conv.Encoder = "convnet"
	global := small(images, "")
	global.Assign, global.AssignEvery, global.Encoder = "global", 2, "convnet"
	t.Parallel()
	for name, opt := range map[string]Options{"batch": conv, "pool": pooled, "global": global} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opt.Out = filepath.Join(t.TempDir(), "run")
			opt.CheckpointEvery, opt.Keep = "1steps", 1000
			mustTrain(t, opt)
			want := outcomeOf(t, opt.Out)
			for step := range smallSteps {
				resumed := opt
				resumed.Out = copyRun(t, opt.Out, stepName(step))
				resumed.Resume, resumed.CheckpointEvery, resumed.Keep = true, "1000steps", 2
				s := mustTrain(t, resumed)
				if !s.Complete || s.Steps != smallSteps {
					t.Fatalf("resumed at %d: %d steps, complete %v", step, s.Steps, s.Complete)
				}
				outcomeOf(t, resumed.Out).equal(t, want, fmt.Sprintf("resumed at step %d", step))
			}
		})
	}
}

func TestSameBitsForAnyWorkers(t *testing.T) {
	images, _ := writeImages(t, smallRows, 8)
	var want outcome
	for _, workers := range []int{1, 2, 3, 5} {
		opt := small(images, filepath.Join(t.TempDir(), "run"))
		opt.Encoder, opt.Epochs, opt.Workers = "convnet", 2, workers
		mustTrain(t, opt)
		got := outcomeOf(t, opt.Out)
		if want == nil {
			want = got
		}
		got.equal(t, want, fmt.Sprintf("%d workers", workers))
	}
}

func TestCancelledTrainingSavesAndContinues(t *testing.T) {
	images, _ := writeImages(t, smallRows, 4)
	opt := small(images, filepath.Join(t.TempDir(), "whole"))
	mustTrain(t, opt)
	want := outcomeOf(t, opt.Out)

	opt.Out = filepath.Join(t.TempDir(), "stopped")
	cause := errors.New("interrupt")
	ctx, cancel := context.WithCancelCause(context.Background())
	_, err := trainOn(ctx, unsynced{}, opt, func(e Event) {
		if e.Kind == EventStep && e.Step == 23 {
			cancel(cause)
		}
	}, nil)
	var stopped *StoppedError
	if !errors.As(err, &stopped) || !errors.Is(err, cause) || stopped.Step != 23 || filepath.Base(stopped.Checkpoint) != stepName(23) {
		t.Fatalf("cancelled at step 23: %v", err)
	}
	opt.Resume = true
	mustTrain(t, opt)
	outcomeOf(t, opt.Out).equal(t, want, "cancelled and resumed")

	again := mustTrain(t, opt) // of a complete run: nothing to do
	if !again.Complete || again.Steps != smallSteps || again.AssignmentGap == nil {
		t.Errorf("resumed after its end: %+v", again)
	}
	outcomeOf(t, opt.Out).equal(t, want, "resumed after its end")
}

// A signal does not wait for the gauges; the resumed run reads them again.
func TestCancelledGaugesAreReadAgain(t *testing.T) {
	images, _ := writeImages(t, smallRows, 4)
	pooled := small(images, "")
	pooled.Assign, pooled.Pool = "pool", 4
	global := small(images, "")
	global.Assign, global.AssignEvery = "global", 1
	for name, opt := range map[string]Options{"batch": small(images, ""), "pool": pooled, "global": global} {
		t.Run(name, func(t *testing.T) {
			opt.Out, opt.Keep = filepath.Join(t.TempDir(), "whole"), 1
			mustTrain(t, opt)
			want := outcomeOf(t, opt.Out)
			for _, last := range []int{10, smallSteps} { // steps of an epoch with gauges
				opt.Out, opt.Resume = filepath.Join(t.TempDir(), "stopped"), false
				for range 2 { // cut short, and cut short again
					ctx, cancel := context.WithCancel(context.Background())
					_, err := trainOn(ctx, unsynced{}, opt, func(e Event) {
						if e.Kind == EventStep && e.Step == last || e.Kind == EventStart && e.Step == last {
							cancel()
						}
						if e.Kind == EventEpoch && e.Step == last {
							t.Errorf("the epoch of step %d was closed", last)
						}
					}, nil)
					cancel()
					var stopped *StoppedError
					if !errors.As(err, &stopped) || stopped.Step != last || filepath.Base(stopped.Checkpoint) != stepName(last) {
						t.Fatalf("cancelled in the gauges after step %d: %v", last, err)
					}
					opt.Resume = true
				}
				if s := mustTrain(t, opt); !s.Complete {
					t.Errorf("after step %d: not complete", last)
				}
				outcomeOf(t, opt.Out).equal(t, want, fmt.Sprintf("cancelled in the gauges after step %d", last))
			}
		})
	}
}

// A held-out photograph that vanishes does not cost the epoch.
func TestUnreadableGaugeSavesTheWork(t *testing.T) {
	images, _ := writeImages(t, smallRows, 8)
	opt := small(images, filepath.Join(t.TempDir(), "whole"))
	opt.Val, opt.Batch = photographs(t, 21, 8, color.White), 28
	mustTrain(t, opt)
	want := outcomeOf(t, opt.Out)

	opt.Out = filepath.Join(t.TempDir(), "run")
	if err := os.Mkdir(opt.Out, 0o755); err != nil {
		t.Fatal(err)
	}
	lost, away := filepath.Join(opt.Val, "photo-07.png"), filepath.Join(t.TempDir(), "away.png")
	move := func(from, to string) {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	observe := func(e Event) {
		if e.Kind == EventStep && e.Step == 1 {
			move(lost, away)
		}
	}
	j, _, err := prepare(context.Background(), opt, observe)
	if err != nil {
		t.Fatal(err)
	}
	defer j.close()
	j.src.val.Close()
	j.src.val, err = dataset.Open(context.Background(), opt.Val, dataset.Options{Input: j.plan.Data.Input, CacheBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	tr, err := newTrainer(unsynced{}, j, observe)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.close()
	if err := tr.begin(); err != nil {
		t.Fatal(err)
	}
	err = tr.run(context.Background())
	if !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), lost) || !strings.Contains(err.Error(), stepName(6)) {
		t.Fatalf("a held-out photograph vanished: %v", err)
	}
	move(away, lost)
	opt.Resume = true
	mustTrain(t, opt)
	outcomeOf(t, opt.Out).equal(t, want, "a photograph vanished and came back")
}

func TestMaxTimeStopsWithACheckpoint(t *testing.T) {
	images, _ := writeImages(t, smallRows, 4)
	opt := small(images, filepath.Join(t.TempDir(), "whole"))
	opt.Epochs = 1
	mustTrain(t, opt)
	want := outcomeOf(t, opt.Out)

	opt.Out, opt.MaxTime = filepath.Join(t.TempDir(), "short"), time.Nanosecond
	sittings := 0
	for done := false; !done; sittings++ {
		done = mustTrain(t, opt).Complete
		opt.Resume = true
	}
	if sittings != 10 {
		t.Errorf("10 steps took %d sittings of one step", sittings)
	}
	outcomeOf(t, opt.Out).equal(t, want, "in many sittings")
}

func TestChangedOptionsAreRefusedByName(t *testing.T) {
	images, _ := writeImages(t, smallRows, 4)
	opt := small(images, filepath.Join(t.TempDir(), "run"))
	opt.Epochs, opt.Momentum = 1, -1
	mustTrain(t, opt)

	changed := Options{Out: opt.Out, Resume: true, Batch: 32, LR: 1, Seed: 9, Momentum: .5, WeightDecay: -1}
	_, err := Train(context.Background(), changed, nil)
	if !errors.Is(err, ErrUsage) {
		t.Fatalf("changed options: %v", err)
	}
	for _, want := range []string{"batch: 16 in the run, 32 now", "lr: 0.0125 in the run, 1 now", "seed: 1 in the run, 9 now",
		"momentum: 0 in the run, 0.5 now", "weight-decay: 0.0005 in the run, -1 now"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in:\n%v", want, err)
		}
	}
	same := opt
	same.Resume, same.Workers, same.Keep, same.CheckpointEvery, same.Encoder = true, 1, 7, "5m", "auto"
	mustTrain(t, same)
	mustTrain(t, Options{Out: opt.Out, Resume: true}) // everything from the run

	other, _ := writeImages(t, smallRows-1, 4)
	if _, err := Train(context.Background(), Options{Data: other, Out: opt.Out, Resume: true}, nil); !errors.Is(err, ErrArtefact) {
		t.Errorf("resumed on other data: %v", err)
	}
}

func TestDivergenceNamesTheStepAndWritesNothing(t *testing.T) {
	images, _ := writeImages(t, smallRows, 4)
	opt := small(images, filepath.Join(t.TempDir(), "run"))
	opt.LR, opt.Warmup, opt.CheckpointEvery = math.MaxFloat32, -1, "1steps"
	_, err := trainOn(context.Background(), unsynced{}, opt, nil, nil)
	var diverged *DivergedError
	if !errors.As(err, &diverged) {
		t.Fatalf("learning rate %g: %v", opt.LR, err)
	}
	snap, name, _, err := loadNewest(opt.Out)
	if err != nil || filepath.Base(diverged.Checkpoint) != name {
		t.Fatalf("newest checkpoint is %q (error %v), the message names %s", name, err, diverged.Checkpoint)
	}
	for _, w := range snap.weights {
		if v, _ := w.Float32(); !allFinite(v) {
			t.Errorf("%s was written with values that are not finite", w.Name)
		}
	}
}

func TestInitContinuesFromWeights(t *testing.T) {
	images, _ := writeImages(t, smallRows, 4)
	first := small(images, filepath.Join(t.TempDir(), "first"))
	first.Epochs = 1
	mustTrain(t, first)

	second := Options{Data: images, Out: filepath.Join(t.TempDir(), "second"), Init: first.Out, Epochs: 1, Batch: 16, Seed: 2, CheckpointEvery: "1000steps"}
	mustTrain(t, second)
	newest := outcomeOf(t, first.Out)
	if got := readFile(t, filepath.Join(second.Out, checkpointsDir, stepName(0), weightsFile)); got != newest[weightsFile] {
		t.Error("step 0 does not have the weights of the run to start from")
	}
	if outcomeOf(t, second.Out)[targetsFile] == newest[targetsFile] {
		t.Error("the targets are not fresh")
	}
	for _, other := range []Options{{Dim: 4}, {Encoder: "mlp"}} {
		other.Data, other.Out, other.Init = images, filepath.Join(t.TempDir(), "other"), first.Out
		if _, err := Train(context.Background(), other, nil); !errors.Is(err, ErrArtefact) {
			t.Errorf("init with encoder %q, dimension %d: %v", other.Encoder, other.Dim, err)
		}
	}
}

// Images are seen at the scale of the data that were trained on, whatever their
// own size: held-out data, those of a run that starts from the weights, and any
// that the model embeds.
func TestScaleOfTrainingIsKept(t *testing.T) {
	const side, stored = 16, 18
	small := photographs(t, 24, side, color.White) // would be kept at 16 by themselves
	opt := Options{Data: photographs(t, 40, 40, color.RGBA{R: 255, A: 255}), Val: small, Out: filepath.Join(t.TempDir(), "colour"),
		Size: side, Encoder: "linear", Dim: 4, Epochs: 1, Batch: 20, Workers: 2}
	src, err := openSource(context.Background(), opt, nil, func(Event) {})
	if err != nil {
		t.Fatal(err)
	}
	want := dataset.Shape{H: stored, W: stored, C: 3}
	if src.set.Shape() != want || src.val.Shape() != want {
		t.Errorf("training rows are kept at %v, held-out ones at %v; want %v", src.set.Shape(), src.val.Shape(), want)
	}
	src.close()
	mustTrain(t, opt)

	next := Options{Data: small, Init: opt.Out, Out: filepath.Join(t.TempDir(), "grey"), Epochs: 2, Batch: 10, Workers: 2, CheckpointEvery: "1steps", Keep: 9}
	mustTrain(t, next)
	run, err := OpenRun(next.Out)
	if err != nil {
		t.Fatal(err)
	}
	if run.Record.Data.Shape != want {
		t.Errorf("the run that starts from the weights keeps its rows at %v, want %v", run.Record.Data.Shape, want)
	}
	model, err := run.Model(1)
	if err != nil {
		t.Fatal(err)
	}
	defer model.Close()
	set, err := model.OpenData(context.Background(), small, dataset.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	if set.Shape() != want {
		t.Errorf("the model sees images of %v, want %v", set.Shape(), want)
	}
	if err := os.RemoveAll(opt.Out); err != nil { // the run goes on by its own record
		t.Fatal(err)
	}
	end := outcomeOf(t, next.Out)
	resumed := Options{Out: copyRun(t, next.Out, stepName(1)), Resume: true}
	mustTrain(t, resumed)
	outcomeOf(t, resumed.Out).equal(t, end, "resumed without the run it started from")
}

func TestAnotherInstructionSetIsAWarning(t *testing.T) {
	images, _ := writeImages(t, smallRows, 4)
	opt := small(images, filepath.Join(t.TempDir(), "run"))
	opt.Epochs = 1
	mustTrain(t, opt)
	snap, _, _, err := loadNewest(opt.Out)
	if err != nil {
		t.Fatal(err)
	}
	snap.state.Kernel = "another"
	if _, err := saveCheckpoint(unsynced{}, opt.Out, snap); err != nil {
		t.Fatal(err)
	}
	opt.Resume = true
	s := mustTrain(t, opt)
	if len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], "another") {
		t.Errorf("warnings: %q", s.Warnings)
	}
}
