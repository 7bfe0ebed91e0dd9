package kernel

// The plain loops below specify the passes over the columns of matrices of
// rows x c. They do the first columns, as many as their per-column slices have
// elements. The assembly takes sums of a few rows in float32, of differences
// from one of the rows where the terms may have a large mean.

// affine is d scale + shift, rounded twice everywhere, so that its sign is the
// same wherever it is computed.
func affine(d, scale, shift float32) float32 { return float32(d*scale) + shift }

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

// columnGradsMaskedGeneric is columnGradsGeneric over the elements with y > 0,
// and sets d to dy there and to 0 elsewhere.
func columnGradsMaskedGeneric(sum, dot []float64, d, dy, x, y, mean []float32, rows, c int) {
	clear(sum)
	clear(dot)
	for r := range rows {
		xr, yr, dr := x[r*c:][:len(sum)], y[r*c:][:len(sum)], d[r*c:][:len(sum)]
		for j, g := range dy[r*c:][:len(sum)] {
			if !(yr[j] > 0) {
				g = 0
			}
			dr[j] = g
			sum[j] += float64(g)
			dot[j] += float64(g) * float64(xr[j]-mean[j])
		}
	}
}

// columnGradsReLUGeneric is columnGradsGeneric over the elements with
// (x - mean) scale + beta > 0.
func columnGradsReLUGeneric(sum, dot []float64, dy, x, mean, scale, beta []float32, rows, c int) {
	clear(sum)
	clear(dot)
	for r := range rows {
		xr := x[r*c:][:len(sum)]
		for j, g := range dy[r*c:][:len(sum)] {
			if d := xr[j] - mean[j]; affine(d, scale[j], beta[j]) > 0 {
				sum[j] += float64(g)
				dot[j] += float64(g) * float64(d)
			}
		}
	}
}

// addDoublesGeneric adds x to dst.
func addDoublesGeneric(dst, x []float64) {
	x = x[:len(dst)]
	for i, v := range x {
		dst[i] += v
	}
}

// normColumnsGeneric sets y = max((x - mean) scale + shift, floor).
func normColumnsGeneric(y, x, mean, scale, shift []float32, rows, c int, floor float32) {
	for r := range rows {
		yr := y[r*c:][:len(mean)]
		for j, v := range x[r*c:][:len(mean)] {
			v = affine(v-mean[j], scale[j], shift[j])
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
			v = affine(v-mean[j], scale[j], shift[j]) + ar[j]
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
		xr, gr, dr := x[r*c:][:len(mean)], dy[r*c:][:len(mean)], dx[r*c:][:len(mean)]
		for j, m := range mean {
			dr[j] = gr[j]*scale[j] + ((xr[j]-m)*slope[j] + shift[j])
		}
	}
}

// normColumnsGradReLUGeneric is normColumnsGradGeneric with dy = 0 where
// (x - mean) scale + beta is not positive.
func normColumnsGradReLUGeneric(dx, dy, x, mean, scale, beta, slope, shift []float32, rows, c int) {
	for r := range rows {
		xr, gr, dr := x[r*c:][:len(mean)], dy[r*c:][:len(mean)], dx[r*c:][:len(mean)]
		for j, m := range mean {
			d, g := xr[j]-m, float32(0)
			if affine(d, scale[j], beta[j]) > 0 {
				g = gr[j]
			}
			dr[j] = g*scale[j] + (d*slope[j] + shift[j])
		}
	}
}
