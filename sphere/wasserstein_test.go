package sphere

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math"
	"os"
	"testing"

	"nat/internal/kernel"
	"nat/internal/rng"
)

var simulate = flag.Int("simulate", 0, "simulate so many pairs for the null table and write it")

func newPool(t testing.TB, workers int) *kernel.Pool {
	pool := kernel.NewPool(workers)
	t.Cleanup(pool.Close)
	return pool
}

// Means of the two-sample null: of the cavity equation to four digits.
func TestCavityMean(t *testing.T) {
	sizes := []int{256, 1024, 4096, 16384, 65536, 262144, 1000000}
	for d, row := range map[int][]float64{
		8:   {.3928, .2583, .1714, .1143, .0764, .0512, .0349},
		32:  {1.0900, .9595, .8511, .7589, .6795, .6102, .5514},
		64:  {1.3438, 1.2426, 1.1557, 1.0792, 1.0110, .9494, .8952},
		128: {1.5315, 1.4567, 1.3914, 1.3331, 1.2801, 1.2315, 1.1880},
		512: {1.7641, 1.7254, 1.6913, 1.6605, 1.6321, 1.6058, 1.5820},
	} {
		for k, want := range row {
			if k%3 == 0 { // each takes some hundredths of a second
				near(t, fmt.Sprintf("E0(%d, %d)", sizes[k], d), cavityMean(sizes[k], d), want, .0001)
			}
		}
	}
	c := newCavity(1024, 64)
	c.solve()
	_, mass := c.integrate()
	near(t, "mass", mass, 1, 1e-5)
}

func TestNearestNull(t *testing.T) {
	for _, c := range []struct {
		n, d int
		want float64
	}{{256, 8, .3375}, {4096, 16, .4624}, {1024, 64, 1.2129}, {65536, 512, 1.6236}} {
		near(t, "nearest", NearestNull(c.n, c.d), c.want, .0001)
	}
	near(t, "one of S^2", NearestNull(1, 3), 2, 1e-6)
	// On the circle the nearest of n is at an angle with density e^(-n angle / pi), nearly.
	const many = 100000
	near(t, "many of the circle", NearestNull(many, 2)/(2*math.Pi*math.Pi/many/many), 1, .001)
}

// Simulated means: 20 to 40 pairs of samples, so a fraction of their deviation off.
func TestNullAgainstSimulation(t *testing.T) {
	pool := newPool(t, 0)
	for _, c := range []struct {
		n, d int
		want float64
	}{{256, 8, .4006}, {256, 16, .7634}, {256, 64, 1.3441}} {
		m := &matches{pool: pool, n: c.n, d: c.d}
		values, err := m.null(context.Background(), 40, 7)
		if err != nil {
			t.Fatal(err)
		}
		mean, sd := moments(values)
		near(t, "simulated mean", mean, c.want, 5*sd/math.Sqrt(20))
		k := sd * math.Sqrt(float64(c.n)*float64(c.d-1))
		if k < .15 || k > 1 {
			t.Errorf("d = %d: deviation %g, kappa %g", c.d, sd, k)
		}
		null, err := WassersteinNull(context.Background(), pool, c.n, c.d, 40, 7)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "null", null.Mean, mean, 4*sd/math.Sqrt(40))
		if want := map[bool]string{true: "cavity", false: "table"}[c.d >= 32]; null.Method != want {
			t.Errorf("d = %d: method %q", c.d, null.Method)
		}
	}
}

// Where there is neither table nor equation, the null is simulated.
func TestNullOfFewPoints(t *testing.T) {
	null, err := WassersteinNull(context.Background(), newPool(t, 2), 200, 8, 40, 7)
	if err != nil || null.Method != "monte carlo" {
		t.Fatal(null, err)
	}
	near(t, "mean", null.Mean, .4352, .006) // a little above .4011 at 256 points
}

// The stored table agrees with a new simulation of a few pairs.
func TestNullTable(t *testing.T) {
	if *simulate > 0 {
		writeNullTable(t, *simulate)
		return
	}
	pool := newPool(t, 0)
	for _, d := range []int{3, 10, 31} {
		m := &matches{pool: pool, n: DefaultBlock, d: d}
		values, err := m.null(context.Background(), 4, 99)
		if err != nil {
			t.Fatal(err)
		}
		mean, _ := moments(values)
		null, err := WassersteinNull(context.Background(), pool, DefaultBlock, d, 0, 1)
		if err != nil || null.Method != "table" {
			t.Fatal(null, err)
		}
		near(t, fmt.Sprintf("d = %d", d), mean, null.Mean, 5*null.SD/2)
	}
	// Between the sizes of the table, too.
	for _, c := range []struct{ n, d int }{{300, 2}, {370, 4}, {700, 9}, {1450, 24}, {256, 12}} {
		const pairs = 24
		values, err := (&matches{pool: pool, n: c.n, d: c.d}).null(context.Background(), pairs, 99)
		if err != nil {
			t.Fatal(err)
		}
		mean, _ := moments(values)
		null, err := WassersteinNull(context.Background(), pool, c.n, c.d, 0, 1)
		if err != nil || null.Method != "table" {
			t.Fatal(null, err)
		}
		near(t, fmt.Sprintf("%+v", c), mean, null.Mean, 5*null.SD/math.Sqrt(pairs))
	}
	// From d = 24 on the cavity equation is within a few deviations, and from there on it takes over.
	near(t, "d = 31", cavityMean(DefaultBlock, 31), nullTable[3][29].mean, 1.5*nullTable[3][29].sd)
}

