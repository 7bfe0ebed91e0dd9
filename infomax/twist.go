package infomax

import (
	"math"

	"nat/internal/kernel"
	"nat/internal/rng"
)

// Twist entangles n points of the sphere in d >= 3 dimensions, in place, without
// changing volumes: in each round the coordinates are paired at random, and each pair
// is turned by the angle strength sqrt(d) z_k, where z_k is a coordinate outside the
// pair (12b). Every such turn is invertible and keeps lengths and volumes, so a uniform
// law stays uniform, and a deterministic encoder stays one that loses nothing. A
// strength of 1 turns by about a radian; 0 is the identity. Pairs depend on seed alone
// (stream rng.Measure), so that growing strengths follow one path.
func Twist(pool *kernel.Pool, z []float32, n, d int, strength float64, rounds int, seed uint64) {
	if n < 0 || d < 3 || rounds < 0 || len(z) < n*d || math.IsNaN(strength) || math.IsInf(strength, 0) {
		panic("infomax: Twist wants n rows of d >= 3 values, a finite strength and rounds >= 0")
	}
	turns := twistTurns(d, rounds, seed)
	unit := strength * math.Sqrt(float64(d))
	pool.DoChunks(n, 256, func(lo, hi int) {
		x := make([]float64, d)
		for i := lo; i < hi; i++ {
			row := z[i*d : (i+1)*d]
			for k, v := range row {
				x[k] = float64(v)
			}
			for _, t := range turns {
				sin, cos := math.Sincos(unit * x[t.by])
				x[t.a], x[t.b] = cos*x[t.a]-sin*x[t.b], sin*x[t.a]+cos*x[t.b]
			}
			for k, v := range x {
				row[k] = float32(v)
			}
		}
	})
}

// turn is a rotation of the coordinates a and b by an angle that depends on another.
type turn struct{ a, b, by int }

// twistTurns pairs all coordinates in each round, but for one if their number is odd.
func twistTurns(d, rounds int, seed uint64) (turns []turn) {
	r := rng.New(seed, rng.Measure, twistStream)
	for range rounds {
		p := r.Perm(d)
		for m := 0; m+1 < d; m += 2 {
			turns = append(turns, turn{p[m], p[m+1], p[(m+2)%d]})
		}
	}
	return turns
}
