package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"nat"
	"nat/dataset"
	"nat/infomax"
	"nat/internal/kernel"
	"nat/internal/rng"
	"nat/sphere"
)

type measureFlags struct {
	noise, report, split, layer string
	pairs, limit, workers       int
	seed                        uint64
	overwrite                   bool
	levels                      []float64 // noise, parsed
}

// measureResult is what `nat measure --json` prints.
type measureResult struct {
	N             int                 `json:"n"`
	Dim           int                 `json:"dim"`
	Wasserstein   wassersteinFields   `json:"wasserstein"`
	Rayleigh      testFields          `json:"rayleigh"`
	Bingham       testFields          `json:"bingham"`
	WangIsola     float64             `json:"wang_isola"`
	EffectiveRank float64             `json:"effective_rank"`
	Rank          int                 `json:"rank"`
	Nearest       float64             `json:"nearest"`
	Sliced        float64             `json:"sliced_wasserstein"`
	Uniform       uniformFields       `json:"uniform"`
	Information   []informationFields `json:"information"`
	Warnings      []string            `json:"warnings"`
	Report        string              `json:"report,omitempty"`
	Seconds       float64             `json:"seconds"`

	source            string
	spectrum          []float64
	uniformSpectrum   []float64
	coinciding        int // rows
	uniformCoinciding int // most of a uniform sample
	equivalent        int // rank of the subsphere that is as far from uniform; 0: none
	normLow, normHigh float64
}

type wassersteinFields struct {
	Value      float64  `json:"value"`
	Stderr     float64  `json:"stderr"`
	Block      int      `json:"block"`
	Draws      int      `json:"draws"`
	NullMean   float64  `json:"null_mean"`
	NullSD     float64  `json:"null_sd"`
	NullMethod string   `json:"null_method"`
	Score      float64  `json:"score"`
	PValue     *float64 `json:"p_value"`
}

type testFields struct {
	Statistic float64 `json:"statistic"`
	DoF       int     `json:"dof"`
}

// uniformFields are the least and the largest value of some uniform samples of the same size: the band of the null.
type uniformFields struct {
	Samples       int        `json:"samples"`
	WangIsola     [2]float64 `json:"wang_isola"`
	EffectiveRank [2]float64 `json:"effective_rank"`
	Nearest       [2]float64 `json:"nearest"`
	Sliced        [2]float64 `json:"sliced_wasserstein"`
}

type informationFields struct {
	Noise      float64 `json:"noise"`
	Nats       float64 `json:"nats"`
	Stderr     float64 `json:"stderr"`
	Recovered  float64 `json:"recovered"`
	Ceiling    float64 `json:"ceiling_nats"`
	Uniform    float64 `json:"uniform_nats"`
	Capacity   float64 `json:"capacity_nats"`
	Efficiency float64 `json:"efficiency"`
}

func (a *app) measureCommand() *cobra.Command {
	f := &measureFlags{}
	cmd := &cobra.Command{
		Use:   "measure Z.npy | RUN DATA [--noise 0.1,0.2 --report OUT.html]",
		Short: "tell how uniform embeddings are and how much information they keep",
		Long: `Measure embeddings, those of a file or those that a run gives to data, without labels.

Uniformity: the Wasserstein distance to fresh uniform points, by optimal pairings of up to 2048 points, beside what
a uniform sample of the same size gives (score 1 is uniform, 0 is a single point), and other gauges beside theirs.
Information: how many nats of which row it was survive noise of a given deviation per coordinate, beside the ceiling
log N, a uniform sample of the same size, and the capacity of the sphere.

Rows are divided by their norms first, with a warning if they are not unit vectors.`,
		Example: `  nat measure z.npy
  nat measure run photos --split test --report measure.html
  nat measure z.npy --noise 0.05,0.1,0.2 --json`,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) == 0:
				return usagef("what to measure? nat measure Z.npy, or nat measure RUN DATA")
			case len(args) > 2:
				return usagef("unexpected argument %q: wants Z.npy, or RUN and DATA", args[2])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return a.measure(cmd.Context(), args, f) },
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVar(&f.noise, "noise", "0.05,0.1,0.2,0.5", "deviations of the noise per coordinate, at which information is measured")
	fs.StringVar(&f.report, "report", "", "write a page with the spectrum, the information and the null bands to this .html file")
	fs.IntVar(&f.pairs, "pairs", 99, "pairs of uniform samples that the p-value compares with (0: no p-value)")
	fs.StringVar(&f.layer, "layer", "embedding", "of a run: embedding, features, conv, fc, or a layer that nat info names")
	fs.StringVar(&f.split, "split", "all", "of DATA: train, test or all")
	fs.IntVar(&f.limit, "limit", 0, "of DATA: only N rows, chosen by a hash of their identity (0: all)")
	fs.Uint64Var(&f.seed, "seed", 1, "of noise, targets and uniform samples")
	fs.BoolVar(&f.overwrite, "overwrite", false, "replace OUT.html if it exists")
	addWorkers(cmd, &f.workers)
	completeWords(cmd, "split", "train", "test", "all")
	completeWords(cmd, "layer", "embedding", "features")
	return cmd
}

