package asm

import (
	"fmt"
	"math"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Exponential loads the constants of e^x and returns what emits x = e^x: with
// n = round(x / ln 2) and |r| <= ln(2)/2 it is 2^n e^r, where
// e^r = 1 + r + r^2 P(r), P from Cephes' expf (Moshier). 2^n is made as a product
// of two powers so that results down to the denormals and up to infinity come
// out right.
func Exponential(w Width) func(x reg.VecVirtual) {
	lo, hi, one := Splat(w, -104), Splat(w, 89), Splat(w, 1)
	// The others stay in memory: AVX2 has sixteen registers.
	log2e := table(w, math.Log2E)
	ln2hi, ln2lo := table(w, 0.693359375), table(w, -2.12194440e-4)
	first := table(w, 1.9875691500e-4)
	var coef []operand.Mem
	for _, c := range []float64{1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1} {
		coef = append(coef, table(w, c))
	}
	return func(r reg.VecVirtual) {
		VMAXPS(r, lo, r) // a NaN in the first operand is the result
		VMINPS(r, hi, r)
		n := w.Vec()
		VMULPS(log2e, r, n)
		VCVTPS2DQ(n, n) // rounds to nearest
		nf := w.Vec()
		VCVTDQ2PS(n, nf)
		VFNMADD231PS(ln2hi, nf, r)
		VFNMADD231PS(ln2lo, nf, r)
		p := w.Vec()
		VMOVUPS(first, p)
		for _, c := range coef {
			VFMADD213PS(c, r, p)
		}
		r2 := w.Vec()
		VMULPS(r, r, r2)
		VFMADD213PS(r, r2, p)
		VADDPS(one, p, p)
		half := w.Vec()
		VPSRAD(operand.U8(1), n, half)
		VPSUBD(half, n, n)
		for _, e := range []reg.VecVirtual{half, n} {
			VPSLLD(operand.U8(23), e, e)
			VPADDD(one, e, e) // the bits of 1.0 are exponent 127, mantissa 0
			VMULPS(e, p, p)
		}
		VMOVUPS(p, r)
	}
}

var tables int

// table returns memory with f in every lane of a vector.
func table(w Width, f float64) operand.Mem {
	m := GLOBL(fmt.Sprintf("expTable%d", tables), attr.RODATA|attr.NOPTR)
	tables++
	for i := range w.Lanes() {
		DATA(4*i, operand.U32(math.Float32bits(float32(f))))
	}
	return m
}
