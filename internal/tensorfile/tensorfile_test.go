package tensorfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func encode(t interface{ Fatal(...any) }, ts []Tensor, meta map[string]string) []byte {
	var b bytes.Buffer
	if err := WriteSafetensors(&b, ts, meta); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func decode(b []byte) ([]Tensor, map[string]string, error) {
	return ReadSafetensors(bytes.NewReader(b), int64(len(b)))
}

// genTensors draws tensors with distinct names, sorted by name.
func genTensors(t *rapid.T) []Tensor {
	names := rapid.SliceOfNDistinct(rapid.String().Filter(func(s string) bool { return s != metadataKey }), 0, 5, rapid.ID).Draw(t, "names")
	slices.Sort(names)
	ts := make([]Tensor, len(names))
	for i, name := range names {
		shape := rapid.SliceOfN(rapid.IntRange(0, 4), 0, 3).Draw(t, "shape")
		n, _ := product(shape)
		ts[i] = Tensor{Name: name, Shape: shape, Data: genData(t, n)}
		if ts[i].Shape == nil {
			ts[i].Shape = []int{}
		}
	}
	return ts
}

func genData(t *rapid.T, n int) any {
	switch rapid.IntRange(0, 4).Draw(t, "type") {
	case 0:
		return rapid.SliceOfN(rapid.Float32(), n, n).Draw(t, "f32")
	case 1:
		return rapid.SliceOfN(rapid.Float64(), n, n).Draw(t, "f64")
	case 2:
		return rapid.SliceOfN(rapid.Int64(), n, n).Draw(t, "i64")
	case 3:
		return rapid.SliceOfN(rapid.Int32(), n, n).Draw(t, "i32")
	}
	return rapid.SliceOfN(rapid.Uint8(), n, n).Draw(t, "u8")
}

func TestSafetensorsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ts := genTensors(t)
		meta := rapid.MapOfN(rapid.String(), rapid.String(), 0, 3).Draw(t, "meta")
		shuffled := rapid.Permutation(ts).Draw(t, "order")
		b := encode(t, shuffled, meta)
		got, gotMeta, err := decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(ts, got); d != "" {
			t.Fatal(d)
		}
		if d := cmp.Diff(meta, gotMeta); d != "" && len(meta)+len(gotMeta) > 0 {
			t.Fatal(d)
		}
		if again := encode(t, got, gotMeta); !bytes.Equal(b, again) {
			t.Fatal("writing what was read gives other bytes")
		}
	})
}

// NaN payloads and negative zero are kept bit for bit.
func TestSafetensorsKeepsBits(t *testing.T) {
	in := []float32{math.Float32frombits(0x7fc12345), math.Float32frombits(1 << 31), math.Float32frombits(1)}
	got, _, err := decode(encode(t, []Tensor{{Name: "a", Shape: []int{3}, Data: in}}, nil))
	if err != nil {
		t.Fatal(err)
	}
	out, err := got[0].Float32(3)
	if err != nil {
		t.Fatal(err)
	}
	for i := range in {
		if math.Float32bits(in[i]) != math.Float32bits(out[i]) {
			t.Errorf("element %d: %#x became %#x", i, math.Float32bits(in[i]), math.Float32bits(out[i]))
		}
	}
}

// The exact bytes, so that a file written today is the file written next year.
func TestSafetensorsBytes(t *testing.T) {
	ts := []Tensor{{Name: "b", Shape: []int{2}, Data: []uint8{7, 8}}, {Name: "a", Data: []int32{-2}}}
	header := `{"__metadata__":{"k":"v"},"a":{"dtype":"I32","shape":[],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[2],"data_offsets":[4,6]}}`
	for len(header)%8 != 0 {
		header += " "
	}
	want := string(binary.LittleEndian.AppendUint64(nil, uint64(len(header)))) + header + "\xfe\xff\xff\xff\x07\x08"
	if got := string(encode(t, ts, map[string]string{"k": "v"})); got != want {
		t.Errorf("got\n%q, want\n%q", got, want)
	}
}

// Chunked conversion: more elements than one buffer holds, and not a multiple.
func TestSafetensorsLarge(t *testing.T) {
	f64 := make([]float64, 3*chunkBytes/8+5)
	for i := range f64 {
		f64[i] = float64(i)
	}
	got, _, err := decode(encode(t, []Tensor{{Name: "a", Shape: []int{len(f64)}, Data: f64}}, nil))
	if err != nil {
		t.Fatal(err)
	}
	if out, err := got[0].Float64(); err != nil || !slices.Equal(out, f64) {
		t.Errorf("%v, %d elements", err, len(out))
	}
}

// withHeader builds a file from a raw header and data.
func withHeader(header, data string) []byte {
	return append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header+data...)
}

