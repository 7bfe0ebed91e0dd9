package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// variantsFor lists the variants that can compute a shape.
func variantsFor(s ConvShape) (vs []*winogradVariant) {
	for _, v := range winogradVariants {
		if v.fits(s, Forward) {
			vs = append(vs, v)
		}
	}
	return vs
}

// checkWinograd compares the three passes, with every variant and tier, with
// the definition in float64.
func checkWinograd(t *testing.T, p *Pool, s ConvShape, r *rand.Rand) {
	t.Helper()
	nx, nw, ny := s.sizes()
	x, w, dy := normal(nx, r), normal(nw, r), normal(ny, r)
	o := newConvOracle(x.s, w.s, dy.s, s)
	for _, v := range variantsFor(s) {
		for _, k := range tiers {
			undo := useTier(k)
			what := fmt.Sprintf("%s %s %+v", k.name, v.name, s)
			y, dx, dw := newBuffer(ny), newBuffer(nx), newBuffer(nw)
			p.winogradForward(y.s, x.s, w.s, s, v, Epilogue{})
			nearLargest(t, what+" forward", y.s, o.y, o.yScale, 3e-6)
			if v.fits(s, InputGrad) {
				p.winogradInputGrad(dx.s, dy.s, w.s, s, v)
			} else {
				p.ConvInputGrad(dx.s, dy.s, w.s, s)
			}
			nearLargest(t, what+" input gradient", dx.s, o.dx, o.dxScale, 3e-6)
			if s.N > 0 {
				p.winogradWeightGrad(dw.s, x.s, dy.s, s, v)
			} else {
				p.ConvWeightGrad(dw.s, x.s, dy.s, s)
			}
			nearLargest(t, what+" weight gradient", dw.s, o.dw, o.dwScale, 3e-6)
			intact(t, what, x, w, dy, y, dx, dw)
			undo()
		}
	}
}

// nearLargest compares with a tolerance of tol times the largest scale: a tile
// has the rounding errors of its largest result in all of them.
func nearLargest(t *testing.T, what string, got []float32, want, scale []float64, tol float64) {
	t.Helper()
	if len(want) == 0 {
		return
	}
	largest := slices.Max(scale)
	for i, w := range want {
		if d := math.Abs(float64(got[i]) - w); !(d <= tol*largest) {
			t.Fatalf("%s: element %d is %g, want %g (off by %.2g, allowed %.2g)", what, i, got[i], w, d, tol*largest)
		}
	}
}

// lowerWinogradLimits makes items, blocks and pieces so small that small
// shapes have several of each.
func lowerWinogradLimits() (undo func()) {
	old := winogradLimits
	winogradLimits.fused, winogradLimits.panel, winogradLimits.ahead, winogradLimits.filters, winogradLimits.inputs = 1, 8_000, 40_000, 1, 20_000
	return func() { winogradLimits = old }
}

// Sizes that are not multiples of a tile, all paddings, and channel counts
// around the vectors and the blocks.
func TestWinograd(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	r := seeded(31)
	channels := []int{1, 16, 5, 33, 8, 64, 17, 32}
	i := 0
	for _, c := range []struct{ k, stride int }{{3, 1}, {4, 2}, {3, 2}} {
		for pad := range c.k {
			k := c.k
			for h := max(1, k-2*pad); h < 10; h++ {
				s := ConvShape{N: 1 + i%3, H: h, W: max(k-2*pad, 1+(h*5+i)%11), C: channels[i%8], OutC: channels[(i/8+3*i)%8], KH: k, KW: k, Stride: c.stride, Pad: pad}
				checkWinograd(t, p, s, r)
				i++
			}
		}
	}
}

func TestWinogradChannels(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	r := seeded(32)
	for c := 1; c <= 70; c++ {
		s := ConvShape{N: 2, H: 5, W: 4, C: c, OutC: 1 + c*31%70, KH: 3, KW: 3, Stride: 1, Pad: 1}
		if c%3 > 0 {
			s.KH, s.KW, s.Stride = 2+c%3, 2+c%3, 2
		}
		checkWinograd(t, p, s, r)
	}
}

