package nat

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/image/draw"

	"nat/dataset"
	"nat/index"
	"nat/objective"
	"nat/probe"
)

// ReportData is the content of a report, free of layout. Parts that are empty
// are left out of the page. All text is plain: WriteReport escapes it.
type ReportData struct {
	Title      string
	Subtitle   string
	Supervised bool          // training saw the labels
	Highlights []ReportField // the few figures that come first
	Evals      []*EvalResult // the tables of probes
	Curves     []ReportCurve
	Nearest    *ReportNearest
	Filters    *ReportFilters
	Restored   *ReportRestored
	Map        *ReportMap
	Settings   []ReportField
	Notes      []string // doubts and warnings
	Credits    []string // who made the data
}

// ReportField is a named value, with a remark.
type ReportField struct{ Name, Value, Note string }

// ReportCurve is one small chart.
type ReportCurve struct {
	Title, Note string
	XLabel      string
	Series      []ReportSeries
	Bands       []ReportBand
}

// ReportBand is an area behind the lines of a chart, such as where uniform samples are.
type ReportBand struct {
	Name         string
	X, Low, High []float64
}

// ReportSeries is one line of a chart. A reference is drawn dashed: a level to
// compare with, not a measurement.
type ReportSeries struct {
	Name      string
	X, Y      []float64
	Reference bool
}

// ReportItem is a row of the data: Image is nil for vectors, Class -1 without
// a label. Cosine is that with the query.
type ReportItem struct {
	ID     string
	Class  int
	Image  image.Image
	Cosine float64
}

// ReportMap is one set of points in several layouts.
type ReportMap struct {
	Items   []ReportItem
	Classes []string // names by class; may be empty
	Layouts []ReportLayout
}

// ReportLayout gives the points their places: XY is 2 x len(Items).
type ReportLayout struct {
	Title, Note string
	XY          []float32
}

// Sizes of what a report shows.
const (
	reportRows       = 1500 // points of the maps
	reportQueries    = 10   // rows whose neighbours are shown
	reportNeighbours = 8    // found for each of them
	reportThumb      = 96   // longest side of a neighbour's thumbnail, pixels
	reportSprite     = 32   // longest side of a map's thumbnail
	reportBins       = 240  // points of a curve
)

// ReportOptions choose what a report shows. The zero value shows what a run and its
// training data tell, in RUN/report.html.
type ReportOptions struct {
	Out      string        // the page; default RUN/report.html
	Evals    []*EvalResult // tables of probes, the first of which gives the highlight
	Labels   string        // file of labels, when the data carry none
	Pictures string        // directory to write pictures to, PNG files of PictureNames
	Seed     uint64        // of the rows that are shown; default the run's
	Workers  int           // default one per core
}

// ReportFiles are what a report was written to.
type ReportFiles struct {
	Report   string   `json:"report"`
	Pictures []string `json:"pictures"`
	Warnings []string `json:"warnings"`
}

// Report draws the run's report anew, with its newest checkpoint and the data at the given
// path, or the run's own when that is empty: curves, maps, neighbours, the filters of
// the first layer, and the tables of opt.Evals. Of data with a test split the map and the
// rows that are shown are of that.
func (r *Run) Report(ctx context.Context, data string, opt ReportOptions, observe func(Event)) (*ReportFiles, error) {
	if observe == nil {
		observe = func(Event) {}
	}
	if data == "" {
		data = r.Record.Data.Path
	}
	model, err := r.Model(opt.Workers)
	if err != nil {
		return nil, err
	}
	defer model.Close()
	open := dataset.Options{Labels: opt.Labels, MaxBad: r.Record.Options.MaxBad, Progress: scanProgress(observe)}
	if abs, err := filepath.Abs(data); data == r.Record.Data.Path || err == nil && abs == r.Record.Data.Path {
		setDefault(&open.Labels, r.Record.Options.Labels)
		open.Limit = r.Record.Options.Limit
	}
	set, err := model.OpenData(ctx, data, open)
	if err != nil {
		return nil, err
	}
	defer set.Close()
	var test *dataset.Set
	if set.HasTest() {
		open.Split, open.Limit = "test", 0
		if test, err = model.OpenData(ctx, data, open); err != nil {
			return nil, err
		}
		defer test.Close()
	}
	return model.report(ctx, r, set, test, opt)
}

