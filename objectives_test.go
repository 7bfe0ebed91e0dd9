package nat

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// otherObjectives are options that change what is learned from.
func otherObjectives() map[string]func(*Options) {
	return map[string]func(*Options){
		"infonce":       func(o *Options) { o.Objective = objectiveInfoNCE },
		"infomax":       func(o *Options) { o.Objective = objectiveInfoMax },
		"align-uniform": func(o *Options) { o.Objective = objectiveAlignUniform },
		"exemplar":      func(o *Options) { o.Objective, o.Surrogates, o.Batch = objectiveExemplar, 100, 10 },
		"softmax":       func(o *Options) { o.Loss, o.Targets = "softmax", "even" },
		"average":       func(o *Options) { o.Match = "average" },
		"fresh":         func(o *Options) { o.Targets = targetsFresh },
	}
}

// What an objective learns and counts by itself is in a checkpoint too.
func TestOtherObjectivesResume(t *testing.T) {
	images, _ := writeImages(t, smallRows, 6)
	for name, change := range otherObjectives() {
		t.Run(name, func(t *testing.T) {
			opt := small(images, filepath.Join(t.TempDir(), "run"))
			opt.Epochs = 2
			change(&opt)
			opt.CheckpointEvery, opt.Keep = "1steps", 1000
			total := mustTrain(t, opt).Steps
			want := outcomeOf(t, opt.Out)
			for _, step := range []int{0, total / 3, total/2 + 1} {
				resumed := opt
				resumed.Out = copyRun(t, opt.Out, stepName(step))
				resumed.Resume, resumed.CheckpointEvery, resumed.Keep, resumed.Workers = true, "1000steps", 2, 3
				mustTrain(t, resumed)
				outcomeOf(t, resumed.Out).equal(t, want, fmt.Sprintf("resumed at step %d", step))
			}
		})
	}
}

// Every option that an objective does not have is refused, and by name.
func TestOptionsOfObjectives(t *testing.T) {
	for want, opt := range map[string]Options{
		"views 1: objective infonce":            {Objective: "infonce", Views: 1},
		"augment none: objective align":         {Objective: "align-uniform", Augment: "none"},
		"assign batch: objective infomax":       {Objective: "infomax", Assign: "batch"},
		"assign global: fresh targets":          {Targets: "fresh", Assign: "global"},
		"targets even: objective exemplar":      {Objective: "exemplar", Targets: "even"},
		"loss square: objective supervised":     {Objective: "supervised", Loss: "square"},
		"temperature 0.01: a plan needs":        {Temperature: .01},
		"final-temperature 0.1: give the first": {FinalTemperature: .1},
		"final-temperature 0.1: objective":      {Objective: "infonce", FinalTemperature: .1},
		"match view: loss sinkhorn":             {Loss: "sinkhorn", Match: "view"},
		"assign global: loss sinkhorn":          {Loss: "sinkhorn", Assign: "global"},
		"temperature 0.5: objective infomax":    {Objective: "infomax", Temperature: .5},
		"temperature 1e+06: must be from":       {Objective: "infonce", Temperature: 1e6},
		"noise 0.5: objective infonce":          {Objective: "infonce", Noise: .5},
		"uniformity-weight 2: belongs to":       {Loss: "square", UniformityWeight: 2},
		"uniformity-weight -1: must be from":    {Objective: "align-uniform", UniformityWeight: -1},
		"surrogates 9: objective nat":           {Surrogates: 9},
		"surrogates 1: must be at least 2":      {Objective: "exemplar", Surrogates: 1},
		"surrogates -1: must not be negative":   {Objective: "exemplar", Surrogates: -1},
		"match average: fresh targets":          {Targets: "fresh", Match: "average"},
		"match view: there is one":              {Views: 1, Match: "view"},
		"match mean: objective infonce":         {Objective: "infonce", Match: "mean"},
		"beta 2: objective nat":                 {Beta: 2},
		`targets "lattice": choose one of unif`: {Targets: "lattice"},
	} {
		opt.Data = "x"
		if err := opt.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", opt, err, want)
		}
	}
	for _, opt := range []Options{
		{Objective: "infomax", Views: 1, Noise: .3, Augment: "none"},
		{Objective: "exemplar", Views: 1, Temperature: .2},
		{Loss: "softmax", Temperature: .1, Targets: "discrete", Assign: "global"},
		{Targets: "fresh", Assign: "batch"},
		{Temperature: .1, FinalTemperature: .05, UniformityWeight: 2, Targets: "even"},
		{Loss: "square", Temperature: .1, Assign: "pool"},
	} {
		opt.Data = "x"
		if err := opt.Validate(); err != nil {
			t.Errorf("%+v: %v", opt, err)
		}
	}
}

// The level of one random match is that of the targets there are.
func TestBatchTargets(t *testing.T) {
	for want, opt := range map[int]Options{
		256: {Batch: 256, Dim: 64},
		64:  {Batch: 256, Dim: 64, Targets: "discrete"},
		32:  {Batch: 32, Dim: 64, Targets: "discrete"},
	} {
		if got := opt.batchTargets(); got != want {
			t.Errorf("%+v: %d, want %d", opt, got, want)
		}
	}
}

func TestDescribeObjective(t *testing.T) {
	for want, opt := range map[string]Options{
		"nat, sinkhorn loss, temperature 0.2, uniformity weight 3": {},
		"nat":                                  {Views: 1},
		"nat, discrete targets":                {Targets: "discrete"},
		"nat, temperature 0.5, in the end 0.1": {Loss: "square", Temperature: .5, FinalTemperature: .1},
		"nat, even targets, softmax loss, temperature 0.2": {Targets: "even", Loss: "softmax"},
		"exemplar of 8,000 classes, temperature 0.1":       {Objective: "exemplar"},
		"nat, matched by moving average":                   {Match: "average"},
		"align-uniform, uniformity weight 1":               {Objective: "align-uniform"},
	} {
		opt.Optimizer = "sgd"
		resolve(&opt, 100)
		if got := opt.DescribeObjective(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
