package nat

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"nat/dataset"
	"nat/encoder"
	"nat/internal/kernel"
	"nat/objective"
)

// Plan is what a run will do: the resolved options, what was found in the
// data, and what it will cost.
type Plan struct {
	Options Options  `json:"options"` // resolved: no field is left to choose
	Run     string   `json:"run"`     // run directory
	Data    DataInfo `json:"data"`

	Augment dataset.Augment `json:"augment"` // resolved
	Encoder encoder.Spec    `json:"encoder"`
	// Decoder is trained with it by objective vae; nil otherwise.
	Decoder       *encoder.Spec `json:"decoder,omitempty"`
	Params        int           `json:"params"`
	Steps         int           `json:"steps"`
	StepsPerEpoch int           `json:"steps_per_epoch"`

	MemoryBytes int64         `json:"memory_bytes"` // estimate of the peak
	DiskBytes   int64         `json:"disk_bytes"`   // upper estimate of the run directory
	StepTime    time.Duration `json:"step_time"`    // measured on real steps, nanoseconds
	ETA         time.Duration `json:"eta"`          // nanoseconds
	Warnings    []string      `json:"warnings,omitempty"`
}

// DataInfo describes a data set as training sees it.
type DataInfo struct {
	Path        string        `json:"path"` // absolute
	Kind        dataset.Kind  `json:"kind"`
	Rows        int           `json:"rows"`     // readable rows
	Train       int           `json:"train"`    // rows that own a target
	HeldOut     int           `json:"held_out"` // rows of the held-out gauges
	Bad         int           `json:"bad"`      // rejected files
	Ignored     int           `json:"ignored"`  // files that are not images by name
	Shape       dataset.Shape `json:"shape"`    // of a row
	Input       dataset.Shape `json:"input"`    // of the network
	Range       [2]float64    `json:"range"`    // of array images, scaled to [0,1]
	Vector      bool          `json:"vector"`
	Classes     []string      `json:"classes,omitempty"`
	Fingerprint string        `json:"fingerprint"`
	Val         string        `json:"val_fingerprint,omitempty"` // of the data of Options.Val
}

// source is opened data together with what training takes from them.
type source struct {
	set, val *dataset.Set // val is nil unless Options.Val names other data
	rows     []int        // of set: those that own a target
	held     []int        // of val, or of set without one
	info     DataInfo
}

func (s *source) heldSet() *dataset.Set {
	if s.val != nil {
		return s.val
	}
	return s.set
}

func (s *source) close() {
	s.set.Close()
	if s.val != nil {
		s.val.Close()
	}
}

// openSource opens the data that opt names and divides their rows. Images take
// the shapes of like, unless it is nil: those of the run to go on with, or to
// start from.
func openSource(ctx context.Context, opt Options, like *DataInfo, observe func(Event)) (*source, error) {
	open := dataset.Options{Size: opt.Size, Limit: opt.Limit, Labels: opt.Labels, MaxBad: opt.MaxBad,
		Workers: opt.Workers, CacheBytes: int64(opt.Cache) << 20, Progress: scanProgress(observe)}
	if like != nil && !like.Vector {
		open.Input, open.Stored = like.Input, like.Shape
	}
	set, err := openData(ctx, opt.Data, open)
	if err != nil {
		return nil, err
	}
	s := &source{set: set}
	if opt.Val != "" {
		s.val, err = openData(ctx, opt.Val, dataset.Options{Input: dataset.OutShape(set), Stored: set.Shape(), Range: set.Range(),
			Limit: gaugeRows, MaxBad: opt.MaxBad, Workers: opt.Workers})
		if err != nil {
			set.Close()
			return nil, fmt.Errorf("val: %w", err)
		}
		s.rows, s.held = upTo(set.Len()), upTo(s.val.Len())
	} else {
		s.rows, s.held = set.HoldOut()
	}
	if s.rows, err = trainingRows(&opt, set, s.rows); err != nil {
		s.close()
		return nil, err
	}
	path := opt.Data
	if path != EmbeddedDigits {
		if path, err = filepath.Abs(path); err != nil {
			s.close()
			return nil, err
		}
	}
	s.info = DataInfo{Path: path, Kind: set.Kind(), Rows: set.Len(), Train: len(s.rows), HeldOut: len(s.held),
		Bad: len(set.Bad()), Ignored: set.Ignored(), Shape: set.Shape(), Input: dataset.OutShape(set), Range: set.Range(), Vector: set.Vector(),
		Classes: set.Classes(), Fingerprint: set.Fingerprint()}
	if s.val != nil {
		s.info.Val = s.val.Fingerprint()
	}
	return s, nil
}