// Several items, blocks of channels, and pieces of the work ahead.
func TestWinogradItems(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	r := seeded(33)
	shapes := []ConvShape{
		{N: 1, H: 40, W: 41, C: 17, OutC: 9, KH: 3, KW: 3, Stride: 1, Pad: 1},   // bands of an image
		{N: 23, H: 4, W: 4, C: 5, OutC: 33, KH: 3, KW: 3, Stride: 1, Pad: 1},    // many images in an item
		{N: 3, H: 3, W: 150, C: 3, OutC: 4, KH: 3, KW: 3, Stride: 1, Pad: 2},    // rows longer than an item
		{N: 2, H: 6, W: 7, C: 150, OutC: 140, KH: 3, KW: 3, Stride: 1, Pad: 1},  // several blocks both ways
		{N: 19, H: 9, W: 8, C: 40, OutC: 70, KH: 4, KW: 4, Stride: 2, Pad: 1},   // and folded
		{N: 0, H: 5, W: 5, C: 20, OutC: 30, KH: 3, KW: 3, Stride: 1, Pad: 1},    // empty batch
		{N: 6, H: 8, W: 8, C: 96, OutC: 32, KH: 3, KW: 3, Stride: 1, Pad: 1},    // whole groups
		{N: 9, H: 16, W: 16, C: 32, OutC: 64, KH: 4, KW: 4, Stride: 2, Pad: 1},  // and folded
		{N: 9, H: 17, W: 18, C: 40, OutC: 70, KH: 3, KW: 3, Stride: 2, Pad: 1},  // and with a stride
		{N: 12, H: 13, W: 13, C: 16, OutC: 20, KH: 3, KW: 3, Stride: 1, Pad: 0}, // edges in many items
	}
	for _, s := range shapes {
		checkWinograd(t, p, s, r)
	}
	defer lowerWinogradLimits()()
	for _, s := range shapes {
		checkWinograd(t, p, s, r)
	}
}

func TestWinogradEpilogue(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		p := NewPool(3)
		defer p.Close()
		r := seeded(34)
		for range 2 {
			for _, s := range []ConvShape{
				{N: 5, H: 9, W: 7, C: 3, OutC: 37, KH: 3, KW: 3, Stride: 1, Pad: 1},
				{N: 20, H: 4, W: 4, C: 20, OutC: 64, KH: 3, KW: 3, Stride: 1, Pad: 1},
				{N: 2, H: 30, W: 31, C: 16, OutC: 17, KH: 3, KW: 3, Stride: 1, Pad: 2},
				{N: 30, H: 6, W: 6, C: 4, OutC: 64, KH: 4, KW: 4, Stride: 2, Pad: 1},
				{N: 3, H: 19, W: 16, C: 4, OutC: 34, KH: 3, KW: 3, Stride: 2, Pad: 1},
			} {
				nx, nw, _ := s.sizes()
				x, w := normal(nx, r), normal(nw, r)
				for _, v := range variantsFor(s) {
					checkEpilogue(t, fmt.Sprintf("%s %+v", v.name, s), s.N*s.OutH()*s.OutW(), s.OutC, r, func(y []float32, e Epilogue) {
						p.winogradForward(y, x.s, w.s, s, v, e)
					})
				}
			}
			defer lowerWinogradLimits()()
		}
	})
}

// passes returns the results of the three passes, and the moments.
func passes(p *Pool, x, w, dy []float32, s ConvShape) [][]float32 {
	y, dx, dw, m := make([]float32, len(dy)), make([]float32, len(x)), make([]float32, len(w)), make([]float32, 2*s.OutC)
	p.ConvForwardThen(y, x, w, s, Epilogue{Mean: m[:s.OutC], Variance: m[s.OutC:]})
	p.ConvInputGrad(dx, dy, w, s)
	p.ConvWeightGrad(dw, x, dy, s)
	return [][]float32{y, dx, dw, m}
}

var winogradShapes = []ConvShape{
	{N: 33, H: 10, W: 9, C: 17, OutC: 40, KH: 3, KW: 3, Stride: 1, Pad: 1},
	{N: 33, H: 16, W: 15, C: 17, OutC: 40, KH: 4, KW: 4, Stride: 2, Pad: 1},
	{N: 33, H: 16, W: 15, C: 17, OutC: 40, KH: 3, KW: 3, Stride: 2, Pad: 1},
	{N: 33, H: 4, W: 4, C: 170, OutC: 180, KH: 3, KW: 3, Stride: 1, Pad: 1},
}

func TestWinogradWorkers(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		r := seeded(35)
		for _, s := range winogradShapes {
			nx, nw, ny := s.sizes()
			x, w, dy := normal(nx, r), normal(nw, r), normal(ny, r)
			sameForWorkers(t, func(p *Pool) [][]float32 {
				if !p.Winograd(s, Forward) {
					t.Fatalf("%+v is direct", s)
				}
				return passes(p, x.s, w.s, dy.s, s)
			})
		}
	})
}

func TestWinogradNoAllocations(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	r := seeded(36)
	for _, s := range winogradShapes {
		nx, nw, ny := s.sizes()
		x, w, y := normal(nx, r).s, normal(nw, r).s, normal(ny, r).s
		dx, dw := make([]float32, nx), make([]float32, nw)
		step := func() {
			p.ConvForward(y, x, w, s)
			p.ConvInputGrad(dx, y, w, s)
			p.ConvWeightGrad(dw, x, y, s)
		}
		step()
		if n := testing.AllocsPerRun(5, step); n > 0 {
			t.Errorf("%+v: %g allocations, want none", s, n)
		}
	}
}

