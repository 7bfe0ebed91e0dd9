package dataset

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"nat/internal/tensorfile"

	"pgregory.net/rapid"
)

// ramp is 0, 1, 2, ... as float32.
func ramp(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(i)
	}
	return x
}

func npzBytes(t testing.TB, method uint16, arrays map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, data := range arrays {
		w, err := z.CreateHeader(&zip.FileHeader{Name: name + ".npy", Method: method})
		if err != nil {
			t.Fatal(err)
		}
		w.Write(data)
	}
	z.Close()
	return b.Bytes()
}

func TestVectors(t *testing.T) {
	dir := t.TempDir()
	path := write(t, npyBytes(t, []int{6, 4}, ramp(24)), dir, "v.npy")
	for _, cache := range []int64{0, -1} { // kept in memory, and read on demand
		s := mustOpen(t, path, Options{CacheBytes: cache})
		if s.Kind() != NPY || !s.Vector() || s.Len() != 6 || s.Shape() != (Shape{1, 1, 4}) || OutShape(s) != s.Shape() || s.Labelled() {
			t.Fatalf("%s, vector %v, shape %v", s.Kind(), s.Vector(), s.Shape())
		}
		if got := readRow(t, s, 2); !slices.Equal(got, []float32{8, 9, 10, 11}) {
			t.Errorf("row 2 is %v: vectors stay raw", got)
		}
		if s.ID(5) != "5" || s.Range() != ([2]float64{}) {
			t.Errorf("id %q, range %v", s.ID(5), s.Range())
		}
	}
	mustReject(t, path, Options{Split: "test"}, "no test split")
	mustReject(t, path, Options{Input: Shape{1, 1, 5}}, "vectors of 5 numbers, these have 4")
	if s := mustOpen(t, path, Options{Limit: 4}); s.Len() != 4 {
		t.Errorf("limit 4 leaves %d rows", s.Len())
	} else {
		for i := range 4 {
			if want := fmt.Sprint(readRow(t, s, i)[0] / 4); s.ID(i) != want {
				t.Errorf("row %d is called %s but is row %s of the file", i, s.ID(i), want)
			}
		}
	}
}

func TestArrayImages(t *testing.T) {
	dir := t.TempDir()
	grey := write(t, npyBytes(t, []int{3, 2, 2}, ramp(12)), dir, "grey.npy")
	s := mustOpen(t, grey, Options{})
	if s.Vector() || s.Shape() != (Shape{2, 2, 1}) || s.Range() != ([2]float64{0, 11}) {
		t.Errorf("shape %v, range %v", s.Shape(), s.Range())
	}
	if x := readRow(t, s, 2); x[3] != 1 || math.Abs(float64(x[0])-8./11) > 1e-6 {
		t.Errorf("row 2 is %v", x)
	}
	s = mustOpen(t, grey, Options{Range: [2]float64{0, 5}}) // another model's range: clipped
	if x := readRow(t, s, 1); math.Abs(float64(x[0])-.8) > 1e-6 || x[3] != 1 {
		t.Errorf("with a given range row 1 is %v", x)
	}
	data := ramp(2 * 2 * 2 * 3)
	last := mustOpen(t, write(t, npyBytes(t, []int{2, 2, 2, 3}, data), dir, "nhwc.npy"), Options{})
	planes := make([]float32, len(data))
	for n := range 2 {
		for c := range 3 {
			for p := range 4 {
				planes[n*12+c*4+p] = data[n*12+p*3+c]
			}
		}
	}
	first := mustOpen(t, write(t, npyBytes(t, []int{2, 3, 2, 2}, planes), dir, "nchw.npy"), Options{})
	for i := range 2 {
		if a, b := readRow(t, last, i), readRow(t, first, i); !slices.Equal(a, b) || last.Shape() != first.Shape() {
			t.Errorf("channels last %v and first %v differ", a, b)
		}
	}
	opaque := []float32{1, 0, 0, 1, 1, 0, 0, 0} // red, and nothing: white
	rgba := mustOpen(t, write(t, npyBytes(t, []int{1, 1, 2, 4}, opaque), dir, "rgba.npy"), Options{})
	if x := readRow(t, rgba, 0); !slices.Equal(x, []float32{1, 0, 0, 1, 1, 1}) {
		t.Errorf("RGBA is %v", x)
	}
	large := mustOpen(t, write(t, npyBytes(t, []int{1, 100, 80}, noise(8000, 1)), dir, "large.npy"), Options{})
	if large.Shape() != (Shape{74, 74, 1}) || OutShape(large) != (Shape{64, 64, 1}) {
		t.Errorf("a large image is kept at %v", large.Shape())
	}
	constant := mustOpen(t, write(t, npyBytes(t, []int{2, 2, 2}, make([]float32, 8)), dir, "zero.npy"), Options{})
	if x := readRow(t, constant, 0); !slices.Equal(x, make([]float32, 4)) {
		t.Errorf("a constant array is %v", x)
	}
}

