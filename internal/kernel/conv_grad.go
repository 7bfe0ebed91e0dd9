package kernel

// planWeightGrad cuts the output into items. Where images are small and taps
// at their border miss many pixels, a tap has a product of its own with those
// that it meets, straight from the images; else one product serves all taps,
// from padded copies.
func (q *convTask) planWeightGrad() {
	s := &q.s
	pixels := s.OutH() * s.OutW()
	met := tapsInside(s.OutH(), s.H, s.KH, *s) * tapsInside(s.OutW(), s.W, s.KW, *s)
	images := min(gradPixels/pixels, clipFloats/(s.H*s.W*s.C), s.N)
	if clipPays(met, pixels*s.KH*s.KW, s.C) && images > 0 {
		q.clipped = true
		q.work = newWork(s.N, s.OutH(), images, s.OutH())
		q.taps = positions(q.taps, 1, 0, 1, 0, s.C, 1)
		q.listMet(images)
		return
	}
	q.work = cut(s.N, s.OutH(), s.OutW(), gradPixels, s.Stride*(s.W+2*s.Pad)*s.C)
	q.windowsOf()
	row, _ := q.scratch(q.work.band)
	q.taps = positions(q.taps, 1, 0, s.KH, row, s.KW*s.C, 1)
	stride := q.t.nr
	if q.unpacked = len(q.taps) <= fewTaps && s.OutC%q.t.nr == 0; q.unpacked {
		stride = s.OutC
	}
	q.pixels = grow(q.pixels, 2*len(q.from))
	for i, v := range q.from {
		q.pixels[2*i], q.pixels[2*i+1] = v, i*stride
	}
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

// listMet lists, for every tap, the positions of the inputs that it meets in
// some images, and of the outputs' rows in a packed panel.
func (q *convTask) listMet(images int) {
	s, nr := &q.s, q.t.nr
	for len(q.met) < s.KH*s.KW {
		q.met = append(q.met, nil)
	}
	for tap := range s.KH * s.KW {
		kh, kw := tap/s.KW, tap%s.KW
		y0, y1 := metRange(kh, s.Stride, s.Pad, s.H, s.OutH())
		x0, x1 := metRange(kw, s.Stride, s.Pad, s.W, s.OutW())
		at := grow(q.met[tap], 2*images*(y1-y0)*(x1-x0))[:0]
		for n := range images {
			for y := y0; y < y1; y++ {
				for x := x0; x < x1; x++ {
					in := ((n*s.H+y*s.Stride+kh-s.Pad)*s.W + x*s.Stride + kw - s.Pad) * s.C
					at = append(at, in, ((n*s.OutH()+y)*s.OutW()+x)*nr)
				}
			}
		}
		q.met[tap] = at
	}
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
		a, _ := q.images(w, n0, n1, r0, r1)
		k := (n1 - n0) * (r1 - r0) * s.OutW()
		b, panel := dy[j0:], q.t.nr
		if !q.unpacked {
			w.packPixels(q.t, dy, s.OutC, k, j0, j1)
			b, panel = w.b, q.t.nr*k
		}
		w.cols(q.t, dst, s.OutC, a, q.taps, q.pixels[:2*k], b, panel, j1-j0, k, i > first)
	}
}

// fewTaps is for how many rows of a weight gradient packing does not pay.
const fewTaps = 64

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
	for tap := range s.KH * s.KW {
		d, met := dst[tap*s.C*s.OutC:], images*metPixels(s, tap/s.KW, tap%s.KW)
		if met > 0 {
			w.cols(q.t, d, s.OutC, x, q.taps, q.met[tap][:2*met], w.b, q.t.nr*k, j1-j0, met, acc)
		} else if !acc {
			clearRows(d, s.OutC, s.C, j1-j0)
		}
	}
}

// sumChunk sets chunk i of dst to the sum of those of the parts that follow one
// another in partial, in their order.
func sumChunk(dst, partial []float32, parts, i int) {
	size := len(partial) / parts
	lo := i * elemChunk
	dst = dst[lo:min(lo+elemChunk, size)]
	copy(dst, partial[lo:])
	for part := 1; part < parts; part++ {
		Axpy(dst, 1, partial[part*size+lo:])
	}
}
