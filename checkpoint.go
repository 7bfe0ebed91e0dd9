package nat

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"nat/encoder"
	"nat/internal/tensorfile"
)

// Names inside a run directory and a checkpoint.
const (
	runFile        = "run.json"
	metricsFile    = "metrics.jsonl"
	targetsFile    = "targets.safetensors"
	checkpointsDir = "checkpoints"
	latestFile     = "latest"
	badFilesFile   = "bad_files.csv"
	reportFile     = "report.html"
	lockFile       = ".lock"

	weightsFile    = "weights.safetensors"
	assignmentFile = "assignment.safetensors"
	optimizerFile  = "optimizer.safetensors"
	stateFile      = "state.json"
)

// formatVersion is written into run.json and state.json. A reader refuses
// versions it does not know.
const formatVersion = 1

// state is the position of a training run: together with the tensors beside
// it, everything that the next step depends on.
type state struct {
	Format int    `json:"format"`
	Seed   uint64 `json:"seed"`
	Step   int    `json:"step"`  // steps done
	Epoch  int    `json:"epoch"` // of the next step
	Batch  int    `json:"batch"` // of the next step, within its epoch
	// Streams are the named random streams with the index at which each is
	// next read. They are pure functions of seed, name and index, so this is
	// all there is to save.
	Streams       map[string]int `json:"streams"`
	Means         epochMeans     `json:"means"` // of the epoch so far
	Last          lastEpoch      `json:"last"`  // completed
	Stop          Stop           `json:"stop"`
	MetricsOffset int64          `json:"metrics_offset"`
	Elapsed       float64        `json:"elapsed"`  // seconds of training
	Stepping      float64        `json:"stepping"` // of it, for steps
	Waiting       float64        `json:"waiting"`  // and of that, for the loader
	Gauging       float64        `json:"gauging"`  // of elapsed, for the gauges
	Kernel        string         `json:"kernel"`   // instruction set
	// Checksums maps the files beside this one, and those of the run that
	// never change, to their SHA-256.
	Checksums map[string]string `json:"checksums"`
}

// encodeState frames a state with its own checksum.
func encodeState(s state) ([]byte, error) {
	body, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, err
	}
	return frame(body), nil
}

func frame(body []byte) []byte {
	sum := sha256.Sum256(body)
	return fmt.Appendf(nil, "{\"sha256\": %q, \"state\": %s}\n", hex.EncodeToString(sum[:]), body)
}

// decodeState undoes encodeState; any changed byte is an error.
func decodeState(b []byte) (state, error) {
	var framed struct {
		Sum   string          `json:"sha256"`
		State json.RawMessage `json:"state"`
	}
	if err := json.Unmarshal(b, &framed); err != nil {
		return state{}, err
	}
	if !bytes.Equal(frame(framed.State), b) {
		return state{}, errors.New("its checksum does not match")
	}
	var s state
	if err := json.Unmarshal(framed.State, &s); err != nil {
		return state{}, err
	}
	if s.Format != formatVersion {
		return state{}, fmt.Errorf("format version %d, this program knows %d", s.Format, formatVersion)
	}
	return s, nil
}

// snapshot is what a checkpoint holds.
type snapshot struct {
	state      state
	weights    []tensorfile.Tensor
	meta       map[string]string // of the weights: how to rebuild the network
	spec       encoder.Spec      // parsed from it when loaded
	assignment []tensorfile.Tensor
	optimizer  []tensorfile.Tensor
}

func stepName(step int) string { return fmt.Sprintf("step-%08d", step) }

// parseStep returns the step of a checkpoint's name, -1 for other names.
func parseStep(name string) int {
	digits, ok := strings.CutPrefix(name, "step-")
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || n < 0 || stepName(n) != name {
		return -1
	}
	return n
}

// checkpointNames lists the complete checkpoints of a run, newest first.
func checkpointNames(run string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(run, checkpointsDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && parseStep(e.Name()) >= 0 {
			names = append(names, e.Name())
		}
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Compare(parseStep(b), parseStep(a)) })
	return names, nil
}

