package probe

import (
	"math"
	"slices"
	"testing"

	"nat/internal/rng"
)

// The axes are orthonormal; with all of them, neighbours are the same; with k of d, a
// row keeps k/d of its squared length on average over seeds.
func TestRandomProjection(t *testing.T) {
	r := rng.New(41, "test")
	pool := newPool(t, 2)
	const n, d, k = 300, 20, 5
	x := normals(n*d, r)
	for i := range x {
		x[i] += 3
	}
	p := RandomProjection(pool, x, n, d, k, 1)
	for a := range k {
		for b := range k {
			var dot float64
			for j := range d {
				dot += float64(p.Components[j*k+a]) * float64(p.Components[j*k+b])
			}
			if want := map[bool]float64{true: 1}[a == b]; math.Abs(dot-want) > 1e-5 {
				t.Errorf("axes %d and %d: %v", a, b, dot)
			}
		}
	}
	if again := RandomProjection(newPool(t, 1), x, n, d, k, 1); !slices.Equal(again.Components, p.Components) || !slices.Equal(again.Mean, p.Mean) {
		t.Error("the same seed gives another projection")
	}
	if other := RandomProjection(pool, x, n, d, k, 2); slices.Equal(other.Components, p.Components) {
		t.Error("another seed gives the same projection")
	}

	all := RandomProjection(pool, x, n, d, d+3, 1)
	z := make([]float32, n*d)
	all.Apply(z, x, n)
	if all.K != d {
		t.Fatalf("%d dimensions of %d", all.K, d)
	}
	if kept := find(t, among(x, d), Distance).Recall(find(t, among(z, d), Distance)); kept.Recall10 < .999 {
		t.Errorf("a rotation keeps %v of the neighbours", kept.Recall10)
	}

	var share float64
	for seed := range uint64(40) {
		p := RandomProjection(pool, x, n, d, k, seed+1)
		p.Apply(z, x, n)
		var low, high float64
		for i := range n {
			for _, v := range z[i*k : (i+1)*k] {
				low += float64(v) * float64(v)
			}
			for j, v := range x[i*d : (i+1)*d] {
				high += math.Pow(float64(v-p.Mean[j]), 2)
			}
		}
		share += low / high / 40
	}
	if math.Abs(share-float64(k)/d) > .01 {
		t.Errorf("a projection to %d of %d dimensions keeps %v of the squares", k, d, share)
	}
}

// Whitened components have the variance 1, and 0 where there is none.
func TestWhitened(t *testing.T) {
	r := rng.New(42, "test")
	const n, d, k = 500, 6, 4
	x := make([]float32, n*d)
	for i := range n {
		for j := range 3 { // rank 3
			x[i*d+j] = float32(math.Pow(5, float64(j)) * r.NormFloat64())
		}
	}
	p, err := PCA(newPool(t, 2), x, n, d, k)
	if err != nil {
		t.Fatal(err)
	}
	z := make([]float32, n*k)
	p.ApplyWhitened(z, x, n)
	for c := range k {
		var square float64
		for i := range n {
			square += math.Pow(float64(z[i*k+c]), 2) / n
		}
		if want := map[bool]float64{true: 1}[c < 3]; math.Abs(square-want) > 1e-3 {
			t.Errorf("component %d has the variance %v, want %v", c, square, want)
		}
	}
}

// About 0 the components are those of the rows and their opposites, whose mean is 0: the
// first is the direction of a large mean.
func TestUncentredPCA(t *testing.T) {
	r := rng.New(43, "test")
	pool := newPool(t, 2)
	const n, d, k = 600, 8, 3
	both := normals(2*n*d, r)
	for i := range n {
		for j := range d {
			both[i*d+j] = 10 + float32(1+j)*both[i*d+j]/4
			both[(n+i)*d+j] = -both[i*d+j]
		}
	}
	got, err := UncentredPCA(pool, both, n, d, k)
	if err != nil {
		t.Fatal(err)
	}
	want, err := PCA(pool, both, 2*n, d, k)
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(got.Total/want.Total-1) > 1e-5 || slices.Max(got.Mean) != 0 {
		t.Errorf("total %v, want %v; mean %v", got.Total, want.Total, got.Mean)
	}
	for c := range k {
		if math.Abs(got.Variance[c]/want.Variance[c]-1) > 1e-4 {
			t.Errorf("variance %d: %v, want %v", c, got.Variance[c], want.Variance[c])
		}
	}
	for j := range d {
		if math.Abs(float64(got.Components[j*k])-1/math.Sqrt(d)) > .02 {
			t.Errorf("first component %v, want the direction of the mean", got.Components[j*k])
		}
	}
}
