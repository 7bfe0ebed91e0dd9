package encoder

import (
	"encoding/json"
	"math"
	"os"
	"strconv"
	"testing"

	"nat/internal/kernel"
)

// torchNumbers is what ref/torch_curves.py printed.
type torchNumbers struct {
	Torch      string
	Batch, Dim int
	LR         float64
	Momentum   float64
	Networks   map[string]struct {
		Input      [3]int
		Parameters int
		Gradients  map[string]struct {
			Norm    float64
			Entries map[string]float64
		}
		Losses     []float64
		Evaluation map[string]float64
	}
	Optimizers []struct {
		Optimizer   string
		LR          float64
		Momentum    float64
		Nesterov    bool
		Betas       [2]float64
		Eps         float64
		WeightDecay float64 `json:"weight_decay"`
		Values      [][]float64
	}
}

func readTorch(t *testing.T) torchNumbers {
	data, err := os.ReadFile("testdata/torch.json")
	if err != nil {
		t.Fatal(err)
	}
	var n torchNumbers
	if err := json.Unmarshal(data, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// Tensor numbers of the formula, past those of the parameters.
const (
	torchInputs  = 1000
	torchTargets = 1001
	torchGrads   = 1002
)

// formula gives n values in [-1, 1) that the script computes as well.
func formula(tensor uint64, n int) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = float64(mix(tensor<<32+uint64(i))>>40)/(1<<23) - 1
	}
	return x
}

func singles(x []float64) []float32 {
	s := make([]float32, len(x))
	for i, v := range x {
		s[i] = float32(v)
	}
	return s
}

// torchWeights sets the script's starting weights.
func torchWeights(net *Network) {
	index := uint64(0)
	for _, l := range net.prog.layers {
		for _, ts := range l.tensors(l.in) {
			if !ts.trained {
				continue
			}
			p := net.Params()[index]
			u := formula(index, len(p.Value))
			for k := range u {
				switch {
				case ts.fanIn > 0:
					u[k] /= math.Sqrt(float64(ts.fanIn))
				case ts.role == "weight":
					u[k] = 1 + 0.25*u[k]
				default:
					u[k] *= 0.25
				}
			}
			copy(p.Value, singles(u))
			index++
		}
	}
}

func torchUnitTargets(rows, d int) []float32 {
	c := formula(torchTargets, rows*d)
	for r := range rows {
		s := 0.0
		for _, v := range c[r*d : (r+1)*d] {
			s += v * v
		}
		for j := range d {
			c[r*d+j] /= math.Sqrt(s)
		}
	}
	return singles(c)
}

// squaredDistance is the mean over rows of ||z - c||^2, with its gradient in dz.
func squaredDistance(dz, z, c []float32, rows int) float64 {
	sum := 0.0
	for i := range z {
		d := float64(z[i]) - float64(c[i])
		sum += d * d
		dz[i] = float32(2 * d / float64(rows))
	}
	return sum / float64(rows)
}

// TestAgainstTorch trains the presets from the weights, inputs and targets of
// ref/torch_curves.py: all first gradients by name, ten losses, and the
// embedding in inference mode, which depends on the running statistics. The
// reference ran in float64, so the differences are our rounding.
func TestAgainstTorch(t *testing.T) {
	numbers := readTorch(t)
	pool := testPool(t, 0)
	for name, want := range numbers.Networks {
		t.Run(name, func(t *testing.T) {
			in := Shape{want.Input[0], want.Input[1], want.Input[2]}
			spec, err := Preset(name, in, numbers.Dim)
			if err != nil {
				t.Fatal(err)
			}
			net, err := New(spec, 0, pool)
			if err != nil {
				t.Fatal(err)
			}
			if net.ParamCount() != want.Parameters {
				t.Errorf("%d parameters, PyTorch has %d", net.ParamCount(), want.Parameters)
			}
			torchWeights(net)
			opt := NewSGD(net.Params(), numbers.Momentum, 0, true, pool)
			x := singles(formula(torchInputs, numbers.Batch*in.Size()))
			targets := torchUnitTargets(numbers.Batch, numbers.Dim)
			dz := make([]float32, len(targets))
			losses := want.Losses
			if kernel.Tier() == "generic" {
				losses = losses[:2] // all ten take the plain loops too long
			}
			for step, loss := range losses {
				z := net.Forward(x, numbers.Batch, true)
				if got := squaredDistance(dz, z, targets, numbers.Batch); math.Abs(got-loss) > 2e-4*loss+2e-5 {
					t.Errorf("loss of step %d is %.6f, PyTorch's %.6f", step, got, loss)
				}
				net.Backward(dz)
				if step == 0 {
					for _, p := range net.Params() {
						g := want.Gradients[p.Name]
						checkTorchEntries(t, p.Name, p.Grad, g.Entries, g.Norm)
						if got := norm(p.Grad); !(math.Abs(got-g.Norm) <= 1e-4*g.Norm) {
							t.Errorf("gradient of %s has norm %g, PyTorch's %g", p.Name, got, g.Norm)
						}
					}
				}
				opt.Step(net.Params(), numbers.LR)
			}
			if len(losses) < len(want.Losses) {
				return // the embedding is known after all steps
			}
			checkTorchEntries(t, "embedding", net.Forward(x, numbers.Batch, false), want.Evaluation, math.Sqrt(float64(numbers.Batch)))
		})
	}
}

func norm(x []float32) float64 {
	s := 0.0
	for _, v := range x {
		s += float64(v) * float64(v)
	}
	return math.Sqrt(s)
}

// checkTorchEntries compares entries within 1e-3 of the tensor's root mean square.
func checkTorchEntries(t *testing.T, what string, got []float32, want map[string]float64, norm float64) {
	t.Helper()
	if len(want) == 0 {
		t.Errorf("%s: no numbers from PyTorch", what)
	}
	rms := norm / math.Sqrt(float64(len(got)))
	for at, v := range want {
		i, err := strconv.Atoi(at)
		if err != nil {
			t.Fatal(err)
		}
		if d := math.Abs(float64(got[i]) - v); !(d <= 1e-3*rms) {
			t.Errorf("%s[%d] = %g, PyTorch's %g", what, i, got[i], v)
		}
	}
}

// TestOptimizersAgainstTorch follows a vector through five steps.
func TestOptimizersAgainstTorch(t *testing.T) {
	pool := testPool(t, 1)
	for _, c := range readTorch(t).Optimizers {
		p := Param{Name: "p", Shape: []int{8}, Value: singles(formula(0, 8)), Grad: make([]float32, 8), Decay: true}
		params := []Param{p}
		var opt Optimizer
		switch c.Optimizer {
		case "sgd":
			opt = NewSGD(params, c.Momentum, c.WeightDecay, c.Nesterov, pool)
		case "adamw":
			opt = NewAdamW(params, c.Betas[0], c.Betas[1], c.Eps, c.WeightDecay, pool)
		}
		for step, want := range c.Values {
			copy(p.Grad, singles(formula(torchGrads+uint64(step), 8)))
			opt.Step(params, c.LR)
			compare(t, c.Optimizer, p.Value, want, 2e-6)
		}
	}
}
