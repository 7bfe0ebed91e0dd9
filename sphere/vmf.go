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
		short := fisherCosine(d, kappa, r)
		tangent(side, mu, r)
		for k, m := range mu {
			z[i*d+k] = float32((1-short)*float64(m) + math.Sqrt(short*(2-short))*side[k])
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

// fisherCosine draws the cosine t with mu, and returns 1 - t, which keeps its digits where kappa
// is large and t nearly 1.
func fisherCosine(d int, kappa float64, r *rand.Rand) float64 {
	p := float64(d - 1)
	b := p / (2*kappa + math.Hypot(2*kappa, p))
	if b == 0 {
		return 0
	}
	centre := 2 * b / (1 + b) // 1 - x0
	for {
		beta := betaDraw(p/2, r)
		short := 2 * b * beta / (1 - (1-b)*beta)
		if kappa*(centre-short)+p*math.Log((centre+(1-centre)*short)/(centre*(2-centre))) >= math.Log(1-r.Float64()) {
			return short
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
