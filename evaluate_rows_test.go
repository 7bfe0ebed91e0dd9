package nat

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"nat/encoder"
)

// Five accuracies .5 to .9: their mean is .7, their deviation sqrt(.025), and
// the .975 quantile of Student's t with 4 degrees of freedom is 2.776445.
func TestMeanOfDraws(t *testing.T) {
	draws := make([]EvalRow, 5)
	for i := range draws {
		v, same := .5+.1*float64(i), .25
		draws[i] = EvalRow{Name: "run", Layer: "embedding", Dim: 3, KNN: &v, SVM: &same}
	}
	mean := meanOf(draws)
	if mean.Name != "run" || mean.Dim != 3 || math.Abs(*mean.KNN-.7) > 1e-12 || *mean.SVM != .25 || mean.MLP != nil {
		t.Errorf("%+v", mean)
	}
	want := 2.776445 * math.Sqrt(.025/5)
	if half := mean.HalfWidth; len(half) != 2 || math.Abs(half["knn"]-want) > 1e-6 || half["svm"] != 0 {
		t.Errorf("half widths %v, want %v and 0", half, want)
	}
	if *draws[0].KNN != .5 {
		t.Error("the first draw has changed")
	}
}

func TestEvalOptionsRefused(t *testing.T) {
	for _, opt := range []EvalOptions{
		{Probes: []string{"tree"}}, {Probes: []string{""}}, {Limit: -1},
		{Layers: []string{"features", "all"}}, {PerClass: []int{0}}, {PerClass: []int{5, 5}},
		{PerClass: []int{5}, Probes: []string{"clusters", "retrieval"}},
	} {
		if err := opt.complete(); !errors.Is(err, ErrUsage) {
			t.Errorf("%+v: %v", opt, err)
		}
	}
}

// "all" stands for the layers in order; those that change no value outside
// training would repeat the one before.
func TestEveryLayer(t *testing.T) {
	spec := encoder.Spec{Layers: []encoder.Layer{
		{Type: encoder.Dense, Name: "a"}, {Type: encoder.Dropout, Name: "b"}, {Type: encoder.ReLU, Name: "c"},
		{Type: encoder.Flatten, Name: "d"}, {Type: encoder.L2Normalize, Name: "e"},
	}}
	if got := layersOf(spec); !slices.Equal(got, []string{"a", "c", "e"}) {
		t.Errorf("%v", got)
	}
}

// Every probe once. With few labels only those are used that are fitted.
func TestEvaluateAllProbes(t *testing.T) {
	images, labels := writeImages(t, smallRows, 6)
	opt := small(images, filepath.Join(t.TempDir(), "run"))
	opt.Labels, opt.Epochs = labels, 1
	mustTrain(t, opt)
	run, err := OpenRun(opt.Out)
	if err != nil {
		t.Fatal(err)
	}
	probes := EvalOptions{Probes: ProbeNames(), Layers: []string{"embedding"}, Workers: 2}
	all, err := Evaluate(context.Background(), run, "", probes, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all.Rows {
		for _, p := range AccuracyProbes() {
			if a := r.Accuracy(p); a == nil || *a < 0 || *a > 1 {
				t.Errorf("%s %s: %s has no accuracy", r.Name, r.Layer, p)
			}
		}
	}
	first := all.Rows[0]
	if first.Retrieval.Queries != all.TestRows || first.Clusters.K != all.Classes || first.Clusters.Rows != all.TestRows || first.MLPEpochs < 1 || first.HalfWidth != nil {
		t.Errorf("%+v", first)
	}
	probes.Probes, probes.PerClass = []string{"clusters", "svm"}, []int{4, 3}
	res, err := Evaluate(context.Background(), run, "", probes, nil)
	if err != nil {
		t.Fatal(err)
	}
	few := res.Few[1].Rows[0]
	if len(res.Few) != 2 || res.Few[0].PerClass != 4 || few.Clusters != nil || few.SVM == nil || len(few.HalfWidth) != 1 {
		t.Errorf("%+v", res.Few)
	}
}
