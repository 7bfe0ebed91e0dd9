package nat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"nat/dataset"
	"nat/encoder"
	"nat/internal/kernel"
	"nat/internal/tensorfile"
	"nat/objective"
	"nat/sphere"
)

// trainer carries out a job.
type trainer struct {
	*job
	fsys    files
	dir     string
	observe func(Event)

	net    *encoder.Network
	obj    objective.Objective
	nat    *objective.NAT  // obj, if it has targets, else nil
	params []encoder.Param // of net and obj
	optim  encoder.Optimizer
	loader *dataset.Loader
	dz     []float32 // gradient of the embeddings, views*batch x d
	pieces []gradPiece
	square func(i int) // squarePiece
	shrink func(i int) // shrinkPiece
	factor float32     // of shrinkPiece
	level  float64     // (24) for a batch
	gauges *gauges

	st       state             // position; its Checksums are those of the files that never change
	log      *metricsLog       // nil until begin or resume
	meta     map[string]string // of weights files
	cadence  cadence
	deadline time.Time // zero: none
	clock    clock

	slow      bool // the warning that data are the bottleneck has been given
	warnings  []string
	saved     string // path of the newest checkpoint
	savedStep int
	savedAt   time.Time
}

// newTrainer builds the network, objective, optimiser and loader of a job.
func newTrainer(fsys files, j *job, observe func(Event)) (*trainer, error) {
	p := &j.plan
	o := &p.Options
	t := &trainer{job: j, fsys: fsys, dir: o.Out, observe: observe, savedStep: -1}
	t.cadence, _ = parseCadence(o.CheckpointEvery) // Validate has seen it
	var err error
	if t.net, err = encoder.New(p.Encoder, o.Seed, j.pool); err != nil {
		return nil, err
	}
	if t.meta, err = modelMetadata(p.Encoder, j.norm, p.Data); err != nil {
		return nil, err
	}
	if t.obj, t.nat, err = newObjective(j); err != nil {
		return nil, err
	}
	t.params = slices.Concat(t.net.Params(), t.obj.Params())
	if o.Optimizer == "sgd" {
		t.optim = encoder.NewSGD(t.params, o.Momentum, o.WeightDecay, o.Momentum > 0, j.pool)
	} else {
		t.optim = encoder.NewAdamW(t.params, .9, .999, 1e-8, o.WeightDecay, j.pool)
	}
	t.loader, err = dataset.NewLoader(j.src.set, dataset.LoaderOptions{Batch: o.Batch, Views: o.Views, Seed: o.Seed,
		Workers: o.Workers, Rows: j.src.rows, Augment: j.augment, Norm: j.norm, Out: p.Data.Input})
	if err != nil {
		return nil, err
	}
	t.dz = make([]float32, o.Views*o.Batch*t.net.TrainDim())
	t.pieces, t.square, t.shrink = gradPieces(t.params), t.squarePiece, t.shrinkPiece
	t.level = sphere.BestCosine(o.batchTargets(), o.Dim)
	t.gauges = newGauges(j)
	return t, nil
}

func (t *trainer) close() {
	t.loader.Close()
	if t.log != nil {
		t.log.close()
	}
}

// Keys of the metadata of a weights file: with encoder.SpecKey, all that is
// needed to embed with it.
const (
	metaNorm   = "normalizer"
	metaInput  = "input"
	metaStored = "stored"
	metaRange  = "range"
)

func modelMetadata(spec encoder.Spec, norm dataset.Normalizer, data DataInfo) (map[string]string, error) {
	meta := map[string]string{}
	for key, v := range map[string]any{encoder.SpecKey: spec, metaNorm: norm, metaInput: data.Input, metaStored: data.Shape, metaRange: data.Range} {
		b, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("metadata %s: %w", key, err)
		}
		meta[key] = string(b)
	}
	return meta, nil
}

