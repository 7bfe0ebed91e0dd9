package kernel

// images prepares the windows of output rows [r0, r1) of images [n0, n1): it
// returns the memory they lie in, from the first window on, and the distances
// between rows and between images there. Without padding they lie where they
// are.
func (q *convTask) images(w *workspace, n0, n1, r0, r1 int) (a []float32, row, image int) {
	s := &q.s
	if s.Pad == 0 {
		return q.x[(n0*s.H+r0*s.Stride)*s.W*s.C:], s.W * s.C, s.H * s.W * s.C
	}
	rows, cols := (r1-r0-1)*s.Stride+s.KH, (s.OutW()-1)*s.Stride+s.KW
	row, image = cols*s.C, rows*cols*s.C
	w.a = grow(w.a, (n1-n0)*image)
	for n := n0; n < n1; n++ {
		padImage(w.a[(n-n0)*image:], q.x[n*s.H*s.W*s.C:], s.H, s.W, s.C, r0*s.Stride-s.Pad, -s.Pad, rows, cols)
	}
	return w.a, row, image
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

// positions are those of images x rows x cols elements that are image, row and
// col apart. They are kept, as most items of work have the same shape.
type positions struct {
	shape [6]int
	at    []int
}

func (p *positions) of(images, image, rows, row, cols, col int) []int {
	shape := [6]int{images, image, rows, row, cols, col}
	if p.shape == shape {
		return p.at
	}
	p.shape, p.at = shape, p.at[:0]
	for n := range images {
		for r := range rows {
			for c := range cols {
				p.at = append(p.at, n*image+r*row+c*col)
			}
		}
	}
	return p.at
}

// planForward cuts the output into items.
func (q *convTask) planForward() {
	s := &q.s
	q.clips = grow(q.clips, max(1, len(q.clips)))
	q.clips[0].forward(s, q.t.nr)
	if images := clipImages(q.t, s.N, q.clips[:1]); images > 0 {
		q.clipped = true
		q.whole(images, s.OutH())
	} else {
		q.work = cut(s.N, s.OutH(), s.OutW(), convRows, s.Stride*(s.W+2*s.Pad)*s.C)
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
	a, row, image := q.images(w, n0, n1, r0, r1)
	outH, outW := s.OutH(), s.OutW()
	off := w.from.of(n1-n0, image, r1-r0, row*s.Stride, outW, s.C*s.Stride)
	y := q.y[(n0*outH+r0)*outW*s.OutC:]
	b := q.p.packed[j0*s.KH*s.KW*s.C:]
	w.windows(q.t, y[j0:], w.to.of(1, 0, 1, 0, len(off), s.OutC), a, off, b, j1-j0, s.KH, s.KW*s.C, row)
	q.p.then.apply(q.t, i, (n0*outH+r0)*outW, len(off), j0, j1)
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
	if images := clipImages(q.t, s.N, q.clips[:len(q.phases)]); images > 0 {
		q.clipped = true
		q.whole(images, s.H)
	} else {
		first, last := quotients(s.H, s)
		left, right := quotients(s.W, s)
		cols := right - left + ceilDiv(s.KW, s.Stride)
		q.work = cut(s.N, last-first+1, right-left+1, convRows, cols*s.OutC)
	}
	q.split(s.C)
}

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
		off := w.from.of(n1-n0, image, y1-y0, cols*s.OutC, x1-x0, s.OutC)
		to := w.to.of(n1-n0, s.H*s.W*s.C, y1-y0, s.Stride*s.W*s.C, x1-x0, s.Stride*s.C)
		dx := q.x[((n0*s.H+y0*s.Stride+ph.kh0-s.Pad)*s.W+x0*s.Stride+ph.kw0-s.Pad)*s.C:]
		if ph.taps == 0 || ph.wide == 0 {
			for _, off := range to {
				clear(dx[off+j0 : off+j1])
			}
			continue
		}
		b := q.p.packed[ph.packed+j0*ph.taps*ph.wide*s.OutC:]
		w.windows(q.t, dx[j0:], to, w.a[start:], off, b, j1-j0, ph.taps, ph.wide*s.OutC, cols*s.OutC)
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
