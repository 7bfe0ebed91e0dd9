package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"nat/assign"
	"nat/internal/kernel"
	"nat/internal/rng"
	"nat/sphere"
)

// descendOptions are the flags of landscape descend.
type descendOptions struct {
	n, dim    int
	batches   []int
	seed      uint64
	svg       string
	overwrite bool
	workers   int

	// With --run: the run, its data, and how long to go on training.
	run, data     string
	limit, epochs int
	lr            float64
}

const (
	maxDescend = 20000 // points
	// maxMatrix is up to how many points the exact optimum is found with a matrix of all costs.
	maxMatrix = 4096
	// proofCost is the number of additions that the proofs of one row may take: half a minute or so, and so few points that
	// the matrices of a proof stay below half a gigabyte.
	proofCost = 5e10
)

// descendResult is what landscape descend prints under --json.
type descendResult struct {
	N         int          `json:"n"`
	Dim       int          `json:"dim"`
	Run       string       `json:"run,omitempty"`
	Data      string       `json:"data,omitempty"`
	Targets   string       `json:"targets,omitempty"`
	Tolerance float64      `json:"tolerance"`
	Optimal   float64      `json:"optimal_cost"`
	Seconds   float64      `json:"optimal_seconds"`
	Start     float64      `json:"start_cost"`
	Rows      []descendRow `json:"rows"`
	Warnings  []string     `json:"warnings,omitempty"`
	SVG       string       `json:"svg,omitempty"`
}

// descendRow is a standstill or, with an encoder, also the end of an epoch before it.
type descendRow struct {
	Batch      int     `json:"batch"`
	Assign     string  `json:"assign"`
	Theta      string  `json:"theta"`
	Epoch      float64 `json:"epoch"` // passes over the points
	Final      float64 `json:"final_cost"`
	Optimal    float64 `json:"optimal_cost"`
	Excess     float64 `json:"excess"`
	Steps      int     `json:"steps"`
	LastGain   int     `json:"last_gain_step"`
	Seconds    float64 `json:"seconds"`
	Standstill string  `json:"standstill"` // empty at the end of an epoch
	Improvable bool    `json:"improvable"`

	trace []assign.DescentPoint
}

// Values of descendRow.Theta: whether the network stands still while pairs are exchanged.
const (
	thetaFixed  = "fixed"
	thetaMoving = "moving"
)

// gainTolerance is the gain below which a batch counts as having gained nothing.
const gainTolerance = 1e-6

func (a *app) landscapeDescend() *cobra.Command {
	opt := &descendOptions{}
	cmd := &cobra.Command{
		Use:   "descend [--run RUN DATA]",
		Short: "run the minibatch Hungarian to a standstill and compare with the exact optimum",
		Long: `Draw N points and N targets uniformly on the sphere, start from a random pairing, and re-pair random batches exactly
until 20 passes over the points in a row have gained nothing. excess is how far the cost then stands above the
exact optimum. Where it is affordable, the standstill is proven (no batch of this size could gain) or refuted
(some batch could, but chance did not find it in 20 passes).

With --run the points are the embeddings of rows of DATA by a run's network, and the targets and the pairing are those that
training left these rows (fresh ones for other data). Beside the network held still, it goes on training from
there, for each batch size, and at the run's batch size with pools of 8 batches and with an exact re-pairing of all
rows after every epoch. After each epoch the pairing is compared with the best one for the embeddings of that moment.
With a minute --lr nothing moves, and what is left is that training pairs rows by their augmented views. Nothing is written into RUN.`,
		Example: `  nat landscape descend --n 2000 --dim 16 --batch 2,8,32,128,512 --svg descend.svg
  nat landscape descend --run RUN DATA --batch 64,256,1024 --epochs 3`,
		Args: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("run") {
				return a.arguments("DATA")(cmd, args)
			}
			return a.arguments()(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				opt.data = args[0]
			}
			if err := opt.check(cmd.Flags().Changed); err != nil {
				return err
			}
			if opt.data != "" {
				return a.descendRun(cmd.Context(), *opt)
			}
			return a.descend(cmd.Context(), *opt)
		},
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.IntVar(&opt.n, "n", 2000, "number of random points")
	fs.IntVar(&opt.dim, "dim", 16, "dimension of the random points")
	fs.StringVar(&opt.run, "run", "", "run whose network embeds the rows of DATA, instead of random points")
	fs.IntVar(&opt.limit, "limit", maxMatrix, "with --run, use only N rows, chosen by a hash of their identity")
	fs.IntVar(&opt.epochs, "epochs", 3, "with --run, how long to go on training")
	fs.Float64Var(&opt.lr, "lr", 0, "with --run, peak learning rate (0: the run's, by batch)")
	fs.IntSliceVar(&opt.batches, "batch", nil, "batch sizes (default 2,8,32,128,512; with --run 64,256,1024)")
	fs.Uint64Var(&opt.seed, "seed", 1, "seed of the points, the first pairing and the batches")
	fs.StringVar(&opt.svg, "svg", "", "plot the excess against batch size and time to this file")
	fs.BoolVar(&opt.overwrite, "overwrite", false, "replace the file of --svg")
	addWorkers(cmd, &opt.workers)
	return cmd
}

