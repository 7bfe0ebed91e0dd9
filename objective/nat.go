package objective

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"nat/assign"
	"nat/encoder"
	"nat/internal/kernel"
	"nat/internal/rng"
	"nat/internal/tensorfile"
	"nat/sphere"
)

// Assign says which points exchange targets together.
const (
	AssignBatch = "batch" // those of a batch
	AssignPool  = "pool"  // those of a batch, and then those of several batches at once

	// AssignGlobal is those of a batch, and from time to time all points: when, is up to the caller of
	// [NAT.RematchAll].
	AssignGlobal = "global"
)

// Loss says how a point is pulled to its target.
const (
	LossSquare  = "square"  // by the squared distance (15)
	LossSoftmax = "softmax" // by the cross-entropy of finding it among the targets of the batch (44)

	// LossSinkhorn pulls all points to all targets of the batch: by the Sinkhorn divergence
	// between the two, beside the alignment of views (46).
	LossSinkhorn = "sinkhorn"
)

// Targets says what the targets are.
const (
	TargetsUniform  = "uniform"  // drawn once, independent and uniform on the sphere
	TargetsEven     = "even"     // drawn once, of a lower discrepancy: sphere.Even
	TargetsDiscrete = "discrete" // the d vectors of the canonical basis, in turn
)

// Match says by what a point is paired.
const (
	MatchMean    = "mean"    // the mean of its views (15)
	MatchView    = "view"    // its first view alone
	MatchAverage = "average" // a moving average of that mean over the epochs
)

// NATOptions of [NewNAT]; the zero value is one view, matched batch by batch.
type NATOptions struct {
	Seed    uint64
	Views   int    // 0 = 1
	Assign  string // AssignBatch (default), AssignPool or AssignGlobal
	Pool    int    // batches in a pool; 0 = 8
	Every   int    // batches and pools are re-paired in every Every-th epoch, from the first on; 0 = 1
	Match   string // MatchMean (default), MatchView or MatchAverage
	Targets string // TargetsUniform (default), TargetsEven or TargetsDiscrete
	Loss    string // LossSquare (default), LossSoftmax or LossSinkhorn
	// Temperature of LossSoftmax and LossSinkhorn; 0 = DefaultTemperature. With LossSquare it
	// softens the pairing: a point's target becomes the mean of the batch's, weighed by the plan (45).
	Temperature float64
	// FinalTemperature is that of the end of training, reached by equal factors: from soft to
	// hard if it is the lower one. 0 = Temperature.
	FinalTemperature float64
	UniformityWeight float64 // of LossSinkhorn, where the alignment of views has 1; 0 = 1
}

// NAT is noise as targets (13): n points, n targets uniform on the sphere, and a
// permutation that pairs them. Each step solves the assignment of the batch to
// the targets it holds (14), then pulls every view of a point towards its target:
//
//	L = 1/(VB) sum_vb ||z_vb - c_pi(b)||^2      dL/dz_vb = 2 (z_vb - c_pi(b)) / (VB)
//
// The gradient is that of L as written, not projected to the sphere: the
// normalisation that made z projects it on the way back.
//
// With LossSoftmax the pull is that of (44) instead, which weighs the targets that are as
// near as a point's own; the pairing is the same, being the best for that loss too.
// With LossSinkhorn, or a Temperature of LossSquare, it is that of a plan between the batch and the
// targets it holds. The pairing is kept up then as well, and what Stats say of it are squared distances.
//
// A point with several views is matched by their mean (15). The mean is not
// normalised: sum_v ||z_v - c||^2 = V ||mean - c||^2 + const, so the assignment
// of the means is the assignment of least loss, and <mean, c> is what the loss sees.
//
// Nothing is kept of an assignment but the permutation: to start the next solve of a
// target from its last potential was tried, and made solves of 256 points some 12 %
// slower, because the target's company in the batch is another each time.
//
// Memory is n x d for the targets and O(n) beside them. A NAT serves one caller at a
// time; results do not depend on the number of workers of the pool.
type NAT struct {
	n, d, views int
	targets     []float32
	origin      []float32 // d zeros
	matching    *assign.Matching
	pool        *kernel.Pool
	solver      assign.Solver

	opt     NATOptions
	gather  *gathering   // nil unless AssignPool
	soft    *softPull    // nil unless LossSoftmax
	planned *plannedPull // nil unless there is a plan in the place of the pairing
	match   string
	average []float32 // n x d, zeros where a point has not been seen; nil unless MatchAverage
	learned []float32 // of the targets, by the last RematchAll of many points; nil before

	step step
}

