package nat

import (
	"context"

	"nat/dataset"
	"nat/encoder"
)

// Run is a run directory that exists.
type Run struct {
	Dir    string
	Record Record // run.json
}

// Record is the content of run.json, written once.
type Record struct {
	Format   int                `json:"format"`
	Options  Options            `json:"options"` // resolved
	Data     DataInfo           `json:"data"`
	Encoder  encoder.Spec       `json:"encoder"`
	Params   int                `json:"params"`
	Steps    int                `json:"steps"`
	PerEpoch int                `json:"steps_per_epoch"`
	Augment  dataset.Augment    `json:"augment"`
	Norm     dataset.Normalizer `json:"normalizer"`
	Version  string             `json:"version"`
	Host     Host               `json:"host"`
}

// Host is where a run began.
type Host struct {
	Name   string `json:"name"`
	OS     string `json:"os"`
	Arch   string `json:"arch"`
	Cores  int    `json:"cores"`
	Go     string `json:"go"`
	Kernel string `json:"kernel"` // instruction set of the kernels
}

// OpenRun reads RUN/run.json.
func OpenRun(dir string) (*Run, error) {
	return nil, failf(ErrUsage, "not yet")
}

// RunInfo is what `nat info` shows.
type RunInfo struct {
	Run string `json:"run"`
	Record
	Layers      []string         `json:"layers"` // names that Embed accepts besides embedding and features
	Checkpoints []CheckpointInfo `json:"checkpoints"`
	Last        *Event           `json:"last_metrics,omitempty"` // last step or epoch
	Complete    bool             `json:"complete"`
}

// CheckpointInfo describes one checkpoint.
type CheckpointInfo struct {
	Name    string  `json:"name"`
	Step    int     `json:"step"`
	Epoch   int     `json:"epoch"`
	Bytes   int64   `json:"bytes"`
	Elapsed float64 `json:"elapsed"`
	Damage  string  `json:"damage,omitempty"` // what is wrong with it
}

// Info gathers what is known about the run, checksums included.
func (r *Run) Info() (*RunInfo, error) {
	return nil, failf(ErrUsage, "not yet")
}

// VerifyReport lists what Verify looked at. Problems is empty for a sound run.
type VerifyReport struct {
	Run      string   `json:"run"`
	Checked  []string `json:"checked"`
	Problems []string `json:"problems"`
}

// Verify recomputes every checksum, and checks that pi is a bijection, that
// the targets have unit norm and that the data are the same (those at
// dataPath, or at the recorded path when it is empty). The error is of kind
// ErrArtefact when something is wrong; the report is valid then too.
func (r *Run) Verify(ctx context.Context, dataPath string) (*VerifyReport, error) {
	return nil, failf(ErrUsage, "not yet")
}
