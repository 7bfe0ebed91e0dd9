package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"nat"
	"nat/dataset"
	"nat/encoder"
)

// trainFlags are the flags of `nat train`; they are nat.Options but for the few that need a translation.
type trainFlags struct {
	nat.Options
	dryRun, winograd bool
}

func (a *app) trainCommand() *cobra.Command {
	f := &trainFlags{}
	cmd := &cobra.Command{
		Use:   "train DATA [--out RUN]",
		Short: "train an encoder on images or vectors, without labels",
		Long: `Train an encoder on DATA, a path whose format is recognised: a folder of images (any tree), a folder with
the MNIST family's IDX files, a folder or archive with the CIFAR binary files, an .npy or .npz array.
Everything that is not given is chosen from the data; --dry-run shows the choice.`,
		Example: `  nat train photos
  nat train photos --out run --size 64 --epochs 100 --max-time 2h
  nat train --resume --out run
  nat train new-photos --init run --out run2`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 && f.Resume {
				return nil
			}
			return a.arguments("DATA")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				f.Data = args[0]
			}
			if err := f.translate(cmd); err != nil {
				return err
			}
			if f.dryRun {
				return a.plan(cmd.Context(), f.Options)
			}
			return a.train(cmd.Context(), f.Options)
		},
	}
	f.declare(cmd)
	return cmd
}

