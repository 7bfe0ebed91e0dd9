package infomax

import (
	"fmt"
	"math"
)

// HalfNoise is the deviation of the noise at which the sphere in d >= 2 dimensions
// has a capacity (7) of half of log n, within a thousandth: the level at which n points
// are told apart neither always nor never, so that the information of n points there is
// most telling. n uniform points keep that half less a few percent. n >= 2.
func HalfNoise(n, d int) float64 {
	if n < 2 || d < 2 {
		panic(fmt.Sprintf("infomax: HalfNoise wants n >= 2 and d >= 2, got %d and %d", n, d))
	}
	want := math.Log(float64(n)) / 2
	at := func(log float64) float64 { return Capacity(d, math.Exp(log)) - want }
	// Where CapacityBound is what is wanted, capacity is less: the root is below.
	hi := -math.Log(float64(d)*math.Expm1(2*want/float64(d))) / 2
	over := at(hi)
	lo, under := hi, over
	for under < 0 {
		hi, over = lo, under
		lo -= .5
		under = at(lo)
	}
	for hi-lo > 1e-12 { // false position: the curve is nearly straight between
		middle := lo + (hi-lo)*under/(under-over)
		value := at(middle)
		if math.Abs(value) < 1e-3*want {
			return math.Exp(middle)
		}
		if value > 0 {
			lo, under = middle, value
		} else {
			hi, over = middle, value
		}
	}
	return math.Exp(lo)
}
