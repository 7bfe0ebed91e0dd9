package nat

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/gofrs/flock"

	"nat/assign"
	"nat/dataset"
	"nat/encoder"
	"nat/internal/kernel"
	"nat/internal/tensorfile"
)

// Run is a run directory that exists.
type Run struct {
	Dir    string
	Record Record // run.json
}

// Record is the content of run.json, written once.
type Record struct {
	Format        int                `json:"format"`
	Options       Options            `json:"options"` // resolved
	Data          DataInfo           `json:"data"`
	Encoder       encoder.Spec       `json:"encoder"`
	Decoder       *encoder.Spec      `json:"decoder,omitempty"` // of objective vae
	Params        int                `json:"params"`
	Steps         int                `json:"steps"`
	StepsPerEpoch int                `json:"steps_per_epoch"`
	Augment       dataset.Augment    `json:"augment"`
	Norm          dataset.Normalizer `json:"normalizer"`
	Version       string             `json:"version"` // of this program
	Host          Host               `json:"host"`
}

// Host is where a run began.
type Host struct {
	Name   string `json:"name"`
	OS     string `json:"os"`
	Arch   string `json:"arch"`
	Cores  int    `json:"cores"`
	Go     string `json:"go"`
	Kernel string `json:"kernel"` // instruction set of the kernels
}

func thisHost() Host {
	name, err := os.Hostname()
	if err != nil {
		name = "unknown"
	}
	return Host{Name: name, OS: runtime.GOOS, Arch: runtime.GOARCH, Cores: runtime.NumCPU(), Go: runtime.Version(), Kernel: kernel.Tier()}
}

// Version is the program's version as the Go toolchain recorded it.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "devel"
	}
	return info.Main.Version
}

// OpenRun reads RUN/run.json.
func OpenRun(dir string) (*Run, error) {
	path := filepath.Join(dir, runFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, failf(ErrUsage, "%s is not a run: it has no %s", dir, runFile)
	} else if err != nil {
		return nil, err
	}
	r := &Run{Dir: dir}
	if err := json.Unmarshal(b, &r.Record); err != nil {
		return nil, failf(ErrArtefact, "%s is damaged: %w", path, err)
	}
	if f := r.Record.Format; f != formatVersion {
		return nil, failf(ErrArtefact, "%s has format version %d, this program knows %d: use the version of nat that wrote it (%s)",
			path, f, formatVersion, r.Record.Version)
	}
	if err := r.Record.Encoder.Validate(); err != nil {
		return nil, failf(ErrArtefact, "%s is damaged: %w", path, err)
	}
	if err := r.Record.checkDecoder(); err != nil {
		return nil, failf(ErrArtefact, "%s is damaged: %w", path, err)
	}
	setDefault(&r.Record.Options.Winograd, winogradOff) // a run of an older version
	return r, nil
}

// dirState tells what a directory named as --out holds.
type dirState int

const (
	dirFree    dirState = iota // nothing there, or nothing but what a run killed at birth left
	dirRun                     // a run
	dirForeign                 // something else, never to be touched
)

func inspectDir(dir string) (dirState, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return dirFree, nil
	} else if err != nil {
		if info, statErr := os.Stat(dir); statErr == nil && !info.IsDir() {
			return dirForeign, nil
		}
		return dirFree, err
	}
	state := dirFree
	for _, e := range entries {
		switch {
		case e.Name() == runFile:
			return dirRun, nil
		case !slices.Contains(ownNames, e.Name()) && !strings.HasPrefix(e.Name(), tmpPrefix):
			state = dirForeign
		}
	}
	return state, nil
}

// ownNames is everything training puts into a run directory. run.json is last
// to be removed: while it is there, the rest is known to be ours.
var ownNames = []string{latestFile, checkpointsDir, metricsFile, targetsFile, badFilesFile, reportFile, EvalFile, lockFile, runFile}

