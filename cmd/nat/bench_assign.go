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
	Threads int              `json:"threads"`
	Kernel  string           `json:"kernel"`
}

type benchAssignOptions struct {
	sizes              string
	dim, steps, worker int
}

func (a *app) benchAssignCommand() *cobra.Command {
	var o benchAssignOptions
	cmd := &cobra.Command{
		Use:   "assign",
		Short: "exact pairings of points with targets",
		Long: `Time the pairing of random points on the unit sphere with as many random targets, distances included, without
anything known from before. Sizes of thousands are paired by the solver that does not hold the matrix, as nat assign
does.`,
		Example: "  nat bench assign\n  nat bench assign --sizes 256,1024,16384 --dim 128",
		Args:    a.arguments(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.benchAssign(cmd.Context(), o) },
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().StringVar(&o.sizes, "sizes", "256,1024", "numbers of points, separated by commas")
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
	res := benchAssignResult{Threads: pool.Workers(), Kernel: kernel.Tier()}
	for k, n := range sizes {
		row, err := timeAssign(ctx, pool, n, o.dim, o.steps)
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
func timeAssign(ctx context.Context, pool *kernel.Pool, n, d, steps int) (benchAssignRow, error) {
	const least, long = 3, time.Second
	row := benchAssignRow{N: n, Dim: d}
	r := rand.New(rand.NewPCG(1, uint64(n)))
	var times []float64
	for began := time.Now(); len(times) < max(steps, 1) || steps == 0 && (len(times) < least || time.Since(began) < long); {
		if ctx.Err() != nil {
			return row, context.Cause(ctx)
		}
		z, c := sphere.Uniform(n, d, r), sphere.Uniform(n, d, r)
		start := time.Now()
		got, err := assignPoints(ctx, pool, z, c, n, n, d, assign.LargeOptions{})
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
