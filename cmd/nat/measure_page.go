package main

import (
	"fmt"
	"html/template"
	"io"
	"math"

	"nat/infomax"
	"nat/sphere"
)

// measurePage is what the template shows.
type measurePage struct {
	Title, Source, Size string
	Tiles               []measureTile
	Warnings            []string
	Ruler, Method       string
	Bands               []bandRow
	Spectrum, Curve     template.HTML
	Information         []informationFields
	UniformSamples      int
}

type measureTile struct{ Name, Value, Note string }

// bandRow is a gauge with a picture of where it is beside the band of uniform samples.
type bandRow struct {
	Name, Value, Uniform, Note string
	Picture                    template.HTML
}

// writeMeasurePage writes the page: one file that loads nothing.
func writeMeasurePage(w io.Writer, r *measureResult) error {
	p := measurePage{
		Title: "Measured: " + r.source, Source: r.source, Size: fmt.Sprintf("%s of %d dimensions", plural(r.N, "row"), r.Dim),
		Warnings: r.Warnings, Ruler: r.ruler(), Method: r.Wasserstein.method(), Bands: r.bands(),
		Spectrum: template.HTML(r.drawSpectrum()), Curve: template.HTML(r.drawInformation()),
		Information: r.Information, UniformSamples: r.Uniform.Samples,
	}
	at := r.Information[len(r.Information)/2]
	p.Tiles = []measureTile{
		{"uniformity score", fmt.Sprintf("%.3f", r.Wasserstein.Score), "1 is uniform, 0 a single point"},
		{"effective rank", fmt.Sprintf("%.1f", r.EffectiveRank), fmt.Sprintf("uniform rows have %.1f of %d", r.Uniform.EffectiveRank[1], r.Dim)},
		{"information", fmt.Sprintf("%.2f nats", at.Nats), fmt.Sprintf("at noise %g; the ceiling is %.2f", at.Noise, at.Ceiling)},
		{"efficiency", fmt.Sprintf("%.1f %%", 100*at.Efficiency), fmt.Sprintf("of uniform rows, at noise %g", at.Noise)},
	}
	return measureTemplate.Execute(w, p)
}

// bands lays the gauges out beside the null: the whole range of uniform samples, or two deviations around its mean.
func (r *measureResult) bands() []bandRow {
	w, u := r.Wasserstein, r.Uniform
	chi := func(t testFields) [2]float64 {
		sd := math.Sqrt(2 * float64(t.DoF))
		return [2]float64{max(float64(t.DoF)-2*sd, 0), float64(t.DoF) + 2*sd}
	}
	row := func(name string, value float64, null [2]float64, note string) bandRow {
		return bandRow{name, fixed(value), band(null), note, template.HTML(drawBand(value, null))}
	}
	n := float64(r.N)
	return []bandRow{
		row("Wasserstein", w.Value, [2]float64{w.NullMean - 2*w.NullSD, w.NullMean + 2*w.NullSD}, "mean squared distance to fresh uniform targets, optimally paired"),
		row("sliced Wasserstein", r.Sliced, u.Sliced, "the same of projections on random directions"),
		row("Wang-Isola", r.WangIsola, u.WangIsola, fmt.Sprintf("0 for a single point, floor of all laws %.3f", sphere.WangIsolaFloor(r.Dim))),
		row("effective rank", r.EffectiveRank, u.EffectiveRank, fmt.Sprintf("of %d", r.Dim)),
		row("nearest row", r.Nearest, u.Nearest, "mean squared distance to it"),
		row("Rayleigh", r.Rayleigh.Statistic, chi(r.Rayleigh), fmt.Sprintf("is the mean zero? %.3g a row", r.Rayleigh.Statistic/n)),
		row("Bingham", r.Bingham.Statistic, chi(r.Bingham), fmt.Sprintf("are all directions alike? %.3g a row", r.Bingham.Statistic/n)),
	}
}

// drawBand shows value, a dot, and the band of uniform samples on one line.
func drawBand(value float64, null [2]float64) string {
	const width = 240
	lo, hi := min(value, null[0]), max(value, null[1])
	margin := (hi - lo) * .08
	if margin == 0 {
		margin = 1
	}
	s := scale{lo: lo - margin, hi: hi + margin, from: 0, to: width}
	d := &drawing{}
	d.line(2, 10, width-2, 10, inkPale, 2, "")
	left := s.at(null[0])
	d.rect(left, 3, max(s.at(null[1])-left, 2), 14, "#9fc3a5")
	colour, far := inkBlue, 2*(null[1]-null[0]) // of a few samples the range is less than the band
	if value < null[0]-far || value > null[1]+far {
		colour = inkRed
	}
	d.circle(s.at(value), 10, 5, colour, "white", 1.5)
	return d.svg(width, 20, fmt.Sprintf("%s, uniform rows %s", fixed(value), band(null)))
}

