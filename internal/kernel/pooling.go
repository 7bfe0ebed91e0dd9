package kernel

// PoolShape is the shape of a pooling over N images of H x W pixels with C
// channels: windows of Kernel x Kernel pixels, Stride apart, with Pad pixels
// around the image that never count. A window larger than the padded image is
// cut to it, so a Kernel of max(H, W) without Pad pools globally.
type PoolShape struct{ N, H, W, C, Kernel, Stride, Pad int }

// MaxPoolKernel is the largest Kernel of max pooling: a byte tells the place
// of the maximum in its window.
const MaxPoolKernel = 16

// OutH returns the output height, floor((H + 2 Pad - Kernel) / Stride) + 1, at
// least 1.
func (s PoolShape) OutH() int { return max(s.H+2*s.Pad-s.Kernel, 0)/s.Stride + 1 }

// OutW returns the output width, floor((W + 2 Pad - Kernel) / Stride) + 1, at
// least 1.
func (s PoolShape) OutW() int { return max(s.W+2*s.Pad-s.Kernel, 0)/s.Stride + 1 }

// check panics unless the shape is sensible and the slices are long enough.
// As Pad < Kernel, every window has a pixel of the image.
func (s PoolShape) check(x, y []float32) {
	if s.N < 0 || s.H < 1 || s.W < 1 || s.C < 1 || s.Kernel < 1 || s.Stride < 1 || s.Pad < 0 || s.Pad >= s.Kernel {
		panic("kernel: pooling size out of range")
	}
	need(x, s.N*s.H*s.W*s.C)
	need(y, s.outputs())
}

func (s PoolShape) checkArg(arg []uint8) {
	if s.Kernel > MaxPoolKernel {
		panic("kernel: window too large to keep the places of maxima")
	}
	if len(arg) < s.outputs() {
		panic("kernel: slice too short for its shape")
	}
}

// outputs returns the number of output values.
func (s PoolShape) outputs() int { return s.N * s.OutH() * s.OutW() * s.C }

// window returns the pixels [lo, hi) of an axis of n pixels that count for
// output o.
func (s PoolShape) window(o, n int) (lo, hi int) {
	lo = o*s.Stride - s.Pad
	return max(lo, 0), min(lo+s.Kernel, n)
}

// covering returns the outputs [lo, hi), of the outs on an axis, whose windows
// have pixel i.
func (s PoolShape) covering(i, outs int) (lo, hi int) {
	i += s.Pad
	return max(ceilDiv(i-s.Kernel+1, s.Stride), 0), min(i/s.Stride+1, outs)
}

// A windowRun is a run of pixels along a row that are computed alike: the
// first from the pixels [lo, lo+width) of a row of the other image, each of
// the following ones from as many further on.
type windowRun struct{ first, count, lo, width int }

// poolTask is the pooling in progress. An item is a few rows of the image that
// is written: the output, or in the gradients the input.
type poolTask struct {
	do       func(q *poolTask, t *tier, row int)
	s        PoolShape
	dst, src []float32
	arg      []uint8
	scale    float32
	rows     int // of all images
	chunk    int
	runs     []windowRun
}

func (q *poolTask) run(_, i int) {
	for row := i * q.chunk; row < min((i+1)*q.chunk, q.rows); row++ {
		q.do(q, active, row)
	}
}

// startPooling returns the pool's task for images of so many rows of pixels to
// write, of which pixel i of a row has the window window(i) and those step
// apart may form a run.
func (p *Pool) startPooling(s PoolShape, dst, src []float32, rows, width, step int, window func(i int) (lo, hi int)) *poolTask {
	q := &p.pooling
	*q = poolTask{s: s, dst: dst, src: src, rows: s.N * rows, chunk: max(1, elemChunk/(width*s.C)), runs: q.runs[:0]}
	advance := s.Stride / step // of the window, from one pixel of a run to the next
	for phase := range step {
		for i := phase; i < width; i += step {
			lo, hi := window(i)
			if n := len(q.runs) - 1; i > phase && q.runs[n].lo+q.runs[n].count*advance == lo && q.runs[n].width == hi-lo {
				q.runs[n].count++
				continue
			}
			q.runs = append(q.runs, windowRun{first: i, count: 1, lo: lo, width: hi - lo})
		}
	}
	return q
}

// startOutputs is startPooling for the output, which goes to y.
func (p *Pool) startOutputs(s PoolShape, y, x []float32) *poolTask {
	return p.startPooling(s, y, x, s.OutH(), s.OutW(), 1, func(i int) (lo, hi int) { return s.window(i, s.W) })
}

