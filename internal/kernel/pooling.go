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

// outputs returns the number of output values.
func (s PoolShape) outputs() int { return s.N * s.OutH() * s.OutW() * s.C }

// window returns the pixels [lo, hi) of an axis of n pixels that count for
// output o.
func (s PoolShape) window(o, n int) (lo, hi int) {
	lo = o*s.Stride - s.Pad
	return max(lo, 0), min(lo+s.Kernel, n)
}

// MaxPool sets y [N, OutH, OutW, C] to the maxima of the windows of x and arg,
// unless it is nil, to their places: row times Kernel plus column in the
// window, padding included. Of equal values the first in that order is taken;
// a NaN is larger than any number, and the last one is taken. Kernel is at
// most MaxPoolKernel if arg is not nil.
func (p *Pool) MaxPool(y []float32, arg []uint8, x []float32, s PoolShape) {
	s.check(x, y)
	if arg != nil {
		s.checkArg(arg)
	}
	for o := range s.N * s.OutH() {
		for ox := range s.OutW() {
			s.maxWindow(y, arg, x, o/s.OutH(), o%s.OutH(), ox)
		}
	}
}

func (s PoolShape) checkArg(arg []uint8) {
	if s.Kernel > MaxPoolKernel {
		panic("kernel: window too large to keep the places of maxima")
	}
	if len(arg) < s.outputs() {
		panic("kernel: slice too short for its shape")
	}
}

func (s PoolShape) maxWindow(y []float32, arg []uint8, x []float32, n, oy, ox int) {
	y0, y1 := s.window(oy, s.H)
	x0, x1 := s.window(ox, s.W)
	for c := range s.C {
		at := func(iy, ix int) float32 { return x[((n*s.H+iy)*s.W+ix)*s.C+c] }
		best, from := at(y0, x0), 0
		for iy := y0; iy < y1; iy++ {
			for ix := x0; ix < x1; ix++ {
				if v := at(iy, ix); v > best || v != v || iy == y0 && ix == x0 {
					best, from = v, (iy-oy*s.Stride+s.Pad)*s.Kernel+ix-ox*s.Stride+s.Pad
				}
			}
		}
		o := ((n*s.OutH()+oy)*s.OutW()+ox)*s.C + c
		y[o] = best
		if arg != nil {
			arg[o] = uint8(from)
		}
	}
}

// MaxPoolGrad computes the gradient dx of MaxPool's input from that of its
// output and the places of the maxima.
func (p *Pool) MaxPoolGrad(dx, dy []float32, arg []uint8, s PoolShape) {
	s.check(dx, dy)
	s.checkArg(arg)
	clear(dx[:s.N*s.H*s.W*s.C])
	outH, outW := s.OutH(), s.OutW()
	for o, g := range dy[:s.outputs()] {
		c, ox, oy, n := o%s.C, o/s.C%outW, o/s.C/outW%outH, o/s.C/outW/outH
		iy, ix := oy*s.Stride-s.Pad+int(arg[o])/s.Kernel, ox*s.Stride-s.Pad+int(arg[o])%s.Kernel
		dx[((n*s.H+iy)*s.W+ix)*s.C+c] += g
	}
}

// AvgPool sets y [N, OutH, OutW, C] to the means over the windows of x, of the
// pixels that are in the image.
func (p *Pool) AvgPool(y, x []float32, s PoolShape) {
	s.check(x, y)
	s.eachMean(func(o, i int, scale float32, first bool) {
		if first {
			y[o] = 0
		}
		y[o] += x[i] * scale
	})
}

// AvgPoolGrad computes the gradient dx of AvgPool's input from that of its
// output.
func (p *Pool) AvgPoolGrad(dx, dy []float32, s PoolShape) {
	s.check(dx, dy)
	clear(dx[:s.N*s.H*s.W*s.C])
	s.eachMean(func(o, i int, scale float32, _ bool) { dx[i] += dy[o] * scale })
}

// eachMean calls f for every output, each input that counts for it and its weight.
func (s PoolShape) eachMean(f func(o, i int, scale float32, first bool)) {
	for o := range s.outputs() {
		c, ox, oy, n := o%s.C, o/s.C%s.OutW(), o/s.C/s.OutW()%s.OutH(), o/s.C/s.OutW()/s.OutH()
		y0, y1 := s.window(oy, s.H)
		x0, x1 := s.window(ox, s.W)
		scale := 1 / float32((y1-y0)*(x1-x0))
		for iy := y0; iy < y1; iy++ {
			for ix := x0; ix < x1; ix++ {
				f(o, ((n*s.H+iy)*s.W+ix)*s.C+c, scale, iy == y0 && ix == x0)
			}
		}
	}
}