// drawSpectrum draws the eigenvalues of the covariance, largest first, beside those of a uniform sample.
func (r *measureResult) drawSpectrum() string {
	d := &drawing{}
	low := 1e-6
	for _, x := range r.spectrum {
		if share := x / total(r.spectrum) * float64(r.Dim); share > 0 {
			low = math.Max(1e-6, math.Min(share, .1))
		}
	}
	high := 1.0
	if t := total(r.spectrum); t > 0 {
		high = r.spectrum[0] / t * float64(r.Dim)
	}
	ticks, lo, hi := decades(low, max(high, 1.0001))
	p := panel{
		x: scale{lo: 1, hi: float64(max(r.Dim, 2)), from: 70, to: 700}, y: scale{lo: lo, hi: hi, from: 300, to: 50, log: true},
		xTicks: evenTicks(1, float64(r.Dim)), yTicks: ticks, xName: "direction, largest first", yName: "share of the variance, times the dimension",
	}
	d.frame(p)
	curve := func(values []float64, colour string, width float64) {
		var xs, ys []float64
		sum := total(values)
		for k, v := range values {
			if share := v / sum * float64(len(values)); share >= lo {
				xs, ys = append(xs, p.x.at(float64(k+1))), append(ys, p.y.at(share))
			}
		}
		if len(xs) > 0 {
			d.curve(xs, ys, colour, width)
		}
	}
	curve(r.uniformSpectrum, "#5aa469", 2)
	curve(r.spectrum, inkBlue, 2.5)
	legend(d, 470, 30, "rows", inkBlue, "", "uniform rows", "#5aa469", "")
	return d.svg(740, 350, "Spectrum of the covariance")
}

func total(x []float64) (sum float64) {
	for _, v := range x {
		sum += v
	}
	return sum
}

// evenTicks are about six round numbers from lo to hi.
func evenTicks(lo, hi float64) []float64 {
	step := math.Pow(10, math.Floor(math.Log10(max(hi-lo, 1e-9)/3)))
	for _, m := range []float64{1, 2, 5, 10} {
		if (hi-lo)/(step*m) <= 7 {
			step *= m
			break
		}
	}
	var ticks []float64
	for v := math.Ceil(lo/step) * step; v <= hi+step/1e6; v += step {
		ticks = append(ticks, v)
	}
	return ticks
}

// drawInformation draws what was measured against the noise, below the ceiling and the capacity.
func (r *measureResult) drawInformation() string {
	d := &drawing{}
	first, last := r.Information[0].Noise/1.5, r.Information[len(r.Information)-1].Noise*1.5
	ceiling := math.Log(float64(r.N))
	top := ceiling * 1.12
	for _, x := range r.Information {
		top = max(top, 1.05*x.Uniform)
	}
	p := panel{
		x: scale{lo: first, hi: last, from: 70, to: 700, log: true}, y: scale{lo: 0, hi: top, from: 300, to: 50},
		yTicks: evenTicks(0, top), xName: "noise, deviation per coordinate", yName: "nats",
	}
	for _, x := range r.Information {
		p.xTicks = append(p.xTicks, x.Noise)
	}
	d.frame(p)
	d.line(p.x.from, p.y.at(ceiling), p.x.to, p.y.at(ceiling), inkRed, 1.5, "6 4")
	var xs, ys []float64
	const steps = 48
	for i := range steps + 1 {
		sigma := first * math.Pow(last/first, float64(i)/steps)
		if c := infomax.Capacity(r.Dim, sigma); c <= top {
			xs, ys = append(xs, p.x.at(sigma)), append(ys, p.y.at(c))
		}
	}
	if len(xs) > 0 {
		d.curve(xs, ys, inkGrey, 1.5)
	}
	var at, own, uniform []float64
	for _, x := range r.Information {
		at = append(at, p.x.at(x.Noise))
		own, uniform = append(own, p.y.at(x.Nats)), append(uniform, p.y.at(x.Uniform))
	}
	d.curve(at, uniform, "#5aa469", 2)
	d.curve(at, own, inkBlue, 2.5)
	for i, x := range r.Information {
		d.circle(at[i], uniform[i], 3.5, "#5aa469", "white", 1)
		d.line(at[i], p.y.at(max(x.Nats-2*x.Stderr, 0)), at[i], p.y.at(min(x.Nats+2*x.Stderr, top)), inkBlue, 1.5, "")
		d.circle(at[i], own[i], 4.5, inkBlue, "white", 1)
	}
	legend(d, 220, 30, "rows", inkBlue, "", "uniform rows", "#5aa469", "", "capacity", inkGrey, "", "log N", inkRed, "6 4")
	return d.svg(740, 350, "Information against noise")
}

