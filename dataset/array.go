package dataset

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"sync"

	"nat/internal/tensorfile"
)

// blob is random access to bytes with a name for messages.
type blob struct {
	io.ReaderAt
	size int64
	name string
}

// openBlob opens a file; the caller closes it.
func openBlob(path string) (*blob, io.Closer, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("data: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("data: %w", err)
	}
	return &blob{ReaderAt: f, size: info.Size(), name: path}, f, nil
}

// arrayPart is one split of an array: its rows and, if known, their labels.
type arrayPart struct {
	split  string // prefix of identities, "" if there are no splits
	a      *tensorfile.Array
	labels []int64
}

// openArrayPart reads the headers of an array and of its labels, if any.
func openArrayPart(split string, images, labels *blob) (arrayPart, error) {
	a, err := tensorfile.OpenNPY(images, images.size, images.name)
	if err != nil {
		return arrayPart{}, arrayError(err)
	}
	p := arrayPart{split: split, a: a}
	if labels != nil {
		l, err := tensorfile.OpenNPY(labels, labels.size, labels.name)
		if err != nil {
			return arrayPart{}, arrayError(err)
		}
		return p, p.setLabels(l)
	}
	return p, nil
}

// setLabels reads the labels of the part and checks their number.
func (p *arrayPart) setLabels(l *tensorfile.Array) error {
	if l.Rows() != p.a.Rows() {
		return reject("%s has %d rows, but its labels %s have %d: give one label per row", p.a.Path, p.a.Rows(), l.Path, l.Rows())
	}
	var err error
	p.labels, err = l.Ints()
	return arrayError(err)
}

// arrayError turns a malformed file into a rejection.
func arrayError(err error) error {
	if errors.Is(err, tensorfile.ErrFormat) {
		return reject("%w: write the file again", err)
	}
	return err
}

// openNPY opens a single .npy file.
func openNPY(ctx context.Context, path string, opt *Options) (*opened, error) {
	if opt.Split == "test" {
		return nil, noSplit(path, opt.Split)
	}
	b, file, err := openBlob(path)
	if err != nil {
		return nil, err
	}
	part, err := openArrayPart("", b, nil)
	if err != nil {
		file.Close()
		return nil, err
	}
	o, err := openParts(ctx, path, []arrayPart{part}, opt, file)
	if err != nil {
		file.Close()
		return nil, err
	}
	o.kind = NPY
	return o, nil
}

// Names under which an .npz archive may hold its rows, best first; the arrays
// of splits are called x_train and y_train, x_test and y_test.
var (
	rowNames   = []string{"x", "X", "images", "data", "arr_0"}
	labelNames = []string{"y", "Y", "labels"}
)

// openNPZ opens an .npz archive: rows under "x", "images", "arr_0" or as the
// only array, labels under "y" or "labels"; or x_train, y_train, x_test, y_test.
func openNPZ(ctx context.Context, path string, opt *Options) (*opened, error) {
	z, err := tensorfile.OpenNPZ(path)
	if err != nil {
		return nil, arrayError(err)
	}
	parts, hasTest, err := npzParts(z, path, opt.Split)
	if err == nil {
		var o *opened
		if o, err = openParts(ctx, path, parts, opt, z); err == nil {
			o.kind, o.hasTest = NPZ, hasTest
			return o, nil
		}
	}
	z.Close()
	return nil, err
}

func npzParts(z *tensorfile.NPZ, path, split string) (parts []arrayPart, hasTest bool, err error) {
	names := z.Names()
	if len(names) == 0 {
		return nil, false, reject("%s holds no arrays: np.savez(path, x=rows, y=labels)", path)
	}
	has := func(name string) bool { return slices.Contains(names, name) }
	open := func(split, rows, labels string) error {
		a, err := z.Open(rows)
		if err != nil {
			return arrayError(err)
		}
		p := arrayPart{split: split, a: a}
		if has(labels) {
			l, err := z.Open(labels)
			if err != nil {
				return arrayError(err)
			}
			if err := p.setLabels(l); err != nil {
				return err
			}
		}
		parts = append(parts, p)
		return nil
	}
	if has("x_train") {
		hasTest = has("x_test")
		for _, s := range []string{"train", "test"} {
			if (split == s || split == "all") && has("x_"+s) && err == nil {
				err = open(s, "x_"+s, "y_"+s)
			}
		}
		return parts, hasTest, err
	}
	find := func(wanted []string) string {
		for _, name := range wanted {
			if has(name) {
				return name
			}
		}
		return ""
	}
	rows := find(rowNames)
	if rows == "" && len(names) == 1 {
		rows = names[0]
	}
	if rows == "" {
		return nil, false, reject("%s: holds the arrays %s, none of them called %s: np.savez(path, x=rows, y=labels)",
			path, strings.Join(names, ", "), strings.Join(rowNames, ", "))
	}
	if split == "test" {
		return nil, false, noSplit(path, split)
	}
	err = open("", rows, find(labelNames))
	return parts, false, err
}

