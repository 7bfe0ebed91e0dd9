package nat

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nat/dataset"
	"nat/encoder"
	"nat/internal/kernel"
	"nat/internal/rng"
	"nat/probe"
)

// trained is a run of a few epochs on labelled images.
func trained(t *testing.T, encoder string) (run *Run, images, labels string) {
	t.Helper()
	images, labels = writeImages(t, smallRows, 8)
	opt := small(images, filepath.Join(t.TempDir(), "run"))
	opt.Encoder, opt.Epochs = encoder, 3
	mustTrain(t, opt)
	run, err := OpenRun(opt.Out)
	if err != nil {
		t.Fatal(err)
	}
	return run, images, labels
}

// openModel opens a run's model, and data for it.
func openModel(t *testing.T, run *Run, data string, workers int) (*Model, *dataset.Set) {
	t.Helper()
	m, err := run.Model(workers)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	set, err := m.OpenData(context.Background(), data, dataset.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { set.Close() })
	return m, set
}

func embedAll(t *testing.T, m *Model, set *dataset.Set, rows []int, layer string) []float32 {
	t.Helper()
	var got []int
	var z []float32
	err := m.Embed(context.Background(), set, rows, layer, func(r []int, block []float32, width int) error {
		if len(block) != len(r)*width {
			t.Errorf("%d values for %d rows of %d", len(block), len(r), width)
		}
		got = append(got, r...)
		z = append(z, block...)
		return nil
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, rows) {
		t.Errorf("rows %v, want %v", got, rows)
	}
	return z
}

func TestEmbed(t *testing.T) {
	run, images, _ := trained(t, "convnet")
	m, set := openModel(t, run, images, 2)
	all := upTo(set.Len())
	z := embedAll(t, m, set, all, "embedding")
	for i := range all {
		var square float64
		for _, v := range z[i*8 : (i+1)*8] {
			square += float64(v) * float64(v)
		}
		if abs(square-1) > 1e-5 {
			t.Errorf("row %d has squared norm %v", i, square)
		}
	}
	// Alone, out of order, by another number of workers: the same bits.
	some := []int{167, 3, 3, 90}
	one, err := run.Model(1)
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	for k, v := range embedAll(t, one, set, some, "embedding") {
		if want := z[some[k/8]*8+k%8]; v != want {
			t.Errorf("row %d alone differs: %v and %v", some[k/8], v, want)
		}
	}
	if f := embedAll(t, m, set, all, "features"); len(f)/len(all) <= 8 {
		t.Errorf("features of %d values", len(f)/len(all))
	}
	if err := m.Embed(context.Background(), set, all, "nose", nil, nil); !errors.Is(err, ErrUsage) {
		t.Errorf("an unknown layer: %v", err)
	}
}

func TestEmbedStops(t *testing.T) {
	run, images, _ := trained(t, "linear")
	m, set := openModel(t, run, images, 1)
	rows := make([]int, 3000)
	full := errors.New("disk full")
	err := m.Embed(context.Background(), set, rows, "embedding", func([]int, []float32, int) error { return full }, nil)
	if !errors.Is(err, full) {
		t.Errorf("error of emit: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	err = m.Embed(ctx, set, rows, "embedding", func([]int, []float32, int) error { cancel(); return nil }, nil)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestEvaluate(t *testing.T) {
	run, images, labels := trained(t, "convnet")
	res, err := Evaluate(context.Background(), run, "", EvalOptions{Labels: labels, Probes: []string{"knn", "linear"}, PerClass: []int{5}, Workers: 2}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []struct{ name, layer string }{{"run", "embedding"}, {"run", "features"}, {"random", "embedding"}, {"random", "features"}, {"pca", "input"}, {"raw", "input"}}
	if len(res.Rows) != len(want) || len(res.Few) != 1 || len(res.Few[0].Rows) != len(want) || res.TrainRows+res.TestRows != smallRows || res.Classes != 4 || len(res.Warnings) != 1 {
		t.Fatalf("%+v", res)
	}
	for i, w := range want {
		for _, row := range []EvalRow{res.Rows[i], res.Few[0].Rows[i]} {
			if row.Name != w.name || row.Layer != w.layer || row.KNN == nil || row.Linear == nil || row.MLP != nil || row.Dim == 0 {
				t.Errorf("row %d: %+v", i, row)
			}
		}
		least := .9 // the classes are as plain as day
		if w.name == "random" {
			least = .7 // but not in any 8 numbers
		}
		if *res.Rows[i].Linear < least {
			t.Errorf("%s %s: linear accuracy %v", w.name, w.layer, *res.Rows[i].Linear)
		}
	}
	if _, err := Evaluate(context.Background(), run, images, EvalOptions{}, nil); !errors.Is(err, ErrInput) {
		t.Errorf("without labels: %v", err)
	}
	if _, err := Evaluate(context.Background(), run, images, EvalOptions{Probes: []string{"tree"}}, nil); !errors.Is(err, ErrUsage) {
		t.Errorf("an unknown probe: %v", err)
	}
}

// Every probe with randomness of its own takes it from the seed.
func TestEvaluateSeed(t *testing.T) {
	const dim = 12
	ev := &evaluation{ctx: context.Background(), model: &Model{pool: kernel.NewPool(2)}, observe: func(Event) {}}
	defer ev.model.Close()
	r := rng.New(3, "noisy test rows")
	draw := func(n int) (x []float32, y []int) {
		for i := range n {
			y = append(y, i%2)
			for range dim {
				x = append(x, float32(r.NormFloat64()+.3*float64(i%2)))
			}
		}
		return x, y
	}
	data := probe.Data{Dim: dim, Classes: 2}
	data.Train, data.TrainY = draw(60)
	data.Test, data.TestY = draw(400)
	for _, name := range []string{"linear", "svm", "mlp"} {
		seen := map[float64]bool{}
		for seed := range uint64(6) {
			ev.opt.Seed = seed + 1
			row, err := ev.row("raw", "input", data, []string{name})
			if err != nil {
				t.Fatal(err)
			}
			seen[**row.field(name)] = true
		}
		if len(seen) < 2 {
			t.Errorf("%s: accuracy %v whatever the seed", name, seen)
		}
	}
}

// On a small set too the untrained network's batch norms come to know the data.
func TestCalibrateForgetsWhereItBegan(t *testing.T) {
	run, images, _ := trained(t, "convnet")
	m, err := run.Model(2)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	ev := &evaluation{ctx: context.Background(), model: m, opt: EvalOptions{Workers: 2}}
	defer ev.close()
	if ev.train.set, err = m.OpenData(ev.ctx, images, dataset.Options{}); err != nil {
		t.Fatal(err)
	}
	ev.train.rows = upTo(ev.train.set.Len())
	states := [2]map[string][]float32{}
	for i, times := range []int{1, 3} {
		net, err := encoder.New(m.Network.Spec(), 1, m.pool)
		if err != nil {
			t.Fatal(err)
		}
		for range times {
			if err := ev.calibrate(net); err != nil {
				t.Fatal(err)
			}
		}
		states[i] = map[string][]float32{}
		for _, s := range net.State() {
			if v, ok := s.Data.([]float32); ok && strings.HasSuffix(s.Name, ".running_var") {
				states[i][s.Name] = v
			}
		}
	}
	if len(states[0]) == 0 {
		t.Fatal("the network has no batch norm")
	}
	for name, once := range states[0] {
		for i, v := range once {
			if often := float64(states[1][name][i]); abs(float64(v)-often) > .005*max(1, often) {
				t.Fatalf("%s[%d] is %v, and %v with more passes", name, i, v, often)
			}
		}
	}
}

// The file of labels a run recorded is that of its own data.
func TestEvaluateUsesRecordedLabelsForTheRunsDataOnly(t *testing.T) {
	images, labels := writeImages(t, smallRows, 6)
	opt := small(images, filepath.Join(t.TempDir(), "run"))
	opt.Labels, opt.Epochs = labels, 1
	mustTrain(t, opt)
	run, err := OpenRun(opt.Out)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Dir(images))
	probes := EvalOptions{Probes: []string{"knn"}, Layers: []string{"embedding"}, Workers: 2}
	for _, own := range []string{"", images, filepath.Base(images)} {
		if _, err := Evaluate(context.Background(), run, own, probes, nil); err != nil {
			t.Errorf("the run's own data as %q: %v", own, err)
		}
	}
	other, _ := writeImages(t, smallRows, 6)
	if _, err := Evaluate(context.Background(), run, other, probes, nil); !errors.Is(err, ErrInput) {
		t.Errorf("other data took the labels of the run's: %v", err)
	}
}

// The model does what the one that was trained does: its description, weights
// and normaliser come from the checkpoint alone.
func TestModelTakesOnlyItsShape(t *testing.T) {
	run, _, _ := trained(t, "linear")
	m, err := run.Model(1)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	vectors := filepath.Join(t.TempDir(), "vectors.npy")
	writeNPY(t, vectors, []int{4, 7}, make([]float32, 28))
	if _, err := m.OpenData(context.Background(), vectors, dataset.Options{}); !errors.Is(err, ErrInput) {
		t.Errorf("vectors for a model of images: %v", err)
	}
	if _, err := m.OpenData(context.Background(), filepath.Join(t.TempDir(), "none"), dataset.Options{}); !errors.Is(err, ErrInput) {
		t.Errorf("data that are not there: %v", err)
	}
}

// Rows that are too large for memory are fewer, with a warning, whether they
// are to fit or to test on; each keeps its label.
func TestEvaluationIsBounded(t *testing.T) {
	run, _, _ := trained(t, "linear")
	m, err := run.Model(1)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	m.Input = dataset.Shape{H: 64, W: 64, C: 3}
	ev := &evaluation{model: m, observe: func(Event) {}}
	ev.train = part{rows: upTo(50_000), y: upTo(50_000)}
	ev.test = part{rows: upTo(200_000), y: upTo(200_000)}
	ev.bound()
	width := m.Input.Size() + m.Network.Dim()
	if n := len(ev.train.rows); n > evalTrainBytes/4/width || n < 20_000 || !slices.Equal(ev.train.rows, ev.train.y) {
		t.Errorf("%d training rows with %d labels", n, len(ev.train.y))
	}
	if n := len(ev.test.rows); n > evalTestBytes/4/width || n < 5_000 || !slices.Equal(ev.test.rows, ev.test.y) {
		t.Errorf("%d test rows with %d labels", n, len(ev.test.y))
	}
	if len(ev.result.Warnings) != 2 {
		t.Errorf("warnings %q", ev.result.Warnings)
	}
	ev.bound()
	if len(ev.result.Warnings) != 2 {
		t.Errorf("what fits was cut: %q", ev.result.Warnings)
	}
}