// initData returns the data of the run whose weights opt starts from, so that
// images are seen at the same scale and in the same channels, whatever would be
// chosen for them. It is nil without such a run, or if another size is asked for.
// Of the encoder, what was not given is taken over.
func initData(opt *Options) (*DataInfo, error) {
	if opt.Init == "" {
		return nil, nil
	}
	from, err := OpenRun(opt.Init)
	if err != nil {
		return nil, fmt.Errorf("init: %w", err)
	}
	d := &from.Record.Data
	if was := from.Record.Options; opt.Encoder == "" || opt.Encoder == "auto" || opt.Encoder == was.Encoder {
		setDefault(&opt.Projection, was.Projection)
		opt.Sobel = opt.Sobel || was.Sobel
	}
	square := !d.Vector && d.Input.H == d.Input.W
	switch {
	case opt.Size == 0 && square:
		opt.Size = d.Input.H
	case opt.Size != 0 && !(square && opt.Size == d.Input.H):
		return nil, nil // chooseEncoder refuses it
	}
	return d, nil
}

func upTo(n int) []int {
	rows := make([]int, n)
	for i := range rows {
		rows[i] = i
	}
	return rows
}

// openData opens data of any kind, the embedded digits included. Rejected data
// are errors of kind ErrInput, paths that cannot be opened of kind ErrUsage.
func openData(ctx context.Context, path string, opt dataset.Options) (*dataset.Set, error) {
	if path == EmbeddedDigits {
		if opt.Limit > 0 {
			return nil, failf(ErrUsage, "limit %d: the embedded digits are always used whole", opt.Limit)
		}
		split := opt.Split
		if split == "" {
			split = "train"
		}
		return dataset.Digits(split), nil
	}
	set, err := dataset.Open(ctx, path, opt)
	switch {
	case err == nil:
		return set, nil
	case ctx.Err() != nil:
		return nil, &StoppedError{Cause: context.Cause(ctx)}
	case errors.Is(err, dataset.ErrOption):
		return nil, &kindError{ErrUsage, err}
	case errors.Is(err, dataset.ErrRejected), errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return nil, &kindError{ErrInput, err}
	}
	return nil, err
}

// scanProgress turns the progress of a scan into events.
func scanProgress(observe func(Event)) func(done, total int) {
	return func(done, total int) {
		observe(Event{Kind: EventScan, Time: time.Now(), Done: done, Total: total})
	}
}

// chooseEncoder resolves the encoder: the preset asked for, that of the run to
// start from, or the one that fits the input.
func chooseEncoder(opt *Options, in dataset.Shape, init *snapshot) (encoder.Spec, error) {
	shape := encoder.Shape{H: in.H, W: in.W, C: in.C}
	name := opt.Encoder
	if name == "" || name == "auto" {
		name = encoder.Auto(shape)
		if init != nil {
			name = init.spec.Name
		}
	}
	dim := opt.Dim
	if dim == 0 {
		dim = 64
		if init != nil {
			dim = init.spec.Dim()
		}
	}
	changes, err := opt.presetOptions()
	if err != nil {
		return encoder.Spec{}, &kindError{ErrUsage, err}
	}
	if changes.Projection == nil {
		changes.Projection = encoder.DefaultProjection(name)
	}
	spec, err := encoder.PresetWith(name, shape, dim, changes)
	if err == nil && opt.objectiveName() == objectiveVAE {
		spec, err = encoder.Stochastic(spec)
	}
	if err != nil {
		return spec, &kindError{ErrUsage, err}
	}
	opt.Encoder, opt.Dim, opt.Projection = name, dim, projectionName(changes.Projection)
	if init != nil && spec.Train != init.spec.Train {
		return spec, failf(ErrArtefact, "init %s: objective vae and the others end their networks differently: start from a run of the same kind", opt.Init)
	}
	if init != nil && !sameNetwork(spec, init.spec) {
		return spec, failf(ErrArtefact, "init %s: its network is %s for %v with dimension %d, this run's is %s for %v with dimension %d: leave --encoder, --projection, --sobel, --dim and --size as they were there",
			opt.Init, init.spec.Name, init.spec.Input, init.spec.Dim(), spec.Name, spec.Input, spec.Dim())
	}
	return spec, nil
}

func sameNetwork(a, b encoder.Spec) bool { return a.String() == b.String() }

