package nat

import (
	"context"
	"math"
	"testing"

	"nat/dataset"
)

// A gradient above the limit moves the network as far as one of that length: without
// momentum and decay the first step is the rate times the gradient.
func TestClip(t *testing.T) {
	data := writePixels(t, 200, dataset.Shape{H: 12, W: 12, C: 3})
	step := func(clip float64) (moved, norm float64) {
		tr := testTrainer(t, Options{Data: data, Encoder: "mlp", Batch: 32, Epochs: 1, Workers: 2, Clip: clip,
			Momentum: -1, WeightDecay: -1, Warmup: -1, LR: .5})
		tr.loader.Start(context.Background(), 0, 0)
		b, err := tr.loader.Next()
		if err != nil {
			t.Fatal(err)
		}
		var before [][]float32
		for _, p := range tr.params {
			before = append(before, append([]float32(nil), p.Value...))
		}
		stats := newStats()
		if err := tr.step(b, stats); err != nil {
			t.Fatal(err)
		}
		for i, p := range tr.params {
			for k, v := range p.Value {
				moved += math.Pow(float64(v-before[i][k]), 2)
			}
		}
		return math.Sqrt(moved) / stats.LR, stats.GradNorm
	}
	free, norm := step(-1)
	if math.Abs(free-norm) > 1e-3*norm {
		t.Errorf("moved by %v, the gradient is %v", free, norm)
	}
	if short, same := step(norm / 4); same != norm || math.Abs(short-norm/4) > 1e-3*norm {
		t.Errorf("clipped to %v, moved by %v", norm/4, short)
	}
	if loose, _ := step(2 * norm); loose != free {
		t.Errorf("a limit above the gradient moves by %v, not %v", loose, free)
	}
}

// What is clipped if nothing is said: what was seen to diverge without.
func TestClipByDefault(t *testing.T) {
	for want, options := range map[float64][]Options{
		2: {{}, {Objective: objectiveSupervised}},
		0: {{Objective: objectiveInfoNCE}, {Loss: "square"}, {Optimizer: "adamw"}, {Objective: objectiveSupervised, Clip: -1}},
	} {
		for _, o := range options {
			resolve(&o, 1000)
			if o.Clip != want {
				t.Errorf("%s %s %s: clipped at %v, not %v", o.Objective, o.Loss, o.Optimizer, o.Clip, want)
			}
		}
	}
}
