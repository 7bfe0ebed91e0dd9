package infomax

import (
	"context"
	"math"
	"slices"
	"testing"

	"nat/internal/kernel"
	"nat/internal/rng"
	"nat/sphere"
)

func information(t *testing.T, z []float32, n, d int, noise []float64, seed uint64) []Estimate {
	t.Helper()
	pool := kernel.NewPool(1)
	defer pool.Close()
	est, err := Information(context.Background(), pool, z, n, d, noise, seed)
	if err != nil {
		t.Fatal(err)
	}
	return est
}

// definition is equation (6), word by word, in float64.
func definition(z []float32, n, d int, sigma float64, seed uint64) (losses, along []float64, recovered float64) {
	for i := range n {
		r := rng.New(seed, rng.Noise, uint64(i))
		noisy := make([]float64, d)
		for j := range noisy {
			noisy[j] = float64(z[i*d+j]) + sigma*float64(float32(r.NormFloat64()))
		}
		var total, own float64
		rivals, ties := false, 0
		distance := func(m int) (s float64) {
			for j, v := range noisy {
				t := v - float64(z[m*d+j])
				s += t * t
			}
			return s
		}
		for m := range n {
			w := math.Exp((distance(i) - distance(m)) / (2 * sigma * sigma))
			total += w
			if m == i {
				own = w
			} else if slices.Equal(z[m*d:(m+1)*d], z[i*d:(i+1)*d]) {
				ties++
			} else if w > 1 {
				rivals = true
			}
		}
		losses = append(losses, math.Log(total/own))
		var x float64
		for j, v := range noisy {
			x += (v/sigma - float64(z[i*d+j])/sigma) * float64(z[i*d+j])
		}
		along = append(along, x)
		if !rivals {
			recovered += 1 / float64(1+ties)
		}
	}
	return losses, along, recovered / float64(n)
}

func TestInformationByDefinition(t *testing.T) {
	noise := []float64{.05, .3, 1, 4}
	for _, c := range []struct{ n, d int }{{1, 3}, {2, 2}, {37, 5}, {300, 3}, {1100, 16}, {1030, 70}} {
		z := sphere.Uniform(c.n, c.d, rng.New(1, rng.Targets))
		for i := range z { // not of unit length
			z[i] *= 1.3
		}
		copy(z[c.n/2*c.d:], z[:c.d]) // two points the same
		for l, got := range information(t, z, c.n, c.d, noise, 7) {
			losses, along, recovered := definition(z, c.n, c.d, noise[l], 7)
			var power, mean float64
			half := make([]float32, c.n)
			for i := range half {
				half[i] = kernel.Dot(z[i*c.d:(i+1)*c.d], z[i*c.d:(i+1)*c.d]) / 2
				power += 2 * float64(half[i])
			}
			for _, loss := range controlled(losses, along, half, power) {
				mean += loss / float64(c.n)
			}
			nats := math.Log(float64(c.n)) - mean
			if math.Abs(got.Nats-nats) > 2e-4 || math.Abs(got.Recovered-recovered) > 1e-9 || got.Ceiling != math.Log(float64(c.n)) || got.Noise != noise[l] {
				t.Errorf("n=%d d=%d sigma=%v: %+v, by definition %.6f nats and %.4f", c.n, c.d, noise[l], got, nats, recovered)
			}
		}
	}
}

// One repeated point tells nothing; points far apart are told always.
func TestInformationExtremes(t *testing.T) {
	const n, d = 500, 4
	same := make([]float32, n*d)
	apart := make([]float32, n*d)
	for i := range n {
		copy(same[i*d:], []float32{.6, .8, 0, 0})
		apart[i*d] = float32(1000 * i)
	}
	if e := information(t, same, n, d, []float64{.01, 1}, 1); math.Abs(e[0].Nats) > 1e-4 || math.Abs(e[1].Nats) > 1e-6 || math.Abs(e[1].Recovered-1./n) > 1e-9 {
		t.Errorf("one point %d times: %+v", n, e)
	}
	if e := information(t, apart, n, d, []float64{.1, 1}, 1); e[1].Nats != math.Log(n) || e[1].Recovered != 1 || e[1].Stderr != 0 {
		t.Errorf("well separated: %+v", e)
	}
}

// Two antipodal points: the log-likelihood ratio is 2/sigma^2 plus 2/sigma times
// a normal, so I = log 2 - E log(1 + e^-(2/sigma^2 + 2 g/sigma)). n orthogonal points
// are alike by symmetry: the mean over many copies of the pair is the check.
func TestInformationOfAntipodes(t *testing.T) {
	for _, sigma := range []float64{.7, 1, 2} {
		want, step := 0.0, 1e-3
		for g := -9.; g < 9; g += step {
			want += step * math.Exp(-g*g/2) / math.Sqrt(2*math.Pi) * (math.Ln2 - math.Log1p(math.Exp(-2/(sigma*sigma)-2*g/sigma)))
		}
		var sum, square float64
		const trials = 1000
		for seed := range uint64(trials) {
			e := information(t, []float32{0, 1, 0, -1}, 2, 2, []float64{sigma}, seed)
			sum += e[0].Nats
			square += e[0].Nats * e[0].Nats
		}
		mean := sum / trials
		if sd := math.Sqrt((square/trials - mean*mean) / trials); math.Abs(mean-want) > 4*sd {
			t.Errorf("sigma %v: %v over seeds, exactly %v (error %v)", sigma, mean, want, sd)
		}
	}
}

