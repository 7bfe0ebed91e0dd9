package encoder

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"nat/internal/kernel"
)

func testPool(t testing.TB, workers int) *kernel.Pool {
	p := kernel.NewPool(workers)
	t.Cleanup(p.Close)
	return p
}

func randomRows(n int, seed uint64) []float32 {
	r := rand.New(rand.NewPCG(seed, 7))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

// mixedSpec has every layer type, for tests of behaviour that all must share.
func mixedSpec() Spec {
	conv := func(out, k, s int) Layer { return Layer{Type: Conv, Out: out, Kernel: k, Stride: s, Pad: k / 2} }
	return Spec{Name: "mixed", Input: Shape{12, 11, 2}, Layers: []Layer{
		{Type: Sobel}, {Type: Conv, Out: 5, Kernel: 3, Stride: 1, Pad: 1, Bias: true}, {Type: LeakyReLU, Slope: 0.1},
		{Type: MaxPool, Kernel: 3, Stride: 2, Pad: 1}, {Type: Conv, Out: 7, Kernel: 4, Stride: 1, Pad: 1}, {Type: BatchNorm}, {Type: ReLU},
		{Type: Residual, Layers: []Layer{conv(7, 3, 1), {Type: BatchNorm}, {Type: ReLU}, conv(7, 3, 1), {Type: BatchNorm}}},
		{Type: Residual, Layers: []Layer{conv(8, 3, 2), {Type: BatchNorm}}, Shortcut: []Layer{conv(8, 1, 2), {Type: BatchNorm}}},
		{Type: AvgPool, Kernel: 2, Stride: 1}, {Type: Conv, Out: 9, Kernel: 1, Stride: 1}, {Type: BatchNorm}, {Type: GlobalPool},
		{Type: Dense, Out: 8, Bias: true}, {Type: Dropout, Rate: 0.3}, {Type: ReLU}, {Type: Dense, Out: 24}, {Type: Unflatten, H: 3, W: 2, Out: 4},
		{Type: ConvTranspose, Out: 3, Kernel: 3, Stride: 2, Pad: 1, Bias: true, H: 6, W: 4}, {Type: Sigmoid},
		{Type: ConvTranspose, Out: 2, Kernel: 4, Stride: 2, Pad: 1}, {Type: BatchNorm}, {Type: ReLU}, {Type: Flatten},
		{Type: Dense, Out: 12, Bias: true}, {Type: FirstHalf}, {Type: L2Normalize},
	}}
}

func mustNew(t testing.TB, spec Spec, pool *kernel.Pool) *Network {
	t.Helper()
	n, err := New(spec, 1, pool)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// train runs steps towards random targets and returns a digest: all weights
// and gradients, and the embeddings of the last step.
func train(net *Network, opt Optimizer, rows, steps int) []float32 {
	target := randomRows(rows*net.Dim(), 2)
	dz := make([]float32, len(target))
	var digest []float32
	for step := range steps {
		x := randomRows(rows*net.Spec().Input.Size(), uint64(10+step))
		net.SetStep(uint64(step))
		z := net.Forward(x, rows, true)
		squaredDistance(dz, z, target, rows)
		net.Backward(dz)
		opt.Step(net.Params(), 0.05)
		digest = append(digest, z...)
	}
	for _, t := range net.State() {
		digest = append(digest, t.Data.([]float32)...)
	}
	for _, p := range net.Params() {
		digest = append(digest, p.Grad...)
	}
	return digest
}

// TestWorkersDoNotMatter trains with 1, 2, 3 and 5 workers: the same bits.
func TestWorkersDoNotMatter(t *testing.T) {
	blocks := Spec{Name: "blocks", Input: Shape{16, 16, 64}, Layers: []Layer{
		residual(64, 64), residual(64, 128), {Type: GlobalPool}, {Type: Dense, Out: 8}, {Type: L2Normalize}}}
	for _, spec := range []Spec{mixedSpec(), mustPreset(t, "convnet", Shape{28, 28, 1}, 8), blocks} {
		var want []float32
		for _, workers := range []int{1, 2, 3, 5} {
			pool := testPool(t, workers)
			net := mustNew(t, spec, pool)
			digest := train(net, NewSGD(net.Params(), 0.9, 1e-4, true, pool), 7, 2)
			digest = append(digest, net.Forward(randomRows(20*spec.Input.Size(), 3), 20, false)...)
			if want == nil {
				want = digest
			}
			if !slices.Equal(digest, want) {
				t.Errorf("%s: %d workers give other bits than one", spec.Name, workers)
			}
		}
		if slices.ContainsFunc(want, func(v float32) bool { return v != v }) {
			t.Errorf("%s: NaN", spec.Name)
		}
	}
}

// TestInferenceBetween runs inference of other sizes between Forward and
// Backward and wants the gradients and weights of a run without.
func TestInferenceBetween(t *testing.T) {
	pool := testPool(t, 2)
	results := [2][]float32{}
	for k := range results {
		net := mustNew(t, mixedSpec(), pool)
		x := randomRows(6*net.Spec().Input.Size(), 1)
		z := net.Forward(x, 6, true)
		kept := slices.Clone(z)
		if k == 1 {
			for _, rows := range []int{1, 6, 17} {
				other := randomRows(rows*net.Spec().Input.Size(), 9)
				net.Forward(other, rows, false)
				for _, layer := range append(net.LayerNames(), Features, Embedding) {
					if _, _, err := net.Output(other, rows, layer); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		if !slices.Equal(z, kept) {
			t.Error("inference changed the embeddings of the pending pass")
		}
		net.Backward(randomRows(len(z), 5))
		for _, p := range net.Params() {
			results[k] = append(results[k], p.Grad...)
		}
		for _, s := range net.State() {
			results[k] = append(results[k], s.Data.([]float32)...)
		}
	}
	if !slices.Equal(results[0], results[1]) {
		t.Error("inference between Forward and Backward changed gradients or statistics")
	}
}

// TestBatchSizes goes down and up in batch size: each must give what a new
// network gives, so nothing of another batch is left in the memory.
func TestBatchSizes(t *testing.T) {
	pool := testPool(t, 2)
	used := mustNew(t, mixedSpec(), pool)
	start := saved(used)
	for _, rows := range []int{9, 4, 9, 1, 20, 3} {
		fresh := mustNew(t, mixedSpec(), pool)
		if err := used.SetState(start); err != nil {
			t.Fatal(err)
		}
		a := train(used, NewSGD(used.Params(), 0, 0, false, pool), rows, 2)
		b := train(fresh, NewSGD(fresh.Params(), 0, 0, false, pool), rows, 2)
		if !slices.Equal(a, b) {
			t.Errorf("%d rows: a network used before differs from a fresh one", rows)
		}
	}
}

// smallInputs are, for each preset, about the smallest input it takes.
var smallInputs = map[string]Shape{
	"linear": {4, 4, 1}, "mlp": {1, 1, 20}, "convnet": {12, 12, 1}, "dcgan32": {16, 16, 3}, "resnet18": {8, 8, 3}, "alexnet": {64, 64, 3},
}

// TestStepAllocatesNothing wants no allocation in a training step and in
// repeated inference after the first, whatever the preset. With several workers
// chance decides which piece of work each gets, so the scratch memory of one
// may still grow in a step or two after the first.
func TestStepAllocatesNothing(t *testing.T) {
	specs := []Spec{mixedSpec()}
	for _, name := range Presets() {
		spec := mustPreset(t, name, smallInputs[name], 8)
		specs = append(specs, spec, mustDecoder(t, mustStochastic(t, spec)))
	}
	for _, spec := range specs {
		pool := testPool(t, 2)
		net := mustNew(t, spec, pool)
		rows := 4
		x, dz := randomRows(rows*spec.Input.Size(), 1), randomRows(rows*net.Dim(), 2)
		optimizers := []Optimizer{NewSGD(net.Params(), 0.9, 1e-4, true, pool)}
		if net.ParamCount() < 1<<20 {
			optimizers = append(optimizers, NewAdamW(net.Params(), 0.9, 0.999, 1e-8, 0.01, pool))
		}
		for _, opt := range optimizers {
			step := func() {
				net.Forward(x, rows, true)
				net.Backward(dz)
				opt.Step(net.Params(), 0.01)
				net.Forward(x, 3, false)
			}
			n := testing.AllocsPerRun(1, step)
			for range 5 {
				if n > 0 {
					n = testing.AllocsPerRun(1, step)
				}
			}
			if n > 0 {
				t.Errorf("%s with %T: %g allocations in a step", spec.Name, opt, n)
			}
		}
	}
}

// TestMemoryBytes compares the count with what building a network, planning a
// training pass and running inference allocate: equal but for the little that
// Go's structures and the rounding up of its allocator take.
func TestMemoryBytes(t *testing.T) {
	pool := testPool(t, 1)
	for _, c := range []struct {
		spec Spec
		rows int
	}{
		{mustPreset(t, "convnet", Shape{28, 28, 1}, 64), 64},
		{mustPreset(t, "mlp", Shape{1, 1, 100}, 16), 32},
		{mustPreset(t, "resnet18", Shape{16, 16, 3}, 16), 2},
		{mixedSpec(), 300},
		{mustStochastic(t, mustPreset(t, "convnet", Shape{28, 28, 1}, 64)), 64},
		{mustDecoder(t, mustPreset(t, "convnet", Shape{28, 28, 1}, 64)), 64},
	} {
		spec := c.spec.named()
		compare := func(what string, f func(), want int64) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			f()
			runtime.ReadMemStats(&after)
			if got := int64(after.TotalAlloc - before.TotalAlloc); got < want || got > want+want/64+100<<10 {
				t.Errorf("%s %s: %d bytes allocated, %d counted", spec.Name, what, got, want)
			}
		}
		compare("training", func() { build(spec, 0, pool).plan(c.rows) }, spec.MemoryBytes(c.rows, true))
		x := make([]float32, c.rows*spec.Input.Size())
		mustNew(t, spec, pool).Forward(x, c.rows, false) // the pool has its scratch memory now
		gradients := 4 * int64(spec.ParamCount())
		compare("inference", func() { build(spec, 0, pool).Forward(x, c.rows, false) }, spec.MemoryBytes(c.rows, false)+gradients)
	}
	spec := mustPreset(t, "convnet", Shape{224, 224, 3}, 64)
	if b := spec.MemoryBytes(1_000_000, false); b > 400<<20 {
		t.Errorf("inference over a million photographs would take %d MB", b>>20)
	}
}

// TestFoldedWeightsFollow changes weights and statistics in every way there is
// and wants inference to give at once what a network that has just been given
// them gives: no product with a batch norm of yesterday.
func TestFoldedWeightsFollow(t *testing.T) {
	pool := testPool(t, 2)
	net := mustNew(t, mixedSpec(), pool)
	x := randomRows(4*net.spec.Input.Size(), 1)
	dz := randomRows(4*net.Dim(), 2)
	opt := NewAdamW(net.Params(), 0.9, 0.999, 1e-8, 0, pool)
	params, start := net.Params(), saved(net)
	last := []float32{}
	for _, c := range []struct {
		name string
		f    func()
	}{
		{"start", func() {}},
		{"statistics", func() { net.Forward(x, 4, true) }},
		{"step", func() { net.Backward(dz); opt.Step(params, 0.01) }},
		{"another optimiser", func() { NewSGD(params, 0, 0, false, pool).Step(params, 1e-3) }},
		{"by hand", func() { params[0].Value[0]++; net.Params() }},
		{"state", func() { net.SetState(start) }},
	} {
		c.f()
		fresh := mustNew(t, mixedSpec(), pool)
		if err := fresh.SetState(saved(net)); err != nil {
			t.Fatal(err)
		}
		net.Output(x, 4, "conv2") // folds a part of the network only
		got := slices.Clone(net.Forward(x, 4, false))
		if !slices.Equal(got, fresh.Forward(x, 4, false)) {
			t.Errorf("%s: inference with weights of before", c.name)
		}
		if slices.Equal(got, last) {
			t.Errorf("%s: changed nothing", c.name)
		}
		last = got
	}
}

// TestPlans wants storages that are in use at the same time to lie apart, and
// the plans of residual networks to stay near the least that is possible: all
// that the backward pass reads, and the gradients in flight.
func TestPlans(t *testing.T) {
	specs := []Spec{mixedSpec().named()}
	for _, name := range Presets() {
		spec := mustPreset(t, name, smallInputs[name], 8)
		specs = append(specs, spec, mustDecoder(t, mustStochastic(t, spec)))
	}
	for _, spec := range specs {
		layers := spec.place()
		p := compile(layers, spec.trainLayer(layers), nil, 0)
		for what, a := range map[string]arena{"training": p.training.arena, "inference": p.inference.arena} {
			least := 0
			for i, s := range a.storages {
				live := 0
				for j, o := range a.storages {
					if o.first <= s.first && s.first <= o.last {
						live += o.size
					}
					if i < j && s.first <= o.last && o.first <= s.last && s.offset < o.offset+o.size && o.offset < s.offset+s.size {
						t.Errorf("%s %s: storages %d %+v and %d %+v overlap", spec.Name, what, i, s, j, o)
					}
				}
				least = max(least, live)
			}
			if a.size < least || a.size > least+least/8 {
				t.Errorf("%s %s: %d values per row, %d would be in use at most", spec.Name, what, a.size, least)
			}
		}
	}
}

// TestBlocksDoNotMatter gives more rows than one block holds.
func TestBlocksDoNotMatter(t *testing.T) {
	net := mustNew(t, mustPreset(t, "linear", Shape{3, 3, 1}, 4), testPool(t, 2))
	rows := 2*blockRows + 77
	x := randomRows(rows*9, 1)
	all := slices.Clone(net.Forward(x, rows, false))
	for _, r := range []int{0, blockRows - 1, blockRows, 2 * blockRows, rows - 1} {
		if one := net.Forward(x[r*9:(r+1)*9], 1, false); !slices.Equal(one, all[r*4:(r+1)*4]) {
			t.Errorf("row %d alone differs from row %d among %d", r, r, rows)
		}
	}
}

// TestOtherRowsDoNotMatter compares rows among many, few and none: kernels must
// not choose by the number of rows how they round.
func TestOtherRowsDoNotMatter(t *testing.T) {
	for _, c := range []struct {
		preset string
		in     Shape
	}{
		{"resnet18", Shape{16, 16, 3}}, {"dcgan32", Shape{32, 32, 3}}, {"convnet", Shape{64, 64, 3}},
		{"convnet", Shape{28, 28, 1}}, {"alexnet", Shape{64, 64, 1}}, {"mlp", Shape{1, 1, 300}},
	} {
		net := mustNew(t, mustPreset(t, c.preset, c.in, 8), testPool(t, 2))
		const many = 33
		size := c.in.Size()
		x := randomRows(many*size, 1)
		all := slices.Clone(net.Forward(x, many, false))
		for _, rows := range []int{1, 2, 17} {
			for _, lo := range []int{0, many - rows} {
				got := net.Forward(x[lo*size:], rows, false)
				if !slices.Equal(got, all[lo*8:(lo+rows)*8]) {
					t.Errorf("%s for %v: %d rows from %d on differ from the same among %d", c.preset, c.in, rows, lo, many)
				}
			}
		}
	}
}

// TestOutputLayers checks widths and contents layer by layer against the
// reference, the first of two fused layers included, and the two named ones.
func TestOutputLayers(t *testing.T) {
	net := mustNew(t, mixedSpec(), testPool(t, 2))
	spec, rows := net.Spec(), 3
	x := randomRows(rows*spec.Input.Size(), 1)
	net.Forward(x, rows, true) // moves the running statistics away from 0 and 1
	all := map[string][]float64{}
	referenceLayers(spec, weightsOf(net), doubles(x), rows, false, all)
	for _, name := range net.LayerNames() {
		got, width, err := net.Output(x, rows, name)
		if err != nil {
			t.Fatal(err)
		}
		if w, err := net.Width(name); err != nil || w != width || len(got) != rows*width {
			t.Errorf("%s: width %d, Width says %d, %v; %d values", name, width, w, err, len(got))
		}
		compare(t, name, got, all[name], 2e-5)
	}
	if _, _, err := net.Output(x, rows, "conv9"); err == nil || !strings.Contains(err.Error(), "conv1") {
		t.Errorf("unknown layer: %v", err)
	}
	if _, err := net.Width("conv9"); err == nil {
		t.Error("width of an unknown layer")
	}
}

// TestOutputsTogether wants every pair of layers, and all at once, to give the bits
// that each gives alone, over several blocks of rows.
func TestOutputsTogether(t *testing.T) {
	specs := []Spec{mixedSpec(), mustPreset(t, "convnet", Shape{8, 8, 3}, 3), mustPreset(t, "linear", Shape{1, 1, 7}, 3)}
	for _, spec := range specs {
		net := mustNew(t, spec, testPool(t, 2))
		rows := 5
		x := randomRows(rows*spec.Input.Size(), 1)
		net.Forward(x, rows, true)
		names := append(net.LayerNames(), Features, Output)
		net.prog.inference.rows = 2
		alone := map[string][]float32{}
		for _, name := range names {
			alone[name], _, _ = net.Output(x, rows, name)
		}
		check := func(layers []string) {
			outs, err := net.Outputs(x, rows, layers)
			if err != nil {
				t.Fatal(err)
			}
			for i, name := range layers {
				if !slices.Equal(outs[i], alone[name]) {
					t.Errorf("%s: %s differs among %v", spec.Name, name, layers)
				}
			}
		}
		check(names)
		for i := range names {
			for j := range names {
				if len(names) < 25 || (i+j)%7 == 0 {
					check([]string{names[i], names[j]})
				}
			}
		}
		if outs, err := net.Outputs(x, rows, nil); err != nil || len(outs) != 0 {
			t.Errorf("no layers: %v, %v", outs, err)
		}
		if _, err := net.Outputs(x, rows, []string{Output, "conv99"}); err == nil {
			t.Error("a layer that does not exist")
		}
	}
}

func TestFeatures(t *testing.T) {
	pool := testPool(t, 1)
	for _, c := range []struct {
		spec  Spec
		layer string // that features equals; "" is the input
		width int
	}{
		{mustPreset(t, "linear", Shape{4, 4, 2}, 3), "", 32},
		{mustPreset(t, "linear", Shape{1, 1, 7}, 3), "", 7},
		{mustPreset(t, "mlp", Shape{1, 1, 7}, 3), "relu2", 1024},
		{mustPreset(t, "mlp", Shape{4, 4, 2}, 3), "relu2", 1024},
		{mustPreset(t, "convnet", Shape{8, 8, 1}, 3), "relu3", 512},
		{mustPreset(t, "dcgan32", Shape{16, 16, 1}, 3), "flatten1", 1024},
		{mustPreset(t, "resnet18", Shape{8, 8, 1}, 3), "globalpool1", 512},
		{mixedSpec(), "globalpool1", 9},
		{Spec{Input: Shape{4, 4, 1}, Layers: []Layer{{Type: Conv, Out: 3, Kernel: 3, Stride: 1}, {Type: GlobalPool}, {Type: L2Normalize}}}, "globalpool1", 3},
		{Spec{Input: Shape{4, 4, 1}, Layers: []Layer{{Type: Conv, Out: 3, Kernel: 4, Stride: 1}, {Type: ReLU}}}, "relu1", 3},
	} {
		net := mustNew(t, c.spec, pool)
		x := randomRows(2*c.spec.Input.Size(), 1)
		got, width, err := net.Output(x, 2, Features)
		if err != nil || width != c.width {
			t.Errorf("%s: width %d, want %d; %v", c.spec.Name, width, c.width, err)
		}
		want := x
		if c.layer != "" {
			want, _, _ = net.Output(x, 2, c.layer)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: features are not the output of %q", c.spec.Name, c.layer)
		}
	}
}

// TestPublishedLayers wants the names of Deep InfoMax's protocol to be the layers
// that one would find in the description, and the reason where there is none.
func TestPublishedLayers(t *testing.T) {
	pool := testPool(t, 1)
	for _, c := range []struct {
		spec     Spec
		conv, fc string // layers; "" where there is none
		widths   [2]int
	}{
		{mustPreset(t, "dcgan32", Shape{32, 32, 3}, 8), "relu3", "relu4", [2]int{4096, 1024}},
		{mustPreset(t, "convnet", Shape{28, 28, 1}, 8), "relu3", "relu4", [2]int{2048, 256}},
		{mustPreset(t, "alexnet", Shape{64, 64, 3}, 8), "relu5", "relu6", [2]int{3 * 3 * 256, 4096}},
		{mustPreset(t, "resnet18", Shape{16, 16, 3}, 8), "block8", "", [2]int{2 * 2 * 512, 0}},
		{mustPreset(t, "mlp", Shape{1, 1, 7}, 8), "", "relu1", [2]int{0, 1024}},
		{mustPreset(t, "linear", Shape{4, 4, 1}, 8), "", "", [2]int{}},
	} {
		net := mustNew(t, c.spec, pool)
		x := randomRows(2*c.spec.Input.Size(), 1)
		for i, l := range []struct{ name, layer string }{{ConvOutput, c.conv}, {FCOutput, c.fc}, {Output, Embedding}} {
			got, width, err := net.Output(x, 2, l.name)
			if l.layer == "" {
				if err == nil || !strings.Contains(err.Error(), "and so no layer") || !strings.Contains(err.Error(), "dense1") {
					t.Errorf("%s: %s: %v", c.spec.Name, l.name, err)
				}
				continue
			}
			want, _, _ := net.Output(x, 2, l.layer)
			if err != nil || !slices.Equal(got, want) || i < 2 && width != c.widths[i] {
				t.Errorf("%s: %s is not %s: width %d, %v", c.spec.Name, l.name, l.layer, width, err)
			}
		}
	}
}

// TestRunningStatistics follows PyTorch's rule by hand: averages move by a
// tenth, the variance by the unbiased one of the batch.
func TestRunningStatistics(t *testing.T) {
	spec := Spec{Input: Shape{1, 1, 1}, Layers: []Layer{{Type: BatchNorm, Name: "bn"}}}
	net := mustNew(t, spec, testPool(t, 1))
	stat := func(role string) float32 {
		for _, s := range net.State() {
			if s.Name == "bn."+role {
				return s.Data.([]float32)[0]
			}
		}
		t.Fatal("no " + role)
		return 0
	}
	y := net.Forward([]float32{1, 2, 3, 6}, 4, true) // mean 3, biased variance 3.5, unbiased 14/3
	if want := -2 / math.Sqrt(3.5+1e-5); math.Abs(float64(y[0])-want) > 1e-6 {
		t.Errorf("normalised to %g, want %g", y[0], want)
	}
	if m, v := stat("running_mean"), stat("running_var"); math.Abs(float64(m)-0.3) > 1e-6 || math.Abs(float64(v)-(0.9+0.1*14/3)) > 1e-6 {
		t.Errorf("running mean %g, variance %g", m, v)
	}
	net.Forward([]float32{5}, 1, true) // a single row has variance 0, not NaN
	if m, v := stat("running_mean"), stat("running_var"); math.Abs(float64(m)-0.77) > 1e-6 || math.Abs(float64(v)-0.9*(0.9+0.1*14/3)) > 1e-6 {
		t.Errorf("after a single row: running mean %g, variance %g", m, v)
	}
}

// TestDropout checks the share and the scale, that backward uses the mask of
// forward, that another step draws another mask and the same one the same.
func TestDropout(t *testing.T) {
	spec := Spec{Input: Shape{1, 1, 500}, Layers: []Layer{{Type: BatchNorm}, {Type: Dropout, Rate: 0.25}}}
	net := mustNew(t, spec, testPool(t, 2))
	rows := 40
	x := randomRows(rows*500, 1)
	mask := func(step uint64) []bool {
		net.SetStep(step)
		dropped := make([]bool, len(x))
		for i, v := range net.Forward(x, rows, true) {
			dropped[i] = v == 0
		}
		return dropped
	}
	first, second := mask(0), mask(1)
	if slices.Equal(first, second) || !slices.Equal(first, mask(0)) {
		t.Error("masks must change with the step, and with nothing else")
	}
	share := 0.0
	for _, d := range first {
		if d {
			share += 1 / float64(len(first))
		}
	}
	if math.Abs(share-0.25) > 5*math.Sqrt(0.25*0.75/float64(len(x))) {
		t.Errorf("%.4f of the values dropped, want 0.25", share)
	}
	// In the mean over the masks of many steps nothing changes.
	o := newDropout(1, 0.25, 7)
	e, y, dx, sum := &env{pool: testPool(t, 1)}, []float32{0}, []float32{0}, 0.0
	for step := range 4000 {
		e.step = uint64(step)
		o.forward(e, &tensors{rows: 1, y: y, x: []float32{3}})
		o.backward(e, &tensors{rows: 1, dx: dx, dy: []float32{3}})
		if dx[0] != y[0] {
			t.Fatal("forward and backward masks differ")
		}
		sum += float64(y[0]) / 4000
	}
	if math.Abs(sum-3) > 0.15 {
		t.Errorf("mean %.3f over the masks, want 3", sum)
	}
	if got := net.Forward(x, rows, false); slices.Contains(got, 0) {
		t.Error("dropout in inference")
	}
}

// TestMaxPoolTies wants the gradient at the first of equal maxima.
func TestMaxPoolTies(t *testing.T) {
	o := &maxPoolOp{shape: kernel.PoolShape{H: 2, W: 2, C: 1, Kernel: 2, Stride: 2}}
	e := &env{pool: testPool(t, 1)}
	o.plan(1)
	y, dx := []float32{0}, make([]float32, 4)
	o.forward(e, &tensors{rows: 1, y: y, x: []float32{1, 4, 4, 4}})
	o.backward(e, &tensors{rows: 1, dx: dx, dy: []float32{5}})
	if y[0] != 4 || !slices.Equal(dx, []float32{0, 5, 0, 0}) {
		t.Errorf("maximum %g, gradient %v", y[0], dx)
	}
	nan := float32(math.NaN())
	if o.forward(e, &tensors{rows: 1, y: y, x: []float32{1, nan, 3, 4}}); y[0] == y[0] {
		t.Errorf("a NaN was hidden behind %g", y[0])
	}
}

// TestClosedForms has networks small enough to compute on paper.
func TestClosedForms(t *testing.T) {
	pool := testPool(t, 1)
	dense := mustNew(t, Spec{Input: Shape{1, 1, 2}, Layers: []Layer{{Type: Dense, Out: 2, Bias: true}, {Type: L2Normalize}}}, pool)
	copy(dense.Params()[0].Value, []float32{1, 0, 0, 2}) // y = (x0, 2 x1) + (0, 1)
	copy(dense.Params()[1].Value, []float32{0, 1})
	z := dense.Forward([]float32{3, 1.5}, 1, true) // (3, 4)
	if z[0] != 0.6 || z[1] != 0.8 {
		t.Errorf("dense and normalise give %v, want 0.6, 0.8", z)
	}
	dense.Backward([]float32{1, 0}) // tangent part of (1, 0) is (0.64, -0.48), over length 5
	compare(t, "bias gradient", dense.Params()[1].Grad, []float64{0.128, -0.096}, 1e-6)
	compare(t, "weight gradient", dense.Params()[0].Grad, []float64{0.384, -0.288, 0.192, -0.144}, 1e-6)

	conv := mustNew(t, Spec{Input: Shape{2, 2, 1}, Layers: []Layer{{Type: Conv, Out: 1, Kernel: 2, Stride: 2, Pad: 1}, {Type: Flatten}}}, pool)
	copy(conv.Params()[0].Value, []float32{1, 2, 3, 4}) // each corner of the image meets one weight
	if y := conv.Forward([]float32{10, 20, 30, 40}, 1, true); !slices.Equal(y, []float32{40, 60, 60, 40}) {
		t.Errorf("convolution gives %v", y)
	}
	conv.Backward([]float32{1, 1, 1, 1})
	if g := conv.Params()[0].Grad; !slices.Equal(g, []float32{40, 30, 20, 10}) {
		t.Errorf("convolution's weight gradient is %v", g)
	}
}

func TestInitialization(t *testing.T) {
	pool := testPool(t, 1)
	net := mustNew(t, mustPreset(t, "convnet", Shape{28, 28, 1}, 64), pool)
	for _, p := range net.Params() {
		lo, hi, sum := slices.Min(p.Value), slices.Max(p.Value), 0.0
		for _, v := range p.Value {
			sum += float64(v)
		}
		switch p.Name {
		case "conv2.weight": // fan-in 3 * 3 * 32
			bound := 1 / math.Sqrt(288)
			if float64(hi) > bound || float64(hi) < 0.99*bound || float64(lo) > -0.99*bound || math.Abs(sum/float64(len(p.Value))) > 0.02*bound {
				t.Errorf("%s in [%g, %g], want +-%g", p.Name, lo, hi, bound)
			}
			if !p.Decay {
				t.Errorf("%s has no weight decay", p.Name)
			}
		case "dense2.bias":
			if float64(hi) > 1/math.Sqrt(256) || hi < 0.04 {
				t.Errorf("%s up to %g", p.Name, hi)
			}
		case "bn1.weight", "bn1.bias":
			if lo != hi || p.Decay {
				t.Errorf("%s in [%g, %g], decay %v", p.Name, lo, hi, p.Decay)
			}
		}
	}
	again, other := mustNew(t, net.Spec(), pool), mustNew(t, net.Spec(), pool)
	if again, err := New(net.Spec(), 2, pool); err != nil || slices.Equal(again.Params()[0].Value, net.Params()[0].Value) {
		t.Error("another seed must give other weights", err)
	}
	if !slices.Equal(again.Params()[0].Value, other.Params()[0].Value) {
		t.Error("the same seed must give the same weights")
	}
}

// TestMisuse wants panics for the caller's bugs, in the words of the package.
func TestMisuse(t *testing.T) {
	pool := testPool(t, 1)
	spec := mustPreset(t, "linear", Shape{1, 1, 3}, 2)
	net, fresh := mustNew(t, spec, pool), mustNew(t, spec, pool)
	x := make([]float32, 6)
	for name, f := range map[string]func(){
		"backward first":  func() { fresh.Backward(make([]float32, 4)) },
		"backward twice":  func() { net.Forward(x, 2, true); net.Backward(make([]float32, 4)); net.Backward(make([]float32, 4)) },
		"short gradient":  func() { net.Forward(x, 2, true); net.Backward(make([]float32, 3)) },
		"short input":     func() { net.Forward(x, 3, true) },
		"no rows":         func() { net.Forward(x, 0, false) },
		"short output":    func() { net.Output(x, 3, Embedding) },
		"momentum":        func() { NewSGD(nil, 1, 0, false, pool) },
		"betas":           func() { NewAdamW(nil, 0.9, 1, 1e-8, 0, pool) },
		"foreign params":  func() { NewSGD(nil, 0, 0, false, pool).Step(net.Params(), 1) },
		"foreign params2": func() { NewSGD([]Param{{Name: "q"}, {Name: "r"}}, 0, 0, false, pool).Step(net.Params(), 1) },
	} {
		func() {
			defer func() {
				if msg, ok := recover().(string); !ok || !strings.HasPrefix(msg, "encoder: ") {
					t.Errorf("%s: panic %q", name, msg)
				}
			}()
			f()
		}()
	}
	if _, err := New(Spec{}, 0, pool); err == nil {
		t.Error("New accepted an empty description")
	}
}

// BenchmarkStep is a training step without the assignment. It reports rows per
// second.
func BenchmarkStep(b *testing.B) {
	for _, c := range []struct {
		name string
		in   Shape
		rows int
	}{
		{"convnet", Shape{28, 28, 1}, 256}, {"mlp", Shape{1, 1, 784}, 256}, {"dcgan32", Shape{32, 32, 3}, 256},
		{"resnet18", Shape{32, 32, 3}, 64}, {"resnet18", Shape{224, 224, 3}, 8}, {"alexnet", Shape{224, 224, 3}, 32},
	} {
		b.Run(fmt.Sprintf("%s%dx%d", c.name, c.in.W, c.rows), func(b *testing.B) {
			pool := testPool(b, 0)
			net := mustNew(b, mustPreset(b, c.name, c.in, 64), pool)
			opt := NewSGD(net.Params(), 0.9, 0, true, pool)
			x, dz := randomRows(c.rows*c.in.Size(), 1), randomRows(c.rows*64, 2)
			for b.Loop() {
				net.Forward(x, c.rows, true)
				net.Backward(dz)
				opt.Step(net.Params(), 0.001)
			}
			b.ReportMetric(float64(c.rows*b.N)/b.Elapsed().Seconds(), "rows/s")
			b.ReportMetric(3e-9*float64(net.Spec().FLOPs()*int64(c.rows*b.N))/b.Elapsed().Seconds(), "GFLOP/s")
		})
	}
}
