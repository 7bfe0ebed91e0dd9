package encoder

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
)

// Layer types that a [Spec] may contain. An embedding network ends in
// L2Normalize.
const (
	Conv        = "conv"        // Out channels, Kernel x Kernel, Stride, Pad, Bias
	Dense       = "dense"       // Out units, Bias; its input must be flat
	BatchNorm   = "batchnorm"   // per channel; momentum 0.1, epsilon 1e-5
	ReLU        = "relu"        // max(x, 0), with derivative 0 at 0
	LeakyReLU   = "leakyrelu"   // x if x > 0, else Slope x
	MaxPool     = "maxpool"     // Kernel, Stride, Pad; the first maximum gets the gradient
	AvgPool     = "avgpool"     // Kernel, Stride, Pad; the mean over real pixels, padding not counted
	GlobalPool  = "globalpool"  // mean over all positions, leaving one value per channel
	Flatten     = "flatten"     // H x W x C to 1 x 1 x HWC, in memory order
	Dropout     = "dropout"     // zeroes a share Rate in training, scales the rest by 1/(1-Rate)
	L2Normalize = "l2normalize" // divides a flat row by its Euclidean norm
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
	Pad    int     `json:"pad,omitempty"` // zeros added on each side, pixels
	Bias   bool    `json:"bias,omitempty"`
	Slope  float64 `json:"slope,omitempty"` // leakyrelu: factor below zero
	Rate   float64 `json:"rate,omitempty"`  // dropout: share of zeroed values
}

// Spec describes a network: a name for people, the shape of one input row and
// the layers in order.
type Spec struct {
	Name   string  `json:"name"`
	Input  Shape   `json:"input"`
	Layers []Layer `json:"layers"`
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
func (s Spec) named() Spec {
	short := map[string]string{BatchNorm: "bn", LeakyReLU: "relu", MaxPool: "pool", AvgPool: "pool", L2Normalize: "norm"}
	layers := make([]Layer, len(s.Layers))
	count := map[string]int{}
	for i, l := range s.Layers {
		stem := l.Type
		if alt, ok := short[l.Type]; ok {
			stem = alt
		}
		count[stem]++
		if l.Name == "" {
			l.Name = fmt.Sprintf("%s%d", stem, count[stem])
		}
		layers[i] = l
	}
	s.Layers = layers
	return s
}

// Validate reports everything that is wrong with the description in one error,
// each line naming its layer: unknown types, missing or inapplicable fields,
// repeated names, shapes that do not fit.
func (s Spec) Validate() error {
	s = s.named()
	var errs []error
	if len(s.Layers) == 0 {
		errs = append(errs, errors.New("no layers"))
	}
	if len(s.Layers) > maxLayers {
		return fmt.Errorf("network description %q: %d layers, at most %d are possible", s.Name, len(s.Layers), maxLayers)
	}
	inputErr := s.Input.check()
	if inputErr != nil {
		errs = append(errs, fmt.Errorf("input: %w", inputErr))
	}
	errs = append(errs, s.checkNames()...)
	shapes, params := inputErr == nil, int64(0)
	cur := s.Input
	for i, l := range s.Layers {
		fieldErrs := l.checkFields()
		for _, err := range fieldErrs {
			errs = append(errs, s.layerError(i, err))
		}
		// Past the first layer without a known output the shapes are unknown;
		// the fields of the others are still worth checking.
		if shapes = shapes && len(fieldErrs) == 0; !shapes {
			continue
		}
		next, err := l.output(cur)
		if err != nil {
			errs, shapes = append(errs, s.layerError(i, err)), false
			continue
		}
		params += l.paramCount(cur)
		cur = next
	}
	if shapes && len(s.Layers) > 0 && !cur.Vector() {
		errs = append(errs, fmt.Errorf("the last layer leaves %v per row, want a vector: add flatten or globalpool", cur))
	}
	if params > maxParams {
		errs = append(errs, fmt.Errorf("%d parameters, at most %d are possible", params, maxParams))
	}
	if len(errs) > 0 {
		return fmt.Errorf("network description %q:\n%w", s.Name, errors.Join(errs...))
	}
	return nil
}

func (s Spec) layerError(i int, err error) error {
	return fmt.Errorf("layer %d (%s): %w", i+1, s.Layers[i].Name, err)
}

// checkNames wants names that are unique, usable in tensor names and distinct
// from the two words that [Network.Output] understands. A dot is left free for
// layers inside a block.
func (s Spec) checkNames() (errs []error) {
	seen := map[string]bool{}
	for i, l := range s.Layers {
		bad := strings.IndexFunc(l.Name, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-'
		})
		switch {
		case bad >= 0:
			errs = append(errs, s.layerError(i, fmt.Errorf("name %q: only letters, digits, _ and - are possible", l.Name)))
		case l.Name == Embedding || l.Name == Features:
			errs = append(errs, s.layerError(i, fmt.Errorf("name %q is reserved", l.Name)))
		case seen[l.Name]:
			errs = append(errs, s.layerError(i, fmt.Errorf("name %q is used twice", l.Name)))
		}
		seen[l.Name] = true
	}
	return errs
}

