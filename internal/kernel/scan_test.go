package kernel

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
)

// fenced returns n elements between zones of a value that a scan would prefer to
// everything else, so that it cannot read there unnoticed, and a check that nothing
// was written there.
func fenced[T int32 | float64](n int, fence T, f func() T) (s []T, check func(t *testing.T)) {
	all := make([]T, n+2*guard)
	for i := range all {
		all[i] = fence
		if i >= guard && i < guard+n {
			all[i] = f()
		}
	}
	return all[guard : guard+n : guard+n], func(t *testing.T) {
		t.Helper()
		for i, x := range all {
			if (i < guard || i >= guard+n) && x != fence {
				t.Fatal("written outside")
			}
		}
	}
}

// scanCase is a row and potentials; with few values there are many ties.
func scanCase[T int32 | float64](r *rand.Rand, n int) (row, v []T, check func(t *testing.T)) {
	values := []int{2, 5, 1 << 28}[r.IntN(3)]
	row, one := fenced(n, T(-1<<29), func() T { return T(r.IntN(values)) })
	v, two := fenced(n, T(1<<29), func() T { return T(-r.IntN(values)) })
	return row, v, func(t *testing.T) { t.Helper(); one(t); two(t) }
}

func eachLength(t *testing.T, f func(t *testing.T, r *rand.Rand, n int)) {
	eachTier(t, func(t *testing.T) {
		for n := range 150 {
			for k := range 4 {
				f(t, seeded(uint64(4*n+k)), n)
			}
		}
		f(t, seeded(1000), 1000)
	})
}

func TestMinTwo(t *testing.T) {
	eachLength(t, func(t *testing.T, r *rand.Rand, n int) {
		if n == 0 {
			return
		}
		row, v, check := scanCase[int32](r, n)
		first, second, low, high := MinTwo(row, v)
		check(t)
		reduced := make([]int32, n)
		for j := range reduced {
			reduced[j] = row[j] - v[j]
		}
		wantFirst := slices.Index(reduced, slices.Min(reduced))
		wantLow := reduced[wantFirst]
		reduced[wantFirst] = math.MaxInt32
		wantHigh := slices.Min(reduced)
		wantSecond := -1
		if wantHigh == wantLow {
			wantSecond = slices.Index(reduced, wantHigh)
		}
		if first != wantFirst || second != wantSecond || low != wantLow || high != wantHigh {
			t.Fatalf("n=%d: %d, %d, %d, %d, want %d, %d, %d, %d", n, first, second, low, high, wantFirst, wantSecond, wantLow, wantHigh)
		}
	})
}

func TestRelax(t *testing.T) {
	eachLength(t, func(t *testing.T, r *rand.Rand, n int) {
		if n == 0 {
			return
		}
		row, v, check := scanCase[int32](r, n)
		dist, checkDist := fenced(n, int32(0), func() int32 {
			return []int32{math.MinInt32, math.MaxInt32, int32(r.IntN(1 << 28)), int32(r.IntN(8))}[r.IntN(4)]
		})
		if r.IntN(10) == 0 {
			for j := range dist {
				dist[j] = math.MinInt32
			}
		}
		pred, checkPred := fenced(n, int32(-7), func() int32 { return -1 })
		offset := int32(r.IntN(3))
		wantDist, wantPred := slices.Clone(dist), slices.Clone(pred)
		wantAt, wantLeast := relaxGeneric(wantDist, wantPred, row, v, offset, 5)
		at, least := Relax(dist, pred, row, v, offset, 5)
		check(t)
		checkDist(t)
		checkPred(t)
		if at != wantAt && least != math.MinInt32 || least != wantLeast || !slices.Equal(dist, wantDist) || !slices.Equal(pred, wantPred) {
			t.Fatalf("n=%d: %d at %d, want %d at %d", n, least, at, wantLeast, wantAt)
		}
		nearest := -1
		for j, d := range dist {
			if d != math.MinInt32 && (nearest < 0 || d < dist[nearest]) {
				nearest = j
			}
		}
		if nearest >= 0 && at != nearest {
			t.Fatalf("n=%d: nearest is %d, got %d", n, nearest, at)
		}
	})
}

