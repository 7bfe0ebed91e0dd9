package encoder

import (
	"fmt"
	"strings"
	"testing"
)

// TestConvnetAdapts lists the convolutions that images of different sizes get,
// as channels/stride, and what is left at the end.
func TestConvnetAdapts(t *testing.T) {
	for in, want := range map[Shape]string{
		{2, 2, 1}:     "32/1 64/1 128/1 -> 2x2x128",
		{3, 3, 1}:     "32/1 64/1 128/2 -> 2x2x128",
		{4, 4, 1}:     "32/1 64/1 128/2 -> 2x2x128",
		{8, 8, 1}:     "32/1 64/2 128/2 -> 2x2x128",
		{12, 12, 1}:   "32/1 64/2 128/2 -> 3x3x128",
		{16, 16, 3}:   "32/1 64/2 128/2 -> 4x4x128",
		{28, 28, 1}:   "32/2 64/2 128/2 -> 4x4x128",
		{32, 32, 3}:   "32/2 64/2 128/2 -> 4x4x128",
		{28, 56, 1}:   "32/2 64/2 128/2 -> 4x7x128",
		{64, 64, 3}:   "32/2 64/2 128/2 256/2 -> 4x4x256",
		{96, 96, 3}:   "32/2 64/2 128/2 256/2 256/2 -> 3x3x256",
		{224, 224, 3}: "32/2 64/2 128/2 256/2 256/2 256/2 -> 4x4x256",
	} {
		spec := mustPreset(t, "convnet", in, 64)
		var parts []string
		last := Shape{}
		for _, l := range spec.place() {
			if l.Type == Conv {
				parts = append(parts, fmt.Sprintf("%d/%d", l.Out, l.Stride))
				last = l.out
			}
		}
		if got := strings.Join(parts, " ") + " -> " + last.String(); got != want {
			t.Errorf("%v: %s, want %s", in, got, want)
		}
	}
}

// TestPresetsBuild wants every preset, where it fits, to be valid, to end on
// the sphere in the dimension asked for and to have no bias before batch norm.
func TestPresetsBuild(t *testing.T) {
	for _, in := range []Shape{{1, 1, 10}, {1, 40, 3}, {8, 8, 1}, {28, 28, 1}, {32, 32, 3}, {64, 48, 3}, {300, 200, 3}} {
		for _, name := range Presets() {
			spec, err := Preset(name, in, 16)
			if err != nil {
				if fits := map[string]bool{"dcgan32": false, "resnet18": min(in.H, in.W) >= 8, "alexnet": min(in.H, in.W) >= 64}; fits[name] || name == "convnet" {
					t.Errorf("%s for %v: %v", name, in, err)
				}
				continue
			}
			if spec.Dim() != 16 || spec.Layers[len(spec.Layers)-1].Type != L2Normalize {
				t.Errorf("%s for %v does not end on the sphere in 16 dimensions", name, in)
			}
			layers := spec.place()
			for i, l := range layers[:len(layers)-1] {
				if layers[i+1].Type == BatchNorm && l.Bias {
					t.Errorf("%s: %s has a bias that the batch norm after it cancels", name, l.Name)
				}
			}
		}
	}
}

func TestPresetErrors(t *testing.T) {
	for _, c := range []struct {
		name string
		in   Shape
		dim  int
		want string
	}{
		{"resnet9000", Shape{28, 28, 1}, 64, "linear, mlp, convnet, dcgan32, resnet18, alexnet"},
		{"resnet18", Shape{28, 7, 1}, 64, "sides from 8 pixels on fit: use encoder convnet"},
		{"alexnet", Shape{32, 32, 3}, 64, "sides from 64 pixels on fit: use encoder convnet"},
		{"dcgan32", Shape{224, 224, 3}, 64, "sides from 16 to 64 pixels fit: use encoder convnet"},
		{"dcgan32", Shape{8, 32, 3}, 64, "sides from 16 to 64"},
		{"dcgan32", Shape{1, 1, 784}, 64, "use encoder mlp"},
		{"mlp", Shape{1, 1, 784}, 1, "dimension 1"},
		{"mlp", Shape{1, 1, 0}, 8, "input: shape 1x1x0"},
	} {
		if _, err := Preset(c.name, c.in, c.dim); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s for %v: error %v, want one that mentions %q", c.name, c.in, err, c.want)
		}
	}
}

func TestAuto(t *testing.T) {
	for in, want := range map[Shape]string{
		{1, 1, 784}: "mlp", {1, 100, 1}: "mlp", {8, 8, 1}: "convnet", {28, 28, 1}: "convnet", {32, 32, 3}: "convnet", {128, 96, 3}: "convnet",
	} {
		if got := Auto(in); got != want {
			t.Errorf("%v: %s, want %s", in, got, want)
		}
		if _, err := Preset(Auto(in), in, 64); err != nil {
			t.Error(err)
		}
	}
}