// arraySource reads rows of one or more arrays of the same row shape.
type arraySource struct {
	parts   []arrayPart
	total   int
	vector  bool
	planar  bool // channels first in the file
	fit     *fitter
	lo, inv float32   // images: (x-lo)*inv
	memory  []float32 // all rows, scaled, if they fit in the cache
	files   []io.Closer
}

// openParts checks the shapes, reads all values once and returns the rows.
func openParts(ctx context.Context, path string, parts []arrayPart, opt *Options, files ...io.Closer) (*opened, error) {
	s := &arraySource{parts: parts, files: files}
	native, err := s.setShape(path, opt)
	if err != nil {
		return nil, err
	}
	o := &opened{src: s, shape: native, out: native, vector: s.vector}
	if err := opt.suits(path, native, s.vector); err != nil {
		return nil, err
	}
	if !s.vector {
		o.shape, o.out = shapes(native, autoSide, opt)
	}
	s.fit = newFitter(native, o.shape)
	if opt.Limit > 0 && opt.Limit < s.total {
		o.pick = smallestHashes(s.total, opt.Limit, "limit", s.appendID)
	}
	if o.scale, o.hash, err = s.scan(ctx, path, o.pick, opt); err != nil {
		return nil, err
	}
	if !s.vector {
		s.lo, s.inv = float32(o.scale[0]), 1
		if d := o.scale[1] - o.scale[0]; d > 0 {
			s.inv = float32(1 / d)
		}
		if s.memory != nil {
			if err := s.rescaleMemory(ctx, opt.Workers); err != nil {
				return nil, err
			}
		}
	}
	return o, s.setLabels(o)
}

// setShape checks that the parts agree and decides what their rows are: N x d
// are vectors, N x H x W grey images, N x H x W x C images; N x C x H x W is
// taken when only the second dimension can be channels (1, 3 or 4).
func (s *arraySource) setShape(path string, opt *Options) (Shape, error) {
	if len(s.parts) == 0 {
		return Shape{}, noSplit(path, opt.Split)
	}
	first := s.parts[0].a
	for _, p := range s.parts {
		if len(p.a.Shape) != len(first.Shape) || len(first.Shape) > 0 && !slices.Equal(p.a.Shape[1:], first.Shape[1:]) {
			return Shape{}, reject("%s has rows of shape %v, %s of shape %v: splits must agree", first.Path, first.Shape, p.a.Path, p.a.Shape)
		}
		s.total += p.a.Rows()
	}
	if s.total == 0 {
		return Shape{}, reject("%s: shape %v has no rows", path, first.Shape)
	}
	channels := func(c int) bool { return c == 1 || c == 3 || c == 4 }
	switch d := first.Shape; {
	case len(d) == 2:
		s.vector = true
		return Shape{1, 1, d[1]}, nil
	case len(d) == 3 && max(d[1], d[2]) <= maxSide:
		return Shape{d[1], d[2], 1}, nil
	case len(d) == 4 && channels(d[3]) && max(d[1], d[2]) <= maxSide:
		return Shape{d[1], d[2], d[3]}, nil
	case len(d) == 4 && channels(d[1]) && max(d[2], d[3]) <= maxSide:
		s.planar = true
		return Shape{d[2], d[3], d[1]}, nil
	default:
		return Shape{}, reject("%s: shape %v is neither N x d vectors nor N x H x W [x C] images (C 1, 3 or 4; sides up to %d): reshape it", path, d, maxSide)
	}
}

// noSplit is the error of asking for a split that is not there.
func noSplit(path, split string) error {
	return reject("%s has no %s split: use split all", path, split)
}

// scanBlock is the number of values that are read and hashed at a time.
const scanBlock = 1 << 20

