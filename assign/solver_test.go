package assign

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"nat/internal/kernel"
)

// lcg is the generator of ref/scipy_assign_values.py.
type lcg uint64

func (s *lcg) next() float64 {
	*s = *s*6364136223846793005 + 1442695040888963407
	return float64(*s>>33) / (1 << 31)
}

var scipyFamilies = map[string]func(s *lcg, n, m int) []float64{
	"uniform": func(s *lcg, n, m int) []float64 { return generate(n*m, s.next) },
	"integers": func(s *lcg, n, m int) []float64 {
		return generate(n*m, func() float64 { return math.Floor(10 * s.next()) })
	},
	"heavy": func(s *lcg, n, m int) []float64 {
		return generate(n*m, func() float64 { return math.Pow(10, 10*s.next()-5) })
	},
	"points": func(s *lcg, n, m int) []float64 {
		x := generate(2*(n+m), func() float64 { return float64(float32(s.next())) })
		cost := make([]float64, n*m)
		for at := range cost {
			i, j := 2*(at/m), 2*(n+at%m)
			dx, dy := x[i]-x[j], x[i+1]-x[j+1]
			cost[at] = dx*dx + dy*dy
		}
		return cost
	},
	"clustered": func(s *lcg, n, m int) []float64 {
		return generate(n*m, func() float64 { u := s.next(); return math.Floor(2*u) + 1e-9*u })
	},
	"duplicated": func(s *lcg, n, m int) []float64 {
		cost := generate(n*m, s.next)
		for i := range n {
			copy(cost[i*m:(i+1)*m], cost[i/3*3*m:])
		}
		return cost
	},
	"forbidden": func(s *lcg, n, m int) []float64 {
		return generate(n*m, func() float64 {
			u := s.next()
			switch {
			case u < .25:
				return math.Inf(1)
			case u < .375:
				return 1e9 * (1 + u)
			}
			return u
		})
	},
	"signed_blocks": func(s *lcg, n, m int) []float64 {
		cost := generate(n*m, s.next)
		for at := range cost {
			cost[at] += 1000*float64(at/m%3) - 500*float64(at%m%2)
		}
		return cost
	},
}