// startInputs is startPooling for the gradient of the input, which goes to dx.
func (p *Pool) startInputs(s PoolShape, dx, dy []float32) *poolTask {
	outs := s.OutW()
	return p.startPooling(s, dx, dy, s.H, s.W, s.Stride, func(i int) (lo, hi int) { return s.covering(i, outs) })
}

// loopPooling runs do for every row.
func (p *Pool) loopPooling(q *poolTask, do func(q *poolTask, t *tier, row int)) {
	q.do = do
	items := ceilDiv(q.rows, q.chunk)
	p.loopUnless(items == 1, items, q)
	q.dst, q.src, q.arg = nil, nil, nil
}

// MaxPool sets y [N, OutH, OutW, C] to the maxima of the windows of x and arg,
// unless it is nil, to their places: row times Kernel plus column in the
// window, padding included. Of equal values the first in that order is taken;
// a NaN is larger than any number, and the last one is taken. Kernel is at
// most MaxPoolKernel if arg is not nil.
func (p *Pool) MaxPool(y []float32, arg []uint8, x []float32, s PoolShape) {
	s.check(x, y)
	q := p.startOutputs(s, y, x)
	if arg == nil {
		p.loopPooling(q, maxPoolRow)
		return
	}
	s.checkArg(arg)
	q.arg = arg
	p.loopPooling(q, maxPoolPlacesRow)
}

// outputRow returns the number of the first input row of the windows of an
// output row, counted through all images, how many rows they have, and how
// many they lack at the top.
func (q *poolTask) outputRow(row int) (first, height, above int) {
	n, oy := row/q.s.OutH(), row%q.s.OutH()
	y0, y1 := q.s.window(oy, q.s.H)
	return n*q.s.H + y0, y1 - y0, y0 - (oy*q.s.Stride - q.s.Pad)
}

func maxPoolRow(q *poolTask, t *tier, row int) {
	first, height, _ := q.outputRow(row)
	c, line, n := q.s.C, q.s.W*q.s.C, t.whole(q.s.C)
	for _, r := range q.runs {
		y, x := q.dst[(row*q.s.OutW()+r.first)*c:], q.src[first*line+r.lo*c:]
		if n > 0 {
			t.windowMax(y, x, n, r.count, c, q.s.Stride*c, height, r.width, line, c)
		}
		if n < c {
			windowMaxGeneric(y[n:], x[n:], c-n, r.count, c, q.s.Stride*c, height, r.width, line, c)
		}
	}
}

func maxPoolPlacesRow(q *poolTask, t *tier, row int) {
	first, height, above := q.outputRow(row)
	c, line, n := q.s.C, q.s.W*q.s.C, t.whole(q.s.C)
	for _, r := range q.runs {
		o := (row*q.s.OutW() + r.first) * c
		y, arg, x := q.dst[o:], q.arg[o:], q.src[first*line+r.lo*c:]
		place := above*q.s.Kernel + r.lo - (r.first*q.s.Stride - q.s.Pad)
		if n > 0 {
			t.windowMaxPlaces(y, arg, x, n, r.count, c, q.s.Stride*c, height, r.width, line, c, place, 1, q.s.Kernel)
		}
		if n < c {
			windowMaxPlacesGeneric(y[n:], arg[n:], x[n:], c-n, r.count, c, q.s.Stride*c, height, r.width, line, c, place, 1, q.s.Kernel)
		}
	}
}

// MaxPoolGrad computes the gradient dx of MaxPool's input from that of its
// output and the places of the maxima.
func (p *Pool) MaxPoolGrad(dx, dy []float32, arg []uint8, s PoolShape) {
	s.check(dx, dy)
	s.checkArg(arg)
	q := p.startInputs(s, dx, dy)
	q.arg = arg
	p.loopPooling(q, maxPoolGradRow)
}

// inputRow returns the number of the first output row whose windows have an
// input row, counted through all images, how many do, and the row's place in
// the windows of the first.
func (q *poolTask) inputRow(row int) (first, height, place int) {
	n, iy := row/q.s.H, row%q.s.H
	lo, hi := q.s.covering(iy, q.s.OutH())
	return n*q.s.OutH() + lo, hi - lo, iy + q.s.Pad - lo*q.s.Stride
}

// uncovered clears the pixels of a run that no window has, if it is one.
func (q *poolTask) uncovered(dx []float32, r windowRun, height int) bool {
	if height > 0 && r.width > 0 {
		return false
	}
	c := q.s.C
	for i := range r.count {
		clear(dx[i*q.s.Stride*c:][:c])
	}
	return true
}