// begin starts a run: it writes what never changes, the first line of metrics
// and a checkpoint of step 0, so that there is always one to go back to.
func (t *trainer) begin() error {
	if t.init != nil {
		if err := t.net.SetState(t.init.weights); err != nil {
			return &kindError{ErrArtefact, fmt.Errorf("init %s: %w", t.plan.Options.Init, err)}
		}
		t.init = nil // the network has them now
	}
	if err := removeRun(t.fsys, t.dir); err != nil { // with Overwrite, or what a run killed at birth left
		return err
	}
	sums, err := createRun(t.fsys, t.dir, t.record(), t.targets(), t.src.set.Bad())
	if err != nil {
		return err
	}
	t.st = state{Format: formatVersion, Seed: t.plan.Options.Seed, Kernel: kernel.Tier(), Checksums: sums}
	if t.log, err = openMetrics(t.fsys, t.dir, 0); err != nil {
		return err
	}
	t.clock.start(&t.st)
	e := t.event(EventStart)
	e.Path = t.dir
	if err := t.emit(e); err != nil {
		return err
	}
	for _, w := range t.plan.Warnings {
		t.warn(w)
	}
	return t.save()
}

// targets are the fixed points on the sphere, if the objective has any.
func (t *trainer) targets() []tensorfile.Tensor {
	if t.nat == nil {
		return nil
	}
	return []tensorfile.Tensor{{Name: "targets", Shape: []int{len(t.src.rows), t.plan.Options.Dim}, Data: t.nat.Targets()}}
}

// readTargets takes those of the run, which are as they were drawn unless it is damaged.
func (t *trainer) readTargets() error {
	if t.nat == nil {
		return nil
	}
	d := t.plan.Options.Dim
	return eachTargets(t.dir, len(t.src.rows), d, func(first int, c []float32) error {
		copy(t.nat.Targets()[first*d:], c)
		return nil
	})
}

// resume takes a run up where a checkpoint left it.
func (t *trainer) resume(snap *snapshot) error {
	fail := func(err error) error { return &kindError{ErrArtefact, fmt.Errorf("resume %s: %w", t.dir, err)} }
	if err := removeTemporary(t.fsys, t.dir); err != nil {
		return err
	}
	if err := removeTemporary(t.fsys, filepath.Join(t.dir, checkpointsDir)); err != nil {
		return err
	}
	if err := t.readTargets(); err != nil {
		return fail(err)
	}
	if err := t.net.SetState(snap.weights); err != nil {
		return fail(err)
	}
	if err := t.obj.SetState(snap.assignment); err != nil {
		return fail(err)
	}
	if err := t.optim.SetState(snap.optimizer); err != nil {
		return fail(err)
	}
	t.st = snap.state
	t.st.Kernel = kernel.Tier()
	t.st.Checksums = map[string]string{runFile: snap.state.Checksums[runFile]}
	if t.nat != nil {
		t.st.Checksums[targetsFile] = snap.state.Checksums[targetsFile]
	}
	t.savedStep, t.savedAt = t.st.Step, time.Now()
	t.saved = filepath.Join(t.dir, checkpointsDir, stepName(t.st.Step))
	if err := pointLatest(t.fsys, t.dir, stepName(t.st.Step)); err != nil { // killed before it was
		return err
	}
	var err error
	if t.log, err = openMetrics(t.fsys, t.dir, t.st.MetricsOffset); err != nil {
		return err
	}
	t.clock.start(&t.st)
	e := t.event(EventStart)
	e.Path = t.saved
	t.observe(e)
	for _, w := range t.plan.Warnings {
		t.warn(w)
	}
	return nil
}

// warn tells the observer of a doubt, and the summary too.
func (t *trainer) warn(message string) {
	t.warnings = append(t.warnings, message)
	e := t.event(EventWarning)
	e.Message = message
	t.observe(e)
}

// run trains until the last step, a deadline, or the end of ctx.
func (t *trainer) run(ctx context.Context) error {
	if t.done() {
		t.observe(t.event(EventDone))
		return nil
	}
	// A step that was begun is finished: the loader does not end with ctx.
	t.loader.Start(context.WithoutCancel(ctx), t.st.Epoch, t.st.Batch)
	for !t.done() {
		if err := t.advance(ctx); err != nil {
			return err
		}
		stop := ctx.Err() != nil || !t.deadline.IsZero() && time.Now().After(t.deadline)
		if t.savedStep != t.st.Step && (stop || t.due()) {
			if err := t.save(); err != nil {
				return err
			}
		}
		if stop && !t.done() {
			if ctx.Err() != nil {
				return &StoppedError{Cause: context.Cause(ctx), Run: t.dir, Checkpoint: t.saved, Step: t.st.Step}
			}
			return nil
		}
	}
	return nil
}

func (t *trainer) done() bool { return t.st.Step >= t.plan.Steps && !t.epochOver() }

