package nat

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// failing is a disk on which the operation number at (from 0), and all writes
// after it, fail.
type failing struct {
	unsynced
	at, ops int
	err     error // errShort: a write that stops half-way
	broken  bool
}

var errShort = errors.New("short write")

func (f *failing) fail() error {
	f.ops++
	if f.ops-1 == f.at {
		f.broken = true
		return f.err
	}
	return nil
}

type failingFile struct {
	file
	disk *failing
}

func (f *failing) Mkdir(dir string) error {
	if err := f.fail(); err != nil {
		return err
	}
	return f.unsynced.Mkdir(dir)
}

func (f *failing) Create(path string) (file, error) {
	if err := f.fail(); err != nil {
		return nil, err
	}
	opened, err := f.unsynced.Create(path)
	return &failingFile{opened, f}, err
}

func (f *failing) Append(path string, size int64) (file, error) {
	if err := f.fail(); err != nil {
		return nil, err
	}
	opened, err := f.unsynced.Append(path, size)
	return &failingFile{opened, f}, err
}

func (f *failing) Rename(from, to string) error {
	if err := f.fail(); err != nil {
		return err
	}
	return f.unsynced.Rename(from, to)
}

func (f *failing) RemoveAll(path string) error {
	if err := f.fail(); err != nil {
		return err
	}
	return f.unsynced.RemoveAll(path)
}

func (f *failing) SyncDir(string) error { return f.fail() }

func (f *failingFile) Sync() error { return f.disk.fail() }

func (f *failingFile) Write(p []byte) (int, error) {
	switch err := f.disk.fail(); {
	case err == errShort:
		return f.file.Write(p[:len(p)/2])
	case err != nil:
		return 0, err
	}
	return f.file.Write(p)
}

func (f *failingFile) Close() error {
	return errors.Join(f.file.Close(), f.disk.fail())
}

// Whatever operation fails, and however: training says so (and stops, unless
// all that failed is the removal of an old checkpoint), a good checkpoint is on disk, and once the disk is well
// the run ends as if nothing had happened.
func TestEveryDiskOperationMayFail(t *testing.T) {
	t.Parallel()
	images, _ := writeImages(t, 45, 4)
	opt := small(images, filepath.Join(t.TempDir(), "run"))
	opt.Batch, opt.Epochs, opt.Keep, opt.CheckpointEvery = 8, 1, 2, "2steps"
	mustTrain(t, opt)
	want := outcomeOf(t, opt.Out)

	unnoticed := 0
	faults := []error{syscall.ENOSPC, syscall.EIO, syscall.EDQUOT, fs.ErrPermission, errShort}
	for at := 0; ; at++ {
		broken := &failing{at: at, err: faults[at%len(faults)]}
		run := opt
		run.Out = filepath.Join(t.TempDir(), "run")
		var saved int
		s, err := trainOn(context.Background(), broken, run, func(e Event) {
			if e.Kind == EventCheckpoint {
				saved = e.Step
			}
		}, nil)
		if !broken.broken {
			if at < 100 || err != nil || unnoticed > 1 {
				t.Fatalf("%d operations in all, %d failed unnoticed, error %v", at, unnoticed, err)
			}
			return
		}
		if err == nil { // an old checkpoint stays, or closing the metrics fails, all synced
			if len(s.Warnings) == 0 {
				unnoticed++
			}
			outcomeOf(t, run.Out).equal(t, want, "with a failure that does no harm")
			continue
		}
		checkFault(t, run, want, saved, fmt.Sprintf("operation %d fails with %q", at, broken.err), err)
	}
}

func checkFault(t *testing.T, run Options, want outcome, saved int, what string, err error) {
	t.Helper()
	if !errors.Is(err, ErrResource) || !strings.Contains(err.Error(), run.Out) {
		t.Fatalf("%s: error %v", what, err)
	}
	snap, name, warnings, loadErr := loadNewest(run.Out)
	if loadErr != nil || len(warnings) > 0 || snap.state.Step < saved || saved > 0 && name == "" {
		t.Fatalf("%s: newest checkpoint %q, %d was saved, warnings %q, error %v", what, name, saved, warnings, loadErr)
	}
	run.Resume = true
	mustTrain(t, run)
	outcomeOf(t, run.Out).equal(t, want, what)
	left, globErr := filepath.Glob(filepath.Join(run.Out, "*", tmpPrefix+"*"))
	if len(left) > 0 || globErr != nil {
		t.Errorf("%s: left behind: %v", what, left)
	}
}