// check refuses what cannot be done before anything is read.
func (f *measureFlags) check(args []string) error {
	for _, field := range strings.Split(f.noise, ",") {
		s, err := strconv.ParseFloat(strings.TrimSpace(field), 64)
		if err != nil || !(s >= 1e-3 && s <= 1e3) {
			return usagef("--noise %q: wants deviations from 0.001 to 1000, such as 0.1,0.2", f.noise)
		}
		f.levels = append(f.levels, s)
	}
	slices.Sort(f.levels)
	f.levels = slices.Compact(f.levels)
	if err := checkSplit(f.split); err != nil {
		return err
	}
	if f.limit < 0 || f.workers < 0 || f.pairs < 0 {
		return usagef("--limit, --workers and --pairs must not be negative")
	}
	if len(args) == 1 {
		if info, err := os.Stat(args[0]); err == nil && info.IsDir() {
			return usagef("%s is a folder: of a run the DATA to embed is needed too, nat measure %s DATA", args[0], args[0])
		}
		if f.limit > 0 || f.split != "all" || f.layer != "embedding" {
			return usagef("--limit, --split and --layer are for RUN DATA: a file of embeddings is measured as it is")
		}
	}
	if f.report == "" {
		return nil
	}
	if !strings.HasSuffix(strings.ToLower(f.report), ".html") {
		return usagef("--report %s: the page is HTML and must be named so", f.report)
	}
	return checkOutputs(f.overwrite, f.report)
}

func (a *app) measure(ctx context.Context, args []string, f *measureFlags) error {
	if err := f.check(args); err != nil {
		return err
	}
	start := time.Now()
	z, n, d, err := a.embeddings(ctx, args, f)
	if err != nil {
		return err
	}
	r := &measureResult{N: n, Dim: d, Report: f.report, source: strings.Join(args, " "), Warnings: []string{}}
	if r.normLow, r.normHigh, err = unitRows(z, n, d); err != nil {
		return &classified{fmt.Errorf("%s: %w", args[0], err), nat.ErrInput}
	}
	pool := kernel.NewPool(f.workers)
	defer pool.Close()
	if err := a.gauge(ctx, pool, r, z, f); err != nil {
		return err
	}
	r.warn()
	r.Seconds = time.Since(start).Seconds()
	a.progress.clear()
	if f.report != "" {
		if err := writeFile(f.report, func(w io.Writer) error { return writeMeasurePage(w, r) }); err != nil {
			return err
		}
	}
	a.warn(r.Warnings)
	if a.json {
		return a.printJSON(r)
	}
	printMeasure(a.stdout, r)
	return nil
}

// embeddings reads the file, or computes those of a run.
func (a *app) embeddings(ctx context.Context, args []string, f *measureFlags) (z []float32, n, d int, err error) {
	if len(args) == 1 {
		z, n, d, err = readPoints(args[0])
	} else {
		z, n, d, err = a.embedAll(ctx, args[0], args[1], f)
	}
	switch {
	case err != nil:
		return nil, 0, 0, err
	case n < 2:
		return nil, 0, 0, &classified{fmt.Errorf("%s: %s: measuring compares rows and needs two at least", args[len(args)-1], plural(n, "row")), nat.ErrInput}
	case d < 2:
		return nil, 0, 0, &classified{fmt.Errorf("%s: rows of one value: the sphere needs two dimensions at least", args[0]), nat.ErrInput}
	}
	return z, n, d, nil
}

