package nat

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"nat/assign"
	"nat/dataset"
	"nat/objective"
)

// Values of Options.Objective.
const (
	objectiveNAT     = "nat"
	objectiveInfoMax = "infomax"
	objectiveInfoNCE = "infonce"

	objectiveAlignUniform = "align-uniform"
	objectiveExemplar     = "exemplar"
	objectiveSupervised   = "supervised"
	objectiveVAE          = "vae"
)

// Objectives lists the values that Options.Objective may have, the default first.
func Objectives() []string {
	return []string{objectiveNAT, objectiveInfoMax, objectiveInfoNCE, objectiveAlignUniform, objectiveExemplar,
		objectiveVAE, objectiveSupervised}
}

// objectiveName is the objective, the default included.
func (o *Options) objectiveName() string { return cmp.Or(o.Objective, objectiveNAT) }

// hasTargets tells whether every row owns a target.
func (o *Options) hasTargets() bool {
	return o.objectiveName() == objectiveNAT && o.Targets != targetsFresh
}

// targetsFresh is the value of Options.Targets without memory; the others are those of
// package objective.
const targetsFresh = "fresh"

// targetKinds are the values of Options.Targets.
func targetKinds() []string {
	return []string{objective.TargetsUniform, objective.TargetsEven, objective.TargetsDiscrete, targetsFresh}
}

// averageBytes is the memory of the moving averages that rows are matched by.
func (p *Plan) averageBytes() int64 {
	if p.Options.Match != objective.MatchAverage {
		return 0
	}
	return 4 * int64(p.Data.Train) * int64(p.Options.Dim)
}

// batchesEvery is from which epoch to which batches are re-paired.
func (o *Options) batchesEvery() int {
	if o.Assign == objective.AssignGlobal { // between all rows, in every one
		return 1
	}
	return max(o.AssignEvery, 1)
}

// batchTargets is how many different targets a batch has, the most of them that can be.
func (o *Options) batchTargets() int {
	if o.Targets == objective.TargetsDiscrete {
		return min(o.Batch, o.Dim)
	}
	return o.Batch
}

