package infomax

import (
	"context"
	"math"

	"nat/internal/kernel"
	"nat/internal/rng"
)

// What random numbers are for, after the first index, which sets them apart from the
// other uses of rng.Measure.
const (
	uniformStream = 31 // of Efficiency
	boundStream   = 32
	boundRows     = 0
	boundTrain    = 1
	boundTest     = 2
	twistStream   = 33
	fisherStream  = 34
)

// InfoNCE is the bound (10) with k candidates and the best critic: log k minus the
// log-loss of telling an embedding's own point from k - 1 others. It is the mean
// of [Information] over disjoint random sets of k points, so it never exceeds log k,
// nor, in the mean, the information of all n. The standard error is over points.
// Points beyond a multiple of k are left out; 2 <= k <= n.
func InfoNCE(ctx context.Context, pool *kernel.Pool, z []float32, n, d, k int, noise []float64, seed uint64) ([]Estimate, error) {
	if k < 2 || k > n || len(z) < n*d {
		panic("infomax: InfoNCE wants n rows of d values and 2 <= k <= n")
	}
	order := rng.New(seed, rng.Measure, boundStream, boundRows).Perm(n)
	sets := n / k
	out := make([]Estimate, len(noise))
	part := make([]float32, k*d)
	for s := range sets {
		for i, row := range order[s*k : (s+1)*k] {
			copy(part[i*d:(i+1)*d], z[row*d:(row+1)*d])
		}
		est, err := Information(ctx, pool, part, k, d, noise, seed+uint64(s)) // fresh noise for each set
		if err != nil {
			return nil, err
		}
		for l, e := range est {
			o := &out[l]
			o.Noise, o.Ceiling = e.Noise, e.Ceiling
			o.Nats += e.Nats / float64(sets)
			o.Recovered += e.Recovered / float64(sets)
			o.Stderr += e.Stderr * e.Stderr / float64(sets*sets)
		}
	}
	for l := range out {
		out[l].Stderr = math.Sqrt(out[l].Stderr)
	}
	return out, nil
}

// Decoder is how [BarberAgakov] trains; the zero value is ready.
type Decoder struct {
	Steps int // of AdamW; 0: 400
	Batch int // noisy points a step; 0: 256
}

// BarberAgakov is the bound (9): log n minus the cross-entropy, on noise it has not
// seen, of a linear classifier trained to guess which of the n points a noisy
// embedding came from. It is at most the information whatever the training did, in
// the mean, and can be negative; a linear classifier can reach it, as the best decoder
// is linear in the noisy point. It costs Steps x Batch x n x d, and memory for Batch
// x n.
func BarberAgakov(ctx context.Context, pool *kernel.Pool, z []float32, n, d int, noise float64, opt Decoder, seed uint64) (Estimate, error) {
	if n < 2 || len(z) < n*d || !(noise > 0) {
		panic("infomax: BarberAgakov wants two rows of d values at least and noise")
	}
	if opt.Steps == 0 {
		opt.Steps = 400
	}
	if opt.Batch == 0 {
		opt.Batch = 256
	}
	c := &classifier{pool: pool, z: z, n: n, d: d, in: d + 1, noise: noise, batch: min(opt.Batch, n)}
	c.w = make([]float32, n*c.in)
	c.x, c.logits = make([]float32, c.batch*c.in), make([]float32, c.batch*n)
	if err := c.train(ctx, opt.Steps, seed); err != nil {
		return Estimate{}, err
	}
	return c.test(ctx, seed)
}

// classifier guesses the point from its noisy copy, in units of the noise, and a constant.
type classifier struct {
	pool            *kernel.Pool
	z               []float32
	n, d, in, batch int
	noise           float64
	w               []float32 // n x in
	x, logits       []float32 // of a batch
}

// forward makes noisy copies of the rows and their logits.
func (c *classifier) forward(rows []int, stream, step uint64, seed uint64) {
	r := rng.New(seed, rng.Measure, boundStream, stream, step)
	for b, row := range rows {
		x := c.x[b*c.in : (b+1)*c.in]
		for k := range c.d {
			x[k] = float32(float64(c.z[row*c.d+k])/c.noise + r.NormFloat64())
		}
		x[c.d] = 1
	}
	c.pool.Gemm(c.logits, c.n, c.x, c.in, false, c.w, c.in, true, len(rows), c.n, c.in, false)
}