// resolve fills in every option left to choose, given the number of points
// that own a target, and returns doubts about the choice.
func resolve(opt *Options, points int) (warnings []string) {
	setDefault(&opt.Augment, augmentAuto)
	if opt.Augment == augmentNone {
		opt.Views = 1
	}
	opt.resolveObjective()
	setDefault(&opt.Views, 2)
	setDefault(&opt.Optimizer, "sgd")
	setDefault(&opt.Seed, 1)
	setDefault(&opt.Keep, 3)
	setDefault(&opt.Cache, 128)
	setDefault(&opt.CheckpointEvery, "10m")
	setDefault(&opt.MaxBad, "10%")
	if opt.Batch > points {
		warnings = append(warnings, fmt.Sprintf("batch %d is larger than the %s: using %d", opt.Batch, counted(points, "training row"), points))
		opt.Batch = points
	}
	setDefault(&opt.Batch, clamp(points/4, min(points, 32), 256))
	switch opt.Assign {
	case objective.AssignPool:
		setDefault(&opt.Pool, 8)
	case objective.AssignGlobal:
		setDefault(&opt.AssignEvery, 3)
	}
	setDefault(&opt.Winograd, winogradOn)
	perEpoch := points / opt.Batch
	setDefault(&opt.Epochs, clamp((wantSteps+perEpoch-1)/perEpoch, 20, 200))
	scale := float64(opt.Batch) / 256
	if opt.Optimizer == "sgd" {
		// Chosen on 10,000 of Fashion-MNIST's training images, docs/results/fashion-mnist.md.
		setDefault(&opt.LR, .2*min(scale, 2))
		setDefault(&opt.Momentum, .9)
		setDefault(&opt.WeightDecay, 5e-4)
		// Without it 8 epochs of dcgan32 at the learning rate of a batch of 512 diverge with labels.
		if opt.Loss == objective.LossSinkhorn || opt.Objective == objectiveSupervised {
			setDefault(&opt.Clip, 2)
		}
	} else {
		setDefault(&opt.LR, .001)
		setDefault(&opt.WeightDecay, .05)
	}
	setDefault(&opt.Warmup, opt.Epochs*perEpoch/20)
	opt.Momentum, opt.WeightDecay, opt.Warmup = max(opt.Momentum, 0), max(opt.WeightDecay, 0), max(opt.Warmup, 0)
	opt.Clip = max(opt.Clip, 0)
	if steps := opt.Epochs * perEpoch; opt.Warmup >= steps {
		warnings = append(warnings, fmt.Sprintf("warmup %d is not shorter than the run of %s: the learning rate only rises", opt.Warmup, counted(steps, "step")))
	}
	if opt.Assign == objective.AssignGlobal && opt.AssignEvery >= opt.Epochs {
		warnings = append(warnings, fmt.Sprintf("all rows are re-paired after every %s, but not after the last: never in %s; lower --assign-every",
			counted(opt.AssignEvery, "epoch"), counted(opt.Epochs, "epoch")))
	}
	if points < 100 {
		warnings = append(warnings, fmt.Sprintf("only %s: expect features little better than random", counted(points, "training row")))
	}
	return warnings
}

