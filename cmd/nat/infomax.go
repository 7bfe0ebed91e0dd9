package main

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/spf13/cobra"

	"nat"
	"nat/infomax"
	"nat/internal/kernel"
	"nat/internal/rng"
	"nat/sphere"
)

func (a *app) infomaxCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "infomax",
		Short: "does the theory hold? a laboratory of information on the sphere",
		Long: `Why predict noise? Because an encoder whose outputs are uniform on the sphere keeps as much about its input as any
encoder to that sphere can. These are the claims of that theory, as experiments:

  capacity    the most that any encoder can keep, for dimensions and noises
  linear      Gaussian data under linear maps: equal singular values keep the most, and all such maps the same
  stochastic  a head that adds noise of its own keeps less than a deterministic one of the same marginal, by that noise
  bounds      what bounds by a trained decoder and by a few candidates see of the information
  twist       entangled until no probe finds the classes, with the information unchanged

nat measure tells the information of any embeddings.`,
		Args: unknownCommand,
		RunE: func(cmd *cobra.Command, args []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.infomaxCapacity(), a.infomaxLinear(), a.infomaxStochastic(), a.infomaxBounds(), a.infomaxTwist())
	return cmd
}

// The largest samples and dimensions of the experiments: beyond, they take hours.
const (
	maxSample    = 100_000
	maxSampleDim = 4096
)

// measureClaims is the stream of the points that the experiments draw, beside those of a measurement; indices: what
// follows in each experiment.
const measureClaims = 48

// sample are the flags of points drawn at random.
type sample struct {
	n, dim  int
	noise   float64
	seed    uint64
	workers int
}

func (s *sample) declare(cmd *cobra.Command, n, dim int, noise float64) {
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.IntVar(&s.n, "n", n, "number of random points")
	fs.IntVar(&s.dim, "dim", dim, "dimension of the sphere's space")
	fs.Float64Var(&s.noise, "noise", noise, "deviation of the noise per coordinate")
	fs.Uint64Var(&s.seed, "seed", 1, "seed of all that is drawn")
	addWorkers(cmd, &s.workers)
}

// check refuses what cannot be drawn; least is the smallest dimension.
func (s *sample) check(least int) error {
	switch {
	case s.n < 2 || s.n > maxSample:
		return usagef("--n %d: wants 2 to %d points", s.n, maxSample)
	case s.dim < least || s.dim > maxSampleDim:
		return usagef("--dim %d: wants %d to %d", s.dim, least, maxSampleDim)
	case s.workers < 0:
		return usagef("--workers must not be negative")
	}
	return checkNoise(s.noise)
}

// checkNoise accepts the deviations that capacity is exact for.
func checkNoise(levels ...float64) error {
	for _, x := range levels {
		if !(x >= .01 && x <= 10) {
			return usagef("--noise %v: wants deviations from 0.01 to 10", x)
		}
	}
	if len(levels) == 0 {
		return usagef("--noise: give at least one deviation")
	}
	return nil
}

// plusMinus writes a value and its error to the same digit.
func plusMinus(value, err float64) string { return fmt.Sprintf("%.4f ± %.4f", value, err) }

// keptFields is information with its error, under --json.
type keptFields struct {
	Nats   float64 `json:"nats"`
	Stderr float64 `json:"stderr"`
}

// capacityResult is what infomax capacity prints under --json.
type capacityResult struct {
	Noise []float64     `json:"noise"`
	Rows  []capacityRow `json:"rows"`
}

type capacityRow struct {
	Dim      int       `json:"dim"`
	Capacity []float64 `json:"capacity_nats"` // by noise
	Gaussian []float64 `json:"gaussian_bound_nats"`
}

