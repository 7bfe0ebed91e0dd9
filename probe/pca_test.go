package probe

import (
	"math"
	"slices"
	"strings"
	"testing"

	"nat/internal/rng"
)

func TestPCAAgainstSklearn(t *testing.T) {
	g, d := digits(t)
	k := len(g.Variance)
	p, err := PCA(newPool(t, 2), d.Train, len(d.TrainY), d.Dim, k)
	if err != nil {
		t.Fatal(err)
	}
	scores := make([]float32, k)
	p.Apply(scores, d.Test, 1)
	for c := range k {
		if math.Abs(p.Variance[c]/g.Variance[c]-1) > 1e-5 {
			t.Errorf("variance %d: %v, sklearn %v", c, p.Variance[c], g.Variance[c])
		}
		// sklearn has its own rule for signs.
		if math.Abs(math.Abs(float64(scores[c]))-math.Abs(g.Scores[c])) > 2e-3 {
			t.Errorf("score %d: %v, sklearn %v", c, scores[c], g.Scores[c])
		}
	}
}

// Points on a plane in 30 dimensions, far from the origin: two components
// hold everything, the others are zero, distances are kept.
func TestPCAOfAPlane(t *testing.T) {
	r := rng.New(1, "test")
	const n, d, k = 700, 30, 5
	a, b := make([]float64, d), make([]float64, d)
	for j := range d {
		a[j], b[j] = r.NormFloat64(), r.NormFloat64()
	}
	x := make([]float32, n*d)
	for i := range n {
		u, v := 3*r.NormFloat64(), r.NormFloat64()
		for j := range d {
			x[i*d+j] = float32(50 + u*a[j] + v*b[j])
		}
	}
	p, err := PCA(newPool(t, 2), x, n, d, k)
	if err != nil {
		t.Fatal(err)
	}
	if sum := p.Variance[0] + p.Variance[1]; math.Abs(sum/p.Total-1) > 1e-5 || p.Variance[2] > 1e-6*p.Total {
		t.Errorf("variances %v of a total of %v", p.Variance, p.Total)
	}
	z := make([]float32, n*k)
	p.Apply(z, x, n)
	dist := func(x []float32, w, i, j int) (s float64) {
		for c := range w {
			s += math.Pow(float64(x[i*w+c]-x[j*w+c]), 2)
		}
		return s
	}
	for i := 1; i < n; i += 13 {
		if before, after := dist(x, d, i, i-1), dist(z, k, i, i-1); math.Abs(before-after) > 1e-3*before {
			t.Errorf("squared distance of rows %d and %d is %v, was %v", i, i-1, after, before)
		}
	}
}

func TestPCABasisIsOrthonormalAndFixed(t *testing.T) {
	r := rng.New(2, "test")
	const n, d, k = 900, 60, 12
	x := make([]float32, n*d)
	for i := range x {
		x[i] = float32(r.NormFloat64() / float64(1+i%d))
	}
	p, err := PCA(newPool(t, 1), x, n, d, k)
	if err != nil {
		t.Fatal(err)
	}
	for a := range k {
		for b := range a + 1 {
			var dot, want float64
			for i := range d {
				dot += float64(p.Components[i*k+a]) * float64(p.Components[i*k+b])
			}
			if a == b {
				want = 1
			}
			if math.Abs(dot-want) > 1e-5 {
				t.Errorf("components %d and %d have inner product %v", a, b, dot)
			}
		}
	}
	if !slices.IsSortedFunc(p.Variance, func(a, b float64) int { return int(math.Copysign(1, b-a)) }) {
		t.Errorf("variances are not descending: %v", p.Variance)
	}
	q, err := PCA(newPool(t, 3), x, n, d, k)
	if err != nil || !slices.Equal(p.Components, q.Components) {
		t.Errorf("components depend on the number of workers (%v)", err)
	}
}

func TestPCALimits(t *testing.T) {
	pool := newPool(t, 1)
	p, err := PCA(pool, []float32{1, 2, 3, 3, 2, 1}, 2, 3, 64)
	if err != nil || p.K != 2 {
		t.Fatalf("2 rows give %+v (%v), want 2 components", p, err)
	}
	if math.Abs(p.Variance[0]-2) > 1e-5 || p.Variance[1] > 1e-5 {
		t.Errorf("variances %v, want 2 and 0", p.Variance)
	}
	if _, err := PCA(pool, nil, 0, 3, 2); err == nil {
		t.Error("no rows have components")
	}
	if _, err := PCA(pool, []float32{1, float32(math.NaN())}, 2, 1, 1); err == nil || !strings.Contains(err.Error(), "row 1") {
		t.Errorf("NaN is reported as %v", err)
	}
}
