package probe

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"nat/internal/kernel"
	"nat/internal/rng"
)

// MLPOptions are the choices of MLP. The zero value is the usual protocol.
type MLPOptions struct {
	Hidden  int     // units of the hidden layer; 0 = 200
	Dropout float64 // share of hidden units dropped in training; 0 = 0.1, negative = none
	Epochs  int     // 0 = 12, or as many as make 500 steps if those are more
	Seed    uint64  // initial weights, order of the rows, dropout
}

// The optimiser of MLP: AdamW with the learning rate falling to zero along a
// cosine, as few epochs want.
const (
	mlpBatch    = 256
	mlpRate     = 2e-3
	mlpDecay    = 1e-2
	mlpMinSteps = 500
	mlpEps      = 1e-5 // batch norm
	mlpMomentum = .1   // of the running statistics
)

// Indices of the streams drawn under rng.Probe.
const (
	streamFirst = iota + 1
	streamSecond
	streamOrder
	streamDropout
)

// MLP returns the accuracy of a network with one hidden layer (dense, batch
// norm, ReLU, dropout, dense, softmax) on standardised features: the probe of
// Hjelm et al. (2019), which reads what a linear one cannot, trained for fewer
// epochs than theirs. The same seed gives the same bits for any number of
// workers.
func MLP(ctx context.Context, pool *kernel.Pool, data Data, opt MLPOptions) (accuracy float64, err error) {
	if err := data.check(pool); err != nil {
		return 0, err
	}
	if opt.Hidden == 0 {
		opt.Hidden = 200
	}
	switch {
	case opt.Dropout == 0:
		opt.Dropout = .1
	case opt.Dropout < 0:
		opt.Dropout = 0
	}
	if opt.Hidden < 0 || opt.Epochs < 0 || !(opt.Dropout < 1) {
		return 0, fmt.Errorf("probe: MLP needs hidden > 0, epochs >= 0 and dropout < 1, got %d, %d and %g", opt.Hidden, opt.Epochs, opt.Dropout)
	}
	m := newMLP(pool, data, opt)
	if err := m.train(ctx); err != nil {
		return 0, err
	}
	return m.test(), nil
}

// weights are one parameter with its gradient and its moments.
type weights struct {
	value, grad, m, v []float32
	decay             float32
}

func newWeights(n int, decay float32) *weights {
	buf := make([]float32, 4*n)
	return &weights{buf[:n], buf[n : 2*n], buf[2*n : 3*n], buf[3*n:], decay}
}

func (w *weights) randomise(r *rand.Rand, sd float64) {
	for i := range w.value {
		w.value[i] = float32(sd * r.NormFloat64())
	}
}

// mlp is the network of MLP with the buffers of one batch.
type mlp struct {
	pool  *kernel.Pool
	data  Data
	opt   MLPOptions
	std   standardiser
	batch int

	w1, gamma, beta, w2, b2 *weights
	mean, variance          []float32 // running statistics of the hidden layer

	x, pre, hidden, score []float32 // standardised input, hidden layer before and after batch norm and ReLU, logits
	dropped, dhidden      []float32 // hidden layer after dropout; its gradient
	mask                  []float32 // 0 or 1/(1-dropout)
	batchMean, batchVar   []float32
	loss                  float64 // of the last batch
}

func newMLP(pool *kernel.Pool, data Data, opt MLPOptions) *mlp {
	d, h, c := data.Dim, opt.Hidden, data.Classes
	b := min(mlpBatch, len(data.TrainY))
	m := &mlp{pool: pool, data: data, opt: opt, batch: b, std: standardise(pool, data.Train, d)}
	m.w1, m.w2 = newWeights(d*h, mlpDecay), newWeights(h*c, mlpDecay)
	m.gamma, m.beta, m.b2 = newWeights(h, 0), newWeights(h, 0), newWeights(c, 0)
	m.w1.randomise(rng.New(opt.Seed, rng.Probe, streamFirst), math.Sqrt(2/float64(d)))
	m.w2.randomise(rng.New(opt.Seed, rng.Probe, streamSecond), math.Sqrt(1/float64(h)))
	m.mean, m.variance = make([]float32, h), make([]float32, h)
	m.batchMean, m.batchVar = make([]float32, h), make([]float32, h)
	for i := range h {
		m.gamma.value[i], m.variance[i] = 1, 1
	}
	m.x, m.score = make([]float32, b*d), make([]float32, b*c)
	for _, p := range []*[]float32{&m.pre, &m.hidden, &m.dropped, &m.dhidden, &m.mask} {
		*p = make([]float32, b*h)
	}
	return m
}

