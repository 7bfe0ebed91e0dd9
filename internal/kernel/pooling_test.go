package kernel

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

// poolOracle walks the windows of one shape the obvious way: it calls f with
// the indices in x of the pixels that count for each output, in memory order,
// and the places of these in the window.
func poolOracle(s PoolShape, f func(o int, from, places []int)) {
	o := 0
	for n := range s.N {
		for oy := range s.OutH() {
			for ox := range s.OutW() {
				for c := range s.C {
					var from, places []int
					for ky := range s.Kernel {
						for kx := range s.Kernel {
							iy, ix := oy*s.Stride-s.Pad+ky, ox*s.Stride-s.Pad+kx
							if iy >= 0 && iy < s.H && ix >= 0 && ix < s.W {
								from = append(from, ((n*s.H+iy)*s.W+ix)*s.C+c)
								places = append(places, ky*s.Kernel+kx)
							}
						}
					}
					f(o, from, places)
					o++
				}
			}
		}
	}
}

// poolShapes has every kind of window: within the image, over its edge, apart,
// overlapping, larger than the image, and every number of channels.
func poolShapes() []PoolShape {
	shapes := []PoolShape{
		{2, 8, 8, 64, 2, 2, 0}, {1, 13, 13, 17, 3, 2, 0}, {3, 6, 7, 5, 3, 2, 1}, {1, 5, 9, 16, 3, 1, 1},
		{2, 7, 5, 33, 2, 3, 0}, {1, 4, 4, 70, 4, 4, 0}, {2, 3, 6, 20, 6, 6, 0}, {1, 6, 6, 8, 5, 2, 2},
		{1, 9, 9, 3, 4, 1, 3}, {2, 1, 1, 4, 1, 1, 0}, {1, 20, 18, 2, 16, 3, 8}, {0, 4, 4, 4, 2, 2, 0},
	}
	for c := 1; c <= 70; c++ {
		shapes = append(shapes, PoolShape{1 + c%2, 3 + c%4, 4 + c%3, c, 1 + c%3, 1 + c%2, c % 3 / 2})
	}
	return shapes
}

func TestMaxPool(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		p := NewPool(2)
		defer p.Close()
		r := seeded(21)
		for _, s := range poolShapes() {
			n := s.N * s.H * s.W * s.C
			x, dy, y, dx := normal(n, r), normal(s.outputs(), r), newBuffer(s.outputs()), newBuffer(n)
			for i := range x.s {
				x.s[i] = float32(math.Round(float64(x.s[i]) * 2)) // equal values are common
			}
			arg := make([]uint8, len(y.s)+2*guard)
			p.MaxPool(y.s, arg[guard:], x.s, s)
			p.MaxPoolGrad(dx.s, dy.s, arg[guard:], s)
			wantY, wantDX := make([]float64, len(y.s)), make([]float64, n)
			poolOracle(s, func(o int, from, places []int) {
				best := 0
				for i := range from {
					if x.s[from[i]] > x.s[from[best]] {
						best = i
					}
				}
				wantY[o] = float64(x.s[from[best]])
				wantDX[from[best]] += float64(dy.s[o])
				if int(arg[guard+o]) != places[best] {
					t.Fatalf("%+v: output %d is from place %d, want %d", s, o, arg[guard+o], places[best])
				}
			})
			near(t, fmt.Sprintf("%+v y", s), y.s, wantY, nil, 0)
			near(t, fmt.Sprintf("%+v dx", s), dx.s, wantDX, nil, 1e-6)
			intact(t, fmt.Sprintf("%+v", s), x, dy, y, dx)
			if slices.Max(arg[:guard]) != 0 || slices.Max(arg[guard+len(y.s):]) != 0 {
				t.Fatalf("%+v: places were written outside", s)
			}
			infer := newBuffer(len(y.s))
			p.MaxPool(infer.s, nil, x.s, s)
			near(t, fmt.Sprintf("%+v without places", s), infer.s, wantY, nil, 0)
			intact(t, fmt.Sprintf("%+v without places", s), infer)
		}
	})
}

// A NaN is the maximum, and the last one gets the gradient, as in PyTorch.
func TestMaxPoolSpecialValues(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		p := NewPool(1)
		defer p.Close()
		nan, inf := float32(math.NaN()), float32(math.Inf(1))
		for _, c := range []struct {
			window [4]float32
			place  uint8
		}{
			{[4]float32{1, nan, 2, 3}, 1}, {[4]float32{nan, 1, 2, 3}, 0}, {[4]float32{nan, 1, nan, inf}, 2},
			{[4]float32{-inf, -inf, -inf, -inf}, 0}, {[4]float32{-inf, 0, inf, inf}, 2}, {[4]float32{1, 1, 1, 1}, 0},
		} {
			const channels = 19
			x, y, arg := make([]float32, 4*channels), make([]float32, channels), make([]uint8, channels)
			for i := range x {
				x[i] = c.window[i/channels]
			}
			p.MaxPool(y, arg, x, PoolShape{1, 2, 2, channels, 2, 2, 0})
			for i := range y {
				if want := c.window[c.place]; arg[i] != c.place || y[i] != want && want == want || want != want && y[i] == y[i] {
					t.Errorf("%v channel %d: %g from %d, want %g from %d", c.window, i, y[i], arg[i], want, c.place)
				}
			}
		}
	})
}

func TestAvgPool(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		p := NewPool(2)
		defer p.Close()
		r := seeded(22)
		for _, s := range poolShapes() {
			n := s.N * s.H * s.W * s.C
			x, dy, y, dx := normal(n, r), normal(s.outputs(), r), newBuffer(s.outputs()), newBuffer(n)
			p.AvgPool(y.s, x.s, s)
			p.AvgPoolGrad(dx.s, dy.s, s)
			wantY, wantDX := make([]float64, len(y.s)), make([]float64, n)
			poolOracle(s, func(o int, from, _ []int) {
				for _, i := range from {
					wantY[o] += float64(x.s[i]) / float64(len(from))
					wantDX[i] += float64(dy.s[o]) / float64(len(from))
				}
			})
			near(t, fmt.Sprintf("%+v y", s), y.s, wantY, nil, 1e-6)
			near(t, fmt.Sprintf("%+v dx", s), dx.s, wantDX, nil, 1e-6)
			intact(t, fmt.Sprintf("%+v", s), x, dy, y, dx)
		}
	})
}

func TestPoolingRefuses(t *testing.T) {
	p := NewPool(1)
	defer p.Close()
	v, arg := make([]float32, 1000), make([]uint8, 1000)
	mustPanic(t, "padding as large as the window", func() { p.AvgPool(v, v, PoolShape{1, 4, 4, 1, 2, 2, 2}) })
	mustPanic(t, "short input", func() { p.AvgPool(v, v[:15], PoolShape{1, 4, 4, 1, 2, 2, 0}) })
	mustPanic(t, "no room for places", func() { p.MaxPool(v, arg[:3], v, PoolShape{1, 4, 4, 1, 2, 2, 0}) })
	mustPanic(t, "places that do not fit a byte", func() { p.MaxPool(v, arg, v, PoolShape{1, 20, 20, 1, 17, 1, 0}) })
	p.MaxPool(v, nil, v, PoolShape{1, 20, 20, 1, 17, 1, 0})
}
