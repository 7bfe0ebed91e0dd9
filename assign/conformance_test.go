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

// A problem is one line of the table that every solver must get right. It is given by
// a matrix or by points, and then cost holds their squared distances.
type problem struct {
	name     string
	n, m     int
	cost     []float64 // n x m, +Inf = forbidden
	x, y     []float32 // n x d and m x d, nil unless given by points
	d        int
	best     float64 // least cost, by an independent solver
	feasible bool
}

// matrixProblems are matrices of every family, square and both ways rectangular.
func matrixProblems() []problem {
	sizes := [][2]int{{0, 0}, {1, 1}, {2, 2}, {5, 5}, {7, 7}, {24, 24}, {70, 70}, {0, 3}, {3, 0}, {1, 6}, {6, 1}, {20, 33}, {33, 20}}
	var all []problem
	for _, f := range families {
		for _, size := range sizes {
			r := rand.New(rand.NewPCG(11, uint64(100*size[0]+size[1])))
			n, m := size[0], size[1]
			all = append(all, problem{name: f.name, n: n, m: m, cost: f.cost(r, n, m)})
		}
	}
	for i := range 60 { // some of these have no solution
		r := rand.New(rand.NewPCG(12, uint64(i)))
		n, m := 1+r.IntN(9), 1+r.IntN(9)
		all = append(all, problem{name: fmt.Sprint("forbidden ", i), n: n, m: m, cost: generate(n*m, func() float64 {
			if r.IntN(3) > 0 {
				return math.Inf(1)
			}
			return float64(r.IntN(5))
		})})
	}
	for i := range all {
		all[i].solve()
	}
	return all
}

// pointProblems are sets of points, n of each.
func pointProblems(sizes ...int) []problem {
	var all []problem
	for _, n := range sizes {
		const d = 5
		r := rand.New(rand.NewPCG(13, uint64(n)))
		one := uniformPoints(r, 1, d)
		for _, cloud := range []struct {
			name string
			x    []float32
		}{
			{"uniform", uniformPoints(r, n, d)},
			{"clustered", aroundCentres(r, n, d, 3, 1e-3)},
			{"tight", aroundCentres(r, n, d, 3, 1e-6)},
			{"collapsed", aroundCentres(r, n, d, 1, 1e-2)},
			{"one point", slices.Repeat(one, n)},
			{"a line", alongLine(r, n, d)},
			{"duplicated", slices.Repeat(uniformPoints(r, 1+n/3, d), 4)[:n*d]},
			{"integers", integerPoints(r, n, d, 2)},
			{"far", integerPoints(r, n, d, 30000)},
			{"huge range", append(uniformPoints(r, n-n/2, d), integerPoints(r, n/2, d, 30000)...)},
			{"zero", make([]float32, n*d)},
			{"their targets", nil},
		} {
			x := cloud.x
			y := uniformPoints(r, n, d)
			if cloud.name == "integers" || cloud.name == "far" {
				y = integerPoints(r, n, d, 2)
			}
			if x == nil {
				x = slices.Clone(y)
			}
			p := problem{name: "points, " + cloud.name, n: n, m: n, x: x, y: y, d: d, cost: distances(x, y, n, n, d)}
			p.solve()
			all = append(all, p)
		}
	}
	return all
}

// farAndNear are points whose squares are beyond float32, or nothing in it.
func farAndNear(n int) []problem {
	const d = 3
	var all []problem
	for _, exponent := range []int{110, -30, -142} {
		r := rand.New(rand.NewPCG(14, uint64(n)))
		x, y := integerPoints(r, n, d, 100), integerPoints(r, n, d, 100)
		for k := range x {
			x[k], y[k] = float32(math.Ldexp(float64(x[k]), exponent)), float32(math.Ldexp(float64(y[k]), exponent))
		}
		p := problem{name: fmt.Sprintf("points, 2^%d", exponent), n: n, m: n, x: x, y: y, d: d, cost: distances(x, y, n, n, d)}
		p.solve()
		all = append(all, p)
	}
	return all
}