// checkOut decides whether training may use opt.Out as it is.
func checkOut(opt Options) error {
	state, err := inspectDir(opt.Out)
	if err != nil {
		return failf(ErrUsage, "out %s: %w: choose another name", opt.Out, err)
	}
	_, statErr := os.Lstat(opt.Out)
	switch {
	case state == dirForeign:
		return failf(ErrUsage, "out %s: exists and is not a run: choose another name", opt.Out)
	case state == dirRun && !opt.Resume && !opt.Overwrite:
		return failf(ErrUsage, "out %s: a run is there already: add --resume to continue it, --overwrite to replace it, or choose another name", opt.Out)
	case errors.Is(statErr, fs.ErrNotExist) && opt.Resume:
		return failf(ErrUsage, "out %s: there is no run to resume: leave --resume out to start one", opt.Out)
	}
	return nil
}

// removeRun empties a run directory of what training put there, keeping the
// lock, which we hold.
func removeRun(fsys files, dir string) error {
	if err := removeTemporary(fsys, dir); err != nil {
		return err
	}
	for _, name := range ownNames {
		if name == lockFile {
			continue
		}
		path := filepath.Join(dir, name)
		if err := fsys.RemoveAll(path); err != nil {
			return failf(ErrResource, "removing %s: %w", path, err)
		}
	}
	return nil
}

// lockRun makes the calling process the only one that trains in dir. The lock
// goes with the process, however it ends.
func lockRun(dir string) (*flock.Flock, error) {
	l := flock.New(filepath.Join(dir, lockFile))
	ok, err := l.TryLock()
	if err != nil {
		return nil, failf(ErrResource, "locking %s: %w", dir, err)
	}
	if !ok {
		return nil, failf(ErrResource, "%s is in use: another process is training there", dir)
	}
	return l, nil
}

// record describes a job for run.json.
func (j *job) record() Record {
	p := &j.plan
	return Record{Format: formatVersion, Options: p.Options, Data: p.Data, Encoder: p.Encoder, Decoder: p.Decoder, Params: p.Params,
		Steps: p.Steps, StepsPerEpoch: p.StepsPerEpoch, Augment: j.augment, Norm: j.norm, Version: Version(), Host: thisHost()}
}

// createRun writes everything of a run that never changes, run.json last, and
// returns the checksums of what every checkpoint relies on.
func createRun(fsys files, dir string, rec Record, targets []tensorfile.Tensor, bad []dataset.BadFile) (map[string]string, error) {
	if len(bad) > 0 {
		if _, err := replaceFile(fsys, filepath.Join(dir, badFilesFile), func(w io.Writer) error { return writeBadFiles(w, bad) }); err != nil {
			return nil, err
		}
	}
	sums := map[string]string{}
	var err error
	if len(targets) > 0 {
		sums[targetsFile], err = replaceFile(fsys, filepath.Join(dir, targetsFile), func(w io.Writer) error {
			return tensorfile.WriteSafetensors(w, targets, nil)
		})
		if err != nil {
			return nil, err
		}
	}
	body, err := json.MarshalIndent(rec, "", "  ")
	if err != nil {
		return nil, err
	}
	sums[runFile], err = replaceFile(fsys, filepath.Join(dir, runFile), func(w io.Writer) error {
		_, err := w.Write(append(body, '\n'))
		return err
	})
	return sums, err
}

func writeBadFiles(w io.Writer, bad []dataset.BadFile) error {
	out := csv.NewWriter(w)
	out.Write([]string{"path", "reason"})
	for _, b := range bad {
		out.Write([]string{b.Path, b.Reason})
	}
	out.Flush()
	return out.Error()
}

// RunInfo is what `nat info` shows.
type RunInfo struct {
	Run string `json:"run"`
	Record
	Layers      []string         `json:"layers"` // names that Embed accepts besides those of package encoder (embedding, features, ...)
	Checkpoints []CheckpointInfo `json:"checkpoints"`
	Last        *Event           `json:"last_metrics,omitempty"` // last step
	LastEpoch   *Event           `json:"last_epoch,omitempty"`   // last epoch's line that has gauges
	Wait        float64          `json:"wait"`                   // share of the steps' time spent waiting for data
	GaugeShare  float64          `json:"gauge_share"`            // of the time, that the gauges took
	Complete    bool             `json:"complete"`
}