func testScans[T int32 | float64](t *testing.T, r *rand.Rand, n, classes int) {
	row, v, check := scanCase[T](r, n)
	if n >= classes {
		out, want := make([]T, classes), make([]T, classes)
		ClassMinima(out, row, v)
		classMinimaGeneric(want, row, v)
		if !slices.Equal(out, want) {
			t.Fatalf("n=%d: classes %v, want %v", n, out, want)
		}
	}
	for _, threshold := range []T{0, 1, 2, 1 << 28} {
		for _, room := range []int{0, 3, n, n + 9} {
			cols, checkCols := fenced(room, int32(-7), func() int32 { return 0 })
			got := Below(cols, row, v, threshold)
			want := make([]int32, room)
			if count := belowGeneric(want, row, v, threshold); got != count {
				t.Fatalf("n=%d, room %d: %d below, want %d", n, room, got, count)
			}
			if !slices.Equal(cols[:min(got, room)], want[:min(got, room)]) {
				t.Fatalf("n=%d: columns %v, want %v", n, cols, want)
			}
			checkCols(t)
		}
	}
	want := slices.Clone(v)
	lowerGeneric(want, row)
	Lower(v, row)
	if !slices.Equal(v, want) {
		t.Fatalf("n=%d: lowered to %v, want %v", n, v, want)
	}
	check(t)
}

func TestScans(t *testing.T) {
	eachLength(t, func(t *testing.T, r *rand.Rand, n int) {
		testScans[int32](t, r, n, Classes)
		testScans[float64](t, r, n, Classes/2)
	})
}

// The same bits on every tier, and close to a plain sum.
func TestSqDist64(t *testing.T) {
	eachLength(t, func(t *testing.T, r *rand.Rand, n int) {
		a, b := normal(n, r), normal(n, r)
		got := SqDist64(a.s, b.s)
		var plain float64
		for i := range n {
			plain += (float64(a.s[i]) - float64(b.s[i])) * (float64(a.s[i]) - float64(b.s[i]))
		}
		undo := useTier(genericTier)
		want := SqDist64(a.s, b.s)
		undo()
		if got != want || !(math.Abs(got-plain) <= 1e-14*plain) {
			t.Fatalf("n=%d: %v, generic %v, plain %v", n, got, want, plain)
		}
	})
}

// Rounded once: against arithmetic of any precision.
func TestFMA32(t *testing.T) {
	r := seeded(1)
	for k := range 200000 {
		a, b := float32(r.NormFloat64()), float32(r.NormFloat64())
		c := float32(r.NormFloat64())
		switch k % 4 {
		case 0: // near a tie: c so large that the product is half a step of it
			c = float32(math.Ldexp(1+r.Float64(), 20+r.IntN(8)))
		case 1: // cancellation
			c = -a * b
		}
		var x, y big.Float
		x.SetPrec(300).SetFloat64(float64(a))
		y.SetPrec(300).SetFloat64(float64(b))
		x.Mul(&x, &y)
		x.Add(&x, y.SetFloat64(float64(c)))
		want, _ := x.Float32()
		if got := fma32(a, b, c); got != want {
			t.Fatalf("%v * %v + %v = %v, want %v", a, b, c, got, want)
		}
	}
}

