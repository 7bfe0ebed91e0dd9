package encoder

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"nat/internal/kernel"
)

// Validate reports everything that is wrong with the description in one error,
// each line naming its layer: unknown types, missing or inapplicable fields,
// repeated names, shapes that do not fit.
func (s Spec) Validate() error {
	s = s.named()
	if n := countLayers(s.Layers); n > maxLayers {
		return fmt.Errorf("network description %q: %d layers, at most %d are possible", s.Name, n, maxLayers)
	}
	var c checker
	if len(s.Layers) == 0 {
		c.fail("no layers")
	}
	inputErr := s.Input.check()
	if inputErr != nil {
		c.fail("input: %w", inputErr)
	}
	out, known := c.list(s.Layers, "", s.Input, inputErr == nil)
	if known && len(s.Layers) > 0 && !out.Vector() {
		c.fail("the last layer leaves %v per row, want a vector: add flatten or globalpool", out)
	}
	c.train(s)
	if s.Features != "" && s.outside(s.Features) < 0 {
		c.fail("features: there is no layer %q outside blocks", s.Features)
	}
	if c.params > maxParams {
		c.fail("%d parameters, at most %d are possible", c.params, maxParams)
	}
	if len(c.errs) > 0 {
		return fmt.Errorf("network description %q:\n%w", s.Name, errors.Join(c.errs...))
	}
	return nil
}

// train wants Train to name a layer outside blocks, with no weights after it.
func (c *checker) train(s Spec) {
	if s.Train == "" {
		return
	}
	at := s.outside(s.Train)
	if at < 0 {
		c.fail("train: there is no layer %q outside blocks", s.Train)
		return
	}
	for i, l := range s.Layers[at+1:] {
		if slices.Contains([]string{Conv, ConvTranspose, Dense, BatchNorm, Residual}, l.Type) {
			c.fail("layer %d (%s): it comes after layer %q, at which training ends, and so its weights would never change", at+i+2, l.Name, s.Train)
		}
	}
}

// countLayers counts those inside blocks as well.
func countLayers(layers []Layer) int {
	n := len(layers)
	for _, l := range layers {
		n += countLayers(l.Layers) + countLayers(l.Shortcut)
	}
	return n
}

// checker collects what is wrong with a description.
type checker struct {
	errs   []error
	params int64
}

func (c *checker) fail(format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf(format, args...))
}

// list checks layers that follow one another, from the shape of their input.
// Past the first layer without a known output the shapes are unknown; the
// fields of the others are still worth checking. within names the block.
func (c *checker) list(layers []Layer, within string, in Shape, known bool) (Shape, bool) {
	seen := map[string]bool{}
	for i, l := range layers {
		at := fmt.Sprintf("%slayer %d (%s)", within, i+1, l.Name)
		c.name(l.Name, at, seen)
		fieldErrs := l.checkFields()
		for _, err := range fieldErrs {
			c.fail("%s: %w", at, err)
		}
		if l.Type == Residual {
			in, known = c.block(l, at, within != "", in, known && len(fieldErrs) == 0)
			continue
		}
		if known = known && len(fieldErrs) == 0; !known {
			continue
		}
		next, err := l.output(in)
		if err != nil {
			c.fail("%s: %w", at, err)
			known = false
			continue
		}
		c.params += l.paramCount(in)
		in = next
	}
	return in, known
}

// block checks a residual block. Its batch norm, the addition and the ReLU are
// one pass over the data, so there is always a batch norm.
func (c *checker) block(l Layer, at string, nested bool, in Shape, known bool) (Shape, bool) {
	if nested {
		c.fail("%s: a residual block cannot be part of another", at)
		return in, false
	}
	if n := len(l.Layers); n > 0 && l.Layers[n-1].Type != BatchNorm {
		c.fail("%s: the last of its layers must be a batchnorm, to which the shortcut is added", at)
	}
	out, ok := c.list(l.Layers, at+", ", in, known)
	short, shortOK := c.list(l.Shortcut, at+", shortcut ", in, known)
	if ok && shortOK && out != short {
		what := "the shortcut"
		if len(l.Shortcut) == 0 {
			what = "its input, which is added,"
		}
		c.fail("%s: its layers leave %v, %s %v: bring both to one shape by a 1x1 conv and a batchnorm in the shortcut", at, out, what, short)
		return out, false
	}
	return out, ok && shortOK
}