// Costs that SciPy found for the same matrices.
func TestMatrixAgainstSciPy(t *testing.T) {
	raw, err := os.ReadFile("testdata/scipy.json")
	if err != nil {
		t.Fatal(err)
	}
	var stored struct {
		Cases []struct {
			Family string
			Seed   uint64
			N, M   int
			Cost   float64
		}
	}
	if err := json.Unmarshal(raw, &stored); err != nil {
		t.Fatal(err)
	}
	var s Solver
	for _, c := range stored.Cases {
		seed := lcg(c.Seed)
		cost := scipyFamilies[c.Family](&seed, c.N, c.M)
		r, err := s.Matrix(t.Context(), cost, c.N, c.M, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(r.Cost-c.Cost) > 1e-12*math.Abs(c.Cost) {
			t.Errorf("%s %dx%d: cost %v, SciPy %v", c.Family, c.N, c.M, r.Cost, c.Cost)
		}
		if !r.Optimal {
			t.Errorf("%s %dx%d: not proven", c.Family, c.N, c.M)
		}
		verify(t, r, cost, c.N, c.M)
	}
}

// Optimal is meant exactly: no permutation costs less by a single bit.
func TestOptimalIsExact(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	for _, f := range families {
		for range 20 {
			n := 2 + r.IntN(4)
			cost := f.cost(r, n, n)
			s := Solver{candidates: 1 + r.IntN(3)}
			got, err := s.Matrix(t.Context(), cost, n, n, Options{})
			if err != nil || !got.Optimal {
				t.Fatalf("%s: %+v, %v", f.name, got, err)
			}
			for perm := range permutations(n) {
				var terms []float64
				for i, j := range perm {
					terms = append(terms, cost[i*n+int(j)], -cost[i*n+int(got.Perm[i])])
				}
				if exactSign(terms) < 0 {
					t.Errorf("%s: %v is better than %v for %v", f.name, perm, got.Perm, cost)
				}
			}
		}
	}
}

// permutations yields all permutations of n; the slice is reused.
func permutations(n int) func(yield func([]int32) bool) {
	return func(yield func([]int32) bool) {
		perm := make([]int32, n)
		for i := range perm {
			perm[i] = int32(i)
		}
		var visit func(k int) bool
		visit = func(k int) bool {
			if k == n {
				return yield(perm)
			}
			for i := k; i < n; i++ {
				perm[k], perm[i] = perm[i], perm[k]
				ok := visit(k + 1)
				perm[k], perm[i] = perm[i], perm[k]
				if !ok {
					return false
				}
			}
			return true
		}
		visit(0)
	}
}

// Potentials off by the last bit leave near ties, which the exact search decides: here
// the pairing starts as the worse of two that differ by one unit of 2^-52 in 3.
func TestProveFindsTheBetterOfNearTies(t *testing.T) {
	ulp := math.Nextafter(1, 2) - 1
	cost := []float64{1, 1 + ulp, 1, 1}
	p := &lap[float64]{}
	p.reset(t.Context(), 2, 2, 2, math.Inf(1))
	copy(p.c, cost)
	p.v[0], p.v[1] = 0, .1 // not the potentials of anything
	p.pair(0, 1)
	p.pair(1, 0)
	if !p.prove() || !slices.Equal(p.colOf, []int32{0, 1}) {
		t.Errorf("ended with %v", p.colOf)
	}
}

func TestExactSign(t *testing.T) {
	for _, c := range []struct {
		terms []float64
		want  int
	}{
		{nil, 0},
		{[]float64{.1, .2, -.3}, 1}, // as stored, .1 + .2 is more than .3
		{[]float64{1e16, 1, -1e16, -1}, 0},
		{[]float64{1e300, 1e-300, -1e300, -2e-300}, -1},
		{[]float64{1, math.Inf(1), -5}, 1},
	} {
		if got := exactSign(c.terms); got != c.want {
			t.Errorf("sign of %v: %d, want %d", c.terms, got, c.want)
		}
	}
}

// Products (i+1)(j+1) are the worst case of Machol and Wien: every row wants the
// columns of the others, and each search grows over all that are paired. The optimum
// pairs large with small: n(n+1)(n+2)/6.
// Potentials are hints: nonsense beyond all costs changes nothing.
func TestNonsenseForPotentials(t *testing.T) {
	const n = 60
	r := rand.New(rand.NewPCG(17, 1))
	cost := generate(n*n, func() float64 { return 1e-70 * r.Float64() })
	var s Solver
	want, err := s.Matrix(t.Context(), cost, n, n, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []float64{1e-75, 1e-70, 1e-60, 1, 1e290} {
		v := generate(n, func() float64 { return size * r.NormFloat64() })
		got, err := s.Matrix(t.Context(), cost, n, n, Options{V: v})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.Perm, want.Perm) || !got.Optimal {
			t.Errorf("potentials of %g: optimal %v, cost %v, want %v", size, got.Optimal, got.Cost, want.Cost)
		}
		if err := Verify(got, func(i, j int) float64 { return cost[i*n+j] }, n, n, 1e-84); err != nil {
			t.Errorf("potentials of %g: %v", size, err)
		}
	}
}

func TestProductsOfRowAndColumn(t *testing.T) {
	const n = 90
	cost := make([]float64, n*n)
	for at := range cost {
		cost[at] = float64((at/n + 1) * (at%n + 1))
	}
	for _, k := range solvers {
		s := Solver{candidates: k}
		got, err := s.Matrix(t.Context(), cost, n, n, Options{})
		if err != nil || got.Cost != n*(n+1)*(n+2)/6 || !got.Optimal || got.Gap != 0 {
			t.Fatalf("%d candidates: cost %v, optimal %v, gap %v (%v)", k, got.Cost, got.Optimal, got.Gap, err)
		}
		for i, j := range got.Perm {
			if int(j) != n-1-i {
				t.Fatalf("row %d has column %d", i, j)
			}
		}
	}
}

// What must not change the optimum, or change it predictably.
func TestMetamorphic(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n, m := rapid.IntRange(1, 9).Draw(rt, "n"), rapid.IntRange(1, 9).Draw(rt, "m")
		entry := rapid.OneOf(rapid.Map(rapid.IntRange(-3, 3), func(i int) float64 { return float64(i) }), rapid.Float64Range(-1e3, 1e3))
		cost := rapid.SliceOfN(entry, n*m, n*m).Draw(rt, "cost")
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		solve := func(what string, c []float64, n, m int, opt Options, want float64) *Result {
			s := Solver{candidates: 1 + r.IntN(4)}
			got, err := s.Matrix(t.Context(), c, n, m, opt)
			if err != nil {
				rt.Fatal(err)
			}
			if math.IsNaN(want) {
				want = got.Cost
			}
			if math.Abs(got.Cost-want) > 1e-9 {
				rt.Fatalf("%s: cost %v, want %v", what, got.Cost, want)
			}
			if err := Verify(got, func(i, j int) float64 { return c[i*m+j] }, n, m, 1e-9); err != nil {
				rt.Fatalf("%s: %v", what, err)
			}
			return got
		}
		base := solve("as is", cost, n, m, Options{}, math.NaN())

		rows := r.Perm(n)
		permuted := make([]float64, n*m)
		for i, from := range rows {
			copy(permuted[i*m:(i+1)*m], cost[from*m:])
		}
		solve("rows permuted", permuted, n, m, Options{}, base.Cost)

		flipped := make([]float64, n*m)
		transpose(flipped, cost, n, m)
		solve("transposed", flipped, m, n, Options{}, base.Cost)

		scaled := slices.Clone(cost)
		for i := range scaled {
			scaled[i] /= 8
		}
		solve("scaled", scaled, n, m, Options{}, base.Cost/8)

		shifted := slices.Clone(cost)
		line := r.IntN(min(n, m))
		for at := range shifted {
			if n <= m && at/m == line || n > m && at%m == line { // of the side that is always paired
				shifted[at] += 64
			}
		}
		solve("a line raised", shifted, n, m, Options{}, base.Cost+64)

		start := make([]int32, n)
		for i, j := range r.Perm(max(n, m))[:n] {
			start[i] = int32(j)
			if j >= m {
				start[i] = free
			}
		}
		solve("from another pairing", cost, n, m, Options{Start: start}, base.Cost)
		solve("from some potentials", cost, n, m, Options{V: generate(m, func() float64 { return 100 * r.NormFloat64() })}, base.Cost)
		solve("from its own potentials", cost, n, m, Options{Start: base.Perm, V: base.V}, base.Cost)
	})
}