// embedAll holds the embeddings of a whole data set.
func (a *app) embedAll(ctx context.Context, dir, data string, f *measureFlags) (z []float32, n, d int, err error) {
	model, err := openModel(dir, f.workers)
	if err != nil {
		return nil, 0, 0, err
	}
	defer model.Close()
	a.warn(model.Warnings)
	if d, err = model.Network.Width(f.layer); err != nil {
		return nil, 0, 0, usagef("--layer %q: %v", f.layer, err)
	}
	set, err := model.OpenData(ctx, data, dataset.Options{Split: f.split, Limit: f.limit, Progress: a.scanProgress})
	if err != nil {
		return nil, 0, 0, classify(err, nat.ErrInput)
	}
	defer set.Close()
	n = set.Len()
	rows := make([]int, n)
	for i := range rows {
		rows[i] = i
	}
	z = make([]float32, 0, n*d)
	emit := func(_ []int, block []float32, _ int) error { z = append(z, block...); return nil }
	err = model.Embed(ctx, set, rows, f.layer, emit, func(done, total int) {
		a.progress.show(status{label: "embed", done: done, total: total, unit: "rows"}, false)
	})
	return z, n, d, err
}

// unitRows divides the rows by their norms and returns the least and the largest of these. It names a row that has no
// direction.
func unitRows(z []float32, n, d int) (low, high float64, err error) {
	low = math.Inf(1)
	for i := range n {
		var squares float64
		for _, x := range z[i*d : (i+1)*d] {
			squares += float64(x) * float64(x)
		}
		norm := math.Sqrt(squares)
		low, high = min(low, norm), max(high, norm)
	}
	if err := sphere.Normalize(z, n, d); err != nil {
		return 0, 0, errors.New(strings.TrimPrefix(err.Error(), "sphere: "))
	}
	return low, high, nil
}

// The streams of random numbers of a measurement, beside those of package sphere.
const (
	measureUniform = 16 + iota
	measureOther
)

// slices of the sphere for the sliced distance.
const measureDirections = 128

// gauge fills r.
func (a *app) gauge(ctx context.Context, pool *kernel.Pool, r *measureResult, z []float32, f *measureFlags) error {
	n, d := r.N, r.Dim
	w, err := sphere.MeasureWasserstein(ctx, pool, z, n, d, sphere.WassersteinOptions{Pairs: f.pairs, Seed: f.seed,
		Progress: func(done, total int) {
			a.progress.show(status{label: "uniformity", done: done, total: total, unit: "pairings"}, false)
		}})
	if err != nil {
		return err
	}
	r.Wasserstein = wassersteinFields{Value: w.Value, Stderr: w.Stderr, Block: w.Block, Draws: w.Draws,
		NullMean: w.Null.Mean, NullSD: w.Null.SD, NullMethod: w.Null.Method, Score: w.Score}
	if f.pairs > 0 {
		r.Wasserstein.PValue = &w.PValue
	}
	if err := r.measureRuler(ctx, pool, f.seed); err != nil {
		return err
	}
	r.Rayleigh, r.Bingham = testFields(sphere.Rayleigh(z, n, d)), testFields(sphere.Bingham(z, n, d))
	other := sphere.NewSlices(pool, sphere.Uniform(n, d, rng.New(f.seed, rng.Measure, measureOther)), n, d, measureDirections, f.seed)
	own := spreadOf(pool, z, other, n, d, n)
	r.WangIsola, r.EffectiveRank, r.Nearest, r.Sliced, r.coinciding = own.wangIsola, own.rank, own.nearest, own.sliced, own.coinciding
	r.spectrum, r.Rank = own.spectrum, rankOf(own.spectrum)
	for i := range uniformSamples(n, d) {
		if err := ctx.Err(); err != nil {
			return err
		}
		uniform := sphere.Uniform(n, d, rng.New(f.seed, rng.Measure, measureUniform, uint64(i)))
		null := spreadOf(pool, uniform, other, n, d, min(n, uniformRows))
		r.Uniform.add(null)
		r.uniformSpectrum = null.spectrum
		r.uniformCoinciding = max(r.uniformCoinciding, null.coinciding*n/min(n, uniformRows))
	}
	a.progress.show(status{label: "information", unit: "rows", total: n}, false)
	return r.information(ctx, pool, z, f)
}

// uniformSamples is how many samples make the null's band: fewer of the larger ones, which differ less and take long.
func uniformSamples(n, d int) int {
	if n > 4096 || min(n, d) > 256 {
		return 4
	}
	return 8
}

// unevenness are the gauges that are compared with uniform samples.
type unevenness struct {
	wangIsola, rank, nearest, sliced float64
	coinciding                       int
	spectrum                         []float64
}

