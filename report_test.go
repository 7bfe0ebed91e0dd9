package nat

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"image"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"

	"nat/dataset"
)

// evil is text that would break out of every context of the page, were it
// not escaped.
const evil = `"'><script>alert(1)</script></script><!-- </style> & {{.}} \`

func number(v float64) *float64 { return &v }

// fullReport has every part, and evil text wherever text comes from outside.
func fullReport() ReportData {
	item := func(class int) ReportItem {
		img := image.NewGray(image.Rect(0, 0, 4, 3))
		img.Pix[5] = 200
		return ReportItem{ID: "id" + evil, Class: class, Image: img, Cosine: .5}
	}
	return ReportData{
		Title: "title" + evil, Subtitle: "subtitle" + evil,
		Highlights: []ReportField{{"highlight" + evil, "value" + evil, "note" + evil}},
		Settings:   []ReportField{{Name: "setting" + evil, Value: "value" + evil}},
		Notes:      []string{"warning" + evil}, Credits: []string{"credit" + evil},
		Curves: []ReportCurve{{Title: "curve" + evil, Note: "note" + evil, XLabel: "epoch", Series: []ReportSeries{
			{"series" + evil, []float64{0, 1, 2}, []float64{2, 1, .5}, false},
			{"level", []float64{0, 2}, []float64{1, 1}, true},
		}, Bands: []ReportBand{{"band" + evil, []float64{1, 2}, []float64{.5, .6}, []float64{1.5, 1.4}}}}},
		Nearest: &ReportNearest{Note: "searched" + evil, Classes: []string{"zero" + evil, "one" + evil}, Groups: []ReportNeighbours{
			{item(0), []ReportItem{item(1), item(0), item(-1)}, []ReportItem{item(0), item(0), item(1)}}}},
		Filters:  &ReportFilters{Layer: "conv" + evil, Note: "filters" + evil, Trained: []image.Image{item(0).Image}, Untrained: []image.Image{item(0).Image}},
		Restored: &ReportRestored{Note: "restored" + evil, Pairs: []ReportPair{{item(0), item(0)}}},
		Map: &ReportMap{
			Items:   []ReportItem{item(0), item(1), item(-1)},
			Classes: []string{"zero" + evil, "one" + evil},
			Layouts: []ReportLayout{{"t-SNE", "note" + evil, []float32{0, 0, 1, 0, 0, 2}}, {"PCA", "flat", make([]float32, 6)}},
		},
		Evals: []*EvalResult{{TrainRows: 12345, TestRows: 100, Data: evil,
			Rows: []EvalRow{
				{Name: "run", Layer: "embedding" + evil, Dim: 64, KNN: number(.8125), Linear: number(.7)},
				{Name: "raw", Layer: "input", Dim: 784, KNN: number(.5)},
				{Name: "name" + evil, Layer: "input", Dim: 1, KNN: number(.25), Linear: number(.75)},
			},
			Few: []FewLabels{{PerClass: 10, Draws: 5, Rows: []EvalRow{
				{Name: "pca", Layer: "input", Dim: 64, MLP: number(.9), HalfWidth: map[string]float64{"mlp": .2}}}}},
		}},
	}
}

func page(t *testing.T, d ReportData) string {
	t.Helper()
	var b bytes.Buffer
	if err := WriteReport(&b, d); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestReportEscapesEverything(t *testing.T) {
	html := page(t, fullReport())
	if n := strings.Count(html, "<script>"); n != 1 {
		t.Errorf("%d scripts, want only the page's own", n)
	}
	for _, bad := range []string{"alert(1)</script>", "ZgotmplZ", "<!-- "} {
		if strings.Contains(html, bad) {
			t.Errorf("the page contains %q", bad)
		}
	}
	for _, part := range []string{"title", "subtitle", "highlight", "setting", "warning", "credit", "curve", "series", "band", "zero", "id", "name", "embedding", "searched", "filters", "restored"} {
		if !strings.Contains(html, part+"&#34;&#39;&gt;&lt;script&gt;") {
			t.Errorf("%s is not on the page as text", part)
		}
	}
}

// The page must work from a disk without network and under its own policy.
func TestReportIsSelfContained(t *testing.T) {
	html := page(t, fullReport())
	for _, m := range regexp.MustCompile(`(?i)\b(src|href|action|srcset|data)\s*=\s*"([^"]*)"`).FindAllStringSubmatch(html, -1) {
		if !strings.HasPrefix(m[2], "data:image/") {
			t.Errorf("refers to %q", m[0])
		}
	}
	if m := regexp.MustCompile(`(?i)url\(|@import|https?://|\son\w+="|\sstyle="`).FindString(html); m != "" {
		t.Errorf("contains %q", m)
	}
	for _, tag := range []string{"style", "script"} {
		body := regexp.MustCompile(`(?s)<` + tag + `>(.*?)</` + tag + `>`).FindStringSubmatch(html)
		if body == nil {
			t.Fatalf("no %s", tag)
		}
		sum := sha256.Sum256([]byte(body[1]))
		if want := tag + "-src &#39;sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "&#39;"; !strings.Contains(strings.ReplaceAll(strings.ReplaceAll(html, "'", "&#39;"), "&#43;", "+"), want) {
			t.Errorf("the policy does not allow the page's own %s: want %s", tag, want)
		}
	}
}

