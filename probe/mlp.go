package probe

import (
	"context"
	"fmt"
	"slices"

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

// The test rows are read after each of the last tenth of the epochs, but at most
// mlpTests times: with few rows an epoch is one step, and testing would be all
// the work.
const (
	mlpTestShare = 10
	mlpTests     = 5
)

// MLPResult is what MLP measures.
type MLPResult struct {
	Accuracy float64 // mean of Tests accuracies
	Tests    int     // epochs after which the test rows were read
	Epochs   int
}

// MLP measures a network with one hidden layer (dense, batch norm, ReLU,
// dropout, dense, softmax) on standardised features: the probe of Hjelm et al.
// (2019), which reads what a linear one cannot, trained for fewer epochs than
// theirs. As there, the accuracy is the mean over the last tenth of the epochs
// (100 of their 1,000): 2 of the usual 12; of more than 5 such epochs, over 5
// spread evenly that end with the last. The same seed gives the same bits for
// any number of workers.
func MLP(ctx context.Context, pool *kernel.Pool, data Data, opt MLPOptions) (MLPResult, error) {
	if err := data.check(pool); err != nil {
		return MLPResult{}, err
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
		return MLPResult{}, fmt.Errorf("probe: MLP needs hidden > 0, epochs >= 0 and dropout < 1, got %d, %d and %g", opt.Hidden, opt.Epochs, opt.Dropout)
	}
	if perEpoch := len(data.TrainY) / min(mlpBatch, len(data.TrainY)); opt.Epochs == 0 {
		opt.Epochs = max(12, (mlpMinSteps+perEpoch-1)/perEpoch)
	}
	m, err := newMLP(pool, data, opt)
	if err != nil {
		return MLPResult{}, fmt.Errorf("probe: MLP: %w", err)
	}
	return m.measure(ctx)
}

// testedEpochs are the epochs, counted from 0, after which the test rows are
// read.
func testedEpochs(epochs int) []int {
	last := (epochs + mlpTestShare - 1) / mlpTestShare
	tests := min(last, mlpTests)
	at := make([]int, tests)
	for i := range at {
		at[i] = epochs - last + (i+1)*last/tests - 1
	}
	return at
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

// measure runs all epochs and tests after some of the last.
func (m *mlp) measure(ctx context.Context) (MLPResult, error) {
	tested := testedEpochs(m.opt.Epochs)
	hits := 0
	for epoch := range m.opt.Epochs {
		if err := m.epoch(ctx, epoch); err != nil {
			return MLPResult{}, err
		}
		if slices.Contains(tested, epoch) {
			hits += m.hits()
		}
	}
	mean := float64(hits) / float64(len(tested)*len(m.data.TestY))
	return MLPResult{Accuracy: mean, Tests: len(tested), Epochs: m.opt.Epochs}, nil
}

// epoch trains on all rows but those left over from whole batches.
func (m *mlp) epoch(ctx context.Context, epoch int) error {
	n, batch := len(m.data.TrainY), min(mlpBatch, len(m.data.TrainY))
	perEpoch := n / batch
	order := rng.New(m.opt.Seed, rng.Probe, uint64(epoch)).Perm(n)
	for b := range perEpoch {
		if err := ctx.Err(); err != nil {
			return err
		}
		step := epoch*perEpoch + b
		m.network.SetStep(uint64(step))
		m.gradient(order[b*batch : (b+1)*batch])
		m.adam.Step(m.network.Params(), encoder.Schedule(step, m.opt.Epochs*perEpoch, 0, mlpRate))
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

// hits counts the test rows that are answered rightly, with running statistics.
func (m *mlp) hits() (hits int) {
	batch := len(m.x) / m.data.Dim
	for lo := 0; lo < len(m.data.TestY); lo += batch {
		hi := min(len(m.data.TestY), lo+batch)
		m.std.apply(m.pool, m.x, m.data.Test[lo*m.data.Dim:], hi-lo)
		hits += accuracyOf(m.network.Forward(m.x, hi-lo, false), m.data.TestY[lo:hi], m.data.Classes)
	}
	return hits
}
