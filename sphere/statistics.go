package sphere

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/mathext"

	"nat/internal/kernel"
	"nat/internal/rng"
)

// Test is a statistic that has about a chi-square law for uniform points.
type Test struct {
	Statistic float64
	DoF       int // its mean under the uniform law
}

// PValue is how often uniform points have a statistic as large, for many points.
// It is 0 for any large set of trained embeddings; Statistic/n is the size of the effect.
func (t Test) PValue() float64 {
	if t.DoF == 0 {
		return 1 // second moments of points on a line
	}
	return mathext.GammaIncRegComp(float64(t.DoF)/2, max(t.Statistic, 0)/2)
}

// Rayleigh tests the mean, n d ||mean||^2, of n unit vectors: it sees any shift
// and nothing else. Equation (28).
func Rayleigh(z []float32, n, d int) Test {
	check(z, n, d)
	var squares float64
	for _, m := range meanOf(z, n, d) {
		squares += m * m
	}
	return Test{float64(n) * float64(d) * squares, d}
}

// Bingham tests the second moments S = (1/n) sum z z^T of n unit vectors: n d (d+2)/2
// (tr S^2 - 1/d), which sees spread that differs between directions, not the
// mean. Equation (29).
func Bingham(z []float32, n, d int) Test {
	check(z, n, d)
	second := moment(z, n, d, make([]float64, d))
	var trace float64
	for i := range d {
		for j := range d {
			trace += second.At(i, j) * second.At(i, j)
		}
	}
	p := float64(d)
	return Test{float64(n) * p * (p + 2) / 2 * (trace - 1/p), (d - 1) * (d + 2) / 2}
}

// Pairs says how far apart the points of a set are, over all pairs.
type Pairs struct {
	WangIsola  float64 // (23), as [WangIsola]
	Nearest    float64 // mean squared distance of a point to the nearest other; see [NearestNull]
	Coinciding int     // points that have another within 1e-3
}

const pairRows, pairCols = 256, 1024

// MeasurePairs looks at all n (n-1) pairs of points, by matrix products and sums
// in float32: n = 60,000 in d = 64 takes some seconds. n >= 2.
func MeasurePairs(pool *kernel.Pool, z []float32, n, d int) Pairs {
	return SamplePairs(pool, z, n, d, n)
}

// SamplePairs is MeasurePairs of the first `of` points with all n: the means have the same
// expectation for independent points, and Coinciding is of these points only.
func SamplePairs(pool *kernel.Pool, z []float32, n, d, of int) Pairs {
	check(z, n, d)
	if n < 2 || of < 1 || of > n {
		panic("sphere: MeasurePairs needs two points")
	}
	half := make([]float32, n)
	for i := range n {
		row := z[i*d : (i+1)*d]
		half[i] = kernel.Dot(row, row) / 2
	}
	zeros, dots := make([]float32, pairCols), make([]float32, pairRows*pairCols)
	rows := make([]pairRow, of)
	for lo := 0; lo < of; lo += pairRows {
		hi := min(lo+pairRows, of)
		for i := lo; i < hi; i++ {
			rows[i].nearest = math.Inf(-1)
		}
		for c := 0; c < n; c += pairCols {
			cols := min(pairCols, n-c)
			pool.Gemm(dots, pairCols, z[lo*d:], d, false, z[c*d:], d, true, hi-lo, cols, d, false)
			pool.DoChunks(hi-lo, 4, func(r0, r1 int) {
				for r := r0; r < r1; r++ {
					i := lo + r
					own := min(max(i-c, 0), cols)
					row := dots[r*pairCols : r*pairCols+cols]
					rows[i].add(row[:own], half[c:c+own], zeros, half[i])
					if i >= c {
						own++
					}
					if own < cols {
						rows[i].add(row[own:], half[c+own:c+cols], zeros, half[i])
					}
				}
			})
		}
	}
	return sumPairs(rows, n)
}

// pairRow is what one point knows of the others.
type pairRow struct {
	sum     float64 // of e^(-2 squared distance)
	nearest float64 // largest -2 squared distance
}

// add adds the points whose inner products are dots: -2 ||a - b||^2 = 4 (<a,b> - b^2/2) - 4 a^2/2.
func (p *pairRow) add(dots, half, zeros []float32, own float32) {
	for len(dots) > 0 {
		m := min(256, len(dots))
		sum, best := kernel.ExpSum(dots[:m], half[:m], zeros[:m], 4, 0, -4*own)
		p.sum += float64(sum)
		p.nearest = max(p.nearest, float64(best))
		dots, half = dots[m:], half[m:]
	}
}

func sumPairs(rows []pairRow, n int) (p Pairs) {
	of := float64(len(rows))
	var total float64
	for _, r := range rows {
		total += r.sum / of / float64(n-1)
		squared := max(-r.nearest/2, 0)
		p.Nearest += squared / of
		if squared < 1e-6 {
			p.Coinciding++
		}
	}
	p.WangIsola = math.Log(total)
	return p
}

// Sliced is the sliced squared Wasserstein distance between n points z and as many c:
// the mean over random directions of that between their projections, which are
// paired in order. Its rate does not depend on the dimension, and for uniform
// points it falls like 1/n.
func Sliced(pool *kernel.Pool, z, c []float32, n, d, directions int, seed uint64) float64 {
	return NewSlices(pool, c, n, d, directions, seed).Distance(pool, z)
}

// Slices are n points projected on random directions, and in order, to compare several
// other sets with. They take 4 n bytes for each direction.
type Slices struct {
	n, d      int
	axes      []float32
	projected [][]float32
}

// NewSlices projects the n points c.
func NewSlices(pool *kernel.Pool, c []float32, n, d, directions int, seed uint64) *Slices {
	check(c, n, d)
	s := &Slices{n: n, d: d, axes: Uniform(directions, d, rng.New(seed, rng.Measure, drawDirections)), projected: make([][]float32, directions)}
	pool.Do(directions, func(k int) { s.projected[k] = project(c, s.axes[k*d:(k+1)*d], n) })
	return s
}

// Distance is [Sliced] between n points z and those projected.
func (s *Slices) Distance(pool *kernel.Pool, z []float32) float64 {
	check(z, s.n, s.d)
	values := make([]float64, len(s.projected))
	pool.Do(len(values), func(k int) {
		for i, x := range project(z, s.axes[k*s.d:(k+1)*s.d], s.n) {
			diff := float64(x) - float64(s.projected[k][i])
			values[k] += diff * diff / float64(s.n)
		}
	})
	var mean float64
	for _, v := range values {
		mean += v / float64(len(values))
	}
	return mean
}

// project returns the inner products of the rows with axis, in order.
func project(z, axis []float32, n int) []float32 {
	d := len(axis)
	out := make([]float32, n)
	for i := range out {
		out[i] = kernel.Dot(z[i*d:(i+1)*d], axis)
	}
	slices.Sort(out)
	return out
}

// moment is (1/n) sum (z_i - centre)(z_i - centre)^T.
func moment(z []float32, n, d int, centre []float64) *mat.SymDense {
	sum := mat.NewSymDense(d, nil)
	centred := make([]float64, min(n, spectrumRows)*d)
	for lo := 0; lo < n; lo += spectrumRows {
		hi := min(lo+spectrumRows, n)
		for i := lo; i < hi; i++ {
			for k, x := range z[i*d : (i+1)*d] {
				centred[(i-lo)*d+k] = float64(x) - centre[k]
			}
		}
		rows := mat.NewDense(hi-lo, d, centred[:(hi-lo)*d])
		sum.SymRankK(sum, 1/float64(n), rows.T())
	}
	return sum
}
