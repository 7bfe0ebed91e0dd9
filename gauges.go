package nat

import (
	"context"
	"fmt"
	"time"

	"nat/assign"
	"nat/dataset"
	"nat/encoder"
	"nat/infomax"
	"nat/internal/kernel"
	"nat/internal/rng"
	"nat/objective"
	"nat/sphere"
)

// The numbers of rows that a gauge may read: the most of them that leave some
// readings in the budget. A smaller set is read whole.
const (
	gaugeRows  = 2048
	fewestRows = 256
)

// gaugeBudget is the share of the training's arithmetic that all readings together
// may take: less than the 2 % of its time that they are promised to take at most.
const gaugeBudget = .015

// wantedReadings is how many readings, at least, are better than more rows.
const wantedReadings = 8

// gauges reads the state of training on a fixed probe of training rows and on
// the held-out rows, always the same rows, augmentations, fresh targets and noise.
//
// Which epochs have a reading, and of how many rows, follows from the options and the
// data alone, by counting operations: a clock would make two runs of the same
// options write different metrics. What the readings take is measured, and told.
type gauges struct {
	*job
	every     int     // epochs from one reading to the next
	positions []int32 // of the probe, in job.src.rows
	probe     []int   // the same as rows of the set
	held      []int   // rows of src.heldSet()
	solver    assign.Solver
	nulls     map[int]*gaugeNull // by number of rows
	// changes makes the views of the alignment: those of the training or, where it has none,
	// those that it would have by default. Without them nothing tells memory from learning.
	changes dataset.Augment
}

// gaugeNull is what a uniform sample of as many rows gives.
type gaugeNull struct {
	distance sphere.Null
	uniform  infomax.Estimate
}

