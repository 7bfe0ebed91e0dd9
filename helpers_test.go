package nat

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"nat/internal/rng"
	"nat/internal/tensorfile"
)

// unsynced is the disk without the wait for durability: tests that do not
// crash the machine need none.
type unsynced struct{ disk }

type unsyncedFile struct{ file }

func (unsyncedFile) Sync() error { return nil }

func (unsynced) SyncDir(string) error { return nil }

func (u unsynced) Create(path string) (file, error) {
	f, err := u.disk.Create(path)
	return unsyncedFile{f}, err
}

func (u unsynced) Append(path string, size int64) (file, error) {
	f, err := u.disk.Append(path, size)
	return unsyncedFile{f}, err
}

// writeImages makes an array of n grey images of side x side pixels in four
// classes, bright in one quarter each, and its labels beside it.
func writeImages(t testing.TB, n, side int) (images, labels string) {
	t.Helper()
	r := rng.New(7, "test images")
	pixels, classes := make([]uint8, n*side*side), make([]int64, n)
	for i := range n {
		classes[i] = int64(i % 4)
		for y := range side {
			for x := range side {
				v := 60 + 60*r.Float64()
				if quarter := 2*(2*y/side) + 2*x/side; quarter == i%4 {
					v += 80
				}
				pixels[(i*side+y)*side+x] = uint8(v)
			}
		}
	}
	dir := t.TempDir()
	images, labels = filepath.Join(dir, "images.npy"), filepath.Join(dir, "labels.npy")
	writeNPY(t, images, []int{n, side, side}, pixels)
	writeNPY(t, labels, []int{n}, classes)
	return images, labels
}

func writeNPY(t testing.TB, path string, shape []int, data any) {
	t.Helper()
	var b bytes.Buffer
	if err := tensorfile.WriteNPY(&b, shape, data); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// small are options for a run of 60 steps in 6 epochs on the images of
// writeImages(t, 168, ...): 160 rows own a target and 8 are held out.
func small(data, out string) Options {
	return Options{Data: data, Out: out, Encoder: "linear", Dim: 8, Epochs: 6, Batch: 16, Workers: 2, CheckpointEvery: "1000steps"}
}

const smallRows, smallSteps = 168, 60

func mustTrain(t testing.TB, opt Options) *Summary {
	t.Helper()
	s, err := trainOn(context.Background(), unsynced{}, opt, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// outcome is what must not depend on interruptions, workers or time.
type outcome map[string]string

// outcomeOf reads the newest checkpoint, the targets and the metrics of a run,
// these without what is nothing but time.
func outcomeOf(t testing.TB, run string) outcome {
	t.Helper()
	names, err := checkpointNames(run)
	if err != nil || len(names) == 0 {
		t.Fatalf("%s: checkpoints %v, error %v", run, names, err)
	}
	o := outcome{"newest": names[0]}
	for _, f := range []string{weightsFile, assignmentFile, optimizerFile} {
		o[f] = readFile(t, filepath.Join(run, checkpointsDir, names[0], f))
	}
	if hasTargets(run) {
		o[targetsFile] = readFile(t, filepath.Join(run, targetsFile))
	}
	o[metricsFile] = timeless(t, readFile(t, filepath.Join(run, metricsFile)))
	return o
}

// hasTargets tells whether the objective of a run has any.
func hasTargets(run string) bool {
	_, err := os.Stat(filepath.Join(run, targetsFile))
	return err == nil
}

func readFile(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func timeless(t testing.TB, jsonLines string) string {
	t.Helper()
	var out bytes.Buffer
	dec := json.NewDecoder(bytes.NewReader([]byte(jsonLines)))
	for dec.More() {
		var line map[string]any
		if err := dec.Decode(&line); err != nil {
			t.Fatal(err)
		}
		maps.DeleteFunc(line, func(key string, _ any) bool {
			return key == "path" || slices.Contains(timeFields, key)
		})
		b, err := json.Marshal(line)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(append(b, '\n'))
	}
	return out.String()
}

func (o outcome) equal(t testing.TB, want outcome, what string) {
	t.Helper()
	for name := range want {
		if o[name] != want[name] {
			t.Errorf("%s: %s differs from that of the uninterrupted run (%d and %d bytes)", what, name, len(o[name]), len(want[name]))
		}
	}
}

// copyRun copies a run with only the named checkpoints (all, if none is named).
func copyRun(t testing.TB, from string, checkpoints ...string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "run")
	files := []string{runFile, metricsFile, latestFile}
	if hasTargets(from) {
		files = append(files, targetsFile)
	}
	for _, f := range files {
		copyFile(t, filepath.Join(from, f), filepath.Join(to, f))
	}
	if len(checkpoints) == 0 {
		var err error
		if checkpoints, err = checkpointNames(from); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range checkpoints {
		for _, f := range []string{weightsFile, assignmentFile, optimizerFile, stateFile} {
			copyFile(t, filepath.Join(from, checkpointsDir, c, f), filepath.Join(to, checkpointsDir, c, f))
		}
	}
	return to
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, []byte(readFile(t, from)), 0o644); err != nil {
		t.Fatal(err)
	}
}
