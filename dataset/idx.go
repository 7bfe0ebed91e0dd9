package dataset

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"
)

// maxInflate bounds the memory that a compressed file of known size may take.
const maxInflate = 1 << 30

// idxHeader describes an IDX file: two zero bytes, an element type, the number
// of dimensions, and the dimensions as big-endian 32-bit numbers; then the
// elements. Only bytes (type 8) are read: the MNIST family has nothing else.
type idxHeader struct {
	dims  []int
	start int64 // offset of the elements
}

// elements returns the product of the dimensions; parseIDX has checked it.
func (h idxHeader) elements() int64 {
	n := int64(1)
	for _, d := range h.dims {
		n *= int64(d)
	}
	return n
}

// isIDX reports whether the bytes may begin an IDX file.
func isIDX(b []byte) bool {
	return len(b) >= 4 && b[0] == 0 && b[1] == 0 && b[2] >= 8 && b[2] <= 14 && b[3] >= 1 && b[3] <= 4
}

// parseIDX reads the header from the beginning of a file.
func parseIDX(b []byte, name string) (h idxHeader, err error) {
	if len(b) < 4 {
		return h, reject("%s: holds %d bytes, less than an IDX header (truncated?): download it again", name, len(b))
	}
	if !isIDX(b) {
		return h, reject("%s: begins with the bytes % x, not 00 00 08 of an IDX file", name, b[:4])
	}
	if b[2] != 8 {
		return h, reject("%s: IDX element type 0x%02x is not supported, only bytes (0x08): convert it to .npy", name, b[2])
	}
	n := int(b[3])
	h.start = int64(4 + 4*n)
	if int64(len(b)) < h.start {
		return h, reject("%s: IDX header of %d bytes cut off after %d: download it again", name, h.start, len(b))
	}
	size := int64(1)
	for i := range n {
		d := binary.BigEndian.Uint32(b[4+4*i:])
		if d > 1<<31-1 || (size > 0 && int64(d) > (1<<46)/size) {
			return h, reject("%s: the IDX header promises impossible dimensions", name)
		}
		h.dims = append(h.dims, int(d))
		size *= int64(d)
	}
	return h, nil
}

// openIDXFile opens an IDX file, plain or gzipped, and checks its header against
// the bytes that are there. A plain file stays open and is read on demand; a
// compressed one is inflated to memory.
func openIDXFile(path string) (*blob, io.Closer, idxHeader, error) {
	b, file, err := openBlob(path)
	if err != nil {
		return nil, nil, idxHeader{}, err
	}
	head := make([]byte, 2)
	if n, _ := b.ReadAt(head, 0); n == 2 && head[0] == 0x1f && head[1] == 0x8b {
		defer file.Close()
		b, h, err := inflateIDX(b)
		return b, io.NopCloser(nil), h, err
	}
	h, err := checkIDX(b)
	if err != nil {
		file.Close()
		return nil, nil, h, err
	}
	return b, file, h, nil
}

// checkIDX compares the header with the size of the file.
func checkIDX(b *blob) (idxHeader, error) {
	head := make([]byte, min(20, b.size))
	if n, err := b.ReadAt(head, 0); n < len(head) {
		return idxHeader{}, fmt.Errorf("%s: %w", b.name, noEOF(err))
	}
	h, err := parseIDX(head, b.name)
	if err != nil {
		return h, err
	}
	if want := h.start + h.elements(); want != b.size {
		return h, idxSizeError(b.name, h, want, b.size)
	}
	return h, nil
}

func idxSizeError(name string, h idxHeader, want, got int64) error {
	word := "truncated"
	if got > want {
		word = "too long"
	}
	return reject("%s: %s: the header promises %s, %d bytes in all, but there are %d: download or write it again",
		name, word, dimsText(h.dims), want, got)
}

func dimsText(dims []int) string {
	if len(dims) == 1 {
		return fmt.Sprintf("%d rows", dims[0])
	}
	return fmt.Sprintf("%d rows of %s", dims[0], strings.Trim(strings.ReplaceAll(fmt.Sprint(dims[1:]), " ", "x"), "[]"))
}