func newGauges(j *job) *gauges {
	g := &gauges{job: j, nulls: map[int]*gaugeNull{}, changes: j.augment}
	if j.plan.Options.Augment == augmentNone {
		g.changes = dataset.DefaultAugment(j.src.set)
	}
	rows := gaugeRows
	g.every = j.plan.Options.GaugeEvery
	for g.every == 0 && rows > fewestRows && g.affordable(rows) < min(wantedReadings, j.plan.Options.Epochs) {
		rows /= 2
	}
	if g.every == 0 {
		g.every = g.spacing(rows)
	}
	g.held = spread(j.src.held, rows)
	for _, p := range spread(upTo(len(j.src.rows)), rows) {
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
// last, and between them as often as the budget allows.
func (g *gauges) due(epoch int) bool {
	return epoch == 0 || epoch == g.plan.Options.Epochs-1 || (epoch+1)%g.every == 0
}

// readings is how many epochs are due.
func readings(epochs, every int) int {
	if every == 1 {
		return epochs
	}
	return min(2, epochs) + max(epochs-1, 0)/every
}

// spacing is the least number of epochs between readings of that many rows that keeps
// to the budget, as far as the first and the last epoch leave a choice.
func (g *gauges) spacing(rows int) int {
	every, epochs := 1, g.plan.Options.Epochs
	for most := g.affordable(rows); every < epochs && readings(epochs, every) > most; every++ {
	}
	return every
}

// affordable is how many readings of that many rows the budget of the whole training
// pays for. Costs are in forward passes of a row.
func (g *gauges) affordable(rows int) int {
	o := &g.plan.Options
	trained := 3 * float64(len(g.src.rows)) * float64(o.Views) * float64(o.Epochs) // forward and backward
	probe, held := min(rows, len(g.src.rows)), min(rows, len(g.src.held))
	return int(gaugeBudget * trained / g.readingCost(probe, held))
}

// readingCost is the cost of a reading: each row is embedded plain and as two views, and
// one assignment for each group and that of the gap look at all pairs.
func (g *gauges) readingCost(probe, held int) float64 {
	return 3*float64(probe+held) + 2*g.pairsCost(probe) + g.pairsCost(held)
}

// pairsCost is the cost of what looks at all pairs of m rows, the assignment and the
// information, in forward passes of the network, roughly: both are counted in arithmetic operations.
func (g *gauges) pairsCost(m int) float64 {
	const assigned, products = 1500, 6 // operations for each pair, and for each of its d products; measured on convnet
	pair := float64(assigned + products*g.plan.Options.Dim)
	return pair * float64(m) * float64(m) / float64(max(1, g.plan.Encoder.FLOPs()))
}

// read takes all gauges of both groups of rows. A row that cannot be read is an
// error of kind ErrInput. targets is nil where the rows own none.
func (g *gauges) read(ctx context.Context, net *encoder.Network, targets *objective.NAT) (train, held *Gauge, err error) {
	train, z, err := g.group(ctx, net, g.src.set, g.probe)
	if err != nil {
		return nil, nil, err
	}
	if targets != nil {
		gap, err := targets.AssignmentGap(g.positions, z)
		if err != nil {
			return nil, nil, err
		}
		cosine := g.targetCosine(targets, z)
		train.AssignmentGap, train.Cosine = &gap, &cosine
	}
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
	match, err := g.solver.Points(ctx, g.pool, z, fresh, n, n, d, assign.Options{})
	if err != nil {
		return nil, nil, err
	}
	alignment, err := g.alignment(ctx, net, set, rows)
	if err != nil {
		return nil, nil, &kindError{ErrInput, err}
	}
	gauge := &Gauge{Rows: n, MatchedCosine: 1 - match.Cost/float64(2*n), Level: sphere.BestCosine(n, d),
		Alignment: alignment, EffectiveRank: sphere.EffectiveRank(z, n, d)}
	gauge.Uniformity, err = g.uniformity(ctx, z, n, gauge.MatchedCosine)
	return gauge, z, err
}

// uniformityRows is the fewest rows whose uniformity and information say anything.
const uniformityRows = 16

// uniformity compares n embeddings with uniform samples. matched is the mean cosine of
// their best matching with fresh targets.
func (g *gauges) uniformity(ctx context.Context, z []float32, n int, matched float64) (*Uniformity, error) {
	if n < uniformityRows {
		return nil, nil
	}
	null, err := g.null(ctx, n)
	if err != nil {
		return nil, err
	}
	seed, d := g.plan.Options.Seed, g.plan.Options.Dim
	own, err := infomax.Information(ctx, g.pool, z, n, d, []float64{null.uniform.Noise}, seed)
	if err != nil {
		return nil, err
	}
	chance := 2 - null.distance.Mean
	return &Uniformity{Score: 2 * matched / chance, ScoreSD: null.distance.SD / chance,
		Noise: own[0].Noise, Information: own[0].Nats, Error: own[0].Stderr, Ceiling: own[0].Ceiling,
		Uniform: null.uniform.Nats, UniformError: null.uniform.Stderr, Efficiency: own[0].Nats / null.uniform.Nats}, nil
}

// null is found once for every number of rows.
func (g *gauges) null(ctx context.Context, n int) (*gaugeNull, error) {
	if null := g.nulls[n]; null != nil {
		return null, nil
	}
	seed, d := g.plan.Options.Seed, g.plan.Options.Dim
	distance, err := sphere.WassersteinNull(ctx, g.pool, n, d, 0, seed)
	if err != nil {
		return nil, err
	}
	uniform, err := infomax.Uniform(ctx, g.pool, n, d, []float64{infomax.HalfNoise(n, d)}, seed)
	if err != nil {
		return nil, err
	}
	g.nulls[n] = &gaugeNull{distance, uniform[0]}
	return g.nulls[n], nil
}

// gaugeBatch is the number of rows whose views are embedded at a time.
const gaugeBatch = 256

// embed writes the embeddings of unaugmented rows to z. progress may be nil.
func (j *job) embed(ctx context.Context, net *encoder.Network, set *dataset.Set, rows []int, z []float32, progress func(done, total int)) error {
	m := &Model{Norm: j.norm, Input: j.plan.Data.Input, workers: j.plan.Options.Workers}
	return m.embed(ctx, net, set, rows, encoder.Embedding, func(_ []int, block []float32, _ int) error {
		copy(z, block)
		z = z[len(block):]
		return nil
	}, progress)
}

// alignment is (25) between two augmented views, which are the same each time.
func (g *gauges) alignment(ctx context.Context, net *encoder.Network, set *dataset.Set, rows []int) (float64, error) {
	b, d := min(gaugeBatch, len(rows)), g.plan.Options.Dim
	const otherThanTraining = 0x9e3779b97f4a7c15
	loader, err := dataset.NewLoader(set, dataset.LoaderOptions{Batch: b, Views: 2, Seed: g.plan.Options.Seed ^ otherThanTraining,
		Workers: g.plan.Options.Workers, Rows: rows, Augment: g.changes, Norm: g.norm, Out: g.plan.Data.Input, Prefetch: 1})
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
