package tensorfile

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// goldenValue is element k of a golden file of the given type; the rule is
// stated in ref/npy_golden.py, which wrote the files with NumPy.
func goldenValue(dtype string, k int) float32 {
	switch dtype[1] {
	case 'b':
		if k%3 == 0 {
			return 1
		}
		return 0
	case 'u':
		return float32(k)
	case 'i':
		return float32(k - 7)
	}
	return float32(k-7) / 2
}

func openGolden(t *testing.T, name string) (*Array, error) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return OpenNPY(bytes.NewReader(b), int64(len(b)), name)
}

func TestNumPyWroteItWeReadIt(t *testing.T) {
	files, err := filepath.Glob("testdata/*.npy")
	if err != nil || len(files) < 30 {
		t.Fatalf("%d golden files, %v", len(files), err)
	}
	for _, path := range files {
		name := filepath.Base(path)
		if strings.HasPrefix(name, "refused_") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			a, err := openGolden(t, name)
			if err != nil {
				t.Fatal(err)
			}
			if a.Fortran != strings.HasPrefix(name, "fortran") {
				t.Errorf("Fortran = %v", a.Fortran)
			}
			checkGolden(t, a)
		})
	}
}

// checkGolden reads a at once and row by row.
func checkGolden(t *testing.T, a *Array) {
	t.Helper()
	all := make([]float32, a.Rows()*a.RowLen())
	if err := a.ReadRows(all, 0, a.Rows()); err != nil {
		t.Fatal(err)
	}
	for k, v := range all {
		if want := goldenValue(a.DType, k); v != want {
			t.Fatalf("%s: element %d is %v, want %v", a.Path, k, v, want)
		}
	}
	row := make([]float32, a.RowLen())
	for i := range a.Rows() {
		if err := a.ReadRow(row, i); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(row, all[i*len(row):(i+1)*len(row)]) {
			t.Errorf("%s: row %d alone differs from row %d among all", a.Path, i, i)
		}
	}
}

func TestGoldenShapes(t *testing.T) {
	for name, want := range map[string][]int{
		"c_f4le.npy": {4, 2, 3}, "fortran_u1.npy": {5, 2, 2, 3}, "labels_i8.npy": {11}, "scalar_f4.npy": {}, "empty_f4.npy": {0, 3},
	} {
		a, err := openGolden(t, name)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(a.Shape, want) {
			t.Errorf("%s: shape %v, want %v", name, a.Shape, want)
		}
	}
}

func TestRefusedTypesSayWhatToDo(t *testing.T) {
	for name, want := range map[string]string{
		"refused_object.npy":  "Python objects",
		"refused_struct.npy":  "structured array",
		"refused_text.npy":    `"<U2" is not supported`,
		"refused_complex.npy": `"<c8" is not supported`,
	} {
		_, err := openGolden(t, name)
		if !errors.Is(err, ErrFormat) {
			t.Fatalf("%s: %v", name, err)
		}
		for _, part := range []string{name, want, "np.save(path, a.astype('float32'))"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %q does not say %q", name, err, part)
			}
		}
	}
}

func TestInts(t *testing.T) {
	for _, name := range []string{"labels_i8.npy", "column_u1.npy"} {
		a, err := openGolden(t, name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := a.Ints()
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range got {
			if float32(v) != goldenValue(a.DType, k) {
				t.Errorf("%s: %v", name, got)
				break
			}
		}
	}
	for name, want := range map[string]string{
		"c_i4le.npy":    "want one dimension",
		"scalar_f4.npy": "want one dimension",
	} {
		a, err := openGolden(t, name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Ints(); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}

func TestIntsRefusesWhatDoesNotFit(t *testing.T) {
	for _, c := range []struct {
		descr string
		data  string
		want  string
	}{
		{"<u8", "\x00\x00\x00\x00\x00\x00\x00\x80", "above the largest"},
		{"<f8", "\x00\x00\x00\x00\x00\x00\x00\x00", "want integers"},
	} {
		b := append(buildNPYHeader(c.descr, []int{1}), c.data...)
		a, err := OpenNPY(bytes.NewReader(b), int64(len(b)), "y.npy")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Ints(); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.descr, err, c.want)
		}
	}
}

// Half precision: sign * 2^(e-15) * (1 + f/1024), or f * 2^-24 when e = 0.
func TestHalfToFloatAll(t *testing.T) {
	for h := range 1 << 16 {
		sign := 1 - 2*float64(h>>15)
		e, f := h>>10&31, float64(h&1023)
		want := sign * math.Ldexp(1+f/1024, e-15)
		switch {
		case e == 0:
			want = sign * math.Ldexp(f, -24)
		case e == 31 && f == 0:
			want = math.Inf(int(sign))
		case e == 31:
			want = math.NaN()
		}
		got := float64(halfToFloat(uint16(h)))
		if got != want && !(math.IsNaN(got) && math.IsNaN(want)) || math.Signbit(got) != (h>>15 == 1) {
			t.Fatalf("half %#04x = %v, want %v", h, got, want)
		}
	}
}

func TestNPZGolden(t *testing.T) {
	for _, name := range []string{"stored.npz", "deflated.npz"} {
		z, err := OpenNPZ(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		if got := z.Names(); !slices.Equal(got, []string{"x", "y", "img"}) {
			t.Errorf("%s: names %v", name, got)
		}
		for _, member := range z.Names() {
			a, err := z.Open(member)
			if err != nil {
				t.Fatal(err)
			}
			checkGolden(t, a)
		}
		if _, err := z.Open("z"); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "x, y, img") {
			t.Errorf("%s: absent member: %v", name, err)
		}
	}
}

func TestNPZInflationIsCapped(t *testing.T) {
	z, err := OpenNPZ("testdata/deflated.npz")
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	z.limit = 100
	if _, err := z.Open("x"); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "np.savez") {
		t.Errorf("%v", err)
	}
}