// step is the batch in progress, and the buffers that the next one reuses.
type step struct {
	z, dz []float32
	rows  []int32
	mean  []float32
	held  []int32 // targets of the rows before
	row   []rowLoss

	average, pull func(chunk int) // the parallel loops
}

// rowChunk rows are one piece of a parallel loop.
const rowChunk = 16

// gathering is the pool being filled: points of the last batches with the mean
// embeddings they had.
type gathering struct {
	size    int // batches to wait for
	batches int
	rows    []int32
	z       []float32
}

// rowLoss is what one point contributes, summed over its views.
type rowLoss struct{ loss, before, cosine, alignment float64 }

var _ Objective = (*NAT)(nil)

// NewNAT draws the targets (stream rng.Targets) and the starting permutation
// (stream rng.Assign) for n points in d dimensions.
func NewNAT(n, d int, opt NATOptions, pool *kernel.Pool) (*NAT, error) {
	if opt.Views == 0 {
		opt.Views = 1
	}
	if opt.Assign == "" {
		opt.Assign = AssignBatch
	}
	if opt.Targets == "" {
		opt.Targets = TargetsUniform
	}
	if opt.Every == 0 {
		opt.Every = 1
	}
	if opt.Loss == "" {
		opt.Loss = LossSquare
	}
	if opt.Match == "" {
		opt.Match = MatchMean
	}
	if opt.Temperature == 0 && opt.Loss != LossSquare {
		opt.Temperature = DefaultTemperature
	}
	if opt.UniformityWeight == 0 && opt.Loss == LossSinkhorn {
		opt.UniformityWeight = 1
	}
	if err := opt.validate(n, d); err != nil {
		return nil, fmt.Errorf("noise as targets: %w", err)
	}
	o := &NAT{
		n: n, d: d, views: opt.Views, pool: pool, opt: opt,
		targets:  opt.draw(n, d),
		matching: assign.NewMatching(n, rng.New(opt.Seed, rng.Assign)),
		origin:   make([]float32, d),
		match:    opt.Match,
	}
	if opt.Match == MatchAverage {
		o.average = make([]float32, n*d)
	}
	if opt.Assign == AssignPool {
		o.gather = &gathering{size: opt.Pool}
		if opt.Pool == 0 {
			o.gather.size = 8
		}
	}
	switch {
	case opt.Loss == LossSoftmax:
		o.soft = newSoftPull(o)
	case opt.Temperature > 0:
		o.planned = newPlannedPull(o, &opt)
	}
	return o, nil
}

// draw makes the targets.
func (opt *NATOptions) draw(n, d int) []float32 {
	switch opt.Targets {
	case TargetsEven:
		return sphere.Even(n, d, rng.New(opt.Seed, rng.Targets))
	case TargetsDiscrete:
		c := make([]float32, n*d)
		for j := range n {
			c[j*d+j%d] = 1
		}
		return c
	}
	return sphere.Uniform(n, d, rng.New(opt.Seed, rng.Targets))
}