func (f *trainFlags) declare(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVarP(&f.Out, "out", "o", "", "run directory (default: named after DATA)")
	fs.StringVar(&f.Encoder, "encoder", "auto", "auto, "+strings.Join(encoder.Presets(), ", "))
	fs.StringVar(&f.Projection, "projection", "", "projection head: units of the hidden layers between features and embedding,\nsuch as 1024,512, or none (default: those of the encoder)")
	fs.BoolVar(&f.Sobel, "sobel", false, "show the encoder edges instead of colours, by a fixed Sobel filter of the grey image")
	fs.IntVar(&f.Size, "size", 0, "side in pixels at which photographs are trained (0: chosen)")
	fs.IntVar(&f.Dim, "dim", 0, "dimension of the embedding (0: 64)")
	fs.IntVar(&f.Epochs, "epochs", 0, "passes over the data (0: chosen by the amount of data)")
	fs.IntVar(&f.Batch, "batch", 0, "rows in a step (0: chosen by the amount of data)")
	fs.IntVar(&f.Views, "views", 0, "augmentations of each row in a step (0: 2)")
	fs.StringVar(&f.Augment, "augment", "", "auto (default: crops, flips, noise, by the kind of data), weak, strong or none (every\nrow as it is), and changes of it: crop_min=.2,grey=0")
	fs.StringVar(&f.Objective, "objective", "", `what is learned from: nat (default: noise as targets), infomax (information
through noise), infonce (contrast of views), align-uniform (its two parts),
exemplar (a class for each row), vae (restoring rows from noisy codes), or
supervised (the labels)`)
	fs.StringVar(&f.Match, "match", "", "of nat, what a row is paired by: mean (default) of its views, view (one of them) or average (moving, over the epochs)")
	fs.StringVar(&f.Loss, "loss", "", `of nat: sinkhorn (default: distance of the batch to all its targets, and of views to each other),
square (distance to one's own target; default with one view, --assign pool or global, --match or
--targets discrete) or softmax (finding that among those of the batch)`)
	fs.StringVar(&f.Targets, "targets", "", "of nat: uniform (default), even (lower discrepancy), discrete (canonical basis) or fresh (new ones for every batch)")
	fs.Float64Var(&f.Temperature, "temperature", 0, `divides the similarities of nat and infonce (0: 0.2), exemplar and supervised
(0: 0.1); with --loss square it softens the pairing (0: one target for a row)`)
	fs.Float64Var(&f.FinalTemperature, "final-temperature", 0, "of nat: that of the end of training, lower for from soft to hard (0: the same throughout)")
	fs.Float64Var(&f.UniformityWeight, "uniformity-weight", 0, "where alignment has 1, of --loss sinkhorn (0: 3) and align-uniform (0: 1)")
	fs.IntVar(&f.Surrogates, "surrogates", 0, "classes of exemplar, each a row of the data (0: 8000)")
	fs.Float64Var(&f.Noise, "noise", 0, "deviation of the noise of infomax in each coordinate (0: 0.4)")
	fs.Float64Var(&f.Beta, "beta", 0, "weight of what the codes of vae may tell, against the error of what is restored (0: 1)")
	fs.StringVar(&f.Assign, "assign", "", "what is re-paired at once: batch (default), pool or global (from time to time, the whole data set exactly)")
	fs.IntVar(&f.Pool, "pool", 0, "batches in a pool (0: 8; needs --assign pool)")
	fs.IntVar(&f.AssignEvery, "assign-every", 0, `epochs from one re-pairing of the whole data set to the next, with --assign global (0: 3);
otherwise batches are re-paired in the first of so many epochs only (0: every epoch)`)
	fs.StringVar(&f.Optimizer, "optimizer", "", "sgd (default) or adamw")
	fs.Float64Var(&f.LR, "lr", 0, "peak learning rate (0: by optimiser and batch)")
	fs.Float64Var(&f.Momentum, "momentum", 0.9, "momentum of sgd")
	fs.Float64Var(&f.WeightDecay, "weight-decay", 0, "weight decay (default 5e-4 for sgd, 0.05 for adamw)")
	fs.Float64Var(&f.Clip, "clip", 0, "norm above which a gradient is shortened (default 2 for sgd with --loss sinkhorn and with supervised, otherwise none)")
	fs.IntVar(&f.Warmup, "warmup", 0, "steps over which the learning rate rises (default: 5 % of all)")
	fs.BoolVar(&f.winograd, "winograd", true, "let convolutions use fewer multiplications and round a little more")
	fs.Uint64Var(&f.Seed, "seed", 1, "seed of all randomness: same seed, same bits, whatever the workers")
	addWorkers(cmd, &f.Workers)
	fs.IntVar(&f.Cache, "cache", 0, "MiB of memory for decoded images (0: 128)")
	fs.IntVar(&f.Limit, "limit", 0, "use only N rows, chosen by a hash of their identity (0: all)")
	fs.StringVar(&f.Labels, "labels", "", "file of labels; eval reads them, training only with --objective supervised")
	fs.StringVar(&f.Val, "val", "", "data held out for the gauges (default: at most 5 % of the rows, 2,048)")
	fs.IntVar(&f.GaugeEvery, "gauge-every", 0, "epochs from one reading of the gauges to the next (0: as many as keep them to 2 % of the time)")
	fs.StringVar(&f.MaxBad, "max-bad", "", "unreadable images to tolerate, a count or a share (default 10%)")
	fs.DurationVar(&f.MaxTime, "max-time", 0, "save and stop after this long, e.g. 2h (0: never)")
	fs.StringVar(&f.Init, "init", "", "run whose weights to start from, with fresh targets")
	fs.StringVar(&f.CheckpointEvery, "checkpoint-every", "", "a time or a count, 10m (default) or 200steps, besides each epoch's end")
	fs.IntVar(&f.Keep, "keep", 0, "checkpoints to keep (0: 3)")
	fs.BoolVar(&f.Resume, "resume", false, "continue the run in --out; its options come from there")
	fs.BoolVar(&f.Overwrite, "overwrite", false, "remove the run in --out first")
	fs.BoolVar(&f.dryRun, "dry-run", false, "print what would be done, in how much memory, disk and time, and stop")
	completeWords(cmd, "encoder", append([]string{"auto"}, encoder.Presets()...)...)
	completeWords(cmd, "objective", nat.Objectives()...)
	completeWords(cmd, "match", "mean", "view", "average")
	completeWords(cmd, "loss", "square", "softmax", "sinkhorn")
	completeWords(cmd, "targets", "uniform", "even", "discrete", "fresh")
	completeWords(cmd, "augment", dataset.AugmentStrengths()...)
	completeWords(cmd, "assign", "batch", "pool", "global")
	completeWords(cmd, "optimizer", "sgd", "adamw")
}

