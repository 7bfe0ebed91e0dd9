package bench

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"math"
	"strings"
	"testing"

	"nat/encoder"
	"nat/internal/kernel"
)

func TestTiming(t *testing.T) {
	for _, c := range []struct {
		seconds []float64
		want    Timing
	}{
		{[]float64{3}, Timing{3, 3, 0}},
		{[]float64{4, 2}, Timing{3, 2, 1.0 / 3}},
		{[]float64{5, 1, 3, 2, 4}, Timing{3, 1, 2.0 / 3}},
	} {
		if got := newTiming(c.seconds); got != c.want {
			t.Errorf("newTiming(%v) = %+v, want %+v", c.seconds, got, c.want)
		}
	}
}

// resnetRest are the multiplications of resnet18 on 32x32 behind the first
// layer: by stages of 2 blocks, with the 1x1 shortcuts of all but the first.
const resnetRest = 4*1024*64*9*64 +
	256*128*(9*64+3*9*128+64) + 64*256*(9*128+3*9*256+128) + 16*512*(9*256+3*9*512+256) + 512*64

// The products of the networks, counted by hand.
func TestFlops(t *testing.T) {
	for _, c := range []struct {
		preset        string
		forward, step int64
		parameters    int
	}{
		{"linear", 2 * 784 * 64, 2 * 2 * 784 * 64, 784*64 + 64}, // no gradient but that of the weights
		{"mlp", 2 * (784*1024 + 1024*1024 + 1024*64), 2 * (2*784*1024 + 3*(1024*1024+1024*64)),
			784*1024 + 1024*1024 + 4*1024 + 1024*64 + 64},
		{"convnet", 2 * (196*32*9 + 49*64*9*32 + 16*128*9*64 + 2048*256 + 256*64),
			2 * (2*196*32*9 + 3*(49*64*9*32+16*128*9*64+2048*256+256*64)),
			32*9 + 64*9*32 + 128*9*64 + 2*(32+64+128) + 2048*256 + 2*256 + 256*64 + 64},
		{"dcgan32", 2 * (256*64*16*3 + 64*128*16*64 + 16*256*16*128 + 4096*1024 + 1024*64),
			2 * (2*256*64*16*3 + 3*(64*128*16*64+16*256*16*128+4096*1024+1024*64)),
			16*(3*64+64*128+128*256) + 2*(64+128+256) + 4096*1024 + 2*1024 + 1024*64 + 64},
		{"resnet18", 2 * (1024*64*27 + resnetRest), 2 * (2*1024*64*27 + 3*resnetRest), 11201664},
	} {
		o := NetworkOptions{Encoder: c.preset}
		spec, err := o.resolve()
		if err != nil {
			t.Fatal(err)
		}
		pool := kernel.NewPool(1)
		pool.SetWinograd(false)
		if got, want := workOf(spec, 3, pool), (work{3 * c.forward, 3 * c.step, 3 * c.forward, 3 * c.step}); got != want {
			t.Errorf("%s: work %+v, want %+v", c.preset, got, want)
		}
		pool.SetWinograd(true)
		if got := workOf(spec, 64, pool); got.TrueStep > got.Step || got.Step != 64*c.step {
			t.Errorf("%s: work with Winograd %+v", c.preset, got)
		}
		pool.Close()
		if got := spec.ParamCount(); got != c.parameters {
			t.Errorf("%s: %d parameters, want %d", c.preset, got, c.parameters)
		}
	}
}

func TestProductFlops(t *testing.T) {
	s3 := kernel.ConvShape{N: 2, H: 8, W: 8, C: 3, OutC: 5, KH: 3, KW: 3, Stride: 1, Pad: 1}
	s4 := kernel.ConvShape{N: 2, H: 16, W: 16, C: 3, OutC: 5, KH: 4, KW: 4, Stride: 2, Pad: 1}
	s3s2 := kernel.ConvShape{N: 2, H: 16, W: 16, C: 3, OutC: 5, KH: 3, KW: 3, Stride: 2, Pad: 1}
	odd := s3
	odd.H, odd.W = 7, 6
	for _, c := range []struct {
		s       kernel.ConvShape
		pass    kernel.ConvPass
		variant string
		want    float64 // of the direct ones
	}{
		{s3, kernel.Forward, "direct", 1},
		{s3, kernel.Forward, "F(2x2,3x3)", 4.0 / 9},
		{s3, kernel.WeightGrad, "F(2x2,3x3)", 4.0 / 9},
		{s3, kernel.InputGrad, "F(4x4,3x3)", 1.0 / 4},
		{s3s2, kernel.Forward, "F(4x4,3x3/2)", 81.0 / 144},
		{s3s2, kernel.WeightGrad, "F(4x4,3x3/2)", 81.0 / 144},
		{s4, kernel.Forward, "F(2x2,2x2)", 9.0 / 16},
		{s4, kernel.InputGrad, "F(2x2,2x2)", 9.0 / 16},
		{odd, kernel.Forward, "F(4x4,3x3)", 2 * 2 * 36.0 / (7 * 6 * 9)}, // tiles reach over the edge
	} {
		if got := float64(productFlops(c.s, c.pass, c.variant)) / c.s.Flops(); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%+v %s: %g of the flops, want %g", c.s, c.variant, got, c.want)
		}
	}
}

