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
// e^r = 1 + r + r^2 P(r) and P has the least largest relative error, 3.1e-9, by
// Remez' algorithm.
func Exponential(w Width) func(x reg.VecVirtual) {
	lo, hi, one := Splat(w, -104), Splat(w, 89), Splat(w, 1)
	// With AVX2, which has sixteen registers, the others stay in memory.
	constant := func(f float64) operand.Op {
		if w.Bytes == 64 {
			return Splat(w, f)
		}
		return table(w, f)
	}
	log2e := constant(math.Log2E)
	ln2hi, ln2lo := constant(0.693359375), constant(-2.12194440e-4)
	first := constant(1.3814540179592e-3)
	var coef []operand.Op
	for _, c := range []float64{8.36874510894179e-3, 4.1668390783552e-2, 1.66665203990425e-1, 4.99999934321293e-1} {
		coef = append(coef, constant(c))
	}
	return func(r reg.VecVirtual) {
		VMAXPS(r, lo, r) // a NaN in the first operand is the result
		VMINPS(r, hi, r)
		n, p := w.Vec(), w.Vec()
		VMULPS(log2e, r, n)
		if w.Bytes == 64 {
			VRNDSCALEPS(operand.U8(0), n, n) // to nearest
		} else {
			VROUNDPS(operand.U8(0), n, n)
		}
		VFNMADD231PS(ln2hi, n, r)
		VFNMADD231PS(ln2lo, n, r)
		VMOVUPS(first, p)
		for _, c := range coef {
			VFMADD213PS(c, r, p)
		}
		VFMADD213PS(one, r, p)
		VFMADD213PS(one, r, p)
		if w.Bytes == 64 {
			VSCALEFPS(n, p, r)
			return
		}
		scaleByPower(w, p, n, one)
		VMOVUPS(p, r)
	}
}

// scaleByPower multiplies p by 2^n, of which it makes a product of two powers,
// so that results down to the denormals and up to infinity come out right.
func scaleByPower(w Width, p, n, one reg.VecVirtual) {
	half := w.Vec()
	VCVTPS2DQ(n, n)
	VPSRAD(operand.U8(1), n, half)
	VPSUBD(half, n, n)
	for _, e := range []reg.VecVirtual{half, n} {
		VPSLLD(operand.U8(23), e, e)
		VPADDD(one, e, e) // the bits of 1.0 are exponent 127, mantissa 0
		VMULPS(e, p, p)
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
