package dataset

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// photoFolder writes n photographs of different sizes and formats.
func photoFolder(t testing.TB, n int) string {
	dir := t.TempDir()
	for i := range n {
		m := photo(40+3*i, 90-2*i, 255)
		b, name := jpegBytes(t, m), fmt.Sprintf("c%d/%02d.jpg", i%2, i)
		if i%3 == 0 {
			b, name = pngBytes(t, m), fmt.Sprintf("c%d/%02d.png", i%2, i)
		}
		write(t, b, dir, name)
	}
	return dir
}

// What is cached, and by how many workers it was decoded, changes nothing.
func TestFolderBatchesDoNotDependOnTheCache(t *testing.T) {
	dir := photoFolder(t, 20)
	var want []float32
	for _, opt := range []Options{{Workers: 1}, {Workers: 3, CacheBytes: -1}, {Workers: 2, CacheBytes: 5 * 74 * 74 * 3}} {
		s := mustOpen(t, dir, opt)
		rows, _ := s.divide(0, "none")
		norm, err := FitNormalizer(context.Background(), s, rows)
		if err != nil {
			t.Fatal(err)
		}
		l, err := NewLoader(s, LoaderOptions{Batch: 10, Views: 2, Seed: 3, Workers: opt.Workers, Rows: rows, Norm: norm, Augment: DefaultAugment(s)})
		if err != nil {
			t.Fatal(err)
		}
		l.Start(context.Background(), 0, 1)
		b, err := l.Next()
		if err != nil {
			t.Fatal(err)
		}
		if want == nil {
			want = slices.Clone(b.X)
		}
		if !slices.Equal(b.X, want) {
			t.Errorf("workers %d, cache %d: another batch", opt.Workers, opt.CacheBytes)
		}
		if l.Waited() <= 0 {
			t.Error("the first batch came without waiting")
		}
		l.Close()
	}
}

// Plain shows the middle of a photograph: the stored image without its margin.
func TestPlainIsTheCentreOfPhotographs(t *testing.T) {
	s := mustOpen(t, photoFolder(t, 3), Options{Size: 32})
	norm := Normalizer{Mean: []float32{.5, .25, 0}, Std: []float32{2, 1, .5}}
	out := OutShape(s)
	x := make([]float32, 3*out.Size())
	if err := Plain(context.Background(), s, norm, out, []int{2, 1, 0}, x, 2); err != nil {
		t.Fatal(err)
	}
	stored := readRow(t, s, 1)
	for y := range 32 {
		for i := range 32 {
			for c := range 3 {
				got := x[out.Size()+(y*32+i)*3+c]
				want := (stored[((y+2)*36+i+2)*3+c] - norm.Mean[c]) / norm.Std[c]
				if d := got - want; d > 1e-6 || d < -1e-6 {
					t.Fatalf("pixel %d,%d channel %d is %v, want %v", i, y, c, got, want)
				}
			}
		}
	}
	if err := Plain(context.Background(), s, norm, Shape{64, 64, 3}, []int{0}, x, 1); err == nil {
		t.Error("an input larger than the stored image is accepted")
	}
}

// A model reads data of other shapes: everything becomes its input.
func TestInputOfAnotherModel(t *testing.T) {
	cifar := t.TempDir()
	write(t, cifarRecords(3, 1, 10, 1), cifar, "data_batch_1.bin")
	array := write(t, npyBytes(t, []int{2, 3, 70, 90}, noise(2*3*70*90, 4)), t.TempDir(), "a.npy")
	for name, path := range map[string]string{"idx": idxFolder(t, true), "cifar": cifar, "array": array, "folder": photoFolder(t, 3)} {
		for _, input := range []Shape{{28, 28, 1}, {32, 32, 3}, {8, 12, 3}} {
			s := mustOpen(t, path, Options{Input: input, Workers: 1})
			if OutShape(s) != input {
				t.Errorf("%s: network input %v, want %v", name, OutShape(s), input)
			}
			for i := range s.Len() {
				for _, v := range readRow(t, s, i) {
					if !(v >= -1e-6 && v <= 1+1e-6) {
						t.Fatalf("%s as %v: value %v", name, input, v)
					}
				}
			}
		}
	}
}

