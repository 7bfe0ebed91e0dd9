package dataset

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
)

// cifarName matches the files of the binary version of CIFAR-10 and CIFAR-100.
var cifarName = regexp.MustCompile(`^(data_batch_([1-9][0-9]?)|test_batch|train|test)\.bin$`)

// cifarNested are the folders that the official archives unpack to.
var cifarNested = []string{"", "cifar-10-batches-bin", "cifar-100-binary"}

// cifarShape is the shape of every image; a record holds its planes red, green
// and blue after one byte of label (CIFAR-10) or two (CIFAR-100: coarse, fine).
var cifarShape = Shape{32, 32, 3}

// maxMeta bounds the files of class names.
const maxMeta = 1 << 16

// cifarFiles are the files of a set, by base name.
type cifarFiles struct {
	where string           // for messages
	names []string         // of all that are there, sorted
	data  map[string]*blob // those that were opened
	meta  map[string][]byte
	files []io.Closer
}

func newCIFARFiles(where string) *cifarFiles {
	return &cifarFiles{where: where, data: map[string]*blob{}, meta: map[string][]byte{}}
}

func (c *cifarFiles) close() {
	for _, f := range c.files {
		f.Close()
	}
}

// wanted reports whether the split needs a file.
func (c *cifarFiles) wanted(name, split string) bool {
	isTest := strings.HasPrefix(name, "test")
	return split == "all" || isTest == (split == "test")
}

func isMeta(name string) bool { return name == "batches.meta.txt" || name == "fine_label_names.txt" }

// findCIFAR returns the folder within dir that holds CIFAR files, or "".
func findCIFAR(dir string) string {
	for _, nested := range cifarNested {
		sub := filepath.Join(dir, nested)
		if names, err := matchingNames(sub, cifarName); err == nil && len(names) > 0 {
			return sub
		}
	}
	return ""
}

// openCIFARFolder opens the files of a folder; they stay open and are read on
// demand.
func openCIFARFolder(ctx context.Context, dir string, opt *Options) (*opened, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	c := newCIFARFiles(dir)
	for _, e := range entries {
		name, full := e.Name(), filepath.Join(dir, e.Name())
		switch {
		case isMeta(name):
			if err := c.readMeta(name, full); err != nil {
				c.close()
				return nil, err
			}
		case cifarName.MatchString(name):
			c.names = append(c.names, name)
			if !c.wanted(name, opt.Split) {
				continue
			}
			b, file, err := openBlob(full)
			if err != nil {
				c.close()
				return nil, err
			}
			c.data[name], c.files = b, append(c.files, file)
		}
	}
	return c.open(ctx, opt)
}

func (c *cifarFiles) readMeta(name, full string) error {
	f, err := os.Open(full)
	if err != nil {
		return fmt.Errorf("data: %w", err)
	}
	defer f.Close()
	c.meta[name], err = io.ReadAll(io.LimitReader(f, maxMeta))
	return err
}

// openCIFARSingle opens one .bin file as a set without splits.
func openCIFARSingle(ctx context.Context, file string, opt *Options) (*opened, error) {
	if opt.Split == "test" {
		return nil, reject("%s is one file without splits: leave the split out, or give the folder", file)
	}
	b, closer, err := openBlob(file)
	if err != nil {
		return nil, err
	}
	c := newCIFARFiles(file)
	name := filepath.Base(file)
	c.data[name], c.files = b, []io.Closer{closer}
	kind := CIFAR10
	if name == "train.bin" || name == "test.bin" {
		kind = CIFAR100
	}
	return c.assemble(ctx, kind, [][]string{{name}}, []string{""}, opt)
}

