package encoder

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"nat/internal/tensorfile"
)

// saved is a copy of the network's state.
func saved(n *Network) []tensorfile.Tensor { return copied(n.State()) }

func copied(ts []tensorfile.Tensor) []tensorfile.Tensor {
	ts = slices.Clone(ts)
	for i, t := range ts {
		if data, ok := t.Data.([]float32); ok {
			ts[i].Data = slices.Clone(data)
		}
	}
	return ts
}

func TestWeightsRoundTrip(t *testing.T) {
	pool := testPool(t, 2)
	net := mustNew(t, mixedSpec(), pool)
	train(net, NewSGD(net.Params(), 0.9, 0, false, pool), 5, 2)
	var file bytes.Buffer
	if err := WriteWeights(&file, net); err != nil {
		t.Fatal(err)
	}
	ts, meta, err := tensorfile.ReadSafetensors(bytes.NewReader(file.Bytes()), int64(file.Len()))
	if err != nil {
		t.Fatal(err)
	}
	back, err := ReadWeights(ts, meta, pool)
	if err != nil {
		t.Fatal(err)
	}
	x := randomRows(4*net.Spec().Input.Size(), 8)
	if !slices.Equal(back.Forward(x, 4, false), net.Forward(x, 4, false)) {
		t.Error("the network read back embeds differently")
	}
	var again bytes.Buffer
	if err := WriteWeights(&again, back); err != nil || !bytes.Equal(again.Bytes(), file.Bytes()) {
		t.Error("writing it again gives other bytes", err)
	}
}

func TestReadWeightsRefuses(t *testing.T) {
	pool := testPool(t, 1)
	net := mustNew(t, mustPreset(t, "linear", Shape{1, 1, 3}, 2), pool)
	huge := `{"name":"x","input":{"h":1,"w":1,"c":30000},"layers":[{"type":"dense","name":"dense1","out":30000}]}`
	for name, meta := range map[string]map[string]string{
		"no description":  nil,
		"bad description": {SpecKey: "{}"},
		"larger network":  {SpecKey: huge},
		"other network":   {SpecKey: `{"name":"x","input":{"h":1,"w":1,"c":2},"layers":[{"type":"dense","name":"dense1","out":3}]}`},
	} {
		if _, err := ReadWeights(net.State(), meta, pool); !errors.Is(err, tensorfile.ErrFormat) {
			t.Errorf("%s: error %v, want a malformed file", name, err)
		}
	}
}

// TestSetStateNamesEverything gives a state with several faults, wants all of
// them named and nothing changed.
func TestSetStateNamesEverything(t *testing.T) {
	net := mustNew(t, mustPreset(t, "convnet", Shape{8, 8, 1}, 4), testPool(t, 1))
	before := saved(net)
	bad := saved(net)
	for i := range bad {
		for k := range bad[i].Data.([]float32) {
			bad[i].Data.([]float32)[k] = 7
		}
		switch bad[i].Name {
		case "conv1.weight":
			bad[i].Name = "conv7.weight"
		case "bn2.running_var":
			bad[i].Shape = []int{1, 64}
		case "dense2.bias":
			bad[i].Data = []float64{1, 2, 3, 4}
		}
	}
	bad = append(bad, bad[1])
	err := net.SetState(bad)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"conv1.weight is missing", "conv7.weight has no place", "bn2.running_var has shape [1 64], want [64]", "dense2.bias holds []float64",
		bad[1].Name + " appears twice", "encoder convnet",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q:\n%v", want, err)
		}
	}
	for i, s := range net.State() {
		if !slices.Equal(s.Data.([]float32), before[i].Data.([]float32)) {
			t.Errorf("%s was changed", s.Name)
		}
	}
}

// TestOptimizerState interrupts training: weights and optimiser state moved to
// a new network go on with the same bits.
func TestOptimizerState(t *testing.T) {
	pool := testPool(t, 2)
	spec := mustPreset(t, "convnet", Shape{4, 4, 1}, 3)
	for name, make := range map[string]func([]Param) Optimizer{
		"sgd":   func(p []Param) Optimizer { return NewSGD(p, 0.9, 1e-3, true, pool) },
		"adamw": func(p []Param) Optimizer { return NewAdamW(p, 0.9, 0.999, 1e-8, 1e-2, pool) },
	} {
		a := mustNew(t, spec, pool)
		optA := make(a.Params())
		train(a, optA, 4, 3)
		b := mustNew(t, spec, pool)
		optB := make(b.Params())
		if err := errors.Join(b.SetState(saved(a)), optB.SetState(copied(optA.State()))); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(train(a, optA, 4, 2), train(b, optB, 4, 2)) {
			t.Errorf("%s: training goes on differently after its state was moved", name)
		}
		if err := optB.SetState(optA.State()[1:]); err == nil || !strings.Contains(err.Error(), "missing") {
			t.Errorf("%s: incomplete state: %v", name, err)
		}
	}
	adam := NewAdamW(nil, 0.9, 0.999, 1e-8, 0, pool)
	if err := adam.SetState(nil); err == nil || !strings.Contains(err.Error(), `"step"`) {
		t.Errorf("AdamW without its step count: %v", err)
	}
}

// TestDecay wants weight decay on marked parameters only.
func TestDecay(t *testing.T) {
	pool := testPool(t, 1)
	for name, make := range map[string]func([]Param) Optimizer{
		"sgd":   func(p []Param) Optimizer { return NewSGD(p, 0, 0.5, false, pool) },
		"adamw": func(p []Param) Optimizer { return NewAdamW(p, 0.9, 0.999, 1e-8, 0.5, pool) },
	} {
		params := []Param{
			{Name: "w", Shape: []int{1}, Value: []float32{2}, Grad: []float32{0}, Decay: true},
			{Name: "b", Shape: []int{1}, Value: []float32{2}, Grad: []float32{0}},
		}
		make(params).Step(params, 0.1)
		if w, b := params[0].Value[0], params[1].Value[0]; math.Abs(float64(w)-1.9) > 1e-6 || b != 2 {
			t.Errorf("%s: weight %g, want 1.9; bias %g, want 2", name, w, b)
		}
	}
}

func TestSchedule(t *testing.T) {
	for _, c := range []struct {
		step, total, warmup int
		want                float64
	}{
		{0, 100, 0, 0.4}, {50, 100, 0, 0.2}, {100, 100, 0, 0}, {120, 100, 0, 0},
		{0, 100, 10, 0.04}, {4, 100, 10, 0.2}, {9, 100, 10, 0.4}, {10, 100, 10, 0.4}, {55, 100, 10, 0.2}, {100, 100, 10, 0},
		{3, 5, 5, 0.32}, {5, 5, 5, 0}, {0, 0, 0, 0},
	} {
		if got := Schedule(c.step, c.total, c.warmup, 0.4); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("step %d of %d, warm-up %d: %g, want %g", c.step, c.total, c.warmup, got, c.want)
		}
	}
	for step := 1; step < 100; step++ { // falls after the warm-up, never below 0
		if a, b := Schedule(step-1, 100, 1, 1), Schedule(step, 100, 1, 1); b >= a && step > 1 || b < 0 {
			t.Errorf("rate goes from %g to %g at step %d", a, b, step)
		}
	}
}
