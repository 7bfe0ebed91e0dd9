package encoder

import "nat/internal/kernel"

// poolShape is the shape of a pooling layer; N is set per call. A window as
// large as the image is that of a global pooling.
func poolShape(l placed) kernel.PoolShape {
	s := kernel.PoolShape{H: l.in.H, W: l.in.W, C: l.in.C, Kernel: l.Kernel, Stride: l.Stride, Pad: l.Pad}
	if l.Type == GlobalPool {
		s.Kernel, s.Stride = max(s.H, s.W), 1
	}
	return s
}

func outputs(s kernel.PoolShape) int { return s.OutH() * s.OutW() * s.C }

// maxPoolOp keeps, for every output, which input of its window was the
// maximum: the first one in memory order, or a NaN if there is one, as in
// PyTorch.
type maxPoolOp struct {
	shape kernel.PoolShape
	arg   []uint8
}

func (o *maxPoolOp) of(rows int) kernel.PoolShape {
	s := o.shape
	s.N = rows
	return s
}

func (o *maxPoolOp) plan(rows int)        { o.arg = make([]uint8, rows*outputs(o.shape)) }
func (o *maxPoolOp) bytes(rows int) int64 { return int64(rows) * int64(outputs(o.shape)) }
func (o *maxPoolOp) needs() (x, y bool)   { return false, false }
func (o *maxPoolOp) inPlace() bool        { return false }

func (o *maxPoolOp) forward(e *env, t *tensors)  { e.pool.MaxPool(t.y, o.arg, t.x, o.of(t.rows)) }
func (o *maxPoolOp) infer(e *env, t *tensors)    { e.pool.MaxPool(t.y, nil, t.x, o.of(t.rows)) }
func (o *maxPoolOp) backward(e *env, t *tensors) { e.pool.MaxPoolGrad(t.dx, t.dy, o.arg, o.of(t.rows)) }

// avgPoolOp averages over the real pixels of a window: padding is not counted.
type avgPoolOp struct{ shape kernel.PoolShape }

func (o *avgPoolOp) of(rows int) kernel.PoolShape {
	s := o.shape
	s.N = rows
	return s
}

func (o *avgPoolOp) plan(int)           {}
func (o *avgPoolOp) bytes(int) int64    { return 0 }
func (o *avgPoolOp) needs() (x, y bool) { return false, false }
func (o *avgPoolOp) inPlace() bool      { return false }

func (o *avgPoolOp) forward(e *env, t *tensors)  { e.pool.AvgPool(t.y, t.x, o.of(t.rows)) }
func (o *avgPoolOp) infer(e *env, t *tensors)    { o.forward(e, t) }
func (o *avgPoolOp) backward(e *env, t *tensors) { e.pool.AvgPoolGrad(t.dx, t.dy, o.of(t.rows)) }
