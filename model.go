package nat

import (
	"context"

	"nat/dataset"
	"nat/encoder"
	"nat/internal/kernel"
)

// Model is a trained network ready to embed.
type Model struct {
	Network    *encoder.Network
	Norm       dataset.Normalizer
	Input      dataset.Shape
	Checkpoint string   // path of the checkpoint it was read from
	Warnings   []string // damaged checkpoints that were passed over

	pool *kernel.Pool
	size int
}

// Model loads the newest good checkpoint. workers 0 means one per core. Close
// it after use.
func (r *Run) Model(workers int) (*Model, error) {
	return nil, failf(ErrUsage, "not yet")
}

// Close stops the model's workers.
func (m *Model) Close() { m.pool.Close() }

// OpenData opens the data at path the way training did: at the model's
// resolution, with its number of channels. split is "train", "test" or "all".
func (m *Model) OpenData(ctx context.Context, path, split string, opt dataset.Options) (*dataset.Set, error) {
	return nil, failf(ErrUsage, "not yet")
}

// Embed computes layer ("embedding", "features" or a layer's name) for the
// given rows of set, unaugmented and in order, and hands the results to emit in
// blocks: z is len(rows) x width and is reused after emit returns. progress may be nil.
func (m *Model) Embed(ctx context.Context, set *dataset.Set, rows []int, layer string,
	emit func(rows []int, z []float32, width int) error, progress func(done, total int)) error {
	return failf(ErrUsage, "not yet")
}
