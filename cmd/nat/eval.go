package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/spf13/cobra"

	"nat"
)

func (a *app) evalCommand() *cobra.Command {
	opt, baselines := &nat.EvalOptions{}, true
	cmd := &cobra.Command{
		Use:   "eval RUN [DATA]",
		Short: "measure what the representation keeps, with labels or without",
		Long: `Fit probes on the labelled training rows of DATA (default: the run's own data) and report their accuracy on its
test split, or on a fifth of the rows if it has none. The run's rows stand beside the same network
untrained (random), the principal components of the input (pca) and the input itself (raw); several runs of
one encoder need these once, and --baselines=false leaves them out.

Layers are embedding, features (what the last convolutions leave), any that nat info names, or conv, fc and output,
as published tables have them: the last convolution, the first hidden dense layer, both after their ReLU, and the
embedding.

Fitted to labels: knn (vote of the 20 nearest by cosine) and knn200 (of 200), linear (logistic regression), svm
(linear, squared hinge), mlp (one hidden layer of 200 units, mean over the last tenth of its epochs). --per-class
repeats these with few labels: means over 5 draws, with a 95 % interval. Not fitted: retrieval (up to 1,000 test
rows search the training rows) and clusters (spherical k-means of the test rows against their classes).

Without labels: neighbours (how many of the 10 nearest rows in the original space are among the 10 nearest in the
code) and information (what the code says through noise about which row it is of), beside the untrained network,
principal components and random projections of the original rows, of as many dimensions as the embedding.`,
		Example: `  nat eval run
  nat eval run photos --probes knn,linear --per-class 10,100
  nat eval run --probes linear --layers all
  nat eval run vectors.npy --probes neighbours,information
  nat eval run --probes mlp --layers conv,fc,output --baselines=false`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 {
				return nil
			}
			return a.arguments("RUN")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			opt.NoBaselines = !baselines
			return a.eval(cmd.Context(), args, *opt)
		},
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	names := nat.ProbeNames()
	fs.StringSliceVar(&opt.Probes, "probes", []string{"knn", "linear", "mlp"}, "which of "+strings.Join(names, ", "))
	fs.StringSliceVar(&opt.Layers, "layers", []string{"embedding", "features"}, "layers of the network to probe; all: every one, in order")
	fs.BoolVar(&baselines, "baselines", true, "probe the untrained network, principal components and the input as well")
	fs.StringVar(&opt.Labels, "labels", "", "file of labels, if DATA has none")
	fs.IntSliceVar(&opt.PerClass, "per-class", nil, "besides all labels, also with each of these numbers of labels a class")
	fs.IntVar(&opt.Limit, "limit", 0, "only N rows, chosen by a hash of their identity (0: all)")
	fs.Uint64Var(&opt.Seed, "seed", 1, "seed of the probes")
	addWorkers(cmd, &opt.Workers)
	completeWords(cmd, "probes", names...)
	return cmd
}