func TestArraysThatAreRefused(t *testing.T) {
	dir := t.TempDir()
	nan, inf := ramp(40), ramp(40)
	nan[29], nan[35] = float32(math.NaN()), float32(math.NaN())
	inf[39] = float32(math.Inf(-1))
	for _, c := range []struct {
		name  string
		data  []byte
		words []string
	}{
		{"nan.npy", npyBytes(t, []int{10, 4}, nan), []string{"nan.npy: row 7", "2 of 10 rows"}},
		{"inf.npy", npyBytes(t, []int{10, 4}, inf), []string{"inf.npy: row 9", "1 of 10 rows"}},
		{"empty.npy", npyBytes(t, []int{0, 4}, []float32{}), []string{"no rows"}},
		{"flat.npy", npyBytes(t, []int{10}, ramp(10)), []string{"[10]", "N x d"}},
		{"deep.npy", npyBytes(t, []int{1, 2, 1, 2, 2}, ramp(8)), []string{"N x d"}},
		{"channels.npy", npyBytes(t, []int{1, 2, 2, 2}, ramp(8)), []string{"C 1, 3 or 4"}},
		{"text.npy", []byte("not an array"), []string{"text.npy"}},
		{"text.npz", []byte("not an archive"), []string{"text.npz"}},
	} {
		mustReject(t, write(t, c.data, dir, c.name), Options{}, c.words...)
	}
	whole := npyBytes(t, []int{5, 2}, ramp(10))
	for n := 1; n < len(whole); n++ {
		path := write(t, whole[:n], dir, "cut.npy")
		mustReject(t, path, Options{}, "cut.npy")
	}
	mustReject(t, write(t, whole[:len(whole)-3], dir, "cut.npy"), Options{}, fmt.Sprint(len(whole)), fmt.Sprint(len(whole)-3))
	mustReject(t, dir, Options{}, ".npy", "give an array file itself")
}