// counted writes a number and its noun: "1 file", "2 files".
func counted(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// wantSteps is the least number of steps that defaults aim at on small sets.
const wantSteps = 3000

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func clamp(v, lo, hi int) int { return max(lo, min(v, hi)) }

// job is a run that is fully decided and not yet started.
type job struct {
	plan    Plan
	src     *source
	norm    dataset.Normalizer
	augment dataset.Augment
	init    *snapshot // weights to start from, nil for random ones
	pool    *kernel.Pool
}

func (j *job) close() {
	j.src.close()
	j.pool.Close()
}

// newJob resolves opt against opened data. It takes src over, also on error.
func newJob(ctx context.Context, opt Options, src *source) (_ *job, err error) {
	j := &job{src: src, pool: kernel.NewPool(opt.Workers)}
	defer func() {
		if err != nil {
			j.close()
		}
	}()
	if opt.Init != "" {
		if j.init, err = loadInit(opt.Init); err != nil {
			return nil, err
		}
	}
	if src.info.Vector && opt.Size != 0 {
		return nil, failf(ErrUsage, "size %d: %s holds vectors, which have no side: leave it out", opt.Size, src.info.Path)
	}
	spec, err := chooseEncoder(&opt, src.info.Input, j.init)
	if err != nil {
		return nil, err
	}
	if src.info.Vector && spec.Name == "convnet" {
		return nil, failf(ErrUsage, "encoder convnet: %s holds vectors, which have no neighbours to convolve: choose linear or mlp", src.info.Path)
	}
	if len(src.rows) == 0 {
		return nil, failf(ErrInput, "%s: no rows to train on", src.info.Path)
	}
	opt.chooseFor(&src.info)
	warnings := resolve(&opt, len(src.rows))
	opt.setKernels(j.pool)
	if j.norm, err = dataset.FitNormalizer(ctx, src.set, src.rows); err != nil {
		return nil, err
	}
	if varies, err := dataset.Varies(src.set, src.rows); err != nil {
		return nil, err
	} else if !varies {
		warnings = append(warnings, "the training rows that were looked at are all equal: there is nothing to learn from data without variation")
	}
	if j.augment, err = dataset.ChooseAugment(src.set, opt.Augment); err != nil {
		return nil, failf(ErrUsage, "augment %s: %w", opt.Augment, err)
	}
	perEpoch := len(src.rows) / opt.Batch
	j.plan = Plan{Options: opt, Run: opt.Out, Data: src.info, Augment: j.augment, Encoder: spec, Params: spec.ParamCount(),
		StepsPerEpoch: perEpoch, Steps: perEpoch * opt.Epochs, Warnings: warnings}
	if err := j.plan.addDecoder(); err != nil {
		return nil, err
	}
	if n := src.info.Bad; n > 0 {
		j.plan.Warnings = append(j.plan.Warnings, fmt.Sprintf("%s could not be used: see %s", counted(n, "file"), badFilesFile))
	}
	return j, j.checkMemory()
}

// MakePlan resolves the options against the data and measures a few steps.
// It writes nothing.
func MakePlan(ctx context.Context, opt Options) (*Plan, error) {
	if err := opt.Validate(); err != nil {
		return nil, err
	}
	if opt.Resume {
		return nil, failf(ErrUsage, "resume: a run that exists is planned already: see its run.json")
	}
	if err := choosePaths(&opt); err != nil {
		return nil, err
	}
	if err := checkOut(opt); err != nil {
		return nil, err
	}
	like, err := initData(&opt)
	if err != nil {
		return nil, err
	}
	src, err := openSource(ctx, opt, like, func(Event) {})
	if err != nil {
		return nil, err
	}
	j, err := newJob(ctx, opt, src)
	if err != nil {
		return nil, err
	}
	defer j.close()
	j.plan.StepTime, err = j.measure(ctx)
	if err != nil {
		return nil, err
	}
	eta := math.Round(float64(j.plan.StepTime) * float64(j.plan.Steps) * gaugeShare)
	j.plan.ETA = time.Duration(min(eta, 1<<62)) // centuries
	return &j.plan, nil
}

// choosePaths resolves the paths of opt. Those that are read again when a run is
// resumed, perhaps from another folder, are made absolute.
func choosePaths(opt *Options) error {
	for _, path := range []*string{&opt.Labels, &opt.Val, &opt.Init} {
		if *path == "" || *path == EmbeddedDigits {
			continue
		}
		abs, err := filepath.Abs(*path)
		if err != nil {
			return err
		}
		*path = abs
	}
	return chooseOut(opt)
}

// chooseOut fills in Options.Out when none was named: the next free name, or
// to resume, the newest run of the default name.
func chooseOut(opt *Options) error {
	if opt.Out != "" {
		return nil
	}
	base := runName(opt.Data)
	free, newest, err := freeName(base)
	opt.Out = free
	if opt.Resume {
		opt.Out = newest
	}
	if err == nil && opt.Out == "" {
		err = failf(ErrUsage, "resume: there is no run %s here: name it with --out", base)
	}
	return err
}

// freeName returns the first of base, base-2, base-3, ... that does not exist,
// and the last one before it, if any.
func freeName(base string) (free, last string, err error) {
	name := base
	for i := 2; ; i++ {
		_, err := os.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) {
			return name, last, nil
		} else if err != nil {
			return "", "", err
		}
		last, name = name, fmt.Sprintf("%s-%d", base, i)
	}
}

// runName is the default name of a run on data at path.
func runName(path string) string {
	name := filepath.Base(path)
	if abs, err := filepath.Abs(path); err == nil && path != EmbeddedDigits {
		name = filepath.Base(abs)
	}
	for _, ext := range []string{".gz", ".tar", ".npy", ".npz", ".tgz"} {
		name = strings.TrimSuffix(name, ext)
	}
	name = strings.Trim(name, `:/\. `)
	if name == "" {
		name = "data"
	}
	return name + "-nat"
}
