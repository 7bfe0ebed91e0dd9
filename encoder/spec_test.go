package encoder

import (
	"encoding/json"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"
)

func mustPreset(t testing.TB, name string, in Shape, dim int) Spec {
	t.Helper()
	spec, err := Preset(name, in, dim)
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

func TestSpecJSONRoundTrip(t *testing.T) {
	for _, name := range Presets() {
		spec := mustPreset(t, name, Shape{64, 64, 3}, 64)
		data, err := json.Marshal(spec)
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseSpec(data)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(back, spec) {
			t.Errorf("%s became\n%+v\nthrough JSON, was\n%+v", name, back, spec)
		}
	}
}

func TestParseSpecRefuses(t *testing.T) {
	const good = `{"name":"n","input":{"h":1,"w":1,"c":4},"layers":[{"type":"dense","out":3}]}`
	if _, err := ParseSpec([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ text, want string }{
		"unknown field of the network": {`{"name":"n","depth":3,"input":{"h":1,"w":1,"c":4},"layers":[{"type":"dense","out":3}]}`, "depth"},
		"unknown field of a layer":     {`{"input":{"h":1,"w":1,"c":4},"layers":[{"type":"dense","out":3,"dilation":2}]}`, "dilation"},
		"unknown field of the input":   {`{"input":{"h":1,"w":1,"c":4,"n":4},"layers":[{"type":"dense","out":3}]}`, `"n"`},
		"trailing data":                {good + `{}`, "after"},
		"wrong type":                   {`{"input":{"h":1,"w":1,"c":4},"layers":[{"type":"dense","out":"3"}]}`, "out"},
		"nothing":                      {``, "network description"},
		"null":                         {`null`, "no layers"},
		"unknown layer":                {`{"input":{"h":1,"w":1,"c":4},"layers":[{"type":"attention"}]}`, "attention"},
	} {
		if _, err := ParseSpec([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one that mentions %q", name, err, c.want)
		}
	}
}

// TestSpecEmbedded makes sure that a description inside another document is
// read as strictly as one alone.
func TestSpecEmbedded(t *testing.T) {
	var run struct{ Encoder Spec }
	text := `{"Encoder":{"name":"n","input":{"h":1,"w":1,"c":4},"layers":[{"type":"dense","out":3,"groups":2}]}}`
	if err := json.Unmarshal([]byte(text), &run); err == nil || !strings.Contains(err.Error(), "groups") {
		t.Errorf("error %v, want one that names the unknown field", err)
	}
}

// TestValidateReportsEverything gives one description many faults and wants
// all of them, each with its layer.
func TestValidateReportsEverything(t *testing.T) {
	spec := Spec{Name: "bad", Input: Shape{8, 8, 1}, Layers: []Layer{
		{Type: Conv, Name: "a", Out: 0, Kernel: 3, Stride: 0},
		{Type: ReLU, Name: "a", Out: 5},
		{Type: "lstm", Name: "l"},
		{Type: Dropout, Name: "d", Rate: 1},
		{Type: LeakyReLU, Name: "features", Slope: math.NaN()},
		{Type: MaxPool, Name: "p.q", Kernel: 2, Stride: 2, Pad: 2, Bias: true},
		{Type: Conv, Name: "c", Out: 1, Kernel: 2, Stride: 1, Pad: 2},
	}}
	err := spec.Validate()
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"layer 1 (a): out of a conv", "layer 1 (a): stride", "layer 2 (a): name \"a\" is used twice", "layer 2 (a): out does not apply",
		"layer 3 (l): unknown layer type \"lstm\"", "layer 4 (d): rate", "layer 5 (features): name \"features\" is reserved",
		"layer 5 (features): slope", "layer 6 (p.q): name", "layer 6 (p.q): pad", "layer 6 (p.q): bias does not apply", "layer 7 (c): pad",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q:\n%v", want, err)
		}
	}
	if spec.String() != err.Error() {
		t.Errorf("an invalid description prints as %q", spec)
	}
}

func TestValidateShapes(t *testing.T) {
	image := Shape{6, 6, 2}
	for name, c := range map[string]struct {
		spec Spec
		want string
	}{
		"empty":         {Spec{Input: image}, "no layers"},
		"input":         {Spec{Input: Shape{0, 6, 2}, Layers: []Layer{{Type: Flatten}}}, "input: shape 0x6x2"},
		"huge input":    {Spec{Input: Shape{1 << 15, 1 << 15, 1 << 20}, Layers: []Layer{{Type: Flatten}}}, "larger than"},
		"dense":         {Spec{Input: image, Layers: []Layer{{Type: Dense, Out: 3}}}, "want a vector: add flatten"},
		"normalize":     {Spec{Input: image, Layers: []Layer{{Type: L2Normalize}}}, "want a vector"},
		"no vector":     {Spec{Input: image, Layers: []Layer{{Type: ReLU}}}, "the last layer leaves 6x6x2"},
		"unflatten":     {Spec{Input: Shape{1, 1, 7}, Layers: []Layer{{Type: Unflatten, H: 2, W: 2, Out: 2}}}, "its input has 7 values, a 2x2x2 image has 8"},
		"unflatten big": {Spec{Input: Shape{1, 1, 7}, Layers: []Layer{{Type: Unflatten, H: maxSide, W: maxSide, Out: maxUnits}}}, "larger than"},
		"unflattened":   {Spec{Input: image, Layers: []Layer{{Type: Unflatten, H: 6, W: 6, Out: 2}}}, "want a vector"},
		"half":          {Spec{Input: Shape{1, 1, 7}, Layers: []Layer{{Type: FirstHalf}}}, "want an even number"},
		"transpose":     {Spec{Input: image, Layers: []Layer{{Type: ConvTranspose, Out: 1, Kernel: 3, Stride: 2, Pad: 1, H: 13, W: 12}}}, "takes 13x12 pixels to its input's 6x6"},
		"transpose all": {Spec{Input: image, Layers: []Layer{{Type: ConvTranspose, Out: 1, Kernel: 1, Stride: maxSide}}}, "larger than"},
		"unflatten all": {Spec{Input: Shape{1, 1, 7}, Layers: []Layer{{Type: Unflatten, Out: 7}}}, "h of a unflatten layer must be 1 or more"},
		"sized conv":    {Spec{Input: image, Layers: []Layer{{Type: Conv, Out: 1, Kernel: 1, Stride: 1, H: 6}}}, "h does not apply to a conv layer"},
		"window":        {Spec{Input: image, Layers: []Layer{{Type: Conv, Out: 1, Kernel: 7, Stride: 1}}}, "7x7 window does not fit"},
		"pool window":   {Spec{Input: image, Layers: []Layer{{Type: AvgPool, Kernel: 9, Stride: 1}}}, "9x9 window"},
		"huge layer":    {Spec{Input: Shape{1 << 10, 1 << 10, 1}, Layers: []Layer{{Type: Conv, Out: 1 << 10, Kernel: 1, Stride: 1}}}, "larger than"},
		"huge weights":  {Spec{Input: Shape{1, 1, 1 << 20}, Layers: []Layer{{Type: Dense, Out: 1 << 20}}}, "parameters, at most"},
		"too many":      {Spec{Input: image, Layers: make([]Layer, maxLayers+1)}, "at most"},
		"huge windowed": {Spec{Input: image, Layers: []Layer{{Type: Conv, Out: maxUnits, Kernel: maxSide, Stride: 1, Pad: maxSide - 1}}}, ""},
	} {
		if err := c.spec.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one that mentions %q", name, err, c.want)
		}
	}
}

