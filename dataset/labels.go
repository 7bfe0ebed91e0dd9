package dataset

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"nat/internal/tensorfile"
)

// maxLabelFile bounds a file of labels, which is read as a whole.
const maxLabelFile = 1 << 30

// labelTable is a file of labels: one text per row, and the identity it belongs
// to if the file says so.
type labelTable struct {
	ids    []string // nil: labels are in the order of the rows
	labels []string
	lines  []int // line of each label
}

// Names that a header line may use for the two columns.
var (
	idColumns    = []string{"id", "path", "file", "filename", "file_name", "name", "image", "index", "row"}
	labelColumns = []string{"label", "class", "target", "category", "y"}
)

// readLabels replaces the labels of the set by those of a file: .npy with one
// integer per row, or text with one label per row or pairs of identity and label,
// separated by commas, semicolons or tabs, with or without a header line.
func (s *Set) readLabels(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("labels: %w", err)
	}
	if info.Size() > maxLabelFile {
		return reject("labels %s: %d bytes, more than the %d allowed", path, info.Size(), maxLabelFile)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("labels: %w", err)
	}
	var table labelTable
	if bytes.HasPrefix(b, []byte("PK\x03\x04")) || bytes.HasPrefix(b, []byte("PK\x05\x06")) || strings.EqualFold(filepath.Ext(path), ".npz") {
		return reject("labels %s: npz is not supported for labels; give .npy or csv", path)
	}
	if bytes.HasPrefix(b, []byte("\x93NUMPY")) || strings.EqualFold(filepath.Ext(path), ".npy") {
		table, err = npyLabels(b, path)
	} else {
		table, err = parseLabels(b, path)
	}
	if err != nil {
		return err
	}
	return s.assign(table, path)
}

func npyLabels(b []byte, path string) (t labelTable, err error) {
	a, err := tensorfile.OpenNPY(bytes.NewReader(b), int64(len(b)), path)
	if err != nil {
		return t, reject("labels: %w", err)
	}
	values, err := a.Ints()
	if err != nil {
		return t, reject("labels: %w", err)
	}
	for i, v := range values {
		t.labels = append(t.labels, strconv.FormatInt(v, 10))
		t.lines = append(t.lines, i)
	}
	return t, nil
}

// parseLabels reads a text file of labels; errors name the line.
func parseLabels(b []byte, path string) (t labelTable, err error) {
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	r := csv.NewReader(bytes.NewReader(b))
	r.Comma = separator(b)
	r.FieldsPerRecord = -1
	r.TrimLeadingSpace = r.Comma != '\t'
	columns, id, label := 0, -1, 0
	for {
		record, err := r.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return t, reject("labels %s: %w", path, err) // the message has the line
		}
		line, _ := r.FieldPos(0)
		if columns == 0 {
			columns = len(record)
			header := false
			if id, label, header, err = labelColumnsOf(record); err != nil {
				return t, reject("labels %s:%d: %w", path, line, err)
			}
			if header {
				continue
			}
		}
		if len(record) != columns {
			return t, reject("labels %s:%d: %d columns, the lines before have %d", path, line, len(record), columns)
		}
		if id >= 0 {
			t.ids = append(t.ids, record[id])
		}
		t.labels, t.lines = append(t.labels, strings.TrimSpace(record[label])), append(t.lines, line)
	}
	if len(t.labels) == 0 {
		return t, reject("labels %s: no labels in %d bytes", path, len(b))
	}
	return t, nil
}

// separator guesses what separates columns from the first line that is not
// empty: a tab, else a comma, else a semicolon.
func separator(b []byte) rune {
	line, _, _ := bytes.Cut(bytes.TrimLeft(b, "\r\n"), []byte("\n"))
	for _, c := range "\t,;" {
		if bytes.ContainsRune(line, c) {
			return c
		}
	}
	return ','
}

// labelColumnsOf decides from the first line which columns hold the identity (-1:
// none) and the label, and whether the line is a header.
func labelColumnsOf(first []string) (id, label int, header bool, err error) {
	find := func(names []string) int {
		return slices.IndexFunc(first, func(s string) bool {
			return slices.Contains(names, strings.ToLower(strings.TrimSpace(s)))
		})
	}
	id, label = find(idColumns), find(labelColumns)
	switch {
	case label >= 0 && len(first) == 1:
		return -1, 0, true, nil
	case label >= 0 && id >= 0:
		return id, label, true, nil
	case len(first) == 1:
		return -1, 0, false, nil
	case len(first) == 2 && label < 0 && id < 0:
		return 0, 1, false, nil
	case len(first) == 2 && label >= 0:
		return 1 - label, label, true, nil
	case len(first) == 2:
		return id, 1 - id, true, nil
	}
	return 0, 0, false, fmt.Errorf("%d columns: begin with a header line that names the columns id and label", len(first))
}