func completeWords(cmd *cobra.Command, flag string, words ...string) {
	complete := cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)
	if err := cmd.RegisterFlagCompletionFunc(flag, complete); err != nil {
		panic("nat: " + err.Error())
	}
}

// train runs and reports one training.
func (a *app) train(ctx context.Context, opt nat.Options) error {
	unhook := a.announceStop(ctx, "finishing this step and saving")
	defer unhook()
	sum, err := nat.Train(ctx, opt, a.observe)
	a.progress.clear()
	if err != nil {
		return trainError(err)
	}
	if a.json {
		return a.printJSON(sum)
	}
	a.printSummary(sum)
	a.trainHints(sum)
	return nil
}

// announceStop tells the user, when ctx is cancelled, that the interrupt was heard and what it leads to.
func (a *app) announceStop(ctx context.Context, what string) (unhook func() bool) {
	return context.AfterFunc(ctx, func() {
		a.progress.note("%s; interrupt once more to quit at once", what)
	})
}

// stoppedTraining is a training that a signal stopped: it says where the checkpoint is and how to go on.
type stoppedTraining struct {
	err                *nat.StoppedError
	checkpoint, resume string
}

func (s *stoppedTraining) Error() string {
	return fmt.Sprintf("%v; %s steps are saved in %s\nContinue with: %s", s.err.Cause, count(s.err.Step), s.checkpoint, s.resume)
}

func (s *stoppedTraining) Unwrap() error { return s.err }

func trainError(err error) error {
	var stop *nat.StoppedError
	if errors.As(err, &stop) && stop.Checkpoint != "" {
		return &stoppedTraining{stop, stop.Checkpoint, resumeCommand(stop.Run)}
	}
	return classify(err, nat.ErrInput)
}

func resumeCommand(run string) string { return "nat train --resume --out " + quote(run) }

// uniformity says how near the embeddings are to the best law.
func uniformity(s *nat.Summary) string {
	g, of := gauged(s.Train, s.HeldOut)
	if g == nil || g.Uniformity == nil {
		return ""
	}
	return fmt.Sprintf("score %.3f (1 is uniform), information %.1f %% of that of uniform rows, of %s %s rows", g.Score, 100*g.Efficiency, count(g.Rows),
		strings.TrimSuffix(of, "-row"))
}

func (a *app) printSummary(s *nat.Summary) {
	loss, information, cosine, reassigned, gap := fmt.Sprintf("%.4f", s.Loss), "", "", "", ""
	if s.Information != nil {
		information = fmt.Sprintf("%.3f nats, at least, among the rows of a batch", *s.Information)
	}
	if s.Cosine != nil {
		loss += fmt.Sprintf(" (%.4g is chance)", *s.Chance)
		cosine = fmt.Sprintf("%.3f with the matched target (the best random one in a batch has %.3f)", *s.Cosine, *s.Level)
		reassigned = percent(*s.Reassigned) + " of the rows in a step"
	}
	if s.AssignmentGap != nil {
		gap = percent(*s.AssignmentGap) + " above the optimal pairing"
	}
	pairs(a.stdout,
		"run", s.Run,
		"steps", fmt.Sprintf("%s (%s)", count(s.Steps), plural(s.Epochs, "epoch")),
		"time", fmt.Sprintf("%s, %s images/s", duration(seconds(s.Seconds)), count(int(s.ImagesPerSecond))),
		"waiting for data", percent(s.Wait)+" of the time",
		"loss", loss,
		"information", information,
		"cosine", cosine,
		"re-assigned", reassigned,
		"assignment gap", gap,
		"uniformity", uniformity(s),
		"gauges", percent(s.GaugeShare)+" of the time",
		"checkpoint", s.Checkpoint,
		"report", reportPath(s.Run))
}

