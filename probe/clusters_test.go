package probe

import (
	"context"
	"math"
	"slices"
	"testing"

	"nat/internal/rng"
)

func TestClusteringsAgainstSklearn(t *testing.T) {
	g, _ := digits(t)
	if got := NMI(g.ClusterLabels, g.Clusters); math.Abs(got-g.ClusterNMI) > 1e-12 {
		t.Errorf("NMI %v, sklearn %v", got, g.ClusterNMI)
	}
	if got := AdjustedRand(g.ClusterLabels, g.Clusters); math.Abs(got-g.ClusterARI) > 1e-12 {
		t.Errorf("ARI %v, sklearn %v", got, g.ClusterARI)
	}
}

func TestClusteringsByHand(t *testing.T) {
	a, b := []int{0, 0, 1, 1}, []int{0, 0, 1, 2}
	// I = log 2; the entropies are log 2 and 1.5 log 2.
	if got := NMI(a, b); math.Abs(got-.8) > 1e-12 {
		t.Errorf("NMI %v, want .8", got)
	}
	// Pairs together: 1 in both, 2 and 1 in each, 2/6 expected.
	if got, want := AdjustedRand(a, b), (1-1./3)/(1.5-1./3); math.Abs(got-want) > 1e-12 {
		t.Errorf("ARI %v, want %v", got, want)
	}
	one := []int{7, 7, 7, 7}
	if NMI(one, one) != 1 || AdjustedRand(one, one) != 1 || NMI(a, one) != 0 || AdjustedRand(a, one) != 0 {
		t.Error("one cluster: want 1 beside itself and 0 beside two")
	}
	acc, err := ClusterAccuracy(context.Background(), []int{5, 5, 5, 9, 9, 2}, []int{0, 0, 1, 1, 1, 0})
	if err != nil || acc != 4./6 {
		t.Errorf("accuracy %v (%v), want 4/6: three clusters, two classes", acc, err)
	}
}

// Names of clusters and of classes mean nothing, and the accuracy is that of the
// best of all matchings.
func TestClusteringsDoNotKnowNames(t *testing.T) {
	r := rng.New(31, "test")
	ctx := context.Background()
	const k = 4
	for range 20 {
		a, b := make([]int, 50), make([]int, 50)
		for i := range a {
			a[i] = r.IntN(k)
			if b[i] = a[i]; r.IntN(2) == 0 {
				b[i] = r.IntN(k)
			}
		}
		best := 0
		for code := range k * k * k * k {
			to := []int{code % k, code / k % k, code / k / k % k, code / k / k / k}
			if sorted := slices.Sorted(slices.Values(to)); !slices.Equal(sorted, []int{0, 1, 2, 3}) {
				continue
			}
			hits := 0
			for i := range a {
				if to[a[i]] == b[i] {
					hits++
				}
			}
			best = max(best, hits)
		}
		names := r.Perm(k)
		renamed := make([]int, len(a))
		for i := range a {
			renamed[i] = 10 + names[a[i]]
		}
		for _, x := range [][]int{a, renamed} {
			if acc, err := ClusterAccuracy(ctx, x, b); err != nil || acc != float64(best)/50 {
				t.Errorf("accuracy %v (%v), want %v", acc, err, float64(best)/50)
			}
		}
		near := func(x, y float64) bool { return math.Abs(x-y) < 1e-12 }
		if !near(NMI(a, b), NMI(renamed, b)) || !near(NMI(a, b), NMI(b, a)) {
			t.Error("NMI depends on names or on the order of the two")
		}
		if !near(AdjustedRand(a, b), AdjustedRand(renamed, b)) || !near(AdjustedRand(a, b), AdjustedRand(b, a)) {
			t.Error("ARI depends on names or on the order of the two")
		}
	}
}

