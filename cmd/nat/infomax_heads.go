package main

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/spf13/cobra"

	"nat/infomax"
	"nat/internal/kernel"
	"nat/internal/rng"
	"nat/sphere"
)

// linearResult is what infomax linear prints under --json.
type linearResult struct {
	N        int         `json:"n"`
	Dim      int         `json:"dim"`
	Inputs   int         `json:"inputs"`
	Noise    float64     `json:"noise"`
	Maps     int         `json:"maps"`
	Ceiling  float64     `json:"ceiling_nats"`
	Capacity float64     `json:"capacity_nats"`
	Block    int         `json:"wasserstein_block"`
	Null     [2]float64  `json:"wasserstein_null"` // mean and deviation
	Rows     []linearRow `json:"rows"`
}

// linearRow is one kind of map, over random maps and data.
type linearRow struct {
	Ratio         float64 `json:"ratio"` // largest singular value over smallest; 0: uniform points
	Nats          float64 `json:"nats"`
	SD            float64 `json:"sd"`   // over maps
	Less          float64 `json:"less"` // than uniform points
	LessStderr    float64 `json:"less_stderr"`
	Efficiency    float64 `json:"efficiency"`
	Wasserstein   float64 `json:"wasserstein"`
	WassersteinSD float64 `json:"wasserstein_sd"`
	EffectiveRank float64 `json:"effective_rank"`
}

type linearFlags struct {
	sample
	inputs, maps int
	ratios       []float64
}

func (a *app) infomaxLinear() *cobra.Command {
	f := &linearFlags{}
	cmd := &cobra.Command{
		Use:   "linear",
		Short: "linear encoders of Gaussian data: equal singular values are best",
		Long: `Draw normal data in --inputs dimensions and encode them as z = A x / |A x|, with random matrices A whose singular values
fall evenly, by factors, from the largest to the smallest, --ratio apart. For ratio 1 the rows of A are
orthonormal and z is uniform, whatever A: the information must be that of uniform points within the error, and the
Wasserstein distance their null. For others it must be less. Every map has data and noise of its own.`,
		Example: `  nat infomax linear
  nat infomax linear --dim 64 --inputs 784 --noise 0.2 --ratio 1,3,10 --maps 3`,
		Args: a.arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			return a.linear(cmd.Context(), f)
		},
	}
	f.declare(cmd, 4000, 8, .2)
	fs := cmd.Flags()
	fs.IntVar(&f.inputs, "inputs", 32, "dimension of the data")
	fs.IntVar(&f.maps, "maps", 5, "random matrices of each kind")
	fs.Float64SliceVar(&f.ratios, "ratio", []float64{1, 1.2, 1.5, 2, 5, 20}, "largest singular value over the smallest")
	return cmd
}

func (f *linearFlags) check() error {
	switch {
	case f.inputs < f.dim || f.inputs > maxSampleDim:
		return usagef("--inputs %d: wants %d, the dimension of the sphere's space, to %d", f.inputs, f.dim, maxSampleDim)
	case f.maps < 2 || f.maps > 1000:
		return usagef("--maps %d: wants 2 to 1000, there is no spread without", f.maps)
	case len(f.ratios) == 0 || slices.ContainsFunc(f.ratios, func(r float64) bool { return !(r >= 1 && r <= 1e6) }):
		return usagef("--ratio %v: wants ratios from 1 to 1e6", f.ratios)
	}
	return f.sample.check(2)
}

// wassersteinBlock is how many points the experiments pair with targets at once: enough to tell, and quick.
const wassersteinBlock = 512

func (a *app) linear(ctx context.Context, f *linearFlags) error {
	pool := kernel.NewPool(f.workers)
	defer pool.Close()
	res := &linearResult{N: f.n, Dim: f.dim, Inputs: f.inputs, Noise: f.noise, Maps: f.maps, Ceiling: math.Log(float64(f.n)),
		Capacity: infomax.Capacity(f.dim, f.noise)}
	for i, ratio := range append([]float64{0}, f.ratios...) {
		samples := make([]linearRow, f.maps)
		for m := range samples {
			a.progress.show(status{label: "maps", done: i*f.maps + m, total: (1 + len(f.ratios)) * f.maps}, false)
			if err := res.measure(ctx, pool, &samples[m], f, ratio, uint64(m)); err != nil {
				return err
			}
		}
		res.Rows = append(res.Rows, meanOfMaps(samples, ratio))
	}
	res.compare()
	a.progress.clear()
	if a.json {
		return a.printJSON(res)
	}
	a.printLinear(res)
	return nil
}

