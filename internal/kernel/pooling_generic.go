package kernel

import "math"

// The plain loops below specify the kernels of pooling. Each computes count
// pixels of one image from windows of height x width pixels of another, for
// the first channels of each pixel. Steps are in elements: to the next pixel,
// to the next window, and in a window to the next row and the next column.

// windowSumsGeneric sets dst to the sum of the window times scale.
func windowSumsGeneric(dst, src []float32, channels, count, dstStep, srcStep, height, width, rowStep, colStep int, scale float32) {
	for i := range count {
		y := dst[i*dstStep:][:channels]
		clear(y)
		for k := range height * width {
			x := src[i*srcStep+k/width*rowStep+k%width*colStep:][:channels]
			for c, v := range x {
				y[c] += v
			}
		}
		for c := range y {
			y[c] *= scale
		}
	}
}

// windowMaxGeneric sets y to the maximum of the window; a NaN is the maximum.
func windowMaxGeneric(y, x []float32, channels, count, dstStep, srcStep, height, width, rowStep, colStep int) {
	for i := range count {
		best := y[i*dstStep:][:channels]
		fill(best, float32(math.Inf(-1)))
		for k := range height * width {
			for c, v := range x[i*srcStep+k/width*rowStep+k%width*colStep:][:channels] {
				if v > best[c] || v != v {
					best[c] = v
				}
			}
		}
	}
}

// windowMaxPlacesGeneric is windowMaxGeneric and sets arg, an image like y, to
// the place of the first maximum or the last NaN. The window's first pixel has
// the given place, and places advance by placeCol and placeRow.
func windowMaxPlacesGeneric(y []float32, arg []uint8, x []float32, channels, count, dstStep, srcStep, height, width, rowStep, colStep, place, placeCol, placeRow int) {
	for i := range count {
		best, places := y[i*dstStep:][:channels], arg[i*dstStep:][:channels]
		fill(best, float32(math.Inf(-1)))
		fill(places, uint8(place))
		for k := range height * width {
			at := uint8(place + k/width*placeRow + k%width*placeCol)
			for c, v := range x[i*srcStep+k/width*rowStep+k%width*colStep:][:channels] {
				if v > best[c] || v != v {
					best[c], places[c] = v, at
				}
			}
		}
	}
}

// windowPickGeneric sets dx to the sum of those elements of the window for
// which arg, an image like dy, has the place that windowMaxPlacesGeneric would
// give it.
func windowPickGeneric(dx, dy []float32, arg []uint8, channels, count, dstStep, srcStep, height, width, rowStep, colStep, place, placeCol, placeRow int) {
	for i := range count {
		sum := dx[i*dstStep:][:channels]
		clear(sum)
		for k := range height * width {
			at := uint8(place + k/width*placeRow + k%width*placeCol)
			o := i*srcStep + k/width*rowStep + k%width*colStep
			places := arg[o:][:channels]
			for c, g := range dy[o:][:channels] {
				if places[c] == at {
					sum[c] += g
				}
			}
		}
	}
}

func fill[E any](s []E, v E) {
	for i := range s {
		s[i] = v
	}
}
