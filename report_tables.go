package nat

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// EvalFile is where in a run directory a report finds tables of probes: what
// `nat eval --json` printed.
const EvalFile = "eval.json"

// writeEval writes what ReadEval reads.
func writeEval(path string, e *EvalResult) error {
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	_, err = replaceFile(disk{}, path, func(w io.Writer) error {
		_, err := w.Write(append(b, '\n'))
		return err
	})
	return err
}

// maxEval bounds the file of an evaluation.
const maxEval = 16 << 20

// ReadEval reads what `nat eval --json` printed, for the tables of a report. The error
// is of kind ErrInput where the file holds anything else.
func ReadEval(path string) (*EvalResult, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxEval+1))
	if err != nil {
		return nil, err
	}
	e := &EvalResult{}
	if err = json.Unmarshal(b, e); err == nil {
		err = e.check()
	}
	if len(b) > maxEval {
		err = fmt.Errorf("it has more than %d bytes", maxEval)
	}
	if err != nil {
		return nil, failf(ErrInput, "%s is not what nat eval --json prints: %w", path, err)
	}
	return e, nil
}

// check finds what tables cannot be made of.
func (e *EvalResult) check() error {
	switch {
	case len(e.Rows) == 0 && e.Codes == nil, e.Codes != nil && len(e.Codes.Rows) == 0:
		return errors.New("no rows of a table")
	case len(e.Rows) > 0 && (e.TrainRows < 1 || e.TestRows < 1):
		return errors.New("no rows that probes were fitted and tested on")
	}
	for _, few := range e.Few {
		if len(few.Rows) == 0 {
			return fmt.Errorf("no rows of the table with %d labels a class", few.PerClass)
		}
	}
	return nil
}

// A probeTable is one table of figures, more of which is better.
type probeTable struct {
	Title, Note string
	Columns     []string
	Rows        []probeRow
	Long        bool // so long that it is folded: a profile shows most of it
}

type probeRow struct {
	Name, Layer string
	Dim         int
	Own         bool // the trained network
	Cells       []probeCell
}

type probeCell struct {
	Value     string // "" if it was not measured
	Range     string // half of its interval, or ""
	Width     string // of its bar, in 60ths; "" if there is none
	From, Add string // of the interval, in 60ths
	Best      bool   // of its column
}

// figure is a number of a table; half is half the width of its interval, or its standard
// error, 0 if there is none.
type figure struct{ value, half float64 }

// A column reads a figure off row i; false where it was not measured. Bars are of
// its share of full, and there are none where that is 0.
type column struct {
	name string
	full float64
	read func(i int) (figure, bool)
}

// probeTables are the tables of an evaluation with labels, as far as they were asked for.
func probeTables(e *EvalResult) []probeTable {
	if len(e.Rows) == 0 {
		return nil
	}
	fitted := fmt.Sprintf("Accuracy. Fitted on %s labelled rows of %s, tested on %s others.", group(e.TrainRows), strings.TrimSuffix(filepath.Base(e.Data), ":"), group(e.TestRows))
	if n := e.Rows[0].MLPEpochs; n > 0 {
		fitted += fmt.Sprintf(" MLP: mean over %d of its last epochs.", n)
	}
	all := newTable("All labels", fitted, e.Rows, accuracyColumns(e.Rows))
	all.Long = len(e.Rows) > longTable
	tables := []probeTable{all}
	for _, few := range e.Few {
		note := fmt.Sprintf("Accuracy, the mean over %d draws of the labelled rows ± half of its 95 %% interval; the same test rows.", few.Draws)
		tables = append(tables, newTable(plural(few.PerClass, "label")+" a class", note, few.Rows, accuracyColumns(few.Rows)))
	}
	if r := e.Rows[0].Retrieval; r != nil {
		note := fmt.Sprintf("%s test rows search the %s labelled rows by cosine: mean average precision ± standard error, and the share with a row of their class among the 1, 5, 10 nearest.",
			group(r.Queries), group(e.TrainRows))
		tables = append(tables, newTable("Retrieval", note, e.Rows, retrievalColumns(e.Rows)))
	}
	if c := e.Rows[0].Clusters; c != nil {
		note := fmt.Sprintf("%s of %s test rows by spherical k-means, which sees no label, beside the classes: mutual information, adjusted Rand index, accuracy under the best matching.",
			plural(c.K, "cluster"), group(c.Rows))
		tables = append(tables, newTable("Clusters", note, e.Rows, clusterColumns(e.Rows)))
	}
	return slices.DeleteFunc(tables, func(t probeTable) bool { return len(t.Columns) == 0 })
}

