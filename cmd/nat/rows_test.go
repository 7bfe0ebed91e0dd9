package main

import (
	"bytes"
	"encoding/csv"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"nat"
	"nat/internal/tensorfile"
)

var testBlocks = []rowBlock{
	{ids: []string{"a/1.png", "a/2.png"}, names: []string{"a", "a"}, labels: []int64{0, 0}, z: []float32{1, 0, -.5, 1e-9}, width: 2},
	{ids: []string{"odd\nname"}, names: []string{""}, labels: []int64{-1}, z: []float32{3, 1. / 3}, width: 2},
}

var testZ = []float32{1, 0, -.5, 1e-9, 3, 1. / 3}

func writeBlocks(t *testing.T, format string, labelled bool) (data, ids []byte) {
	t.Helper()
	var out, idsOut bytes.Buffer
	w, err := newRowWriter(format, &out, &idsOut, 3, 2, labelled, map[string]string{"layer": "embedding", "run": "r"})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range testBlocks {
		if !labelled {
			b.names, b.labels = nil, nil
		}
		if err := w.write(b); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), idsOut.Bytes()
}

func TestRowsNPY(t *testing.T) {
	data, ids := writeBlocks(t, ".npy", true)
	a, err := tensorfile.OpenNPY(bytes.NewReader(data), int64(len(data)), "z.npy")
	if err != nil {
		t.Fatal(err)
	}
	got := make([]float32, 6)
	if err := a.ReadRows(got, 0, 3); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, testZ) {
		t.Errorf("got %v", got)
	}
	if want := "a/1.png\na/2.png\n\"odd\\nname\"\n"; string(ids) != want {
		t.Errorf("ids are %q, want %q", ids, want)
	}
}

func TestRowsCSV(t *testing.T) {
	data, _ := writeBlocks(t, ".csv", true)
	got, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{{"id", "label", "e0", "e1"}, {"a/1.png", "a", "1", "0"}, {"a/2.png", "a", "-0.5", "1e-09"},
		{"odd\nname", "", "3", "0.33333334"}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	data, _ = writeBlocks(t, ".csv", false)
	if !bytes.HasPrefix(data, []byte("id,e0,e1\n")) {
		t.Errorf("without labels there is no label column: %s", data)
	}
}

func TestRowsParquet(t *testing.T) {
	data, _ := writeBlocks(t, ".parquet", true)
	got, err := parquet.Read[parquetRow](bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	a := "a"
	want := []parquetRow{{"a/1.png", &a, testZ[:2]}, {"a/2.png", &a, testZ[2:4]}, {"odd\nname", nil, testZ[4:]}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	f, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := f.Lookup("layer"); !ok || v != "embedding" {
		t.Errorf("metadata: layer is %q", v)
	}
	again, _ := writeBlocks(t, ".parquet", true)
	if !bytes.Equal(data, again) {
		t.Error("the bytes of the file depend on more than its content")
	}
}

func TestRowsSafetensors(t *testing.T) {
	data, _ := writeBlocks(t, ".safetensors", true)
	ts, meta, err := tensorfile.ReadSafetensors(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	z, _ := tensorfile.Find(ts, "embedding")
	labels, _ := tensorfile.Find(ts, "labels")
	ids, _ := tensorfile.Find(ts, "ids")
	if d := cmp.Diff([]any{testZ, []int64{0, 0, -1}, []int{3, 2}}, []any{z.Data, labels.Data, z.Shape}); d != "" {
		t.Error(d)
	}
	if got := string(ids.Data.([]uint8)); strings.Count(got, "\n") != 3 || meta["run"] != "r" {
		t.Errorf("ids %q, metadata %v", got, meta)
	}
}

func TestOutputAppearsWhole(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "z.csv")
	o, err := createOutput(path)
	if err != nil {
		t.Fatal(err)
	}
	o.WriteString("content")
	if fileExists(path) {
		t.Error("the file has its name before it is whole")
	}
	if err := o.commit(); err != nil {
		t.Fatal(err)
	}
	discarded, err := createOutput(path)
	if err != nil {
		t.Fatal(err)
	}
	discarded.WriteString("other")
	discarded.discard()
	b, err := os.ReadFile(path)
	if err != nil || string(b) != "content" {
		t.Errorf("%q, %v", b, err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("temporary files are left: %v", files)
	}
}

func TestCheckOutputs(t *testing.T) {
	dir := t.TempDir()
	there := filepath.Join(dir, "there.npy")
	if err := os.WriteFile(there, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path      string
		overwrite bool
		want      string
	}{
		{there, false, "--overwrite"}, {there, true, ""}, {filepath.Join(dir, "new.npy"), false, ""},
		{filepath.Join(dir, "no", "z.npy"), true, "does not exist"}, {dir, true, "is a folder"},
	} {
		err := checkOutputs(c.overwrite, c.path)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.path, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, nat.ErrUsage)):
			t.Errorf("%s: %v, want a usage error with %q", c.path, err, c.want)
		}
	}
}
