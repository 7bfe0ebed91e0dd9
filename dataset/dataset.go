// Package dataset reads the images and vectors a run trains on, and turns them
// into batches of augmented views:
//
//	set, err := dataset.Open(ctx, "photos/", dataset.Options{})
//	if err != nil { ... }
//	defer set.Close()
//	train, held := set.HoldOut()
//	norm, err := dataset.FitNormalizer(ctx, set, train)
//	if err != nil { ... }
//	loader, err := dataset.NewLoader(set, dataset.LoaderOptions{
//		Batch: 256, Views: 2, Seed: 1, Rows: train, Norm: norm,
//		Augment: dataset.DefaultAugment(set),
//	})
//	if err != nil { ... }
//	defer loader.Close()
//	loader.Start(ctx, 0, 0)
//	batch, err := loader.Next() // batch.X is Views*Batch x H*W*C
//
// [Open] recognises a folder tree of images, the IDX files of the MNIST family,
// the binary version of CIFAR-10 and CIFAR-100, and .npy and .npz arrays. It
// reads everything once, so that damaged files, NaN and truncation are known
// before work starts, and keeps only what is small: a listing, and as many
// decoded images as fit in [Options].CacheBytes. Everything else is read again
// when it is needed, so a set may be far larger than memory.
//
// An image is H x W x C numbers in [0,1], row by row, channels last; a vector
// is d raw numbers.
package dataset

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// ErrRejected is wrapped by every error that means the data were read and
// cannot be used: damaged, inconsistent, empty, or not what it was taken for.
var ErrRejected = errors.New("input data rejected")

// ErrOption is wrapped by the error of [Open] for [Options] out of bounds.
var ErrOption = errors.New("option out of bounds")

// rejection carries a message of its own and is an [ErrRejected].
type rejection struct {
	text  string
	cause error
}

// misuse carries a message of its own and is an [ErrOption].
type misuse struct{ error }

func (misuse) Unwrap() error { return ErrOption }

func (r *rejection) Error() string { return r.text }

func (r *rejection) Unwrap() []error {
	if r.cause == nil {
		return []error{ErrRejected}
	}
	return []error{ErrRejected, r.cause}
}

// reject formats an ErrRejected. Messages name the file, the row or byte counts
// and the next step.
func reject(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &rejection{text: err.Error(), cause: errors.Unwrap(err)}
}

// Shape is the size of one row: H x W pixels of C channels. A vector of d
// features has H = W = 1 and C = d.
type Shape struct {
	H int `json:"h"`
	W int `json:"w"`
	C int `json:"c"`
}

// Size returns the number of values of a row, H*W*C.
func (s Shape) Size() int { return s.H * s.W * s.C }

// String returns "28x28x1", height first.
func (s Shape) String() string { return fmt.Sprintf("%dx%dx%d", s.H, s.W, s.C) }

// Kind names a recognised format.
type Kind string

// The formats of [Open], and the embedded digits.
const (
	Folder   Kind = "folder"
	IDX      Kind = "idx"
	CIFAR10  Kind = "cifar10"
	CIFAR100 Kind = "cifar100"
	NPY      Kind = "npy"
	NPZ      Kind = "npz"
	Embedded Kind = "digits"
)

// Options chooses what [Open] reads. The zero value reads the training split
// (everything, where there are no splits) at sizes of its own choice.
type Options struct {
	Split string // "train" (default), "test" or "all"
	// Size is the side of the square photographs are trained at; 0 keeps small
	// images of one size as they are and trains others at 64 pixels.
	Size int
	// Input, unless zero, is the network input to produce whatever the files
	// hold: images are resized and turned to grey or colour. A model that was
	// trained on one set reads another with it. Vectors must have exactly C
	// features. Size is then ignored.
	Input Shape
	// Stored, unless zero, is the shape images are kept at, of which Input is cut
	// out: the [Set.Shape] of the set the model was trained on.
	Stored Shape
	// Range, unless zero, is the minimum and maximum that array images are
	// scaled by, in place of those found in the array ([Set.Range]).
	Range      [2]float64
	Limit      int    // read at most this many rows, chosen by a hash of their identity; 0 = all
	Labels     string // file of labels: csv, tsv, txt or npy
	MaxBad     string // unusable image files tolerated: a count or a share; "" = "10%"
	Workers    int    // goroutines of the scan; 0 = all processors
	CacheBytes int64  // decoded images kept in memory; 0 = 128 MiB, negative = none
	// Progress, if set, is told how many files or rows of the scan are done. It
	// is called from one goroutine at a time.
	Progress func(done, total int)
}

