package dataset

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// folderSource reads the images of a tree. The files that the scan found usable
// are listed; some of them are kept decoded.
type folderSource struct {
	root   string
	names  listing
	shape  Shape    // stored
	exact  bool     // every image has this size; otherwise it is cut and resized
	cache  [][]byte // pixels of a row, of 1 or 3 channels by their number; nil = not kept
	room   atomic.Int64
	gate   *gate
	spares sync.Pool // of *decoder
}

// collectAbove is the size in bytes from which a decoded image is worth a garbage
// collection of its own; decoding one takes half a second.
const collectAbove = 64 << 20

// errSize is returned for an image of another size than that of all others.
var errSize = errors.New("has another size")

func (s *folderSource) rows() int { return s.names.len() }

func (s *folderSource) appendID(b []byte, i int) []byte { return append(b, s.names.path(i)...) }

func (s *folderSource) close() error { return nil }

func (s *folderSource) fullPath(i int) string {
	return filepath.Join(s.root, filepath.FromSlash(string(s.names.path(i))))
}

func (s *folderSource) read(i int, dst []float32) error {
	if pix := s.cache[i]; pix != nil {
		p := picture{pix, len(pix) / (s.shape.H * s.shape.W)}
		p.write(dst, s.shape.C)
		return nil
	}
	p, _, err := s.load(i)
	if err != nil {
		return fmt.Errorf("data: %s: %s (it could be read when the folder was opened)", s.fullPath(i), reason(err))
	}
	p.write(dst, s.shape.C)
	return nil
}

// load decodes file i to the stored size and hashes its bytes.
func (s *folderSource) load(i int) (p picture, sum [sha256.Size]byte, err error) {
	d, _ := s.spares.Get().(*decoder)
	if d == nil {
		d = &decoder{}
	}
	defer s.spares.Put(d)
	path := s.fullPath(i)
	if info, err := os.Stat(path); err == nil && info.Size() > bigFile {
		s.gate.big.Lock()
		defer s.gate.big.Unlock()
	}
	b, err := d.readFile(path)
	if err != nil {
		return p, sum, err
	}
	sum = sha256.Sum256(b)
	head, err := readHeader(b)
	if err != nil {
		return p, sum, err
	}
	if h, w := head.upright(); s.exact && (h != s.shape.H || w != s.shape.W) {
		return p, sum, fmt.Errorf("%w: %d x %d, not %d x %d", errSize, w, h, s.shape.W, s.shape.H)
	}
	defer s.gate.leave(s.gate.enter(head.cost))
	p, err = d.decode(b, &head, s.shape.H, s.shape.W)
	if head.cost > collectAbove {
		runtime.GC() // or the next one would come on top of this one
	}
	return p, sum, err
}

// openFolder lists a tree and decodes every image of the split once.
func openFolder(ctx context.Context, dir string, opt *Options) (*opened, error) {
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	o := &opened{kind: Folder, scale: [2]float64{0, 255}}
	bases, all, err := splitFolders(root, opt.Split)
	if err != nil {
		return nil, err
	}
	o.hasTest = len(all) > 1
	l := &lister{ctx: ctx, root: root, bases: bases}
	if err := l.list(); err != nil {
		return nil, err
	}
	if l.len() == 0 {
		return nil, l.nothingFound()
	}
	o.bad, o.ignored = l.bad, l.ignored
	if opt.Limit > 0 && opt.Limit < l.len() {
		l.choose(opt.Limit)
	}
	if err := scanFolder(ctx, o, root, l.listing, opt); err != nil {
		return nil, err
	}
	return o, o.folderLabels(root, all)
}

// choose keeps the rows that a limit leaves, before anything is decoded.
func (l *listing) choose(limit int) {
	pick := smallestHashes(l.len(), limit, "limit", func(b []byte, i int) []byte { return append(b, l.path(i)...) })
	l.keep(func(i int) bool {
		ok := len(pick) > 0 && int(pick[0]) == i
		if ok {
			pick = pick[1:]
		}
		return ok
	})
}

