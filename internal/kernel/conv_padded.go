package kernel

// images prepares the windows of output rows [r0, r1) of images [n0, n1): it
// returns the memory they lie in, from the first window on, and the distance
// between rows there. Without padding they lie where they are.
func (q *convTask) images(w *workspace, n0, n1, r0, r1 int) (a []float32, row int) {
	s := &q.s
	row, image := q.scratch(r1 - r0)
	if s.Pad == 0 {
		return q.x[(n0*s.H+r0*s.Stride)*s.W*s.C:], row
	}
	w.a = grow(w.a, (n1-n0)*image)
	for n := n0; n < n1; n++ {
		padImage(w.a[(n-n0)*image:], q.x[n*s.H*s.W*s.C:], s.H, s.W, s.C, r0*s.Stride-s.Pad, -s.Pad, image/row, row/s.C)
	}
	return w.a, row
}

// padImage copies the rows x cols pixels from (top, left) on of an h x w image
// of c channels, with zeros outside it.
func padImage(dst, src []float32, h, w, c, top, left, rows, cols int) {
	lo, hi := min(max(-left, 0), cols), min(max(w-left, 0), cols)
	for r := range rows {
		d := dst[r*cols*c:][:cols*c]
		if y := top + r; y < 0 || y >= h || lo >= hi {
			clear(d)
		} else {
			clear(d[:lo*c])
			copy(d[lo*c:hi*c], src[(y*w+left+lo)*c:])
			clear(d[hi*c:])
		}
	}
}

// positions lists, in the memory of dst, those of images x rows x cols elements
// that are image, row and col apart. An item with fewer images, or with one
// image and fewer rows, uses the first of them.
func positions(dst []int, images, image, rows, row, cols, col int) []int {
	dst = grow(dst, images*rows*cols)[:0]
	for n := range images {
		for r := range rows {
			for c := range cols {
				dst = append(dst, n*image+r*row+c*col)
			}
		}
	}
	return dst
}

// scratch returns the distances between rows and between images of the padded
// windows of so many output rows, in elements, or those in place.
func (q *convTask) scratch(rows int) (row, image int) {
	s := &q.s
	if s.Pad == 0 {
		return s.W * s.C, s.H * s.W * s.C
	}
	row = ((s.OutW()-1)*s.Stride + s.KW) * s.C
	return row, ((rows-1)*s.Stride + s.KH) * row
}

// windowsOf lists the positions of the windows of an item, and makes room for
// their images.
func (q *convTask) windowsOf() {
	s, k := &q.s, &q.work
	row, image := q.scratch(k.band)
	q.from = positions(q.from, k.images, image, k.band, row*s.Stride, s.OutW(), s.C*s.Stride)
	if s.Pad > 0 {
		q.p.reserve(k.images*image, 0)
	}
}

// planForward cuts the output into items.
func (q *convTask) planForward() {
	s := &q.s
	q.clips = grow(q.clips, max(1, len(q.clips)))
	q.clips[0].forward(s, q.t.nr)
	if images := clipImages(q.t, q.clips[:1]); images > 0 {
		q.clipped = true
		q.work = newWork(s.N, s.OutH(), images, s.OutH())
		q.clips[0].list(images)
	} else {
		q.work = cut(s.N, s.OutH(), s.OutW(), convRows, s.Stride*(s.W+2*s.Pad)*s.C)
		q.windowsOf()
		q.to = positions(q.to, 1, 0, 1, 0, len(q.from), s.OutC)
	}
	q.split(s.OutC)
}

// forwardItem computes columns [j0, j1) of the output pixels of one item.
func (q *convTask) forwardItem(w *workspace, i, j0, j1 int) {
	s := &q.s
	n0, n1, r0, r1 := q.work.item(i)
	pixels := s.OutH() * s.OutW()
	if q.clipped {
		q.clips[0].multiply(w, q.t, q.y[n0*pixels*s.OutC:], q.x[n0*s.H*s.W*s.C:], q.p.packed, n1-n0, j0, j1)
		q.p.then.apply(q.t, i, n0*pixels, (n1-n0)*pixels, j0, j1)
		return
	}
	a, row := q.images(w, n0, n1, r0, r1)
	outH, outW := s.OutH(), s.OutW()
	n := (n1 - n0) * (r1 - r0) * outW
	y := q.y[(n0*outH+r0)*outW*s.OutC:]
	b := q.p.packed[j0*s.KH*s.KW*s.C:]
	w.windows(q.t, y[j0:], q.to[:n], a, q.from[:n], b, j1-j0, s.KH, s.KW*s.C, row)
	q.p.then.apply(q.t, i, (n0*outH+r0)*outW, n, j0, j1)
}

