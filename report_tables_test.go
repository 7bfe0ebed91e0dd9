package nat

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nat/probe"
)

func TestProbeTables(t *testing.T) {
	tables := probeTables(fullReport().Evals[0])
	if len(tables) != 2 || !slices.Equal(tables[0].Columns, []string{"kNN", "linear"}) || !slices.Equal(tables[1].Columns, []string{"MLP"}) {
		t.Fatalf("tables %+v", tables)
	}
	want := [][]probeCell{
		{{Value: "0.812", Width: "48.8", Best: true}, {Value: "0.700", Width: "42.0"}},
		{{Value: "0.500", Width: "30.0"}, {}},
		{{Value: "0.250", Width: "15.0"}, {Value: "0.750", Width: "45.0", Best: true}},
	}
	for i, row := range tables[0].Rows {
		if diff := cmp.Diff(want[i], row.Cells); diff != "" {
			t.Errorf("row %d (-want +got):\n%s", i, diff)
		}
	}
	if !tables[0].Rows[0].Own || tables[0].Rows[1].Own {
		t.Error("the run's own row is not marked, or another is")
	}
	// The interval .9 +- .2 ends at the end of the bar.
	if got, want := tables[1].Rows[0].Cells[0], (probeCell{"0.900", "± 0.200", "54.0", "42.0", "18.0", true}); got != want {
		t.Errorf("a cell with an interval is %+v, want %+v", got, want)
	}
}

func TestTablesOfWhatIsNotFitted(t *testing.T) {
	rows := []EvalRow{
		{Name: "run", Layer: "embedding", Retrieval: &probe.RetrievalResult{Queries: 50, MAP: .5, MAPError: .01, Recall1: .6, Recall5: .7, Recall10: .8},
			Clusters: &probe.ClusterResult{K: 3, Rows: 60, NMI: .4, ARI: -.05, Accuracy: .9}},
		{Name: "raw", Layer: "input"}, // made by hand: without what the others have
	}
	tables := probeTables(&EvalResult{TrainRows: 100, TestRows: 60, Rows: rows})
	if len(tables) != 2 || tables[0].Title != "Retrieval" || tables[1].Title != "Clusters" {
		t.Fatalf("tables %+v", tables)
	}
	cells := tables[0].Rows[0].Cells
	if len(cells) != 4 || cells[0].Value != "0.500" || cells[0].Range != "± 0.010" || cells[3].Value != "0.800" || tables[0].Rows[1].Cells[0].Value != "" {
		t.Errorf("retrieval %+v", tables[0])
	}
	if ari := tables[1].Rows[0].Cells[1]; ari.Value != "-0.050" || ari.Width != "0.0" {
		t.Errorf("an index below 0 is shown as %+v", ari)
	}
}

// layered is an evaluation of n layers, of which layer i has the accuracy at(i) when
// trained and half of it when not.
func layered(n int, at func(i int) float64) *EvalResult {
	e := &EvalResult{TrainRows: 10, TestRows: 10}
	for _, name := range []string{"run", "random"} {
		for i := range n {
			v := at(i)
			if name == "random" {
				v /= 2
			}
			e.Rows = append(e.Rows, EvalRow{Name: name, Layer: fmt.Sprintf("layer%d", i), Linear: &v})
		}
	}
	e.Rows = append(e.Rows, EvalRow{Name: "raw", Layer: "input", Linear: number(.5)})
	return e
}

