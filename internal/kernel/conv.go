package kernel

// ConvShape is the shape of a two-dimensional convolution: N images of H x W
// pixels with C channels, OutC filters of KH x KW, one stride and one zero
// padding for both axes.
type ConvShape struct{ N, H, W, C, OutC, KH, KW, Stride, Pad int }

// OutH returns the output height, floor((H + 2 Pad - KH) / Stride) + 1.
func (s ConvShape) OutH() int { return (s.H+2*s.Pad-s.KH)/s.Stride + 1 }

// OutW returns the output width, floor((W + 2 Pad - KW) / Stride) + 1.
func (s ConvShape) OutW() int { return (s.W+2*s.Pad-s.KW)/s.Stride + 1 }

// check panics unless the shape is sensible and the slices are long enough.
func (s ConvShape) check(x, w, y []float32) {
	if s.N < 0 || s.H < 1 || s.W < 1 || s.C < 1 || s.OutC < 1 || s.KH < 1 || s.KW < 1 || s.Stride < 1 || s.Pad < 0 {
		panic("kernel: convolution size out of range")
	}
	if s.H+2*s.Pad < s.KH || s.W+2*s.Pad < s.KW {
		panic("kernel: convolution kernel larger than its padded input")
	}
	need(x, s.N*s.H*s.W*s.C)
	need(w, s.KH*s.KW*s.C*s.OutC)
	need(y, s.N*s.OutH()*s.OutW()*s.OutC)
}

// ConvForward computes y = x * w (cross-correlation, as everywhere in deep
// learning): y[n,oh,ow,o] = sum over kh, kw, c of
// x[n, oh Stride + kh - Pad, ow Stride + kw - Pad, c] w[kh,kw,c,o], where
// pixels outside the image are zero. x is [N,H,W,C], w is [KH,KW,C,OutC] and y
// is [N,OutH,OutW,OutC].
func (p *Pool) ConvForward(y, x, w []float32, s ConvShape) {
	s.check(x, w, y)
	p.Do(s.N*s.OutH(), func(i int) { convForwardRow(y, x, w, s, i) })
}

// ConvInputGrad overwrites dx with the gradient of ConvForward's input, given
// the gradient dy of its output. Input pixels that no filter reached get zero.
func (p *Pool) ConvInputGrad(dx, dy, w []float32, s ConvShape) {
	s.check(dx, w, dy)
	p.Do(s.N*s.H, func(i int) { convInputGradRow(dx, dy, w, s, i) })
}

// ConvWeightGrad overwrites dw with the gradient of ConvForward's weights,
// given its input x and the gradient dy of its output.
func (p *Pool) ConvWeightGrad(dw, x, dy []float32, s ConvShape) {
	s.check(x, dw, dy)
	p.Do(s.KH*s.KW*s.C, func(i int) { convWeightGradRow(dw, x, dy, s, i) })
}
