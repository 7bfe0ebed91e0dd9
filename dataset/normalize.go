package dataset

import (
	"context"
	"math"
)

// Normalizer shifts and scales rows to mean 0 and standard deviation 1, per
// channel of images and per feature of vectors: (x - Mean) / Std.
type Normalizer struct {
	Mean []float32 `json:"mean"`
	Std  []float32 `json:"std"` // never 0: a constant feature has 1
}

// normalizerRows bounds how many rows the statistics are taken from.
const normalizerRows = 4096

// normalizerChunk rows are added up by one goroutine, so that the result does
// not depend on how many there are.
const normalizerChunk = 256

// moments are the sums, per channel, of values less a shift and of their squares.
type moments struct{ sum, square []float64 }

func newMoments(c int) moments { return moments{make([]float64, c), make([]float64, c)} }

// add counts all pixels of a row.
func (m moments) add(x []float32, shift []float64) {
	c := len(shift)
	for i := 0; i < len(x); i += c {
		for ch, v := range x[i : i+c] {
			d := float64(v) - shift[ch]
			m.sum[ch] += d
			m.square[ch] += d * d
		}
	}
}

// FitNormalizer measures mean and standard deviation over at most 4,096 rows
// spread evenly over rows. The same rows give the same bits for any number of
// workers, which are those of [Options].
func FitNormalizer(ctx context.Context, s *Set, rows []int) (Normalizer, error) {
	if len(rows) == 0 {
		panic("dataset: FitNormalizer without rows")
	}
	c, size := s.shape.C, s.shape.Size()
	n := min(len(rows), normalizerRows)
	x := make([]float32, size)
	if err := s.Read(rows[0], x); err != nil {
		return Normalizer{}, err
	}
	shift := make([]float64, c) // the first pixel: keeps the variance exact when the mean is large
	for ch := range shift {
		shift[ch] = float64(x[ch])
	}
	chunks := make([]moments, (n+normalizerChunk-1)/normalizerChunk)
	err := forEach(ctx, s.workers, len(chunks), func(i int) error {
		m, x := newMoments(c), make([]float32, size)
		for k := i * normalizerChunk; k < min(n, (i+1)*normalizerChunk); k++ {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := s.Read(rows[k*len(rows)/n], x); err != nil {
				return err
			}
			m.add(x, shift)
		}
		chunks[i] = m
		return nil
	})
	if err != nil {
		return Normalizer{}, err
	}
	total := newMoments(c)
	for _, m := range chunks {
		for ch := range shift {
			total.sum[ch] += m.sum[ch]
			total.square[ch] += m.square[ch]
		}
	}
	return total.normalizer(shift, float64(n)*float64(size/c)), nil
}

// normalizer is that of the given number of values per channel.
func (m moments) normalizer(shift []float64, count float64) Normalizer {
	c := len(shift)
	norm := Normalizer{Mean: make([]float32, c), Std: make([]float32, c)}
	for ch := range c {
		mean := m.sum[ch] / count
		norm.Mean[ch] = float32(mean + shift[ch])
		norm.Std[ch] = float32(math.Sqrt(max(m.square[ch]/count-mean*mean, 0)))
		if isRounding(float64(norm.Std[ch]), float64(norm.Mean[ch])) {
			norm.Std[ch] = 1
		}
	}
	return norm
}

// isRounding tells whether a spread around a value is no spread in float32: below
// its rounding, or so small that the inverse is not finite.
func isRounding(spread, value float64) bool {
	const smallestNormal = 0x1p-126
	return spread <= 1e-6*math.Abs(value) || spread < smallestNormal
}

// variesRows bounds how many rows Varies looks at.
const variesRows = 64

// Varies reports whether any of at most 64 rows, spread evenly over rows, differs
// from the first by more than rounding.
func Varies(s *Set, rows []int) (bool, error) {
	n := min(len(rows), variesRows)
	first, x := make([]float32, s.shape.Size()), make([]float32, s.shape.Size())
	for k := range n {
		if err := s.Read(rows[k*len(rows)/n], x); err != nil {
			return false, err
		}
		if k == 0 {
			copy(first, x)
		}
		for i, v := range x {
			if !isRounding(math.Abs(float64(v)-float64(first[i])), float64(first[i])) {
				return true, nil
			}
		}
	}
	return false, nil
}

// inverse returns 1/Std.
func (n *Normalizer) inverse() []float32 {
	out := make([]float32, len(n.Std))
	for i, s := range n.Std {
		out[i] = 1 / s
	}
	return out
}

// normalize turns x, pixels or a vector of len(mean) values, into (x-mean)*scale.
func normalize(x, mean, scale []float32) {
	switch c := len(mean); c {
	case 1:
		m, s := mean[0], scale[0]
		for i, v := range x {
			x[i] = (v - m) * s
		}
	case 3:
		m0, m1, m2, s0, s1, s2 := mean[0], mean[1], mean[2], scale[0], scale[1], scale[2]
		for i := 0; i+3 <= len(x); i += 3 {
			p := x[i : i+3]
			p[0], p[1], p[2] = (p[0]-m0)*s0, (p[1]-m1)*s1, (p[2]-m2)*s2
		}
	default:
		for i := 0; i+c <= len(x); i += c {
			p := x[i : i+c]
			for ch, m := range mean {
				p[ch] = (p[ch] - m) * scale[ch]
			}
		}
	}
}
