package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"

	. "nat/internal/kernel/_gen/asm"
)

// finishKernel emits the last touch to rows of an output: bias, shortcut, floor.
func finishKernel(w Width) {
	Begin(w, "finish", "(y, add, bias []float32, rows, c int, floor float32)",
		"is finishGeneric for whole vectors of columns.")
	y, add, bias := Base("y"), Base("add"), Base("bias")
	rows, stride, n := Integer("rows"), Integer("c"), Load(Param("bias").Len(), GP64())
	SHLQ(U8(2), stride)
	floor := w.Spread("floor")
	row := func(label string, shortcut bool) {
		j := GP64()
		XORQ(j, j)
		Label(label)
		v := w.Load(Mem{Base: y, Index: j, Scale: 4})
		VADDPS(Mem{Base: bias, Index: j, Scale: 4}, v, v)
		if shortcut {
			VADDPS(Mem{Base: add, Index: j, Scale: 4}, v, v)
		}
		VMAXPS(v, floor, v) // NaN stays
		VMOVUPS(v, Mem{Base: y, Index: j, Scale: 4})
		ADDQ(U8(w.Lanes()), j)
		CMPQ(j, n)
		JL(LabelRef(label))
	}
	CMPQ(Length("add"), U8(0))
	JNE(LabelRef("shortcut"))
	Label("plain")
	row("plainColumn", false)
	ADDQ(stride, y)
	DECQ(rows)
	JNZ(LabelRef("plain"))
	JMP(LabelRef("done"))
	Label("shortcut")
	row("shortcutColumn", true)
	ADDQ(stride, y)
	ADDQ(stride, add)
	DECQ(rows)
	JNZ(LabelRef("shortcut"))
	Label("done")
	Done()
}