// inflateIDX decompresses a .gz. The header says how much must come; memory is
// taken as the bytes arrive.
func inflateIDX(b *blob) (*blob, idxHeader, error) {
	z, err := gzip.NewReader(io.NewSectionReader(b, 0, b.size))
	if err != nil {
		return nil, idxHeader{}, reject("%s: damaged gzip file of %d bytes (%v): download it again", b.name, b.size, err)
	}
	var out bytes.Buffer
	_, err = io.CopyN(&out, z, 20)
	if err != nil && err != io.EOF {
		return nil, idxHeader{}, reject("%s: damaged gzip file of %d bytes (%v): download it again", b.name, b.size, err)
	}
	h, err := parseIDX(out.Bytes(), b.name)
	if err != nil {
		return nil, h, err
	}
	want := h.start + h.elements()
	if want > maxInflate {
		return nil, h, reject("%s: unpacks to %d bytes of memory, more than %d: gunzip it, a plain file is read in place", b.name, want, maxInflate)
	}
	_, err = io.CopyN(&out, z, want+1-int64(out.Len()))
	switch {
	case err == nil || int64(out.Len()) > want:
		return nil, h, reject("%s: too long: the header promises %s, %d bytes in all, but more follow: download it again", b.name, dimsText(h.dims), want)
	case err != io.EOF:
		return nil, h, reject("%s: damaged gzip file (%v): the header promises %d bytes, %d could be read: download it again", b.name, err, want, out.Len())
	case int64(out.Len()) != want:
		return nil, h, idxSizeError(b.name, h, want, int64(out.Len()))
	}
	data := bytes.Clone(out.Bytes()) // the buffer may have grown to twice the size
	return &blob{ReaderAt: bytes.NewReader(data), size: want, name: b.name}, h, nil
}

// idxName matches the names under which the MNIST family is published:
// train-images-idx3-ubyte, t10k-images.idx3-ubyte.gz, emnist-letters-train-...
var idxName = regexp.MustCompile(`(?i)^(.*?)(train|t10k|test)-(images|labels)[-.]idx[0-9]-ubyte(\.gz)?$`)

// idxPair is the image file of a split and its labels ("" if there are none).
type idxPair struct{ images, labels string }

// idxNested are the folders below one given that IDX files are looked for in, as
// patterns: where torchvision puts them.
var idxNested = []string{"", "raw", "*/raw"}

// findIDX looks for IDX files in a folder: prefix -> split -> files. Where a
// file is there both plain and compressed, the plain one is taken.
func findIDX(dir string) (map[string]map[string]*idxPair, error) {
	var names []string
	for _, nested := range idxNested {
		subs := []string{dir}
		if nested != "" {
			subs, _ = filepath.Glob(filepath.Join(escapeGlob(dir), nested)) // the pattern is well-formed
		}
		for _, sub := range subs {
			matches, err := matchingNames(sub, idxName)
			if err != nil && sub == dir {
				return nil, fmt.Errorf("data: %w", err)
			}
			for _, name := range matches {
				names = append(names, filepath.Join(sub, name))
			}
		}
		if len(names) > 0 {
			break
		}
	}
	found := map[string]map[string]*idxPair{}
	for _, path := range names { // sorted: the plain name comes before the .gz
		m := idxName.FindStringSubmatch(filepath.Base(path))
		prefix, split := filepath.Join(filepath.Dir(path), m[1]), strings.ToLower(m[2])
		if split == "t10k" {
			split = "test"
		}
		if found[prefix] == nil {
			found[prefix] = map[string]*idxPair{}
		}
		pair := found[prefix][split]
		if pair == nil {
			pair = &idxPair{}
			found[prefix][split] = pair
		}
		slot := &pair.images
		if strings.EqualFold(m[3], "labels") {
			slot = &pair.labels
		}
		if *slot == "" {
			*slot = path
		}
	}
	return found, nil
}

// escapeGlob makes the characters of a path stand for themselves in a pattern.
func escapeGlob(path string) string {
	if filepath.Separator == '\\' { // where a backslash cannot escape
		return path
	}
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}

// matchingNames returns the names in a folder that match, sorted. The folder is
// read in portions, since it may be a flat one of a million images.
func matchingNames(dir string, pattern *regexp.Regexp) (names []string, err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for {
		batch, err := f.ReadDir(1024)
		for _, e := range batch {
			if !e.IsDir() && pattern.MatchString(e.Name()) {
				names = append(names, e.Name())
			}
		}
		if len(batch) == 0 || err != nil {
			slices.Sort(names)
			if err == io.EOF {
				err = nil
			}
			return names, err
		}
	}
}

// openIDXFolder opens the files found in a folder.
func openIDXFolder(ctx context.Context, dir string, found map[string]map[string]*idxPair, opt *Options) (*opened, error) {
	if len(found) > 1 {
		return nil, reject("%s: holds several IDX sets: give one of its image files instead of the folder", dir)
	}
	for _, splits := range found {
		return openIDXSplits(ctx, dir, splits, opt)
	}
	panic("dataset: no IDX files")
}