// epochOver tells that all steps of an epoch are done and endEpoch is to come. A
// checkpoint of this moment is written when the gauges could not be read.
func (t *trainer) epochOver() bool { return t.st.Batch >= t.plan.StepsPerEpoch }

// due tells whether the cadence asks for a checkpoint.
func (t *trainer) due() bool {
	if t.cadence.steps > 0 {
		return t.st.Step-t.savedStep >= t.cadence.steps
	}
	return time.Since(t.savedAt) >= t.cadence.every
}

// advance does one step and, after the last of an epoch, what belongs there.
// Only this can be cut short by ctx, and is then done again.
func (t *trainer) advance(ctx context.Context) error {
	if !t.epochOver() {
		if err := t.oneStep(); err != nil {
			return err
		}
	}
	if !t.epochOver() {
		return nil
	}
	return t.endEpoch(ctx)
}

// oneStep takes a batch through a step and reports it.
func (t *trainer) oneStep() error {
	b, err := t.loader.Next()
	if err != nil {
		return t.unreadable(err)
	}
	stats := newStats()
	err = t.step(b, stats)
	t.loader.Recycle(b)
	if err != nil {
		return err
	}
	e := t.event(EventStep)
	t.st.Means.add(stats)
	t.st.Step++
	t.st.Batch++
	e.Step, e.Stats = t.st.Step, stats
	t.clock.step(time.Now(), t.loader.Waited())
	t.clock.fill(&e, &t.plan)
	if err := t.emit(e); err != nil {
		return err
	}
	if !t.slow && t.clock.starved() {
		t.slow = true
		t.warn(t.starvation())
	}
	return nil
}

// unreadable saves what has been done before a row could not be read.
func (t *trainer) unreadable(err error) error {
	if t.savedStep != t.st.Step {
		if saveErr := t.save(); saveErr != nil {
			return errors.Join(err, saveErr)
		}
	}
	return failf(ErrInput, "step %d: %w; saved %s: mend the data and continue with --resume", t.st.Step, err, t.saved)
}

// newStats has room for all statistics of a step.
func newStats() *Stats {
	room := new(struct {
		Stats
		pairing  Pairing
		optional [6]float64
	})
	room.Stats.Pairing = &room.pairing
	for i, v := range room.Stats.optional() {
		*v = &room.optional[i]
	}
	return &room.Stats
}

// fill takes over what an objective says of a step. What it leaves out is nil from then on.
func (s *Stats) fill(o *objective.Stats, level float64) {
	s.Loss = o.Loss
	if math.IsNaN(o.LossBefore) {
		s.Pairing = nil
	} else {
		*s.Pairing = Pairing{LossBefore: o.LossBefore, WonByReassignment: o.Reassignment, WonByNetwork: o.Chance - o.LossBefore,
			Reassigned: o.Reassigned, Cosine: o.Cosine, Level: level, Gap: o.Gap, WonByPool: o.PoolReassignment}
	}
	values := [...]float64{o.Alignment, o.Information, o.Accuracy, o.Uniformity, o.Divergence, o.SquaredError}
	for i, v := range s.optional() {
		if math.IsNaN(values[i]) {
			*v = nil
		} else {
			**v = values[i]
		}
	}
}

// step is the method: forward, assign, backward, update. It allocates nothing
// once it has seen a batch. stats are those of newStats.
func (t *trainer) step(b *dataset.Batch, stats *Stats) error {
	o := &t.plan.Options
	t.net.SetStep(uint64(t.st.Step))
	z := t.net.Forward(b.X, o.Views*o.Batch, true)
	lr := encoder.Schedule(t.st.Step, t.plan.Steps, o.Warmup, o.LR)
	diverged := func(what string) error {
		return &DivergedError{Step: t.st.Step, What: what, LR: lr, Checkpoint: t.saved}
	}
	if !allFinite(z) {
		return diverged("an embedding")
	}
	s, err := t.obj.Step(objective.Batch{Rows: b.Rows, X: b.X, Epoch: t.st.Epoch, Progress: float64(t.st.Step) / float64(t.plan.Steps)}, z, t.dz)
	if err != nil {
		return fmt.Errorf("step %d: %w", t.st.Step, err)
	}
	if !isFinite(s.Loss) {
		return diverged("the loss")
	}
	t.net.Backward(t.dz)
	norm, culprit := t.gradNorm()
	if culprit != "" {
		return diverged("the gradient of " + culprit)
	}
	if o.Clip > 0 && norm > o.Clip {
		t.factor = float32(o.Clip / norm)
		t.pool.Do(len(t.pieces), t.shrink)
	}
	t.optim.Step(t.params, lr)
	stats.fill(&s, t.level)
	stats.LR, stats.GradNorm = lr, norm
	return nil
}