func (opt *NATOptions) validate(n, d int) error {
	var errs []error
	check := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(n < 1 || n > math.MaxInt32, "%d points; want 1 to %d", n, math.MaxInt32)
	check(d < 2, "dimension %d; want at least 2", d)
	check(opt.Views < 1, "%d views; want at least 1", opt.Views)
	check(!slices.Contains([]string{AssignBatch, AssignPool, AssignGlobal}, opt.Assign), "assign %q; want batch, pool or global", opt.Assign)
	check(!slices.Contains([]string{MatchMean, MatchView, MatchAverage}, opt.Match), "match %q; want mean, view or average", opt.Match)
	check(opt.Loss == LossSinkhorn && opt.Match != MatchMean, "match %q; the loss sinkhorn has all targets for every point, want mean", opt.Match)
	check(!slices.Contains([]string{TargetsUniform, TargetsEven, TargetsDiscrete}, opt.Targets), "targets %q; want uniform, even or discrete", opt.Targets)
	check(!slices.Contains([]string{LossSquare, LossSoftmax, LossSinkhorn}, opt.Loss), "loss %q; want square, softmax or sinkhorn", opt.Loss)
	for _, t := range []float64{opt.Temperature, opt.FinalTemperature} {
		if err := checkTemperature(t); t != 0 && err != nil {
			errs = append(errs, err)
		}
		check(t != 0 && opt.Loss != LossSoftmax && t < assign.MinPlanTemperature, "temperature %v of a plan; want at least %v", t, assign.MinPlanTemperature)
	}
	check(opt.FinalTemperature != 0 && opt.Temperature == 0, "a last temperature and no first one")
	check(opt.UniformityWeight != 0 && opt.Loss != LossSinkhorn, "uniformity weight %v; only the loss sinkhorn has one", opt.UniformityWeight)
	check(opt.UniformityWeight < 0 || math.IsInf(opt.UniformityWeight, 0) || math.IsNaN(opt.UniformityWeight), "uniformity weight %v; want a positive number", opt.UniformityWeight)
	check(opt.Every < 1, "a re-pairing every %d epochs; want at least 1", opt.Every)
	check(opt.Pool < 0, "a pool of %d batches; want at least 1", opt.Pool)
	return errors.Join(errs...)
}

// Targets are the n x d targets; they belong to the NAT, and a resumed run
// writes its saved ones here.
func (o *NAT) Targets() []float32 { return o.targets }

// Perm pairs point i with target Perm()[i]. It belongs to the NAT.
func (o *NAT) Perm() []int32 { return o.matching.Perm }

// Step re-assigns the targets of the batch, if the epoch is one for that, and writes the gradient. Rows are
// distinct points, with assign=pool distinct within an epoch.
// An error of the pairing names the embedding that is not finite; nothing has changed then.
func (o *NAT) Step(batch Batch, z, dz []float32) (Stats, error) {
	rows := batch.Rows
	b := len(rows)
	checkStep(b, o.views, o.d, z, dz)
	o.begin(rows, z, dz)
	defer o.end()
	mean := o.matched()
	due := batch.Epoch%o.opt.Every == 0
	var match assign.Rematch
	if due {
		var err error
		if match, err = o.matching.Rematch(context.Background(), o.pool, &o.solver, rows, mean, o.targets, o.d); err != nil {
			return Stats{}, err
		}
	}
	if o.average != nil {
		o.remember(rows, mean)
	}
	stats := o.pull()
	switch {
	case o.soft != nil:
		o.soft.pull(&stats, o.opt.temperatureAt(batch.Progress))
	case o.planned != nil:
		o.planned.pull(&stats, mean, o.opt.temperatureAt(batch.Progress))
	}
	stats.Reassigned = float64(match.Changed) / float64(b)
	stats.Gap = match.Gap / float64(b)
	if o.gather != nil && due {
		if err := o.collect(rows, mean, &stats); err != nil {
			return Stats{}, err
		}
	}
	return stats, nil
}

func (o *NAT) begin(rows []int32, z, dz []float32) {
	s := &o.step
	if s.average == nil {
		s.average, s.pull = o.averageChunk, o.pullChunk
	}
	s.rows, s.z, s.dz = rows, z, dz
	s.held = s.held[:0]
	for _, row := range rows {
		s.held = append(s.held, o.matching.Perm[row])
	}
	if cap(s.row) < len(rows) {
		s.row = make([]rowLoss, len(rows))
		s.mean = make([]float32, len(rows)*o.d)
	}
	s.row, s.mean = s.row[:len(rows)], s.mean[:len(rows)*o.d]
}

