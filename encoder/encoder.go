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
// JSON. [New] turns it into a [Network], which owns the weights and plans its
// memory once for the largest batch it has seen: after that a training step
// allocates nothing. The network may be left alone for as long as needed
// between Forward and Backward, and inference ([Network.Output],
// Forward with train false) may run in between.
//
// Images are NHWC, weights of convolutions are HWIO ([kernel, kernel, in,
// out]) and those of dense layers [in, out]. All results are the same bits for
// any number of workers.
package encoder
