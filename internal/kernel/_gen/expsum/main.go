// Command expsum writes the sum of exponentials:
//
//	go run -C internal/kernel/_gen ./expsum
package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	. "nat/internal/kernel/_gen/asm"
)

func main() {
	Write("expsum", func() {
		for _, w := range Widths {
			expSum(w)
		}
	})
}

func expSum(w Width) {
	Begin(w, "expSum", "(a, h, e []float32, alpha, beta, gamma float32) (sum, largest float32)", "is expSumGeneric for whole vectors, at least one.")
	alpha, beta, gamma := w.Spread("alpha"), w.Spread("beta"), w.Spread("gamma")
	exp := Exponential(w)
	sum := w.Zeros(1)[0]
	a, h, e := Base("a"), Base("h"), Base("e")
	n, i := Load(Param("a").Len(), GP64()), GP64()
	XORQ(i, i)
	at := func(b reg.GPVirtual) Mem { return Mem{Base: b, Index: i, Scale: 4} }
	largest := Splat(w, math.Inf(-1))
	Label("loop")
	t := w.Load(at(a))
	VSUBPS(at(h), t, t)
	VFMADD213PS(gamma, alpha, t)
	VFMADD231PS(at(e), beta, t)
	VMAXPS(t, largest, largest)
	exp(t)
	VADDPS(t, sum, sum)
	ADDQ(U8(w.Lanes()), i)
	CMPQ(i, n)
	JL(LabelRef("loop"))
	Store(fold(w, sum, func(a Op, b, c reg.VecVirtual) { VADDPS(a, b, c) }), ReturnIndex(0))
	Store(fold(w, largest, func(a Op, b, c reg.VecVirtual) { VMAXPS(a, b, c) }), ReturnIndex(1))
	Done()
}

// fold reduces the lanes of v by op.
func fold(w Width, v reg.VecVirtual, op func(a Op, b, c reg.VecVirtual)) reg.Register {
	y := v.AsY().(reg.VecVirtual)
	if w.Bytes == 64 {
		h := YMM()
		VEXTRACTF64X4(U8(1), v, h)
		op(h, y, y)
	}
	x, t := XMM(), XMM()
	if w.Bytes == 64 {
		VEXTRACTF32X4(U8(1), y, x) // reaches all 32 registers
	} else {
		VEXTRACTF128(U8(1), y, x)
	}
	op(x, y.AsX().(reg.VecVirtual), x)
	VMOVHLPS(x, x, t)
	op(t, x, x)
	VMOVSHDUP(x, t)
	op(t, x, x)
	return x
}
