package infomax

import (
	"context"
	"math"
	"slices"

	"nat/internal/kernel"
	"nat/internal/rng"
	"nat/sphere"
)

// Estimate is the information at one level of noise.
type Estimate struct {
	Noise     float64 // sigma, the deviation per coordinate
	Nats      float64 // I_N, unbiased
	Stderr    float64 // its standard error, over the points
	Recovered float64 // share of noisy points that are nearest to their own point
	Ceiling   float64 // log n, which n points cannot exceed
}

const (
	blockRows = 256  // noisy points at a time
	tileCols  = 1024 // points they are compared with at a time
	sumCols   = 256  // terms added up in float32
	overflow  = 60   // exponents beyond this are shifted first
)

// Information estimates, for each level of noise, what a noisy copy of an
// embedding says about which of the n points it came from, equation (6):
//
//	I_N = log n + E log r_n,  r_n = w(z_n) / sum_m w(z_m),  w(y) = exp(-||z~ - y||^2 / 2 sigma^2)
//
// with z~ = z_n + sigma eps: the log-loss of the best possible decoder. One eps is
// drawn for each point, the stream rng.Noise of seed at its index, and is the same
// at every level. Much of what the losses differ by is <eps_n, z_n>, by which all other
// points come nearer or fall back together; its mean is known, and it is taken out
// (see controlled), which makes the error up to ten times smaller, where most information is
// lost in noise, and leaves the mean as it is. It costs two matrix products n x d x n in all and n^2
// exponentials a level; memory does not grow with n^2. Distances are sums in
// float32, so that exponents carry an error of about 1e-7 ||z||^2 / sigma^2; where this
// could be more than a hundredth, those that count are computed once more in float64.
//
// z must be finite, with norms below 1e18, n >= 1; the error is that of ctx.
func Information(ctx context.Context, pool *kernel.Pool, z []float32, n, d int, noise []float64, seed uint64) ([]Estimate, error) {
	if n < 1 || d < 1 || len(z) < n*d || len(noise) == 0 {
		panic("infomax: Information wants n rows of d values and a level of noise")
	}
	for _, s := range noise {
		if !(s > 0) || math.IsInf(s, 0) {
			panic("infomax: noise must be positive")
		}
	}
	e := newEstimator(pool, z, n, d, noise, seed)
	for lo := 0; lo < n; lo += blockRows {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		e.block(lo, min(lo+blockRows, n))
	}
	return e.estimates(), nil
}

// Uniform is the information of n points drawn from the uniform law on the sphere by
// seed, from a stream of its own, not that of a training's targets.
func Uniform(ctx context.Context, pool *kernel.Pool, n, d int, noise []float64, seed uint64) ([]Estimate, error) {
	return Information(ctx, pool, sphere.Uniform(n, d, rng.New(seed, rng.Measure, uniformStream)), n, d, noise, seed)
}

// Efficiency is the information of z divided by that of [Uniform] points, as many and
// at the same noise, equation (8): 1 is as informative as random points of the best
// law. It exceeds 1 for points that are more evenly spread than random ones.
func Efficiency(ctx context.Context, pool *kernel.Pool, of []Estimate, n, d int, seed uint64) (efficiency []float64, uniform []Estimate, err error) {
	noise := make([]float64, len(of))
	for i := range of {
		noise[i] = of[i].Noise
	}
	if uniform, err = Uniform(ctx, pool, n, d, noise, seed); err != nil {
		return nil, nil, err
	}
	efficiency = make([]float64, len(of))
	for i := range of {
		efficiency[i] = of[i].Nats / uniform[i].Nats
	}
	return efficiency, uniform, nil
}

// estimator is an Information in progress.
type estimator struct {
	pool   *kernel.Pool
	z      []float32
	half   []float32 // ||z_m||^2 / 2
	power  float64   // the largest ||z_m||^2
	n, d   int
	noise  []float64
	seed   uint64
	eps    []float32 // noise of the block, blockRows x d
	signal []float32 // <z_n, z_m> of the tile
	noisy  []float32 // <eps_n, z_m> of the tile
	own    [2][]float32
	rows   []decoding  // of the block, one per level and row
	scores []score     // per level
	along  []float64   // <eps_n, z_n> of all points
	losses [][]float64 // -log r_n per level and point
}

// decoding is the state of one noisy point at one level: exponents are relative to that of its own point.
type decoding struct {
	sum, shift float64 // of e^(exponent - shift)
	best       float64 // largest exponent of another point
	tie        float32 // how near to zero the exponents of equal points come out
	ties       int     // other points within tie of its own
}

// score adds up what the decodings of one level say.
type score struct{ loss, square, recovered float64 }

