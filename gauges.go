package nat

import (
	"context"
	"fmt"
	"time"

	"nat/assign"
	"nat/dataset"
	"nat/encoder"
	"nat/internal/kernel"
	"nat/internal/rng"
	"nat/objective"
	"nat/sphere"
)

// gaugeRows bounds the rows of a gauge.
const gaugeRows = 2048

// gauges reads the state of training on a fixed probe of training rows and on
// the held-out rows, always the same rows and the same augmentations.
type gauges struct {
	*job
	positions []int32 // of the probe, in job.src.rows
	probe     []int   // the same as rows of the set
	held      []int   // rows of src.heldSet()
	solver    assign.Solver
}

func newGauges(j *job) *gauges {
	g := &gauges{job: j, held: spread(j.src.held, gaugeRows)}
	for _, p := range spread(upTo(len(j.src.rows)), gaugeRows) {
		g.positions = append(g.positions, int32(p))
		g.probe = append(g.probe, j.src.rows[p])
	}
	return g
}

// spread returns at most n of rows, evenly spaced.
func spread(rows []int, n int) []int {
	if len(rows) <= n {
		return rows
	}
	out := make([]int, n)
	for i := range out {
		out[i] = rows[i*len(rows)/n]
	}
	return out
}

// due tells whether the gauges are read after an epoch: the first and the
// last, and between them so often that they cost about one part in gaugeRarity
// of the training.
func (g *gauges) due(epoch, epochs int) bool {
	if epoch == 0 || epoch == epochs-1 {
		return true
	}
	o := &g.plan.Options
	trained := 3 * len(g.src.rows) * o.Views // forward and backward, in forward passes
	read := 3*(len(g.probe)+len(g.held)) + 2*matchCost(len(g.probe), &g.plan) + matchCost(len(g.held), &g.plan)
	every := 1 + gaugeRarity*read/trained
	return (epoch+1)%every == 0
}

const gaugeRarity = 25

// matchCost is the cost of solving an assignment of m points, in forward
// passes of the network, roughly: both are counted in arithmetic operations.
func matchCost(m int, p *Plan) int {
	const perEntry = 2000 // of the matrix; measured on convnet
	return int(perEntry * int64(m) * int64(m) / max(1, p.Encoder.FLOPs()))
}

// read takes all gauges of both groups of rows. A row that cannot be read is an
// error of kind ErrInput.
func (g *gauges) read(ctx context.Context, net *encoder.Network, obj *objective.NAT) (train, held *Gauge, err error) {
	train, z, err := g.group(ctx, net, g.src.set, g.probe)
	if err != nil {
		return nil, nil, err
	}
	gap, err := obj.AssignmentGap(g.positions, z)
	if err != nil {
		return nil, nil, err
	}
	cosine := g.targetCosine(obj, z)
	train.AssignmentGap, train.Cosine = &gap, &cosine
	if len(g.held) > 1 {
		held, _, err = g.group(ctx, net, g.src.heldSet(), g.held)
	}
	return train, held, err
}

// targetCosine is the mean cosine of the probe's embeddings with their targets.
func (g *gauges) targetCosine(obj *objective.NAT, z []float32) float64 {
	d := g.plan.Options.Dim
	targets, perm := obj.Targets(), obj.Perm()
	var total float64
	for i, p := range g.positions {
		c := int(perm[p]) * d
		total += float64(kernel.Dot(z[i*d:(i+1)*d], targets[c:c+d]))
	}
	return total / float64(len(g.positions))
}