// name wants names that are unique, usable in tensor names and distinct from
// the words that [Network.Output] understands. A dot stands between the
// name of a block and that of a layer in it.
func (c *checker) name(name, at string, seen map[string]bool) {
	bad := strings.IndexFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-'
	})
	switch {
	case bad >= 0:
		c.fail("%s: name %q: only letters, digits, _ and - are possible", at, name)
	case slices.Contains(readNames, name):
		c.fail("%s: name %q is reserved", at, name)
	case seen[name]:
		c.fail("%s: name %q is used twice", at, name)
	}
	seen[name] = true
}

// checkFields reports fields out of range and fields that the type has no use for.
func (l Layer) checkFields() (errs []error) {
	type field struct {
		name      string
		set, used bool
		ok        bool
		want      string
	}
	if !slices.Contains(layerTypes, l.Type) {
		return []error{fmt.Errorf("unknown layer type %q: the types are %s", l.Type, strings.Join(layerTypes, ", "))}
	}
	conv := l.Type == Conv || l.Type == ConvTranspose
	window := conv || l.Type == MaxPool || l.Type == AvgPool
	sized := func(side int) bool { return side >= 1 && side <= maxSide || side == 0 && l.Type == ConvTranspose }
	side, sideWant := maxSide, "1 or more"
	if l.Type == MaxPool {
		side, sideWant = kernel.MaxPoolKernel, fmt.Sprintf("1 to %d", kernel.MaxPoolKernel)
	}
	padOK, padWant := l.Pad >= 0 && (l.Pad == 0 || l.Pad < l.Kernel), "0 to kernel-1"
	if !conv {
		padOK, padWant = l.Pad >= 0 && l.Pad <= l.Kernel/2, "0 to kernel/2"
	}
	inUnit := func(x float64) bool { return !math.IsNaN(x) && x > 0 && x < 1 }
	fields := []field{
		{"out", l.Out != 0, conv || l.Type == Dense || l.Type == Unflatten, l.Out >= 1 && l.Out <= maxUnits, "1 or more"},
		{"kernel", l.Kernel != 0, window, l.Kernel >= 1 && l.Kernel <= side, sideWant},
		{"stride", l.Stride != 0, window, l.Stride >= 1 && l.Stride <= maxSide, "1 or more"},
		{"pad", l.Pad != 0, window, padOK, padWant},
		{"h", l.H != 0, l.Type == Unflatten || l.Type == ConvTranspose, sized(l.H), "1 or more"},
		{"w", l.W != 0, l.Type == Unflatten || l.Type == ConvTranspose, sized(l.W), "1 or more"},
		{"bias", l.Bias, conv || l.Type == Dense, true, ""},
		{"slope", l.Slope != 0, l.Type == LeakyReLU, inUnit(l.Slope), "between 0 and 1"},
		{"rate", l.Rate != 0, l.Type == Dropout, inUnit(l.Rate), "between 0 and 1"},
		{"layers", len(l.Layers) > 0, l.Type == Residual, len(l.Layers) > 0, "a list that ends in batchnorm"},
		{"shortcut", len(l.Shortcut) > 0, l.Type == Residual, true, ""},
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
var layerTypes = []string{
	Conv, ConvTranspose, Dense, BatchNorm, ReLU, LeakyReLU, Sigmoid, MaxPool, AvgPool, GlobalPool, Flatten, Unflatten, Dropout, Sobel, Residual,
	FirstHalf, L2Normalize,
}
