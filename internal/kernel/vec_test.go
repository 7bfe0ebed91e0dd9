package kernel

import (
	"fmt"
	"math"
	"testing"
)

// Every length around the vector widths and at every alignment.
func TestVectors(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		r := seeded(7)
		for n := range 71 {
			for _, shift := range []int{0, 1, 3} {
				b := normal(n+shift, r)
				x, y := b.s[shift:], normal(n, r)
				what := fmt.Sprintf("n %d shift %d", n, shift)
				var dot, abs, dist float64
				axpy := make([]float64, n)
				for i := range n {
					u, v := float64(x[i]), float64(y.s[i])
					dot += u * v
					abs += math.Abs(u * v)
					dist += (u - v) * (u - v)
					axpy[i] = v - 1.5*u
				}
				near(t, what+" Dot", []float32{Dot(x, y.s)}, []float64{dot}, []float64{abs}, 1e-6)
				near(t, what+" SqDist", []float32{SqDist(x, y.s)}, []float64{dist}, nil, 1e-6)
				dst := y.clone()
				Axpy(dst.s, -1.5, x)
				near(t, what+" Axpy", dst.s, axpy, nil, 1e-6)
				intact(t, what, b, y, dst)
			}
		}
		mustPanic(t, "short operand", func() { Dot(make([]float32, 9), make([]float32, 8)) })
	})
}

func TestExp(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		r := seeded(8)
		for n := range 71 {
			x, y := normal(n, r), newBuffer(n)
			for i := range x.s {
				x.s[i] *= 30
			}
			Exp(y.s, x.s)
			for i, v := range x.s {
				want := math.Exp(float64(v))
				if d := math.Abs(float64(y.s[i]) - want); d > 1e-7*want+1e-45 && want < math.MaxFloat32 {
					t.Fatalf("n %d: exp(%g) = %g, want %g", n, v, y.s[i], want)
				}
			}
			intact(t, "Exp", x, y)
		}
		inf, nan := float32(math.Inf(1)), float32(math.NaN())
		x := make([]float32, 32)
		copy(x, []float32{0, inf, -inf, nan, 88.7, 88.8, 1000, -87.5, -103, -104.5, -1000})
		Exp(x, x)
		for i, want := range []float32{1, inf, 0, nan, float32(math.Exp(float64(float32(88.7)))), inf, inf, float32(math.Exp(-87.5)), float32(math.Exp(-103)), 0, 0} {
			if got := x[i]; got != want && !(want != want && got != got) && !(math.Abs(float64(got-want)) <= 1e-7*float64(want)+1.5e-45) {
				t.Errorf("special value %d gives %g, want %g", i, got, want)
			}
		}
	})
}

func TestReLU(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		p := NewPool(2)
		defer p.Close()
		r := seeded(9)
		lengths := []int{elemChunk - 1, elemChunk + 5}
		for n := range 71 {
			lengths = append(lengths, n)
		}
		for _, n := range lengths {
			for _, slope := range []float32{0, .2} {
				x, dy, y, dx := normal(n, r), normal(n, r), newBuffer(n), newBuffer(n)
				if n > 2 {
					x.s[n/2] = 0
				}
				p.ReLU(y.s, x.s, slope)
				p.ReLUGrad(dx.s, dy.s, y.s, slope)
				for i, v := range x.s {
					wantY, wantDX := v, dy.s[i]
					if v <= 0 {
						wantY, wantDX = v*slope, wantDX*slope
					}
					if y.s[i] != wantY || dx.s[i] != wantDX {
						t.Fatalf("n %d slope %g: x %g gives y %g and dx %g, want %g and %g", n, slope, v, y.s[i], dx.s[i], wantY, wantDX)
					}
				}
				intact(t, fmt.Sprintf("ReLU n %d", n), x, dy, y, dx)
			}
		}
	})
}

// Where the slope is 0, what is below 0 counts for nothing, be it infinite.
func TestReLUSpecialValues(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		p := NewPool(1)
		defer p.Close()
		inf, nan := float32(math.Inf(1)), float32(math.NaN())
		in := []float32{-inf, inf, nan, -1, 0, 2}
		for _, c := range []struct {
			slope   float32
			y, grad []float32 // grad of an infinite gradient
		}{
			{0, []float32{0, inf, nan, 0, 0, 2}, []float32{0, inf, 0, 0, 0, inf}},
			{.5, []float32{-inf, inf, nan, -.5, 0, 2}, []float32{inf, inf, inf, inf, inf, inf}},
		} {
			for shift := range 40 {
				x, y, dy := make([]float32, 40), make([]float32, 40), make([]float32, 40)
				fill(dy, inf)
				copy(x[shift:], in)
				p.ReLU(y, x, c.slope)
				p.ReLUGrad(dy, dy, x, c.slope)
				for i, want := range c.y[:min(len(c.y), 40-shift)] {
					if got := y[shift+i]; got != want && !(got != got && want != want) {
						t.Errorf("slope %g: %g gives %g, want %g", c.slope, in[i], got, want)
					}
					if got := dy[shift+i]; got != c.grad[i] {
						t.Errorf("slope %g: gradient at %g is %g, want %g", c.slope, in[i], got, c.grad[i])
					}
				}
			}
		}
	})
}

func TestTranspose8(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		r := seeded(10)
		for blocks := 1; blocks < 5; blocks++ {
			ss, ds := 8*blocks+3, 11
			src, dst := normal(7*ss+8*blocks, r), newBuffer((8*blocks-1)*ds+8)
			active.transpose8(dst.s, ds, src.s, ss, blocks)
			for i := range 8 {
				for j := range 8 * blocks {
					if dst.s[j*ds+i] != src.s[i*ss+j] {
						t.Fatalf("blocks %d: element (%d, %d) is %g", blocks, i, j, dst.s[j*ds+i])
					}
				}
			}
			intact(t, "transpose8", src, dst)
		}
	})
}

func BenchmarkVectors(b *testing.B) {
	r := seeded(1)
	for _, n := range []int{64, 1024} {
		x, y := normal(n, r).s, normal(n, r).s
		b.Run(fmt.Sprintf("Dot/%d", n), func(b *testing.B) {
			for b.Loop() {
				Dot(x, y)
			}
			reportRate(b, 2*float64(n))
		})
		b.Run(fmt.Sprintf("Exp/%d", n), func(b *testing.B) {
			for b.Loop() {
				Exp(y, x)
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds()/1e9, "Gexp/s")
		})
	}
}
