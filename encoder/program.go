package encoder

import (
	"slices"

	"nat/internal/kernel"
)

// program is a description made ready to run: flatten layers are gone (they
// change no value), batch norm and the ReLU after it are one node.
type program struct {
	nodes  []node
	ends   []int // for each layer, how many nodes produce its output
	width  int   // of the embedding
	widest int   // values per row of the largest output of a node
}

// node is one operation, standing for a layer or for two that are fused.
type node struct {
	op        op
	last      int // index of the last layer it stands for
	in, out   int // values per row
	inputGrad bool
}

// env is what operations need to run.
type env struct {
	pool *kernel.Pool
	step uint64 // selects the masks of dropout
}

// op computes one node. Slices have exactly rows times the node's width values.
// A block of layers with a shortcut would be an op that holds programs.
type op interface {
	// plan allocates what a training pass over rows keeps besides the output:
	// as many 4-byte words as words tells.
	plan(rows int)
	words(rows int) int
	forward(e *env, y, x []float32, rows int)
	infer(e *env, y, x []float32, rows int)
	// backward overwrites the gradients of the parameters and dx, which is nil
	// where nobody wants it and may be dy if inPlace.
	backward(e *env, dx, dy, x, y []float32, rows int)
	inPlace() bool
}

// fused is an op that stands for two layers and can give the output of the first.
type fused interface {
	inferFirst(e *env, y, x []float32, rows int)
}

// compile turns a valid, named description into a program over the given
// memory, one entry per layer. With nil memory it serves to count sizes.
func compile(spec Spec, memory []layerMemory, seed uint64) program {
	shapes := spec.shapes()
	p := program{ends: make([]int, len(spec.Layers)), width: spec.Dim()}
	trained := false // some node so far has parameters
	for i := 0; i < len(spec.Layers); i++ {
		l, in, last := spec.Layers[i], spec.inputOf(i, shapes), i
		if l.Type == Flatten {
			p.ends[i] = len(p.nodes)
			continue
		}
		if l.Type == BatchNorm && i+1 < len(spec.Layers) && spec.Layers[i+1].Type == ReLU {
			last++
		}
		var m layerMemory
		if memory != nil {
			m = memory[i]
		}
		d := node{op: newOp(l, in, shapes[i], m, last > i, dropoutKey(seed, i)), last: last, in: in.Size(), out: shapes[i].Size()}
		// The kernel of batch norm always wants a place for the input's gradient.
		d.inputGrad = trained || l.Type == BatchNorm
		trained = trained || len(l.tensors(in)) > 0
		p.nodes = append(p.nodes, d)
		p.widest = max(p.widest, d.out)
		for ; i < last; i++ {
			p.ends[i] = len(p.nodes)
		}
		p.ends[last] = len(p.nodes)
	}
	return p
}

// newOp makes the operation of a layer; relu fuses the one that follows.
func newOp(l Layer, in, out Shape, m layerMemory, relu bool, key uint64) op {
	weight, bias := m["weight"], m["bias"]
	switch l.Type {
	case Conv:
		shape := kernel.ConvShape{H: in.H, W: in.W, C: in.C, OutC: l.Out, KH: l.Kernel, KW: l.Kernel, Stride: l.Stride, Pad: l.Pad}
		return &convOp{shape: shape, w: weight, b: bias}
	case Dense:
		return &denseOp{in: in.Size(), out: out.Size(), w: weight, b: bias}
	case BatchNorm:
		return &batchNormOp{
			c: in.C, positions: in.H * in.W, relu: relu, gamma: weight, beta: bias,
			runningMean: m["running_mean"].value, runningVar: m["running_var"].value,
			mean: make([]float32, in.C), variance: make([]float32, in.C),
		}
	case ReLU, LeakyReLU:
		return &reluOp{slope: float32(l.Slope)}
	case MaxPool:
		return newMaxPool(l, in, out)
	case AvgPool:
		return newAvgPool(l, in, out)
	case GlobalPool:
		return newGlobalPool(in)
	case Dropout:
		return newDropout(out.Size(), l.Rate, key)
	case L2Normalize:
		return &normalizeOp{d: in.C}
	}
	panic("encoder: layer type without an operation")
}

// gradBuffer chooses which of the two gradient buffers takes the gradient of
// the node's input, given the one that holds that of its output (-1: neither,
// it is the caller's).
func (d node) gradBuffer(owner int) int {
	switch {
	case owner < 0:
		return 0
	case d.op.inPlace():
		return owner
	}
	return 1 - owner
}

// gradSizes returns the values per row that each gradient buffer must hold.
func (p program) gradSizes() (sizes [2]int) {
	owner := -1
	for i := len(p.nodes) - 1; i >= 0 && p.nodes[i].inputGrad; i-- {
		owner = p.nodes[i].gradBuffer(owner)
		sizes[owner] = max(sizes[owner], p.nodes[i].in)
	}
	return sizes
}

// blockRows is the number of rows that inference takes at a time.
func (p program) blockRows() int {
	return max(1, min(blockRows, blockValues/max(p.widest, 1)))
}

// featuresLayer returns the index of the layer that [Features] stands for; -1
// is the input.
func (s Spec) featuresLayer() int {
	find := func(layerType string) int {
		return slices.IndexFunc(s.Layers, func(l Layer) bool { return l.Type == layerType })
	}
	dense, conv := find(Dense), find(Conv)
	switch head := find(L2Normalize); {
	case dense < 0 && head < 0:
		return len(s.Layers) - 1
	case dense < 0:
		return head - 1
	case conv >= 0 && conv < dense:
		return dense - 1
	}
	last := dense
	for i, l := range s.Layers {
		if l.Type == Dense {
			last = i
		}
	}
	return last - 1
}

// MemoryBytes estimates the memory a network of this valid description takes.
// With train: weights, gradients, and the activations of a training pass over
// rows; the state of an optimiser (4 bytes per parameter for SGD, 8 for AdamW)
// and the input are the caller's. Without: weights and the buffers of
// inference, which are bounded whatever the rows. The scratch memory of the
// kernels is not counted.
func (s Spec) MemoryBytes(rows int, train bool) int64 {
	s = s.named()
	p := compile(s, nil, 0)
	words, shapes := int64(0), s.shapes()
	for i, l := range s.Layers {
		for _, t := range l.tensors(s.inputOf(i, shapes)) {
			words += int64(elements(t.shape))
			if t.trained && train {
				words += int64(elements(t.shape))
			}
		}
	}
	if !train {
		return 4 * (words + 2*int64(min(rows, p.blockRows()))*int64(p.widest) + int64(rows)*int64(p.width))
	}
	for _, d := range p.nodes {
		words += int64(rows)*int64(d.out) + int64(d.op.words(rows))
	}
	for _, size := range p.gradSizes() {
		words += int64(rows) * int64(size)
	}
	return 4 * words
}