// end lets go of the caller's memory.
func (o *NAT) end() { o.step.rows, o.step.z, o.step.dz = nil, nil, nil }

// each calls f for every chunk of rows; a few embeddings are not worth waking workers for.
func (o *NAT) each(f func(chunk int)) {
	const few = 1 << 15 // coordinates
	count := (len(o.step.rows) + rowChunk - 1) / rowChunk
	if len(o.step.z) > few {
		o.pool.Do(count, f)
		return
	}
	for k := range count {
		f(k)
	}
}

// span is the rows of a chunk.
func (o *NAT) span(chunk int) (lo, hi int) {
	return chunk * rowChunk, min((chunk+1)*rowChunk, len(o.step.rows))
}

// averageDecay is the weight of the epochs before in MatchAverage: the last one counts as
// much as all others together.
const averageDecay = .5

// matched is what the rows are paired by. Only directions and relative lengths matter
// there, so a mean is not normalised, and neither is a moving average.
func (o *NAT) matched() []float32 {
	s := &o.step
	switch o.match {
	case MatchView:
		return s.z[:len(s.rows)*o.d]
	case MatchAverage:
		mean := o.meanViews()
		if o.views == 1 {
			copy(s.mean, mean) // the embeddings are the network's
		}
		for i, row := range s.rows {
			kept, now := o.average[int(row)*o.d:int(row+1)*o.d], s.mean[i*o.d:(i+1)*o.d]
			if seen := kernel.Dot(kept, kept) > 0; seen {
				for k, x := range now {
					now[k] = averageDecay*kept[k] + (1-averageDecay)*x
				}
			}
		}
		return s.mean
	}
	return o.meanViews()
}

// remember keeps the moving averages of the rows, once they are paired.
func (o *NAT) remember(rows []int32, matched []float32) {
	for i, row := range rows {
		copy(o.average[int(row)*o.d:int(row+1)*o.d], matched[i*o.d:(i+1)*o.d])
	}
}

// meanViews averages the views of each row, adding in the order of the views.
func (o *NAT) meanViews() []float32 {
	if o.views == 1 {
		return o.step.z
	}
	o.each(o.step.average)
	return o.step.mean
}

func (o *NAT) averageChunk(chunk int) {
	lo, hi := o.span(chunk)
	lo, hi = lo*o.d, hi*o.d
	size := len(o.step.rows) * o.d
	mean := o.step.mean[lo:hi]
	clear(mean)
	for v := range o.views {
		kernel.Axpy(mean, 1/float32(o.views), o.step.z[v*size+lo:v*size+hi])
	}
}

// pull writes the gradient and adds up the losses, row by row.
func (o *NAT) pull() Stats {
	o.each(o.step.pull)
	var total rowLoss
	for _, r := range o.step.row {
		total.loss += r.loss
		total.before += r.before
		total.cosine += r.cosine
		total.alignment += r.alignment
	}
	b := float64(len(o.step.rows))
	all := float64(o.views) * b
	stats := untargeted(total.loss / all)
	stats.LossBefore, stats.Chance, stats.Cosine = total.before/all, randomLoss, total.cosine/all
	stats.Reassignment = stats.LossBefore - stats.Loss
	if o.views > 1 {
		stats.Alignment = total.alignment / b
	}
	return stats
}

// randomLoss is the expected squared distance of unit vectors paired at random,
// from which (16) counts.
const randomLoss = 2

func (o *NAT) pullChunk(chunk int) {
	lo, hi := o.span(chunk)
	for i := lo; i < hi; i++ {
		o.step.row[i] = o.pullRow(i)
	}
}

func (o *NAT) target(j int32) []float32 { return o.targets[int(j)*o.d : int(j+1)*o.d] }

