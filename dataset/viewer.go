package dataset

import (
	"math/rand/v2"

	"nat/internal/rng"
)

// viewer makes views of one row at a time; each worker has its own.
type viewer struct {
	set         *Set
	out         Shape
	mean, scale []float32 // of the normalizer
	row         []float32 // the stored row
	taps        []tap
	line        []float32
	pcg         rand.PCG
	rand        *rand.Rand // draws from pcg
}

func newViewer(s *Set, out Shape, norm Normalizer) *viewer {
	v := &viewer{set: s, out: out, mean: norm.Mean, scale: norm.inverse(), row: make([]float32, s.shape.Size()),
		taps: make([]tap, out.W), line: make([]float32, s.shape.W*s.shape.C)}
	v.rand = rand.New(&v.pcg)
	return v
}

// load reads a row of the set.
func (v *viewer) load(row int) error { return v.set.Read(row, v.row) }

// plain writes the centre of the row, normalised.
func (v *viewer) plain(dst []float32) {
	in, out := v.set.shape, v.out
	top, left := (in.H-out.H)/2, (in.W-out.W)/2
	width := out.W * out.C
	for y := range out.H {
		from := ((top+y)*in.W + left) * in.C
		copy(dst[y*width:(y+1)*width], v.row[from:from+width])
	}
	normalize(dst, v.mean, v.scale)
}

// augment writes a random view of the row, normalised. It is a function of the
// row and of the indices of the stream rng.Augment.
func (v *viewer) augment(dst []float32, a *Augment, seed, epoch, row, view uint64) {
	v.pcg.Seed(rng.Seed(seed, rng.Augment, epoch, row, view))
	if v.set.vector {
		copy(dst, v.row)
		normalize(dst, v.mean, v.scale)
		a.disturb(dst, v.rand)
		return
	}
	w, c := a.draw(v.rand, v.set.shape, v.out)
	w.sample(dst, v.out, v.row, v.set.shape, v.taps, v.line)
	c.apply(dst, v.out.C)
	normalize(dst, v.mean, v.scale)
}

// disturb adds noise to a normalised vector and masks features: 0 is the mean.
func (a *Augment) disturb(x []float32, r *rand.Rand) {
	if a.Noise > 0 {
		for i := range x {
			x[i] += float32(a.Noise * r.NormFloat64())
		}
	}
	if a.Mask > 0 {
		for i := range x {
			if r.Float64() < a.Mask {
				x[i] = 0
			}
		}
	}
}
