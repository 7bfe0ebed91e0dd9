package kernel

// A clip is a convolution whose windows end at the border of the image, which
// leaves out the products with padding: at 4 x 4 pixels and 3 x 3 taps those
// are 44 of 144. Outputs that meet the same taps, of several images, form a
// product; there are at most nine such classes for the usual shapes.
type clip struct {
	rows, cols            []span
	h, w, c               int // of a source image
	taps, wide            int // of the filter
	stride, padH, padW    int
	base, image, row, col int // positions in the result
	n                     int // columns of the result
	panel                 int // elements of a panel of packed weights
	classes               []class
}

// A class is the outputs that meet the same taps: the product of two spans.
type class struct {
	r, c     span
	outputs  int   // of an image
	from, to []int // positions of sources and results
}

// A span is a stretch [o0, o1) of outputs along one axis that all meet the
// taps [k0, k1), which is empty where they meet padding only.
type span struct{ o0, o1, k0, k1 int }

// spans cuts outputs [o0, o1): output o meets input o stride + k - pad by tap
// k, if 0 <= that < size.
func spans(dst []span, o0, o1, taps, stride, pad, size int) []span {
	for o := o0; o < o1; o++ {
		k0 := min(max(pad-o*stride, 0), taps)
		k1 := max(min(size+pad-o*stride, taps), k0)
		if last := len(dst) - 1; last >= 0 && dst[last].k0 == k0 && dst[last].k1 == k1 {
			dst[last].o1++
		} else {
			dst = append(dst, span{o, o + 1, k0, k1})
		}
	}
	return dst
}

// pairsOf counts the pairs of an output and a tap that meet.
func pairsOf(spans []span) int {
	n := 0
	for _, v := range spans {
		n += (v.o1 - v.o0) * (v.k1 - v.k0)
	}
	return n
}

// forward describes ConvForward.
func (k *clip) forward(s *ConvShape, nr int) {
	outH, outW := s.OutH(), s.OutW()
	*k = clip{
		rows: spans(k.rows[:0], 0, outH, s.KH, s.Stride, s.Pad, s.H), cols: spans(k.cols[:0], 0, outW, s.KW, s.Stride, s.Pad, s.W), classes: k.classes,
		h: s.H, w: s.W, c: s.C, taps: s.KH, wide: s.KW, stride: s.Stride, padH: s.Pad, padW: s.Pad,
		image: outH * outW * s.OutC, row: outW * s.OutC, col: s.OutC, n: s.OutC, panel: s.KH * s.KW * s.C * nr,
	}
}

const (
	clipFloats = 160 << 10 // source images per item of work
	clipRows   = 512       // outputs per item, about
	clipBlock  = 64 << 10  // elements of a panel per visit to the result
)

// inputGrad describes the phase ph of ConvInputGrad, whose outputs are
// quotients, and whose windows lie in dy.
func (k *clip) inputGrad(s *ConvShape, ph *convPhase, nr int) {
	first, last := quotients(s.H, s)
	left, right := quotients(s.W, s)
	y0, y1 := phaseRange(first, last+1, ph.kh0, s.H, s)
	x0, x1 := phaseRange(left, right+1, ph.kw0, s.W, s)
	*k = clip{
		rows: spans(k.rows[:0], y0, y1, ph.taps, 1, ph.taps-1, s.OutH()), cols: spans(k.cols[:0], x0, x1, ph.wide, 1, ph.wide-1, s.OutW()), classes: k.classes,
		h: s.OutH(), w: s.OutW(), c: s.OutC, taps: ph.taps, wide: ph.wide, stride: 1, padH: ph.taps - 1, padW: ph.wide - 1,
		base: ((ph.kh0-s.Pad)*s.W + ph.kw0 - s.Pad) * s.C, image: s.H * s.W * s.C, row: s.Stride * s.W * s.C, col: s.Stride * s.C,
		n: s.C, panel: ph.taps * ph.wide * s.OutC * nr,
	}
}

