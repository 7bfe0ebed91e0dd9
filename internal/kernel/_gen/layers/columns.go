package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	. "nat/internal/kernel/_gen/asm"
)

// columnKernels emits the passes over a matrix of rows x c that treat each
// column by itself. They do the first len(mean) (or len(sum)) columns, a
// multiple of the number of lanes.
func columnKernels(w Width) {
	columnSums(w, "columnSums", "(sum []float64, x []float32, rows, c int)", func(f *sums) {
		f.add("sum", f.at("x"))
	})
	columnSums(w, "columnMoments", "(sum, sq []float64, x []float32, rows, c int)", func(f *sums) {
		f.add("sum", f.at("x"))
		f.addProduct("sq", f.at("x"), f.at("x"))
	})
	grad := func(positive bool) func(f *sums) {
		return func(f *sums) {
			g, d := f.at("dy"), w.Vec()
			VSUBPS(f.column("mean"), f.at("x"), d)
			if positive {
				keepPositive(w, g, f.mem("y"), f.zero)
			}
			f.add("sum", g)
			f.addProduct("dot", g, d)
		}
	}
	columnSums(w, "columnGrads", "(sum, dot []float64, dy, x, mean []float32, rows, c int)", grad(false))
	columnSums(w, "columnGradsPositive", "(sum, dot []float64, dy, x, y, mean []float32, rows, c int)", grad(true))
	normColumns(w)
	normColumnsGrad(w, "normColumnsGrad", false)
	normColumnsGrad(w, "normColumnsGradPositive", true)
}

// sums is the state of a loop that adds up functions of one vector of columns
// over the rows, in float64.
type sums struct {
	w      Width
	zero   reg.VecVirtual
	col    reg.GPVirtual // index of the first column
	row    reg.GPVirtual // col + row*c
	loaded map[string]reg.VecVirtual
	bases  map[string]reg.GPVirtual
	acc    map[string][]reg.VecVirtual // low and high half
}

// mem is the current vector of a matrix.
func (f *sums) mem(param string) Mem {
	return Mem{Base: f.bases[param], Index: f.row, Scale: 4}
}

// at is mem in a register, loaded once.
func (f *sums) at(param string) reg.VecVirtual {
	if v, ok := f.loaded[param]; ok {
		return v
	}
	f.loaded[param] = f.w.Load(f.mem(param))
	return f.loaded[param]
}

// column is the current vector of a per-column parameter.
func (f *sums) column(param string) Mem {
	return Mem{Base: f.bases[param], Index: f.col, Scale: 4}
}

// doubles widens v to two vectors of float64.
func (f *sums) doubles(v reg.VecVirtual) [2]reg.VecVirtual {
	lo, hi, h := f.w.Vec(), f.w.Vec(), f.w.Half()
	if f.w.Bytes == 64 {
		VEXTRACTF64X4(U8(1), v, h)
		VCVTPS2PD(v.AsY(), lo)
	} else {
		VEXTRACTF128(U8(1), v, h)
		VCVTPS2PD(v.AsX(), lo)
	}
	VCVTPS2PD(h, hi)
	return [2]reg.VecVirtual{lo, hi}
}

func (f *sums) add(sum string, v reg.VecVirtual) {
	for i, d := range f.doubles(v) {
		VADDPD(d, f.acc[sum][i], f.acc[sum][i])
	}
}

// addProduct adds the product of two float32, which is exact in float64.
func (f *sums) addProduct(sum string, a, b reg.VecVirtual) {
	da := f.doubles(a)
	db := da
	if a != b {
		db = f.doubles(b)
	}
	for i := range da {
		VFMADD231PD(da[i], db[i], f.acc[sum][i])
	}
}

