package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	. "nat/internal/kernel/_gen/asm"
)

// The rows of a tile. Sums of so many rows are taken in float32. A pass without
// sums loads the coefficients of columns once per tile; where a row has more
// than one group of columns, it goes row by row all the same, since rows whole
// pages apart stand in each other's way.
const (
	sumRows  = 32
	passRows = 8
)

// A columnKernel is a pass over matrices of rows x c, tile by tile: some
// rows and a few vectors of columns. It does the first columns, as many as the
// first parameter of its signature that has one element per column, a
// multiple of the number of lanes.
type columnKernel struct {
	name, signature string
	count           string   // the parameter that tells the number of columns
	matrices        []string // all of the same shape
	columns         []string // one float32 per column, in registers during a tile
	outputs         []string // []float64 with one element per column, set to zero at the start
	sums            []string // accumulators, zero at the start of a tile
	spread          []string // scalar float32 parameters

	start  func(f *tile, vectors int) // before the first row of a tile; may be nil
	row    func(f *tile, i int)       // for vector i of a row
	finish func(f *tile, i int)       // for vector i after the last row; may be nil
}

// tile is the state of a columnKernel's loop over the rows of a tile.
type tile struct {
	w      Width
	at     reg.GPVirtual // index of the current row's first element in the matrices
	col    reg.GPVirtual // the tile's first column
	rows   reg.GPVirtual // the tile's number of rows
	first  reg.GPVirtual // index of the first element of the tile's first row
	c      reg.GPVirtual
	bases  map[string]reg.GPVirtual
	column map[string][]reg.VecVirtual
	sum    map[string][]reg.VecVirtual
	scalar map[string]reg.VecVirtual
	zero   reg.VecVirtual
}

// mem is vector i of the current row of a matrix.
func (f *tile) mem(matrix string, i int) Mem {
	return Mem{Base: f.bases[matrix], Index: f.at, Scale: 4, Disp: i * f.w.Bytes}
}

// load is mem in a register.
func (f *tile) load(matrix string, i int) reg.VecVirtual { return f.w.Load(f.mem(matrix, i)) }

// store writes vector i of the current row of a matrix.
func (f *tile) store(v reg.VecVirtual, matrix string, i int) { VMOVUPS(v, f.mem(matrix, i)) }

func columnKernels(w Width) {
	for _, k := range append(sumKernels(), normKernels()...) {
		k.emit(w)
	}
}

// emit writes the loops: tiles of rows, and in each tile groups of vectors of
// columns, fewer and fewer at a time.
func (k columnKernel) emit(w Width) {
	Begin(w, k.name, k.signature, "is "+k.name+"Generic for whole vectors of columns.")
	f := &tile{w: w, at: GP64(), col: GP64(), rows: GP64(), first: GP64(), c: Integer("c"), bases: map[string]reg.GPVirtual{}, scalar: map[string]reg.VecVirtual{}, zero: w.Zeros(1)[0]}
	for _, m := range k.matrices {
		f.bases[m] = Base(m)
	}
	for _, s := range k.spread {
		f.scalar[s] = w.Spread(s)
	}
	for _, o := range k.outputs {
		f.clear(o)
	}
	left, step, rows := Integer("rows"), GP64(), passRows
	if len(k.outputs) > 0 {
		rows = sumRows
	}
	XORQ(f.first, f.first)
	Label("tile")
	MOVQ(left, f.rows)
	MOVQ(U32(rows), step)
	if rows == passRows {
		one := GP64()
		MOVQ(U32(1), one)
		CMPQ(f.c, U32(w.Bytes/16*w.Lanes()))
		CMOVQGT(one, step)
	}
	CMPQ(f.rows, step)
	CMOVQGT(step, f.rows)
	XORQ(f.col, f.col)
	for vectors := w.Bytes / 16; vectors > 0; vectors /= 2 {
		k.emitGroup(f, vectors)
	}
	MOVQ(f.rows, step)
	IMULQ(f.c, step)
	ADDQ(step, f.first)
	SUBQ(f.rows, left)
	JNZ(LabelRef("tile"))
	Done()
}

// clear sets a []float64 of whole vectors to zero.
func (f *tile) clear(output string) {
	base, n, loop := Base(output), Load(Param(output).Len(), GP64()), "clear_"+output
	Label(loop)
	VMOVUPD(f.zero, Mem{Base: base})
	ADDQ(U32(f.w.Bytes), base)
	SUBQ(U32(f.w.Bytes/8), n)
	JG(LabelRef(loop))
}

