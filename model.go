package nat

import (
	"context"
	"encoding/json"
	"path/filepath"

	"nat/dataset"
	"nat/encoder"
	"nat/internal/kernel"
	"nat/internal/tensorfile"
)

// Model is a trained network ready to embed. It is for one goroutine at a time.
type Model struct {
	Network    *encoder.Network
	Norm       dataset.Normalizer
	Input      dataset.Shape // of the network
	Stored     dataset.Shape // at which images are kept, of which Input is cut out
	Range      [2]float64    // by which array images were scaled, see dataset.Options
	Checkpoint string        // path of the checkpoint it was read from
	Warnings   []string      // damaged checkpoints that were passed over

	pool    *kernel.Pool
	workers int
}

// Model loads the newest good checkpoint. workers 0 means one per core. Close
// it after use.
func (r *Run) Model(workers int) (*Model, error) {
	snap, name, warnings, err := loadWeights(r.Dir)
	if err != nil {
		return nil, err
	}
	if name == "" {
		return nil, failf(ErrArtefact, "%s: it has no checkpoint yet", r.Dir)
	}
	m := &Model{Checkpoint: filepath.Join(r.Dir, checkpointsDir, name), Warnings: warnings, workers: workers}
	weights := filepath.Join(m.Checkpoint, weightsFile)
	for key, v := range map[string]any{metaNorm: &m.Norm, metaInput: &m.Input, metaStored: &m.Stored, metaRange: &m.Range} {
		text, ok := snap.meta[key]
		if !ok && key == metaStored {
			continue // a run of an older version: the data choose
		}
		if err := json.Unmarshal([]byte(text), v); err != nil {
			return nil, failf(ErrArtefact, "%s: metadata %q: %w", weights, key, err)
		}
	}
	m.pool = kernel.NewPool(workers)
	r.Record.Options.setKernels(m.pool)
	if m.Network, err = encoder.ReadWeights(snap.weights, snap.meta, m.pool); err != nil {
		m.pool.Close()
		return nil, failf(ErrArtefact, "%s: %w", weights, err)
	}
	return m, nil
}

// Close stops the model's workers.
func (m *Model) Close() { m.pool.Close() }

// OpenData opens the data at path as input for the model: at its resolution,
// with its number of channels, at the scale of the training data. opt may say
// which split, how many rows, and where the labels are.
func (m *Model) OpenData(ctx context.Context, path string, opt dataset.Options) (*dataset.Set, error) {
	opt.Input, opt.Stored, opt.Range, opt.Workers = m.Input, m.Stored, m.Range, m.workers
	set, err := openData(ctx, path, opt)
	if err != nil {
		return nil, err
	}
	if out := dataset.OutShape(set); out != m.Input {
		set.Close()
		return nil, failf(ErrInput, "the rows of %s have shape %v, the model takes %v", path, out, m.Input)
	}
	return set, nil
}

// embedRows is the number of rows embedded at a time. It fits batch sizes for
// which the kernels are efficient, and bounds memory.
const embedRows = 256

// Embed computes layer (a name that [encoder.Network.Output] understands) for the
// given rows of set, unaugmented and in order, and hands the results to emit in
// blocks: z is len(rows) x width and is reused after emit returns. progress may
// be nil. The values of a row do not depend on the others.
func (m *Model) Embed(ctx context.Context, set *dataset.Set, rows []int, layer string,
	emit func(rows []int, z []float32, width int) error, progress func(done, total int)) error {
	if _, err := m.Network.Width(layer); err != nil {
		return &kindError{ErrUsage, err}
	}
	return m.embed(ctx, m.Network, set, rows, layer, emit, progress)
}

// embed is Embed with a network of the model's shape.
func (m *Model) embed(ctx context.Context, net *encoder.Network, set *dataset.Set, rows []int, layer string,
	emit func(rows []int, z []float32, width int) error, progress func(done, total int)) error {
	done, total := 0, len(rows)
	return m.each(ctx, set, rows, func(rows []int, x []float32) error {
		z, width, err := net.Output(x, len(rows), layer)
		if err != nil {
			return err
		}
		if err := emit(rows, z, width); err != nil {
			return err
		}
		done += len(rows)
		if progress != nil {
			progress(done, total)
		}
		return nil
	})
}

// each hands the given rows to use, in order and in blocks, as the network takes
// them. While a block is being used the next one is read. use may overwrite x, which is
// reused after it returns.
func (m *Model) each(ctx context.Context, set *dataset.Set, rows []int, use func(rows []int, x []float32) error) error {
	ctx, cancel := context.WithCancel(ctx)
	blocks := m.blocks(ctx, set, rows)
	defer func() {
		cancel()
		for range blocks { // wait for the reader, which uses set
		}
	}()
	for b := range blocks {
		if b.err != nil {
			return b.err
		}
		if err := use(b.rows, b.x); err != nil {
			return err
		}
		b.free <- b.x
	}
	return ctx.Err()
}

// block is input on its way to the network.
type block struct {
	rows []int
	x    []float32
	err  error
	free chan<- []float32 // takes x back
}

// blocks reads rows ahead, one block more than is being used.
func (m *Model) blocks(ctx context.Context, set *dataset.Set, rows []int) <-chan block {
	out, free := make(chan block), make(chan []float32, 2)
	for range cap(free) {
		free <- make([]float32, min(embedRows, len(rows))*m.Input.Size())
	}
	go func() {
		defer close(out)
		for lo := 0; lo < len(rows); lo += embedRows {
			b := block{rows: rows[lo:min(lo+embedRows, len(rows))], free: free}
			select {
			case b.x = <-free:
			case <-ctx.Done():
				return
			}
			b.err = dataset.Plain(ctx, set, m.Norm, m.Input, b.rows, b.x, m.workers)
			select {
			case out <- b:
			case <-ctx.Done():
				return
			}
			if b.err != nil {
				return
			}
		}
	}()
	return out
}

// eachTargets reads a run's n x d targets in blocks of whole rows.
func eachTargets(run string, n, d int, block func(first int, c []float32) error) error {
	return tensorfile.StreamFloat32(filepath.Join(run, targetsFile), "targets", n, d, block)
}
