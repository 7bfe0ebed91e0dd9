package sphere

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"

	"nat/internal/kernel"
)

// Alignment is the mean squared distance of paired points (25), as of two views
// of one image each: 0 if the views fall together, 2 for independent points.
func Alignment(a, b []float32, n, d int) float64 {
	check(a, n, d)
	check(b, n, d)
	var total float64
	for i := range n {
		for k := i * d; k < (i+1)*d; k++ {
			diff := float64(a[k]) - float64(b[k])
			total += diff * diff
		}
	}
	return total / float64(n)
}

// MeanCosine is the mean inner product of paired points: the matched cosine, if
// b_i is the target of a_i. Compare it with [BestCosine].
func MeanCosine(a, b []float32, n, d int) float64 {
	check(a, n, d)
	check(b, n, d)
	return dot(a[:n*d], b[:n*d]) / float64(n)
}

// WangIsola is the uniformity of Wang and Isola (ICML 2020), equation (23):
// log of the mean over pairs i < j of exp(-2 ||z_i - z_j||^2). Lower is more even:
// 0 for a collapsed set; for the floor over distributions see [WangIsolaFloor].
// It takes n(n-1)/2 distances; NaN for n < 2.
func WangIsola(z []float32, n, d int) float64 {
	check(z, n, d)
	var total float64
	for i := range n {
		zi := z[i*d : (i+1)*d]
		var row float64
		for j := range i {
			row += math.Exp(-2 * float64(kernel.SqDist(zi, z[j*d:(j+1)*d])))
		}
		total += row
	}
	pairs := float64(n) * float64(n-1) / 2
	return math.Log(total / pairs)
}

// WangIsolaFloor is the value of (23) for the uniform law in d dimensions, the
// least of all laws: log 0F1(; d/2; 4) - 4. A finite sample, which counts no pair
// of a point with itself, can fall slightly below.
func WangIsolaFloor(d int) float64 {
	if d < 1 {
		panic("sphere: WangIsolaFloor needs d >= 1")
	}
	total, term := 1.0, 1.0
	for k := 1.0; term > 1e-17*total; k++ {
		term *= 4 / (k * (float64(d)/2 + k - 1))
		total += term
	}
	return math.Log(total) - 4
}

// spectrumRows are centred and converted to float64 at a time.
const spectrumRows = 512

// Spectrum returns the d eigenvalues of the covariance (1/n) sum (z_i - mean)(z_i -
// mean)^T, largest first, none below 0. It takes time in the cube of the smaller of n
// and d.
func Spectrum(z []float32, n, d int) []float64 {
	check(z, n, d)
	eigenvalues := make([]float64, d)
	if n == 0 {
		return eigenvalues
	}
	matrix := gram
	if n >= d {
		matrix = covariance
	}
	var eig mat.EigenSym
	if !eig.Factorize(matrix(z, n, d), false) {
		panic("sphere: Spectrum needs finite coordinates")
	}
	values := eig.Values(nil)
	slices.Reverse(values)
	for k, x := range values {
		eigenvalues[k] = max(x, 0)
	}
	return eigenvalues
}

// gram is (1/n) <z_i - mean, z_j - mean>, n x n, whose eigenvalues are those of the
// covariance but for zeros.
func gram(z []float32, n, d int) *mat.SymDense {
	mean := meanOf(z, n, d)
	rows := mat.NewDense(n, d, nil)
	for i := range n {
		for k, x := range z[i*d : (i+1)*d] {
			rows.Set(i, k, float64(x)-mean[k])
		}
	}
	g := mat.NewSymDense(n, nil)
	g.SymOuterK(1/float64(n), rows)
	return g
}

func covariance(z []float32, n, d int) *mat.SymDense { return moment(z, n, d, meanOf(z, n, d)) }

func meanOf(z []float32, n, d int) []float64 {
	mean := make([]float64, d)
	for i := range n {
		for k, x := range z[i*d : (i+1)*d] {
			mean[k] += float64(x)
		}
	}
	for k := range mean {
		mean[k] /= float64(n)
	}
	return mean
}

// EffectiveRank is the exponential of the entropy of the normalised spectrum,
// equation (25): d for a uniform law, r for one that fills r dimensions evenly,
// and 0 for a set without spread.
func EffectiveRank(z []float32, n, d int) float64 { return EffectiveRankOf(Spectrum(z, n, d)) }

// EffectiveRankOf is [EffectiveRank] of the points that have this spectrum.
func EffectiveRankOf(eigenvalues []float64) float64 {
	var trace float64
	for _, x := range eigenvalues {
		trace += x
	}
	if trace == 0 {
		return 0
	}
	var entropy float64
	for _, x := range eigenvalues {
		if p := x / trace; p > 0 {
			entropy -= p * math.Log(p)
		}
	}
	return math.Exp(entropy)
}
