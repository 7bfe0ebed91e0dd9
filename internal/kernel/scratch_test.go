package kernel

import (
	"runtime"
	"testing"
)

// TestScratchBytes wants what a new pool's first step allocates to be found,
// and a second step of the same shape to add nothing.
func TestScratchBytes(t *testing.T) {
	p := NewPool(1)
	defer p.Close()
	s := ConvShape{N: 4, H: 32, W: 32, C: 64, OutC: 64, KH: 3, KW: 3, Stride: 1, Pad: 1}
	x, w := make([]float32, s.N*s.H*s.W*s.C), make([]float32, s.KH*s.KW*s.C*s.OutC)
	y, gamma := make([]float32, len(x)), make([]float32, s.OutC)
	step := func() {
		p.ConvForward(y, x, w, s)
		p.ConvWeightGrad(w, x, y, s)
		p.ConvInputGrad(x, y, w, s)
		p.AvgPool(y, x, PoolShape{N: s.N, H: s.H, W: s.W, C: s.C, Kernel: 3, Stride: 2, Pad: 1})
		p.BatchNormForward(y, x, gamma, gamma, gamma, gamma, s.N*s.H*s.W, s.OutC, 1e-5, true)
	}
	start := p.ScratchBytes()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	step()
	runtime.ReadMemStats(&after)
	held, made := p.ScratchBytes()-start, int64(after.TotalAlloc-before.TotalAlloc)
	if held < made/2 || held > made { // slices that grow leave their first memory behind
		t.Errorf("a step allocates %d bytes, of which %d are held", made, held)
	}
	if step(); p.ScratchBytes() != start+held {
		t.Errorf("the same step again takes scratch memory from %d to %d bytes", start+held, p.ScratchBytes())
	}
}
