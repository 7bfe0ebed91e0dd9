package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// testMeter is a meter on a clock that the test moves.
func testMeter(redraw bool) (m *meter, out *bytes.Buffer, tick func(time.Duration)) {
	out = &bytes.Buffer{}
	now := time.Unix(1e9, 0)
	m = &meter{w: out, redraw: redraw, every: plainEvery, width: func() int { return 60 }, now: func() time.Time { return now }}
	return m, out, func(d time.Duration) { now = now.Add(d) }
}

func TestMeterPlainLinesAreRare(t *testing.T) {
	m, out, tick := testMeter(false)
	for i := range 2500 { // 25 seconds
		m.show(status{label: "work", done: i, total: 2500, unit: "steps"}, false)
		tick(10 * time.Millisecond)
	}
	m.show(status{label: "work", done: 2500, total: 2500, unit: "steps"}, true)
	want := "work  0/2,500 steps\nwork  1,000/2,500 steps\nwork  2,000/2,500 steps\nwork  2,500/2,500 steps\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out, want)
	}
}

func TestMeterRedrawsOneLine(t *testing.T) {
	m, out, tick := testMeter(true)
	s := status{label: "epoch 1/3", done: 10, total: 40, unit: "steps", fields: []string{"loss 1.234"}, left: 65 * time.Second}
	m.show(s, false)
	m.show(s, false) // too soon to be drawn again
	tick(time.Second)
	s.done, s.fields = 20, []string{"loss 1"}
	m.show(s, false)
	m.note("kept")
	lines := strings.Split(out.String(), "\r")
	if len(lines) != 5 { // "", first, second, blanks, kept
		t.Fatalf("%d pieces: %q", len(lines), lines)
	}
	if want := "epoch 1/3  [====...............]  10/40 steps  loss 1.234  ETA 1m05s"; lines[1] == want {
		t.Errorf("%q is wider than the terminal", want)
	}
	if len(lines[2]) < len(lines[1]) {
		t.Errorf("%q leaves traces of %q", lines[2], lines[1])
	}
	if strings.TrimSpace(lines[3]) != "" || lines[4] != "kept\n" {
		t.Errorf("the line is not cleared before a note: %q", lines[3:])
	}
}

func TestMeterQuiet(t *testing.T) {
	m, out, _ := testMeter(true)
	m.quiet = true
	m.show(status{label: "work"}, true)
	m.note("note")
	m.clear()
	if out.Len() > 0 {
		t.Errorf("quiet, but wrote %q", out)
	}
}

func TestStatusFitsEveryWidth(t *testing.T) {
	s := status{label: "epoch 12/20", done: 7, total: 20, unit: "steps", left: time.Hour,
		fields: []string{"loss 1.234 (-0.010 by re-assignment)", "cos 0.31/0.34", "12 % re-assigned", "1,234 rows/s"}}
	for width := 0; width < 200; width++ {
		line := s.fit(width)
		if n := utf8.RuneCountInString(line); n > width {
			t.Errorf("width %d: %d columns: %q", width, n, line)
		}
	}
	if wide := s.fit(200); !strings.Contains(wide, "1,234 rows/s") || !strings.Contains(wide, "[=======") {
		t.Errorf("a wide terminal shows everything and the bar: %q", wide)
	}
	if narrow := s.fit(40); !strings.Contains(narrow, "epoch 12/20") || strings.Contains(narrow, "rows/s") {
		t.Errorf("a narrow terminal keeps the label: %q", narrow)
	}
}

func TestNumbersForPeople(t *testing.T) {
	for want, got := range map[string]string{
		"850ms": duration(850 * time.Millisecond), "4.2s": duration(4200 * time.Millisecond), "59s": duration(59900 * time.Millisecond),
		"3m05s": duration(185 * time.Second), "2h10m": duration(130 * time.Minute), "3d4h": duration(76 * time.Hour),
		"0": count(0), "999": count(999), "1,000": count(1000), "-12,345,678": count(-12345678),
		"12 B": size(12), "1.0 kB": size(1000), "999 kB": size(999_400), "1.0 MB": size(999_600), "34 GB": size(34_000_000_000),
		"1 epoch": plural(1, "epoch"), "2 epochs": plural(2, "epoch"), "0 batches": plural(0, "batch"), "3.1 %": percent(.0314),
		".893": fraction(.8931), "1.000": fraction(1), ".000": fraction(0),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestBar(t *testing.T) {
	for _, c := range []struct{ done, total int }{{-1, 5}, {0, 5}, {5, 5}, {9, 5}} {
		b := bar(c.done, c.total, 12)
		if len(b) != 12 {
			t.Errorf("%v: %q", c, b)
		}
	}
}

func TestTableAligns(t *testing.T) {
	var b bytes.Buffer
	table(&b, []string{"name", "layer", "knn"}, [][]string{{"run", "embedding", ".9"}, {"pcä", "x", "1.000"}}, 2)
	want := "name  layer        knn\nrun   embedding     .9\npcä   x          1.000\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
	b.Reset()
	pairs(&b, "a", "1", "longer", "", "bcd", "2")
	if want := "a    1\nbcd  2\n"; b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}
