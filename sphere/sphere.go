// Package sphere has points on the unit sphere S^(d-1): drawing them, measuring
// distances between them, and telling how evenly a set of them is spread.
//
//	c := sphere.Uniform(50000, 64, rng.New(seed, rng.Targets))
//	level := sphere.BestCosine(256, 64) // .341: what the best of 256 random targets reaches
//
// Point sets are row-major float32, n rows of d; sums over them are float64.
// Equation numbers are those of docs/math.md.
package sphere

import (
	"fmt"
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/mathext"
)

// Uniform draws n points from the uniform law on the sphere in d dimensions:
// normal vectors, each divided by its norm.
func Uniform(n, d int, r *rand.Rand) []float32 {
	if n < 0 || d < 1 {
		panic("sphere: Uniform needs n >= 0 and d >= 1")
	}
	z := make([]float32, n*d)
	draw := make([]float64, d)
	for i := range n {
		var squares float64
		for squares == 0 {
			for k := range draw {
				draw[k] = r.NormFloat64()
				squares += draw[k] * draw[k]
			}
		}
		norm := math.Sqrt(squares)
		for k, x := range draw {
			z[i*d+k] = float32(x / norm)
		}
	}
	return z
}

// Normalize divides each of n rows by its norm, in place. It stops at a row
// that has no direction, all zeros or with a value that is not finite, and
// names it.
func Normalize(z []float32, n, d int) error {
	check(z, n, d)
	for i := range n {
		row := z[i*d : (i+1)*d]
		squares := dot(row, row)
		if squares == 0 {
			return fmt.Errorf("sphere: row %d is zero and has no direction", i)
		}
		if math.IsNaN(squares) || math.IsInf(squares, 0) {
			return fmt.Errorf("sphere: row %d has a value that is not finite", i)
		}
		norm := math.Sqrt(squares)
		for k, x := range row {
			row[k] = float32(float64(x) / norm)
		}
	}
	return nil
}

// Geodesic is the angle between a and b in [0, pi], for vectors of any norm. It
// is 2 atan2(|| a|b| - b|a| ||, || a|b| + b|a| ||) (Kahan), which keeps its
// digits where the arc cosine loses half of them: near 0 and near pi.
func Geodesic(a, b []float32) float64 {
	if len(a) != len(b) {
		panic("sphere: Geodesic needs vectors of one dimension")
	}
	na, nb := math.Sqrt(dot(a, a)), math.Sqrt(dot(b, b))
	var minus, plus float64
	for k, x := range a {
		p, q := float64(x)*nb, float64(b[k])*na
		minus += (p - q) * (p - q)
		plus += (p + q) * (p + q)
	}
	return 2 * math.Atan2(math.Sqrt(minus), math.Sqrt(plus))
}

// BestCosine is the level of equation (24): the median, over a fixed point, of
// the largest cosine among b independent uniform points in d dimensions. It is
// the root t of S(t) = 1 - 2^(-1/b), where the cap of cosines above t has the
// share S(t) = I_{1-t^2}((d-1)/2, 1/2) / 2 of the sphere.
//
// It is a level to compare with, not a bound: a trained encoder passes it.
func BestCosine(b, d int) float64 {
	if b < 1 || d < 1 {
		panic("sphere: BestCosine needs b >= 1 and d >= 1")
	}
	if b == 1 {
		return 0 // a cosine is as often positive as negative
	}
	if d == 1 {
		return 1 // one of two or more points is on the same side more often than not
	}
	share := -math.Expm1(-math.Ln2 / float64(b))
	lo, hi := 0.0, 1.0
	for range 60 {
		t := (lo + hi) / 2
		if capShare(t, d) > share {
			lo = t
		} else {
			hi = t
		}
	}
	return (lo + hi) / 2
}

// capShare is the part of the sphere whose cosine with a fixed point exceeds t >= 0.
func capShare(t float64, d int) float64 {
	return mathext.RegIncBeta(float64(d-1)/2, .5, (1-t)*(1+t)) / 2
}

// check panics unless z holds n rows of d.
func check(z []float32, n, d int) {
	if n < 0 || d < 1 || len(z) < n*d {
		panic("sphere: a point set needs n*d coordinates")
	}
}

// dot is the inner product in float64.
func dot(a, b []float32) float64 {
	b = b[:len(a)]
	var total float64
	for k, x := range a {
		total += float64(x) * float64(b[k])
	}
	return total
}
