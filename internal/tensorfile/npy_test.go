package tensorfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// rawNPY builds a version 1 file from a header and data.
func rawNPY(header, data string) []byte {
	return []byte(npyMagic + "\x01\x00" + string([]byte{byte(len(header)), byte(len(header) >> 8)}) + header + data)
}

func openBytes(b []byte) (*Array, error) {
	return OpenNPY(bytes.NewReader(b), int64(len(b)), "x.npy")
}

func TestNPYRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shape := rapid.SliceOfN(rapid.IntRange(1, 4), 0, 4).Draw(t, "shape")
		n, _ := product(shape)
		data := genData(t, n)
		var b bytes.Buffer
		if err := WriteNPY(&b, shape, data); err != nil {
			t.Fatal(err)
		}
		if _, size := count(data); (b.Len()-n*size)%64 != 0 {
			t.Fatalf("header of %d bytes is not a multiple of 64", b.Len()-n*size)
		}
		a, err := openBytes(b.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		got := make([]float32, n)
		if err := a.ReadRows(got, 0, a.Rows()); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(a.Shape, shape) || !slices.Equal(got, toFloat32(data)) {
			t.Fatalf("shape %v, read %v, wrote %v", a.Shape, got, data)
		}
	})
}

func toFloat32(data any) []float32 {
	switch d := data.(type) {
	case []float32:
		return d
	case []float64:
		return widen(d)
	case []int64:
		return widen(d)
	case []int32:
		return widen(d)
	}
	return widen(data.([]uint8))
}

func widen[T element](d []T) []float32 {
	out := make([]float32, len(d))
	for i, v := range d {
		out[i] = float32(v)
	}
	return out
}

// A Fortran-ordered file is the C-ordered file of the reversed shape, so the
// naive transpose is easy to state and any window of rows must agree with it.
func TestFortranAgainstNaiveTranspose(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shape := rapid.SliceOfN(rapid.IntRange(1, 5), 1, 4).Draw(t, "shape")
		n, _ := product(shape)
		file := make([]byte, n)
		want := make([]float32, n)
		for c := range n { // c enumerates C order; its Fortran position is built from the last index down
			rest, f, scale := c, 0, n
			for k := len(shape) - 1; k >= 0; k-- {
				scale /= shape[k]
				f += rest % shape[k] * scale
				rest /= shape[k]
			}
			file[f], want[c] = byte(c*7), float32(byte(c*7))
		}
		header := strings.Replace(string(buildNPYHeader("|u1", shape)), "False", "True", 1)
		a, err := openBytes(append(trimPad(header), file...))
		if err != nil {
			t.Fatal(err)
		}
		lo := rapid.IntRange(0, shape[0]-1).Draw(t, "lo")
		hi := rapid.IntRange(lo, shape[0]).Draw(t, "hi")
		got := make([]float32, (hi-lo)*a.RowLen())
		if err := a.ReadRows(got, lo, hi); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want[lo*a.RowLen():hi*a.RowLen()]) {
			t.Fatalf("shape %v rows %d..%d: %v", shape, lo, hi, got)
		}
	})
}

// trimPad fixes the length field of a version 1 header whose text changed.
func trimPad(header string) []byte {
	text := header[10:]
	return rawNPY(text, "")
}

func TestReadRowsAcrossChunks(t *testing.T) {
	const rows, cols = 50, 1000 // 400,000 bytes of f8, several buffers
	data := make([]float64, rows*cols)
	for i := range data {
		data[i] = float64(i)
	}
	for _, fortran := range []bool{false, true} {
		var b bytes.Buffer
		if err := WriteNPY(&b, []int{rows, cols}, data); err != nil {
			t.Fatal(err)
		}
		file, at := b.Bytes(), func(r, c int) int { return r*cols + c }
		if fortran { // the same bytes, read as columns
			file = []byte(strings.Replace(b.String(), "'fortran_order': False", "'fortran_order': True ", 1))
			at = func(r, c int) int { return c*rows + r }
		}
		a, err := openBytes(file)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]float32, 30*cols)
		if err := a.ReadRows(got, 15, 45); err != nil {
			t.Fatal(err)
		}
		for i, v := range got {
			if want := float32(at(15+i/cols, i%cols)); v != want {
				t.Fatalf("fortran %v: element %d is %v, want %v", fortran, i, v, want)
			}
		}
	}
}