func maxPoolGradRow(q *poolTask, t *tier, row int) {
	first, height, above := q.inputRow(row)
	c, line, n := q.s.C, q.s.OutW()*q.s.C, t.whole(q.s.C)
	step, kernel := q.s.Stride, q.s.Kernel
	for _, r := range q.runs {
		dx := q.dst[(row*q.s.W+r.first)*c:]
		if q.uncovered(dx, r, height) {
			continue
		}
		o := first*line + r.lo*c
		dy, arg := q.src[o:], q.arg[o:]
		place := above*kernel + r.first + q.s.Pad - r.lo*step
		if n > 0 {
			t.windowPick(dx, dy, arg, n, r.count, step*c, c, height, r.width, line, c, place, -step, -step*kernel)
		}
		if n < c {
			windowPickGeneric(dx[n:], dy[n:], arg[n:], c-n, r.count, step*c, c, height, r.width, line, c, place, -step, -step*kernel)
		}
	}
}

// AvgPool sets y [N, OutH, OutW, C] to the means over the windows of x, of the
// pixels that are in the image.
func (p *Pool) AvgPool(y, x []float32, s PoolShape) {
	s.check(x, y)
	p.loopPooling(p.startOutputs(s, y, x), avgPoolRow)
}

func avgPoolRow(q *poolTask, t *tier, row int) {
	first, height, _ := q.outputRow(row)
	for _, r := range q.runs {
		y, x := q.dst[(row*q.s.OutW()+r.first)*q.s.C:], q.src[(first*q.s.W+r.lo)*q.s.C:]
		q.sums(t, y, x, r, 1, q.s.Stride, height, q.s.W, 1/float32(height*r.width))
	}
}

// sums writes a run of sums over windows, times scale, where steps are pixels.
func (q *poolTask) sums(t *tier, dst, src []float32, r windowRun, dstStep, srcStep, height, line int, scale float32) {
	c, n := q.s.C, t.whole(q.s.C)
	if n > 0 {
		t.windowSums(dst, src, n, r.count, dstStep*c, srcStep*c, height, r.width, line*c, c, scale)
	}
	if n < c {
		windowSumsGeneric(dst[n:], src[n:], c-n, r.count, dstStep*c, srcStep*c, height, r.width, line*c, c, scale)
	}
}

// AvgPoolGrad computes the gradient dx of AvgPool's input from that of its
// output.
func (p *Pool) AvgPoolGrad(dx, dy []float32, s PoolShape) {
	s.check(dx, dy)
	q := p.startInputs(s, dx, dy)
	if area := s.area(); area > 0 {
		q.scale = 1 / float32(area)
		p.loopPooling(q, avgPoolGradRow)
		return
	}
	q.rows, q.chunk = s.N, 1
	p.loopPooling(q, avgPoolGradImage)
}

// area returns the number of pixels that count in each window, 0 if they differ.
func (s PoolShape) area() int {
	same := func(outs, n int) int {
		lo, hi := s.window(0, n)
		for o := range outs {
			if l, h := s.window(o, n); h-l != hi-lo {
				return 0
			}
		}
		return hi - lo
	}
	return same(s.OutH(), s.H) * same(s.OutW(), s.W)
}

func avgPoolGradRow(q *poolTask, t *tier, row int) {
	first, height, _ := q.inputRow(row)
	for _, r := range q.runs {
		dx := q.dst[(row*q.s.W+r.first)*q.s.C:]
		if q.uncovered(dx, r, height) {
			continue
		}
		q.sums(t, dx, q.src[(first*q.s.OutW()+r.lo)*q.s.C:], r, q.s.Stride, 1, height, q.s.OutW(), q.scale)
	}
}

// avgPoolGradImage spreads the gradients of one image over windows of several
// sizes, as padding makes them.
func avgPoolGradImage(q *poolTask, _ *tier, n int) {
	s, image := q.s, q.s.H*q.s.W*q.s.C
	dx := q.dst[n*image : (n+1)*image]
	clear(dx)
	for o := range s.OutH() * s.OutW() {
		dy := q.src[(n*s.OutH()*s.OutW()+o)*s.C:][:s.C]
		y0, y1 := s.window(o/s.OutW(), s.H)
		x0, x1 := s.window(o%s.OutW(), s.W)
		scale := 1 / float32((y1-y0)*(x1-x0))
		for i := y0; i < y1; i++ {
			for j := x0; j < x1; j++ {
				Axpy(dx[(i*s.W+j)*s.C:][:s.C], scale, dy)
			}
		}
	}
}