// openCIFARArchive opens an official archive. The members of a plain .tar are
// read in place; those of a .tar.gz that the split needs are held in memory.
func openCIFARArchive(ctx context.Context, file string, compressed bool, opt *Options) (*opened, error) {
	b, closer, err := openBlob(file)
	if err != nil {
		return nil, err
	}
	c := newCIFARFiles(file)
	section := io.NewSectionReader(b, 0, b.size)
	var r io.Reader = section
	place := func(size int64) (io.ReaderAt, error) { // of the member about to be read
		at, err := section.Seek(0, io.SeekCurrent)
		return io.NewSectionReader(b, at, size), err
	}
	if compressed {
		defer closer.Close()
		z, err := gzip.NewReader(bufio.NewReaderSize(section, 1<<16))
		if err != nil {
			return nil, reject("%s: damaged gzip file of %d bytes (%v): download it again", file, b.size, err)
		}
		r, place = z, nil
	} else {
		c.files = append(c.files, closer)
	}
	if err := c.readArchive(ctx, r, place, opt.Split); err != nil {
		c.close()
		return nil, err
	}
	return c.open(ctx, opt)
}

// readArchive collects the members of a tar. With place, a member's bytes are not
// read but remembered where they are.
func (c *cifarFiles) readArchive(ctx context.Context, r io.Reader, place func(int64) (io.ReaderAt, error), split string) error {
	t := tar.NewReader(r)
	total := int64(0)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := t.Next()
		if err == io.EOF {
			slices.Sort(c.names)
			return c.checkEnd(r, place)
		}
		if err != nil {
			return reject("%s: damaged archive after %d members (%v): download it again", c.where, len(c.names)+len(c.meta), err)
		}
		name := path.Base(h.Name) // a key into a map, never a path to write to
		if h.Typeflag != tar.TypeReg || !isMeta(name) && !cifarName.MatchString(name) {
			continue
		}
		if isMeta(name) {
			if c.meta[name], err = io.ReadAll(io.LimitReader(t, maxMeta)); err != nil {
				return reject("%s: damaged archive in %s (%v): download it again", c.where, name, err)
			}
			continue
		}
		if slices.Contains(c.names, name) {
			return reject("%s: holds %s twice", c.where, name)
		}
		c.names = append(c.names, name)
		if !c.wanted(name, split) {
			continue
		}
		if total += h.Size; place == nil && total > maxInflate {
			return reject("%s: unpacks to more than %d bytes of memory: unpack it and give the folder", c.where, maxInflate)
		}
		member := &blob{size: h.Size, name: c.where + ":" + name}
		if place != nil {
			member.ReaderAt, err = place(h.Size)
		} else {
			member.ReaderAt, err = inflateMember(t, h.Size)
		}
		if err != nil {
			return reject("%s: %s cut off or damaged, %d bytes expected (%v): download it again", c.where, name, h.Size, err)
		}
		c.data[name] = member
	}
}

// checkEnd reads what follows a compressed archive, so that its checksum is
// verified.
func (c *cifarFiles) checkEnd(r io.Reader, place func(int64) (io.ReaderAt, error)) error {
	if place != nil {
		return nil
	}
	if _, err := io.CopyN(io.Discard, r, maxInflate); err != io.EOF {
		return reject("%s: damaged at its end (%v): download it again", c.where, err)
	}
	return nil
}

// inflateMember reads size bytes to memory, which is taken as the bytes arrive.
func inflateMember(r io.Reader, size int64) (io.ReaderAt, error) {
	var b bytes.Buffer
	b.Grow(int(min(size, 32<<20)))
	n, err := io.Copy(&b, io.LimitReader(r, size))
	if err == nil && n < size {
		err = fmt.Errorf("%d bytes are there: %w", n, io.ErrUnexpectedEOF)
	}
	return bytes.NewReader(b.Bytes()), err
}

