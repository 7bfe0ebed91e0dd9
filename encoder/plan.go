package encoder

import (
	"cmp"
	"slices"
)

// A storage is memory for one value or gradient, or for several that take
// turns in it, from one point of the schedule to another. Sizes and offsets are
// in values per row, so one plan serves any number of rows.
type storage struct{ size, first, last, offset int }

// arena lays storages out so that those in use at the same time do not overlap.
type arena struct {
	storages []storage
	size     int
}

// lineValues is the granularity of storages: a cache line.
const lineValues = 16

// add makes a storage and returns its number.
func (a *arena) add(size, first, last int) int {
	size = (size + lineValues - 1) / lineValues * lineValues
	a.storages = append(a.storages, storage{size: size, first: first, last: last})
	return len(a.storages) - 1
}

// keep makes a storage last until t.
func (a *arena) keep(i, t int) { a.storages[i].last = max(a.storages[i].last, t) }

// pack chooses the offsets: the largest storage first, each in the lowest gap
// between those placed before whose times overlap its own.
func (a *arena) pack() {
	order := make([]int, len(a.storages))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(a.storages[j].size, a.storages[i].size) })
	var placed []storage // by offset
	for _, i := range order {
		s := &a.storages[i]
		for _, o := range placed {
			if o.first > s.last || o.last < s.first {
				continue
			}
			if s.offset+s.size <= o.offset {
				break
			}
			s.offset = max(s.offset, o.offset+o.size)
		}
		at, _ := slices.BinarySearchFunc(placed, s.offset, func(o storage, offset int) int { return cmp.Compare(o.offset, offset) })
		placed = slices.Insert(placed, at, *s)
		a.size = max(a.size, s.offset+s.size)
	}
}

// slice returns the values of a storage for rows of the given width in memory.
func (a *arena) slice(memory []float32, i, rows, width int) []float32 {
	return memory[a.storages[i].offset*rows:][:rows*width]
}

// trainingPlan is where a training pass keeps values and their gradients. Of n
// nodes, i runs forward at time i and backward at time 2n-1-i.
type trainingPlan struct {
	arena
	values []int // the storage of each value; none for the input
	back   []backStep
	dinput int // the storage of the input's gradient, or none
}

// backStep is the backward pass of a node, in storages.
type backStep struct {
	skip         bool // no parameter depends on it
	dy, dx, dadd int  // dy is none for the last node, whose gradient is the caller's
	into         int  // what dx is added to, or none
}

// planTraining decides how long values are kept, and for the gradients where
// they come to lie: in place of the gradient they are computed from if the
// operation allows it. The input gets a gradient if dinput asks for it.
func (p *program) planTraining(dinput bool) trainingPlan {
	whole := p
	p = &program{layers: whole.layers, nodes: whole.nodes[:whole.steps]} // what training runs
	n, plan := len(p.nodes), &p.training
	trained := p.trained(dinput)
	uses := p.lastReaders()
	for i, d := range p.nodes {
		if !trained[i+1] {
			continue
		}
		x, y := d.op.needs()
		if x {
			uses[d.x] = max(uses[d.x], 2*n-1-i)
		}
		if y {
			uses[i+1] = max(uses[i+1], 2*n-1-i)
		}
	}
	uses[n] = 2*n - 1 // the embedding is the caller's until the next pass
	plan.values = p.planValues(&plan.arena, uses, false)
	plan.back = make([]backStep, n)
	gradient := make([]int, n+1)
	for v := range gradient {
		gradient[v] = none
	}
	for i := n - 1; i >= 0; i-- {
		b := backStep{skip: !trained[i+1], dy: gradient[i+1], dx: none, dadd: none, into: none}
		if !b.skip {
			p.planBack(&b, i, gradient, trained)
		}
		plan.back[i] = b
	}
	if plan.dinput = gradient[0]; plan.dinput != none {
		plan.keep(plan.dinput, 2*n) // the caller's until the next pass
	}
	plan.pack()
	return *plan
}

// planBack plans the backward step of node i. The shortcut's gradient is always
// the first that its value gets: of the nodes that read the value, the addition
// is the last forward.
func (p *program) planBack(b *backStep, i int, gradient []int, trained []bool) {
	d, a, t := p.nodes[i], &p.training.arena, 2*len(p.nodes)-1-i
	free := b.dy != none // to be overwritten
	if free {
		a.keep(b.dy, t)
	}
	if d.add != none && trained[d.add] {
		if b.dadd = b.dy; !free {
			b.dadd = a.add(d.out, t, t)
		}
		gradient[d.add], free = b.dadd, false
	}
	// The kernel of batch norm always wants a place for the input's gradient.
	if _, always := d.op.(*batchNormOp); !trained[d.x] && !always {
		return
	}
	if b.dx = b.dy; !free || !d.op.inPlace() {
		b.dx = a.add(d.in, t, t)
	}
	switch {
	case !trained[d.x]:
	case gradient[d.x] == none:
		gradient[d.x] = b.dx
	default:
		b.into = gradient[d.x]
		a.keep(b.into, t)
	}
}

