package tensorfile

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"unicode/utf8"
)

// Limits of the safetensors format. The format itself bounds the header;
// without a bound on what the header lists, a small tensor file could still
// cost a hundred times its size in bookkeeping.
const (
	maxSafetensorsHeader = 100_000_000
	maxTensors           = 65_536
	maxMetadata          = 65_536
	maxDims              = 32
)

const metadataKey = "__metadata__"

// safetensorsType maps the format's names of element types to their sizes.
var safetensorsType = map[string]int{"F32": 4, "F64": 8, "I64": 8, "I32": 4, "U8": 1}

func safetensorsName(data any) string {
	switch data.(type) {
	case []float32:
		return "F32"
	case []float64:
		return "F64"
	case []int64:
		return "I64"
	case []int32:
		return "I32"
	}
	return "U8"
}

// entry describes one tensor in the header.
type entry struct {
	DType   string   `json:"dtype"`
	Shape   []int    `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
}

// WriteSafetensors writes tensors and string metadata in canonical form: the
// tensors by ascending name, the header's keys in a fixed order, the header
// padded with spaces so that the data start at a multiple of 8. The bytes
// depend on the arguments only, not on the order of ts.
//
// A repeated, reserved or non-UTF-8 name, or a shape that does not match the
// data, is a bug of the caller and panics. Errors are those of w.
func WriteSafetensors(w io.Writer, ts []Tensor, meta map[string]string) error {
	ts = slices.Clone(ts)
	slices.SortFunc(ts, func(a, b Tensor) int { return cmp.Compare(a.Name, b.Name) })
	header := appendHeader(ts, meta)
	prefix := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	if _, err := w.Write(append(prefix, header...)); err != nil {
		return err
	}
	for _, t := range ts {
		if err := writeData(w, t.Data); err != nil {
			return err
		}
	}
	return nil
}

// appendHeader builds the padded JSON header of tensors sorted by name.
func appendHeader(ts []Tensor, meta map[string]string) []byte {
	var b bytes.Buffer
	b.WriteByte('{')
	sep := ""
	if len(meta) > 0 {
		writePair(&b, sep, metadataKey, nil)
		b.WriteByte('{')
		for _, k := range slices.Sorted(maps.Keys(meta)) {
			if !utf8.ValidString(k) || !utf8.ValidString(meta[k]) {
				panic("tensorfile: metadata is not UTF-8")
			}
			writePair(&b, sep, k, meta[k])
			sep = ","
		}
		b.WriteByte('}')
		sep = ","
	}
	var offset int64
	for i, t := range ts {
		switch {
		case t.Name == metadataKey || !utf8.ValidString(t.Name):
			panic("tensorfile: tensor name is reserved or not UTF-8")
		case i > 0 && t.Name == ts[i-1].Name:
			panic("tensorfile: two tensors have the same name")
		}
		checkShape(t.Shape, t.Data)
		n, size := count(t.Data)
		end := offset + int64(n)*int64(size)
		shape := append([]int{}, t.Shape...) // a nil shape is written as [], not as null
		writePair(&b, sep, t.Name, entry{safetensorsName(t.Data), shape, [2]int64{offset, end}})
		offset, sep = end, ","
	}
	b.WriteByte('}')
	for b.Len()%8 != 0 {
		b.WriteByte(' ')
	}
	return b.Bytes()
}

// writePair writes "key":value, and only the key and colon if value is nil.
func writePair(b *bytes.Buffer, sep, key string, value any) {
	b.WriteString(sep)
	k, _ := json.Marshal(key) // a valid string cannot fail
	b.Write(k)
	b.WriteByte(':')
	if value != nil {
		v, _ := json.Marshal(value)
		b.Write(v)
	}
}

// ReadSafetensorsFile reads the file at path; see [ReadSafetensors].
func ReadSafetensorsFile(path string) (ts []Tensor, meta map[string]string, err error) {
	err = withFile(path, func(f io.ReaderAt, size int64) error {
		ts, meta, err = ReadSafetensors(f, size)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return ts, meta, nil
}

// withFile opens the file at path for read, and names it in the error.
func withFile(path string, read func(f io.ReaderAt, size int64) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := read(f, info.Size()); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// streamValues is about how many values [StreamFloat32] holds at a time.
const streamValues = 1 << 18

// StreamFloat32 reads the n x d float32 tensor called name of the safetensors
// file at path in blocks of whole rows, in order, so that memory does not grow
// with n. block gets the number of its first row, and values that are valid
// until it returns; its error ends the reading. The file is checked as by
// [ReadSafetensors] before the first block.
func StreamFloat32(path, name string, n, d int, block func(first int, values []float32) error) error {
	return withFile(path, func(f io.ReaderAt, size int64) error {
		entries, _, start, err := readHeader(f, size)
		if err == nil {
			err = checkTiling(entries, size-start)
		}
		if err != nil {
			return err
		}
		e, ok := entries[name]
		switch {
		case !ok:
			return formatError("it holds no tensor %q", name)
		case e.DType != "F32":
			return formatError("tensor %q holds %s, want F32", name, e.DType)
		case !slices.Equal(e.Shape, []int{n, d}):
			return formatError("tensor %q has shape %v, want %v", name, e.Shape, []int{n, d})
		}
		return streamRows(f, start+e.Offsets[0], n, d, block)
	})
}

func streamRows(r io.ReaderAt, off int64, n, d int, block func(first int, values []float32) error) error {
	per := max(1, streamValues/max(1, d))
	values := make([]float32, min(per, n)*d)
	for lo := 0; lo < n; lo += per {
		part := values[:min(per, n-lo)*d]
		if err := getInto(r, off+4*int64(lo)*int64(d), part); err != nil {
			return err
		}
		if err := block(lo, part); err != nil {
			return err
		}
	}
	return nil
}

// ReadSafetensors reads a file of size bytes and returns its tensors by
// ascending name, and its metadata (nil if it has none). Tensors must tile the
// data exactly: no gap, no overlap, nothing after the last. Element types
// other than F32, F64, I64, I32 and U8 are refused. Memory is bounded by a
// small multiple of size.
func ReadSafetensors(r io.ReaderAt, size int64) ([]Tensor, map[string]string, error) {
	entries, meta, start, err := readHeader(r, size)
	if err != nil {
		return nil, nil, err
	}
	if err := checkTiling(entries, size-start); err != nil {
		return nil, nil, err
	}
	ts := make([]Tensor, 0, len(entries))
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		e := entries[name]
		data, err := readTensor(r, e, start)
		if err != nil {
			return nil, nil, fmt.Errorf("tensor %q: %w", name, err)
		}
		ts = append(ts, Tensor{Name: name, Shape: e.Shape, Data: data})
	}
	return ts, meta, nil
}

func readTensor(r io.ReaderAt, e entry, start int64) (any, error) {
	n, _ := product(e.Shape)
	off := start + e.Offsets[0]
	switch e.DType {
	case "F32":
		return getAll[float32](r, off, n)
	case "F64":
		return getAll[float64](r, off, n)
	case "I64":
		return getAll[int64](r, off, n)
	case "I32":
		return getAll[int32](r, off, n)
	}
	return getAll[uint8](r, off, n)
}

// readHeader returns the entries, the metadata and the offset of the data.
func readHeader(r io.ReaderAt, size int64) (map[string]entry, map[string]string, int64, error) {
	fail := func(format string, args ...any) (map[string]entry, map[string]string, int64, error) {
		return nil, nil, 0, formatError(format, args...)
	}
	if size < 8 {
		return fail("holds %d bytes, a safetensors file at least 8", size)
	}
	var prefix [8]byte
	if err := readAt(r, prefix[:], 0); err != nil {
		return nil, nil, 0, err
	}
	length := binary.LittleEndian.Uint64(prefix[:])
	switch {
	case length > maxSafetensorsHeader:
		return fail("announces a header of %d bytes, more than the %d allowed", length, maxSafetensorsHeader)
	case int64(length) > size-8:
		return fail("announces a header of %d bytes, but only %d follow", length, size-8)
	}
	header := make([]byte, length)
	if err := readAt(r, header, 8); err != nil {
		return nil, nil, 0, err
	}
	if len(header) == 0 || header[0] != '{' || !utf8.Valid(header) {
		return fail("header of %d bytes is not UTF-8 JSON starting with {", length)
	}
	entries, meta, err := parseHeader(header)
	if err != nil {
		return fail("header of %d bytes: %v", length, err)
	}
	return entries, meta, 8 + int64(length), nil
}

func formatError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrFormat, fmt.Sprintf(format, args...))
}

// parseHeader walks the JSON token by token, because decoding into a map
// would silently keep the last of two equal keys.
func parseHeader(header []byte) (map[string]entry, map[string]string, error) {
	d := json.NewDecoder(bytes.NewReader(header))
	d.UseNumber()
	entries := map[string]entry{}
	var meta map[string]string
	err := object(d, func(key string) (err error) {
		if key == metadataKey {
			meta, err = parseMetadata(d)
			return err
		}
		if len(entries) == maxTensors {
			return fmt.Errorf("more than %d tensors", maxTensors)
		}
		entries[key], err = parseEntry(d)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", key, err)
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	if rest := bytes.Trim(header[d.InputOffset():], " "); len(rest) > 0 {
		return nil, nil, fmt.Errorf("%d bytes after its closing brace", len(rest))
	}
	return entries, meta, nil
}

// object reads one JSON object, calling value for each key with the decoder
// at the key's value. Equal keys are an error.
func object(d *json.Decoder, value func(key string) error) error {
	if err := delim(d, '{'); err != nil {
		return err
	}
	seen := map[string]bool{}
	for d.More() {
		tok, err := d.Token()
		if err != nil {
			return err
		}
		key, ok := tok.(string)
		if !ok {
			return errors.New("a key is not a string")
		}
		if seen[key] {
			return fmt.Errorf("key %q appears twice", key)
		}
		seen[key] = true
		if err := value(key); err != nil {
			return err
		}
	}
	return delim(d, '}')
}

func delim(d *json.Decoder, want json.Delim) error {
	tok, err := d.Token()
	if err != nil {
		return err
	}
	if tok != want {
		return fmt.Errorf("found %v where %v is due", tok, want)
	}
	return nil
}

func parseMetadata(d *json.Decoder) (map[string]string, error) {
	meta := map[string]string{}
	err := object(d, func(key string) error {
		if len(meta) == maxMetadata {
			return fmt.Errorf("more than %d metadata entries", maxMetadata)
		}
		tok, err := d.Token()
		if err != nil {
			return err
		}
		s, ok := tok.(string)
		if !ok {
			return fmt.Errorf("metadata %q is not a string", key)
		}
		meta[key] = s
		return nil
	})
	return meta, err
}

func parseEntry(d *json.Decoder) (entry, error) {
	var e entry
	var seen int
	err := object(d, func(key string) error {
		seen++
		switch key {
		case "dtype":
			tok, err := d.Token()
			if err != nil {
				return err
			}
			e.DType, _ = tok.(string)
			return nil
		case "shape":
			dims, err := integers(d, maxDims)
			e.Shape = dims
			return err
		case "data_offsets":
			pair, err := integers(d, 2)
			if err == nil && len(pair) != 2 {
				err = errors.New("data_offsets is not a pair")
			}
			if err == nil {
				e.Offsets = [2]int64{int64(pair[0]), int64(pair[1])}
			}
			return err
		}
		return fmt.Errorf("unknown field %q", key)
	})
	if err == nil && seen != 3 {
		err = errors.New("has not all of dtype, shape and data_offsets")
	}
	if err == nil {
		err = e.check()
	}
	return e, err
}

// check compares the entry's shape with its extent.
func (e entry) check() error {
	size, ok := safetensorsType[e.DType]
	if !ok {
		return fmt.Errorf("element type %q is not supported (F32, F64, I64, I32 and U8 are)", e.DType)
	}
	bytes, ok := product(append([]int{size}, e.Shape...))
	switch begin, end := e.Offsets[0], e.Offsets[1]; {
	case !ok:
		return fmt.Errorf("shape %v is too large", e.Shape)
	case end < begin:
		return fmt.Errorf("ends at byte %d, before its start at %d", end, begin)
	case end-begin != int64(bytes):
		return fmt.Errorf("shape %v of %s takes %d bytes, its offsets span %d", e.Shape, e.DType, bytes, end-begin)
	}
	return nil
}

// integers reads an array of at most limit non-negative integers.
func integers(d *json.Decoder, limit int) ([]int, error) {
	if err := delim(d, '['); err != nil {
		return nil, err
	}
	out := []int{}
	for d.More() {
		tok, err := d.Token()
		if err != nil {
			return nil, err
		}
		num, ok := tok.(json.Number)
		v, err := strconv.ParseUint(num.String(), 10, 63)
		if !ok || err != nil || uint64(int(v)) != v {
			return nil, fmt.Errorf("%v is not a non-negative integer", tok)
		}
		if len(out) == limit {
			return nil, fmt.Errorf("more than %d numbers in a list", limit)
		}
		out = append(out, int(v))
	}
	return out, delim(d, ']')
}

// checkTiling demands that the tensors cover size bytes exactly once.
func checkTiling(entries map[string]entry, size int64) error {
	names := slices.SortedFunc(maps.Keys(entries), func(a, b string) int {
		ea, eb := entries[a], entries[b]
		return cmp.Or(cmp.Compare(ea.Offsets[0], eb.Offsets[0]), cmp.Compare(ea.Offsets[1], eb.Offsets[1]))
	})
	var at int64
	for _, name := range names {
		e := entries[name]
		if e.Offsets[0] != at {
			return formatError("tensor %q starts at byte %d of the data, the one before it ends at %d",
				name, e.Offsets[0], at)
		}
		at = e.Offsets[1]
	}
	if at != size {
		return formatError("tensors take %d bytes, the file holds %d for them", at, size)
	}
	return nil
}