// assign gives every row its label.
func (s *Set) assign(t labelTable, path string) error {
	n := s.src.rows()
	classes, number, err := classesOf(t, path)
	if err != nil {
		return err
	}
	labels := make([]int32, n)
	if t.ids == nil {
		if len(t.labels) != n {
			return reject("labels %s: %d labels for %d rows of the %s split: give one per row, or pairs of id and label", path, len(t.labels), n, s.split)
		}
		for i, l := range t.labels {
			labels[i] = number[l]
		}
		s.labels, s.classes = labels, classes
		return nil
	}
	byID := make(map[string]int, len(t.ids))
	for k, id := range t.ids {
		if other, ok := byID[id]; ok && t.labels[other] != t.labels[k] {
			return reject("labels %s:%d: %q was given another label in line %d", path, t.lines[k], id, t.lines[other])
		}
		byID[id] = k
	}
	matched := 0
	var buf []byte
	for i := range labels {
		labels[i] = -1
		buf = s.src.appendID(buf[:0], i)
		if k, ok := byID[string(buf)]; ok {
			labels[i] = number[t.labels[k]]
			matched++
		}
	}
	if matched == 0 {
		return reject("labels %s:%d: %q is not a row, nor is any other of %d ids: ids look like %q", path, t.lines[0], t.ids[0], len(t.ids), string(s.src.appendID(nil, 0)))
	}
	s.labels, s.classes = labels, classes
	return nil
}

// classesOf numbers the labels. Class numbers from 0 keep their value, so that
// files of different splits agree; other texts are sorted. An empty label, and -1
// among numbers, is none.
func classesOf(t labelTable, path string) (classes []string, number map[string]int32, err error) {
	number = map[string]int32{}
	numeric, top := true, -1
	for k, l := range t.labels {
		if _, seen := number[l]; seen {
			continue
		}
		if !utf8.ValidString(l) {
			return nil, nil, reject("labels %s:%d: label %q is not text", path, t.lines[k], l)
		}
		v, err := strconv.Atoi(l)
		if err == nil && l != "" {
			top = max(top, v)
		} else if l != "" {
			numeric = false
		}
		numeric = numeric && v >= -1 && v < maxClasses && (l == "" || l == strconv.Itoa(v))
		number[l] = -1
	}
	if numeric && top >= 0 {
		for l := range number {
			if v, err := strconv.Atoi(l); err == nil {
				number[l] = int32(v)
			}
		}
		return classNumbers(top + 1), number, nil
	}
	for l := range number {
		if l != "" {
			classes = append(classes, l)
		}
	}
	if len(classes) == 0 {
		return nil, nil, reject("labels %s: every label is empty", path)
	}
	if len(classes) > maxClasses {
		return nil, nil, reject("labels %s: %d different labels, more than the %d allowed: is this the label column?", path, len(classes), maxClasses)
	}
	slices.Sort(classes)
	for i, l := range classes {
		number[l] = int32(i)
	}
	return classes, number, nil
}

// CheckMaxBad reports what is wrong with a value for [Options].MaxBad: it must be
// a count such as "25", a share such as "10%", or empty.
func CheckMaxBad(s string) error {
	_, err := parseMaxBad(s, 1)
	return err
}

// parseMaxBad returns how many of n files may be unusable: "25" or "10%".
func parseMaxBad(s string, n int) (int, error) {
	if s == "" {
		s = "10%"
	}
	if share, ok := strings.CutSuffix(s, "%"); ok {
		p, err := strconv.ParseFloat(share, 64)
		if err != nil || !(p >= 0 && p <= 100) {
			return 0, fmt.Errorf("%q is not a share from 0%% to 100%%", s)
		}
		return int(p / 100 * float64(n)), nil
	}
	k, err := strconv.Atoi(s)
	if err != nil || k < 0 {
		return 0, fmt.Errorf("%q is neither a count such as 25 nor a share such as 10%%", s)
	}
	return k, nil
}
