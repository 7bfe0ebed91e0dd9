// Package tensorfile reads and writes the two array formats nat speaks:
// NumPy's .npy and .npz, and safetensors.
//
//	ts, meta, err := tensorfile.ReadSafetensorsFile("weights.safetensors")
//	t, ok := tensorfile.Find(ts, "dense1.weight")
//	w, err := t.Float32(64, 256)
//
// Files come from strangers. Every length is checked against the size of the
// file before it is believed, nothing is executed (Python objects are refused,
// never unpickled), and no input makes the package panic: whatever is wrong
// comes back as an error that wraps [ErrFormat] and names the file and the
// byte counts that disagree.
package tensorfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"slices"
)

// ErrFormat is wrapped by every error that is the fault of a file's contents,
// as opposed to the system's failure to read it.
var ErrFormat = errors.New("malformed file")

// Tensor is a named array in row-major order. Data is one of []float32,
// []float64, []int64, []int32, []uint8, with as many elements as the product
// of Shape; an empty Shape means one element.
type Tensor struct {
	Name  string
	Shape []int
	Data  any
}

// Find returns the tensor called name.
func Find(ts []Tensor, name string) (Tensor, bool) {
	i := slices.IndexFunc(ts, func(t Tensor) bool { return t.Name == name })
	if i < 0 {
		return Tensor{}, false
	}
	return ts[i], true
}

// Float32 returns the data of a float32 tensor. If a shape is given, the
// tensor must have it.
func (t Tensor) Float32(shape ...int) ([]float32, error) { return typed[float32](t, shape) }

// Float64 returns the data of a float64 tensor. If a shape is given, the
// tensor must have it.
func (t Tensor) Float64(shape ...int) ([]float64, error) { return typed[float64](t, shape) }

// Int64 returns the data of an int64 tensor. If a shape is given, the tensor
// must have it.
func (t Tensor) Int64(shape ...int) ([]int64, error) { return typed[int64](t, shape) }

// Int32 returns the data of an int32 tensor. If a shape is given, the tensor
// must have it.
func (t Tensor) Int32(shape ...int) ([]int32, error) { return typed[int32](t, shape) }

// Uint8 returns the data of a uint8 tensor. If a shape is given, the tensor
// must have it.
func (t Tensor) Uint8(shape ...int) ([]uint8, error) { return typed[uint8](t, shape) }

func typed[T float32 | float64 | int64 | int32 | uint8](t Tensor, shape []int) ([]T, error) {
	data, ok := t.Data.([]T)
	if !ok {
		var want []T
		return nil, fmt.Errorf("tensor %q: %w: holds %T, want %T", t.Name, ErrFormat, t.Data, want)
	}
	if shape != nil && !slices.Equal(shape, t.Shape) {
		return nil, fmt.Errorf("tensor %q: %w: has shape %v, want %v", t.Name, ErrFormat, t.Shape, shape)
	}
	return data, nil
}

// product multiplies dimensions; ok is false if one is negative or the result
// does not fit an int. Zeros do not hide an overflow of the others, so that a
// row of an array without rows has a size one can still compute with.
func product(dims []int) (n int, ok bool) {
	zero := false
	n = 1
	for _, d := range dims {
		switch {
		case d < 0:
			return 0, false
		case d == 0:
			zero = true
			continue
		}
		hi, lo := bits.Mul64(uint64(n), uint64(d))
		if hi != 0 || lo > math.MaxInt {
			return 0, false
		}
		n = int(lo)
	}
	if zero {
		return 0, true
	}
	return n, true
}

// readAt fills p from r. Running past the end is the file's fault, anything
// else the system's.
func readAt(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: ends at byte %d, %d bytes short of what its header promises",
			ErrFormat, off+int64(n), len(p)-n)
	}
	return err
}

// chunkBytes is the size of the buffer through which values are converted:
// large enough that system calls do not count, small enough to stay in cache.
const chunkBytes = 64 << 10

// element is what a Tensor can hold.
type element interface {
	float32 | float64 | int64 | int32 | uint8
}

// elementSize is the number of bytes of one T in a file.
func elementSize[T element]() int {
	var zero T
	return binary.Size(zero)
}

// putAll writes values in little-endian order, a chunk at a time.
func putAll[T element](w io.Writer, values []T) error {
	if raw, ok := any(values).([]uint8); ok {
		_, err := w.Write(raw)
		return err
	}
	per := chunkBytes / elementSize[T]()
	buf := make([]byte, 0, chunkBytes)
	for part := range slices.Chunk(values, per) {
		buf, _ = binary.Append(buf[:0], binary.LittleEndian, part)
		if _, err := w.Write(buf); err != nil {
			return err
		}
	}
	return nil
}

// getAll reads n little-endian values that start at off.
func getAll[T element](r io.ReaderAt, off int64, n int) ([]T, error) {
	values := make([]T, n)
	return values, getInto(r, off, values)
}

// getInto fills values with little-endian ones that start at off.
func getInto[T element](r io.ReaderAt, off int64, values []T) error {
	if raw, ok := any(values).([]uint8); ok {
		return readAt(r, raw, off)
	}
	size := elementSize[T]()
	buf := make([]byte, min(chunkBytes, len(values)*size))
	for part := range slices.Chunk(values, chunkBytes/size) {
		b := buf[:len(part)*size]
		if err := readAt(r, b, off); err != nil {
			return err
		}
		if _, err := binary.Decode(b, binary.LittleEndian, part); err != nil {
			return err
		}
		off += int64(len(b))
	}
	return nil
}

// writeData writes the elements of a tensor's Data.
func writeData(w io.Writer, data any) error {
	switch d := data.(type) {
	case []float32:
		return putAll(w, d)
	case []float64:
		return putAll(w, d)
	case []int64:
		return putAll(w, d)
	case []int32:
		return putAll(w, d)
	case []uint8:
		return putAll(w, d)
	}
	panic("tensorfile: data is not []float32, []float64, []int64, []int32 or []uint8")
}

// count returns the number of elements of a tensor's Data and their size.
func count(data any) (n, size int) {
	switch d := data.(type) {
	case []float32:
		return len(d), 4
	case []float64:
		return len(d), 8
	case []int64:
		return len(d), 8
	case []int32:
		return len(d), 4
	case []uint8:
		return len(d), 1
	}
	panic("tensorfile: data is not []float32, []float64, []int64, []int32 or []uint8")
}

// checkShape panics unless data has as many elements as shape says.
func checkShape(shape []int, data any) {
	n, _ := count(data)
	if p, ok := product(shape); !ok || p != n {
		panic("tensorfile: shape does not match the length of data")
	}
}
