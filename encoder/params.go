package encoder

import (
	"math"

	"nat/internal/rng"
)

// BatchNorm constants, those of PyTorch: the running averages move by
// bnMomentum per training step, and the running variance averages the
// unbiased variance of the batch while the batch itself is normalised by the
// biased one.
const (
	bnMomentum = 0.1
	bnEpsilon  = 1e-5
)

// Param is one trainable tensor of a network. Value and Grad are the network's
// own memory: an optimiser writes Value, Backward overwrites Grad. Inference
// keeps weights with the batch norms folded in; the optimisers of this package
// tell it when they change Value. Whoever else does calls [Network.Params] again
// afterwards, which tells it too.
type Param struct {
	Name  string // layer and role, as in conv1.weight
	Shape []int  // conv [kernel, kernel, in, out], convtranspose [kernel, kernel, out, in], dense [in, out], others [channels]
	Value []float32
	Grad  []float32
	Decay bool // subject to weight decay: weights of conv and dense layers only

	changes *uint64 // those of the network's weights, counted
}

// changed counts a change of Value.
func (p *Param) changed() {
	if p.changes != nil {
		*p.changes++
	}
}

// tensorSpec describes one tensor that a layer keeps: a parameter, or a
// running statistic if trained is false.
type tensorSpec struct {
	role    string
	shape   []int
	trained bool
	decay   bool
	fanIn   int     // > 0: drawn from U(-1/sqrt(fanIn), 1/sqrt(fanIn))
	fill    float32 // else: this value
}

// tensors lists what a layer with the given input keeps, in the order of the
// weights file.
func (l Layer) tensors(in Shape) []tensorSpec {
	switch l.Type {
	case Conv:
		fan := l.Kernel * l.Kernel * in.C
		return l.weights(fan, []int{l.Kernel, l.Kernel, in.C, l.Out})
	case ConvTranspose: // as many inputs reach an output pixel on average
		fan := max(1, l.Kernel*l.Kernel*in.C/(l.Stride*l.Stride))
		return l.weights(fan, []int{l.Kernel, l.Kernel, l.Out, in.C})
	case Dense:
		return l.weights(in.Size(), []int{in.Size(), l.Out})
	case BatchNorm:
		c := []int{in.C}
		return []tensorSpec{
			{role: "weight", shape: c, trained: true, fill: 1},
			{role: "bias", shape: c, trained: true},
			{role: "running_mean", shape: c},
			{role: "running_var", shape: c, fill: 1},
		}
	}
	return nil
}

func (l Layer) weights(fanIn int, shape []int) []tensorSpec {
	ts := []tensorSpec{{role: "weight", shape: shape, trained: true, decay: true, fanIn: fanIn}}
	if l.Bias {
		ts = append(ts, tensorSpec{role: "bias", shape: []int{l.Out}, trained: true, fanIn: fanIn})
	}
	return ts
}

func elements(shape []int) int {
	n := 1
	for _, s := range shape {
		n *= s
	}
	return n
}

// paramCount is the number of trained values, or maxParams+1 if there are
// more than that: the product is taken in floating point, where it cannot
// overflow.
func (l Layer) paramCount(in Shape) int64 {
	total := 0.0
	for _, t := range l.tensors(in) {
		n := 1.0
		for _, s := range t.shape {
			n *= float64(s)
		}
		if t.trained {
			total += n
		}
	}
	return int64(min(total, maxParams+1))
}

// initialize fills a tensor before training. Weights and biases of conv and
// dense layers are uniform on (-1/sqrt(fan_in), 1/sqrt(fan_in)), fan_in the
// number of inputs of one output: PyTorch's default, kaiming_uniform with
// a = sqrt 5, so that results can be compared with networks trained there. (For
// transposed convolutions its default divides by the number of outputs of one
// input instead; here the inputs of one output count everywhere.)
// Batch norm starts as the identity. index counts the parameters of the
// network, and each has its own stream.
func (t tensorSpec) initialize(dst []float32, seed, index uint64) {
	if t.fanIn == 0 {
		for i := range dst {
			dst[i] = t.fill
		}
		return
	}
	r := rng.New(seed, rng.Init, index)
	bound := 1 / math.Sqrt(float64(t.fanIn))
	for i := range dst {
		dst[i] = float32(bound * (2*r.Float64() - 1))
	}
}
