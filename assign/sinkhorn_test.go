package assign_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"nat/assign"
	"nat/internal/kernel"
)

func planPool(t testing.TB, workers int) *kernel.Pool {
	pool := kernel.NewPool(workers)
	t.Cleanup(pool.Close)
	return pool
}

// Of two by two the plan is known: p/(1-p) = exp((a+d-b-c)/(2T)).
func TestPlanOfTwo(t *testing.T) {
	pool := planPool(t, 1)
	var s assign.Softener
	for _, temperature := range []float64{.025, .1, .2, 1, 100} {
		x := []float32{.3, -.1, .25, .05}
		odds := math.Exp((.3 + .05 + .1 - .25) / (2 * temperature))
		plan := s.Plan(pool, x, 2, 2, temperature)
		want := odds / (1 + odds)
		for i, p := range []float64{want, 1 - want, 1 - want, want} {
			if math.Abs(float64(x[i])-p) > 2e-4 {
				t.Errorf("temperature %v: plan %v, want %v at %d", temperature, x, p, i)
			}
		}
		if plan.Violation > 1e-4 {
			t.Errorf("temperature %v: violation %v", temperature, plan.Violation)
		}
	}
}

func unitRows(n, d int, r *rand.Rand) []float32 {
	x := make([]float32, n*d)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	for row := range slices.Chunk(x, d) {
		scale := 1 / float32(math.Sqrt(float64(kernel.Dot(row, row))))
		for k := range row {
			row[k] *= scale
		}
	}
	return x
}

// products of m with n random unit vectors.
func products(seed uint64, m, n, d int) []float32 {
	r := rand.New(rand.NewPCG(seed, 9))
	x, y := unitRows(m, d, r), unitRows(n, d, r)
	s := make([]float32, m*n)
	for i := range m {
		for j := range n {
			s[i*n+j] = kernel.Dot(x[i*d:(i+1)*d], y[j*d:(j+1)*d])
		}
	}
	return s
}

func TestPlanProperties(t *testing.T) {
	pool := planPool(t, 2)
	rapid.Check(t, func(t *rapid.T) {
		m, n := rapid.IntRange(1, 90).Draw(t, "m"), rapid.IntRange(1, 90).Draw(t, "n")
		d := rapid.IntRange(2, 20).Draw(t, "d")
		temperature := rapid.SampledFrom([]float64{.05, .1, .2, 1, 30}).Draw(t, "temperature")
		s := products(rapid.Uint64().Draw(t, "seed"), m, n, d)
		shifted := slices.Clone(s)
		for i := range shifted {
			shifted[i] += .1*float32(i/n%3) - .2*float32(i%n%2)
		}
		given := slices.Clone(s)
		var soft assign.Softener
		plan := soft.Plan(pool, s, m, n, temperature)
		columns := make([]float64, n)
		var cost, entropy float64
		for i := range m {
			var row float64
			for j, p := range s[i*n : (i+1)*n] {
				row += float64(p)
				columns[j] += float64(p)
				cost -= 2 * float64(p) * float64(given[i*n+j]) / float64(m)
				if p > 0 {
					entropy += float64(p) / float64(m) * math.Log(float64(p)*float64(n))
				}
			}
			if math.Abs(row-1) > 1e-5 {
				t.Fatalf("row %d adds up to %v", i, row)
			}
		}
		var off float64
		for _, c := range columns {
			off += math.Abs(c/float64(m) - 1/float64(n))
		}
		if math.Abs(off/2-plan.Violation) > 1e-5 {
			t.Fatalf("violation %v, said to be %v", off/2, plan.Violation)
		}
		if want := cost + 2*temperature*entropy; plan.Violation < 1e-3 && math.Abs(plan.Distance-want) > 4e-3*max(temperature, 1) {
			t.Fatalf("distance %v, want %v", plan.Distance, want)
		}
		if again := soft.Plan(pool, shifted, m, n, temperature); again.Violation < 1e-4 && plan.Violation < 1e-4 {
			for i := range s {
				if math.Abs(float64(s[i]-shifted[i])) > 2e-2 {
					t.Fatalf("what is added to a whole row or column changes the plan: %v and %v at %d", s[i], shifted[i], i)
				}
			}
		}
	})
}