// open sorts the files into splits.
func (c *cifarFiles) open(ctx context.Context, opt *Options) (*opened, error) {
	has := func(name string) bool { return slices.Contains(c.names, name) }
	ten := slices.ContainsFunc(c.names, func(s string) bool { return strings.Contains(s, "batch") })
	hundred := has("train.bin") || has("test.bin")
	var err error
	switch {
	case ten && hundred:
		err = reject("%s: holds files of both CIFAR-10 and CIFAR-100: give one of them", c.where)
	case !ten && !hundred:
		err = reject("%s: holds no CIFAR binary files (data_batch_1.bin ... or train.bin): the binary version is needed, not the one for Python or Matlab", c.where)
	}
	if err != nil {
		c.close()
		return nil, err
	}
	kind, train, test := CIFAR100, "train.bin", "test.bin"
	trains := []string{train}
	if ten {
		kind, test = CIFAR10, "test_batch.bin"
		if trains, err = c.batches(); err != nil {
			c.close()
			return nil, err
		}
	}
	hasTrain := len(trains) > 0 && has(trains[0])
	var lists [][]string
	var splits []string
	if opt.Split != "test" && hasTrain {
		lists, splits = append(lists, trains), append(splits, "train")
	}
	if opt.Split != "train" && has(test) {
		lists, splits = append(lists, []string{test}), append(splits, "test")
	}
	if len(lists) == 0 {
		c.close()
		return nil, noSplit(c.where, opt.Split)
	}
	o, err := c.assemble(ctx, kind, lists, splits, opt)
	if err == nil {
		o.hasTest = hasTrain && has(test)
	}
	return o, err
}

// batches returns the training files of CIFAR-10 in order; none may be missing
// in between.
func (c *cifarFiles) batches() ([]string, error) {
	var numbers []int
	for _, name := range c.names {
		if m := cifarName.FindStringSubmatch(name); m[2] != "" {
			k, _ := strconv.Atoi(m[2])
			numbers = append(numbers, k)
		}
	}
	slices.Sort(numbers)
	var names []string
	for i, k := range numbers {
		if k != i+1 {
			return nil, reject("%s: data_batch_%d.bin is missing, but data_batch_%d.bin is there: unpack the archive again", c.where, i+1, k)
		}
		names = append(names, fmt.Sprintf("data_batch_%d.bin", k))
	}
	return names, nil
}

// assemble checks sizes and labels and makes the set. It owns the files, also
// when it fails.
func (c *cifarFiles) assemble(ctx context.Context, kind Kind, lists [][]string, splits []string, opt *Options) (*opened, error) {
	s := &rasterSource{planar: true, files: c.files}
	skip, classes, meta := 1, 10, "batches.meta.txt"
	if kind == CIFAR100 {
		skip, classes, meta = 2, 100, "fine_label_names.txt"
	}
	var labels []int32
	for i, names := range lists {
		first := 0
		for _, name := range names {
			p := rasterPart{split: splits[i], first: first, data: c.data[name], skip: skip, stride: skip + cifarShape.Size()}
			y, err := p.checkCIFAR(kind, classes)
			if err != nil {
				return nil, errors.Join(err, s.close())
			}
			labels = append(labels, y...)
			s.parts = append(s.parts, p)
			first += p.n
		}
	}
	o, err := openRaster(ctx, s, cifarShape, opt)
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	o.kind, o.labels = kind, labels
	if o.classes = strings.Fields(string(c.meta[meta])); len(o.classes) != classes {
		o.classes = classNumbers(classes)
	}
	return o, nil
}

// checkCIFAR sets the number of records of a file and reads their labels.
func (p *rasterPart) checkCIFAR(kind Kind, classes int) ([]int32, error) {
	record := int64(p.stride)
	if p.data.size == 0 || p.data.size%record != 0 {
		return nil, reject("%s: %d bytes are not a whole number of %s records of %d bytes: after row %d, %d bytes are left over (truncated?): unpack it again",
			p.data.name, p.data.size, kind, record, p.data.size/record-1, p.data.size%record)
	}
	p.n = int(p.data.size / record)
	labels := make([]int32, p.n)
	r := bufio.NewReaderSize(io.NewSectionReader(p.data, 0, p.data.size), 1<<18)
	for i := range labels {
		if _, err := r.Discard(p.skip - 1); err != nil {
			return nil, fmt.Errorf("%s: row %d: %w", p.data.name, i, noEOF(err))
		}
		y, err := r.ReadByte()
		if err == nil {
			_, err = r.Discard(p.stride - p.skip)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: row %d: %w", p.data.name, i, noEOF(err))
		}
		if int(y) >= classes {
			return nil, reject("%s: row %d has label %d, %s has %d classes: not a file of it, or damaged", p.data.name, i, y, kind, classes)
		}
		labels[i] = int32(y)
	}
	return labels, nil
}