// CheckpointInfo describes one checkpoint.
type CheckpointInfo struct {
	Name    string  `json:"name"`
	Step    int     `json:"step"`
	Epoch   int     `json:"epoch"`
	Bytes   int64   `json:"bytes"`
	Elapsed float64 `json:"elapsed"`          // seconds of training
	Damage  string  `json:"damage,omitempty"` // what is wrong with it
}

// Info gathers what is known about the run, checksums included.
func (r *Run) Info() (*RunInfo, error) {
	info := &RunInfo{Run: r.Dir, Record: r.Record, Checkpoints: []CheckpointInfo{}}
	info.Layers = r.Record.Encoder.LayerNames()
	names, err := checkpointNames(r.Dir)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		info.Checkpoints = append(info.Checkpoints, describeCheckpoint(r.Dir, name))
	}
	events, err := ReadEvents(filepath.Join(r.Dir, metricsFile))
	if err != nil {
		return nil, err
	}
	for i := range events {
		switch e := &events[i]; {
		case e.Kind == EventStep:
			info.Last, info.Wait = e, e.Wait
		case e.Kind == EventEpoch:
			info.Wait, info.GaugeShare = e.Wait, e.GaugeShare
			if e.Train != nil {
				info.LastEpoch = e
			}
		case e.Kind == EventDone:
			info.Complete = true
		}
	}
	return info, nil
}

func describeCheckpoint(run, name string) CheckpointInfo {
	dir := filepath.Join(run, checkpointsDir, name)
	c := CheckpointInfo{Name: name, Step: parseStep(name)}
	s, err := readState(dir)
	if err == nil {
		c.Epoch, c.Elapsed = s.Epoch, s.Elapsed
		err = checkSums(run, dir, s)
	}
	if err != nil {
		c.Damage = err.Error()
	}
	entries, _ := os.ReadDir(dir) // what cannot be listed is damage, and named above
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			c.Bytes += info.Size()
		}
	}
	return c
}

// VerifyReport lists what Verify looked at. Problems is empty for a sound run.
type VerifyReport struct {
	Run      string   `json:"run"`
	Checked  []string `json:"checked"`
	Problems []string `json:"problems"`
}

// Verify recomputes every checksum, and checks that latest names the newest
// checkpoint, that pi is a bijection and the targets have unit norm, if there are any, and that the data are the same (those at
// dataPath, or at the recorded path when it is empty). The error is of kind
// ErrArtefact when something is wrong; the report is valid then too.
func (r *Run) Verify(ctx context.Context, dataPath string) (*VerifyReport, error) {
	v := &VerifyReport{Run: r.Dir, Checked: []string{}, Problems: []string{}}
	names, err := checkpointNames(r.Dir)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		v.note("checkpoints", errors.New("there is none"))
	}
	for _, name := range names {
		snap, err := r.loadPermutation(name)
		v.note("checkpoint "+name+": checksums", err)
		if err == nil && r.Record.Options.hasTargets() {
			v.note("checkpoint "+name+": pi is a bijection", r.checkPermutation(snap.assignment))
		}
	}
	if len(names) > 0 {
		v.note("latest: names the newest checkpoint", r.checkLatest(names))
	}
	if r.Record.Options.hasTargets() {
		v.note("targets: unit norm", r.checkTargets())
	}
	_, err = ReadEvents(filepath.Join(r.Dir, metricsFile))
	v.note("metrics: readable", err)
	err = r.checkData(ctx, dataPath)
	if ctx.Err() != nil {
		return nil, &StoppedError{Cause: context.Cause(ctx), Run: r.Dir}
	}
	v.note("data: those of the run", err)
	if len(v.Problems) > 0 {
		return v, failf(ErrArtefact, "%s:\n%s", r.Dir, strings.Join(v.Problems, "\n"))
	}
	return v, nil
}