// The control variate leaves the mean as it is, over many seeds, for few points and many,
// and takes most of the error away where the noise is large.
func TestInformationOfManySeeds(t *testing.T) {
	for _, c := range []struct {
		n, d, trials int
		sigma        float64
	}{{3, 2, 4000, .8}, {40, 5, 1000, .5}, {200, 16, 60, .5}} {
		z := sphere.Uniform(c.n, c.d, rng.New(2, rng.Targets))
		var plain, nats, square, claimed float64
		for seed := range uint64(c.trials) {
			e := information(t, z, c.n, c.d, []float64{c.sigma}, seed)[0]
			losses, _, _ := definition(z, c.n, c.d, c.sigma, seed+1<<32)
			for _, loss := range losses {
				plain -= loss / float64(c.n*c.trials)
			}
			nats += e.Nats / float64(c.trials)
			square += e.Nats * e.Nats / float64(c.trials)
			claimed += e.Stderr * e.Stderr / float64(c.trials)
		}
		plain += math.Log(float64(c.n))
		sd := math.Sqrt(square - nats*nats)
		t.Logf("%+v: %v and plainly %v, deviation %v, claimed %v", c, nats, plain, sd, math.Sqrt(claimed))
		if error := 5 * sd / math.Sqrt(float64(c.trials)); math.Abs(nats-plain) > 4*error {
			t.Errorf("%+v: %v over seeds, plainly %v", c, nats, plain)
		}
		if ratio := math.Sqrt(claimed) / sd; c.n > 30 && (ratio < .7 || ratio > 1.5) {
			t.Errorf("%+v: the error is said to be %v and is %v", c, math.Sqrt(claimed), sd)
		}
	}
}

// Information is invariant under rotation, at most the ceiling and at most the
// capacity within its error; a uniform sample comes near to both in their turn.
func TestInformationIsBounded(t *testing.T) {
	const n, d = 3000, 6
	z := sphere.Uniform(n, d, rng.New(3, rng.Targets))
	for _, e := range information(t, z, n, d, []float64{.02, .1, .3, 1}, 5) {
		capacity := Capacity(d, e.Noise)
		if e.Nats > e.Ceiling || e.Nats > capacity+4*e.Stderr {
			t.Errorf("%+v is above its bounds, capacity %v", e, capacity)
		}
		if bound := min(e.Ceiling, capacity); e.Nats < .8*bound {
			t.Errorf("uniform points keep %v of %v at noise %v", e.Nats, bound, e.Noise)
		}
	}
	turned := make([]float32, n*d) // by a rotation in two planes
	for i := range n {
		sin, cos := math.Sincos(1)
		for j := 0; j < d; j += 2 {
			a, b := float64(z[i*d+j]), float64(z[i*d+j+1])
			turned[i*d+j], turned[i*d+j+1] = float32(cos*a-sin*b), float32(sin*a+cos*b)
		}
	}
	a, b := information(t, z, n, d, []float64{.2}, 5)[0], information(t, turned, n, d, []float64{.2}, 5)[0]
	if math.Abs(a.Nats-b.Nats) > 4*math.Hypot(a.Stderr, b.Stderr) {
		t.Errorf("turning the points changes %+v to %+v", a, b)
	}
}

func TestInformationIsTheSameForAnyWorkers(t *testing.T) {
	const n, d = 700, 9
	z := sphere.Uniform(n, d, rng.New(3, rng.Targets))
	var want []Estimate
	for _, workers := range []int{1, 2, 3} {
		pool := kernel.NewPool(workers)
		got, err := Information(context.Background(), pool, z, n, d, []float64{.1, .5}, 5)
		pool.Close()
		if err != nil {
			t.Fatal(err)
		}
		if want == nil {
			want = got
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d workers: %+v, want %+v", workers, got, want)
		}
	}
}

func TestEfficiency(t *testing.T) {
	pool := kernel.NewPool(2)
	defer pool.Close()
	const d = 16
	cross := make([]float32, 2*d*d) // the vertices of a cross-polytope
	for i := range d {
		cross[2*i*d+i], cross[(2*i+1)*d+i] = 1, -1
	}
	var sum float64
	const trials = 200
	for seed := range uint64(trials) {
		est := information(t, cross, 2*d, d, []float64{.3}, seed)
		eff, uniform, err := Efficiency(context.Background(), pool, est, 2*d, d, seed)
		if err != nil || uniform[0].Noise != .3 {
			t.Fatal(err, uniform)
		}
		sum += eff[0]
	}
	// More evenly spread than random points: about 1.06, never clamped.
	if mean := sum / trials; mean < 1.03 || mean > 1.12 {
		t.Errorf("efficiency of the cross-polytope %v", mean)
	}
}

func TestInformationStops(t *testing.T) {
	pool := kernel.NewPool(1)
	defer pool.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Information(ctx, pool, make([]float32, 4), 2, 2, []float64{1}, 1); err == nil {
		t.Error("cancelled, and no error")
	}
}

func BenchmarkInformation(b *testing.B) {
	pool := kernel.NewPool(0)
	defer pool.Close()
	const n, d = 4096, 64
	z := sphere.Uniform(n, d, rng.New(1, rng.Targets))
	for b.Loop() {
		Information(context.Background(), pool, z, n, d, []float64{.05, .1, .2, .5, 1}, 1)
	}
	b.ReportMetric(5*n*n*float64(b.N)/b.Elapsed().Seconds()/1e9, "Gexp/s")
}
