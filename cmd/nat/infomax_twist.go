package main

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/spf13/cobra"

	"nat"
	"nat/dataset"
	"nat/infomax"
	"nat/internal/kernel"
	"nat/internal/rng"
	"nat/probe"
	"nat/sphere"
)

type twistFlags struct {
	sample
	classes, rounds, limit int
	strengths              []float64
	labels, svg            string
	overwrite              bool
	z                      string // file of embeddings, or ""
}

// twistResult is what infomax twist prints under --json.
type twistResult struct {
	Source   string     `json:"source,omitempty"`
	N        int        `json:"n"`
	Dim      int        `json:"dim"`
	Classes  int        `json:"classes"`
	Noise    float64    `json:"noise"`
	Rounds   int        `json:"rounds"`
	Fitted   int        `json:"fitted_rows"` // by probes
	Tested   int        `json:"tested_rows"`
	Chance   float64    `json:"chance"` // accuracy of the commonest class
	Ceiling  float64    `json:"ceiling_nats"`
	Capacity float64    `json:"capacity_nats"`
	Rows     []twistRow `json:"rows"`
	Warnings []string   `json:"warnings"`
	SVG      string     `json:"svg,omitempty"`

	rows []twisted
}

type twistRow struct {
	Strength float64 `json:"strength"`
	keptFields
	WangIsola float64 `json:"wang_isola"`
	KNN       float64 `json:"knn"`
	Linear    float64 `json:"linear"`
}

// twisted is what the picture shows of a row: some points on two axes, and their classes.
type twisted struct {
	x, y  []float64
	class []int
}

func (a *app) infomaxTwist() *cobra.Command {
	f := &twistFlags{}
	cmd := &cobra.Command{
		Use:   "twist [Z.npy --labels FILE]",
		Short: "entangle a representation without the information noticing",
		Long: `Turn pairs of coordinates of the sphere by angles that depend on other coordinates, harder and harder. That keeps
volumes, so a uniform law stays uniform and the information through noise stays what it was; but neighbours are torn
apart, and probes find the classes no more. Information is not usefulness.

The points are uniform, and their class is the largest of the first --classes coordinates; or the embeddings of a file,
with labels (a .csv, .txt or .npy, as for nat train). If these are not uniform, twisting may bring them nearer to it,
and the information rises. A strength of 1 turns by about a radian, in each round. Probes are
fitted on four fifths of the points and tested on the others.`,
		Example: `  nat infomax twist --svg twist.svg
  nat infomax twist z.npy --labels labels.csv --noise 0.2 --strengths 0,0.1,0.3,1`,
		Args: atMostOne("Z.npy"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				f.z = args[0]
			}
			if err := f.check(cmd.Flags().Changed); err != nil {
				return err
			}
			return a.twist(cmd.Context(), f)
		},
	}
	f.declare(cmd, 3000, 8, .15)
	fs := cmd.Flags()
	fs.IntVar(&f.classes, "classes", 4, "classes of random points")
	fs.StringVar(&f.labels, "labels", "", "file of labels for Z.npy, one a row or pairs of row and label")
	fs.IntVar(&f.limit, "limit", 0, "of Z.npy: only N rows, chosen by a hash of their identity (0: all)")
	fs.Float64SliceVar(&f.strengths, "strengths", []float64{0, .1, .2, .4, .8, 1.6}, "how hard to twist")
	fs.IntVar(&f.rounds, "rounds", 8, "times that all coordinates are paired")
	fs.StringVar(&f.svg, "svg", "", "draw the points, their information and the accuracy of the probes to this file")
	fs.BoolVar(&f.overwrite, "overwrite", false, "replace the file of --svg")
	return cmd
}

