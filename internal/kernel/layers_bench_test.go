package kernel

import (
	"fmt"
	"testing"
	"time"
)

// reportBandwidth runs f and reports, from its fastest run, billions of bytes
// a second, where bytes is what f must read and write at least.
func reportBandwidth(b *testing.B, bytes int, f func()) {
	best := time.Duration(1 << 62)
	for b.Loop() {
		start := time.Now()
		f()
		best = min(best, time.Since(start))
	}
	b.ReportMetric(float64(bytes)/best.Seconds()/1e9, "GB/s")
	b.ReportMetric(0, "ns/op")
}

// benchMatrices are activations of batches: of the convolutions of convnet (of
// 256), dcgan32 (256) and resnet18 (64), of a hidden layer, and one that no
// cache holds.
var benchMatrices = []struct{ rows, c int }{
	{256 * 14 * 14, 32}, {256 * 7 * 7, 64}, {256 * 16 * 16, 64}, {64 * 16 * 16, 128}, {64 * 4 * 4, 512}, {256, 1024}, {1 << 18, 64},
}

func BenchmarkBatchNorm(b *testing.B) {
	for _, s := range benchMatrices {
		b.Run(fmt.Sprintf("%dx%d", s.rows, s.c), func(b *testing.B) { benchBatchNorm(b, s.rows, s.c) })
	}
}

func benchBatchNorm(b *testing.B, rows, c int) {
	r := seeded(1)
	n := rows * c
	x, y, dy, dx, dadd := normal(n, r).s, normal(n, r).s, normal(n, r).s, normal(n, r).s, normal(n, r).s
	v := make([]float32, 6*c)
	for j := range v {
		v[j] = 1
	}
	gamma, beta, mean, variance, dgamma, dbeta := v[:c], v[c:2*c], v[2*c:3*c], v[3*c:4*c], v[4*c:5*c], v[5*c:]
	p := NewPool(0)
	defer p.Close()
	run := func(name string, matrices int, f func()) {
		b.Run(name, func(b *testing.B) { reportBandwidth(b, matrices*4*n, f) })
	}
	run("copy", 2, func() { p.DoChunks(n, elemChunk, func(lo, hi int) { copy(y[lo:hi], x[lo:hi]) }) })
	run("stats", 1, func() { p.BatchNormStats(mean, variance, x, rows, c) })
	run("apply", 2, func() { p.BatchNormApply(y, x, nil, gamma, beta, mean, variance, rows, c, 1e-5, true) })
	run("applyAdd", 3, func() { p.BatchNormApply(y, x, dy, gamma, beta, mean, variance, rows, c, 1e-5, true) })
	run("backward", 5, func() {
		p.BatchNormBackward(dy, nil, dgamma, dbeta, dy, x, nil, gamma, beta, mean, variance, rows, c, 1e-5, true)
	})
	run("backwardAdd", 7, func() {
		p.BatchNormBackward(dx, dadd, dgamma, dbeta, dy, x, y, gamma, beta, mean, variance, rows, c, 1e-5, true)
	})
}

func BenchmarkPooling(b *testing.B) {
	for _, s := range []PoolShape{
		{N: 256, H: 28, W: 28, C: 32, Kernel: 2, Stride: 2},
		{N: 16, H: 112, W: 112, C: 64, Kernel: 3, Stride: 2, Pad: 1},
		{N: 64, H: 27, W: 27, C: 256, Kernel: 3, Stride: 2},
		{N: 256, H: 4, W: 4, C: 512, Kernel: 4, Stride: 4},
	} {
		r := seeded(1)
		n, outs := s.N*s.H*s.W*s.C, s.outputs()
		x, dx, y, arg := normal(n, r).s, normal(n, r).s, normal(outs, r).s, make([]uint8, outs)
		p := NewPool(0)
		defer p.Close()
		name := fmt.Sprintf("%dx%dx%dx%d,%dx%d|%d", s.N, s.H, s.W, s.C, s.Kernel, s.Kernel, s.Stride)
		run := func(what string, bytes int, f func()) {
			b.Run(name+"/"+what, func(b *testing.B) { reportBandwidth(b, bytes, f) })
		}
		run("copy", 8*n, func() { p.DoChunks(n, elemChunk, func(lo, hi int) { copy(dx[lo:hi], x[lo:hi]) }) })
		run("max", 4*n+5*outs, func() { p.MaxPool(y, arg, x, s) })
		run("maxGrad", 4*n+5*outs, func() { p.MaxPoolGrad(dx, y, arg, s) })
		run("average", 4*(n+outs), func() { p.AvgPool(y, x, s) })
		run("averageGrad", 4*(n+outs), func() { p.AvgPoolGrad(dx, y, s) })
	}
}

func BenchmarkUpdates(b *testing.B) {
	for _, n := range []int{1 << 18, 1 << 23} {
		r := seeded(1)
		w, g, m, v := normal(n, r).s, normal(n, r).s, normal(n, r).s, normal(n, r).s
		for i := range v {
			v[i] *= v[i]
		}
		p := NewPool(0)
		defer p.Close()
		run := func(name string, passes int, f func()) {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) { reportBandwidth(b, passes*4*n, f) })
		}
		run("copy", 2, func() { p.DoChunks(n, elemChunk, func(lo, hi int) { copy(m[lo:hi], g[lo:hi]) }) })
		run("SGD", 5, func() { p.SGD(w, g, m, 1e-9, .9, 1e-4, false) })
		run("AdamW", 7, func() { p.AdamW(w, g, m, v, 10, 1e-9, .9, .999, 1e-8, 1e-4) })
	}
}

func BenchmarkElementwise(b *testing.B) {
	for _, n := range []int{1 << 18, 1 << 23} {
		r := seeded(1)
		x, y, z, norm := normal(n, r).s, normal(n, r).s, normal(n, r).s, make([]float32, n/128)
		p := NewPool(0)
		defer p.Close()
		run := func(name string, passes int, f func()) {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) { reportBandwidth(b, passes*4*n, f) })
		}
		run("ReLU", 2, func() { p.ReLU(y, x, 0) })
		run("ReLUGrad", 3, func() { p.ReLUGrad(z, z, x, 0) })
		run("NormalizeRows", 2, func() { p.NormalizeRows(y, norm, x, n/128, 128) })
		run("NormalizeRowsGrad", 3, func() { p.NormalizeRowsGrad(x, x, y, norm, n/128, 128) })
	}
}
