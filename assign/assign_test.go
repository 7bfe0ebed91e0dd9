package assign

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"nat/internal/kernel"
)

// A family generates matrices of one kind of difficulty.
var families = []struct {
	name string
	cost func(r *rand.Rand, n, m int) []float64
}{
	{"uniform", func(r *rand.Rand, n, m int) []float64 { return generate(n*m, r.Float64) }},
	{"normal", func(r *rand.Rand, n, m int) []float64 { return generate(n*m, r.NormFloat64) }},
	{"integer ties", func(r *rand.Rand, n, m int) []float64 {
		return generate(n*m, func() float64 { return float64(r.IntN(3)) })
	}},
	{"constant", func(_ *rand.Rand, n, m int) []float64 { return generate(n*m, func() float64 { return .7 }) }},
	{"duplicated rows", func(r *rand.Rand, n, m int) []float64 {
		c := generate(n*m, r.Float64)
		for i := 1; i < n; i += 2 {
			copy(c[i*m:(i+1)*m], c[(i-1)*m:])
		}
		return c
	}},
	{"clustered", func(r *rand.Rand, n, m int) []float64 {
		return generate(n*m, func() float64 { return float64(r.IntN(2)) + 1e-9*r.Float64() })
	}},
	{"row plus column", func(r *rand.Rand, n, m int) []float64 {
		a, b := generate(n, r.Float64), generate(m, r.Float64)
		c := make([]float64, n*m)
		for at := range c {
			c[at] = a[at/m] + b[at%m]
		}
		return c
	}},
	{"huge among small", func(r *rand.Rand, n, m int) []float64 {
		return generate(n*m, func() float64 {
			if r.IntN(3) == 0 {
				return 1e9 * (1 + r.Float64())
			}
			return 1 + r.Float64()
		})
	}},
	{"every magnitude", func(r *rand.Rand, n, m int) []float64 {
		return generate(n*m, func() float64 { return math.Exp2(200*r.Float64() - 100) })
	}},
	{"tiny", func(r *rand.Rand, n, m int) []float64 {
		return generate(n*m, func() float64 { return 1e-12 * r.Float64() })
	}},
}

func generate(n int, f func() float64) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = f()
	}
	return x
}

// solvers are the ways the same problem must come out the same: with all
// columns remembered, and with so few that rows are scanned in full all the time.
var solvers = []int{0, 1, 2, 3}

func TestMatrixAgainstBruteForce(t *testing.T) {
	for _, f := range families {
		for n := range 8 {
			r := rand.New(rand.NewPCG(1, uint64(n)))
			for range 12 {
				cost := f.cost(r, n, n)
				_, best := BruteForce(cost, n)
				for _, k := range solvers {
					s := Solver{candidates: k}
					got, err := s.Matrix(t.Context(), cost, n, n, Options{})
					if err != nil {
						t.Fatalf("%s, n=%d: %v", f.name, n, err)
					}
					if !same(got.Cost, best) {
						t.Fatalf("%s, n=%d, %d candidates: cost %v, best %v\n%v", f.name, n, k, got.Cost, best, cost)
					}
					verify(t, got, cost, n, n)
					if !got.Optimal {
						t.Errorf("%s, n=%d: not proven", f.name, n)
					}
				}
			}
		}
	}
}

// same allows for the order of summation.
func same(a, b float64) bool { return a == b || math.Abs(a-b) <= 1e-14*(math.Abs(a)+math.Abs(b)) }

func verify(t *testing.T, r *Result, cost []float64, n, m int) {
	t.Helper()
	largest := 0.0
	for _, x := range cost {
		if !math.IsInf(x, 1) {
			largest = max(largest, math.Abs(x))
		}
	}
	if err := Verify(r, func(i, j int) float64 { return cost[i*m+j] }, n, m, 1e-14*largest); err != nil {
		t.Fatal(err)
	}
	if r.Gap < 0 || r.Gap > 1e-13*float64(n+m)*largest {
		t.Fatalf("gap %g", r.Gap)
	}
	checkBound(t, r, 1e-14*float64(n+m)*largest)
}

