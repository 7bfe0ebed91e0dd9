package nat

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"nat/objective"
)

// Values of Options.Objective.
const (
	objectiveNAT     = "nat"
	objectiveInfoMax = "infomax"
	objectiveInfoNCE = "infonce"
)

// Objectives lists the values that Options.Objective may have, the default first.
func Objectives() []string { return []string{objectiveNAT, objectiveInfoMax, objectiveInfoNCE} }

// objectiveName is the objective, the default included.
func (o *Options) objectiveName() string { return cmp.Or(o.Objective, objectiveNAT) }

// hasTargets tells whether every row owns a target.
func (o *Options) hasTargets() bool { return o.objectiveName() == objectiveNAT }

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
	pairs := name == objectiveInfoNCE // learns from pairs of views
	check(pairs && o.Views == 1, "views 1: objective %s compares views of a row, and needs 2 or more", name)
	check(pairs && o.Augment == augmentNone, "augment none: objective %s compares views of a row, which would all be the same", name)
	check(o.Assign != "" && name != objectiveNAT, "assign %s: objective %s pairs no targets, leave it out", o.Assign, name)
	check(o.Temperature != 0 && name != objectiveInfoNCE, "temperature %v: objective %s has none, leave it out", o.Temperature, name)
	check(o.Noise != 0 && name != objectiveInfoMax, "noise %v: objective %s has none, leave it out", o.Noise, name)
	return errors.Join(errs...)
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
		setDefault(&o.Assign, objective.AssignBatch)
	case objectiveInfoNCE:
		setDefault(&o.Temperature, objective.DefaultTemperature)
	case objectiveInfoMax:
		setDefault(&o.Noise, objective.DefaultNoise)
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
	default:
		targets, err = objective.NewNAT(len(j.src.rows), o.Dim,
			objective.NATOptions{Seed: o.Seed, Views: o.Views, Assign: o.Assign, Pool: o.Pool}, j.pool)
		obj = targets
	}
	return obj, targets, err
}

// similarityBytes is the memory that the products of embeddings with each other take
// in a step.
func (p *Plan) similarityBytes() int64 {
	if p.Options.hasTargets() {
		return 0
	}
	rows := int64(p.Options.Batch * p.Options.Views)
	return 4 * rows * rows
}

// objectiveWords say how an objective learns, after "encoded".
func objectiveWords(name string) string {
	return map[string]string{
		objectiveNAT:     "without labels by predicting noise",
		objectiveInfoMax: "without labels by keeping information through noise",
		objectiveInfoNCE: "without labels by telling views apart",
	}[name]
}
