package tensorfile

import (
	"archive/zip"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// seeds adds every golden file that matches pattern; testdata/fuzz holds the
// hand-made ones.
func seeds(f *testing.F, pattern string) {
	files, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || len(files) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
}

func FuzzSafetensors(f *testing.F) {
	f.Add(encode(f, []Tensor{
		{Name: "w", Shape: []int{2, 1}, Data: []float32{1, 2}}, {Name: "pi", Shape: []int{3}, Data: []int32{2, 0, 1}},
		{Name: "empty", Shape: []int{0, 4}, Data: []uint8{}},
	}, map[string]string{"step": "12"}))
	f.Fuzz(func(t *testing.T, b []byte) { trySafetensors(t, b) })
}

// trySafetensors demands an ErrFormat, or tensors that survive a round trip.
func trySafetensors(t *testing.T, b []byte) {
	ts, meta, err := decode(b)
	if err != nil {
		if !errors.Is(err, ErrFormat) {
			t.Fatalf("error is not ErrFormat: %v", err)
		}
		return
	}
	first := encode(t, ts, meta)
	again, meta, err := decode(first)
	if err != nil {
		t.Fatalf("own output is refused: %v", err)
	}
	if !bytes.Equal(first, encode(t, again, meta)) {
		t.Fatal("canonical form is not stable")
	}
}

func FuzzNPY(f *testing.F) {
	seeds(f, "*.npy")
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := openBytes(b)
		tryArray(t, a, err)
	})
}

// tryArray demands an ErrFormat, or an array all of whose rows can be read.
func tryArray(t *testing.T, a *Array, err error) {
	if err == nil {
		if _, intsErr := a.Ints(); intsErr != nil && !errors.Is(intsErr, ErrFormat) {
			t.Fatalf("Ints: error is not ErrFormat: %v", intsErr)
		}
		if a.Rows() > 0 {
			err = a.ReadRow(make([]float32, a.RowLen()), a.Rows()-1)
		}
	}
	if err == nil {
		err = a.ReadRows(make([]float32, a.Rows()*a.RowLen()), 0, a.Rows())
	}
	if err != nil && !errors.Is(err, ErrFormat) {
		t.Fatalf("error is not ErrFormat: %v", err)
	}
}

func FuzzNPZ(f *testing.F) {
	seeds(f, "*.npz")
	f.Fuzz(func(t *testing.T, b []byte) { tryNPZ(t, b) })
}

func tryNPZ(t *testing.T, b []byte) {
	z, err := NewNPZ(bytes.NewReader(b), int64(len(b)), "x.npz")
	if err != nil {
		if !errors.Is(err, ErrFormat) {
			t.Fatalf("error is not ErrFormat: %v", err)
		}
		return
	}
	z.limit = 1 << 20
	for _, name := range z.Names() {
		a, err := z.Open(name)
		tryArray(t, a, err)
	}
}

// Every prefix of a file, and every byte of its first kilobyte set to values
// that differ in one bit or in all.
func TestDamagedFiles(t *testing.T) {
	var npy, deflated, stored bytes.Buffer
	if err := WriteNPY(&npy, []int{3, 2}, []float32{1, 2, 3, 4, 5, 6}); err != nil {
		t.Fatal(err)
	}
	for method, b := range map[uint16]*bytes.Buffer{zip.Deflate: &deflated, zip.Store: &stored} {
		z := zip.NewWriter(b)
		w, err := z.CreateHeader(&zip.FileHeader{Name: "x.npy", Method: method})
		if err == nil {
			_, err = w.Write(npy.Bytes())
		}
		if err = errors.Join(err, z.Close()); err != nil {
			t.Fatal(err)
		}
	}
	safe := encode(t, []Tensor{{Name: "w", Shape: []int{2}, Data: []float64{1, 2}}, {Name: "v", Shape: []int{1}, Data: []uint8{9}}}, map[string]string{"a": "b"})
	for name, c := range map[string]struct {
		file []byte
		try  func(*testing.T, []byte)
	}{
		"safetensors": {safe, trySafetensors},
		"npy":         {npy.Bytes(), func(t *testing.T, b []byte) { a, err := openBytes(b); tryArray(t, a, err) }},
		"deflated":    {deflated.Bytes(), tryNPZ},
		"stored":      {stored.Bytes(), tryNPZ},
	} {
		t.Run(name, func(t *testing.T) {
			for n := range c.file {
				c.try(t, c.file[:n])
			}
			for i := range min(len(c.file), 1024) {
				for bit := range 9 {
					b := bytes.Clone(c.file)
					if b[i] ^= 1 << bit; bit == 8 {
						b[i] = ^b[i]
					}
					c.try(t, b)
				}
			}
		})
	}
}

// A truncated file is an error at every length, not a shorter array.
func TestEveryTruncationIsRefused(t *testing.T) {
	var npy bytes.Buffer
	if err := WriteNPY(&npy, []int{3, 2}, []int64{1, 2, 3, 4, 5, 6}); err != nil {
		t.Fatal(err)
	}
	for n := range npy.Len() {
		if _, err := openBytes(npy.Bytes()[:n]); !errors.Is(err, ErrFormat) {
			t.Fatalf("npy cut to %d of %d bytes: %v", n, npy.Len(), err)
		}
	}
	safe := encode(t, []Tensor{{Name: "w", Shape: []int{2}, Data: []float32{1, 2}}}, nil)
	for n := range safe {
		if _, _, err := decode(safe[:n]); !errors.Is(err, ErrFormat) {
			t.Fatalf("safetensors cut to %d of %d bytes: %v", n, len(safe), err)
		}
	}
}

// Lying sizes must cost no memory: headers that promise terabytes, and a zip
// directory that promises a gigabyte which the compressed stream lacks.
func TestFalseSizesCostNothing(t *testing.T) {
	var z bytes.Buffer
	w := zip.NewWriter(&z)
	raw, err := w.CreateRaw(&zip.FileHeader{Name: "x.npy", Method: zip.Deflate, CompressedSize64: 5, UncompressedSize64: 1 << 30})
	if err == nil {
		_, err = raw.Write([]byte{1, 0, 0, 0xff, 0xff})
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	files := map[string]func(){
		"npy": func() {
			_, err = openBytes(rawNPY("{'descr':'<f8','fortran_order':False,'shape':(1099511627776,)}", ""))
		},
		"safetensors": func() {
			_, _, err = decode(withHeader(`{"a":{"dtype":"F64","shape":[1099511627776],"data_offsets":[0,8796093022208]}}`, ""))
		},
		"npz": func() {
			var a *NPZ
			if a, err = NewNPZ(bytes.NewReader(z.Bytes()), int64(z.Len()), "x.npz"); err == nil {
				_, err = a.Open("x")
			}
		},
	}
	for name, open := range files {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		open()
		runtime.ReadMemStats(&after)
		if !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 1<<20 {
			t.Errorf("%s: %d bytes allocated to find out", name, used)
		}
	}
}