// Costs and column minima by the definition, the same on every tier and for any number
// of workers.
func TestFixedCosts(t *testing.T) {
	for _, size := range [][3]int{{1, 1, 1}, {7, 5, 3}, {8, 32, 8}, {33, 31, 17}, {40, 65, 64}, {100, 70, 5}, {65, 257, 16}, {190, 1030, 22}} { // the last is work for several
		n, m, d := size[0], size[1], size[2]
		r := seeded(uint64(n))
		z, c := normal(n*d, r), normal(m*d, r)
		f := FixedCosts{N: n, M: m, D: d, Z: z.s, C: c.s, Scale: 1 << 16}
		for range n {
			f.ZZ = append(f.ZZ, int32(r.IntN(1<<20)))
		}
		for range m {
			f.CC = append(f.CC, int32(r.IntN(1<<20)))
		}
		want, low := fixedCostsOracle(&f)
		eachTier(t, func(t *testing.T) {
			for _, workers := range []int{1, 3} {
				p := NewPool(workers)
				defer p.Close()
				var check, checkLow func(t *testing.T)
				f.Dst, check = fenced(n*m, int32(-7), func() int32 { return -1 })
				f.Low, checkLow = fenced(m, int32(-7), func() int32 { return -1 })
				rows := make([]bool, n)
				f.Done = func(lo, hi int) {
					for i := lo; i < hi; i++ {
						rows[i] = slices.Equal(f.Dst[i*m:(i+1)*m], want[i*m:(i+1)*m])
					}
				}
				p.FixedCosts(&f)
				check(t)
				checkLow(t)
				if slices.Contains(rows, false) || !slices.Equal(f.Low, low) {
					t.Errorf("%v with %d workers: costs differ, or were not ready when Done was called", size, workers)
				}
			}
		})
	}
}

func fixedCostsOracle(f *FixedCosts) (want, low []int32) {
	low = slices.Repeat([]int32{math.MaxInt32}, f.M)
	for i := range f.N {
		for j := range f.M {
			var sum float32
			for k := range f.D {
				sum = fma32(f.Z[i*f.D+k], f.C[j*f.D+k], sum)
			}
			cost := max(0, f.ZZ[i]+f.CC[j]-int32(f.Scale*sum))
			want = append(want, cost)
			low[j] = min(low[j], cost)
		}
	}
	return want, low
}

func FuzzScans(f *testing.F) {
	f.Add(uint64(1), uint16(100))
	f.Fuzz(func(t *testing.T, seed uint64, n uint16) {
		for _, k := range tiers {
			undo := useTier(k)
			testScans[int32](t, seeded(seed), int(n%2000), Classes)
			testScans[float64](t, seeded(seed), int(n%2000), Classes/2)
			undo()
		}
	})
}

func BenchmarkScans(b *testing.B) {
	for _, n := range []int{256, 2048} {
		r := seeded(1)
		row := make([]int32, n)
		for j := range row {
			row[j] = int32(r.IntN(1 << 28))
		}
		v, dist, pred := make([]int32, n), make([]int32, n), make([]int32, n)
		for j := range row {
			dist[j], pred[j] = int32(r.IntN(1<<28)), 1
		}
		floats := normal(65, r).s
		var out [Classes]int32
		var cols [32]int32
		for name, f := range map[string]func(){
			"MinTwo":      func() { MinTwo(row, v) },
			"Relax":       func() { Relax(dist, pred, row, v, 0, 1) },
			"ClassMinima": func() { ClassMinima(out[:], row, v) },
			"SqDist64":    func() { SqDist64(floats[:64], floats[1:65]) },
			"Below":       func() { Below(cols[:], row, v, 1<<28/int32(n)*16) },
		} {
			b.Run(fmt.Sprintf("%s/n=%d", name, n), func(b *testing.B) {
				for b.Loop() {
					f()
				}
				b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds()/1e9, "G/s")
			})
		}
	}
}

func BenchmarkFixedCosts(b *testing.B) {
	for _, n := range []int{256, 2048} {
		const d = 64
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			p := NewPool(1)
			defer p.Close()
			r := seeded(1)
			f := FixedCosts{N: n, M: n, D: d, Z: normal(n*d, r).s, C: normal(n*d, r).s, Scale: 1 << 16,
				ZZ: make([]int32, n), CC: make([]int32, n), Dst: make([]int32, n*n), Low: make([]int32, n)}
			for b.Loop() {
				p.FixedCosts(&f)
			}
			b.ReportMetric(2*d*float64(n)*float64(n)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
	}
}
