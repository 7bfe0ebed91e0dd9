package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// checkEpilogue compares what product leaves in y with the product without an
// epilogue, finished by the definition.
func checkEpilogue(t *testing.T, what string, rows, c int, r *rand.Rand, product func(y []float32, e Epilogue)) {
	t.Helper()
	plain := newBuffer(rows * c)
	product(plain.s, Epilogue{})
	bias, add := normal(c, r), normal(rows*c, r)
	for mode := range 8 {
		y := newBuffer(rows * c)
		var e Epilogue
		if mode&1 != 0 {
			e.Bias = bias.s
		}
		if mode&2 != 0 {
			e.Add = add.s
		}
		e.ReLU = mode&4 != 0
		product(y.s, e)
		intact(t, what, y, bias, add)
		for i, v := range plain.s {
			if e.Bias != nil {
				v += e.Bias[i%c]
			}
			if e.Add != nil {
				v += e.Add[i]
			}
			if e.ReLU {
				v = max(v, 0)
			}
			if y.s[i] != v {
				t.Fatalf("%s, mode %d: element %d is %g, want %g", what, mode, i, y.s[i], v)
			}
		}
	}
	y, mean, variance := newBuffer(rows*c), newBuffer(c), newBuffer(c)
	product(y.s, Epilogue{Mean: mean.s, Variance: variance.s})
	wantMean, wantVariance, square := make([]float64, c), make([]float64, c), make([]float64, c)
	for i, v := range plain.s {
		if y.s[i] != v {
			t.Fatalf("%s: the moments changed element %d", what, i)
		}
		wantMean[i%c] += float64(v) / float64(rows)
		square[i%c] += float64(v) * float64(v) / float64(rows)
	}
	for i, v := range plain.s {
		wantVariance[i%c] += (float64(v) - wantMean[i%c]) * (float64(v) - wantMean[i%c]) / float64(rows)
	}
	near(t, what+" mean", mean.s, wantMean, nil, 1e-6)
	near(t, what+" variance", variance.s, wantVariance, square, 4e-6)
	intact(t, what, y, mean, variance)
}

func TestEpilogue(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		p := NewPool(3)
		defer p.Close()
		r := seeded(21)
		for c := 1; c <= 70; c++ {
			rows, in := 1+c*7%mBlock*3, 1+c%13
			x, w := normal(rows*in, r), normal(in*c, r)
			checkEpilogue(t, fmt.Sprintf("dense %d x %d", rows, c), rows, c, r, func(y []float32, e Epilogue) {
				p.DenseForward(y, x.s, w.s, rows, in, c, e)
			})
		}
		x, w := constant(5*2100, .5), constant(2100*2100, .25)
		checkEpilogue(t, "dense wide and deep", 5, 2100, r, func(y []float32, e Epilogue) {
			p.DenseForward(y, x, w, 5, 2100, 2100, e)
		})
		for _, s := range []ConvShape{
			{N: 5, H: 9, W: 7, C: 3, OutC: 37, KH: 3, KW: 3, Stride: 1, Pad: 1},
			{N: 70, H: 6, W: 6, C: 4, OutC: 64, KH: 4, KW: 4, Stride: 2, Pad: 1},
			{N: 2, H: 30, W: 31, C: 2, OutC: 17, KH: 1, KW: 1, Stride: 1},
		} {
			nx, nw, _ := s.sizes()
			x, w := normal(nx, r), normal(nw, r)
			checkEpilogue(t, fmt.Sprintf("%+v", s), s.N*s.OutH()*s.OutW(), s.OutC, r, func(y []float32, e Epilogue) {
				p.ConvForwardThen(y, x.s, w.s, s, e)
			})
		}
	})
}

func constant(n int, v float32) []float32 {
	s := make([]float32, n)
	for i := range s {
		s[i] = v
	}
	return s
}

func TestEpilogueOfBug(t *testing.T) {
	p := NewPool(1)
	defer p.Close()
	y, x, w, c := make([]float32, 6), make([]float32, 6), make([]float32, 6), make([]float32, 2)
	for what, e := range map[string]Epilogue{
		"short bias":       {Bias: c[:1]},
		"short shortcut":   {Add: y[:5]},
		"mean alone":       {Mean: c},
		"moments and ReLU": {Mean: c, Variance: c, ReLU: true},
		"moments and bias": {Mean: c, Variance: c, Bias: c},
		"short mean":       {Mean: c[:1], Variance: c},
	} {
		mustPanic(t, what, func() { p.DenseForward(y, x, w, 3, 2, 2, e) })
	}
	mustPanic(t, "moments of nothing", func() { p.DenseForward(nil, nil, w, 0, 2, 2, Epilogue{Mean: c, Variance: c}) })
	p.DenseForward(y, x, w, 3, 2, 2, Epilogue{ReLU: true})
}

func TestEpilogueKeepsNaN(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		p := NewPool(1)
		defer p.Close()
		y, w := make([]float32, 33), constant(33, 1)
		p.DenseForward(y, []float32{float32(math.NaN())}, w, 1, 1, 33, Epilogue{ReLU: true})
		for i, v := range y {
			if v == v {
				t.Fatalf("ReLU of NaN gives %g in column %d", v, i)
			}
		}
	})
}

func TestEpilogueWorkers(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		r := seeded(22)
		s := ConvShape{N: 33, H: 10, W: 9, C: 12, OutC: 40, KH: 4, KW: 4, Stride: 2, Pad: 1}
		nx, nw, ny := s.sizes()
		x, w := normal(nx, r), normal(nw, r)
		sameForWorkers(t, func(p *Pool) [][]float32 {
			y, z := make([]float32, ny), make([]float32, 300*40)
			m := make([]float32, 4*40)
			p.ConvForwardThen(y, x.s, w.s, s, Epilogue{Mean: m[:40], Variance: m[40:80]})
			p.DenseForward(z, x.s, w.s, 300, 30, 40, Epilogue{Mean: m[80:120], Variance: m[120:]})
			return [][]float32{y, z, m}
		})
	})
}