// TestValidateBlocks gives blocks that cannot be, and wants the place named.
func TestValidateBlocks(t *testing.T) {
	conv := func(out, stride int) Layer {
		return Layer{Type: Conv, Out: out, Kernel: 3, Stride: stride, Pad: 1}
	}
	bn := Layer{Type: BatchNorm}
	for name, c := range map[string]struct {
		block Layer
		want  string
	}{
		"empty":           {Layer{}, "layer 1 (block1): layers of a residual layer must be a list that ends in batchnorm"},
		"other channels":  {Layer{Layers: []Layer{conv(3, 1), bn}}, "layer 1 (block1): its layers leave 6x6x3, its input, which is added, 6x6x2"},
		"other size":      {Layer{Layers: []Layer{conv(3, 2), bn}, Shortcut: []Layer{conv(3, 1)}}, "its layers leave 3x3x3, the shortcut 6x6x3"},
		"no batch norm":   {Layer{Layers: []Layer{conv(2, 1), bn, {Type: ReLU}}}, "layer 1 (block1): the last of its layers must be a batchnorm"},
		"nested":          {Layer{Layers: []Layer{{Type: Residual, Layers: []Layer{bn}}, bn}}, "layer 1 (block1), layer 1 (block1): a residual block cannot be part of another"},
		"bad layer":       {Layer{Layers: []Layer{conv(2, 0), bn}}, "layer 1 (block1), layer 1 (conv1): stride"},
		"bad shortcut":    {Layer{Layers: []Layer{bn}, Shortcut: []Layer{bn, {Type: Dense, Out: 2}}}, "layer 1 (block1), shortcut layer 2 (dense1): its input is 6x6x2"},
		"name used twice": {Layer{Layers: []Layer{{Type: ReLU, Name: "a"}, {Type: BatchNorm, Name: "a"}}}, "layer 1 (block1), layer 2 (a): name \"a\" is used twice"},
		"with a size":     {Layer{Out: 3, Layers: []Layer{bn}}, "out does not apply to a residual layer"},
	} {
		c.block.Type = Residual
		spec := Spec{Name: name, Input: Shape{6, 6, 2}, Layers: []Layer{c.block, {Type: GlobalPool}}}
		if err := spec.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one that mentions %q", name, err, c.want)
		}
	}
	plain := Spec{Input: Shape{6, 6, 2}, Layers: []Layer{{Type: ReLU, Layers: []Layer{bn}, Shortcut: []Layer{bn}}, {Type: GlobalPool}}}
	for _, want := range []string{"layers does not apply to a relu", "shortcut does not apply to a relu"} {
		if err := plain.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one that mentions %q", err, want)
		}
	}
}