func newEstimator(pool *kernel.Pool, z []float32, n, d int, noise []float64, seed uint64) *estimator {
	rows, cols := min(n, blockRows), min(n, tileCols)
	e := &estimator{pool: pool, z: z, n: n, d: d, noise: noise, seed: seed, half: make([]float32, n),
		eps: make([]float32, rows*d), signal: make([]float32, rows*cols), noisy: make([]float32, rows*cols),
		rows: make([]decoding, len(noise)*blockRows), scores: make([]score, len(noise)),
		along: make([]float64, n), losses: make([][]float64, len(noise))}
	for l := range noise {
		e.losses[l] = make([]float64, n)
	}
	for i := range e.own {
		e.own[i] = make([]float32, rows*rows)
	}
	pool.DoChunks(n, 1024, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			row := z[i*d : (i+1)*d]
			e.half[i] = kernel.Dot(row, row) / 2
		}
	})
	e.power = 2 * float64(slices.Max(e.half))
	return e
}

// block decodes the noisy copies of the points [lo, hi).
func (e *estimator) block(lo, hi int) {
	rows, d := hi-lo, e.d
	e.pool.Do(rows, func(i int) {
		r := rng.New(e.seed, rng.Noise, uint64(lo+i))
		for j := range d {
			e.eps[i*d+j] = float32(r.NormFloat64())
		}
	})
	// The products of a point with itself, by the same kernel as all others: the
	// exponents of equal points are then equal.
	zb := e.z[lo*d : hi*d]
	e.pool.Gemm(e.own[0], rows, zb, d, false, zb, d, true, rows, rows, d, false)
	e.pool.Gemm(e.own[1], rows, e.eps, d, false, zb, d, true, rows, rows, d, false)
	for i := range e.rows {
		e.rows[i] = decoding{best: math.Inf(-1)}
	}
	for c := 0; c < e.n; c += tileCols {
		cols := min(tileCols, e.n-c)
		zt := e.z[c*d : (c+cols)*d]
		e.pool.Gemm(e.signal, cols, zb, d, false, zt, d, true, rows, cols, d, false)
		e.pool.Gemm(e.noisy, cols, e.eps, d, false, zt, d, true, rows, cols, d, false)
		e.pool.DoChunks(rows, 4, func(r0, r1 int) {
			for i := r0; i < r1; i++ {
				e.row(i, lo+i, rows, c, cols)
			}
		})
	}
	for i := range rows {
		e.along[lo+i] = float64(e.own[1][i*rows+i])
		for l := range e.noise {
			e.losses[l][lo+i] = e.scores[l].add(e.rows[l*blockRows+i])
		}
	}
}

// row adds the columns [c, c+cols) to the decodings of point n, row i of the block.
func (e *estimator) row(i, n, rows, c, cols int) {
	signal, noisy, half := e.signal[i*cols:(i+1)*cols], e.noisy[i*cols:(i+1)*cols], e.half[c:c+cols]
	ownSignal, ownNoisy := e.own[0][i*rows+i]-e.half[n], e.own[1][i*rows+i]
	for l, sigma := range e.noise {
		if doubt := e.doubt(i, sigma); doubt > .01 {
			e.careful(i, n, c, cols, l, doubt)
			continue
		}
		alpha, beta := float32(1/(sigma*sigma)), float32(1/sigma)
		gamma := -(alpha*ownSignal + beta*ownNoisy)
		tie := 1e-6 * (1 + max(alpha*ownSignal, -alpha*ownSignal) + max(beta*ownNoisy, -beta*ownNoisy))
		r := &e.rows[l*blockRows+i]
		r.tie = tie
		// The point itself adds e^0 in the end.
		own := min(max(n-c, 0), cols)
		r.addRange(signal, half, noisy, 0, own, alpha, beta, gamma)
		if n < c {
			own--
		}
		r.addRange(signal, half, noisy, own+1, cols, alpha, beta, gamma)
	}
}

// doubt bounds the error of float32 in the exponents of row i of the block.
func (e *estimator) doubt(i int, sigma float64) float64 {
	eps := e.eps[i*e.d : (i+1)*e.d]
	return 1e-6 * (2*e.power/(sigma*sigma) + 2*math.Sqrt(e.power*float64(kernel.Dot(eps, eps)))/sigma)
}

// careful is row at one level, where float32 may be off by doubt: points that it does not
// rule out are looked at in float64.
func (e *estimator) careful(i, n, c, cols, l int, doubt float64) {
	sigma, d := e.noise[l], e.d
	r, eps := &e.rows[l*blockRows+i], e.eps[i*d:(i+1)*d]
	var own float64 // exponent of the point itself, as float32 has it
	for k, x := range e.z[n*d : (n+1)*d] {
		own += float64(x)*float64(x)/2/(sigma*sigma) + float64(x)*float64(eps[k])/sigma
	}
	for j := range cols {
		m := c + j
		rough := float64(e.signal[i*cols+j]-e.half[m])/(sigma*sigma) + float64(e.noisy[i*cols+j])/sigma - own
		if m == n || rough < -negligible-doubt {
			continue
		}
		t := exponent(e.z[n*d:(n+1)*d], e.z[m*d:(m+1)*d], eps, sigma)
		r.addShifted(1, t)
		r.best = max(r.best, t)
		r.tie = math.SmallestNonzeroFloat32
		if t == 0 {
			r.ties++
		}
	}
}

