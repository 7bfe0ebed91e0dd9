package nat

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"nat/dataset"
	"nat/encoder"
	"nat/internal/kernel"
	"nat/objective"
)

// Options say what to train on and how. Only Data is required: a field left
// at its zero value is chosen from the data (see MakePlan), and the resolved
// options are saved in run.json. Where zero would be a sensible setting of its
// own (Momentum, WeightDecay, Warmup), a negative value asks for it.
type Options struct {
	Data string `json:"data"` // path, or EmbeddedDigits
	Out  string `json:"out"`  // run directory; default ./NAME-nat, or the next free ./NAME-nat-2, ...

	Encoder string `json:"encoder"` // a preset of the encoder package; default auto, by the size of the input
	// Projection is the hidden layers between features and embedding: their units, as in
	// "1024,512", or none; default those of the encoder.
	Projection string `json:"projection"`
	Sobel      bool   `json:"sobel"` // put a fixed Sobel filter of the grey image in front of the encoder

	Size   int `json:"size"`   // side in pixels at which photographs are trained
	Dim    int `json:"dim"`    // dimension d of the sphere's ambient space; default 64
	Epochs int `json:"epochs"` // default 20, more for small sets (at least about 3,000 steps, at most 200 epochs)
	Batch  int `json:"batch"`  // points per step; default 256, a quarter of the points for small sets
	Views  int `json:"views"`  // augmentations per point, default 2; 1 without augmentation
	// Augment is how much views differ from their row: auto (default, by the kind of data), weak,
	// strong or none (every view is the row itself), or as [dataset.ChooseAugment] reads it.
	Augment string `json:"augment"`

	Objective string `json:"objective"` // one of Objectives; default nat
	// Match of nat is by what a row is paired: the mean of its views (default), one view, or
	// a moving average of that mean over the epochs.
	Match string `json:"match"`
	// Loss of nat is square (default), the squared distance to the target; softmax,
	// the cross-entropy of finding it among those of the batch; or sinkhorn, the distance of all
	// points of the batch to all its targets, beside the alignment of views.
	Loss string `json:"loss"`
	// Targets of nat are uniform (default), drawn once; even, drawn once with a lower
	// discrepancy; discrete, the canonical basis; or fresh, drawn anew for every batch.
	Targets string `json:"targets"`
	// Temperature divides the similarities of infonce and of nat with loss=softmax or sinkhorn
	// (default .2), and those of exemplar and supervised (default .1). With loss=square it
	// softens the pairing (default 0: one target for a point).
	Temperature float64 `json:"temperature"`
	// FinalTemperature of nat is that of the end of training; default the same throughout.
	FinalTemperature float64 `json:"final_temperature,omitempty"`
	Surrogates       int     `json:"surrogates"` // classes of exemplar, a training row each; default 8000
	// UniformityWeight is that of align-uniform and of nat with loss=sinkhorn, the alignment
	// having 1; default 1.
	UniformityWeight float64 `json:"uniformity_weight"`
	Noise            float64 `json:"noise"`  // deviation of the noise of infomax; default .4
	Beta             float64 `json:"beta"`   // weight of the divergence of vae; default 1
	Assign           string  `json:"assign"` // batch (default), pool or global: what is re-matched together
	Pool             int     `json:"pool"`   // batches in a pool; default 8 with assign=pool
	// AssignEvery is how many epochs pass from one exact re-matching of the whole data set to the
	// next with assign=global, default 3; otherwise batches, and pools, are re-matched in
	// the first of as many epochs only, default 1.
	AssignEvery int `json:"assign_every"`

	Optimizer   string  `json:"optimizer"`    // sgd (Nesterov, default) or adamw
	LR          float64 `json:"lr"`           // peak learning rate; default .2 x batch/256 (at most .4) for sgd, .001 for adamw
	Momentum    float64 `json:"momentum"`     // sgd's momentum; default .9, negative: none
	WeightDecay float64 `json:"weight_decay"` // default 5e-4 for sgd, .05 for adamw; negative: none
	// Clip is the norm above which a gradient is shortened to it. Default 2 for sgd with
	// loss=sinkhorn, whose first gradients are some 20 times the later ones, and with
	// supervised, and otherwise none; negative: none.
	Clip   float64 `json:"clip,omitempty"`
	Warmup int     `json:"warmup"` // steps of linear warm-up before the cosine; default 5 % of all; negative: none

	// Winograd is "on" (default) or "off": whether convolutions may be computed
	// with fewer multiplications and a little more rounding. It changes the last bits.
	Winograd string `json:"winograd"`

	Seed    uint64 `json:"seed"`    // default 1
	Workers int    `json:"workers"` // goroutines of loader and kernels alike; default one per core
	Cache   int    `json:"cache"`   // MiB of decoded images kept in memory; default 128
	Limit   int    `json:"limit"`   // use only so many rows, chosen by a hash of their identity
	Labels  string `json:"labels"`  // file of labels; only probes read them
	Val     string `json:"val"`     // data of the held-out gauges; default min(2048, 5 %) of the rows
	MaxBad  string `json:"max_bad"` // unreadable images tolerated, a count or a share; default 10%
	// GaugeEvery is how many epochs pass from one reading of the gauges to the next;
	// default as many as keep them to 2 % of the time, on fewer rows if need be.
	GaugeEvery int `json:"gauge_every,omitempty"`

	Init            string `json:"init"`             // run whose weights to start from
	CheckpointEvery string `json:"checkpoint_every"` // "10m" (default) or "200steps"; each epoch's end besides
	Keep            int    `json:"keep"`             // checkpoints kept, default 3

	MaxTime   time.Duration `json:"-"` // stop this sitting, with a checkpoint, after so long; default never
	Resume    bool          `json:"-"` // continue the run at Out
	Overwrite bool          `json:"-"` // remove the run at Out first
}

