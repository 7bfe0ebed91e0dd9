package tensorfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
)

const (
	npyMagic     = "\x93NUMPY"
	maxNPYHeader = 64 << 10
)

// plainNumbers is the next step for every array that holds something else.
const plainNumbers = "save it as plain numbers: np.save(path, a.astype('float32'))"

// Array is an open .npy array whose rows (its first dimension) are read on
// demand. It is safe for concurrent use if the underlying reader is.
type Array struct {
	Path    string // for messages
	DType   string // as in the file: "<f4", "|u1", ...
	Shape   []int
	Fortran bool // column-major in the file; reads hide the difference

	r      io.ReaderAt
	start  int64 // offset of the data
	kind   byte  // 'f', 'i', 'u', 'b'
	size   int   // bytes of an element
	order  binary.ByteOrder
	rows   int
	rowLen int
}

// OpenNPY reads the header of a .npy file of size bytes; name is used in
// messages. Versions 1 to 3, C and Fortran order, both byte orders, and the
// element types bool, u1, i1, u2, i2, u4, i4, u8, i8, f2, f4, f8 are read. The
// size must be exactly what the header promises. Arrays of Python objects are
// refused: loading them would execute code from the file.
func OpenNPY(r io.ReaderAt, size int64, name string) (*Array, error) {
	a := &Array{Path: name, r: r}
	if err := a.readHeader(size); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return a, nil
}

// readHeader fills the array's description from the file.
func (a *Array) readHeader(size int64) error {
	text, start, err := npyHeader(a.r, size)
	if err != nil {
		return err
	}
	h, err := parseNPYHeader(text)
	if err != nil {
		return formatError("npy header of %d bytes: %v", len(text), err)
	}
	if err := a.setType(h.descr); err != nil {
		return err
	}
	a.Shape, a.Fortran, a.start = h.shape, h.fortran, start
	a.rows, a.rowLen = 1, 1
	if len(h.shape) > 0 {
		a.rows = h.shape[0]
		a.rowLen, _ = product(h.shape[1:])
	}
	bytes, ok := product(append([]int{a.size}, h.shape...))
	switch {
	case a.rows > 0 && a.rowLen == 0:
		return formatError("shape %v has %d rows without elements", h.shape, a.rows)
	case !ok || int64(bytes) > math.MaxInt64-start:
		return formatError("shape %v of %s is too large", h.shape, a.DType)
	case start+int64(bytes) != size:
		return formatError("shape %v of %s takes %d bytes after a header of %d, %d in all, but the file holds %d",
			h.shape, a.DType, bytes, start, start+int64(bytes), size)
	}
	return nil
}

// npyHeader returns the text of the header and the offset of the data.
func npyHeader(r io.ReaderAt, size int64) (string, int64, error) {
	if size < 10 {
		return "", 0, formatError("holds %d bytes, an npy file at least 10", size)
	}
	prefix := make([]byte, min(12, size))
	if err := readAt(r, prefix, 0); err != nil {
		return "", 0, err
	}
	if string(prefix[:6]) != npyMagic {
		return "", 0, formatError("does not start with the bytes \\x93NUMPY of an npy file (%d bytes)", size)
	}
	start, length := int64(10), int64(binary.LittleEndian.Uint16(prefix[8:]))
	switch major := prefix[6]; {
	case major == 2 || major == 3:
		if size < 12 {
			return "", 0, formatError("holds %d bytes, an npy file of version %d at least 12", size, major)
		}
		start, length = 12, int64(binary.LittleEndian.Uint32(prefix[8:]))
	case major != 1:
		return "", 0, formatError("npy version %d.%d is not known (1 to 3 are)", major, prefix[7])
	}
	switch {
	case length > maxNPYHeader:
		return "", 0, formatError("announces a header of %d bytes, more than the %d allowed", length, maxNPYHeader)
	case start+length > size:
		return "", 0, formatError("announces a header of %d bytes, but only %d follow", length, size-start)
	}
	text := make([]byte, length)
	if err := readAt(r, text, start); err != nil {
		return "", 0, err
	}
	return string(text), start + length, nil
}

