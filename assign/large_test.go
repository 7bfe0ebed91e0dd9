package assign

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"nat/internal/kernel"
)

// largeFamilies are the kinds of points that training makes, and worse.
var largeFamilies = []struct {
	name  string
	shape func(r *rand.Rand, x []float32, i, d int)
}{
	{"uniform", func(*rand.Rand, []float32, int, int) {}},
	{"shifted", func(_ *rand.Rand, x []float32, _, _ int) { x[0] += 2 }},
	{"clusters", func(r *rand.Rand, x []float32, i, d int) {
		for k := range x {
			x[k] *= .01
		}
		x[i%4] += 1
	}},
	{"collapsed", func(r *rand.Rand, x []float32, i, d int) {
		for k := range x {
			x[k] = x[k]*1e-5 + .3
		}
	}},
	{"a point", func(r *rand.Rand, x []float32, i, d int) {
		clear(x)
		x[0] = 1
	}},
	{"duplicates", func(r *rand.Rand, x []float32, i, d int) {
		clear(x)
		x[i%d] = 1
	}},
	{"far away", func(r *rand.Rand, x []float32, i, d int) {
		for k := range x {
			x[k] = 100*x[k] + 1000
		}
	}},
}

func largePoints(f int, n, d int) (x, y []float32) {
	r := rand.New(rand.NewPCG(uint64(n), uint64(f)))
	x, y = uniformPoints(r, n, d), uniformPoints(r, n, d)
	for i := range n {
		largeFamilies[f].shape(r, x[i*d:(i+1)*d], i, d)
	}
	return x, y
}

