package encoder

import (
	"fmt"
	"math"

	"nat/internal/kernel"
	"nat/internal/tensorfile"
)

// Optimizer changes parameters along their gradients and owns what it
// remembers between steps. It is bound to the parameters it was made for.
type Optimizer interface {
	// Step updates every Value from its Grad at learning rate lr. params are
	// those the optimiser was made for, in the same order. An implementation
	// elsewhere cannot tell the network that its weights have changed: see Param.
	Step(params []Param, lr float64)
	// State returns the memory of the optimiser as tensors named after the
	// parameters. They share memory with it.
	State() []tensorfile.Tensor
	// SetState restores what State returned; the error names every tensor
	// that is missing, unknown or of another shape, and nothing is changed.
	SetState(ts []tensorfile.Tensor) error
}

// moments is memory with the shapes of the parameters, one slice for each.
type moments struct {
	suffix string
	values [][]float32
}

func newMoments(params []Param, suffix string) moments {
	m := moments{suffix: suffix, values: make([][]float32, len(params))}
	for i, p := range params {
		m.values[i] = make([]float32, len(p.Value))
	}
	return m
}

func (m moments) slots(names []Param) []slot {
	slots := make([]slot, len(names))
	for i, p := range names {
		slots[i] = slot{name: p.Name + m.suffix, shape: p.Shape, data: m.values[i]}
	}
	return slots
}

// bound remembers the identity of the parameters an optimiser was made for.
type bound []Param

func bind(params []Param) bound {
	b := make(bound, len(params))
	for i, p := range params {
		b[i] = Param{Name: p.Name, Shape: p.Shape}
	}
	return b
}

func (b bound) check(params []Param) {
	if len(params) != len(b) {
		panic("encoder: optimiser step with other parameters")
	}
	for i, p := range params {
		if p.Name != b[i].Name || len(p.Value) != elements(b[i].Shape) {
			panic("encoder: optimiser step with other parameters")
		}
	}
}

// SGD is stochastic gradient descent with momentum in PyTorch's convention:
//
//	g = Grad + decay * Value        (decay only where Param.Decay)
//	v = momentum * v + g            (v = g at the first step)
//	Value -= lr * v                 or, Nesterov, lr * (g + momentum * v)
type SGD struct {
	params          bound
	velocity        moments
	momentum, decay float32
	nesterov        bool
	pool            *kernel.Pool
}

// NewSGD makes an optimiser for params. momentum in [0, 1), decay >= 0.
func NewSGD(params []Param, momentum, decay float64, nesterov bool, pool *kernel.Pool) *SGD {
	if !(momentum >= 0 && momentum < 1 && decay >= 0) {
		panic("encoder: SGD momentum or decay out of range")
	}
	return &SGD{
		params: bind(params), velocity: newMoments(params, ".momentum"),
		momentum: float32(momentum), decay: float32(decay), nesterov: nesterov, pool: pool,
	}
}

// Step implements [Optimizer].
func (s *SGD) Step(params []Param, lr float64) {
	s.params.check(params)
	for i, p := range params {
		s.pool.SGD(p.Value, p.Grad, s.velocity.values[i], float32(lr), s.momentum, decayOf(p, s.decay), s.nesterov)
		p.changed()
	}
}

// State implements [Optimizer]: the velocities, NAME.momentum.
func (s *SGD) State() []tensorfile.Tensor { return toTensors(s.velocity.slots(s.params)) }

// SetState implements [Optimizer].
func (s *SGD) SetState(ts []tensorfile.Tensor) error {
	return setSlots("optimiser state", s.velocity.slots(s.params), ts)
}

// AdamW is Adam with decoupled weight decay (Loshchilov and Hutter, 2019):
// first and second moments with bias correction, and Value shrunk by
// 1 - lr * decay where Param.Decay.
type AdamW struct {
	params        bound
	first, second moments
	step          int
	beta1, beta2  float32
	eps, decay    float32
	pool          *kernel.Pool
}

// NewAdamW makes an optimiser for params. Usual values: beta1 0.9, beta2
// 0.999, eps 1e-8, decay 0.01.
func NewAdamW(params []Param, beta1, beta2, eps, decay float64, pool *kernel.Pool) *AdamW {
	inUnit := beta1 >= 0 && beta1 < 1 && beta2 >= 0 && beta2 < 1
	if !inUnit || !(eps > 0 && decay >= 0) {
		panic("encoder: AdamW constants out of range")
	}
	return &AdamW{
		params: bind(params), first: newMoments(params, ".first_moment"), second: newMoments(params, ".second_moment"),
		beta1: float32(beta1), beta2: float32(beta2), eps: float32(eps), decay: float32(decay), pool: pool,
	}
}

// Step implements [Optimizer].
func (a *AdamW) Step(params []Param, lr float64) {
	a.params.check(params)
	a.step++
	for i, p := range params {
		a.pool.AdamW(p.Value, p.Grad, a.first.values[i], a.second.values[i], a.step,
			float32(lr), a.beta1, a.beta2, a.eps, decayOf(p, a.decay))
		p.changed()
	}
}

// decayOf is the weight decay of one parameter: biases and batch norms have none.
func decayOf(p Param, decay float32) float32 {
	if !p.Decay {
		return 0
	}
	return decay
}

// adamStep is the tensor that counts the steps taken.
const adamStep = "step"

func (a *AdamW) slots() []slot {
	return append(a.first.slots(a.params), a.second.slots(a.params)...)
}

// State implements [Optimizer]: NAME.first_moment, NAME.second_moment and step.
func (a *AdamW) State() []tensorfile.Tensor {
	step := tensorfile.Tensor{Name: adamStep, Shape: []int{1}, Data: []int64{int64(a.step)}}
	return append(toTensors(a.slots()), step)
}

// SetState implements [Optimizer].
func (a *AdamW) SetState(ts []tensorfile.Tensor) error {
	var rest []tensorfile.Tensor
	step := -1
	for _, t := range ts {
		if t.Name != adamStep {
			rest = append(rest, t)
			continue
		}
		if v, ok := t.Data.([]int64); ok && len(v) == 1 && v[0] >= 0 && v[0] < math.MaxInt32 {
			step = int(v[0])
		}
	}
	if step < 0 {
		return fmt.Errorf("optimiser state: no tensor %q with one count of steps", adamStep)
	}
	if err := setSlots("optimiser state", a.slots(), rest); err != nil {
		return err
	}
	a.step = step
	return nil
}

// Schedule is the learning rate of a step (from 0) out of total: a linear rise
// to peak over the first warmup steps, reached at step warmup-1, then half a
// cosine from peak down to 0 at step total.
func Schedule(step, total, warmup int, peak float64) float64 {
	switch {
	case step < warmup:
		return peak * float64(step+1) / float64(warmup)
	case step >= total:
		return 0
	}
	return peak * 0.5 * (1 + math.Cos(math.Pi*float64(step-warmup)/float64(total-warmup)))
}