func TestReportParts(t *testing.T) {
	html := page(t, fullReport())
	for _, want := range []string{
		"t-SNE", "PCA", "0.8125"[:5], "same test rows", "12,345", "raw input", "10 labels a class", "0.500", "± 0.200", "First layer", "Restored from codes", "2 of 3 of its class", "1 of 2 of its class", "Only neighbourhoods mean something",
	} {
		if !strings.Contains(html, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if n := strings.Count(html, "<circle cx=") - 2; n != 6 { // two of the legend
		t.Errorf("%d dots on two maps of three items", n)
	}
	if a, b := page(t, fullReport()), html; a != b {
		t.Error("the same data give another page")
	}
	empty := page(t, ReportData{Title: "nothing"})
	for _, part := range []string{"<table", "<figure", "<h2"} {
		if strings.Contains(empty, part) {
			t.Errorf("a report of nothing has a %s", part)
		}
	}
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		in    axis
		widen bool
		want  string
		out   axis
	}{
		{axis{0, 2}, true, "0.0 0.5 1.0 1.5 2.0", axis{0, 2}},
		{axis{.13, .88}, true, "0.0 0.2 0.4 0.6 0.8 1.0", axis{0, 1}},
		{axis{0, 29.5}, false, "0 10 20", axis{0, 29.5}},
		{axis{3, 1234}, true, "0 500 1000 1500", axis{0, 1500}},
		{axis{-.02, .03}, true, "-0.02 0.00 0.02 0.04", axis{-.02, .04}},
	} {
		got, out := ticks(c.in, c.widen)
		var labels []string
		for _, k := range got {
			labels = append(labels, k.Label)
		}
		if s := strings.Join(labels, " "); s != c.want || math.Abs(out.Min-c.out.Min) > 1e-12 || math.Abs(out.Max-c.out.Max) > 1e-12 {
			t.Errorf("ticks(%v, %v) = %s over %v, want %s over %v", c.in, c.widen, s, out, c.want, c.out)
		}
	}
	if got, out := ticks(axis{5, 5}, true); len(got) < 2 || !(out.Min < 5 && out.Max > 5) {
		t.Errorf("a constant has ticks %v over %v", got, out)
	}
}

func TestChartGeometry(t *testing.T) {
	c := newChart(fullReport().Curves[0])
	// x runs over 0..2, y over .5..2, which is a round range already.
	if want := fmt.Sprintf("%.1f,%.1f", c.Left, c.Top); !strings.HasPrefix(c.Lines[0].Points, want) {
		t.Errorf("the first point is at %s, want %s", c.Lines[0].Points, want)
	}
	if l := c.Lines[0]; l.X != c.Right || l.Y != c.Bottom || l.Last != "0.500" {
		t.Errorf("the line ends at %v,%v with %s", l.X, l.Y, l.Last)
	}
	if c.Lines[1].Style != "reference" || c.Lines[0].Style != "s0" {
		t.Errorf("styles %s and %s", c.Lines[0].Style, c.Lines[1].Style)
	}
	one := newChart(ReportCurve{Series: []ReportSeries{{"x", []float64{3}, []float64{1}, false}}})
	if len(strings.Fields(one.Lines[0].Points)) != 2 || strings.Contains(one.Lines[0].Points, "NaN") {
		t.Errorf("a single value is drawn as %q", one.Lines[0].Points)
	}
}

// A band goes from the left edge of the chart to its last reading, above and back below.
func TestChartBand(t *testing.T) {
	c := newChart(ReportCurve{Series: []ReportSeries{{"x", []float64{2, 4}, []float64{1, 2}, false}},
		Bands: []ReportBand{{"b", []float64{2, 4}, []float64{0, 0}, []float64{5, 4}}}})
	if c.Y.Min > 0 || c.Y.Max < 5 {
		t.Errorf("the band is cut off: %+v", c.Y)
	}
	corners := strings.Fields(c.Bands[0].Points)
	if len(corners) != 6 || !strings.HasPrefix(corners[0], fmt.Sprintf("%.1f,", c.Left)) || !strings.HasPrefix(corners[5], fmt.Sprintf("%.1f,", c.Left)) {
		t.Errorf("corners %v", corners)
	}
}

func TestReportCurvesFromEvents(t *testing.T) {
	rec := Record{Options: Options{Dim: 64}, StepsPerEpoch: 10}
	var events []Event
	for s := 1; s <= 500; s++ {
		events = append(events, Event{Kind: EventStep, Step: s, Stats: &Stats{Loss: 1, Pairing: &Pairing{LossBefore: 1.5, Level: .3}}})
	}
	events = append(events, Event{Kind: EventEpoch, Step: 500, Stats: &Stats{},
		Train: &Gauge{AssignmentGap: number(.25), Alignment: .1, MatchedCosine: .4, Level: .35, EffectiveRank: 30,
			Uniformity: &Uniformity{Score: .95, ScoreSD: .01, Efficiency: .85, Uniform: 4, Error: .03, UniformError: .04}},
		HeldOut: &Gauge{Alignment: .2, MatchedCosine: .3, Level: .33, EffectiveRank: 20,
			Uniformity: &Uniformity{Score: .9, ScoreSD: .01, Efficiency: .8, Uniform: 4, Error: .03, UniformError: .04}}})
	curves := map[string]ReportCurve{}
	for _, c := range reportCurves(rec, events) {
		curves[c.Title] = c
	}
	loss := curves["Loss"].Series
	if len(loss) != 2 || len(loss[0].X) != reportBins || loss[0].Y[7] != 1.5 || loss[1].Y[7] != 1 || loss[0].X[reportBins-1] != 50 {
		t.Errorf("loss curves %v", loss)
	}
	if s := curves["Matched cosine"].Series; len(s) != 2 || !s[1].Reference || math.Abs(s[1].Y[0]-.3) > 1e-12 {
		t.Errorf("matched cosine %v", s)
	}
	if s := curves["Assignment gap"].Series; len(s) != 1 || s[0].X[0] != 50 || s[0].Y[0] != .25 {
		t.Errorf("assignment gap %v", s)
	}
	if s := curves["Alignment of views"].Series; len(s) != 2 || s[0].Y[0] != .1 || s[1].Y[0] != .2 {
		t.Errorf("alignment %v", s)
	}
	if s, b := curves["Efficiency"].Series, curves["Efficiency"].Bands; len(s) != 2 || s[1].Y[0] != .8 || len(b) != 1 || math.Abs(b[0].High[0]-1-2*.05/4) > 1e-12 {
		t.Errorf("efficiency %v, band %v", s, b)
	}
	if s := curves["Information through noise"].Series; len(s) != 5 || !s[2].Reference || s[2].Y[0] != 4 {
		t.Errorf("information %v", s)
	}
	if got := reportCurves(rec, nil); got != nil {
		t.Errorf("no events make curves %v", got)
	}
}

func TestReportData(t *testing.T) {
	rec := Record{Options: Options{Data: EmbeddedDigits, Encoder: "convnet", Dim: 64, Batch: 256}, Params: 1234567,
		Data: DataInfo{Kind: dataset.Embedded, Rows: 3823, Shape: dataset.Shape{H: 8, W: 8, C: 1}, Input: dataset.Shape{H: 8, W: 8, C: 1}}}
	events := []Event{{Kind: EventEpoch, Step: 2000, Epoch: 4, Elapsed: 61, Stats: &Stats{Loss: .9, Pairing: &Pairing{Cosine: .55, Level: .341}}}}
	d := NewReportData(rec, events, []*EvalResult{{TestRows: 1797, Rows: []EvalRow{{Name: "run", Layer: "embedding", KNN: number(.96)}}, Warnings: []string{"few rows"}}})
	var text strings.Builder
	fmt.Fprint(&text, d.Title, d.Subtitle, d.Highlights, d.Settings, d.Notes, d.Credits)
	for _, want := range []string{"handwritten digits", "3,823 grey images, 8 × 8", "1,234,567 parameters", "2,000 steps", "5 epochs, 1m1s", "96.0 %", "few rows", "Alpaydin", "CC BY 4.0", "256"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the report lacks %q: %s", want, &text)
		}
	}
	rec.Data = DataInfo{Path: "/data/words.npy", Kind: dataset.NPY, Rows: 12, Vector: true, Shape: dataset.Shape{H: 1, W: 1, C: 50}}
	rec.Options.Data = "words.npy"
	if d := NewReportData(rec, nil, nil); d.Subtitle != "12 vectors of 50 numbers, encoded without labels by predicting noise" || len(d.Credits) != 0 || d.Title != "nat: words.npy" {
		t.Errorf("vectors: %q, %q, credits %v", d.Title, d.Subtitle, d.Credits)
	}
}

