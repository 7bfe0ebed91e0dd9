package encoder

import (
	"math"
	"math/rand/v2"
	"testing"

	"nat/internal/kernel"
)

func testPool(t testing.TB, workers int) *kernel.Pool {
	p := kernel.NewPool(workers)
	t.Cleanup(p.Close)
	return p
}

func randomRows(n int, seed uint64) []float32 {
	r := rand.New(rand.NewPCG(seed, 7))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

func TestSmoke(t *testing.T) {
	pool := testPool(t, 2)
	for _, name := range Presets() {
		in := Shape{16, 16, 3}
		spec, err := Preset(name, in, 8)
		if err != nil {
			t.Fatal(err)
		}
		t.Log("\n" + spec.String())
		net, err := New(spec, 1, pool)
		if err != nil {
			t.Fatal(err)
		}
		x := randomRows(4*in.Size(), 1)
		target := randomRows(32, 2)
		opt := NewSGD(net.Params(), .9, 0, true, pool)
		var first, last float64
		for step := range 30 {
			z := net.Forward(x, 4, true)
			dz := make([]float32, len(z))
			loss := 0.0
			for i := range z {
				d := z[i] - target[i]
				loss += float64(d * d)
				dz[i] = d
			}
			if step == 0 {
				first = loss
			}
			last = loss
			net.Backward(dz)
			opt.Step(net.Params(), .02)
		}
		if !(last < first) || math.IsNaN(last) {
			t.Errorf("%s: loss %g -> %g", name, first, last)
		}
		t.Log(name, first, last)
	}
}