// checkBound checks that the lower bound is the sum of the potentials.
func checkBound(t *testing.T, r *Result, tol float64) {
	t.Helper()
	var potentials sum
	for _, x := range slices.Concat(r.U, r.V) {
		potentials.add(x)
	}
	if math.Abs(potentials.value()-r.LowerBound) > tol || r.LowerBound > r.Cost {
		t.Fatalf("lower bound %v of cost %v, potentials add up to %v", r.LowerBound, r.Cost, potentials.value())
	}
}

func TestRectangularAgainstBruteForce(t *testing.T) {
	for _, f := range families {
		for _, size := range [][2]int{{1, 4}, {2, 5}, {3, 7}, {6, 7}, {4, 1}, {7, 3}, {7, 6}, {0, 3}, {3, 0}} {
			n, m := size[0], size[1]
			r := rand.New(rand.NewPCG(2, uint64(n*10+m)))
			for range 12 {
				cost := f.cost(r, n, m)
				best := bruteRectangular(cost, n, m)
				for _, k := range solvers {
					s := Solver{candidates: k}
					got, err := s.Matrix(t.Context(), cost, n, m, Options{})
					if err != nil {
						t.Fatalf("%s, %dx%d: %v", f.name, n, m, err)
					}
					if !same(got.Cost, best) {
						t.Fatalf("%s, %dx%d, %d candidates: cost %v, best %v", f.name, n, m, k, got.Cost, best)
					}
					verify(t, got, cost, n, m)
					if !got.Optimal {
						t.Errorf("%s, %dx%d: not proven", f.name, n, m)
					}
				}
			}
		}
	}
}

// bruteRectangular pads to a square with zeros, which is exact for brute force.
func bruteRectangular(cost []float64, n, m int) float64 {
	size := max(n, m)
	square := make([]float64, size*size)
	for i := range n {
		for j := range m {
			square[i*size+j] = cost[i*m+j]
		}
	}
	_, best := BruteForce(square, size)
	return best
}

func TestForbiddenPairs(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 0))
	infeasible := 0
	for range 400 {
		n := 1 + r.IntN(6)
		cost := generate(n*n, func() float64 {
			if r.IntN(2) == 0 {
				return math.Inf(1)
			}
			return r.Float64()
		})
		_, best := BruteForce(cost, n)
		for _, k := range solvers {
			s := Solver{candidates: k}
			got, err := s.Matrix(t.Context(), cost, n, n, Options{})
			if math.IsInf(best, 1) {
				infeasible++
				if !errors.Is(err, ErrInfeasible) {
					t.Fatalf("no assignment exists, got %v, %v", got, err)
				}
				continue
			}
			if err != nil || !same(got.Cost, best) {
				t.Fatalf("cost %v, want %v (%v)", got, best, err)
			}
			verify(t, got, cost, n, n)
		}
	}
	if infeasible == 0 {
		t.Error("no infeasible case was tried")
	}
}

func TestBadEntriesAreNamed(t *testing.T) {
	var s Solver
	for bad, hint := range map[float64]string{math.NaN(): "+Inf forbids", math.Inf(-1): "+Inf forbids", 1e301: "below 1e+300"} {
		cost := []float64{1, 2, 3, 4, 5, bad}
		_, err := s.Matrix(t.Context(), cost, 2, 3, Options{})
		var entry *EntryError
		if !errors.As(err, &entry) || entry.Row != 1 || entry.Col != 2 {
			t.Errorf("entry %v at row 1, column 2: %v", bad, err)
		} else if text := err.Error(); !strings.Contains(text, "row 1, column 2") || !strings.Contains(text, hint) {
			t.Errorf("entry %v: %q does not say where, and %q", bad, text, hint)
		}
	}
	pool := kernel.NewPool(1)
	defer pool.Close()
	z := []float32{1, 0, 0, 1}
	c := []float32{1, 0, float32(math.NaN()), 1}
	_, err := s.Points(t.Context(), pool, z, c, 2, 2, 2, Options{})
	var entry *EntryError
	if !errors.As(err, &entry) || entry.In != "targets" || entry.Row != 1 || entry.Col != 0 {
		t.Errorf("NaN in target 1: %v", err)
	}
}

