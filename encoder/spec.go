package encoder

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// Layer types that a [Spec] may contain. An embedding network ends in
// L2Normalize.
const (
	Conv          = "conv"          // Out channels, Kernel x Kernel, Stride, Pad, Bias
	ConvTranspose = "convtranspose" // the same fields: what takes the gradient of such a conv from its output to its input
	Dense         = "dense"         // Out units, Bias; its input must be flat
	BatchNorm     = "batchnorm"     // per channel; momentum 0.1, epsilon 1e-5
	ReLU          = "relu"          // max(x, 0), with derivative 0 at 0
	LeakyReLU     = "leakyrelu"     // x if x > 0, else Slope x
	Sigmoid       = "sigmoid"       // 1 / (1 + e^-x)
	MaxPool       = "maxpool"       // Kernel, Stride, Pad; the first maximum gets the gradient
	AvgPool       = "avgpool"       // Kernel, Stride, Pad; the mean over real pixels, padding not counted
	GlobalPool    = "globalpool"    // mean over all positions, leaving one value per channel
	Flatten       = "flatten"       // H x W x C to 1 x 1 x HWC, in memory order
	Unflatten     = "unflatten"     // back to an image of H x W pixels with Out channels
	Dropout       = "dropout"       // zeroes a share Rate in training, scales the rest by 1/(1-Rate)
	Sobel         = "sobel"         // horizontal and vertical 3x3 Sobel filter of the mean of the channels, not trained
	Residual      = "residual"      // max(Layers(x) + Shortcut(x), 0); without Shortcut, x itself is added
	FirstHalf     = "firsthalf"     // the first half of a flat row: of means and log variances, the means
	L2Normalize   = "l2normalize"   // divides a flat row by its Euclidean norm
)

// Limits that keep a description, whatever its source, from asking for sizes
// that do not fit an int or any machine.
const (
	maxLayers = 1024
	maxSide   = 1 << 15 // pixels
	maxUnits  = 1 << 24 // channels, units, values of one activation of one row
	maxParams = 1 << 30
)

// Shape is the shape of one row: height, width and channels. A plain vector
// of n values is {1, 1, n}.
type Shape struct {
	H int `json:"h"`
	W int `json:"w"`
	C int `json:"c"`
}

// Size is the number of values of one row.
func (s Shape) Size() int { return s.H * s.W * s.C }

// Vector reports whether the shape has no spatial extent.
func (s Shape) Vector() bool { return s.H == 1 && s.W == 1 }

// String formats the shape as 28x28x1, or as 64 for a vector.
func (s Shape) String() string {
	if s.Vector() {
		return fmt.Sprint(s.C)
	}
	return fmt.Sprintf("%dx%dx%d", s.H, s.W, s.C)
}

func (s Shape) check() error {
	switch {
	case s.H < 1 || s.W < 1 || s.C < 1:
		return fmt.Errorf("shape %dx%dx%d has a side below 1", s.H, s.W, s.C)
	case s.H > maxSide || s.W > maxSide || s.C > maxUnits || int64(s.H)*int64(s.W)*int64(s.C) > maxUnits:
		return fmt.Errorf("shape %dx%dx%d is larger than %d values", s.H, s.W, s.C, maxUnits)
	}
	return nil
}

// Layer describes one layer. Which fields apply depends on Type; [Spec.Validate]
// refuses the others, so that a misplaced field is not silently ignored.
type Layer struct {
	Type   string  `json:"type"`
	Name   string  `json:"name,omitempty"`   // unique; filled in from the type if empty
	Out    int     `json:"out,omitempty"`    // output channels or units
	Kernel int     `json:"kernel,omitempty"` // side of the square window, pixels
	Stride int     `json:"stride,omitempty"`
	Pad    int     `json:"pad,omitempty"` // zeros added on each side, pixels; by convtranspose: pixels cut off
	Bias   bool    `json:"bias,omitempty"`
	Slope  float64 `json:"slope,omitempty"` // leakyrelu: factor below zero
	Rate   float64 `json:"rate,omitempty"`  // dropout: share of zeroed values

	// Sides of the output of unflatten and convtranspose, pixels. The latter needs them
	// only if several fit: a convolution with a stride takes images of several sizes
	// to one. 0 is then the smallest, (side-1) Stride + Kernel - 2 Pad.
	H int `json:"h,omitempty"`
	W int `json:"w,omitempty"`

	// The two ways through a residual block. Layers ends in batchnorm, and both
	// give the same shape; layers there are no blocks themselves.
	Layers   []Layer `json:"layers,omitempty"`
	Shortcut []Layer `json:"shortcut,omitempty"`
}

// Spec describes a network: a name for people, the shape of one input row and
// the layers in order.
type Spec struct {
	Name   string  `json:"name"`
	Input  Shape   `json:"input"`
	Layers []Layer `json:"layers"`

	// Train names the layer whose output a training pass returns, and takes the
	// gradient of; empty is the last. Layers after it, which have no weights, are run
	// in inference only: what they leave is the embedding all the same.
	Train string `json:"train,omitempty"`

	// Features names the layer, outside blocks, that [Features] stands for; empty is
	// the one that its rule finds.
	Features string `json:"features,omitempty"`
}