// pullRow is pull for the i-th row of the batch. 2 <z, c> is ||z||^2 + ||c||^2 - ||z - c||^2.
func (o *NAT) pullRow(i int) rowLoss {
	var r rowLoss
	b := len(o.step.rows)
	step := 2 / float32(o.views*b)
	c, before := o.target(o.matching.Perm[o.step.rows[i]]), o.target(o.step.held[i])
	length := kernel.SqDist64(c, o.origin)
	for v := range o.views {
		z := o.view(v, i)
		if o.soft == nil && o.planned == nil {
			dz := o.step.dz[(v*b+i)*o.d:][:len(z)]
			for k, x := range z {
				dz[k] = step * (x - c[k])
			}
		}
		now := kernel.SqDist64(z, c)
		r.loss += now
		r.before += kernel.SqDist64(z, before)
		r.cosine += (kernel.SqDist64(z, o.origin) + length - now) / 2
	}
	if o.views > 1 {
		r.alignment = kernel.SqDist64(o.view(0, i), o.view(1, i))
	}
	return r
}

// view is the embedding of the i-th row of the batch in a view.
func (o *NAT) view(v, i int) []float32 {
	at := (v*len(o.step.rows) + i) * o.d
	return o.step.z[at : at+o.d]
}

// collect adds a batch to the pool and re-pairs the pool when it is full.
func (o *NAT) collect(rows []int32, mean []float32, stats *Stats) error {
	g := o.gather
	g.rows = append(g.rows, rows...)
	g.z = append(g.z, mean...)
	if g.batches++; g.batches < g.size {
		return nil
	}
	pooled := len(g.rows)
	match, err := o.matchPool()
	if err != nil {
		return err
	}
	stats.Pooled = pooled
	stats.PoolReassignment = (match.CostBefore - match.CostAfter) / float64(pooled)
	stats.PoolReassigned = float64(match.Changed) / float64(pooled)
	return nil
}

// matchPool re-pairs the points gathered and empties the pool.
func (o *NAT) matchPool() (assign.Rematch, error) {
	g := o.gather
	match, err := o.matching.Rematch(context.Background(), o.pool, &o.solver, g.rows, g.z, o.targets, o.d)
	g.batches, g.rows, g.z = 0, g.rows[:0], g.z[:0]
	return match, err
}

// EndEpoch re-pairs a pool left unfinished, before its points come round again.
func (o *NAT) EndEpoch() error {
	if o.gather == nil || o.gather.batches == 0 {
		return nil
	}
	_, err := o.matchPool()
	return err
}

// Params implements [Objective]: there are none.
func (o *NAT) Params() []encoder.Param { return nil }

// AssignmentGap is (17) on a probe: by how much the present pairing of the rows
// costs more than the best one of the same points and targets, relative to the
// best. z is len(rows) x d. 0 means not stuck.
func (o *NAT) AssignmentGap(rows []int32, z []float32) (float64, error) {
	r, err := o.matching.Solve(context.Background(), o.pool, &o.solver, rows, z, o.targets, o.d)
	if err != nil {
		return 0, err
	}
	if r.Cost <= 0 {
		return 0, nil // every point sits on its target
	}
	return max(0, r.InitialCost-r.Cost) / r.Cost, nil
}

// Names of the tensors of State.
const (
	tensorPerm    = "perm"
	tensorBatches = "pool.batches"
	tensorRows    = "pool.rows"
	tensorPooled  = "pool.z"
	tensorLearned = "global.learned"
	tensorAverage = "match.average"
)

