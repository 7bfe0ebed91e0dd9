package index

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"nat/internal/kernel"
	"nat/internal/rng"
)

// clusters returns n points around k well separated centres, point i in
// cluster i mod k.
func clusters(n, d, k int, seed uint64) []float32 {
	r := rng.New(seed, "test")
	centres := normals(r, k*d)
	x := normals(r, n*d)
	for i := range x {
		x[i] = 10*centres[i/d%k*d+i%d] + x[i]
	}
	return x
}

func TestMap2DKeepsClustersTogether(t *testing.T) {
	pool := kernel.NewPool(2)
	defer pool.Close()
	const n, d, k = 240, 12, 4
	xy, err := Map2D(context.Background(), pool, clusters(n, d, k, 1), n, d, MapOptions{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		best, at := math.Inf(1), 0
		for j := range n {
			if dist := math.Hypot(float64(xy[2*i]-xy[2*j]), float64(xy[2*i+1]-xy[2*j+1])); j != i && dist < best {
				best, at = dist, j
			}
		}
		if at%k != i%k {
			t.Errorf("the nearest point on the map to %d, of cluster %d, is %d, of cluster %d", i, i%k, at, at%k)
		}
	}
}

func TestMap2DIsDeterministic(t *testing.T) {
	const n, d = 90, 7
	x := clusters(n, d, 3, 2)
	var want []float32
	for _, workers := range []int{1, 2, 5} {
		pool := kernel.NewPool(workers)
		xy, err := Map2D(context.Background(), pool, x, n, d, MapOptions{Seed: 3, Iterations: 120})
		pool.Close()
		if err != nil {
			t.Fatal(err)
		}
		if want == nil {
			want = xy
		}
		if !slices.Equal(xy, want) {
			t.Errorf("%d workers draw another map than 1", workers)
		}
	}
}

// The map depends on distances only up to a factor; a shift and a power of two, exact in float32, change no bit.
func TestMap2DIgnoresScale(t *testing.T) {
	pool := kernel.NewPool(1)
	defer pool.Close()
	const n, d = 40, 3
	x := integers(rng.New(5, "test"), n*d, 50)
	y := slices.Clone(x)
	for i := range y {
		y[i] *= 1024
	}
	a, errA := Map2D(context.Background(), pool, x, n, d, MapOptions{Iterations: 50})
	b, errB := Map2D(context.Background(), pool, y, n, d, MapOptions{Iterations: 50})
	if errA != nil || errB != nil || !slices.Equal(a, b) {
		t.Errorf("the map changes with the scale of its input: %v %v", errA, errB)
	}
}

// Collapsed embeddings must give a map, not NaN: equal rows are no error.
func TestMap2DOfEqualRows(t *testing.T) {
	pool := kernel.NewPool(1)
	defer pool.Close()
	x := slices.Repeat([]float32{1, 2, 3}, 50)
	xy, err := Map2D(context.Background(), pool, x, 50, 3, MapOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range xy {
		if v-v != 0 {
			t.Fatalf("coordinate %d is %v", i, v)
		}
	}
}

func TestMap2DErrors(t *testing.T) {
	pool := kernel.NewPool(1)
	defer pool.Close()
	ctx := context.Background()
	if _, err := Map2D(ctx, pool, make([]float32, 6), 3, 2, MapOptions{}); err == nil {
		t.Error("3 points make a map")
	}
	bad := make([]float32, 20)
	bad[13] = float32(math.Inf(1))
	if _, err := Map2D(ctx, pool, bad, 10, 2, MapOptions{}); err == nil || !strings.Contains(err.Error(), "row 6, column 1") {
		t.Errorf("an infinite coordinate is reported as %v", err)
	}
	stopped, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := Map2D(stopped, pool, clusters(20, 2, 2, 1), 20, 2, MapOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled map returns %v", err)
	}
}

// A regular simplex has no structure: all conditional probabilities are
// equal, whatever the perplexity asks for.
func TestConditional(t *testing.T) {
	row := []float32{2, 2, 0, 2, 2}
	conditional(row, 2, 3)
	for j, p := range row {
		want := .25
		if j == 2 {
			want = 0
		}
		if math.Abs(float64(p)-want) > 1e-6 {
			t.Errorf("p[%d] = %v, want %v", j, p, want)
		}
	}
	r := rng.New(9, "test")
	row = make([]float32, 200)
	for j := range row {
		row[j] = float32(10 * r.Float64())
	}
	conditional(row, 7, 30)
	var sum, h float64
	for _, p := range row {
		sum += float64(p)
		if p > 0 {
			h -= float64(p) * math.Log(float64(p))
		}
	}
	if math.Abs(sum-1) > 1e-5 || math.Abs(math.Exp(h)-30) > .05 || row[7] != 0 {
		t.Errorf("sum %v, perplexity %v, own probability %v; want 1, 30, 0", sum, math.Exp(h), row[7])
	}
}

// divergence is what the map descends, up to the entropy of p.
func (m *layout) divergence() float64 {
	var total, sum float64
	for i := range m.n {
		for j := range m.n {
			if i == j {
				continue
			}
			q := 1 / (1 + math.Pow(m.px[i]-m.px[j], 2) + math.Pow(m.py[i]-m.py[j], 2))
			total += q
			sum -= float64(m.p[i*m.n+j]) * math.Log(q)
		}
	}
	return sum + math.Log(total)
}

func TestMapGradient(t *testing.T) {
	pool := kernel.NewPool(1)
	defer pool.Close()
	const n, d = 25, 4
	x, err := centred(clusters(n, d, 2, 6), n, d)
	if err != nil {
		t.Fatal(err)
	}
	m := &layout{n: n, pool: pool, opt: MapOptions{Perplexity: 5}}
	m.start(x, d)
	m.affinities(x, d)
	r := rng.New(7, "test")
	for i := range n {
		m.px[i], m.py[i] = r.NormFloat64(), r.NormFloat64()
	}
	gx, gy := make([]float64, n), make([]float64, n)
	m.gradient(gx, gy, 1)
	const h = 1e-5
	for i := range n {
		for _, c := range []struct {
			at   *float64
			grad float64
		}{{&m.px[i], gx[i]}, {&m.py[i], gy[i]}} {
			*c.at += h
			up := m.divergence()
			*c.at -= 2 * h
			down := m.divergence()
			*c.at += h
			if want := (up - down) / (2 * h); math.Abs(want-c.grad) > 1e-6 {
				t.Errorf("point %d: gradient %v, differences say %v", i, c.grad, want)
			}
		}
	}
}

func BenchmarkMap2D(b *testing.B) {
	pool := kernel.NewPool(0)
	defer pool.Close()
	const n, d = 1500, 64
	x := clusters(n, d, 10, 8)
	for b.Loop() {
		if _, err := Map2D(context.Background(), pool, x, n, d, MapOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}