// blockStats is what the scan learns from one block.
type blockStats struct {
	lo, hi float32
	bad    int // first row with NaN or Inf, or -1
	count  int // such rows
	sum    [sha256.Size]byte
}

// scan reads all picked rows once, in blocks and in parallel: it finds rows with
// NaN or Inf, the range of values and the fingerprint, and keeps the rows if
// they fit in the cache.
func (s *arraySource) scan(ctx context.Context, path string, pick []int32, opt *Options) (scale [2]float64, hash string, err error) {
	n, rowLen := s.total, s.fit.native.Size()
	if pick != nil {
		n = len(pick)
	} else if int64(s.total) <= opt.CacheBytes/int64(4*rowLen) {
		s.memory = make([]float32, s.total*rowLen)
	}
	perBlock := max(scanBlock/rowLen, 1)
	stats := make([]blockStats, (n+perBlock-1)/perBlock)
	show := progress{total: n, report: opt.Progress}
	size := min(perBlock, n) * rowLen
	if s.memory != nil {
		size = 0 // rows are read to where they stay
	}
	buffers := sync.Pool{New: func() any { x := make([]float32, size); return &x }}
	err = forEach(ctx, opt.Workers, len(stats), func(b int) error {
		lo, hi := b*perBlock, min(n, (b+1)*perBlock)
		buffer := buffers.Get().(*[]float32)
		defer buffers.Put(buffer)
		x, err := s.block(*buffer, pick, lo, hi)
		if err != nil {
			return arrayError(err)
		}
		stats[b] = examine(x, rowLen)
		show.add(hi - lo)
		return nil
	})
	if err != nil {
		return scale, "", err
	}
	return s.merge(path, stats, pick, perBlock, opt)
}

// block reads rows lo to hi-1 of the picked ones, into buffer if they are not to
// be kept.
func (s *arraySource) block(buffer []float32, pick []int32, lo, hi int) ([]float32, error) {
	rowLen := s.fit.native.Size()
	if s.memory != nil {
		x := s.memory[lo*rowLen : hi*rowLen]
		return x, s.readRows(x, lo, hi)
	}
	x := buffer[:(hi-lo)*rowLen]
	if pick == nil {
		return x, s.readRows(x, lo, hi)
	}
	for k := lo; k < hi; k++ {
		i := int(pick[k])
		if err := s.readRows(x[(k-lo)*rowLen:(k-lo+1)*rowLen], i, i+1); err != nil {
			return nil, err
		}
	}
	return x, nil
}

// examine looks at the rows of a block.
func examine(x []float32, rowLen int) blockStats {
	st := blockStats{lo: float32(math.Inf(1)), hi: float32(math.Inf(-1)), bad: -1}
	for r := range len(x) / rowLen {
		row := x[r*rowLen : (r+1)*rowLen]
		var check float32
		for _, v := range row {
			check += v - v // 0 for finite values, NaN otherwise
			st.lo, st.hi = min(st.lo, v), max(st.hi, v)
		}
		if check != 0 {
			if st.bad < 0 {
				st.bad = r
			}
			st.count++
		}
	}
	h := sha256.New()
	buf := make([]byte, 0, 4<<10)
	for _, v := range x {
		if buf = binary.LittleEndian.AppendUint32(buf, math.Float32bits(v)); len(buf) == cap(buf) {
			h.Write(buf)
			buf = buf[:0]
		}
	}
	h.Write(buf)
	h.Sum(st.sum[:0])
	return st
}

// merge combines the blocks in order.
func (s *arraySource) merge(path string, stats []blockStats, pick []int32, perBlock int, opt *Options) (scale [2]float64, hash string, err error) {
	bad, count := -1, 0
	lo, hi := stats[0].lo, stats[0].hi
	h := sha256.New()
	fmt.Fprintf(h, "array %v %v %v\n", s.fit.native, s.vector, len(stats))
	s.hashIdentities(h, pick)
	for b, st := range stats {
		if st.bad >= 0 && bad < 0 {
			bad = b*perBlock + st.bad
		}
		count += st.count
		lo, hi = min(lo, st.lo), max(hi, st.hi)
		h.Write(st.sum[:])
	}
	if bad >= 0 {
		if pick != nil {
			bad = int(pick[bad])
		}
		part, row := s.locate(bad)
		return scale, "", reject("%s: row %d holds NaN or infinite values, as do %d of %d rows in all: remove or repair them",
			part.a.Path, row, count, s.total)
	}
	if !s.vector {
		scale = [2]float64{float64(lo), float64(hi)}
		if opt.Range != ([2]float64{}) {
			scale = opt.Range
		}
	}
	return scale, hex.EncodeToString(h.Sum(nil)), nil
}

