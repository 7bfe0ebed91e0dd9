package sphere

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"

	"nat/assign"
	"nat/internal/kernel"
	"nat/internal/rng"
)

// DefaultBlock is the number of points of one assignment: values compare only
// at equal block and dimension, so it is the same for all larger sets.
const DefaultBlock = 2048

// leastDraws is how many sets of targets a value rests on at least.
const leastDraws = 8

// What the random numbers of a measurement are for.
const (
	drawRows = iota
	drawTargets
	drawNull
	drawDirections
	drawRuler
)

// WassersteinOptions say how [MeasureWasserstein] measures; the zero value is ready.
type WassersteinOptions struct {
	Block int    // points of one assignment; 0: DefaultBlock
	Pairs int    // pairs of uniform samples for the p-value, 0: none; 199 make it exact to 1/200
	Seed  uint64 // of targets, blocks and null

	Progress func(done, total int) // assignments solved; may be nil; called by several goroutines, one at a time
}

// Wasserstein is the distance of a set of points from the uniform law on the
// sphere, measured by optimal pairings with uniform targets, beside its null.
type Wasserstein struct {
	Value  float64 // T, equation (26): mean over blocks and draws
	Stderr float64 // over blocks; over draws of targets if there is one block
	Block  int     // points of one assignment
	Blocks int     // disjoint random ones
	Draws  int     // assignments solved: blocks times sets of targets
	Null   Null    // what one uniform sample of Block points gives
	Score  float64 // (2 - T) / (2 - E0): 1 is uniform, 0 a single point
	PValue float64 // exact, for the first block and its first targets; NaN without Pairs
}

// MeasureWasserstein measures T (26): the mean squared distance of n points to uniform
// targets drawn afresh, under the best pairing, which [assign.Solver.Points] finds
// exactly. More than a block of points are cut into disjoint blocks at
// random, and T is the mean over them; a remainder smaller than a block is left
// out. Never fewer than 8 assignments are solved.
//
// The p-value is that of the exact test that compares T of the first block with
// that of Pairs pairs of uniform samples of that size: (1 + how many of them are
// as large) / (1 + Pairs). Points more evenly spread than random ones are near 1.
//
// The rows must be unit vectors (norms up to 1.001), n >= 2. Errors: those of
// ctx, and of assign for values that are not finite.
func MeasureWasserstein(ctx context.Context, pool *kernel.Pool, z []float32, n, d int, opt WassersteinOptions) (*Wasserstein, error) {
	check(z, n, d)
	if n < 2 || opt.Block < 0 || opt.Block == 1 || opt.Pairs < 0 {
		panic("sphere: MeasureWasserstein needs n >= 2, Block >= 2 and Pairs >= 0")
	}
	w := &Wasserstein{Block: min(n, DefaultBlock), PValue: math.NaN()}
	if opt.Block > 0 {
		w.Block = min(n, opt.Block)
	}
	w.Blocks = n / w.Block
	draws := (leastDraws + w.Blocks - 1) / w.Blocks
	w.Draws = draws * w.Blocks
	null := needsSimulation(w.Block, d, opt.Pairs)
	solves := &matches{pool: pool, n: w.Block, d: d, progress: opt.Progress, total: w.Draws + null}
	values, err := solves.each(ctx, w.Draws, func(i int) (a, b []float32) {
		block := i / draws
		return gather(z, n, d, block, w.Block, opt.Seed), Uniform(w.Block, d, rng.New(opt.Seed, rng.Measure, drawTargets, uint64(i)))
	})
	if err != nil {
		return nil, err
	}
	w.Value, w.Stderr = blockMean(values, draws)
	simulated, err := solves.null(ctx, null, opt.Seed)
	if err != nil {
		return nil, err
	}
	w.Null = nullOf(w.Block, d, simulated)
	w.Score = (2 - w.Value) / (2 - w.Null.Mean)
	if opt.Pairs > 0 {
		w.PValue = exceedance(simulated[:opt.Pairs], values[0])
	}
	return w, nil
}

// blockMean averages the draws of each block, then the blocks. The standard
// error is that over blocks, or that over draws if there is only one block.
func blockMean(values []float64, draws int) (mean, stderr float64) {
	blocks := make([]float64, len(values)/draws)
	for i, v := range values {
		blocks[i/draws] += v / float64(draws)
	}
	if len(blocks) == 1 {
		mean, sd := moments(values)
		return mean, sd / math.Sqrt(float64(len(values)))
	}
	mean, sd := moments(blocks)
	return mean, sd / math.Sqrt(float64(len(blocks)))
}

// moments are mean and standard deviation (n - 1).
func moments(x []float64) (mean, sd float64) {
	for _, v := range x {
		mean += v / float64(len(x))
	}
	var squares float64
	for _, v := range x {
		squares += (v - mean) * (v - mean)
	}
	return mean, math.Sqrt(squares / float64(len(x)-1))
}

