package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// variantsFor lists the variants that can compute a shape.
func variantsFor(s ConvShape) (vs []*winogradVariant) {
	for _, v := range winogradVariants {
		if v.fits(s) {
			vs = append(vs, v)
		}
	}
	return vs
}

// checkWinograd compares the three passes, with every variant and tier, with
// the definition in float64.
func checkWinograd(t *testing.T, p *Pool, s ConvShape, r *rand.Rand) {
	t.Helper()
	nx, nw, ny := s.sizes()
	x, w, dy := normal(nx, r), normal(nw, r), normal(ny, r)
	o := newConvOracle(x.s, w.s, dy.s, s)
	for _, v := range variantsFor(s) {
		for _, k := range tiers {
			undo := useTier(k)
			what := fmt.Sprintf("%s %s %+v", k.name, v.name, s)
			y, dx, dw := newBuffer(ny), newBuffer(nx), newBuffer(nw)
			p.winogradForward(y.s, x.s, w.s, s, v, Epilogue{})
			nearLargest(t, what+" forward", y.s, o.y, o.yScale, 1e-5)
			p.winogradInputGrad(dx.s, dy.s, w.s, s, v)
			nearLargest(t, what+" input gradient", dx.s, o.dx, o.dxScale, 1e-5)
			p.winogradWeightGrad(dw.s, x.s, dy.s, s, v)
			nearLargest(t, what+" weight gradient", dw.s, o.dw, o.dwScale, 1e-5)
			intact(t, what, x, w, dy, y, dx, dw)
			undo()
		}
	}
}

// Sizes that are not multiples of a tile, all paddings, and channel counts
// around the vectors and the blocks.
func TestWinograd(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	r := seeded(21)
	channels := []int{1, 16, 5, 33, 8, 64, 17, 32}
	i := 0
	for _, k := range []int{3, 4} {
		for pad := range 3 {
			for h := max(1, k-2*pad); h < 10; h++ {
				s := ConvShape{N: 1 + i%3, H: h, W: max(k-2*pad, 1+(h*5+i)%11), C: channels[i%8], OutC: channels[(i/8+3*i)%8], KH: k, KW: k, Stride: k - 2, Pad: pad}
				if k == 3 {
					s.Stride = 1
				}
				checkWinograd(t, p, s, r)
				i++
			}
		}
	}
}

// nearLargest compares with a tolerance of tol times the largest scale: a tile
// has the rounding errors of its largest result in all of them.
func nearLargest(t *testing.T, what string, got []float32, want, scale []float64, tol float64) {
	t.Helper()
	largest := slices.Max(scale)
	for i, w := range want {
		if d := math.Abs(float64(got[i]) - w); !(d <= tol*largest) {
			t.Fatalf("%s: element %d is %g, want %g (off by %.2g, allowed %.2g)", what, i, got[i], w, d, tol*largest)
		}
	}
}
