package encoder

import (
	"fmt"
	"slices"

	"nat/internal/kernel"
)

// Names that [Network.Output] understands besides those of the layers.
const (
	// Embedding is the output of the last layer.
	Embedding = "embedding"
	// Features is the last block before the first dense layer, flattened (after
	// the pooling, if the network pools globally). A network without
	// convolutions gives its last hidden layer, and one without hidden layers
	// its input.
	Features = "features"
)

// blockValues bounds each of the two buffers of inference: rows go through
// the network in blocks whose largest activation has about this many values.
const (
	blockValues = 1 << 21
	blockRows   = 512
)

// Network runs a [Spec]. It owns weights, gradients and activations, and is
// for one goroutine at a time.
type Network struct {
	spec   Spec
	env    env
	prog   program
	params []Param
	slots  []slot // weights and running statistics, in file order

	// The training pass: memory for up to planned rows, made once.
	planned int
	acts    [][]float32  // output of each node
	grads   [2][]float32 // gradients of activations, in turns
	input   []float32
	rows    int
	pending bool // a Forward awaits its Backward

	block    [2][]float32 // activations of inference, in turns
	embedded []float32    // result of Forward without train
}

// New builds the network of a description with fresh weights drawn from the
// stream rng.Init of seed, one index per parameter. The error is that of
// [Spec.Validate].
func New(spec Spec, seed uint64, pool *kernel.Pool) (*Network, error) {
	spec = spec.named()
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	n := build(spec, seed, pool)
	shapes, slots, index := spec.shapes(), n.slots, uint64(0)
	for i, l := range spec.Layers {
		for _, t := range l.tensors(spec.inputOf(i, shapes)) {
			t.initialize(slots[0].data, seed, index)
			slots = slots[1:]
			if t.trained {
				index++
			}
		}
	}
	return n, nil
}

// build allocates the network of a valid, named description; weights are zero.
func build(spec Spec, seed uint64, pool *kernel.Pool) *Network {
	n := &Network{spec: spec, env: env{pool: pool}}
	memory, shapes := make([]layerMemory, len(spec.Layers)), spec.shapes()
	for i, l := range spec.Layers {
		memory[i] = n.allocate(l, spec.inputOf(i, shapes))
	}
	n.prog = compile(spec, memory, seed)
	n.acts = make([][]float32, len(n.prog.nodes))
	return n
}

// layerMemory is the tensors of one layer, by role.
type layerMemory map[string]tensorMemory

type tensorMemory struct{ value, grad []float32 }

// allocate makes a layer's tensors and registers them.
func (n *Network) allocate(l Layer, in Shape) layerMemory {
	memory := layerMemory{}
	for _, t := range l.tensors(in) {
		name := l.Name + "." + t.role
		m := tensorMemory{value: make([]float32, elements(t.shape))}
		if t.trained {
			m.grad = make([]float32, len(m.value))
			n.params = append(n.params, Param{Name: name, Shape: t.shape, Value: m.value, Grad: m.grad, Decay: t.decay})
		}
		n.slots = append(n.slots, slot{name: name, shape: t.shape, data: m.value})
		memory[t.role] = m
	}
	return memory
}

// Spec returns the description, every layer named.
func (n *Network) Spec() Spec { return n.spec }

// Dim is the dimension of the embedding.
func (n *Network) Dim() int { return n.prog.width }

// ParamCount is the number of trainable values.
func (n *Network) ParamCount() int { return n.spec.ParamCount() }

// Params returns the trainable tensors in the order of the layers. The slice
// is the network's own and must not be changed; the values may be.
func (n *Network) Params() []Param { return n.params }

// LayerNames returns the names of the layers in order.
func (n *Network) LayerNames() []string {
	names := make([]string, len(n.spec.Layers))
	for i, l := range n.spec.Layers {
		names[i] = l.Name
	}
	return names
}

// SetStep sets the index of the training step, which selects the masks of
// dropout. They are a function of seed, layer, step and position alone, so
// that a resumed run draws what an uninterrupted one would have.
func (n *Network) SetStep(step uint64) { n.env.step = step }

// Forward maps rows inputs, each of Spec().Input.Size() values, to rows x Dim
// embeddings: unit vectors if the network ends in l2normalize, as all presets
// do. The result belongs to the network until its next Forward with the same
// train.
//
// With train, batch norm uses the statistics of the batch and moves its
// running averages (by 0.1, with the unbiased variance), dropout is active,
// and what Backward needs is kept. x is kept by reference: it must stay
// unchanged until Backward. Without train, it is inference as in
// [Network.Output] and leaves a pending training pass alone.
func (n *Network) Forward(x []float32, rows int, train bool) []float32 {
	n.checkInput(x, rows)
	if !train {
		n.embedded = grow(n.embedded, rows*n.prog.width)
		n.infer(n.embedded, x, rows, len(n.spec.Layers)-1)
		return n.embedded
	}
	n.plan(rows)
	n.input, n.rows, n.pending = x[:rows*n.spec.Input.Size()], rows, true
	cur := n.input
	for i, d := range n.prog.nodes {
		y := n.acts[i][:rows*d.out]
		d.op.forward(&n.env, y, cur, rows)
		cur = y
	}
	return cur
}