func TestProfiles(t *testing.T) {
	if p := profiles(layered(2, func(int) float64 { return .5 })); p != nil {
		t.Errorf("two layers make a profile: %+v", p)
	}
	ps := profiles(layered(5, func(i int) float64 { return .2 * float64(i) }))
	if len(ps) != 1 || ps[0].Title != "linear" || len(ps[0].Lines) != 2 || len(ps[0].Levels) != 1 {
		t.Fatalf("profiles %+v", ps)
	}
	p := ps[0]
	trained, untrained := p.Lines[0].Dots, p.Lines[1].Dots
	for i := range trained {
		if trained[i].Y != p.Layers[i].Y || p.Layers[i].Name != fmt.Sprintf("layer%d", i) {
			t.Errorf("layer %d is called %q and at %v, its dot at %v", i, p.Layers[i].Name, p.Layers[i].Y, trained[i].Y)
		}
		// From 0 to 1, so that half of an accuracy is half as far from the axis.
		if far, half := trained[i].X-p.Left, untrained[i].X-p.Left; math.Abs(far-2*half) > 1e-9 {
			t.Errorf("layer %d: dots at %v and %v from 0", i, far, half)
		}
		if trained[i].X > p.Right || int(trained[i].Y) > p.Height {
			t.Errorf("layer %d is outside", i)
		}
	}
	if middle := (p.Left + p.Left + (trained[4].X-p.Left)/.8) / 2; math.Abs(p.Levels[0].At-middle) > 1e-9 {
		t.Errorf("raw input with .5 is at %v, want %v", p.Levels[0].At, middle)
	}
}

func TestReadEval(t *testing.T) {
	path := filepath.Join(t.TempDir(), EvalFile)
	want := layered(3, func(i int) float64 { return .25 * float64(i+1) })
	if err := writeEval(path, want); err != nil {
		t.Fatal(err)
	}
	got, err := ReadEval(path)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for _, text := range []string{"", "{}", "[]", `{"error": {"kind": "usage"}}`, `{"train_rows": 1, "test_rows": 1}`,
		`{"train_rows": 1, "test_rows": 1, "rows": [{"name": 3}]}`, `{"train_rows": 1, "test_rows": 1, "rows": [{}], "few_labels": [{}]}`,
		strings.Repeat(" ", maxEval+1)} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if e, err := ReadEval(path); !errors.Is(err, ErrInput) {
			t.Errorf("%.60q: %+v, %v", text, e, err)
		}
	}
	if _, err := ReadEval(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// A table of many layers is folded, one of the usual comparison is not.
func TestLongTables(t *testing.T) {
	for layers, want := range map[int]bool{2: false, 4: false, 14: true} {
		if got := probeTables(layered(layers, func(int) float64 { return .5 }))[0].Long; got != want {
			t.Errorf("%d layers: folded is %v", layers, got)
		}
	}
}

func TestCodeTables(t *testing.T) {
	e := &EvalResult{Data: "x/vectors.npy", Codes: &CodeTable{Queries: 9, Searched: 100, Measured: 64, Rows: []CodeRow{
		{Name: "run", Layer: "embedding", Dim: 8, Neighbours: &CodeNeighbours{Cosine: probe.Recall{Recall10: .5, Error: .02, Nearest10: .7}},
			Information: &CodeInformation{Nats: math.Log(64) / 2, Error: .01, Efficiency: .9, Recovered: .4}},
		{Name: "pca-lengths", Layer: "original", Dim: 8, Neighbours: &CodeNeighbours{Distance: probe.Recall{Recall10: .6}}}}}}
	if probeTables(e) != nil || profiles(e) != nil || e.check() != nil {
		t.Error("probes with labels, or a fault, where there is neither")
	}
	tables := codeTables(e)
	if len(tables) != 1 || len(tables[0].Columns) != 7 || tables[0].Rows[1].Name != "pca-lengths" || !strings.Contains(tables[0].Title, "vectors.npy") {
		t.Fatalf("%+v", tables)
	}
	run, pca := tables[0].Rows[0].Cells, tables[0].Rows[1].Cells
	if run[0].Range != "± 0.020" || run[4].Width != "30.0" || !run[0].Best || run[2].Best {
		t.Errorf("cells %+v", run)
	}
	if !pca[2].Best || pca[2].Value != "0.600" || pca[4].Value != "" {
		t.Errorf("cells %+v", pca)
	}
	if html := page(t, ReportData{Evals: []*EvalResult{e}}); !strings.Contains(html, "What codes keep") || strings.Contains(html, "What the labels say") {
		t.Error("the page has other sections than that of codes")
	}
}
