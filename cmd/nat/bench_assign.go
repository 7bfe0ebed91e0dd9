package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"nat/assign"
	"nat/internal/kernel"
	"nat/sphere"
)

// benchAssignRow is one size of `nat bench assign`.
type benchAssignRow struct {
	N             int     `json:"n"`
	Dim           int     `json:"dim"`
	MedianSeconds float64 `json:"median_seconds"`
	Method        string  `json:"method"`
	RelativeGap   float64 `json:"relative_gap"`
	Repeats       int     `json:"repeats"`
}

type benchAssignResult struct {
	Rows    []benchAssignRow `json:"rows"`
	Kind    string           `json:"kind"`
	Threads int              `json:"threads"`
	Kernel  string           `json:"kernel"`
}

type benchAssignOptions struct {
	sizes, kind        string
	dim, steps, worker int
}

// A pointKind says how points are spread over the sphere: each is one of a few centres and spread times
// a uniform one, normalised. 0 centres: uniform.
type pointKind struct {
	centres int
	spread  float32
}

var pointKinds = map[string]pointKind{
	"uniform":   {},
	"shifted":   {1, 1},
	"clusters":  {20, .05},
	"collapsed": {1, .01},
}

// draw returns n unit vectors.
func (k pointKind) draw(n, d int, r *rand.Rand) ([]float32, error) {
	x := sphere.Uniform(n, d, r)
	if k.centres == 0 {
		return x, nil
	}
	centres := sphere.Uniform(k.centres, d, r)
	for i := range n {
		row, centre := x[i*d:(i+1)*d], centres[i%k.centres*d:]
		for t := range row {
			row[t] = centre[t] + k.spread*row[t]
		}
	}
	return x, sphere.Normalize(x, n, d)
}

func (a *app) benchAssignCommand() *cobra.Command {
	var o benchAssignOptions
	cmd := &cobra.Command{
		Use:   "assign",
		Short: "exact pairings of points with targets",
		Long: `Time the pairing of random points on the unit sphere with as many uniform targets, distances included, without
anything known from before. Sizes from ten thousand on are paired by the solver that does not hold the matrix, as nat
assign does. --kind chooses how the points lie, as embeddings do in the course of a training: uniform, shifted to one side, in 20
tight clusters, or nearly collapsed to a point.`,
		Example: "  nat bench assign\n  nat bench assign --sizes 256,1024,16384 --kind clusters",
		Args:    a.arguments(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.benchAssign(cmd.Context(), o) },
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().StringVar(&o.sizes, "sizes", "256,1024", "numbers of points, separated by commas")
	cmd.Flags().StringVar(&o.kind, "kind", "uniform", "points: uniform, shifted, clusters or collapsed")
	cmd.Flags().IntVar(&o.dim, "dim", 64, "dimensions")
	addSteps(cmd, &o.steps, "as many as fit in a second, at least 3")
	addWorkers(cmd, &o.worker)
	return cmd
}

// parse reads the sizes and refuses what makes no sense.
func (o benchAssignOptions) parse() (sizes []int, err error) {
	for word := range strings.SplitSeq(o.sizes, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(word))
		if err != nil || n < 1 {
			return nil, usagef("--sizes %q: wants numbers of points such as 256,1024", o.sizes)
		}
		sizes = append(sizes, n)
	}
	if _, ok := pointKinds[o.kind]; !ok {
		return nil, usagef("--kind %q: wants uniform, shifted, clusters or collapsed", o.kind)
	}
	if o.dim < 1 || o.steps < 0 || o.worker < 0 {
		return nil, usagef("--dim must be positive, --steps and --workers not negative")
	}
	return sizes, nil
}

func (a *app) benchAssign(ctx context.Context, o benchAssignOptions) error {
	sizes, err := o.parse()
	if err != nil {
		return err
	}
	pool := kernel.NewPool(o.worker)
	defer pool.Close()
	res := benchAssignResult{Kind: o.kind, Threads: pool.Workers(), Kernel: kernel.Tier()}
	for k, n := range sizes {
		row, err := timeAssign(ctx, pool, pointKinds[o.kind], n, o.dim, o.steps)
		if err != nil {
			return err
		}
		res.Rows = append(res.Rows, row)
		a.progress.show(status{label: "bench", done: k + 1, total: len(sizes), unit: "sizes"}, false)
	}
	a.progress.clear()
	if a.json {
		return a.printJSON(res)
	}
	lines := make([][]string, len(res.Rows))
	for i, r := range res.Rows {
		lines[i] = []string{r.Method, count(r.N), count(r.Dim), milliseconds(r.MedianSeconds), fmt.Sprintf("%.2g", r.RelativeGap), count(r.Repeats)}
	}
	table(a.stdout, []string{"method", "points", "dim", "ms", "gap", "repeats"}, lines, 1)
	return nil
}

// timeAssign measures one size, on fresh points in every repeat.
func timeAssign(ctx context.Context, pool *kernel.Pool, kind pointKind, n, d, steps int) (benchAssignRow, error) {
	const least, long = 3, time.Second
	row := benchAssignRow{N: n, Dim: d}
	r := rand.New(rand.NewPCG(1, uint64(n)))
	s, err := denseSolver(n, n, true, assign.LargeOptions{})
	if err != nil {
		return row, err
	}
	var times []float64
	for began := time.Now(); len(times) < max(steps, 1) || steps == 0 && (len(times) < least || time.Since(began) < long); {
		if ctx.Err() != nil {
			return row, context.Cause(ctx)
		}
		z, err := kind.draw(n, d, r)
		if err != nil {
			return row, err
		}
		c := sphere.Uniform(n, d, r)
		start := time.Now()
		got, err := assignPoints(ctx, pool, s, z, c, n, n, d, assign.LargeOptions{})
		if err != nil {
			return row, err
		}
		times = append(times, time.Since(start).Seconds())
		row.Method, row.RelativeGap = got.Method, max(row.RelativeGap, got.RelativeGap)
	}
	slices.Sort(times)
	row.MedianSeconds, row.Repeats = times[len(times)/2], len(times)
	return row, nil
}
