package dataset

import (
	"math/rand/v2"

	"nat/internal/kernel"
	"nat/internal/rng"
)

// viewer makes views of one row at a time; each worker has its own.
type viewer struct {
	set         *Set
	out         Shape
	mean, scale []float32 // of the normalizer
	row         []float32 // the stored row
	view        []float32 // a view before its colours change, between values that do not count
	scratch     sampleScratch
	luminance   []float32 // weights
	tint        kernel.Tint
	pcg         rand.PCG
	rand        *rand.Rand // draws from pcg
}

func newViewer(s *Set, out Shape, norm Normalizer) *viewer {
	v := &viewer{set: s, out: out, mean: norm.Mean, scale: norm.inverse(), row: make([]float32, s.shape.Size())}
	v.rand = rand.New(&v.pcg)
	if !s.vector {
		v.view = make([]float32, out.Size()+2*kernel.TintPad)
		v.scratch = newSampleScratch(s.shape, out)
		v.luminance = luminanceWeights(out)
		v.tint.Normalize(v.mean, v.scale)
	}
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
	v.show(dst, &w, &c)
}

// show writes one view of the row, normalised.
func (v *viewer) show(dst []float32, w *warp, c *colour) {
	view := v.view[kernel.TintPad : len(v.view)-kernel.TintPad]
	w.sample(view, v.out, v.row, v.set.shape, &v.scratch)
	var luminance float32
	if c.contrast != 1 {
		luminance = kernel.Dot(view, v.luminance)
	}
	c.tint(&v.tint, luminance)
	v.tint.Apply(dst, v.view)
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
