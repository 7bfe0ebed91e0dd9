package nat

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"nat/internal/kernel"
)

// Summary is the outcome of Train.
type Summary struct {
	Run             string   `json:"run"`
	Steps           int      `json:"steps"`
	Epochs          int      `json:"epochs"`
	Seconds         float64  `json:"seconds"`           // of training, over all sittings
	ImagesPerSecond float64  `json:"images_per_second"` // each view counted, gauges and checkpoints included
	Wait            float64  `json:"wait"`              // share of the steps' time spent waiting for data
	GaugeShare      float64  `json:"gauge_share"`       // of the time, that the gauges took
	Objective       string   `json:"objective"`
	Loss            float64  `json:"loss"`           // mean of the last epoch
	Information     *float64 `json:"information"`    // nats, mean of the last epoch; null for an objective that bounds none
	Chance          *float64 `json:"chance"`         // what Loss is compared with: a random pairing, or a batch in one point; null without targets
	Reassigned      *float64 `json:"reassigned"`     // mean of the last epoch; this and the next three are null without targets
	AssignmentGap   *float64 `json:"assignment_gap"` // (17) at the end of the last epoch; null before the first
	Cosine          *float64 `json:"cosine"`         // mean matched cosine of the last epoch
	Level           *float64 `json:"level"`          // (24), to read Cosine by
	Checkpoint      string   `json:"checkpoint"`     // newest
	Complete        bool     `json:"complete"`       // false when MaxTime ended it
	Train           *Gauge   `json:"train,omitempty"`
	HeldOut         *Gauge   `json:"held_out,omitempty"`
	Warnings        []string `json:"warnings,omitempty"`
}

// Train runs (or, with Resume, continues) a training as opt says and leaves a
// run directory. observe, if not nil, is called with every Event, in order, on
// the calling goroutine. When ctx is cancelled the current step is finished, a
// checkpoint saved and a *StoppedError returned; MaxTime ends with a
// checkpoint too, but with no error and Summary.Complete false.
func Train(ctx context.Context, opt Options, observe func(Event)) (*Summary, error) {
	return trainOn(ctx, disk{}, opt, observe, (*trainer).report)
}

// trainOn is Train on a given file system. finish, if not nil, is called once
// the last step is done.
func trainOn(ctx context.Context, fsys files, opt Options, observe func(Event), finish func(*trainer, context.Context) error) (*Summary, error) {
	began := time.Now()
	if observe == nil {
		observe = func(Event) {}
	}
	if err := opt.Validate(); err != nil {
		return nil, err
	}
	if err := choosePaths(&opt); err != nil {
		return nil, err
	}
	var c claim
	defer c.release()
	if err := c.existing(opt); err != nil {
		return nil, err
	}
	j, snap, err := prepare(ctx, opt, observe)
	if err != nil {
		return nil, err
	}
	defer j.close()
	if err := c.take(opt); err != nil {
		return nil, err
	}
	t, err := newTrainer(fsys, j, observe)
	if err != nil {
		return nil, err
	}
	defer t.close()
	if opt.MaxTime > 0 {
		t.deadline = began.Add(opt.MaxTime)
	}
	if snap == nil {
		err = t.begin()
	} else {
		err = t.resume(snap)
	}
	if err == nil {
		err = t.run(ctx)
	}
	if err != nil {
		return nil, err
	}
	if finish != nil && t.done() {
		if err := finish(t, ctx); err != nil { // the training itself is safe
			t.warn(fmt.Sprintf("report: %v", err))
		}
	}
	return t.summary(), nil
}

// prepare opens the data and decides everything about the run; for a run to be
// resumed, by its record. The snapshot is nil if there is none to go on from.
func prepare(ctx context.Context, opt Options, observe func(Event)) (*job, *snapshot, error) {
	state, err := inspectDir(opt.Out)
	if err != nil {
		return nil, nil, err
	}
	if state == dirRun && opt.Resume {
		return prepareResume(ctx, opt, observe)
	}
	if opt.Data == "" {
		return nil, nil, failf(ErrUsage, "out %s: no training has begun there: name the data to start one", opt.Out)
	}
	like, err := initData(&opt)
	if err != nil {
		return nil, nil, err
	}
	src, err := openSource(ctx, opt, like, observe)
	if err != nil {
		return nil, nil, err
	}
	j, err := newJob(ctx, opt, src)
	return j, nil, err
}