// Equal costs leave everything as it is.
func TestTiesKeepTheCurrentPairing(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 0))
	for _, f := range families {
		for _, size := range [][2]int{{1, 1}, {5, 5}, {4, 6}, {6, 4}, {20, 20}} {
			n, m := size[0], size[1]
			cost := f.cost(r, n, m)
			var s Solver
			first, err := s.Matrix(t.Context(), cost, n, m, Options{})
			if err != nil {
				t.Fatal(err)
			}
			again, err := s.Matrix(t.Context(), cost, n, m, Options{Start: first.Perm})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(first.Perm, again.Perm) {
				t.Errorf("%s %dx%d: optimum %v became %v", f.name, n, m, first.Perm, again.Perm)
			}
			if again.InitialCost != first.Cost {
				t.Errorf("%s %dx%d: initial cost %v, want %v", f.name, n, m, again.InitialCost, first.Cost)
			}
		}
	}
	var s Solver
	for n := range 20 {
		start := make([]int32, n)
		for i, j := range r.Perm(n) {
			start[i] = int32(j)
		}
		got, err := s.Matrix(t.Context(), make([]float64, n*n), n, n, Options{Start: start})
		if err != nil || !slices.Equal(got.Perm, start) {
			t.Errorf("constant matrix: %v became %v (%v)", start, got.Perm, err)
		}
	}
}

func uniformPoints(r *rand.Rand, n, d int) []float32 {
	x := make([]float32, n*d)
	for i := range n {
		row := x[i*d : (i+1)*d]
		var norm float64
		for k := range row {
			row[k] = float32(r.NormFloat64())
			norm += float64(row[k]) * float64(row[k])
		}
		for k := range row {
			row[k] /= float32(math.Sqrt(norm))
		}
	}
	return x
}

// distances are the squared distances of n points to m others.
func distances(x, y []float32, n, m, d int) []float64 {
	cost := make([]float64, n*m)
	for i := range n {
		for j := range m {
			cost[i*m+j] = squaredDistance(x[i*d:(i+1)*d], y[j*d:(j+1)*d])
		}
	}
	return cost
}

func TestPointsAgreeWithMatrix(t *testing.T) {
	pool := kernel.NewPool(2)
	defer pool.Close()
	for _, size := range [][3]int{{1, 1, 3}, {7, 7, 2}, {40, 40, 8}, {300, 300, 16}, {20, 50, 5}, {50, 20, 5}, {0, 0, 4}} {
		n, m, d := size[0], size[1], size[2]
		for _, radius := range []float32{.5, 1, 30} {
			r := rand.New(rand.NewPCG(5, uint64(n)))
			z, c := uniformPoints(r, n, d), uniformPoints(r, m, d)
			for i := range z {
				z[i] *= radius
			}
			cost := distances(z, c, n, m, d)
			var s Solver
			want, err := s.Matrix(t.Context(), cost, n, m, Options{})
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.Points(t.Context(), pool, z, c, n, m, d, Options{})
			if err != nil {
				t.Fatal(err)
			}
			name := fmt.Sprintf("%dx%d d=%d radius %v", n, m, d, radius)
			if got.Cost-want.Cost > got.Gap+1e-12*want.Cost || !got.Optimal && got.Method == "jv-int32" {
				t.Errorf("%s: cost %v with gap %g, matrix says %v", name, got.Cost, got.Gap, want.Cost)
			}
			checkBound(t, got, 1e-12*(1+got.Cost))
			if got.Gap > 1e-6*float64(n+1) {
				t.Errorf("%s: gap %g", name, got.Gap)
			}
			if math.Abs(got.InitialCost-want.InitialCost) > 1e-12*want.InitialCost {
				t.Errorf("%s: initial cost %v, want %v", name, got.InitialCost, want.InitialCost)
			}
			if err := Verify(got, func(i, j int) float64 { return cost[i*m+j] }, n, m, 1e-5); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
