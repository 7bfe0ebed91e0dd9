package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// convOracle computes the three results of a convolution by its definition, in
// float64: every product of an input and a weight goes to one output, and the
// gradients follow from the same list of products.
type convOracle struct{ y, yScale, dx, dxScale, dw, dwScale []float64 }

func newConvOracle(x, w, dy []float32, s ConvShape) *convOracle {
	o := &convOracle{}
	for _, v := range []*[]float64{&o.y, &o.yScale} {
		*v = make([]float64, s.N*s.OutH()*s.OutW()*s.OutC)
	}
	for _, v := range []*[]float64{&o.dx, &o.dxScale} {
		*v = make([]float64, s.N*s.H*s.W*s.C)
	}
	for _, v := range []*[]float64{&o.dw, &o.dwScale} {
		*v = make([]float64, s.KH*s.KW*s.C*s.OutC)
	}
	pixel := 0
	for n := range s.N {
		for oh := range s.OutH() {
			for ow := range s.OutW() {
				for kh := range s.KH {
					for kw := range s.KW {
						ih, iw := oh*s.Stride+kh-s.Pad, ow*s.Stride+kw-s.Pad
						if ih >= 0 && ih < s.H && iw >= 0 && iw < s.W {
							o.tap(x, w, dy, s, ((n*s.H+ih)*s.W+iw)*s.C, (kh*s.KW+kw)*s.C*s.OutC, pixel*s.OutC)
						}
					}
				}
				pixel++
			}
		}
	}
	return o
}

// tap adds the products of one input pixel, one filter tap and one output pixel.
func (o *convOracle) tap(x, w, dy []float32, s ConvShape, xi, wi, yi int) {
	add := func(sum, scale []float64, i int, v float64) {
		sum[i] += v
		scale[i] += math.Abs(v)
	}
	for c := range s.C {
		for k := range s.OutC {
			xv, wv, g := float64(x[xi+c]), float64(w[wi+c*s.OutC+k]), float64(dy[yi+k])
			add(o.y, o.yScale, yi+k, xv*wv)
			add(o.dx, o.dxScale, xi+c, g*wv)
			add(o.dw, o.dwScale, wi+c*s.OutC+k, xv*g)
		}
	}
}

func (s ConvShape) sizes() (x, w, y int) {
	return s.N * s.H * s.W * s.C, s.KH * s.KW * s.C * s.OutC, s.N * s.OutH() * s.OutW() * s.OutC
}

func checkConv(t *testing.T, p *Pool, s ConvShape, r *rand.Rand) {
	t.Helper()
	nx, nw, ny := s.sizes()
	x, w, dy := normal(nx, r), normal(nw, r), normal(ny, r)
	o := newConvOracle(x.s, w.s, dy.s, s)
	for _, k := range tiers {
		undo := useTier(k)
		what := fmt.Sprintf("%s %+v", k.name, s)
		y, dx, dw := newBuffer(ny), newBuffer(nx), newBuffer(nw)
		p.ConvForward(y.s, x.s, w.s, s)
		near(t, what+" forward", y.s, o.y, o.yScale, 1e-6)
		p.ConvInputGrad(dx.s, dy.s, w.s, s)
		near(t, what+" input gradient", dx.s, o.dx, o.dxScale, 1e-6)
		p.ConvWeightGrad(dw.s, x.s, dy.s, s)
		near(t, what+" weight gradient", dw.s, o.dw, o.dwScale, 1e-6)
		intact(t, what, x, w, dy, y, dx, dw)
		undo()
	}
}

// Odd and even kernels, strides that leave pixels over, padding up to and
// beyond the kernel, and channel counts around the tiles.
func TestConv(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	p.SetWinograd(false)
	r := seeded(3)
	channels := []int{1, 3, 5, 16, 33}
	i := 0
	for _, k := range []int{1, 2, 3, 4, 5, 7} {
		for stride := 1; stride <= 4; stride++ {
			for pad := range 4 {
				s := ConvShape{N: 1 + i%3, H: max(k, 5+i%4), W: max(k, 6+i*7%5), C: channels[i%5], OutC: channels[(i/5+i)%5], KH: k, KW: k, Stride: stride, Pad: pad}
				checkConv(t, p, s, r)
				i++
			}
		}
	}
}