func TestWinogradChoice(t *testing.T) {
	p := NewPool(1)
	defer p.Close()
	for _, c := range []struct {
		s    ConvShape
		want string
	}{
		{ConvShape{64, 32, 32, 64, 64, 3, 3, 1, 1}, "winograd F(4x4,3x3)"},
		{ConvShape{64, 7, 7, 512, 512, 3, 3, 1, 1}, "winograd F(4x4,3x3)"},
		{ConvShape{64, 6, 6, 64, 64, 3, 3, 1, 1}, "winograd F(2x2,3x3)"},
		{ConvShape{256, 16, 16, 64, 128, 4, 4, 2, 1}, "winograd F(4x4,2x2)"},
		{ConvShape{256, 14, 14, 64, 128, 4, 4, 2, 0}, "winograd F(2x2,2x2)"},
		{ConvShape{64, 32, 32, 3, 64, 3, 3, 1, 1}, "direct"},              // few channels
		{ConvShape{1, 4, 4, 512, 512, 3, 3, 1, 1}, "winograd F(4x4,3x3)"}, // as of many images
		{ConvShape{64, 32, 32, 64, 128, 5, 5, 1, 2}, "direct"},
		{ConvShape{64, 32, 32, 64, 128, 1, 1, 1, 0}, "direct"},
		{ConvShape{64, 32, 32, 64, 64, 3, 3, 1, 3}, "direct"}, // the gradient would need less than no padding
	} {
		for pass := Forward; pass <= WeightGrad; pass++ {
			p.SetWinograd(true)
			if got := p.Algorithm(c.s, pass); got != c.want || p.Winograd(c.s, pass) != (got != "direct") {
				t.Errorf("%+v, pass %d: %s, want %s", c.s, pass, got, c.want)
			}
			p.SetWinograd(false)
			if got := p.Algorithm(c.s, pass); got != "direct" || p.Winograd(c.s, pass) {
				t.Errorf("%+v, pass %d: %s though Winograd is off", c.s, pass, got)
			}
		}
	}
}

func TestConvOfNoImages(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	for _, winograd := range []bool{false, true} {
		p.SetWinograd(winograd)
		for _, c := range []int{3, 64, 512} { // direct, U ahead and V ahead
			s := ConvShape{0, 8, 8, c, c, 3, 3, 1, 1}
			w := constant(9*c*c, 7)
			p.ConvForward(nil, nil, w, s)
			p.ConvInputGrad(nil, nil, w, s)
			p.ConvWeightGrad(w, nil, nil, s)
			for i, v := range w {
				if v != 0 {
					t.Fatalf("%d channels, winograd %t: weight gradient %d of no images is %g", c, winograd, i, v)
				}
			}
		}
	}
}

// Every variant that can compute a shape is there for measurements, and right
// where the rule refuses it.
func TestForceWinograd(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	r := seeded(37)
	for _, c := range []struct {
		s    ConvShape
		want [3]string // of the passes
	}{
		{ConvShape{3, 9, 10, 3, 20, 3, 3, 1, 1}, [3]string{"winograd F(4x4,3x3)", "winograd F(4x4,3x3)", "winograd F(4x4,3x3)"}},
		{ConvShape{2, 2, 2, 40, 33, 3, 3, 1, 1}, [3]string{"winograd F(2x2,3x3)", "winograd F(2x2,3x3)", "winograd F(2x2,3x3)"}},
		{ConvShape{3, 12, 12, 1, 5, 4, 4, 2, 1}, [3]string{"winograd F(2x2,2x2)", "winograd F(2x2,2x2)", "winograd F(2x2,2x2)"}},
		{ConvShape{2, 16, 16, 3, 40, 3, 3, 2, 1}, [3]string{"winograd F(4x4,3x3/2)", "direct", "winograd F(4x4,3x3/2)"}},
		{ConvShape{2, 8, 8, 3, 4, 1, 1, 1, 0}, [3]string{"direct", "direct", "direct"}},
	} {
		nx, nw, ny := c.s.sizes()
		x, w, dy := normal(nx, r), normal(nw, r), normal(ny, r)
		p.SetWinograd(false)
		want := passes(p, x.s, w.s, dy.s, c.s)
		p.ForceWinograd()
		got := passes(p, x.s, w.s, dy.s, c.s)
		for pass := Forward; pass <= WeightGrad; pass++ {
			if a := p.Algorithm(c.s, pass); a != c.want[pass] {
				t.Errorf("%+v, pass %d: %s, want %s", c.s, pass, a, c.want[pass])
			}
			largest := 0.
			for _, v := range want[pass] {
				largest = max(largest, math.Abs(float64(v)))
			}
			for i, v := range got[pass] {
				if d := math.Abs(float64(v - want[pass][i])); !(d <= 1e-5*largest) {
					t.Fatalf("%+v, pass %d, element %d: %g, want %g", c.s, pass, i, v, want[pass][i])
				}
			}
		}
		p.SetWinograd(true)
	}
}