// reportPath is empty for a run that has no report, because it is not complete.
func reportPath(run string) string {
	path := filepath.Join(run, "report.html")
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

// trainHints says on stderr what can be done next.
func (a *app) trainHints(s *nat.Summary) {
	if a.quiet {
		return
	}
	if !s.Complete {
		fmt.Fprintf(a.stderr, "\nThe time is up before the training is complete. Continue with: %s\n", resumeCommand(s.Run))
		return
	}
	run, err := nat.OpenRun(s.Run)
	if err != nil {
		return
	}
	data := run.Record.Options.Data
	fmt.Fprintf(a.stderr, "\nNext:\n  nat embed %s %s -o %s\n", quote(s.Run), quote(data), quote(filepath.Base(s.Run)+".parquet"))
	if len(run.Record.Data.Classes) > 0 {
		fmt.Fprintf(a.stderr, "  nat eval %s %s\n", quote(s.Run), quote(data))
	}
}

// plan prints what a training would do.
func (a *app) plan(ctx context.Context, opt nat.Options) error {
	p, err := nat.MakePlan(ctx, opt)
	if err != nil {
		return classify(err, nat.ErrInput)
	}
	if a.json {
		return a.printJSON(p)
	}
	o, d := p.Options, p.Data
	targets := assignName(o)
	if o.Targets == "fresh" {
		targets = fmt.Sprintf("%s points on the sphere, drawn anew for every batch", count(o.Batch))
	} else if targets != "" {
		targets = fmt.Sprintf("%s points on the sphere, re-paired by %s", count(d.Train), targets)
	}
	pairs(a.stdout,
		"data", describeData(d),
		"rows", rowCounts(d),
		"run", p.Run,
		"encoder", encoderName(o, p.Params, d.Input),
		"decoder", decoderName(p.Decoder),
		"augmentation", augmentName(o.Augment, p.Augment),
		"objective", o.DescribeObjective(),
		"targets", targets,
		"steps", fmt.Sprintf("%s (%s of %s, batch %d x %s)", count(p.Steps), plural(o.Epochs, "epoch"), count(p.StepsPerEpoch), o.Batch, plural(o.Views, "view")),
		"optimizer", fmt.Sprintf("%s, peak learning rate %.3g, %s of warm-up", o.Optimizer, o.LR, plural(max(o.Warmup, 0), "step")),
		"memory", "about "+size(p.MemoryBytes),
		"disk", "at most "+size(p.DiskBytes),
		"time", "about "+duration(p.ETA)+" on this machine as busy as it is now"+besides(o))
	a.warn(p.Warnings)
	if !a.quiet {
		fmt.Fprintln(a.stderr, "\nNothing was trained and nothing written; leave out --dry-run to do it.")
	}
	return nil
}

// encoderName describes the network of a run.
func encoderName(o nat.Options, params int, input dataset.Shape) string {
	s := o.Encoder
	if o.Projection != "" && (o.Projection != "none" || len(encoder.DefaultProjection(o.Encoder)) > 0) { // "" in runs of earlier versions
		s += ", projection " + o.Projection
	}
	if o.Sobel {
		s += ", Sobel filter"
	}
	return fmt.Sprintf("%s, %s parameters, input %s, d = %d", s, count(params), shapeName(input), o.Dim)
}

// augmentName says what was asked for, and what that is.
func augmentName(asked string, a dataset.Augment) string {
	if asked == dataset.AugmentNone {
		return asked
	}
	return asked + ": " + strings.ReplaceAll(a.String(), ",", " ")
}

// decoderName says how large a decoder is; there may be none.
func decoderName(d *encoder.Spec) string {
	if d == nil {
		return ""
	}
	return fmt.Sprintf("%s, %s parameters", d.Name, count(d.ParamCount()))
}

// besides names what the estimate of the time leaves out.
func besides(o nat.Options) string {
	if o.Assign != "global" {
		return ""
	}
	return fmt.Sprintf(", besides re-pairing all rows %s", plural((o.Epochs-1)/o.AssignEvery, "time"))
}

// assignName says what is re-paired at once; it is empty where nothing is.
func assignName(o nat.Options) string {
	switch o.Assign {
	case "":
		return ""
	case "pool":
		return "pools of " + plural(o.Pool, "batch") + everyEpochs(o)
	case "global":
		return "batch, and all at once every " + plural(o.AssignEvery, "epoch")
	}
	return "batch" + everyEpochs(o)
}

// everyEpochs says in which epochs batches are re-paired, if not in all.
func everyEpochs(o nat.Options) string {
	if o.AssignEvery <= 1 {
		return ""
	}
	return ", every " + plural(o.AssignEvery, "epoch")
}

func describeData(d nat.DataInfo) string {
	what := "images of"
	switch {
	case d.Vector:
		what = "vectors of"
	case d.Kind == "folder":
		what = "images read at" // whatever their own sizes
	}
	s := fmt.Sprintf("%s (%s, %s %s", d.Path, d.Kind, what, shapeName(d.Shape))
	if len(d.Classes) > 0 {
		s += fmt.Sprintf(", %d classes", len(d.Classes))
	}
	return s + ")"
}

func rowCounts(d nat.DataInfo) string {
	s := fmt.Sprintf("%s: %s to train on, %s held out", count(d.Rows), count(d.Train), count(d.HeldOut))
	if d.Bad > 0 {
		s += fmt.Sprintf("; besides, %s cannot be read", plural(d.Bad, "file"))
	}
	if d.Ignored > 0 {
		s += fmt.Sprintf("; %s ignored", plural(d.Ignored, "other file"))
	}
	return s
}

func shapeName(s dataset.Shape) string {
	if s.H == 1 && s.W == 1 {
		return fmt.Sprintf("%d numbers", s.C)
	}
	return fmt.Sprintf("%dx%dx%d", s.H, s.W, s.C)
}

// translate turns what the user typed into the zero-means-default form of nat.Options.
func (f *trainFlags) translate(cmd *cobra.Command) error {
	given := cmd.Flags().Changed
	if f.Out == "" && (f.Resume || f.Overwrite) {
		return usagef("which run? name it with --out RUN")
	}
	if f.Resume && f.dryRun {
		return usagef("--dry-run shows what a new run would be; it cannot be combined with --resume: nat info %s shows a run", quote(f.Out))
	}
	if !given("seed") {
		f.Seed = 0 // a resumed run has its own
	} else if f.Seed == 0 {
		return usagef("--seed 0: choose 1 or more")
	}
	if given("winograd") {
		f.Winograd = map[bool]string{true: "on", false: "off"}[f.winograd]
	}
	if f.MaxTime < 0 {
		return usagef("--max-time %v: must not be negative", f.MaxTime)
	}
	if given("max-bad") && f.MaxBad == "" {
		return usagef("--max-bad is empty: wants a count such as 25 or a share such as 10%%")
	}
	if err := checkMaxBad(f.MaxBad); err != nil {
		return err
	}
	for flag, value := range map[string]*float64{"momentum": &f.Momentum, "weight-decay": &f.WeightDecay, "clip": &f.Clip} {
		switch {
		case !given(flag):
			*value = 0
		case *value < 0:
			return usagef("--%s %g: must not be negative", flag, *value)
		case *value == 0:
			*value = -1
		}
	}
	if given("warmup") && f.Warmup < 0 {
		return usagef("--warmup %d: must not be negative", f.Warmup)
	}
	if given("warmup") && f.Warmup == 0 {
		f.Warmup = -1
	}
	return nil
}

// checkMaxBad refuses what is neither a count nor a share, before any data are read.
func checkMaxBad(s string) error {
	if err := dataset.CheckMaxBad(s); err != nil {
		return usagef("--max-bad: %v", err)
	}
	return nil
}

// quote writes an argument so that a POSIX shell reads it back.
func quote(s string) string {
	safe := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./,:@%+=", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !safe(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