// A damaged newest checkpoint is named and the one before it is used.
func TestDamagedCheckpointFallsBack(t *testing.T) {
	t.Parallel()
	images, _ := writeImages(t, smallRows, 4)
	opt := small(images, filepath.Join(t.TempDir(), "run"))
	opt.Epochs, opt.CheckpointEvery = 1, "4steps"
	mustTrain(t, opt)
	want := outcomeOf(t, opt.Out)
	newest := filepath.Join(opt.Out, checkpointsDir, stepName(10))
	for _, name := range []string{stateFile, weightsFile, assignmentFile, optimizerFile} {
		path := filepath.Join(newest, name)
		good := []byte(readFile(t, path))
		step := max(1, len(good)/150)
		for at := 0; at < len(good); at += step {
			bad := append([]byte{}, good...)
			bad[at] ^= 1 << (at % 8)
			checkDamage(t, opt.Out, path, bad, fmt.Sprintf("bit %d of byte %d of %s", at%8, at, name))
			checkDamage(t, opt.Out, path, good[:at], fmt.Sprintf("%s cut to %d bytes", name, at))
		}
		if err := os.WriteFile(path, good, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(newest, weightsFile)); err != nil {
		t.Fatal(err)
	}
	opt.Resume = true
	s := mustTrain(t, opt)
	if len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], stepName(10)) || !strings.Contains(s.Warnings[0], weightsFile) {
		t.Errorf("warnings: %q", s.Warnings)
	}
	outcomeOf(t, opt.Out).equal(t, want, "resumed from the checkpoint before a damaged one")
}

func checkDamage(t *testing.T, run, path string, content []byte, what string) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	_, name, warnings, err := loadNewest(run)
	if err != nil || name != stepName(8) || len(warnings) != 1 || !strings.Contains(warnings[0], stepName(10)) {
		t.Fatalf("%s: used %q, warnings %q, error %v", what, name, warnings, err)
	}
}

func TestAllCheckpointsDamaged(t *testing.T) {
	images, _ := writeImages(t, smallRows, 4)
	opt := small(images, filepath.Join(t.TempDir(), "run"))
	opt.Epochs = 1
	mustTrain(t, opt)
	targets := filepath.Join(opt.Out, targetsFile)
	if err := os.Truncate(targets, 100); err != nil {
		t.Fatal(err)
	}
	_, err := Train(context.Background(), Options{Out: opt.Out, Resume: true}, nil)
	if !errors.Is(err, ErrArtefact) || !strings.Contains(err.Error(), targetsFile) {
		t.Errorf("resumed without targets: %v", err)
	}
	run, err := OpenRun(opt.Out)
	if err != nil {
		t.Fatal(err)
	}
	model, err := run.Model(1) // needs no targets
	if err != nil {
		t.Fatalf("model of a run without targets: %v", err)
	}
	model.Close()
	names, err := checkpointNames(opt.Out)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := os.Truncate(filepath.Join(opt.Out, checkpointsDir, name, weightsFile), 100); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := run.Model(1); !errors.Is(err, ErrArtefact) {
		t.Errorf("model of a damaged run: %v", err)
	}
}

// Weights and run.json are enough for a model; what cannot be checked is said.
func TestModelOfAStrippedRun(t *testing.T) {
	images, _ := writeImages(t, smallRows, 4)
	opt := small(images, filepath.Join(t.TempDir(), "run"))
	opt.Epochs = 1
	mustTrain(t, opt)
	stripped := filepath.Join(t.TempDir(), "stripped")
	weights := filepath.Join(checkpointsDir, stepName(10), weightsFile)
	for _, name := range []string{runFile, weights} {
		copyFile(t, filepath.Join(opt.Out, name), filepath.Join(stripped, name))
	}
	open := func() (*Model, error) {
		run, err := OpenRun(stripped)
		if err != nil {
			t.Fatal(err)
		}
		return run.Model(1)
	}
	model, err := open()
	if err != nil {
		t.Fatal(err)
	}
	model.Close()
	if len(model.Warnings) != 1 || !strings.Contains(model.Warnings[0], "cannot be checked") {
		t.Errorf("warnings %q", model.Warnings)
	}
	state := filepath.Join(checkpointsDir, stepName(10), stateFile)
	copyFile(t, filepath.Join(opt.Out, state), filepath.Join(stripped, state))
	if model, err = open(); err != nil || len(model.Warnings) > 0 {
		t.Fatalf("with %s: error %v", stateFile, err)
	}
	model.Close()
	if err := os.WriteFile(filepath.Join(stripped, runFile), []byte(readFile(t, filepath.Join(stripped, runFile))+" "), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := open(); !errors.Is(err, ErrArtefact) || !strings.Contains(err.Error(), runFile) {
		t.Errorf("with another %s: %v", runFile, err)
	}
}

// Two sittings of a process that lost its last lines, or whose last line is
// torn, give the metrics of one.
func TestMetricsAreCutBack(t *testing.T) {
	images, _ := writeImages(t, smallRows, 4)
	opt := small(images, filepath.Join(t.TempDir(), "run"))
	opt.Epochs, opt.CheckpointEvery = 1, "4steps"
	mustTrain(t, opt)
	want := outcomeOf(t, opt.Out)
	path := filepath.Join(opt.Out, metricsFile)
	whole := readFile(t, path)
	torn := whole[:len(whole)-5]
	if err := os.WriteFile(path, []byte(torn), 0o644); err != nil {
		t.Fatal(err)
	}
	if events, err := ReadEvents(path); err != nil || len(events) != strings.Count(torn, "\n") {
		t.Errorf("%d events of %d whole lines, error %v", len(events), strings.Count(torn, "\n"), err)
	}
	opt.Out, opt.Resume = copyRun(t, opt.Out, stepName(4)), true
	mustTrain(t, opt)
	outcomeOf(t, opt.Out).equal(t, want, "resumed at step 4 with the lines of step 10, the last one torn")
}
