package infomax

import (
	"context"
	"math"

	"nat/internal/kernel"
	"nat/internal/rng"
	"nat/sphere"
)

// FisherEstimate is what a von Mises-Fisher head keeps, and what its own noise costs.
type FisherEstimate struct {
	Estimate
	// Price is h(Z~ | x) - h(eps), what a stochastic encoder pays in (3): by so much less
	// does it keep than a deterministic one of the same marginal, if points are so many
	// that the marginal is a law and not a set.
	Price, PriceStderr float64
	Cosine             float64 // of a draw with its mean direction, in the mean
}

// Fisher is the information (11) of an encoder with a von Mises-Fisher head: point n
// sends a draw z from the density proportional to e^(kappa <mu_n, z>) through noise of
// each deviation. Both entropies are exact, since the density of the noisy draw is known,
//
//	p(z~ | n) = g(||z~||) L(||z~ / sigma^2 + kappa mu_n||) / L(kappa)
//
// with L that of (7): only n, the draw and the noise are sampled, one of each for every
// point. mu holds n unit vectors of d values, d >= 2; kappa is finite, 0 a head that
// ignores its input. It costs n^2 d for each level. Products are float32, so that
// exponents carry an error of about 1e-7 min(kappa, 1/sigma^2).
func Fisher(ctx context.Context, pool *kernel.Pool, mu []float32, n, d int, kappa float64, noise []float64, seed uint64) ([]FisherEstimate, error) {
	if n < 1 || d < 2 || len(mu) < n*d || len(noise) == 0 || !(kappa >= 0) || math.IsInf(kappa, 0) {
		panic("infomax: Fisher wants n rows of d >= 2 values, finite kappa >= 0 and a level of noise")
	}
	out := make([]FisherEstimate, len(noise))
	for l, sigma := range noise {
		f := newFisher(pool, mu, n, d, kappa, sigma, seed)
		for lo := 0; lo < n; lo += fisherRows {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			f.block(lo, min(lo+fisherRows, n))
		}
		out[l] = f.estimate()
	}
	return out, nil
}

const fisherRows = 64 // noisy points at a time

// fisher is one level of a Fisher in progress.
type fisher struct {
	pool                   *kernel.Pool
	mu, noisy, dots        []float32
	n, d                   int
	kappa, sigma           float64
	seed                   uint64
	logL                   *interpolation
	losses, prices, radius []float64 // of each point; ||z~|| / sigma^2
	cosines                []float64 // of each draw with its mean direction
	right                  []bool
}

func newFisher(pool *kernel.Pool, mu []float32, n, d int, kappa, sigma float64, seed uint64) *fisher {
	f := &fisher{pool: pool, mu: mu, n: n, d: d, kappa: kappa, sigma: sigma, seed: seed,
		noisy: make([]float32, n*d), dots: make([]float32, fisherRows*n), radius: make([]float64, n), cosines: make([]float64, n),
		losses: make([]float64, n), prices: make([]float64, n), right: make([]bool, n)}
	pool.Do(n, func(i int) {
		z := sphere.VonMisesFisher(1, mu[i*d:(i+1)*d], kappa, rng.New(seed, rng.Measure, fisherStream, uint64(i)))
		f.cosines[i] = float64(kernel.Dot(z, mu[i*d:(i+1)*d]))
		eps, squares, noise := rng.New(seed, rng.Noise, uint64(i)), 0.0, 0.0
		for k, v := range z {
			e := eps.NormFloat64()
			x := float64(v) + sigma*e
			f.noisy[i*d+k] = float32(x)
			squares, noise = squares+x*x, noise+e*e
		}
		f.radius[i] = math.Sqrt(squares) / (sigma * sigma)
		f.prices[i] = -noise / 2
	})
	most := 0.0
	for _, r := range f.radius {
		most = max(most, r)
	}
	f.logL = interpolate(pool, d, most+kappa)
	return f
}

// block decodes the noisy points [lo, hi).
func (f *fisher) block(lo, hi int) {
	rows, n, d := hi-lo, f.n, f.d
	f.pool.Gemm(f.dots, n, f.noisy[lo*d:hi*d], d, false, f.mu, d, true, rows, n, d, false)
	base := f.logL.at(f.kappa)
	f.pool.Do(rows, func(b int) {
		i := lo + b
		r, dots := f.radius[i], f.dots[b*n:(b+1)*n]
		cross := 2 * f.kappa / (f.sigma * f.sigma)
		weight := func(m int) float64 { return f.logL.at(math.Sqrt(max(r*r+f.kappa*f.kappa+cross*float64(dots[m]), 0))) }
		own := weight(i)
		sum := 1.0 // of the point itself
		f.right[i] = true
		for m := range dots {
			if m == i {
				continue
			}
			w := weight(m)
			sum += math.Exp(w - own)
			f.right[i] = f.right[i] && w < own
		}
		f.losses[i] = math.Log(sum)
		// log p(eps) - log p(z~|x), where ||z~||^2 = r^2 sigma^4.
		v := 1 / (f.sigma * f.sigma)
		f.prices[i] += (r*r/v+v)/2 - own + base
	})
}

func (f *fisher) estimate() FisherEstimate {
	var s, price score
	var cosine float64
	for i, loss := range f.losses {
		s.loss += loss
		s.square += loss * loss
		cosine += f.cosines[i] / float64(f.n)
		price.loss += f.prices[i]
		price.square += f.prices[i] * f.prices[i]
		if f.right[i] {
			s.recovered++
		}
	}
	e := FisherEstimate{Estimate: s.estimate(f.sigma, f.n), Cosine: cosine}
	p := price.estimate(f.sigma, f.n)
	e.Price, e.PriceStderr = math.Log(float64(f.n))-p.Nats, p.Stderr
	return e
}

// interpolation is log L by cubics through its values at equal steps of log(1 + k/d),
// where it is smooth at every scale.
type interpolation struct {
	d, step float64
	values  []float64 // the first one step below 0, where L is even
}

const interpolationKnots = 512

func interpolate(pool *kernel.Pool, d int, most float64) *interpolation {
	p := &interpolation{d: float64(d), step: math.Log1p(most/float64(d)) / interpolationKnots, values: make([]float64, interpolationKnots+4)}
	pool.Do(len(p.values), func(i int) {
		k := p.d * math.Expm1(float64(i-1)*p.step)
		p.values[i] = logMeanExp(math.Abs(k), d)
	})
	return p
}

func (p *interpolation) at(k float64) float64 {
	u := math.Log1p(k/p.d) / p.step
	i := min(int(u), interpolationKnots)
	t := u - float64(i)
	v := p.values[i : i+4 : i+4] // at -1, 0, 1, 2
	return v[1] + t*(v[2]-v[0]/3-v[1]/2-v[3]/6+t*((v[0]+v[2])/2-v[1]+t*((v[3]-v[0])/6+(v[1]-v[2])/2)))
}
