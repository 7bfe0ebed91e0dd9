package dataset

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// solid is a PNG of one grey or coloured value.
func solid(t testing.TB, w, h int, c color.NRGBA) []byte {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := range w * h {
		m.SetNRGBA(i%w, i/w, c)
	}
	return pngBytes(t, m)
}

func grey(v uint8) color.NRGBA { return color.NRGBA{v, v, v, 255} }

var red = color.NRGBA{255, 0, 0, 255}

func ids(s *Set) []string {
	out := make([]string, s.Len())
	for i := range out {
		out[i] = s.ID(i)
	}
	return out
}

func TestFolderOrderAndLabels(t *testing.T) {
	dir := t.TempDir()
	for i, name := range []string{"b/2.png", "b/10.PNG", "a/x/deep.png", "a.png", "a-b/1.png", ".hidden/1.png", "b/.hidden.png", "b/notes.txt", "README"} {
		write(t, solid(t, 6, 4, grey(uint8(10*i))), dir, name)
	}
	s := mustOpen(t, dir, Options{})
	if got, want := ids(s), []string{"a-b/1.png", "a.png", "a/x/deep.png", "b/10.PNG", "b/2.png"}; !slices.Equal(got, want) {
		t.Fatalf("order %q, want %q", got, want)
	}
	if !slices.Equal(s.Classes(), []string{"a", "a-b", "b"}) || !s.Labelled() {
		t.Errorf("classes %q", s.Classes())
	}
	for i, want := range []int{1, -1, 0, 2, 2} {
		if s.Label(i) != want {
			t.Errorf("%s has label %d, want %d", s.ID(i), s.Label(i), want)
		}
	}
	if s.Kind() != Folder || s.Shape() != (Shape{4, 6, 1}) || OutShape(s) != s.Shape() || s.Ignored() != 2 || s.HasTest() {
		t.Errorf("%s, shape %v, out %v, %d ignored", s.Kind(), s.Shape(), OutShape(s), s.Ignored())
	}
	if x := readRow(t, s, 4); x[0] != 0 || x[23] != 0 {
		t.Errorf("b/2.png is %v", x[0])
	}
	mustReject(t, dir, Options{Split: "test"}, "no test split")
}

func TestFolderWithoutClasses(t *testing.T) {
	dir := t.TempDir()
	write(t, solid(t, 3, 3, grey(1)), dir, "all", "1.png")
	write(t, solid(t, 3, 3, grey(1)), dir, "all", "2.png")
	if s := mustOpen(t, dir, Options{}); s.Labelled() || s.Label(0) != -1 || len(s.Classes()) != 0 {
		t.Errorf("one folder for all gives classes %q", s.Classes())
	}
}

func TestFolderSplits(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"train/cat/1.png", "train/dog/1.png", "test/dog/2.png", "test/eel/3.png", "val/cat/9.png", "elsewhere/cat/1.png"} {
		write(t, solid(t, 5, 5, red), dir, name)
	}
	for split, want := range map[string][]string{
		"train": {"train/cat/1.png", "train/dog/1.png"},
		"test":  {"test/dog/2.png", "test/eel/3.png"},
		"all":   {"test/dog/2.png", "test/eel/3.png", "train/cat/1.png", "train/dog/1.png", "val/cat/9.png"},
	} {
		s := mustOpen(t, dir, Options{Split: split})
		if !slices.Equal(ids(s), want) || !s.HasTest() || !slices.Equal(s.Classes(), []string{"cat", "dog", "eel"}) {
			t.Errorf("%s: %q, classes %q", split, ids(s), s.Classes())
		}
		for i := range s.Len() {
			if name := s.Classes()[s.Label(i)]; !strings.Contains(s.ID(i), "/"+name+"/") {
				t.Errorf("%s: %s is labelled %s", split, s.ID(i), name)
			}
		}
	}
	os.RemoveAll(filepath.Join(dir, "test"))
	if s := mustOpen(t, dir, Options{Split: "test"}); !slices.Equal(ids(s), []string{"val/cat/9.png"}) {
		t.Errorf("without test: %q", ids(s))
	}
}

