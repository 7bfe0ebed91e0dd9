package encoder

import "nat/internal/kernel"

// program is a description made ready to run: a list of nodes that read and
// write values. Value 0 is the network's input, value i+1 the output of node i.
// Flatten and unflatten layers are gone (they change no value), and a batch norm is one node
// with the ReLU, or with the addition and ReLU of a residual block, after it.
type program struct {
	layers []placed
	nodes  []node
	values []int // for each layer, the value that is or holds its output
	width  int   // of the embedding

	steps      int // nodes that a training pass runs
	trainWidth int // of what it returns

	training  trainingPlan
	inference inferencePlan
}

const none = -1

// node is one operation.
type node struct {
	op      op
	last    int  // the last of the layers it stands for
	x, add  int  // the values it reads; add is the shortcut's, or none
	in, out int  // values per row
	fold    bool // a product that only the next node reads, which is a batch norm
}

// env is what operations need to run.
type env struct {
	pool    *kernel.Pool
	step    uint64    // selects the masks of dropout
	zeros   []float32 // as many as the widest folded layer has outputs
	lengths []float32 // of the rows of inference, which nobody reads
}

// tensors are the operands of an operation: exactly rows times the node's
// width values each, nil where there is none or nobody wants it.
type tensors struct {
	rows         int
	y, x, add    []float32
	dy, dx, dadd []float32
	plain        bool // in inference: without the addition and ReLU after a batch norm
}

// op computes one node.
type op interface {
	// plan allocates what a training pass over rows keeps besides values; bytes
	// counts it together with what the operation has always.
	plan(rows int)
	bytes(rows int) int64
	forward(e *env, t *tensors)
	infer(e *env, t *tensors)
	// backward overwrites the gradients of the parameters, dx and dadd.
	backward(e *env, t *tensors)
	// needs tells whether backward reads the node's input and output.
	needs() (x, y bool)
	// inPlace tells whether y may be x, and dx may be dy. A sum may be added up
	// in place of the shortcut, and dadd may be dy if dx is not.
	inPlace() bool
}

// compile turns placed layers into a program over the given memory, one entry
// per layer. With nil memory it serves to count sizes. Training ends with layer
// train, whose output it reads.
func compile(layers []placed, train int, memory []layerMemory, seed uint64) program {
	p := program{layers: layers, values: make([]int, len(layers)), width: layers[len(layers)-1].out.Size(), trainWidth: layers[train].out.Size()}
	readers := countReaders(layers)
	if train < len(layers)-1 {
		readers[train]++
	}
	for i := 0; i < len(layers); i++ {
		l, last := layers[i], i
		if l.Type == Flatten || l.Type == Unflatten {
			p.values[i] = p.valueOf(l.x)
			continue
		}
		d := node{x: p.valueOf(l.x), add: none, in: l.in.Size(), out: l.out.Size()}
		if l.Type == BatchNorm && readers[i] == 1 {
			switch next := layers[i+1]; {
			case next.Type == ReLU:
				last++
			case next.Type == Residual && next.x == i:
				last++
				d.add = p.valueOf(next.shortcut)
			}
		}
		var m layerMemory
		if memory != nil {
			m = memory[i]
		}
		d.op, d.last = newOp(l, m, last > i, dropoutKey(seed, i)), last
		p.join(d, readers, i)
		for ; i < last; i++ {
			p.values[i] = len(p.nodes)
		}
		p.values[last] = len(p.nodes)
	}
	p.steps = p.valueOf(train)
	p.training = p.planTraining(false)
	p.planInference()
	return p
}

// valueOf returns the value of a layer's output, or the input for -1.
func (p *program) valueOf(layer int) int {
	if layer < 0 {
		return 0
	}
	return p.values[layer]
}

// countReaders counts the layers that read each layer's output.
func countReaders(layers []placed) []int {
	n := make([]int, len(layers)+1) // the last for the input
	for _, l := range layers {
		n[(l.x+len(n))%len(n)]++
		if l.Type == Residual {
			n[(l.shortcut+len(n))%len(n)]++
		}
	}
	return n
}

// join appends a node. A batch norm whose input is a product that nothing else
// reads gets the moments of its input from there in training, and is folded
// into its weights in inference.
func (p *program) join(d node, readers []int, layer int) {
	bn, ok := d.op.(*batchNormOp)
	if x := p.layers[layer].x; ok && len(p.nodes) > 0 && d.x == len(p.nodes) && readers[x] == 1 {
		before := &p.nodes[len(p.nodes)-1]
		if product, ok := before.op.(*linearOp); ok && before.last == x {
			before.fold, product.bn = true, bn
			bn.given = product.bias.value == nil
		}
	}
	if ok {
		bn.shortcut = d.add != none
	}
	p.nodes = append(p.nodes, d)
}

// newOp makes the operation of a layer; relu fuses the one that follows.
func newOp(l placed, m layerMemory, relu bool, key uint64) op {
	switch l.Type {
	case Conv, Dense, Sobel:
		return newLinear(l, m)
	case BatchNorm:
		return newBatchNorm(l, m, relu)
	case ConvTranspose:
		return newTransposed(l, m)
	case ReLU, LeakyReLU:
		return &reluOp{slope: float32(l.Slope)}
	case Sigmoid:
		return newSigmoid(l.out.Size())
	case FirstHalf:
		return &halfOp{width: l.out.C}
	case MaxPool:
		return &maxPoolOp{shape: poolShape(l)}
	case AvgPool, GlobalPool:
		return &avgPoolOp{shape: poolShape(l)}
	case Dropout:
		return newDropout(l.out.Size(), l.Rate, key)
	case L2Normalize:
		return &normalizeOp{d: l.in.C}
	}
	panic("encoder: layer type without an operation")
}