// exceedance is the exact Monte Carlo p-value of value.
func exceedance(null []float64, value float64) float64 {
	above := 1
	for _, t := range null {
		if t >= value {
			above++
		}
	}
	return float64(above) / float64(1+len(null))
}

// gather copies one of the disjoint random blocks of the rows of z.
func gather(z []float32, n, d, block, size int, seed uint64) []float32 {
	if n == size {
		return z[:n*d]
	}
	order := rng.New(seed, rng.Measure, drawRows).Perm(n)
	out := make([]float32, size*d)
	for i, row := range order[block*size : (block+1)*size] {
		copy(out[i*d:(i+1)*d], z[row*d:(row+1)*d])
	}
	return out
}

// matches solves many assignments of n with n points, one on each worker at a time.
type matches struct {
	pool        *kernel.Pool
	n, d        int
	progress    func(done, total int)
	done, total int
	solvers     []assign.Solver
}

// each returns the mean cost of the pairing of count pairs of point sets, at their indices.
func (m *matches) each(ctx context.Context, count int, sets func(i int) (a, b []float32)) ([]float64, error) {
	workers := min(m.pool.Workers(), max(count, 1))
	if m.solvers == nil {
		m.solvers = make([]assign.Solver, m.pool.Workers())
	}
	values, errs := make([]float64, count), make([]error, workers)
	var finished sync.Mutex // one report at a time
	m.pool.Do(workers, func(w int) {
		single := kernel.NewPool(1)
		defer single.Close()
		for i := w; i < count && errs[w] == nil; i += workers {
			if errs[w] = ctx.Err(); errs[w] != nil {
				return
			}
			a, b := sets(i)
			var r *assign.Result
			if r, errs[w] = m.solvers[w].Points(ctx, single, a, b, m.n, m.n, m.d, assign.Options{}); errs[w] == nil {
				values[i] = r.Cost / float64(m.n)
			}
			finished.Lock()
			if m.done++; m.progress != nil {
				m.progress(m.done, m.total)
			}
			finished.Unlock()
		}
	})
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return values, nil
}

// null draws from the law of T for uniform points.
func (m *matches) null(ctx context.Context, count int, seed uint64) ([]float64, error) {
	return m.each(ctx, count, func(i int) (a, b []float32) {
		r := rng.New(seed, rng.Measure, drawNull, uint64(i))
		return Uniform(m.n, m.d, r), Uniform(m.n, m.d, r)
	})
}

// EquivalentRank is the ruler for T of n points: the rank m of the subsphere whose
// uniform samples of n points have the T nearest to value, found by halving, one
// simulated pairing for each m that is tried. Only samples of the same size compare:
// their excess over the null is far below [SubsphereWasserstein], as the targets
// are a sample too.
func EquivalentRank(ctx context.Context, pool *kernel.Pool, value float64, n, d int, seed uint64) (int, error) {
	m := &matches{pool: pool, n: n, d: d}
	of := func(rank int) (float64, error) {
		values, err := m.each(ctx, 1, func(int) (a, b []float32) {
			r := rng.New(seed, rng.Measure, drawRuler, uint64(rank))
			return subsphere(n, rank, d, r), Uniform(n, d, r)
		})
		if err != nil {
			return 0, err
		}
		return values[0], nil
	}
	lo, hi := 1, d // T falls with the rank
	for lo < hi {
		middle := (lo + hi) / 2
		t, err := of(middle)
		if err != nil {
			return 0, err
		}
		if t > value {
			lo = middle + 1
		} else {
			hi = middle
		}
	}
	return lo, nil
}

// subsphere draws n points uniform on the first m coordinates.
func subsphere(n, m, d int, r *rand.Rand) []float32 {
	z := make([]float32, n*d)
	for i, x := range Uniform(n, m, r) {
		z[i/m*d+i%m] = x
	}
	return z
}

// SubsphereWasserstein is the ruler for T: the squared Wasserstein distance of the
// uniform law on a subsphere of rank m from that on the whole sphere in d
// dimensions, 2 - 2 Gamma((m+1)/2) Gamma(d/2) / (Gamma(m/2) Gamma((d+1)/2)). It is T of
// very many points that fill m of d dimensions evenly; for a sample see [EquivalentRank].
func SubsphereWasserstein(m, d int) float64 {
	if m < 1 || d < m {
		panic("sphere: SubsphereWasserstein needs 1 <= m <= d")
	}
	return 2 - 2*math.Exp(logGammaRatio(m)-logGammaRatio(d))
}

// logGammaRatio is log Gamma((m+1)/2) - log Gamma(m/2).
func logGammaRatio(m int) float64 {
	a, _ := math.Lgamma(float64(m+1) / 2)
	b, _ := math.Lgamma(float64(m) / 2)
	return a - b
}
