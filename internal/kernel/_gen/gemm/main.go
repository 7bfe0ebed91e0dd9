// Command gemm writes the micro-kernels of matrix products and convolutions:
//
//	go run -C internal/kernel/_gen ./gemm
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	. "nat/internal/kernel/_gen/asm"
)

func main() {
	Write("gemm", func() {
		for _, w := range Widths {
			mr := 6 // accumulators 6x2 of 16 registers, or 8x2 of 32
			if w == AVX512 {
				mr = 8
			}
			rowKernel(w, "row", mr, 2)
			rowKernel(w, "rowHalf", mr, 1)
			colKernel(w, "col", mr, 2)
			colKernel(w, "colHalf", mr, 1)
			gatherRows(w)
			splitRows(w, mr)
			finishKernel(w)
		}
		transpose8()
	})
}

const (
	unroll = 4 // steps of k in one turn of the inner loops
	panel  = 2 // vectors in a row of packed B
)

// tileDoc tells the size of the tiles.
func tileDoc(w Width, mr, nv int) string {
	return fmt.Sprintf("in tiles of %d x %d.", mr, nv*w.Lanes())
}

// lookAhead asks for the next line of what the caller will need next. It comes
// once in a turn of the inner loop, so that memory is read while the
// arithmetic goes on.
func lookAhead(ahead, step reg.GPVirtual) {
	PREFETCHT1(Mem{Base: ahead})
	ADDQ(step, ahead)
}

// rowKernel multiplies mr rows of A, each contiguous in k, by a packed panel
// of B, nv vectors wide. A pointer per row is what lets the rows come from
// anywhere: from a matrix, or from the pixels of a convolution.
func rowKernel(w Width, name string, mr, nv int) {
	Begin(w, name, "(c []float32, cOff []int, a []float32, aOff []int, b []float32, tiles, runs, runLen, runStride, bGap int, acc bool, ahead []float32, step int)",
		"is "+name+"Generic "+tileDoc(w, mr, nv))
	row := GP64() // index of the tile's first row
	XORQ(row, row)
	ahead, pace := Base("ahead"), Integer("step")

	Label("tile")
	offs := Base("aOff")
	a, n := Base("a"), Integer("runLen")
	LEAQ(Mem{Base: a, Index: n, Scale: 4}, a)
	ptr := make([]reg.GPVirtual, mr) // one past the run of each row
	for i := range ptr {
		ptr[i] = GP64()
		MOVQ(Mem{Base: offs, Index: row, Scale: 8, Disp: 8 * i}, ptr[i])
		LEAQ(Mem{Base: a, Index: ptr[i], Scale: 4}, ptr[i])
	}
	c, to := Base("c"), Base("cOff")
	LEAQ(Mem{Base: to, Index: row, Scale: 8}, to)
	prefetchTile(w, mr, nv, func(i int) reg.GPVirtual { return offset(c, to, i) })
	sum := make([][]reg.VecVirtual, mr)
	for i := range sum {
		sum[i] = w.Zeros(nv)
	}
	b := Base("b")
	runs := Integer("runs")

	Label("run")
	k := Integer("runLen")
	NEGQ(k)
	step := func(u int) {
		bv := w.Vecs(nv)
		for j, v := range bv {
			VMOVUPS(Mem{Base: b, Disp: (u*panel + j) * w.Bytes}, v)
		}
		for i := range sum {
			v := w.Vec()
			VBROADCASTSS(Mem{Base: ptr[i], Index: k, Scale: 4, Disp: 4 * u}, v)
			for j := range bv {
				VFMADD231PS(bv[j], v, sum[i][j])
			}
		}
	}
	CMPQ(k, I8(-unroll))
	JG(LabelRef("tail"))
	Label("steps")
	for u := range unroll {
		step(u)
	}
	lookAhead(ahead, pace)
	ADDQ(U32(unroll*panel*w.Bytes), b)
	ADDQ(U8(unroll), k)
	CMPQ(k, I8(-unroll))
	JLE(LabelRef("steps"))
	Label("tail")
	TESTQ(k, k)
	JZ(LabelRef("next"))
	Label("step")
	step(0)
	ADDQ(U32(panel*w.Bytes), b)
	INCQ(k)
	JNZ(LabelRef("step"))
	Label("next")
	DECQ(runs)
	JZ(LabelRef("store"))
	stride := Integer("runStride")
	for _, p := range ptr {
		LEAQ(Mem{Base: p, Index: stride, Scale: 4}, p)
	}
	gap := Integer("bGap")
	LEAQ(Mem{Base: b, Index: gap, Scale: 4}, b)
	JMP(LabelRef("run"))

	Label("store")
	c, to = Base("c"), Base("cOff")
	LEAQ(Mem{Base: to, Index: row, Scale: 8}, to)
	storeTile(w, sum, func(i int) reg.GPVirtual { return offset(c, to, i) })
	ADDQ(U8(mr), row)
	DECQ(Arg("tiles"))
	JNZ(LabelRef("tile"))
	Done()
}

