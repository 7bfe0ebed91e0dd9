package encoder

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"nat/internal/kernel"
	"nat/internal/tensorfile"
)

// SpecKey is the metadata entry of a weights file that holds the description.
const SpecKey = "encoder"

// slot is named memory that a tensor can be copied from or into.
type slot struct {
	name  string
	shape []int
	data  []float32
}

func toTensors(slots []slot) []tensorfile.Tensor {
	ts := make([]tensorfile.Tensor, len(slots))
	for i, s := range slots {
		ts[i] = tensorfile.Tensor{Name: s.name, Shape: slices.Clone(s.shape), Data: s.data}
	}
	return ts
}

// setSlots copies tensors into the slots they are named after. It wants exactly
// one float32 tensor of the right shape for every slot; otherwise it changes
// nothing and reports every tensor at fault.
func setSlots(what string, slots []slot, ts []tensorfile.Tensor) error {
	given := make(map[string]tensorfile.Tensor, len(ts))
	var errs []error
	for _, t := range ts {
		if _, twice := given[t.Name]; twice {
			errs = append(errs, fmt.Errorf("%s appears twice", t.Name))
		}
		given[t.Name] = t
	}
	sources := make([][]float32, len(slots))
	for i, s := range slots {
		t, ok := given[s.name]
		if !ok {
			errs = append(errs, fmt.Errorf("%s is missing", s.name))
			continue
		}
		delete(given, s.name)
		data, isFloat := t.Data.([]float32)
		switch {
		case !isFloat:
			errs = append(errs, fmt.Errorf("%s holds %T, want float32", s.name, t.Data))
		case !slices.Equal(t.Shape, s.shape) || len(data) != len(s.data):
			errs = append(errs, fmt.Errorf("%s has shape %v, want %v", s.name, t.Shape, s.shape))
		}
		sources[i] = data
	}
	for _, t := range ts {
		if _, left := given[t.Name]; left {
			errs = append(errs, fmt.Errorf("%s has no place here", t.Name))
			delete(given, t.Name)
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("%s does not fit:\n%w", what, errors.Join(errs...))
	}
	for i, s := range slots {
		copy(s.data, sources[i])
	}
	return nil
}

// State returns the weights and running statistics in the order of the layers:
// LAYER.weight, LAYER.bias, and for batch norm LAYER.running_mean and
// LAYER.running_var as well. The tensors share memory with the network: write
// or copy them before the next training step. Use SetState to change them.
func (n *Network) State() []tensorfile.Tensor { return toTensors(n.slots) }

// SetState restores what State returned. The error names every tensor that is
// missing, unknown or of another shape, and nothing is changed.
func (n *Network) SetState(ts []tensorfile.Tensor) error {
	n.pending = false // its activations belong to the old weights
	n.changes++
	return setSlots(fmt.Sprintf("weights of encoder %s", n.spec.Name), n.slots, ts)
}

// WriteWeights writes weights and running statistics as safetensors, with the
// description as metadata. The bytes depend on them alone.
func WriteWeights(w io.Writer, n *Network) error {
	desc, err := json.Marshal(n.spec)
	if err != nil {
		return fmt.Errorf("network description: %w", err)
	}
	return tensorfile.WriteSafetensors(w, n.State(), map[string]string{SpecKey: string(desc)})
}

// ReadWeights rebuilds a network from the tensors and metadata of a file that
// [WriteWeights] wrote, or any with what State returns and the description, as
// JSON, under [SpecKey].
func ReadWeights(ts []tensorfile.Tensor, meta map[string]string, pool *kernel.Pool) (*Network, error) {
	desc, ok := meta[SpecKey]
	if !ok {
		return nil, fmt.Errorf("%w: no network description in its metadata (key %q): not a weights file", tensorfile.ErrFormat, SpecKey)
	}
	spec, err := ParseSpec([]byte(desc))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", tensorfile.ErrFormat, err)
	}
	if err := fits(spec, ts); err != nil {
		return nil, fmt.Errorf("%w: %w", tensorfile.ErrFormat, err)
	}
	n := build(spec, 0, pool)
	if err := n.SetState(ts); err != nil {
		return nil, fmt.Errorf("%w: %w", tensorfile.ErrFormat, err)
	}
	return n, nil
}

// fits refuses a description that wants far more memory than the file brings,
// before any of it is allocated.
func fits(spec Spec, ts []tensorfile.Tensor) error {
	have := 0
	for _, t := range ts {
		if data, ok := t.Data.([]float32); ok {
			have += len(data)
		}
	}
	if want := spec.ParamCount(); have < want {
		return fmt.Errorf("the description has %d parameters, the tensors hold %d values", want, have)
	}
	return nil
}
