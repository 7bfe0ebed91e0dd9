package encoder

import (
	"fmt"
	"strings"
)

// Presets lists the names that [Preset] knows, simplest first.
func Presets() []string { return []string{"linear", "mlp", "convnet", "dcgan32"} }

// Auto names the preset for an input of shape in: mlp for vectors (and for
// one-pixel-high strips), convnet for all images. 32x32 colour images get
// convnet as well: dcgan32 costs about four times as much per image on a CPU
// and is there to be asked for, to compare with Deep InfoMax.
func Auto(in Shape) string {
	if in.H < 2 || in.W < 2 {
		return "mlp"
	}
	return "convnet"
}

// Preset returns the named description for inputs of shape in and embeddings
// of dimension dim, ending in l2normalize:
//
//   - linear: one dense layer.
//   - mlp: 1024 and 1024 hidden units, each with batch norm and ReLU.
//   - convnet: 3x3 convolutions with 32, 64, 128, 256, 256, ... channels, each
//     with batch norm and ReLU, then a hidden dense layer of 256. Halvings (stride
//     2) continue until the shorter side is at most 4 pixels, or 2 for images
//     of at most 8; there are at least three convolutions, the first ones at
//     stride 1 if the image is too small for three halvings. 28x28 and 32x32
//     come out as 32-64-128 at stride 2, 64x64 as 32-64-128-256.
//   - dcgan32: the encoder of Deep InfoMax (Hjelm et al., ICLR 2019) for 32x32
//     images: 4x4 convolutions at stride 2 with 64, 128, 256 channels and a
//     hidden dense layer of 1024. Sides from 16 to 64 pixels fit.
//
// Convolutions and dense layers in front of a batch norm have no bias: the
// mean would cancel it. The error names what does not fit.
func Preset(name string, in Shape, dim int) (Spec, error) {
	if err := in.check(); err != nil {
		return Spec{}, fmt.Errorf("encoder %s: input: %w", name, err)
	}
	if dim < 2 {
		return Spec{}, fmt.Errorf("encoder %s: dimension %d, want 2 or more: the sphere in one dimension is two points", name, dim)
	}
	b := builder{in: in}
	switch name {
	case "linear":
		b.flatten()
	case "mlp":
		b.flatten()
		b.hidden(1024)
		b.hidden(1024)
	case "convnet":
		b.convnet(in)
	case "dcgan32":
		if lo, hi := min(in.H, in.W), max(in.H, in.W); lo < 16 || hi > 64 {
			return Spec{}, fmt.Errorf("encoder dcgan32: the input is %v, sides from 16 to 64 pixels fit: use encoder %s", in, Auto(in))
		}
		for _, out := range []int{64, 128, 256} {
			b.block(Layer{Type: Conv, Out: out, Kernel: 4, Stride: 2, Pad: 1})
		}
		b.flatten()
		b.hidden(1024)
	default:
		return Spec{}, fmt.Errorf("unknown encoder %q: the presets are %s", name, strings.Join(Presets(), ", "))
	}
	b.add(Layer{Type: Dense, Out: dim, Bias: true})
	b.add(Layer{Type: L2Normalize})
	spec := Spec{Name: name, Input: in, Layers: b.layers}.named()
	return spec, spec.Validate()
}

// builder collects the layers of a preset.
type builder struct {
	in     Shape
	layers []Layer
}

func (b *builder) add(l Layer) { b.layers = append(b.layers, l) }

// block adds a layer with weights, batch norm and ReLU.
func (b *builder) block(l Layer) {
	b.add(l)
	b.add(Layer{Type: BatchNorm})
	b.add(Layer{Type: ReLU})
}

func (b *builder) hidden(units int) { b.block(Layer{Type: Dense, Out: units}) }

// flatten is left out where the input is a vector already.
func (b *builder) flatten() {
	if !b.in.Vector() {
		b.add(Layer{Type: Flatten})
	}
}

func (b *builder) convnet(in Shape) {
	halvings := convnetHalvings(min(in.H, in.W))
	convs := max(3, halvings)
	for i := range convs {
		stride := 1
		if i >= convs-halvings {
			stride = 2
		}
		b.block(Layer{Type: Conv, Out: min(32<<min(i, 3), 256), Kernel: 3, Stride: stride, Pad: 1})
	}
	b.flatten()
	b.hidden(256)
}

// convnetHalvings counts the stride-2 convolutions (each takes a side to half,
// rounded up) for an image whose shorter side has the given number of pixels.
func convnetHalvings(side int) int {
	last := 4
	if side <= 8 {
		last = 2
	}
	n := 0
	for side > last {
		side = (side + 1) / 2
		n++
	}
	return n
}