// uniformRows is how many rows of a uniform sample look at all others: they are alike, and
// more would take most of the time of a measurement.
const uniformRows = 8192

// spreadOf takes them, those of pairs between the first rows and all.
func spreadOf(pool *kernel.Pool, z []float32, other *sphere.Slices, n, d, rows int) unevenness {
	p, spectrum := sphere.SamplePairs(pool, z, n, d, rows), sphere.Spectrum(z, n, d)
	return unevenness{wangIsola: p.WangIsola, nearest: p.Nearest, coinciding: p.Coinciding, spectrum: spectrum,
		rank: sphere.EffectiveRankOf(spectrum), sliced: other.Distance(pool, z)}
}

func (u *uniformFields) add(s unevenness) {
	u.Samples++
	for _, x := range []struct {
		band  *[2]float64
		value float64
	}{{&u.WangIsola, s.wangIsola}, {&u.EffectiveRank, s.rank}, {&u.Nearest, s.nearest}, {&u.Sliced, s.sliced}} {
		if u.Samples == 1 {
			*x.band = [2]float64{x.value, x.value}
		}
		x.band[0], x.band[1] = min(x.band[0], x.value), max(x.band[1], x.value)
	}
}

// information measures z beside a uniform sample.
func (r *measureResult) information(ctx context.Context, pool *kernel.Pool, z []float32, f *measureFlags) error {
	own, err := infomax.Information(ctx, pool, z, r.N, r.Dim, f.levels, f.seed)
	if err != nil {
		return err
	}
	efficiency, uniform, err := infomax.Efficiency(ctx, pool, own, r.N, r.Dim, f.seed)
	if err != nil {
		return err
	}
	for i, e := range own {
		r.Information = append(r.Information, informationFields{
			Noise: e.Noise, Nats: e.Nats, Stderr: e.Stderr, Recovered: e.Recovered, Ceiling: e.Ceiling,
			Uniform: uniform[i].Nats, Capacity: infomax.Capacity(r.Dim, e.Noise), Efficiency: efficiency[i],
		})
	}
	return nil
}

// rankOf counts the directions that hold more than rounding.
func rankOf(spectrum []float64) int {
	rank := 0
	for _, x := range spectrum {
		if x > 1e-6*spectrum[0] {
			rank++
		}
	}
	return rank
}

// warn says what one should know before one believes the numbers.
func (r *measureResult) warn() {
	add := func(format string, args ...any) { r.Warnings = append(r.Warnings, fmt.Sprintf(format, args...)) }
	if r.normLow < 1-1e-3 || r.normHigh > 1+1e-3 {
		add("rows are not unit vectors: normalised (their norms are %.4g to %.4g)", r.normLow, r.normHigh)
	}
	full := min(r.Dim, r.N-1)
	switch {
	case r.Rank == 0:
		add("collapsed to a point: all rows have the same direction")
	case r.Rank < full:
		add("collapsed to rank %d of %d", r.Rank, r.Dim)
	case r.EffectiveRank < r.Uniform.EffectiveRank[0]/2:
		add("effective rank %.1f of %d: most directions are hardly used", r.EffectiveRank, r.Dim)
	}
	if r.N < 4*r.Dim {
		add("N too small for this dimension: %s in %d dimensions; compare with the uniform sample only, want %s or more",
			plural(r.N, "row"), r.Dim, count(4*r.Dim))
	}
	if r.coinciding > 2*r.uniformCoinciding {
		add("%s the direction of another row", map[bool]string{true: "1 row has", false: count(r.coinciding) + " rows have"}[r.coinciding == 1])
	}
	var little, much []string
	for _, x := range r.Information {
		switch {
		case x.Uniform > .99*x.Ceiling:
			little = append(little, fmt.Sprintf("%g", x.Noise))
		case x.Uniform < 2*x.Stderr:
			much = append(much, fmt.Sprintf("%g", x.Noise))
		}
	}
	if little != nil {
		add("too little noise for %s: at %s even a uniform sample reaches the ceiling, so the information there says little",
			plural(r.N, "row"), strings.Join(little, " and "))
	}
	if much != nil {
		add("too much noise for %s: at %s what a uniform sample keeps is lost in the error of the estimate, so the efficiency there says nothing",
			plural(r.N, "row"), strings.Join(much, " and "))
	}
}