// offset returns the address of row i of a tile, from the base of the matrix
// and the positions of its rows.
func offset(base, positions reg.GPVirtual, i int) reg.GPVirtual {
	p := GP64()
	MOVQ(Mem{Base: positions, Disp: 8 * i}, p)
	LEAQ(Mem{Base: base, Index: p, Scale: 4}, p)
	return p
}

// prefetchTile asks for the memory of a tile, which its first line and its
// last cover as a tile is at most two lines wide.
func prefetchTile(w Width, mr, nv int, address func(i int) reg.GPVirtual) {
	for i := range mr {
		p := address(i)
		PREFETCHT0(Mem{Base: p})
		PREFETCHT0(Mem{Base: p, Disp: nv*w.Bytes - 1})
	}
}

// storeTile writes a tile, or adds it to what is there if acc is set.
func storeTile(w Width, sum [][]reg.VecVirtual, address func(i int) reg.GPVirtual) {
	CMPB(Arg("acc"), U8(0))
	JEQ(LabelRef("write"))
	for i := range sum {
		p := address(i)
		for j, v := range sum[i] {
			VADDPS(Mem{Base: p, Disp: j * w.Bytes}, v, v)
			VMOVUPS(v, Mem{Base: p, Disp: j * w.Bytes})
		}
	}
	JMP(LabelRef("stored"))
	Label("write")
	for i := range sum {
		p := address(i)
		for j, v := range sum[i] {
			VMOVUPS(v, Mem{Base: p, Disp: j * w.Bytes})
		}
	}
	Label("stored")
}

// colKernel multiplies a tile of mr rows of A by a packed panel of B, where
// element (i, l) of A is anywhere at the sum of an offset of i, which is in a
// register, and one of l. Matrices stored with k as the slow axis are like
// that, and the taps of a filter under which an image passes. The rows of the
// panel have offsets too, as a tap at the border does not meet every pixel.
func colKernel(w Width, name string, mr, nv int) {
	Begin(w, name, "(c []float32, ldc int, a []float32, iOff, pairs []int, b []float32, tiles, k int, acc bool, ahead []float32, step int)",
		"is "+name+"Generic "+tileDoc(w, mr, nv))
	ahead, pace := Base("ahead"), Integer("step")

	Label("tile")
	ldc := Integer("ldc")
	line := Base("c")
	prefetchTile(w, mr, nv, func(i int) reg.GPVirtual {
		if i > 0 {
			LEAQ(Mem{Base: line, Index: ldc, Scale: 4}, line)
		}
		return line
	})
	a, offs := Base("a"), Base("iOff")
	ptr := make([]reg.GPVirtual, mr)
	for i := range ptr {
		ptr[i] = offset(a, offs, i)
	}
	sum := make([][]reg.VecVirtual, mr)
	for i := range sum {
		sum[i] = w.Zeros(nv)
	}
	b, off, k := Base("b"), Base("pairs"), Integer("k")
	step := func(u int) {
		p, row := GP64(), GP64()
		MOVQ(Mem{Base: off, Disp: 16 * u}, p)
		MOVQ(Mem{Base: off, Disp: 16*u + 8}, row)
		bv := w.Vecs(nv)
		for j, v := range bv {
			VMOVUPS(Mem{Base: b, Index: row, Scale: 4, Disp: j * w.Bytes}, v)
		}
		for i := range sum {
			v := w.Vec()
			VBROADCASTSS(Mem{Base: ptr[i], Index: p, Scale: 4}, v)
			for j := range bv {
				VFMADD231PS(bv[j], v, sum[i][j])
			}
		}
	}
	SUBQ(U8(unroll), k)
	JL(LabelRef("tail"))
	Label("steps")
	for u := range unroll {
		step(u)
	}
	lookAhead(ahead, pace)
	ADDQ(U8(16*unroll), off)
	SUBQ(U8(unroll), k)
	JGE(LabelRef("steps"))
	Label("tail")
	ADDQ(U8(unroll), k)
	JZ(LabelRef("store"))
	Label("step")
	step(0)
	ADDQ(U8(16), off)
	DECQ(k)
	JNZ(LabelRef("step"))

	Label("store")
	c, rowBytes := Base("c"), Integer("ldc")
	SHLQ(U8(2), rowBytes)
	storeTile(w, sum, func(int) reg.GPVirtual {
		p := GP64()
		MOVQ(c, p)
		ADDQ(rowBytes, c)
		return p
	})
	MOVQ(c, pointer("c"))
	ADDQ(U8(8*mr), pointer("iOff"))
	DECQ(Arg("tiles"))
	JNZ(LabelRef("tile"))
	Done()
}