// group reads what needs no targets of the run, and returns the unaugmented
// embeddings, len(rows) x d.
func (g *gauges) group(ctx context.Context, net *encoder.Network, set *dataset.Set, rows []int) (*Gauge, []float32, error) {
	n, d := len(rows), g.plan.Options.Dim
	z := make([]float32, n*d)
	if err := g.embed(ctx, net, set, rows, z, nil); err != nil {
		return nil, nil, &kindError{ErrInput, err}
	}
	fresh := sphere.Uniform(n, d, rng.New(g.plan.Options.Seed, rng.Probe, uint64(n)))
	match, err := g.solver.Points(g.pool, z, fresh, n, n, d, assign.Options{})
	if err != nil {
		return nil, nil, err
	}
	alignment, err := g.alignment(ctx, net, set, rows)
	if err != nil {
		return nil, nil, &kindError{ErrInput, err}
	}
	return &Gauge{Rows: n, MatchedCosine: 1 - match.Cost/float64(2*n), Level: sphere.BestCosine(n, d),
		Alignment: alignment, EffectiveRank: sphere.EffectiveRank(z, n, d)}, z, nil
}

// gaugeBatch is the number of rows embedded at a time.
const gaugeBatch = 256

// embed writes the embeddings of unaugmented rows to z. progress may be nil.
func (j *job) embed(ctx context.Context, net *encoder.Network, set *dataset.Set, rows []int, z []float32, progress func(done, total int)) error {
	in, d := j.plan.Data.Input, j.plan.Options.Dim
	x := make([]float32, min(gaugeBatch, len(rows))*in.Size())
	for lo := 0; lo < len(rows); lo += gaugeBatch {
		hi := min(lo+gaugeBatch, len(rows))
		if err := dataset.Plain(ctx, set, j.norm, in, rows[lo:hi], x, j.plan.Options.Workers); err != nil {
			return err
		}
		copy(z[lo*d:hi*d], net.Forward(x, hi-lo, false))
		if progress != nil {
			progress(hi, len(rows))
		}
	}
	return nil
}

// alignment is (25) between two augmented views, which are the same each time.
func (g *gauges) alignment(ctx context.Context, net *encoder.Network, set *dataset.Set, rows []int) (float64, error) {
	b, d := min(gaugeBatch, len(rows)), g.plan.Options.Dim
	const otherThanTraining = 0x9e3779b97f4a7c15
	loader, err := dataset.NewLoader(set, dataset.LoaderOptions{Batch: b, Views: 2, Seed: g.plan.Options.Seed ^ otherThanTraining,
		Workers: g.plan.Options.Workers, Rows: rows, Augment: g.augment, Norm: g.norm, Out: g.plan.Data.Input, Prefetch: 1})
	if err != nil {
		return 0, err
	}
	defer loader.Close()
	loader.Start(ctx, 0, 0)
	var total float64
	for range loader.BatchesPerEpoch() {
		batch, err := loader.Next()
		if err != nil {
			return 0, err
		}
		z := net.Forward(batch.X, 2*b, false)
		total += sphere.Alignment(z[:b*d], z[b*d:], b, d)
		loader.Recycle(batch)
	}
	return total / float64(loader.BatchesPerEpoch()), nil
}

// gaugeShare is the time of a whole run over that of its steps.
const gaugeShare = 1.15

// The timing of a plan: after one step that is not counted, which fills caches
// and memory, at least minMeasure steps and as many as measureTime allows, at
// most maxMeasure. They are more than the loader has ready in advance.
const (
	minMeasure  = 3
	maxMeasure  = 12
	measureTime = 2 * time.Second
)

// measure times real steps, from the loader to the optimiser, of a trainer
// that is thrown away.
func (j *job) measure(ctx context.Context) (time.Duration, error) {
	t, err := newTrainer(disk{}, j, nil) // writes nothing until begin
	if err != nil {
		return 0, err
	}
	defer t.close()
	t.loader.Start(ctx, 0, 0)
	begin, stats := time.Now(), newStats()
	for n := 0; ; n++ {
		b, err := t.loader.Next()
		if ctx.Err() != nil {
			return 0, &StoppedError{Cause: context.Cause(ctx)}
		} else if err != nil {
			return 0, err
		}
		if err := t.step(b, stats); err != nil {
			return 0, fmt.Errorf("timing a few steps: %w", err)
		}
		t.loader.Recycle(b)
		if n == 0 {
			begin = time.Now()
			continue
		}
		if spent := time.Since(begin); n >= maxMeasure || n >= minMeasure && spent > measureTime {
			return spent / time.Duration(n), nil
		}
	}
}
