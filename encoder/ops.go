package encoder

import (
	"math"

	"nat/internal/kernel"
	"nat/internal/rng"
)

// linearOp is a product with weights: a convolution, a dense layer, or the
// fixed convolution of a Sobel filter, whose weights have no gradient.
type linearOp struct {
	conv         kernel.ConvShape // N is set per call; KH is 0 for a dense layer
	in, out      int              // of a dense layer; out is the channels of a convolution
	weight, bias tensorMemory     // no bias: nil
	fixed        bool             // a Sobel filter
	bn           *batchNormOp     // that follows at once, or nil

	folded, foldedBias []float32 // for inference, with the batch norm
}

func newLinear(l placed, m layerMemory) *linearOp {
	o := &linearOp{in: l.in.Size(), out: l.out.C, weight: m["weight"], bias: m["bias"]}
	switch l.Type {
	case Conv:
		o.conv = kernel.ConvShape{H: l.in.H, W: l.in.W, C: l.in.C, OutC: l.Out, KH: l.Kernel, KW: l.Kernel, Stride: l.Stride, Pad: l.Pad}
	case Sobel:
		o.conv = kernel.ConvShape{H: l.in.H, W: l.in.W, C: l.in.C, OutC: 2, KH: 3, KW: 3, Stride: 1, Pad: 1}
		o.weight.value, o.fixed = sobelWeights(l.in.C), true
	}
	return o
}

// sobelWeights are the filters of Sobel for the horizontal and the vertical
// derivative, of the mean over c channels, as a convolution [3, 3, c, 2].
func sobelWeights(c int) []float32 {
	w := make([]float32, 0, 3*3*c*2)
	across, along := [3]float32{1, 0, -1}, [3]float32{1, 2, 1}
	for y := range 3 {
		for x := range 3 {
			for range c {
				w = append(w, across[x]*along[y]/float32(c), across[y]*along[x]/float32(c))
			}
		}
	}
	return w
}

func (o *linearOp) plan(int)           {}
func (o *linearOp) inPlace() bool      { return false }
func (o *linearOp) needs() (x, y bool) { return !o.fixed, false }

func (o *linearOp) bytes(int) int64 {
	if o.fixed {
		return 4 * int64(len(o.weight.value))
	}
	return 0 // weights are counted with the layers
}

func (o *linearOp) of(rows int) kernel.ConvShape {
	s := o.conv
	s.N = rows
	return s
}

// positions is the number of rows of the product.
func (o *linearOp) positions(rows int) int {
	if o.conv.KH == 0 {
		return rows
	}
	return rows * o.conv.OutH() * o.conv.OutW()
}

// fan is the number of inputs of one output.
func (o *linearOp) fan() int {
	if o.conv.KH == 0 {
		return o.in
	}
	return o.conv.KH * o.conv.KW * o.conv.C
}

func (o *linearOp) multiply(e *env, t *tensors, w []float32, then kernel.Epilogue) {
	if o.conv.KH == 0 {
		e.pool.DenseForward(t.y, t.x, w, t.rows, o.in, o.out, then)
		return
	}
	e.pool.ConvForwardThen(t.y, t.x, w, o.of(t.rows), then)
}

func (o *linearOp) forward(e *env, t *tensors) {
	then := kernel.Epilogue{Bias: o.bias.value}
	if o.bn != nil && o.bn.given {
		then.Mean, then.Variance = o.bn.mean, o.bn.variance
	}
	o.multiply(e, t, o.weight.value, then)
}

func (o *linearOp) infer(e *env, t *tensors) {
	o.multiply(e, t, o.weight.value, kernel.Epilogue{Bias: o.bias.value})
}

// fold computes the weights of product and batch norm in one: the batch norm
// scales a column of weights as it would scale what comes out of it.
func (o *linearOp) fold(e *env) {
	n, bn := o.fan(), o.bn
	o.folded, o.foldedBias = grow(o.folded, n*o.out), grow(o.foldedBias, o.out)
	zeros, bias := e.zeros[:o.out], o.bias.value
	if bias == nil {
		bias = zeros
	}
	e.pool.BatchNormApply(o.folded, o.weight.value, nil, bn.gamma.value, zeros, zeros, bn.runningVar, n, o.out, bnEpsilon, false)
	e.pool.BatchNormApply(o.foldedBias, bias, nil, bn.gamma.value, bn.beta.value, bn.runningMean, bn.runningVar, 1, o.out, bnEpsilon, false)
}

