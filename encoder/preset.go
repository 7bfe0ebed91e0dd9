package encoder

import (
	"errors"
	"fmt"
	"strings"
)

// Presets lists the names that [Preset] knows, simplest first.
func Presets() []string {
	return []string{"linear", "mlp", "convnet", "dcgan32", "resnet18", "alexnet"}
}

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

// PresetOptions change what a preset is made of. The zero value changes nothing.
type PresetOptions struct {
	// Projection lists the units of the hidden layers of the projection head: dense
	// layers with batch norm and ReLU between [Features] and the embedding, as in
	// SimCLR (Chen et al., ICML 2020). nil leaves those of the preset, DefaultProjection;
	// empty is a linear embedding of the features.
	Projection []int
	// Sobel puts a fixed Sobel filter of the mean of the channels in front, so that
	// the network sees edges and no colours.
	Sobel bool
}

// maxProjection bounds the hidden layers of a projection head.
const maxProjection = 16

// DefaultProjection lists the units of the hidden layers that a preset of that
// name has between its features and the embedding: 256 in convnet, 1024 in dcgan32,
// 4096 and 4096 in alexnet, none in the others.
func DefaultProjection(name string) []int {
	switch name {
	case "convnet":
		return []int{256}
	case "dcgan32":
		return []int{1024}
	case "alexnet":
		return []int{4096, 4096}
	}
	return []int{}
}

// CheckPreset tells what PresetWith would refuse whatever the input; name may be
// empty, where it is still to be chosen.
func CheckPreset(name string, opt PresetOptions) error {
	if name == "linear" && len(opt.Projection) > 0 {
		return fmt.Errorf("encoder linear is one dense layer, and has no hidden ones: use encoder mlp or convnet for a projection of %v units", opt.Projection)
	}
	if name == "alexnet" && opt.Sobel {
		return errors.New("encoder alexnet begins with a Sobel filter in any case: leave out another")
	}
	if len(opt.Projection) > maxProjection {
		return fmt.Errorf("projection of %d hidden layers, at most %d are possible", len(opt.Projection), maxProjection)
	}
	for _, units := range opt.Projection {
		if units < 1 || units > maxUnits {
			return fmt.Errorf("projection of %d units: want 1 to %d", units, maxUnits)
		}
	}
	return nil
}

// Preset is PresetWith without changes.
func Preset(name string, in Shape, dim int) (Spec, error) {
	return PresetWith(name, in, dim, PresetOptions{})
}

// PresetWith returns the named description for inputs of shape in and embeddings
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
//   - resnet18: the residual network of 18 layers (He et al., CVPR 2016), eight
//     blocks of two 3x3 convolutions with 64 to 512 channels, then the mean over
//     all positions. Images whose shorter side has 64 pixels or more enter
//     through a 7x7 convolution at stride 2 and a maximum over 3x3 at stride 2,
//     as in the paper; smaller ones, from 8 pixels on, through a 3x3 convolution
//     at stride 1, as is usual for 32x32.
//   - alexnet: the network of Bojanowski and Joulin (ICML 2017): a fixed Sobel
//     filter of the grey image, the five convolutions of AlexNet (96, 256, 384,
//     384, 256 channels) and two dense layers of 4096, each with batch norm and
//     ReLU, and dropout of a half after the first dense layer. There, the three
//     maxima over 3x3 come before the ReLU; here after it, which is the same
//     function. Sides from 64 pixels on fit; the paper's have 224.
//
// The hidden dense layers, but for those of mlp, are the default projection head,
// in the place of which opt may put another. Convolutions and dense layers in
// front of a batch norm have no bias: the mean would cancel it. The error names
// what does not fit.
func PresetWith(name string, in Shape, dim int, opt PresetOptions) (Spec, error) {
	if err := in.check(); err != nil {
		return Spec{}, fmt.Errorf("encoder %s: input: %w", name, err)
	}
	if dim < 2 {
		return Spec{}, fmt.Errorf("encoder %s: dimension %d, want 2 or more: the sphere in one dimension is two points", name, dim)
	}
	if err := CheckPreset(name, opt); err != nil {
		return Spec{}, err
	}
	b := builder{in: in}
	if opt.Sobel {
		if in.Vector() {
			return Spec{}, fmt.Errorf("encoder %s: a Sobel filter finds edges in images, and the input is a vector of %d numbers: leave it out", name, in.C)
		}
		b.add(Layer{Type: Sobel})
	}
	if err := b.trunk(name, in); err != nil {
		return Spec{}, err
	}
	spec := Spec{Name: name, Input: in}
	units := opt.Projection
	if units == nil {
		units = DefaultProjection(name)
	}
	if name == "mlp" && len(units) > 0 {
		spec.Features = "relu2" // where the trunk ends
	}
	b.projection(units, name == "alexnet")
	b.add(Layer{Type: Dense, Out: dim, Bias: true})
	b.add(Layer{Type: L2Normalize})
	spec.Layers = b.layers
	spec = spec.named()
	return spec, spec.Validate()
}