// report writes the report of rows of set, and of test if that is not nil.
func (m *Model) report(ctx context.Context, run *Run, set, test *dataset.Set, opt ReportOptions) (*ReportFiles, error) {
	events, err := ReadEvents(filepath.Join(run.Dir, metricsFile))
	if err != nil {
		return nil, err
	}
	setDefault(&opt.Seed, run.Record.Options.Seed)
	setDefault(&opt.Out, filepath.Join(run.Dir, reportFile))
	d := NewReportData(run.Record, events, opt.Evals)
	files := &ReportFiles{Report: opt.Out, Pictures: []string{}, Warnings: slices.Concat([]string{}, m.Warnings, m.doubtEvals(run, opt.Evals))}
	d.Notes = append(d.Notes, files.Warnings...)
	if err := m.addRows(ctx, &d, run, set, test, lastEvent(events, EventEpoch), opt.Seed); err != nil {
		return nil, err
	}
	if opt.Pictures != "" {
		if files.Pictures, err = writePictures(opt.Pictures, &d); err != nil {
			return nil, err
		}
	}
	var page bytes.Buffer
	if err := WriteReport(&page, d); err != nil {
		return nil, err
	}
	_, err = replaceFile(disk{}, opt.Out, func(w io.Writer) error {
		_, err := w.Write(page.Bytes())
		return err
	})
	return files, err
}

// doubtEvals tells where tables may be of other weights than those of the page.
func (m *Model) doubtEvals(run *Run, evals []*EvalResult) (doubts []string) {
	for _, e := range evals {
		if name := filepath.Base(m.Checkpoint); e.Checkpoint != "" && e.Checkpoint != name {
			doubts = append(doubts, fmt.Sprintf("The tables of probes are of checkpoint %s, the rest of %s.", e.Checkpoint, name))
		}
		if e.Run != "" && filepath.Base(e.Run) != filepath.Base(run.Dir) {
			doubts = append(doubts, fmt.Sprintf("The tables of probes were made of the run %s.", e.Run))
		}
	}
	return doubts
}

// addRows adds what is seen on rows of the data, and the filters.
func (m *Model) addRows(ctx context.Context, d *ReportData, run *Run, set, test *dataset.Set, last *Event, seed uint64) (err error) {
	rec := &run.Record
	if d.Filters, err = m.filters(rec); err != nil {
		return err
	}
	shown := set
	if test != nil {
		shown = test
	}
	if err := m.addMap(ctx, d, shown, rec.Options.Seed); err != nil {
		return err
	}
	own := set.Fingerprint() == rec.Data.Fingerprint && rec.Options.Val == ""
	a := ask(set, test, own, seed)
	if d.Nearest, err = m.nearest(ctx, set, a); err != nil {
		return err
	}
	d.Restored, err = m.restored(ctx, run, a, last)
	if errors.Is(err, ErrArtefact) { // a run that was stripped to be passed on has no decoder
		d.Notes, err = append(d.Notes, err.Error()), nil
	}
	return err
}

// NewReportData gathers what a report says without looking at the data again.
func NewReportData(rec Record, events []Event, evals []*EvalResult) ReportData {
	d := ReportData{
		Title:      "nat: " + dataName(rec),
		Subtitle:   describeData(rec.Data) + ", encoded " + objectiveWords(rec.Options.objectiveName()),
		Evals:      evals,
		Supervised: rec.Options.Objective == objectiveSupervised,
		Curves:     reportCurves(rec, events),
		Settings:   reportSettings(rec),
	}
	d.Highlights = reportHighlights(rec, events, evals)
	if s := lastStop(events); s != nil && s.Memorising() {
		d.Notes = append(d.Notes, "Stop signal: "+s.String()+".")
	}
	for _, e := range evals {
		d.Notes = append(d.Notes, e.Warnings...)
	}
	if rec.Data.Kind == dataset.Embedded {
		d.Credits = append(d.Credits, "Digits: “Optical Recognition of Handwritten Digits” by E. Alpaydin and C. Kaynak, "+
			"UCI Machine Learning Repository, licensed CC BY 4.0 (creativecommons.org/licenses/by/4.0).")
	}
	return d
}