// longTable is more rows than the usual comparison of two layers has, and of four.
const longTable = 12

// plural writes a count with its noun.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return group(n) + " " + noun + "s"
}

// accuracyNames are the headings of the columns of accuracyProbes.
var accuracyNames = map[string]string{"knn": "kNN", "knn200": "kNN, k = 200", "svm": "SVM", "mlp": "MLP"}

func accuracyColumns(rows []EvalRow) (columns []column) {
	for _, p := range accuracyProbes {
		name := accuracyNames[p]
		setDefault(&name, p)
		columns = append(columns, column{name, 1, func(i int) (figure, bool) {
			v := rows[i].Accuracy(p)
			if v == nil {
				return figure{}, false
			}
			return figure{*v, rows[i].HalfWidth[p]}, true
		}})
	}
	return columns
}

func retrievalColumns(rows []EvalRow) []column {
	of := func(name string, value, half func(r EvalRow) float64) column {
		return column{name, 1, func(i int) (figure, bool) {
			if rows[i].Retrieval == nil {
				return figure{}, false
			}
			return figure{value(rows[i]), half(rows[i])}, true
		}}
	}
	exact := func(EvalRow) float64 { return 0 }
	return []column{
		of("mAP", func(r EvalRow) float64 { return r.Retrieval.MAP }, func(r EvalRow) float64 { return r.Retrieval.MAPError }),
		of("recall@1", func(r EvalRow) float64 { return r.Retrieval.Recall1 }, exact),
		of("recall@5", func(r EvalRow) float64 { return r.Retrieval.Recall5 }, exact),
		of("recall@10", func(r EvalRow) float64 { return r.Retrieval.Recall10 }, exact),
	}
}

func clusterColumns(rows []EvalRow) []column {
	of := func(name string, value func(r EvalRow) float64) column {
		return column{name, 1, func(i int) (figure, bool) {
			if rows[i].Clusters == nil {
				return figure{}, false
			}
			return figure{value: value(rows[i])}, true
		}}
	}
	return []column{
		of("NMI", func(r EvalRow) float64 { return r.Clusters.NMI }),
		of("ARI", func(r EvalRow) float64 { return r.Clusters.ARI }),
		of("accuracy", func(r EvalRow) float64 { return r.Clusters.Accuracy }),
	}
}

// codeTables is the table of the probes without labels, if they were asked for.
func codeTables(e *EvalResult) []probeTable {
	c := e.Codes
	if c == nil {
		return nil
	}
	t := probeTable{Title: "Codes of " + filepath.Base(e.Data), Rows: make([]probeRow, len(c.Rows))}
	for i, r := range c.Rows {
		t.Rows[i] = newRow(r.Name, r.Layer, r.Dim)
	}
	if c.Rows[0].Neighbours != nil {
		t.Note = fmt.Sprintf("%s rows search %s others: the share of their 10 nearest in the original space, by cosine and by distance, that are among the 10 nearest in the code, ± standard error, and the share of those whose nearest is. ",
			group(c.Queries), group(c.Searched))
	}
	if c.Measured > 0 {
		t.Note += fmt.Sprintf("Information: nats that a noisy code of %s rows says about which it is of, at most %.3f, ± standard error, and as a share of what uniform points keep; the share of noisy codes nearest to their own row's.",
			group(c.Measured), math.Log(float64(c.Measured)))
	}
	return []probeTable{t.fill(slices.Concat(keptColumns(c), informationColumns(c)))}
}

