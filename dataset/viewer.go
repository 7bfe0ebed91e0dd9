package dataset

import "math/rand/v2"

// viewer makes views of one row at a time; each worker has its own.
type viewer struct {
	set  *Set
	out  Shape
	norm Normalizer
	row  []float32 // the stored row
}

func newViewer(s *Set, out Shape, norm Normalizer) *viewer {
	return &viewer{set: s, out: out, norm: norm, row: make([]float32, s.shape.Size())}
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
	v.norm.apply(dst)
}

// augment writes a random view of the row, normalised.
func (v *viewer) augment(dst []float32, a *Augment, r *rand.Rand) {
	if v.set.vector {
		copy(dst, v.row)
		v.norm.apply(dst)
		a.disturb(dst, r)
		return
	}
	w, c := a.draw(r, v.set.shape, v.out)
	w.sample(dst, v.out, v.row, v.set.shape)
	c.apply(dst, v.out.C)
	v.norm.apply(dst)
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
