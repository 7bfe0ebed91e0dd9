package infomax

import (
	"fmt"
	"math"
)

// HalfNoise is the deviation of the noise at which the sphere in d >= 2 dimensions
// has a capacity (7) of half of log n: the level at which n points are told apart
// neither always nor never, so that the information of n points there is most
// telling. n uniform points keep that half less a few percent. n >= 2.
func HalfNoise(n, d int) float64 {
	if n < 2 || d < 2 {
		panic(fmt.Sprintf("infomax: HalfNoise wants n >= 2 and d >= 2, got %d and %d", n, d))
	}
	want := math.Log(float64(n)) / 2
	lo, hi := -12.0, 6.0 // of log sigma; capacity falls from one to the other
	for range 40 {
		if at := (lo + hi) / 2; Capacity(d, math.Exp(at)) > want {
			lo = at
		} else {
			hi = at
		}
	}
	return math.Exp((lo + hi) / 2)
}
