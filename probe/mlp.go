package probe

import (
	"context"
	"fmt"

	"nat/encoder"
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
	m, err := newMLP(pool, data, opt)
	if err != nil {
		return 0, fmt.Errorf("probe: MLP: %w", err)
	}
	if err := m.train(ctx); err != nil {
		return 0, err
	}
	return m.test(), nil
}

// mlp is the network of MLP with the buffers of one batch.
type mlp struct {
	pool    *kernel.Pool
	data    Data
	opt     MLPOptions
	std     standardiser
	network *encoder.Network
	adam    *encoder.AdamW

	x  []float32 // standardised rows of a batch
	dz []float32 // gradient of its loss by the logits
}

func newMLP(pool *kernel.Pool, data Data, opt MLPOptions) (*mlp, error) {
	layers := []encoder.Layer{{Type: encoder.Dense, Out: opt.Hidden}, {Type: encoder.BatchNorm}, {Type: encoder.ReLU}}
	if opt.Dropout > 0 {
		layers = append(layers, encoder.Layer{Type: encoder.Dropout, Rate: opt.Dropout})
	}
	spec := encoder.Spec{
		Name:   "mlp probe",
		Input:  encoder.Shape{H: 1, W: 1, C: data.Dim},
		Layers: append(layers, encoder.Layer{Type: encoder.Dense, Out: data.Classes, Bias: true}),
	}
	network, err := encoder.New(spec, opt.Seed, pool)
	if err != nil {
		return nil, err
	}
	batch := min(mlpBatch, len(data.TrainY))
	return &mlp{
		pool: pool, data: data, opt: opt, std: standardise(pool, data.Train, data.Dim),
		network: network, adam: encoder.NewAdamW(network.Params(), .9, .999, 1e-8, mlpDecay, pool),
		x: make([]float32, batch*data.Dim), dz: make([]float32, batch*data.Classes),
	}, nil
}

// train runs all epochs; the rows left over at the end of one are dropped.
func (m *mlp) train(ctx context.Context) error {
	n, batch := len(m.data.TrainY), min(mlpBatch, len(m.data.TrainY))
	perEpoch := n / batch
	epochs := m.opt.Epochs
	if epochs == 0 {
		epochs = max(12, (mlpMinSteps+perEpoch-1)/perEpoch)
	}
	step := 0
	for epoch := range epochs {
		order := rng.New(m.opt.Seed, rng.Probe, uint64(epoch)).Perm(n)
		for b := range perEpoch {
			if err := ctx.Err(); err != nil {
				return err
			}
			m.network.SetStep(uint64(step))
			m.gradient(order[b*batch : (b+1)*batch])
			m.adam.Step(m.network.Params(), encoder.Schedule(step, epochs*perEpoch, 0, mlpRate))
			step++
		}
	}
	return nil
}

// gradient fills the gradients of the mean cross-entropy of the given rows
// and returns that loss.
func (m *mlp) gradient(rows []int) (loss float64) {
	d, c := m.data.Dim, m.data.Classes
	m.pool.DoChunks(len(rows), 16, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			copy(m.x[i*d:(i+1)*d], m.data.Train[rows[i]*d:])
		}
	})
	m.std.apply(m.pool, m.x, m.x, len(rows))
	copy(m.dz, m.network.Forward(m.x, len(rows), true))
	for i, row := range rows {
		loss += crossEntropy(m.dz[i*c:(i+1)*c], m.data.TrainY[row])
	}
	for i := range m.dz[:len(rows)*c] {
		m.dz[i] /= float32(len(rows))
	}
	m.network.Backward(m.dz)
	return loss / float64(len(rows))
}

// test returns the accuracy on the test rows, with running statistics.
func (m *mlp) test() float64 {
	hits, batch := 0, len(m.x)/m.data.Dim
	for lo := 0; lo < len(m.data.TestY); lo += batch {
		hi := min(len(m.data.TestY), lo+batch)
		m.std.apply(m.pool, m.x, m.data.Test[lo*m.data.Dim:], hi-lo)
		hits += accuracyOf(m.network.Forward(m.x, hi-lo, false), m.data.TestY[lo:hi], m.data.Classes)
	}
	return float64(hits) / float64(len(m.data.TestY))
}
