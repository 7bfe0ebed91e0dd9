package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"nat"
	"nat/dataset"
)

type embedFlags struct {
	out, layer, split, labels, maxBad string
	workers, limit                    int
	overwrite                         bool
}

// embedResult is what `nat embed --json` prints.
type embedResult struct {
	Run     string  `json:"run"`
	Data    string  `json:"data"`
	Out     string  `json:"out"`
	IDs     string  `json:"ids,omitempty"`
	Layer   string  `json:"layer"`
	Split   string  `json:"split"`
	Rows    int     `json:"rows"`
	Dim     int     `json:"dim"`
	Bad     int     `json:"bad_files"`
	Seconds float64 `json:"seconds"`
}

func (a *app) embedCommand() *cobra.Command {
	f := &embedFlags{}
	cmd := &cobra.Command{
		Use:   "embed RUN DATA -o OUT",
		Short: "write the embedding of every row of DATA",
		Long: `Embed every row of DATA, the run's own data or others of the same kind, and write one vector a row, in order,
with the row's identity (its path in a folder, its index elsewhere) and its class if it has one:
  .npy          the float32 matrix; identities in OUT.ids.txt beside it, one a line
  .csv          columns id, label, e0, e1, ...
  .parquet      columns id, label (null without one), embedding (list of float)
  .safetensors  tensors embedding, ids (text, one a line), labels (int64, -1 without one); collected in memory first
The file appears only when it is whole.`,
		Example: `  nat embed run photos -o photos.parquet
  nat embed run fashion-mnist -o test.npy --split test --layer features`,
		Args: a.arguments("RUN", "DATA"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("max-bad") && f.maxBad == "" {
				return usagef("--max-bad is empty: wants a count such as 25 or a share such as 10%%")
			}
			return a.embed(cmd.Context(), args[0], args[1], *f)
		},
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVarP(&f.out, "out", "o", "", "file to write; its extension chooses the format: .npy, .parquet, .safetensors, .csv")
	fs.StringVar(&f.layer, "layer", "embedding", "embedding (unit vectors), features, conv, fc, or a layer that nat info names")
	fs.StringVar(&f.split, "split", "all", "train, test or all")
	fs.StringVar(&f.labels, "labels", "", "file of labels to write beside the vectors")
	fs.IntVar(&f.limit, "limit", 0, "only N rows, chosen by a hash of their identity (0: all)")
	fs.StringVar(&f.maxBad, "max-bad", "", "unreadable images to tolerate, a count or a share (default 10%)")
	addWorkers(cmd, &f.workers)
	fs.BoolVar(&f.overwrite, "overwrite", false, "replace OUT if it exists")
	completeWords(cmd, "split", "train", "test", "all")
	completeWords(cmd, "layer", "embedding", "features")
	return cmd
}

// checkSplit refuses a split that no data have.
func checkSplit(split string) error {
	if split != "train" && split != "test" && split != "all" {
		return usagef("--split %q: choose train, test or all", split)
	}
	return nil
}

// check finds what is wrong before anything is computed; it returns the format and the files to be written.
func (f embedFlags) check() (format string, err error) {
	if f.out == "" {
		return "", usagef("where to? name the file with -o OUT.parquet (or .npy, .safetensors, .csv)")
	}
	if format, err = rowFormat(f.out); err != nil {
		return "", err
	}
	if err := checkSplit(f.split); err != nil {
		return "", err
	}
	if f.limit < 0 || f.workers < 0 {
		return "", usagef("--limit and --workers must not be negative")
	}
	if err := checkMaxBad(f.maxBad); err != nil {
		return "", err
	}
	paths := []string{f.out}
	if format == ".npy" {
		paths = append(paths, sidecar(f.out))
	}
	return format, checkOutputs(f.overwrite, paths...)
}

func (a *app) embed(ctx context.Context, dir, data string, f embedFlags) error {
	format, err := f.check()
	if err != nil {
		return err
	}
	start := time.Now()
	model, err := openModel(dir, f.workers)
	if err != nil {
		return err
	}
	defer model.Close()
	a.warn(model.Warnings)
	if _, err := model.Network.Width(f.layer); err != nil {
		return usagef("--layer %q: %v", f.layer, err)
	}
	set, err := model.OpenData(ctx, data, dataset.Options{
		Split: f.split, Limit: f.limit, Labels: f.labels, MaxBad: f.maxBad, Progress: a.scanProgress})
	if err != nil {
		return classify(err, nat.ErrInput)
	}
	defer set.Close()
	res := embedResult{Run: dir, Data: data, Out: f.out, Layer: f.layer, Split: f.split, Rows: set.Len(), Bad: len(set.Bad())}
	if format == ".npy" {
		res.IDs = sidecar(f.out)
	}
	if err := a.writeEmbedding(ctx, model, set, format, &res); err != nil {
		return err
	}
	res.Seconds = time.Since(start).Seconds()
	a.progress.clear()
	if a.json {
		return a.printJSON(res)
	}
	fmt.Fprintf(a.stdout, "%s: %s rows of %d numbers (%s) in %s\n", res.Out, count(res.Rows), res.Dim, res.Layer, duration(time.Since(start)))
	if res.IDs != "" {
		fmt.Fprintf(a.stdout, "%s: their identities, line by line\n", res.IDs)
	}
	if res.Bad > 0 {
		fmt.Fprintf(a.stdout, "%s could not be read and left out\n", plural(res.Bad, "file"))
	}
	return nil
}

func openModel(dir string, workers int) (*nat.Model, error) {
	run, err := openRun(dir)
	if err != nil {
		return nil, err
	}
	model, err := run.Model(workers)
	return model, classify(err, nat.ErrArtefact)
}

func (a *app) scanProgress(done, total int) {
	a.progress.show(status{label: "scan", done: done, total: total, unit: "rows"}, false)
}

// writeEmbedding computes the rows and writes them to files that take their names only in the end.
func (a *app) writeEmbedding(ctx context.Context, model *nat.Model, set *dataset.Set, format string, res *embedResult) error {
	out, err := createOutput(res.Out)
	if err != nil {
		return err
	}
	files := []*output{out}
	var ids io.Writer
	if res.IDs != "" {
		o, err := createOutput(res.IDs)
		if err != nil {
			out.discard()
			return err
		}
		ids, files = o, []*output{o, out}
	}
	if res.Dim, err = a.embedRows(ctx, model, set, format, res, out, ids); err != nil {
		for _, o := range files {
			o.discard()
		}
		return err
	}
	for i, o := range files {
		if err := o.commit(); err != nil {
			for _, rest := range files[i+1:] {
				rest.discard()
			}
			return err
		}
	}
	return nil
}

// embedRows streams all rows of set through the network into the format's writer, and returns the width of a row.
func (a *app) embedRows(ctx context.Context, model *nat.Model, set *dataset.Set, format string, res *embedResult, out, ids io.Writer) (int, error) {
	rows := make([]int, set.Len())
	for i := range rows {
		rows[i] = i
	}
	width, err := model.Network.Width(res.Layer)
	if err != nil {
		return 0, err
	}
	w, err := newRowWriter(format, out, ids, len(rows), width, set.Labelled(), embedMeta(set, res))
	if err != nil {
		return 0, err
	}
	start := time.Now()
	emit := func(rows []int, z []float32, width int) error { return w.write(newRowBlock(set, rows, z, width)) }
	progress := func(done, total int) {
		took := time.Since(start)
		s := status{label: "embed", done: done, total: total, unit: "rows"}
		if done > 0 {
			s.fields = []string{count(int(float64(done)/took.Seconds())) + " rows/s"}
			s.left = time.Duration(float64(took) / float64(done) * float64(total-done))
		}
		a.progress.show(s, false)
	}
	if err := model.Embed(ctx, set, rows, res.Layer, emit, progress); err != nil {
		return 0, err
	}
	return width, w.close()
}

// embedMeta travels inside .parquet and .safetensors.
func embedMeta(set *dataset.Set, res *embedResult) map[string]string {
	meta := map[string]string{"run": res.Run, "data": res.Data, "data_fingerprint": set.Fingerprint(), "layer": res.Layer, "split": res.Split}
	if set.Labelled() {
		classes, _ := json.Marshal(set.Classes())
		meta["classes"] = string(classes)
	}
	return meta
}

func newRowBlock(set *dataset.Set, rows []int, z []float32, width int) rowBlock {
	b := rowBlock{z: z, width: width}
	classes := set.Classes()
	for _, i := range rows {
		b.ids = append(b.ids, set.ID(i))
		if !set.Labelled() {
			continue
		}
		label, name := set.Label(i), ""
		if label >= 0 && label < len(classes) {
			name = classes[label]
		}
		b.labels, b.names = append(b.labels, int64(label)), append(b.names, name)
	}
	return b
}