func (a *app) infomaxCapacity() *cobra.Command {
	var dims []int
	var noise []float64
	cmd := &cobra.Command{
		Use:   "capacity",
		Short: "the most that any encoder to the sphere can keep through noise",
		Long: `The information in nats that uniform points on the unit sphere keep through Gaussian noise of a deviation per coordinate,
for infinitely many points: what no encoder to that sphere can exceed. The relative error is below 1e-6. --json has the
capacity of a Gaussian of the same power beside it, (d/2) log(1 + 1/(d sigma^2)), an upper bound.`,
		Example: `  nat infomax capacity
  nat infomax capacity --dim 64,128,2048 --noise 0.05,0.1`,
		Args: a.arguments(),
		RunE: func(*cobra.Command, []string) error {
			if i := slices.IndexFunc(dims, func(d int) bool { return d < 2 || d > maxSampleDim }); i >= 0 || len(dims) == 0 {
				return usagef("--dim %v: wants dimensions from 2 to %d", dims, maxSampleDim)
			}
			if err := checkNoise(noise...); err != nil {
				return err
			}
			return a.printCapacity(dims, noise)
		},
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().IntSliceVar(&dims, "dim", []int{2, 3, 8, 16, 64, 128}, "dimensions of the sphere's space")
	cmd.Flags().Float64SliceVar(&noise, "noise", []float64{.05, .1, .2, .5, 1}, "deviations of the noise per coordinate")
	return cmd
}

func (a *app) printCapacity(dims []int, noise []float64) error {
	res := capacityResult{Noise: noise}
	header := []string{"dim"}
	for _, s := range noise {
		header = append(header, fmt.Sprintf("noise %g", s))
	}
	var cells [][]string
	for _, d := range dims {
		row, text := capacityRow{Dim: d}, []string{count(d)}
		for _, s := range noise {
			c := infomax.Capacity(d, s)
			row.Capacity, row.Gaussian = append(row.Capacity, c), append(row.Gaussian, infomax.CapacityBound(d, s))
			text = append(text, fmt.Sprintf("%.5f", c))
		}
		res.Rows, cells = append(res.Rows, row), append(cells, text)
	}
	if a.json {
		return a.printJSON(res)
	}
	table(a.stdout, header, cells, 0)
	fmt.Fprintln(a.stdout, "nats; N points keep at most log N besides")
	return nil
}

// boundsResult is what infomax bounds prints under --json.
type boundsResult struct {
	N        int        `json:"n"`
	Dim      int        `json:"dim"`
	Noise    float64    `json:"noise"`
	Ceiling  float64    `json:"ceiling_nats"`
	Capacity float64    `json:"capacity_nats"`
	Rows     []boundRow `json:"rows"`
	Warnings []string   `json:"warnings"`
}

type boundRow struct {
	Name  string `json:"name"` // exact, infonce, barber_agakov
	Size  int    `json:"size"` // candidates, or steps of training
	Bound string `json:"-"`    // the name in words
	keptFields
	Ceiling float64 `json:"ceiling_nats"`
}

// boundWork is the number of multiplications that the training of decoders may take: minutes.
const boundWork = 2e12

func (a *app) infomaxBounds() *cobra.Command {
	s, steps := &sample{}, []int{}
	cmd := &cobra.Command{
		Use:   "bounds [Z.npy]",
		Short: "what lower bounds see of the information",
		Long: `Estimate the information that embeddings, those of a file or uniform random points, keep through noise: exactly; by
InfoNCE with the best critic and 2, 10, 100, .. candidates, which never sees more than the logarithm of their number;
and by Barber and Agakov's bound with a linear decoder that is trained for so many steps to guess the row.`,
		Example: `  nat infomax bounds
  nat infomax bounds z.npy --noise 0.3 --steps 100,1000`,
		Args: atMostOne("Z.npy"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(steps) == 0 || slices.Min(steps) < 1 || slices.Max(steps) > 100_000 {
				return usagef("--steps: wants numbers of steps from 1 to 100000")
			}
			if err := s.check(2); err != nil {
				return err
			}
			for _, name := range []string{"n", "dim"} {
				if len(args) == 1 && cmd.Flags().Changed(name) {
					return usagef("--%s is for random points; it does not go with %s", name, args[0])
				}
			}
			return a.bounds(cmd.Context(), args, s, steps)
		},
	}
	s.declare(cmd, 1000, 16, .2)
	cmd.Flags().IntSliceVar(&steps, "steps", []int{25, 100, 400, 1600}, "how long decoders are trained")
	return cmd
}

// atMostOne accepts one argument or none.
func atMostOne(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > 1 {
			return usagef("unexpected argument %q: wants %s or nothing", args[1], name)
		}
		return nil
	}
}

