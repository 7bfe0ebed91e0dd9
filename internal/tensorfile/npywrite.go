package tensorfile

import (
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// WriteNPY writes one array, []float32, []float64, []int64, []int32 or
// []uint8, in C order and little-endian as .npy version 1. A shape that does
// not match the data panics; errors are those of w.
func WriteNPY(w io.Writer, shape []int, data any) error {
	checkShape(shape, data)
	descr := map[string]string{"F32": "<f4", "F64": "<f8", "I64": "<i8", "I32": "<i4", "U8": "|u1"}[safetensorsName(data)]
	if _, err := w.Write(buildNPYHeader(descr, shape)); err != nil {
		return err
	}
	return writeData(w, data)
}

// buildNPYHeader returns prefix and header, a multiple of 64 bytes as NumPy
// aligns them.
func buildNPYHeader(descr string, shape []int) []byte {
	dims := make([]string, len(shape))
	for i, d := range shape {
		dims[i] = strconv.Itoa(d)
	}
	list := strings.Join(dims, ", ")
	if len(dims) == 1 {
		list += ","
	}
	text := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, list)
	pad := 63 - (10+len(text))%64
	text += strings.Repeat(" ", pad) + "\n"
	b := append([]byte(npyMagic), 1, 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(text)))
	return append(b, text...)
}

// NPYWriter writes a float32 matrix row after row, so that it never has to be
// in memory as a whole.
type NPYWriter struct {
	w          io.Writer
	rows, cols int
	written    int // elements
}

// NewNPYWriter writes the header of a rows x cols matrix to w.
func NewNPYWriter(w io.Writer, rows, cols int) (*NPYWriter, error) {
	if n, ok := product([]int{rows, cols, 4}); !ok || n < 0 {
		panic("tensorfile: negative or too large matrix")
	}
	_, err := w.Write(buildNPYHeader("<f4", []int{rows, cols}))
	return &NPYWriter{w: w, rows: rows, cols: cols}, err
}

// Write appends one or more whole rows.
func (n *NPYWriter) Write(rows []float32) error {
	if n.cols == 0 && len(rows) > 0 || n.cols > 0 && len(rows)%n.cols != 0 {
		panic("tensorfile: not a whole number of rows")
	}
	if n.written+len(rows) > n.rows*n.cols {
		panic("tensorfile: more rows than announced")
	}
	n.written += len(rows)
	return putAll(n.w, rows)
}

// Close reports an error if fewer rows were written than announced. It does
// not close the underlying writer.
func (n *NPYWriter) Close() error {
	if n.written != n.rows*n.cols {
		return fmt.Errorf("npy: %d of %d elements written, the file is incomplete", n.written, n.rows*n.cols)
	}
	return nil
}
