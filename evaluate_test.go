package nat

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// The run's own data are those it was trained on: its limit holds, and the
// warning counts the rows that training has seen.
func TestEvaluateTellsWhatItTestsOn(t *testing.T) {
	images, labels := writeImages(t, smallRows, 6)
	opt := small(images, filepath.Join(t.TempDir(), "run"))
	opt.Labels, opt.Epochs, opt.Limit = labels, 1, 100
	mustTrain(t, opt)
	run, err := OpenRun(opt.Out)
	if err != nil {
		t.Fatal(err)
	}
	src, err := openSource(context.Background(), run.Record.Options, nil, func(Event) {})
	if err != nil {
		t.Fatal(err)
	}
	defer src.close()
	held := map[int]bool{}
	for _, i := range src.held {
		held[i] = true
	}
	_, test := src.set.SplitTest()
	seen := 0
	for _, i := range test {
		if !held[i] {
			seen++
		}
	}
	probes := EvalOptions{Probes: []string{"knn"}, Layers: []string{"embedding"}, Workers: 2, PerClass: []int{10_000}}
	res, err := Evaluate(context.Background(), run, "", probes, nil)
	if err != nil {
		t.Fatal(err)
	}
	warnings := strings.Join(res.Warnings, "\n")
	if res.TrainRows+res.TestRows != opt.Limit || !strings.Contains(warnings, fmt.Sprintf("tested on %d chosen by their identity, of which training has seen %d ", res.TestRows, seen)) {
		t.Errorf("%d and %d rows, %d seen, %s", res.TrainRows, res.TestRows, seen, warnings)
	}
	if !strings.Contains(warnings, "10000 labels a class: the smallest class has ") {
		t.Errorf("nothing about labels a class: %s", warnings)
	}
	probes.Limit = 120
	if res, err = Evaluate(context.Background(), run, "", probes, nil); err != nil || !strings.Contains(strings.Join(res.Warnings, "\n"), "training may have seen") {
		t.Errorf("with a limit of its own: %+v, %v", res, err)
	}
}
