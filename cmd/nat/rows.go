package main

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/parquet-go/parquet-go"

	"nat/internal/tensorfile"
)

// rowWriter receives embeddings in order, a few rows at a time.
type rowWriter interface {
	write(block rowBlock) error
	close() error
}

// rowBlock is some consecutive rows: their identities, the names of their classes (nil without labels, "" for a row
// that has none), the classes as numbers (-1 for none) and the vectors.
type rowBlock struct {
	ids    []string
	names  []string
	labels []int64
	z      []float32
	width  int
}

func (b rowBlock) row(i int) []float32 { return b.z[i*b.width : (i+1)*b.width] }

// rowFormats are the formats, by the extension of the file.
var rowFormats = []string{".npy", ".parquet", ".safetensors", ".csv"}

// output is a file in the making: it has a temporary name beside its own, and takes its own only when it is whole.
type output struct {
	*bufio.Writer
	path string
	file *os.File
}

func createOutput(path string) (*output, error) {
	temp := filepath.Join(filepath.Dir(path), fmt.Sprintf(".%s.%d-%x.tmp", filepath.Base(path), os.Getpid(), rand.Uint32()))
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", path, err)
	}
	return &output{Writer: bufio.NewWriterSize(f, 1<<20), path: path, file: f}, nil
}

// commit makes the file durable and gives it its name.
func (o *output) commit() error {
	err := o.Flush()
	if err == nil {
		err = o.file.Sync()
	}
	if cerr := o.file.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(o.file.Name(), o.path)
	}
	if err != nil {
		os.Remove(o.file.Name())
		return fmt.Errorf("write %s: %w", o.path, err)
	}
	return nil
}

// discard removes what was written so far.
func (o *output) discard() {
	o.file.Close()
	os.Remove(o.file.Name())
}

// writeFile writes a file as a whole or not at all.
func writeFile(path string, write func(w io.Writer) error) error {
	o, err := createOutput(path)
	if err != nil {
		return err
	}
	if err := write(o); err != nil {
		o.discard()
		return fmt.Errorf("write %s: %w", path, err)
	}
	return o.commit()
}

func writeText(path, text string) error {
	return writeFile(path, func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	})
}

// checkOutputs refuses, before anything is computed, files that could not be written in the end.
func checkOutputs(overwrite bool, paths ...string) error {
	for _, path := range paths {
		if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
			return usagef("cannot write %s: the folder %s does not exist", path, filepath.Dir(path))
		}
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return fmt.Errorf("look at %s: %w", path, err)
		case info.IsDir():
			return usagef("cannot write %s: it is a folder", path)
		case !overwrite:
			return usagef("%s exists already; --overwrite replaces it, or choose another name", path)
		}
	}
	return nil
}

// rowFormat recognises the format of path.
func rowFormat(path string) (string, error) {
	ext := strings.ToLower(filepath.Ext(path))
	if !slices.Contains(rowFormats, ext) {
		return "", usagef("-o %s: the extension chooses the format; it must be one of %s", path, strings.Join(rowFormats, ", "))
	}
	return ext, nil
}

// sidecar is where the identities of the rows of an .npy file go: Z.npy has Z.ids.txt.
func sidecar(path string) string {
	return strings.TrimSuffix(path, filepath.Ext(path)) + ".ids.txt"
}

// newRowWriter writes rows x width embeddings in a format of rowFormats; ids is only written to by .npy.
func newRowWriter(format string, w, ids io.Writer, rows, width int, labelled bool, meta map[string]string) (rowWriter, error) {
	switch format {
	case ".npy":
		npy, err := tensorfile.NewNPYWriter(w, rows, width)
		return &npyRows{npy, ids}, err
	case ".parquet":
		return newParquetRows(w, meta), nil
	case ".safetensors":
		return &safetensorsRows{w: w, meta: meta, labelled: labelled}, nil
	}
	return newCSVRows(w, width, labelled)
}

// npyRows writes the matrix and, into another file, one identity a line.
type npyRows struct {
	npy *tensorfile.NPYWriter
	ids io.Writer
}

func (n *npyRows) write(b rowBlock) error {
	if err := n.npy.Write(b.z); err != nil {
		return err
	}
	_, err := io.WriteString(n.ids, idLines(b.ids))
	return err
}