// measureRuler finds which even spread over fewer dimensions is as far from uniform, where the distance is no accident.
func (r *measureResult) measureRuler(ctx context.Context, pool *kernel.Pool, seed uint64) (err error) {
	if w := r.Wasserstein; w.Value > w.NullMean+4*w.NullSD {
		r.equivalent, err = sphere.EquivalentRank(ctx, pool, w.Value, w.Block, r.Dim, seed)
	}
	return err
}

// ruler says it.
func (r *measureResult) ruler() string {
	if r.equivalent == 0 || r.equivalent == r.Dim {
		return ""
	}
	return fmt.Sprintf("as far from uniform as rows spread evenly over %d of the %d dimensions", r.equivalent, r.Dim)
}

// four prints four decimals, and no sign before a zero.
func four(x float64) string { return strings.TrimPrefix(fmt.Sprintf("%.4f", x), negativeZero(x)) }

// negativeZero is the sign of what four decimals round to zero from below.
func negativeZero(x float64) string {
	if x <= 0 && x > -.00005 {
		return "-"
	}
	return ""
}

// fixed prints a gauge with as many digits as mean something.
func fixed(x float64) string { return strconv.FormatFloat(x, 'g', 5, 64) }

func band(b [2]float64) string { return fixed(b[0]) + " to " + fixed(b[1]) }

// wasserstein says how T was measured.
func (w wassersteinFields) method() string {
	s := fmt.Sprintf("%s of %s, null by %s", plural(w.Draws, "pairing"), plural(w.Block, "row"), w.NullMethod)
	if w.PValue != nil {
		s += fmt.Sprintf(", p = %.3g", *w.PValue)
	}
	return s
}

// gauges are the rows of the table: name, value, what uniform rows have, remark.
func (r *measureResult) gauges() [][]string {
	w, u := r.Wasserstein, r.Uniform
	chi := func(t testFields) string { return fmt.Sprintf("%d ± %.3g", t.DoF, 2*math.Sqrt(2*float64(t.DoF))) }
	perRow := func(t testFields) string { return fmt.Sprintf("%.3g a row", t.Statistic/float64(r.N)) }
	return [][]string{
		{"score", fmt.Sprintf("%.4f", w.Score), "1", "0 is a single point"},
		{"Wasserstein", fmt.Sprintf("%.4f ± %.2g", w.Value, w.Stderr), fmt.Sprintf("%.4f ± %.2g", w.NullMean, w.NullSD), w.method()},
		{"sliced Wasserstein", fixed(r.Sliced), band(u.Sliced), fmt.Sprintf("over %d directions", measureDirections)},
		{"Wang-Isola", fixed(r.WangIsola), band(u.WangIsola), fmt.Sprintf("floor of all laws %.4f", sphere.WangIsolaFloor(r.Dim))},
		{"effective rank", fmt.Sprintf("%.2f", r.EffectiveRank), band(u.EffectiveRank), fmt.Sprintf("rank %d of %d", r.Rank, r.Dim)},
		{"nearest row", fixed(r.Nearest), band(u.Nearest), "mean squared distance"},
		{"Rayleigh", fixed(r.Rayleigh.Statistic), chi(r.Rayleigh), "mean: " + perRow(r.Rayleigh)},
		{"Bingham", fixed(r.Bingham.Statistic), chi(r.Bingham), "second moments: " + perRow(r.Bingham)},
	}
}

func printMeasure(w io.Writer, r *measureResult) {
	fmt.Fprintf(w, "%s: %s of %d dimensions\n\n", r.source, plural(r.N, "row"), r.Dim)
	table(w, []string{"uniformity", "value", "uniform rows", ""}, r.gauges(), 4)
	if s := r.ruler(); s != "" {
		fmt.Fprintf(w, "The rows are %s.\n", s)
	}
	fmt.Fprintln(w)
	var rows [][]string
	for _, x := range r.Information {
		rows = append(rows, []string{fmt.Sprintf("%g", x.Noise), fmt.Sprintf("%s ± %.4f", four(x.Nats), x.Stderr), four(x.Uniform),
			four(x.Efficiency), four(x.Capacity), percent(x.Recovered)})
	}
	table(w, []string{"noise", "information", "uniform rows", "efficiency", "capacity", "recovered"}, rows, 0)
	fmt.Fprintf(w, "nats; the ceiling of %s is log N = %.4f\n", plural(r.N, "row"), math.Log(float64(r.N)))
	if r.Report != "" {
		fmt.Fprintf(w, "\n%s: spectrum, information and null bands\n", r.Report)
	}
}