// emitGroup writes the loop over groups of so many vectors of columns.
func (k columnKernel) emitGroup(f *tile, vectors int) {
	columns, row, next, end := vectors*f.w.Lanes(), fmt.Sprint("row", vectors), fmt.Sprint("group", vectors), fmt.Sprint("end", vectors)
	Label(next)
	n := GP64()
	LEAQ(Mem{Base: f.col, Disp: columns}, n)
	CMPQ(n, Length(k.count))
	JG(LabelRef(end))
	f.column, f.sum = map[string][]reg.VecVirtual{}, map[string][]reg.VecVirtual{}
	for _, p := range k.columns {
		base := Base(p)
		for i := range vectors {
			f.column[p] = append(f.column[p], f.w.Load(Mem{Base: base, Index: f.col, Scale: 4, Disp: i * f.w.Bytes}))
		}
	}
	for _, s := range k.sums {
		f.sum[s] = f.w.Zeros(vectors)
	}
	LEAQ(Mem{Base: f.first, Index: f.col, Scale: 1}, f.at)
	if k.start != nil {
		k.start(f, vectors)
	}
	MOVQ(f.rows, n)
	Label(row)
	for i := range vectors {
		k.row(f, i)
	}
	ADDQ(f.c, f.at)
	DECQ(n)
	JNZ(LabelRef(row))
	for i := 0; i < vectors && k.finish != nil; i++ {
		k.finish(f, i)
	}
	ADDQ(U32(columns), f.col)
	JMP(LabelRef(next))
	Label(end)
}