// checkFields reports fields out of range and fields that the type has no use for.
func (l Layer) checkFields() (errs []error) {
	type field struct {
		name      string
		set, used bool
		ok        bool
		want      string
	}
	window := l.Type == Conv || l.Type == MaxPool || l.Type == AvgPool
	padOK, padWant := l.Pad >= 0 && (l.Pad == 0 || l.Pad < l.Kernel), "0 to kernel-1"
	if l.Type != Conv {
		padOK, padWant = l.Pad >= 0 && l.Pad <= l.Kernel/2, "0 to kernel/2"
	}
	finite := func(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
	fields := []field{
		{"out", l.Out != 0, l.Type == Conv || l.Type == Dense, l.Out >= 1 && l.Out <= maxUnits, "1 or more"},
		{"kernel", l.Kernel != 0, window, l.Kernel >= 1 && l.Kernel <= maxSide, "1 or more"},
		{"stride", l.Stride != 0, window, l.Stride >= 1 && l.Stride <= maxSide, "1 or more"},
		{"pad", l.Pad != 0, window, padOK, padWant},
		{"bias", l.Bias, l.Type == Conv || l.Type == Dense, true, ""},
		{"slope", l.Slope != 0, l.Type == LeakyReLU, finite(l.Slope) && l.Slope > 0 && l.Slope < 1, "between 0 and 1"},
		{"rate", l.Rate != 0, l.Type == Dropout, finite(l.Rate) && l.Rate > 0 && l.Rate < 1, "between 0 and 1"},
	}
	if !slices.Contains(layerTypes, l.Type) {
		return []error{fmt.Errorf("unknown layer type %q: the types are %s", l.Type, strings.Join(layerTypes, ", "))}
	}
	for _, f := range fields {
		if f.used && !f.ok {
			errs = append(errs, fmt.Errorf("%s of a %s layer must be %s", f.name, l.Type, f.want))
		}
		if !f.used && f.set {
			errs = append(errs, fmt.Errorf("%s does not apply to a %s layer", f.name, l.Type))
		}
	}
	return errs
}

// layerTypes are the types there are.
var layerTypes = []string{Conv, Dense, BatchNorm, ReLU, LeakyReLU, MaxPool, AvgPool, GlobalPool, Flatten, Dropout, L2Normalize}

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
	case Dense:
		out.C = l.Out
	case Flatten:
		out = Shape{1, 1, in.Size()}
	case GlobalPool:
		out = Shape{1, 1, in.C}
	}
	if (l.Type == Dense || l.Type == L2Normalize) && !in.Vector() {
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

// shapes returns the output shape of every layer of a valid description.
func (s Spec) shapes() []Shape {
	shapes, cur := make([]Shape, len(s.Layers)), s.Input
	for i, l := range s.Layers {
		next, err := l.output(cur)
		if err != nil {
			panic("encoder: shapes of an invalid description")
		}
		shapes[i], cur = next, next
	}
	return shapes
}

// inputOf returns the shape that enters layer i.
func (s Spec) inputOf(i int, shapes []Shape) Shape {
	if i == 0 {
		return s.Input
	}
	return shapes[i-1]
}

// Dim is the width of the last layer of a valid description: the dimension of
// the embedding.
func (s Spec) Dim() int {
	shapes := s.shapes()
	return s.inputOf(len(shapes), shapes).Size()
}

// ParamCount is the number of trainable values of a valid description.
func (s Spec) ParamCount() int {
	total, shapes := int64(0), s.shapes()
	for i, l := range s.Layers {
		total += l.paramCount(s.inputOf(i, shapes))
	}
	return int(total)
}

// FLOPs is the number of floating-point operations per row of a forward pass
// of a valid description: two for each multiply-add of the convolutions (taps
// on the padding included) and dense layers, nothing for the rest. A training
// step costs close to three times as much.
func (s Spec) FLOPs() int64 {
	total, shapes := int64(0), s.shapes()
	for i, l := range s.Layers {
		in, out := s.inputOf(i, shapes), shapes[i]
		switch l.Type {
		case Conv:
			total += 2 * int64(out.Size()) * int64(l.Kernel*l.Kernel) * int64(in.C)
		case Dense:
			total += 2 * int64(in.Size()) * int64(out.Size())
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
	shapes := s.shapes()
	for i, l := range s.Layers {
		fmt.Fprintf(w, "%s\t%s\t%v\t%s\n", l.Name, l.describe(), shapes[i], thousands(l.paramCount(s.inputOf(i, shapes))))
	}
	w.Flush()
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