// saveCheckpoint writes a checkpoint so that at any instant, whatever fails,
// the newest complete one on disk is either the one before or this one. It
// returns the new checkpoint's path.
func saveCheckpoint(fsys files, run string, snap snapshot) (string, error) {
	dir := filepath.Join(run, checkpointsDir)
	name := stepName(snap.state.Step)
	tmp, final := filepath.Join(dir, tmpPrefix+name), filepath.Join(dir, name)
	err := writeCheckpoint(fsys, tmp, snap)
	if err == nil {
		err = discard(fsys, final) // a damaged one of the same step
	}
	if err == nil {
		err = rename(fsys, tmp, final)
	}
	if err != nil {
		fsys.RemoveAll(tmp)
		return "", err
	}
	return final, pointLatest(fsys, run, name)
}

// pointLatest makes RUN/latest name a checkpoint.
func pointLatest(fsys files, run, name string) error {
	path := filepath.Join(run, latestFile)
	if b, err := os.ReadFile(path); err == nil && string(b) == name+"\n" {
		return nil
	}
	_, err := replaceFile(fsys, path, func(w io.Writer) error {
		_, err := fmt.Fprintln(w, name)
		return err
	})
	return err
}

// writeCheckpoint fills dir, state.json last, and makes it durable.
func writeCheckpoint(fsys files, dir string, snap snapshot) error {
	if err := fsys.RemoveAll(dir); err != nil {
		return failf(ErrResource, "removing %s, left by an interrupted save: %w", dir, err)
	}
	if err := fsys.Mkdir(dir); err != nil {
		return failf(ErrResource, "making the checkpoint %s: %w", dir, err)
	}
	sums := map[string]string{}
	for name, sum := range snap.state.Checksums {
		sums[name] = sum
	}
	for _, f := range []struct {
		name    string
		tensors []tensorfile.Tensor
		meta    map[string]string
	}{
		{weightsFile, snap.weights, snap.meta},
		{assignmentFile, snap.assignment, nil},
		{optimizerFile, snap.optimizer, nil},
	} {
		sum, err := writeFile(fsys, filepath.Join(dir, f.name), func(w io.Writer) error {
			return tensorfile.WriteSafetensors(w, f.tensors, f.meta)
		})
		if err != nil {
			return err
		}
		sums[f.name] = sum
	}
	snap.state.Checksums = sums
	body, err := encodeState(snap.state)
	if err != nil {
		return err
	}
	if _, err = writeFile(fsys, filepath.Join(dir, stateFile), func(w io.Writer) error {
		_, err := w.Write(body)
		return err
	}); err != nil {
		return err
	}
	if err := fsys.SyncDir(dir); err != nil {
		return failf(ErrResource, "making the checkpoint %s durable: %w", dir, err)
	}
	return nil
}

// discard removes a directory in two moves, so that no half-removed
// checkpoint is ever found under a complete one's name.
func discard(fsys files, dir string) error {
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	trash := filepath.Join(filepath.Dir(dir), tmpPrefix+"old-"+filepath.Base(dir))
	err := fsys.RemoveAll(trash)
	if err == nil {
		err = fsys.Rename(dir, trash)
	}
	if err == nil {
		err = fsys.RemoveAll(trash)
	}
	if err != nil {
		return failf(ErrResource, "removing the old checkpoint %s: %w", dir, err)
	}
	return nil
}

// pruneCheckpoints removes all but the newest keep of the checkpoints up to
// step, and those of later steps, which were passed over as damaged.
func pruneCheckpoints(fsys files, run string, step, keep int) error {
	names, err := checkpointNames(run)
	if err != nil {
		return err
	}
	kept := 0
	for _, name := range names {
		if parseStep(name) <= step && kept < keep {
			kept++
			continue
		}
		if err := discard(fsys, filepath.Join(run, checkpointsDir, name)); err != nil {
			return err
		}
	}
	return nil
}

// readState reads and checks a checkpoint's state.json.
func readState(dir string) (state, error) {
	path := filepath.Join(dir, stateFile)
	b, err := os.ReadFile(path)
	if err != nil {
		return state{}, err
	}
	s, err := decodeState(b)
	if err != nil {
		return state{}, fmt.Errorf("%s: %w", path, err)
	}
	if want := parseStep(filepath.Base(dir)); s.Step != want {
		return state{}, fmt.Errorf("%s: is of step %d, its directory of step %d", path, s.Step, want)
	}
	return s, nil
}

