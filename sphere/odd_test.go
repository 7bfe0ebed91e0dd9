package sphere

import (
	"context"
	"fmt"
	"math"
	"testing"

	"nat/internal/rng"
)

// oddSets are unit vectors that nobody should have and somebody will.
func oddSets(t *testing.T, n, d int) map[string][]float32 {
	uniform := Uniform(n, d, random())
	sets := map[string][]float32{"uniform": uniform}
	add := func(name string, value func(i, k int) float32) {
		z := make([]float32, n*d)
		for j := range z {
			z[j] = value(j/d, j%d)
		}
		if err := Normalize(z, n, d); err != nil {
			t.Fatal(name, err)
		}
		sets[name] = z
	}
	add("one point", func(i, k int) float32 { return uniform[k] })
	add("antipodes", func(i, k int) float32 { return float32(1-2*(i%2)) * uniform[k] })
	add("pairs", func(i, k int) float32 { return uniform[i/2*d+k] })
	add("once denormal", func(i, k int) float32 { return uniform[i*d+k]*1e-40 + math.SmallestNonzeroFloat32 })
	add("once huge", func(i, k int) float32 { return uniform[i*d+k] * math.MaxFloat32 })
	add("axes", func(i, k int) float32 { return map[bool]float32{true: 1}[k == i%d] })
	return sets
}

// Every measure of every set is finite and within what is possible.
func TestOddSets(t *testing.T) {
	ctx, pool := context.Background(), newPool(t, 2)
	for _, c := range []struct{ n, d int }{{2, 1}, {2, 2}, {3, 1}, {3, 2048}, {40, 3}, {70, 40}} {
		for name, z := range oddSets(t, c.n, c.d) {
			within := func(what string, v, lo, hi float64) {
				t.Helper()
				if !(v >= lo-1e-5 && v <= hi+1e-5) {
					t.Errorf("%s n=%d d=%d: %s = %v, want %v to %v", name, c.n, c.d, what, v, lo, hi)
				}
			}
			n, d := float64(c.n), float64(c.d)
			within("effective rank", EffectiveRank(z, c.n, c.d), 0, min(d, n-1))
			within("Rayleigh", Rayleigh(z, c.n, c.d).Statistic, 0, n*d*(1+1e-6))
			within("p of Rayleigh", Rayleigh(z, c.n, c.d).PValue(), 0, 1)
			bingham := Bingham(z, c.n, c.d)
			within("Bingham", bingham.Statistic, -1e-3*n*d, n*d*(d+2)/2+1e-3*n*d)
			within("p of Bingham", bingham.PValue(), 0, 1)
			p := MeasurePairs(pool, z, c.n, c.d)
			within("Wang-Isola", p.WangIsola, -8, 0)
			within("Wang-Isola, plainly", p.WangIsola, WangIsola(z, c.n, c.d)-1e-4, WangIsola(z, c.n, c.d)+1e-4)
			within("nearest", p.Nearest, 0, 4)
			if (name == "one point" || name == "pairs" && c.n%2 == 0) && p.Coinciding != c.n {
				t.Errorf("%s n=%d d=%d: %d coincide", name, c.n, c.d, p.Coinciding)
			}
			within("sliced", Sliced(pool, z, Uniform(c.n, c.d, random()), c.n, c.d, 5, 1), 0, 4)
			if c.d > 1000 {
				continue // the null of two points takes many draws
			}
			w, err := MeasureWasserstein(ctx, pool, z, c.n, c.d, WassersteinOptions{Pairs: 9, Seed: 2})
			if err != nil {
				t.Fatal(name, err)
			}
			within("T", w.Value, 0, 4)
			within("p", w.PValue, .1, 1)
			within("score", w.Score, -10, 3)
			rank, err := EquivalentRank(ctx, pool, w.Value, c.n, c.d, 3)
			if err != nil || rank < 1 || rank > c.d {
				t.Errorf("%s n=%d d=%d: equivalent rank %d, %v", name, c.n, c.d, rank, err)
			}
		}
	}
}

// Laws and levels at the ends of what they take.
func TestExtremes(t *testing.T) {
	for _, d := range []int{1, 2, 3, 64, 4096, 1 << 16} {
		for _, n := range []int{1, 2, 256, 1 << 20, 1 << 40} {
			if v := BestCosine(n, d); !(v >= 0 && v <= 1) {
				t.Errorf("BestCosine(%d, %d) = %v", n, d, v)
			}
			if d > 1 {
				if v := NearestNull(n, d); !(v >= 0 && v <= 4) {
					t.Errorf("NearestNull(%d, %d) = %v", n, d, v)
				}
			}
		}
		if v := WangIsolaFloor(d); !(v >= -4 && v < 0) {
			t.Errorf("WangIsolaFloor(%d) = %v", d, v)
		}
		if v := SubsphereWasserstein(1, d); !(v >= 0 && v <= 2) {
			t.Errorf("SubsphereWasserstein(1, %d) = %v", d, v)
		}
	}
	for _, c := range []struct{ n, d int }{{64, 32}, {2048, 4096}, {1 << 20, 40}, {256, 1 << 15}} {
		null, err := WassersteinNull(context.Background(), newPool(t, 1), c.n, c.d, 0, 1)
		if err != nil || !(null.Mean > 0 && null.Mean < 2) || !(null.SD > 0 && null.SD < .1) {
			t.Errorf("%+v: %+v, %v", c, null, err)
		}
		if nearest := NearestNull(c.n, c.d); null.Mean < nearest {
			t.Errorf("%+v: matching to %v, nearest %v", c, null.Mean, nearest)
		}
	}
	for _, kappa := range []float64{0, 1e-300, 1e-3, 1, 1e6, 1e15, 1e17, 1e300, 1e308} {
		for _, d := range []int{2, 3, 1000} {
			mu := make([]float32, d)
			mu[0] = 1
			z := VonMisesFisher(20, mu, kappa, rng.New(1, rng.Noise))
			for i := range 20 {
				row := z[i*d : (i+1)*d]
				near(t, fmt.Sprintf("norm, kappa %v, d %d", kappa, d), dot(row, row), 1, 1e-5)
			}
		}
	}
	for _, c := range []struct{ n, d int }{{1, 1}, {2, 2}, {3, 300}} {
		z := Even(c.n, c.d, random())
		for i := range c.n {
			near(t, "norm", dot(z[i*c.d:(i+1)*c.d], z[i*c.d:(i+1)*c.d]), 1, 1e-5)
		}
	}
}
