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

// FitNormalizer measures mean and standard deviation over at most 4,096 rows
// spread evenly over rows, in one goroutine and in order.
func FitNormalizer(ctx context.Context, s *Set, rows []int) (Normalizer, error) {
	if len(rows) == 0 {
		panic("dataset: FitNormalizer without rows")
	}
	c, size := s.shape.C, s.shape.Size()
	n := min(len(rows), normalizerRows)
	sum, square := make([]float64, c), make([]float64, c)
	shift := make([]float64, c) // the first row: keeps the variance exact when the mean is large
	x := make([]float32, size)
	for k := range n {
		if err := ctx.Err(); err != nil {
			return Normalizer{}, err
		}
		if err := s.Read(rows[k*len(rows)/n], x); err != nil {
			return Normalizer{}, err
		}
		if k == 0 {
			for ch := range shift {
				shift[ch] = float64(x[ch])
			}
		}
		for i := 0; i < size; i += c {
			for ch, v := range x[i : i+c] {
				d := float64(v) - shift[ch]
				sum[ch] += d
				square[ch] += d * d
			}
		}
	}
	count := float64(n) * float64(size/c)
	norm := Normalizer{Mean: make([]float32, c), Std: make([]float32, c)}
	for ch := range c {
		m := sum[ch] / count
		norm.Mean[ch] = float32(m + shift[ch])
		norm.Std[ch] = float32(math.Sqrt(max(square[ch]/count-m*m, 0)))
		// A spread below the rounding of float32 is no spread.
		if scale := math.Abs(float64(norm.Mean[ch])); float64(norm.Std[ch]) <= 1e-6*scale || norm.Std[ch] == 0 {
			norm.Std[ch] = 1
		}
	}
	return norm, nil
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
