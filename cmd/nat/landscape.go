package main

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/spf13/cobra"

	"nat"
	"nat/assign"
	"nat/internal/kernel"
	"nat/internal/rng"
	"nat/sphere"
)

func (a *app) landscapeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "landscape",
		Short: "does the minibatch Hungarian get stuck? a laboratory",
		Long: `Training re-pairs points and targets one minibatch at a time. With the network held still that is a walk over
permutations, and it can stand still where no batch gains although a better permutation exists: in a local minimum.

  figure     three points on a circle, where it can be seen
  enumerate  up to nine points: every permutation, counted exactly
  descend    thousands of points: walk to a standstill, and compare with the exact optimum; with --run, in training too`,
		Args: unknownCommand,
		RunE: func(cmd *cobra.Command, args []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.landscapeFigure(), a.landscapeEnumerate(), a.landscapeDescend())
	return cmd
}

// costTolerance is the difference up to which two costs of few points are equal. An equal neighbour is no better one (the
// weak form of a local minimum), so that at 30 degrees, where the traps tie with their neighbours, they count.
const costTolerance = 1e-9

// figureResult is what landscape figure prints under --json.
type figureResult struct {
	Offset       float64       `json:"offset_degrees"`
	Tolerance    float64       `json:"tolerance"`
	Permutations []permutation `json:"permutations"`
	LocalMinima  int           `json:"local_minima"`
	GlobalMinima int           `json:"global_minima"`
	Trapping     [][2]float64  `json:"trapping_offsets"`
	SVG          string        `json:"svg,omitempty"`
}

type permutation struct {
	Perm   []int32 `json:"perm"`
	Cost   float64 `json:"cost"`
	Local  bool    `json:"local_minimum"`
	Global bool    `json:"global_minimum"`
}

func (a *app) landscapeFigure() *cobra.Command {
	var offset float64
	var out string
	var overwrite bool
	cmd := &cobra.Command{
		Use:   "figure",
		Short: "three points on a circle, where a batch of two can be trapped",
		Long: `Three points stand on a circle at 0, 120 and 240 degrees, and three targets at the same angles turned by --offset.
The table has all six pairings; --svg draws them. A pairing is a local minimum if exchanging two targets never lowers
its cost (the sum of squared distances) by more than 1e-9.`,
		Example: `  nat landscape figure --offset 45 --svg figure.svg`,
		Args:    a.arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if math.IsNaN(offset) || math.IsInf(offset, 0) {
				return usagef("--offset must be a number of degrees")
			}
			if out != "" {
				if err := checkOutputs(overwrite, out); err != nil {
					return err
				}
			}
			return a.figure(offset, out)
		},
	}
	cmd.Flags().Float64Var(&offset, "offset", 45, "degrees that the targets are turned by")
	cmd.Flags().StringVar(&out, "svg", "", "draw the circle, the pairings and their costs to this file")
	cmd.Flags().BoolVar(&overwrite, "overwrite", false, "replace the file of --svg")
	return cmd
}

func (a *app) figure(offset float64, out string) error {
	res := threePoints(offset)
	res.Trapping = trappingOffsets()
	if out != "" {
		if err := writeText(out, figureSVG(res)); err != nil {
			return err
		}
		res.SVG = out
	}
	if a.json {
		return a.printJSON(res)
	}
	var rows [][]string
	for _, p := range res.Permutations {
		rows = append(rows, []string{arrows(p.Perm), kindOf(p), fmt.Sprintf("%.4f", p.Cost)})
	}
	table(a.stdout, []string{"point>target", "", "cost"}, rows, 2)
	fmt.Fprintf(a.stdout, "\nturned by %g degrees: %s, %d global\n", offset, minima(res.LocalMinima), res.GlobalMinima)
	var ranges []string
	for _, t := range res.Trapping {
		ranges = append(ranges, fmt.Sprintf("%.4g to %.4g", t[0], t[1]))
	}
	fmt.Fprintf(a.stdout, "offsets with a local minimum that is not global: %s degrees (and every 120 on; 30 included, 60 not)\n", strings.Join(ranges, ", "))
	if out != "" {
		pairs(a.stdout, "drawing", out)
	}
	return nil
}

// arrows writes a permutation: 1>2 2>3 3>1.
func arrows(perm []int32) string {
	var s []string
	for i, j := range perm {
		s = append(s, fmt.Sprintf("%d>%d", i+1, j+1))
	}
	return strings.Join(s, " ")
}

func minima(n int) string {
	if n == 1 {
		return "1 local minimum"
	}
	return count(n) + " local minima"
}

func kindOf(p permutation) string {
	switch {
	case p.Global:
		return "global minimum"
	case p.Local:
		return "local minimum"
	}
	return ""
}