// windowBlock is how many rows of a panel are worth a visit to a tile of the
// result: so many stay in the second-level cache.
const windowBlock = 1024

// windows multiplies windows of n runs of runLen elements, whose runs are row
// apart, by columns columns of packed B in blocks of about windowBlock.
func (w *workspace) windows(t *tier, c []float32, cOff []int, a []float32, aOff []int, b []float32, columns, n, runLen, row int) {
	panel := n * runLen * t.nr
	if runLen > windowBlock {
		for r := range n {
			for l := 0; l < runLen; l += kBlock {
				w.rows(t, c, cOff, a[r*row+l:], aOff, b[(r*runLen+l)*t.nr:], panel, columns, runs{n: 1, len: min(kBlock, runLen-l)}, r+l > 0)
			}
		}
		return
	}
	step := windowBlock / runLen
	for r := 0; r < n; r += step {
		w.rows(t, c, cOff, a[r*row:], aOff, b[r*runLen*t.nr:], panel, columns, runs{n: min(step, n-r), len: runLen, stride: row}, r > 0)
	}
}

// A convPhase is the part of an input gradient for input rows ih with
// (ih + Pad) mod Stride = kh0 and columns with (iw + Pad) mod Stride = kw0.
type convPhase struct {
	kh0, kw0   int // first tap
	taps, wide int // taps in each axis
	packed     int // position of its weights
}

// planPhases lists the phases and cuts the input into items. Row and column
// numbers of items are quotients: input row ih is in row (ih+Pad)/Stride.
func (q *convTask) planPhases() {
	s, size := &q.s, 0
	for kh := range s.Stride {
		for kw := range s.Stride {
			ph := convPhase{kh, kw, ceilDiv(max(s.KH-kh, 0), s.Stride), ceilDiv(max(s.KW-kw, 0), s.Stride), size}
			q.phases = append(q.phases, ph)
			size += ph.taps * ph.wide * s.OutC * ceilDiv(s.C, q.t.nr) * q.t.nr
		}
	}
	q.p.packed = grow(q.p.packed, size)
	for len(q.clips) < len(q.phases) {
		q.clips = append(q.clips, clip{})
	}
	for i := range q.phases {
		q.clips[i].inputGrad(s, &q.phases[i], q.t.nr)
	}
	if images := clipImages(q.t, q.clips[:len(q.phases)]); images > 0 {
		q.clipped = true
		q.work = newWork(s.N, s.H, images, s.H)
		for i := range q.phases {
			q.clips[i].list(images)
		}
	} else {
		first, last := quotients(s.H, s)
		left, right := quotients(s.W, s)
		cols := right - left + ceilDiv(s.KW, s.Stride)
		q.work = cut(s.N, last-first+1, right-left+1, convRows, cols*s.OutC)
		q.listPhases(first, left, right, cols*s.OutC)
	}
	q.split(s.C)
}

// listPhases lists the positions of windows and results of every phase, and
// makes room for an item's part of dy, whose rows are row elements apart.
func (q *convTask) listPhases(first, left, right, row int) {
	s, k := &q.s, &q.work
	image := (k.band + ceilDiv(s.KH, s.Stride) - 1) * row
	q.p.reserve(k.images*image, 0)
	for len(q.places) < len(q.phases) {
		q.places = append(q.places, places{})
	}
	for i := range q.phases {
		ph, at := &q.phases[i], &q.places[i]
		rows := k.band
		if k.bands == 1 {
			y0, y1 := phaseRange(first, first+rows, ph.kh0, s.H, s)
			rows = max(y1-y0, 0)
		}
		x0, x1 := phaseRange(left, right+1, ph.kw0, s.W, s)
		cols := max(x1-x0, 0)
		at.from = positions(at.from, k.images, image, rows, row, cols, s.OutC)
		at.to = positions(at.to, k.images, s.H*s.W*s.C, rows, s.Stride*s.W*s.C, cols, s.Stride*s.C)
	}
}

