package nat

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nat/dataset"
	"nat/encoder"
	"nat/objective"
)

func shapeOf(s encoder.Shape) dataset.Shape { return dataset.Shape{H: s.H, W: s.W, C: s.C} }

func TestNothingIsClobbered(t *testing.T) {
	images, _ := writeImages(t, 45, 4)
	t.Chdir(t.TempDir())
	if err := os.Rename(images, "pictures.npy"); err != nil {
		t.Fatal(err)
	}
	opt := Options{Data: "pictures.npy", Encoder: "linear", Dim: 4, Epochs: 1, Batch: 20, Workers: 1}
	for _, want := range []string{"pictures-nat", "pictures-nat-2"} {
		if got := mustTrain(t, opt).Run; got != want {
			t.Errorf("ran in %s, want %s", got, want)
		}
	}
	resumed := opt
	resumed.Resume = true
	if got := mustTrain(t, resumed).Run; got != "pictures-nat-2" {
		t.Errorf("resumed %s", got)
	}
	opt.Out = "pictures-nat"
	before := outcomeOf(t, opt.Out)
	if _, err := Train(context.Background(), opt, nil); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "--overwrite") {
		t.Errorf("into an existing run: %v", err)
	}
	outcomeOf(t, opt.Out).equal(t, before, "after a refusal")

	opt.Overwrite, opt.Seed = true, 2
	mustTrain(t, opt)
	if outcomeOf(t, opt.Out)[targetsFile] == before[targetsFile] {
		t.Error("overwrite kept the old targets")
	}
	opt.Out = "thesis"
	if err := os.MkdirAll("thesis/chapter", 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Train(context.Background(), opt, nil); !errors.Is(err, ErrUsage) {
		t.Errorf("overwriting a folder that is no run: %v", err)
	}
	opt.Overwrite, opt.Resume = false, true
	for _, out := range []string{"thesis", "nowhere"} {
		opt.Out = out
		if _, err := Train(context.Background(), opt, nil); !errors.Is(err, ErrUsage) {
			t.Errorf("resuming %s: %v", out, err)
		}
	}
	if _, err := os.Stat("thesis/chapter"); err != nil {
		t.Error(err)
	}
}

