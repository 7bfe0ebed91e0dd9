package main

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"nat"
	"nat/assign"
	"nat/internal/kernel"
	"nat/internal/tensorfile"
)

type assignFlags struct {
	cost, out, duals string
	tolerance        float64
	limit            time.Duration
	workers          int
	overwrite        bool
}

// assignResult is what `nat assign --json` prints.
type assignResult struct {
	N           int     `json:"n"`
	M           int     `json:"m"`
	Cost        float64 `json:"cost"`
	MeanCost    float64 `json:"mean_cost"`
	LowerBound  float64 `json:"lower_bound"`
	Gap         float64 `json:"gap"`
	RelativeGap float64 `json:"relative_gap"`
	Optimal     bool    `json:"optimal"`
	Method      string  `json:"method"`
	Seconds     float64 `json:"seconds"`
	Stopped     string  `json:"stopped,omitempty"`
	Out         string  `json:"out,omitempty"`
	Duals       string  `json:"duals,omitempty"`
}

func (a *app) assignCommand() *cobra.Command {
	f := &assignFlags{}
	cmd := &cobra.Command{
		Use:   "assign Z.npy C.npy | --cost M.npy [-o PERM.npy]",
		Short: "pair rows with columns at the least total cost, and prove it",
		Long: `Pair the points of Z.npy with those of C.npy so that the sum of squared distances is least, or the rows with
the columns of a matrix of costs (inf forbids a pair). Up to ten thousand points the whole matrix is held; as
many points on both sides as fit in memory are paired by a solver that computes distances as it needs them.

The result is optimal, and comes with a proof: potentials u and v (--duals) with u_i + v_j <= c_ij for every pair,
whose sum no pairing can cost less than. gap is what the cost exceeds that sum by.

PERM.npy holds one int64 for each row, the column it is paired with, or -1 for the rows left over if there are
more rows than columns. UV.npz holds u and v, float64.`,
		Example: `  nat assign z.npy c.npy -o perm.npy --duals uv.npz
  nat assign --cost m.npy --json
  nat assign z.npy c.npy --tolerance 1e-4 --time-limit 10m -o perm.npy`,
		Args: func(cmd *cobra.Command, args []string) error {
			if f.cost == "" {
				return a.arguments("Z.npy", "C.npy")(cmd, args)
			}
			if len(args) > 0 {
				return usagef("unexpected argument %q: --cost takes the place of Z.npy and C.npy", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return a.assign(cmd.Context(), args, f) },
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVar(&f.cost, "cost", "", "an .npy matrix of costs, in place of points")
	fs.StringVarP(&f.out, "out", "o", "", "write the pairing to this .npy file")
	fs.StringVar(&f.duals, "duals", "", "write the potentials to this .npz file")
	fs.Float64Var(&f.tolerance, "tolerance", 0, "relative gap that suffices, as many points on both sides (0: the optimum)")
	fs.DurationVar(&f.limit, "time-limit", 0, "end with the best pairing and its gap, as many points on both sides (0: none)")
	fs.BoolVar(&f.overwrite, "overwrite", false, "replace files that exist")
	addWorkers(cmd, &f.workers)
	return cmd
}

// check refuses what cannot be done before anything is read.
func (f *assignFlags) check() error {
	var paths []string
	for _, want := range []struct{ flag, path, ext string }{{"-o", f.out, ".npy"}, {"--duals", f.duals, ".npz"}} {
		if want.path == "" {
			continue
		}
		if !strings.EqualFold(filepath.Ext(want.path), want.ext) {
			return usagef("%s %s: the file is written in the format %s and must be named so", want.flag, want.path, want.ext)
		}
		paths = append(paths, want.path)
	}
	switch {
	case !(f.tolerance >= 0 && f.tolerance < 1):
		return usagef("--tolerance %v: must be at least 0 and below 1", f.tolerance)
	case f.limit < 0 || f.workers < 0:
		return usagef("--time-limit and --workers must not be negative")
	case f.cost != "" && (f.tolerance > 0 || f.limit > 0):
		return usagef("--tolerance and --time-limit are for points: a matrix is always solved to the end")
	}
	return checkOutputs(f.overwrite, paths...)
}

func (a *app) assign(ctx context.Context, args []string, f *assignFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	start := time.Now()
	pool := kernel.NewPool(f.workers)
	defer pool.Close()
	var r *assign.LargeResult
	var err error
	if f.cost != "" {
		r, err = assignMatrix(ctx, f.cost)
	} else {
		r, err = a.assignFiles(ctx, pool, args[0], args[1], f)
	}
	a.progress.clear()
	if err != nil {
		return err
	}
	if err := f.write(r); err != nil {
		return err
	}
	res := assignResult{
		N: len(r.U), M: len(r.V), Cost: r.Cost, LowerBound: r.LowerBound, Gap: r.Gap, RelativeGap: r.RelativeGap,
		Optimal: r.Optimal, Method: r.Method, Seconds: time.Since(start).Seconds(), Stopped: r.Stopped, Out: f.out, Duals: f.duals,
	}
	if pairs := min(res.N, res.M); pairs > 0 {
		res.MeanCost = r.Cost / float64(pairs)
	}
	if r.Stopped != "" {
		a.progress.note("nat assign: the time limit of %s was reached before the optimum; the gap says how far it may be", f.limit)
	}
	if a.json {
		return a.printJSON(res)
	}
	printAssign(a.stdout, res)
	return nil
}

// write writes the files that were asked for.
func (f *assignFlags) write(r *assign.LargeResult) error {
	if f.out != "" {
		perm := make([]int64, len(r.Perm))
		for i, j := range r.Perm {
			perm[i] = int64(j)
		}
		err := writeFile(f.out, func(w io.Writer) error { return tensorfile.WriteNPY(w, []int{len(perm)}, perm) })
		if err != nil {
			return err
		}
	}
	if f.duals == "" {
		return nil
	}
	return writeFile(f.duals, func(w io.Writer) error {
		z := zip.NewWriter(w)
		for _, x := range []struct {
			name   string
			values []float64
		}{{"u.npy", r.U}, {"v.npy", r.V}} {
			member, err := z.CreateHeader(&zip.FileHeader{Name: x.name, Method: zip.Store})
			if err != nil {
				return err
			}
			if err := tensorfile.WriteNPY(member, []int{len(x.values)}, x.values); err != nil {
				return err
			}
		}
		return z.Close()
	})
}

func printAssign(w io.Writer, r assignResult) {
	optimal := "optimal"
	switch {
	case r.Stopped != "":
		optimal = "not proven optimal: " + r.Stopped
	case !r.Optimal:
		optimal = "within the gap of the optimum"
	}
	pairs(w,
		"paired", fmt.Sprintf("%s with %s, %s", plural(r.N, "row"), plural(r.M, "column"), optimal),
		"cost", fmt.Sprintf("%.10g, %.6g a pair", r.Cost, r.MeanCost),
		"lower bound", fmt.Sprintf("%.10g", r.LowerBound),
		"gap", fmt.Sprintf("%.3g, relative %.3g", r.Gap, r.RelativeGap),
		"method", r.Method,
		"time", fmt.Sprintf("%.3g s", r.Seconds),
		"written", strings.Trim(r.Out+" "+r.Duals, " "))
}

// assignMatrix solves an .npy matrix of costs.
func assignMatrix(ctx context.Context, path string) (*assign.LargeResult, error) {
	var cost []float64
	var n, m int
	err := withMatrix(path, func(arr *tensorfile.Array) (err error) {
		n, m = arr.Rows(), arr.RowLen()
		if err = fitsDense(path, n, m, matrixBytes); err == nil {
			cost, err = arr.Float64s()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var s assign.Solver
	r, err := s.Matrix(ctx, cost, n, m, assign.Options{})
	if err != nil {
		return nil, rejected(path, err)
	}
	return &assign.LargeResult{Result: *r}, nil
}

// rejected says that the data cannot be solved, and why.
func rejected(path string, err error) error {
	var entry *assign.EntryError
	if errors.As(err, &entry) || errors.Is(err, assign.ErrInfeasible) {
		return &classified{fmt.Errorf("%s: %w", path, err), nat.ErrInput}
	}
	return err
}

// assignFiles pairs the points of two files.
func (a *app) assignFiles(ctx context.Context, pool *kernel.Pool, points, targets string, f *assignFlags) (*assign.LargeResult, error) {
	z, n, d, err := readPoints(points)
	if err != nil {
		return nil, err
	}
	c, m, e, err := readPoints(targets)
	if err != nil {
		return nil, err
	}
	if d != e {
		return nil, &classified{fmt.Errorf("%s has %s a row and %s %d: points and targets must be alike",
			points, plural(d, "value"), targets, e), nat.ErrInput}
	}
	if n != m && (f.tolerance > 0 || f.limit > 0) {
		return nil, usagef("--tolerance and --time-limit need as many targets as points, not %d and %d", m, n)
	}
	start := time.Now()
	opt := assign.LargeOptions{Tolerance: f.tolerance, TimeLimit: f.limit, Progress: func(p assign.LargeProgress) {
		s := status{label: p.Phase, done: p.Paired, total: p.Rows, unit: "rows", fields: []string{time.Since(start).Round(time.Second).String()}}
		a.progress.show(s, false)
	}}
	s, err := denseSolver(n, m, inBall(z, d) && inBall(c, d), opt)
	if err != nil {
		return nil, err
	}
	return assignPoints(ctx, pool, s, z, c, n, m, d, opt)
}

// From how many points on their matrix is not held even if it would fit: 400 MB then. Of points beyond the unit ball it is
// one of float64, which takes longer than having none.
const (
	largeFrom    = 10000
	largeFromFar = 2000
)

// inBall tells whether all points are in the unit ball, as assign.Solver sees it.
func inBall(x []float32, d int) bool {
	origin := make([]float32, d)
	for ; len(x) >= d; x = x[d:] {
		if kernel.SqDist64(x[:d], origin) > 1.002 {
			return false
		}
	}
	return true
}

// denseSolver returns a solver that holds the matrix of distances: if it is small, or if the numbers of points differ. It
// returns nil if the solver that does not hold it is to be used. ball says that the points are in the unit ball.
func denseSolver(n, m int, ball bool, opt assign.LargeOptions) (*assign.Solver, error) {
	if n == m && (n >= largeFrom || n >= largeFromFar && !ball || opt.Tolerance > 0 || opt.TimeLimit > 0) {
		return nil, nil
	}
	switch err := fitsDense("the matrix of distances", n, m, distanceBytes); {
	case err == nil:
		return new(assign.Solver), nil
	case n == m:
		return nil, nil
	default:
		return nil, fmt.Errorf("%w; as many targets as points would need no matrix: leave some of either out", err)
	}
}

// assignPoints pairs points by s, which holds the matrix of distances, or without one if s is nil.
func assignPoints(ctx context.Context, pool *kernel.Pool, s *assign.Solver, z, c []float32, n, m, d int, opt assign.LargeOptions) (*assign.LargeResult, error) {
	if s == nil {
		opt.Pool = pool
		return assign.Large(ctx, z, c, n, d, opt)
	}
	r, err := s.Points(ctx, pool, z, c, n, m, d, assign.Options{})
	switch {
	case err != nil:
		return nil, err
	case r.RelativeGap <= wideGap:
	case n == m:
		opt.Pool, opt.Start = pool, r.Perm
		return assign.Large(ctx, z, c, n, d, opt)
	default:
		row := func(i int, dst []float64) {
			for j := range dst {
				dst[j] = kernel.SqDist64(z[i*d:(i+1)*d], c[j*d:(j+1)*d])
			}
		}
		if r, err = s.Rows(ctx, n, m, row, assign.Options{Start: r.Perm}); err != nil {
			return nil, err
		}
	}
	return &assign.LargeResult{Result: *r}, nil
}

// wideGap is the relative gap from which on points are paired a second time, by distances in float64: they are so much
// closer to each other than to 0 that float32 does not tell them apart.
const wideGap = 1e-6

// What a dense solve holds for each entry, at most: the costs as read, transposed, and the solver's.
const (
	matrixBytes   = 24
	distanceBytes = 16 // of points, whose distances are not read
)

// fitsDense refuses a matrix that would not fit in memory, before it is made.
func fitsDense(what string, n, m, each int) error {
	const most = 1 << 40
	if n > 0 && m > most/each/n {
		return &classified{fmt.Errorf("%s, %d x %d, would take %d GB", what, n, m, int64(float64(n)*float64(m)*float64(each)/1e9)), nat.ErrResource}
	}
	if have, ok := nat.AvailableMemory(); ok && int64(n)*int64(m)*int64(each) > have {
		return &classified{fmt.Errorf("%s, %d x %d, would take %.1f GB, and %.1f GB are free", what, n, m,
			float64(n)*float64(m)*float64(each)/1e9, float64(have)/1e9), nat.ErrResource}
	}
	return nil
}