// TestBlockNames wants full names for the layers of blocks, where they are
// printed and where their tensors are stored.
func TestBlockNames(t *testing.T) {
	net := mustNew(t, mixedSpec(), testPool(t, 1))
	names := strings.Join(net.LayerNames(), " ")
	if want := "relu2 block1.conv1 block1.bn1 block1.relu1 block1.conv2 block1.bn2 block1 " +
		"block2.shortcut.conv1 block2.shortcut.bn1 block2.conv1 block2.bn1 block2 pool2"; !strings.Contains(names, want) {
		t.Errorf("the layers are %s, want %s among them", names, want)
	}
	for i, l := range net.prog.layers {
		if net.LayerNames()[i] != l.Name {
			t.Errorf("layer %d is called %s and %s", i, net.LayerNames()[i], l.Name)
		}
	}
	var tensors []string
	for _, s := range net.State() {
		tensors = append(tensors, s.Name)
	}
	if want := "block2.shortcut.conv1.weight block2.shortcut.bn1.weight"; !strings.Contains(strings.Join(tensors, " "), want) {
		t.Errorf("the tensors are %v, want %s among them", tensors, want)
	}
}

func TestSpecString(t *testing.T) {
	want, err := os.ReadFile("testdata/convnet.txt")
	if err != nil {
		t.Fatal(err)
	}
	if got := mustPreset(t, "convnet", Shape{28, 28, 1}, 64).String(); got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	all := Spec{Name: "all", Input: Shape{8, 8, 1}, Layers: []Layer{
		{Type: Conv, Out: 2, Kernel: 3, Stride: 1, Pad: 1, Bias: true}, {Type: LeakyReLU, Slope: 0.1}, {Type: MaxPool, Kernel: 2, Stride: 2},
		{Type: AvgPool, Kernel: 2, Stride: 2}, {Type: GlobalPool}, {Type: Dropout, Rate: 0.5}, {Type: Dense, Out: 8},
		{Type: Unflatten, H: 2, W: 1, Out: 4}, {Type: ConvTranspose, Out: 3, Kernel: 4, Stride: 2, Pad: 1, Bias: true}, {Type: Sigmoid}, {Type: Flatten},
		{Type: Dense, Out: 4}, {Type: FirstHalf}, {Type: L2Normalize},
	}, Train: "dense2"}
	for _, want := range []string{"conv1  ", "conv 2 3x3/1 pad 1 bias", "relu1  ", "slope 0.1", "pool2  ", "globalpool1", "rate 0.5", "norm1",
		"unflatten 4  ", "2x1x4", "convtranspose 3 4x4/2 pad 1 bias", "4x2x3", "sigmoid1", "firsthalf1", "training sees the output of dense2"} {
		if !strings.Contains(all.String(), want) {
			t.Errorf("the table lacks %q:\n%v", want, all)
		}
	}
}

