// Package encoder maps inputs to the unit sphere: it describes a network as a
// value, runs it forward and backward, updates its weights and saves them.
//
//	spec, err := encoder.Preset("convnet", encoder.Shape{H: 28, W: 28, C: 1}, 64)
//	net, err := encoder.New(spec, seed, pool)
//	opt := encoder.NewSGD(net.Params(), 0.9, 0, true, pool)
//
//	z := net.Forward(x, rows, true)       // rows x 64 unit vectors
//	...                                   // any use of z: pick targets, fill dz
//	net.Backward(dz)                      // gradients into net.Params()
//	opt.Step(net.Params(), encoder.Schedule(step, total, 0, 0.05))
//
// A [Spec] is a list of layers that can be printed, checked and stored as
// JSON, with residual blocks as layers that hold layers:
//
//	{"name": "small", "input": {"h": 32, "w": 32, "c": 3}, "layers": [
//	  {"type": "conv", "out": 64, "kernel": 3, "stride": 1, "pad": 1}, {"type": "batchnorm"}, {"type": "relu"},
//	  {"type": "residual",
//	   "layers": [
//	     {"type": "conv", "out": 128, "kernel": 3, "stride": 2, "pad": 1}, {"type": "batchnorm"}, {"type": "relu"},
//	     {"type": "conv", "out": 128, "kernel": 3, "stride": 1, "pad": 1}, {"type": "batchnorm"}],
//	   "shortcut": [{"type": "conv", "out": 128, "kernel": 1, "stride": 2}, {"type": "batchnorm"}]},
//	  {"type": "globalpool"}, {"type": "dense", "out": 64, "bias": true}, {"type": "l2normalize"}]}
//
// Here the block is called block1, and its layers block1.conv1 to block1.bn2
// and block1.shortcut.conv1, block1.shortcut.bn1.
//
// [New] turns a Spec into a [Network], which owns the weights and plans its
// memory once for the largest batch it has seen: after that a training step
// allocates nothing. The network may be left alone for as long as needed
// between Forward and Backward, as long as x is left alone as well, and
// inference ([Network.Output], Forward with train false) may run in between.
//
// Images are NHWC, weights of convolutions are HWIO ([kernel, kernel, in,
// out]) and those of dense layers [in, out]. All results are the same bits for
// any number of workers.
package encoder