// splitFolders returns the folders to walk for a split, and those of all splits:
// train and test (or val, if there is no test) directly below the root. A tree
// without them has one split, the root.
func splitFolders(root, split string) (walk, all []string, err error) {
	isDir := func(name string) bool {
		info, err := os.Stat(filepath.Join(root, name))
		return err == nil && info.IsDir()
	}
	test := "test"
	if !isDir(test) {
		test = "val"
	}
	if !isDir("train") || !isDir(test) {
		if split == "test" {
			return nil, nil, reject("%s has no test split: a folder has one if it holds the folders train and test (or val); use split all", root)
		}
		return []string{""}, []string{""}, nil
	}
	all = []string{test, "train"} // sorted
	if test == "test" && isDir("val") {
		all = append(all, "val")
	}
	switch split {
	case "train":
		return []string{"train"}, all, nil
	case "test":
		return []string{test}, all, nil
	}
	return all, all, nil
}

// scanFolder decodes every listed image once. It decides the stored shape from a
// sample of the files; if the whole does not bear it out, it begins again.
func scanFolder(ctx context.Context, o *opened, root string, names listing, opt *Options) error {
	native, side := sampleSizes(root, &names)
	if err := opt.suits(root, native, false); err != nil {
		return err
	}
	for {
		stored, out := shapes(native, side, opt)
		s := &folderSource{root: root, names: names, shape: stored, gate: newGate()}
		s.exact = native.H > 0 && stored == out && opt.Input == (Shape{}) && opt.Size == 0
		s.room.Store(opt.CacheBytes)
		err := s.scan(ctx, o, opt)
		if errors.Is(err, errSize) {
			native = Shape{C: 3}
			continue
		}
		if opt.Input == (Shape{}) {
			out.C = s.shape.C
		}
		o.src, o.shape, o.out = s, s.shape, out
		return err
	}
}

// sampleSizes looks at the headers of up to 256 files spread over the list. It
// returns their common size, or H = 0, and the automatic side to train at: the
// median short side, within 32 and 64.
func sampleSizes(root string, names *listing) (native Shape, side int) {
	d := &decoder{}
	var sides []int
	same := true
	n := min(names.len(), 256)
	for k := range n {
		path := string(names.path(k * names.len() / n))
		b, err := d.readFile(filepath.Join(root, filepath.FromSlash(path)))
		if err != nil {
			continue
		}
		head, err := readHeader(b)
		if err != nil {
			continue
		}
		h, w := head.upright()
		if len(sides) == 0 {
			native = Shape{h, w, 3}
		}
		same = same && native.H == h && native.W == w
		sides = append(sides, min(h, w))
	}
	if !same || len(sides) == 0 {
		native = Shape{C: 3}
	}
	if len(sides) == 0 {
		return native, autoSide
	}
	slices.Sort(sides)
	return native, max(32, min(autoSide, sides[len(sides)/2]/8*8))
}

