package encoder

import (
	"math"

	"nat/internal/kernel"
	"nat/internal/rng"
)

// convOp is a convolution; b.value is nil without bias.
type convOp struct {
	shape kernel.ConvShape // N is set per call
	w, b  tensorMemory
}

func (o *convOp) plan(int)      {}
func (o *convOp) words(int) int { return 0 }
func (o *convOp) inPlace() bool { return false }

func (o *convOp) of(rows int) kernel.ConvShape {
	s := o.shape
	s.N = rows
	return s
}

func (o *convOp) positions(rows int) int { return rows * o.shape.OutH() * o.shape.OutW() }

func (o *convOp) forward(e *env, y, x []float32, rows int) {
	e.pool.ConvForward(y, x, o.w.value, o.of(rows))
	if o.b.value != nil {
		e.pool.AddBias(y, o.b.value, o.positions(rows), o.shape.OutC)
	}
}

func (o *convOp) infer(e *env, y, x []float32, rows int) { o.forward(e, y, x, rows) }

func (o *convOp) backward(e *env, dx, dy, x, _ []float32, rows int) {
	e.pool.ConvWeightGrad(o.w.grad, x, dy, o.of(rows))
	if o.b.value != nil {
		e.pool.BiasGrad(o.b.grad, dy, o.positions(rows), o.shape.OutC)
	}
	if dx != nil {
		e.pool.ConvInputGrad(dx, dy, o.w.value, o.of(rows))
	}
}

// denseOp is y = x W + b with W [in, out].
type denseOp struct {
	in, out int
	w, b    tensorMemory
}

func (o *denseOp) plan(int)      {}
func (o *denseOp) words(int) int { return 0 }
func (o *denseOp) inPlace() bool { return false }

func (o *denseOp) forward(e *env, y, x []float32, rows int) {
	e.pool.Gemm(y, o.out, x, o.in, false, o.w.value, o.out, false, rows, o.out, o.in, false)
	if o.b.value != nil {
		e.pool.AddBias(y, o.b.value, rows, o.out)
	}
}

func (o *denseOp) infer(e *env, y, x []float32, rows int) { o.forward(e, y, x, rows) }

func (o *denseOp) backward(e *env, dx, dy, x, _ []float32, rows int) {
	e.pool.Gemm(o.w.grad, o.out, x, o.in, true, dy, o.out, false, o.in, o.out, rows, false)
	if o.b.value != nil {
		e.pool.BiasGrad(o.b.grad, dy, rows, o.out)
	}
	if dx != nil {
		e.pool.Gemm(dx, o.in, dy, o.out, false, o.w.value, o.out, true, rows, o.in, o.out, false)
	}
}

// batchNormOp normalises each channel over rows and positions, with the ReLU
// that follows it in the description if relu is set.
type batchNormOp struct {
	c, positions            int
	relu                    bool
	gamma, beta             tensorMemory
	runningMean, runningVar []float32
	mean, variance          []float32 // of the batch in training
}

func (o *batchNormOp) plan(int)      {}
func (o *batchNormOp) words(int) int { return 2 * o.c }
func (o *batchNormOp) inPlace() bool { return true }

func (o *batchNormOp) forward(e *env, y, x []float32, rows int) {
	count := rows * o.positions
	e.pool.BatchNormForward(y, x, o.gamma.value, o.beta.value, o.mean, o.variance, count, o.c, bnEpsilon, o.relu)
	unbiased := float32(1) // of a single value there is no unbiased variance
	if count > 1 {
		unbiased = float32(float64(count) / float64(count-1))
	}
	for j := range o.c {
		o.runningMean[j] += bnMomentum * (o.mean[j] - o.runningMean[j])
		o.runningVar[j] += bnMomentum * (o.variance[j]*unbiased - o.runningVar[j])
	}
}

func (o *batchNormOp) infer(e *env, y, x []float32, rows int) { o.apply(e, y, x, rows, o.relu) }

func (o *batchNormOp) inferFirst(e *env, y, x []float32, rows int) { o.apply(e, y, x, rows, false) }

func (o *batchNormOp) apply(e *env, y, x []float32, rows int, relu bool) {
	e.pool.BatchNormInfer(y, x, o.gamma.value, o.beta.value, o.runningMean, o.runningVar, rows*o.positions, o.c, bnEpsilon, relu)
}

func (o *batchNormOp) backward(e *env, dx, dy, x, y []float32, rows int) {
	e.pool.BatchNormBackward(dx, nil, o.gamma.grad, o.beta.grad, dy, x, y, o.gamma.value, o.beta.value, o.mean, o.variance,
		rows*o.positions, o.c, bnEpsilon, o.relu)
}

// reluOp is ReLU (slope 0) or leaky ReLU.
type reluOp struct{ slope float32 }

func (o *reluOp) plan(int)      {}
func (o *reluOp) words(int) int { return 0 }
func (o *reluOp) inPlace() bool { return true }

func (o *reluOp) forward(e *env, y, x []float32, _ int) { e.pool.ReLU(y, x, o.slope) }

func (o *reluOp) infer(e *env, y, x []float32, rows int) { o.forward(e, y, x, rows) }

func (o *reluOp) backward(e *env, dx, dy, _, y []float32, _ int) {
	if dx != nil {
		e.pool.ReLUGrad(dx, dy, y, o.slope)
	}
}

// normalizeOp puts rows on the unit sphere.
type normalizeOp struct {
	d       int
	norm    []float32 // lengths of the rows of the training pass
	scratch []float32 // lengths in inference, where nobody reads them
}

func (o *normalizeOp) plan(rows int)      { o.norm = make([]float32, rows) }
func (o *normalizeOp) words(rows int) int { return rows }
func (o *normalizeOp) inPlace() bool      { return true }

func (o *normalizeOp) forward(e *env, y, x []float32, rows int) {
	e.pool.NormalizeRows(y, o.norm, x, rows, o.d)
}

func (o *normalizeOp) infer(e *env, y, x []float32, rows int) {
	o.scratch = grow(o.scratch, rows)
	e.pool.NormalizeRows(y, o.scratch, x, rows, o.d)
}

func (o *normalizeOp) backward(e *env, dx, dy, _, y []float32, rows int) {
	if dx != nil {
		e.pool.NormalizeRowsGrad(dx, dy, y, o.norm, rows, o.d)
	}
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

func (o *dropoutOp) plan(int)      {}
func (o *dropoutOp) words(int) int { return 0 }
func (o *dropoutOp) inPlace() bool { return true }

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

func (o *dropoutOp) forward(e *env, y, x []float32, rows int) { o.apply(e, y, x, rows) }

func (o *dropoutOp) infer(_ *env, y, x []float32, _ int) { copy(y, x) }

func (o *dropoutOp) backward(e *env, dx, dy, _, _ []float32, rows int) {
	if dx != nil {
		o.apply(e, dx, dy, rows)
	}
}

// mix is one output of the generator splitmix64 (Steele, Lea and Flood, 2014)
// at state x: a bijection whose output bits all depend on all of x.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
