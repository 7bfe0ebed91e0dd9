package encoder

import (
	"fmt"
	"slices"
)

// Layers that [Stochastic] names.
const (
	Posterior = "posterior" // means, then log variances of a row: 2 x Dim values
	Mean      = "mean"      // the means alone, not normalised
)

// Stochastic makes of an embedding network one that gives a normal distribution
// of independent coordinates for each row: its last dense layer, now called
// [Posterior], has a mean and a log variance for each dimension. Training sees
// those; the embedding is the mean, called [Mean], normalised as it was. The error
// says that the description does not end in a dense layer and l2normalize.
func Stochastic(spec Spec) (Spec, error) {
	n := len(spec.Layers)
	if n < 2 || spec.Layers[n-2].Type != Dense || spec.Layers[n-1].Type != L2Normalize || spec.Train != "" {
		return Spec{}, fmt.Errorf("encoder %s: it must end in dense and l2normalize to be made stochastic", spec.Name)
	}
	head := spec.Layers[n-2]
	head.Name, head.Out = Posterior, 2*head.Out
	spec.Layers = append(slices.Clone(spec.Layers[:n-2]), head, Layer{Type: FirstHalf, Name: Mean}, spec.Layers[n-1])
	spec.Train = Posterior
	spec = spec.named()
	return spec, spec.Validate()
}

// Decoder describes a network from the embeddings of an encoder (Dim values) back
// to its inputs, flat: its dense layers and convolutions in reverse order,
// transposed, each followed by a batch norm and a ReLU, but the last by nothing, so
// that any value can come out. So the decoder of linear is one dense layer, that of
// mlp has 1024 and 1024 hidden units, and those of convnet and dcgan32 have as many
// operations as the encoder.
//
// An encoder with other layers that change the shape (blocks, pooling, a Sobel
// filter: resnet18, alexnet) gets the decoder of a ladder of 4x4 convolutions at
// stride 2 with 64, 128, 256, 512, 512, ... channels, down to a shorter side of 4 to
// 7 pixels, and a hidden layer of 1024: for 32x32 that of dcgan32. The error is that
// of Spec.Validate, or says that there is nothing to reverse.
func Decoder(enc Spec) (Spec, error) {
	if err := enc.Validate(); err != nil {
		return Spec{}, err
	}
	name, d := enc.Name, enc.Dim()
	if !enc.reversible() {
		enc = ladder(enc.Input)
	}
	layers := slices.DeleteFunc(enc.named().place(), func(l placed) bool { return l.Type != Conv && l.Type != Dense })
	if len(layers) == 0 {
		return Spec{}, fmt.Errorf("encoder %s: it has no dense layer or convolution that a decoder could reverse", name)
	}
	slices.Reverse(layers)
	b := builder{in: Shape{1, 1, d}}
	for i, l := range layers {
		b.reverse(l, i == len(layers)-1)
		if i+1 < len(layers) && l.Type == Dense && !layers[i+1].out.Vector() {
			s := layers[i+1].out
			b.add(Layer{Type: Unflatten, H: s.H, W: s.W, Out: s.C})
		}
	}
	if layers[len(layers)-1].Type == Conv {
		b.add(Layer{Type: Flatten})
	}
	spec := Spec{Name: name + " decoder", Input: b.in, Layers: b.layers}.named()
	return spec, spec.Validate()
}

// reversible tells whether all that changes the shape are dense layers,
// convolutions, and what lays an image flat.
func (s Spec) reversible() bool {
	others := []string{MaxPool, AvgPool, GlobalPool, Sobel, Residual, ConvTranspose, Unflatten}
	return !slices.ContainsFunc(s.Layers, func(l Layer) bool { return slices.Contains(others, l.Type) })
}

// ladder is an encoder for the given input, for Decoder to reverse: of a vector,
// the dense layers of mlp.
func ladder(in Shape) Spec {
	b := builder{in: in}
	h, w := in.H, in.W
	for i := 0; min(h, w) >= 8; i++ {
		b.add(Layer{Type: Conv, Out: 64 << min(i, 3), Kernel: 4, Stride: 2, Pad: 1})
		h, w = h/2, w/2
	}
	b.flatten()
	b.add(Layer{Type: Dense, Out: 1024})
	if len(b.layers) == 1 {
		b.add(Layer{Type: Dense, Out: 1024})
	}
	b.add(Layer{Type: Dense, Out: 2})
	return Spec{Input: in, Layers: b.layers}
}

// reverse adds the layer from the output of l to its input.
func (b *builder) reverse(l placed, last bool) {
	back := Layer{Type: Dense, Out: l.in.Size(), Bias: last}
	if l.Type == Conv {
		back = Layer{Type: ConvTranspose, Out: l.in.C, Kernel: l.Kernel, Stride: l.Stride, Pad: l.Pad, H: l.in.H, W: l.in.W, Bias: last}
	}
	if last {
		b.add(back)
		return
	}
	b.block(back)
}
