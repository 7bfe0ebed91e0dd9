package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	. "nat/internal/kernel/_gen/asm"
)

// gatherRows copies the columns of one panel from the rows of a matrix.
func gatherRows(w Width) {
	Begin(w, "gatherRows", "(dst, src []float32, ld, rows int)", "is gatherRowsGeneric.")
	dst, src, ld, n := Base("dst"), Base("src"), Integer("ld"), Integer("rows")
	SHLQ(U8(2), ld)
	row := func(u int) {
		var v []reg.VecVirtual
		for j := range panel {
			v = append(v, w.Load(Mem{Base: src, Disp: j * w.Bytes}))
		}
		for j := range v {
			VMOVUPS(v[j], Mem{Base: dst, Disp: (u*panel + j) * w.Bytes})
		}
		ADDQ(ld, src)
	}
	SUBQ(U8(unroll), n)
	JL(LabelRef("tail"))
	Label("rows")
	for u := range unroll {
		row(u)
	}
	ADDQ(U32(unroll*panel*w.Bytes), dst)
	SUBQ(U8(unroll), n)
	JGE(LabelRef("rows"))
	Label("tail")
	ADDQ(U8(unroll), n)
	JZ(LabelRef("done"))
	Label("row")
	row(0)
	ADDQ(U32(panel*w.Bytes), dst)
	DECQ(n)
	JNZ(LabelRef("row"))
	Label("done")
	Done()
}

// splitRows cuts rows into pieces as long as a tile of the micro-kernel is
// high, 6 or 8, one for each of the tiles.
func splitRows(w Width, mr int) {
	Begin(w, "splitRows", "(dst []float32, tile int, src []float32, ld, tiles, rows int)", "is splitRowsGeneric.")
	dst, tile, src, ld := Base("dst"), Integer("tile"), Base("src"), Integer("ld")
	tiles, rows := Integer("tiles"), Integer("rows")
	SHLQ(U8(2), tile)
	SHLQ(U8(2), ld)
	Label("row")
	from, to, n := GP64(), GP64(), GP64()
	MOVQ(src, from)
	MOVQ(dst, to)
	MOVQ(tiles, n)
	Label("tile")
	if mr == 8 {
		v := YMM()
		VMOVUPS(Mem{Base: from}, v)
		VMOVUPS(v, Mem{Base: to})
	} else {
		four, two := XMM(), XMM()
		VMOVUPS(Mem{Base: from}, four)
		VMOVQ(Mem{Base: from, Disp: 16}, two)
		VMOVUPS(four, Mem{Base: to})
		VMOVQ(two, Mem{Base: to, Disp: 16})
	}
	ADDQ(U8(4*mr), from)
	ADDQ(tile, to)
	DECQ(n)
	JNZ(LabelRef("tile"))
	ADDQ(ld, src)
	ADDQ(U8(4*mr), dst)
	DECQ(rows)
	JNZ(LabelRef("row"))
	Done()
}