// State is the permutation, the pool being filled, moving averages, and what the last
// re-pairing of all points learned, as far as there are any. The tensors share memory
// with the NAT: write them before the next step.
func (o *NAT) State() []tensorfile.Tensor {
	ts := []tensorfile.Tensor{{Name: tensorPerm, Shape: []int{o.n}, Data: o.matching.Perm}}
	if g := o.gather; g != nil {
		ts = append(ts,
			tensorfile.Tensor{Name: tensorBatches, Shape: []int{1}, Data: []int32{int32(g.batches)}},
			tensorfile.Tensor{Name: tensorRows, Shape: []int{len(g.rows)}, Data: g.rows},
			tensorfile.Tensor{Name: tensorPooled, Shape: []int{len(g.rows), o.d}, Data: g.z})
	}
	if o.learned != nil {
		ts = append(ts, tensorfile.Tensor{Name: tensorLearned, Shape: []int{o.n}, Data: o.learned})
	}
	if o.average != nil {
		ts = append(ts, tensorfile.Tensor{Name: tensorAverage, Shape: []int{o.n, o.d}, Data: o.average})
	}
	return ts
}

// SetState takes over a State, copying it. Nothing changes on an error.
func (o *NAT) SetState(ts []tensorfile.Tensor) error {
	perm, err := findInt32(ts, tensorPerm, o.n)
	if err != nil {
		return err
	}
	if err := (&assign.Matching{Perm: perm}).Check(); err != nil {
		return fmt.Errorf("tensor %q: %w: %w", tensorPerm, tensorfile.ErrFormat, err)
	}
	learned, err := findLearned(ts, o.n)
	if err != nil {
		return err
	}
	var average []float32
	if o.average != nil {
		t, ok := tensorfile.Find(ts, tensorAverage)
		if !ok {
			return missing(tensorAverage)
		}
		if average, err = t.Float32(o.n, o.d); err != nil {
			return err
		}
	}
	if o.gather != nil {
		if err := o.gather.setState(ts, o.n, o.d); err != nil {
			return err
		}
	}
	copy(o.average, average)
	copy(o.matching.Perm, perm)
	o.learned = learned
	return nil
}

// findLearned returns a copy of what was learned, nil if nothing was.
func findLearned(ts []tensorfile.Tensor, n int) ([]float32, error) {
	t, ok := tensorfile.Find(ts, tensorLearned)
	if !ok {
		return nil, nil
	}
	x, err := t.Float32(n)
	if err != nil {
		return nil, err
	}
	for j, value := range x {
		if v := float64(value); math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("tensor %q: %w: target %d has %v", tensorLearned, tensorfile.ErrFormat, j, v)
		}
	}
	return slices.Clone(x), nil
}

func (g *gathering) setState(ts []tensorfile.Tensor, n, d int) error {
	batches, err := findInt32(ts, tensorBatches, 1)
	if err != nil {
		return err
	}
	rows, err := findInt32(ts, tensorRows)
	if err != nil {
		return err
	}
	t, ok := tensorfile.Find(ts, tensorPooled)
	if !ok {
		return missing(tensorPooled)
	}
	z, err := t.Float32(len(rows), d)
	if err != nil {
		return err
	}
	if batches[0] < 0 || int(batches[0]) >= g.size || (batches[0] == 0) != (len(rows) == 0) {
		return fmt.Errorf("tensor %q: %w: %d batches with %d rows in a pool of %d", tensorBatches, tensorfile.ErrFormat, batches[0], len(rows), g.size)
	}
	seen := make(map[int32]bool, len(rows))
	for _, row := range rows {
		if row < 0 || int(row) >= n || seen[row] {
			return fmt.Errorf("tensor %q: %w: row %d of %d is out of range or there twice", tensorRows, tensorfile.ErrFormat, row, n)
		}
		seen[row] = true
	}
	g.batches = int(batches[0])
	g.rows = append(g.rows[:0], rows...)
	g.z = append(g.z[:0], z...)
	return nil
}

func findInt32(ts []tensorfile.Tensor, name string, shape ...int) ([]int32, error) {
	t, ok := tensorfile.Find(ts, name)
	if !ok {
		return nil, missing(name)
	}
	return t.Int32(shape...)
}

func missing(name string) error {
	return fmt.Errorf("%w: no tensor %q", tensorfile.ErrFormat, name)
}