// Every preset with its default input is one that can be measured, and its
// convolutions do the work that its description says.
func TestPresets(t *testing.T) {
	for _, name := range encoder.Presets() {
		o := NetworkOptions{Encoder: name, Batch: 1}
		spec, err := o.resolve()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		dense, conv := int64(0), int64(0)
		spec.Visit(func(l encoder.Layer, in, out encoder.Shape) {
			if l.Type == encoder.Dense {
				dense += 2 * int64(in.Size()) * int64(out.Size())
			}
		})
		for _, c := range convs(spec, o) {
			conv += int64(c.count) * int64(c.shape.Flops())
		}
		if dense+conv != spec.FLOPs() {
			t.Errorf("%s: %d flops in dense layers and %d in convolutions, but %d in the description", name, dense, conv, spec.FLOPs())
		}
	}
}

// sane checks what is known of the figures of any machine.
func sane(t *testing.T, what string, m Machine, tm Timing, flops int64, gflops, fraction float64) {
	t.Helper()
	if !(m.Peak > 0 && m.Peak <= m.Best && m.Threads == 2 && m.Kernel == kernel.Tier()) {
		t.Errorf("%s: machine %+v", what, m)
	}
	if !(tm.Best > 0 && tm.Best <= tm.Seconds && tm.Spread >= 0) {
		t.Errorf("%s: timing %+v", what, tm)
	}
	if math.Abs(gflops*tm.Seconds*1e9/float64(flops)-1) > 1e-9 || math.Abs(fraction*m.Peak/gflops-1) > 1e-9 {
		t.Errorf("%s: %d flops in %g s at %g GFLOP/s, %g of %g", what, flops, tm.Seconds, gflops, fraction, m.Peak)
	}
}

