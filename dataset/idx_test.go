package dataset

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// idxBytes makes an IDX file of bytes.
func idxBytes(data []byte, dims ...int) []byte {
	b := []byte{0, 0, 8, byte(len(dims))}
	for _, d := range dims {
		b = binary.BigEndian.AppendUint32(b, uint32(d))
	}
	return append(b, data...)
}

// idxFolder writes a set of 7 training and 3 test images of 4x5.
func idxFolder(t testing.TB, gz bool) string {
	dir := t.TempDir()
	put := func(name string, b []byte) {
		if gz {
			name, b = name+".gz", gzipped(b)
		}
		write(t, b, dir, name)
	}
	put("train-images-idx3-ubyte", idxBytes(noise(7*20, 1), 7, 4, 5))
	put("train-labels-idx1-ubyte", idxBytes([]byte{0, 1, 2, 3, 4, 5, 9}, 7))
	put("t10k-images-idx3-ubyte", idxBytes(noise(3*20, 2), 3, 4, 5))
	put("t10k-labels-idx1-ubyte", idxBytes([]byte{7, 8, 0}, 3))
	return dir
}

func TestIDXFolder(t *testing.T) {
	var prints []string
	for _, gz := range []bool{false, true} {
		dir := idxFolder(t, gz)
		train, test, all := mustOpen(t, dir, Options{}), mustOpen(t, dir, Options{Split: "test"}), mustOpen(t, dir, Options{Split: "all"})
		if train.Len() != 7 || test.Len() != 3 || all.Len() != 10 {
			t.Fatalf("%d, %d, %d rows, want 7, 3, 10", train.Len(), test.Len(), all.Len())
		}
		if train.Kind() != IDX || !train.HasTest() || train.Shape() != (Shape{4, 5, 1}) || OutShape(train) != train.Shape() {
			t.Errorf("kind %s, has test %v, shape %v", train.Kind(), train.HasTest(), train.Shape())
		}
		if id := all.ID(8); id != "test/1" || all.Label(8) != 8 || train.ID(6) != "train/6" || train.Label(6) != 9 {
			t.Errorf("row 8 of all is %q with label %d", id, all.Label(8))
		}
		for i := range 10 {
			want := noise(7*20, 1)
			k := i
			if i >= 7 {
				want, k = noise(3*20, 2), i-7
			}
			for j, v := range readRow(t, all, i) {
				if v != float32(want[k*20+j])/255 {
					t.Fatalf("row %d, value %d is %v, want %d/255", i, j, v, want[k*20+j])
				}
			}
		}
		if !all.Labelled() || len(all.Classes()) != 10 {
			t.Errorf("classes %v", all.Classes())
		}
		prints = append(prints, train.Fingerprint(), all.Fingerprint())
	}
	if prints[0] != prints[2] || prints[1] != prints[3] || prints[0] == prints[1] {
		t.Errorf("fingerprints of plain and compressed files: %v", prints)
	}
}

// Where torchvision puts the files.
func TestIDXNested(t *testing.T) {
	flat := idxFolder(t, true)
	for _, below := range []string{"raw", "Fashion [x]/raw"} {
		dir := t.TempDir()
		for _, name := range []string{"train-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte.gz"} {
			b, err := os.ReadFile(filepath.Join(flat, name))
			if err != nil {
				t.Fatal(err)
			}
			write(t, b, dir, below, name)
		}
		if s := mustOpen(t, dir, Options{}); s.Len() != 7 || !s.HasTest() || s.Labelled() {
			t.Errorf("%s: %d rows, has test %v, labelled %v", below, s.Len(), s.HasTest(), s.Labelled())
		}
	}
}

func TestIDXSingleFile(t *testing.T) {
	dir := idxFolder(t, true)
	s := mustOpen(t, filepath.Join(dir, "train-images-idx3-ubyte.gz"), Options{})
	if s.Len() != 7 || s.ID(3) != "3" || s.Label(6) != 9 {
		t.Errorf("%d rows, row 3 is %q, label of 6 is %d", s.Len(), s.ID(3), s.Label(6))
	}
	other := write(t, idxBytes(noise(2*3*3*3, 3), 2, 3, 3, 3), dir, "pictures")
	s = mustOpen(t, other, Options{Split: "all"})
	if s.Shape() != (Shape{3, 3, 3}) || s.Label(0) != -1 || s.Labelled() || s.HasTest() {
		t.Errorf("shape %v, label %d", s.Shape(), s.Label(0))
	}
	mustReject(t, filepath.Join(dir, "train-labels-idx1-ubyte.gz"), Options{}, "labels, not images")
	mustReject(t, other, Options{Split: "test"}, "without splits")
}

