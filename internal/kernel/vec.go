package kernel

import "math"

// whole returns the largest multiple of the tier's lanes that is at most n.
func (t *tier) whole(n int) int { return n &^ (t.lanes - 1) }

// Dot returns the sum of a[i] b[i] over the length of a.
func Dot(a, b []float32) float32 {
	n := active.whole(len(a))
	return active.dot(a[:n], b[:n]) + dotGeneric(a[n:], b[n:])
}

// SqDist returns the sum of (a[i] - b[i])^2 over the length of a.
func SqDist(a, b []float32) float32 {
	n := active.whole(len(a))
	return active.sqDist(a[:n], b[:n]) + sqDistGeneric(a[n:], b[n:])
}

// Axpy adds s x[i] to dst[i] over the length of dst.
func Axpy(dst []float32, s float32, x []float32) {
	n := active.whole(len(dst))
	active.axpy(dst[:n], s, x[:n])
	axpyGeneric(dst[n:], s, x[n:])
}

// Exp sets dst[i] = e^x[i] over the length of dst, with a relative error below
// 1e-7 where the result is a normal number.
func Exp(dst, x []float32) {
	n := active.whole(len(dst))
	active.exp(dst[:n], x[:n])
	expGeneric(dst[n:], x[n:])
}

// Highest is the largest of s, none of which is NaN: the built-in max minds NaN, and is
// several times as slow.
func Highest(s []float32) float32 {
	top := float32(math.Inf(-1))
	a, b, c, d := top, top, top, top
	for ; len(s) >= 4; s = s[4:] {
		if s[0] > a {
			a = s[0]
		}
		if s[1] > b {
			b = s[1]
		}
		if s[2] > c {
			c = s[2]
		}
		if s[3] > d {
			d = s[3]
		}
	}
	for _, x := range s {
		if x > top {
			top = x
		}
	}
	return max(top, a, b, c, d)
}