func TestThumbnail(t *testing.T) {
	grey := thumbnail([]float32{0, .5, 1, 2}, dataset.Shape{H: 2, W: 2, C: 1})
	if g, ok := grey.(*image.Gray); !ok || !slices.Equal(g.Pix, []uint8{0, 128, 255, 255}) {
		t.Errorf("grey thumbnail %v", grey)
	}
	colour := thumbnail([]float32{1, 0, .2, -1, .6, 0}, dataset.Shape{H: 1, W: 2, C: 3})
	if c, ok := colour.(*image.RGBA); !ok || !slices.Equal(c.Pix, []uint8{255, 0, 51, 255, 0, 153, 0, 255}) {
		t.Errorf("colour thumbnail %v", colour)
	}
	big := thumbnail(slices.Repeat([]float32{.25}, 300*150*3), dataset.Shape{H: 150, W: 300, C: 3})
	if b := big.Bounds(); b.Dx() != reportThumb || b.Dy() != reportThumb/2 {
		t.Errorf("an image of 300x150 is shown at %v", b)
	}
	if r, _, _, _ := big.At(10, 10).RGBA(); r>>8 != 64 {
		t.Errorf("an even grey of 64 becomes %d", r>>8)
	}
}

func TestClassColours(t *testing.T) {
	for _, classes := range []int{10, 100} {
		seen := map[string]int{}
		for c := range classes {
			if other, ok := seen[classColour(c, classes)]; ok {
				t.Errorf("of %d classes, %d and %d have one colour", classes, c, other)
			}
			seen[classColour(c, classes)] = c
		}
	}
}