func TestConvShapes(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	p.SetWinograd(false)
	r := seeded(4)
	for _, s := range []ConvShape{
		{N: 2, H: 7, W: 7, C: 16, OutC: 33, KH: 1, KW: 1, Stride: 2},           // projection of a residual block
		{N: 3, H: 5, W: 5, C: 8, OutC: 32, KH: 5, KW: 5, Stride: 1},            // kernel = input
		{N: 2, H: 9, W: 6, C: 3, OutC: 5, KH: 2, KW: 5, Stride: 3, Pad: 1},     // not square
		{N: 40, H: 4, W: 4, C: 5, OutC: 40, KH: 4, KW: 4, Stride: 2, Pad: 1},   // many images in an item
		{N: 1, H: 40, W: 41, C: 17, OutC: 9, KH: 3, KW: 3, Stride: 1, Pad: 1},  // bands of an image
		{N: 1, H: 3, W: 300, C: 4, OutC: 3, KH: 3, KW: 3, Stride: 2, Pad: 1},   // rows longer than an item
		{N: 2, H: 6, W: 6, C: 130, OutC: 64, KH: 3, KW: 3, Stride: 1, Pad: 1},  // runs longer than kBlock
		{N: 2, H: 6, W: 6, C: 64, OutC: 70, KH: 4, KW: 4, Stride: 2, Pad: 1},   // several blocks of runs
		{N: 1, H: 2, W: 2, C: 3, OutC: 4, KH: 1, KW: 1, Stride: 4, Pad: 3},     // windows of padding only
		{N: 17, H: 8, W: 8, C: 16, OutC: 64, KH: 3, KW: 3, Stride: 2, Pad: 1},  // several parts
		{N: 19, H: 4, W: 5, C: 40, OutC: 33, KH: 3, KW: 3, Stride: 1, Pad: 1},  // small images, clipped windows
		{N: 26, H: 8, W: 8, C: 33, OutC: 65, KH: 4, KW: 4, Stride: 2, Pad: 1},  // the same, not in whole tiles
		{N: 12, H: 3, W: 2, C: 32, OutC: 32, KH: 5, KW: 3, Stride: 1, Pad: 4},  // clipped to nothing
		{N: 10, H: 5, W: 6, C: 20, OutC: 34, KH: 5, KW: 1, Stride: 2, Pad: 1},  // phases without taps
		{N: 17, H: 1, W: 1, C: 48, OutC: 40, KH: 3, KW: 3, Stride: 1, Pad: 1},  // only the middle tap
		{N: 13, H: 7, W: 7, C: 64, OutC: 20, KH: 3, KW: 3, Stride: 3, Pad: 3},  // taps that meet few
		{N: 9, H: 4, W: 4, C: 700, OutC: 40, KH: 3, KW: 3, Stride: 1, Pad: 1},  // several blocks of clipped windows
		{N: 0, H: 5, W: 5, C: 2, OutC: 3, KH: 3, KW: 3, Stride: 1, Pad: 1},     // empty batch
		{N: 1, H: 1, W: 1, C: 300, OutC: 20, KH: 1, KW: 1, Stride: 1},          // a dense layer
		{N: 2, H: 5, W: 5, C: 300, OutC: 300, KH: 2, KW: 2, Stride: 2, Pad: 1}, // wide both ways
	} {
		checkConv(t, p, s, r)
	}
	mustPanic(t, "kernel larger than input", func() { p.ConvForward(nil, nil, nil, ConvShape{1, 2, 2, 1, 1, 3, 3, 1, 0}) })
	mustPanic(t, "no stride", func() { p.ConvForward(nil, nil, nil, ConvShape{1, 2, 2, 1, 1, 1, 1, 0, 0}) })
	mustPanic(t, "short x", func() { p.ConvForward(nil, nil, nil, ConvShape{1, 2, 2, 1, 1, 1, 1, 1, 0}) })
}

