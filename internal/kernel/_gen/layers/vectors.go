// Command layers writes the loops over vectors and over the columns of a
// matrix: elementwise layers, batch norm, pooling, optimisers, sums and distances.
//
//	go run -C internal/kernel/_gen ./layers
package main

import (
	"math/bits"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	. "nat/internal/kernel/_gen/asm"
)

func main() {
	Write("layers", func() {
		for _, w := range Widths {
			vectorKernels(w)
			columnKernels(w)
			updateKernels(w)
			windowKernels(w)
			rowKernels(w)
		}
	})
}

// vectorKernels emits the loops over plain vectors. They take lengths that
// are a multiple of the number of lanes; the rest is left to the Go loops.
func vectorKernels(w Width) {
	reduction(w, "dot", func(a, b, sum reg.VecVirtual) { VFMADD231PS(a, b, sum) })
	reduction(w, "sqDist", func(a, b, sum reg.VecVirtual) {
		VSUBPS(a, b, a)
		VFMADD231PS(a, a, sum)
	})
	axpy(w)
	addDoubles(w)
	exponential(w)
	relu(w)
	reluGrad(w)
	leaky(w)
	leakyGrad(w)
}

// reduction emits a sum over two vectors, in four independent partial sums
// while there are four vectors left.
func reduction(w Width, name string, term func(a, b, sum reg.VecVirtual)) {
	Begin(w, name, "(a, b []float32) float32", "is "+name+"Generic for whole vectors.")
	a, b := Base("a"), Base("b")
	n := Load(Param("a").Len(), GP64())
	sum := w.Zeros(4)
	step := func(u int) {
		term(w.Load(Mem{Base: a, Disp: u * w.Bytes}), w.Load(Mem{Base: b, Disp: u * w.Bytes}), sum[u])
	}
	advance := func(u int) {
		ADDQ(U32(u*w.Bytes), a)
		ADDQ(U32(u*w.Bytes), b)
	}
	SUBQ(U32(4*w.Lanes()), n)
	JL(LabelRef("tail"))
	Label("steps")
	for u := range 4 {
		step(u)
	}
	advance(4)
	SUBQ(U32(4*w.Lanes()), n)
	JGE(LabelRef("steps"))
	Label("tail")
	ADDQ(U32(4*w.Lanes()), n)
	JZ(LabelRef("sum"))
	Label("step")
	step(0)
	advance(1)
	SUBQ(U32(w.Lanes()), n)
	JNZ(LabelRef("step"))
	Label("sum")
	VADDPS(sum[1], sum[0], sum[0])
	VADDPS(sum[3], sum[2], sum[2])
	VADDPS(sum[2], sum[0], sum[0])
	Store(lanesSum(w, sum[0]), ReturnIndex(0))
	Done()
}

