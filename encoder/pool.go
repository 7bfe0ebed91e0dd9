package encoder

// window walks the positions of a pooling window over one NHWC image, one
// image per item of work.
type window struct {
	in, out             Shape
	kernel, stride, pad int

	// The call in progress, read by loop bodies that are made once, so that a
	// step allocates nothing.
	dst, src []float32
	arg      []int32
}

func newWindow(l Layer, in, out Shape) window {
	return window{in: in, out: out, kernel: l.Kernel, stride: l.Stride, pad: l.Pad}
}

// span returns the real input positions [lo, hi) under output position o of an
// axis with n positions.
func (w *window) span(o, n int) (lo, hi int) {
	lo = o*w.stride - w.pad
	return max(lo, 0), min(lo+w.kernel, n)
}

// each calls f for every output position, with the offset of its channels in
// the image's output and the real input rows and columns under its window.
func (w *window) each(f func(at, y0, y1, x0, x1 int)) {
	for oy := range w.out.H {
		y0, y1 := w.span(oy, w.in.H)
		for ox := range w.out.W {
			x0, x1 := w.span(ox, w.in.W)
			f((oy*w.out.W+ox)*w.out.C, y0, y1, x0, x1)
		}
	}
}

// at is the offset of the channels of an input position.
func (w *window) at(y, x int) int { return (y*w.in.W + x) * w.in.C }

// maxPoolOp keeps, for every output, which input was the maximum: the first
// one in memory order, or a NaN if there is one, as in PyTorch.
type maxPoolOp struct {
	window
	argmax         []int32
	scratch        []int32 // in inference, where nobody reads it
	forwardImage   func(i int)
	backwardImages func(i int)
}

func newMaxPool(l Layer, in, out Shape) *maxPoolOp {
	o := &maxPoolOp{window: newWindow(l, in, out)}
	o.forwardImage, o.backwardImages = o.pool, o.scatter
	return o
}

func (o *maxPoolOp) plan(rows int)      { o.argmax = make([]int32, o.words(rows)) }
func (o *maxPoolOp) words(rows int) int { return rows * o.out.Size() }
func (o *maxPoolOp) inPlace() bool      { return false }

func (o *maxPoolOp) pool(i int) {
	x, n := o.src[i*o.in.Size():(i+1)*o.in.Size()], o.out.Size()
	y, arg := o.dst[i*n:(i+1)*n], o.arg[i*n:(i+1)*n]
	o.each(func(at, y0, y1, x0, x1 int) {
		best, from := y[at:at+o.in.C], arg[at:at+o.in.C]
		first := o.at(y0, x0)
		copy(best, x[first:first+o.in.C])
		for c := range from {
			from[c] = int32(first + c)
		}
		for iy := y0; iy < y1; iy++ {
			for ix := x0; ix < x1; ix++ {
				p := o.at(iy, ix)
				for c, v := range x[p : p+o.in.C] {
					if v > best[c] || v != v {
						best[c], from[c] = v, int32(p+c)
					}
				}
			}
		}
	})
}

func (o *maxPoolOp) scatter(i int) {
	n := o.out.Size()
	dx := o.dst[i*o.in.Size() : (i+1)*o.in.Size()]
	clear(dx)
	for j, p := range o.arg[i*n : (i+1)*n] {
		dx[p] += o.src[i*n+j]
	}
}

func (o *maxPoolOp) forward(e *env, y, x []float32, rows int) {
	o.dst, o.src, o.arg = y, x, o.argmax
	e.pool.Do(rows, o.forwardImage)
}

func (o *maxPoolOp) infer(e *env, y, x []float32, rows int) {
	if len(o.scratch) < len(y) {
		o.scratch = make([]int32, len(y))
	}
	o.dst, o.src, o.arg = y, x, o.scratch
	e.pool.Do(rows, o.forwardImage)
}

func (o *maxPoolOp) backward(e *env, dx, dy, _, _ []float32, rows int) {
	if dx != nil {
		o.dst, o.src, o.arg = dx, dy, o.argmax
		e.pool.Do(rows, o.backwardImages)
	}
}

// avgPoolOp averages over the real pixels of a window: padding is not counted.
type avgPoolOp struct {
	window
	forwardImage, backwardImage func(i int)
}

func newAvgPool(l Layer, in, out Shape) *avgPoolOp {
	o := &avgPoolOp{window: newWindow(l, in, out)}
	o.forwardImage, o.backwardImage = o.pool, o.spread
	return o
}

// newGlobalPool averages over the whole image.
func newGlobalPool(in Shape) *avgPoolOp {
	side := max(in.H, in.W)
	return newAvgPool(Layer{Kernel: side, Stride: side}, in, Shape{1, 1, in.C})
}

func (o *avgPoolOp) plan(int)      {}
func (o *avgPoolOp) words(int) int { return 0 }
func (o *avgPoolOp) inPlace() bool { return false }

func (o *avgPoolOp) pool(i int) {
	x, y := o.src[i*o.in.Size():(i+1)*o.in.Size()], o.dst[i*o.out.Size():(i+1)*o.out.Size()]
	o.each(func(at, y0, y1, x0, x1 int) {
		sum := y[at : at+o.in.C]
		clear(sum)
		for iy := y0; iy < y1; iy++ {
			for ix := x0; ix < x1; ix++ {
				p := o.at(iy, ix)
				for c, v := range x[p : p+o.in.C] {
					sum[c] += v
				}
			}
		}
		scale := 1 / float32((y1-y0)*(x1-x0))
		for c := range sum {
			sum[c] *= scale
		}
	})
}

func (o *avgPoolOp) spread(i int) {
	dx, dy := o.dst[i*o.in.Size():(i+1)*o.in.Size()], o.src[i*o.out.Size():(i+1)*o.out.Size()]
	clear(dx)
	o.each(func(at, y0, y1, x0, x1 int) {
		g, scale := dy[at:at+o.in.C], 1/float32((y1-y0)*(x1-x0))
		for iy := y0; iy < y1; iy++ {
			for ix := x0; ix < x1; ix++ {
				p := o.at(iy, ix)
				for c, v := range g {
					dx[p+c] += v * scale
				}
			}
		}
	})
}

func (o *avgPoolOp) forward(e *env, y, x []float32, rows int) {
	o.dst, o.src = y, x
	e.pool.Do(rows, o.forwardImage)
}

func (o *avgPoolOp) infer(e *env, y, x []float32, rows int) { o.forward(e, y, x, rows) }

func (o *avgPoolOp) backward(e *env, dx, dy, _, _ []float32, rows int) {
	if dx != nil {
		o.dst, o.src = dx, dy
		e.pool.Do(rows, o.backwardImage)
	}
}