// train runs all epochs; the rows left over at the end of one are dropped.
func (m *mlp) train(ctx context.Context) error {
	n := len(m.data.TrainY)
	perEpoch := n / m.batch
	epochs := m.opt.Epochs
	if epochs == 0 {
		epochs = max(12, (mlpMinSteps+perEpoch-1)/perEpoch)
	}
	total, step := epochs*perEpoch, 0
	for epoch := range epochs {
		order := rng.New(m.opt.Seed, rng.Probe, streamOrder, uint64(epoch)).Perm(n)
		for b := range perEpoch {
			if err := ctx.Err(); err != nil {
				return err
			}
			m.step(order[b*m.batch:(b+1)*m.batch], step, .5*(1+math.Cos(math.Pi*float64(step)/float64(total)))*mlpRate)
			step++
		}
	}
	return nil
}

// step trains on the given rows.
func (m *mlp) step(rows []int, step int, rate float64) {
	m.forward(rows, step)
	m.backward(rows)
	for _, w := range []*weights{m.w1, m.gamma, m.beta, m.w2, m.b2} {
		m.pool.AdamW(w.value, w.grad, w.m, w.v, step+1, float32(rate), .9, .999, 1e-8, w.decay)
	}
}

// forward computes the logits of the rows with batch statistics and dropout.
func (m *mlp) forward(rows []int, step int) {
	d, h, c, b := m.data.Dim, m.opt.Hidden, m.data.Classes, len(rows)
	m.pool.DoChunks(b, 16, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			copy(m.x[i*d:(i+1)*d], m.data.Train[rows[i]*d:])
		}
	})
	m.std.apply(m.pool, m.x, m.x, b)
	m.pool.Gemm(m.pre, h, m.x, d, false, m.w1.value, h, false, b, h, d, false)
	m.pool.BatchNormForward(m.hidden, m.pre, m.gamma.value, m.beta.value, m.batchMean, m.batchVar, b, h, mlpEps, true)
	unbiased := float32(b) / float32(max(1, b-1))
	for i := range h {
		m.mean[i] += mlpMomentum * (m.batchMean[i] - m.mean[i])
		m.variance[i] += mlpMomentum * (unbiased*m.batchVar[i] - m.variance[i])
	}
	r := rng.New(m.opt.Seed, rng.Probe, streamDropout, uint64(step))
	keep := 1 - m.opt.Dropout
	for i, v := range m.hidden[:b*h] {
		m.mask[i] = 0
		if r.Float64() < keep {
			m.mask[i] = float32(1 / keep)
		}
		m.dropped[i] = v * m.mask[i]
	}
	m.pool.Gemm(m.score, c, m.dropped, h, false, m.w2.value, c, false, b, c, h, false)
	m.pool.AddBias(m.score, m.b2.value, b, c)
}

// backward fills all gradients of the mean cross-entropy.
func (m *mlp) backward(rows []int) {
	d, h, c, b := m.data.Dim, m.opt.Hidden, m.data.Classes, len(rows)
	m.loss = 0
	for i, row := range rows {
		m.loss += crossEntropy(m.score[i*c:(i+1)*c], m.data.TrainY[row]) / float64(b)
	}
	for i := range m.score[:b*c] {
		m.score[i] /= float32(b)
	}
	m.pool.BiasGrad(m.b2.grad, m.score, b, c)
	m.pool.Gemm(m.w2.grad, c, m.dropped, h, true, m.score, c, false, h, c, b, false)
	m.pool.Gemm(m.dhidden, h, m.score, c, false, m.w2.value, c, true, b, h, c, false)
	for i := range m.dhidden[:b*h] {
		m.dhidden[i] *= m.mask[i]
	}
	// dropped has served; it takes the gradient before batch norm.
	m.pool.BatchNormBackward(m.dropped, m.gamma.grad, m.beta.grad, m.dhidden, m.pre, m.hidden, m.gamma.value,
		m.batchMean, m.batchVar, b, h, mlpEps, true)
	m.pool.Gemm(m.w1.grad, h, m.x, d, true, m.dropped, h, false, d, h, b, false)
}

// test returns the accuracy on the test rows, with running statistics.
func (m *mlp) test() float64 {
	d, h, c := m.data.Dim, m.opt.Hidden, m.data.Classes
	hits := 0
	for lo := 0; lo < len(m.data.TestY); lo += m.batch {
		hi := min(len(m.data.TestY), lo+m.batch)
		rows := hi - lo
		m.std.apply(m.pool, m.x, m.data.Test[lo*d:], rows)
		m.pool.Gemm(m.pre, h, m.x, d, false, m.w1.value, h, false, rows, h, d, false)
		m.pool.BatchNormInfer(m.hidden, m.pre, m.gamma.value, m.beta.value, m.mean, m.variance, rows, h, mlpEps, true)
		m.pool.Gemm(m.score, c, m.hidden, h, false, m.w2.value, c, false, rows, c, h, false)
		m.pool.AddBias(m.score, m.b2.value, rows, c)
		hits += accuracyOf(m.score, m.data.TestY[lo:hi], c)
	}
	return float64(hits) / float64(len(m.data.TestY))
}