// alongLine has distances that are little but products of two numbers.
func alongLine(r *rand.Rand, n, d int) []float32 {
	ends := uniformPoints(r, 2, d)
	x := make([]float32, n*d)
	for i := range n {
		t := r.Float32()
		for k := range d {
			x[i*d+k] = t*ends[k] + (1-t)*ends[d+k]
		}
	}
	return x
}

func integerPoints(r *rand.Rand, n, d, below int) []float32 {
	x := make([]float32, n*d)
	for i := range x {
		x[i] = float32(r.IntN(below))
	}
	return x
}

// solve finds the least cost.
func (p *problem) solve() {
	switch {
	case p.n > p.m:
		flipped := make([]float64, p.n*p.m)
		transpose(flipped, p.cost, p.n, p.m)
		p.best = plainHungarian(flipped, p.m, p.n)
	default:
		p.best = plainHungarian(p.cost, p.n, p.m)
	}
	p.feasible = !math.IsInf(p.best, 1)
}

// plainHungarian is the method in its simplest form, O(n^2 m), with potentials and one
// search per row; n <= m. It shares nothing with the package. +Inf if infeasible.
func plainHungarian(cost []float64, n, m int) float64 {
	u, v := make([]float64, n+1), make([]float64, m+1)
	rowOf, way := make([]int, m+1), make([]int, m+1) // column m+1 .. are 1-based, 0 is outside
	for i := 1; i <= n; i++ {
		rowOf[0] = i
		least, used := slices.Repeat([]float64{math.Inf(1)}, m+1), make([]bool, m+1)
		j0 := 0
		for rowOf[j0] != 0 {
			used[j0] = true
			delta, j1 := math.Inf(1), 0
			for j := 1; j <= m; j++ {
				if used[j] {
					continue
				}
				if r := cost[(rowOf[j0]-1)*m+j-1] - u[rowOf[j0]] - v[j]; r < least[j] {
					least[j], way[j] = r, j0
				}
				if least[j] < delta {
					delta, j1 = least[j], j
				}
			}
			if math.IsInf(delta, 1) {
				return delta
			}
			for j := 0; j <= m; j++ {
				if used[j] {
					u[rowOf[j]] += delta
					v[j] -= delta
				} else {
					least[j] -= delta
				}
			}
			j0 = j1
		}
		for ; j0 != 0; j0 = way[j0] {
			rowOf[j0] = rowOf[way[j0]]
		}
	}
	var total sum
	for j := 1; j <= m; j++ {
		if rowOf[j] != 0 {
			total.add(cost[(rowOf[j]-1)*m+j-1])
		}
	}
	return total.value()
}

// conform checks the answer of a solver to one problem.
func (p *problem) conform(t *testing.T, got *Result, err error) {
	t.Helper()
	name := fmt.Sprintf("%s %dx%d", p.name, p.n, p.m)
	if !p.feasible {
		if !errors.Is(err, ErrInfeasible) {
			t.Errorf("%s: there is no assignment, got %v, %v", name, got, err)
		}
		return
	}
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	largest := 0.0
	for _, c := range p.cost {
		if !math.IsInf(c, 1) {
			largest = max(largest, math.Abs(c))
		}
	}
	tol := 1e-13 * largest
	if got.Method == "jv-int32" { // its own arithmetic
		tol += 2 * storedError(p.d)
	}
	total := tol * float64(p.n+p.m+1)
	if err := Verify(got, func(i, j int) float64 { return p.cost[i*p.m+j] }, p.n, p.m, tol); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	if !(math.Abs(got.Cost-p.best) <= total) || got.Gap > total {
		t.Errorf("%s: cost %v with gap %g, best %v", name, got.Cost, got.Gap, p.best)
	}
	if !got.Optimal {
		t.Errorf("%s: not proven", name)
	}
}