func TestNPZ(t *testing.T) {
	dir := t.TempDir()
	x, y := npyBytes(t, []int{4, 2}, ramp(8)), npyBytes(t, []int{4}, []int64{2, 0, -1, 1})
	for _, method := range []uint16{zip.Store, zip.Deflate} {
		for _, names := range [][2]string{{"x", "y"}, {"images", "labels"}, {"arr_0", "y"}} {
			s := mustOpen(t, write(t, npzBytes(t, method, map[string][]byte{names[0]: x, names[1]: y}), dir, "a.npz"), Options{})
			if s.Kind() != NPZ || s.Len() != 4 || s.Label(0) != 2 || s.Label(2) != -1 || len(s.Classes()) != 3 || !s.Vector() {
				t.Errorf("%v: %d rows, labels %d.., classes %v", names, s.Len(), s.Label(0), s.Classes())
			}
		}
	}
	s := mustOpen(t, write(t, npzBytes(t, zip.Store, map[string][]byte{"only": x}), dir, "a.npz"), Options{})
	if s.Labelled() || s.Len() != 4 {
		t.Errorf("only array: %d rows", s.Len())
	}
	split := npzBytes(t, zip.Deflate, map[string][]byte{"x_train": x, "y_train": y, "x_test": npyBytes(t, []int{3, 2}, ramp(6)), "y_test": npyBytes(t, []int{3}, []int64{0, 1, 2})})
	path := write(t, split, dir, "s.npz")
	all, test := mustOpen(t, path, Options{Split: "all"}), mustOpen(t, path, Options{Split: "test"})
	if all.Len() != 7 || all.ID(5) != "test/1" || all.Label(5) != 1 || !all.HasTest() || test.ID(0) != "test/0" || test.Len() != 3 {
		t.Errorf("%d rows, row 5 is %s", all.Len(), all.ID(5))
	}
	mustReject(t, write(t, npzBytes(t, zip.Store, map[string][]byte{"p": x, "q": x}), dir, "b.npz"), Options{}, "p", "q", "np.savez")
	mustReject(t, write(t, npzBytes(t, zip.Store, map[string][]byte{"x": x, "y": npyBytes(t, []int{3}, []int64{1, 2, 3})}), dir, "b.npz"), Options{}, "4 rows", "have 3")
	mustReject(t, write(t, npzBytes(t, zip.Store, map[string][]byte{"x": x, "y": npyBytes(t, []int{4}, []int64{1, 2, 3, 1 << 40})}), dir, "b.npz"), Options{}, "row 3")
}

// Whatever the number of workers and the cache, the same rows, range, hash.
func TestArrayScanProperty(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		n, d := rapid.IntRange(1, 50).Draw(t, "n"), rapid.IntRange(1, 9).Draw(t, "d")
		x := rapid.SliceOfN(rapid.Float32Range(-1e6, 1e6), n*d, n*d).Draw(t, "x")
		path := filepath.Join(dir, "p.npy")
		var b bytes.Buffer
		if err := tensorfile.WriteNPY(&b, []int{n, d}, x); err != nil {
			t.Fatal(err)
		}
		os.WriteFile(path, b.Bytes(), 0o644)
		var hash string
		for _, opt := range []Options{{Workers: 1}, {Workers: 3, CacheBytes: -1}} {
			s, err := Open(context.Background(), path, opt)
			if err != nil {
				t.Fatal(err)
			}
			row := make([]float32, d)
			for i := range n {
				if err := s.Read(i, row); err != nil || !slices.Equal(row, x[i*d:(i+1)*d]) {
					t.Fatalf("row %d: %v, %v", i, row, err)
				}
			}
			if hash == "" {
				hash = s.Fingerprint()
			}
			if s.Fingerprint() != hash {
				t.Fatal("fingerprints differ")
			}
			s.Close()
		}
	})
}

func TestDigits(t *testing.T) {
	train, test, all := Digits("train"), Digits("test"), Digits("all")
	if train.Len() != 3823 || test.Len() != 1797 || all.Len() != 5620 {
		t.Fatalf("%d, %d, %d rows", train.Len(), test.Len(), all.Len())
	}
	if train.Kind() != Embedded || train.Shape() != (Shape{8, 8, 1}) || !train.HasTest() || !train.Labelled() || len(train.Classes()) != 10 {
		t.Errorf("%s %v, classes %v", train.Kind(), train.Shape(), train.Classes())
	}
	if !slices.Equal(readRow(t, all, 3823+5), readRow(t, test, 5)) || all.ID(3823+5) != "test/5" || all.Label(3828) != test.Label(5) {
		t.Error("the splits do not follow one another in all")
	}
	top := float32(0)
	for i := range 100 {
		for _, v := range readRow(t, train, i) {
			top = max(top, v)
			if v < 0 || v > 1 || v*16 != float32(int(v*16)) {
				t.Fatalf("value %v is not a sixteenth", v)
			}
		}
	}
	if top != 1 {
		t.Errorf("largest value %v", top)
	}
}