// Every length but the right one must be refused, naming what was expected.
func TestIDXEveryLength(t *testing.T) {
	dir := t.TempDir()
	whole := idxBytes(noise(3*4, 1), 3, 2, 2)
	packed := gzipped(whole)
	path := filepath.Join(dir, "train-images-idx3-ubyte")
	for n := range len(whole) {
		write(t, whole[:n], path)
		if n == 0 {
			mustReject(t, path, Options{}, "empty")
		} else if n >= 16 {
			mustReject(t, path, Options{}, path, "truncated", "28", "3 rows of 2x2")
		} else {
			mustReject(t, path, Options{})
		}
		mustReject(t, dir, Options{}, path)
	}
	write(t, append(slices.Clone(whole), 0), path)
	mustReject(t, path, Options{}, "too long", "29")
	os.Remove(path)
	path += ".gz"
	for n := range len(packed) {
		write(t, packed[:n], path)
		mustReject(t, dir, Options{}, path)
	}
	write(t, gzipped(whole[:20]), path)
	mustReject(t, dir, Options{}, "truncated", "28", "20")
	write(t, gzipped(append(slices.Clone(whole), 1, 2)), path)
	mustReject(t, dir, Options{}, "too long")
}

func TestIDXInconsistent(t *testing.T) {
	for _, c := range []struct {
		name, file string
		data       []byte
		words      []string
	}{
		{"labels of another set", "train-labels-idx1-ubyte", idxBytes(make([]byte, 6), 6), []string{"6 rows", "7 images"}},
		{"labels with two dimensions", "train-labels-idx1-ubyte", idxBytes(make([]byte, 7), 7, 1), []string{"7 images"}},
		{"floats", "train-images-idx3-ubyte", append([]byte{0, 0, 13, 1}, make([]byte, 8)...), []string{"0x0d", ".npy"}},
		{"no rows", "train-images-idx3-ubyte", idxBytes(nil, 0, 4, 5), []string{"no rows"}},
		{"no pixels", "train-images-idx3-ubyte", idxBytes(nil, 7, 0, 5), []string{"sides from 1"}},
		{"overflow", "train-images-idx3-ubyte", idxBytes(nil, 1<<30, 1<<30, 1<<30), []string{"impossible"}},
		{"other sizes in test", "t10k-images-idx3-ubyte", idxBytes(make([]byte, 60), 3, 5, 4), []string{"5x4x1", "4x5x1"}},
		{"not IDX", "train-images-idx3-ubyte", []byte("hello, world, this is text"), []string{"68 65 6c 6c"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := idxFolder(t, false)
			write(t, c.data, dir, c.file)
			mustReject(t, dir, Options{Split: "all"}, append(c.words, c.file)...)
		})
	}
	dir := idxFolder(t, false)
	write(t, idxBytes(make([]byte, 20), 1, 4, 5), dir, "emnist-letters-train-images-idx3-ubyte")
	mustReject(t, dir, Options{}, "several IDX sets")
	dir = idxFolder(t, false)
	os.Remove(filepath.Join(dir, "t10k-images-idx3-ubyte"))
	mustReject(t, dir, Options{Split: "test"}, "labels but no images")
	os.Remove(filepath.Join(dir, "t10k-labels-idx1-ubyte"))
	mustReject(t, dir, Options{Split: "test"}, "no test split")
}

// A disk that fails after the files were opened is an error of its own kind, not
// bad data.
func TestReadErrorsNameTheRow(t *testing.T) {
	s := mustOpen(t, idxFolder(t, false), Options{})
	src := s.src.(*rasterSource)
	src.parts[0].data.ReaderAt = failingReader{}
	err := s.Read(3, make([]float32, 20))
	if err == nil || !contains(err.Error(), "train-images-idx3-ubyte: row 3: disk is gone") {
		t.Errorf("error %v", err)
	}
	if _, err := src.fingerprint(context.Background(), nil, &Options{}); err == nil {
		t.Error("the fingerprint of a failing disk has no error")
	}
}