// threePoints evaluates the six pairings of equation (21).
func threePoints(offset float64) figureResult {
	cost := make([]float64, 9)
	for i := range 3 {
		for j := range 3 {
			cost[3*i+j] = 2 - 2*math.Cos((120*float64(j-i)+offset)*math.Pi/180)
		}
	}
	res := figureResult{Offset: offset, Tolerance: costTolerance}
	least := math.Inf(1)
	for _, perm := range [][]int32{{0, 1, 2}, {1, 2, 0}, {2, 0, 1}, {0, 2, 1}, {1, 0, 2}, {2, 1, 0}} {
		p := permutation{Perm: perm}
		for i, j := range perm {
			p.Cost += cost[3*i+int(j)]
		}
		p.Local = assign.SmallestExchange(cost, perm, costTolerance) != 2
		least = min(least, p.Cost)
		res.Permutations = append(res.Permutations, p)
	}
	for i := range res.Permutations {
		p := &res.Permutations[i]
		p.Global = p.Cost <= least+costTolerance
		if p.Local {
			res.LocalMinima++
		}
		if p.Global {
			res.GlobalMinima++
		}
	}
	return res
}

// trappingOffsets finds the ranges of offsets in -60..60 that have a local minimum which is not global, by trying
// them in steps of half a degree and closing in on the ends.
func trappingOffsets() (ranges [][2]float64) {
	trapped := func(offset float64) bool {
		r := threePoints(offset)
		return r.LocalMinima > r.GlobalMinima
	}
	edge := func(lo, hi float64) float64 {
		for inside := trapped(lo); hi-lo > 1e-4; {
			if mid := (lo + hi) / 2; trapped(mid) == inside {
				lo = mid
			} else {
				hi = mid
			}
		}
		return math.Round(hi*1000) / 1000
	}
	const step = .5
	for o, was := -60., false; o <= 60; o += step {
		is := trapped(o)
		if is && !was {
			ranges = append(ranges, [2]float64{edge(o-step, o), 60})
		} else if was && !is {
			ranges[len(ranges)-1][1] = edge(o-step, o)
		}
		was = is
	}
	return ranges
}

// enumerateOptions are the flags of landscape enumerate.
type enumerateOptions struct {
	points, targets   string
	n, dim, instances int
	seed              uint64
	workers           int
}

// enumerateResult is what landscape enumerate prints under --json.
type enumerateResult struct {
	N         int         `json:"n"`
	Dim       int         `json:"dim"`
	Instances int         `json:"instances"`
	Tolerance float64     `json:"tolerance"`
	Rows      []minimaRow `json:"rows"`
}

type minimaRow struct {
	Batch      int     `json:"batch"`
	Local      float64 `json:"local_minima"`
	LocalSD    float64 `json:"local_minima_sd"`
	Trapped    float64 `json:"trapped"`
	Global     float64 `json:"global_minima"`
	Neighbours int     `json:"neighbours"`
	OutDegree  int     `json:"out_degree_bound"`
	Edge       float64 `json:"edge_probability"`
	EdgeQuoted float64 `json:"edge_probability_quoted"`
}

func (a *app) landscapeEnumerate() *cobra.Command {
	opt := &enumerateOptions{}
	cmd := &cobra.Command{
		Use:   "enumerate",
		Short: "count the local minima of up to nine points exactly",
		Long: `Look at every permutation of N points and targets, N at most 9, and count for each batch size those that no batch
improves (local minima) and those of least cost (global minima). The points are given, or drawn uniformly
on the sphere in --dim dimensions, --instances times: the table then has means. Costs that differ by 1e-9 or less are
equal, and an equal neighbour is no improvement. with a trap is the share of the instances that have a local minimum
which is not global.

neighbours is the exact number of other permutations that one batch can lead to, and edge the share of all others;
quoted are the figures that are commonly given, C(N,B) B! and 1/(N-B)!, which count the same neighbour more than once.`,
		Example: `  nat landscape enumerate --n 7 --dim 2 --instances 100
  nat landscape enumerate --points x.npy --targets c.npy`,
		Args: a.arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			given := opt.points != "" || opt.targets != ""
			for _, name := range []string{"n", "dim", "instances", "seed"} {
				if given && cmd.Flags().Changed(name) {
					return usagef("--%s is for random points; it does not go with --points and --targets", name)
				}
			}
			return a.enumerate(cmd.Context(), *opt)
		},
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVar(&opt.points, "points", "", ".npy file with one point per row")
	fs.StringVar(&opt.targets, "targets", "", ".npy file with as many targets")
	fs.IntVar(&opt.n, "n", 7, "number of random points")
	fs.IntVar(&opt.dim, "dim", 2, "dimension of the random points")
	fs.IntVar(&opt.instances, "instances", 20, "number of random instances")
	fs.Uint64Var(&opt.seed, "seed", 1, "seed of the random points")
	addWorkers(cmd, &opt.workers)
	return cmd
}

func (a *app) enumerate(ctx context.Context, opt enumerateOptions) error {
	instance, res, err := opt.source()
	if err != nil {
		return err
	}
	res.Tolerance = costTolerance
	pool := kernel.NewPool(opt.workers)
	defer pool.Close()
	sums := make([]minimaSums, res.N-1)
	for i := range res.Instances {
		z, c := instance(i)
		counts, err := assign.EnumerateMinima(ctx, pool, squaredDistances(z, c, res.N, res.Dim), res.N, costTolerance)
		if err != nil {
			return err
		}
		for b, m := range counts {
			sums[b].add(m)
		}
		a.progress.show(status{label: "instances", done: i + 1, total: res.Instances}, false)
	}
	a.progress.clear()
	for b, s := range sums {
		res.Rows = append(res.Rows, s.row(res.N, b+2, float64(res.Instances)))
	}
	if a.json {
		return a.printJSON(res)
	}
	a.printMinima(res)
	return nil
}

