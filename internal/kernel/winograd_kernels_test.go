package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// The transforms are what the matrices say: the convolution of a tile with a
// filter by its definition.
func TestToomCook(t *testing.T) {
	r := seeded(41)
	for _, v := range winogradVariants {
		if v.stride > 1 {
			continue
		}
		for _, f := range []struct {
			m, r           int
			filter, output [][]float32
		}{
			{v.m, v.r, v.transform.filter, v.transform.output},
			{v.r, v.m, v.transform.gradFilter, v.transform.gradOutput},
		} {
			d, g := normal(v.n, r).s, normal(f.r, r).s
			td, tg := times(v.transform.input, d), times(f.filter, g)
			for i := range td {
				td[i] *= tg[i]
			}
			for i, y := range times(f.output, td) {
				var want float64
				for k, w := range g {
					want += float64(w) * float64(d[i+k])
				}
				near(t, fmt.Sprintf("F(%d,%d)", f.m, f.r), []float32{y}, []float64{want}, nil, 1e-5)
			}
		}
	}
}

// Those with a stride: its output, and its weight gradient by transposition.
func TestToomCookStrided(t *testing.T) {
	r := seeded(45)
	for _, v := range winogradVariants {
		if v.stride == 1 {
			continue
		}
		d, g, dy := normal(v.n, r).s, normal(v.r, r).s, normal(v.m, r).s
		td, tg, ty := times(v.transform.input, d), times(v.transform.filter, g), times(v.transform.gradFilter, dy)
		for i, x := range td {
			tg[i] *= x
			ty[i] *= x
		}
		y, dg := make([]float64, v.m), make([]float64, v.r)
		for i := range v.m {
			for k := range v.r {
				y[i] += float64(g[k]) * float64(d[v.stride*i+k])
				dg[k] += float64(dy[i]) * float64(d[v.stride*i+k])
			}
		}
		near(t, v.name, times(v.transform.output, tg), y, nil, 1e-5)
		near(t, v.name+" gradient", times(v.transform.gradOutput, ty), dg, nil, 1e-5)
	}
}

func times(m [][]float32, v []float32) []float32 {
	out := make([]float32, len(m))
	for i, row := range m {
		for j, c := range row {
			out[i] += c * v[j]
		}
	}
	return out
}

// Each transform of each tier against its matrix, with space between the
// elements, the rows and the squares, all of which must stay as it is.
func TestWinogradTransforms(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		r := seeded(42)
		for i, v := range winogradVariants {
			f, m := &active.winograd.transforms[i], &v.transform
			checkTransform(t, v.name+" input", f.input, m.input, r)
			checkTransform(t, v.name+" filter", f.filter, m.filter, r)
			checkTransform(t, v.name+" output", f.output, m.output, r)
			checkTransform(t, v.name+" filter of the gradient", f.gradFilter, m.gradFilter, r)
			checkTransform(t, v.name+" output of the gradient", f.gradOutput, m.gradOutput, r)
		}
	})
}

func checkTransform(t *testing.T, what string, f transformFunc, m [][]float32, r *rand.Rand) {
	t.Helper()
	lanes := active.winograd.lanes
	for n := 1; n <= 5; n++ {
		lay := func(cells, gap int) (row, col, step, size int) {
			col = lanes + gap
			row = cells*col + gap
			step = cells*row + gap
			return row, col, step, (n-1)*step + (cells-1)*row + (cells-1)*col + lanes
		}
		srcRow, srcCol, srcStep, srcSize := lay(len(m[0]), n-1)
		dstRow, dstCol, dstStep, dstSize := lay(len(m), 2*n-2)
		src, dst := normal(srcSize, r), normal(dstSize, r)
		want := dst.clone()
		f(dst.s, dstRow, dstCol, dstStep, src.s, srcRow, srcCol, srcStep, n)
		genericTransform(lanes, m)(want.s, dstRow, dstCol, dstStep, src.s, srcRow, srcCol, srcStep, n)
		near(t, fmt.Sprintf("%s, %d squares", what, n), dst.s, doubles(want.s), nil, 2e-5)
		intact(t, what, src, dst)
	}
}

func doubles(s []float32) []float64 {
	d := make([]float64, len(s))
	for i, v := range s {
		d[i] = float64(v)
	}
	return d
}

func TestWinogradProducts(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		k := active.winograd
		r := seeded(43)
		nr := 2 * k.lanes
		for tiles := 1; tiles <= 4; tiles++ {
			for groups := 1; groups <= 4; groups++ {
				rows, aGroup := tiles*k.mr, tiles*k.mr*k.lanes+tiles-1
				a, b, c := normal((groups-1)*aGroup+rows*k.lanes, r), normal(groups*k.lanes*nr, r), normal(rows*nr, r)
				want := c.clone()
				acc := (tiles+groups)%2 == 0
				k.row(c.s, a.s, aGroup, b.s, tiles, groups, acc)
				winoRowGeneric(k.lanes, want.s, a.s, aGroup, b.s, rows, groups, acc)
				near(t, fmt.Sprintf("%d tiles, %d groups", tiles, groups), c.s, doubles(want.s), nil, 1e-5)
				intact(t, "rows", a, b, c)
			}
		}
		for depth := range 71 {
			groups, gap := 1+depth%4, depth%3
			aGroup, bGroup := depth*k.lanes+gap, depth*k.lanes+2*gap
			a, b := normal((groups-1)*aGroup+depth*k.lanes, r), normal(bGroup+depth*k.lanes, r)
			c := normal(groups*k.lanes*nr, r)
			want := c.clone()
			acc := depth%2 == 0
			k.col(c.s, a.s, aGroup, b.s, bGroup, groups, depth, acc)
			winoColGeneric(k.lanes, want.s, a.s, aGroup, b.s, bGroup, groups, depth, acc)
			near(t, fmt.Sprintf("depth %d, %d groups", depth, groups), c.s, doubles(want.s), nil, 1e-5)
			intact(t, "columns", a, b, c)
		}
	})
}

func TestWinogradCopy(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		k := active.winograd
		r := seeded(44)
		for vectors := 1; vectors <= 5; vectors++ {
			for n := 1; n <= 4; n++ {
				c := vectors * k.lanes
				dst, src := normal((n-1)*(c+n)+c, r), normal((n-1)*(c+3)+c, r)
				want := dst.clone()
				k.copy(dst.s, c+n, src.s, c+3, vectors, n)
				winoCopyGeneric(k.lanes, want.s, c+n, src.s, c+3, vectors, n)
				near(t, fmt.Sprintf("%d x %d vectors", n, vectors), dst.s, doubles(want.s), nil, 0)
				intact(t, "copy", src, dst)
			}
		}
	})
}