// BadFile is a file that could not be used, and why.
type BadFile struct {
	Path   string `json:"path"` // relative to the folder
	Reason string `json:"reason"`
}

// source is one format's access to its rows, in the order of the format.
type source interface {
	rows() int
	appendID(b []byte, i int) []byte
	// read writes row i at the shape of the set. It is safe for concurrent use.
	read(i int, dst []float32) error
	close() error
}

// opened is what recognising a format yields.
type opened struct {
	kind    Kind
	src     source
	shape   Shape // of read
	out     Shape // of the network input
	vector  bool
	hasTest bool
	scale   [2]float64
	labels  []int32 // one per row of src; nil if there are none
	classes []string
	pick    []int32 // rows of src the limit left; nil = all
	bad     []BadFile
	ignored int
	hash    string
}

// Set is an open set of rows. All methods are safe for concurrent use, except
// Close.
type Set struct {
	opened
	path    string
	split   string
	workers int // of Options
}

// Open recognises the format of path, reads everything once and returns the
// rows of the chosen split. What was read and cannot be used is an
// [ErrRejected]; a path that cannot be read, an error of package fs.
func Open(ctx context.Context, path string, opt Options) (*Set, error) {
	if err := opt.complete(); err != nil {
		return nil, misuse{err}
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(abs)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("data: %s: %w: give a folder of images, or an IDX, CIFAR, .npy or .npz file", abs, fs.ErrNotExist)
	}
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	o, err := recognise(ctx, abs, info, &opt)
	if err != nil {
		return nil, err
	}
	s := &Set{opened: *o, path: path, split: opt.Split, workers: opt.Workers}
	if err := s.finish(&opt); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// complete checks the options and fills in defaults.
func (o *Options) complete() error {
	if o.Split == "" {
		o.Split = "train"
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 128 << 20
	}
	var errs []error
	if o.Split != "train" && o.Split != "test" && o.Split != "all" {
		errs = append(errs, fmt.Errorf("split %q is not one of train, test, all", o.Split))
	}
	if o.Size < 0 || o.Size > maxSide {
		errs = append(errs, fmt.Errorf("size %d is not within 1 to %d pixels (0 chooses)", o.Size, maxSide))
	}
	if o.Input != (Shape{}) && (min(o.Input.H, o.Input.W, o.Input.C) < 1 || max(o.Input.H, o.Input.W) > maxSide) {
		errs = append(errs, fmt.Errorf("network input %v has a side below 1 or above %d", o.Input, maxSide))
	}
	if o.Stored != (Shape{}) && (o.Stored.C != o.Input.C || o.Stored.H < o.Input.H || o.Stored.W < o.Input.W || max(o.Stored.H, o.Stored.W) > maxSide) {
		errs = append(errs, fmt.Errorf("stored shape %v does not contain the network input %v", o.Stored, o.Input))
	}
	if o.Limit < 0 {
		errs = append(errs, fmt.Errorf("limit %d is negative (0 reads all rows)", o.Limit))
	}
	if err := CheckMaxBad(o.MaxBad); err != nil {
		errs = append(errs, fmt.Errorf("max bad: %w", err))
	}
	return errors.Join(errs...)
}

// suits checks rows against the input that is asked for: images can be resized,
// but not turned into vectors, nor vectors into anything else.
func (o *Options) suits(path string, native Shape, vector bool) error {
	in := o.Input
	wantsVectors := in.H == 1 && in.W == 1 && o.Range == [2]float64{} // the range of images is not empty
	switch {
	case in == (Shape{}), !vector && !wantsVectors:
		return nil
	case !vector:
		return reject("%s: the model takes vectors of %d numbers, these are images", path, in.C)
	case !wantsVectors:
		return reject("%s: the model takes images of %v, these are vectors of %d numbers", path, in, native.C)
	case native != in:
		return reject("%s: the model takes vectors of %d numbers, these have %d", path, in.C, native.C)
	}
	return nil
}

// maxSide bounds the stored side of an image; 4096 x 4096 x 3 floats are 200 MB.
const maxSide = 4096

// finish applies what is common to all formats: limit and labels.
func (s *Set) finish(opt *Options) error {
	if s.src.rows() == 0 {
		return reject("%s: the %s split has no rows", s.path, s.split)
	}
	if s.pick == nil && opt.Limit > 0 && opt.Limit < s.src.rows() {
		s.pick = smallestHashes(s.src.rows(), opt.Limit, "limit", s.src.appendID)
	}
	if opt.Labels != "" {
		return s.readLabels(opt.Labels)
	}
	return nil
}

// Kind returns the format that was recognised.
func (s *Set) Kind() Kind { return s.kind }

// Path returns the path as it was given to [Open].
func (s *Set) Path() string { return s.path }

// Split returns "train", "test" or "all".
func (s *Set) Split() string { return s.split }

// HasTest reports whether the data have a test split of their own.
func (s *Set) HasTest() bool { return s.hasTest }

// Len returns the number of rows N.
func (s *Set) Len() int {
	if s.pick != nil {
		return len(s.pick)
	}
	return s.src.rows()
}

// Shape returns the shape of a row as Read gives it. Photographs are stored a
// little larger than the network input, see [OutShape].
func (s *Set) Shape() Shape { return s.shape }

// OutShape returns the shape of the network input for this set.
func OutShape(s *Set) Shape { return s.out }

// Vector reports whether rows are vectors, not images.
func (s *Set) Vector() bool { return s.vector }

// Range returns the minimum and maximum that array images are scaled by, and
// 0, 255 for image files. Give it to [Options].Range to scale another array
// the same way. It is 0, 0 for vectors, which are not scaled.
func (s *Set) Range() [2]float64 { return s.scale }

// row translates a row of the set into one of the source.
func (s *Set) row(i int) int {
	if s.pick != nil {
		return int(s.pick[i])
	}
	return i
}

// ID returns the identity of row i, which does not depend on the other rows: a
// path relative to the folder, with slashes, or "train/123" where a format has
// numbered splits, or "123".
func (s *Set) ID(i int) string { return string(s.src.appendID(nil, s.row(i))) }

func (s *Set) appendID(b []byte, i int) []byte { return s.src.appendID(b, s.row(i)) }

// Label returns the class of row i, or -1 if it has none.
func (s *Set) Label(i int) int {
	if s.labels == nil {
		return -1
	}
	return int(s.labels[s.row(i)])
}

// Classes returns the names of the classes; a label is an index into it. It is
// empty if there are no labels.
func (s *Set) Classes() []string { return s.classes }

// Labelled reports whether rows have labels of at least two classes.
func (s *Set) Labelled() bool { return s.labels != nil && len(s.classes) > 1 }

// Read writes row i to dst, which has Shape().Size() elements: an image scaled
// to [0,1], H x W x C, or a raw vector. An error names the file.
func (s *Set) Read(i int, dst []float32) error {
	if len(dst) != s.shape.Size() {
		panic("dataset: dst has not the size of a row")
	}
	return s.src.read(s.row(i), dst)
}

// Fingerprint identifies the data: a hash of the identity and the bytes of
// every row that is used. It does not depend on labels, workers or caches.
func (s *Set) Fingerprint() string { return s.hash }

// Bad lists the files that were skipped because they could not be used, sorted
// by path.
func (s *Set) Bad() []BadFile { return s.bad }

// Ignored returns the number of files in a folder that are not images by name,
// which were left alone.
func (s *Set) Ignored() int { return s.ignored }

// Close releases the files that are held open.
func (s *Set) Close() error { return s.src.close() }

// numbered appends the identity of row i of a format without names.
func numbered(b []byte, split string, i int) []byte {
	if split != "" {
		b = append(append(b, split...), '/')
	}
	return strconv.AppendInt(b, int64(i), 10)
}

// classNumbers names n classes by their numbers.
func classNumbers(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = strconv.Itoa(i)
	}
	return names
}
