// Command peak writes the loop that measures how many multiplications and
// additions the machine can do: nothing but fused ones between registers.
//
//	go run -C internal/kernel/_gen ./peak
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"

	. "nat/internal/kernel/_gen/asm"
)

// chains is the number of independent vectors, fmaChains in peak.go: more than
// any processor's units times their latency, and all of them fit in 16 registers.
const chains = 12

func main() {
	Write("peak", func() {
		for _, w := range Widths {
			fma(w)
		}
	})
}

func fma(w Width) {
	Begin(w, "fma", "(x []float32, rounds int)", "is fmaGeneric for vectors.")
	p, n := Base("x"), Integer("rounds")
	half, one := Splat(w, 0.5), Splat(w, 1)
	v := w.Vecs(chains)
	for i, r := range v {
		VMOVUPS(Mem{Base: p, Disp: i * w.Bytes}, r)
	}
	Label("round")
	for range 2 { // so that the loop's own instructions hide
		for _, r := range v {
			VFMADD213PS(one, half, r)
		}
	}
	SUBQ(U8(2), n)
	JG(LabelRef("round"))
	for i, r := range v {
		VMOVUPS(r, Mem{Base: p, Disp: i * w.Bytes})
	}
	Done()
}
