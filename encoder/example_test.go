package encoder_test

import (
	"fmt"

	"nat/encoder"
	"nat/internal/kernel"
)

// A training step pauses between Forward and Backward: here the targets are
// chosen from the embeddings of this very step, each row pulled to the nearer
// of two poles.
func Example() {
	pool := kernel.NewPool(0)
	defer pool.Close()
	spec := encoder.Spec{Name: "small", Input: encoder.Shape{H: 1, W: 1, C: 3}, Layers: []encoder.Layer{
		{Type: encoder.Dense, Out: 16},
		{Type: encoder.BatchNorm},
		{Type: encoder.ReLU},
		{Type: encoder.Dense, Out: 2, Bias: true},
		{Type: encoder.L2Normalize},
	}}
	net, err := encoder.New(spec, 1, pool)
	if err != nil {
		fmt.Println(err)
		return
	}
	opt := encoder.NewSGD(net.Params(), 0.9, 0, true, pool)
	x := []float32{1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 1, 1}
	const rows, steps = 4, 200
	dz := make([]float32, rows*2)
	for step := range steps {
		z := net.Forward(x, rows, true)
		for i := 0; i < len(z); i += 2 { // gradient of the squared distance to (+-1, 0), over the mean
			pole := float32(1)
			if z[i] < 0 {
				pole = -1
			}
			dz[i], dz[i+1] = (z[i]-pole)*2/rows, z[i+1]*2/rows
		}
		net.Backward(dz)
		opt.Step(net.Params(), encoder.Schedule(step, steps, 10, 0.1))
	}
	atPole := 0
	for z := net.Forward(x, rows, true); len(z) > 0; z = z[2:] {
		if z[0] > 0.99 || z[0] < -0.99 {
			atPole++
		}
	}
	fmt.Println(net.Spec())
	fmt.Println(atPole, "rows at a pole")
	// Output:
	// small: 3 -> 2, 114 parameters, 80 multiply-adds per row forward
	// layer   description   output  parameters
	// dense1  dense 16      16      48
	// bn1     batchnorm     16      32
	// relu1   relu          16      0
	// dense2  dense 2 bias  2       34
	// norm1   l2normalize   2       0
	//
	// 4 rows at a pole
}