func (f *twistFlags) check(given func(flag string) bool) error {
	for _, name := range []string{"n", "dim", "classes"} {
		if f.z != "" && given(name) {
			return usagef("--%s is for random points; it does not go with %s", name, f.z)
		}
	}
	for _, name := range []string{"labels", "limit"} {
		if f.z == "" && given(name) {
			return usagef("--%s is for Z.npy; random points have classes of their own", name)
		}
	}
	switch {
	case f.z != "" && f.labels == "":
		return usagef("--labels is missing: probes need the classes of %s", f.z)
	case f.limit < 0:
		return usagef("--limit must not be negative")
	case f.z == "" && (f.classes < 2 || f.classes > f.dim):
		return usagef("--classes %d: wants 2 to %d, the dimension", f.classes, f.dim)
	case f.z == "" && f.n < 100:
		return usagef("--n %d: probes want 100 points or more", f.n)
	case f.rounds < 1 || f.rounds > 1000:
		return usagef("--rounds %d: wants 1 to 1000", f.rounds)
	case len(f.strengths) == 0 || slices.ContainsFunc(f.strengths, func(s float64) bool { return !(math.Abs(s) <= 1e4) }):
		return usagef("--strengths %v: wants numbers up to 10000", f.strengths)
	}
	if err := f.sample.check(3); err != nil {
		return err
	}
	if f.svg != "" {
		return checkOutputs(f.overwrite, f.svg)
	}
	return nil
}

func (a *app) twist(ctx context.Context, f *twistFlags) error {
	res := &twistResult{Source: f.z, Noise: f.noise, Rounds: f.rounds, SVG: f.svg, Warnings: []string{}}
	z, labels, err := a.twistPoints(ctx, f, res)
	if err != nil {
		return err
	}
	res.Ceiling, res.Capacity = math.Log(float64(res.N)), infomax.Capacity(res.Dim, f.noise)
	pool := kernel.NewPool(f.workers)
	defer pool.Close()
	view, err := viewOf(pool, z, labels, res)
	if err != nil {
		return err
	}
	for i, strength := range f.strengths {
		a.progress.show(status{label: "twists", done: i, total: len(f.strengths)}, false)
		if err := res.add(ctx, pool, z, labels, strength, f.seed, view); err != nil {
			return err
		}
	}
	if f.svg != "" {
		if err := writeText(f.svg, twistSVG(res)); err != nil {
			return err
		}
	}
	a.progress.clear()
	a.warn(res.Warnings)
	if a.json {
		return a.printJSON(res)
	}
	a.printTwists(res)
	return nil
}

// twistPoints reads the embeddings and their labels, or draws points with classes.
func (a *app) twistPoints(ctx context.Context, f *twistFlags, res *twistResult) (z []float32, labels []int, err error) {
	if f.z != "" {
		return a.readLabelled(ctx, f, res)
	}
	res.N, res.Dim, res.Classes = f.n, f.dim, f.classes
	z = sphere.Uniform(f.n, f.dim, rng.New(f.seed, rng.Measure, measureClaims))
	labels = make([]int, f.n)
	for i := range labels {
		for k, v := range z[i*f.dim : i*f.dim+f.classes] {
			if v > z[i*f.dim+labels[i]] {
				labels[i] = k
			}
		}
	}
	return z, labels, nil
}

func (a *app) readLabelled(ctx context.Context, f *twistFlags, res *twistResult) (z []float32, labels []int, err error) {
	set, err := dataset.Open(ctx, f.z, dataset.Options{Labels: f.labels, Limit: f.limit, Workers: f.workers, Progress: a.scanProgress})
	if err != nil {
		return nil, nil, classify(err, nat.ErrInput)
	}
	defer set.Close()
	refuse := func(format string, args ...any) error { return &classified{fmt.Errorf(format, args...), nat.ErrInput} }
	d := set.Shape().Size()
	switch {
	case !set.Vector():
		return nil, nil, refuse("%s holds images, not embeddings: write these with nat embed RUN %s -o Z.npy", f.z, f.z)
	case !set.Labelled():
		return nil, nil, refuse("%s: fewer than two classes, and a probe needs them", f.labels)
	case d < 3:
		return nil, nil, refuse("%s: rows of %d values: a twist needs three dimensions at least", f.z, d)
	}
	for i := range set.Len() {
		if set.Label(i) < 0 {
			continue
		}
		labels, z = append(labels, set.Label(i)), append(z, make([]float32, d)...)
		if err := set.Read(i, z[len(z)-d:]); err != nil {
			return nil, nil, err
		}
	}
	if len(labels) < 100 {
		return nil, nil, refuse("%s: %s with a label; probes want 100 or more", f.z, plural(len(labels), "row"))
	}
	low, high, err := unitRows(z, len(labels), d)
	if err != nil {
		return nil, nil, refuse("%s: %w", f.z, err)
	}
	if low < 1-1e-3 || high > 1+1e-3 {
		res.Warnings = append(res.Warnings, fmt.Sprintf("rows are not unit vectors: normalised (their norms are %.4g to %.4g)", low, high))
	}
	res.N, res.Dim, res.Classes = len(labels), d, len(set.Classes())
	return z, labels, nil
}

