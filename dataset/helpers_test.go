package dataset

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nat/internal/tensorfile"
)

// write makes a file with its folders below a temporary directory.
func write(t testing.TB, data []byte, path ...string) string {
	t.Helper()
	full := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(full, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return full
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	z.Write(b)
	z.Close()
	return out.Bytes()
}

func npyBytes(t testing.TB, shape []int, data any) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := tensorfile.WriteNPY(&b, shape, data); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func mustOpen(t testing.TB, path string, opt Options) *Set {
	t.Helper()
	s, err := Open(context.Background(), path, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// mustReject opens path, which must be refused with a message that holds all of
// the given words.
func mustReject(t testing.TB, path string, opt Options, words ...string) error {
	t.Helper()
	s, err := Open(context.Background(), path, opt)
	if err == nil {
		s.Close()
		t.Fatalf("%s was accepted with %d rows", path, s.Len())
	}
	if !errors.Is(err, ErrRejected) {
		t.Errorf("error is not ErrRejected: %v", err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error does not say %q: %v", w, err)
		}
	}
	return err
}

func readRow(t testing.TB, s *Set, i int) []float32 {
	t.Helper()
	x := make([]float32, s.Shape().Size())
	if err := s.Read(i, x); err != nil {
		t.Fatal(err)
	}
	return x
}

// noise is a cheap reproducible sequence of bytes.
func noise(n int, seed uint32) []byte {
	b := make([]byte, n)
	for i := range b {
		seed = seed*1664525 + 1013904223
		b[i] = byte(seed >> 24)
	}
	return b
}

type failingReader struct{ io.ReaderAt }

func (failingReader) ReadAt([]byte, int64) (int, error) { return 0, errors.New("disk is gone") }

func contains(s, part string) bool { return strings.Contains(s, part) }
