package kernel

import (
	"fmt"
	"testing"
)

// benchLayers are the convolutions of the presets: resnet18 with its 1x1
// shortcuts at batch 64, convnet and dcgan32 at batch 256.
var benchLayers = []struct {
	name string
	s    ConvShape
}{
	{"resnet18_3-64", ConvShape{64, 32, 32, 3, 64, 3, 3, 1, 1}},
	{"resnet18_64-64", ConvShape{64, 32, 32, 64, 64, 3, 3, 1, 1}},
	{"resnet18_64-128_s2", ConvShape{64, 32, 32, 64, 128, 3, 3, 2, 1}},
	{"resnet18_128-128", ConvShape{64, 16, 16, 128, 128, 3, 3, 1, 1}},
	{"resnet18_128-256_s2", ConvShape{64, 16, 16, 128, 256, 3, 3, 2, 1}},
	{"resnet18_256-256", ConvShape{64, 8, 8, 256, 256, 3, 3, 1, 1}},
	{"resnet18_256-512_s2", ConvShape{64, 8, 8, 256, 512, 3, 3, 2, 1}},
	{"resnet18_512-512", ConvShape{64, 4, 4, 512, 512, 3, 3, 1, 1}},
	{"shortcut_64-128", ConvShape{64, 32, 32, 64, 128, 1, 1, 2, 0}},
	{"shortcut_128-256", ConvShape{64, 16, 16, 128, 256, 1, 1, 2, 0}},
	{"shortcut_256-512", ConvShape{64, 8, 8, 256, 512, 1, 1, 2, 0}},
	{"convnet_1-32", ConvShape{256, 28, 28, 1, 32, 3, 3, 2, 1}},
	{"convnet_32-64", ConvShape{256, 14, 14, 32, 64, 3, 3, 2, 1}},
	{"convnet_64-128", ConvShape{256, 7, 7, 64, 128, 3, 3, 2, 1}},
	{"dcgan32_3-64", ConvShape{256, 32, 32, 3, 64, 4, 4, 2, 1}},
	{"dcgan32_64-128", ConvShape{256, 16, 16, 64, 128, 4, 4, 2, 1}},
	{"dcgan32_128-256", ConvShape{256, 8, 8, 128, 256, 4, 4, 2, 1}},
}

// BenchmarkConv measures direct convolution. GFLOP/s count the padding, as
// Flops does; GB/s are those of reading the operands and writing the result
// once, for layers that memory bounds.
func BenchmarkConv(b *testing.B) {
	for _, l := range benchLayers {
		nx, nw, ny := l.s.sizes()
		r := seeded(1)
		x, w, y := normal(nx, r).s, normal(nw, r).s, normal(ny, r).s
		for _, pass := range []struct {
			name string
			f    func(p *Pool)
		}{
			{"forward", func(p *Pool) { p.ConvForward(y, x, w, l.s) }},
			{"inputgrad", func(p *Pool) { p.ConvInputGrad(x, y, w, l.s) }},
			{"weightgrad", func(p *Pool) { p.ConvWeightGrad(w, x, y, l.s) }},
		} {
			for _, workers := range []int{1, 2} {
				b.Run(fmt.Sprintf("%s/%s/workers=%d", l.name, pass.name, workers), func(b *testing.B) {
					p := NewPool(workers)
					defer p.Close()
					p.SetWinograd(false)
					for b.Loop() {
						pass.f(p)
					}
					reportRate(b, l.s.Flops())
					b.ReportMetric(4*float64(nx+nw+ny)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GB/s")
				})
			}
		}
	}
}