// measure draws the m-th map of a ratio, or uniform points for 0, and fills in what it gives.
func (res *linearResult) measure(ctx context.Context, pool *kernel.Pool, row *linearRow, f *linearFlags, ratio float64, m uint64) error {
	r := rng.New(f.seed, rng.Measure, measureClaims, math.Float64bits(ratio), m)
	z, seed := sphere.Uniform(f.n, f.dim, r), r.Uint64()
	if ratio > 0 {
		singular := make([]float64, f.dim)
		for k := range singular {
			singular[k] = math.Pow(ratio, -float64(k)/float64(f.dim-1))
		}
		z = infomax.Projected(f.n, f.inputs, singular, r)
	}
	e, err := infomax.Information(ctx, pool, z, f.n, f.dim, []float64{f.noise}, seed)
	if err != nil {
		return err
	}
	w, err := sphere.MeasureWasserstein(ctx, pool, z, f.n, f.dim, sphere.WassersteinOptions{Block: wassersteinBlock, Seed: seed})
	if err != nil {
		return err
	}
	res.Block, res.Null = w.Block, [2]float64{w.Null.Mean, w.Null.SD}
	row.Nats, row.Wasserstein, row.EffectiveRank = e[0].Nats, w.Value, sphere.EffectiveRank(z, f.n, f.dim)
	return nil
}

func meanOfMaps(samples []linearRow, ratio float64) linearRow {
	of := func(field func(linearRow) float64) (mean, sd float64) {
		n := float64(len(samples))
		for _, s := range samples {
			mean += field(s) / n
		}
		for _, s := range samples {
			sd += (field(s) - mean) * (field(s) - mean) / (n - 1)
		}
		return mean, math.Sqrt(sd)
	}
	row := linearRow{Ratio: ratio}
	row.Nats, row.SD = of(func(r linearRow) float64 { return r.Nats })
	row.Wasserstein, row.WassersteinSD = of(func(r linearRow) float64 { return r.Wasserstein })
	row.EffectiveRank, _ = of(func(r linearRow) float64 { return r.EffectiveRank })
	return row
}

// compare fills in how much less than uniform points, the first row, all rows keep.
func (res *linearResult) compare() {
	u := res.Rows[0]
	for i := range res.Rows {
		r := &res.Rows[i]
		r.Efficiency = r.Nats / u.Nats
		if i > 0 {
			r.Less, r.LessStderr = u.Nats-r.Nats, math.Hypot(u.SD, r.SD)/math.Sqrt(float64(res.Maps))
		}
	}
}

func (a *app) printLinear(res *linearResult) {
	fmt.Fprintf(a.stdout, "%s from %d dimensions to the sphere in %d, noise %g, %d maps of each kind: at most log N = %.4f and the capacity %.4f\n\n",
		plural(res.N, "normal point"), res.Inputs, res.Dim, res.Noise, res.Maps, res.Ceiling, res.Capacity)
	var rows [][]string
	for _, r := range res.Rows {
		name, less := fmt.Sprintf("ratio %g", r.Ratio), plusMinus(r.Less, r.LessStderr)
		if r.Ratio == 0 {
			name, less = "uniform", ""
		}
		rows = append(rows, []string{name, plusMinus(r.Nats, r.SD), less, fmt.Sprintf("%.4f", r.Efficiency),
			plusMinus(r.Wasserstein, r.WassersteinSD), fmt.Sprintf("%.2f", r.EffectiveRank)})
	}
	table(a.stdout, []string{"singular values", "nats, sd over maps", "less than uniform", "efficiency", "Wasserstein", "effective rank"}, rows, 1)
	fmt.Fprintf(a.stdout, "Wasserstein in blocks of %d; of uniform points %.4f ± %.4f a block\n", res.Block, res.Null[0], res.Null[1])
}

// stochasticResult is what infomax stochastic prints under --json.
type stochasticResult struct {
	N        int             `json:"n"`
	Dim      int             `json:"dim"`
	Noise    float64         `json:"noise"`
	Ceiling  float64         `json:"ceiling_nats"`
	Capacity float64         `json:"capacity_nats"`
	Rows     []stochasticRow `json:"rows"`
}