// cadence is a parsed CheckpointEvery: exactly one of the two is set.
type cadence struct {
	every time.Duration
	steps int
}

func parseCadence(s string) (cadence, error) {
	if s == "" {
		return cadence{every: 10 * time.Minute}, nil
	}
	if n, ok := strings.CutSuffix(strings.TrimSuffix(s, "s"), "step"); ok {
		steps, err := strconv.Atoi(strings.TrimSpace(n))
		if err == nil && steps > 0 {
			return cadence{steps: steps}, nil
		}
	} else if d, err := time.ParseDuration(s); err == nil && d > 0 {
		return cadence{every: d}, nil
	}
	return cadence{}, fmt.Errorf(`checkpoint-every %q: want a time such as "10m" or a count such as "200steps"`, s)
}

func oneOf(flag, value string, allowed ...string) error {
	if value == "" || slices.Contains(allowed, value) {
		return nil
	}
	return fmt.Errorf("%s %q: choose one of %s", flag, value, strings.Join(allowed, ", "))
}

// The most that options may ask for: far more than is of use, so that no
// product of them overflows, and a slip is told before anything is allocated.
const (
	maxSize       = 4096
	maxDim        = 1 << 16
	maxEpochs     = 1_000_000
	maxBatch      = 1 << 20
	maxViews      = 256
	maxPool       = 1 << 16
	maxSurrogates = 1 << 20
	maxEvery      = 1_000_000
	maxWorkers    = 4096
	maxCache      = 1 << 24 // MiB: 16 TiB
	maxKeep       = 1_000_000
)

func upToMost(flag string, value, most int) error {
	switch {
	case value < 0:
		return fmt.Errorf("%s %d: must not be negative", flag, value)
	case value > most:
		return fmt.Errorf("%s %d: must be at most %d", flag, value, most)
	}
	return nil
}

func finite(flag string, value float64) error {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return fmt.Errorf("%s %v: must be a finite number", flag, value)
	}
	return nil
}

// Validate reports everything that is wrong with the options at once, as an
// error of kind ErrUsage. It does not look at the disk.
func (o Options) Validate() error {
	_, cadenceErr := parseCadence(o.CheckpointEvery)
	errs := []error{
		oneOf("encoder", o.Encoder, append([]string{"auto"}, encoder.Presets()...)...),
		o.encoderError(),
		oneOf("objective", o.Objective, Objectives()...),
		within("temperature", o.Temperature, objective.MinTemperature, objective.MaxTemperature),
		within("final-temperature", o.FinalTemperature, objective.MinTemperature, objective.MaxTemperature),
		oneOf("match", o.Match, objective.MatchMean, objective.MatchView, objective.MatchAverage),
		oneOf("loss", o.Loss, objective.LossSquare, objective.LossSoftmax, objective.LossSinkhorn),
		oneOf("targets", o.Targets, targetKinds()...),
		upToMost("surrogates", o.Surrogates, maxSurrogates),
		within("uniformity-weight", o.UniformityWeight, objective.MinWeight, objective.MaxWeight),
		within("noise", o.Noise, objective.MinNoise, objective.MaxNoise),
		within("beta", o.Beta, objective.MinBeta, objective.MaxBeta),
		o.objectiveError(),
		o.augmentError(),
		oneOf("assign", o.Assign, objective.AssignBatch, objective.AssignPool, objective.AssignGlobal),
		oneOf("optimizer", o.Optimizer, "sgd", "adamw"),
		oneOf("winograd", o.Winograd, winogradOn, winogradOff),
		upToMost("assign-every", o.AssignEvery, maxEvery), upToMost("gauge-every", o.GaugeEvery, maxEvery),
		upToMost("size", o.Size, maxSize), upToMost("epochs", o.Epochs, maxEpochs), upToMost("batch", o.Batch, maxBatch),
		upToMost("views", o.Views, maxViews), upToMost("pool", o.Pool, maxPool), upToMost("workers", o.Workers, maxWorkers),
		upToMost("limit", o.Limit, math.MaxInt), upToMost("keep", o.Keep, maxKeep),
		upToMost("cache", o.Cache, maxCache),
		finite("lr", o.LR), finite("momentum", o.Momentum), finite("weight-decay", o.WeightDecay), finite("clip", o.Clip),
		cadenceErr,
	}
	check := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(o.Data == "" && !o.Resume, "data: a path is needed")
	check(o.Dim != 0 && o.Dim < 2, "dim %d: must be at least 2, the circle", o.Dim)
	check(o.Dim > maxDim, "dim %d: must be at most %d", o.Dim, maxDim)
	check(o.LR < 0, "lr %g: must be positive", o.LR)
	check(o.Momentum >= 1, "momentum %g: must be below 1", o.Momentum)
	check(o.Momentum != 0 && o.Optimizer == "adamw", "momentum: adamw has none of that name: leave it out")
	check(o.MaxTime < 0, "max-time %v: must be positive", o.MaxTime)
	check(o.Resume && o.Overwrite, "resume and overwrite: choose one")
	check(o.Overwrite && o.Out == "", "overwrite: name the run to remove with --out")
	check(o.Views > 1 && o.Augment == augmentNone, "views %d: without augmentation they would all be the same, leave it out", o.Views)
	check(o.Pool > 0 && o.Assign != objective.AssignPool && !o.Resume, "pool %d: needs --assign pool", o.Pool)
	if err := errors.Join(errs...); err != nil {
		return &kindError{ErrUsage, err}
	}
	return nil
}

