package encoder

import (
	"math"
	"slices"
	"strings"
	"testing"
)

func mustStochastic(t testing.TB, spec Spec) Spec {
	t.Helper()
	s, err := Stochastic(spec)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustDecoder(t testing.TB, enc Spec) Spec {
	t.Helper()
	s, err := Decoder(enc)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestDecoders wants every decoder to go from the embedding to the input, and
// spells out the layers of some.
func TestDecoders(t *testing.T) {
	for _, in := range []Shape{{1, 1, 10}, {1, 40, 3}, {8, 8, 1}, {9, 13, 2}, {28, 28, 1}, {32, 32, 3}, {64, 48, 3}, {97, 90, 1}} {
		for _, name := range Presets() {
			enc, err := Preset(name, in, 16)
			if err != nil {
				continue // not for this input
			}
			for _, enc := range []Spec{enc, mustStochastic(t, enc)} {
				dec := mustDecoder(t, enc)
				if dec.Input != (Shape{1, 1, 16}) || dec.Dim() != in.Size() {
					t.Errorf("%s for %v: the decoder takes %v and leaves %d values", name, in, dec.Input, dec.Dim())
				}
			}
		}
	}
	for _, c := range []struct {
		name string
		in   Shape
		want string
	}{
		{"linear", Shape{1, 1, 9}, "dense 9 bias"},
		{"mlp", Shape{5, 5, 1}, "dense 1024, batchnorm, relu, dense 1024, batchnorm, relu, dense 25 bias"},
		{"dcgan32", Shape{32, 32, 3}, "dense 1024, batchnorm, relu, dense 4096, batchnorm, relu, unflatten 256, convtranspose 128 4x4/2 pad 1, batchnorm, relu, " +
			"convtranspose 64 4x4/2 pad 1, batchnorm, relu, convtranspose 3 4x4/2 pad 1 bias, flatten"},
		{"convnet", Shape{28, 28, 1}, "dense 256, batchnorm, relu, dense 2048, batchnorm, relu, unflatten 128, convtranspose 64 3x3/2 pad 1, batchnorm, relu, " +
			"convtranspose 32 3x3/2 pad 1, batchnorm, relu, convtranspose 1 3x3/2 pad 1 bias, flatten"},
	} {
		var got []string
		for _, l := range mustDecoder(t, mustPreset(t, c.name, c.in, 8)).Layers {
			got = append(got, l.describe())
		}
		if s := strings.Join(got, ", "); s != c.want {
			t.Errorf("%s: %s, want %s", c.name, s, c.want)
		}
	}
	resnet, dcgan := mustDecoder(t, mustPreset(t, "resnet18", Shape{32, 32, 3}, 8)), mustDecoder(t, mustPreset(t, "dcgan32", Shape{32, 32, 3}, 8))
	if a, b := strings.SplitN(resnet.String(), "\n", 2)[1], strings.SplitN(dcgan.String(), "\n", 2)[1]; a != b {
		t.Errorf("resnet18's decoder is\n%s\nwant that of dcgan32\n%s", a, b)
	}
}

// TestDecoderFLOPs wants a decoder of convolutions to cost what the encoder does.
func TestDecoderFLOPs(t *testing.T) {
	for _, name := range []string{"mlp", "convnet", "dcgan32"} {
		enc := mustPreset(t, name, Shape{32, 32, 3}, 64)
		if dec := mustDecoder(t, enc); dec.FLOPs() != enc.FLOPs() {
			t.Errorf("%s: %d operations to encode, %d to decode", name, enc.FLOPs(), dec.FLOPs())
		}
	}
}

// TestStochastic wants the posterior in training, and its normalised means
// otherwise: the first halves of what the layer Posterior gives.
func TestStochastic(t *testing.T) {
	spec := mustStochastic(t, mustPreset(t, "convnet", Shape{8, 8, 1}, 5))
	if spec.Dim() != 5 || spec.TrainDim() != 10 {
		t.Fatalf("dimensions %d and %d, want 5 and 10", spec.Dim(), spec.TrainDim())
	}
	net := mustNew(t, spec, testPool(t, 2))
	const rows = 7
	x := randomRows(rows*64, 3)
	if z := net.Forward(x, rows, true); len(z) != rows*10 {
		t.Errorf("a training pass gives %d values, want %d", len(z), rows*10)
	}
	posterior, width, err := net.Output(x, rows, Posterior)
	if err != nil || width != 10 {
		t.Fatalf("posterior of width %d, %v", width, err)
	}
	mean, _, err := net.Output(x, rows, Mean)
	if err != nil {
		t.Fatal(err)
	}
	z := net.Forward(x, rows, false)
	for r := range rows {
		m := mean[r*5 : (r+1)*5]
		if !slices.Equal(m, posterior[r*10:r*10+5]) {
			t.Errorf("row %d: the means %v are not the first half of %v", r, m, posterior[r*10:(r+1)*10])
		}
		for j, v := range m {
			if got := float64(z[r*5+j]); math.Abs(got-float64(v)/norm(m)) > 1e-6 {
				t.Errorf("row %d: coordinate %d is %g, want %g over %g", r, j, got, v, norm(m))
			}
		}
	}
	if _, err := Stochastic(spec); err == nil {
		t.Error("a stochastic network was made stochastic again")
	}
}

func TestTrainLayerErrors(t *testing.T) {
	dense := Layer{Type: Dense, Out: 4}
	for name, c := range map[string]struct {
		layers []Layer
		train  string
		want   string
	}{
		"unknown":       {[]Layer{dense}, "relu7", `no layer "relu7"`},
		"inside":        {[]Layer{dense, {Type: Residual, Layers: []Layer{{Type: BatchNorm}}}}, "bn1", `no layer "bn1" outside blocks`},
		"weights after": {[]Layer{dense, dense, {Type: L2Normalize}}, "dense1", "layer 2 (dense2): it comes after layer \"dense1\""},
	} {
		spec := Spec{Name: name, Input: Shape{1, 1, 3}, Layers: c.layers, Train: c.train}
		if err := spec.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one that mentions %q", name, err, c.want)
		}
	}
	ok := Spec{Input: Shape{1, 1, 3}, Layers: []Layer{dense, {Type: BatchNorm}, {Type: ReLU}, {Type: L2Normalize}}, Train: "bn1"}
	if err := ok.Validate(); err != nil {
		t.Fatal(err)
	}
	net := mustNew(t, ok, testPool(t, 1))
	if z := net.Forward(randomRows(15, 1), 5, true); slices.Min(z) >= 0 {
		t.Error("training sees the ReLU after the layer it ends with")
	}
}

// TestTrainLayer wants a network whose training ends before its last layers to
// train as one without these, bit for bit, and to give its embedding all the same.
func TestTrainLayer(t *testing.T) {
	pool := testPool(t, 2)
	whole := mixedSpec().named()
	at := slices.IndexFunc(whole.Layers, func(l Layer) bool { return l.Type == FirstHalf })
	cut := whole
	cut.Layers = whole.Layers[:at]
	whole.Train = whole.Layers[at-1].Name
	a, b := mustNew(t, whole, pool), mustNew(t, cut, pool)
	digest := func(net *Network) []float32 {
		opt := NewSGD(net.Params(), 0.9, 1e-4, true, pool)
		dz := randomRows(5*net.TrainDim(), 6)
		var all []float32
		for range 2 {
			all = append(all, net.Forward(randomRows(5*net.Spec().Input.Size(), 5), 5, true)...)
			net.Forward(randomRows(9*net.Spec().Input.Size(), 7), 9, false)
			net.Backward(dz)
			opt.Step(net.Params(), 0.01)
		}
		for _, s := range net.State() {
			all = append(all, s.Data.([]float32)...)
		}
		return all
	}
	if !slices.Equal(digest(a), digest(b)) {
		t.Error("layers that only inference runs change training")
	}
	x := randomRows(3*whole.Input.Size(), 8)
	last := slices.Clone(b.Forward(x, 3, false))
	got := a.Forward(x, 3, false)
	want := referenceLayers(Spec{Input: Shape{1, 1, 12}, Layers: whole.Layers[at:]}, nil, doubles(last), 3, false, nil)
	compare(t, "embedding", got, want, 1e-6)
}

// TestInputGrad compares the gradient of the input with differences of the float64
// reference, in a chain, in a block that reads the input twice, and where a fixed
// filter, which otherwise has no gradient to pass on, comes first.
func TestInputGrad(t *testing.T) {
	bn, relu, flat := Layer{Type: BatchNorm}, Layer{Type: ReLU}, Layer{Type: Flatten}
	conv := Layer{Type: Conv, Out: 2, Kernel: 3, Stride: 1, Pad: 1}
	for name, spec := range map[string]Spec{
		"decoder": mustDecoder(t, mustPreset(t, "convnet", Shape{6, 7, 1}, 5)),
		"block":   {Input: Shape{5, 4, 2}, Layers: []Layer{{Type: Residual, Layers: []Layer{conv, bn, relu, conv, bn}}, flat}},
		"sobel":   {Input: Shape{5, 4, 2}, Layers: []Layer{{Type: Sobel}, conv, bn, relu, flat}},
		"relu":    {Input: Shape{1, 1, 9}, Layers: []Layer{relu, {Type: Dense, Out: 3}}},
	} {
		net := mustNew(t, spec, testPool(t, 2))
		net.WantInputGrad()
		spec = net.Spec()
		perturb(net, 3)
		const rows = 4
		x, functional := randomRows(rows*spec.Input.Size(), 11), randomRows(rows*net.Dim(), 12)
		net.Forward(x, rows, true)
		net.Backward(functional)
		got, xd, weights := net.InputGrad(), doubles(x), weightsOf(net)
		want := make([]float64, len(x))
		for i := range x {
			for _, h := range []float64{1e-6, -1e-6} {
				xd[i] = float64(x[i]) + h
				for k, v := range reference(spec, weights, xd, rows, true) {
					want[i] += float64(functional[k]) * v / (2 * h)
				}
			}
			xd[i] = float64(x[i])
		}
		compare(t, name, got, want, 1e-4)
	}
}