// source checks the options and returns a function that gives the points and targets of an instance.
func (o enumerateOptions) source() (instance func(i int) (z, c []float32), res enumerateResult, err error) {
	switch {
	case o.points != "" && o.targets != "":
		z, c, n, d, err := readPair(o.points, o.targets)
		if err == nil && (n < 2 || n > assign.MaxEnumerate) {
			err = &classified{fmt.Errorf("%s has %s: enumerate takes 2 to %d points; landscape descend takes thousands",
				o.points, plural(n, "row"), assign.MaxEnumerate), nat.ErrInput}
		}
		return func(int) ([]float32, []float32) { return z, c }, enumerateResult{N: n, Dim: d, Instances: 1}, err
	case o.points != "" || o.targets != "":
		return nil, res, usagef("--points and --targets go together: give both")
	case o.n < 2 || o.n > assign.MaxEnumerate:
		return nil, res, usagef("--n %d: enumerate takes 2 to %d points; landscape descend takes thousands", o.n, assign.MaxEnumerate)
	case o.dim < 1 || o.dim > 1<<16 || o.instances < 1:
		return nil, res, usagef("--dim and --instances must be 1 or more (and --dim at most 65536)")
	}
	return func(i int) ([]float32, []float32) {
		r := rng.New(o.seed, rng.Landscape, uint64(i))
		return sphere.Uniform(o.n, o.dim, r), sphere.Uniform(o.n, o.dim, r)
	}, enumerateResult{N: o.n, Dim: o.dim, Instances: o.instances}, nil
}

// minimaSums adds up the counts of one batch size over instances.
type minimaSums struct{ local, square, global, trapped float64 }

func (s *minimaSums) add(m assign.MinimaCount) {
	l := float64(m.LocalMinima)
	s.local += l
	s.square += l * l
	s.global += float64(m.GlobalMinima)
	if m.LocalMinima > m.GlobalMinima {
		s.trapped++
	}
}

func (s minimaSums) row(n, batch int, instances float64) minimaRow {
	mean := s.local / instances
	factorial, left := 1., 1.
	for k := 2; k <= n; k++ {
		factorial *= float64(k)
	}
	for k := 2; k <= n-batch; k++ {
		left *= float64(k)
	}
	neighbours := assign.Neighbours(n, batch)
	return minimaRow{Batch: batch, Local: mean, LocalSD: math.Sqrt(max(s.square/instances-mean*mean, 0)),
		Trapped: s.trapped / instances, Global: s.global / instances, Neighbours: neighbours,
		OutDegree: assign.QuotedOutDegree(n, batch), Edge: float64(neighbours) / (factorial - 1), EdgeQuoted: 1 / left}
}

func (a *app) printMinima(res enumerateResult) {
	fmt.Fprintf(a.stdout, "%s and as many targets in %s, %s: all %s permutations of each\n", plural(res.N, "point"),
		plural(res.Dim, "dimension"), plural(res.Instances, "instance"), count(assign.Neighbours(res.N, res.N)+1))
	var rows [][]string
	for _, r := range res.Rows {
		local := fmt.Sprintf("%.4g", r.Local)
		if res.Instances > 1 {
			local += fmt.Sprintf(" ± %.2g", r.LocalSD)
		}
		rows = append(rows, []string{count(r.Batch), local, fmt.Sprintf("%.4g", r.Global), fmt.Sprintf("%.3g %%", 100*r.Trapped),
			count(r.Neighbours), count(r.OutDegree), fmt.Sprintf("%.3g", r.Edge), fmt.Sprintf("%.3g", r.EdgeQuoted)})
	}
	table(a.stdout, []string{"batch", "local minima", "global", "with a trap", "neighbours", "quoted", "edge", "quoted"}, rows, 0)
}

// squaredDistances is the n x n matrix of ||z_i - c_j||^2.
func squaredDistances(z, c []float32, n, d int) []float64 {
	cost := make([]float64, n*n)
	for i := range n {
		for j := range n {
			for k := range d {
				t := float64(z[i*d+k]) - float64(c[j*d+k])
				cost[i*n+j] += t * t
			}
		}
	}
	return cost
}

// readPair reads two .npy files with as many rows of the same length.
func readPair(points, targets string) (z, c []float32, n, d int, err error) {
	z, n, d, err = readPoints(points)
	if err != nil {
		return
	}
	c, m, e, err := readPoints(targets)
	if err == nil && (m != n || e != d) {
		err = &classified{fmt.Errorf("%s has %d rows of %d values and %s %d rows of %d: they must be alike", points, n, d, targets, m, e), nat.ErrInput}
	}
	return z, c, n, d, err
}