func TestConvWorkers(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		r := seeded(5)
		s := ConvShape{N: 33, H: 10, W: 9, C: 12, OutC: 40, KH: 4, KW: 4, Stride: 2, Pad: 1}
		nx, nw, ny := s.sizes()
		x, w, dy := normal(nx, r), normal(nw, r), normal(ny, r)
		sameForWorkers(t, func(p *Pool) [][]float32 {
			y, dx, dw := make([]float32, ny), make([]float32, nx), make([]float32, nw)
			p.ConvForward(y, x.s, w.s, s)
			p.ConvInputGrad(dx, dy.s, w.s, s)
			p.ConvWeightGrad(dw, x.s, dy.s, s)
			return [][]float32{y, dx, dw}
		})
	})
}

// A kernel allocates nothing after its first call with a shape.
func TestNoAllocations(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	r := seeded(6)
	s := ConvShape{N: 8, H: 14, W: 14, C: 16, OutC: 32, KH: 3, KW: 3, Stride: 2, Pad: 1}
	nx, nw, ny := s.sizes()
	x, w, y := normal(nx, r).s, normal(nw, r).s, normal(ny, r).s
	dx, dw := make([]float32, nx), make([]float32, nw)
	const c = 32
	stats := make([]float32, 6*c)
	step := func() {
		p.ConvForward(y, x, w, s)
		p.ConvInputGrad(dx, y, w, s)
		p.ConvWeightGrad(dw, x, y, s)
		p.Gemm(dw, 48, x, 64, false, y, 48, false, 90, 48, 64, false)
		p.Gemm(dw, 48, x, 90, true, y, 64, true, 90, 48, 64, true)
		rows := ny / c
		p.BatchNormStats(stats[2*c:], stats[3*c:], y, rows, c)
		p.BatchNormApply(dx, y, nil, stats[:c], stats[c:], stats[2*c:], stats[3*c:], rows, c, 1e-5, true)
		p.Add(dx[:ny], y)
		p.BatchNormBackward(dx, nil, stats[4*c:], stats[5*c:], y, y, y, stats[:c], stats[c:], stats[2*c:], stats[3*c:], rows, c, 1e-5, true)
		p.BiasGrad(stats, y, rows, c)
		p.ReLU(dx[:ny], y, .1)
		p.SGD(w, dw, dx[:nw], .1, .9, 0, true)
		p.AdamW(w, dw, dx[:nw], dx[nw:], 3, .1, .9, .99, 1e-8, 0)
	}
	step()
	if n := testing.AllocsPerRun(10, step); n > 0 {
		t.Errorf("%g allocations per step, want none", n)
	}
}

func FuzzConv(f *testing.F) {
	f.Add(uint64(1), uint8(9), uint8(8), uint8(3), uint8(5), uint8(4), uint8(4), uint8(2), uint8(1))
	f.Add(uint64(2), uint8(5), uint8(5), uint8(33), uint8(40), uint8(5), uint8(3), uint8(3), uint8(3))
	pool := NewPool(2)
	pool.SetWinograd(false)
	f.Fuzz(func(t *testing.T, seed uint64, h, w, c, o, kh, kw, stride, pad uint8) {
		s := ConvShape{N: 1 + int(seed%20), H: 1 + int(h)%12, W: 1 + int(w)%12, C: 1 + int(c)%40, OutC: 1 + int(o)%40,
			KH: 1 + int(kh)%7, KW: 1 + int(kw)%7, Stride: 1 + int(stride)%4, Pad: int(pad) % 4}
		if s.H+2*s.Pad >= s.KH && s.W+2*s.Pad >= s.KW {
			checkConv(t, pool, s, seeded(seed))
		}
	})
}