// narrow returns the problems with the costs that float32 has for theirs.
func narrow(problems []problem) []problem {
	problems = slices.Clone(problems)
	for i := range problems {
		p := &problems[i]
		p.cost = slices.Clone(p.cost)
		for at, c := range p.cost {
			p.cost[at] = float64(float32(c))
		}
		p.solve()
	}
	return problems
}

// Every solver gets every problem it can take right, whatever it remembers of a row.
func TestConformance(t *testing.T) {
	pool := kernel.NewPool(2)
	defer pool.Close()
	points := pointProblems(1, 6, 40, 150)
	everywhere := append(farAndNear(100), points...)
	matrices := append(matrixProblems(), pointProblems(1, 6, 40)...)
	for _, solver := range []struct {
		name       string
		problems   []problem
		candidates []int
		solve      func(s *Solver, p *problem) (*Result, error)
	}{
		{"Matrix", matrices, []int{0, 1, 2, 3}, func(s *Solver, p *problem) (*Result, error) {
			return s.Matrix(t.Context(), p.cost, p.n, p.m, Options{})
		}},
		{"Matrix32", narrow(matrices), []int{0, 2}, func(s *Solver, p *problem) (*Result, error) {
			cost := make([]float32, len(p.cost))
			for at, c := range p.cost {
				cost[at] = float32(c)
			}
			return s.Matrix32(t.Context(), cost, p.n, p.m, Options{})
		}},
		{"Rows", matrices, []int{0, 2}, func(s *Solver, p *problem) (*Result, error) {
			return s.Rows(t.Context(), p.n, p.m, func(i int, dst []float64) { copy(dst, p.cost[i*p.m:]) }, Options{})
		}},
		{"Points", everywhere, []int{0, 2}, func(s *Solver, p *problem) (*Result, error) {
			return s.Points(t.Context(), pool, p.x, p.y, p.n, p.m, p.d, Options{})
		}},
		{"Large", everywhere, []int{0}, func(_ *Solver, p *problem) (*Result, error) {
			r, err := Large(t.Context(), p.x, p.y, p.n, p.d, LargeOptions{Pool: pool})
			if err != nil {
				return nil, err
			}
			return &r.Result, nil
		}},
	} {
		t.Run(solver.name, func(t *testing.T) {
			for _, k := range solver.candidates {
				s := Solver{candidates: k}
				for i := range solver.problems {
					got, err := solver.solve(&s, &solver.problems[i])
					solver.problems[i].conform(t, got, err)
				}
			}
		})
	}
}