// doubles widens v to two vectors of float64, the low and the high half.
func (f *tile) doubles(v reg.VecVirtual) [2]reg.VecVirtual {
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

// addTo adds d to vector i of a []float64 with one element per column.
func (f *tile) addTo(sum string, i int, d [2]reg.VecVirtual) {
	base := Base(sum)
	for h := range d {
		m := Mem{Base: base, Index: f.col, Scale: 8, Disp: (2*i + h) * f.w.Bytes}
		VADDPD(m, d[h], d[h])
		VMOVUPD(d[h], m)
	}
}

// sumKernels are those that add up functions of the columns in float64. The
// sums of a tile are float32: of so few terms they lose less than rounding the
// result does, if the terms are small where the result is.
func sumKernels() []columnKernel {
	finish := func(f *tile, i int) {
		for _, s := range []string{"sum", "dot"} {
			if f.sum[s] != nil {
				f.addTo(s, i, f.doubles(f.sum[s][i]))
			}
		}
	}
	// add adds g to sum and g (x - mean), given the difference, to dot.
	add := func(f *tile, i int, g, d reg.VecVirtual) {
		VADDPS(g, f.sum["sum"][i], f.sum["sum"][i])
		VFMADD231PS(g, d, f.sum["dot"][i])
	}
	sumDot := []string{"sum", "dot"}
	return []columnKernel{
		moments(),
		{
			name: "columnSums", signature: "(sum []float64, x []float32, rows, c int)", count: "sum",
			matrices: []string{"x"}, outputs: []string{"sum"}, sums: []string{"sum"},
			row:    func(f *tile, i int) { VADDPS(f.mem("x", i), f.sum["sum"][i], f.sum["sum"][i]) },
			finish: finish,
		},
		{
			name: "columnGrads", signature: "(sum, dot []float64, dy, x, mean []float32, rows, c int)", count: "sum",
			matrices: []string{"dy", "x"}, columns: []string{"mean"}, outputs: sumDot, sums: sumDot,
			row: func(f *tile, i int) {
				g, d := f.load("dy", i), f.load("x", i)
				VSUBPS(f.column["mean"][i], d, d)
				add(f, i, g, d)
			},
			finish: finish,
		},
		{
			name: "columnGradsMasked", signature: "(sum, dot []float64, d, dy, x, y, mean []float32, rows, c int)", count: "sum",
			matrices: []string{"d", "dy", "x", "y"}, columns: []string{"mean"}, outputs: sumDot, sums: sumDot,
			row: func(f *tile, i int) {
				g, d := f.load("dy", i), f.load("x", i)
				keepPositive(f.w, g, f.mem("y", i), f.zero)
				f.store(g, "d", i)
				VSUBPS(f.column["mean"][i], d, d)
				add(f, i, g, d)
			},
			finish: finish,
		},
		{
			name: "columnGradsReLU", signature: "(sum, dot []float64, dy, x, mean, scale, beta []float32, rows, c int)", count: "sum",
			matrices: []string{"dy", "x"}, columns: []string{"mean", "scale", "beta"}, outputs: sumDot, sums: sumDot,
			row: func(f *tile, i int) {
				g, d := f.load("dy", i), f.load("x", i)
				VSUBPS(f.column["mean"][i], d, d)
				f.keepActive(g, d, i)
				add(f, i, g, d)
			},
			finish: finish,
		},
	}
}

// keepActive zeroes the lanes of g where d scale + beta is not positive.
func (f *tile) keepActive(g, d reg.VecVirtual, i int) {
	t := f.w.Vec()
	VMOVAPS(d, t)
	VFMADD213PS(f.column["beta"][i], f.column["scale"][i], t)
	keepPositive(f.w, g, t, f.zero)
}

// moments adds up x and its squares. A tile takes the differences from the mean
// k of four of its rows, so that a mean far from zero costs no digits: with s
// and q the sums of the n differences and of their squares, the sums of x and
// of its squares are s + n k and q + k (2 s + n k). As k is within half a
// deviation of the tile's mean, or else the tile has outliers that outweigh
// all, s + n k does not cancel.
func moments() columnKernel {
	return columnKernel{
		name: "columnMoments", signature: "(sum, sq []float64, x []float32, rows, c int)", count: "sum",
		matrices: []string{"x"}, outputs: []string{"sum", "sq"}, sums: []string{"k", "s", "q"},
		start: func(f *tile, vectors int) {
			step, at := GP64(), GP64()
			MOVQ(f.rows, step)
			SHRQ(U8(2), step)
			IMULQ(f.c, step)
			MOVQ(f.at, at)
			for range 4 {
				for i, k := range f.sum["k"] {
					VADDPS(Mem{Base: f.bases["x"], Index: at, Scale: 4, Disp: i * f.w.Bytes}, k, k)
				}
				ADDQ(step, at)
			}
			quarter := Splat(f.w, 0.25)
			for _, k := range f.sum["k"] {
				VMULPS(quarter, k, k)
			}
		},
		row: func(f *tile, i int) {
			d := f.load("x", i)
			VSUBPS(f.sum["k"][i], d, d)
			VADDPS(d, f.sum["s"][i], f.sum["s"][i])
			VFMADD231PS(d, d, f.sum["q"][i])
		},
		finish: func(f *tile, i int) {
			x, n := XMM(), f.w.Vec()
			VXORPS(x, x, x)
			VCVTSI2SDQ(f.rows, x, x)
			VBROADCASTSD(x, n)
			s, q, k := f.doubles(f.sum["s"][i]), f.doubles(f.sum["q"][i]), f.doubles(f.sum["k"][i])
			for h := range s {
				t := f.w.Vec()
				VMULPD(n, k[h], t)
				VADDPD(s[h], t, t) // s + n k
				VADDPD(t, s[h], s[h])
				VFMADD231PD(k[h], s[h], q[h])
				VMOVAPD(t, s[h])
			}
			f.addTo("sum", i, s)
			f.addTo("sq", i, q)
		},
	}
}

// normKernels are the passes of batch norm that write a matrix.
func normKernels() []columnKernel {
	affine := func(f *tile, i int) reg.VecVirtual {
		v := f.load("x", i)
		VSUBPS(f.column["mean"][i], v, v)
		VFMADD213PS(f.column["shift"][i], f.column["scale"][i], v)
		return v
	}
	// atLeast stores max(v, floor); a NaN in the first operand is the result.
	atLeast := func(f *tile, v reg.VecVirtual, i int) {
		VMAXPS(v, f.scalar["floor"], v)
		f.store(v, "y", i)
	}
	// gradient stores g scale + d slope + shift.
	gradient := func(f *tile, g, d reg.VecVirtual, i int) {
		VFMADD213PS(f.column["shift"][i], f.column["slope"][i], d)
		VFMADD231PS(f.column["scale"][i], g, d)
		f.store(d, "dx", i)
	}
	return []columnKernel{
		{
			name: "normColumns", signature: "(y, x, mean, scale, shift []float32, rows, c int, floor float32)", count: "mean",
			matrices: []string{"y", "x"}, columns: []string{"mean", "scale", "shift"}, spread: []string{"floor"},
			row: func(f *tile, i int) { atLeast(f, affine(f, i), i) },
		},
		{
			name: "normColumnsAdd", signature: "(y, x, add, mean, scale, shift []float32, rows, c int, floor float32)", count: "mean",
			matrices: []string{"y", "x", "add"}, columns: []string{"mean", "scale", "shift"}, spread: []string{"floor"},
			row: func(f *tile, i int) {
				v := affine(f, i)
				VADDPS(f.mem("add", i), v, v)
				atLeast(f, v, i)
			},
		},
		{
			name: "normColumnsGrad", signature: "(dx, dy, x, mean, scale, slope, shift []float32, rows, c int)", count: "mean",
			matrices: []string{"dx", "dy", "x"}, columns: []string{"mean", "scale", "slope", "shift"},
			row: func(f *tile, i int) {
				g, d := f.load("dy", i), f.load("x", i)
				VSUBPS(f.column["mean"][i], d, d)
				gradient(f, g, d, i)
			},
		},
		{
			name: "normColumnsGradReLU", signature: "(dx, dy, x, mean, scale, beta, slope, shift []float32, rows, c int)", count: "mean",
			matrices: []string{"dx", "dy", "x"}, columns: []string{"mean", "scale", "beta", "slope", "shift"},
			row: func(f *tile, i int) {
				g, d := f.load("dy", i), f.load("x", i)
				VSUBPS(f.column["mean"][i], d, d)
				f.keepActive(g, d, i)
				gradient(f, g, d, i)
			},
		},
	}
}