// lanesSum adds up the lanes of v.
func lanesSum(w Width, v reg.VecVirtual) reg.Register {
	y := v.AsY()
	if w.Bytes == 64 {
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

func axpy(w Width) {
	Begin(w, "axpy", "(dst []float32, s float32, x []float32)", "is axpyGeneric for whole vectors.")
	s := w.Spread("s")
	Elements(w, []string{"dst", "x"}, func(at map[string]Mem) {
		v := w.Load(at["dst"])
		VFMADD231PS(at["x"], s, v)
		VMOVUPS(v, at["dst"])
	})
	Done()
}

func addDoubles(w Width) {
	Begin(w, "addDoubles", "(dst, x []float64)", "is addDoublesGeneric for lengths that are a multiple of the float32 in a vector.")
	dst, x, n := Base("dst"), Base("x"), Load(Param("dst").Len(), GP64())
	SHRQ(U8(bits.TrailingZeros(uint(w.Lanes()))), n)
	Label("loop")
	for i := range 2 {
		v := w.Vec()
		VMOVUPD(Mem{Base: dst, Disp: i * w.Bytes}, v)
		VADDPD(Mem{Base: x, Disp: i * w.Bytes}, v, v)
		VMOVUPD(v, Mem{Base: dst, Disp: i * w.Bytes})
	}
	ADDQ(U32(2*w.Bytes), dst)
	ADDQ(U32(2*w.Bytes), x)
	DECQ(n)
	JNZ(LabelRef("loop"))
	Done()
}

func exponential(w Width) {
	Begin(w, "exp", "(dst, x []float32)", "is expGeneric for whole vectors.")
	exp := Exponential(w)
	Elements(w, []string{"dst", "x"}, func(at map[string]Mem) {
		v := w.Load(at["x"])
		exp(v)
		VMOVUPS(v, at["dst"])
	})
	Done()
}

// rowKernels emits what the normalisation of rows is made of.
func rowKernels(w Width) {
	Begin(w, "dotDoubles", "(a, b []float32) float64", "is dotDoublesGeneric for whole vectors.")
	sum := w.Zeros(2)
	Elements(w, []string{"a", "b"}, func(at map[string]Mem) {
		for h := range sum {
			a, b := w.Vec(), w.Vec()
			VCVTPS2PD(at["a"].Offset(h*w.Bytes/2), a)
			VCVTPS2PD(at["b"].Offset(h*w.Bytes/2), b)
			VFMADD231PD(a, b, sum[h])
		}
	})
	VADDPD(sum[1], sum[0], sum[0])
	y := sum[0].AsY().(reg.VecVirtual)
	if w.Bytes == 64 {
		h := YMM()
		VEXTRACTF64X4(U8(1), sum[0], h)
		VADDPD(h, y, y)
	}
	x, t := XMM(), XMM()
	VEXTRACTF128(U8(1), y, x)
	VADDPD(y.AsX(), x, x)
	VPERMILPD(U8(1), x, t)
	VADDSD(t, x, x)
	Store(x, ReturnIndex(0))
	Done()

	Begin(w, "scaleDoubles", "(z, x []float32, s float64)", "is scaleDoublesGeneric for whole vectors.")
	s := w.Vec()
	VBROADCASTSD(Arg("s"), s)
	Elements(w, []string{"z", "x"}, func(at map[string]Mem) {
		v := [2]reg.VecVirtual{w.Vec(), w.Vec()}
		for h := range v {
			VCVTPS2PD(at["x"].Offset(h*w.Bytes/2), v[h])
			VMULPD(s, v[h], v[h])
		}
		for h := range v { // z may be x
			n := w.Half()
			if w.Bytes == 64 {
				VCVTPD2PS(v[h], n)
			} else {
				VCVTPD2PSY(v[h], n)
			}
			VMOVUPS(n, at["z"].Offset(h*w.Bytes/2))
		}
	})
	Done()

	Begin(w, "tangent", "(dx, dz, z []float32, dot, inverse float32)", "is tangentGeneric for whole vectors.")
	dot, inverse := w.Spread("dot"), w.Spread("inverse")
	Elements(w, []string{"dx", "dz", "z"}, func(at map[string]Mem) {
		g, z := w.Load(at["dz"]), w.Load(at["z"])
		VFNMADD231PS(dot, z, g)
		VMULPS(inverse, g, g)
		VMOVUPS(g, at["dx"])
	})
	Done()
}

// keepPositive zeroes the lanes of v where y is not positive. zero is zero.
func keepPositive(w Width, v reg.VecVirtual, y Op, zero reg.VecVirtual) {
	if w.Bytes == 64 {
		k := K()
		VCMPPS(U8(1), y, zero, k) // 0 < y
		VMOVAPS_Z(v, k, v)
		return
	}
	m := w.Vec()
	VCMPPS(U8(1), y, zero, m)
	VANDPS(m, v, v)
}

// scaleNonPositive multiplies the lanes of v where y is not positive by slope.
func scaleNonPositive(w Width, v reg.VecVirtual, y Op, zero, slope reg.VecVirtual) {
	s := w.Vec()
	VMULPS(slope, v, s)
	if w.Bytes == 64 {
		k := K()
		VCMPPS(U8(1), y, zero, k)
		VMOVAPS(v, k, s)
		VMOVAPS(s, v)
		return
	}
	m := w.Vec()
	VCMPPS(U8(1), y, zero, m)
	VBLENDVPS(m, v, s, v)
}

func relu(w Width) {
	Begin(w, "relu", "(y, x []float32)", "is reluGeneric for whole vectors.")
	zero := w.Zeros(1)[0]
	Elements(w, []string{"y", "x"}, func(at map[string]Mem) {
		v := w.Load(at["x"])
		VMAXPS(v, zero, v) // a NaN in the first operand is the result
		VMOVUPS(v, at["y"])
	})
	Done()
}

func reluGrad(w Width) {
	Begin(w, "reluGrad", "(dx, dy, y []float32)", "is reluGradGeneric for whole vectors.")
	zero := w.Zeros(1)[0]
	Elements(w, []string{"dx", "dy", "y"}, func(at map[string]Mem) {
		v := w.Load(at["dy"])
		keepPositive(w, v, at["y"], zero)
		VMOVUPS(v, at["dx"])
	})
	Done()
}

func leaky(w Width) {
	Begin(w, "leaky", "(y, x []float32, slope float32)", "is leakyGeneric for whole vectors.")
	zero, slope := w.Zeros(1)[0], w.Spread("slope")
	Elements(w, []string{"y", "x"}, func(at map[string]Mem) {
		v := w.Load(at["x"])
		scaleNonPositive(w, v, v, zero, slope)
		VMOVUPS(v, at["y"])
	})
	Done()
}

func leakyGrad(w Width) {
	Begin(w, "leakyGrad", "(dx, dy, y []float32, slope float32)", "is leakyGradGeneric for whole vectors.")
	zero, slope := w.Zeros(1)[0], w.Spread("slope")
	Elements(w, []string{"dx", "dy", "y"}, func(at map[string]Mem) {
		v := w.Load(at["dy"])
		scaleNonPositive(w, v, at["y"], zero, slope)
		VMOVUPS(v, at["dx"])
	})
	Done()
}