func dataName(rec Record) string {
	if rec.Options.Data == EmbeddedDigits {
		return "handwritten digits"
	}
	return filepath.Base(rec.Data.Path)
}

func describeData(info DataInfo) string {
	if info.Vector {
		return fmt.Sprintf("%s vectors of %d numbers", group(info.Rows), info.Shape.Size())
	}
	colours := "colour"
	if info.Shape.C == 1 {
		colours = "grey"
	}
	return fmt.Sprintf("%s %s images, %d × %d", group(info.Rows), colours, info.Input.H, info.Input.W)
}

// group writes n with a comma between thousands.
func group(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func reportHighlights(rec Record, events []Event, evals []*EvalResult) []ReportField {
	fields := []ReportField{{"network", rec.Options.Encoder, group(rec.Params) + " parameters"}}
	if e := lastEvent(events, EventEpoch); e != nil {
		fields = append(fields, ReportField{"training", fmt.Sprintf("%s steps", group(e.Step)),
			fmt.Sprintf("%d epochs, %s", e.Epoch+1, (time.Duration(e.Elapsed * float64(time.Second))).Round(time.Second))})
		if e.Stats != nil {
			fields = append(fields, statsHighlights(e.Stats)...)
			fields = append(fields, ReportField{"waiting for data", fmt.Sprintf("%.1f %%", 100*e.Wait), "of the time of the steps"})
		}
	}
	if s := lastStop(events); s != nil && s.Least > 0 {
		state := "no sign of learning by heart since"
		if s.Above > 0 {
			state = "views of one row part since"
		}
		fields = append(fields, ReportField{"least alignment", fmt.Sprintf("epoch %d", s.Epoch+1), fmt.Sprintf("%.3f; %s", s.Least, state)})
	}
	for _, e := range evals {
		for _, r := range e.Rows {
			if r.Name == "run" && r.KNN != nil {
				return append(fields, ReportField{"kNN, " + r.Layer, fmt.Sprintf("%.1f %%", 100**r.KNN),
					fmt.Sprintf("of %s test rows", group(e.TestRows))})
			}
		}
	}
	return fields
}

func statsHighlights(s *Stats) []ReportField {
	loss := ReportField{Name: "loss", Value: fmt.Sprintf("%.3f", s.Loss)}
	if s.Pairing != nil {
		loss.Note = fmt.Sprintf("%.3g is chance", s.Pairing.chance())
		return []ReportField{loss, {"matched cosine", fmt.Sprintf("%.3f", s.Cosine), fmt.Sprintf("%.3f by one random match", s.Level)}}
	}
	if s.Information != nil {
		return []ReportField{loss, {"information", fmt.Sprintf("%.2f nats", *s.Information), "at least, among the rows of a batch"}}
	}
	return []ReportField{loss}
}

// lastStop is the newest stop signal.
func lastStop(events []Event) (s *Stop) {
	for _, e := range events {
		if e.Stop != nil {
			s = e.Stop
		}
	}
	return s
}

func lastEvent(events []Event, kind string) *Event {
	for i := len(events) - 1; i >= 0; i-- {
		if events[i].Kind == kind {
			return &events[i]
		}
	}
	return nil
}

func reportSettings(rec Record) []ReportField {
	o := rec.Options
	assigned := o.Assign
	switch o.Assign {
	case objective.AssignPool:
		assigned = fmt.Sprintf("pool of %d batches", o.Pool)
	case objective.AssignGlobal:
		assigned = fmt.Sprintf("batch, and all rows every %d epochs", o.AssignEvery)
	}
	if every := o.batchesEvery(); every > 1 {
		assigned += fmt.Sprintf(", every %d epochs", every)
	}
	fields := []ReportField{
		{Name: "data", Value: rec.Data.Path},
		{Name: "kind", Value: string(rec.Data.Kind)},
		{Name: "rows with a target", Value: group(rec.Data.Train)},
		{Name: "rows held out", Value: group(rec.Data.HeldOut)},
		{Name: "files rejected", Value: group(rec.Data.Bad)},
		{Name: "network input", Value: rec.Data.Input.String()},
		{Name: "encoder", Value: o.Encoder},
		{Name: "dimension d", Value: strconv.Itoa(o.Dim)},
		{Name: "objective", Value: o.DescribeObjective()},
		{Name: "assignment", Value: assigned},
		{Name: "epochs", Value: strconv.Itoa(o.Epochs)},
		{Name: "batch", Value: strconv.Itoa(o.Batch)},
		{Name: "views", Value: strconv.Itoa(o.Views)},
		{Name: "augmentation", Value: o.Augment},
		{Name: "optimiser", Value: o.Optimizer},
		{Name: "learning rate", Value: strconv.FormatFloat(o.LR, 'g', 4, 64)},
		{Name: "momentum", Value: strconv.FormatFloat(max(0, o.Momentum), 'g', 4, 64)},
		{Name: "weight decay", Value: strconv.FormatFloat(max(0, o.WeightDecay), 'g', 4, 64)},
		{Name: "gradients clipped at", Value: strconv.FormatFloat(max(0, o.Clip), 'g', 4, 64)},
		{Name: "warm-up steps", Value: strconv.Itoa(max(0, o.Warmup))},
		{Name: "seed", Value: strconv.FormatUint(o.Seed, 10)},
	}
	if o.Init != "" {
		fields = append(fields, ReportField{Name: "weights from", Value: o.Init})
	}
	fields = append(fields,
		ReportField{Name: "version", Value: rec.Version},
		ReportField{Name: "machine", Value: fmt.Sprintf("%s/%s, %d cores, %s kernels", rec.Host.OS, rec.Host.Arch, rec.Host.Cores, rec.Host.Kernel)})
	return slices.DeleteFunc(fields, func(f ReportField) bool { return f.Value == "" }) // what the objective does not have
}

// curve reads one quantity off the events; NaN where an event has none.
type curve struct {
	name      string
	reference bool
	read      func(Event) float64
}

// fromSteps reads a statistic of every step.
func fromSteps(f func(s *Stats) float64) func(Event) float64 {
	return func(e Event) float64 {
		if e.Kind != EventStep || e.Stats == nil {
			return math.NaN()
		}
		return f(e.Stats)
	}
}

// fromPairing reads what a step says about targets.
func fromPairing(f func(p *Pairing) float64) func(Event) float64 {
	return fromSteps(func(s *Stats) float64 {
		if s.Pairing == nil {
			return math.NaN()
		}
		return f(s.Pairing)
	})
}

// fromOptional reads a figure that not every objective has.
func fromOptional(f func(s *Stats) *float64) func(Event) float64 {
	return fromSteps(func(s *Stats) float64 {
		if v := f(s); v != nil {
			return *v
		}
		return math.NaN()
	})
}

// fromGauge reads a gauge at the epochs that have one: that of the held-out
// rows or that of the training rows.
func fromGauge(held bool, f func(g *Gauge) float64) func(Event) float64 {
	return func(e Event) float64 {
		g := e.Train
		if held {
			g = e.HeldOut
		}
		if e.Kind != EventEpoch || g == nil {
			return math.NaN()
		}
		return f(g)
	}
}

// onBoth is a quantity on training and on held-out rows.
func onBoth(f func(g *Gauge) float64) []curve {
	return []curve{{"training rows", false, fromGauge(false, f)}, {"held-out rows", false, fromGauge(true, f)}}
}

// chartOf says what a chart shows and in which words.
type chartOf struct {
	title, note string
	curves      []curve
}

// banded is a chart with the area of uniform samples behind its lines.
type banded struct {
	chartOf
	low, high func(Event) float64
}

// lossChart has the loss before re-assignment as well, where that changes it.
func lossChart(o *Options) chartOf {
	after := curve{"batch", false, fromSteps(func(s *Stats) float64 { return s.Loss })}
	switch {
	case o.objectiveName() != objectiveNAT:
		return chartOf{"Loss", "The loss of the objective " + o.DescribeObjective() + ".", []curve{after}}
	case o.Loss == objective.LossSinkhorn:
		return chartOf{"Loss", "In nats: the Sinkhorn divergence between the embeddings of a batch and its targets, and the distance of the views of a row.", []curve{after}}
	case o.planned():
		return chartOf{"Loss", "Mean squared distance between embedding and softened target.", []curve{after}}
	}
	note := "Mean squared distance between embedding and target; a random pairing has 2. The space between the lines is what each re-assignment wins, the rest of the fall is won by the network."
	if o.Loss == objective.LossSoftmax {
		note = "The loss of the objective " + o.DescribeObjective() + "."
	}
	after.name = "after"
	return chartOf{"Loss", note, []curve{{"before re-assignment", false, fromPairing(func(p *Pairing) float64 { return p.LossBefore })}, after}}
}

// wonChart is empty where re-assignment changes no loss.
func wonChart(o *Options) (curves []curve) {
	if !o.planned() {
		curves = append(curves, curve{"loss before - after", false, fromPairing(func(p *Pairing) float64 { return p.WonByReassignment })})
	}
	return curves
}

// stepCharts are about single steps and the batches they saw.
func stepCharts(o *Options) []chartOf {
	return []chartOf{
		lossChart(o),
		{"Matched cosine", "Mean cosine between embedding and target in a batch. The dashed level is geometry alone: the best of a batch of random targets.", []curve{
			{"after re-assignment", false, fromPairing(func(p *Pairing) float64 { return p.Cosine })},
			{"best of a random batch", true, fromPairing(func(p *Pairing) float64 { return p.Level })},
		}},
		{"Re-assigned", "Share of a batch's rows whose target changed in its step. It falls as the pairing settles.", []curve{
			{"fraction", false, fromPairing(func(p *Pairing) float64 { return p.Reassigned })},
		}},
		{"Won by re-assignment", "The space between the two lines of the loss, step by step: what re-pairing a batch still wins.", wonChart(o)},
		{"Information", "Nats that embeddings keep of which row of the batch they are of: at least so many, as the loss shows.", []curve{
			{"batch", false, fromOptional(func(s *Stats) *float64 { return s.Information })},
		}},
		{"Right guesses", "Share of the guesses behind the loss that are right.", []curve{
			{"batch", false, fromOptional(func(s *Stats) *float64 { return s.Accuracy })},
		}},
	}
}

// gaugeCharts are about the fixed samples that are measured between epochs.
func gaugeCharts(dim int) []chartOf {
	level := func(g *Gauge) float64 { return g.Level }
	gap := func(g *Gauge) float64 {
		if g.AssignmentGap == nil {
			return math.NaN()
		}
		return *g.AssignmentGap
	}
	return []chartOf{
		{"Assignment gap", "How much better the best pairing of a fixed sample with its own targets would be, as a share of the best cost; 0 is optimal, not stuck.", []curve{
			{"sample", false, fromGauge(false, gap)},
			{"all rows, when they were re-paired", false, func(e Event) float64 {
				if e.Global == nil {
					return math.NaN()
				}
				return e.Global.Excess
			}},
		}},
		{"Alignment of views", "Mean squared distance between two views of one row: 0 if they coincide, 2 if they are unrelated. It should fall: where it rises, the network learns its rows by heart, however uniform they are.", onBoth(func(g *Gauge) float64 { return g.Alignment })},
		{"Match with fresh targets", "Mean cosine when a sample is paired in the best way with new random targets: how evenly the embeddings fill the sphere. The samples differ in size, and so do their levels.", append(
			onBoth(func(g *Gauge) float64 { return g.MatchedCosine }),
			curve{"level, training", true, fromGauge(false, level)}, curve{"level, held-out", true, fromGauge(true, level)})},
		{"Effective rank", fmt.Sprintf("Directions that the embeddings really use: %d if they fill the sphere evenly, 1 if they collapse to a line.", dim), onBoth(func(g *Gauge) float64 { return g.EffectiveRank })},
	}
}

// uniformityCharts compare the embeddings with uniform samples.
func uniformityCharts() []banded {
	of := func(held bool, f func(u *Uniformity) float64) func(Event) float64 {
		return fromGauge(held, func(g *Gauge) float64 {
			if g.Uniformity == nil {
				return math.NaN()
			}
			return f(g.Uniformity)
		})
	}
	both := func(f func(u *Uniformity) float64) []curve {
		return []curve{{"training rows", false, of(false, f)}, {"held-out rows", false, of(true, f)}}
	}
	around := func(sign float64, sd func(u *Uniformity) float64) func(Event) float64 {
		return of(false, func(u *Uniformity) float64 { return 1 + sign*2*sd(u) })
	}
	score := func(u *Uniformity) float64 { return u.ScoreSD }
	error := func(u *Uniformity) float64 { return math.Hypot(u.Error, u.UniformError) / u.Uniform }
	return []banded{
		{chartOf{"Uniformity score", "From the distance to fresh uniform targets: 1 is as even as a uniform sample of as many rows, 0 a single point. The band is two deviations of uniform samples.",
			both(func(u *Uniformity) float64 { return u.Score })}, around(-1, score), around(1, score)},
		{chartOf{"Efficiency", "Information that survives noise, as a share of what uniform rows keep at the same noise. The band is two errors of the estimate around 1.",
			both(func(u *Uniformity) float64 { return u.Efficiency })}, around(-1, error), around(1, error)},
		{chartOf{"Information through noise", "Nats that a noisy embedding tells of which row it is of, at noise through which uniform rows keep about half of the ceiling, the logarithm of their number.",
			append(both(func(u *Uniformity) float64 { return u.Information }),
				curve{"uniform rows, as many as training rows", true, of(false, func(u *Uniformity) float64 { return u.Uniform })},
				curve{"ceiling, training rows", true, of(false, func(u *Uniformity) float64 { return u.Ceiling })},
				curve{"ceiling, held-out rows", true, of(true, func(u *Uniformity) float64 { return u.Ceiling })})}, nil, nil},
	}
}

func reportCurves(rec Record, events []Event) []ReportCurve {
	charts := uniformityCharts()
	plain := slices.Concat(stepCharts(&rec.Options), gaugeCharts(rec.Options.Dim))
	for i, c := range plain {
		charts = slices.Insert(charts, i, banded{chartOf: c})
	}
	var out []ReportCurve
	for _, c := range charts {
		chart := ReportCurve{Title: c.title, Note: c.note, XLabel: "epoch"}
		for _, l := range c.curves {
			if s := series(l, events, rec.StepsPerEpoch); len(s.X) > 0 {
				chart.Series = append(chart.Series, s)
			}
		}
		if len(chart.Series) == 0 {
			continue
		}
		if c.low != nil {
			low := series(curve{read: c.low}, events, rec.StepsPerEpoch)
			high := series(curve{read: c.high}, events, rec.StepsPerEpoch)
			chart.Bands = append(chart.Bands, ReportBand{"uniform samples", low.X, low.Y, high.Y})
		}
		out = append(out, chart)
	}
	return out
}

// series collects a curve over epochs, as means of at most reportBins runs
// of consecutive events, each put at its end.
func series(c curve, events []Event, perEpoch int) ReportSeries {
	s := ReportSeries{Name: c.name, Reference: c.reference}
	var x, y []float64
	for _, e := range events {
		if v := c.read(e); v-v == 0 {
			x = append(x, float64(e.Step)/float64(max(1, perEpoch)))
			y = append(y, v)
		}
	}
	bins := min(reportBins, len(x))
	for b := range bins {
		lo, hi := b*len(x)/bins, (b+1)*len(x)/bins
		s.X = append(s.X, x[hi-1])
		s.Y = append(s.Y, mean(y[lo:hi]))
	}
	return s
}

func mean(x []float64) (m float64) {
	for _, v := range x {
		m += v
	}
	return m / float64(len(x))
}

// addMap embeds some rows of set and adds their maps. A set of fewer than four rows has
// none.
func (m *Model) addMap(ctx context.Context, d *ReportData, set *dataset.Set, seed uint64) error {
	rows := spread(upTo(set.Len()), reportRows)
	if len(rows) < 4 {
		return nil
	}
	z := make([]float32, 0, len(rows)*m.Network.Dim())
	err := m.Embed(ctx, set, rows, "embedding", func(_ []int, block []float32, _ int) error {
		z = append(z, block...)
		return nil
	}, nil)
	if err != nil {
		return err
	}
	items, err := reportItems(set, rows)
	if err != nil {
		return err
	}
	n, dim := len(rows), m.Network.Dim()
	d.Map = &ReportMap{Items: items, Classes: set.Classes()}
	tsne, err := index.Map2D(ctx, m.pool, z, n, dim, index.MapOptions{Seed: seed})
	if err != nil {
		return err
	}
	pca, err := probe.PCA(m.pool, z, n, dim, 2)
	if err != nil {
		return err
	}
	flat := make([]float32, n*pca.K)
	pca.Apply(flat, z, n)
	share := 100 * (pca.Variance[0] + pca.Variance[1]) / max(pca.Total, math.SmallestNonzeroFloat32)
	d.Map.Layouts = []ReportLayout{
		{"t-SNE", fmt.Sprintf("t-SNE of %s embeddings, started from their principal components. It keeps neighbours together; "+
			"distances between groups, their sizes and the axes mean nothing.", group(n)), tsne},
		{"PCA", fmt.Sprintf("The two directions of largest variance: %.0f %% of it, where an evenly filled sphere would give %.0f %%. "+
			"A flat shadow: points that meet here may be far apart.", share, 200/float64(dim)), flat},
	}
	return nil
}

// reportItems reads rows of set: names, labels and, unless they are vectors,
// thumbnails.
func reportItems(set *dataset.Set, rows []int) ([]ReportItem, error) {
	items := make([]ReportItem, len(rows))
	shape := set.Shape()
	x := make([]float32, shape.Size())
	for i, row := range rows {
		items[i] = ReportItem{ID: set.ID(row), Class: set.Label(row)}
		if set.Vector() {
			continue
		}
		if err := set.Read(row, x); err != nil {
			return nil, err
		}
		items[i].Image = thumbnail(x, shape)
	}
	return items, nil
}

// thumbnail turns pixels in [0,1] into an image whose longer side is at most
// reportThumb. Of two channels only the first is shown, of more than three the first three.
func thumbnail(x []float32, s dataset.Shape) image.Image {
	rect := image.Rect(0, 0, s.W, s.H)
	level := func(i int) uint8 { return uint8(math.Round(255 * min(1, max(0, float64(x[i]))))) }
	if s.C < 3 {
		img := image.NewGray(rect)
		for i := range img.Pix {
			img.Pix[i] = level(i * s.C)
		}
		return shrink(img, reportThumb)
	}
	img := image.NewRGBA(rect)
	for i := range s.H * s.W {
		for c := range 3 {
			img.Pix[4*i+c] = level(i*s.C + c)
		}
		img.Pix[4*i+3] = 255
	}
	return shrink(img, reportThumb)
}

// shrink returns img scaled down to at most side pixels along its longer side.
func shrink(img image.Image, side int) image.Image {
	w, h := img.Bounds().Dx(), img.Bounds().Dy()
	long := max(w, h)
	if long <= side {
		return img
	}
	rect := image.Rect(0, 0, max(1, w*side/long), max(1, h*side/long))
	var dst draw.Image = image.NewRGBA(rect)
	if _, grey := img.(*image.Gray); grey {
		dst = image.NewGray(rect)
	}
	draw.CatmullRom.Scale(dst, rect, img, img.Bounds(), draw.Src, nil)
	return dst
}

// className names a class for people; "" without a label.
func className(classes []string, class int) string {
	switch {
	case class < 0:
		return ""
	case class < len(classes):
		return strings.TrimSpace(classes[class])
	default:
		return "class " + strconv.Itoa(class)
	}
}
