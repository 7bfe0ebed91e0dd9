package nat

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
)

// Layers that are embedded in one pass have the accuracies that each has alone.
func TestEvaluateLayersTogether(t *testing.T) {
	images, labels := writeImages(t, smallRows, 6)
	opt := small(images, filepath.Join(t.TempDir(), "run"))
	opt.Encoder, opt.Labels, opt.Epochs = "convnet", labels, 1
	mustTrain(t, opt)
	run, err := OpenRun(opt.Out)
	if err != nil {
		t.Fatal(err)
	}
	evaluate := func(layers ...string) ([]EvalRow, int) {
		passes := 0
		res, err := Evaluate(context.Background(), run, "", EvalOptions{Probes: []string{"knn", "linear"}, Layers: layers, Workers: 2, NoBaselines: true}, func(e Event) {
			if e.Kind == EventProbe && strings.HasPrefix(e.Message, "embedding") && e.Done == e.Total {
				passes++
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		return res.Rows, passes
	}
	layers := []string{"conv", "fc", "output", "bn2"}
	together, passes := evaluate(layers...)
	if len(together) != len(layers) || passes != 2 {
		t.Errorf("%d rows, %d passes over training and test rows; want %d and 2", len(together), passes, len(layers))
	}
	for i, layer := range layers {
		alone, _ := evaluate(layer)
		a, b := alone[0], together[i]
		if a.Layer != b.Layer || a.Dim != b.Dim || *a.KNN != *b.KNN || *a.Linear != *b.Linear {
			t.Errorf("%s: alone %+v, together %+v", layer, a, b)
		}
	}
}
