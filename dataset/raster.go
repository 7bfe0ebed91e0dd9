package dataset

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"sync"
)

// byteScale maps a byte to [0,1].
var byteScale = func() (t [256]float32) {
	for i := range t {
		t[i] = float32(i) / 255
	}
	return t
}()

// rasterPart is one file of images of a byte per value, or vectors, one record
// after the other.
type rasterPart struct {
	split  string // prefix of identities
	first  int    // number of the first row within its split
	data   *blob
	offset int64 // of the first record
	stride int   // bytes from one record to the next
	skip   int   // bytes of a record before its values
	n      int
}

// rasterSource reads rows of such files: IDX and CIFAR.
type rasterSource struct {
	parts  []rasterPart
	total  int
	planar bool // three planes, red, green and blue
	fit    *fitter
	files  []io.Closer
	bytes  sync.Pool // of *[]byte, one record
}

func (s *rasterSource) rows() int { return s.total }

func (s *rasterSource) locate(i int) (*rasterPart, int) {
	for k := range s.parts {
		p := &s.parts[k]
		if i < p.n {
			return p, i
		}
		i -= p.n
	}
	panic("dataset: row out of range")
}

func (s *rasterSource) appendID(b []byte, i int) []byte {
	p, row := s.locate(i)
	return numbered(b, p.split, p.first+row)
}

func (s *rasterSource) read(i int, dst []float32) error {
	return s.fit.fit(dst, func(x []float32) error {
		p, row := s.locate(i)
		record := s.record(len(x))
		defer s.bytes.Put(record)
		buf := *record
		at := p.offset + int64(row)*int64(p.stride) + int64(p.skip)
		if n, err := p.data.ReadAt(buf, at); n < len(buf) {
			return fmt.Errorf("%s: row %d: %w", p.data.name, row, noEOF(err))
		}
		if !s.planar {
			for k, v := range buf {
				x[k] = byteScale[v]
			}
			return nil
		}
		n := len(buf) / 3
		red, green, blue := buf[:n], buf[n:2*n], buf[2*n:3*n]
		for k, v := range red {
			p := (*[3]float32)(x)
			p[0], p[1], p[2] = byteScale[v], byteScale[green[k]], byteScale[blue[k]]
			x = x[3:]
		}
		return nil
	})
}

// record returns a buffer for the values of a record.
func (s *rasterSource) record(n int) *[]byte {
	if b, ok := s.bytes.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, n)
	return &b
}

// noEOF turns the end of a file into an unexpected one.
func noEOF(err error) error {
	if err == nil || err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (s *rasterSource) close() error {
	var first error
	for _, f := range s.files {
		if err := f.Close(); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// fingerprint reads every record once, labels included where a record holds
// them, and hashes it. pick are the rows used; nil = all.
func (s *rasterSource) fingerprint(ctx context.Context, pick []int32, opt *Options) (string, error) {
	const block = 256 // records
	n := s.total
	if pick != nil {
		n = len(pick)
	}
	sums := make([][sha256.Size]byte, (n+block-1)/block)
	show := progress{total: n, report: opt.Progress}
	err := forEach(ctx, opt.Workers, len(sums), func(b int) error {
		h := sha256.New()
		lo, hi := b*block, min(n, (b+1)*block)
		buf := make([]byte, s.fit.native.Size())
		for k := lo; k < hi; k++ {
			i := k
			if pick != nil {
				i = int(pick[k])
			}
			p, row := s.locate(i)
			if m, err := p.data.ReadAt(buf, p.offset+int64(row)*int64(p.stride)+int64(p.skip)); m < len(buf) {
				return fmt.Errorf("%s: row %d: %w", p.data.name, row, noEOF(err))
			}
			fmt.Fprintf(h, "%s/%d\n", p.split, p.first+row)
			h.Write(buf)
		}
		h.Sum(sums[b][:0])
		show.add(hi - lo)
		return nil
	})
	h := sha256.New()
	fmt.Fprintf(h, "raster %v %d\n", s.fit.native, n)
	for _, sum := range sums {
		h.Write(sum[:])
	}
	return hex.EncodeToString(h.Sum(nil)), err
}

// openRaster finishes what IDX and CIFAR have in common.
func openRaster(ctx context.Context, s *rasterSource, native Shape, opt *Options) (*opened, error) {
	o := &opened{src: s, scale: [2]float64{0, 255}}
	for _, p := range s.parts {
		s.total += p.n
	}
	if err := opt.suits("the data", native, false); err != nil {
		return nil, err
	}
	o.shape, o.out = shapes(native, autoSide, opt)
	s.fit = newFitter(native, o.shape)
	if opt.Limit > 0 && opt.Limit < s.total {
		o.pick = smallestHashes(s.total, opt.Limit, "limit", s.appendID)
	}
	var err error
	o.hash, err = s.fingerprint(ctx, o.pick, opt)
	return o, err
}
