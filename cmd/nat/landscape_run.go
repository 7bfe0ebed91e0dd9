package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"

	"nat"
	"nat/assign"
	"nat/internal/kernel"
)

// maxLandscapeEpochs bounds the training of landscape descend: every epoch is a row of each setting.
const maxLandscapeEpochs = 100

// descendRun is landscape descend --run: with the network held still, and with the network in training.
func (a *app) descendRun(ctx context.Context, opt descendOptions) error {
	run, err := openRun(opt.run)
	if err != nil {
		return err
	}
	l, err := run.Landscape(ctx, opt.data, nat.LandscapeOptions{Limit: opt.limit, Seed: opt.seed, Workers: opt.workers}, a.observe)
	if err != nil {
		return classify(err, nat.ErrInput)
	}
	defer l.Close()
	a.warn(l.Warnings)
	if opt.batches == nil {
		opt.batches = fitting([]int{64, 256, 1024}, l.N)
	}
	if err := checkBatches(opt.batches, l.N); err != nil {
		return err
	}
	res := &descendResult{N: l.N, Dim: l.Dim, Run: opt.run, Data: opt.data, Targets: l.Pairing, Warnings: l.Warnings}
	if err := a.descendStill(ctx, l, res, opt); err != nil {
		return err
	}
	for _, s := range settings(opt, l.Batch) {
		if err := a.descendMoving(ctx, l, res, s); err != nil {
			return classify(err, nat.ErrInput)
		}
	}
	if opt.svg != "" {
		if err := writeText(opt.svg, movingSVG(*res)); err != nil {
			return err
		}
		res.SVG = opt.svg
	}
	a.progress.clear()
	if a.json {
		return a.printJSON(res)
	}
	a.printMoving(*res, opt.epochs)
	return nil
}

// settings are the trainings to compare: each batch size, and what re-pairs more at once at the run's own.
func settings(opt descendOptions, batch int) []nat.LandscapeTraining {
	var all []nat.LandscapeTraining
	for _, b := range opt.batches {
		all = append(all, nat.LandscapeTraining{Batch: b, Assign: "batch", Epochs: opt.epochs, LR: opt.lr})
	}
	for _, assign := range []string{"pool", "global"} {
		all = append(all, nat.LandscapeTraining{Batch: batch, Assign: assign, Epochs: opt.epochs, LR: opt.lr})
	}
	return all
}

// descendStill adds the descents of the network held still, with a row for every epoch before the standstill.
func (a *app) descendStill(ctx context.Context, l *nat.Landscape, res *descendResult, opt descendOptions) error {
	pool := kernel.NewPool(opt.workers)
	defer pool.Close()
	start := assign.NewMatching(l.N, nil).Perm
	if err := res.descents(ctx, pool, l.Z, l.Targets, start, opt, a.progress); err != nil {
		return err
	}
	standstills := res.Rows
	res.Rows = nil
	for _, still := range standstills {
		for epoch := range opt.epochs + 1 {
			row := still
			row.Epoch, row.Steps = float64(epoch), min(epoch*(l.N/still.Batch), still.Steps)
			row.Standstill, row.Improvable = "", false
			for _, p := range still.trace { // points 5 % apart: within the first 20 passes each
				if p.Step <= row.Steps {
					row.Final, row.Seconds = p.Cost, p.Seconds
				}
			}
			row.Excess, row.LastGain = excessOf(row.Final, row.Optimal), min(still.LastGain, row.Steps)
			res.Rows = append(res.Rows, row)
		}
		res.Rows = append(res.Rows, still)
	}
	return nil
}

// descendMoving adds the epochs of one training.
func (a *app) descendMoving(ctx context.Context, l *nat.Landscape, res *descendResult, s nat.LandscapeTraining) error {
	a.progress.note("training with batches of %s, --assign %s", count(s.Batch), s.Assign)
	epochs, err := l.Train(ctx, s, a.observe)
	if err != nil {
		return err
	}
	for _, e := range epochs {
		res.Rows = append(res.Rows, descendRow{Batch: s.Batch, Assign: s.Assign, Theta: thetaMoving, Epoch: float64(e.Epoch),
			Final: e.Cost, Optimal: e.Optimal, Excess: e.Excess, Steps: e.Steps, Seconds: e.Seconds})
	}
	return nil
}

// descendCurve is what rows of one setting have in common, and the rows.
type descendCurve struct {
	batch         int
	assign, theta string
	epochs        []descendRow
	still         *descendRow // nil in training
}

// curves puts the rows of each setting together.
func (res descendResult) curves() (all []*descendCurve) {
	for i := range res.Rows {
		r := &res.Rows[i]
		var c *descendCurve
		if n := len(all); n > 0 && all[n-1].batch == r.Batch && all[n-1].assign == r.Assign && all[n-1].theta == r.Theta {
			c = all[n-1]
		} else {
			c = &descendCurve{batch: r.Batch, assign: r.Assign, theta: r.Theta}
			all = append(all, c)
		}
		if r.Standstill != "" {
			c.still = r
			continue
		}
		c.epochs = append(c.epochs, *r)
	}
	return all
}

// shownEpochs are the columns of the table: the start, powers of two, and the last.
func shownEpochs(last int) []int {
	shown := []int{0}
	for e := 1; e < last; e *= 2 {
		shown = append(shown, e)
	}
	return append(shown, last)
}

