package kernel

// convForwardRow computes output row i, counted over images.
func convForwardRow(y, x, w []float32, s ConvShape, i int) {
	n, oh, outW := i/s.OutH(), i%s.OutH(), s.OutW()
	for ow := range outW {
		dst := y[(i*outW+ow)*s.OutC:][:s.OutC]
		clear(dst)
		for kh := range s.KH {
			ih := oh*s.Stride + kh - s.Pad
			if ih < 0 || ih >= s.H {
				continue
			}
			for kw := range s.KW {
				iw := ow*s.Stride + kw - s.Pad
				if iw < 0 || iw >= s.W {
					continue
				}
				for c, v := range x[((n*s.H+ih)*s.W+iw)*s.C:][:s.C] {
					Axpy(dst, v, w[((kh*s.KW+kw)*s.C+c)*s.OutC:][:s.OutC])
				}
			}
		}
	}
}

// convInputGradRow computes input row i, counted over images.
func convInputGradRow(dx, dy, w []float32, s ConvShape, i int) {
	n, ih, outH, outW := i/s.H, i%s.H, s.OutH(), s.OutW()
	for iw := range s.W {
		dst := dx[(i*s.W+iw)*s.C:][:s.C]
		clear(dst)
		for kh := range s.KH {
			oh, rem := (ih+s.Pad-kh)/s.Stride, (ih+s.Pad-kh)%s.Stride
			if rem != 0 || oh < 0 || oh >= outH {
				continue
			}
			for kw := range s.KW {
				ow, rem := (iw+s.Pad-kw)/s.Stride, (iw+s.Pad-kw)%s.Stride
				if rem != 0 || ow < 0 || ow >= outW {
					continue
				}
				src := dy[((n*outH+oh)*outW+ow)*s.OutC:][:s.OutC]
				for c := range dst {
					dst[c] += Dot(src, w[((kh*s.KW+kw)*s.C+c)*s.OutC:][:s.OutC])
				}
			}
		}
	}
}

// convWeightGradRow computes row i = (kh, kw, c) of the weight gradient.
func convWeightGradRow(dw, x, dy []float32, s ConvShape, i int) {
	outH, outW := s.OutH(), s.OutW()
	kh, kw, c := i/s.C/s.KW, i/s.C%s.KW, i%s.C
	dst := dw[i*s.OutC:][:s.OutC]
	clear(dst)
	for n := range s.N {
		for oh := range outH {
			ih := oh*s.Stride + kh - s.Pad
			if ih < 0 || ih >= s.H {
				continue
			}
			for ow := range outW {
				iw := ow*s.Stride + kw - s.Pad
				if iw < 0 || iw >= s.W {
					continue
				}
				Axpy(dst, x[((n*s.H+ih)*s.W+iw)*s.C+c], dy[((n*outH+oh)*outW+ow)*s.OutC:][:s.OutC])
			}
		}
	}
}
