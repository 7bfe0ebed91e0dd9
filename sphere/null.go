package sphere

import (
	"context"
	"math"
	"sort"

	"gonum.org/v1/gonum/mathext"

	"nat/internal/kernel"
)

// Null is the law of T (26) for one uniform sample of n points: mean, standard
// deviation, and how they were found:
//
//   - "cavity", for d >= 32: the mean by the cavity equation (27), within .1 %; the
//     deviation from simulations at 2048 points, which goes with 1/sqrt n
//   - "table", for d < 32 and 256 to 2048 points: simulations at 256, 512, 1024 and 2048
//     points, stored, and between them powers of n
//   - "monte carlo", otherwise: simulated for this n and d
type Null struct {
	Mean, SD float64
	Method   string
}

const (
	cavityFrom  = 32 // dimensions; below, (27) is off by more than a fraction of the deviation
	cavityLeast = 64 // points; (27) is the limit of many
	nullPairs   = 64 // simulated if nothing else is known
)

// WassersteinNull is the law of T for n uniform points in d dimensions. Where
// neither equation nor table serve it simulates `pairs` pairs of samples, 0 meaning
// 64. The error is that of ctx.
func WassersteinNull(ctx context.Context, pool *kernel.Pool, n, d, pairs int, seed uint64) (Null, error) {
	if n < 2 || d < 1 || pairs < 0 || pairs == 1 {
		panic("sphere: WassersteinNull needs n >= 2, d >= 1 and at least two pairs")
	}
	m := &matches{pool: pool, n: n, d: d}
	count := 0
	if !known(n, d) {
		if count = pairs; count == 0 {
			count = nullPairs
		}
	}
	values, err := m.null(ctx, count, seed)
	if err != nil {
		return Null{}, err
	}
	return nullOf(n, d, values), nil
}

// known tells whether the null can be had without a simulation.
func known(n, d int) bool {
	return d >= cavityFrom && n >= cavityLeast || d >= 2 && d < cavityFrom && n >= tableSizes[0] && n <= tableSizes[len(tableSizes)-1]
}

// needsSimulation is how many pairs of samples have to be simulated.
func needsSimulation(n, d, pairs int) int {
	if known(n, d) {
		return pairs
	}
	return max(pairs, nullPairs)
}

func nullOf(n, d int, simulated []float64) Null {
	switch {
	case !known(n, d):
		mean, sd := moments(simulated)
		return Null{mean, sd, "monte carlo"}
	case d >= cavityFrom:
		return Null{cavityMean(n, d), kappa(d) / math.Sqrt(float64(n)*float64(d-1)), "cavity"}
	}
	return tabulated(n, d)
}

// tabulated is the null of the table for 2 <= d < 32: between two sizes mean and
// deviation go with powers of n.
func tabulated(n, d int) Null {
	k := max(sort.SearchInts(tableSizes[:], n), 1)
	a, b := nullTable[k-1][d-2], nullTable[k][d-2]
	at := math.Log(float64(n)/float64(tableSizes[k-1])) / math.Log(float64(tableSizes[k])/float64(tableSizes[k-1]))
	between := func(x, y float64) float64 { return x * math.Pow(y/x, at) }
	return Null{between(a.mean, b.mean), between(a.sd, b.sd), "table"}
}

// kappa is the deviation of T times sqrt(n (d-1)), interpolated in log d.
func kappa(d int) float64 {
	k := sort.Search(len(kappaTable), func(k int) bool { return kappaTable[k].d >= d })
	switch {
	case k == 0:
		return kappaTable[0].kappa
	case k == len(kappaTable):
		return kappaTable[k-1].kappa
	}
	a, b := kappaTable[k-1], kappaTable[k]
	at := math.Log(float64(d)/float64(a.d)) / math.Log(float64(b.d)/float64(a.d))
	return a.kappa + at*(b.kappa-a.kappa)
}

// The grid of the cavity equation, in units of the scale on which the number of
// targets nearer than a distance grows.
const (
	cavityPoints = 1401
	cavityBelow  = 30.
	cavityAbove  = 12.
)

// cavityMean is the mean of T for n uniform points in d dimensions to leading order
// in n, equation (27). Squared distances xi = 2 - 2t between a point and n targets have
// the density lambda(xi) = n f(1 - xi/2) / 2. The gain X of a point's absence has the
// survival function
//
//	G(x) = exp(-integral of lambda(xi) G(xi - x) over xi)
//
// and T = integral of xi lambda(xi) P(X + X' > xi). (Mezard, Parisi 1987; exact for
// independent distances, which those of the sphere are nearly for d >= 32.)
func cavityMean(n, d int) float64 {
	c := newCavity(n, d)
	c.solve()
	mean, mass := c.integrate()
	return mean / mass // mass is 1 up to the error of the grid
}

