package nat

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nat/internal/rng"
)

// writeVectors makes n rows of d normal numbers whose deviations fall from column to column,
// far from the origin.
func writeVectors(t testing.TB, n, d int) string {
	t.Helper()
	r := rng.New(8, "test vectors")
	x := make([]float32, n*d)
	for i := range x {
		x[i] = float32(5 + r.NormFloat64()/float64(1+i%d))
	}
	path := filepath.Join(t.TempDir(), "vectors.npy")
	writeNPY(t, path, []int{n, d}, x)
	return path
}

func evaluateCodes(t *testing.T, opt Options, probes EvalOptions) *CodeTable {
	t.Helper()
	run, err := OpenRun(opt.Out)
	if err != nil {
		t.Fatal(err)
	}
	res, err := Evaluate(context.Background(), run, "", probes, nil)
	if err != nil {
		t.Fatal(err)
	}
	if res.Codes == nil || res.Rows == nil || len(res.Rows) > 0 || res.Classes != 0 {
		t.Fatalf("%+v", res)
	}
	return res.Codes
}

// With as many dimensions as the vectors have, all linear codes are rotations, or after
// whitening scalings of one, of which each keeps what it must: distances, or cosines.
func TestEvaluateCodesOfAllDimensions(t *testing.T) {
	const n, d = 300, 5
	opt := Options{Data: writeVectors(t, n, d), Out: filepath.Join(t.TempDir(), "run"), Encoder: "linear", Dim: d, Epochs: 1, Workers: 2}
	mustTrain(t, opt)
	probes := EvalOptions{Probes: codeProbes, Layers: []string{"embedding"}, Workers: 2}
	codes := evaluateCodes(t, opt, probes)
	if codes.Queries != n || codes.Searched != n-1 || codes.Measured != n {
		t.Errorf("%+v", codes)
	}
	var names []string
	byName := map[string]CodeRow{}
	for _, r := range codes.Rows {
		names = append(names, r.Name)
		byName[r.Name] = r
		if r.Dim != d || r.Neighbours == nil || (r.Information == nil) != strings.HasSuffix(r.Name, "-lengths") {
			t.Errorf("%+v", r)
		}
		if i := r.Information; i != nil && (math.Abs(i.Efficiency-i.Nats/i.Uniform) > 1e-12 || i.Nats > math.Log(n)) {
			t.Errorf("%s: %+v", r.Name, i)
		}
	}
	if want := []string{"run", "random", "pca", "pca-whitened", "pca-lengths", "projection", "projection-lengths", "pca-directions"}; !slices.Equal(names, want) {
		t.Errorf("rows %v", names)
	}
	for _, c := range []struct {
		name     string
		distance bool
	}{{"pca-lengths", true}, {"projection-lengths", true}, {"pca-directions", false}} {
		kept := byName[c.name].Neighbours.Cosine
		if c.distance {
			kept = byName[c.name].Neighbours.Distance
		}
		if kept.Recall10 < .999 {
			t.Errorf("%s keeps %v", c.name, kept.Recall10)
		}
	}
	// One is the other turned: all is the same, but for the noise.
	a, b := byName["pca"], byName["projection"]
	if math.Abs(a.Neighbours.Distance.Recall10-b.Neighbours.Distance.Recall10) > .002 ||
		math.Abs(a.Information.Nats-b.Information.Nats) > 5*(a.Information.Error+b.Information.Error) {
		t.Errorf("pca %+v %+v, projection %+v %+v", a.Neighbours, a.Information, b.Neighbours, b.Information)
	}
	// The mean is far away: around it rows are as good as uniform, from the origin as good as equal.
	if even, far := byName["pca-whitened"].Information.Efficiency, byName["pca-directions"].Information.Efficiency; even < .9 || far > .3 {
		t.Errorf("efficiency %v about the mean, %v about the origin", even, far)
	}

	probes.Workers = 1
	for i, r := range evaluateCodes(t, opt, probes).Rows {
		if *r.Neighbours != *codes.Rows[i].Neighbours || r.Information != nil && *r.Information != *codes.Rows[i].Information {
			t.Errorf("one worker: %+v, two: %+v", r, codes.Rows[i])
		}
	}
}

// Fewer dimensions keep less; components keep more than random dimensions; a test split is
// what asks; baselines can be left out, and probes be asked for one at a time.
func TestEvaluateCodes(t *testing.T) {
	images, labels := writeImages(t, smallRows, 6)
	opt := small(images, filepath.Join(t.TempDir(), "run"))
	opt.Labels, opt.Epochs, opt.Dim = labels, 1, 4
	mustTrain(t, opt)
	codes := evaluateCodes(t, opt, EvalOptions{Probes: []string{"neighbours"}, Workers: 2})
	kept := map[string]float64{}
	for _, r := range codes.Rows {
		kept[r.Name+" "+r.Layer] = r.Neighbours.Distance.Recall10
		if r.Information != nil || r.Layer == originalLayer && r.Dim != 4 {
			t.Errorf("%+v", r)
		}
	}
	if p, q := kept["pca-lengths original"], kept["projection-lengths original"]; !(q < p && p < 1) {
		t.Errorf("%v", kept)
	}
	codes = evaluateCodes(t, opt, EvalOptions{Probes: []string{"information"}, NoBaselines: true, Workers: 2})
	if len(codes.Rows) != 2 || codes.Rows[0].Neighbours != nil || codes.Rows[1].Layer != "features" || codes.Rows[1].Information == nil {
		t.Errorf("%+v", codes)
	}
}

// The queries are a choice of the seed.
func TestCodeQueriesFollowTheSeed(t *testing.T) {
	opt := Options{Data: writeVectors(t, codeQueries+200, 3), Out: filepath.Join(t.TempDir(), "run"), Encoder: "linear", Dim: 2, Epochs: 1, Workers: 2}
	mustTrain(t, opt)
	recall := func(seed uint64) float64 {
		codes := evaluateCodes(t, opt, EvalOptions{Probes: []string{"neighbours"}, Layers: []string{"embedding"}, NoBaselines: true, Seed: seed, Workers: 2})
		if codes.Queries != codeQueries || codes.Searched != codeQueries+199 {
			t.Errorf("%+v", codes)
		}
		return codes.Rows[0].Neighbours.Distance.Recall10
	}
	if a, b, again := recall(1), recall(2), recall(1); a == b || a != again {
		t.Errorf("recall %v with seed 1, %v with seed 2, %v with seed 1 again", a, b, again)
	}
}

func TestEvaluateCodesRefused(t *testing.T) {
	if err := (&EvalOptions{Probes: []string{"neighbours"}, Labels: "y.npy"}).complete(); !errors.Is(err, ErrUsage) {
		t.Errorf("labels that nothing needs: %v", err)
	}
	opt := Options{Data: writeVectors(t, fewestInformed-1, 3), Out: filepath.Join(t.TempDir(), "run"), Encoder: "linear", Dim: 2, Epochs: 1, Workers: 2}
	mustTrain(t, opt)
	run, err := OpenRun(opt.Out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Evaluate(context.Background(), run, "", EvalOptions{Probes: []string{"information"}}, nil); !errors.Is(err, ErrInput) {
		t.Errorf("%d rows: %v", fewestInformed-1, err)
	}
}