// TestFLOPs counts by hand: 28x28x1 -> 14x14x32 -> 7x7x64 -> 4x4x128 -> 256 -> 64.
func TestFLOPs(t *testing.T) {
	spec := mustPreset(t, "convnet", Shape{28, 28, 1}, 64)
	want := int64(2 * (14*14*32*9 + 7*7*64*9*32 + 4*4*128*9*64 + 2048*256 + 256*64))
	if got := spec.FLOPs(); got != want {
		t.Errorf("%d operations, want %d", got, want)
	}
	up := Spec{Input: Shape{3, 2, 5}, Layers: []Layer{{Type: ConvTranspose, Out: 7, Kernel: 4, Stride: 2, Pad: 1}, {Type: Flatten}}}
	if got, want := up.FLOPs(), int64(2*3*2*5*4*4*7); got != want {
		t.Errorf("transposed convolution: %d operations, want %d", got, want)
	}
	if spec.Dim() != 64 {
		t.Errorf("dimension %d", spec.Dim())
	}
}

func FuzzParseSpec(f *testing.F) {
	for _, name := range Presets() {
		data, err := json.Marshal(mustPreset(f, name, Shape{64, 64, 1}, 4))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	stochastic, err := Stochastic(mustPreset(f, "convnet", Shape{28, 28, 1}, 4))
	if err != nil {
		f.Fatal(err)
	}
	for _, spec := range []Spec{stochastic, mustDecoder(f, stochastic)} {
		data, err := json.Marshal(spec)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"input":{"h":1,"w":1,"c":2},"layers":[{"type":"unflatten","h":-1,"w":-2,"out":1},{"type":"convtranspose","kernel":9223372036854775807}]}`))
	f.Add([]byte(`{"input":{"h":9,"w":9,"c":2},"layers":[{"type":"maxpool","kernel":3,"stride":2,"pad":1},{"type":"globalpool"}]}`))
	f.Add([]byte(`{"input":{"h":-1,"w":1e9,"c":2},"layers":[{"type":"conv","kernel":9223372036854775807}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		spec, err := ParseSpec(data)
		if err != nil {
			return
		}
		// What is accepted has sane sizes, and survives the round trip.
		if spec.ParamCount() < 0 || spec.ParamCount() > maxParams || spec.Dim() < 1 || spec.FLOPs() < 0 || spec.String() == "" {
			t.Errorf("accepted with %d parameters, dimension %d", spec.ParamCount(), spec.Dim())
		}
		again, err := json.Marshal(spec)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := ParseSpec(again); err != nil || !reflect.DeepEqual(back, spec) {
			t.Errorf("%s reads back as %+v, %v", again, back, err)
		}
	})
}