// check finds what is wrong before anything is computed, and fills in the batch sizes.
func (o *descendOptions) check(given func(flag string) bool) error {
	others, why := []string{"limit", "epochs", "lr"}, "goes with --run RUN DATA only"
	if given("run") {
		others, why = []string{"n", "dim"}, "is for random points; it does not go with --run"
		if o.run == "" {
			return usagef("--run is empty: name a run")
		}
	}
	for _, name := range others {
		if given(name) {
			return usagef("--%s %s", name, why)
		}
	}
	points, flag := o.n, "n"
	if given("run") {
		points, flag = o.limit, "limit"
	}
	switch {
	case points < 2 || points > maxDescend:
		return usagef("--%s %d: descend takes 2 to %d points", flag, points, maxDescend)
	case o.dim < 2 || o.dim > 1<<16:
		return usagef("--dim %d: wants 2 to 65536", o.dim)
	case o.lr < 0 || math.IsNaN(o.lr) || math.IsInf(o.lr, 0):
		return usagef("--lr %v: wants a positive number", o.lr)
	case o.epochs < 1 || o.epochs > maxLandscapeEpochs:
		return usagef("--epochs %d: wants 1 to %d", o.epochs, maxLandscapeEpochs)
	}
	switch {
	case given("batch"):
		if err := checkBatches(o.batches, points); err != nil {
			return err
		}
	case !given("run"): // else the number of rows is not known yet
		o.batches = fitting([]int{2, 8, 32, 128, 512}, points)
	}
	if o.svg != "" {
		return checkOutputs(o.overwrite, o.svg)
	}
	return nil
}

// fitting leaves the batch sizes that n points allow, or the whole set as the only batch.
func fitting(batches []int, n int) []int {
	left := slices.DeleteFunc(slices.Clone(batches), func(b int) bool { return b > n })
	if len(left) == 0 {
		left = []int{n}
	}
	return left
}

func checkBatches(batches []int, n int) error {
	if len(batches) == 0 {
		return usagef("--batch: give at least one size")
	}
	for _, b := range batches {
		if b < 2 || b > n {
			return usagef("--batch %d: a batch has 2 to N = %d points", b, n)
		}
	}
	return nil
}