func TestFolderOfPhotographs(t *testing.T) {
	dir := t.TempDir()
	write(t, jpegBytes(t, photo(300, 200, 255)), dir, "landscape.jpg")
	write(t, jpegBytes(t, photo(100, 160, 255)), dir, "portrait.jpeg")
	s := mustOpen(t, dir, Options{})
	if s.Shape() != (Shape{74, 74, 3}) || OutShape(s) != (Shape{64, 64, 3}) {
		t.Errorf("shape %v, out %v", s.Shape(), OutShape(s))
	}
	s = mustOpen(t, dir, Options{Size: 32})
	if s.Shape() != (Shape{36, 36, 3}) || OutShape(s) != (Shape{32, 32, 3}) {
		t.Errorf("size 32: shape %v, out %v", s.Shape(), OutShape(s))
	}
	x := readRow(t, s, 0) // the middle 200 of 300 columns: red goes from 40+170/6 to 40+170*5/6
	if l, r := 255*x[3*36*18], 255*x[3*(36*18+35)]; l < 64 || l > 76 || r < 174 || r > 186 {
		t.Errorf("left and right red are %v and %v", l, r)
	}
	s = mustOpen(t, dir, Options{Input: Shape{16, 24, 1}, Stored: Shape{20, 30, 1}})
	if s.Shape() != (Shape{20, 30, 1}) || OutShape(s) != (Shape{16, 24, 1}) {
		t.Errorf("given shapes: %v, %v", s.Shape(), OutShape(s))
	}
}

// The sample of headers may miss the one image of another size.
func TestFolderOddOneOut(t *testing.T) {
	dir := t.TempDir()
	for i := range 300 {
		w := 8
		if i == 7 {
			w = 9
		}
		write(t, solid(t, w, 8, grey(uint8(i))), dir, fmt.Sprintf("%03d.png", i))
	}
	s := mustOpen(t, dir, Options{})
	if s.Len() != 300 || len(s.Bad()) != 0 || OutShape(s) != (Shape{32, 32, 1}) {
		t.Errorf("%d rows, out %v", s.Len(), OutShape(s))
	}
}

func TestFolderBadFiles(t *testing.T) {
	dir := t.TempDir()
	whole := jpegBytes(t, photo(30, 30, 255))
	for i := range 30 {
		write(t, whole, dir, "a", fmt.Sprintf("%02d.jpg", i))
	}
	write(t, solid(t, 30, 30, red), dir, "b", "really-a-png.jpg")
	bad := map[string]string{
		"a/cut.jpg": "damaged JPEG", "b/empty.png": "empty file", "b/text.gif": "not an image", "c/bomb.png": "400 megapixels",
	}
	write(t, whole[:len(whole)*2/3], dir, "a", "cut.jpg")
	write(t, nil, dir, "b", "empty.png")
	write(t, []byte("GIF is what this is not"), dir, "b", "text.gif")
	write(t, bombPNG(20000, 20000), dir, "c", "bomb.png")
	mustReject(t, dir, Options{}, "4 of 35 image files cannot be used", "3 allowed (10%)", "a/cut.jpg: damaged JPEG", "--max-bad")
	mustReject(t, dir, Options{MaxBad: "3"}, "3 allowed (3)")
	var hash string
	for _, workers := range []int{1, 2, 5} {
		s := mustOpen(t, dir, Options{MaxBad: "4", Workers: workers})
		if s.Len() != 31 || len(s.Bad()) != 4 || !slices.IsSortedFunc(s.Bad(), func(a, b BadFile) int { return strings.Compare(a.Path, b.Path) }) {
			t.Fatalf("%d rows, bad %v", s.Len(), s.Bad())
		}
		for _, b := range s.Bad() {
			if !strings.Contains(b.Reason, bad[b.Path]) || bad[b.Path] == "" {
				t.Errorf("%s: reason %q, want %q", b.Path, b.Reason, bad[b.Path])
			}
		}
		if i := s.Len() - 1; s.ID(i) != "b/really-a-png.jpg" || s.Classes()[s.Label(i)] != "b" {
			t.Errorf("last row %s", s.ID(i))
		} else if x := readRow(t, s, i); x[0] != 1 || x[1] != 0 {
			t.Errorf("the last row's pixels are %v", x[:3])
		}
		if hash == "" {
			hash = s.Fingerprint()
		}
		if s.Fingerprint() != hash {
			t.Error("the fingerprint depends on the number of workers")
		}
	}
	write(t, jpegBytes(t, photo(30, 30, 254)), dir, "a", "05.jpg")
	if s := mustOpen(t, dir, Options{MaxBad: "20%"}); s.Fingerprint() == hash {
		t.Error("the fingerprint does not notice another image")
	}
}

func TestFolderWithoutImages(t *testing.T) {
	dir := t.TempDir()
	mustReject(t, dir, Options{}, "0 images")
	write(t, []byte("x"), dir, "vectors.npy")
	write(t, []byte("x"), dir, "readme.txt")
	mustReject(t, dir, Options{}, "1 .npy", "give an array file itself")
	os.Remove(filepath.Join(dir, "vectors.npy"))
	mustReject(t, dir, Options{}, "1 .txt", "PNG, JPEG")
	write(t, []byte("x"), dir, "one.png")
	mustReject(t, dir, Options{MaxBad: "100%"}, "none of the 1 image files can be used", "one.png: not an image")
}

