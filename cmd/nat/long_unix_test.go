//go:build unix

package main

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/png"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"nat/internal/tensorfile"
)

// residentM is how many MB a training may take on data larger than that.
const residentM = 500

// TestLargerThanMemory makes a tree of 100,000 PNGs and a 4 GB array and trains
// on each for an epoch: it interrupts the training on its way, resumes it to
// its end and verifies the run, each in a process of its own that is measured.
// It takes 5 GB of disk and, on two busy cores, eight minutes:
//
//	NAT_LONG=1 go test ./cmd/nat -run LargerThanMemory -v -timeout 2h
func TestLargerThanMemory(t *testing.T) {
	if os.Getenv("NAT_LONG") == "" {
		t.Skip("set NAT_LONG=1 to run it")
	}
	dir := t.TempDir()
	for _, c := range []struct {
		data, flags string
		make        func(path string) error
		stop        int // after so many steps
	}{
		{"array.npy", "--encoder linear --batch 1024", makeLongArray, 200},
		{"tree", "--encoder convnet --views 1", makeLongTree, 60},
	} {
		t.Run(c.data, func(t *testing.T) {
			data, out := filepath.Join(dir, c.data), filepath.Join(dir, c.data+"-run")
			if err := c.make(data); err != nil {
				t.Fatal(err)
			}
			train := append([]string{"train", data, "--out", out, "--epochs", "1"}, strings.Fields(c.flags)...)
			measure(t, "interrupted", 130, train, func(p *os.Process) { interruptAfter(p, filepath.Join(out, "metrics.jsonl"), c.stop) })
			measure(t, "resumed", 0, []string{"train", "--out", out, "--resume"}, nil)
			measure(t, "verified", 0, []string{"verify", out}, nil)
			if err := os.RemoveAll(data); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// measure runs nat, requires an exit code and bounds the memory it took.
func measure(t *testing.T, what string, code int, args []string, meanwhile func(*os.Process)) {
	t.Helper()
	begin := time.Now()
	cmd := exec.Command("nat", args...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if meanwhile != nil {
		go meanwhile(cmd.Process)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) || cmd.ProcessState.ExitCode() != code {
		t.Fatalf("%s: nat %v: %v, want exit code %d\n%s", what, args, err, code, output.Bytes())
	}
	resident := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss / 1024 // KiB on Linux
	if runtime.GOOS == "darwin" {
		resident /= 1024
	}
	t.Logf("%s: %d MB resident at most, %.0f s", what, resident, time.Since(begin).Seconds())
	if resident > residentM {
		t.Errorf("%s: %d MB resident, want at most %d", what, resident, residentM)
	}
}

// interruptAfter sends SIGINT once so many lines are in the file.
func interruptAfter(p *os.Process, path string, lines int) {
	for {
		b, err := os.ReadFile(path)
		if err == nil && bytes.Count(b, []byte("\n")) > lines {
			p.Signal(os.Interrupt)
			return
		}
		time.Sleep(200 * time.Millisecond)
		if p.Signal(syscall.Signal(0)) != nil {
			return // it ended by itself
		}
	}
}

// pngBuffers keeps the buffers of the one encoder: a new one costs more than the image.
type pngBuffers struct{ b *png.EncoderBuffer }

func (p *pngBuffers) Get() *png.EncoderBuffer  { return p.b }
func (p *pngBuffers) Put(b *png.EncoderBuffer) { p.b = b }

// makeLongTree writes 100,000 grey PNGs of 32x32 noise in 100 folders.
func makeLongTree(path string) error {
	r := rand.New(rand.NewPCG(9, 10))
	encoder := png.Encoder{CompressionLevel: png.NoCompression, BufferPool: new(pngBuffers)}
	img := image.NewGray(image.Rect(0, 0, 32, 32))
	var file bytes.Buffer
	for k := range 100 {
		dir := filepath.Join(path, fmt.Sprintf("class%02d", k))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		for i := range 1000 {
			for j := range img.Pix {
				img.Pix[j] = uint8(r.IntN(256))
			}
			file.Reset()
			if err := encoder.Encode(&file, img); err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%03d.png", i)), file.Bytes(), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// makeLongArray writes a million vectors of 1,024 features.
func makeLongArray(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	const rows, cols, block = 1_000_000, 1024, 1000
	w, err := tensorfile.NewNPYWriter(f, rows, cols)
	r := rand.New(rand.NewPCG(7, 8))
	x := make([]float32, block*cols)
	for i := range x {
		x[i] = r.Float32()
	}
	for i := 0; i < rows && err == nil; i += block {
		for k := range block {
			x[k*cols+r.IntN(cols)] = r.Float32() // no two rows are the same
		}
		err = w.Write(x)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return w.Close()
}