// hashIdentities adds which rows are used. Without a limit the splits and their
// lengths say it.
func (s *arraySource) hashIdentities(w io.Writer, pick []int32) {
	for _, p := range s.parts {
		fmt.Fprintf(w, "%s %d\n", p.split, p.a.Rows())
	}
	for _, i := range pick {
		fmt.Fprintln(w, i)
	}
}

// locate returns the part that holds row i and the row within it.
func (s *arraySource) locate(i int) (*arrayPart, int) {
	for k := range s.parts {
		p := &s.parts[k]
		if i < p.a.Rows() {
			return p, i
		}
		i -= p.a.Rows()
	}
	panic("dataset: row out of range")
}

// readRows reads rows lo to hi-1 as they are in the files.
func (s *arraySource) readRows(dst []float32, lo, hi int) error {
	rowLen := s.fit.native.Size()
	for lo < hi {
		p, i := s.locate(lo)
		k := min(hi-lo, p.a.Rows()-i)
		if err := p.a.ReadRows(dst[:k*rowLen], i, i+k); err != nil {
			return err
		}
		dst, lo = dst[k*rowLen:], lo+k
	}
	return nil
}

// setLabels collects the labels of all parts, if every part has them.
func (s *arraySource) setLabels(o *opened) error {
	top := int64(-1)
	for _, p := range s.parts {
		if p.labels == nil {
			return nil
		}
		for i, y := range p.labels {
			if y < -1 || y >= maxClasses {
				return reject("%s: label %d of row %d is not a class number from 0 to %d (or -1 for none)", p.a.Path, y, i, maxClasses-1)
			}
			top = max(top, y)
		}
	}
	o.labels = make([]int32, 0, s.total)
	for k := range s.parts {
		for _, y := range s.parts[k].labels {
			o.labels = append(o.labels, int32(y))
		}
		s.parts[k].labels = nil // not needed twice
	}
	o.classes = classNumbers(int(top) + 1)
	return nil
}

// maxClasses bounds class numbers, since there is a name for each up to the largest.
const maxClasses = 1 << 16

func (s *arraySource) rows() int { return s.total }

func (s *arraySource) appendID(b []byte, i int) []byte {
	p, row := s.locate(i)
	return numbered(b, p.split, row)
}

func (s *arraySource) read(i int, dst []float32) error {
	if s.vector {
		return s.native(i, dst)
	}
	return s.fit.fit(dst, func(x []float32) error {
		if !s.planar {
			return s.scaled(i, x)
		}
		tmp := make([]float32, len(x))
		err := s.scaled(i, tmp)
		interleave(x, tmp, s.fit.native.C)
		return err
	})
}

// scaled copies row i as it is in the file, but scaled to [0,1].
func (s *arraySource) scaled(i int, dst []float32) error {
	err := s.native(i, dst)
	if s.memory == nil {
		s.rescale(dst)
	}
	return err
}

// rescaleMemory scales all rows that are kept, once.
func (s *arraySource) rescaleMemory(ctx context.Context, workers int) error {
	return forEach(ctx, workers, (len(s.memory)+scanBlock-1)/scanBlock, func(b int) error {
		s.rescale(s.memory[b*scanBlock : min(len(s.memory), (b+1)*scanBlock)])
		return nil
	})
}

// native copies row i as it is kept, or as it is in the file.
func (s *arraySource) native(i int, dst []float32) error {
	if s.memory != nil {
		copy(dst, s.memory[i*len(dst):])
		return nil
	}
	return s.readRows(dst, i, i+1)
}

// rescale maps the range of the array to [0,1]; what lies outside of a range
// that was given is clipped.
func (s *arraySource) rescale(x []float32) {
	for i, v := range x {
		x[i] = min(max((v-s.lo)*s.inv, 0), 1)
	}
}

// interleave turns c planes into pixels of c channels.
func interleave(dst, planes []float32, c int) {
	n := len(planes) / c
	for ch := range c {
		for i, v := range planes[ch*n : (ch+1)*n] {
			dst[i*c+ch] = v
		}
	}
}

func (s *arraySource) close() error {
	var errs []error
	for _, f := range s.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}
