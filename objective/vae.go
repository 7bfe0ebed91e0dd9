package objective

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"nat/encoder"
	"nat/internal/kernel"
	"nat/internal/rng"
	"nat/internal/tensorfile"
	"nat/sphere"
)

// VAEOptions of [NewVAE].
type VAEOptions struct {
	Seed  uint64
	Views int     // 0 = 1
	Beta  float64 // weight of the divergence; 0 = 1, the bound itself
}

// Weights of the divergence: beyond MaxBeta nothing is encoded, and below MinBeta the posteriors
// are as good as points.
const (
	MinBeta = 1e-6
	MaxBeta = 1e6
)

// VAE is the variational autoencoder (50) (Kingma and Welling, ICLR 2014): the encoder
// gives a normal distribution q(z|x) of d independent coordinates, a decoder gives a
// normal distribution of inputs for each z, and both ascend the evidence lower bound
//
//	log p(x) >= E_q log N(x; decoder(z), s^2) - KL(q(z|x) || N(0, I))
//
// through one sample z = mean + deviation eps of each q. Every view is a row of its own.
//
// The decoder's distribution is normal since inputs are: they are standardised real
// numbers, moved by augmentation, not the probabilities that a Bernoulli model takes
// them for. Its variance s^2, one for all values, is the one that fits the batch best,
// the mean squared error (Rybkin, Daniilidis and Levine, ICML 2021). A fixed variance
// would be a weight of the divergence in disguise, to be tuned for every kind of data.
//
// The loss is the negative bound over the number of values of an input, so that its
// gradient is of the same size for inputs of any size.
//
// z has 2 d values a row, means and then log variances (encoder.Posterior). The noise of
// a step comes from the stream rng.Posterior at its number, which is in the state, as is
// the decoder.
type VAE struct {
	seed     uint64
	d, views int
	width    int // values of an input
	beta     float64
	pool     *kernel.Pool
	decoder  *encoder.Network
	params   []encoder.Param
	step     int64 // steps taken

	batch vaeBatch
}

// vaeBatch is the step in progress, and the buffers that the next one reuses.
type vaeBatch struct {
	z, dz, x, output []float32
	m                int // rows, each view counted
	eps, deviation   []float32
	code             []float32 // samples of the posteriors, m x d
	doutput, dcode   []float32
	errors, kl       []float64 // by row: squared error, divergence
	scale            float32   // derivative of the loss by half a squared error
	sources          []*source

	sample, compare, pull, encode func(chunk int) // the parallel loops
}

var _ Objective = (*VAE)(nil)

// decoderPrefix begins the names of the decoder's tensors.
const decoderPrefix = "decoder."

// leastVariance is where the decoder's variance stops: less than what the rounding of
// images to 8 bits leaves of standardised values.
const leastVariance = 1e-5

// NewVAE makes the objective with a decoder of the given description (see
// encoder.Decoder), which takes d values and leaves as many as an input has. Its first
// weights come from the stream rng.Decoder.
func NewVAE(decoder encoder.Spec, opt VAEOptions, pool *kernel.Pool) (*VAE, error) {
	if opt.Views == 0 {
		opt.Views = 1
	}
	if opt.Beta == 0 {
		opt.Beta = 1
	}
	var errs []error
	if opt.Views < 1 {
		errs = append(errs, fmt.Errorf("%d views; want at least 1", opt.Views))
	}
	if !(opt.Beta >= MinBeta && opt.Beta <= MaxBeta) {
		errs = append(errs, fmt.Errorf("beta %v; want %v to %v", opt.Beta, MinBeta, float64(MaxBeta)))
	}
	seed, _ := rng.Seed(opt.Seed, rng.Decoder)
	net, err := encoder.New(decoder, seed, pool)
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, fmt.Errorf("variational autoencoder: %w", err)
	}
	net.WantInputGrad()
	o := &VAE{seed: opt.Seed, d: net.Spec().Input.Size(), views: opt.Views, width: net.Dim(), beta: opt.Beta, pool: pool, decoder: net}
	for _, p := range net.Params() {
		p.Name = decoderPrefix + p.Name
		o.params = append(o.params, p)
	}
	b := &o.batch
	b.sample, b.compare, b.pull, b.encode = o.sampleChunk, o.compareChunk, o.pullChunk, o.encodeChunk
	return o, nil
}

