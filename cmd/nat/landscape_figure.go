package main

import (
	"fmt"
	"math"
)

// figureSVG draws the three points: the pairing that a batch of two is stuck in (blue) beside the better one (red), the
// costs of all pairings against the offset, and the six pairings one by one.
func figureSVG(res figureResult) string {
	d := &drawing{}
	current, other := contrast(res)
	title := fmt.Sprintf("Targets turned by %g°: no local minimum but the global one", res.Offset)
	if current.Local && !current.Global {
		title = fmt.Sprintf("Targets turned by %g°: a batch of two cannot leave the blue pairing for the red one", res.Offset)
	} else if res.GlobalMinima > 1 {
		title = fmt.Sprintf("Targets turned by %g°: two pairings share the least cost", res.Offset)
	}
	d.text(30, 34, 17, "start", inkDark, title)
	w := wheel{190, 205, 115, res.Offset}
	w.ring(d)
	w.pairing(d, other.Perm, inkRed, 3, "2 7")
	w.pairing(d, current.Perm, inkBlue, 3, "")
	w.marks(d, 8, true)
	d.line(60, 358, 90, 358, inkBlue, 3, "")
	d.text(98, 362, 13, "start", inkDark, fmt.Sprintf("%s, cost %.3f", describe(current, "current pairing"), current.Cost))
	d.line(60, 380, 90, 380, inkRed, 3, "2 7")
	d.text(98, 384, 13, "start", inkDark, fmt.Sprintf("%s, cost %.3f", describe(other, "alternative"), other.Cost))
	d.circle(330, 358, 6, inkDark, inkDark, 1)
	d.text(342, 362, 13, "start", inkDark, "point")
	d.circle(330, 380, 6, "white", inkDark, 2)
	d.text(342, 384, 13, "start", inkDark, "target")
	costsOverOffset(d, res)
	for i, p := range res.Permutations {
		small := wheel{float64(95 + 150*i), 490, 45, res.Offset}
		small.ring(d)
		colour := inkGrey
		switch {
		case p.Global:
			colour = inkRed
		case p.Local:
			colour = inkBlue
		}
		small.pairing(d, p.Perm, colour, 2, "")
		small.marks(d, 4, false)
		d.text(small.x, 565, 13, "middle", inkDark, fmt.Sprintf("cost %.3f", p.Cost))
		d.text(small.x, 583, 12, "middle", colour, kindOf(p))
	}
	return d.svg(940, 605, title)
}

// contrast chooses the pairing to show as the current one, a trap if there is any, and the one to compare it with.
func contrast(res figureResult) (current, other permutation) {
	for _, p := range res.Permutations {
		if p.Local && (current.Perm == nil || current.Global && !p.Global) {
			current = p
		}
	}
	for _, p := range res.Permutations {
		if &p.Perm[0] == &current.Perm[0] {
			continue
		}
		if other.Perm == nil || p.Cost < other.Cost {
			other = p
		}
	}
	return current, other
}

func describe(p permutation, otherwise string) string {
	if kind := kindOf(p); kind != "" {
		return kind
	}
	return otherwise
}

// wheel is a circle with three points, and three targets turned by offset degrees.
type wheel struct{ x, y, r, offset float64 }

func (w wheel) at(degrees, r float64) (x, y float64) {
	sin, cos := math.Sincos(degrees * math.Pi / 180)
	return w.x + r*cos, w.y - r*sin
}

func (w wheel) ring(d *drawing) { d.circle(w.x, w.y, w.r, "none", inkPale, 2) }

func (w wheel) pairing(d *drawing, perm []int32, colour string, width float64, dash string) {
	for i, j := range perm {
		x1, y1 := w.at(120*float64(i), w.r)
		x2, y2 := w.at(120*float64(j)+w.offset, w.r)
		d.line(x1, y1, x2, y2, colour, width, dash)
	}
}

// marks draws points and targets, with their numbers if named.
func (w wheel) marks(d *drawing, r float64, named bool) {
	for i := range 3 {
		x, y := w.at(120*float64(i), w.r)
		d.circle(x, y, r, inkDark, inkDark, 1)
		tx, ty := w.at(120*float64(i)+w.offset, w.r)
		d.circle(tx, ty, r, "white", inkDark, 2)
		if named {
			x, y = w.at(120*float64(i), w.r+22)
			d.text(x, y+5, 13, "middle", inkDark, fmt.Sprint(i+1))
			tx, ty = w.at(120*float64(i)+w.offset, w.r-22)
			d.text(tx, ty+5, 13, "middle", inkGrey, fmt.Sprint(i+1))
		}
	}
}

// costsOverOffset plots the costs of the six pairings for offsets from -60 to 60 degrees, with the trapping ones shaded.
func costsOverOffset(d *drawing, res figureResult) {
	p := panel{x: scale{-60, 60, 520, 890, false}, y: scale{0, 12, 350, 90, false}, xTicks: []float64{-60, -30, 0, 30, 60},
		yTicks: []float64{0, 3, 6, 9, 12}, xName: "offset, degrees", yName: "cost of each pairing; shaded: some pairing is a trap"}
	for _, t := range res.Trapping {
		lo, hi := p.x.at(max(t[0], -60)), p.x.at(min(t[1], 60))
		d.rect(lo, p.y.to, hi-lo, p.y.from-p.y.to, "#eef3fb")
	}
	d.frame(p)
	for k := range 3 {
		var xs, ys []float64
		for o := -60.; o <= 60; o++ {
			xs, ys = append(xs, p.x.at(o)), append(ys, p.y.at(3*(2-2*math.Cos((o+120*float64(k))*math.Pi/180))))
		}
		d.curve(xs, ys, inkBlue, 2)
	}
	d.line(p.x.from, p.y.at(6), p.x.to, p.y.at(6), inkGrey, 2, "1 5")
	d.text(p.x.at(0), p.y.at(6)-7, 12, "middle", inkGrey, "the three odd pairings")
	at := res.Offset - 120*math.Round(res.Offset/120) // a third of a turn only renames the targets
	d.line(p.x.at(at), p.y.from, p.x.at(at), p.y.to, inkDark, 1, "4 4")
}