// ParseSpec reads a description from JSON and validates it. Unknown fields and
// trailing data are errors, and so is everything [Spec.Validate] reports.
func ParseSpec(data []byte) (Spec, error) {
	var s Spec
	if err := json.Unmarshal(data, &s); err != nil {
		return Spec{}, fmt.Errorf("network description: %w", err)
	}
	s = s.named()
	if err := s.Validate(); err != nil {
		return Spec{}, err
	}
	return s, nil
}

// UnmarshalJSON decodes a description wherever it is embedded and refuses
// unknown fields, so that a misspelt or newer field is not dropped silently.
func (s *Spec) UnmarshalJSON(data []byte) error {
	type plain Spec // without this method
	var p plain
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("more data after the description")
	}
	*s = Spec(p)
	return nil
}

// named returns a copy in which every layer has a name: the type (shortened
// for the normalisations and pools) and its ordinal, as in conv1, bn1, relu1.
// The layers of a block are counted anew.
func (s Spec) named() Spec {
	s.Layers = named(s.Layers)
	return s
}

func named(layers []Layer) []Layer {
	if len(layers) == 0 {
		return nil
	}
	short := map[string]string{
		BatchNorm: "bn", LeakyReLU: "relu", MaxPool: "pool", AvgPool: "pool", L2Normalize: "norm", Residual: "block",
	}
	out, count := make([]Layer, len(layers)), map[string]int{}
	for i, l := range layers {
		stem := l.Type
		if alt, ok := short[l.Type]; ok {
			stem = alt
		}
		count[stem]++
		if l.Name == "" {
			l.Name = fmt.Sprintf("%s%d", stem, count[stem])
		}
		l.Layers, l.Shortcut = named(l.Layers), named(l.Shortcut)
		out[i] = l
	}
	return out
}

// output infers the shape of a layer's output. The layer's fields are valid.
func (l Layer) output(in Shape) (Shape, error) {
	out := in
	switch l.Type {
	case Conv, MaxPool, AvgPool:
		out.H, out.W = windows(in.H, l), windows(in.W, l)
		if out.H < 1 || out.W < 1 {
			return out, fmt.Errorf("a %dx%d window does not fit an input of %dx%d with padding %d", l.Kernel, l.Kernel, in.H, in.W, l.Pad)
		}
		if l.Type == Conv {
			out.C = l.Out
		}
	case ConvTranspose:
		out = Shape{l.unwindows(in.H, l.H), l.unwindows(in.W, l.W), l.Out}
		if out.H < 1 || out.W < 1 || windows(out.H, l) != in.H || windows(out.W, l) != in.W {
			return out, fmt.Errorf("no %dx%d window at stride %d with padding %d takes %dx%d pixels to its input's %dx%d", l.Kernel, l.Kernel, l.Stride, l.Pad, out.H, out.W, in.H, in.W)
		}
	case Unflatten:
		out = Shape{l.H, l.W, l.Out}
		if err := out.check(); err != nil {
			return out, err
		}
		if out.Size() != in.Size() {
			return out, fmt.Errorf("its input has %d values, a %v image has %d", in.Size(), out, out.Size())
		}
	case FirstHalf:
		out.C = in.C / 2
		if in.C%2 != 0 {
			return out, fmt.Errorf("its input has %d values, want an even number", in.C)
		}
	case Dense:
		out.C = l.Out
	case Flatten:
		out = Shape{1, 1, in.Size()}
	case GlobalPool:
		out = Shape{1, 1, in.C}
	case Sobel:
		if in.Vector() {
			return out, errors.New("its input is a vector, want an image")
		}
		out.C = 2
	}
	if slices.Contains([]string{Dense, L2Normalize, FirstHalf, Unflatten}, l.Type) && !in.Vector() {
		return out, fmt.Errorf("its input is %v, want a vector: add flatten or globalpool before it", in)
	}
	return out, out.check()
}

// windows counts the positions of a window along one axis:
// floor((in + 2 pad - kernel) / stride) + 1, or 0 if none fits.
func windows(in int, l Layer) int {
	room := in + 2*l.Pad - l.Kernel
	if room < 0 {
		return 0
	}
	return room/l.Stride + 1
}

// unwindows is the side of an image in which a window has in positions: side, or
// the smallest there is if that is 0.
func (l Layer) unwindows(in, side int) int {
	if side > 0 {
		return side
	}
	return (in-1)*l.Stride + l.Kernel - 2*l.Pad
}

// placed is one layer of a description whose blocks have been taken apart. A
// residual block is the layers of its shortcut, those of its main path, and one
// of type [Residual] that stands for the addition and the ReLU.
type placed struct {
	Layer       // Name in full: block1.conv1, block1.shortcut.conv1
	in, out     Shape
	x, shortcut int // the layers whose outputs it reads, shortcut in a Residual only; -1 is the network's input
}

// place lists the layers of a valid, named description in the order in which
// they run and in which their tensors are stored.
func (s Spec) place() []placed {
	p := placer{input: s.Input}
	p.list(s.Layers, "", -1)
	return p.layers
}