func TestNPYRefuses(t *testing.T) {
	dict := func(s string) []byte { return rawNPY("{"+s+"}\n", "\x00\x00\x00\x00") }
	const fine = "'descr':'<f4','fortran_order':False,'shape':(1,)"
	if _, err := openBytes(dict(fine)); err != nil {
		t.Fatalf("the sound file is refused: %v", err)
	}
	for _, c := range []struct {
		name string
		file []byte
		want string
	}{
		{"empty", nil, "holds 0 bytes"},
		{"zip", []byte("PK\x03\x04 something else"), "does not start with"},
		{"version 4", []byte(npyMagic + "\x04\x00\x00\x00\x00\x00"), "version 4.0"},
		{"version 2, cut", []byte(npyMagic + "\x02\x00\x00\x00\x00"), "at least 12"},
		{"long header", []byte(npyMagic + "\x02\x00\x00\x00\x02\x00"), "131072 bytes, more than the 65536 allowed"},
		{"header past the end", rawNPY("{}", "")[:11], "header of 2 bytes, but only 1 follow"},
		{"truncated", dict(fine)[:62], "65 in all, but the file holds 62"},
		{"trailing bytes", append(dict(fine), 0), "takes 4 bytes after a header of"},
		{"object", dict("'descr':'|O','fortran_order':False,'shape':(1,)"), "np.save(path, a.astype('float32'))"},
		{"type", dict("'descr':'<f3','fortran_order':False,'shape':(1,)"), `"<f3" is not supported`},
		{"no byte order", dict("'descr':'|f4','fortran_order':False,'shape':(1,)"), "byte order"},
		{"native", dict("'descr':'=f4','fortran_order':False,'shape':(1,)"), "byte order"},
		{"empty type", dict("'descr':'','fortran_order':False,'shape':(1,)"), "not supported"},
		{"overflow", dict("'descr':'<f4','fortran_order':False,'shape':(4611686018427387904,4)"), "too large"},
		{"product overflow", dict("'descr':'<f4','fortran_order':False,'shape':(4294967296,4294967296)"), "too large"},
		{"hidden overflow", dict("'descr':'<f4','fortran_order':False,'shape':(0,4294967296,4294967296)"), "too large"},
		{"rows of nothing", dict("'descr':'<f4','fortran_order':False,'shape':(4294967296,0)"), "4294967296 rows without elements"},
		{"negative", dict("'descr':'<f4','fortran_order':False,'shape':(-1,)"), "is -1, want"},
		{"shape is a number", dict("'descr':'<f4','fortran_order':False,'shape':(1)"), errDict.Error()},
		{"shape is a list", dict("'descr':'<f4','fortran_order':False,'shape':[1]"), errDict.Error()},
		{"text in the shape", dict("'descr':'<f4','fortran_order':False,'shape':('a',)"), "dimension 0 of the shape is a"},
		{"many dimensions", dict("'descr':'<f4','fortran_order':False,'shape':(" + strings.Repeat("1,", 33) + ")"), "33 dimensions"},
		{"order is a number", dict("'descr':'<f4','fortran_order':0,'shape':(1,)"), errDict.Error()},
		{"missing key", dict("'descr':'<f4','shape':(1,)"), errDict.Error()},
		{"another key", dict(fine + ",'x':1"), errDict.Error()},
		{"same key twice", dict(fine + ",'shape':(1,)"), `"shape" appears twice`},
		{"key is a number", dict("1:2"), "not a string"},
		{"no colon", dict("'descr' '<f4'"), "no colon"},
		{"no comma", dict("'descr':'<f4' 'shape':(1,)"), "neither comma"},
		{"no comma in a tuple", dict("'shape':(1 2)"), "neither comma"},
		{"escape", dict(`'descr':'\x3cf4'`), "escapes"},
		{"open string", dict("'descr"), "not closed"},
		{"code", dict("'descr':__import__('os')"), "unexpected text"},
		{"deep", dict("'descr':" + strings.Repeat("(", 1000)), "nested too deeply"},
		{"not a dictionary", rawNPY("(1,2)", ""), errDict.Error()},
		{"cut dictionary", rawNPY("{'descr':", ""), "ends in the middle"},
		{"text after", rawNPY("{"+fine+"} + 1", "\x00\x00\x00\x00"), "3 bytes after the dictionary"},
		{"huge number", dict("'shape':(99999999999999999999,)"), "unexpected text"},
	} {
		_, err := openBytes(c.file)
		if !errors.Is(err, ErrFormat) || !strings.Contains(fmt.Sprint(err), c.want) || !strings.HasPrefix(fmt.Sprint(err), "x.npy: ") {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// Python 2 wrote long integers with an L, and the order of keys is free.
func TestNPYHeaderDialects(t *testing.T) {
	for _, text := range []string{
		"{'shape': (2L, 1L), 'descr': '<f4', 'fortran_order': False, }          \n",
		"{\"descr\":\"<f4\",\"fortran_order\":False,\"shape\":(2,1)}",
		"{ 'descr' : '<f4' , 'fortran_order' : False , 'shape' : ( 2 , 1 , ) }",
	} {
		a, err := openBytes(rawNPY(text, "\x00\x00\x80\x3f\x00\x00\x00\x40"))
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		got := make([]float32, 2)
		if err := a.ReadRows(got, 0, 2); err != nil || got[0] != 1 || got[1] != 2 {
			t.Errorf("%q: %v %v", text, got, err)
		}
	}
}

// shrunk is a file that lost its end after it was opened.
type shrunk struct{ *bytes.Reader }

func (s shrunk) ReadAt(p []byte, off int64) (int, error) {
	if off >= 128 {
		return 0, io.EOF
	}
	return s.Reader.ReadAt(p, off)
}

func TestFileThatShrinksWhileOpen(t *testing.T) {
	var b bytes.Buffer
	if err := WriteNPY(&b, []int{3, 2}, make([]float32, 6)); err != nil {
		t.Fatal(err)
	}
	a, err := OpenNPY(shrunk{bytes.NewReader(b.Bytes())}, int64(b.Len()), "x.npy")
	if err != nil {
		t.Fatal(err)
	}
	err = a.ReadRow(make([]float32, 2), 1)
	if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "x.npy: rows 1 to 1: ") {
		t.Error(err)
	}
}

func TestNPYWriterStreams(t *testing.T) {
	var whole, parts bytes.Buffer
	data := []float32{1, 2, 3, 4, 5, 6}
	if err := WriteNPY(&whole, []int{3, 2}, data); err != nil {
		t.Fatal(err)
	}
	w, err := NewNPYWriter(&parts, 3, 2)
	if err != nil {
		t.Fatal(err)
	}
	for _, rows := range [][]float32{data[:2], nil, data[2:]} {
		if err := w.Write(rows); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil || !bytes.Equal(whole.Bytes(), parts.Bytes()) {
		t.Errorf("%v; streamed and whole files differ", err)
	}
	w, _ = NewNPYWriter(io.Discard, 3, 2)
	if err := w.Close(); err == nil || !strings.Contains(err.Error(), "0 of 6") {
		t.Errorf("an incomplete file closes with %v", err)
	}
}

func BenchmarkReadRow(b *testing.B) {
	var file bytes.Buffer
	if err := WriteNPY(&file, []int{1000, 784}, make([]uint8, 784000)); err != nil {
		b.Fatal(err)
	}
	a, err := openBytes(file.Bytes())
	if err != nil {
		b.Fatal(err)
	}
	row := make([]float32, 784)
	b.SetBytes(784)
	for i := 0; b.Loop(); i++ {
		if err := a.ReadRow(row, i%1000); err != nil {
			b.Fatal(err)
		}
	}
}
