package encoder

import "nat/internal/kernel"

// transposedOp is a transposed convolution: a convolution from its output to its
// input, run backwards. What takes the gradient of that one's output to its input
// goes forward here, and the other way round; the gradient of the weights is the
// same with the two images exchanged.
type transposedOp struct {
	conv         kernel.ConvShape // from this layer's output to its input; N is set per call
	weight, bias tensorMemory     // no bias: nil
	zeros, ones  []float32        // as many as channels, if there is a bias
}

func newTransposed(l placed, m layerMemory) *transposedOp {
	o := &transposedOp{weight: m["weight"], bias: m["bias"], conv: kernel.ConvShape{
		H: l.out.H, W: l.out.W, C: l.out.C, OutC: l.in.C, KH: l.Kernel, KW: l.Kernel, Stride: l.Stride, Pad: l.Pad}}
	if l.Bias {
		o.zeros, o.ones = make([]float32, l.Out), make([]float32, l.Out)
		for i := range o.ones {
			o.ones[i] = 1
		}
	}
	return o
}

func (o *transposedOp) plan(int)           {}
func (o *transposedOp) bytes(int) int64    { return 8 * int64(len(o.zeros)) }
func (o *transposedOp) inPlace() bool      { return false }
func (o *transposedOp) needs() (x, y bool) { return true, false }

func (o *transposedOp) of(rows int) kernel.ConvShape {
	s := o.conv
	s.N = rows
	return s
}

// positions is the number of pixels of the output.
func (o *transposedOp) positions(rows int) int { return rows * o.conv.H * o.conv.W }

func (o *transposedOp) forward(e *env, t *tensors) {
	e.pool.ConvInputGrad(t.y, t.x, o.weight.value, o.of(t.rows))
	if o.bias.value != nil { // a batch norm that only adds
		e.pool.BatchNormApply(t.y, t.y, nil, o.ones, o.bias.value, o.zeros, o.ones, o.positions(t.rows), o.conv.C, 0, false)
	}
}

func (o *transposedOp) infer(e *env, t *tensors) { o.forward(e, t) }

func (o *transposedOp) backward(e *env, t *tensors) {
	e.pool.ConvWeightGrad(o.weight.grad, t.dy, t.x, o.of(t.rows))
	if o.bias.value != nil {
		e.pool.BiasGrad(o.bias.grad, t.dy, o.positions(t.rows), o.conv.C)
	}
	if t.dx != nil {
		e.pool.ConvForward(t.dx, t.dy, o.weight.value, o.of(t.rows))
	}
}

// sigmoidOp is 1 / (1 + e^-x), row by row.
type sigmoidOp struct {
	width int

	// The call in progress, read by the loop bodies, which are made once so that
	// a step allocates nothing.
	t              tensors
	body, gradBody func(row int)
}

func newSigmoid(width int) *sigmoidOp {
	o := &sigmoidOp{width: width}
	o.body, o.gradBody = o.row, o.gradRow
	return o
}

func (o *sigmoidOp) plan(int)           {}
func (o *sigmoidOp) bytes(int) int64    { return 0 }
func (o *sigmoidOp) inPlace() bool      { return true }
func (o *sigmoidOp) needs() (x, y bool) { return false, true }

func (o *sigmoidOp) row(i int) {
	lo, hi := i*o.width, (i+1)*o.width
	y := o.t.y[lo:hi]
	for j, v := range o.t.x[lo:hi] {
		y[j] = -v
	}
	kernel.Exp(y, y)
	for j, v := range y {
		y[j] = 1 / (1 + v)
	}
}

func (o *sigmoidOp) gradRow(i int) {
	lo, hi := i*o.width, (i+1)*o.width
	dx, dy := o.t.dx[lo:hi], o.t.dy[lo:hi]
	for j, y := range o.t.y[lo:hi] {
		dx[j] = dy[j] * y * (1 - y)
	}
}

func (o *sigmoidOp) run(e *env, t *tensors, body func(row int)) {
	o.t = *t
	e.pool.Do(t.rows, body)
	o.t = tensors{}
}

func (o *sigmoidOp) forward(e *env, t *tensors)  { o.run(e, t, o.body) }
func (o *sigmoidOp) infer(e *env, t *tensors)    { o.run(e, t, o.body) }
func (o *sigmoidOp) backward(e *env, t *tensors) { o.run(e, t, o.gradBody) }

// halfOp keeps the first width values of rows twice as wide.
type halfOp struct{ width int }

func (o *halfOp) plan(int)           {}
func (o *halfOp) bytes(int) int64    { return 0 }
func (o *halfOp) inPlace() bool      { return false }
func (o *halfOp) needs() (x, y bool) { return false, false }

func (o *halfOp) forward(_ *env, t *tensors) {
	for r := range t.rows {
		copy(t.y[r*o.width:(r+1)*o.width], t.x[2*r*o.width:])
	}
}

func (o *halfOp) infer(e *env, t *tensors) { o.forward(e, t) }

func (o *halfOp) backward(_ *env, t *tensors) {
	clear(t.dx)
	for r := range t.rows {
		copy(t.dx[2*r*o.width:], t.dy[r*o.width:(r+1)*o.width])
	}
}