// checkSums compares the files a state vouches for, or only those named, with
// their checksums.
func checkSums(run, dir string, s state, only ...string) error {
	var errs []error
	wanted := func(name string) bool { return len(only) == 0 || slices.Contains(only, name) }
	for _, name := range slices.Sorted(maps.Keys(s.Checksums)) {
		if !wanted(name) {
			continue
		}
		path := filepath.Join(dir, name)
		if name == targetsFile || name == runFile {
			path = filepath.Join(run, name)
		}
		sum, err := fileSum(path)
		if err != nil {
			errs = append(errs, err)
		} else if sum != s.Checksums[name] {
			errs = append(errs, fmt.Errorf("%s: its checksum does not match", path))
		}
	}
	for _, name := range []string{weightsFile, assignmentFile, optimizerFile, runFile} { // targets not every run has
		if wanted(name) && s.Checksums[name] == "" {
			errs = append(errs, fmt.Errorf("%s: no checksum of %s", filepath.Join(dir, stateFile), name))
		}
	}
	return errors.Join(errs...)
}

// loadCheckpoint reads one checkpoint, or of its tensors only those of the files
// named, every checksum of what is read and of run.json compared.
func loadCheckpoint(run, name string, files ...string) (snap snapshot, err error) {
	dir := filepath.Join(run, checkpointsDir, name)
	if snap.state, err = readState(dir); err != nil {
		return snap, err
	}
	sums := files
	if len(files) > 0 {
		sums = append([]string{runFile}, files...)
	}
	if err = checkSums(run, dir, snap.state, sums...); err != nil {
		return snap, err
	}
	return snap, snap.read(dir, files...)
}

// read fills a snapshot with the tensors of the files named, or all if none is.
func (snap *snapshot) read(dir string, files ...string) (err error) {
	read := func(file string) (ts []tensorfile.Tensor, meta map[string]string) {
		if err == nil && (len(files) == 0 || slices.Contains(files, file)) {
			ts, meta, err = tensorfile.ReadSafetensorsFile(filepath.Join(dir, file))
		}
		return ts, meta
	}
	snap.weights, snap.meta = read(weightsFile)
	snap.assignment, _ = read(assignmentFile)
	snap.optimizer, _ = read(optimizerFile)
	if err != nil || snap.weights == nil {
		return err
	}
	if snap.spec, err = encoder.ParseSpec([]byte(snap.meta[encoder.SpecKey])); err != nil {
		return fmt.Errorf("%s: %w", filepath.Join(dir, weightsFile), err)
	}
	return nil
}

// loadWeights loads the newest weights that are not damaged, like loadNewest,
// and needs nothing else of the run but run.json. Where no checkpoint has kept
// its checksums, as in a run that was stripped to be passed on, the newest whose
// weights can be read is used, with a warning.
func loadWeights(run string) (snap snapshot, name string, warnings []string, err error) {
	snap, name, warnings, err = loadNewest(run, weightsFile)
	if !errors.Is(err, ErrArtefact) {
		return snap, name, warnings, err
	}
	names, _ := checkpointNames(run) // loadNewest has listed them
	for _, name := range names {
		dir := filepath.Join(run, checkpointsDir, name)
		if _, stat := os.Stat(filepath.Join(dir, stateFile)); !errors.Is(stat, fs.ErrNotExist) {
			continue
		}
		var bare snapshot
		if bare.read(dir, weightsFile) == nil && bare.weights != nil {
			return bare, name, []string{fmt.Sprintf("checkpoint %s has no %s: whether its weights are undamaged cannot be checked", name, stateFile)}, nil
		}
	}
	return snap, "", warnings, err
}

// loadNewest loads the newest checkpoint that is not damaged, with a warning
// for each one passed over. Without any checkpoint name is empty; when all are
// damaged the error is of kind ErrArtefact. files is as for loadCheckpoint.
func loadNewest(run string, files ...string) (snap snapshot, name string, warnings []string, err error) {
	for range 3 { // a training process may prune what we are about to read
		names, err := checkpointNames(run)
		if err != nil || len(names) == 0 {
			return snap, "", nil, err
		}
		warnings = nil
		for _, name := range names {
			snap, err := loadCheckpoint(run, name, files...)
			if err == nil {
				return snap, name, warnings, nil
			}
			if _, gone := os.Stat(filepath.Join(run, checkpointsDir, name)); gone == nil {
				warnings = append(warnings, fmt.Sprintf("checkpoint %s is damaged and was passed over: %v", name, err))
			}
		}
		if len(warnings) == len(names) {
			break
		}
	}
	return snap, "", nil, failf(ErrArtefact, "%s: no checkpoint can be used:\n%s", run, strings.Join(warnings, "\n"))
}