func TestClustersFindBlobs(t *testing.T) {
	ctx := context.Background()
	d := blobData(32, 800, 8, 5, 20)
	got, err := Clusters(ctx, newPool(t, 2), d, ClusterOptions{Seed: 1})
	if err != nil || got.K != 5 || got.Rows != 400 || got.NMI != 1 || got.ARI != 1 || got.Accuracy != 1 || got.Cosine < .9 {
		t.Errorf("%+v (%v) on separate classes", got, err)
	}
	// The same rows with other labels are clustered as before, and agree with
	// nothing.
	for i := range d.TestY {
		d.TestY[i] = i / 5 % 5
	}
	other, err := Clusters(ctx, newPool(t, 3), d, ClusterOptions{Seed: 1})
	if err != nil || other.Cosine != got.Cosine || math.Abs(other.ARI) > .03 || other.NMI > .05 {
		t.Errorf("%+v (%v) with labels without relation to the rows", other, err)
	}
}

func TestClustersBitsAndRestarts(t *testing.T) {
	ctx := context.Background()
	d := blobData(33, 900, 6, 4, 1.5)
	opt := ClusterOptions{Seed: 3, K: 7}
	want, err := Clusters(ctx, newPool(t, 1), d, opt)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Clusters(ctx, newPool(t, 4), d, opt); err != nil || got != want {
		t.Errorf("%+v (%v) with 4 workers, %+v with 1", got, err, want)
	}
	opt.Restarts = 1
	single, err := Clusters(ctx, newPool(t, 1), d, opt)
	if err != nil || single.Cosine > want.Cosine {
		t.Errorf("one start: cosine %v (%v), the best of 8: %v", single.Cosine, err, want.Cosine)
	}
	opt.Rows = 100
	if part, err := Clusters(ctx, newPool(t, 1), d, opt); err != nil || part.Rows != 100 {
		t.Errorf("%+v (%v), want 100 rows", part, err)
	}
}

// At the end each row is with its nearest centre, and each centre is the mean
// direction of its rows.
func TestSphericalKMeansStandsStill(t *testing.T) {
	pool := newPool(t, 2)
	d := blobData(34, 500, 5, 3, 2)
	n := len(d.TrainY)
	z := make([]float32, len(d.Train))
	pool.NormalizeRows(z, make([]float32, n), d.Train, n, d.Dim)
	cluster, cosine, err := sphericalKMeans(context.Background(), pool, z, d.Dim, 3, ClusterOptions{Restarts: 1})
	if err != nil {
		t.Fatal(err)
	}
	centre := make([][]float64, 3)
	for c := range centre {
		centre[c] = make([]float64, d.Dim)
	}
	for i, c := range cluster {
		for j, v := range z[i*d.Dim : (i+1)*d.Dim] {
			centre[c][j] += float64(v)
		}
	}
	var sum float64
	for i, c := range cluster {
		cos := func(c int) (dot float64) {
			var square float64
			for j, v := range z[i*d.Dim : (i+1)*d.Dim] {
				dot += float64(v) * centre[c][j]
				square += centre[c][j] * centre[c][j]
			}
			return dot / math.Sqrt(square)
		}
		for other := range 3 {
			if cos(other) > cos(c)+1e-6 {
				t.Errorf("row %d is nearer to centre %d than to its own, %d", i, other, c)
			}
		}
		sum += cos(c)
	}
	if math.Abs(sum/float64(n)-cosine) > 1e-6 {
		t.Errorf("mean cosine %v, said to be %v", sum/float64(n), cosine)
	}
}

// More clusters than different rows, rows of zeros and rows that cancel.
func TestClustersOfDegenerateRows(t *testing.T) {
	ctx, pool := context.Background(), newPool(t, 1)
	d := Data{Train: []float32{1, 0}, TrainY: []int{0}, Dim: 2, Classes: 3}
	for i := range 12 {
		d.Test = append(d.Test, float32(i%3-1), 0)
		d.TestY = append(d.TestY, i%3)
	}
	got, err := Clusters(ctx, pool, d, ClusterOptions{K: 8})
	if err != nil || !(got.NMI > 0 && got.NMI <= 1) || !(got.Cosine > .6 && got.Cosine <= 1) {
		t.Errorf("%+v (%v)", got, err)
	}
	if got, err = Clusters(ctx, pool, d, ClusterOptions{K: 50}); err != nil || got.K != 12 {
		t.Errorf("50 clusters of 12 rows: %+v (%v)", got, err)
	}
	if _, err := Clusters(ctx, pool, d, ClusterOptions{K: -1}); err == nil {
		t.Error("-1 clusters are accepted")
	}
}
