package main

import (
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"
)

// drawing is an SVG image in the making.
type drawing struct{ body strings.Builder }

// The colours of our drawings, readable on white and in print.
const (
	inkBlue = "#1f5fbf"
	inkRed  = "#c8322b"
	inkDark = "#222831"
	inkGrey = "#8a929c"
	inkPale = "#e3e7ec"
)

func (d *drawing) add(format string, args ...any) { fmt.Fprintf(&d.body, format+"\n", args...) }

func (d *drawing) line(x1, y1, x2, y2 float64, colour string, width float64, dash string) {
	extra := ""
	if dash != "" {
		extra = ` stroke-dasharray="` + dash + `"`
	}
	d.add(`<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" stroke-width="%g" stroke-linecap="round"%s/>`, x1, y1, x2, y2, colour, width, extra)
}

func (d *drawing) circle(x, y, r float64, fill, stroke string, width float64) {
	d.add(`<circle cx="%.1f" cy="%.1f" r="%g" fill="%s" stroke="%s" stroke-width="%g"/>`, x, y, r, fill, stroke, width)
}

func (d *drawing) rect(x, y, w, h float64, fill string) {
	d.add(`<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`, x, y, w, h, fill)
}

// text writes s with the anchor start, middle or end at x.
func (d *drawing) text(x, y, size float64, anchor, colour, s string) {
	d.add(`<text x="%.1f" y="%.1f" font-size="%g" text-anchor="%s" fill="%s">%s</text>`, x, y, size, anchor, colour, html.EscapeString(s))
}

// curve joins points by straight lines.
func (d *drawing) curve(xs, ys []float64, colour string, width float64) {
	points := make([]string, len(xs))
	for i := range xs {
		points[i] = fmt.Sprintf("%.1f,%.1f", xs[i], ys[i])
	}
	d.add(`<polyline points="%s" fill="none" stroke="%s" stroke-width="%g" stroke-linejoin="round"/>`, strings.Join(points, " "), colour, width)
}

// svg returns the image, w x h pixels, with its title for those who cannot see it.
func (d *drawing) svg(w, h float64, title string) string {
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" width="%g" height="%g" role="img" font-family="system-ui, sans-serif">
<title>%s</title>
<rect width="100%%" height="100%%" fill="white"/>
%s</svg>
`, w, h, w, h, html.EscapeString(title), d.body.String())
}

// scale maps values to pixels, by their logarithm if log is set.
type scale struct {
	lo, hi   float64 // values
	from, to float64 // pixels
	log      bool
}

func (s scale) at(v float64) float64 {
	lo, hi := s.lo, s.hi
	if s.log {
		lo, hi, v = math.Log(lo), math.Log(hi), math.Log(math.Max(v, s.lo))
	}
	return s.from + (v-lo)/(hi-lo)*(s.to-s.from)
}

// decades returns the powers of ten from lo to hi, which are made to be such powers.
func decades(lo, hi float64) (ticks []float64, low, high float64) {
	first, last := math.Floor(math.Log10(lo)+1e-9), math.Ceil(math.Log10(hi)-1e-9)
	if last == first {
		last++
	}
	for e := first; e <= last; e++ {
		ticks = append(ticks, math.Pow(10, e))
	}
	return ticks, math.Pow(10, first), math.Pow(10, last)
}

// panel is the frame of a plot.
type panel struct {
	x, y           scale
	xTicks, yTicks []float64
	xName, yName   string
	label          func(float64) string // of a tick; nil means %g
}

func (d *drawing) frame(p panel) {
	label := p.label
	if label == nil {
		label = func(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) }
	}
	for _, v := range p.yTicks {
		y := p.y.at(v)
		d.line(p.x.from, y, p.x.to, y, inkPale, 1, "")
		d.text(p.x.from-8, y+4, 12, "end", inkGrey, label(v))
	}
	for _, v := range p.xTicks {
		x := p.x.at(v)
		d.line(x, p.y.from, x, p.y.from+5, inkGrey, 1, "")
		d.text(x, p.y.from+20, 12, "middle", inkGrey, label(v))
	}
	d.line(p.x.from, p.y.from, p.x.to, p.y.from, inkGrey, 1, "")
	d.text((p.x.from+p.x.to)/2, p.y.from+40, 13, "middle", inkDark, p.xName)
	d.text(p.x.from-40, p.y.to-12, 13, "start", inkDark, p.yName)
}
