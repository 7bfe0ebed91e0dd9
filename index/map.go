package index

import (
	"context"
	"errors"
	"fmt"
	"math"

	"nat/internal/kernel"
	"nat/internal/rng"
)

// MapOptions are the choices of Map2D. The zero value is a good map.
type MapOptions struct {
	Seed       uint64  // start of the search for principal axes, and jitter that parts equal rows
	Perplexity float64 // effective number of neighbours of a point; 0 = 30, at most (n-1)/3
	Iterations int     // gradient steps; 0 = 750
}

// The schedule of van der Maaten & Hinton (2008), with the learning rate of
// Belkina et al. (2019): n / exaggeration.
const (
	exaggeration  = 12
	exaggerate    = 3 // one in so many of the iterations exaggerates
	earlyMomentum = .5
	lateMomentum  = .8
	minGain       = .01
	minRate       = 50
	axisSteps     = 40 // iterations towards the two principal axes
)

// Map2D lays the n rows of z (n x d) out on a plane by exact t-SNE (van der
// Maaten & Hinton 2008) on Euclidean distances and returns n x 2 coordinates,
// centred. It starts from the two principal components, and the result
// depends on z and the options only, not on the number of workers. Only
// neighbourhoods on the map mean something; axes, far distances and areas do
// not. Time and memory grow as n^2: about 3,000 points are practical, 1,500
// take a few seconds. It returns ctx's error when cancelled, and an error for
// fewer than 4 points or for rows that are not finite.
func Map2D(ctx context.Context, pool *kernel.Pool, z []float32, n, d int, opt MapOptions) ([]float32, error) {
	if n < 0 || d < 1 || len(z) < n*d {
		panic("index: z does not have the given shape")
	}
	if n < 4 {
		return nil, fmt.Errorf("index: a map needs at least 4 points, got %d", n)
	}
	if opt.Perplexity == 0 {
		opt.Perplexity = 30
	}
	opt.Perplexity = min(opt.Perplexity, float64(n-1)/3)
	if opt.Iterations == 0 {
		opt.Iterations = 750
	}
	if opt.Perplexity < 1 || opt.Iterations < 0 {
		return nil, errors.New("index: a map needs a perplexity of at least 1 and no negative number of iterations")
	}
	x, err := centred(z, n, d)
	if err != nil {
		return nil, err
	}
	m := &layout{n: n, opt: opt, pool: pool}
	m.start(x, d)
	m.affinities(x, d)
	return m.descend(ctx)
}

// centred returns a copy of z whose columns have mean zero, divided by one
// number such that the mean squared length is 1: a map has no scale, and
// squares of very small or large numbers would leave the range of float32.
func centred(z []float32, n, d int) ([]float32, error) {
	mean := make([]float64, d)
	for i := range n {
		for j, v := range z[i*d : (i+1)*d] {
			if v-v != 0 {
				return nil, fmt.Errorf("index: row %d, column %d is not finite: %v", i, j, v)
			}
			mean[j] += float64(v)
		}
	}
	var square float64
	for i := range n {
		for j, v := range z[i*d : (i+1)*d] {
			square += (float64(v) - mean[j]/float64(n)) * (float64(v) - mean[j]/float64(n))
		}
	}
	scale := 1.0
	if square > 0 {
		scale = 1 / math.Sqrt(square/float64(n))
	}
	x := make([]float32, n*d)
	for i := range n {
		for j, v := range z[i*d : (i+1)*d] {
			x[i*d+j] = float32(scale * (float64(v) - mean[j]/float64(n)))
		}
	}
	return x, nil
}

// layout is a map in the making: points of float64 coordinates px, py and
// the n x n affinities p, symmetric, of sum 1, in float32.
type layout struct {
	n      int
	opt    MapOptions
	pool   *kernel.Pool
	p      []float32
	px, py []float64
}

// start puts the points at their first two principal components, scaled to a
// standard deviation of 1e-4 along the first.
func (m *layout) start(x []float32, d int) {
	r := rng.New(m.opt.Seed, rng.Map)
	axes := make([]float32, d*2) // d x 2
	for i := range axes {
		axes[i] = float32(r.NormFloat64())
	}
	scores := make([]float32, m.n*2)
	for range axisSteps {
		orthonormal(axes)
		m.pool.Gemm(scores, 2, x, d, false, axes, 2, false, m.n, 2, d, false)
		m.pool.Gemm(axes, 2, x, d, true, scores, 2, false, d, 2, m.n, false)
	}
	var square float64
	for i := range m.n {
		square += float64(scores[2*i]) * float64(scores[2*i])
	}
	scale := 1e-4
	if square > 0 {
		scale /= math.Sqrt(square / float64(m.n))
	}
	m.px, m.py = make([]float64, m.n), make([]float64, m.n)
	for i := range m.n {
		m.px[i] = scale*float64(scores[2*i]) + 1e-7*r.NormFloat64()
		m.py[i] = scale*float64(scores[2*i+1]) + 1e-7*r.NormFloat64()
	}
}

// orthonormal makes the two columns of v (rows x 2) orthonormal, in float64,
// by Gram-Schmidt; a column without length stays zero.
func orthonormal(v []float32) {
	normalise := func(c int) {
		var s float64
		for i := c; i < len(v); i += 2 {
			s += float64(v[i]) * float64(v[i])
		}
		if s > 0 {
			for i := c; i < len(v); i += 2 {
				v[i] = float32(float64(v[i]) / math.Sqrt(s))
			}
		}
	}
	normalise(0)
	normalise(1)
	var dot float64
	for i := 0; i < len(v); i += 2 {
		dot += float64(v[i]) * float64(v[i+1])
	}
	for i := 0; i < len(v); i += 2 {
		v[i+1] -= float32(dot * float64(v[i]))
	}
	normalise(1)
}

