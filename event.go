package nat

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Kinds of Event. Those of start, step, epoch and done are also lines of
// RUN/metrics.jsonl; the others depend on when and how a run was interrupted
// and only reach the observer.
const (
	EventScan       = "scan"       // listing the data: Done of Total files
	EventStart      = "start"      // training begins, or goes on from Step
	EventStep       = "step"       // one step: Stats
	EventEpoch      = "epoch"      // an epoch's means in Stats; gauges at the first, the last and some between
	EventCheckpoint = "checkpoint" // Path was written
	EventWarning    = "warning"    // Message: a doubt that does not stop the run
	EventDone       = "done"       // training is complete
	EventAssign     = "assign"     // re-matching the whole data set: Message, Done of Total
	EventProbe      = "probe"      // Evaluate: Message, Done of Total
)

// Event is what Train, Evaluate and Quickstart tell their observer, and a line
// of metrics.jsonl. Stats is nil but for steps and epochs.
type Event struct {
	Kind    string `json:"event"`
	Step    int    `json:"step"`             // steps done
	Steps   int    `json:"steps,omitempty"`  // steps of the whole run
	Epoch   int    `json:"epoch"`            // epoch of the step, from 0
	Epochs  int    `json:"epochs,omitempty"` // epochs of the whole run
	Message string `json:"message,omitempty"`
	Path    string `json:"path,omitempty"`
	Done    int    `json:"done,omitempty"`
	Total   int    `json:"total,omitempty"`

	*Stats
	Train   *Gauge  `json:"train,omitempty"`    // on the fixed probe of training rows
	HeldOut *Gauge  `json:"held_out,omitempty"` // on rows that own no target
	Stop    *Stop   `json:"stop,omitempty"`     // whether more training helps, as far as the gauges can tell
	Global  *Global `json:"global,omitempty"`   // re-matching of the whole data set at the end of an epoch, after the gauges

	// Below: nothing but time, and so different in each run.
	Time    time.Time `json:"time,omitzero"`
	Elapsed float64   `json:"elapsed,omitempty"` // seconds of training, over all sittings
	Rate    float64   `json:"rate,omitempty"`    // images a second through the network, each view counted
	Wait    float64   `json:"wait,omitempty"`    // share of the steps' time spent waiting for the loader: of late, or of all steps so far in epoch and done
	ETA     float64   `json:"eta,omitempty"`     // seconds to go
	// GlobalTime is what Global took, in seconds, GaugeTime what the gauges did, and
	// GaugeShare the share of the training's time that all readings so far took.
	GlobalTime float64 `json:"global_time,omitempty"`
	GaugeTime  float64 `json:"gauge_time,omitempty"`
	GaugeShare float64 `json:"gauge_share,omitempty"`
}

// timeFields are the fields of a metrics line that differ between two runs
// of the same options.
var timeFields = []string{"time", "elapsed", "rate", "wait", "eta", "global_time", "gauge_time", "gauge_share"}

// Stats describe one step, or are the means over an epoch. What the objective does
// not have is nil, and absent from the line.
type Stats struct {
	Loss        float64  `json:"loss"` // of the objective: mean squared distance to the targets, or a cross-entropy
	*Pairing             // of objectives with targets
	Alignment   *float64 `json:"alignment,omitempty"`   // (25) between views 0 and 1; nil with one view
	Information *float64 `json:"information,omitempty"` // nats: what the batch shows to be kept, at least (9), (10), (40)
	Accuracy    *float64 `json:"accuracy,omitempty"`    // share of the right guesses at the point or the class
	Uniformity  *float64 `json:"uniformity,omitempty"`  // (23) of the batch
	Divergence  *float64 `json:"divergence,omitempty"`  // of vae: nats that a code may tell of its row, at most (50)
	// SquaredError is, of vae, the mean over the values of the rows, standardised.
	SquaredError *float64 `json:"squared_error,omitempty"`
	LR           float64  `json:"lr"`
	GradNorm     float64  `json:"grad_norm"` // Euclidean, over all parameters of the network; before it is clipped
}