// What a run killed at birth left goes, whatever it had begun to write.
func TestLeftoversOfABirthAreRemoved(t *testing.T) {
	images, _ := writeImages(t, 45, 4)
	opt := small(images, t.TempDir())
	opt.Batch, opt.Epochs = 20, 1
	for _, name := range []string{tmpPrefix + targetsFile, tmpPrefix + badFilesFile, badFilesFile} {
		if err := os.WriteFile(filepath.Join(opt.Out, name), []byte("torn"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	mustTrain(t, opt)
	left, err := filepath.Glob(filepath.Join(opt.Out, tmpPrefix+"*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := os.Stat(filepath.Join(opt.Out, badFilesFile)); err == nil {
		t.Errorf("%s is not of this run", badFilesFile)
	}
}

func TestOneTrainingAtATime(t *testing.T) {
	images, _ := writeImages(t, 45, 4)
	opt := small(images, filepath.Join(t.TempDir(), "run"))
	opt.Batch, opt.Epochs = 20, 1
	mustTrain(t, opt)
	lock, err := lockRun(opt.Out)
	if err != nil {
		t.Fatal(err)
	}
	opt.Resume = true
	if _, err := Train(context.Background(), opt, nil); !errors.Is(err, ErrResource) || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second process: %v", err)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	mustTrain(t, opt)
}

func TestVerify(t *testing.T) {
	images, _ := writeImages(t, smallRows, 4)
	opt := small(images, filepath.Join(t.TempDir(), "run"))
	opt.Epochs = 1
	mustTrain(t, opt)
	other, _ := writeImages(t, smallRows+1, 4)
	newest := filepath.Join(checkpointsDir, stepName(10))
	flip := func(name string) func(t *testing.T, run string) {
		return func(t *testing.T, run string) {
			path := filepath.Join(run, name)
			b := []byte(readFile(t, path))
			b[len(b)-3] ^= 4
			if err := os.WriteFile(path, b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		harm func(t *testing.T, run string)
		data string
		want string // part of the problem; empty: sound
	}{
		"sound":        {},
		"moved":        {data: images},
		"other data":   {data: other, want: "fingerprint"},
		"weights":      {harm: flip(filepath.Join(newest, weightsFile)), want: weightsFile},
		"optimizer":    {harm: flip(filepath.Join(newest, optimizerFile)), want: optimizerFile},
		"targets":      {harm: flip(targetsFile), want: targetsFile},
		"run.json":     {harm: flip(runFile), want: runFile},
		"permutation":  {harm: doubleTarget, want: "bijection"},
		"latest gone":  {harm: writeLatest("step-00000099\n"), want: latestFile},
		"latest old":   {harm: writeLatest(stepName(0) + "\n"), want: "newest is " + stepName(10)},
		"latest empty": {harm: writeLatest(""), want: latestFile},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyRun(t, opt.Out)
			run, err := OpenRun(dir)
			if err != nil {
				t.Fatal(err)
			}
			if c.harm != nil {
				c.harm(t, dir)
			}
			report, err := run.Verify(context.Background(), c.data)
			switch {
			case c.want == "" && (err != nil || len(report.Problems) > 0 || len(report.Checked) < 5):
				t.Errorf("%+v, %v", report, err)
			case c.want != "" && (!errors.Is(err, ErrArtefact) || !strings.Contains(strings.Join(report.Problems, "\n"), c.want)):
				t.Errorf("no problem with %q: %+v, %v", c.want, report, err)
			}
		})
	}
}

func writeLatest(text string) func(t *testing.T, run string) {
	return func(t *testing.T, run string) {
		if err := os.WriteFile(filepath.Join(run, latestFile), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// A run killed between a checkpoint and the file that names it is mended when it goes on.
func TestResumeMendsLatest(t *testing.T) {
	images, _ := writeImages(t, smallRows, 4)
	opt := small(images, filepath.Join(t.TempDir(), "run"))
	opt.Epochs = 1
	mustTrain(t, opt)
	writeLatest(stepName(0)+"\n")(t, opt.Out)
	opt.Resume = true
	mustTrain(t, opt)
	if got := readFile(t, filepath.Join(opt.Out, latestFile)); got != stepName(10)+"\n" {
		t.Errorf("latest names %q", got)
	}
}

// doubleTarget gives one target to two points, in a checkpoint whose checksums
// are right.
func doubleTarget(t *testing.T, run string) {
	snap, _, _, err := loadNewest(run)
	if err != nil {
		t.Fatal(err)
	}
	perm, err := snap.assignment[0].Int32()
	if err != nil {
		t.Fatal(err)
	}
	perm[0] = perm[1]
	if _, err := saveCheckpoint(unsynced{}, run, snap); err != nil {
		t.Fatal(err)
	}
}

func TestInfo(t *testing.T) {
	images, _ := writeImages(t, smallRows, 4)
	opt := small(images, filepath.Join(t.TempDir(), "run"))
	opt.Epochs, opt.CheckpointEvery, opt.Keep = 2, "5steps", 2
	mustTrain(t, opt)
	run, err := OpenRun(opt.Out)
	if err != nil {
		t.Fatal(err)
	}
	info, err := run.Info()
	if err != nil {
		t.Fatal(err)
	}
	if len(info.Checkpoints) != 2 || info.Checkpoints[0].Step != 20 || info.Checkpoints[0].Bytes == 0 || info.Checkpoints[1].Step != 15 {
		t.Errorf("checkpoints: %+v", info.Checkpoints)
	}
	if !info.Complete || info.Last == nil || info.Last.Step != 20 || info.LastEpoch == nil || info.LastEpoch.HeldOut.Rows != 8 {
		t.Errorf("complete %v, last %+v, last epoch %+v", info.Complete, info.Last, info.LastEpoch)
	}
	if got := strings.TrimSpace(readFile(t, filepath.Join(opt.Out, latestFile))); got != info.Checkpoints[0].Name {
		t.Errorf("latest is %q", got)
	}
	if info.Record.Data.Train != 160 || info.Record.Host.Kernel == "" || info.Record.Options.LR == 0 {
		t.Errorf("record: %+v", info.Record)
	}
}

// The statistics of a run hang together: with a pairing, whose distances are the cosines'; and
// with a plan, of which re-assignment wins nothing.
func TestEvents(t *testing.T) {
	images, _ := writeImages(t, smallRows, 4)
	t.Run("pairing", func(t *testing.T) {
		testEvents(t, images, objective.LossSquare, func(e Event) bool {
			won := e.WonByReassignment + e.WonByNetwork
			return abs(e.chance()-2) < 1e-9 && abs(2-won-e.Loss) < 1e-9 && abs(e.Loss-(2-2*e.Cosine)) < 1e-5
		})
	})
	t.Run("plan", func(t *testing.T) {
		testEvents(t, images, objective.LossSinkhorn, func(e Event) bool {
			return e.WonByReassignment == 0 && e.LossBefore == e.Loss && e.Loss > 0 && e.chance() > 0
		})
	})
}

func testEvents(t *testing.T, images, loss string, right func(Event) bool) {
	opt := small(images, filepath.Join(t.TempDir(), "run"))
	opt.Epochs, opt.Loss = 2, loss
	mustTrain(t, opt)
	events, err := ReadEvents(filepath.Join(opt.Out, metricsFile))
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, e := range events {
		kinds[e.Kind]++
		if e.Stats == nil {
			continue
		}
		if e.Pairing == nil || e.Information != nil || e.Accuracy != nil {
			t.Fatalf("step %d: %+v", e.Step, e.Stats)
		}
		if !right(e) {
			t.Errorf("step %d: loss %v, pairing %+v", e.Step, e.Loss, e.Pairing)
		}
		if e.Alignment == nil || *e.Alignment <= 0 || e.Level <= 0 || e.GradNorm <= 0 {
			t.Errorf("step %d: %+v", e.Step, e.Stats)
		}
	}
	if kinds[EventStart] != 1 || kinds[EventStep] != 20 || kinds[EventEpoch] != 2 || kinds[EventDone] != 1 || len(events) != 24 {
		t.Errorf("kinds: %v", kinds)
	}
	last := events[len(events)-2]
	if last.Train == nil || *last.Train.AssignmentGap < 0 || last.Train.EffectiveRank < 1 || last.HeldOut == nil || last.HeldOut.AssignmentGap != nil {
		t.Errorf("gauges: %+v, %+v", last.Train, last.HeldOut)
	}
}

func abs(x float64) float64 { return max(x, -x) }

func TestPlanWritesNothing(t *testing.T) {
	images, _ := writeImages(t, smallRows, 8)
	t.Chdir(t.TempDir())
	p, err := MakePlan(context.Background(), Options{Data: images, Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	if p.Run != "images-nat" || p.Encoder.Name != "convnet" || p.Data.Train != 160 || p.Steps != p.StepsPerEpoch*p.Options.Epochs ||
		p.Params == 0 || p.MemoryBytes < 1<<20 || p.DiskBytes < 1<<20 || p.StepTime <= 0 || p.ETA <= p.StepTime {
		t.Errorf("%+v", p)
	}
	if entries, err := os.ReadDir("."); err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// A plan is refused for what training would be refused for.
func TestPlanRefusesWhatTrainingWould(t *testing.T) {
	images, _ := writeImages(t, smallRows, 8)
	vectors := filepath.Join(t.TempDir(), "vectors.npy")
	writeNPY(t, vectors, []int{40, 7}, make([]float32, 280))
	out := filepath.Join(t.TempDir(), "run")
	opt := small(images, out)
	opt.Epochs = 1
	mustTrain(t, opt)
	for want, opt := range map[string]Options{
		"a run is there already":  opt,
		"exists and is not a run": {Data: images, Out: filepath.Dir(images)},
		"size 32":                 {Data: vectors, Size: 32, Out: out + "-2"},
	} {
		_, planned := MakePlan(context.Background(), opt)
		_, trained := Train(context.Background(), opt, nil)
		for _, err := range []error{planned, trained} {
			if !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), want) {
				t.Errorf("want %q: %v", want, err)
			}
		}
	}
}

// photographs makes a folder of n black images of side x side pixels with a spot.
func photographs(t testing.TB, n, side int, spot color.Color) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for i := range n {
		f, err := os.Create(filepath.Join(dir, fmt.Sprintf("photo-%02d.png", i)))
		if err != nil {
			t.Fatal(err)
		}
		picture := image.NewRGBA(image.Rect(0, 0, side, side))
		draw.Draw(picture, picture.Bounds(), image.Black, image.Point{}, draw.Src)
		picture.Set(i%side, i/side%side, spot)
		if err := errors.Join(png.Encode(f, picture), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// A folder with a broken file trains on the others and lists it.
func TestBadFilesAreListed(t *testing.T) {
	dir := photographs(t, 21, 8, color.White)
	if err := os.Truncate(filepath.Join(dir, "photo-02.png"), 30); err != nil {
		t.Fatal(err)
	}
	s := mustTrain(t, Options{Data: dir, Out: filepath.Join(t.TempDir(), "run"), Epochs: 1, Encoder: "linear", Dim: 4})
	bad := readFile(t, filepath.Join(s.Run, badFilesFile))
	if !strings.HasPrefix(bad, "path,reason\nphoto-02.png,") || !strings.Contains(strings.Join(s.Warnings, "\n"), badFilesFile) {
		t.Errorf("%s: %q, warnings %q", badFilesFile, bad, s.Warnings)
	}
	_, err := Train(context.Background(), Options{Data: dir, Out: filepath.Join(t.TempDir(), "strict"), MaxBad: "0"}, nil)
	if !errors.Is(err, ErrInput) {
		t.Errorf("max-bad 0: %v", err)
	}
}

// With --val all rows own a target, and the others are read by the gauges only.
func TestValReplacesTheHeldOutRows(t *testing.T) {
	images, _ := writeImages(t, 60, 4)
	other, _ := writeImages(t, 30, 4)
	t.Chdir(filepath.Dir(other))
	opt := Options{Data: images, Val: filepath.Base(other), Out: filepath.Join(t.TempDir(), "run"), Encoder: "linear", Dim: 4, Epochs: 1, Batch: 20}
	s := mustTrain(t, opt)
	if s.Train.Rows != 60 || s.HeldOut.Rows != 30 || s.Steps != 3 {
		t.Errorf("%d training rows, %d held out, %d steps", s.Train.Rows, s.HeldOut.Rows, s.Steps)
	}
	run, err := OpenRun(opt.Out)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(other, other+".moved"); err != nil {
		t.Fatal(err)
	}
	if _, err := run.Verify(t.Context(), images); err != nil {
		t.Errorf("data that are named are compared alone: %v", err)
	}
	if _, err := run.Verify(t.Context(), ""); !errors.Is(err, ErrArtefact) || !strings.Contains(err.Error(), "val") {
		t.Errorf("held-out data that are gone: %v", err)
	}
	if err := os.Rename(other+".moved", other); err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir()) // the recorded path is not relative
	mustTrain(t, Options{Out: opt.Out, Resume: true})

	run, err = OpenRun(opt.Out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := run.Verify(context.Background(), ""); err != nil {
		t.Errorf("the held-out data are the same: %v", err)
	}
	writeNPY(t, other, []int{30, 4, 4}, make([]uint8, 30*16))
	if _, err := run.Verify(context.Background(), ""); !errors.Is(err, ErrArtefact) || !strings.Contains(err.Error(), other) {
		t.Errorf("verify with other held-out data: %v", err)
	}
	if _, err := Train(context.Background(), Options{Out: opt.Out, Resume: true}, nil); !errors.Is(err, ErrArtefact) || !strings.Contains(err.Error(), other) {
		t.Errorf("resumed with other held-out data: %v", err)
	}
}

func TestStoppedWhileListing(t *testing.T) {
	images, _ := writeImages(t, 60, 4)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	out := filepath.Join(t.TempDir(), "run")
	_, err := Train(ctx, Options{Data: images, Out: out}, nil)
	var stopped *StoppedError
	if !errors.As(err, &stopped) || !errors.Is(err, context.Canceled) || stopped.Checkpoint != "" {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a run directory was made before there was anything to put in")
	}
}

// Sets of a handful of rows train or are refused with a reason.
func TestVeryFewRows(t *testing.T) {
	for n := range 6 {
		path := filepath.Join(t.TempDir(), "few.npy")
		data := make([]float32, n*5)
		for i := range data {
			data[i] = float32(i*i%7) + float32(i)
		}
		writeNPY(t, path, []int{n, 5}, data)
		s, err := Train(context.Background(), Options{Data: path, Out: filepath.Join(t.TempDir(), "run"), Dim: 3, Epochs: 2, Encoder: "linear"}, nil)
		switch {
		case n == 0 && !errors.Is(err, ErrInput):
			t.Errorf("no rows: %v", err)
		case n > 0 && (err != nil || !s.Complete):
			t.Errorf("%d rows: %+v, %v", n, s, err)
		}
	}
}
