package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"nat"
)

func (a *app) quickstartCommand() *cobra.Command {
	opt := &nat.QuickstartOptions{}
	cmd := &cobra.Command{
		Use:   "quickstart",
		Short: "train, measure and report on built-in data, in about a minute",
		Long: `Train on handwritten digits that are part of the program, probe the result beside raw pixels, their principal
components and the untrained network, and write a run directory with a report to look at.`,
		Args: a.arguments(),
		RunE: func(cmd *cobra.Command, args []string) error { return a.quickstart(cmd.Context(), *opt) },
	}
	cmd.Flags().StringVarP(&opt.Out, "out", "o", "", "run directory (default ./nat-quickstart, or the next free name)")
	cmd.Flags().Uint64Var(&opt.Seed, "seed", 1, "seed of all randomness")
	addWorkers(cmd, &opt.Workers)
	return cmd
}

const digitsCredit = "Digits: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, CC BY 4.0."

func (a *app) quickstart(ctx context.Context, opt nat.QuickstartOptions) error {
	defer a.announceStop(ctx, "stopping")()
	res, err := nat.Quickstart(ctx, opt, a.observe)
	if err != nil {
		return trainError(err)
	}
	a.progress.clear()
	if a.json {
		return a.printJSON(res)
	}
	printEval(a.stdout, res.Eval)
	fmt.Fprintf(a.stdout, "\n%s\n\n", verdict(res.Eval))
	pairs(a.stdout, "report", res.Report, "run", res.Summary.Run, "time", duration(seconds(res.Seconds)))
	if !a.quiet {
		fmt.Fprintf(a.stderr, "\n%s\nNext: nat train FOLDER-OF-IMAGES\n", digitsCredit)
	}
	return nil
}

// verdict reads one honest sentence off the table: with few labels where there are such figures, the best of the run
// against the best of what needs no training.
func verdict(e *nat.EvalResult) string {
	rows, labels := e.Rows, "all labels"
	if len(e.Few) > 0 {
		rows, labels = e.Few[0].Rows, plural(e.Few[0].PerClass, "label")+" a class"
	}
	run, without := bestOf(rows, "run"), bestOf(rows, "random", "pca", "raw")
	if run.row == nil || without.row == nil {
		return ""
	}
	relation := "ahead of"
	switch d := run.accuracy - without.accuracy; {
	case d < -.005:
		relation = "behind"
	case d <= .005:
		relation = "level with"
	}
	return fmt.Sprintf("With %s, the trained network's best probe (%s of %s: %s) is %s the best without training (%s of %s: %s).",
		labels, run.probe, run.row.Layer, fraction(run.accuracy), relation, without.probe, rowName(*without.row), fraction(without.accuracy))
}

type best struct {
	row      *nat.EvalRow
	probe    string
	accuracy float64
}

func bestOf(rows []nat.EvalRow, names ...string) best {
	var b best
	consider := func(r *nat.EvalRow, probe string, v *float64) {
		if v != nil && (b.row == nil || *v > b.accuracy) {
			b = best{r, probe, *v}
		}
	}
	for i := range rows {
		r := &rows[i]
		for _, name := range names {
			if r.Name == name {
				for _, p := range nat.AccuracyProbes() {
					consider(r, p, r.Accuracy(p))
				}
			}
		}
	}
	return b
}

// rowName names a representation in a sentence.
func rowName(r nat.EvalRow) string {
	switch r.Name {
	case "raw":
		return "raw pixels"
	case "pca":
		return "principal components"
	case "random":
		return "the untrained " + r.Layer
	}
	return r.Layer
}
