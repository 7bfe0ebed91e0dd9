package nat

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"nat/encoder"
	"nat/internal/kernel"
)

func TestValidateReportsEverythingAtOnce(t *testing.T) {
	err := Options{Encoder: "resnet", Objective: "magic", Assign: "all", Optimizer: "lion", Dim: 1, Epochs: -1, LR: math.NaN(),
		Momentum: 1, CheckpointEvery: "often", Resume: true, Overwrite: true, Keep: -2, MaxTime: -time.Second}.Validate()
	if !errors.Is(err, ErrUsage) {
		t.Fatalf("not of kind ErrUsage: %v", err)
	}
	for _, flag := range []string{"encoder", "objective", "assign", "optimizer", "dim", "epochs", "lr", "momentum", "checkpoint-every",
		"resume and overwrite", "keep", "max-time"} {
		if !strings.Contains("\n"+err.Error(), "\n"+flag) {
			t.Errorf("nothing about %s in:\n%v", flag, err)
		}
	}
	const huge = math.MaxInt
	err = Options{Data: "x", Size: huge, Dim: huge, Epochs: huge, Batch: huge, Views: huge, Pool: huge, Assign: "pool",
		Workers: huge, Keep: huge}.Validate()
	for _, flag := range []string{"size", "dim", "epochs", "batch", "views", "pool", "workers", "keep"} {
		if !errors.Is(err, ErrUsage) || !strings.Contains("\n"+err.Error(), "\n"+flag+" 9223372036854775807: must be at most ") {
			t.Errorf("nothing about a huge %s in: %v", flag, err)
		}
	}
	for _, momentum := range []float64{-1, .5} {
		if err := (Options{Data: "x", Optimizer: "adamw", Momentum: momentum}).Validate(); !errors.Is(err, ErrUsage) {
			t.Errorf("momentum %g of adamw: %v", momentum, err)
		}
	}
	if err := (Options{Data: "x"}).Validate(); err != nil {
		t.Errorf("the data alone: %v", err)
	}
	if err := (Options{}).Validate(); err == nil {
		t.Error("no data: accepted")
	}
}

func TestCadence(t *testing.T) {
	for text, want := range map[string]cadence{
		"": {every: 10 * time.Minute}, "90s": {every: 90 * time.Second}, "200steps": {steps: 200}, "1step": {steps: 1},
	} {
		if got, err := parseCadence(text); err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"0steps", "-1steps", "10", "0s", "-1m", "steps", "1.5steps", "9999999999999999999steps"} {
		if got, err := parseCadence(text); err == nil {
			t.Errorf("%q: %+v, no error", text, got)
		}
	}
}

// resolve leaves nothing to choose, whatever is given, and keeps what is.
func TestResolve(t *testing.T) {
	for _, points := range []int{1, 2, 5, 31, 100, 3632, 57952, 1_000_000} {
		for _, optimizer := range []string{"sgd", "adamw"} {
			o := Options{Data: "x", Encoder: "linear", Dim: 8, Optimizer: optimizer, Assign: "pool"}
			resolve(&o, points)
			v := reflect.ValueOf(o)
			for i := range v.NumField() {
				switch name := v.Type().Field(i).Name; name {
				case "Out", "Projection", "Sobel", "Size", "Workers", "Limit", "Labels", "Val", "MaxTime", "Init", "Resume", "Overwrite", "AssignEvery", "Temperature", "FinalTemperature", "Clip", "Noise", "Surrogates", "UniformityWeight", "Beta", "GaugeEvery":
				case "Momentum":
					if (o.Momentum == 0) != (optimizer == "adamw") {
						t.Errorf("momentum %g with %s", o.Momentum, optimizer)
					}
				default:
					if v.Field(i).IsZero() {
						t.Errorf("%d points, %s: %s is not resolved", points, optimizer, name)
					}
				}
			}
			if o.Batch < 1 || o.Batch > points || o.Warmup >= o.Epochs*(points/o.Batch) {
				t.Errorf("%d points: batch %d, %d epochs, warm-up %d", points, o.Batch, o.Epochs, o.Warmup)
			}
		}
	}
	o := Options{Batch: 256, Momentum: -1, WeightDecay: -1, Warmup: -1}
	if warnings := resolve(&o, 40); o.Batch != 40 || len(warnings) != 2 {
		t.Errorf("batch 256 of 40 rows: batch %d, warnings %q", o.Batch, warnings)
	}
	if o.Momentum != 0 || o.WeightDecay != 0 || o.Warmup != 0 {
		t.Errorf("none asked for: momentum %g, decay %g, warm-up %d", o.Momentum, o.WeightDecay, o.Warmup)
	}
}