type placer struct {
	input  Shape
	layers []placed
}

func (p *placer) shape(i int) Shape {
	if i < 0 {
		return p.input
	}
	return p.layers[i].out
}

// list places layers that follow one another, the first after x, and returns
// the last.
func (p *placer) list(layers []Layer, prefix string, x int) int {
	for _, l := range layers {
		l.Name = prefix + l.Name
		next := placed{Layer: l, x: x}
		if l.Type == Residual {
			next.shortcut = p.list(l.Shortcut, l.Name+".shortcut.", x)
			next.x = p.list(l.Layers, l.Name+".", x)
		}
		next.in = p.shape(next.x)
		var err error
		if next.out, err = l.output(next.in); err != nil {
			panic("encoder: layers of an invalid description")
		}
		p.layers = append(p.layers, next)
		x = len(p.layers) - 1
	}
	return x
}

// LayerNames returns the names of the layers, with those inside blocks, in the
// order in which they run: shortcut, main path, then the block itself.
func (s Spec) LayerNames() []string { return layerNames(nil, s.named().Layers, "") }

func layerNames(names []string, layers []Layer, prefix string) []string {
	for _, l := range layers {
		name := prefix + l.Name
		names = layerNames(names, l.Shortcut, name+".shortcut.")
		names = append(layerNames(names, l.Layers, name+"."), name)
	}
	return names
}

// Dim is the width of the last layer of a valid description: the dimension of
// the embedding.
func (s Spec) Dim() int {
	layers := s.place()
	return layers[len(layers)-1].out.Size()
}

// TrainDim is the width of what a training pass returns: Dim, unless Train names
// another layer.
func (s Spec) TrainDim() int {
	s = s.named()
	layers := s.place()
	return layers[s.trainLayer(layers)].out.Size()
}

// trainLayer returns the index among the placed layers of the one that Train names.
func (s Spec) trainLayer(layers []placed) int {
	if s.Train == "" {
		return len(layers) - 1
	}
	return slices.IndexFunc(layers, func(l placed) bool { return l.Name == s.Train })
}

// ParamCount is the number of trainable values of a valid description.
func (s Spec) ParamCount() int {
	total := int64(0)
	for _, l := range s.place() {
		total += l.paramCount(l.in)
	}
	return int(total)
}

// FLOPs is the number of floating-point operations per row of a forward pass
// of a valid description: two for each multiply-add of the convolutions (taps
// on the padding included) and dense layers, nothing for the rest. A training
// step costs close to three times as much.
func (s Spec) FLOPs() int64 {
	total := int64(0)
	for _, l := range s.place() {
		switch l.Type {
		case Conv:
			total += 2 * int64(l.out.Size()) * int64(l.Kernel*l.Kernel) * int64(l.in.C)
		case ConvTranspose:
			total += 2 * int64(l.in.Size()) * int64(l.Kernel*l.Kernel) * int64(l.out.C)
		case Dense:
			total += 2 * int64(l.in.Size()) * int64(l.out.Size())
		}
	}
	return total
}

// String prints the description as a table: layer, what it does, output shape,
// trainable parameters. An invalid description is printed with its errors.
func (s Spec) String() string {
	if err := s.Validate(); err != nil {
		return err.Error()
	}
	s = s.named()
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %v -> %d, %s parameters, %s multiply-adds per row forward\n",
		s.Name, s.Input, s.Dim(), thousands(int64(s.ParamCount())), thousands(s.FLOPs()/2))
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "layer\tdescription\toutput\tparameters")
	for _, l := range s.place() {
		fmt.Fprintf(w, "%s\t%s\t%v\t%s\n", l.Name, l.describe(), l.out, thousands(l.paramCount(l.in)))
	}
	w.Flush()
	if s.Train != "" {
		fmt.Fprintf(&b, "training sees the output of %s\n", s.Train)
	}
	if s.Features != "" {
		fmt.Fprintf(&b, "features are the output of %s\n", s.Features)
	}
	return b.String()
}

// describe names the layer's type with the fields that apply, as in
// "conv 32 3x3/2 pad 1".
func (l Layer) describe() string {
	var b strings.Builder
	b.WriteString(l.Type)
	if l.Out > 0 {
		fmt.Fprintf(&b, " %d", l.Out)
	}
	if l.Kernel > 0 {
		fmt.Fprintf(&b, " %dx%d/%d", l.Kernel, l.Kernel, l.Stride)
	}
	if l.Pad > 0 {
		fmt.Fprintf(&b, " pad %d", l.Pad)
	}
	if l.Bias {
		b.WriteString(" bias")
	}
	if l.Slope > 0 {
		fmt.Fprintf(&b, " slope %g", l.Slope)
	}
	if l.Rate > 0 {
		fmt.Fprintf(&b, " rate %g", l.Rate)
	}
	if l.Type == Residual && len(l.Shortcut) == 0 {
		b.WriteString(" identity")
	}
	return b.String()
}

// thousands formats n with separators: 1,234,567.
func thousands(n int64) string {
	digits := fmt.Sprint(n)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}
