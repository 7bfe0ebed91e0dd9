package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"nat"
)

// openRun opens what the user named as RUN; whatever is wrong with it is a broken artefact.
func openRun(dir string) (*nat.Run, error) {
	if stat, err := os.Stat(dir); err == nil && !stat.IsDir() {
		err = fmt.Errorf("%s is a file, not a run directory (RUN comes before DATA)", dir)
		return nil, &classified{err, nat.ErrArtefact}
	}
	run, err := nat.OpenRun(dir)
	if err != nil {
		return nil, &classified{err, nat.ErrArtefact}
	}
	return run, nil
}

func (a *app) infoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "info RUN",
		Short: "show a run: data, network, options, checkpoints, last figures",
		Args:  a.arguments("RUN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			run, err := openRun(args[0])
			if err != nil {
				return err
			}
			info, err := run.Info()
			if err != nil {
				return classify(err, nat.ErrArtefact)
			}
			if a.json {
				return a.printJSON(info)
			}
			a.printInfo(info)
			return nil
		},
	}
}

func (a *app) printInfo(i *nat.RunInfo) {
	o := i.Options
	state := "complete"
	switch {
	case len(i.Checkpoints) == 0:
		state = "no checkpoint; begin again with: " + resumeCommand(i.Run)
	case !i.Complete:
		state = "not complete; continue with: " + resumeCommand(i.Run)
	}
	pairs(a.stdout,
		"run", i.Run,
		"state", state,
		"data", describeData(i.Data),
		"rows", rowCounts(i.Data),
		"fingerprint", i.Data.Fingerprint,
		"encoder", encoderName(o, i.Params, i.Data.Input),
		"decoder", decoderName(i.Decoder),
		"layers", strings.Join(i.Layers, " "),
		"steps", fmt.Sprintf("%s (%s of %s, batch %d x %s)", count(i.Steps), plural(o.Epochs, "epoch"), count(i.StepsPerEpoch), o.Batch, plural(o.Views, "view")),
		"augmentation", augmentName(o.Augment, i.Augment),
		"objective", o.DescribeObjective(),
		"assignment", assignName(o),
		"optimizer", fmt.Sprintf("%s, peak learning rate %.3g", o.Optimizer, o.LR),
		"seed", fmt.Sprint(o.Seed),
		"started from", o.Init,
		"made by", fmt.Sprintf("nat %s, %s/%s, %s kernels", strings.Trim(i.Version, "()"), i.Host.OS, i.Host.Arch, i.Host.Kernel),
		"waiting for data", waiting(i),
		"gauges", gauging(i),
		"last", lastFigures(i.Last))
	if len(i.Checkpoints) == 0 {
		return
	}
	fmt.Fprintln(a.stdout)
	rows := make([][]string, len(i.Checkpoints))
	for k, c := range i.Checkpoints {
		damage := c.Damage
		if damage == "" {
			damage = "ok"
		}
		rows[k] = []string{c.Name, count(c.Step), count(c.Epoch), size(c.Bytes), duration(seconds(c.Elapsed)), damage}
	}
	table(a.stdout, []string{"checkpoint", "step", "epoch", "size", "trained", "state"}, rows, 1)
}

// waiting says how much of the time of the steps the loader kept them waiting.
func waiting(i *nat.RunInfo) string {
	if i.Last == nil {
		return ""
	}
	return percent(i.Wait) + " of the time"
}

// gauging says how much of the time the gauges took.
func gauging(i *nat.RunInfo) string {
	if i.LastEpoch == nil {
		return ""
	}
	return percent(i.GaugeShare) + " of the time"
}

func lastFigures(e *nat.Event) string {
	if e == nil || e.Stats == nil {
		return ""
	}
	if e.Pairing == nil {
		return fmt.Sprintf("step %s: %s", count(e.Step), strings.Join(guessFields(e.Stats), ", "))
	}
	return fmt.Sprintf("step %s: loss %.4f, cosine %.3f (level %.3f), %s re-assigned",
		count(e.Step), e.Loss, e.Cosine, e.Level, percent(e.Reassigned))
}

func (a *app) verifyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "verify RUN [DATA]",
		Short: "check that a run is whole and that its data are the same",
		Long: `Recompute every checksum of RUN, check that the pairing is a bijection and that every target lies on the
sphere, and compare the data, at the path the run remembers or at DATA, with those it was trained on.
Exit code 4 if anything is wrong.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 {
				return nil
			}
			return a.arguments("RUN")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			data := ""
			if len(args) == 2 {
				data = args[1]
			}
			return a.verify(cmd.Context(), args[0], data)
		},
	}
}

func (a *app) verify(ctx context.Context, dir, data string) error {
	run, err := openRun(dir)
	if err != nil {
		return err
	}
	report, err := run.Verify(ctx, data)
	if report == nil {
		return classify(err, nat.ErrArtefact)
	}
	if err == nil && a.json {
		return a.printJSON(report)
	}
	if !a.json {
		for _, c := range report.Checked {
			verdict, line := "ok   ", c
			for _, p := range report.Problems {
				if strings.HasPrefix(p, c+": ") {
					verdict, line = "WRONG", p
				}
			}
			fmt.Fprintln(a.stdout, verdict, line)
		}
	}
	return err
}
