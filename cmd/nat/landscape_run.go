package main

import (
	"context"
	"fmt"
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
		all = append(all, nat.LandscapeTraining{Batch: b, Assign: "batch", Epochs: opt.epochs})
	}
	for _, assign := range []string{"pool", "global"} {
		all = append(all, nat.LandscapeTraining{Batch: batch, Assign: assign, Epochs: opt.epochs})
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
	low, high, last, batches := 1., floor, 1., []int{}
	for _, r := range res.Rows {
		low, high = min(low, max(r.Excess, floor)), max(high, r.Excess)
		if r.Standstill == "" {
			last = max(last, r.Epoch)
		}
		if !slices.Contains(batches, r.Batch) && r.Theta == thetaFixed {
			batches = append(batches, r.Batch)
		}
	}
	yTicks, yLo, yHi := decades(low, high)
	at := func(from, to float64, name string) panel {
		return panel{x: scale{0, last, from, to, false}, y: scale{yLo, yHi, 350, 90, true}, yTicks: yTicks, xName: "epochs", yName: name, label: asPercent}
	}
	still, moving := at(90, 380, "excess, network held still"), at(560, 850, "excess, network in training")
	for _, p := range []panel{still, moving} {
		d.frame(p)
		for _, e := range shownEpochs(int(last)) {
			d.text(p.x.at(float64(e)), p.y.from+20, 12, "middle", inkGrey, strconv.Itoa(e))
		}
	}
	for _, c := range res.curves() {
		p := still
		if c.theta == thetaMoving {
			p = moving
		}
		c.draw(d, p, batches)
	}
	d.text(90, 415, 12, "start", inkGrey, "circles: where exchanges within batches come to a standstill (filled: a proven local minimum)")
	return d.svg(1000, 430, "Excess of the pairing over the optimum, with the network held still and in training")
}

// draw adds the curve: blue by batch size, red for pools, black for all rows at once.
func (c *descendCurve) draw(d *drawing, p panel, batches []int) {
	colour, width := batchColour(max(slices.Index(batches, c.batch), 0), len(batches)), 2.
	name := count(c.batch)
	switch c.assign {
	case "pool":
		colour, name = inkRed, name+" pool"
	case "global":
		colour, name = inkDark, name+" global"
	}
	var xs, ys []float64
	for _, r := range c.epochs {
		xs, ys = append(xs, p.x.at(r.Epoch)), append(ys, p.y.at(max(r.Excess, p.y.lo)))
	}
	d.curve(xs, ys, colour, width)
	x, y := p.x.to+6, ys[len(ys)-1]
	if c.still != nil {
		fill := "white"
		if c.still.Standstill == assign.Proven {
			fill = colour
		}
		end := p.y.at(max(c.still.Excess, p.y.lo))
		d.line(p.x.to, y, x+24, end, colour, 1, "2 4")
		d.circle(x+24, end, 5, fill, colour, 2)
		x, y = x+34, end
	}
	d.text(x, y+4, 12, "start", colour, name)
}