func prepareResume(ctx context.Context, opt Options, observe func(Event)) (*job, *snapshot, error) {
	run, err := OpenRun(opt.Out)
	if err != nil {
		return nil, nil, err
	}
	rec := &run.Record
	snap, name, warnings, err := loadNewest(opt.Out) // this also compares the checksum of run.json
	if err != nil {
		return nil, nil, err
	}
	if diff := optionDiff(rec.Options, opt); len(diff) > 0 {
		return nil, nil, failf(ErrUsage, "resume %s: these options differ from those it began with:\n  %s\nLeave them out to continue, or start another run (--init %s starts from its weights)",
			opt.Out, strings.Join(diff, "\n  "), opt.Out)
	}
	merged := merge(rec.Options, opt)
	if merged.Data != EmbeddedDigits && opt.Data == "" {
		merged.Data = rec.Data.Path
	}
	src, err := openSource(ctx, merged, &rec.Data, observe)
	if err != nil {
		return nil, nil, run.explain(ctx, merged, err)
	}
	if err := run.sameData(src.info); err != nil {
		src.close()
		return nil, nil, err
	}
	if name != "" && snap.state.Kernel != kernel.Tier() {
		warnings = append(warnings, fmt.Sprintf("the run was trained with %s kernels and goes on with %s: the result will differ in the last bits from that of an uninterrupted run",
			snap.state.Kernel, kernel.Tier()))
	}
	j := &job{src: src, norm: rec.Norm, augment: rec.Augment, pool: kernel.NewPool(merged.Workers)}
	merged.setKernels(j.pool)
	j.plan = Plan{Options: merged, Run: opt.Out, Data: rec.Data, Augment: rec.Augment, Encoder: rec.Encoder, Decoder: rec.Decoder, Params: rec.Params,
		Steps: rec.Steps, StepsPerEpoch: rec.StepsPerEpoch, Warnings: warnings}
	if err := j.checkMemory(); err != nil {
		j.close()
		return nil, nil, err
	}
	if name != "" {
		return j, &snap, nil
	}
	j.plan.Warnings = append(warnings, fmt.Sprintf("%s has no checkpoint: training starts from the beginning", opt.Out))
	if merged.Init != "" {
		if j.init, err = loadInit(merged.Init); err != nil {
			j.close()
			return nil, nil, err
		}
	}
	return j, nil, nil
}

// explain says that the data are others, where that is why the recorded labels
// do not fit them.
func (r *Run) explain(ctx context.Context, opt Options, err error) error {
	if opt.Labels == "" || ctx.Err() != nil {
		return err
	}
	if differ := r.checkData(ctx, opt.Data); errors.Is(differ, ErrArtefact) {
		return differ
	}
	return err
}

// loadInit loads the weights of another run.
func loadInit(dir string) (*snapshot, error) {
	if _, err := OpenRun(dir); err != nil {
		return nil, fmt.Errorf("init: %w", err)
	}
	snap, name, _, err := loadWeights(dir)
	if err != nil {
		return nil, fmt.Errorf("init: %w", err)
	}
	if name == "" {
		return nil, failf(ErrArtefact, "init %s: it has no checkpoint yet", dir)
	}
	return &snap, nil
}

// claim is the right to write into a run directory.
type claim struct{ lock *flock.Flock }

// existing checks opt.Out and locks it if it is there already, so that a
// second process is refused before it reads any data.
func (c *claim) existing(opt Options) error {
	if err := checkOut(opt); err != nil {
		return err
	}
	if _, err := os.Stat(opt.Out); err != nil {
		return nil
	}
	var err error
	c.lock, err = lockRun(opt.Out)
	return err
}

// take makes sure that opt.Out is there and ours.
func (c *claim) take(opt Options) error {
	if c.lock != nil {
		return nil
	}
	err := os.MkdirAll(opt.Out, 0o755)
	if err == nil {
		err = disk{}.SyncDir(filepath.Dir(opt.Out))
	}
	if err != nil {
		return failf(ErrResource, "making the run directory %s: %w", opt.Out, err)
	}
	if c.lock, err = lockRun(opt.Out); err != nil {
		return err
	}
	return checkOut(opt) // another process may have been faster
}

func (c *claim) release() {
	if c.lock != nil {
		c.lock.Unlock()
	}
}
