package encoder

import (
	"slices"

	"nat/internal/kernel"
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
	arena   []float32
	input   []float32
	rows    int
	pending bool    // a Forward awaits its Backward
	t       tensors // of the operation in progress

	block    []float32 // values of inference
	embedded []float32 // result of Forward without train

	// Weights and statistics have changed so many times, and had when the batch
	// norms of the nodes before foldedTo were folded.
	changes, foldedAt uint64
	foldedTo          int
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
	slots, index := n.slots, uint64(0)
	for _, l := range n.prog.layers {
		for _, t := range l.tensors(l.in) {
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
	layers := spec.place()
	memory := make([]layerMemory, len(layers))
	for i, l := range layers {
		memory[i] = n.allocate(l)
	}
	n.prog = compile(layers, spec.trainLayer(layers), memory, seed)
	return n
}

// layerMemory is the tensors of one layer, by role.
type layerMemory map[string]tensorMemory

type tensorMemory struct{ value, grad []float32 }

// allocate makes a layer's tensors and registers them.
func (n *Network) allocate(l placed) layerMemory {
	memory := layerMemory{}
	for _, t := range l.tensors(l.in) {
		name := l.Name + "." + t.role
		m := tensorMemory{value: make([]float32, elements(t.shape))}
		if t.trained {
			m.grad = make([]float32, len(m.value))
			p := Param{Name: name, Shape: t.shape, Value: m.value, Grad: m.grad, Decay: t.decay, changes: &n.changes}
			n.params = append(n.params, p)
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

// TrainDim is the width of what Forward with train returns: Dim, unless the
// description says that training ends at another layer.
func (n *Network) TrainDim() int { return n.prog.trainWidth }

// ParamCount is the number of trainable values.
func (n *Network) ParamCount() int { return n.spec.ParamCount() }

// Params returns the trainable tensors in the order of the layers. The slice
// is the network's own and must not be changed; the values may be. The network
// takes the call to mean that they have been.
func (n *Network) Params() []Param {
	n.changes++
	return n.params
}

// LayerNames returns the names of the layers in order, as in [Spec.LayerNames].
func (n *Network) LayerNames() []string { return n.spec.LayerNames() }

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
// unchanged until Backward. The result is that of the layer Spec.Train names,
// rows x TrainDim, if it names one. Without train, it is inference as in
// [Network.Output] and leaves a pending training pass alone.
func (n *Network) Forward(x []float32, rows int, train bool) []float32 {
	n.checkInput(x, rows)
	if !train {
		n.embedded = grow(n.embedded, rows*n.prog.width)
		end := len(n.prog.layers) - 1
		n.infer(x, rows, output{end, n.prog.valueOf(end), n.prog.width, n.embedded})
		return n.embedded
	}
	n.plan(rows)
	n.changes++ // running statistics
	n.input, n.rows, n.pending = x[:rows*n.spec.Input.Size()], rows, true
	for i, d := range n.prog.nodes[:n.prog.steps] {
		n.t = tensors{rows: rows, x: n.value(d.x, d.in), y: n.value(i+1, d.out)}
		if d.add != none {
			n.t.add = n.value(d.add, d.out)
		}
		d.op.forward(&n.env, &n.t)
	}
	return n.value(n.prog.steps, n.prog.trainWidth)
}

// value returns a value of the training pass, of a width per row.
func (n *Network) value(v, width int) []float32 {
	if v == 0 {
		return n.input
	}
	return n.stored(n.prog.training.values[v], width)
}

// stored returns what a storage of the training pass holds.
func (n *Network) stored(storage, width int) []float32 {
	return n.prog.training.slice(n.arena, storage, n.rows, width)
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
	n.arena = nil // lets the collector have it before the larger one is made
	n.arena = make([]float32, rows*n.prog.training.size)
	for _, d := range n.prog.nodes[:n.prog.steps] {
		d.op.plan(rows)
	}
}

// Backward takes the gradient of a loss with respect to the embeddings that
// the last Forward with train returned (rows x TrainDim, left unchanged) and
// overwrites the gradients of all parameters. Every Forward allows one
// Backward, any time before the weights change. It reads the x of Forward.
func (n *Network) Backward(dz []float32) {
	if !n.pending {
		panic("encoder: Backward without a Forward in training mode")
	}
	if len(dz) < n.rows*n.prog.trainWidth {
		panic("encoder: Backward with fewer gradients than embeddings")
	}
	n.pending = false
	for i := n.prog.steps - 1; i >= 0; i-- {
		d, b := n.prog.nodes[i], n.prog.training.back[i]
		if b.skip {
			continue
		}
		n.t = tensors{rows: n.rows, dy: dz[:n.rows*n.prog.trainWidth]}
		if b.dy != none {
			n.t.dy = n.stored(b.dy, d.out)
		}
		if x, y := d.op.needs(); x || y {
			n.t.x, n.t.y = n.value(d.x, d.in), n.value(i+1, d.out)
		}
		if b.dx != none {
			n.t.dx = n.stored(b.dx, d.in)
		}
		if b.dadd != none {
			n.t.dadd = n.stored(b.dadd, d.out)
		}
		d.op.backward(&n.env, &n.t)
		if b.into != none {
			n.env.pool.Add(n.stored(b.into, d.in), n.t.dx)
		}
	}
	n.t = tensors{}
}

// WantInputGrad makes every Backward compute the gradient of the input as well, for
// [Network.InputGrad]. It is called before the first Forward.
func (n *Network) WantInputGrad() {
	if n.planned > 0 {
		panic("encoder: WantInputGrad after a Forward in training mode")
	}
	n.prog.training = n.prog.planTraining(true)
}

// InputGrad is the gradient of the last Backward with respect to the input, rows x
// Spec().Input.Size(). It belongs to the network until the next Forward with train.
func (n *Network) InputGrad() []float32 {
	if n.prog.training.dinput == none {
		panic("encoder: InputGrad without WantInputGrad")
	}
	return n.stored(n.prog.training.dinput, n.spec.Input.Size())
}

// Output runs inference (running statistics, no dropout) on rows inputs and
// returns a new slice of rows x width with the output of layer: [Embedding],
// [Features], another of the names beside these, or a layer's. Any number of rows will do: they pass through in
// blocks of bounded memory, and a pending training pass is left alone. The
// error lists the layers there are.
//
// Batch norms are folded into the weights before them, when one of the two has
// changed: see [Param]. The rounding of a row does not depend on the rows with it.
func (n *Network) Output(x []float32, rows int, layer string) ([]float32, int, error) {
	n.checkInput(x, rows)
	o, err := n.output(layer, rows)
	if err != nil {
		return nil, 0, err
	}
	n.infer(x, rows, o)
	return o.dst, o.width, nil
}

// Outputs is [Network.Output] for several layers, with the same bits. Layers that
// lie on the way to the deepest of them cost nothing more, unless they are ones
// that only training computes, such as the input of a batch norm that is folded.
func (n *Network) Outputs(x []float32, rows int, layers []string) ([][]float32, error) {
	n.checkInput(x, rows)
	all, outs, deepest := make([]output, len(layers)), make([][]float32, len(layers)), 0
	for i, layer := range layers {
		var err error
		if all[i], err = n.output(layer, rows); err != nil {
			return nil, err
		}
		outs[i] = all[i].dst
		if all[i].value > all[deepest].value {
			deepest = i
		}
	}
	var kept []output
	for i, o := range all {
		isKept := func(k output) bool { return k.value == o.value }
		switch {
		case i == deepest:
		case o.value < all[deepest].value && n.passed(o) && !slices.ContainsFunc(kept, isKept):
			kept = append(kept, o)
		default:
			n.infer(x, rows, o)
		}
	}
	if len(all) > 0 {
		n.infer(x, rows, all[deepest], kept...)
	}
	return outs, nil
}

// output is what a pass of inference leaves of one layer.
type output struct {
	layer, value, width int
	dst                 []float32 // rows x width
}

func (n *Network) output(layer string, rows int) (output, error) {
	i, err := n.layerIndex(layer)
	if err != nil {
		return output{}, err
	}
	width := n.widthOf(i)
	return output{i, n.prog.valueOf(i), width, make([]float32, rows*width)}, nil
}

// block is rows lo to hi-1.
func (o *output) block(lo, hi int) []float32 { return o.dst[lo*o.width : hi*o.width] }

// passed reports whether inference of a deeper layer computes this one.
func (n *Network) passed(o output) bool {
	if o.value == 0 {
		return false
	}
	d := n.prog.nodes[o.value-1]
	return o.layer >= d.last && !d.fold
}

// Width is the number of values per row that [Network.Output] gives for layer.
func (n *Network) Width(layer string) (int, error) {
	i, err := n.layerIndex(layer)
	if err != nil {
		return 0, err
	}
	return n.widthOf(i), nil
}

func (n *Network) widthOf(layer int) int {
	if layer < 0 {
		return n.spec.Input.Size()
	}
	return n.prog.layers[layer].out.Size()
}

// infer writes the output of a layer for all rows, and those of layers that are
// passed on the way there.
func (n *Network) infer(x []float32, rows int, last output, kept ...output) {
	in := n.spec.Input.Size()
	step := min(n.prog.inference.rows, rows)
	n.block = grow(n.block, step*n.prog.inference.size)
	n.env.lengths = grow(n.env.lengths, step)
	n.fold(last.value)
	for lo := 0; lo < rows; lo += step {
		hi := min(lo+step, rows)
		n.inferBlock(x[lo*in:hi*in], lo, hi, &last, kept)
	}
}

// fold folds the batch norms among the nodes before value that have not been
// folded since the last change of weights or statistics.
func (n *Network) fold(value int) {
	if n.foldedAt != n.changes {
		n.foldedAt, n.foldedTo = n.changes, 0
	}
	for ; n.foldedTo+1 < value; n.foldedTo++ {
		d := n.prog.nodes[n.foldedTo]
		if !d.fold {
			continue
		}
		o := d.op.(*linearOp)
		if len(n.env.zeros) < o.out {
			n.env.zeros = make([]float32, o.out)
		}
		o.fold(&n.env)
	}
}

// inferBlock runs the nodes up to last's on the inputs of rows lo to hi-1.
func (n *Network) inferBlock(x []float32, lo, hi int, last *output, kept []output) {
	plan, rows := &n.prog.inference, hi-lo
	get := func(v, width int) []float32 {
		switch v {
		case 0:
			return x
		case last.value:
			return last.block(lo, hi)
		}
		for i := range kept {
			if kept[i].value == v {
				return kept[i].block(lo, hi)
			}
		}
		return plan.slice(n.block, plan.values[v], rows, width)
	}
	for i := 0; i < last.value; i++ {
		product, d := n.prog.nodes[i], n.prog.nodes[i]
		folded := d.fold && i+1 < last.value
		if folded {
			i++
			d = n.prog.nodes[i]
		}
		n.t = tensors{rows: rows, x: get(product.x, product.in), y: get(i+1, d.out), plain: last.layer < d.last && i+1 == last.value}
		if d.add != none {
			n.t.add = get(d.add, d.out)
		}
		if folded {
			product.op.(*linearOp).inferFolded(&n.env, &n.t)
		} else {
			d.op.infer(&n.env, &n.t)
		}
	}
	if last.value == 0 {
		copy(last.block(lo, hi), x)
	}
	n.t = tensors{}
}

// grow returns a slice of n values, s itself if it is large enough.
func grow(s []float32, n int) []float32 {
	if cap(s) < n {
		return make([]float32, n)
	}
	return s[:n]
}
