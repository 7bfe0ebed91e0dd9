package main

import (
	"fmt"
	"math"
	"strings"
)

// classInks are the colours of classes, in turn.
var classInks = []string{"#1f5fbf", "#e07b39", "#2f9e5b", "#c8322b", "#7b52c9", "#8a6d3b", "#d65fa8", "#5f6b7a", "#b0a218", "#1fa3b5"}

// twistSVG draws the points as they are twisted, and below what becomes of information and of the probes.
func twistSVG(res *twistResult) string {
	const width = 960
	d := &drawing{}
	d.text(30, 34, 17, "start", inkDark, fmt.Sprintf("A twist that keeps volumes: %s points in %d dimensions", count(res.N), res.Dim))
	shown := panelsOf(len(res.rows))
	step := (width - 60.) / float64(len(shown))
	reach := res.reach()
	for i, k := range shown {
		r := min(step/2-8, 105)
		drawTwisted(d, res.rows[k], 30+step*(float64(i)+.5), 172, r, reach)
		d.text(30+step*(float64(i)+.5), 302, 13, "middle", inkDark, fmt.Sprintf("strength %g", res.Rows[k].Strength))
	}
	plot := func(from, to, top float64, yTicks []float64, name string) panel {
		p := panel{x: scale{-.3, float64(len(res.Rows)) - .7, from, to, false}, y: scale{0, top, 580, 375, false}, yTicks: yTicks, yName: name, xName: "strength of the twist"}
		d.frame(p)
		for i, r := range res.Rows {
			d.text(p.x.at(float64(i)), 600, 12, "middle", inkGrey, fmt.Sprintf("%g", r.Strength))
		}
		return p
	}
	top := 1.12 * min(res.Ceiling, res.Capacity)
	for _, r := range res.Rows {
		top = max(top, 1.05*r.Nats)
	}
	left := plot(80, 450, top, evenTicks(0, top), fmt.Sprintf("information through noise %g, nats", res.Noise))
	limit, limitName := res.Capacity, "capacity"
	if res.Ceiling < limit {
		limit, limitName = res.Ceiling, "log N"
	}
	d.line(left.x.from, left.y.at(limit), left.x.to, left.y.at(limit), inkGrey, 1.5, "6 4")
	d.text(left.x.to, left.y.at(limit)-6, 12, "end", inkGrey, limitName)
	drawCurve(d, left, res, inkDark, func(r twistRow) (float64, float64) { return r.Nats, r.Stderr })
	right := plot(560, 930, 1, []float64{0, .2, .4, .6, .8, 1}, "accuracy of probes")
	d.line(right.x.from, right.y.at(res.Chance), right.x.to, right.y.at(res.Chance), inkGrey, 1.5, "6 4")
	d.text(right.x.from+6, right.y.at(res.Chance)+16, 12, "start", inkGrey, "chance")
	noErr := func(of func(twistRow) float64) func(twistRow) (float64, float64) {
		return func(r twistRow) (float64, float64) {
			p := of(r)
			return p, math.Sqrt(p * (1 - p) / float64(res.Tested))
		}
	}
	drawCurve(d, right, res, inkBlue, noErr(func(r twistRow) float64 { return r.KNN }))
	drawCurve(d, right, res, inkRed, noErr(func(r twistRow) float64 { return r.Linear }))
	legend(d, 760, 350, "nearest", inkBlue, "", "linear", inkRed, "")
	return d.svg(width, 640, "Twisted points: information stays, classes are lost")
}

// panelsOf chooses up to four rows to show, evenly, with the first and the last.
func panelsOf(n int) []int {
	most := min(n, 4)
	rows := make([]int, most)
	for i := range rows {
		rows[i] = i * (n - 1) / max(most-1, 1)
	}
	return rows
}

// reach is the largest coordinate of all points shown.
func (res *twistResult) reach() float64 {
	most := 1e-9
	for _, t := range res.rows {
		for i := range t.x {
			most = max(most, math.Hypot(t.x[i], t.y[i]))
		}
	}
	return most
}

func drawTwisted(d *drawing, t twisted, x, y, r, reach float64) {
	d.circle(x, y, r+6, "none", inkPale, 1.5)
	dots := map[string]*strings.Builder{}
	for i := range t.x {
		ink := classInks[t.class[i]%len(classInks)]
		if dots[ink] == nil {
			dots[ink] = &strings.Builder{}
		}
		fmt.Fprintf(dots[ink], "M%.1f %.1fh0", x+t.x[i]/reach*r, y-t.y[i]/reach*r)
	}
	for _, ink := range classInks {
		if dots[ink] != nil { // one path a class: round ends of no length are dots
			d.add(`<path d="%s" stroke="%s" stroke-width="4.4" stroke-linecap="round"/>`, dots[ink], ink)
		}
	}
}

// drawCurve draws a measure of all rows with two standard errors.
func drawCurve(d *drawing, p panel, res *twistResult, colour string, of func(twistRow) (value, err float64)) {
	var xs, ys []float64
	for i, r := range res.Rows {
		v, e := of(r)
		x := p.x.at(float64(i))
		xs, ys = append(xs, x), append(ys, p.y.at(v))
		d.line(x, p.y.at(v-2*e), x, p.y.at(v+2*e), colour, 1.5, "")
	}
	d.curve(xs, ys, colour, 2.5)
	for i := range xs {
		d.circle(xs[i], ys[i], 4, colour, "white", 1)
	}
}