func (a *app) descend(ctx context.Context, opt descendOptions) error {
	pool := kernel.NewPool(opt.workers)
	defer pool.Close()
	r := rng.New(opt.seed, rng.Landscape)
	z, c := sphere.Uniform(opt.n, opt.dim, r), sphere.Uniform(opt.n, opt.dim, r)
	res := &descendResult{N: opt.n, Dim: opt.dim}
	start := assign.NewMatching(opt.n, rng.New(opt.seed, rng.Assign)).Perm
	if err := res.descents(ctx, pool, z, c, start, opt, a.progress); err != nil {
		return err
	}
	if opt.svg != "" {
		if err := writeText(opt.svg, descendSVG(*res)); err != nil {
			return err
		}
		res.SVG = opt.svg
	}
	a.progress.clear()
	if a.json {
		return a.printJSON(res)
	}
	a.printDescents(*res)
	return nil
}

// optimum is the least cost of pairing n points with n targets.
func optimum(ctx context.Context, pool *kernel.Pool, z, c []float32, n, d int, start []int32) (float64, error) {
	if n <= maxMatrix {
		var solver assign.Solver
		r, err := solver.Points(ctx, pool, z, c, n, n, d, assign.Options{Start: start})
		if err != nil {
			return 0, err
		}
		return r.Cost, nil
	}
	r, err := assign.Large(ctx, z, c, n, d, assign.LargeOptions{Pool: pool, Start: start})
	if err != nil {
		return 0, err
	}
	return r.Cost, nil
}

// descents adds the optimum, and one descent per batch size from the same pairing start.
func (res *descendResult) descents(ctx context.Context, pool *kernel.Pool, z, c []float32, start []int32, opt descendOptions, progress *meter) error {
	n, d := res.N, res.Dim
	res.Tolerance = gainTolerance
	began := time.Now()
	best, err := optimum(ctx, pool, z, c, n, d, start)
	if err != nil {
		return err
	}
	res.Optimal, res.Seconds = best, time.Since(began).Seconds()
	for _, b := range opt.batches {
		m := &assign.Matching{Perm: slices.Clone(start)}
		walk, err := m.Descend(ctx, pool, z, c, d, rng.New(opt.seed, rng.Shuffle, uint64(b)), assign.DescentOptions{
			Batch: b, Tolerance: gainTolerance, ProofCost: proofCost,
			Progress: func(p assign.DescentPoint) {
				progress.show(status{label: fmt.Sprintf("batch %d", b), done: p.Step, unit: "steps",
					fields: []string{fmt.Sprintf("excess %.3g", excessOf(p.Cost, best))}}, false)
			},
		})
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		res.Start = walk.Trace[0].Cost
		res.Rows = append(res.Rows, descendRow{Batch: b, Assign: "batch", Theta: thetaFixed, Epoch: float64(walk.Steps) / float64(n/b),
			Final: walk.Cost, Optimal: best, Excess: excessOf(walk.Cost, best), Steps: walk.Steps, LastGain: walk.LastGain,
			Seconds: walk.Seconds, Standstill: walk.Standstill, Improvable: walk.Improvable, trace: walk.Trace})
	}
	return nil
}

// excessOf is how far cost is above the optimum, relative to it; what rounding alone can make is 0.
func excessOf(cost, best float64) float64 {
	const rounding = 1e-9
	if best <= 0 || cost/best-1 < rounding { // best is 0 if every point is on its target
		return 0
	}
	return cost/best - 1
}

func (a *app) printDescents(res descendResult) {
	fmt.Fprintf(a.stdout, "%s and targets in %s; optimum %.6g, found in %.2g s; random pairing %.6g\n",
		plural(res.N, "point"), plural(res.Dim, "dimension"), res.Optimal, res.Seconds, res.Start)
	var rows [][]string
	for _, r := range res.Rows {
		rows = append(rows, []string{count(r.Batch), fmt.Sprintf("%.6g", r.Final), excessText(r.Excess),
			count(r.Steps), count(r.LastGain), fmt.Sprintf("%.3g", r.Seconds), r.still()})
	}
	table(a.stdout, []string{"batch", "cost", "excess", "steps", "last gain", "seconds", "standstill"}, rows, 0)
	fmt.Fprintf(a.stdout, "a gain of %g or less counts as none\n", res.Tolerance)
	if res.SVG != "" {
		pairs(a.stdout, "\nplot", res.SVG)
	}
}