// elementTypes maps kind and size to whether the type can be read.
var elementTypes = map[string]bool{
	"b1": true, "u1": true, "i1": true, "u2": true, "i2": true, "u4": true, "i4": true,
	"u8": true, "i8": true, "f2": true, "f4": true, "f8": true,
}

// setType interprets a type string such as "<f4".
func (a *Array) setType(descr any) error {
	s, ok := descr.(string)
	if !ok {
		return formatError("structured array; %s", plainNumbers)
	}
	a.DType = s
	if len(s) >= 2 && s[1] == 'O' {
		return formatError("array of Python objects, which is never loaded because that can run code; %s", plainNumbers)
	}
	if len(s) != 3 || !elementTypes[s[1:]] {
		return formatError("element type %q is not supported (bool, integers and f2, f4, f8 are); %s", s, plainNumbers)
	}
	a.kind, a.size = s[1], int(s[2]-'0')
	switch {
	case s[0] == '<', s[0] == '|' && a.size == 1:
		a.order = binary.LittleEndian
	case s[0] == '>':
		a.order = binary.BigEndian
	default:
		return formatError("element type %q does not say its byte order; %s", s, plainNumbers)
	}
	return nil
}

// Rows returns the first dimension; 1 for an array without dimensions.
func (a *Array) Rows() int { return a.rows }

// RowLen returns the number of elements of a row, the product of the other
// dimensions. An array without rows may claim a length no memory could hold:
// look at Rows first.
func (a *Array) RowLen() int { return a.rowLen }

// ReadRow reads row i, converted to float32, into dst, which has RowLen
// elements. 64-bit integers and f8 are rounded; bool becomes 0 or 1.
func (a *Array) ReadRow(dst []float32, i int) error { return a.ReadRows(dst, i, i+1) }

// ReadRows reads rows lo to hi-1, converted to float32, row after row, into
// dst, which has (hi-lo)*RowLen elements. In a Fortran-ordered file the
// elements of a row lie far apart, so there many rows per call are far cheaper
// than one.
func (a *Array) ReadRows(dst []float32, lo, hi int) error {
	if lo < 0 || hi < lo || hi > a.rows {
		panic("tensorfile: row out of range")
	}
	if len(dst) != (hi-lo)*a.rowLen {
		panic("tensorfile: dst is not (hi-lo) x RowLen")
	}
	if len(dst) == 0 {
		return nil
	}
	var err error
	if a.Fortran && len(a.Shape) > 1 {
		err = a.readColumns(dst, lo, hi)
	} else {
		err = a.readRun(lo*a.rowLen, len(dst), func(at int, b []byte) { a.convert(dst[at:], b) })
	}
	if err != nil {
		return fmt.Errorf("%s: rows %d to %d: %w", a.Path, lo, hi-1, err)
	}
	return nil
}

// readColumns transposes a Fortran-ordered file: for each position within a
// row, the values of all rows lie side by side. Positions are visited in file
// order (first index fastest) while pos follows them in dst's C order.
func (a *Array) readColumns(dst []float32, lo, hi int) error {
	tail := a.Shape[1:]
	index := make([]int, len(tail))
	column := make([]float32, min(hi-lo, chunkBytes/4))
	for f := range a.rowLen {
		pos := 0
		for k, d := range tail {
			pos = pos*d + index[k]
		}
		err := a.readRun(f*a.rows+lo, hi-lo, func(at int, b []byte) {
			n := len(b) / a.size
			a.convert(column[:n], b)
			for r, v := range column[:n] {
				dst[(at+r)*a.rowLen+pos] = v
			}
		})
		if err != nil {
			return err
		}
		for k := range index { // next position, first index fastest
			if index[k]++; index[k] < tail[k] {
				break
			}
			index[k] = 0
		}
	}
	return nil
}

// chunks are the buffers of readRun that are not in use.
var chunks = sync.Pool{New: func() any { return new([]byte) }}

