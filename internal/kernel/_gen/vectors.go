package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// vectorKernels emits the loops over plain vectors. They take lengths that
// are a multiple of the number of lanes; the rest is left to the Go loops.
func vectorKernels(w width) {
	reduction(w, "dot", func(a, b, sum reg.VecVirtual) { VFMADD231PS(a, b, sum) })
	reduction(w, "sqDist", func(a, b, sum reg.VecVirtual) {
		VSUBPS(a, b, a)
		VFMADD231PS(a, a, sum)
	})
	axpy(w)
	exponential(w)
	relu(w)
	reluGrad(w)
}

// elements emits a loop over vectors: body gets the operand of the current
// vector of each slice.
func elements(w width, slices []string, body func(at map[string]Mem)) {
	n := Load(Param(slices[0]).Len(), GP64())
	i := GP64()
	XORQ(i, i)
	at := map[string]Mem{}
	for _, s := range slices {
		at[s] = Mem{Base: base(s), Index: i, Scale: 4}
	}
	JMP(LabelRef("check"))
	Label("loop")
	body(at)
	ADDQ(U8(w.lanes()), i)
	Label("check")
	CMPQ(i, n)
	JL(LabelRef("loop"))
}

// reduction emits a sum over two vectors, in four independent partial sums
// while there are four vectors left.
func reduction(w width, name string, term func(a, b, sum reg.VecVirtual)) {
	function(w, name, "(a, b []float32) float32", "is "+name+"Generic for whole vectors.")
	a, b := base("a"), base("b")
	n := Load(Param("a").Len(), GP64())
	sum := w.zeros(4)
	step := func(u int) {
		term(w.load(Mem{Base: a, Disp: u * w.bytes}), w.load(Mem{Base: b, Disp: u * w.bytes}), sum[u])
	}
	advance := func(u int) {
		ADDQ(U32(u*w.bytes), a)
		ADDQ(U32(u*w.bytes), b)
	}
	SUBQ(U32(4*w.lanes()), n)
	JL(LabelRef("tail"))
	Label("steps")
	for u := range 4 {
		step(u)
	}
	advance(4)
	SUBQ(U32(4*w.lanes()), n)
	JGE(LabelRef("steps"))
	Label("tail")
	ADDQ(U32(4*w.lanes()), n)
	JZ(LabelRef("sum"))
	Label("step")
	step(0)
	advance(1)
	SUBQ(U32(w.lanes()), n)
	JNZ(LabelRef("step"))
	Label("sum")
	VADDPS(sum[1], sum[0], sum[0])
	VADDPS(sum[3], sum[2], sum[2])
	VADDPS(sum[2], sum[0], sum[0])
	Store(lanesSum(w, sum[0]), ReturnIndex(0))
	done()
}

// lanesSum adds up the lanes of v.
func lanesSum(w width, v reg.VecVirtual) reg.Register {
	y := v.AsY()
	if w.bytes == 64 {
		h := YMM()
		VEXTRACTF64X4(U8(1), v, h)
		VADDPS(h, v.AsY(), h)
		y = h.AsY()
	}
	x, t := XMM(), XMM()
	VEXTRACTF128(U8(1), y, x)
	VADDPS(x, y.(reg.VecVirtual).AsX(), x)
	VMOVHLPS(x, x, t)
	VADDPS(t, x, x)
	VMOVSHDUP(x, t)
	VADDSS(t, x, x)
	return x
}

func axpy(w width) {
	function(w, "axpy", "(dst []float32, s float32, x []float32)", "is axpyGeneric for whole vectors.")
	s := w.spread("s")
	elements(w, []string{"dst", "x"}, func(at map[string]Mem) {
		v := w.load(at["dst"])
		VFMADD231PS(at["x"], s, v)
		VMOVUPS(v, at["dst"])
	})
	done()
}

// constant returns a register with f in every lane.
func constant(w width, f float64) reg.VecVirtual {
	g, x, v := GP32(), XMM(), w.vec()
	MOVL(U32(math.Float32bits(float32(f))), g)
	VMOVD(g, x)
	VBROADCASTSS(x, v)
	return v
}