// Values of Options.Winograd.
const (
	winogradOn  = "on"
	winogradOff = "off"
)

// Values of Options.Augment.
const (
	augmentAuto = dataset.AugmentAuto
	augmentNone = dataset.AugmentNone
)

// projectionNone is a Projection without hidden layers.
const projectionNone = "none"

// presetOptions reads Projection and Sobel.
func (o Options) presetOptions() (p encoder.PresetOptions, err error) {
	p.Sobel = o.Sobel
	switch o.Projection {
	case "":
		return p, nil
	case projectionNone:
		p.Projection = []int{}
		return p, nil
	}
	for _, part := range strings.Split(o.Projection, ",") {
		units, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || units < 1 {
			return p, fmt.Errorf("projection %q: want the units of hidden layers such as 1024,512, or %s", o.Projection, projectionNone)
		}
		p.Projection = append(p.Projection, units)
	}
	return p, nil
}

// projectionName is the Projection with hidden layers of those units.
func projectionName(units []int) string {
	if len(units) == 0 {
		return projectionNone
	}
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(units), " ", ","), "[]")
}

// encoderError is what does not fit together about the encoder, whatever the data.
func (o Options) encoderError() error {
	p, err := o.presetOptions()
	if err != nil {
		return err
	}
	return encoder.CheckPreset(o.Encoder, p)
}

func (o Options) augmentError() error {
	if o.Augment == "" {
		return nil
	}
	if err := dataset.CheckAugment(o.Augment); err != nil {
		return fmt.Errorf("augment: %w", err)
	}
	return nil
}

// setKernels lets the kernels of a pool use what the options allow.
func (o *Options) setKernels(pool *kernel.Pool) { pool.SetWinograd(o.Winograd == winogradOn) }

// mayChange lists the options that a resumed run may be given anew: they do
// not touch what is computed.
var mayChange = []string{"data", "out", "workers", "cache", "keep", "checkpoint_every"}

// optionDiff lists the options that were given (not zero) and differ from
// those of the run, one line each. The path of the data is compared by
// fingerprint elsewhere.
func optionDiff(run, given Options) []string {
	given.Momentum, given.WeightDecay = orNone(given.Momentum, run.Momentum), orNone(given.WeightDecay, run.WeightDecay)
	given.Clip = orNone(given.Clip, run.Clip)
	given.Warmup = orNone(given.Warmup, run.Warmup)
	if given.Encoder == "auto" {
		given.Encoder = ""
	}
	var diff []string
	a, b := reflect.ValueOf(run), reflect.ValueOf(given)
	for i := range a.NumField() {
		name, _, _ := strings.Cut(a.Type().Field(i).Tag.Get("json"), ",")
		if name == "-" || slices.Contains(mayChange, name) || b.Field(i).IsZero() || a.Field(i).Equal(b.Field(i)) {
			continue
		}
		flag := strings.ReplaceAll(name, "_", "-")
		diff = append(diff, fmt.Sprintf("%s: %v in the run, %v now", flag, a.Field(i), b.Field(i)))
	}
	return diff
}

// orNone makes a given "none" (negative) compare with a run's resolved zero:
// equal becomes unset, different stays different.
func orNone[T int | float64](given, run T) T {
	if given < 0 && run == 0 {
		return 0
	}
	return given
}

// merge returns the options with which a run is resumed: the run's own, but
// what mayChange says where it was given.
func merge(run, given Options) Options {
	m := run
	m.Resume = true
	m.Out = given.Out
	if given.Data != "" {
		m.Data = given.Data
	}
	if given.Workers != 0 {
		m.Workers = given.Workers
	}
	if given.Cache != 0 {
		m.Cache = given.Cache
	}
	if given.Keep != 0 {
		m.Keep = given.Keep
	}
	if given.CheckpointEvery != "" {
		m.CheckpointEvery = given.CheckpointEvery
	}
	m.MaxTime = given.MaxTime // a limit of one sitting, not of the run
	return m
}