func (n *Network) checkInput(x []float32, rows int) {
	if rows < 1 || len(x) < rows*n.spec.Input.Size() {
		panic("encoder: fewer input values than rows")
	}
}

// plan allocates the memory of a training pass, unless it has been planned
// for as many rows already.
func (n *Network) plan(rows int) {
	if rows <= n.planned {
		return
	}
	n.planned = rows
	for i, d := range n.prog.nodes {
		n.acts[i] = make([]float32, rows*d.out)
		d.op.plan(rows)
	}
	for i, size := range n.prog.gradSizes() {
		n.grads[i] = make([]float32, rows*size)
	}
}

// Backward takes the gradient of a loss with respect to the embeddings that
// the last Forward with train returned (rows x Dim, left unchanged) and
// overwrites the gradients of all parameters. Every Forward allows one
// Backward, any time before the weights change.
func (n *Network) Backward(dz []float32) {
	if !n.pending {
		panic("encoder: Backward without a Forward in training mode")
	}
	if len(dz) < n.rows*n.prog.width {
		panic("encoder: Backward with fewer gradients than embeddings")
	}
	n.pending = false
	dy, owner := dz[:n.rows*n.prog.width], -1
	for i := len(n.prog.nodes) - 1; i >= 0; i-- {
		d, x := n.prog.nodes[i], n.input
		if i > 0 {
			x = n.acts[i-1][:n.rows*d.in]
		}
		var dx []float32
		if d.inputGrad {
			owner = d.gradBuffer(owner)
			dx = n.grads[owner][:n.rows*d.in]
		}
		d.op.backward(&n.env, dx, dy, x, n.acts[i][:n.rows*d.out], n.rows)
		if dx == nil {
			return // nothing before this node has parameters
		}
		dy = dx
	}
}

// Output runs inference (running statistics, no dropout) on rows inputs and
// returns a new slice of rows x width with the output of layer: [Embedding],
// [Features] or a layer's name. Any number of rows will do: they pass through in
// blocks of bounded memory, and a pending training pass is left alone. The
// error lists the layers there are.
func (n *Network) Output(x []float32, rows int, layer string) ([]float32, int, error) {
	i, err := n.layerIndex(layer)
	if err != nil {
		return nil, 0, err
	}
	n.checkInput(x, rows)
	width := n.widthOf(i)
	out := make([]float32, rows*width)
	n.infer(out, x, rows, i)
	return out, width, nil
}

// Width is the number of values per row that [Network.Output] gives for layer.
func (n *Network) Width(layer string) (int, error) {
	i, err := n.layerIndex(layer)
	if err != nil {
		return 0, err
	}
	return n.widthOf(i), nil
}

// layerIndex resolves a name; -1 stands for the input.
func (n *Network) layerIndex(layer string) (int, error) {
	switch layer {
	case Embedding:
		return len(n.spec.Layers) - 1, nil
	case Features:
		return n.spec.featuresLayer(), nil
	}
	i := slices.IndexFunc(n.spec.Layers, func(l Layer) bool { return l.Name == layer })
	if i < 0 {
		return 0, fmt.Errorf("encoder %s has no layer %q: choose %s, %s or one of %v", n.spec.Name, layer, Embedding, Features, n.LayerNames())
	}
	return i, nil
}

func (n *Network) widthOf(layer int) int {
	if layer < 0 {
		return n.spec.Input.Size()
	}
	return n.spec.shapes()[layer].Size()
}

// infer writes the output of a layer (-1: the input) for all rows to dst.
func (n *Network) infer(dst, x []float32, rows, layer int) {
	in, width := n.spec.Input.Size(), n.widthOf(layer)
	step := n.prog.blockRows()
	for i := range n.block {
		n.block[i] = grow(n.block[i], min(step, rows)*n.prog.widest)
	}
	for lo := 0; lo < rows; lo += step {
		hi := min(lo+step, rows)
		n.inferBlock(dst[lo*width:hi*width], x[lo*in:hi*in], hi-lo, layer)
	}
}

func (n *Network) inferBlock(dst, x []float32, rows, layer int) {
	end, cur := 0, x
	if layer >= 0 {
		end = n.prog.ends[layer]
	}
	for i, d := range n.prog.nodes[:end] {
		y := n.block[i%2][:rows*d.out]
		if i == end-1 {
			y = dst
		}
		if layer < d.last {
			d.op.(fused).inferFirst(&n.env, y, cur, rows)
		} else {
			d.op.infer(&n.env, y, cur, rows)
		}
		cur = y
	}
	if end == 0 {
		copy(dst, x)
	}
}

// grow returns a slice of n values, s itself if it is large enough.
func grow(s []float32, n int) []float32 {
	if cap(s) < n {
		return make([]float32, n)
	}
	return s[:n]
}