// objectiveError is what does not fit together about the objective's own options.
// Those of a run that goes on are compared with its record instead.
func (o *Options) objectiveError() error {
	name := o.objectiveName()
	if o.Resume || !slices.Contains(Objectives(), name) {
		return nil
	}
	var errs []error
	check := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	pairs := name == objectiveInfoNCE || name == objectiveAlignUniform // learns from pairs of views
	check(pairs && o.Views == 1, "views 1: objective %s compares views of a row, and needs 2 or more", name)
	check(pairs && o.Augment == augmentNone, "augment none: objective %s compares views of a row, which would all be the same", name)
	check(o.Assign != "" && name != objectiveNAT, "assign %s: objective %s pairs no targets, leave it out", o.Assign, name)
	check(o.Assign != "" && o.Assign != objective.AssignBatch && o.Targets == targetsFresh, "assign %s: fresh targets last for a batch, leave it out", o.Assign)
	check(o.AssignEvery > 0 && name != objectiveNAT, "assign-every %d: objective %s pairs no targets, leave it out", o.AssignEvery, name)
	check(o.AssignEvery > 0 && o.Targets == targetsFresh, "assign-every %d: fresh targets last for a batch, leave it out", o.AssignEvery)
	check(o.Match == objective.MatchAverage && o.Targets == targetsFresh, "match average: fresh targets last for a batch, and there is nothing to keep of earlier ones")
	check(o.Match == objective.MatchView && o.Views == 1, "match view: there is one view in any case, leave it out")
	check(o.Match != "" && name != objectiveNAT, "match %s: objective %s pairs no targets, leave it out", o.Match, name)
	if o.Loss == objective.LossSinkhorn {
		check(o.Match != "" && o.Match != objective.MatchMean, "match %s: loss sinkhorn pulls to all targets of a batch, whatever is paired with what; leave it out", o.Match)
		check(o.AssignEvery > 0, "assign-every %d: loss sinkhorn pulls to all targets of a batch, whatever is paired with what; leave it out", o.AssignEvery)
		check(o.Assign != "" && o.Assign != objective.AssignBatch, "assign %s: loss sinkhorn pulls to all targets of a batch, whatever is paired with what; leave it out", o.Assign)
	}
	check(o.Targets != "" && name != objectiveNAT, "targets %s: objective %s has none, leave it out", o.Targets, name)
	check(o.Loss != "" && name != objectiveNAT, "loss %s: objective %s has its own, leave it out", o.Loss, name)
	check(o.FinalTemperature != 0 && name != objectiveNAT, "final-temperature %v: objective %s has none, leave it out", o.FinalTemperature, name)
	check(o.FinalTemperature != 0 && o.Temperature == 0, "final-temperature %v: give the first one too, --temperature", o.FinalTemperature)
	loss := o.lossName()
	for _, t := range []float64{o.Temperature, o.FinalTemperature} {
		check(t != 0 && t < assign.MinPlanTemperature && name == objectiveNAT && loss != objective.LossSoftmax,
			"temperature %v: a plan needs at least %v", t, assign.MinPlanTemperature)
	}
	check(o.Temperature != 0 && slices.Contains([]string{objectiveInfoMax, objectiveAlignUniform, objectiveVAE}, name), "temperature %v: objective %s has none, leave it out", o.Temperature, name)
	check(o.UniformityWeight != 0 && name != objectiveAlignUniform && loss != objective.LossSinkhorn,
		"uniformity-weight %v: belongs to objective align-uniform and to --loss sinkhorn, leave it out", o.UniformityWeight)
	check(o.Surrogates != 0 && name != objectiveExemplar, "surrogates %d: objective %s has none, leave it out", o.Surrogates, name)
	check(o.Surrogates == 1, "surrogates 1: must be at least 2")
	check(o.Noise != 0 && name != objectiveInfoMax, "noise %v: objective %s has none, leave it out", o.Noise, name)
	check(o.Beta != 0 && name != objectiveVAE, "beta %v: objective %s has none, leave it out", o.Beta, name)
	check(o.Momentum != 0 && o.Optimizer == "" && name == objectiveVAE, "momentum %v: objective %s is trained by adamw, which has none of that name: choose --optimizer sgd", o.Momentum, name)
	return errors.Join(errs...)
}

// lossName is the loss of nat, the default included: that to all targets of the batch; or
// that to a row's own, where options ask for a pairing, or there is one view and the pairing
// is all there is to learn from. It is empty for other objectives.
func (o *Options) lossName() string {
	paired := o.Match != "" || o.AssignEvery > 0 || o.Assign == objective.AssignPool || o.Assign == objective.AssignGlobal || o.Targets == objective.TargetsDiscrete
	switch {
	case o.objectiveName() != objectiveNAT:
		return ""
	case o.Loss != "":
		return o.Loss
	case paired || o.Views == 1 || o.Augment == augmentNone:
		return objective.LossSquare
	}
	return objective.LossSinkhorn
}

// planned tells whether the loss of nat is that of a plan, which no pairing changes.
func (o *Options) planned() bool {
	return o.objectiveName() == objectiveNAT && o.Loss != objective.LossSoftmax && o.Temperature > 0
}

// Defaults of the Sinkhorn loss, measured in docs/results/cifar10.md. In tiny images, such as digits, a
// row has many others of its kind in a batch: a softer plan leaves these together.
const (
	defaultWeight   = 3
	tinySide        = 16 // pixels, at most
	tinyWeight      = 1
	tinyTemperature = .5
)

// chooseFor sets what the kind of data decides.
func (o *Options) chooseFor(d *DataInfo) {
	if o.lossName() == objective.LossSinkhorn && !d.Vector && max(d.Input.H, d.Input.W) <= tinySide {
		setDefault(&o.UniformityWeight, tinyWeight)
		setDefault(&o.Temperature, tinyTemperature)
	}
}