// columnSums emits, for each vector of columns, a loop over the rows; what
// body accumulates under the name of a []float64 parameter is stored there.
func columnSums(w Width, name, signature string, body func(f *sums)) {
	Begin(w, name, signature, "is "+name+"Generic for whole vectors of columns.")
	f := &sums{w: w, zero: w.Zeros(1)[0], col: GP64(), row: GP64(), loaded: map[string]reg.VecVirtual{},
		bases: map[string]reg.GPVirtual{}, acc: map[string][]reg.VecVirtual{}}
	for _, p := range []struct {
		name  string
		funcs []string
	}{
		{"x", []string{"columnSums", "columnMoments", "columnGrads", "columnGradsPositive"}},
		{"dy", []string{"columnGrads", "columnGradsPositive"}},
		{"mean", []string{"columnGrads", "columnGradsPositive"}},
		{"y", []string{"columnGradsPositive"}},
	} {
		for _, n := range p.funcs {
			if n == name {
				f.bases[p.name] = Base(p.name)
			}
		}
	}
	outputs := map[string][]string{"columnSums": {"sum"}, "columnMoments": {"sum", "sq"}, "columnGrads": {"sum", "dot"}, "columnGradsPositive": {"sum", "dot"}}[name]
	c := Integer("c")
	XORQ(f.col, f.col)
	Label("column")
	for _, o := range outputs {
		f.acc[o] = w.Zeros(2)
	}
	MOVQ(f.col, f.row)
	n := Integer("rows")
	Label("row")
	body(f)
	ADDQ(c, f.row)
	DECQ(n)
	JNZ(LabelRef("row"))
	for _, o := range outputs {
		p := Base(o)
		for i, v := range f.acc[o] {
			VMOVUPD(v, Mem{Base: p, Index: f.col, Scale: 8, Disp: i * w.Bytes})
		}
	}
	ADDQ(U8(w.Lanes()), f.col)
	CMPQ(f.col, Length("sum"))
	JL(LabelRef("column"))
	Done()
}

// columns emits a loop over rows and, inside, over vectors of columns.
// matrices advance with the row, parameters do not.
func columns(w Width, params, matrices []string, body func(at map[string]Mem)) {
	j, n, rows, c := GP64(), Load(Param(params[0]).Len(), GP64()), Integer("rows"), Integer("c")
	at := map[string]Mem{}
	for _, s := range append(append([]string{}, params...), matrices...) {
		at[s] = Mem{Base: Base(s), Index: j, Scale: 4}
	}
	Label("row")
	XORQ(j, j)
	Label("column")
	body(at)
	ADDQ(U8(w.Lanes()), j)
	CMPQ(j, n)
	JL(LabelRef("column"))
	for _, s := range matrices {
		b := at[s].Base.(reg.GPVirtual)
		LEAQ(Mem{Base: b, Index: c, Scale: 4}, b)
	}
	DECQ(rows)
	JNZ(LabelRef("row"))
	Done()
}

func normColumns(w Width) {
	Begin(w, "normColumns", "(y, x, mean, scale, shift []float32, rows, c int, floor float32)", "is normColumnsGeneric for whole vectors of columns.")
	floor := w.Spread("floor")
	columns(w, []string{"mean", "scale", "shift"}, []string{"y", "x"}, func(at map[string]Mem) {
		v := w.Load(at["x"])
		VSUBPS(at["mean"], v, v)
		s := w.Load(at["scale"])
		VFMADD213PS(at["shift"], s, v)
		VMAXPS(v, floor, v) // a NaN in the first operand is the result
		VMOVUPS(v, at["y"])
	})
}

func normColumnsGrad(w Width, name string, positive bool) {
	matrices := []string{"dx", "dy", "x"}
	signature := "(dx, dy, x, mean, scale, slope, shift []float32, rows, c int)"
	if positive {
		matrices = append(matrices, "y")
		signature = "(dx, dy, x, y, mean, scale, slope, shift []float32, rows, c int)"
	}
	Begin(w, name, signature, "is "+name+"Generic for whole vectors of columns.")
	zero := w.Zeros(1)[0]
	columns(w, []string{"mean", "scale", "slope", "shift"}, matrices, func(at map[string]Mem) {
		g, v := w.Load(at["dy"]), w.Load(at["x"])
		if positive {
			keepPositive(w, g, at["y"], zero)
		}
		VSUBPS(at["mean"], v, v)
		s := w.Load(at["slope"])
		VFMADD213PS(at["shift"], s, v)
		VFMADD231PS(at["scale"], g, v)
		VMOVUPS(v, at["dx"])
	})
}
