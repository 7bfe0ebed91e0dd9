package nat

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestStop(t *testing.T) {
	read := func(alignments ...float64) (s Stop) {
		for epoch, a := range alignments {
			s = s.read(epoch, &Gauge{Rows: 100, Alignment: 9}, &Gauge{Rows: 100, Alignment: a})
		}
		return s
	}
	for _, c := range []struct {
		alignments []float64
		want       Stop
		memorising bool
	}{
		{[]float64{.9, .8, .82, .7, .72}, Stop{.7, 3, 0}, false},       // as it goes up and down
		{[]float64{.9, .8, .95, .83, .95}, Stop{.8, 1, 1}, false},      // once is not enough
		{[]float64{.95, 1.28, 1.32, 1.45, 1.5}, Stop{.95, 0, 4}, true}, // by heart
		{[]float64{.9, .6, .8, .9, .5}, Stop{.5, 4, 0}, false},         // and back
		{[]float64{0, 0, 0}, Stop{}, false},                            // no views
	} {
		if got := read(c.alignments...); got != c.want || got.Memorising() != c.memorising {
			t.Errorf("%v: %+v", c.alignments, got)
		}
	}
	if s := (Stop{}).read(3, &Gauge{Rows: 100, Alignment: .5}, &Gauge{Rows: 5, Alignment: 2}); s.Least != .5 || s.Epoch != 3 {
		t.Errorf("too few held-out rows are believed: %+v", s)
	}
}

// A network that sees few rows without views learns them by heart, and a resumed run knows
// what came before.
func TestStopSignalOfARun(t *testing.T) {
	images, _ := writeImages(t, smallRows, 4)
	opt := small(images, filepath.Join(t.TempDir(), "run"))
	opt.Augment, opt.Views, opt.Epochs, opt.GaugeEvery, opt.LR = augmentNone, 0, 24, 1, .5
	sum := mustTrain(t, opt)
	events, err := ReadEvents(filepath.Join(opt.Out, metricsFile))
	if err != nil {
		t.Fatal(err)
	}
	s := lastStop(events)
	if s == nil || !s.Memorising() {
		t.Fatalf("no signal: %+v", s)
	}
	told := 0
	for _, w := range sum.Warnings {
		if strings.Contains(w, "by heart") {
			told++
		}
	}
	if told != 1 {
		t.Errorf("told %d times: %q", told, sum.Warnings)
	}
	if d := NewReportData(Record{}, events, nil); len(d.Notes) != 1 || !strings.Contains(d.Notes[0], "by heart") {
		t.Errorf("notes %q", d.Notes)
	}
}