func (a *app) eval(ctx context.Context, args []string, opt nat.EvalOptions) error {
	if opt.Limit < 0 || opt.Workers < 0 {
		return usagef("--limit and --workers must not be negative")
	}
	if err := opt.Validate(); err != nil {
		return err
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

// printEval prints the accuracies with all labels and with few, and what retrieval and clusters found, as far as it was asked for;
// then the codes.
func printEval(w io.Writer, res *nat.EvalResult) {
	if len(res.Rows) > 0 {
		printLabelled(w, res)
	}
	if res.Codes != nil {
		if len(res.Rows) > 0 {
			fmt.Fprintln(w)
		}
		printCodes(w, res.Codes)
	}
}

func printLabelled(w io.Writer, res *nat.EvalResult) {
	fmt.Fprintf(w, "accuracy on %s test rows of %s classes, probes fitted on %s labelled rows\n",
		count(res.TestRows), count(res.Classes), count(res.TrainRows))
	printAccuracies(w, res.Rows)
	for _, few := range res.Few {
		fmt.Fprintf(w, "\nthe same with %s a class: mean of %d draws ± half of its 95 %% interval\n", plural(few.PerClass, "label"), few.Draws)
		printAccuracies(w, few.Rows)
	}
	printRetrieval(w, res)
	printClusters(w, res)
}

func printAccuracies(w io.Writer, rows []nat.EvalRow) {
	t := newEvalTable(rows)
	for _, p := range nat.AccuracyProbes() {
		t.column(p, func(r nat.EvalRow) string {
			v := r.Accuracy(p)
			if v == nil {
				return ""
			}
			if half, few := r.HalfWidth[p]; few {
				return fraction(*v) + " ± " + fraction(half)
			}
			return fraction(*v)
		})
	}
	t.print(w)
	if n := rows[0].MLPEpochs; n > 0 {
		fmt.Fprintf(w, "mlp: mean of the accuracies after %d of its last epochs\n", n)
	}
}

func printRetrieval(w io.Writer, res *nat.EvalResult) {
	first := res.Rows[0].Retrieval
	if first == nil {
		return
	}
	fmt.Fprintf(w, "\n%s test rows search the %s training rows by cosine: mean average precision ± standard error,\n"+
		"share of them with a row of their class among the 1, 5, 10 nearest\n", count(first.Queries), count(res.TrainRows))
	t := newEvalTable(res.Rows)
	t.column("mAP", func(r nat.EvalRow) string { return fraction(r.Retrieval.MAP) + " ± " + fraction(r.Retrieval.MAPError) })
	t.column("recall@1", func(r nat.EvalRow) string { return fraction(r.Retrieval.Recall1) })
	t.column("recall@5", func(r nat.EvalRow) string { return fraction(r.Retrieval.Recall5) })
	t.column("recall@10", func(r nat.EvalRow) string { return fraction(r.Retrieval.Recall10) })
	t.print(w)
}

func printClusters(w io.Writer, res *nat.EvalResult) {
	first := res.Rows[0].Clusters
	if first == nil {
		return
	}
	fmt.Fprintf(w, "\n%s of %s test rows by spherical k-means, without labels, beside the classes\n", plural(first.K, "cluster"), count(first.Rows))
	t := newEvalTable(res.Rows)
	t.column("NMI", func(r nat.EvalRow) string { return fraction(r.Clusters.NMI) })
	t.column("ARI", func(r nat.EvalRow) string { return fraction(r.Clusters.ARI) })
	t.column("accuracy", func(r nat.EvalRow) string { return fraction(r.Clusters.Accuracy) })
	t.print(w)
}

// printCodes prints a line for each code; what does not apply to one is left empty.
func printCodes(w io.Writer, codes *nat.CodeTable) {
	header := []string{"name", "layer", "dim"}
	neighbours, informed := codes.Rows[0].Neighbours != nil, codes.Rows[0].Information
	if neighbours {
		fmt.Fprintf(w, "%s rows search %s others: share of their 10 nearest in the original space, by cosine and by distance, that are\n"+
			"among the 10 nearest in the code, ± standard error; share whose nearest is\n", count(codes.Queries), count(codes.Searched))
		header = append(header, "by cosine", "nearest", "by distance", "nearest")
	}
	if informed != nil {
		fmt.Fprintf(w, "nats that a noisy code of %s rows says about which it is of (at most %.3f), ± standard error, and their share of\n"+
			"those of uniform points; share of noisy codes nearest to their own row's\n", count(codes.Measured), math.Log(float64(codes.Measured)))
		header = append(header, "noise", "information", "of uniform", "recovered")
	}
	var lines [][]string
	for _, r := range codes.Rows {
		line := []string{r.Name, r.Layer, count(r.Dim)}
		if neighbours {
			c, d := r.Neighbours.Cosine, r.Neighbours.Distance
			line = append(line, fraction(c.Recall10)+" ± "+fraction(c.Error), fraction(c.Nearest10),
				fraction(d.Recall10)+" ± "+fraction(d.Error), fraction(d.Nearest10))
		}
		if i := r.Information; i != nil {
			line = append(line, fraction(i.Noise), fmt.Sprintf("%.3f ± %.3f", i.Nats, i.Error), fraction(i.Efficiency), fraction(i.Recovered))
		} else if informed != nil {
			line = append(line, "", "", "", "")
		}
		lines = append(lines, line)
	}
	table(w, header, lines, 2)
}

// evalTable has a line for each representation.
type evalTable struct {
	rows   []nat.EvalRow
	header []string
	lines  [][]string
}

func newEvalTable(rows []nat.EvalRow) *evalTable {
	t := &evalTable{rows: rows, header: []string{"name", "layer", "dim"}}
	for _, r := range rows {
		t.lines = append(t.lines, []string{r.Name, r.Layer, count(r.Dim)})
	}
	return t
}

// column adds a column of cells, unless the first is empty: what was not asked for is missing from every row.
func (t *evalTable) column(name string, cell func(nat.EvalRow) string) {
	if cell(t.rows[0]) == "" {
		return
	}
	t.header = append(t.header, name)
	for i, r := range t.rows {
		t.lines[i] = append(t.lines[i], cell(r))
	}
}

func (t *evalTable) print(w io.Writer) { table(w, t.header, t.lines, 2) }

// fraction writes an accuracy: ".893", "1.000", "-.004".
func fraction(f float64) string {
	text := fmt.Sprintf("%.3f", f)
	if sign, digits, negative := strings.Cut(text, "-0."); negative {
		return sign + "-." + digits
	}
	return strings.TrimPrefix(text, "0")
}
