package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"nat"
)

func (a *app) evalCommand() *cobra.Command {
	opt := &nat.EvalOptions{}
	cmd := &cobra.Command{
		Use:   "eval RUN [DATA]",
		Short: "measure with labels what the representation keeps",
		Long: `Fit probes on the labelled training rows of DATA (default: the run's own data) and report their accuracy on its
test split, or on a fifth of the rows if it has none. The run's rows stand beside the same network
untrained (random), the principal components of the input (pca) and the input itself (raw).`,
		Example: `  nat eval run
  nat eval run photos --probes knn,linear --per-class 10`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 {
				return nil
			}
			return a.arguments("RUN")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.eval(cmd.Context(), args, *opt)
		},
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringSliceVar(&opt.Probes, "probes", []string{"knn", "linear", "mlp"}, "which of knn, linear, mlp")
	fs.StringSliceVar(&opt.Layers, "layers", []string{"embedding", "features"}, "layers of the network to probe")
	fs.StringVar(&opt.Labels, "labels", "", "file of labels, if DATA has none")
	fs.IntVar(&opt.PerClass, "per-class", 0, "besides all labels, also with this many of each class (0: not)")
	fs.IntVar(&opt.Limit, "limit", 0, "only N rows, chosen by a hash of their identity (0: all)")
	fs.Uint64Var(&opt.Seed, "seed", 1, "seed of the probes")
	addWorkers(cmd, &opt.Workers)
	completeWords(cmd, "probes", "knn", "linear", "mlp")
	return cmd
}

func (a *app) eval(ctx context.Context, args []string, opt nat.EvalOptions) error {
	if opt.PerClass < 0 || opt.Limit < 0 || opt.Workers < 0 {
		return usagef("--per-class, --limit and --workers must not be negative")
	}
	run, err := openRun(args[0])
	if err != nil {
		return err
	}
	data := ""
	if len(args) == 2 {
		data = args[1]
	}
	res, err := nat.Evaluate(ctx, run, data, opt, a.observe)
	if err != nil {
		return classify(err, nat.ErrInput)
	}
	a.progress.clear()
	if a.json {
		return a.printJSON(res)
	}
	printEval(a.stdout, res)
	a.warn(res.Warnings)
	return nil
}

// printEval prints the accuracies with all labels and, if they were asked for, with few.
func printEval(w io.Writer, res *nat.EvalResult) {
	fmt.Fprintf(w, "accuracy on %s test rows of %s classes, probes fitted on %s labelled rows\n",
		count(res.TestRows), count(res.Classes), count(res.TrainRows))
	printAccuracies(w, res.Rows)
	if len(res.FewRows) > 0 {
		fmt.Fprintf(w, "\nthe same with %s a class\n", plural(res.PerClass, "label"))
		printAccuracies(w, res.FewRows)
	}
}

func printAccuracies(w io.Writer, rows []nat.EvalRow) {
	header := []string{"name", "layer", "dim"}
	probes := []struct {
		name string
		of   func(nat.EvalRow) *float64
	}{
		{"knn", func(r nat.EvalRow) *float64 { return r.KNN }},
		{"linear", func(r nat.EvalRow) *float64 { return r.Linear }},
		{"mlp", func(r nat.EvalRow) *float64 { return r.MLP }},
	}
	lines := make([][]string, len(rows))
	for i, r := range rows {
		lines[i] = []string{r.Name, r.Layer, count(r.Dim)}
	}
	for _, p := range probes {
		column, measured := make([]string, len(rows)), false
		for i, r := range rows {
			column[i] = "-"
			if v := p.of(r); v != nil {
				column[i], measured = fraction(*v), true
			}
		}
		if !measured {
			continue
		}
		header = append(header, p.name)
		for i := range lines {
			lines[i] = append(lines[i], column[i])
		}
	}
	table(w, header, lines, 2)
}

// fraction writes an accuracy: ".893", "1.000".
func fraction(f float64) string { return strings.TrimPrefix(fmt.Sprintf("%.3f", f), "0") }