// keptColumns are about the neighbours that codes keep.
func keptColumns(c *CodeTable) []column {
	of := func(name string, f func(n *CodeNeighbours) figure) column {
		return column{name, 1, func(i int) (figure, bool) {
			if n := c.Rows[i].Neighbours; n != nil {
				return f(n), true
			}
			return figure{}, false
		}}
	}
	return []column{
		of("by cosine", func(n *CodeNeighbours) figure { return figure{n.Cosine.Recall10, n.Cosine.Error} }),
		of("nearest", func(n *CodeNeighbours) figure { return figure{value: n.Cosine.Nearest10} }),
		of("by distance", func(n *CodeNeighbours) figure { return figure{n.Distance.Recall10, n.Distance.Error} }),
		of("nearest", func(n *CodeNeighbours) figure { return figure{value: n.Distance.Nearest10} }),
	}
}

// informationColumns are about the information that codes keep through noise.
func informationColumns(c *CodeTable) []column {
	of := func(name string, full float64, f func(n *CodeInformation) figure) column {
		return column{name, full, func(i int) (figure, bool) {
			if n := c.Rows[i].Information; n != nil {
				return f(n), true
			}
			return figure{}, false
		}}
	}
	return []column{
		of("information", math.Log(float64(max(2, c.Measured))), func(n *CodeInformation) figure { return figure{n.Nats, n.Error} }),
		of("of uniform", 1, func(n *CodeInformation) figure { return figure{value: n.Efficiency} }),
		of("recovered", 1, func(n *CodeInformation) figure { return figure{value: n.Recovered} }),
	}
}

// newTable makes a table of representations.
func newTable(title, note string, rows []EvalRow, columns []column) probeTable {
	t := probeTable{Title: title, Note: note, Rows: make([]probeRow, len(rows))}
	for i, r := range rows {
		t.Rows[i] = newRow(r.Name, r.Layer, r.Dim)
	}
	return t.fill(columns)
}

// newRow names a representation for people.
func newRow(name, layer string, dim int) probeRow {
	names := map[string]string{"run": "this run", "random": "same network, untrained", "pca": "PCA", "raw": "raw input", "supervised": "trained with labels"}
	title := names[name]
	setDefault(&title, name)
	return probeRow{Name: title, Layer: layer, Dim: dim, Own: name == "run"}
}

// fill adds the columns that were measured.
func (t probeTable) fill(columns []column) probeTable {
	for _, c := range columns {
		best := math.Inf(-1)
		for i := range t.Rows {
			if f, ok := c.read(i); ok {
				best = max(best, f.value)
			}
		}
		if math.IsInf(best, -1) {
			continue
		}
		t.Columns = append(t.Columns, c.name)
		for i := range t.Rows {
			var cell probeCell
			if f, ok := c.read(i); ok {
				cell = c.cell(f)
				cell.Best = f.value == best
			}
			t.Rows[i].Cells = append(t.Rows[i].Cells, cell)
		}
	}
	return t
}

// barWidth is that of a cell's bar.
const barWidth = 60

func (c column) cell(f figure) probeCell {
	cell := probeCell{Value: fmt.Sprintf("%.3f", f.value)}
	if f.half > 0 {
		cell.Range = fmt.Sprintf("± %.3f", f.half)
	}
	if c.full == 0 {
		return cell
	}
	at := func(v float64) float64 { return barWidth * min(1, max(0, v/c.full)) }
	cell.Width = fmt.Sprintf("%.1f", at(f.value))
	if f.half > 0 {
		cell.From, cell.Add = fmt.Sprintf("%.1f", at(f.value-f.half)), fmt.Sprintf("%.1f", at(f.value+f.half)-at(f.value-f.half))
	}
	return cell
}

