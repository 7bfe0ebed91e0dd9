package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"nat"
)

type reportFlags struct {
	nat.ReportOptions
	evals     []string
	overwrite bool
}

// reportResult is what `nat report --json` prints.
type reportResult struct {
	Run  string `json:"run"`
	Data string `json:"data"`
	*nat.ReportFiles
	Evals   []string `json:"evals"`
	Seconds float64  `json:"seconds"`
}

func (a *app) reportCommand() *cobra.Command {
	f := &reportFlags{}
	cmd := &cobra.Command{
		Use:   "report RUN [DATA]",
		Short: "draw the report of a run anew: tables of probes, neighbours, filters, map, curves",
		Long: `Draw RUN/report.html anew, with the newest checkpoint and DATA (default: the run's own data).

Rows of the test split, or of those held out of training, stand beside the rows nearest to them by embedding and by raw
pixels, and the filters of the first layer beside those of the same network untrained; of a vae, images beside what
its decoder restores. Another --seed draws other rows. --pictures writes these as PNG files, too.

The tables are what nat eval found: give the files of its --json, or leave one as RUN/eval.json.`,
		Example: `  nat eval run --json > run/eval.json
  nat report run
  nat report run --pictures pictures
  nat report run --eval tables.json,layers.json -o report.html`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 {
				return nil
			}
			return a.arguments("RUN")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("seed") && f.Seed == 0 {
				return usagef("--seed 0: choose 1 or more")
			}
			return a.report(cmd.Context(), args, f)
		},
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVarP(&f.Out, "out", "o", "", "the page (default RUN/report.html, which is replaced)")
	fs.StringSliceVar(&f.evals, "eval", nil, "files that nat eval --json printed, for the tables (default RUN/eval.json, if it is there)")
	fs.StringVar(&f.Pictures, "pictures", "", "folder for neighbours.png, filters.png and restored.png, as far as the run has them")
	fs.StringVar(&f.Labels, "labels", "", "file of labels, if DATA has none")
	fs.Uint64Var(&f.Seed, "seed", 0, "seed of the rows that are shown (default: the run's)")
	addWorkers(cmd, &f.Workers)
	fs.BoolVar(&f.overwrite, "overwrite", false, "replace pictures, and the page of --out, if they exist")
	return cmd
}

// check finds what is wrong before anything is computed.
func (f *reportFlags) check(run *nat.Run) error {
	if f.Workers < 0 {
		return usagef("--workers must not be negative")
	}
	if f.Out != "" {
		if err := checkOutputs(f.overwrite, f.Out); err != nil {
			return err
		}
	}
	if f.Pictures == "" {
		return nil
	}
	if run.Record.Data.Vector {
		return usagef("--pictures: the run is of vectors, and has none")
	}
	if info, err := os.Stat(f.Pictures); errors.Is(err, fs.ErrNotExist) {
		return nil // and will be made
	} else if err == nil && !info.IsDir() {
		return usagef("--pictures %s: it is a file, and must be a folder", f.Pictures)
	}
	var paths []string
	for _, name := range nat.PictureNames() {
		paths = append(paths, filepath.Join(f.Pictures, name))
	}
	return checkOutputs(f.overwrite, paths...)
}

// readEvals reads the tables, by default those in the run, if there are any.
func (f *reportFlags) readEvals(dir string) error {
	if f.evals == nil {
		if path := filepath.Join(dir, nat.EvalFile); fileThere(path) {
			f.evals = []string{path}
		}
	}
	for _, path := range f.evals {
		e, err := nat.ReadEval(path)
		if err != nil {
			return classify(err, nat.ErrInput)
		}
		f.Evals = append(f.Evals, e)
	}
	return nil
}

func fileThere(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (a *app) report(ctx context.Context, args []string, f *reportFlags) error {
	start := time.Now()
	run, err := openRun(args[0])
	if err != nil {
		return err
	}
	if err := f.check(run); err != nil {
		return err
	}
	if err := f.readEvals(args[0]); err != nil {
		return err
	}
	data := ""
	if len(args) == 2 {
		data = args[1]
	}
	files, err := run.Report(ctx, data, f.ReportOptions, a.observe)
	if err != nil {
		return classify(err, nat.ErrInput)
	}
	a.progress.clear()
	a.warn(files.Warnings)
	if a.json {
		res := reportResult{Run: args[0], Data: data, ReportFiles: files, Evals: append([]string{}, f.evals...), Seconds: time.Since(start).Seconds()}
		if data == "" {
			res.Data = run.Record.Data.Path
		}
		return a.printJSON(res)
	}
	list := []string{"report", files.Report}
	for _, path := range files.Pictures {
		list = append(list, "picture", path)
	}
	pairs(a.stdout, append(list, "time", duration(time.Since(start)))...)
	if len(f.evals) == 0 && !a.quiet {
		name := quote(args[0])
		fmt.Fprintf(a.stderr, "\nWithout tables of probes, which need labels:\n  nat eval %s --json > %s\n  nat report %s\n",
			name, quote(filepath.Join(args[0], nat.EvalFile)), name)
	}
	return nil
}