// Points on a line leave most rows free after the row reduction; an auction spares most
// of the searches.
func TestAuctionOnStructure(t *testing.T) {
	pool := kernel.NewPool(1)
	defer pool.Close()
	const n, d = 700, 5
	r := rand.New(rand.NewPCG(18, 1))
	x, y := alongLine(r, n, d), uniformPoints(r, n, d)
	var s Solver
	got, err := s.Points(t.Context(), pool, x, y, n, n, d, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !got.Optimal || got.RowScans > 150*n {
		t.Errorf("optimal: %v, %d scans of %d rows", got.Optimal, got.RowScans, n)
	}
	cost := func(i, j int) float64 { return squaredDistance(x[i*d:(i+1)*d], y[j*d:(j+1)*d]) }
	if err := Verify(got, cost, n, n, 2*storedError(d)); err != nil {
		t.Error(err)
	}
	p := &s.ints
	p.queue = p.queue[:0]
	if p.structured() {
		t.Error("an auction without free rows")
	}
}

func TestMatrix32NamesEntries(t *testing.T) {
	var s Solver
	_, err := s.Matrix32(t.Context(), []float32{1, 2, 3, float32(math.NaN())}, 2, 2, Options{})
	var entry *EntryError
	if !errors.As(err, &entry) || entry.Row != 1 || entry.Col != 1 {
		t.Errorf("NaN at row 1, column 1: %v", err)
	}
}

func TestShapesAreNamed(t *testing.T) {
	var s Solver
	pool := kernel.NewPool(1)
	defer pool.Close()
	large := func(points, targets int) (*Result, error) {
		_, err := Large(t.Context(), make([]float32, points), make([]float32, targets), 2, 3, LargeOptions{Pool: pool})
		return nil, err
	}
	for in, solve := range map[string]func() (*Result, error){
		"cost matrix": func() (*Result, error) { return s.Matrix(t.Context(), make([]float64, 5), 2, 3, Options{}) },
		"points": func() (*Result, error) {
			return s.Points(t.Context(), pool, make([]float32, 5), make([]float32, 6), 2, 2, 3, Options{})
		},
		"targets": func() (*Result, error) {
			return s.Points(t.Context(), pool, make([]float32, 6), make([]float32, 5), 2, 2, 3, Options{})
		},
		"points ":  func() (*Result, error) { return large(5, 6) },
		"targets ": func() (*Result, error) { return large(6, 5) },
	} {
		in = strings.TrimSpace(in)
		_, err := solve()
		var shape *ShapeError
		if !errors.As(err, &shape) || shape.In != in || shape.Rows != 2 || shape.Cols != 3 || shape.Len != 5 {
			t.Errorf("%s: %v", in, err)
		}
	}
	for _, bad := range [][2]int{{-1, 2}, {2, -1}, {math.MaxInt, 2}, {1 << 40, 1 << 40}} {
		_, err := s.Matrix(t.Context(), nil, bad[0], bad[1], Options{})
		var shape *ShapeError
		if _, err := s.Points(t.Context(), pool, nil, nil, bad[0], bad[0], bad[1], Options{}); !errors.As(err, &shape) {
			t.Errorf("points, %v: %v", bad, err)
		}
		if _, err := Large(t.Context(), nil, nil, bad[0], bad[1], LargeOptions{}); !errors.As(err, &shape) {
			t.Errorf("large, %v: %v", bad, err)
		}
		if !errors.As(err, &shape) {
			t.Errorf("%v: %v", bad, err)
		}
		if _, err := s.Matrix32(t.Context(), nil, bad[0], bad[1], Options{}); !errors.As(err, &shape) {
			t.Errorf("%v: %v", bad, err)
		}
		if _, err := s.Rows(t.Context(), bad[0], bad[1], nil, Options{}); !errors.As(err, &shape) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

// The rows and columns that an error names cannot all be paired.
func TestInfeasibleIsProven(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 1))
	seen := map[bool]int{}
	for range 500 {
		n, m := 1+r.IntN(8), 1+r.IntN(8)
		cost := generate(n*m, func() float64 {
			if r.IntN(3) > 0 {
				return math.Inf(1)
			}
			return r.Float64()
		})
		s := Solver{candidates: 1 + r.IntN(4)}
		_, err := s.Matrix(t.Context(), cost, n, m, Options{})
		var e *InfeasibleError
		if err == nil {
			continue
		}
		if !errors.As(err, &e) || len(e.Rows) == len(e.Cols) {
			t.Fatalf("%dx%d: %v", n, m, err)
		}
		rows := len(e.Rows) > len(e.Cols)
		seen[rows]++
		if rows && n > m || !rows && m > n {
			t.Fatalf("%dx%d: %v, but that side need not be complete", n, m, err)
		}
		for at, c := range cost {
			i, j := slices.Contains(e.Rows, int32(at/m)), slices.Contains(e.Cols, int32(at%m))
			if rows && i && !j && !math.IsInf(c, 1) || !rows && j && !i && !math.IsInf(c, 1) {
				t.Fatalf("%v, but row %d and column %d are permitted", err, at/m, at%m)
			}
		}
	}
	if seen[true] == 0 || seen[false] == 0 {
		t.Errorf("seen %v", seen)
	}
}
