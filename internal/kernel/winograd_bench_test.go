package kernel

import (
	"fmt"
	"testing"
)

// products returns the multiplications and additions of the matrix products
// that a pass takes.
func (v *winogradVariant) products(s ConvShape, pass ConvPass) float64 {
	rows, cols := s.OutH(), s.OutW()
	if pass == InputGrad {
		rows, cols = ceilDiv(s.H, v.fold), ceilDiv(s.W, v.fold)
	}
	tiles := s.N * ceilDiv(rows, v.m) * ceilDiv(cols, v.m)
	return 2 * float64(tiles*v.n*v.n*v.fold*v.fold) * float64(s.C*s.OutC)
}

// BenchmarkWinograd measures every variant that can compute a layer of the
// presets, and some larger images. GFLOP/s are effective, those of a direct
// convolution over the time; true-GFLOP/s are those of the products.
func BenchmarkWinograd(b *testing.B) {
	layers := append(benchLayers[:len(benchLayers):len(benchLayers)], []struct {
		name string
		s    ConvShape
	}{
		{"56_64-64", ConvShape{8, 56, 56, 64, 64, 3, 3, 1, 1}},
		{"28_128-128", ConvShape{8, 28, 28, 128, 128, 3, 3, 1, 1}},
		{"14_256-256", ConvShape{8, 14, 14, 256, 256, 3, 3, 1, 1}},
		{"7_512-512", ConvShape{8, 7, 7, 512, 512, 3, 3, 1, 1}},
	}...)
	for _, l := range layers {
		nx, nw, ny := l.s.sizes()
		r := seeded(1)
		x, w, y := normal(nx, r).s, normal(nw, r).s, normal(ny, r).s
		for _, v := range variantsFor(l.s) {
			for pass, f := range []func(p *Pool){
				func(p *Pool) { p.winogradForward(y, x, w, l.s, v, Epilogue{}) },
				func(p *Pool) { p.winogradInputGrad(x, y, w, l.s, v) },
				func(p *Pool) { p.winogradWeightGrad(w, x, y, l.s, v) },
			} {
				if !v.fits(l.s, ConvPass(pass)) {
					continue
				}
				for _, workers := range []int{1, 2} {
					name := []string{"forward", "inputgrad", "weightgrad"}[pass]
					b.Run(fmt.Sprintf("%s/%s/%s/workers=%d", l.name, name, v.name, workers), func(b *testing.B) {
						p := NewPool(workers)
						defer p.Close()
						for b.Loop() {
							f(p)
						}
						reportRate(b, l.s.Flops())
						b.ReportMetric(v.products(l.s, ConvPass(pass))*float64(b.N)/b.Elapsed().Seconds()/1e9, "true-GFLOP/s")
					})
				}
			}
		}
	}
}