func excessText(x float64) string { return fmt.Sprintf("%.3g %%", 100*x) }

func (r descendRow) still() string {
	if r.Improvable {
		return r.Standstill + ", not minimal"
	}
	return r.Standstill
}

// batchColour runs from light to dark blue over the batch sizes.
func batchColour(i, n int) string {
	t := float64(i+1) / float64(n)
	mix := func(from, to float64) int { return int(from + (to-from)*t) }
	return fmt.Sprintf("#%02x%02x%02x", mix(168, 12), mix(205, 52), mix(240, 120))
}

// descendSVG plots the excess at the standstill against the batch size, and on the way there against time.
func descendSVG(res descendResult) string {
	const floor = 1e-6 // of the excess
	d := &drawing{}
	d.text(30, 32, 17, "start", inkDark, fmt.Sprintf("The minibatch Hungarian on %s points and targets in %s", count(res.N), plural(res.Dim, "dimension")))
	low, high := 1., floor
	for _, r := range res.Rows {
		low, high = min(low, max(r.Excess, floor)), max(high, excessOf(res.Start, res.Optimal))
	}
	yTicks, yLo, yHi := decades(low, high)
	left := panel{x: scale{lo: 1.6, hi: float64(res.N) * 1.2, from: 90, to: 440, log: true}, y: scale{yLo, yHi, 350, 90, true},
		yTicks: yTicks, xName: "batch", yName: "excess over the optimum at the standstill", label: asPercent}
	d.frame(left)
	var xs, ys []float64
	for _, r := range res.Rows {
		xs, ys = append(xs, left.x.at(float64(r.Batch))), append(ys, left.y.at(max(r.Excess, yLo)))
	}
	d.curve(xs, ys, inkGrey, 1.5)
	for i, r := range res.Rows {
		fill := "white"
		if r.Standstill == assign.Proven {
			fill = batchColour(i, len(res.Rows))
		}
		d.circle(xs[i], ys[i], 5, fill, batchColour(i, len(res.Rows)), 2)
		d.text(xs[i], 370, 12, "middle", inkGrey, count(r.Batch))
	}
	d.text(90, 415, 12, "start", inkGrey, "filled: proven local minimum; hollow: 20 passes without a gain")
	descendTimes(d, res, panel{yTicks: yTicks, y: scale{yLo, yHi, 350, 90, true}, xName: "seconds", yName: "excess on the way"})
	return d.svg(960, 430, "Excess of the minibatch Hungarian over the optimum, by batch size and time")
}

// descendTimes is the right half of descendSVG.
func descendTimes(d *drawing, res descendResult, p panel) {
	const first = 1e-4 // seconds
	last := first * 10
	for _, r := range res.Rows {
		last = max(last, r.Seconds)
	}
	p.xTicks, p.x.lo, p.x.hi = decades(first, last)
	p.x.from, p.x.to, p.x.log, p.label = 560, 880, true, asPercent
	xTicks := p.xTicks
	p.xTicks = nil // their labels are not percentages
	d.frame(p)
	for _, v := range xTicks {
		d.text(p.x.at(v), p.y.from+20, 12, "middle", inkGrey, strconv.FormatFloat(v, 'g', 3, 64))
	}
	for i, r := range res.Rows {
		var xs, ys []float64
		for _, t := range r.trace {
			if t.Seconds >= p.x.lo {
				xs, ys = append(xs, p.x.at(t.Seconds)), append(ys, p.y.at(excessOf(t.Cost, res.Optimal)))
			}
		}
		if len(xs) == 0 {
			continue
		}
		d.curve(xs, ys, batchColour(i, len(res.Rows)), 2)
		d.text(xs[len(xs)-1]+5, ys[len(ys)-1]+4, 12, "start", inkDark, count(r.Batch))
	}
}

func asPercent(v float64) string { return strconv.FormatFloat(100*v, 'g', 6, 64) + " %" }