// readRun calls use with the bytes of n elements that start at element first,
// a chunk at a time; at counts the elements already used.
func (a *Array) readRun(first, n int, use func(at int, b []byte)) error {
	per := chunkBytes / 8 // elements of any type in a chunk
	chunk := chunks.Get().(*[]byte)
	defer chunks.Put(chunk)
	if size := min(per, n) * a.size; cap(*chunk) < size {
		*chunk = make([]byte, size)
	}
	buf := (*chunk)[:cap(*chunk)]
	for at := 0; at < n; at += per {
		b := buf[:min(per, n-at)*a.size]
		if err := readAt(a.r, b, a.start+int64(first+at)*int64(a.size)); err != nil {
			return err
		}
		use(at, b)
	}
	return nil
}

// convert decodes len(src)/size elements into dst.
func (a *Array) convert(dst []float32, src []byte) {
	n := len(src) / a.size
	dst = dst[:n]
	switch {
	case a.kind == 'b':
		for i, v := range src {
			dst[i] = 0
			if v != 0 {
				dst[i] = 1
			}
		}
	case a.kind == 'u' && a.size == 1:
		for i, v := range src {
			dst[i] = float32(v)
		}
	case a.kind == 'f' && a.size == 4:
		for i := range dst {
			dst[i] = math.Float32frombits(a.order.Uint32(src[4*i:]))
		}
	case a.kind == 'f' && a.size == 8:
		for i := range dst {
			dst[i] = float32(math.Float64frombits(a.order.Uint64(src[8*i:])))
		}
	case a.kind == 'f':
		for i := range dst {
			dst[i] = halfToFloat(a.order.Uint16(src[2*i:]))
		}
	case a.kind == 'u':
		for i := range dst {
			dst[i] = float32(a.unsigned(src[i*a.size:]))
		}
	default:
		for i := range dst {
			dst[i] = float32(a.signed(src[i*a.size:]))
		}
	}
}

// unsigned decodes one element of kind 'u' or 'b'.
func (a *Array) unsigned(b []byte) uint64 {
	switch a.size {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(a.order.Uint16(b))
	case 4:
		return uint64(a.order.Uint32(b))
	}
	return a.order.Uint64(b)
}

// signed decodes one element of kind 'i'.
func (a *Array) signed(b []byte) int64 {
	shift := 64 - 8*a.size
	return int64(a.unsigned(b)<<shift) >> shift
}

// halfToFloat widens an IEEE 754 half-precision number; exact for all of them.
func halfToFloat(h uint16) float32 {
	sign := uint32(h>>15) << 31
	exp, frac := uint32(h>>10)&31, uint32(h)&0x3ff
	switch exp {
	case 0: // zero and subnormals: frac * 2^-24
		v := float32(frac) / (1 << 24)
		return math.Float32frombits(math.Float32bits(v) | sign)
	case 31: // infinities and NaN
		return math.Float32frombits(sign | 0xff<<23 | frac<<13)
	}
	return math.Float32frombits(sign | (exp+127-15)<<23 | frac<<13)
}

// Ints reads the whole of a one-dimensional array of integers or bools, such
// as labels; N x 1 counts as one-dimensional.
func (a *Array) Ints() ([]int64, error) {
	out, err := a.ints()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.Path, err)
	}
	return out, nil
}

func (a *Array) ints() ([]int64, error) {
	if a.rowLen != 1 || len(a.Shape) == 0 {
		return nil, formatError("shape %v, want one dimension", a.Shape)
	}
	if a.kind == 'f' {
		return nil, formatError("element type %q, want integers: np.save(path, a.astype('int64'))", a.DType)
	}
	out := make([]int64, a.rows)
	large := -1
	err := a.readRun(0, a.rows, func(at int, b []byte) {
		for i := range len(b) / a.size {
			out[at+i] = a.integer(b[i*a.size:])
			if a.kind == 'u' && out[at+i] < 0 && large < 0 {
				large = at + i
			}
		}
	})
	if err == nil && large >= 0 {
		err = formatError("element %d is above the largest 64-bit signed integer", large)
	}
	return out, err
}

// integer decodes one element of any kind but 'f'.
func (a *Array) integer(b []byte) int64 {
	switch a.kind {
	case 'i':
		return a.signed(b)
	case 'b':
		return int64(min(b[0], 1))
	}
	return int64(a.unsigned(b))
}

var errDict = errors.New("not a Python dictionary with the keys descr, fortran_order and shape")