// clipImages returns how many images an item of work should have: as many as a
// tile has rows, so that every class is whole tiles, or a multiple. It is 0
// where that is too much memory, or where clipping saves little: clips are all
// the products of a pass. How many images there are does not count, so that
// the results for one do not depend on those with it.
func clipImages(t *tier, clips []clip) int {
	met, all, outputs, run := 0, 0, 0, 0
	for i := range clips {
		k := &clips[i]
		met += pairsOf(k.rows) * pairsOf(k.cols)
		pixels := 0
		for _, r := range k.rows {
			for _, c := range k.cols {
				pixels += (r.o1 - r.o0) * (c.o1 - c.o0)
			}
		}
		outputs, all = outputs+pixels, all+pixels*k.taps*k.wide
		run = max(run, k.wide*k.c)
	}
	tile := t.mr * clips[0].h * clips[0].w * clips[0].c
	if !clipPays(met, all, run) || tile > clipFloats {
		return 0
	}
	return t.mr * max(1, min(clipFloats/tile, clipRows/(t.mr*outputs)))
}

// clipPays reports whether pairs of an output and a tap that meet are few enough
// among all, and runs of inputs long enough, for clipping to gain.
func clipPays(met, all, run int) bool { return 20*met <= 19*all && run >= 32 }

// list lists the classes for items of so many images.
func (k *clip) list(images int) {
	n := len(k.rows) * len(k.cols)
	if cap(k.classes) < n {
		k.classes = append(k.classes[:cap(k.classes)], make([]class, n-cap(k.classes))...)
	}
	k.classes = k.classes[:n]
	for i := range k.classes {
		r, c := k.rows[i/len(k.cols)], k.cols[i%len(k.cols)]
		old := &k.classes[i]
		*old = class{
			r: r, c: c, outputs: (r.o1 - r.o0) * (c.o1 - c.o0),
			from: positions(old.from, images, k.h*k.w*k.c, r.o1-r.o0, k.stride*k.w*k.c, c.o1-c.o0, k.stride*k.c),
			to:   positions(old.to, images, k.image, r.o1-r.o0, k.row, c.o1-c.o0, k.col),
		}
	}
}

// multiply computes columns [j0, j1) of the results of some images. The
// result starts at dst, their sources at src.
func (k *clip) multiply(w *workspace, t *tier, dst, src, packed []float32, images, j0, j1 int) {
	step := max(1, clipBlock/(max(1, k.wide)*k.c*t.nr)) // rows of taps at a time
	for tap := 0; tap == 0 || tap < k.taps; tap += step {
		for j := j0; j < j1; j += t.nr {
			b := packed[j/t.nr*k.panel:]
			for i := range k.classes {
				k.product(w, t, &k.classes[i], dst[j:], src, b, images, min(t.nr, k.n-j), tap, tap+step)
			}
		}
	}
}

// product multiplies one class by rows [tap, end) of the taps of one panel.
func (k *clip) product(w *workspace, t *tier, q *class, dst, src, b []float32, images, width, tap, end int) {
	out, to := dst[k.base+q.r.o0*k.row+q.c.o0*k.col:], q.to[:images*q.outputs]
	if q.r.k0 == q.r.k1 || q.c.k0 == q.c.k1 {
		for _, off := range to {
			clear(out[off : off+width])
		}
		return
	}
	k0, k1, met := max(q.r.k0, tap), min(q.r.k1, end), q.c.k1-q.c.k0
	if k0 >= k1 {
		return
	}
	start := ((q.r.o0*k.stride+k0-k.padH)*k.w + q.c.o0*k.stride + q.c.k0 - k.padW) * k.c
	w.rows(t, out, to, src[start:], q.from[:len(to)], b[(k0*k.wide+q.c.k0)*k.c*t.nr:], k.panel, width,
		runs{n: k1 - k0, len: met * k.c, stride: k.w * k.c, gap: (k.wide - met) * k.c * t.nr}, q.r.k0 < tap)
}