// Decoder takes codes (means of [encoder.Posterior], not normalised) back to inputs,
// in inference. It belongs to the VAE.
func (o *VAE) Decoder() *encoder.Network { return o.decoder }

// Step implements [Objective]. z are the posteriors, V*B x 2d, and batch.X is what they
// are of.
func (o *VAE) Step(batch Batch, z, dz []float32) (Stats, error) {
	rows := len(batch.Rows)
	checkStep(rows, o.views, 2*o.d, z, dz)
	if len(batch.X) != o.views*rows*o.width {
		panic("objective: a VAE needs the inputs of its batch")
	}
	o.begin(batch, z, dz)
	o.each(o.batch.sample)
	o.batch.output = o.decoder.Forward(o.batch.code, o.batch.m, true)
	o.each(o.batch.compare)
	stats := o.score()
	o.each(o.batch.pull)
	o.decoder.Backward(o.batch.doutput)
	o.batch.dcode = o.decoder.InputGrad()
	o.each(o.batch.encode)
	if o.views > 1 {
		stats.Alignment = o.alignment(rows)
	}
	o.end()
	return stats, nil
}

func (o *VAE) begin(batch Batch, z, dz []float32) {
	b := &o.batch
	b.z, b.dz, b.x = z, dz, batch.X
	b.m = o.views * len(batch.Rows)
	if codes := b.m * o.d; len(b.code) < codes {
		b.eps, b.deviation, b.code = make([]float32, codes), make([]float32, codes), make([]float32, codes)
		b.doutput = make([]float32, b.m*o.width)
		b.errors, b.kl = make([]float64, b.m), make([]float64, b.m)
	}
	for len(b.sources) < (b.m+rowChunk-1)/rowChunk {
		s := new(source)
		s.rand = rand.New(&s.pcg)
		b.sources = append(b.sources, s)
	}
}

// end lets go of the caller's memory.
func (o *VAE) end() {
	b := &o.batch
	b.z, b.dz, b.x, b.output, b.dcode = nil, nil, nil, nil, nil
	o.step++
}

func (o *VAE) each(f func(chunk int)) { o.pool.Do((o.batch.m+rowChunk-1)/rowChunk, f) }

// span is the rows of a chunk.
func (o *VAE) span(chunk int) (lo, hi int) {
	return chunk * rowChunk, min((chunk+1)*rowChunk, o.batch.m)
}

// posterior is the mean and the log variance of a row.
func (o *VAE) posterior(i int) (mean, logVariance []float32) {
	row := o.batch.z[2*i*o.d : 2*(i+1)*o.d]
	return row[:o.d], row[o.d:]
}

// sampleChunk draws a code from the posterior of each row, and takes its divergence.
func (o *VAE) sampleChunk(chunk int) {
	b := &o.batch
	s := b.sources[chunk]
	s.pcg.Seed(rng.Seed(o.seed, rng.Posterior, uint64(o.step), uint64(chunk)))
	lo, hi := o.span(chunk)
	for i := lo; i < hi; i++ {
		mean, logVariance := o.posterior(i)
		at, end := i*o.d, (i+1)*o.d
		eps, deviation, code := b.eps[at:end], b.deviation[at:end], b.code[at:end]
		for k, v := range logVariance {
			deviation[k] = v / 2
		}
		kernel.Exp(deviation, deviation)
		for k, m := range mean {
			eps[k] = float32(s.rand.NormFloat64())
			code[k] = m + deviation[k]*eps[k]
		}
		b.kl[i] = divergence(mean, logVariance, deviation)
	}
}

// divergence is KL(N(mean, deviation^2) || N(0, I)), nats.
func divergence(mean, logVariance, deviation []float32) (sum float64) {
	for k, m := range mean {
		s := float64(deviation[k])
		sum += float64(m)*float64(m) + s*s - 1 - float64(logVariance[k])
	}
	return sum / 2
}

// compareChunk takes the squared error of each row.
func (o *VAE) compareChunk(chunk int) {
	b := &o.batch
	for i, hi := o.span(chunk); i < hi; i++ {
		at, end := i*o.width, (i+1)*o.width
		b.errors[i] = kernel.SqDist64(b.output[at:end], b.x[at:end])
	}
}

