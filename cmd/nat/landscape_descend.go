package main

import (
	"context"
	"fmt"
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
}

const (
	maxDescend = 8192 // points: the exact optimum takes a matrix of all costs
	// proofCost is the number of additions that the proofs of one row may take: half a minute or so.
	proofCost = 5e10
)

// descendResult is what landscape descend prints under --json.
type descendResult struct {
	N       int          `json:"n"`
	Dim     int          `json:"dim"`
	Optimal float64      `json:"optimal_cost"`
	Seconds float64      `json:"optimal_seconds"`
	Start   float64      `json:"start_cost"`
	Rows    []descendRow `json:"rows"`
	SVG     string       `json:"svg,omitempty"`
}

type descendRow struct {
	Batch      int     `json:"batch"`
	Final      float64 `json:"final_cost"`
	Excess     float64 `json:"excess"`
	Steps      int     `json:"steps"`
	LastGain   int     `json:"last_gain_step"`
	Seconds    float64 `json:"seconds"`
	Standstill string  `json:"standstill"`
	Improvable bool    `json:"improvable"`

	trace []assign.DescentPoint
}

func (a *app) landscapeDescend() *cobra.Command {
	opt := &descendOptions{}
	cmd := &cobra.Command{
		Use:   "descend",
		Short: "run the minibatch Hungarian to a standstill and compare with the exact optimum",
		Long: `Draw N points and N targets uniformly on the sphere, start from a random pairing, and re-pair random batches exactly
until 20 passes over the points in a row have gained nothing. excess is how far the cost then stands above the
exact optimum. Where it is affordable, the standstill is proven (no batch of this size could gain) or refuted
(some batch could, but chance did not find it in 20 passes).`,
		Example: `  nat landscape descend --n 2000 --dim 16 --batch 2,8,32,128,512 --svg descend.svg`,
		Args:    a.arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := opt.check(); err != nil {
				return err
			}
			return a.descend(cmd.Context(), *opt)
		},
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.IntVar(&opt.n, "n", 2000, "number of points")
	fs.IntVar(&opt.dim, "dim", 16, "dimension")
	fs.IntSliceVar(&opt.batches, "batch", []int{2, 8, 32, 128, 512}, "batch sizes")
	fs.Uint64Var(&opt.seed, "seed", 1, "seed of the points, the first pairing and the batches")
	fs.StringVar(&opt.svg, "svg", "", "plot the excess against batch size and time to this file")
	fs.BoolVar(&opt.overwrite, "overwrite", false, "replace the file of --svg")
	addWorkers(cmd, &opt.workers)
	return cmd
}

func (o descendOptions) check() error {
	if o.n < 2 || o.n > maxDescend {
		return usagef("--n %d: descend takes 2 to %d points", o.n, maxDescend)
	}
	if o.dim < 2 || o.dim > 1<<16 {
		return usagef("--dim %d: wants 2 to 65536", o.dim)
	}
	if len(o.batches) == 0 {
		return usagef("--batch: give at least one size")
	}
	for _, b := range o.batches {
		if b < 2 || b > o.n {
			return usagef("--batch %d: a batch has 2 to N = %d points", b, o.n)
		}
	}
	if o.svg != "" {
		return checkOutputs(o.overwrite, o.svg)
	}
	return nil
}

func (a *app) descend(ctx context.Context, opt descendOptions) error {
	pool := kernel.NewPool(opt.workers)
	defer pool.Close()
	r := rng.New(opt.seed, rng.Landscape)
	z, c := sphere.Uniform(opt.n, opt.dim, r), sphere.Uniform(opt.n, opt.dim, r)
	res, err := descents(ctx, pool, z, c, opt.n, opt.dim, opt.batches, opt.seed, a.progress)
	if err != nil {
		return err
	}
	if opt.svg != "" {
		if err := writeText(opt.svg, descendSVG(res)); err != nil {
			return err
		}
		res.SVG = opt.svg
	}
	a.progress.clear()
	if a.json {
		return a.printJSON(res)
	}
	a.printDescents(res)
	return nil
}

// descents runs one descent per batch size, each from the same random pairing.
func descents(ctx context.Context, pool *kernel.Pool, z, c []float32, n, d int, batches []int, seed uint64, progress *meter) (descendResult, error) {
	res := descendResult{N: n, Dim: d}
	began := time.Now()
	var solver assign.Solver
	best, err := solver.Points(pool, z, c, n, n, d, assign.Options{})
	if err != nil {
		return res, err
	}
	res.Optimal, res.Seconds = best.Cost, time.Since(began).Seconds()
	for i, b := range batches {
		m := assign.NewMatching(n, rng.New(seed, rng.Assign))
		walk, err := m.Descend(ctx, pool, z, c, d, rng.New(seed, rng.Shuffle, uint64(i)), assign.DescentOptions{
			Batch: b, ProofCost: proofCost,
			Progress: func(p assign.DescentPoint) {
				progress.show(status{label: fmt.Sprintf("batch %d", b), done: p.Step, unit: "steps",
					fields: []string{fmt.Sprintf("excess %.3g", p.Cost/best.Cost-1)}}, false)
			},
		})
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return res, err
		}
		res.Start = walk.Trace[0].Cost
		res.Rows = append(res.Rows, descendRow{Batch: b, Final: walk.Cost, Excess: walk.Cost/best.Cost - 1, Steps: walk.Steps,
			LastGain: walk.LastGain, Seconds: walk.Seconds, Standstill: walk.Standstill, Improvable: walk.Improvable, trace: walk.Trace})
	}
	return res, nil
}

func (a *app) printDescents(res descendResult) {
	fmt.Fprintf(a.stdout, "%s and targets in %s; optimum %.6g, found in %.2g s; random pairing %.6g\n",
		plural(res.N, "point"), plural(res.Dim, "dimension"), res.Optimal, res.Seconds, res.Start)
	var rows [][]string
	for _, r := range res.Rows {
		still := r.Standstill
		if r.Improvable {
			still += ", not minimal"
		}
		rows = append(rows, []string{count(r.Batch), fmt.Sprintf("%.6g", r.Final), fmt.Sprintf("%.3g %%", 100*r.Excess),
			count(r.Steps), count(r.LastGain), fmt.Sprintf("%.3g", r.Seconds), still})
	}
	table(a.stdout, []string{"batch", "cost", "excess", "steps", "last gain", "seconds", "standstill"}, rows, 0)
	if res.SVG != "" {
		pairs(a.stdout, "\nplot", res.SVG)
	}
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
		low, high = min(low, max(r.Excess, floor)), max(high, res.Start/res.Optimal-1)
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
				xs, ys = append(xs, p.x.at(t.Seconds)), append(ys, p.y.at(t.Cost/res.Optimal-1))
			}
		}
		if len(xs) == 0 {
			continue
		}
		d.curve(xs, ys, batchColour(i, len(res.Rows)), 2)
		d.text(xs[len(xs)-1]+5, ys[len(ys)-1]+4, 12, "start", inkDark, count(r.Batch))
	}
}

func asPercent(v float64) string { return strconv.FormatFloat(100*v, 'f', -1, 64) + " %" }