// inferFolded is the product with the batch norm and what is fused with it.
func (o *linearOp) inferFolded(e *env, t *tensors) {
	then := kernel.Epilogue{Bias: o.foldedBias}
	if !t.plain {
		then.Add, then.ReLU = t.add, o.bn.relu
	}
	o.multiply(e, t, o.folded, then)
}

func (o *linearOp) backward(e *env, t *tensors) {
	if !o.fixed {
		o.weightGrad(e, t)
	}
	if o.bias.value != nil {
		e.pool.BiasGrad(o.bias.grad, t.dy, o.positions(t.rows), o.out)
	}
	switch {
	case t.dx == nil:
	case o.conv.KH > 0:
		e.pool.ConvInputGrad(t.dx, t.dy, o.weight.value, o.of(t.rows))
	default:
		e.pool.Gemm(t.dx, o.in, t.dy, o.out, false, o.weight.value, o.out, true, t.rows, o.in, o.out, false)
	}
}

func (o *linearOp) weightGrad(e *env, t *tensors) {
	if o.conv.KH > 0 {
		e.pool.ConvWeightGrad(o.weight.grad, t.x, t.dy, o.of(t.rows))
		return
	}
	e.pool.Gemm(o.weight.grad, o.out, t.x, o.in, true, t.dy, o.out, false, o.in, o.out, t.rows, false)
}

// batchNormOp normalises each channel over rows and positions. If shortcut is
// set it adds one, and if relu is set the ReLU is part of it.
type batchNormOp struct {
	c, positions            int
	relu, shortcut          bool
	given                   bool // mean and variance come from the product before
	gamma, beta             tensorMemory
	runningMean, runningVar []float32
	mean, variance          []float32 // of the batch in training
}

func newBatchNorm(l placed, m layerMemory, relu bool) *batchNormOp {
	return &batchNormOp{
		c: l.in.C, positions: l.in.H * l.in.W, relu: relu, gamma: m["weight"], beta: m["bias"],
		runningMean: m["running_mean"].value, runningVar: m["running_var"].value,
		mean: make([]float32, l.in.C), variance: make([]float32, l.in.C),
	}
}

func (o *batchNormOp) plan(int)        {}
func (o *batchNormOp) bytes(int) int64 { return 8 * int64(o.c) }
func (o *batchNormOp) inPlace() bool   { return true }

// needs: where the output was positive is computed again from the input, which
// reads less memory, unless a shortcut went into it.
func (o *batchNormOp) needs() (x, y bool) { return true, o.shortcut }

func (o *batchNormOp) forward(e *env, t *tensors) {
	count := t.rows * o.positions
	if !o.given {
		e.pool.BatchNormStats(o.mean, o.variance, t.x, count, o.c)
	}
	e.pool.BatchNormApply(t.y, t.x, t.add, o.gamma.value, o.beta.value, o.mean, o.variance, count, o.c, bnEpsilon, o.relu)
	unbiased := float32(1) // of a single value there is no unbiased variance
	if count > 1 {
		unbiased = float32(float64(count) / float64(count-1))
	}
	for j := range o.c {
		o.runningMean[j] += bnMomentum * (o.mean[j] - o.runningMean[j])
		o.runningVar[j] += bnMomentum * (o.variance[j]*unbiased - o.runningVar[j])
	}
}

func (o *batchNormOp) infer(e *env, t *tensors) {
	add, relu := t.add, o.relu
	if t.plain {
		add, relu = nil, false
	}
	e.pool.BatchNormApply(t.y, t.x, add, o.gamma.value, o.beta.value, o.runningMean, o.runningVar, t.rows*o.positions, o.c, bnEpsilon, relu)
}