func TestPathsThatAreNoData(t *testing.T) {
	_, err := Open(context.Background(), "no/such/folder", Options{})
	if abs, _ := filepath.Abs("no/such/folder"); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrRejected) || !strings.Contains(err.Error(), abs) {
		t.Errorf("error %v", err)
	}
	dir := t.TempDir()
	mustReject(t, write(t, pngBytes(t, photo(4, 4, 255)), dir, "one.png"), Options{}, "single PNG image", "folder")
	mustReject(t, write(t, nil, dir, "empty"), Options{}, "empty")
	mustReject(t, write(t, []byte("hello"), dir, "text"), Options{}, "not a format")
	mustReject(t, write(t, gzipped([]byte("hello")), dir, "text.gz"), Options{}, "gzip file")
	_, err = Open(context.Background(), dir, Options{Split: "dev", Size: -1, Limit: -1, MaxBad: "many", Input: Shape{0, 1, 1}, Stored: Shape{1, 1, 2}})
	for _, word := range []string{"split", "size", "limit", "max bad", "input", "stored"} {
		if !errors.Is(err, ErrOption) || !strings.Contains(err.Error(), word) {
			t.Errorf("error does not report %s: %v", word, err)
		}
	}
}

func TestFileDeletedMidRun(t *testing.T) {
	dir := t.TempDir()
	for i := range 40 {
		write(t, solid(t, 8, 8, grey(uint8(i))), dir, fmt.Sprintf("%02d.png", i))
	}
	s := mustOpen(t, dir, Options{CacheBytes: -1})
	write(t, []byte("no more"), dir, "20.png")
	os.Remove(filepath.Join(dir, "30.png"))
	write(t, solid(t, 9, 8, red), dir, "31.png")
	for i, want := range map[int]string{20: "not an image", 30: "no such file", 31: "another size"} {
		err := s.Read(i, make([]float32, 64))
		if err == nil || !strings.Contains(err.Error(), s.ID(i)) || runtime.GOOS == "linux" && !strings.Contains(err.Error(), want) {
			t.Errorf("row %d: error %v, want %q", i, err, want)
		}
	}
	norm := Normalizer{Mean: []float32{0}, Std: []float32{1}}
	rows := make([]int, s.Len())
	for i := range rows {
		rows[i] = i
	}
	l, err := NewLoader(s, LoaderOptions{Batch: 40, Rows: rows, Norm: norm, Workers: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.Start(context.Background(), 2, 0)
	_, first := l.Next()
	_, again := l.Next()
	if first == nil || first != again || !strings.Contains(first.Error(), "epoch 2, batch 0") || !strings.Contains(first.Error(), ".png") {
		t.Errorf("errors %v, then %v", first, again)
	}
}

func TestLimitChoosesBeforeDecoding(t *testing.T) {
	dir := t.TempDir()
	for i := range 30 {
		write(t, solid(t, 8, 8, grey(uint8(i))), dir, fmt.Sprint(i%3), fmt.Sprintf("%02d.png", i))
	}
	whole, some := mustOpen(t, dir, Options{}), mustOpen(t, dir, Options{Limit: 11})
	more := mustOpen(t, dir, Options{Limit: 12})
	if some.Len() != 11 || some.Fingerprint() == whole.Fingerprint() {
		t.Fatalf("%d rows", some.Len())
	}
	for _, id := range ids(some) {
		if !slices.Contains(ids(more), id) {
			t.Errorf("%s is among 11 rows but not among 12", id)
		}
	}
}

func TestCancelledOpen(t *testing.T) {
	dir := idxFolder(t, false)
	write(t, solid(t, 8, 8, red), dir, "images", "1.png")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, path := range []string{dir, filepath.Join(dir, "images")} {
		if _, err := Open(ctx, path, Options{}); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: error %v", path, err)
		}
	}
}

// A listing costs at most 200 bytes a file, with everything that is held per file.
func TestListingMemory(t *testing.T) {
	const files = 100_000
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	o := &opened{}
	s := &folderSource{shape: Shape{28, 28, 1}}
	for i := range files {
		s.names.add(fmt.Sprintf("photographs of animals/class %03d/2024-06-01 holidays by the sea/", i/500), fmt.Sprintf("IMG_%08d.jpeg", i))
	}
	peak := float64(heap()-before) / files
	sums := make([][16]byte, files)
	s.cache = make([][]byte, files)
	if err := s.settle(o, sums, nil, &Options{}); err != nil {
		t.Fatal(err)
	}
	o.src, o.labels = s, make([]int32, files)
	sums = nil
	after := float64(heap()-before) / files
	t.Logf("paths of %d bytes: %.0f bytes a file while listing, %.0f with labels and cache slots", len(s.names.path(0)), peak, after)
	if after > 200 || peak > 200 {
		t.Errorf("%.0f and %.0f bytes a file, want at most 200", peak, after)
	}
	runtime.KeepAlive(o)
}