// pointer returns the memory of the address of a slice parameter.
func pointer(param string) Mem {
	m, err := Param(param).Base().Resolve()
	if err != nil {
		panic(err)
	}
	return m.Addr
}

// transpose8 transposes strips of 8 rows in blocks of 8 x 8: eight loads,
// three rounds of eight shuffles, eight stores.
func transpose8() {
	w := AVX2
	Begin(w, "transpose8", "(dst []float32, dstStride int, src []float32, srcStride, blocks int)",
		"sets dst[j*dstStride+i] = src[i*srcStride+j] for i < 8 and j < 8*blocks.")
	dst, src := Base("dst"), Base("src")
	ds, ss, n := Integer("dstStride"), Integer("srcStride"), Integer("blocks")
	SHLQ(U8(2), ds)
	SHLQ(U8(2), ss)
	ss3, ds3 := GP64(), GP64()
	LEAQ(Mem{Base: ss, Index: ss, Scale: 2}, ss3)
	LEAQ(Mem{Base: ds, Index: ds, Scale: 2}, ds3)
	rows := func(p, stride, stride3 reg.GPVirtual) []Mem {
		q := GP64()
		LEAQ(Mem{Base: p, Index: stride, Scale: 4}, q)
		var m []Mem
		for _, b := range []reg.GPVirtual{p, q} {
			m = append(m, Mem{Base: b}, Mem{Base: b, Index: stride, Scale: 1}, Mem{Base: b, Index: stride, Scale: 2}, Mem{Base: b, Index: stride3, Scale: 1})
		}
		return m
	}
	Label("block")
	var r []reg.VecVirtual
	for _, m := range rows(src, ss, ss3) {
		r = append(r, w.Load(m))
	}
	t := w.Vecs(8)
	for i := 0; i < 8; i += 2 {
		VUNPCKLPS(r[i+1], r[i], t[i])
		VUNPCKHPS(r[i+1], r[i], t[i+1])
	}
	u := w.Vecs(8)
	for i := 0; i < 8; i += 4 {
		VSHUFPS(U8(0x44), t[i+2], t[i], u[i])
		VSHUFPS(U8(0xee), t[i+2], t[i], u[i+1])
		VSHUFPS(U8(0x44), t[i+3], t[i+1], u[i+2])
		VSHUFPS(U8(0xee), t[i+3], t[i+1], u[i+3])
	}
	out := w.Vecs(8)
	for i := range 4 {
		VPERM2F128(U8(0x20), u[i+4], u[i], out[i])
		VPERM2F128(U8(0x31), u[i+4], u[i], out[i+4])
	}
	for i, m := range rows(dst, ds, ds3) {
		VMOVUPS(out[i], m)
	}
	ADDQ(U8(32), src)
	LEAQ(Mem{Base: dst, Index: ds, Scale: 8}, dst)
	DECQ(n)
	JNZ(LabelRef("block"))
	Done()
}
