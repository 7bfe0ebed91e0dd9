package nat

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// inode is a file or directory of a file system that may lose its power: what
// was not synced is only there as long as it has power.
type inode struct {
	data, synced     []byte
	entries, durable map[string]*inode // of a directory
}

func newDir() *inode { return &inode{entries: map[string]*inode{}, durable: map[string]*inode{}} }

// recorder passes operations on to the disk and records each as a change of an
// inode tree, to be replayed up to any point.
type recorder struct {
	unsynced
	base string // everything happens below it
	log  []func(root *inode)
	open int // files opened so far
}

func (r *recorder) record(change func(root *inode)) { r.log = append(r.log, change) }

// split returns the names on the way from the base to path.
func (r *recorder) split(path string) []string {
	rel, err := filepath.Rel(r.base, path)
	if err != nil || strings.HasPrefix(rel, "..") {
		panic(path + " is not below " + r.base)
	}
	return strings.Split(rel, string(filepath.Separator))
}

// parent finds the directory that holds path and the name there.
func (r *recorder) parent(root *inode, path string) (*inode, string) {
	names := r.split(path)
	for _, name := range names[:len(names)-1] {
		if root.entries[name] == nil {
			root.entries[name] = newDir()
		}
		root = root.entries[name]
	}
	return root, names[len(names)-1]
}

func (r *recorder) Mkdir(dir string) error {
	r.record(func(root *inode) {
		if d, name := r.parent(root, dir); d.entries[name] == nil {
			d.entries[name] = newDir()
		}
	})
	return r.unsynced.Mkdir(dir)
}

type recordedFile struct {
	file
	r    *recorder
	node *inode // set anew by every replay
}

func (r *recorder) Create(path string) (file, error) {
	f, err := r.unsynced.Create(path)
	return r.opened(path, 0, f), err
}

func (r *recorder) Append(path string, size int64) (file, error) {
	f, err := r.unsynced.Append(path, size)
	return r.opened(path, size, f), err
}

func (r *recorder) opened(path string, size int64, f file) file {
	rf := &recordedFile{file: f, r: r}
	r.record(func(root *inode) {
		d, name := r.parent(root, path)
		if d.entries[name] == nil || size == 0 {
			d.entries[name] = &inode{}
		}
		rf.node = d.entries[name]
		rf.node.data = rf.node.data[:size]
	})
	return rf
}

func (f *recordedFile) Write(p []byte) (int, error) {
	written := slices.Clone(p)
	f.r.record(func(*inode) { f.node.data = append(f.node.data, written...) })
	return f.file.Write(p)
}

func (f *recordedFile) Sync() error {
	f.r.record(func(*inode) { f.node.synced = slices.Clone(f.node.data) })
	return nil
}

func (r *recorder) Rename(from, to string) error {
	r.record(func(root *inode) {
		d, name := r.parent(root, from)
		moved := d.entries[name]
		delete(d.entries, name)
		d, name = r.parent(root, to)
		d.entries[name] = moved
	})
	return r.unsynced.Rename(from, to)
}

func (r *recorder) RemoveAll(path string) error {
	r.record(func(root *inode) {
		d, name := r.parent(root, path)
		delete(d.entries, name)
	})
	return r.unsynced.RemoveAll(path)
}

func (r *recorder) SyncDir(dir string) error {
	r.record(func(root *inode) {
		d, name := r.parent(root, dir)
		d = d.entries[name]
		d.durable = maps.Clone(d.entries)
	})
	return nil
}

// afterPowerLoss writes below dir what is left of a node: synced content only,
// and of the directory operations that were not synced either none or all.
func (n *inode) afterPowerLoss(dir string, keepNames bool) error {
	entries := n.durable
	if keepNames {
		entries = n.entries
	}
	for name, child := range entries {
		path := filepath.Join(dir, name)
		var err error
		if child.entries == nil {
			err = os.WriteFile(path, child.synced, 0o644)
		} else if err = os.Mkdir(path, 0o755); err == nil {
			err = child.afterPowerLoss(path, keepNames)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Whenever the power fails, the newest checkpoint that was reported, or a later
// one, is on disk and whole, although all that was not synced is lost.
func TestPowerLoss(t *testing.T) {
	t.Parallel()
	images, _ := writeImages(t, 45, 4)
	base := t.TempDir()
	opt := small(images, filepath.Join(base, "run"))
	opt.Batch, opt.Epochs, opt.Keep, opt.CheckpointEvery = 8, 1, 2, "2steps"
	r := &recorder{base: base}
	reported := map[int]int{} // operations done -> step of the newest checkpoint reported
	_, err := trainOn(context.Background(), r, opt, func(e Event) {
		if e.Kind == EventCheckpoint {
			reported[len(r.log)] = e.Step
		}
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	step, losses := -1, 0
	for ops := range len(r.log) + 1 {
		if s, ok := reported[ops]; ok {
			step = s
		}
		for _, keepNames := range []bool{false, true} {
			root := newDir()
			root.entries["run"] = newDir()
			root.durable["run"] = root.entries["run"] // training synced it before anything else
			for _, change := range r.log[:ops] {
				change(root)
			}
			left := t.TempDir()
			if err := root.afterPowerLoss(left, keepNames); err != nil {
				t.Fatal(err)
			}
			checkAfterLoss(t, filepath.Join(left, "run"), step, fmt.Sprintf("power lost after operation %d, names kept %v", ops, keepNames))
			losses++
		}
	}
	if losses < 200 || step != 5 {
		t.Errorf("%d losses, last checkpoint reported at step %d", losses, step)
	}
}

func checkAfterLoss(t *testing.T, run string, reported int, what string) {
	t.Helper()
	snap, name, warnings, err := loadNewest(run)
	if err != nil || len(warnings) > 0 || reported >= 0 && (name == "" || snap.state.Step < reported) {
		t.Fatalf("%s: step %d was saved, found %q, warnings %q, error %v", what, reported, name, warnings, err)
	}
	if name == "" {
		return
	}
	metrics, err := os.ReadFile(filepath.Join(run, metricsFile))
	if err != nil || int64(len(metrics)) < snap.state.MetricsOffset {
		t.Fatalf("%s: metrics of %d bytes, the checkpoint counts on %d: %v", what, len(metrics), snap.state.MetricsOffset, err)
	}
	if _, err := OpenRun(run); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}
