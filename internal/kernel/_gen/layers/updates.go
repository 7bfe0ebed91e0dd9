package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"

	. "nat/internal/kernel/_gen/asm"
)

// updateKernels emits the optimiser updates, one pass over the parameters.
func updateKernels(w Width) {
	sgd(w)
	momentum(w)
	adamW(w)
}

func sgd(w Width) {
	Begin(w, "sgd", "(w, g []float32, lr, decay float32)", "is sgdGeneric for whole vectors.")
	lr, decay := w.Spread("lr"), w.Spread("decay")
	Elements(w, []string{"w", "g"}, func(at map[string]Mem) {
		x, h := w.Load(at["w"]), w.Load(at["g"])
		VFMADD231PS(decay, x, h)
		VFNMADD231PS(lr, h, x)
		VMOVUPS(x, at["w"])
	})
	Done()
}

func momentum(w Width) {
	Begin(w, "momentum", "(w, g, v []float32, lr, mu, decay, a, b float32)", "is momentumGeneric for whole vectors.")
	lr, mu, decay, a, b := w.Spread("lr"), w.Spread("mu"), w.Spread("decay"), w.Spread("a"), w.Spread("b")
	Elements(w, []string{"w", "g", "v"}, func(at map[string]Mem) {
		x, h, v := w.Load(at["w"]), w.Load(at["g"]), w.Load(at["v"])
		VFMADD231PS(decay, x, h)
		VFMADD213PS(h, mu, v)
		VMOVUPS(v, at["v"])
		VMULPS(a, h, h)
		VFMADD231PS(b, v, h)
		VFNMADD231PS(lr, h, x)
		VMOVUPS(x, at["w"])
	})
	Done()
}

func adamW(w Width) {
	Begin(w, "adamW", "(w, g, m, v []float32, lr, beta1, beta2, eps, decay, c1, c2 float32)", "is adamWGeneric for whole vectors.")
	lr, beta1, beta2, eps, decay := w.Spread("lr"), w.Spread("beta1"), w.Spread("beta2"), w.Spread("eps"), w.Spread("decay")
	c1, c2 := w.Spread("c1"), w.Spread("c2")
	one := Splat(w, 1)
	rest1, rest2 := w.Vec(), w.Vec()
	VSUBPS(beta1, one, rest1)
	VSUBPS(beta2, one, rest2)
	Elements(w, []string{"w", "g", "m", "v"}, func(at map[string]Mem) {
		g, t := w.Load(at["g"]), w.Vec()
		VMULPS(rest1, g, t)
		m := w.Load(at["m"])
		VFMADD213PS(t, beta1, m)
		VMOVUPS(m, at["m"])
		VMULPS(g, g, g)
		VMULPS(rest2, g, g)
		v := w.Load(at["v"])
		VFMADD213PS(g, beta2, v)
		VMOVUPS(v, at["v"])
		VMULPS(c2, v, v)
		VSQRTPS(v, v)
		VADDPS(eps, v, v)
		VMULPS(c1, m, m)
		VDIVPS(v, m, m)
		x := w.Load(at["w"])
		VFMADD231PS(decay, x, m)
		VFNMADD231PS(lr, m, x)
		VMOVUPS(x, at["w"])
	})
	Done()
}
