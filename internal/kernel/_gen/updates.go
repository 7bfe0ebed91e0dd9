package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// updateKernels emits the optimiser updates, one pass over the parameters.
func updateKernels(w width) {
	sgd(w)
	momentum(w)
	adamW(w)
}

func sgd(w width) {
	function(w, "sgd", "(w, g []float32, lr, decay float32)", "is sgdGeneric for whole vectors.")
	lr, decay := w.spread("lr"), w.spread("decay")
	elements(w, []string{"w", "g"}, func(at map[string]Mem) {
		x, h := w.load(at["w"]), w.load(at["g"])
		VFMADD231PS(decay, x, h)
		VFNMADD231PS(lr, h, x)
		VMOVUPS(x, at["w"])
	})
	done()
}

func momentum(w width) {
	function(w, "momentum", "(w, g, v []float32, lr, mu, decay, a, b float32)", "is momentumGeneric for whole vectors.")
	lr, mu, decay, a, b := w.spread("lr"), w.spread("mu"), w.spread("decay"), w.spread("a"), w.spread("b")
	elements(w, []string{"w", "g", "v"}, func(at map[string]Mem) {
		x, h, v := w.load(at["w"]), w.load(at["g"]), w.load(at["v"])
		VFMADD231PS(decay, x, h)
		VFMADD213PS(h, mu, v)
		VMOVUPS(v, at["v"])
		VMULPS(a, h, h)
		VFMADD231PS(b, v, h)
		VFNMADD231PS(lr, h, x)
		VMOVUPS(x, at["w"])
	})
	done()
}

func adamW(w width) {
	function(w, "adamW", "(w, g, m, v []float32, lr, beta1, beta2, eps, decay, c1, c2 float32)", "is adamWGeneric for whole vectors.")
	lr, beta1, beta2, eps, decay := w.spread("lr"), w.spread("beta1"), w.spread("beta2"), w.spread("eps"), w.spread("decay")
	c1, c2 := w.spread("c1"), w.spread("c2")
	one := constant(w, 1)
	rest1, rest2 := w.vec(), w.vec()
	VSUBPS(beta1, one, rest1)
	VSUBPS(beta2, one, rest2)
	elements(w, []string{"w", "g", "m", "v"}, func(at map[string]Mem) {
		g, t := w.load(at["g"]), w.vec()
		VMULPS(rest1, g, t)
		m := w.load(at["m"])
		VFMADD213PS(t, beta1, m)
		VMOVUPS(m, at["m"])
		VMULPS(g, g, g)
		VMULPS(rest2, g, g)
		v := w.load(at["v"])
		VFMADD213PS(g, beta2, v)
		VMOVUPS(v, at["v"])
		VMULPS(c2, v, v)
		VSQRTPS(v, v)
		VADDPS(eps, v, v)
		VMULPS(c1, m, m)
		VDIVPS(v, m, m)
		x := w.load(at["w"])
		VFMADD231PS(decay, x, m)
		VFNMADD231PS(lr, m, x)
		VMOVUPS(x, at["w"])
	})
	done()
}
