package dataset

import (
	"slices"
	"strings"
	"testing"
)

func labelsOf(s *Set) []int {
	out := make([]int, s.Len())
	for i := range out {
		out[i] = s.Label(i)
	}
	return out
}

func TestLabelFiles(t *testing.T) {
	dir := t.TempDir()
	data := write(t, npyBytes(t, []int{4, 2}, ramp(8)), dir, "x.npy")
	for _, c := range []struct {
		name, text string
		labels     []int
		classes    string
	}{
		{"one.txt", "cat\ndog\ncat\nbird\n", []int{1, 2, 1, 0}, "bird cat dog"},
		{"header.txt", "label\n3\n0\n3\n1\n", []int{3, 0, 3, 1}, "0 1 2 3"},
		{"pairs.csv", "3,dog\n0,cat\n1,cat\n", []int{0, 0, -1, 1}, "cat dog"},
		{"header.csv", "id,label\n0,2\n1,0\n2,1\n3,2\n99,7\n", []int{2, 0, 1, 2}, "0 1 2 3 4 5 6 7"},
		{"swapped.tsv", "class\tpath\nb b\t0\na\t1\n", []int{1, 0, -1, -1}, "a b b"},
		{"wide.csv", "split,label,quality,id\nx,u,1,2\nx,v,2,3\n", []int{-1, -1, 0, 1}, "u v"},
		{"bom.csv", "\xef\xbb\xbfid;label\n0;\"a; b\"\n1;c\n", []int{0, 1, -1, -1}, "a; b c"},
		{"none.csv", "0,-1\n1,1\n2,\n3,0\n", []int{-1, 1, -1, 0}, "0 1"},
		{"zeros.txt", "01\n02\n01\n01\n", []int{0, 1, 0, 0}, "01 02"},
	} {
		s := mustOpen(t, data, Options{Labels: write(t, []byte(c.text), dir, c.name)})
		if got := labelsOf(s); !slices.Equal(got, c.labels) || strings.Join(s.Classes(), " ") != c.classes || !s.Labelled() {
			t.Errorf("%s: labels %v of %q, want %v of %q", c.name, got, s.Classes(), c.labels, c.classes)
		}
	}
	s := mustOpen(t, data, Options{Labels: write(t, npyBytes(t, []int{4}, []int64{1, 0, 2, 1}), dir, "y.npy")})
	if !slices.Equal(labelsOf(s), []int{1, 0, 2, 1}) {
		t.Errorf("npy labels are %v", labelsOf(s))
	}
}

func TestLabelFileErrors(t *testing.T) {
	dir := t.TempDir()
	data := write(t, npyBytes(t, []int{4, 2}, ramp(8)), dir, "x.npy")
	for _, c := range []struct{ name, text, want string }{
		{"few.txt", "a\nb\nc\n", "3 labels for 4 rows"},
		{"ragged.csv", "0,a\n1,b\n\n2\n", "ragged.csv:4: 1 columns"},
		{"twice.csv", "0,a\n1,b\n0,c\n", `twice.csv:3: "0" was given another label in line 1`},
		{"alien.csv", "img/1.png,a\nimg/2.png,b\n", "alien.csv:1"},
		{"columns.csv", "1,2,3\n", "columns.csv:1: 3 columns"},
		{"quote.csv", "0,a\n1,\"b\n", "line 2"},
		{"empty.txt", "\n\n", "no labels"},
		{"blank.csv", "0,\n1,\n", "every label is empty"},
		{"bytes.txt", "a\n\xff\xfe\nb\nc\n", "bytes.txt:2"},
		{"y.npy", "nonsense", "y.npy"},
	} {
		mustReject(t, data, Options{Labels: write(t, []byte(c.text), dir, c.name)}, c.want)
	}
	if _, err := Open(t.Context(), data, Options{Labels: "missing.csv"}); err == nil || !contains(err.Error(), "missing.csv") {
		t.Errorf("error %v", err)
	}
}

func TestFolderWithLabelFile(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"p/1.png", "p/2.png", "q/3.png"} {
		write(t, solid(t, 4, 4, red), dir, name)
	}
	s := mustOpen(t, dir, Options{Labels: write(t, []byte("path,label\nq/3.png,tall\np/1.png,short\n"), t.TempDir(), "l.csv")})
	if !slices.Equal(labelsOf(s), []int{0, -1, 1}) || !slices.Equal(s.Classes(), []string{"short", "tall"}) {
		t.Errorf("labels %v of %q", labelsOf(s), s.Classes())
	}
}

func TestMaxBad(t *testing.T) {
	for s, want := range map[string]int{"": 20, "10%": 20, "0": 0, "25": 25, "0%": 0, "100%": 200, "0.5%": 1} {
		if got, err := parseMaxBad(s, 200); err != nil || got != want {
			t.Errorf("%q of 200 is %d (%v), want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"-1", "x", "101%", "%", "NaN%", "1.5", "1e2"} {
		if err := CheckMaxBad(s); err == nil {
			t.Errorf("%q is accepted", s)
		}
	}
}

func FuzzLabels(f *testing.F) {
	for _, s := range []string{"a\nb\n", "id,label\n0,x\n1,y\n", "p\tq\n\"r\ns\"\tt\n", "\xef\xbb\xbf;;\n", "0,1\n0,2\n", "label\n-1\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		table, err := parseLabels(b, "f")
		if err != nil {
			return
		}
		if len(table.labels) != len(table.lines) || table.ids != nil && len(table.ids) != len(table.labels) {
			t.Fatalf("%d labels, %d lines, %d ids", len(table.labels), len(table.lines), len(table.ids))
		}
		classes, number, err := classesOf(table, "f")
		if err != nil {
			return
		}
		for l, k := range number {
			if k < -1 || int(k) >= len(classes) || k >= 0 && classes[k] != l {
				t.Fatalf("label %q is number %d of %q", l, k, classes)
			}
		}
	})
}