// score adds up the bound of all rows, at the variance that fits them best.
func (o *VAE) score() Stats {
	b := &o.batch
	var squares, kl float64
	for i := range b.m {
		squares += b.errors[i]
		kl += b.kl[i]
	}
	values := float64(b.m * o.width)
	squares, kl = squares/values, kl/float64(b.m)
	variance := max(squares, leastVariance)
	b.scale = float32(1 / (values * variance))
	stats := untargeted((math.Log(2*math.Pi*variance)+squares/variance)/2 + o.beta*kl/float64(o.width))
	stats.Divergence, stats.SquaredError = kl, squares
	return stats
}

// pullChunk writes the gradient of the decoder's output.
func (o *VAE) pullChunk(chunk int) {
	b := &o.batch
	lo, hi := o.span(chunk)
	lo, hi = lo*o.width, hi*o.width
	doutput, output := b.doutput[lo:hi], b.output[lo:hi]
	for k, x := range b.x[lo:hi] {
		doutput[k] = b.scale * (output[k] - x)
	}
}

// encodeChunk writes the gradient of the posteriors: through the codes, and of the
// divergence.
func (o *VAE) encodeChunk(chunk int) {
	b := &o.batch
	weight := float32(o.beta / float64(b.m*o.width))
	for i, hi := o.span(chunk); i < hi; i++ {
		mean, _ := o.posterior(i)
		at, end := i*o.d, (i+1)*o.d
		dmean, dlog := b.dz[2*at:2*at+o.d], b.dz[2*at+o.d:2*end]
		eps, deviation := b.eps[at:end], b.deviation[at:end]
		for k, g := range b.dcode[at:end] {
			s := deviation[k]
			dmean[k] = g + weight*mean[k]
			dlog[k] = (g*eps[k]*s + weight*(s*s-1)) / 2
		}
	}
}

// alignment is (25) of the normalised means of views 0 and 1.
func (o *VAE) alignment(rows int) float64 {
	b := &o.batch
	for i := range 2 * rows { // codes and noise have served
		mean, _ := o.posterior(i)
		copy(b.code[i*o.d:(i+1)*o.d], mean)
	}
	n := rows * o.d
	o.pool.NormalizeRows(b.code, b.eps, b.code, 2*rows, o.d)
	return sphere.Alignment(b.code[:n], b.code[n:2*n], rows, o.d)
}

// Params implements [Objective]: those of the decoder, named decoder.LAYER.ROLE.
func (o *VAE) Params() []encoder.Param { return o.params }

// EndEpoch implements [Objective].
func (o *VAE) EndEpoch() error { return nil }

// State is the decoder, and the number of steps taken, by which the noise of the next
// is drawn. The decoder's tensors share memory with it.
func (o *VAE) State() []tensorfile.Tensor {
	ts := []tensorfile.Tensor{{Name: tensorStep, Shape: []int{1}, Data: []int64{o.step}}}
	for _, t := range o.decoder.State() {
		t.Name = decoderPrefix + t.Name
		ts = append(ts, t)
	}
	return ts
}

// SetState takes over a State. Nothing changes on an error.
func (o *VAE) SetState(ts []tensorfile.Tensor) error {
	step, err := findStep(ts)
	if err != nil {
		return err
	}
	var weights []tensorfile.Tensor
	for _, t := range ts {
		if name, ok := strings.CutPrefix(t.Name, decoderPrefix); ok {
			t.Name = name
			weights = append(weights, t)
		}
	}
	if err := o.decoder.SetState(weights); err != nil {
		return err
	}
	o.step = step
	return nil
}

// DrawPosterior draws codes from the distributions of n rows, each given by d means and
// d log variances, as encoder.Posterior gives them: for each row `draws` codes of d, one
// after another, which is what infomax.Stochastic takes. With unit they are normalised,
// as embeddings are; a code of zeros stays what it is.
func DrawPosterior(posterior []float32, n, d, draws int, unit bool, r *rand.Rand) []float32 {
	if n < 1 || d < 1 || draws < 1 || len(posterior) != 2*n*d {
		panic("objective: DrawPosterior needs n rows of d means and d log variances")
	}
	z := make([]float32, 0, n*draws*d)
	for row := range slices.Chunk(posterior, 2*d) {
		for range draws {
			var square float64
			for k, mean := range row[:d] {
				v := float64(mean) + math.Exp(float64(row[d+k])/2)*r.NormFloat64()
				square += v * v
				z = append(z, float32(v))
			}
			if unit && square > 0 {
				scale := float32(1 / math.Sqrt(square))
				for k := len(z) - d; k < len(z); k++ {
					z[k] *= scale
				}
			}
		}
	}
	return z
}