func TestSafetensorsRefuses(t *testing.T) {
	one := func(fields string) []byte { return withHeader(`{"a":{`+fields+`}}`, "\x01\x02\x03\x04") }
	for _, c := range []struct {
		name string
		file []byte
		want string
	}{
		{"empty", nil, "holds 0 bytes"},
		{"huge header", binary.LittleEndian.AppendUint64(nil, 1<<63), "more than the 100000000 allowed"},
		{"header past the end", withHeader("{}", "")[:9], "header of 2 bytes, but only 1 follow"},
		{"not json", withHeader("hello", ""), "starting with {"},
		{"leading space", withHeader(" {}", ""), "starting with {"},
		{"not utf-8", withHeader("{\"\xff\":{}}", ""), "UTF-8"},
		{"two objects", withHeader("{}{}", ""), "2 bytes after its closing brace"},
		{"newline padding", withHeader("{}\n", ""), "1 bytes after"},
		{"cut json", withHeader(`{"a":{"dtype":"F32"`, ""), "header of 19 bytes"},
		{"same tensor twice", withHeader(`{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`, ""), `"a" appears twice`},
		{"same field twice", one(`"dtype":"U8","dtype":"U8","shape":[4],"data_offsets":[0,4]`), `"dtype" appears twice`},
		{"escaped twin", withHeader(`{"__metadata__":{"a":"1","\u0061":"2"}}`, ""), `"a" appears twice`},
		{"metadata twice", withHeader(`{"__metadata__":{},"__metadata__":{}}`, ""), "appears twice"},
		{"metadata number", withHeader(`{"__metadata__":{"a":1}}`, ""), "not a string"},
		{"metadata list", withHeader(`{"__metadata__":[]}`, ""), "found ["},
		{"unknown field", one(`"dtype":"U8","shape":[4],"data_offsets":[0,4],"x":1`), `unknown field "x"`},
		{"missing field", one(`"dtype":"U8","shape":[4]`), "has not all of"},
		{"pickled type", one(`"dtype":"O","shape":[4],"data_offsets":[0,4]`), `"O" is not supported`},
		{"nested type", one(`"dtype":{"shape":[4],"data_offsets":[0,4]}`), "not supported"},
		{"negative dimension", one(`"dtype":"U8","shape":[-4],"data_offsets":[0,4]`), "-4 is not a non-negative"},
		{"fraction", one(`"dtype":"U8","shape":[4.0],"data_offsets":[0,4]`), "4.0 is not"},
		{"text dimension", one(`"dtype":"U8","shape":["4"],"data_offsets":[0,4]`), "4 is not a non-negative"},
		{"overflow", one(`"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,4]`), "too large"},
		{"too many dimensions", one(`"dtype":"U8","shape":[` + strings.Repeat("1,", 40) + `1],"data_offsets":[0,1]`), "more than 32 numbers"},
		{"three offsets", one(`"dtype":"U8","shape":[4],"data_offsets":[0,4,4]`), "more than 2 numbers"},
		{"one offset", one(`"dtype":"U8","shape":[4],"data_offsets":[0]`), "not a pair"},
		{"backwards", one(`"dtype":"U8","shape":[4],"data_offsets":[4,0]`), "before its start"},
		{"span", one(`"dtype":"F32","shape":[2],"data_offsets":[0,4]`), "takes 8 bytes, its offsets span 4"},
		{"gap at the start", one(`"dtype":"U8","shape":[3],"data_offsets":[1,4]`), "starts at byte 1 of the data, the one before it ends at 0"},
		{"bytes left over", one(`"dtype":"U8","shape":[3],"data_offsets":[0,3]`), "tensors take 3 bytes, the file holds 4"},
		{"truncated data", one(`"dtype":"U8","shape":[5],"data_offsets":[0,5]`), "tensors take 5 bytes, the file holds 4"},
		{"overlap", withHeader(`{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}`, "1234"), `tensor "b" starts at byte 2`},
	} {
		_, _, err := decode(c.file)
		if !errors.Is(err, ErrFormat) || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestSafetensorsTensorCountIsCapped(t *testing.T) {
	var b strings.Builder
	for i := range maxTensors + 1 {
		fmt.Fprintf(&b, `,"%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`, i)
	}
	_, _, err := decode(withHeader("{"+b.String()[1:]+"}", ""))
	if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "more than 65536 tensors") {
		t.Error(err)
	}
}

func TestReadSafetensorsFileNamesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weights.safetensors")
	if _, _, err := ReadSafetensorsFile(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent file: %v", err)
	}
	if err := os.WriteFile(path, []byte("12345"), 0o666); err != nil {
		t.Fatal(err)
	}
	_, _, err := ReadSafetensorsFile(path)
	if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "5 bytes") {
		t.Errorf("short file: %v", err)
	}
	if err := os.WriteFile(path, encode(t, []Tensor{{Name: "x", Shape: []int{1}, Data: []int64{5}}}, nil), 0o666); err != nil {
		t.Fatal(err)
	}
	ts, _, err := ReadSafetensorsFile(path)
	if err != nil || len(ts) != 1 {
		t.Errorf("%v %v", ts, err)
	}
}