func writeNullTable(t *testing.T, pairs int) {
	pool := newPool(t, 0)
	draw := func(n, d int) (mean, sd float64) {
		m := &matches{pool: pool, n: n, d: d}
		values, err := m.null(context.Background(), pairs, 20261124)
		if err != nil {
			t.Fatal(err)
		}
		mean, sd = moments(values)
		t.Logf("n = %d, d = %d: %.6f %.6f", n, d, mean, sd)
		return mean, sd
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `package sphere

// tableSizes are the numbers of points of nullTable.
var tableSizes = [...]int{256, 512, 1024, DefaultBlock}

// nullTable holds mean and deviation of T for as many uniform points in 2, 3, .. 31
// dimensions, %d pairs of samples each:
//
//	go test ./sphere -run TestNullTable -simulate %d -timeout 2h
var nullTable = [len(tableSizes)][30]struct{ mean, sd float64 }{
`, pairs, pairs)
	for _, n := range tableSizes {
		fmt.Fprintf(&b, "\t{ // %d\n", n)
		for d := 2; d < cavityFrom; d++ {
			mean, sd := draw(n, d)
			fmt.Fprintf(&b, "\t\t{%.6f, %.6f}, // %d\n", mean, sd, d)
		}
		fmt.Fprint(&b, "\t},\n")
	}
	fmt.Fprint(&b, "}\n\n// kappaTable holds the deviation of T times sqrt(n (d-1)), from the same simulation.\nvar kappaTable = []struct {\n\td     int\n\tkappa float64\n}{\n")
	for _, d := range []int{32, 64, 128, 256, 512} {
		_, sd := draw(DefaultBlock, d)
		fmt.Fprintf(&b, "\t{%d, %.3f},\n", d, sd*math.Sqrt(DefaultBlock*float64(d-1)))
	}
	fmt.Fprint(&b, "}\n")
	if err := os.WriteFile("nulltable.go", b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func measure(t *testing.T, z []float32, n, d int, opt WassersteinOptions) *Wasserstein {
	t.Helper()
	w, err := MeasureWasserstein(context.Background(), newPool(t, 2), z, n, d, opt)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestMeasureWasserstein(t *testing.T) {
	const n, d = 300, 64
	w := measure(t, Uniform(n, d, random()), n, d, WassersteinOptions{Seed: 3, Pairs: 19})
	if w.Draws != 8 || w.Block != n || w.Blocks != 1 || w.Null.Method != "cavity" {
		t.Errorf("%+v", w)
	}
	near(t, "uniform", w.Value, w.Null.Mean, 4*w.Null.SD)
	near(t, "score", w.Score, 1, .02)
	if w.PValue < .05 {
		t.Errorf("uniform points have p = %g", w.PValue)
	}
	point := make([]float32, n*d)
	for i := range n {
		point[i*d] = 1
	}
	w = measure(t, point, n, d, WassersteinOptions{Seed: 3, Pairs: 19})
	near(t, "a point", w.Value, 2, 5/math.Sqrt(n*8*d/4))
	near(t, "score of a point", w.Score, 0, .03)
	near(t, "p of a point", w.PValue, .05, 1e-12)
}

// Blocks are disjoint and cover what they can, and the bits do not depend on workers.
func TestMeasureWassersteinBlocks(t *testing.T) {
	const n, d = 230, 5
	z := Uniform(n, d, random())
	seen := map[float32]int{}
	for block := range 4 {
		part := gather(z, n, d, block, 50, 1)
		for i := range 50 {
			seen[part[i*d]]++
		}
	}
	if len(seen) != 200 {
		t.Errorf("4 blocks of 50 hold %d different points", len(seen))
	}
	opt := WassersteinOptions{Block: 50, Seed: 1}
	first, err := MeasureWasserstein(context.Background(), newPool(t, 1), z, n, d, opt)
	if err != nil {
		t.Fatal(err)
	}
	second := measure(t, z, n, d, opt)
	if first.Value != second.Value || first.Null != second.Null || first.Draws != 8 || first.Blocks != 4 {
		t.Errorf("%+v and %+v", first, second)
	}
	near(t, "uniform", first.Value, first.Null.Mean, 4*first.Null.SD)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := MeasureWasserstein(ctx, newPool(t, 1), z, n, d, opt); err != context.Canceled {
		t.Errorf("cancelled: %v", err)
	}
}

func TestSubsphereWasserstein(t *testing.T) {
	for _, c := range []struct {
		m, d int
		want float64
	}{{56, 64, .130}, {32, 64, .591}, {8, 64, 1.312}, {1, 64, 1.800}, {64, 512, 1.295}, {64, 64, 0}} {
		near(t, "ruler", SubsphereWasserstein(c.m, c.d), c.want, .0006)
	}
}

func TestRayleighAndBingham(t *testing.T) {
	const n, d = 4000, 6
	var r, b float64
	const runs = 40
	for i := range runs {
		z := Uniform(n, d, rng.New(uint64(i), rng.Targets))
		r += Rayleigh(z, n, d).Statistic / runs
		b += Bingham(z, n, d).Statistic / runs
	}
	near(t, "Rayleigh", r, d, 5*math.Sqrt(2*d/float64(runs)))
	near(t, "Bingham", b, 20, 5*math.Sqrt(2*20/float64(runs)))
	axes := []float32{1, 0, -1, 0, 1, 0, -1, 0}
	near(t, "Rayleigh of antipodes", Rayleigh(axes, 4, 2).Statistic, 0, 0)
	near(t, "Bingham of an axis", Bingham(axes, 4, 2).Statistic, 4*2*4/2*.5, 1e-12)
	if dof := Bingham(axes, 4, 2).DoF; dof != 2 {
		t.Errorf("Bingham has %d degrees of freedom", dof)
	}
	near(t, "p", Test{3.841459, 1}.PValue(), .05, 1e-6)
}

func TestMeasurePairs(t *testing.T) {
	const n, d = 700, 7
	z := Uniform(n, d, random())
	copy(z[:d], z[500*d:501*d])
	p := MeasurePairs(newPool(t, 2), z, n, d)
	near(t, "Wang-Isola", p.WangIsola, WangIsola(z, n, d), 1e-6)
	var nearest float64
	for i := range n {
		best := 4.0
		for j := range n {
			if i != j {
				best = min(best, float64(kernel.SqDist(z[i*d:(i+1)*d], z[j*d:(j+1)*d])))
			}
		}
		nearest += best / n
	}
	near(t, "nearest", p.Nearest, nearest, 1e-5)
	near(t, "null", p.Nearest, NearestNull(n-1, d), .03)
	if p.Coinciding != 2 {
		t.Errorf("%d points coincide", p.Coinciding)
	}
}

func TestSliced(t *testing.T) {
	const n, d, runs = 1000, 8, 40
	pool := newPool(t, 2)
	var z, c []float32
	var null float64
	for i := range uint64(runs) {
		z, c = Uniform(n, d, rng.New(i, rng.Targets)), Uniform(n, d, rng.New(i, rng.Noise))
		null += Sliced(pool, z, c, n, d, 30, i) / runs
	}
	near(t, "null", null*n, 2*.292, .12) // the limit of many points
	near(t, "itself", Sliced(pool, z, z, n, d, 10, 1), 0, 0)
	for i := range n {
		for k := range d {
			z[i*d+k] = c[i*d+k] + .25
		}
	}
	near(t, "shift", Sliced(pool, z, c, n, d, 1000, 1), .0625, .008)
}

func TestEquivalentRank(t *testing.T) {
	const n, d = 400, 24
	for _, m := range []int{2, 6, 24} {
		w := measure(t, subsphere(n, m, d, rng.New(9, rng.Targets)), n, d, WassersteinOptions{Seed: 3})
		got, err := EquivalentRank(context.Background(), newPool(t, 2), w.Value, n, d, 4)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "rank", float64(got), float64(m), max(1, .35*float64(m)))
	}
}

// The first points look at all others as all do, and projections are kept for several sets.
func TestSamplePairs(t *testing.T) {
	const n, d = 900, 7
	z, pool := Uniform(n, d, random()), newPool(t, 2)
	copy(z[:d], z[500*d:501*d])
	all, some := MeasurePairs(pool, z, n, d), SamplePairs(pool, z, n, d, 300)
	near(t, "Wang-Isola", some.WangIsola, all.WangIsola, .03)
	near(t, "nearest", some.Nearest, all.Nearest, .02)
	if some.Coinciding != 1 || all.Coinciding != 2 {
		t.Errorf("%d and %d coincide", some.Coinciding, all.Coinciding)
	}
	c := Uniform(n, d, rng.New(3, rng.Targets))
	s := NewSlices(pool, c, n, d, 20, 5)
	for range 2 {
		near(t, "slices", s.Distance(pool, z), Sliced(pool, z, c, n, d, 20, 5), 0)
	}
}
