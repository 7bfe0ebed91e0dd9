package kernel

// planWeightGrad cuts the output into items. Where images are small and taps
// at their border miss many pixels, a tap has a product of its own with those
// that it meets, straight from the images; else one product serves all taps,
// from padded copies.
func (q *convTask) planWeightGrad() {
	s := &q.s
	pixels := s.OutH() * s.OutW()
	met := 0
	for kh := range s.KH {
		for kw := range s.KW {
			met += metPixels(s, kh, kw)
		}
	}
	images := min(gradPixels/pixels, clipFloats/(s.H*s.W*s.C), s.N)
	if 20*met <= 19*pixels*s.KH*s.KW && s.C >= 32 && images > 0 {
		q.clipped = true
		q.whole(images, s.OutH())
		return
	}
	q.work = cut(s.N, s.OutH(), s.OutW(), gradPixels, s.Stride*(s.W+2*s.Pad)*s.C)
}

// metRange returns the outputs [lo, hi) along an axis that meet an input by tap k.
func metRange(k, stride, pad, size, outputs int) (lo, hi int) {
	lo = max(0, ceilDiv(pad-k, stride))
	if last := size - 1 + pad - k; last >= 0 {
		hi = min(last/stride+1, outputs)
	}
	return lo, max(lo, hi)
}

// metPixels counts the output pixels of an image that tap (kh, kw) meets.
func metPixels(s *ConvShape, kh, kw int) int {
	y0, y1 := metRange(kh, s.Stride, s.Pad, s.H, s.OutH())
	x0, x1 := metRange(kw, s.Stride, s.Pad, s.W, s.OutW())
	return (y1 - y0) * (x1 - x0)
}

// tapPairs are, for every tap of a filter, the positions of the inputs that it
// meets and of the outputs' rows in a packed panel. They are kept like positions.
type tapPairs struct {
	shape ConvShape
	nr    int
	at    [][]int
}

// of returns the pairs for images images of a shape.
func (p *tapPairs) of(s ConvShape, images, nr int) [][]int {
	s.N = images
	if p.shape == s && p.nr == nr {
		return p.at
	}
	p.shape, p.nr = s, nr
	for len(p.at) < s.KH*s.KW {
		p.at = append(p.at, nil)
	}
	for kh := range s.KH {
		y0, y1 := metRange(kh, s.Stride, s.Pad, s.H, s.OutH())
		for kw := range s.KW {
			x0, x1 := metRange(kw, s.Stride, s.Pad, s.W, s.OutW())
			at := p.at[kh*s.KW+kw][:0]
			for n := range images {
				for y := y0; y < y1; y++ {
					for x := x0; x < x1; x++ {
						in := ((n*s.H+y*s.Stride+kh-s.Pad)*s.W + x*s.Stride + kw - s.Pad) * s.C
						at = append(at, in, ((n*s.OutH()+y)*s.OutW()+x)*nr)
					}
				}
			}
			p.at[kh*s.KW+kw] = at
		}
	}
	return p.at
}

// weightGradPart adds up the weight gradient over one part of the items, for
// one group of the panels of output channels.
func (q *convTask) weightGradPart(w *workspace, part, split int) {
	s := &q.s
	j0, j1 := q.columns(split, s.OutC)
	dst := q.p.partial[part*q.partSize+j0:]
	first, end := q.work.items*part/q.parts, q.work.items*(part+1)/q.parts
	for i := first; i < end; i++ {
		n0, n1, r0, r1 := q.work.item(i)
		dy := q.y[(n0*s.OutH()+r0)*s.OutW()*s.OutC:]
		if q.clipped {
			q.addTaps(w, dst, q.x[n0*s.H*s.W*s.C:], dy, n1-n0, j0, j1, i > first)
			continue
		}
		a, row, image := q.images(w, n0, n1, r0, r1)
		taps := w.taps.of(1, 0, s.KH, row, s.KW*s.C, 1)
		off := w.from.of(n1-n0, image, r1-r0, row*s.Stride, s.OutW(), s.C*s.Stride)
		k := len(off)
		if len(taps) <= fewTaps && s.OutC%q.t.nr == 0 {
			w.cols(q.t, dst, s.OutC, a, taps, w.pixels.of(off, s.OutC), dy[j0:], q.t.nr, j1-j0, k, i > first)
			continue
		}
		w.packPixels(q.t, dy, s.OutC, k, j0, j1)
		w.cols(q.t, dst, s.OutC, a, taps, w.pixels.of(off, q.t.nr), w.b, q.t.nr*k, j1-j0, k, i > first)
	}
}

// fewTaps is for how many rows of a weight gradient packing does not pay.
const fewTaps = 64

// pixelPairs are positions, and those of rows that are row elements apart.
type pixelPairs struct{ at []int }

func (p *pixelPairs) of(off []int, row int) []int {
	p.at = p.at[:0]
	for i, v := range off {
		p.at = append(p.at, v, i*row)
	}
	return p.at
}

// packPixels packs columns [j0, j1) of the rows of k pixels to panels.
func (w *workspace) packPixels(t *tier, dy []float32, c, k, j0, j1 int) {
	w.b = grow(w.b, ceilDiv(j1-j0, t.nr)*t.nr*k)
	for j := j0; j < j1; j += t.nr {
		packPanel(t, w.b[(j-j0)*k:], dy[j:], c, false, min(t.nr, c-j), k)
	}
}

// addTaps adds the products of some images, from x and dy on, tap by tap, to
// dst, or overwrites it unless acc is set.
func (q *convTask) addTaps(w *workspace, dst, x, dy []float32, images, j0, j1 int, acc bool) {
	s := &q.s
	k := images * s.OutH() * s.OutW()
	w.packPixels(q.t, dy, s.OutC, k, j0, j1)
	channels := w.taps.of(1, 0, 1, 0, s.C, 1)
	for tap, at := range w.met.of(*s, images, q.t.nr)[:s.KH*s.KW] {
		d := dst[tap*s.C*s.OutC:]
		if len(at) > 0 {
			w.cols(q.t, d, s.OutC, x, channels, at, w.b, q.t.nr*k, j1-j0, len(at)/2, acc)
		} else if !acc {
			clearRows(d, s.OutC, s.C, j1-j0)
		}
	}
}

// addParts adds the parts of elements [lo, hi) of the weight gradient in order.
func (q *convTask) addParts(lo, hi int) {
	dw := q.w[lo:hi]
	copy(dw, q.p.partial[lo:hi])
	for part := 1; part < q.parts; part++ {
		Axpy(dw, 1, q.p.partial[part*q.partSize+lo:][:hi-lo])
	}
}