// within reports a value that was given and is out of range.
func within(flag string, value, low, high float64) error {
	if value == 0 || value >= low && value <= high {
		return nil
	}
	return fmt.Errorf("%s %v: must be from %v to %v", flag, value, low, high)
}

// resolveObjective fills in what the objective leaves to choose.
func (o *Options) resolveObjective() {
	setDefault(&o.Objective, objectiveNAT)
	switch o.Objective {
	case objectiveNAT:
		o.Loss = o.lossName()
		setDefault(&o.Assign, objective.AssignBatch)
		setDefault(&o.Targets, objective.TargetsUniform)
		setDefault(&o.Match, objective.MatchMean)
		if o.Loss != objective.LossSquare {
			setDefault(&o.Temperature, objective.DefaultTemperature)
		}
		if o.Loss == objective.LossSinkhorn {
			setDefault(&o.UniformityWeight, defaultWeight)
		}
		setDefault(&o.FinalTemperature, o.Temperature)
	case objectiveAlignUniform:
		setDefault(&o.UniformityWeight, 1)
	case objectiveExemplar:
		setDefault(&o.Surrogates, defaultSurrogates)
		setDefault(&o.Temperature, objective.DefaultSharpness)
	case objectiveSupervised:
		setDefault(&o.Temperature, objective.DefaultSharpness)
	case objectiveInfoNCE:
		setDefault(&o.Temperature, objective.DefaultTemperature)
	case objectiveInfoMax:
		setDefault(&o.Noise, objective.DefaultNoise)
	case objectiveVAE:
		setDefault(&o.Beta, 1)
		setDefault(&o.Views, 1) // a second one would be one more row
		setDefault(&o.Optimizer, "adamw")
	}
}

// newObjective builds the objective of a job; targets is it too, if it has any.
func newObjective(j *job) (obj objective.Objective, targets *objective.NAT, err error) {
	o := &j.plan.Options
	switch o.objectiveName() {
	case objectiveInfoNCE:
		obj, err = objective.NewInfoNCE(o.Dim, objective.InfoNCEOptions{Views: o.Views, Temperature: o.Temperature}, j.pool)
	case objectiveInfoMax:
		obj, err = objective.NewInfoMax(o.Dim, objective.InfoMaxOptions{Seed: o.Seed, Views: o.Views, Noise: o.Noise}, j.pool)
	case objectiveVAE:
		obj, err = objective.NewVAE(*j.plan.Decoder, objective.VAEOptions{Seed: o.Seed, Views: o.Views, Beta: o.Beta}, j.pool)
	case objectiveAlignUniform:
		obj, err = objective.NewAlignUniform(o.Dim, objective.AlignUniformOptions{Views: o.Views, Weight: o.UniformityWeight}, j.pool)
	case objectiveExemplar, objectiveSupervised:
		obj, err = objective.NewClassifier(j.labels(), o.Dim, objective.ClassifierOptions{Seed: o.Seed, Views: o.Views, Temperature: o.Temperature}, j.pool)
	default:
		opt := objective.NATOptions{Seed: o.Seed, Views: o.Views, Assign: o.Assign, Pool: o.Pool, Every: o.batchesEvery(), Match: o.Match, Targets: o.Targets, Loss: o.Loss,
			Temperature: o.Temperature, FinalTemperature: o.FinalTemperature, UniformityWeight: o.UniformityWeight}
		if o.Targets == targetsFresh {
			opt.Targets = ""
			obj, err = objective.NewFresh(o.Batch, o.Dim, opt, j.pool)
			break
		}
		targets, err = objective.NewNAT(len(j.src.rows), o.Dim, opt, j.pool)
		obj = targets
	}
	return obj, targets, err
}

// similarityBytes is the memory that the products of embeddings with each other take
// in a step.
func (p *Plan) similarityBytes() int64 {
	o := &p.Options
	rows := int64(o.Batch * o.Views)
	switch o.objectiveName() {
	case objectiveInfoMax, objectiveInfoNCE:
		return 4 * rows * rows
	case objectiveAlignUniform:
		return 4 * int64(o.Batch) * int64(o.Batch)
	case objectiveExemplar, objectiveSupervised:
		classes := int64(len(p.Data.Classes))
		if o.objectiveName() == objectiveExemplar {
			classes = int64(p.Data.Train)
		}
		return 4 * classes * (rows + 3*int64(o.Dim))
	}
	switch {
	case o.Loss == objective.LossSoftmax:
		return 4 * rows * int64(o.Batch)
	case o.planned():
		return 4 * int64(o.Batch) * int64(o.Batch)
	}
	return 0
}