func (a *app) printMoving(res descendResult, epochs int) {
	whose := "targets drawn anew"
	if res.Targets == nat.PairingRun {
		whose = "the targets that training left them"
	}
	fmt.Fprintf(a.stdout, "%s in %s, with %s: cost %.6g, optimum %.6g, found in %.2g s\n",
		plural(res.N, "row"), plural(res.Dim, "dimension"), whose, res.Start, res.Optimal, res.Seconds)
	shown := shownEpochs(epochs)
	header := []string{"network", "re-paired by", "batch", "start"}
	for _, e := range shown[1:] {
		header = append(header, "epoch "+strconv.Itoa(e))
	}
	var rows [][]string
	for _, c := range res.curves() {
		row := []string{map[string]string{thetaFixed: "held still", thetaMoving: "in training"}[c.theta], c.assign, count(c.batch)}
		for _, e := range shown {
			row = append(row, excessText(c.epochs[e].Excess))
		}
		if c.still != nil {
			row = append(row, excessText(c.still.Excess), count(c.still.Steps), c.still.still())
		} else {
			row = append(row, "", "", "")
		}
		rows = append(rows, row)
	}
	table(a.stdout, append(header, "standstill", "steps", ""), rows, 2)
	fmt.Fprintf(a.stdout, "excess over the exact optimum for the embeddings of the moment, not augmented; a gain of %g or less counts as none\n", res.Tolerance)
	if res.SVG != "" {
		pairs(a.stdout, "\nplot", res.SVG)
	}
}

// movingSVG plots the excess epoch by epoch, on the left with the network held still and on the right in training.
func movingSVG(res descendResult) string {
	d := &drawing{}
	d.text(30, 32, 17, "start", inkDark, fmt.Sprintf("How far the pairing of %s rows is from the best, epoch by epoch", count(res.N)))
	const floor = 1e-4 // of the excess
	low, high, highest, last, batches := 1., floor, floor, 1., []int{}
	for _, r := range res.Rows {
		if r.Theta == thetaMoving {
			highest, last = max(highest, r.Excess), max(last, r.Epoch)
			continue
		}
		low, high = min(low, max(r.Excess, floor)), max(high, r.Excess)
		if !slices.Contains(batches, r.Batch) {
			batches = append(batches, r.Batch)
		}
	}
	still := panel{x: scale{0, last, 90, 380, false}, y: scale{from: 350, to: 90, log: true}, xName: "epochs", yName: "excess, network held still", label: asPercent}
	still.yTicks, still.y.lo, still.y.hi = decades(low, high)
	moving := panel{x: scale{0, last, 580, 850, false}, y: scale{from: 350, to: 90}, xName: "epochs", yName: "excess, network in training", label: asPercent}
	moving.yTicks = linearTicks(highest)
	moving.y.hi = moving.yTicks[len(moving.yTicks)-1]
	for _, c := range []struct {
		p     panel
		theta string
	}{{still, thetaFixed}, {moving, thetaMoving}} {
		d.frame(c.p)
		for _, e := range shownEpochs(int(last)) {
			d.text(c.p.x.at(float64(e)), c.p.y.from+20, 12, "middle", inkGrey, strconv.Itoa(e))
		}
		var labels []label
		for _, curve := range res.curves() {
			if curve.theta == c.theta {
				labels = append(labels, curve.draw(d, c.p, batches))
			}
		}
		d.labels(labels)
	}
	d.text(90, 415, 12, "start", inkGrey, "circles: where exchanges within batches come to a standstill (filled: a proven local minimum). The left scale is logarithmic, the right linear.")
	return d.svg(1000, 430, "Excess of the pairing over the optimum, with the network held still and in training")
}

// linearTicks are the multiples, from 0, of 1, 2 or 5 times a power of ten until one is not below high: two to six.
func linearTicks(high float64) []float64 {
	step := math.Pow(10, math.Floor(math.Log10(high)))
	switch {
	case high/step > 5:
		step *= 2
	case high/step < 2.5:
		step /= 2
	}
	ticks := []float64{0}
	for k := 1; ticks[len(ticks)-1] < high; k++ {
		ticks = append(ticks, float64(k)*step)
	}
	return ticks
}

// label is a curve's name beside its end.
type label struct {
	x, y         float64
	colour, text string
}

// labels writes them from the top down, apart where their curves end together.
func (d *drawing) labels(all []label) {
	slices.SortStableFunc(all, func(a, b label) int { return cmp.Compare(a.y, b.y) })
	const apart = 14
	for i, l := range all {
		if i > 0 {
			l.y = max(l.y, all[i-1].y+apart)
		}
		all[i] = l
		d.text(l.x, l.y+4, 12, "start", l.colour, l.text)
	}
}

// draw adds the curve, blue by batch size, red for pools, black for all rows at once, and returns its label.
func (c *descendCurve) draw(d *drawing, p panel, batches []int) label {
	l := label{colour: batchColour(max(slices.Index(batches, c.batch), 0), len(batches)), text: count(c.batch)}
	switch c.assign {
	case "pool":
		l.colour, l.text = inkRed, l.text+", pools"
	case "global":
		l.colour, l.text = inkDark, l.text+", global"
	}
	var xs, ys []float64
	for _, r := range c.epochs {
		xs, ys = append(xs, p.x.at(r.Epoch)), append(ys, p.y.at(max(r.Excess, p.y.lo)))
	}
	d.curve(xs, ys, l.colour, 2)
	l.x, l.y = p.x.to+6, ys[len(ys)-1]
	if c.still == nil {
		return l
	}
	fill := "white"
	if c.still.Standstill == assign.Proven {
		fill = l.colour
	}
	end := p.y.at(max(c.still.Excess, p.y.lo))
	d.line(p.x.to, l.y, p.x.to+30, end, l.colour, 1, "2 4")
	d.circle(p.x.to+30, end, 5, fill, l.colour, 2)
	l.x, l.y = p.x.to+40, end
	return l
}