func (a *app) bounds(ctx context.Context, args []string, s *sample, steps []int) error {
	z, res, err := a.boundPoints(args, s)
	if err != nil {
		return err
	}
	work := 0.
	for _, k := range steps {
		work += float64(k) * 256 * float64(res.N*res.Dim) * 2
	}
	if work > boundWork {
		return usagef("decoders of %s in %d dimensions for %v steps would take very long: lower --steps, or give fewer points", plural(res.N, "point"), res.Dim, steps)
	}
	pool := kernel.NewPool(s.workers)
	defer pool.Close()
	if err := res.fill(ctx, pool, z, s, steps, a.progress); err != nil {
		return err
	}
	a.progress.clear()
	a.warn(res.Warnings)
	if a.json {
		return a.printJSON(res)
	}
	fmt.Fprintf(a.stdout, "%s of %s at noise %g: at most log N = %.4f and the capacity %.4f\n\n",
		plural(res.N, "point"), plural(res.Dim, "dimension"), res.Noise, res.Ceiling, res.Capacity)
	var rows [][]string
	for _, r := range res.Rows {
		rows = append(rows, []string{r.Bound, plusMinus(r.Nats, r.Stderr), fmt.Sprintf("%.4f", r.Ceiling)})
	}
	table(a.stdout, []string{"", "nats", "never above"}, rows, 1)
	return nil
}

// boundPoints reads the embeddings or draws them.
func (a *app) boundPoints(args []string, s *sample) (z []float32, res *boundsResult, err error) {
	res = &boundsResult{N: s.n, Dim: s.dim, Noise: s.noise, Warnings: []string{}}
	if len(args) == 1 {
		var low, high float64
		if z, res.N, res.Dim, err = a.embeddings(context.Background(), args, nil); err != nil {
			return nil, nil, err
		}
		if low, high, err = unitRows(z, res.N, res.Dim); err != nil {
			return nil, nil, &classified{fmt.Errorf("%s: %w", args[0], err), nat.ErrInput}
		}
		if low < 1-1e-3 || high > 1+1e-3 {
			res.Warnings = append(res.Warnings, fmt.Sprintf("rows are not unit vectors: normalised (their norms are %.4g to %.4g)", low, high))
		}
	} else {
		z = sphere.Uniform(s.n, s.dim, rng.New(s.seed, rng.Measure, measureClaims))
	}
	res.Ceiling, res.Capacity = math.Log(float64(res.N)), infomax.Capacity(res.Dim, res.Noise)
	return z, res, nil
}

func (res *boundsResult) fill(ctx context.Context, pool *kernel.Pool, z []float32, s *sample, steps []int, progress *meter) error {
	add := func(name, words string, size int, e infomax.Estimate) {
		res.Rows = append(res.Rows, boundRow{name, size, words, keptFields{e.Nats, e.Stderr}, e.Ceiling})
	}
	exact, err := infomax.Information(ctx, pool, z, res.N, res.Dim, []float64{s.noise}, s.seed)
	if err != nil {
		return err
	}
	add("exact", "exact", res.N, exact[0])
	for _, k := range []int{2, 10, 100, 1000, 10_000} {
		if k >= res.N {
			break
		}
		e, err := infomax.InfoNCE(ctx, pool, z, res.N, res.Dim, k, []float64{s.noise}, s.seed)
		if err != nil {
			return err
		}
		add("infonce", fmt.Sprintf("InfoNCE, %s candidates", count(k)), k, e[0])
	}
	for i, k := range steps {
		progress.show(status{label: "decoder", done: i, total: len(steps)}, false)
		e, err := infomax.BarberAgakov(ctx, pool, z, res.N, res.Dim, s.noise, infomax.Decoder{Steps: k}, s.seed)
		if err != nil {
			return err
		}
		add("barber_agakov", fmt.Sprintf("decoder trained for %s", plural(k, "step")), k, e)
	}
	return nil
}