// Without Winograd the results are those of the direct convolution; with it
// they differ, but little.
func TestSetWinograd(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	r := seeded(37)
	s := winogradShapes[0]
	nx, nw, ny := s.sizes()
	x, w, dy := normal(nx, r), normal(nw, r), normal(ny, r)
	on := passes(p, x.s, w.s, dy.s, s)
	p.SetWinograd(false)
	off := passes(p, x.s, w.s, dy.s, s)
	for i := range on {
		if slices.Equal(on[i], off[i]) {
			t.Errorf("result %d does not depend on SetWinograd", i)
		}
		for j, v := range on[i] {
			if d := math.Abs(float64(v - off[i][j])); d > 1e-3 {
				t.Fatalf("result %d, element %d: %g by Winograd, %g directly", i, j, v, off[i][j])
			}
		}
	}
}

// The errors that the comment of winogradVariants states.
func TestWinogradAccuracy(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	r := seeded(38)
	for _, s := range []ConvShape{
		{N: 2, H: 16, W: 16, C: 64, OutC: 64, KH: 3, KW: 3, Stride: 1, Pad: 1},
		{N: 2, H: 16, W: 16, C: 64, OutC: 32, KH: 4, KW: 4, Stride: 2, Pad: 1},
		{N: 2, H: 16, W: 16, C: 64, OutC: 32, KH: 3, KW: 3, Stride: 2, Pad: 1},
	} {
		nx, nw, ny := s.sizes()
		x, w, dy := normal(nx, r), normal(nw, r), normal(ny, r)
		o := newConvOracle(x.s, w.s, dy.s, s)
		y, dx, dw := newBuffer(ny), newBuffer(nx), newBuffer(nw)
		measure := func(name string, bound float64) {
			t.Helper()
			errors := [3]float64{relativeError(y.s, o.y), relativeError(dx.s, o.dx), relativeError(dw.s, o.dw)}
			t.Logf("%dx%d/%d, %s: %.1e forward, %.1e input gradient, %.1e weight gradient", s.KH, s.KW, s.Stride, name, errors[0], errors[1], errors[2])
			if worst := max(errors[0], errors[1], errors[2]); worst > bound {
				t.Errorf("%s: error %.1e of the largest result, stated %.1e", name, worst, bound)
			}
		}
		p.SetWinograd(false)
		p.ConvForward(y.s, x.s, w.s, s)
		p.ConvInputGrad(dx.s, dy.s, w.s, s)
		p.ConvWeightGrad(dw.s, x.s, dy.s, s)
		measure("direct", 2e-6)
		for _, v := range variantsFor(s) {
			p.winogradForward(y.s, x.s, w.s, s, v, Epilogue{})
			if v.fits(s, InputGrad) {
				p.winogradInputGrad(dx.s, dy.s, w.s, s, v)
			}
			p.winogradWeightGrad(dw.s, x.s, dy.s, s, v)
			measure(v.name, v.bound)
		}
	}
}

// relativeError returns the largest error relative to the largest value.
func relativeError(got []float32, want []float64) float64 {
	var worst, largest float64
	for i, w := range want {
		worst = max(worst, math.Abs(float64(got[i])-w))
		largest = max(largest, math.Abs(w))
	}
	return worst / largest
}

func FuzzWinograd(f *testing.F) {
	f.Add(uint64(1), uint8(9), uint8(8), uint8(3), uint8(5), uint8(1), uint8(0))
	f.Add(uint64(2), uint8(5), uint8(5), uint8(33), uint8(40), uint8(2), uint8(1))
	pool := NewPool(2)
	f.Fuzz(func(t *testing.T, seed uint64, h, w, c, o, pad, kind uint8) {
		s := ConvShape{N: 1 + int(seed%5), H: 1 + int(h)%12, W: 1 + int(w)%12, C: 1 + int(c)%40, OutC: 1 + int(o)%40, KH: 3, KW: 3, Stride: 1, Pad: int(pad) % 3}
		if kind %= 3; kind > 0 {
			s.KH, s.KW, s.Stride = 2+int(kind), 2+int(kind), 2
		}
		if s.H+2*s.Pad >= s.KH && s.W+2*s.Pad >= s.KW {
			checkWinograd(t, pool, s, seeded(seed))
		}
	})
}