// gradChunk is how many values are added up in float32 before float64 takes
// over: enough for speed, few enough for seven digits.
const gradChunk = 4096

// gradNorm returns the Euclidean norm of the gradient, or the name of a
// parameter whose gradient is not finite.
func (t *trainer) gradNorm() (norm float64, culprit string) {
	t.pool.Do(len(t.pieces), t.square)
	at := 0
	for i := range t.params {
		var sum float64
		for ; at < len(t.pieces) && t.pieces[at].param == i; at++ {
			sum += t.pieces[at].square
		}
		if !isFinite(sum) {
			return 0, t.params[i].Name
		}
		norm += sum
	}
	return math.Sqrt(norm), ""
}

// gradPiece is a part of a parameter's gradient, small enough that the pieces of
// all parameters keep all workers busy.
type gradPiece struct {
	param  int
	grad   []float32
	square float64 // the sum of its squares
}

const gradPieceValues = 16 * gradChunk

func gradPieces(params []encoder.Param) (pieces []gradPiece) {
	for i, p := range params {
		for g := range slices.Chunk(p.Grad, gradPieceValues) {
			pieces = append(pieces, gradPiece{param: i, grad: g})
		}
	}
	return pieces
}

// shrinkPiece makes one piece shorter.
func (t *trainer) shrinkPiece(i int) {
	grad := t.pieces[i].grad
	for k := range grad {
		grad[k] *= t.factor
	}
}

// squarePiece adds up the squares of one piece.
func (t *trainer) squarePiece(i int) {
	p := &t.pieces[i]
	p.square = 0
	for lo := 0; lo < len(p.grad); lo += gradChunk {
		g := p.grad[lo:min(lo+gradChunk, len(p.grad))]
		p.square += float64(kernel.Dot(g, g))
	}
}

func isFinite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

func allFinite(x []float32) bool {
	for _, v := range x {
		if !isFinite(float64(v)) {
			return false
		}
	}
	return true
}

// endEpoch closes an epoch: what is left in the pool is matched, the gauges are
// read, all rows are re-matched if that is due, and a checkpoint is written.
// When ctx ends before that, nothing of it is left but the matching of the pool,
// and the epoch stays to be closed.
func (t *trainer) endEpoch(ctx context.Context) error {
	t.clock.pause()
	e := t.event(EventEpoch)
	if err := t.obj.EndEpoch(); err != nil {
		return fmt.Errorf("end of epoch %d: %w", t.st.Epoch, err)
	}
	e.Stats = t.st.Means.mean(t.level)
	if t.gauges.due(t.st.Epoch) {
		began := time.Now()
		var err error
		if e.Train, e.HeldOut, err = t.gauges.read(ctx, t.net, t.nat); err != nil {
			return t.epochError(ctx, "gauges", err)
		}
		e.GaugeTime = time.Since(began).Seconds()
		t.clock.gauging += e.GaugeTime
		stop := t.st.Stop.read(t.st.Epoch, e.Train, e.HeldOut)
		e.Stop = &stop
	}
	if t.plan.Options.globalDue(t.st.Epoch) {
		began := time.Now()
		var err error
		if e.Global, err = t.rematchAll(ctx); err != nil {
			return t.epochError(ctx, "assignment of all rows", err)
		}
		e.GlobalTime = time.Since(began).Seconds()
	}
	t.st.Last = lastEpoch{Stats: e.Stats, Train: e.Train, HeldOut: e.HeldOut}
	if e.Stop != nil {
		if e.Stop.Memorising() && !t.st.Stop.Memorising() {
			t.warn(e.Stop.String())
		}
		t.st.Stop = *e.Stop
	}
	t.st.Means = epochMeans{}
	t.st.Epoch, t.st.Batch = t.st.Epoch+1, 0
	t.clock.fill(&e, &t.plan)
	if err := t.emit(e); err != nil {
		return err
	}
	if t.done() {
		done := t.event(EventDone)
		t.clock.fill(&done, &t.plan)
		if err := t.emit(done); err != nil {
			return err
		}
	}
	return t.save()
}