type stochasticRow struct {
	Kappa  *float64 `json:"kappa"` // null: deterministic
	Cosine float64  `json:"cosine"`
	keptFields
	Recovered   float64 `json:"recovered"`
	Price       float64 `json:"price_nats"` // h(Z~|x) - h(eps)
	PriceStderr float64 `json:"price_stderr"`
	Limit       float64 `json:"limit_nats"` // capacity less price
}

func (a *app) infomaxStochastic() *cobra.Command {
	s, kappas := &sample{}, []float64{}
	cmd := &cobra.Command{
		Use:   "stochastic",
		Short: "a stochastic head beside a deterministic one of the same marginal",
		Long: `Uniform points are the outputs of a deterministic encoder, or the mean directions of a von Mises-Fisher head of
concentration kappa, which draws its output around them: the marginal is uniform in both cases. The stochastic head pays
its own noise, price = h(Z~|x) - h(noise): of infinitely many points it keeps the capacity less the price, the limit. Entropies are exact.`,
		Example: `  nat infomax stochastic
  nat infomax stochastic --dim 64 --noise 0.1 --kappa 10000,1000,100`,
		Args: a.arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(kappas) == 0 || slices.ContainsFunc(kappas, func(k float64) bool { return !(k >= 0 && k <= 1e6) }) {
				return usagef("--kappa %v: wants concentrations from 0 to 1e6", kappas)
			}
			if err := s.check(2); err != nil {
				return err
			}
			return a.stochastic(cmd.Context(), s, kappas)
		},
	}
	s.declare(cmd, 4000, 8, .3)
	cmd.Flags().Float64SliceVar(&kappas, "kappa", []float64{1000, 300, 100, 30, 10, 3, 0}, "concentrations of the head, 0 for one that ignores its input")
	return cmd
}

func (a *app) stochastic(ctx context.Context, s *sample, kappas []float64) error {
	pool := kernel.NewPool(s.workers)
	defer pool.Close()
	mu := sphere.Uniform(s.n, s.dim, rng.New(s.seed, rng.Measure, measureClaims))
	res := &stochasticResult{N: s.n, Dim: s.dim, Noise: s.noise, Ceiling: math.Log(float64(s.n)), Capacity: infomax.Capacity(s.dim, s.noise)}
	plain, err := infomax.Information(ctx, pool, mu, s.n, s.dim, []float64{s.noise}, s.seed)
	if err != nil {
		return err
	}
	res.Rows = []stochasticRow{{Cosine: 1, keptFields: keptFields{plain[0].Nats, plain[0].Stderr}, Recovered: plain[0].Recovered, Limit: res.Capacity}}
	for i, kappa := range kappas {
		a.progress.show(status{label: "heads", done: i, total: len(kappas)}, false)
		e, err := infomax.Fisher(ctx, pool, mu, s.n, s.dim, kappa, []float64{s.noise}, s.seed)
		if err != nil {
			return err
		}
		res.Rows = append(res.Rows, stochasticRow{Kappa: &kappas[i], Cosine: e[0].Cosine, keptFields: keptFields{e[0].Nats, e[0].Stderr}, Recovered: e[0].Recovered,
			Price: e[0].Price, PriceStderr: e[0].PriceStderr, Limit: res.Capacity - e[0].Price})
	}
	a.progress.clear()
	if a.json {
		return a.printJSON(res)
	}
	a.printStochastic(res)
	return nil
}

func (a *app) printStochastic(res *stochasticResult) {
	fmt.Fprintf(a.stdout, "%s of %s with a uniform marginal, noise %g: at most log N = %.4f and the capacity %.4f\n\n",
		plural(res.N, "point"), plural(res.Dim, "dimension"), res.Noise, res.Ceiling, res.Capacity)
	var rows [][]string
	for _, r := range res.Rows {
		name := "deterministic"
		if r.Kappa != nil {
			name = fmt.Sprintf("kappa %g", *r.Kappa)
		}
		rows = append(rows, []string{name, fmt.Sprintf("%.4f", r.Cosine), plusMinus(r.Nats, r.Stderr), percent(r.Recovered),
			plusMinus(r.Price, r.PriceStderr), fmt.Sprintf("%.4f", r.Limit)})
	}
	table(a.stdout, []string{"head", "cosine", "nats", "recovered", "price", "limit"}, rows, 1)
	fmt.Fprintln(a.stdout, "cosine: of a draw with its mean direction; limit: what infinitely many points would keep")
}
