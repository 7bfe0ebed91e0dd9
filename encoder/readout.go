package encoder

import (
	"fmt"
	"slices"
)

// Names that [Network.Output] understands besides those of the layers. No layer
// may have one of them.
const (
	// Embedding is the output of the last layer.
	Embedding = "embedding"
	// Features is the last block before the first dense layer, flattened (after
	// the pooling, if the network pools globally). A network without
	// convolutions gives its last hidden layer, and one without hidden layers
	// its input. A description may name another, [Spec.Features].
	Features = "features"

	// The three layers that published tables read under the protocol of Deep
	// InfoMax (Hjelm et al., ICLR 2019).

	// ConvOutput is the output of the last convolution or residual block, after
	// its batch norm and ReLU and before any pooling.
	ConvOutput = "conv"
	// FCOutput is the output of the first dense layer but the last (the first of
	// the hidden ones), after its batch norm and ReLU.
	FCOutput = "fc"
	// Output is Embedding by the name it has beside the other two.
	Output = "output"
)

// readNames are the names above, in the order in which messages list them.
var readNames = []string{Embedding, Features, ConvOutput, FCOutput, Output}

// layerIndex resolves a name; -1 stands for the input.
func (n *Network) layerIndex(layer string) (int, error) {
	at, s := 0, n.spec
	switch layer {
	case Embedding, Output:
		return len(n.prog.layers) - 1, nil
	case Features:
		if at = s.featuresAt(); at < 0 {
			return -1, nil
		}
	case ConvOutput:
		if at = s.convAt(); at < 0 {
			return 0, fmt.Errorf("encoder %s has no convolution, and so no layer %q: choose one of %v", s.Name, layer, n.LayerNames())
		}
	case FCOutput:
		if at = s.fcAt(); at < 0 {
			return 0, fmt.Errorf("encoder %s has no dense layer but the last, and so no layer %q: choose one of %v", s.Name, layer, n.LayerNames())
		}
	default:
		i := slices.IndexFunc(n.prog.layers, func(l placed) bool { return l.Name == layer })
		if i < 0 {
			return 0, fmt.Errorf("encoder %s has no layer %q: choose one of %v or %v", s.Name, layer, readNames, n.LayerNames())
		}
		return i, nil
	}
	return slices.IndexFunc(n.prog.layers, func(l placed) bool { return l.Name == s.Layers[at].Name }), nil
}

// featuresAt is the index of the layer or block that [Features] stands for; -1 is
// the input.
func (s Spec) featuresAt() int {
	if s.Features != "" {
		return s.outside(s.Features)
	}
	dense, conv := s.first(Dense), s.first(Conv)
	switch head := s.first(L2Normalize); {
	case dense < 0 && head < 0:
		return len(s.Layers) - 1
	case dense < 0:
		return head - 1
	case conv >= 0 && conv < dense:
		return dense - 1
	}
	return s.last(Dense) - 1
}

// convAt is the index of the layer that [ConvOutput] stands for, or -1.
func (s Spec) convAt() int { return s.activated(s.last(Conv)) }

// fcAt is the index of the layer that [FCOutput] stands for, or -1.
func (s Spec) fcAt() int {
	first := s.first(Dense)
	if first == s.last(Dense) {
		return -1
	}
	return s.activated(first)
}

// activated goes from layer at to the last of the batch norm and ReLU after it.
func (s Spec) activated(at int) int {
	for at >= 0 && at+1 < len(s.Layers) && slices.Contains([]string{BatchNorm, ReLU, LeakyReLU}, s.Layers[at+1].Type) {
		at++
	}
	return at
}

// outside is the index of the layer of that name outside blocks, or -1.
func (s Spec) outside(name string) int {
	return slices.IndexFunc(s.Layers, func(l Layer) bool { return l.Name == name })
}

// first is the index of the first layer of a type, or block with one inside; -1 if
// there is none.
func (s Spec) first(layerType string) int {
	return slices.IndexFunc(s.Layers, func(l Layer) bool { return l.has(layerType) })
}

// last is the index of the last one.
func (s Spec) last(layerType string) int {
	for i := len(s.Layers) - 1; i >= 0; i-- {
		if s.Layers[i].has(layerType) {
			return i
		}
	}
	return -1
}

// has reports whether the layer is of a type or has one of it inside.
func (l Layer) has(layerType string) bool {
	inside := func(l Layer) bool { return l.has(layerType) }
	return l.Type == layerType || slices.ContainsFunc(l.Layers, inside) || slices.ContainsFunc(l.Shortcut, inside)
}