func TestStreamFloat32(t *testing.T) {
	path := filepath.Join(t.TempDir(), "targets.safetensors")
	const n, d = 5, streamValues/2 - 1 // two rows a block, the last one alone
	want := make([]float32, n*d)
	for i := range want {
		want[i] = float32(i)
	}
	file := encode(t, []Tensor{{Name: "a", Shape: []int{3}, Data: []int32{1, 2, 3}}, {Name: "x", Shape: []int{n, d}, Data: want}}, nil)
	if err := os.WriteFile(path, file, 0o666); err != nil {
		t.Fatal(err)
	}
	var got []float32
	err := StreamFloat32(path, "x", n, d, func(first int, values []float32) error {
		if first*d != len(got) || len(values) > streamValues {
			t.Errorf("%d values from row %d, after %d", len(values), first, len(got))
		}
		got = append(got, values...)
		return nil
	})
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%d values, %v", len(got), err)
	}
	stop := errors.New("enough")
	if err := StreamFloat32(path, "x", n, d, func(int, []float32) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("the block's error: %v", err)
	}
	for message, stream := range map[string]func() error{
		`no tensor "y"`: func() error { return StreamFloat32(path, "y", n, d, nil) },
		"holds I32":     func() error { return StreamFloat32(path, "a", 3, 1, nil) },
		"has shape [5 ": func() error { return StreamFloat32(path, "x", d, n, nil) },
	} {
		if err := stream(); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), message) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", message, err)
		}
	}
	if err := os.WriteFile(path, file[:len(file)-4], 0o666); err != nil {
		t.Fatal(err)
	}
	if err := StreamFloat32(path, "x", n, d, nil); !errors.Is(err, ErrFormat) {
		t.Errorf("cut short: %v", err)
	}
}

func TestTypedAccess(t *testing.T) {
	ts := []Tensor{{Name: "w", Shape: []int{2, 1}, Data: []float32{1, 2}}}
	w, ok := Find(ts, "w")
	if !ok {
		t.Fatal("not found")
	}
	if v, err := w.Float32(2, 1); err != nil || !slices.Equal(v, []float32{1, 2}) {
		t.Errorf("%v %v", v, err)
	}
	if _, ok := Find(ts, "v"); ok {
		t.Error("found an absent tensor")
	}
	_, err := w.Float32(1, 2)
	if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), `tensor "w": malformed file: has shape [2 1], want [1 2]`) {
		t.Error(err)
	}
	for _, get := range []func() error{
		func() error { _, err := w.Float64(); return err },
		func() error { _, err := w.Int64(); return err },
		func() error { _, err := w.Int32(); return err },
		func() error { _, err := w.Uint8(); return err },
	} {
		if err := get(); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "holds []float32, want []") {
			t.Error(err)
		}
	}
}

func TestCallersBugsPanic(t *testing.T) {
	sink := new(bytes.Buffer)
	a := &Array{rows: 2, rowLen: 3}
	for name, f := range map[string]func(){
		"repeated name": func() {
			WriteSafetensors(sink, []Tensor{{Name: "a", Data: []uint8{1}}, {Name: "a", Data: []uint8{1}}}, nil)
		},
		"reserved name":  func() { WriteSafetensors(sink, []Tensor{{Name: metadataKey, Data: []uint8{1}}}, nil) },
		"name not UTF-8": func() { WriteSafetensors(sink, []Tensor{{Name: "\xff", Data: []uint8{1}}}, nil) },
		"metadata":       func() { WriteSafetensors(sink, nil, map[string]string{"a": "\xff"}) },
		"shape":          func() { WriteSafetensors(sink, []Tensor{{Name: "a", Shape: []int{2}, Data: []uint8{1}}}, nil) },
		"type":           func() { WriteNPY(sink, []int{1}, []string{"a"}) },
		"row":            func() { a.ReadRow(make([]float32, 3), 2) },
		"dst":            func() { a.ReadRow(make([]float32, 2), 0) },
		"matrix":         func() { NewNPYWriter(sink, -1, 3) },
		"part of a row":  func() { w, _ := NewNPYWriter(sink, 2, 3); w.Write(make([]float32, 2)) },
		"too many rows":  func() { w, _ := NewNPYWriter(sink, 1, 3); w.Write(make([]float32, 6)) },
	} {
		func() {
			defer func() {
				if s, ok := recover().(string); !ok || !strings.HasPrefix(s, "tensorfile: ") {
					t.Errorf("%s: panic value %q", name, s)
				}
			}()
			f()
		}()
	}
}

func TestProduct(t *testing.T) {
	for _, c := range []struct {
		dims []int
		n    int
		ok   bool
	}{
		{nil, 1, true}, {[]int{3, 4}, 12, true}, {[]int{0, 5}, 0, true},
		{[]int{math.MaxInt, 2}, 0, false}, {[]int{math.MaxInt, 0, 2}, 0, false}, {[]int{-1}, 0, false},
		{[]int{math.MaxInt}, math.MaxInt, true},
	} {
		if n, ok := product(c.dims); n != c.n || ok != c.ok {
			t.Errorf("product(%v) = %d, %v", c.dims, n, ok)
		}
	}
}