// Points at the ends of the range of fixed point, with senseless potentials to start
// from, and with little room for candidates: nothing may overflow.
func TestPointsAtTheEndsOfTheRange(t *testing.T) {
	pool := kernel.NewPool(1)
	defer pool.Close()
	const n, d = 60, 3
	r := rand.New(rand.NewPCG(8, 8))
	for round := range 20 {
		z, c := make([]float32, n*d), make([]float32, n*d)
		for i := range n { // poles, a few points between
			z[i*d], c[i*d] = float32(1-2*(i%2)), float32(2*r.IntN(2)-1)
			if r.IntN(4) == 0 {
				copy(z[i*d:], uniformPoints(r, 1, d))
			}
		}
		cost := distances(z, c, n, n, d)
		var s Solver
		want, err := s.Matrix(t.Context(), cost, n, n, Options{})
		if err != nil {
			t.Fatal(err)
		}
		v := generate(n, func() float64 { return 1e9 * r.NormFloat64() })
		for _, opt := range []Options{{}, {V: v}, {V: want.V}} {
			s := Solver{candidates: 1 + round%4}
			got, err := s.Points(t.Context(), pool, z, c, n, n, d, opt)
			if err != nil {
				t.Fatal(err)
			}
			if !got.Optimal || math.Abs(got.Cost-want.Cost) > got.Gap+1e-9 || got.Gap > 2*n*storedError(d) {
				t.Fatalf("cost %v, gap %g, want %v", got.Cost, got.Gap, want.Cost)
			}
			if err := Verify(got, func(i, j int) float64 { return cost[i*n+j] }, n, n, 2*storedError(d)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A collapsed encoder: all points are one, every pairing is as good, none changes, and
// the certificate says so to the last step.
func TestCollapsedPointsStay(t *testing.T) {
	pool := kernel.NewPool(1)
	defer pool.Close()
	const n, d = 600, 8
	r := rand.New(rand.NewPCG(9, 9))
	one := uniformPoints(r, 1, d)
	z := slices.Repeat(one, n)
	start := make([]int32, n)
	for i, j := range r.Perm(n) {
		start[i] = int32(j)
	}
	for _, candidates := range []int{0, 5} {
		s := Solver{candidates: candidates}
		for _, c := range [][]float32{uniformPoints(r, n, d), slices.Repeat(one, n)} {
			got, err := s.Points(t.Context(), pool, z, c, n, n, d, Options{Start: start})
			if err != nil || !slices.Equal(got.Perm, start) {
				t.Fatalf("pairing changed (%v)", err)
			}
			if !got.Optimal || got.Gap > 3e-7*n {
				t.Errorf("gap %g of %d rows", got.Gap, n)
			}
		}
	}
}

// Points closer together than float32 can tell apart from their distances: the reported
// gap must hold all the same, and be no larger than what rounding can have cost.
func TestCertificateOfNearTies(t *testing.T) {
	pool := kernel.NewPool(2)
	defer pool.Close()
	const n, d = 200, 16
	for _, spread := range []float32{1e-7, 1e-5, 1e-3} {
		r := rand.New(rand.NewPCG(16, 1))
		z, c := aroundCentres(r, n, d, 4, spread), uniformPoints(r, n, d)
		cost := distances(z, c, n, n, d)
		var s Solver
		best, err := s.Matrix(t.Context(), cost, n, n, Options{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Points(t.Context(), pool, z, c, n, n, d, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if excess := got.Cost - best.Cost; excess > got.Gap+1e-12 || got.Gap > 3e-7*n {
			t.Errorf("spread %v: %g above the optimum, gap %g", spread, excess, got.Gap)
		}
		if err := Verify(got, func(i, j int) float64 { return cost[i*n+j] }, n, n, 2*storedError(d)); err != nil {
			t.Error(err)
		}
	}
}

// Another instruction set is another process: the test runs itself.
func TestSameOnEveryTier(t *testing.T) {
	if os.Getenv("NAT_ASSIGN_DIGEST") != "" {
		fmt.Println("digest", digest(t))
		return
	}
	want := fmt.Sprint("digest ", digest(t))
	for _, tier := range []string{"generic", "avx2", "avx512"} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestSameOnEveryTier$", "-test.v")
		cmd.Env = append(os.Environ(), "NAT_ASSIGN_DIGEST=1", "NAT_KERNEL="+tier)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: want %s, got %s (%v)", tier, want, out, err)
		}
	}
}

// digest is a checksum of everything that results for points and for a matrix hold.
func digest(t *testing.T) string {
	pool := kernel.NewPool(2)
	defer pool.Close()
	h := sha256.New()
	add := func(r *Result, err error) {
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(h, *r)
	}
	var s Solver
	r := rand.New(rand.NewPCG(17, 1))
	for _, size := range [][3]int{{40, 40, 7}, {60, 90, 16}, {600, 600, 5}} {
		n, m, d := size[0], size[1], size[2]
		add(s.Points(t.Context(), pool, aroundCentres(r, n, d, 3, .3), uniformPoints(r, m, d), n, m, d, Options{}))
	}
	add(s.Matrix(t.Context(), generate(150*150, r.Float64), 150, 150, Options{}))
	return fmt.Sprintf("%x", h.Sum(nil))
}

func TestVerifyRefuses(t *testing.T) {
	cost := []float64{1, 2, 3, 1, 1, 4}
	at := func(i, j int) float64 { return cost[i*3+j] }
	var s Solver
	for what, spoil := range map[string]func(r *Result){
		"a costlier pairing":  func(r *Result) { r.Perm[0], r.Perm[1] = r.Perm[1], r.Perm[0] },
		"a shared column":     func(r *Result) { r.Perm[0] = r.Perm[1] },
		"an incomplete one":   func(r *Result) { r.Perm[0] = free },
		"a column too many":   func(r *Result) { r.Perm[0] = 3 },
		"a high row":          func(r *Result) { r.U[1] += .5 },
		"a low row":           func(r *Result) { r.U[1] -= .5 },
		"a positive column":   func(r *Result) { r.V[0] = .5 },
		"a free column below": func(r *Result) { r.V[2] = -.5 },
		"another size":        func(r *Result) { r.U = r.U[:1] },
		"no number":           func(r *Result) { r.U[0] = math.NaN() },
	} {
		r, err := s.Matrix(t.Context(), cost, 2, 3, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := Verify(r, at, 2, 3, 0); err != nil {
			t.Fatal(err)
		}
		spoil(r)
		if Verify(r, at, 2, 3, 1e-9) == nil {
			t.Errorf("%s passes", what)
		}
	}
}

func TestBruteForceRefusesMany(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	BruteForce(make([]float64, 100), 10)
}

// Every solver says alike what is wrong with hints.
func TestHintsAreChecked(t *testing.T) {
	pool := kernel.NewPool(1)
	defer pool.Close()
	var s Solver
	points := []float32{0, 1, 1, 0}
	for name, solve := range map[string]func(Options) (*Result, error){
		"Matrix": func(opt Options) (*Result, error) { return s.Matrix(t.Context(), make([]float64, 4), 2, 2, opt) },
		"Points": func(opt Options) (*Result, error) { return s.Points(t.Context(), pool, points, points, 2, 2, 2, opt) },
		"Large": func(opt Options) (*Result, error) {
			r, err := Large(t.Context(), points, points, 2, 2, LargeOptions{Pool: pool, Start: opt.Start, Learned: opt.V})
			if err != nil {
				return nil, err
			}
			return &r.Result, nil
		},
	} {
		for _, c := range []struct {
			opt  Options
			want error
		}{
			{Options{Start: []int32{0}}, &ShapeError{"start", 2, 1, 1}},
			{Options{Start: []int32{0, 2}}, &StartError{1, 2, 2}},
			{Options{Start: []int32{-2, 1}}, &StartError{0, -2, 2}},
			{Options{Start: []int32{1, 1}}, &StartError{1, 1, 2}},
			{Options{V: []float64{0}}, &ShapeError{"potentials", 2, 1, 1}},
			{Options{V: []float64{0, math.Inf(1)}}, &EntryError{"potentials", 1, 0, math.Inf(1)}},
		} {
			if _, err := solve(c.opt); !reflect.DeepEqual(err, c.want) {
				t.Errorf("%s: %v, want %v", name, err, c.want)
			}
		}
		if _, err := solve(Options{Start: []int32{1, 0}, V: []float64{0, -1}}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := Large(t.Context(), points, points, 2, 2, LargeOptions{Pool: pool, Start: []int32{1, free}})
	if !reflect.DeepEqual(err, &StartError{1, free, 2}) {
		t.Errorf("a row without a column: %v", err)
	}
}

// The same bits for any number of workers, of sizes that are shared among them and others.
func TestPointsWorkers(t *testing.T) {
	for _, size := range [][3]int{{250, 250, 64}, {700, 700, 16}, {300, 700, 32}} {
		n, m, d := size[0], size[1], size[2]
		r := rand.New(rand.NewPCG(31, 1))
		z, c := aroundCentres(r, n, d, 5, .3), uniformPoints(r, m, d)
		var first *Result
		for workers := range 4 {
			pool := kernel.NewPool(workers + 1)
			var s Solver
			got, err := s.Points(t.Context(), pool, z, c, n, m, d, Options{})
			pool.Close()
			if err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first = got
			}
			if !reflect.DeepEqual(got, first) {
				t.Errorf("%v: another result of %d workers than of one", size, workers+1)
			}
		}
	}
}

func FuzzMatrix(f *testing.F) {
	f.Add(uint8(2), uint8(2), []byte("\x00\x00\x00\x00\x00\x00\xf0\x3f\x00\x00\x00\x00\x00\x00\xf0\x7f"))
	f.Add(uint8(3), uint8(1), []byte{})
	f.Add(uint8(4), uint8(5), slices.Repeat([]byte{1, 0, 0, 0, 0, 0, 0xe0, 0x3f, 9, 9, 9, 9, 9, 9, 0xc9, 0x40}, 9))
	f.Add(uint8(3), uint8(3), slices.Repeat([]byte{0xff}, 72))
	f.Fuzz(func(t *testing.T, n8, m8 uint8, data []byte) {
		n, m := int(n8%10), int(m8%10)
		cost := make([]float64, n*m)
		for at := range cost {
			if len(data) >= 8*(at+1) {
				cost[at] = math.Float64frombits(binary.LittleEndian.Uint64(data[8*at:]))
			}
		}
		s := Solver{candidates: 1 + int(n8>>6)}
		r, err := s.Matrix(t.Context(), cost, n, m, Options{})
		if err != nil {
			var entry *EntryError
			if !errors.As(err, &entry) && !errors.Is(err, ErrInfeasible) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		verify(t, r, cost, n, m)
		if n != m || n > 6 {
			return
		}
		for perm := range permutations(n) {
			var terms []float64
			for i, j := range perm {
				terms = append(terms, cost[i*n+int(j)], -cost[i*n+int(r.Perm[i])])
			}
			if r.Optimal && exactSign(terms) < 0 {
				t.Fatalf("%v is better than %v", perm, r.Perm)
			}
		}
	})
}

func FuzzPoints(f *testing.F) {
	f.Add(uint64(1), uint16(20), uint8(3), uint8(0))
	f.Add(uint64(2), uint16(600), uint8(2), uint8(3))
	pool := kernel.NewPool(1)
	f.Fuzz(func(t *testing.T, seed uint64, n16 uint16, d8, kind uint8) {
		r := rand.New(rand.NewPCG(seed, 0))
		n, d := int(n16%700), 2+int(d8%20) // on a line a centre and an offset can add up to zero, which has no direction
		spread := float32(math.Exp2(-float64(kind % 32)))
		z, c := aroundCentres(r, n, d, 1+r.IntN(4), spread), uniformPoints(r, n, d)
		s := Solver{candidates: int(kind / 64)}
		got, err := s.Points(t.Context(), pool, z, c, n, n, d, Options{})
		if err != nil {
			t.Fatal(err)
		}
		distance := func(i, j int) float64 { return squaredDistance(z[i*d:(i+1)*d], c[j*d:(j+1)*d]) }
		if err := Verify(got, distance, n, n, 2*storedError(d)); err != nil || !got.Optimal {
			t.Fatalf("optimal: %v, %v", got.Optimal, err)
		}
	})
}