func TestGemm(t *testing.T) {
	var seen []int
	r, err := Gemm(t.Context(), GemmOptions{Sizes: []Size{{7, 9, 5}, {16, 8, 24}}, Steps: 3, Workers: 2}, func(done, total int) {
		seen = append(seen, done)
		if total != 3 {
			t.Errorf("total %d", total)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(seen) != 3 || r.Steps != 3 {
		t.Errorf("progress %v, steps %d", seen, r.Steps)
	}
	var names []string
	for _, row := range r.Rows {
		names = append(names, row.Name)
		sane(t, row.Name, r.Machine, row.Timing, row.Flops, row.GFLOPS, row.Fraction)
	}
	if got, want := strings.Join(names, ","), "7x9x5,7x9x5 NT,7x9x5 TN,7x9x5 TT,16x8x24,16x8x24 NT,16x8x24 TN,16x8x24 TT"; got != want {
		t.Errorf("rows %s, want %s", got, want)
	}
	if r.Rows[0].Flops != 2*7*9*5 {
		t.Errorf("flops %d", r.Rows[0].Flops)
	}
}

func TestConv(t *testing.T) {
	r, err := Conv(t.Context(), ConvOptions{Encoder: "convnet", Batch: 2, Steps: 1, Workers: 2, Winograd: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := "2x28x28x1-32 3x3/2 forward"; r.Rows[0].Name != want {
		t.Errorf("the first row is %s, want %s", r.Rows[0].Name, want)
	}
	direct, chosen := map[string]bool{}, map[string]int{}
	for _, row := range r.Rows {
		sane(t, row.Name, r.Machine, row.Timing, row.Flops, row.GFLOPS, row.Fraction)
		if row.Algorithm == "direct" {
			direct[row.Name] = true
		}
		if row.Chosen {
			chosen[row.Name]++
		}
		if want := map[bool]int{true: 0, false: 1}[row.Name == "2x28x28x1-32 3x3/2 input"]; row.Count != want {
			t.Errorf("%s: %d times, want %d", row.Name, row.Count, want)
		}
	}
	if len(direct) != 9 || len(chosen) != 9 {
		t.Errorf("%d shapes and directions, %d chosen", len(direct), len(chosen))
	}
	for _, total := range r.Totals {
		// The gradient of the network's input is not wanted.
		want := map[string]int64{forward: 1, input: 1, weight: 1, "all": 3}[total.Direction] * 2 * 2 * (49*64*9*32 + 16*128*9*64)
		first := map[string]int64{forward: 1, weight: 1, "all": 2}[total.Direction] * 2 * 2 * 196 * 32 * 9
		if total.Flops != want+first {
			t.Errorf("%+v: want %d flops", total, want+first)
		}
	}
	if len(r.Totals) != 8 {
		t.Errorf("%d totals", len(r.Totals))
	}
}

func TestTrain(t *testing.T) {
	o := TrainOptions{NetworkOptions: NetworkOptions{Encoder: "convnet", Batch: 4, Size: 16, Dim: 8, Steps: 5, Workers: 2, Winograd: true}, Views: 2}
	r, err := Train(t.Context(), o, nil)
	if err != nil {
		t.Fatal(err)
	}
	sane(t, "train", r.Machine, r.Timing, r.Flops*8, r.GFLOPS, r.Fraction)
	if r.Input != "16x16x1" || r.Batch != 4 || r.Views != 2 || r.Dim != 8 || r.Steps != 5 {
		t.Errorf("%+v", r)
	}
	if sum := r.Forward + r.Assignment + r.Backward + r.Optimizer; !(sum > 0.5 && sum < 1.5) || !(r.Assignment > 0) {
		t.Errorf("parts %g of a step", sum)
	}
	if weights := int64(12 * r.Parameters); r.Bytes < weights || r.Bytes > weights+1<<24 {
		t.Errorf("%d bytes held, of which weights, gradients and momenta %d", r.Bytes, weights)
	}
}

func TestEmbed(t *testing.T) {
	r, err := Embed(t.Context(), NetworkOptions{Encoder: "mlp", Batch: 4, Steps: 3, Workers: 2}, nil)
	if err != nil {
		t.Fatal(err)
	}
	sane(t, "embed", r.Machine, r.Timing, r.Flops*4, r.GFLOPS, r.Fraction)
	if weights := int64(4 * r.Parameters); r.Bytes < weights {
		t.Errorf("%d bytes held, of which weights %d", r.Bytes, weights)
	}
}

func TestRefused(t *testing.T) {
	for _, c := range []struct {
		err  error
		want []string
	}{
		{GemmOptions{Sizes: []Size{{0, 1, 1}}, Steps: -1, Workers: -2}.Validate(), []string{"size 0x1x1", "steps -1", "workers -2"}},
		{ConvOptions{Encoder: "mlp"}.Validate(), []string{"mlp has no convolution"}},
		{ConvOptions{Size: 12}.Validate(), []string{"size needs an encoder"}},
		{ConvOptions{Encoder: "convnet", Batch: -1}.Validate(), []string{"batch -1"}},
		{NetworkOptions{Encoder: "none"}.Validate(), []string{`unknown encoder "none"`}},
		{NetworkOptions{Encoder: "mlp", Size: 32}.Validate(), []string{"mlp takes vectors"}},
		{TrainOptions{NetworkOptions{Encoder: "mlp", Dim: 1}, -1}.Validate(), []string{"dimension 1", "views -1"}},
	} {
		for _, want := range c.want {
			if c.err == nil || !strings.Contains(c.err.Error(), want) {
				t.Errorf("error %v, want %s in it", c.err, want)
			}
		}
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	stop := func(done, total int) { cancel() }
	_, gemmErr := Gemm(ctx, GemmOptions{Sizes: []Size{{4, 4, 4}}, Steps: 1000}, stop)
	o := NetworkOptions{Encoder: "linear", Batch: 2, Steps: 1000}
	_, trainErr := Train(ctx, TrainOptions{NetworkOptions: o}, nil)
	_, embedErr := Embed(ctx, o, nil)
	_, convErr := Conv(ctx, ConvOptions{Encoder: "convnet", Batch: 1}, nil)
	for _, err := range []error{gemmErr, trainErr, embedErr, convErr} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	}
}

// batchFlag lets profiles be taken of batches that are too large for CI.
var batchFlag = flag.Int("batch", 0, "rows in each step of BenchmarkStep (0: few)")

// BenchmarkStep is a whole training step, as [Train] times it.
func BenchmarkStep(b *testing.B) {
	for _, c := range []struct {
		preset string
		batch  int
	}{{"mlp", 256}, {"convnet", 256}, {"dcgan32", 64}, {"resnet18", 8}, {"alexnet", 1}} {
		b.Run(c.preset, func(b *testing.B) {
			o := TrainOptions{NetworkOptions: NetworkOptions{Encoder: c.preset, Batch: cmp.Or(*batchFlag, c.batch), Winograd: true}}
			spec, err := o.resolve()
			if err != nil {
				b.Fatal(err)
			}
			m := o.newBench()
			defer m.pool.Close()
			s, err := newStep(o, spec, numbers(batches*o.Batch*spec.Input.Size(), 0), m.pool)
			if err != nil {
				b.Fatal(err)
			}
			if err := s.run(); err != nil { // plans the memory
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := s.run(); err != nil {
					b.Fatal(err)
				}
			}
			steps := float64(b.N) / b.Elapsed().Seconds()
			b.ReportMetric(steps*float64(o.Batch), "images/s")
			b.ReportMetric(steps*float64(workOf(spec, o.Batch, m.pool).Step)/1e9, "GFLOP/s") // effective
		})
	}
}