// Re-pairing all rows never comes about in too short a training, which is then told.
func TestResolveGlobal(t *testing.T) {
	for epochs, want := range map[int]int{3: 1, 4: 0} {
		o := Options{Assign: "global", Epochs: epochs}
		warnings := resolve(&o, 1000)
		due := 0
		for epoch := range epochs {
			if o.globalDue(epoch) {
				due++
			}
		}
		if len(warnings) != want || due != 1-want {
			t.Errorf("%d epochs: all rows re-paired %d times, warnings %q", epochs, due, warnings)
		}
	}
}

func TestRunNames(t *testing.T) {
	for path, want := range map[string]string{
		"photos": "photos-nat", "a/b/photos/": "photos-nat", "x/vectors.npy": "vectors-nat", "cifar.tar.gz": "cifar-nat",
		EmbeddedDigits: "digits-nat", "/": "data-nat",
	} {
		if got := runName(path); got != want {
			t.Errorf("runName(%q) = %q, want %q", path, got, want)
		}
	}
}

func TestStateDetectsEveryChange(t *testing.T) {
	good, err := encodeState(state{Format: formatVersion, Step: 3, Checksums: map[string]string{"a": "b"}})
	if err != nil {
		t.Fatal(err)
	}
	if s, err := decodeState(good); err != nil || s.Step != 3 {
		t.Fatalf("%+v, %v", s, err)
	}
	for i := range good {
		for bit := range 8 {
			bad := append([]byte{}, good...)
			bad[i] ^= 1 << bit
			if _, err := decodeState(bad); err == nil {
				t.Errorf("bit %d of byte %d (%q) changed unnoticed", bit, i, good[i])
			}
		}
		if _, err := decodeState(good[:i]); err == nil {
			t.Errorf("cut to %d bytes unnoticed", i)
		}
	}
}

func TestStepNames(t *testing.T) {
	for _, step := range []int{0, 7, 1200, 123_456_789} {
		if got := parseStep(stepName(step)); got != step {
			t.Errorf("parseStep(%q) = %d", stepName(step), got)
		}
	}
	for _, name := range []string{"", "step-", "step-7", "step--0000001", tmpPrefix + "step-00000001", "step-0000000x", "step-+0000001"} {
		if got := parseStep(name); got != -1 {
			t.Errorf("parseStep(%q) = %d", name, got)
		}
	}
}

func TestChoosesTheEncoderOfTheRunToStartFrom(t *testing.T) {
	in := encoder.Shape{H: 8, W: 8, C: 1}
	spec, err := encoder.Preset("mlp", in, 16)
	if err != nil {
		t.Fatal(err)
	}
	var o Options
	got, err := chooseEncoder(&o, shapeOf(in), &snapshot{spec: spec})
	if err != nil || got.Name != "mlp" || o.Encoder != "mlp" || o.Dim != 16 {
		t.Errorf("%s, options %q and %d, error %v", got.Name, o.Encoder, o.Dim, err)
	}
	if _, err := chooseEncoder(&o, shapeOf(encoder.Shape{H: 9, W: 8, C: 1}), &snapshot{spec: spec}); !errors.Is(err, ErrArtefact) {
		t.Errorf("another input shape: %v", err)
	}
}

// Whether Winograd's convolutions are allowed is the run's, since bits depend on
// it. A run of a version without the choice had none.
func TestWinogradIsTheRuns(t *testing.T) {
	images, _ := writeImages(t, smallRows, 4)
	opt := small(images, filepath.Join(t.TempDir(), "run"))
	opt.Epochs = 1
	mustTrain(t, opt)
	for _, c := range []struct{ recorded, run, refused string }{{"", "on", "off"}, {`"winograd": "on",`, "off", "on"}} {
		if c.recorded != "" {
			path := filepath.Join(opt.Out, runFile)
			old := strings.Replace(readFile(t, path), c.recorded, "", 1)
			if err := os.WriteFile(path, []byte(old), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		run, err := OpenRun(opt.Out)
		if err != nil || run.Record.Options.Winograd != c.run {
			t.Errorf("recorded: %q, error %v; want %q", run.Record.Options.Winograd, err, c.run)
		}
		if diff := optionDiff(run.Record.Options, Options{Winograd: c.refused}); len(diff) != 1 {
			t.Errorf("%s in the run, %s now: %q", c.run, c.refused, diff)
		}
	}
	for value, want := range map[string]bool{winogradOn: true, winogradOff: false} {
		pool := kernel.NewPool(1)
		(&Options{Winograd: value}).setKernels(pool)
		shape := kernel.ConvShape{N: 64, H: 8, W: 8, C: 512, OutC: 512, KH: 3, KW: 3, Stride: 1, Pad: 1}
		if got := pool.Winograd(shape, kernel.Forward); got && !want {
			t.Errorf("winograd %s: the kernels use it", value)
		}
		pool.Close()
	}
}
