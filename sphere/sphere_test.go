package sphere

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

func random() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s = %v, want %v within %v", what, got, want, tolerance)
	}
}

// The uniform law has mean 0, covariance I/d, and a cosine with fourth moment
// 3/(d(d+2)).
func TestUniformMoments(t *testing.T) {
	for _, d := range []int{1, 2, 3, 16} {
		const n = 20000
		z := Uniform(n, d, random())
		var mean, fourth float64
		for i := range n {
			row := z[i*d : (i+1)*d]
			near(t, "norm", math.Sqrt(dot(row, row)), 1, 1e-6)
			x := float64(row[0])
			mean += x / n
			fourth += x * x * x * x / n
		}
		sd := 1 / math.Sqrt(float64(d)*n)
		near(t, "mean", mean, 0, 5*sd)
		near(t, "fourth moment", fourth, 3/float64(d*(d+2)), 5*math.Sqrt(105/math.Pow(float64(d), 4)/n))
	}
}

func TestNormalize(t *testing.T) {
	z := []float32{3, 4, 0, -2}
	if err := Normalize(z, 2, 2); err != nil {
		t.Fatal(err)
	}
	for k, want := range []float64{.6, .8, 0, -1} {
		near(t, "coordinate", float64(z[k]), want, 1e-7)
	}
	for _, bad := range [][]float32{{1, 0, 0, 0}, {1, 0, float32(math.NaN()), 0}, {1, 0, 0, float32(math.Inf(1))}} {
		if err := Normalize(bad, 2, 2); err == nil || !strings.Contains(err.Error(), "row 1") {
			t.Errorf("%v: error %v does not name row 1", bad, err)
		}
	}
	tiny := []float32{3e-30, 4e-30} // squares underflow in float32, not in float64
	if err := Normalize(tiny, 1, 2); err != nil {
		t.Fatal(err)
	}
	near(t, "tiny", float64(tiny[0]), .6, 1e-6)
}

func TestGeodesic(t *testing.T) {
	for _, angle := range []float64{0, 1e-6, 1e-3, 1, math.Pi / 2, 3, math.Pi - 1e-4, math.Pi} {
		a := []float32{2, 0}
		b := []float32{float32(5 * math.Cos(angle)), float32(5 * math.Sin(angle))}
		near(t, "angle", Geodesic(a, b), angle, 2e-7)
	}
	near(t, "tiny angle", Geodesic([]float32{1, 0}, []float32{1, 1e-6})/1e-6, 1, 1e-6) // acos(1-5e-13) in float32 is 0
}

// Medians to three digits; those at 64 points were computed with ln 2 / b for the
// share, which is a little off at so few.
func TestBestCosine(t *testing.T) {
	sizes := []int{64, 256, 1024, 4096, 50000, 1200000}
	for d, row := range map[int][]float64{
		8:    {.744, .832, .889, .926, .964, .986},
		16:   {.552, .642, .712, .766, .837, .896},
		32:   {.398, .473, .535, .586, .661, .734},
		64:   {.284, .341, .389, .431, .495, .561},
		128:  {.202, .244, .279, .311, .360, .413},
		256:  {.143, .173, .199, .222, .258, .298},
		512:  {.101, .123, .141, .158, .184, .213},
		2048: {.051, .061, .071, .079, .092, .107},
	} {
		for k, want := range row {
			near(t, "level", BestCosine(sizes[k], d), want, .001)
		}
	}
	// On the circle the largest of b cosines exceeds t with an angle below acos t:
	// a share acos(t)/pi.
	near(t, "circle", BestCosine(10, 2), math.Cos(math.Pi*(1-math.Pow(2, -.1))), 1e-12)
	// On S^2 the cosine is uniform in [-1, 1].
	near(t, "sphere", BestCosine(10, 3), 2*math.Pow(2, -.1)-1, 1e-12)
	near(t, "one point", BestCosine(1, 5), 0, 0)
	near(t, "two signs", BestCosine(2, 1), 1, 0)
}

func TestAlignmentAndCosine(t *testing.T) {
	a := []float32{1, 0, 0, 1}
	b := []float32{0, 1, 0, -1}
	near(t, "alignment", Alignment(a, b, 2, 2), (2.+4.)/2, 0)
	near(t, "alignment with itself", Alignment(a, a, 2, 2), 0, 0)
	near(t, "cosine", MeanCosine(a, b, 2, 2), -.5, 0)
}

func TestWangIsola(t *testing.T) {
	// Antipodes: one pair at squared distance 4.
	near(t, "antipodes", WangIsola([]float32{1, 0, -1, 0}, 2, 2), -8, 1e-6)
	near(t, "collapsed", WangIsola([]float32{1, 0, 1, 0, 1, 0}, 3, 2), 0, 1e-7)
	for d, want := range map[int]float64{2: -1.575, 3: -2.080, 8: -3.083, 16: -3.513, 32: -3.752, 64: -3.875, 128: -3.9375} {
		near(t, "floor", WangIsolaFloor(d), want, .0006)
	}
	z := Uniform(1500, 8, random())
	near(t, "uniform", WangIsola(z, 1500, 8), WangIsolaFloor(8), .01)
}

func TestSpectrum(t *testing.T) {
	// The four points +-2 e_1, +-1 e_2 have covariance diag(2, 1/2), centred anywhere.
	z := []float32{2, 0, -2, 0, 0, 1, 0, -1}
	for i := range z {
		z[i] += 10
	}
	s := Spectrum(z, 4, 2)
	near(t, "first", s[0], 2, 1e-12)
	near(t, "second", s[1], .5, 1e-12)
	entropy := -(.8*math.Log(.8) + .2*math.Log(.2))
	near(t, "effective rank", EffectiveRank(z, 4, 2), math.Exp(entropy), 1e-12)
	near(t, "collapsed", EffectiveRank([]float32{1, 2, 1, 2}, 2, 2), 0, 0)
	near(t, "line", EffectiveRank([]float32{1, 2, 3, 6}, 2, 2), 1, 1e-6)
	wide := Spectrum([]float32{1, 2, 3, 4, 5, 7, 6, 9, 0, 4, 2, 2}, 3, 4) // fewer points than dimensions
	full := covariance([]float32{1, 2, 3, 4, 5, 7, 6, 9, 0, 4, 2, 2}, 3, 4)
	near(t, "trace", wide[0]+wide[1]+wide[2], full.At(0, 0)+full.At(1, 1)+full.At(2, 2)+full.At(3, 3), 1e-12)
	near(t, "beyond the points", wide[2]+wide[3], 0, 1e-12)
	const n, d = 3000, 12
	near(t, "uniform", EffectiveRank(Uniform(n, d, random()), n, d), d, .1)
}