type cavity struct {
	n, d   int
	x0, h  float64
	lambda []float64 // at 2 x0 + k h
	tail   []float64 // expected number of targets nearer than x_i + x_0
	g      []float64 // survival function at x0 + i h
}

func newCavity(n, d int) *cavity {
	c := &cavity{n: n, d: d, g: make([]float64, cavityPoints), tail: make([]float64, cavityPoints), lambda: make([]float64, 2*cavityPoints-1)}
	// One target is expected nearer than first, and their number grows by e within scale.
	first := 2 - 2*capCosine(1/float64(n), d)
	scale := 1 / c.density(first)
	c.h = (cavityBelow + cavityAbove) * scale / (cavityPoints - 1)
	c.x0 = first/2 - cavityBelow*scale
	for k := range c.lambda {
		c.lambda[k] = c.density(2*c.x0 + float64(k)*c.h)
	}
	for i := range c.g {
		x := c.x0 + float64(i)*c.h
		c.tail[i] = float64(n) * share(1-(x+c.x0)/2, d)
		c.g[i] = math.Exp(-math.Exp((x - first/2) / scale))
	}
	return c
}

// density is lambda.
func (c *cavity) density(xi float64) float64 {
	return float64(c.n) * cosineDensity(1-xi/2, c.d) / 2
}

// solve iterates to the fixed point, half a step at a time.
func (c *cavity) solve() {
	next := make([]float64, len(c.g))
	for range 200 {
		var moved float64
		for i := range next {
			total := c.tail[i] - c.h*c.lambda[i]*c.g[0]/2
			for j, g := range c.g {
				total += c.h * c.lambda[i+j] * g
			}
			next[i] = (c.g[i] + math.Exp(-total)) / 2
			moved = max(moved, math.Abs(next[i]-c.g[i]))
		}
		copy(c.g, next)
		if moved < 1e-9 {
			return
		}
	}
}

// integrate returns the integrals of xi lambda P and of lambda P.
func (c *cavity) integrate() (mean, mass float64) {
	fall := make([]float64, len(c.g)) // density of X, to fourth order in h
	for i := 2; i < len(fall)-2; i++ {
		fall[i] = (8*(c.g[i-1]-c.g[i+1]) - (c.g[i-2] - c.g[i+2])) / (12 * c.h)
	}
	for k, lambda := range c.lambda {
		if lambda == 0 {
			continue
		}
		var p float64
		for i, f := range fall {
			switch j := k - i; {
			case j < 0:
				p += f * c.h // G is 1 there
			case j < len(c.g):
				p += f * c.h * c.g[j]
			}
		}
		xi := 2*c.x0 + float64(k)*c.h
		mean += c.h * xi * lambda * p
		mass += c.h * lambda * p
	}
	return mean, mass
}

// cosineDensity is the density f(t) of the cosine with a fixed point.
func cosineDensity(t float64, d int) float64 {
	if t <= -1 || t >= 1 {
		return 0
	}
	return math.Exp(float64(d-3)/2*math.Log((1-t)*(1+t)) - mathext.Lbeta(.5, float64(d-1)/2))
}

// share is the part of the sphere whose cosine with a fixed point exceeds t.
func share(t float64, d int) float64 {
	switch {
	case t >= 1:
		return 0
	case t <= -1:
		return 1
	case t < 0:
		return 1 - capShare(-t, d)
	}
	return capShare(t, d)
}

// capCosine is the cosine that a given share of the sphere exceeds.
func capCosine(of float64, d int) float64 {
	lo, hi := -1.0, 1.0
	for range 60 {
		if t := (lo + hi) / 2; share(t, d) > of {
			lo = t
		} else {
			hi = t
		}
	}
	return (lo + hi) / 2
}

// NearestNull is the mean squared distance of a fixed point to the nearest of n uniform
// ones in d dimensions, 4 - 2 integral of 1 - (1 - S(t))^n over t in [-1, 1], or 2 integral of
// (1 - S(t))^n: what [Pairs.Nearest] is for n + 1 uniform points, and less than T of any pairing.
func NearestNull(n, d int) float64 {
	if n < 1 || d < 2 {
		panic("sphere: NearestNull needs n >= 1 and d >= 2")
	}
	const steps, expected = 2000, 41. // points in a cap that is empty once in 1e18
	last := math.Pi
	if of := expected / float64(n); of < 1 {
		last = math.Acos(capCosine(of, d))
	}
	var total float64
	for i := range steps { // midpoints in the angle, where the integrand is smooth
		theta := (float64(i) + .5) * last / steps
		total += math.Exp(float64(n)*math.Log1p(-share(math.Cos(theta), d))) * math.Sin(theta) * last / steps
	}
	return 2 * total
}