// places are the positions of windows and of results.
type places struct{ from, to []int }

// quotients returns the first and last (i + Pad) / Stride over i < size.
func quotients(size int, s *ConvShape) (first, last int) {
	return s.Pad / s.Stride, (size - 1 + s.Pad) / s.Stride
}

// packPhase packs a panel of the weights of a phase, for input channels from j
// on, transposed and with the taps reversed: k runs over (tap row, tap column,
// output channel).
func (q *convTask) packPhase(ph *convPhase, j int) {
	s, nr := &q.s, q.t.nr
	dst := q.p.packed[ph.packed+j*ph.taps*ph.wide*s.OutC:]
	for th := range ph.taps {
		for tw := range ph.wide {
			kh, kw := ph.kh0+s.Stride*(ph.taps-1-th), ph.kw0+s.Stride*(ph.wide-1-tw)
			src := q.w[((kh*s.KW+kw)*s.C+j)*s.OutC:]
			packPanel(q.t, dst[(th*ph.wide+tw)*s.OutC*nr:], src, s.OutC, true, min(nr, s.C-j), s.OutC)
		}
	}
}

// inputGradItem computes columns [j0, j1) of the input gradient of one item,
// phase by phase.
func (q *convTask) inputGradItem(w *workspace, i, j0, j1 int) {
	s := &q.s
	n0, n1, r0, r1 := q.work.item(i)
	if q.clipped {
		for i := range q.phases {
			q.clips[i].multiply(w, q.t, q.x[n0*s.H*s.W*s.C:], q.y[n0*s.OutH()*s.OutW()*s.OutC:], q.p.packed[q.phases[i].packed:], n1-n0, j0, j1)
		}
		return
	}
	first, _ := quotients(s.H, s)
	left, right := quotients(s.W, s)
	q0, q1 := first+r0, first+r1
	maxTaps, maxWide := ceilDiv(s.KH, s.Stride), ceilDiv(s.KW, s.Stride)
	rows, cols := q1-q0+maxTaps-1, right-left+maxWide
	image := rows * cols * s.OutC
	w.a = grow(w.a, (n1-n0)*image)
	outH, outW := s.OutH(), s.OutW()
	for n := n0; n < n1; n++ {
		padImage(w.a[(n-n0)*image:], q.y[n*outH*outW*s.OutC:], outH, outW, s.OutC, q0-maxTaps+1, left-maxWide+1, rows, cols)
	}
	for j := range q.phases {
		ph := &q.phases[j]
		y0, y1 := phaseRange(q0, q1, ph.kh0, s.H, s)
		x0, x1 := phaseRange(left, right+1, ph.kw0, s.W, s)
		if y0 >= y1 || x0 >= x1 {
			continue
		}
		start := ((y0-q0+maxTaps-ph.taps)*cols + x0 - left + maxWide - ph.wide) * s.OutC
		n := (n1 - n0) * (y1 - y0) * (x1 - x0)
		from, to := q.places[j].from[:n], q.places[j].to[:n]
		dx := q.x[((n0*s.H+y0*s.Stride+ph.kh0-s.Pad)*s.W+x0*s.Stride+ph.kw0-s.Pad)*s.C:]
		if ph.taps == 0 || ph.wide == 0 {
			for _, off := range to {
				clear(dx[off+j0 : off+j1])
			}
			continue
		}
		b := q.p.packed[ph.packed+j0*ph.taps*ph.wide*s.OutC:]
		w.windows(q.t, dx[j0:], to, w.a[start:], from, b, j1-j0, ph.taps, ph.wide*s.OutC, cols*s.OutC)
	}
}

// phaseRange narrows the quotients [lo, hi) to those whose input position
// quotient*Stride + phase - Pad is inside 0..size-1.
func phaseRange(lo, hi, phase, size int, s *ConvShape) (int, int) {
	if lo*s.Stride+phase < s.Pad {
		lo++
	}
	if (hi-1)*s.Stride+phase-s.Pad >= size {
		hi--
	}
	return lo, hi
}