// Cold, the plan is the best assignment; hot, it is indifferent.
func TestPlanBetweenHardAndIndifferent(t *testing.T) {
	pool := planPool(t, 1)
	const n = 6
	s := products(4, n, n, 3)
	costs := make([]float64, n*n)
	for i, x := range s {
		costs[i] = -float64(x)
	}
	best, _ := assign.BruteForce(costs, n)
	var soft assign.Softener
	cold, hot := slices.Clone(s), slices.Clone(s)
	soft.Plan(pool, cold, n, n, assign.MinPlanTemperature)
	soft.Plan(pool, hot, n, n, 1000)
	for i, j := range best {
		if row := cold[i*n : (i+1)*n]; row[j] != slices.Max(row) {
			t.Errorf("row %d has %v, the assignment %d", i, row, j)
		}
	}
	for _, p := range hot {
		if math.Abs(float64(p)-1./n) > 1e-3 {
			t.Errorf("hot plan has %v", p)
		}
	}
}

// The largest differences there can be stay within float32 at the lowest temperature.
func TestPlanOfExtremes(t *testing.T) {
	pool := planPool(t, 1)
	r := rand.New(rand.NewPCG(1, 2))
	var soft assign.Softener
	for range 50 {
		m, n := 1+r.IntN(20), 1+r.IntN(20)
		s := make([]float32, m*n)
		for i := range s {
			s[i] = 1 - 2*float32(r.IntN(2))
		}
		plan := soft.Plan(pool, s, m, n, assign.MinPlanTemperature)
		if math.IsNaN(plan.Distance) || math.IsInf(plan.Distance, 0) {
			t.Fatalf("distance %v", plan.Distance)
		}
		for _, p := range s {
			if !(p >= 0 && p <= 1.0001) {
				t.Fatalf("plan has %v", p)
			}
		}
	}
}

func TestPlanDependsOnNoWorkers(t *testing.T) {
	one, three := products(1, 70, 131, 8), products(1, 70, 131, 8)
	var soft assign.Softener
	first := soft.Plan(planPool(t, 1), one, 70, 131, .1)
	if second := soft.Plan(planPool(t, 3), three, 70, 131, .1); first != second || !slices.Equal(one, three) {
		t.Errorf("%v by one worker, %v by three", first, second)
	}
}

func TestPlanAllocatesNothing(t *testing.T) {
	pool := planPool(t, 1)
	given := products(1, 40, 40, 8)
	s := slices.Clone(given)
	var soft assign.Softener
	step := func() {
		copy(s, given)
		soft.Plan(pool, s, 40, 40, .2)
	}
	step()
	if n := testing.AllocsPerRun(10, step); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestPlanRefusesNonsense(t *testing.T) {
	pool := planPool(t, 1)
	for name, f := range map[string]func(){
		"size":        func() { new(assign.Softener).Plan(pool, make([]float32, 5), 2, 3, .2) },
		"empty":       func() { new(assign.Softener).Plan(pool, nil, 0, 0, .2) },
		"temperature": func() { new(assign.Softener).Plan(pool, make([]float32, 6), 2, 3, .01) },
		"NaN":         func() { new(assign.Softener).Plan(pool, make([]float32, 6), 2, 3, math.NaN()) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

func BenchmarkPlan(b *testing.B) {
	pool := planPool(b, 0)
	const n = 512
	given := products(1, n, n, 64)
	s := slices.Clone(given)
	var soft assign.Softener
	var plan assign.Plan
	for b.Loop() {
		copy(s, given)
		plan = soft.Plan(pool, s, n, n, .2)
	}
	b.ReportMetric(float64(plan.Iterations), "iterations")
}