// defaultSurrogates is how many classes of their own the paper of objective exemplar made of
// as many images.
const defaultSurrogates = 8000

// trainingRows are those of the rows that the objective trains on: all, or those that are
// surrogate classes, or those with a label, less the ones that eval tests on where the
// data have no test split.
func trainingRows(opt *Options, set *dataset.Set, rows []int) ([]int, error) {
	switch opt.objectiveName() {
	case objectiveExemplar:
		return set.Sample(rows, cmp.Or(opt.Surrogates, defaultSurrogates)), nil
	case objectiveSupervised:
		if !set.Labelled() {
			return nil, failf(ErrUsage, "objective %s: %s has no labels of two or more classes: give a file with --labels, or choose another objective", objectiveSupervised, opt.Data)
		}
		tested := map[int]bool{}
		if !set.HasTest() {
			_, test := set.SplitTest()
			for _, i := range test {
				tested[i] = true
			}
		}
		var chosen []int
		for _, i := range rows {
			if set.Label(i) >= 0 && !tested[i] {
				chosen = append(chosen, i)
			}
		}
		return chosen, nil
	}
	return rows, nil
}

// labels are the classes of the training rows: given ones, or each row its own.
func (j *job) labels() []int32 {
	labels := make([]int32, len(j.src.rows))
	for i, row := range j.src.rows {
		labels[i] = int32(i)
		if j.plan.Options.objectiveName() == objectiveSupervised {
			labels[i] = int32(j.src.set.Label(row))
		}
	}
	return labels
}

// DescribeObjective names the objective with its own options, for people.
func (o Options) DescribeObjective() string {
	name := o.objectiveName()
	if o.Targets != "" && o.Targets != objective.TargetsUniform {
		name += ", " + o.Targets + " targets"
	}
	if o.Loss != "" && o.Loss != objective.LossSquare {
		name += ", " + o.Loss + " loss"
	}
	if o.Match != "" && o.Match != objective.MatchMean {
		name += ", matched by " + map[string]string{objective.MatchView: "one view", objective.MatchAverage: "moving average"}[o.Match]
	}
	if o.Surrogates > 0 {
		name += fmt.Sprintf(" of %s classes", group(o.Surrogates))
	}
	last := o.FinalTemperature
	if last == o.Temperature {
		last = 0
	}
	for _, v := range []struct {
		what  string
		value float64
	}{{"temperature", o.Temperature}, {"in the end", last}, {"noise", o.Noise}, {"uniformity weight", o.UniformityWeight}, {"beta", o.Beta}} {
		if v.value > 0 {
			name += fmt.Sprintf(", %s %g", v.what, v.value)
		}
	}
	return name
}

// objectiveWords say how an objective learns, after "encoded".
func objectiveWords(name string) string {
	return map[string]string{
		objectiveNAT:     "without labels by predicting noise",
		objectiveInfoMax: "without labels by keeping information through noise",
		objectiveInfoNCE: "without labels by telling views apart",
		objectiveVAE:     "without labels by restoring rows from noisy codes",

		objectiveAlignUniform: "without labels by aligning views and spreading rows",
		objectiveExemplar:     "without labels by telling rows from each other",
		objectiveSupervised:   "with labels",
	}[name]
}

// dropObjective goes back to one target for each row, whatever was learned from.
func (o *Options) dropObjective() {
	o.Objective, o.Loss, o.Match, o.Targets, o.Surrogates = "", objective.LossSquare, "", "", 0
	o.Temperature, o.FinalTemperature, o.Noise, o.UniformityWeight, o.Beta = 0, 0, 0, 0, 0
}
