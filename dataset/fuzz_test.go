package dataset

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
)

func memory(b []byte) *blob {
	return &blob{ReaderAt: bytes.NewReader(b), size: int64(len(b)), name: "f"}
}

// wellFormed fails unless the error is a rejection, which is what every parser
// answers to bytes it does not like.
func wellFormed(t *testing.T, err error) bool {
	if err != nil && !errors.Is(err, ErrRejected) {
		t.Fatalf("error %v is not ErrRejected", err)
	}
	return err == nil
}

func FuzzIDX(f *testing.F) {
	f.Add(idxBytes(noise(3*4, 1), 3, 2, 2))
	f.Add(idxBytes([]byte{1, 2, 3}, 3))
	f.Add(gzipped(idxBytes(noise(2*12, 1), 2, 2, 2, 3)))
	f.Add(gzipped(idxBytes(nil, 1<<31-1, 1<<15)))
	f.Add([]byte{0, 0, 13, 1, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		data, h, err := memory(b), idxHeader{}, error(nil)
		if len(b) > 1 && b[0] == 0x1f && b[1] == 0x8b {
			data, h, err = inflateIDX(data)
		} else {
			h, err = checkIDX(data)
		}
		if !wellFormed(t, err) {
			return
		}
		if h.start+h.elements() != data.size {
			t.Fatalf("%d bytes accepted for %v after %d", data.size, h.dims, h.start)
		}
		shape, err := idxShape("f", h)
		if wellFormed(t, err) {
			s := &rasterSource{parts: []rasterPart{{data: data, offset: h.start, stride: shape.Size(), n: h.dims[0]}}}
			readAll(t, openedRaster(t, s, shape))
		}
	})
}

func openedRaster(t *testing.T, s *rasterSource, shape Shape) *opened {
	o, err := openRaster(context.Background(), s, shape, &Options{Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// readAll reads a few rows of what was accepted; it must succeed, within [0,1].
func readAll(t *testing.T, o *opened) {
	x := make([]float32, o.shape.Size())
	for i := range min(o.src.rows(), 5) {
		if err := o.src.read(i, x); err != nil {
			t.Fatal(err)
		}
		for _, v := range x {
			if !o.vector && !(v >= 0 && v <= 1) {
				t.Fatalf("value %v", v)
			}
		}
	}
}

func FuzzCIFAR(f *testing.F) {
	f.Add(cifarRecords(2, 1, 10, 1), false)
	f.Add(cifarRecords(1, 2, 100, 1), true)
	f.Add(cifarRecords(1, 1, 10, 1)[:3000], false)
	f.Fuzz(func(t *testing.T, b []byte, hundred bool) {
		p := rasterPart{data: memory(b), skip: 1, stride: 3073}
		kind, classes := CIFAR10, 10
		if hundred {
			kind, classes, p.skip, p.stride = CIFAR100, 100, 2, 3074
		}
		labels, err := p.checkCIFAR(kind, classes)
		if !wellFormed(t, err) {
			return
		}
		if len(labels) != p.n || p.n*p.stride != len(b) {
			t.Fatalf("%d labels, %d rows of %d bytes", len(labels), p.n, len(b))
		}
		readAll(t, openedRaster(t, &rasterSource{planar: true, parts: []rasterPart{p}}, cifarShape))
	})
}

func FuzzArchive(f *testing.F) {
	f.Add(tarBytes(f, map[string][]byte{"data_batch_1.bin": cifarRecords(1, 1, 10, 1), "batches.meta.txt": []byte("a\nb\n")}))
	f.Add(tarBytes(f, map[string][]byte{"test.bin": []byte("short"), "../../etc/train.bin": nil}))
	f.Fuzz(func(t *testing.T, b []byte) {
		inPlace, inMemory := newCIFARFiles("f"), newCIFARFiles("f")
		section := io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b)))
		err := inPlace.readArchive(context.Background(), section, func(size int64) (io.ReaderAt, error) {
			at, err := section.Seek(0, io.SeekCurrent)
			return io.NewSectionReader(bytes.NewReader(b), at, size), err
		}, "all")
		wellFormed(t, err)
		if !wellFormed(t, inMemory.readArchive(context.Background(), bytes.NewReader(b), nil, "all")) {
			return
		}
		for name, m := range inMemory.data {
			got, want := make([]byte, min(m.size, 1<<16)), make([]byte, min(m.size, 1<<16))
			m.ReadAt(got, 0)
			if p := inPlace.data[name]; p != nil {
				p.ReadAt(want, 0)
				if !bytes.Equal(got, want) {
					t.Fatalf("%s differs when read in place", name)
				}
			}
		}
		if o, err := inMemory.open(context.Background(), &Options{Split: "all", Workers: 1}); wellFormed(t, err) {
			readAll(t, o)
		}
	})
}

func FuzzArray(f *testing.F) {
	f.Add(npyBytes(f, []int{3, 2}, ramp(6)))
	f.Add(npyBytes(f, []int{2, 2, 2, 3}, noise(24, 1)))
	f.Add(npyBytes(f, []int{1, 4, 3, 2}, ramp(24)))
	f.Fuzz(func(t *testing.T, b []byte) {
		part, err := openArrayPart("", memory(b), nil)
		if !wellFormed(t, err) {
			return
		}
		opt := Options{Workers: 1, CacheBytes: int64(len(b)%2) << 20}
		if o, err := openParts(context.Background(), "f", []arrayPart{part}, &opt); wellFormed(t, err) {
			readAll(t, o)
		}
	})
}