// Pairing is what a step says about targets. The fall of the loss from that of a random
// pairing, which is 2 for squared distances, has two parts (16): what this step's
// re-assignment won, and the rest, which the network holds by itself with the pairing
// it was given. A loss that pulls to all targets of the batch wins nothing by re-assignment, and
// falls from that of a batch in one point.
type Pairing struct {
	LossBefore        float64 `json:"loss_before"`         // Loss with the pairing before this step
	WonByReassignment float64 `json:"won_by_reassignment"` // LossBefore - Loss
	WonByNetwork      float64 `json:"won_by_network"`      // that of a random pairing - LossBefore
	Reassigned        float64 `json:"reassigned"`          // fraction of the batch's points whose target changed
	Cosine            float64 `json:"cosine"`              // mean matched cosine
	Level             float64 `json:"level"`               // (24): what one random match of this size gives
	Gap               float64 `json:"gap"`                 // certificate of the solver: cost - lower bound
	// WonByPool is what re-pairing a pool at the end of this step won, mean over
	// its points; 0 when none was due. It shows in LossBefore an epoch later. An
	// epoch's line has the mean over the pools.
	WonByPool float64 `json:"won_by_pool,omitempty"`
}

// chance is the loss that the two parts are taken from.
func (p *Pairing) chance() float64 { return p.LossBefore + p.WonByNetwork }

// Gauge describes the embeddings of a fixed sample of rows, in evaluation mode.
type Gauge struct {
	Rows          int      `json:"rows"`
	AssignmentGap *float64 `json:"assignment_gap,omitempty"` // (17); nil for held-out rows, which own no target
	Cosine        *float64 `json:"cosine,omitempty"`         // mean cosine with the current targets; nil for held-out rows
	MatchedCosine float64  `json:"matched_cosine"`           // mean cosine of the best matching with fresh uniform targets
	Level         float64  `json:"level"`                    // (24) for this many points
	Alignment     float64  `json:"alignment"`                // (25) of two views drawn once and for all; with --augment none too
	EffectiveRank float64  `json:"effective_rank"`           // (25), at most d
	*Uniformity            // nil for fewer than 16 rows
}

// Uniformity compares embeddings with samples of as many uniform points. Information is
// counted through noise at which these keep about half of what can be told.
type Uniformity struct {
	Score        float64 `json:"score"`             // of (26): 1 is uniform, 0 a single point
	ScoreSD      float64 `json:"score_sd"`          // its deviation for a uniform sample
	Noise        float64 `json:"noise"`             // deviation per coordinate, infomax.HalfNoise
	Information  float64 `json:"information"`       // (6), nats
	Error        float64 `json:"information_error"` // its standard error
	Uniform      float64 `json:"uniform_information"`
	UniformError float64 `json:"uniform_error"`
	Ceiling      float64 `json:"ceiling"`    // log of the number of rows
	Efficiency   float64 `json:"efficiency"` // (8): Information / Uniform
}

// Global is an exact re-matching of all rows, by their unaugmented embeddings in
// evaluation mode. Losses are mean squared distances of a row to its target.
type Global struct {
	Rows       int     `json:"rows"`
	LossBefore float64 `json:"loss_before"` // with the pairing that training had reached
	Loss       float64 `json:"loss"`        // with the best one
	Excess     float64 `json:"excess"`      // (17) on all rows: LossBefore / Loss - 1
	Reassigned float64 `json:"reassigned"`  // fraction of the rows that got another target
	Gap        float64 `json:"gap"`         // certificate: Loss is at most this far above the optimum
}

// ReadEvents reads the events of a run's metrics.jsonl in order. A torn last
// line, which a killed process leaves, is ignored.
func ReadEvents(path string) ([]Event, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, failf(ErrArtefact, "%s: no such file: is %s a run?", path, filepath.Dir(path))
	} else if err != nil {
		return nil, err
	}
	defer f.Close()
	var events []Event
	r := bufio.NewReader(f)
	for line := 1; ; line++ {
		b, err := r.ReadBytes('\n')
		if err == io.EOF {
			return events, nil
		} else if err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", path, line, err)
		}
		var e Event
		if err := json.Unmarshal(b, &e); err != nil {
			return nil, failf(ErrArtefact, "%s, line %d: %w", path, line, err)
		}
		events = append(events, e)
	}
}