// trunk adds the layers up to the features, flat.
func (b *builder) trunk(name string, in Shape) error {
	side := min(in.H, in.W)
	misfit := func(sides string) error {
		return fmt.Errorf("encoder %s: the input is %v, sides from %s fit: use encoder %s", name, in, sides, Auto(in))
	}
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
		if side < 16 || max(in.H, in.W) > 64 {
			return misfit("16 to 64 pixels")
		}
		for _, out := range []int{64, 128, 256} {
			b.block(Layer{Type: Conv, Out: out, Kernel: 4, Stride: 2, Pad: 1})
		}
		b.flatten()
	case "resnet18":
		if side < 8 {
			return misfit("8 pixels on")
		}
		b.resnet18(in)
	case "alexnet":
		if side < 64 {
			return misfit("64 pixels on")
		}
		b.alexnet()
	default:
		return fmt.Errorf("unknown encoder %q: the presets are %s", name, strings.Join(Presets(), ", "))
	}
	return nil
}

// projection adds the hidden layers of the head; dropped puts a dropout of a half
// after the first.
func (b *builder) projection(units []int, dropped bool) {
	for i, n := range units {
		b.hidden(n)
		if dropped && i == 0 {
			b.add(Layer{Type: Dropout, Rate: 0.5})
		}
	}
}

// builder collects the layers of a preset, or of a way through a block.
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

func (b *builder) resnet18(in Shape) {
	if min(in.H, in.W) < 64 {
		b.block(Layer{Type: Conv, Out: 64, Kernel: 3, Stride: 1, Pad: 1})
	} else {
		b.block(Layer{Type: Conv, Out: 64, Kernel: 7, Stride: 2, Pad: 3})
		b.add(Layer{Type: MaxPool, Kernel: 3, Stride: 2, Pad: 1})
	}
	channels := 64
	for _, out := range []int{64, 128, 256, 512} {
		b.add(residual(channels, out))
		b.add(residual(out, out))
		channels = out
	}
	b.add(Layer{Type: GlobalPool})
}

// residual is a block of two 3x3 convolutions. One that changes the number of
// channels halves the image as well, and its shortcut is a projection.
func residual(in, out int) Layer {
	stride := 1
	var short builder
	if in != out {
		stride = 2
		short.add(Layer{Type: Conv, Out: out, Kernel: 1, Stride: stride})
		short.add(Layer{Type: BatchNorm})
	}
	var main builder
	main.block(Layer{Type: Conv, Out: out, Kernel: 3, Stride: stride, Pad: 1})
	main.add(Layer{Type: Conv, Out: out, Kernel: 3, Stride: 1, Pad: 1})
	main.add(Layer{Type: BatchNorm})
	return Layer{Type: Residual, Layers: main.layers, Shortcut: short.layers}
}

func (b *builder) alexnet() {
	halve := func() { b.add(Layer{Type: MaxPool, Kernel: 3, Stride: 2}) }
	b.add(Layer{Type: Sobel})
	b.block(Layer{Type: Conv, Out: 96, Kernel: 11, Stride: 4, Pad: 2})
	halve()
	b.block(Layer{Type: Conv, Out: 256, Kernel: 5, Stride: 1, Pad: 2})
	halve()
	b.block(Layer{Type: Conv, Out: 384, Kernel: 3, Stride: 1, Pad: 1})
	b.block(Layer{Type: Conv, Out: 384, Kernel: 3, Stride: 1, Pad: 1})
	b.block(Layer{Type: Conv, Out: 256, Kernel: 3, Stride: 1, Pad: 1})
	halve()
	b.flatten()
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