// affinities fills p: conditional Gaussians whose entropy is the logarithm
// of the perplexity, made symmetric.
func (m *layout) affinities(x []float32, d int) {
	n := m.n
	cond := make([]float32, n*n)
	m.pool.Gemm(cond, n, x, d, false, x, d, true, n, n, d, false)
	square := make([]float32, n)
	for i := range square {
		square[i] = cond[i*n+i]
	}
	m.pool.Do(n, func(i int) {
		row := cond[i*n : (i+1)*n]
		for j, dot := range row {
			row[j] = max(0, square[i]+square[j]-2*dot)
		}
		conditional(row, i, m.opt.Perplexity)
	})
	m.p = make([]float32, n*n)
	m.pool.Do(n, func(i int) {
		for j := range n {
			m.p[i*n+j] = (cond[i*n+j] + cond[j*n+i]) / float32(2*n)
		}
	})
}

// conditional replaces the squared distances of point self in row by the
// probabilities exp(-beta d^2)/sum, beta by bisection such that their entropy
// is log(perplexity).
func conditional(row []float32, self int, perplexity float64) {
	row[self] = float32(math.Inf(1)) // no neighbour of itself
	nearest := row[0]
	var mean float64
	for j, v := range row {
		nearest = min(nearest, v)
		if j != self {
			mean += float64(v)
		}
	}
	for j := range row {
		row[j] = nearest - row[j] // the largest exponent is 0: no underflow of the sum
	}
	mean = mean/float64(len(row)-1) - float64(nearest)
	p := make([]float32, len(row))
	beta, lo, hi := 1.0, 0.0, math.Inf(1)
	if mean > 0 {
		beta = 1 / mean
	}
	for range 64 {
		excess := entropy(p, row, beta) - math.Log(perplexity)
		if math.Abs(excess) < 1e-4 {
			break
		}
		if excess > 0 {
			lo = beta
		} else {
			hi = beta
		}
		if math.IsInf(hi, 1) {
			beta *= 2
		} else {
			beta = (lo + hi) / 2
		}
	}
	copy(row, p)
}

// entropy fills p with the probabilities proportional to exp(beta*minus) and
// returns their entropy, in nats.
func entropy(p, minus []float32, beta float64) float64 {
	for j, v := range minus {
		p[j] = float32(beta) * v
	}
	kernel.Exp(p, p)
	var sum, first float64
	for j, v := range p {
		if v > 0 {
			sum += float64(v)
			first -= float64(v) * beta * float64(minus[j])
		}
	}
	for j := range p {
		p[j] /= float32(sum)
	}
	return math.Log(sum) + first/sum
}

// descend follows the gradient of the Kullback-Leibler divergence with
// momentum and one gain a coordinate.
func (m *layout) descend(ctx context.Context) ([]float32, error) {
	n := m.n
	gx, gy := make([]float64, n), make([]float64, n)
	vx, vy := make([]float64, n), make([]float64, n)
	kx, ky := make([]float64, n), make([]float64, n)
	for i := range n {
		kx[i], ky[i] = 1, 1
	}
	rate := max(float64(n)/exaggeration, minRate)
	for it := range m.opt.Iterations {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		strength, momentum := 1.0, lateMomentum
		if it < m.opt.Iterations/exaggerate {
			strength, momentum = exaggeration, earlyMomentum
		}
		m.gradient(gx, gy, strength)
		move(m.px, vx, kx, gx, rate, momentum)
		move(m.py, vy, ky, gy, rate, momentum)
	}
	xy := make([]float32, 2*n)
	for i := range n {
		xy[2*i], xy[2*i+1] = float32(m.px[i]), float32(m.py[i])
	}
	return xy, nil
}

// gradient writes the derivative of the divergence by each coordinate:
// attraction by p times strength, repulsion by the Student affinities q,
// whose normaliser is the sum over all pairs.
func (m *layout) gradient(gx, gy []float64, strength float64) {
	n := m.n
	sums := make([]float64, n)
	repelX, repelY := make([]float64, n), make([]float64, n)
	m.pool.Do(n, func(i int) {
		var ax, ay, rx, ry, total float64
		xi, yi := m.px[i], m.py[i]
		py, p := m.py[:n], m.p[i*n:i*n+n]
		for j, xj := range m.px[:n] {
			dx, dy := xi-xj, yi-py[j]
			q := 1 / (1 + dx*dx + dy*dy)
			pq := float64(p[j]) * q
			ax += pq * dx
			ay += pq * dy
			rx += q * q * dx
			ry += q * q * dy
			total += q
		}
		gx[i], gy[i] = strength*ax, strength*ay
		repelX[i], repelY[i] = rx, ry
		sums[i] = total - 1 // the point itself
	})
	var total float64
	for _, s := range sums {
		total += s
	}
	for i := range n {
		gx[i] = 4 * (gx[i] - repelX[i]/total)
		gy[i] = 4 * (gy[i] - repelY[i]/total)
	}
}

// move takes one step along one axis: gains grow where gradient and velocity
// agree on the way and shrink where they do not; the mean stays at zero.
func move(pos, velocity, gain, grad []float64, rate, momentum float64) {
	var mean float64
	for i, g := range grad {
		if (g > 0) != (velocity[i] > 0) {
			gain[i] += .2
		} else {
			gain[i] = max(minGain, gain[i]*.8)
		}
		velocity[i] = momentum*velocity[i] - rate*gain[i]*g
		pos[i] += velocity[i]
		mean += pos[i]
	}
	mean /= float64(len(pos))
	for i := range pos {
		pos[i] -= mean
	}
}