// epochError is what an error at the end of an epoch comes to: none, if the
// context is why, for then the epoch stays to be closed.
func (t *trainer) epochError(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	err = fmt.Errorf("%s after epoch %d: %w", what, t.st.Epoch, err)
	if errors.Is(err, ErrInput) {
		return t.unreadable(err)
	}
	return err
}

// save writes a checkpoint of this moment.
func (t *trainer) save() error {
	t.clock.pause()
	for _, w := range t.net.State() {
		if v, ok := w.Data.([]float32); ok && !allFinite(v) {
			return &DivergedError{Step: t.st.Step - 1, What: "the value of " + w.Name, Checkpoint: t.saved}
		}
	}
	var err error
	if t.st.MetricsOffset, err = t.log.sync(); err != nil {
		return err
	}
	t.clock.save(&t.st)
	t.st.Streams = map[string]int{"shuffle": t.st.Epoch, "augment": t.st.Epoch, "noise": t.st.Step}
	snap := snapshot{state: t.st, weights: t.net.State(), meta: t.meta, assignment: t.obj.State(), optimizer: t.optim.State()}
	snap.state.Checksums = maps.Clone(t.st.Checksums)
	path, err := saveCheckpoint(t.fsys, t.dir, snap)
	if err != nil {
		return err
	}
	// The new checkpoint is safe. An old one that stays, because someone reads
	// it just now or the disk is unwell, is no reason to stop.
	keep := t.plan.Options.Keep
	if t.epochOver() {
		keep++ // the next one will take the place of this, which must not be the only one then
	}
	if err := pruneCheckpoints(t.fsys, t.dir, t.st.Step, keep); err != nil {
		t.warn(err.Error())
	}
	t.saved, t.savedStep, t.savedAt = path, t.st.Step, time.Now()
	e := t.event(EventCheckpoint)
	e.Path = path
	t.observe(e)
	return nil
}

// event returns an event of this moment.
func (t *trainer) event(kind string) Event {
	return Event{Kind: kind, Step: t.st.Step, Steps: t.plan.Steps, Epoch: t.st.Epoch, Epochs: t.plan.Options.Epochs,
		Time: time.Now(), Elapsed: t.clock.elapsed()}
}

// emit writes an event to metrics.jsonl and tells the observer.
func (t *trainer) emit(e Event) error {
	if err := t.log.write(e); err != nil {
		return err
	}
	t.observe(e)
	return nil
}

// report writes the run's report.html, unless a run resumed after its end has
// one already. Before, it lets go of what only training needs.
func (t *trainer) report(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(t.dir, reportFile)); err == nil {
		return nil
	}
	t.net, t.obj, t.nat, t.optim, t.params, t.gauges, t.dz, t.pieces = nil, nil, nil, nil, nil, nil, nil, nil // training is over
	runtime.GC()
	run, err := OpenRun(t.dir)
	if err != nil {
		return err
	}
	model, err := run.Model(t.plan.Options.Workers)
	if err != nil {
		return err
	}
	defer model.Close()
	_, err = model.report(ctx, run, t.src.set, nil, ReportOptions{})
	return err
}

func (t *trainer) summary() *Summary {
	s := &Summary{Run: t.dir, Steps: t.st.Step, Epochs: t.st.Epoch, Seconds: t.st.Elapsed, Wait: t.clock.waitShare(), Checkpoint: t.saved,
		Complete: t.done(), Objective: t.plan.Options.objectiveName(), Warnings: t.warnings, Train: t.st.Last.Train, HeldOut: t.st.Last.HeldOut, GaugeShare: t.clock.gaugeShare()}
	if s.Seconds > 0 {
		s.ImagesPerSecond = float64(t.st.Step*t.plan.Options.Batch*t.plan.Options.Views) / s.Seconds
	}
	stats := t.st.Last.Stats
	if stats == nil && t.st.Means.Steps > 0 {
		stats = t.st.Means.mean(t.level)
	}
	if stats != nil {
		s.Loss, s.Information = stats.Loss, stats.Information
		if p := stats.Pairing; p != nil {
			chance := p.chance()
			s.Chance, s.Reassigned, s.Cosine, s.Level = &chance, &p.Reassigned, &p.Cosine, &p.Level
		}
	}
	if s.Train != nil {
		s.AssignmentGap = s.Train.AssignmentGap
	}
	return s
}
