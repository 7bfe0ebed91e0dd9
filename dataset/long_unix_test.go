//go:build unix

package dataset

import (
	"context"
	"encoding/binary"
	"fmt"
	"image"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"nat/internal/tensorfile"
)

const (
	longChild = "NAT_LONG_DATA" // set in the process that is measured: the data to read
	residentM = 500             // MB that opening and one epoch may take
)

// TestLargerThanMemory makes a tree of 100,000 PNGs and a 4 GB array, opens each
// in a process of its own, loads one epoch and measures the process. It takes
// minutes and 5 GB of disk: NAT_LONG=1 go test ./dataset -run LargerThanMemory -v
func TestLargerThanMemory(t *testing.T) {
	if path := os.Getenv(longChild); path != "" {
		loadEpoch(t, path)
		return
	}
	if os.Getenv("NAT_LONG") == "" {
		t.Skip("set NAT_LONG=1 to run it")
	}
	dir := t.TempDir()
	for name, build := range map[string]func(testing.TB, string){"tree": makeTree, "array.npy": makeArray} {
		path := filepath.Join(dir, name)
		build(t, path)
		child := exec.Command(os.Args[0], "-test.run=^TestLargerThanMemory$", "-test.v")
		child.Env = append(os.Environ(), longChild+"="+path)
		out, err := child.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		resident := child.ProcessState.SysUsage().(*syscall.Rusage).Maxrss / 1024 // KiB on Linux
		if runtime.GOOS == "darwin" {
			resident /= 1024
		}
		t.Logf("%s: %d MB resident at most\n%s", name, resident, out)
		if resident > residentM {
			t.Errorf("%s took %d MB, want at most %d", name, resident, residentM)
		}
		os.RemoveAll(path)
	}
}

// loadEpoch opens the data and loads one epoch.
func loadEpoch(t *testing.T, path string) {
	begin := time.Now()
	s := mustOpen(t, path, Options{})
	opened := time.Since(begin)
	rows, _ := s.HoldOut()
	norm, err := FitNormalizer(context.Background(), s, rows)
	if err != nil {
		t.Fatal(err)
	}
	l, err := NewLoader(s, LoaderOptions{Batch: 256, Views: 2, Rows: rows, Norm: norm, Augment: DefaultAugment(s)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	begin = time.Now()
	l.Start(context.Background(), 0, 0)
	for range l.BatchesPerEpoch() {
		b, err := l.Next()
		if err != nil {
			t.Fatal(err)
		}
		l.Recycle(b)
	}
	t.Logf("%d rows of %v: opened in %v, one epoch of %d batches in %v", s.Len(), s.Shape(), opened, l.BatchesPerEpoch(), time.Since(begin))
}

// makeTree writes 100,000 grey PNGs of 32x32 in 100 folders.
func makeTree(t testing.TB, dir string) {
	for k := range 100 {
		for i := range 1000 {
			b := pngBytes(t, grayNoise(32, 32, uint32(1000*k+i)))
			write(t, b, dir, fmt.Sprintf("class-%02d", k), fmt.Sprintf("%05d.png", i))
		}
	}
}

// makeArray writes a million vectors of 1,024 features, one in a hundred not zero.
func makeArray(t testing.TB, path string) {
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const rows, cols = 1_000_000, 1024
	if _, err := tensorfile.NewNPYWriter(f, rows, cols); err != nil { // the header
		t.Fatal(err)
	}
	start, err := f.Seek(0, io.SeekCurrent)
	if err == nil {
		err = f.Truncate(start + 4*rows*cols)
	}
	row := make([]byte, 4*cols)
	for i := 0; i < rows && err == nil; i += 100 {
		for k, v := range noise(cols, uint32(i)) {
			binary.LittleEndian.PutUint32(row[4*k:], math.Float32bits(float32(v)))
		}
		_, err = f.WriteAt(row, start+int64(i)*4*cols)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// grayNoise is an image of noise.
func grayNoise(w, h int, seed uint32) *image.Gray {
	m := image.NewGray(image.Rect(0, 0, w, h))
	copy(m.Pix, noise(w*h, seed))
	return m
}