func (n *npyRows) close() error { return n.npy.Close() }

// idLines writes one identity a line. A path that contains a line break or starts with a quote is written as a JSON
// string, so that line i is always row i.
func idLines(ids []string) string {
	var b strings.Builder
	for _, id := range ids {
		if strings.ContainsAny(id, "\r\n") || strings.HasPrefix(id, `"`) {
			quoted, _ := json.Marshal(id)
			id = string(quoted)
		}
		b.WriteString(id)
		b.WriteByte('\n')
	}
	return b.String()
}

// csvRows writes id, label if there are labels, and e0, e1, ...
type csvRows struct {
	csv    *csv.Writer
	record []string
}

func newCSVRows(w io.Writer, width int, labelled bool) (*csvRows, error) {
	header := []string{"id"}
	if labelled {
		header = append(header, "label")
	}
	for j := range width {
		header = append(header, "e"+strconv.Itoa(j))
	}
	c := &csvRows{csv: csv.NewWriter(w)}
	return c, c.csv.Write(header)
}

func (c *csvRows) write(b rowBlock) error {
	for i, id := range b.ids {
		c.record = append(c.record[:0], id)
		if b.names != nil {
			c.record = append(c.record, b.names[i])
		}
		for _, v := range b.row(i) {
			c.record = append(c.record, strconv.FormatFloat(float64(v), 'g', -1, 32))
		}
		if err := c.csv.Write(c.record); err != nil {
			return err
		}
	}
	return nil
}

func (c *csvRows) close() error {
	c.csv.Flush()
	return c.csv.Error()
}

// parquetRow is the schema of .parquet outputs: label is null for a row without one.
type parquetRow struct {
	ID        string    `parquet:"id"`
	Label     *string   `parquet:"label,optional"`
	Embedding []float32 `parquet:"embedding,list"`
}

type parquetRows struct {
	w *parquet.GenericWriter[parquetRow]
}

// parquetGroupRows bounds the rows that are held in memory before they are written as one row group.
const parquetGroupRows = 16384

func newParquetRows(w io.Writer, meta map[string]string) *parquetRows {
	options := []parquet.WriterOption{parquet.MaxRowsPerRowGroup(parquetGroupRows), parquet.CreatedBy("nat", "", "")}
	for _, k := range slices.Sorted(maps.Keys(meta)) {
		options = append(options, parquet.KeyValueMetadata(k, meta[k]))
	}
	return &parquetRows{parquet.NewGenericWriter[parquetRow](w, options...)}
}

func (p *parquetRows) write(b rowBlock) error {
	rows := make([]parquetRow, len(b.ids))
	for i, id := range b.ids {
		rows[i] = parquetRow{ID: id, Embedding: b.row(i)}
		if b.names != nil && b.labels[i] >= 0 {
			rows[i].Label = &b.names[i]
		}
	}
	_, err := p.w.Write(rows)
	return err
}

func (p *parquetRows) close() error { return p.w.Close() }

// safetensorsRows collects everything, because the format puts the sizes first: embedding, labels (int64, -1 for
// none) and ids (the bytes of one identity a line, as in an .ids.txt).
type safetensorsRows struct {
	w        io.Writer
	meta     map[string]string
	labelled bool
	z        []float32
	labels   []int64
	ids      []byte
	width    int
}

func (s *safetensorsRows) write(b rowBlock) error {
	s.z, s.width = append(s.z, b.z...), b.width
	s.labels = append(s.labels, b.labels...)
	s.ids = append(s.ids, idLines(b.ids)...)
	return nil
}

func (s *safetensorsRows) close() error {
	tensors := []tensorfile.Tensor{
		{Name: "embedding", Shape: []int{len(s.z) / max(s.width, 1), s.width}, Data: s.z},
		{Name: "ids", Shape: []int{len(s.ids)}, Data: s.ids},
	}
	if s.labelled {
		tensors = append(tensors, tensorfile.Tensor{Name: "labels", Shape: []int{len(s.labels)}, Data: s.labels})
	}
	return tensorfile.WriteSafetensors(s.w, tensors, s.meta)
}
