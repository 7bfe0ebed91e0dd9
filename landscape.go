package nat

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"nat/dataset"
	"nat/internal/rng"
	"nat/internal/tensorfile"
	"nat/objective"
	"nat/sphere"
)

// LandscapeOptions of [Run.Landscape]; the zero value takes all rows.
type LandscapeOptions struct {
	Limit   int    // rows, chosen by a hash of their identity; 0: all
	Seed    uint64 // of batches, augmentations and fresh targets; 0: the run's
	Workers int    // 0: one per core
}

// Pairings that a Landscape begins with.
const (
	PairingRun   = "run"   // the run's own targets, each with the row that training left it to
	PairingFresh = "fresh" // targets drawn anew, for rows that own none
)

// Landscape is where experiments on the pairing (18) of real rows begin: rows,
// their embeddings by a run's network, and a target for each. Close it after use.
type Landscape struct {
	N, Dim   int
	Z        []float32 // N x Dim: embeddings in evaluation mode, not augmented
	Targets  []float32 // N x Dim: that of row i is in row i
	Pairing  string    // where Targets come from
	Batch    int       // of the run, at most N
	Warnings []string

	run   *Run
	model *Model
	src   *source
	seed  uint64
}

// Landscape opens the data and embeds the rows. If they are the run's own data,
// those that own a target keep it; held-out rows stay out. observe may be nil.
func (r *Run) Landscape(ctx context.Context, data string, opt LandscapeOptions, observe func(Event)) (*Landscape, error) {
	if observe == nil {
		observe = func(Event) {}
	}
	model, err := r.Model(opt.Workers)
	if err != nil {
		return nil, err
	}
	l := &Landscape{Dim: model.Network.Dim(), Pairing: PairingFresh, Warnings: model.Warnings, run: r, model: model, seed: opt.Seed}
	if l.seed == 0 {
		l.seed = r.Record.Options.Seed
	}
	if err := l.open(ctx, data, opt, observe); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// Close lets go of the data and the workers.
func (l *Landscape) Close() {
	if l.src != nil {
		l.src.close()
	}
	l.model.Close()
}

// open chooses the rows, finds their targets and computes their embeddings.
func (l *Landscape) open(ctx context.Context, data string, opt LandscapeOptions, observe func(Event)) error {
	rec := &l.run.Record
	set, err := l.model.OpenData(ctx, data, dataset.Options{Limit: rec.Options.Limit, MaxBad: rec.Options.MaxBad,
		CacheBytes: int64(rec.Options.Cache) << 20, Progress: scanProgress(observe)})
	if err != nil {
		return err
	}
	l.src = &source{set: set, info: rec.Data}
	owners := upTo(set.Len())
	own := set.Fingerprint() == rec.Data.Fingerprint
	if own && rec.Options.Val == "" {
		owners, _ = set.HoldOut()
	}
	l.src.rows = owners
	if opt.Limit > 0 {
		l.src.rows = set.Sample(owners, opt.Limit)
	}
	l.N = len(l.src.rows)
	if l.N < 2 {
		return failf(ErrInput, "%s: %s, and a pairing needs two", data, counted(l.N, "row"))
	}
	l.src.info.Train, l.Batch = l.N, min(rec.Options.Batch, l.N)
	if own && rec.Options.hasTargets() {
		if err := l.runTargets(owners); err != nil {
			l.Warnings = append(l.Warnings, fmt.Sprintf("the targets are drawn anew: those of the run cannot be read: %v", err))
		}
	}
	if l.Pairing == PairingFresh {
		l.Targets = sphere.Uniform(l.N, l.Dim, rng.New(l.seed, rng.Targets))
	}
	return l.embed(ctx, observe)
}

// runTargets gives every row the target that the run left it. owners are the
// rows that own one, in the order in which the run counts them.
func (l *Landscape) runTargets(owners []int) error {
	held, err := loadCheckpoint(l.run.Dir, filepath.Base(l.model.Checkpoint), assignmentFile, targetsFile)
	if err != nil {
		return err
	}
	if len(owners) != l.run.Record.Data.Train {
		return fmt.Errorf("%d rows own targets, %d did in training", len(owners), l.run.Record.Data.Train)
	}
	if err := l.run.checkPermutation(held.assignment); err != nil {
		return err
	}
	t, _ := tensorfile.Find(held.assignment, "perm") // checkPermutation has seen it
	perm, err := t.Int32(len(owners))
	if err != nil {
		return err
	}
	owner := make([]int, len(owners)) // target -> row of the landscape, -1 for none
	k := 0
	for position, row := range owners {
		owner[perm[position]] = -1
		if k < l.N && l.src.rows[k] == row {
			owner[perm[position]] = k
			k++
		}
	}
	targets := make([]float32, l.N*l.Dim)
	err = eachTargets(l.run.Dir, len(owners), l.Dim, func(first int, c []float32) error {
		for i := range len(c) / l.Dim {
			if k := owner[first+i]; k >= 0 {
				copy(targets[k*l.Dim:(k+1)*l.Dim], c[i*l.Dim:])
			}
		}
		return nil
	})
	if err == nil {
		l.Targets, l.Pairing = targets, PairingRun
	}
	return err
}

func (l *Landscape) embed(ctx context.Context, observe func(Event)) error {
	l.Z = make([]float32, 0, l.N*l.Dim)
	emit := func(_ []int, z []float32, _ int) error {
		l.Z = append(l.Z, z...)
		return nil
	}
	return l.model.Embed(ctx, l.src.set, l.src.rows, "embedding", emit, func(done, total int) {
		observe(Event{Kind: EventAssign, Time: time.Now(), Message: "embedding all rows", Done: done, Total: total})
	})
}

// LandscapeTraining is one way to go on training from a Landscape's start;
// everything else is as in the run.
type LandscapeTraining struct {
	Batch  int
	Assign string // batch, pool (of 8 batches) or global (after every epoch but the last)
	Epochs int
	// LR is the peak learning rate, which falls to zero over Epochs; 0: the run's
	// times Batch over the run's batch, at most twice the run's.
	LR float64
}

// LandscapeEpoch says how far the pairing is from the best one after an epoch,
// for the embeddings of that moment.
type LandscapeEpoch struct {
	Epoch   int     // epochs done; 0 is the start
	Steps   int     // done
	Cost    float64 // sum of squared distances to the targets held
	Optimal float64 // and to those of the best pairing
	Excess  float64 // Cost / Optimal - 1
	Seconds float64 // of training so far, without what it takes to find Optimal
}

// Train goes on training from the start, with the trainer that made the run, and
// compares the pairing with the exact optimum after every epoch. Nothing is
// written. With assign global that optimum is then adopted, so that Excess
// always says what training left. observe may be nil.
func (l *Landscape) Train(ctx context.Context, opt LandscapeTraining, observe func(Event)) ([]LandscapeEpoch, error) {
	if observe == nil {
		observe = func(Event) {}
	}
	j, err := l.job(opt)
	if err != nil {
		return nil, err
	}
	t, err := newTrainer(disk{}, j, observe) // writes nothing until begin
	if err != nil {
		return nil, err
	}
	defer t.close()
	t.saved = l.model.Checkpoint // where to return to if it diverges
	if err := t.net.SetState(l.model.Network.State()); err != nil {
		return nil, err
	}
	copy(t.nat.Targets(), l.Targets)
	for i := range t.nat.Perm() {
		t.nat.Perm()[i] = int32(i)
	}
	t.loader.Start(ctx, 0, 0)
	epochs := make([]LandscapeEpoch, 0, opt.Epochs+1)
	var trained time.Duration
	for {
		e, err := t.excess(ctx)
		if err != nil {
			return nil, orCause(ctx, err)
		}
		e.Seconds = trained.Seconds()
		epochs = append(epochs, e)
		if t.st.Epoch == opt.Epochs {
			return epochs, nil
		}
		began := time.Now()
		if err := t.wholeEpoch(); err != nil {
			return nil, orCause(ctx, err)
		}
		trained += time.Since(began)
	}
}

// orCause is err, or why ctx ended if that is what it comes from.
func orCause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// job is the run's, with the options of a training from the landscape's start.
func (l *Landscape) job(opt LandscapeTraining) (*job, error) {
	rec := &l.run.Record
	o := rec.Options
	if opt.Batch < 2 || opt.Batch > l.N || opt.Epochs < 1 {
		return nil, failf(ErrUsage, "batch %d, epochs %d: a batch has 2 to %d rows here, and training at least one epoch", opt.Batch, opt.Epochs, l.N)
	}
	if err := oneOf("assign", opt.Assign, objective.AssignBatch, objective.AssignPool, objective.AssignGlobal); err != nil {
		return nil, &kindError{ErrUsage, err}
	}
	if err := finite("lr", opt.LR); err != nil || opt.LR < 0 {
		return nil, failf(ErrUsage, "lr %v: must be a positive number", opt.LR)
	}
	o.LR *= min(float64(opt.Batch)/float64(o.Batch), 2)
	if opt.LR > 0 {
		o.LR = opt.LR
	}
	o.Batch, o.Assign, o.Epochs, o.Seed, o.Workers = opt.Batch, opt.Assign, opt.Epochs, l.seed, l.model.workers
	o.Pool, o.AssignEvery, o.Warmup = 0, 0, 0
	if !o.hasTargets() { // whatever made the run
		o.dropObjective()
	}
	network := rec.Encoder
	network.Train = "" // embeddings are what is paired
	if o.Assign == objective.AssignGlobal {
		o.AssignEvery = 1
	}
	resolve(&o, l.N)
	perEpoch := l.N / o.Batch
	j := &job{src: l.src, norm: l.model.Norm, augment: rec.Augment, pool: l.model.pool,
		plan: Plan{Options: o, Run: l.run.Dir, Data: l.src.info, Encoder: network, Params: rec.Params,
			StepsPerEpoch: perEpoch, Steps: perEpoch * o.Epochs}}
	needs := append(j.memory(), need{"the exact optimum", objective.RematchAllBytes(l.N, l.Dim), "--limit"})
	if available, ok := availableMemory(); ok {
		return j, checkMemory(needs, available)
	}
	return j, nil
}

// excess compares the pairing with the best one, and adopts that only if it is
// due (assign global).
func (t *trainer) excess(ctx context.Context) (LandscapeEpoch, error) {
	held := slices.Clone(t.nat.Perm())
	g, err := t.rematchAll(ctx)
	if err != nil {
		return LandscapeEpoch{}, err
	}
	if t.st.Epoch == 0 || !t.plan.Options.globalDue(t.st.Epoch-1) {
		copy(t.nat.Perm(), held)
	}
	n := float64(g.Rows)
	return LandscapeEpoch{Epoch: t.st.Epoch, Steps: t.st.Step, Cost: n * g.LossBefore, Optimal: n * g.Loss, Excess: g.Excess}, nil
}

// wholeEpoch takes the steps of an epoch and closes it, without gauges and files.
func (t *trainer) wholeEpoch() error {
	stats := newStats()
	for range t.plan.StepsPerEpoch {
		b, err := t.loader.Next()
		if err != nil {
			return &kindError{ErrInput, err}
		}
		err = t.step(b, stats)
		t.loader.Recycle(b)
		if err != nil {
			return err
		}
		t.st.Step++
		e := t.event(EventStep)
		e.Stats = stats
		t.observe(e)
	}
	t.st.Epoch++
	return t.obj.EndEpoch()
}
