package encoder

import (
	"encoding/json"
	"fmt"
	"slices"
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

// TestProjections wants the head to be the only difference, whatever its layers,
// and features to be what they are without it.
func TestProjections(t *testing.T) {
	pool := testPool(t, 1)
	types := func(layers []Layer) (s []string) {
		for _, l := range layers {
			s = append(s, fmt.Sprint(l.Type, l.Out))
		}
		return s
	}
	for _, c := range []struct {
		name  string
		in    Shape
		trunk int // layers
	}{{"convnet", Shape{12, 12, 1}, 10}, {"dcgan32", Shape{16, 16, 3}, 10}, {"resnet18", Shape{8, 8, 3}, 12}, {"mlp", Shape{1, 1, 5}, 6}, {"mlp", Shape{3, 3, 1}, 7}} {
		plain := mustPreset(t, c.name, c.in, 4)
		for _, units := range [][]int{{}, {7}, {9, 8, 7}, nil} {
			spec, err := PresetWith(c.name, c.in, 4, PresetOptions{Projection: units})
			if err != nil {
				t.Fatal(err)
			}
			want := types(plain.Layers[:c.trunk])
			if units == nil {
				units = DefaultProjection(c.name)
				if spec.String() != plain.String() {
					t.Errorf("%s: without changes it is\n%v", c.name, spec)
				}
			}
			for _, n := range units {
				want = append(want, fmt.Sprint("dense", n), "batchnorm0", "relu0")
			}
			want = append(want, "dense4", "l2normalize0")
			if got := types(spec.Layers); !slices.Equal(got, want) {
				t.Errorf("%s with %v: %v, want %v", c.name, units, got, want)
			}
			if got, want := mustNew(t, spec, pool), mustNew(t, plain, pool); got.mustWidth(t, Features) != want.mustWidth(t, Features) || spec.Layers[spec.featuresAt()].Name != plain.Layers[plain.featuresAt()].Name {
				t.Errorf("%s with %v: features are layer %d", c.name, units, spec.featuresAt())
			}
			data, _ := json.Marshal(spec)
			if back, err := ParseSpec(data); err != nil || back.String() != spec.String() || back.Features != spec.Features {
				t.Errorf("%s with %v does not survive JSON: %v", c.name, units, err)
			}
		}
	}
	alexnet := mustPreset(t, "alexnet", Shape{64, 64, 3}, 4)
	if got, want := strings.Join(types(alexnet.Layers[19:]), " "), "flatten0 dense4096 batchnorm0 relu0 dropout0 dense4096 batchnorm0 relu0 dense4 l2normalize0"; got != want {
		t.Errorf("alexnet ends in %s", got)
	}
}

func (n *Network) mustWidth(t *testing.T, layer string) int {
	w, err := n.Width(layer)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// TestSobelInFront wants the filter to come first, and colours of equal mean to
// make no difference.
func TestSobelInFront(t *testing.T) {
	for _, name := range []string{"linear", "mlp", "convnet", "dcgan32", "resnet18"} {
		in := Shape{16, 18, 3}
		spec, err := PresetWith(name, in, 4, PresetOptions{Sobel: true, Projection: []int{}})
		if err != nil {
			t.Fatal(err)
		}
		if spec.Layers[0].Type != Sobel || spec.place()[1].in != (Shape{16, 18, 2}) {
			t.Errorf("%s begins with\n%v", name, spec)
		}
		net := mustNew(t, spec, testPool(t, 1))
		x := randomRows(in.Size(), 1)
		z := slices.Clone(net.Forward(x, 1, false))
		for i := 0; i < len(x); i += 3 {
			x[i], x[i+1], x[i+2] = x[i+1], x[i+2], x[i]
		}
		compare(t, name, net.Forward(x, 1, false), doubles(z), 1e-4)
	}
}

func TestPresetOptionsRefused(t *testing.T) {
	image := Shape{64, 64, 3}
	for _, c := range []struct {
		name string
		in   Shape
		opt  PresetOptions
		want string
	}{
		{"linear", image, PresetOptions{Projection: []int{9}}, "encoder linear is one dense layer"},
		{"alexnet", image, PresetOptions{Sobel: true}, "begins with a Sobel filter"},
		{"mlp", Shape{1, 1, 9}, PresetOptions{Sobel: true}, "the input is a vector of 9 numbers"},
		{"convnet", image, PresetOptions{Projection: []int{64, 0}}, "projection of 0 units"},
		{"convnet", image, PresetOptions{Projection: []int{-1}}, "projection of -1 units"},
		{"convnet", image, PresetOptions{Projection: make([]int, 17)}, "17 hidden layers"},
		{"convnet", image, PresetOptions{Projection: []int{1 << 24, 1 << 24}}, "parameters, at most"},
	} {
		if _, err := PresetWith(c.name, c.in, 4, c.opt); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s, %+v: error %v, want one that says %q", c.name, c.opt, err, c.want)
		}
	}
	bad := mustPreset(t, "mlp", Shape{1, 1, 3}, 4)
	bad.Features = "relu9"
	if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), `features: there is no layer "relu9"`) {
		t.Errorf("features of no layer: %v", err)
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