// trained tells of each value whether it needs a gradient: it depends on parameters,
// or on an input that has one.
func (p *program) trained(input bool) []bool {
	trained := make([]bool, len(p.nodes)+1)
	trained[0] = input
	for i, d := range p.nodes {
		own := slices.ContainsFunc(p.layers[d.last].tensors(p.layers[d.last].in), func(t tensorSpec) bool { return t.trained })
		_, norm := d.op.(*batchNormOp)
		trained[i+1] = own || norm || trained[d.x] || d.add != none && trained[d.add]
	}
	return trained
}

// lastReaders returns for each value the last node that reads it, or the one
// that writes it if none does.
func (p *program) lastReaders() []int {
	last := make([]int, len(p.nodes)+1)
	for i, d := range p.nodes {
		last[i+1] = i
		last[d.x] = i
		if d.add != none {
			last[d.add] = i
		}
	}
	return last
}

// planValues gives each value a storage from its node to its last use: that of
// the shortcut added to it or of the node's input if this is their last use and
// the operation allows it. With fold, a batch norm's output is written by the
// product before it, which has none itself.
func (p *program) planValues(a *arena, uses []int, fold bool) []int {
	values := make([]int, len(p.nodes)+1)
	values[0] = none
	for i, d := range p.nodes {
		v := i + 1
		free := func(u int) bool { return u > 0 && uses[u] == i && values[u] != none }
		switch {
		case fold && d.fold:
			values[v] = none
			continue
		case fold && i > 0 && p.nodes[i-1].fold:
			values[v] = a.add(d.out, i-1, uses[v])
			continue
		case d.add != none && free(d.add):
			values[v] = values[d.add]
		case d.op.inPlace() && free(d.x):
			values[v] = values[d.x]
		default:
			values[v] = a.add(d.out, i, uses[v])
			continue
		}
		a.keep(values[v], uses[v])
	}
	return values
}

// inferencePlan is where inference keeps values, from node to node. The last
// node asked for writes to the caller's memory.
type inferencePlan struct {
	arena
	values []int
	rows   int // that inference takes at a time
}

// Inference takes rows in blocks of about blockValues values, at most blockRows:
// enough rows to make up for what the kernels do to the weights in each call.
const (
	blockValues = 1 << 24
	blockRows   = 512
)

func (p *program) planInference() {
	plan := &p.inference
	plan.values = p.planValues(&plan.arena, p.lastReaders(), true)
	plan.pack()
	plan.rows = max(1, min(blockRows, blockValues/max(plan.size, 1)))
}

// MemoryBytes is the memory that a network of this valid description takes.
// With train: weights, gradients and the training pass over rows, in which
// values that the backward pass does not read and gradients share memory; the
// state of an optimiser (4 bytes per parameter for SGD, 8 for AdamW) and the
// input are the caller's. Without: weights, the copies of them with the batch
// norms folded in, and the buffers of inference, which are bounded whatever the
// rows, with the result of Forward. The scratch memory of the kernels is the
// pool's, and not counted.
func (s Spec) MemoryBytes(rows int, train bool) int64 {
	s = s.named()
	layers := s.place()
	p := compile(layers, s.trainLayer(layers), nil, 0)
	values, bytes := int64(0), int64(0)
	for _, l := range p.layers {
		for _, t := range l.tensors(l.in) {
			values += int64(elements(t.shape))
			if t.trained && train {
				values += int64(elements(t.shape))
			}
		}
	}
	kept := 0
	if train {
		kept = rows
		values += int64(rows) * int64(p.training.size)
	} else {
		block := min(rows, p.inference.rows)
		values += int64(block)*int64(p.inference.size+1) + int64(rows)*int64(p.width) + p.foldedValues()
	}
	for i, d := range p.nodes {
		if i >= p.steps {
			kept = 0
		}
		bytes += d.op.bytes(kept)
	}
	return bytes + 4*values
}

// foldedValues counts the values of all folded weights and biases, and zeros.
func (p *program) foldedValues() int64 {
	n, widest := 0, 0
	for _, d := range p.nodes {
		if d.fold {
			o := d.op.(*linearOp)
			n += (o.fan() + 1) * o.out
			widest = max(widest, o.out)
		}
	}
	return int64(n + widest)
}
