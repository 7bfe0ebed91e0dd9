package sphere

import (
	"math"
	"math/rand/v2"
)

// VonMisesFisher draws n points from the law with density proportional to e^(kappa
// <mu, z>) on the sphere, mu a unit vector of dimension >= 2 and kappa >= 0 (0 is the
// uniform law): the cosine with mu by rejection (A. Wood, "Simulation of the von
// Mises Fisher distribution", 1994), the rest uniform around mu.
func VonMisesFisher(n int, mu []float32, kappa float64, r *rand.Rand) []float32 {
	d := len(mu)
	if n < 0 || d < 2 || !(kappa >= 0) || math.IsInf(kappa, 0) {
		panic("sphere: VonMisesFisher needs n >= 0, d >= 2 and kappa >= 0")
	}
	z, side := make([]float32, n*d), make([]float64, d)
	for i := range n {
		t := fisherCosine(d, kappa, r)
		tangent(side, mu, r)
		for k, m := range mu {
			z[i*d+k] = float32(t*float64(m) + math.Sqrt((1-t)*(1+t))*side[k])
		}
	}
	return z
}

// tangent draws a unit vector across mu, uniform: a normal vector less its part along mu.
func tangent(side []float64, mu []float32, r *rand.Rand) {
	var along, squares float64
	for k, m := range mu {
		side[k] = r.NormFloat64()
		along += side[k] * float64(m)
	}
	along /= dot(mu, mu)
	for k, m := range mu {
		side[k] -= along * float64(m)
		squares += side[k] * side[k]
	}
	for k := range side {
		side[k] /= math.Sqrt(squares)
	}
}

// fisherCosine draws the cosine with mu.
func fisherCosine(d int, kappa float64, r *rand.Rand) float64 {
	p := float64(d - 1)
	b := p / (2*kappa + math.Sqrt(4*kappa*kappa+p*p))
	x0 := (1 - b) / (1 + b)
	for {
		beta := betaDraw(p/2, r)
		t := (1 - (1+b)*beta) / (1 - (1-b)*beta)
		if kappa*(t-x0)+p*(math.Log1p(-x0*t)-math.Log1p(-x0*x0)) >= math.Log(1-r.Float64()) {
			return t
		}
	}
}

// betaDraw draws from Beta(a, a) for a = 1/2, 1, 3/2, ..: half of one plus the first
// coordinate of a uniform point of the sphere in 2a + 1 dimensions.
func betaDraw(a float64, r *rand.Rand) float64 {
	first := r.NormFloat64()
	squares := first * first
	for range int(2 * a) {
		x := r.NormFloat64()
		squares += x * x
	}
	return (1 + first/math.Sqrt(squares)) / 2
}