// exponential emits e^x = 2^n e^r with n = round(x / ln 2) and |r| <= ln(2)/2,
// where e^r = 1 + r + r^2 P(r), P from Cephes' expf (Moshier). 2^n is made as
// a product of two powers so that results down to the denormals and up to
// infinity come out right.
func exponential(w width) {
	function(w, "exp", "(dst, x []float32)", "is expGeneric for whole vectors.")
	lo, hi := constant(w, -104), constant(w, 89)
	log2e := constant(w, math.Log2E)
	ln2hi, ln2lo := constant(w, 0.693359375), constant(w, -2.12194440e-4)
	one := constant(w, 1)
	var coef []reg.VecVirtual
	for _, c := range []float64{1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1} {
		coef = append(coef, constant(w, c))
	}
	elements(w, []string{"dst", "x"}, func(at map[string]Mem) {
		r := w.load(at["x"])
		VMAXPS(r, lo, r) // a NaN in the first operand is the result
		VMINPS(r, hi, r)
		n := w.vec()
		VMULPS(log2e, r, n)
		VCVTPS2DQ(n, n) // rounds to nearest
		nf := w.vec()
		VCVTDQ2PS(n, nf)
		VFNMADD231PS(ln2hi, nf, r)
		VFNMADD231PS(ln2lo, nf, r)
		p := w.vec()
		VMOVUPS(coef[0], p)
		for _, c := range coef[1:] {
			VFMADD213PS(c, r, p)
		}
		r2 := w.vec()
		VMULPS(r, r, r2)
		VFMADD213PS(r, r2, p)
		VADDPS(one, p, p)
		half := w.vec()
		VPSRAD(U8(1), n, half)
		if w.bytes == 64 {
			VPSUBD(half, n, n)
		} else {
			VPSUBD(half, n, n)
		}
		for _, e := range []reg.VecVirtual{half, n} {
			VPSLLD(U8(23), e, e)
			VPADDD(one, e, e) // the bits of 1.0 are exponent 127, mantissa 0
			VMULPS(e, p, p)
		}
		VMOVUPS(p, at["dst"])
	})
	done()
}

// keepPositive zeroes the lanes of v where y is not positive. zero is zero.
func keepPositive(w width, v reg.VecVirtual, y Mem, zero reg.VecVirtual) {
	if w.bytes == 64 {
		k := K()
		VCMPPS(U8(1), y, zero, k) // 0 < y
		VMOVAPS_Z(v, k, v)
		return
	}
	m := w.vec()
	VCMPPS(U8(1), y, zero, m)
	VANDPS(m, v, v)
}

// scaleNonPositive multiplies the lanes of v where y is not positive by slope.
func scaleNonPositive(w width, v reg.VecVirtual, y Op, zero, slope reg.VecVirtual) {
	s := w.vec()
	VMULPS(slope, v, s)
	if w.bytes == 64 {
		k := K()
		VCMPPS(U8(1), y, zero, k)
		VMOVAPS(v, k, s)
		VMOVAPS(s, v)
		return
	}
	m := w.vec()
	VCMPPS(U8(1), y, zero, m)
	VBLENDVPS(m, v, s, v)
}

func relu(w width) {
	function(w, "relu", "(y, x []float32, slope float32)", "is reluGeneric for whole vectors.")
	zero, slope := w.zeros(1)[0], w.spread("slope")
	elements(w, []string{"y", "x"}, func(at map[string]Mem) {
		v := w.load(at["x"])
		scaleNonPositive(w, v, v, zero, slope)
		VMOVUPS(v, at["y"])
	})
	done()
}

func reluGrad(w width) {
	function(w, "reluGrad", "(dx, dy, y []float32, slope float32)", "is reluGradGeneric for whole vectors.")
	zero, slope := w.zeros(1)[0], w.spread("slope")
	elements(w, []string{"dx", "dy", "y"}, func(at map[string]Mem) {
		v := w.load(at["dy"])
		scaleNonPositive(w, v, at["y"], zero, slope)
		VMOVUPS(v, at["dx"])
	})
	done()
}