// legend names lines: name, colour and dashes of each.
func legend(d *drawing, x, y float64, lines ...string) {
	for i := 0; i < len(lines); i += 3 {
		d.line(x, y-4, x+22, y-4, lines[i+1], 2.5, lines[i+2])
		d.text(x+28, y, 13, "start", inkDark, lines[i])
		x += 50 + 7.2*float64(len(lines[i]))
	}
}

var measureTemplate = template.Must(template.New("measure").Funcs(template.FuncMap{"four": four}).Parse(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Title}}</title>
<style>
body { margin: 0; background: #f6f6f3; color: #1d2127; font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1160px; margin: 0 auto; padding: 40px 24px 64px; }
h1 { font-size: 30px; line-height: 1.15; letter-spacing: -.02em; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 20px; margin: 40px 0 4px; }
.soft { color: #5d6672; margin: 4px 0 16px; max-width: 80ch; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(165px, 1fr)); gap: 12px; margin: 26px 0 0; }
.tiles div, .card { background: #fff; border: 1px solid #e2e2dc; border-radius: 10px; padding: 12px 16px; }
.tiles dt { color: #5d6672; font-size: 13px; }
.tiles dd { margin: 2px 0 0; font-size: 22px; font-weight: 650; }
.tiles small { display: block; font-size: 12.5px; font-weight: 400; color: #5d6672; }
.warn { border-left: 4px solid #c8322b; margin: 16px 0 0; }
.warn p { margin: 2px 0; }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)); gap: 16px; }
.two svg { width: 100%; height: auto; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 500; color: #5d6672; font-size: 13px; }
th, td { padding: 6px 14px 6px 0; border-bottom: 1px solid #e2e2dc; }
tr:last-child td { border-bottom: 0; }
td:nth-child(-n+3) { white-space: nowrap; }
td small { color: #5d6672; }
td svg { display: block; }
footer { color: #5d6672; font-size: 13px; margin-top: 40px; }
</style>
</head>
<body><main>
<h1>{{.Source}}</h1>
<p class="soft">{{.Size}}, measured without labels</p>
{{if .Warnings}}<div class="card warn">{{range .Warnings}}<p>{{.}}</p>{{end}}</div>{{end}}
<dl class="tiles">{{range .Tiles}}<div><dt>{{.Name}}</dt><dd>{{.Value}}<small>{{.Note}}</small></dd></div>{{end}}</dl>
<h2>Uniformity</h2>
<p class="soft">Each gauge (dot) beside the band of uniform samples of the same size (green): two deviations for Wasserstein, Rayleigh and Bingham,
the range of {{.UniformSamples}} samples for the others. Red is far outside. Wasserstein: {{.Method}}.{{with .Ruler}} The rows are {{.}}.{{end}}</p>
<div class="card scroll"><table><thead><tr><th>gauge</th><th>value</th><th>uniform rows</th><th></th><th></th></tr></thead>
<tbody>{{range .Bands}}<tr><td>{{.Name}}</td><td>{{.Value}}</td><td>{{.Uniform}}</td><td>{{.Picture}}</td><td><small>{{.Note}}</small></td></tr>{{end}}</tbody></table></div>
<h2>Spectrum and information</h2>
<p class="soft">Left, how the variance is spread over directions: a uniform law has 1 everywhere, a sample a little more and less. Right, how many
nats of which row it was survive noise: at most log N, and for any number of rows at most the capacity of the sphere.</p>
<div class="two"><div class="card">{{.Spectrum}}</div><div class="card">{{.Curve}}</div></div>
<div class="card scroll" style="margin-top: 16px"><table><thead><tr><th>noise</th><th>information, nats</th><th>uniform rows</th><th>efficiency</th><th>capacity</th><th>recovered</th></tr></thead>
<tbody>{{range .Information}}<tr><td>{{.Noise}}</td><td>{{four .Nats}} ± {{printf "%.4f" .Stderr}}</td><td>{{four .Uniform}}</td><td>{{four .Efficiency}}</td><td>{{four .Capacity}}</td><td>{{four .Recovered}}</td></tr>{{end}}</tbody></table></div>
<footer><p>Written by nat measure. This page is one file and loads nothing.</p></footer>
</main></body>
</html>
`))