func (o *batchNormOp) backward(e *env, t *tensors) {
	y := t.y
	if !o.shortcut {
		y = nil
	}
	e.pool.BatchNormBackward(t.dx, t.dadd, o.gamma.grad, o.beta.grad, t.dy, t.x, y, o.gamma.value, o.beta.value, o.mean, o.variance,
		t.rows*o.positions, o.c, bnEpsilon, o.relu)
}

// reluOp is ReLU (slope 0) or leaky ReLU.
type reluOp struct{ slope float32 }

func (o *reluOp) plan(int)           {}
func (o *reluOp) bytes(int) int64    { return 0 }
func (o *reluOp) needs() (x, y bool) { return false, true }
func (o *reluOp) inPlace() bool      { return true }

func (o *reluOp) forward(e *env, t *tensors)  { e.pool.ReLU(t.y, t.x, o.slope) }
func (o *reluOp) infer(e *env, t *tensors)    { o.forward(e, t) }
func (o *reluOp) backward(e *env, t *tensors) { e.pool.ReLUGrad(t.dx, t.dy, t.y, o.slope) }

// normalizeOp puts rows on the unit sphere.
type normalizeOp struct {
	d    int
	norm []float32 // lengths of the rows of the training pass
}

func (o *normalizeOp) plan(rows int)        { o.norm = make([]float32, rows) }
func (o *normalizeOp) bytes(rows int) int64 { return 4 * int64(rows) }
func (o *normalizeOp) needs() (x, y bool)   { return false, true }
func (o *normalizeOp) inPlace() bool        { return true }

func (o *normalizeOp) forward(e *env, t *tensors) {
	e.pool.NormalizeRows(t.y, o.norm, t.x, t.rows, o.d)
}

func (o *normalizeOp) infer(e *env, t *tensors) {
	e.pool.NormalizeRows(t.y, e.lengths, t.x, t.rows, o.d)
}

func (o *normalizeOp) backward(e *env, t *tensors) {
	e.pool.NormalizeRowsGrad(t.dx, t.dy, t.y, o.norm, t.rows, o.d)
}

// dropoutOp zeroes a share of the values and scales the others so that the
// mean stays. Masks are not stored: each is a hash of key, step and position,
// computed again in backward.
type dropoutOp struct {
	width     int
	key       uint64
	threshold uint64  // a 24-bit hash below it drops the value
	scale     float32 // of the values kept

	// The call in progress, read by the loop body, which is made once so that
	// a step allocates nothing.
	dst, src []float32
	base     uint64
	body     func(row int)
}

func dropoutKey(seed uint64, layer int) uint64 {
	return rng.New(seed, rng.Noise, 0, uint64(layer)).Uint64()
}

func newDropout(width int, rate float64, key uint64) *dropoutOp {
	o := &dropoutOp{width: width, key: key, threshold: uint64(math.Round(rate * (1 << 24))), scale: float32(1 / (1 - rate))}
	o.body = o.row
	return o
}

func (o *dropoutOp) plan(int)           {}
func (o *dropoutOp) bytes(int) int64    { return 0 }
func (o *dropoutOp) needs() (x, y bool) { return false, false }
func (o *dropoutOp) inPlace() bool      { return true }

// row applies the mask to one row; y and dx are the same function of x and dy.
func (o *dropoutOp) row(i int) {
	lo := i * o.width
	for j, v := range o.src[lo : lo+o.width] {
		if mix(o.base+uint64(lo+j))>>40 < o.threshold {
			v = 0
		}
		o.dst[lo+j] = v * o.scale
	}
}

func (o *dropoutOp) apply(e *env, dst, src []float32, rows int) {
	o.dst, o.src, o.base = dst, src, mix(o.key^mix(e.step))
	e.pool.Do(rows, o.body)
}

func (o *dropoutOp) forward(e *env, t *tensors) { o.apply(e, t.y, t.x, t.rows) }

func (o *dropoutOp) infer(_ *env, t *tensors) { copy(t.y, t.x) }

func (o *dropoutOp) backward(e *env, t *tensors) { o.apply(e, t.dx, t.dy, t.rows) }

// mix is one output of the generator splitmix64 (Steele, Lea and Flood, 2014)
// at state x: a bijection whose output bits all depend on all of x.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