func openIDXSplits(ctx context.Context, dir string, splits map[string]*idxPair, opt *Options) (o *opened, err error) {
	s := &rasterSource{}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	var native Shape
	var labels []int32
	labelled := true
	for _, split := range []string{"train", "test"} {
		pair := splits[split]
		if pair == nil || (opt.Split != split && opt.Split != "all") {
			continue
		}
		if pair.images == "" {
			return nil, reject("%s: there are labels but no images for the %s split: add %s-images-idx3-ubyte", dir, split, split)
		}
		part, shape, y, err := s.openPair(split, *pair)
		if err != nil {
			return nil, err
		}
		if len(s.parts) > 0 && shape != native {
			return nil, reject("%s: images of %v, but those of the training split are %v", pair.images, shape, native)
		}
		native = shape
		s.parts = append(s.parts, part)
		labelled = labelled && y != nil
		labels = append(labels, y...)
	}
	if len(s.parts) == 0 {
		return nil, noSplit(dir, opt.Split)
	}
	o, err = openRaster(ctx, s, native, opt)
	if err != nil {
		return nil, err
	}
	o.kind, o.hasTest = IDX, splits["test"] != nil && splits["train"] != nil
	if labelled {
		o.labels, o.classes = labels, idxClasses(labels)
	}
	return o, nil
}

// openPair opens the images of a split and reads its labels, nil if it has none.
func (s *rasterSource) openPair(split string, pair idxPair) (part rasterPart, shape Shape, labels []int32, err error) {
	b, file, h, err := openIDXFile(pair.images)
	if err != nil {
		return part, shape, nil, err
	}
	s.files = append(s.files, file)
	if shape, err = idxShape(pair.images, h); err != nil {
		return part, shape, nil, err
	}
	part = rasterPart{split: split, data: b, offset: h.start, stride: shape.Size(), n: h.dims[0]}
	if pair.labels != "" {
		labels, err = readIDXLabels(pair, h.dims[0])
	}
	return part, shape, labels, err
}

// idxShape decides what the rows of an IDX file are.
func idxShape(name string, h idxHeader) (Shape, error) {
	d := h.dims
	switch {
	case d[0] == 0:
		return Shape{}, reject("%s: the header promises no rows", name)
	case len(d) == 3 && min(d[1], d[2]) > 0 && max(d[1], d[2]) <= maxSide:
		return Shape{d[1], d[2], 1}, nil
	case len(d) == 4 && min(d[1], d[2]) > 0 && max(d[1], d[2]) <= maxSide && (d[3] == 1 || d[3] == 3):
		return Shape{d[1], d[2], d[3]}, nil
	case len(d) == 1:
		return Shape{}, reject("%s: holds %d labels, not images: give the images file or the folder", name, d[0])
	}
	return Shape{}, reject("%s: dimensions %v are not N x H x W images with sides from 1 to %d", name, d, maxSide)
}

func readIDXLabels(pair idxPair, n int) ([]int32, error) {
	b, file, h, err := openIDXFile(pair.labels)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if len(h.dims) != 1 || h.dims[0] != n {
		return nil, reject("%s: %s, but %s has %d images: they do not belong together", pair.labels, dimsText(h.dims), pair.images, n)
	}
	raw := make([]byte, n)
	if m, err := b.ReadAt(raw, h.start); m < n {
		return nil, fmt.Errorf("%s: %w", pair.labels, noEOF(err))
	}
	labels := make([]int32, n)
	for i, y := range raw {
		labels[i] = int32(y)
	}
	return labels, nil
}

// idxClasses names the classes 0 to the largest; at least 10, which all of the
// family have, so that a part of a set agrees with the whole.
func idxClasses(labels []int32) []string {
	top := int32(9)
	for _, y := range labels {
		top = max(top, y)
	}
	return classNumbers(int(top) + 1)
}

// openIDXSingle opens one image file; its labels are found by name beside it.
func openIDXSingle(ctx context.Context, path string, opt *Options) (*opened, error) {
	if opt.Split == "test" {
		return nil, reject("%s is one file without splits: leave the split out, or give the folder", path)
	}
	pair := &idxPair{images: path}
	dir, name := filepath.Split(path)
	if idxName.MatchString(name) {
		lower := strings.NewReplacer("images", "labels", "idx3", "idx1").Replace(strings.TrimSuffix(name, ".gz"))
		for _, candidate := range []string{lower, lower + ".gz"} {
			if _, err := os.Stat(filepath.Join(dir, candidate)); err == nil && pair.labels == "" {
				pair.labels = filepath.Join(dir, candidate)
			}
		}
	}
	return openIDXPair(ctx, path, pair, opt)
}

func openIDXPair(ctx context.Context, path string, pair *idxPair, opt *Options) (*opened, error) {
	s := &rasterSource{}
	part, native, labels, err := s.openPair("", *pair)
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	s.parts = []rasterPart{part}
	o, err := openRaster(ctx, s, native, opt)
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	o.kind = IDX
	if labels != nil {
		o.labels, o.classes = labels, idxClasses(labels)
	}
	return o, nil
}
