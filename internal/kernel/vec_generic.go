package kernel

import "math"

// The plain loops below specify the vector kernels. The assembly adds up in
// another order and rounds a product and sum once where these round twice.

func dotGeneric(a, b []float32) float32 {
	b = b[:len(a)]
	var s float32
	for i, v := range a {
		s += v * b[i]
	}
	return s
}

func sqDistGeneric(a, b []float32) float32 {
	b = b[:len(a)]
	var s float32
	for i, v := range a {
		d := v - b[i]
		s += d * d
	}
	return s
}

func axpyGeneric(dst []float32, s float32, x []float32) {
	x = x[:len(dst)]
	for i, v := range x {
		dst[i] += s * v
	}
}

func expGeneric(dst, x []float32) {
	x = x[:len(dst)]
	for i, v := range x {
		dst[i] = float32(math.Exp(float64(v)))
	}
}

func reluGeneric(y, x []float32, slope float32) {
	x = x[:len(y)]
	for i, v := range x {
		if !(v > 0) {
			v *= slope
		}
		y[i] = v
	}
}

func reluGradGeneric(dx, dy, y []float32, slope float32) {
	dy, y = dy[:len(dx)], y[:len(dx)]
	for i, v := range dy {
		if !(y[i] > 0) {
			v *= slope
		}
		dx[i] = v
	}
}

// columnSumsGeneric sets sum[j] to the sum of x[r*c+j] over the rows.
func columnSumsGeneric(sum []float64, x []float32, rows, c int) {
	clear(sum)
	for r := range rows {
		for j, v := range x[r*c:][:len(sum)] {
			sum[j] += float64(v)
		}
	}
}

// columnMomentsGeneric is columnSumsGeneric with the sums of squares as well.
func columnMomentsGeneric(sum, sq []float64, x []float32, rows, c int) {
	clear(sum)
	clear(sq)
	for r := range rows {
		for j, v := range x[r*c:][:len(sum)] {
			sum[j] += float64(v)
			sq[j] += float64(v) * float64(v)
		}
	}
}

// columnGradsGeneric sets sum[j] to the sum of dy[r*c+j] and dot[j] to that of
// dy[r*c+j] (x[r*c+j] - mean[j]).
func columnGradsGeneric(sum, dot []float64, dy, x, mean []float32, rows, c int) {
	clear(sum)
	clear(dot)
	for r := range rows {
		xr := x[r*c:][:len(sum)]
		for j, g := range dy[r*c:][:len(sum)] {
			sum[j] += float64(g)
			dot[j] += float64(g) * float64(xr[j]-mean[j])
		}
	}
}

// columnGradsPositiveGeneric is columnGradsGeneric over the elements with y > 0.
func columnGradsPositiveGeneric(sum, dot []float64, dy, x, y, mean []float32, rows, c int) {
	clear(sum)
	clear(dot)
	for r := range rows {
		xr, yr := x[r*c:][:len(sum)], y[r*c:][:len(sum)]
		for j, g := range dy[r*c:][:len(sum)] {
			if yr[j] > 0 {
				sum[j] += float64(g)
				dot[j] += float64(g) * float64(xr[j]-mean[j])
			}
		}
	}
}

// normColumnsGeneric sets y = max((x - mean) scale + shift, floor).
func normColumnsGeneric(y, x, mean, scale, shift []float32, rows, c int, floor float32) {
	for r := range rows {
		yr := y[r*c:][:len(mean)]
		for j, v := range x[r*c:][:len(mean)] {
			v = (v-mean[j])*scale[j] + shift[j]
			if v < floor {
				v = floor
			}
			yr[j] = v
		}
	}
}

// normColumnsAddGeneric sets y = max((x - mean) scale + shift + add, floor).
func normColumnsAddGeneric(y, x, add, mean, scale, shift []float32, rows, c int, floor float32) {
	for r := range rows {
		yr, ar := y[r*c:][:len(mean)], add[r*c:][:len(mean)]
		for j, v := range x[r*c:][:len(mean)] {
			v = (v-mean[j])*scale[j] + shift[j] + ar[j]
			if v < floor {
				v = floor
			}
			yr[j] = v
		}
	}
}

// normColumnsGradGeneric sets dx = dy scale + (x - mean) slope + shift.
func normColumnsGradGeneric(dx, dy, x, mean, scale, slope, shift []float32, rows, c int) {
	for r := range rows {
		xr, gr := x[r*c:][:len(mean)], dy[r*c:][:len(mean)]
		for j := range mean {
			dx[r*c+j] = gr[j]*scale[j] + ((xr[j]-mean[j])*slope[j] + shift[j])
		}
	}
}

// normColumnsGradPositiveGeneric is normColumnsGradGeneric with dy = 0 where
// y is not positive.
func normColumnsGradPositiveGeneric(dx, dy, x, y, mean, scale, slope, shift []float32, rows, c int) {
	for r := range rows {
		xr, gr, yr := x[r*c:][:len(mean)], dy[r*c:][:len(mean)], y[r*c:][:len(mean)]
		for j := range mean {
			g := float32(0)
			if yr[j] > 0 {
				g = gr[j]
			}
			dx[r*c+j] = g*scale[j] + ((xr[j]-mean[j])*slope[j] + shift[j])
		}
	}
}

// sgdGeneric is a step without momentum: w -= lr (g + decay w).
func sgdGeneric(w, g []float32, lr, decay float32) {
	g = g[:len(w)]
	for i, x := range w {
		w[i] = x - lr*(g[i]+decay*x)
	}
}

// momentumGeneric is h = g + decay w, v = mu v + h, w -= lr (a h + b v).
func momentumGeneric(w, g, v []float32, lr, mu, decay, a, b float32) {
	g, v = g[:len(w)], v[:len(w)]
	for i, x := range w {
		h := g[i] + decay*x
		v[i] = mu*v[i] + h
		w[i] = x - lr*(a*h+b*v[i])
	}
}

// adamWGeneric is m = beta1 m + (1-beta1) g, v = beta2 v + (1-beta2) g^2,
// w -= lr (c1 m / (sqrt(c2 v) + eps) + decay w).
func adamWGeneric(w, g, m, v []float32, lr, beta1, beta2, eps, decay, c1, c2 float32) {
	g, m, v = g[:len(w)], m[:len(w)], v[:len(w)]
	for i, x := range w {
		m[i] = beta1*m[i] + (1-beta1)*g[i]
		v[i] = beta2*v[i] + (1-beta2)*(g[i]*g[i])
		w[i] = x - lr*(c1*m[i]/(float32(math.Sqrt(float64(c2*v[i])))+eps)+decay*x)
	}
}