// negligible is the exponent of a weight that changes no sum.
const negligible = 50

// exponent is log w(y) - log w(z) for the noisy z + sigma eps: 0 for equal points.
func exponent(z, y, eps []float32, sigma float64) float64 {
	var squares, along float64
	for k, x := range z {
		diff := float64(y[k]) - float64(x)
		squares += diff * diff
		along += diff * float64(eps[k])
	}
	return along/sigma - squares/(2*sigma*sigma)
}

// addRange adds the columns [lo, hi) in pieces short enough for float32 sums.
func (r *decoding) addRange(signal, half, noisy []float32, lo, hi int, alpha, beta, gamma float32) {
	for ; lo < hi; lo += sumCols {
		m := min(lo+sumCols, hi)
		r.add(signal[lo:m], half[lo:m], noisy[lo:m], alpha, beta, gamma)
	}
}

// add adds up e^t over t = alpha (signal - half) + beta noisy + gamma.
func (r *decoding) add(signal, half, noisy []float32, alpha, beta, gamma float32) {
	if len(signal) == 0 {
		return
	}
	sum, best := kernel.ExpSum(signal, half, noisy, alpha, beta, gamma)
	r.best = max(r.best, float64(best))
	if best > -r.tie && best < r.tie {
		for i, s := range signal {
			if t := alpha*(s-half[i]) + beta*noisy[i] + gamma; t > -r.tie && t < r.tie {
				r.ties++
			}
		}
	}
	if best > overflow {
		shifted, _ := kernel.ExpSum(signal, half, noisy, alpha, beta, gamma-best)
		r.addShifted(float64(shifted), float64(best))
		return
	}
	r.addShifted(float64(sum), 0)
}

// addShifted adds sum e^shift.
func (r *decoding) addShifted(sum, shift float64) {
	if shift == r.shift { // nearly always: both are 0
		r.sum += sum
		return
	}
	if shift > r.shift {
		r.sum *= math.Exp(r.shift - shift)
		r.shift = shift
	}
	r.sum += sum * math.Exp(shift-r.shift)
}

// add counts a decoding and returns its loss.
func (s *score) add(r decoding) float64 {
	r.addShifted(1, 0) // the point itself
	if r.best < float64(r.tie) {
		s.recovered += 1 / float64(1+r.ties)
	}
	return math.Log(r.sum) + r.shift
}

func (e *estimator) estimates() []Estimate {
	var power float64 // expected sum of the squares of along
	for _, h := range e.half {
		power += 2 * float64(h)
	}
	out := make([]Estimate, len(e.noise))
	for l, s := range e.scores {
		for _, loss := range controlled(e.losses[l], e.along, e.half, power) {
			s.loss += loss
			s.square += loss * loss
		}
		out[l] = s.estimate(e.noise[l], e.n)
	}
	return out
}

// controlled takes the control variate x, <eps_n, z_n>, out of the losses: it returns
// loss_i - b_i x_i, with b_i the slope of the losses over x that all points but i show.
// As x_i has mean 0 and b_i does not know it, the mean is that of the losses, exactly. The
// variance of x_i is known too, ||z_i||^2, twice half_i, and power is the sum of these.
func controlled(losses, x []float64, half []float32, power float64) []float64 {
	n := float64(len(losses))
	var sum, sumX, product float64
	for i, loss := range losses {
		sum += loss
		sumX += x[i]
		product += loss * x[i]
	}
	out := make([]float64, len(losses))
	for i, loss := range losses {
		out[i] = loss
		if rest := power - 2*float64(half[i]); n > 1 && rest > 0 {
			mean := (sum - loss) / (n - 1)
			slope := (product - loss*x[i] - mean*(sumX-x[i])) / rest
			out[i] -= slope * x[i]
		}
	}
	return out
}

// estimate turns the losses of n points into information.
func (s score) estimate(noise float64, points int) Estimate {
	n := float64(points)
	mean := s.loss / n
	e := Estimate{Noise: noise, Nats: math.Log(n) - mean, Recovered: s.recovered / n, Ceiling: math.Log(n)}
	if points > 1 {
		e.Stderr = math.Sqrt(max(s.square/n-mean*mean, 0) / (n - 1))
	}
	return e
}