func TestLargeAgreesWithMatrix(t *testing.T) {
	for f, family := range largeFamilies {
		for _, size := range [][2]int{{0, 3}, {1, 1}, {2, 4}, {5, 4}, {7, 5}, {33, 4}, {300, 8}} {
			n, d := size[0], size[1]
			x, y := largePoints(f, n, d)
			cost := distances(x, y, n, n, d)
			var s Solver
			want, err := s.Matrix(t.Context(), cost, n, n, Options{})
			if err != nil {
				t.Fatal(err)
			}
			got, err := Large(context.Background(), x, y, n, d, LargeOptions{})
			if err != nil {
				t.Fatal(err)
			}
			name := fmt.Sprintf("%s, %d points", family.name, n)
			if n <= 7 {
				if _, best := BruteForce(cost, n); math.Abs(got.Cost-best) > 1e-12*best {
					t.Errorf("%s: cost %v, best %v", name, got.Cost, best)
				}
			}
			if math.Abs(got.Cost-want.Cost) > 1e-12*want.Cost || !got.Optimal {
				t.Errorf("%s: cost %v (optimal %v), want %v", name, got.Cost, got.Optimal, want.Cost)
			}
			if got.RelativeGap > 1e-11 {
				t.Errorf("%s: gap %g of %v", name, got.Gap, got.Cost)
			}
			checkBound(t, &got.Result, 1e-12*(1+got.Cost))
			tol := 1e-12 * (1 + slices.Max(append(cost, 0)))
			if err := Verify(&got.Result, func(i, j int) float64 { return cost[i*n+j] }, n, n, tol); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// The same bits for any number of workers.
func TestLargeWorkers(t *testing.T) {
	const n, d = 700, 16
	x, y := largePoints(2, n, d)
	var first *LargeResult
	for workers := range 4 {
		pool := kernel.NewPool(workers + 1)
		got, err := Large(context.Background(), x, y, n, d, LargeOptions{Pool: pool})
		pool.Close()
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = got
		}
		if !slices.Equal(got.Perm, first.Perm) || !slices.Equal(got.U, first.U) || !slices.Equal(got.V, first.V) {
			t.Errorf("%d workers: another result than with one", workers+1)
		}
	}
}

// A search that goes on from an earlier result finds the same cost, and nothing to do
// if nothing has changed.
func TestLargeWarmStart(t *testing.T) {
	const n, d = 500, 8
	for f, family := range largeFamilies {
		x, y := largePoints(f, n, d)
		cold, err := Large(context.Background(), x, y, n, d, LargeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		again, err := Large(context.Background(), x, y, n, d, LargeOptions{Start: cold.Perm, Learned: cold.Learned})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(again.Perm, cold.Perm) || again.InitialCost != cold.Cost {
			t.Errorf("%s: the optimum did not stay (%v, now %v)", family.name, cold.Cost, again.Cost)
		}
		r := rand.New(rand.NewPCG(9, 9))
		for k := range x {
			x[k] += .01 * float32(r.NormFloat64())
		}
		fresh, err := Large(context.Background(), x, y, n, d, LargeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		warm, err := Large(context.Background(), x, y, n, d, LargeOptions{Start: cold.Perm, Learned: cold.Learned})
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(fresh.Cost-warm.Cost) > 1e-12*fresh.Cost {
			t.Errorf("%s: cost %v from an earlier result, %v without", family.name, warm.Cost, fresh.Cost)
		}
	}
}

// countdown is a context that ends when it is asked the n-th time.
type countdown struct {
	context.Context
	left int
}

func (c *countdown) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

// Whenever it is stopped the result is a permutation with a gap that holds.
func TestLargeStopsAnywhere(t *testing.T) {
	const n, d = 300, 8
	pool := kernel.NewPool(1)
	defer pool.Close()
	x, y := largePoints(2, n, d)
	best, err := Large(context.Background(), x, y, n, d, LargeOptions{Pool: pool})
	if err != nil {
		t.Fatal(err)
	}
	stopped := 0
	for asked := 0; ; asked += 1 + asked/4 {
		got, err := Large(&countdown{context.Background(), asked}, x, y, n, d, LargeOptions{Pool: pool})
		if got == nil {
			t.Fatalf("stopped after %d: no result, %v", asked, err)
		}
		if err := (&Matching{Perm: got.Perm}).Check(); err != nil {
			t.Fatalf("stopped after %d: %v", asked, err)
		}
		if got.LowerBound > best.Cost*(1+1e-12) || got.Cost > got.InitialCost {
			t.Errorf("stopped after %d: bound %v above the optimum %v, or cost %v above that at first, %v", asked, got.LowerBound, best.Cost, got.Cost, got.InitialCost)
		}
		if err == nil {
			break
		}
		stopped++
		if got.Optimal && got.RelativeGap > 1e-12 || got.Stopped != "canceled" {
			t.Errorf("stopped after %d: optimal with gap %g, stopped %q", asked, got.RelativeGap, got.Stopped)
		}
	}
	if stopped < 5 {
		t.Errorf("stopped only %d times", stopped)
	}
}

func TestLargeLimits(t *testing.T) {
	const n, d = 300, 8
	x, y := largePoints(0, n, d)
	got, err := Large(context.Background(), x, y, n, d, LargeOptions{TimeLimit: time.Nanosecond})
	if err != nil || got.Stopped != "time limit" || got.Optimal || got.LowerBound < 0 {
		t.Errorf("no time at all: %v, %+v", err, got)
	}
	got, err = Large(context.Background(), x, y, n, d, LargeOptions{Tolerance: .5})
	if err != nil || got.RelativeGap > .5 || got.Stopped != "" {
		t.Errorf("tolerance of a half: %v, gap %g", err, got.RelativeGap)
	}
	phases := make(map[string]bool)
	if _, err = Large(context.Background(), x, y, n, d, LargeOptions{Progress: func(p LargeProgress) { phases[p.Phase] = true }}); err != nil {
		t.Fatal(err)
	}
	if len(phases) != 5 {
		t.Errorf("phases told: %v", phases)
	}
	x[5*d+2] = float32(math.NaN())
	var entry *EntryError
	if _, err = Large(context.Background(), x, y, n, d, LargeOptions{}); !errors.As(err, &entry) || entry.Row != 5 || entry.Col != 2 {
		t.Errorf("NaN: %v", err)
	}
}

// Points of every kind, with hints that have nothing to do with them: the optimum all the same.
func FuzzLarge(f *testing.F) {
	f.Add(uint64(1), uint8(20), uint8(3), uint8(0))
	f.Add(uint64(2), uint8(120), uint8(2), uint8(67))
	f.Add(uint64(3), uint8(90), uint8(7), uint8(161))
	f.Add(uint64(466), uint8(111), uint8(113), uint8(38)) // only some of equal rows need a longer list
	pool := kernel.NewPool(1)
	f.Fuzz(func(t *testing.T, seed uint64, n8, d8, kind uint8) {
		r := rand.New(rand.NewPCG(seed, 0))
		n, d := int(n8%130), 2+int(d8%12)
		spread := float32(math.Exp2(-float64(kind % 32)))
		x, y := aroundCentres(r, n, d, 1+r.IntN(4), spread), uniformPoints(r, n, d)
		if kind&32 != 0 { // the later half repeats the first
			copy(x[(n+1)/2*d:], x)
			copy(y[(n+1)/2*d:], y)
		}
		opt := LargeOptions{Pool: pool}
		if kind&64 != 0 {
			opt.Start = NewMatching(n, r).Perm
		}
		if kind&128 != 0 {
			opt.Learned = generate(n, r.NormFloat64)
		}
		got, err := Large(t.Context(), x, y, n, d, opt)
		if err != nil {
			t.Fatal(err)
		}
		p := problem{name: "points", n: n, m: n, x: x, y: y, d: d, cost: distances(x, y, n, n, d)}
		p.solve()
		p.conform(t, &got.Result, nil)
	})
}
