package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	. "nat/internal/kernel/_gen/asm"
)

// tileRows is the height of a tile; its width is two vectors.
func tileRows(w Width) int { return w.Bytes / 8 }

// fixedTile keeps a tile of inner products in registers, each summed in the order
// of the coordinates, and turns it to costs on the way out.
func fixedTile(w Width) {
	Begin(w, "fixedTile", "(dst []int32, stride int, a, b []float32, zz, cc, low []int32, d, tiles int, scale float32)", "is fixedTileGeneric.")
	rows := tileRows(w)
	a, a3, step, step3 := Base("a"), GP64(), Integer("d"), GP64()
	SHLQ(U8(2), step)
	LEAQ(Mem{Base: step, Index: step, Scale: 2}, step3)
	dst, zz, stride, tiles := Base("dst"), Base("zz"), Integer("stride"), Integer("tiles")
	SHLQ(U8(2), stride)
	Label("tile")
	LEAQ(Mem{Base: a, Index: step3, Scale: 1}, a3)
	at := []Mem{{Base: a}, {Base: a, Index: step, Scale: 1}, {Base: a, Index: step, Scale: 2}, {Base: a3},
		{Base: a, Index: step, Scale: 4}, {Base: a3, Index: step, Scale: 2}, {Base: a3, Index: step3, Scale: 1}, {Base: a3, Index: step, Scale: 4}}
	acc := w.Zeros(2 * rows)
	b, k := Base("b"), Integer("d")
	Label("product")
	b0, b1 := w.Load(Mem{Base: b}), w.Load(Mem{Base: b, Disp: w.Bytes})
	x := w.Vec()
	for i := range rows {
		VBROADCASTSS(at[i], x)
		VFMADD231PS(x, b0, acc[2*i])
		VFMADD231PS(x, b1, acc[2*i+1])
	}
	ADDQ(U8(4), a)
	ADDQ(U8(4), a3)
	ADDQ(U32(2*w.Bytes), b)
	DECQ(k)
	JNZ(LabelRef("product"))
	tileCosts(w, acc, dst, zz, stride)
	SUBQ(step, a)
	for range rows / 4 {
		LEAQ(Mem{Base: a, Index: step, Scale: 4}, a)
	}
	DECQ(tiles)
	JNZ(LabelRef("tile"))
	Done()
}

// tileCosts stores zz + cc - scale acc, at least 0, rounded towards zero, and
// advances dst and zz to the next tile.
func tileCosts(w Width, acc []reg.VecVirtual, dst, zz, stride reg.GPVirtual) {
	scale, cc, low := w.Spread("scale"), Base("cc"), Base("low")
	for h := range 2 {
		p := GP64()
		MOVQ(dst, p)
		column, least, zero := w.Load(Mem{Base: cc, Disp: h * w.Bytes}), w.Load(Mem{Base: low, Disp: h * w.Bytes}), w.Zeros(1)[0]
		for i := range len(acc) / 2 {
			x, y := acc[2*i+h], w.Vec()
			VMULPS(scale, x, x)
			VCVTTPS2DQ(x, x)
			VPBROADCASTD(Mem{Base: zz, Disp: 4 * i}, y)
			VPADDD(column, y, y)
			VPSUBD(x, y, y)
			VPMAXSD(zero, y, y)
			VPMINSD(y, least, least)
			VMOVUPS(y, Mem{Base: p, Disp: h * w.Bytes})
			ADDQ(stride, p)
		}
		VMOVUPS(least, Mem{Base: low, Disp: h * w.Bytes})
		if h == 1 {
			MOVQ(p, dst)
		}
	}
	ADDQ(U8(4*len(acc)/2), zz)
}