// scan decodes all files, drops the unusable ones from the list and records
// them, and fills the cache.
func (s *folderSource) scan(ctx context.Context, o *opened, opt *Options) error {
	n := s.names.len()
	s.cache = make([][]byte, n)
	sums := make([][16]byte, n)
	var (
		mu     sync.Mutex
		failed = map[int]string{}
		colour atomic.Bool
	)
	show := progress{total: n, report: opt.Progress}
	err := forEach(ctx, opt.Workers, n, func(i int) error {
		defer show.add(1)
		p, sum, err := s.load(i)
		if errors.Is(err, errSize) {
			return err
		}
		if err != nil {
			mu.Lock()
			defer mu.Unlock()
			failed[i] = reason(err)
			return nil
		}
		if p.c == 3 {
			colour.Store(true)
		}
		sums[i] = [16]byte(sum[:])
		if size := int64(len(p.pix)); s.room.Add(-size) >= 0 {
			s.cache[i] = p.pix
		} else {
			s.room.Add(size)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if opt.Input == (Shape{}) {
		s.shape.C = 1
		if colour.Load() {
			s.shape.C = 3
		}
	}
	return s.settle(o, sums, failed, opt)
}

// settle drops the failed files, checks how many there are, and computes the
// fingerprint.
func (s *folderSource) settle(o *opened, sums [][16]byte, failed map[int]string, opt *Options) error {
	total := len(sums) + len(o.bad)
	for i, why := range failed {
		o.bad = append(o.bad, BadFile{string(s.names.path(i)), why})
	}
	slices.SortFunc(o.bad, func(a, b BadFile) int { return strings.Compare(a.Path, b.Path) })
	h := sha256.New()
	kept := s.cache[:0]
	for i, sum := range sums {
		if _, bad := failed[i]; !bad {
			fmt.Fprintf(h, "%q\n", s.names.path(i))
			h.Write(sum[:])
			kept = append(kept, s.cache[i])
		}
	}
	s.cache = kept
	names := listing{bytes.Clone(s.names.arena), slices.Clone(s.names.ends)}
	names.keep(func(i int) bool { _, bad := failed[i]; return !bad })
	s.names = names
	o.hash = hex.EncodeToString(h.Sum(nil))
	return checkBad(s.root, o.bad, total, s.names.len(), opt.MaxBad)
}

// checkBad refuses a folder with too many unusable files, or nothing else.
func checkBad(root string, bad []BadFile, total, good int, maxBad string) error {
	limit, err := parseMaxBad(maxBad, total)
	if err != nil {
		return fmt.Errorf("max bad: %w", err)
	}
	if len(bad) <= limit && good > 0 {
		return nil
	}
	first := ""
	for _, b := range bad[:min(len(bad), 3)] {
		first += fmt.Sprintf("; %s: %s", b.Path, b.Reason)
	}
	if good == 0 {
		return reject("%s: none of the %d image files can be used%s: check what they are", root, total, first)
	}
	if maxBad == "" {
		maxBad = "10%"
	}
	return reject("%s: %d of %d image files cannot be used, more than the %d allowed (%s)%s: repair or remove them, or raise --max-bad",
		root, len(bad), total, limit, maxBad, first)
}

// folderLabels takes the first folder below the split as the class. Class names
// come from all splits, so that a number means the same in each. One folder for
// all is no class.
func (o *opened) folderLabels(root string, splits []string) error {
	s := o.src.(*folderSource)
	class := func(i int) string {
		path := s.names.path(i)
		if len(splits) > 1 {
			_, path, _ = bytes.Cut(path, []byte("/"))
		}
		name, _, ok := bytes.Cut(path, []byte("/"))
		if !ok {
			return ""
		}
		return string(name)
	}
	numbers := map[string]int32{}
	for i := range s.rows() {
		numbers[class(i)] = 0
	}
	if len(splits) > 1 {
		for _, split := range splits {
			entries, err := os.ReadDir(filepath.Join(root, split))
			if err != nil {
				return fmt.Errorf("data: %w", err)
			}
			for _, e := range entries {
				info, err := os.Stat(filepath.Join(root, split, e.Name())) // follows links
				if err == nil && info.IsDir() && !strings.HasPrefix(e.Name(), ".") {
					numbers[e.Name()] = 0
				}
			}
		}
	}
	delete(numbers, "")
	if len(numbers) < 2 {
		return nil
	}
	for name := range numbers {
		o.classes = append(o.classes, name)
	}
	slices.Sort(o.classes)
	for i, name := range o.classes {
		numbers[name] = int32(i)
	}
	numbers[""] = -1
	o.labels = make([]int32, s.rows())
	for i := range o.labels {
		o.labels[i] = numbers[class(i)]
	}
	return nil
}
