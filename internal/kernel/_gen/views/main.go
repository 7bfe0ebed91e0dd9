// Command views writes the loops that make augmented views of images.
//
//	go run -C internal/kernel/_gen ./views
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"

	. "nat/internal/kernel/_gen/asm"
)

func main() {
	Write("views", func() {
		for _, w := range Widths {
			lerp(w)
			tint(w)
		}
	})
}

// lerp does not fuse multiplication and addition, so that every tier gives the
// same bits.
func lerp(w Width) {
	Begin(w, "lerp", "(dst, a, b []float32, f float32)", "is lerpGeneric for whole vectors.")
	f := w.Spread("f")
	Elements(w, []string{"dst", "a", "b"}, func(at map[string]Mem) {
		a, d := w.Load(at["a"]), w.Load(at["b"])
		VSUBPS(a, d, d)
		VMULPS(f, d, d)
		VADDPS(a, d, d)
		VMOVUPS(d, at["dst"])
	})
	Done()
}

// Rows of the table of tint, 48 float32 each: five weights, for the values from
// two before to two after, and then these.
const (
	rowOffset = 5 + iota
	rowMean
	rowScale

	rowBytes = 4 * 48
)

// tint goes through three vectors at a time, after which the pattern of three
// channels begins again.
func tint(w Width) {
	Begin(w, "tint", "(dst, x, table []float32, lo, hi float32)", "is tintGeneric for whole groups of three vectors.")
	dst, x, table, n, i := Base("dst"), Base("x"), Base("table"), Load(Param("dst").Len(), GP64()), GP64()
	lo, hi := w.Spread("lo"), w.Spread("hi")
	row := func(k, u int) Mem { return Mem{Base: table, Disp: k*rowBytes + u*w.Bytes} }
	XORQ(i, i)
	JMP(LabelRef("check"))
	Label("loop")
	for u := range 3 {
		y := w.Load(row(rowOffset, u))
		for k := range 5 {
			VFMADD231PS(row(k, u), w.Load(Mem{Base: x, Index: i, Scale: 4, Disp: 4*k + u*w.Bytes}), y)
		}
		VMAXPS(lo, y, y)
		VMINPS(hi, y, y)
		VSUBPS(row(rowMean, u), y, y)
		VMULPS(row(rowScale, u), y, y)
		VMOVUPS(y, Mem{Base: dst, Index: i, Scale: 4, Disp: u * w.Bytes})
	}
	ADDQ(U8(3*w.Lanes()), i)
	Label("check")
	CMPQ(i, n)
	JL(LabelRef("loop"))
	Done()
}