// Damage at random places: every file ends up either as a row that can be read
// or in the list of bad files, and nothing else happens.
func TestMutatedImages(t *testing.T) {
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(11, 12))
	formats := encoded(t, photo(23, 17, 255))
	formats["progressive"], formats["cmyk"] = tinyJPEG(t, 1, true), tinyJPEG(t, 4, false)
	names := make([]string, 0, len(formats))
	for name := range formats {
		names = append(names, name)
	}
	slices.Sort(names)
	const each = 40
	for _, name := range names {
		for i := range each {
			b := bytes.Clone(formats[name])
			switch i % 4 {
			case 0: // cut
				b = b[:r.IntN(len(b))]
			case 1: // a byte
				b[r.IntN(len(b))] ^= byte(1 + r.IntN(255))
			case 2: // a run of zeros
				at := r.IntN(len(b))
				clear(b[at:min(len(b), at+1+r.IntN(20))])
			case 3: // something doubled
				at := r.IntN(len(b))
				b = slices.Concat(b[:at], b[at/2:at], b[at:])
			}
			write(t, b, dir, fmt.Sprintf("%s-%02d.png", name, i))
		}
	}
	s := mustOpen(t, dir, Options{MaxBad: "100%", CacheBytes: -1})
	if got, want := s.Len()+len(s.Bad()), each*len(names); got != want {
		t.Errorf("%d rows and %d bad files, want %d together", s.Len(), len(s.Bad()), want)
	}
	for i := range s.Len() {
		readRow(t, s, i)
	}
	for _, b := range s.Bad() {
		if b.Reason == "" {
			t.Errorf("%s is bad for no reason", b.Path)
		}
	}
	if len(s.Bad()) < each*len(names)/4 {
		t.Errorf("only %d of %d damaged files are bad", len(s.Bad()), each*len(names))
	}
}

// The order in which files are created, and the order in which the scan meets
// them, leave no trace.
func TestFolderOrderOfCreation(t *testing.T) {
	names := []string{"b/1.png", "a/2.png", "a.png", "c/d/e.png", "a/1.png"}
	var prints, orders []string
	for k := range 3 {
		dir := t.TempDir()
		for i := range names {
			name := names[(i+k*2)%len(names)]
			write(t, solid(t, 6, 6, grey(uint8(len(name)))), dir, name)
		}
		s := mustOpen(t, dir, Options{})
		prints, orders = append(prints, s.Fingerprint()), append(orders, fmt.Sprint(ids(s)))
	}
	for k := range prints {
		if prints[k] != prints[0] || orders[k] != orders[0] {
			t.Errorf("%s %s, then %s %s", orders[0], prints[0], orders[k], prints[k])
		}
	}
}

// Progress ends at the total, never goes back, and is not too chatty.
func TestProgress(t *testing.T) {
	folder := photoFolder(t, 12)
	array := write(t, npyBytes(t, []int{5000, 2}, ramp(10000)), t.TempDir(), "a.npy")
	for path, total := range map[string]int{folder: 12, array: 5000, idxFolder(t, false): 7} {
		calls, last := 0, 0
		s := mustOpen(t, path, Options{Workers: 3, Progress: func(done, of int) {
			if done < last || done > of || of != total {
				t.Errorf("%s: %d of %d after %d, want %d in all", path, done, of, last, total)
			}
			calls, last = calls+1, done
		}})
		if last != total || calls > 1001 {
			t.Errorf("%s: ended at %d of %d after %d calls", path, last, total, calls)
		}
		if s.Path() != path || s.Split() != "train" {
			t.Errorf("path %s, split %s", s.Path(), s.Split())
		}
	}
}

// Files that cannot be opened are errors of the file system, with the name.
func TestUnreadableParts(t *testing.T) {
	dir := idxFolder(t, false)
	labels := filepath.Join(dir, "train-labels-idx1-ubyte")
	os.Remove(labels)
	if err := os.Symlink("nowhere", labels); err != nil {
		t.Skip(err)
	}
	if _, err := Open(context.Background(), dir, Options{}); err == nil || !contains(err.Error(), labels) {
		t.Errorf("error %v", err)
	}
	cifar := t.TempDir()
	write(t, cifarRecords(1, 1, 10, 1), cifar, "data_batch_1.bin")
	for _, name := range []string{"batches.meta.txt", "data_batch_2.bin"} {
		os.Symlink("nowhere", filepath.Join(cifar, name))
		if _, err := Open(context.Background(), cifar, Options{}); err == nil || !contains(err.Error(), name) {
			t.Errorf("%s: error %v", name, err)
		}
		os.Remove(filepath.Join(cifar, name))
	}
}
