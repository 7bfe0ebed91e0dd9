package dataset

import (
	"math"
	"sync"
)

const (
	smallSide = 64 // images of one size up to this side are used as they are
	autoSide  = 64 // and others trained at this side, unless told
)

// storedSide is the side that a photograph trained at side pixels is kept at:
// about 8/7 of it, the proportion of the customary 256 to 224, with the same
// margin on both sides, so that crops have room.
func storedSide(side int) int { return side + 2*((side+7)/14) }

// shapes chooses the network input out and the shape stored for images of the
// native size, whose H is 0 if sizes differ; side is the automatic choice.
func shapes(native Shape, side int, opt *Options) (stored, out Shape) {
	c := 1
	if native.C > 1 {
		c = 3
	}
	square := opt.Size > 0 && native.H == opt.Size && native.W == opt.Size
	switch {
	case opt.Input != (Shape{}):
		out = opt.Input
	case square, opt.Size == 0 && native.H > 0 && max(native.H, native.W) <= smallSide:
		out = Shape{native.H, native.W, c}
	case opt.Size > 0:
		out = Shape{opt.Size, opt.Size, c}
	default:
		out = Shape{side, side, c}
	}
	stored = Shape{storedSide(out.H), storedSide(out.W), out.C}
	switch {
	case opt.Stored != (Shape{}):
		stored = opt.Stored
	case native.H == out.H && native.W == out.W:
		stored = out
	}
	return stored, out
}

// fitter turns images of one native shape into the stored shape.
type fitter struct {
	native, stored Shape
	resize         *resizer // nil if the size is right
	scratch        sync.Pool
}

func newFitter(native, stored Shape) *fitter {
	f := &fitter{native: native, stored: stored}
	if native.H != stored.H || native.W != stored.W {
		f.resize = newResizer(native, stored.H, stored.W)
	}
	f.scratch.New = func() any {
		b := make([]float32, native.Size())
		return &b
	}
	return f
}

// fit calls load with a buffer for the native image and writes the stored one.
func (f *fitter) fit(dst []float32, load func(native []float32) error) error {
	if f.native == f.stored {
		return load(dst)
	}
	p := f.scratch.Get().(*[]float32)
	defer f.scratch.Put(p)
	src := *p
	if err := load(src); err != nil {
		return err
	}
	if f.resize != nil {
		sized := make([]float32, f.stored.H*f.stored.W*f.native.C)
		stride := f.native.W * f.native.C
		f.resize.run(sized, func(y int) []float32 { return src[y*stride : (y+1)*stride] })
		src = sized
	}
	convertChannels(dst, f.stored.C, src, f.native.C)
	return nil
}

// Weights of red, green and blue in grey (ITU-R BT.601).
const lumaR, lumaG, lumaB = 0.299, 0.587, 0.114

// convertChannels copies pixels of c channels to pixels of d channels: grey is
// repeated, colour averaged by luminance, and a fourth channel is an opacity
// with which the pixel is laid over white.
func convertChannels(dst []float32, d int, src []float32, c int) {
	if c == d {
		copy(dst, src)
		return
	}
	for i := range len(src) / c {
		p, q := src[i*c:(i+1)*c], dst[i*d:(i+1)*d]
		var r, g, b float32
		switch c {
		case 1:
			r, g, b = p[0], p[0], p[0]
		case 3:
			r, g, b = p[0], p[1], p[2]
		case 4:
			white := 1 - p[3]
			r, g, b = p[0]*p[3]+white, p[1]*p[3]+white, p[2]*p[3]+white
		}
		switch {
		case d == 3:
			q[0], q[1], q[2] = r, g, b
		case c == 1:
			q[0] = r
		default:
			q[0] = lumaR*r + lumaG*g + lumaB*b
		}
	}
}

// axis holds, for each output position along one side, the source positions it
// averages and their weights.
type axis struct {
	start []int32     // first source position
	w     [][]float32 // weights, which sum to 1
}

// newAxis resamples the part [lo, lo+length) of n positions to out positions
// with a triangle filter, widened when shrinking so that nothing aliases: it is
// bilinear interpolation when enlarging, close to averaging when shrinking.
func newAxis(n int, lo, length float64, out int) axis {
	a := axis{start: make([]int32, out), w: make([][]float32, out)}
	scale := length / float64(out)
	radius := max(scale, 1)
	all := make([]float32, 0, out*(int(2*radius)+2)) // one allocation for all weights
	for o := range out {
		centre := lo + (float64(o)+.5)*scale - .5
		first := max(int(math.Ceil(centre-radius)), 0)
		last := min(int(math.Floor(centre+radius)), n-1)
		from := len(all)
		sum := 0.
		for i := first; i <= last; i++ {
			v := max(1-math.Abs(float64(i)-centre)/radius, 0)
			all = append(all, float32(v))
			sum += v
		}
		w := all[from:]
		for i := range w {
			w[i] /= float32(sum)
		}
		a.start[o], a.w[o] = int32(first), w
	}
	return a
}

// resizer cuts the largest centred box of the output's proportions out of an
// image and resamples it.
type resizer struct {
	src  Shape
	x, y axis
}

func newResizer(src Shape, h, w int) *resizer {
	boxH, boxW := float64(src.H), float64(src.W)
	if boxW*float64(h) > boxH*float64(w) {
		boxW = boxH * float64(w) / float64(h)
	} else {
		boxH = boxW * float64(h) / float64(w)
	}
	return &resizer{
		src: src,
		x:   newAxis(src.W, (float64(src.W)-boxW)/2, boxW, w),
		y:   newAxis(src.H, (float64(src.H)-boxH)/2, boxH, h),
	}
}

// run writes the result to dst. It asks for the source rows it needs one after
// the other, so that the source never has to exist as a whole; row's result is
// only used until the next call.
func (r *resizer) run(dst []float32, row func(y int) []float32) {
	c, h := r.src.C, len(r.y.start)
	line := make([]float32, len(r.x.start)*c)
	clear(dst[:h*len(line)])
	end := func(o int) int { return int(r.y.start[o]) + len(r.y.w[o]) }
	oldest := 0 // first output row that still needs source rows
	for y := int(r.y.start[0]); y < end(h-1); y++ {
		r.resampleLine(line, row(y))
		for oldest < h && end(oldest) <= y {
			oldest++
		}
		for o := oldest; o < h && int(r.y.start[o]) <= y; o++ {
			if y >= end(o) {
				continue
			}
			w := r.y.w[o][y-int(r.y.start[o])]
			out := dst[o*len(line) : (o+1)*len(line)]
			for i, v := range line {
				out[i] += w * v
			}
		}
	}
}

// resampleLine resamples one row of pixels.
func (r *resizer) resampleLine(dst, src []float32) {
	c := r.src.C
	for o, first := range r.x.start {
		p := src[int(first)*c:]
		if c == 1 {
			var sum float32
			for k, w := range r.x.w[o] {
				sum += w * p[k]
			}
			dst[o] = sum
			continue
		}
		for ch := range c {
			var sum float32
			for k, w := range r.x.w[o] {
				sum += w * p[k*c+ch]
			}
			dst[o*c+ch] = sum
		}
	}
}
