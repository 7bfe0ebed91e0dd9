package nat

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"nat/encoder"
)

// From each of some steps a variational autoencoder must end as if it had not been
// interrupted, decoder and all, with any number of workers.
func TestVAEResumes(t *testing.T) {
	images, _ := writeImages(t, smallRows, 8)
	opt := small(images, filepath.Join(t.TempDir(), "run"))
	opt.Objective, opt.Encoder, opt.Epochs = objectiveVAE, "convnet", 2
	opt.CheckpointEvery, opt.Keep = "1steps", 1000
	mustTrain(t, opt)
	want := outcomeOf(t, opt.Out)
	for step, workers := range map[int]int{0: 3, 7: 1, 10: 2, 13: 5} {
		resumed := opt
		resumed.Out = copyRun(t, opt.Out, stepName(step))
		resumed.Resume, resumed.CheckpointEvery, resumed.Keep, resumed.Workers = true, "1000steps", 2, workers
		mustTrain(t, resumed)
		outcomeOf(t, resumed.Out).equal(t, want, stepName(step))
	}
}

// On the digits a code of 16 numbers restores most of an image, and its mean tells
// the classes apart far better than an untrained network, though not perfectly.
func TestVAELearnsDigits(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	opt := Options{Data: EmbeddedDigits, Out: filepath.Join(t.TempDir(), "run"), Objective: objectiveVAE, Encoder: "convnet", Dim: 16, Epochs: 8}
	var epochs []Stats
	_, err := trainOn(ctx, unsynced{}, opt, func(e Event) {
		if e.Kind == EventEpoch {
			epochs = append(epochs, *e.Stats)
		}
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	first, last := epochs[0], epochs[len(epochs)-1]
	if !(last.Loss < first.Loss-.3 && *last.SquaredError < .2 && *last.Divergence > 5) || last.Pairing != nil {
		t.Errorf("from loss %.3f, error %.3f to loss %.3f, error %.3f, divergence %.1f", first.Loss, *first.SquaredError, last.Loss, *last.SquaredError, *last.Divergence)
	}
	run, err := OpenRun(opt.Out)
	if err != nil {
		t.Fatal(err)
	}
	res, err := Evaluate(ctx, run, "", EvalOptions{Probes: []string{"knn"}, Layers: []string{encoder.Embedding, encoder.Mean}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	accuracy := map[string]float64{}
	for _, r := range res.Rows {
		accuracy[r.Name+" "+r.Layer] = *r.KNN
	}
	if got := accuracy["run embedding"]; !(got > .85 && got < .99 && got > accuracy["random embedding"]+.03) {
		t.Errorf("nearest neighbours are right for %v", accuracy)
	}
	if a, b := accuracy["run embedding"], accuracy["run mean"]; a != b {
		t.Errorf("cosines of means give %g, those of normalised means %g", b, a)
	}
}

// A record of a vae without its decoder, or with one of another network, is damaged, and
// says so before anything is trained.
func TestDecoderOfARecordIsChecked(t *testing.T) {
	preset := func(side, dim int) encoder.Spec {
		spec, err := encoder.Preset("convnet", encoder.Shape{H: side, W: side, C: 1}, dim)
		if err != nil {
			t.Fatal(err)
		}
		return spec
	}
	stochastic, err := encoder.Stochastic(preset(8, 4))
	if err != nil {
		t.Fatal(err)
	}
	decoder := func(side, dim int) *encoder.Spec {
		d, err := encoder.Decoder(preset(side, dim))
		if err != nil {
			t.Fatal(err)
		}
		return &d
	}
	for name, c := range map[string]struct {
		record Record
		want   string
	}{
		"good":     {Record{Options: Options{Objective: objectiveVAE}, Encoder: stochastic, Decoder: decoder(8, 4)}, ""},
		"nat":      {Record{Encoder: preset(8, 4)}, ""},
		"none":     {Record{Options: Options{Objective: objectiveVAE}, Encoder: stochastic}, "objective vae has a decoder: false; want true"},
		"of nat":   {Record{Encoder: preset(8, 4), Decoder: decoder(8, 4)}, "objective nat has a decoder: true; want false"},
		"code":     {Record{Options: Options{Objective: objectiveVAE}, Encoder: stochastic, Decoder: decoder(8, 5)}, "takes 5 values to 64"},
		"image":    {Record{Options: Options{Objective: objectiveVAE}, Encoder: stochastic, Decoder: decoder(9, 4)}, "4 values to 81"},
		"training": {Record{Options: Options{Objective: objectiveVAE}, Encoder: preset(8, 4), Decoder: decoder(8, 4)}, "training sees 4"},
		"layers":   {Record{Options: Options{Objective: objectiveVAE}, Encoder: stochastic, Decoder: &encoder.Spec{Name: "empty"}}, "no layers"},
	} {
		err := c.record.checkDecoder()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

// A decoder and what training remembers of it take memory and disk.
func TestMemoryCountsTheDecoder(t *testing.T) {
	with := planned(t, func(o *Options) { o.Objective, o.Encoder = objectiveVAE, "mlp" })
	if err := with.plan.addDecoder(); err != nil {
		t.Fatal(err)
	}
	without := &job{plan: with.plan}
	without.plan.Decoder = nil
	params := int64(with.plan.Decoder.ParamCount())
	if extra := total(with.memory()) - total(without.memory()); extra < 16*params || extra > 64*params {
		t.Errorf("a decoder of %d parameters takes %d bytes", params, extra)
	}
	if extra := with.disk() - without.disk(); extra != 4*12*params {
		t.Errorf("a decoder of %d parameters takes %d bytes on disk", params, extra)
	}
}