// loadPermutation loads what a checkpoint says about pi, after comparing all of
// its checksums.
func (r *Run) loadPermutation(name string) (snapshot, error) {
	dir := filepath.Join(r.Dir, checkpointsDir, name)
	s, err := readState(dir)
	if err == nil {
		err = checkSums(r.Dir, dir, s)
	}
	if err != nil {
		return snapshot{}, err
	}
	snap := snapshot{state: s}
	return snap, snap.read(dir, assignmentFile)
}

// checkLatest checks that RUN/latest, which is for readers other than this
// program, names the first of the given checkpoints.
func (r *Run) checkLatest(names []string) error {
	path := filepath.Join(r.Dir, latestFile)
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	name := strings.TrimSuffix(string(b), "\n")
	switch {
	case !slices.Contains(names, name):
		return fmt.Errorf("%s names %q, which is no checkpoint of the run", path, name)
	case name != names[0]:
		return fmt.Errorf("%s names %s, the newest is %s", path, name, names[0])
	}
	return nil
}

// checkPermutation checks the saved assignment of a checkpoint.
func (r *Run) checkPermutation(ts []tensorfile.Tensor) error {
	t, ok := tensorfile.Find(ts, "perm")
	if !ok {
		return errors.New("it holds no tensor named perm")
	}
	perm, err := t.Int32(r.Record.Data.Train)
	if err != nil {
		return err
	}
	return (&assign.Matching{Perm: perm}).Check()
}

// unitTolerance is how far from 1 float32 rounding may leave a norm.
const unitTolerance = 1e-5

func (r *Run) checkTargets() error {
	d := r.Record.Options.Dim
	return eachTargets(r.Dir, r.Record.Data.Train, d, func(first int, c []float32) error {
		for i := range len(c) / d {
			var square float64
			for _, x := range c[i*d : (i+1)*d] {
				square += float64(x) * float64(x)
			}
			if norm := math.Sqrt(square); !(math.Abs(norm-1) < unitTolerance) {
				return fmt.Errorf("target %d has norm %v", first+i, norm)
			}
		}
		return nil
	})
}

func (v *VerifyReport) note(what string, err error) {
	v.Checked = append(v.Checked, what)
	if err != nil {
		v.Problems = append(v.Problems, what+": "+err.Error())
	}
}

// checkData compares the fingerprints of the data with the recorded ones: those
// at path alone or, when it is empty, all that the run remembers.
func (r *Run) checkData(ctx context.Context, path string) error {
	opt := r.Record.Options
	opt.Data, opt.Labels, opt.Objective, opt.Workers = path, "", "", 0 // the rows do not matter
	if path == "" {
		opt.Data = r.Record.Data.Path
	} else {
		opt.Val = ""
	}
	src, err := openSource(ctx, opt, &r.Record.Data, func(Event) {})
	if err != nil {
		return err
	}
	defer src.close()
	if opt.Val == "" {
		src.info.Val = r.Record.Data.Val
	}
	return r.sameData(src.info)
}

func (r *Run) sameData(info DataInfo) error {
	rec := &r.Record.Data
	if info.Fingerprint != rec.Fingerprint {
		return failf(ErrArtefact, "the data at %s (%d rows, fingerprint %.12s) are not those of the run (%s, %d rows, fingerprint %.12s)",
			info.Path, info.Rows, info.Fingerprint, rec.Path, rec.Rows, rec.Fingerprint)
	}
	if rec.Val != "" && info.Val != rec.Val { // runs of older versions have none
		return failf(ErrArtefact, "the held-out data at %s (%d rows, fingerprint %.12s) are not those of the run (%d rows, fingerprint %.12s)",
			r.Record.Options.Val, info.HeldOut, info.Val, rec.HeldOut, rec.Val)
	}
	return nil
}
