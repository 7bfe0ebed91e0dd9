package nat

import (
	"context"
	"time"

	"nat/dataset"
	"nat/encoder"
)

// Plan is what a run will do: the resolved options, what was found in the
// data, and what it will cost.
type Plan struct {
	Options Options  `json:"options"` // resolved: no field is left to choose
	Run     string   `json:"run"`     // run directory
	Data    DataInfo `json:"data"`

	Encoder       encoder.Spec `json:"encoder"`
	Params        int          `json:"params"`
	Steps         int          `json:"steps"`
	StepsPerEpoch int          `json:"steps_per_epoch"`

	MemoryBytes int64         `json:"memory_bytes"` // estimate of the peak
	DiskBytes   int64         `json:"disk_bytes"`   // upper estimate of the run directory
	StepTime    time.Duration `json:"step_time"`    // measured on real steps, nanoseconds
	ETA         time.Duration `json:"eta"`          // nanoseconds
	Warnings    []string      `json:"warnings,omitempty"`
}

// DataInfo describes a data set as training sees it.
type DataInfo struct {
	Path        string        `json:"path"`
	Kind        dataset.Kind  `json:"kind"`
	Rows        int           `json:"rows"`     // readable rows
	Train       int           `json:"train"`    // rows that own a target
	HeldOut     int           `json:"held_out"` // rows of the held-out gauges
	Bad         int           `json:"bad"`      // rejected files
	Shape       dataset.Shape `json:"shape"`    // of a row
	Input       dataset.Shape `json:"input"`    // of the network
	Vector      bool          `json:"vector"`
	Classes     []string      `json:"classes,omitempty"`
	Fingerprint string        `json:"fingerprint"`
}

// MakePlan resolves the options against the data and measures a few steps,
// writing nothing. observe may be nil.
func MakePlan(ctx context.Context, opt Options) (*Plan, error) {
	return nil, failf(ErrUsage, "not yet")
}