func (c *classifier) train(ctx context.Context, steps int, seed uint64) error {
	g, m, v := make([]float32, len(c.w)), make([]float32, len(c.w)), make([]float32, len(c.w))
	r := rng.New(seed, rng.Measure, boundStream, boundTrain)
	order, at := r.Perm(c.n), 0
	for step := range steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		if at+c.batch > c.n {
			order, at = r.Perm(c.n), 0
		}
		rows := order[at : at+c.batch]
		at += c.batch
		c.forward(rows, boundTrain, uint64(step), seed)
		c.pool.Do(len(rows), func(b int) { // probabilities minus the truth, the gradient of the loss
			row := c.logits[b*c.n : (b+1)*c.n]
			norm := logSumExp(row)
			for j, l := range row {
				row[j] = float32(math.Exp(float64(l)-norm) / float64(len(rows)))
			}
			row[rows[b]] -= 1 / float32(len(rows))
		})
		c.pool.Gemm(g, c.in, c.logits, c.n, true, c.x, c.in, false, c.n, c.in, len(rows), false)
		// The best weights are about 1/(noise sqrt(d)) each.
		rate := .1 / (c.noise * math.Sqrt(float64(c.d))) * (1 + math.Cos(math.Pi*float64(step)/float64(steps))) / 2
		c.pool.AdamW(c.w, g, m, v, step+1, float32(rate), .9, .99, 1e-10, 0)
	}
	return nil
}

// test decodes every point once, by noise that training did not see.
func (c *classifier) test(ctx context.Context, seed uint64) (Estimate, error) {
	var s score
	losses, right := make([]float64, c.batch), make([]bool, c.batch)
	for lo := 0; lo < c.n; lo += c.batch {
		if err := ctx.Err(); err != nil {
			return Estimate{}, err
		}
		rows := make([]int, min(c.batch, c.n-lo))
		for b := range rows {
			rows[b] = lo + b
		}
		c.forward(rows, boundTest, uint64(lo), seed)
		c.pool.Do(len(rows), func(b int) {
			row := c.logits[b*c.n : (b+1)*c.n]
			losses[b] = logSumExp(row) - float64(row[rows[b]])
			right[b] = true
			for j, l := range row {
				right[b] = right[b] && (j == rows[b] || l < row[rows[b]])
			}
		})
		for b := range rows {
			s.loss += losses[b]
			s.square += losses[b] * losses[b]
			if right[b] {
				s.recovered++
			}
		}
	}
	return s.estimate(c.noise, c.n), nil
}

func logSumExp[T float32 | float64](x []T) float64 {
	top := math.Inf(-1)
	for _, v := range x {
		top = max(top, float64(v))
	}
	var sum float64
	for _, v := range x {
		sum += math.Exp(float64(v) - top)
	}
	return top + math.Log(sum)
}

// Stochastic is the information (11) of an encoder that draws its embedding: z holds,
// for each of n points, `draws` independent draws from p(z|x), one after another,
// n x draws rows of d (of a variational autoencoder's Gaussian, or of
// [sphere.VonMisesFisher]). Noise is added to each, and both h(Z~) and h(Z~|x) are those
// of the mixtures of the draws,
//
//	I = log n + E log(sum over own draws of w / sum over all draws of w)
//
// with w as in [Information], so that nothing but the draws is approximated: it is
// exact for the encoder that picks one of them, and tends to that of p(z|x) from above
// as their number grows. Deterministic encoders, draws = 1, have the mean of [Information]. It costs
// (n draws)^2 d for each level of noise, in float64.
func Stochastic(ctx context.Context, pool *kernel.Pool, z []float32, n, draws, d int, noise []float64, seed uint64) ([]Estimate, error) {
	if n < 1 || draws < 1 || d < 1 || len(z) < n*draws*d {
		panic("infomax: Stochastic wants n x draws rows of d values")
	}
	out := make([]Estimate, len(noise))
	for l, sigma := range noise {
		losses, right := make([]float64, n*draws), make([]bool, n*draws)
		pool.Do(n*draws, func(i int) {
			if ctx.Err() == nil {
				losses[i], right[i] = mixtureLoss(z, i, n, draws, d, sigma, seed)
			}
		})
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var s score
		for i := range n { // draws of one point are not independent: errors are over points
			var loss float64
			for j := i * draws; j < (i+1)*draws; j++ {
				loss += losses[j] / float64(draws)
				if right[j] {
					s.recovered += 1 / float64(draws)
				}
			}
			s.loss += loss
			s.square += loss * loss
		}
		out[l] = s.estimate(sigma, n)
	}
	return out, nil
}

// mixtureLoss is -log of the share of its own point's draws in the weight of all, for
// a noisy copy of row i, and whether that point weighs more than any other.
func mixtureLoss(z []float32, i, n, draws, d int, sigma float64, seed uint64) (loss float64, right bool) {
	r := rng.New(seed, rng.Noise, uint64(i))
	noisy := make([]float32, d)
	for k := range noisy {
		noisy[k] = z[i*d+k] + float32(sigma*r.NormFloat64())
	}
	exponents, points := make([]float64, draws), make([]float64, n)
	for m := range points {
		for s := range exponents {
			row := (m*draws + s) * d
			exponents[s] = -float64(kernel.SqDist(noisy, z[row:row+d])) / (2 * sigma * sigma)
		}
		points[m] = logSumExp(exponents)
	}
	own := points[i/draws]
	right = true
	for m, x := range points {
		right = right && (m == i/draws || x < own)
	}
	return logSumExp(points) - own, right
}