// add twists a copy of the points and measures it.
func (res *twistResult) add(ctx context.Context, pool *kernel.Pool, z []float32, labels []int, strength float64, seed uint64, view *probe.Projection) error {
	n, d := res.N, res.Dim
	w := slices.Clone(z)
	infomax.Twist(pool, w, n, d, strength, res.Rounds, seed)
	e, err := infomax.Information(ctx, pool, w, n, d, []float64{res.Noise}, seed)
	if err != nil {
		return err
	}
	row := twistRow{Strength: strength, keptFields: keptFields{e[0].Nats, e[0].Stderr}, WangIsola: sphere.MeasurePairs(pool, w, n, d).WangIsola}
	data := splitProbes(w, labels, d, res.Classes, seed)
	res.Fitted, res.Tested, res.Chance = len(data.TrainY), len(data.TestY), probe.Majority(data)
	if row.KNN, err = probe.KNN(ctx, pool, data, probe.KNNOptions{}); err != nil {
		return err
	}
	if row.Linear, err = probe.Linear(ctx, pool, data, probe.LinearOptions{Seed: seed}); err != nil {
		return err
	}
	res.Rows = append(res.Rows, row)
	shown := min(n, 700) // points in the picture
	flat := make([]float32, shown*view.K)
	view.Apply(flat, w, shown)
	t := twisted{class: labels[:shown]}
	for i := range shown {
		t.x, t.y = append(t.x, float64(flat[i*view.K])), append(t.y, float64(flat[i*view.K+1]))
	}
	res.rows = append(res.rows, t)
	return nil
}

// splitProbes puts a fifth of the points, chosen at random, aside for testing.
func splitProbes(z []float32, labels []int, d, classes int, seed uint64) probe.Data {
	data := probe.Data{Dim: d, Classes: classes}
	for k, i := range rng.New(seed, rng.Probe, measureClaims).Perm(len(labels)) {
		row := z[i*d : (i+1)*d]
		if k%5 == 0 {
			data.Test, data.TestY = append(data.Test, row...), append(data.TestY, labels[i])
		} else {
			data.Train, data.TrainY = append(data.Train, row...), append(data.TrainY, labels[i])
		}
	}
	return data
}

// viewOf is the projection of the picture: the plane in which the means of the classes are most apart, with so little of
// the points themselves that it is that plane unless there are only two classes.
func viewOf(pool *kernel.Pool, z []float32, labels []int, res *twistResult) (*probe.Projection, error) {
	d := res.Dim
	rows := make([]float32, (res.Classes+1)*d)
	size := make([]float32, res.Classes)
	for i, y := range labels {
		for k, v := range z[i*d : (i+1)*d] {
			rows[y*d+k] += v
		}
		size[y]++
	}
	for y, n := range size {
		for k := range d {
			rows[y*d+k] /= max(n, 1)
		}
	}
	for k, v := range z[:d] {
		rows[res.Classes*d+k] = .01 * v
	}
	return probe.PCA(pool, rows, res.Classes+1, d, 2)
}

func (a *app) printTwists(res *twistResult) {
	what := "uniform points"
	if res.Source != "" {
		what = "rows of " + res.Source
	}
	fmt.Fprintf(a.stdout, "%s %s in %d dimensions, %d classes, noise %g: at most log N = %.4f and the capacity %.4f\n\n",
		count(res.N), what, res.Dim, res.Classes, res.Noise, res.Ceiling, res.Capacity)
	var rows [][]string
	for _, r := range res.Rows {
		rows = append(rows, []string{fmt.Sprintf("%g", r.Strength), plusMinus(r.Nats, r.Stderr), fmt.Sprintf("%.4f", r.WangIsola), fraction(r.KNN), fraction(r.Linear)})
	}
	table(a.stdout, []string{"strength", "nats", "Wang-Isola", "knn", "linear"}, rows, 0)
	fmt.Fprintf(a.stdout, "probes fitted on %s and tested on %s points; chance is %s\n", count(res.Fitted), count(res.Tested), fraction(res.Chance))
	if res.SVG != "" {
		pairs(a.stdout, "\ndrawing", res.SVG)
	}
}
