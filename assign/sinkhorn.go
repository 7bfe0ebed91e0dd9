package assign

import (
	"fmt"
	"math"

	"nat/internal/kernel"
)

// MinPlanTemperature is the lowest temperature of a [Softener]: between vectors of
// length 1 its scalings then differ by at most a factor of e^80, in the range of float32.
const MinPlanTemperature = .025

// Accuracy of a plan: the columns' sums are off by at most planTolerance of the mass, unless
// planIterations are over before. Of uniform points in 64 dimensions at .2 it takes two: BenchmarkPlan.
const (
	planTolerance  = 1e-4
	planIterations = 200
)

// Softener finds the entropic relaxation of an assignment (45): of all plans P with
// equal sums in every row, and in every column, the one of
//
//	max over P of sum_ij P_ij <x_i, y_j> - T sum_ij P_ij log P_ij
//
// by scaling rows and columns in turn (R. Sinkhorn, Amer. Math. Monthly 74, 1967;
// M. Cuturi, NeurIPS 2013). As T goes to 0 it becomes the best assignment, at a large T
// every pair is as good as any other.
//
//	var s assign.Softener
//	plan := s.Plan(pool, products, m, n, .2) // products become P, m x n, its rows adding up to 1
//
// The zero value is ready. Results do not depend on the number of workers. A Softener
// keeps O(m+n) memory, and serves one caller at a time.
type Softener struct {
	p     []float32 // m x n
	m, n  int
	scale float32 // 1/T

	rows, columns []float32 // scalings
	top, ceiling  []float32 // what was subtracted in each row and column
	sums          []float32 // of columns

	loops *planLoops // made once, as method values are allocated
}

// planLoops are the bodies of the parallel loops.
type planLoops struct {
	tops, ceilings, exponentials, rows, columns, products func(chunk int)
}

// Plan describes a plan.
type Plan struct {
	// Distance is the entropic distance, per row, less the mean squared lengths of the x and of the y:
	// the least sum_ij P_ij (-2 <x_i, y_j>) / m + 2 T KL(P/m || uniform).
	Distance   float64
	Iterations int
	Violation  float64 // share of the mass that is in the wrong column
}

// Chunks of the parallel loops; a column chunk is a whole number of cache lines.
const (
	planRows    = 16
	planColumns = 64
)

// Plan turns the inner products of m rows with n columns into the plan at the given
// temperature, scaled so that each row adds up to 1 and each column to about m/n. It
// panics on a temperature below [MinPlanTemperature]; products that are not finite, or
// far longer than 1, give a plan that is not finite.
func (s *Softener) Plan(pool *kernel.Pool, products []float32, m, n int, temperature float64) Plan {
	if m < 1 || n < 1 || len(products) != m*n {
		panic(fmt.Sprintf("assign: a plan of %d x %d from %d products", m, n, len(products)))
	}
	if !(temperature >= MinPlanTemperature) {
		panic(fmt.Sprintf("assign: a plan at temperature %v; want at least %v", temperature, MinPlanTemperature))
	}
	s.begin(products, m, n, temperature)
	loops := s.loops
	each(pool, m, planRows, loops.tops)
	each(pool, n, planColumns, loops.ceilings)
	each(pool, m, planRows, loops.exponentials)
	plan := Plan{}
	for plan.Iterations = 1; ; plan.Iterations++ {
		each(pool, m, planRows, loops.rows)
		each(pool, n, planColumns, loops.columns)
		plan.Violation = s.violation()
		if !(plan.Violation > planTolerance) || plan.Iterations == planIterations {
			break
		}
		for j, sum := range s.sums {
			s.columns[j] = float32(m) / float32(n) / sum
		}
	}
	plan.Distance = s.distance(temperature)
	each(pool, m, planRows, loops.products)
	s.p = nil // the caller's
	return plan
}

// each is a parallel loop over count things in chunks.
func each(pool *kernel.Pool, count, size int, f func(chunk int)) {
	pool.Do((count+size-1)/size, f)
}

func (s *Softener) begin(products []float32, m, n int, temperature float64) {
	s.p, s.m, s.n, s.scale = products, m, n, float32(1/temperature)
	s.rows, s.top = grow(s.rows, m), grow(s.top, m)
	s.columns, s.ceiling, s.sums = grow(s.columns, n), grow(s.ceiling, n), grow(s.sums, n)
	for j := range s.columns {
		s.columns[j] = 1
	}
	if s.loops == nil {
		s.loops = &planLoops{s.findTops, s.findCeilings, s.exponentials, s.scaleRows, s.addColumns, s.multiply}
	}
}

func (s *Softener) row(i int) []float32 { return s.p[i*s.n : (i+1)*s.n] }

// findTops finds the largest product of each row.
func (s *Softener) findTops(chunk int) {
	for i := chunk * planRows; i < min((chunk+1)*planRows, s.m); i++ {
		s.top[i] = kernel.Highest(s.row(i))
	}
}

// findCeilings finds how far each column stays below these everywhere. Less both, no
// product is positive and each row and column has a 0: the exponentials can neither
// overflow, nor vanish from a row or column.
func (s *Softener) findCeilings(chunk int) {
	lo, hi := chunk*planColumns, min((chunk+1)*planColumns, s.n)
	ceiling := s.ceiling[lo:hi]
	for i := range s.m {
		top := s.top[i]
		for j, x := range s.row(i)[lo:hi] {
			if x -= top; i == 0 || x > ceiling[j] {
				ceiling[j] = x
			}
		}
	}
}

func (s *Softener) exponentials(chunk int) {
	for i := chunk * planRows; i < min((chunk+1)*planRows, s.m); i++ {
		row, top := s.row(i), s.top[i]
		for j, ceiling := range s.ceiling {
			row[j] = s.scale * (row[j] - top - ceiling)
		}
		kernel.Exp(row, row)
	}
}

func (s *Softener) scaleRows(chunk int) {
	for i := chunk * planRows; i < min((chunk+1)*planRows, s.m); i++ {
		s.rows[i] = 1 / kernel.Dot(s.row(i), s.columns)
	}
}

func (s *Softener) addColumns(chunk int) {
	lo, hi := chunk*planColumns, min((chunk+1)*planColumns, s.n)
	sums := s.sums[lo:hi]
	clear(sums)
	for i, scale := range s.rows {
		kernel.Axpy(sums, scale, s.row(i)[lo:hi])
	}
}

func (s *Softener) violation() float64 {
	var off float64
	for j, sum := range s.sums {
		off += math.Abs(float64(s.columns[j])*float64(sum)/float64(s.m) - 1/float64(s.n))
	}
	return off / 2
}

// distance is that of the dual: with P_ij = a_i e^{x/T} b_j the logarithm of P needs no
// sum over pairs.
func (s *Softener) distance(temperature float64) float64 {
	var rows, columns float64
	for i, a := range s.rows {
		rows += math.Log(float64(a)) - float64(s.top[i])/temperature
	}
	for j, b := range s.columns {
		columns += math.Log(float64(b)) - float64(s.ceiling[j])/temperature
	}
	return 2 * temperature * (math.Log(float64(s.n)) + rows/float64(s.m) + columns/float64(s.n))
}

// multiply turns the exponentials into the plan.
func (s *Softener) multiply(chunk int) {
	for i := chunk * planRows; i < min((chunk+1)*planRows, s.m); i++ {
		row, scale := s.row(i), s.rows[i]
		for j, b := range s.columns {
			row[j] *= scale * b
		}
	}
}
