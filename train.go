package nat

import "context"

// Summary is the outcome of Train.
type Summary struct {
	Run             string   `json:"run"`
	Steps           int      `json:"steps"`
	Epochs          int      `json:"epochs"`
	Seconds         float64  `json:"seconds"` // of training, over all sittings
	ImagesPerSecond float64  `json:"images_per_second"`
	Loss            float64  `json:"loss"`           // mean of the last epoch
	Reassigned      float64  `json:"reassigned"`     // mean of the last epoch
	AssignmentGap   *float64 `json:"assignment_gap"` // (17) at the end of the last epoch; null before the first
	Cosine          float64  `json:"cosine"`         // mean matched cosine of the last epoch
	Level           float64  `json:"level"`          // (24), to read Cosine by
	Checkpoint      string   `json:"checkpoint"`     // newest
	Complete        bool     `json:"complete"`       // false when --max-time ended it
	HeldOut         *Gauge   `json:"held_out,omitempty"`
	Train           *Gauge   `json:"train,omitempty"`
	Warnings        []string `json:"warnings,omitempty"`
}

// Train runs (or, with Resume, continues) a training as opt says and leaves a
// run directory. observe, if not nil, is called with every Event, in order, on
// the calling goroutine. When ctx is cancelled the current step is finished, a
// checkpoint saved and a *StoppedError returned; MaxTime ends with a
// checkpoint too, but with no error and Summary.Complete false.
func Train(ctx context.Context, opt Options, observe func(Event)) (*Summary, error) {
	return nil, failf(ErrUsage, "not yet")
}
