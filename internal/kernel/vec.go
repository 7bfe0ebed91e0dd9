package kernel

import "math"

// Dot returns the sum of a[i] b[i] over the length of a.
func Dot(a, b []float32) float32 {
	b = b[:len(a)]
	var s float32
	for i, v := range a {
		s += v * b[i]
	}
	return s
}

// Axpy adds s x[i] to dst[i] over the length of dst.
func Axpy(dst []float32, s float32, x []float32) {
	x = x[:len(dst)]
	for i, v := range x {
		dst[i] += s * v
	}
}

// SqDist returns the sum of (a[i] - b[i])^2 over the length of a.
func SqDist(a, b []float32) float32 {
	b = b[:len(a)]
	var s float32
	for i, v := range a {
		d := v - b[i]
		s += d * d
	}
	return s
}

// Exp sets dst[i] = e^x[i] over the length of dst.
func Exp(dst, x []float32) {
	x = x[:len(dst)]
	for i, v := range x {
		dst[i] = float32(math.Exp(float64(v)))
	}
}