// A profile is the accuracy of one probe along the layers of the network, which
// follow one another downwards.
type profile struct {
	Title         string
	Width, Height int
	Left, Right   float64
	Top, Bottom   float64
	Ticks         []tick
	Layers        []profileLayer
	Lines         []profileLine
	Levels        []profileLevel
}

type profileLayer struct {
	Name string
	Y    float64
}

// profileLine is the network, trained or not.
type profileLine struct {
	Name, Style, Points string
	Dots                []mark
}

// mark is a place on a drawing.
type mark struct{ X, Y float64 }

// profileLevel is a representation without layers, to compare with.
type profileLevel struct {
	Name, Style, Value string
	At                 float64
}

const (
	leastProfile = 3  // layers that make a profile
	profileRow   = 19 // pixels between layers
	profileName  = 30 // letters of a layer that are shown, at most
)

// profiles draws one chart for each probe whose accuracy was taken along three layers or
// more.
func profiles(e *EvalResult) (out []profile) {
	for _, c := range accuracyColumns(e.Rows) {
		if p, ok := newProfile(e.Rows, c); ok {
			out = append(out, p)
		}
	}
	return out
}

func newProfile(rows []EvalRow, c column) (profile, bool) {
	p := profile{Title: c.name, Width: 460, Right: 444, Top: 10}
	values := map[string]map[string]float64{} // by name, then layer
	var layers []string
	span := axis{math.Inf(1), math.Inf(-1)}
	for i, r := range rows {
		f, ok := c.read(i)
		if !ok {
			continue
		}
		if values[r.Name] == nil {
			values[r.Name] = map[string]float64{}
		}
		values[r.Name][r.Layer] = f.value
		span = axis{min(span.Min, f.value), max(span.Max, f.value)}
		if r.Name == "run" {
			layers = append(layers, r.Layer)
		}
	}
	if len(layers) < leastProfile {
		return p, false
	}
	p.frame(layers, &span)
	for i, name := range []string{"run", "random"} {
		if values[name] != nil {
			p.Lines = append(p.Lines, p.line(newRow(name, "", 0).Name, "s"+strconv.Itoa(i), layers, values[name], span))
		}
	}
	for i, name := range []string{"pca", "raw"} {
		for _, v := range values[name] { // one, of the input
			p.Levels = append(p.Levels, profileLevel{newRow(name, "", 0).Name, "level" + strconv.Itoa(i), fmt.Sprintf("%.3f", v), p.x(v, span)})
		}
	}
	return p, true
}

// frame places the layers and the axis, which grows to round values.
func (p *profile) frame(layers []string, span *axis) {
	letters := 0
	for i, name := range layers {
		if r := []rune(name); len(r) > profileName {
			name = "…" + string(r[len(r)-profileName+1:])
		}
		letters = max(letters, len([]rune(name)))
		p.Layers = append(p.Layers, profileLayer{name, p.Top + (float64(i)+.5)*profileRow})
	}
	p.Left = float64(16 + 6*letters)
	p.Bottom = p.Top + profileRow*float64(len(layers))
	p.Height = int(p.Bottom) + 24
	p.Ticks, *span = ticks(*span, true)
	for i := range p.Ticks {
		p.Ticks[i].At = p.x(p.Ticks[i].At, *span)
	}
}

func (p *profile) x(v float64, span axis) float64 {
	return p.Left + (v-span.Min)/(span.Max-span.Min)*(p.Right-p.Left)
}

func (p *profile) line(name, style string, layers []string, values map[string]float64, span axis) profileLine {
	l := profileLine{Name: name, Style: style}
	var points []string
	for i, layer := range layers {
		if v, ok := values[layer]; ok {
			d := mark{p.x(v, span), p.Layers[i].Y}
			l.Dots = append(l.Dots, d)
			points = append(points, fmt.Sprintf("%.1f,%.1f", d.X, d.Y))
		}
	}
	l.Points = strings.Join(points, " ")
	return l
}
