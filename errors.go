package nat

import (
	"errors"
	"fmt"
)

// The kinds of failure a caller may want to tell apart; cmd/nat maps them to
// exit codes. An error belongs to a kind when errors.Is says so; one that
// belongs to none is a failure at run time.
var (
	// ErrUsage: the options contradict each other or the state of the disk.
	ErrUsage = errors.New("usage")
	// ErrInput: the data are not there, cannot be read, or were rejected.
	ErrInput = errors.New("input data rejected")
	// ErrArtefact: a run directory is damaged or does not fit the request.
	ErrArtefact = errors.New("artefact corrupt or incompatible")
	// ErrResource: disk, memory or a lock is missing.
	ErrResource = errors.New("resource unavailable")
)

// kindError puts err under one of the kinds above without changing its text.
type kindError struct{ kind, err error }

func (e *kindError) Error() string   { return e.err.Error() }
func (e *kindError) Unwrap() []error { return []error{e.kind, e.err} }

func failf(kind error, format string, args ...any) error {
	return &kindError{kind, fmt.Errorf(format, args...)}
}

// StoppedError reports that training was stopped from outside after it had
// saved a checkpoint: a later resume continues bit for bit. Stopped before it
// had begun, while the data were listed, it has no checkpoint to name.
type StoppedError struct {
	Cause      error  // context.Cause of the context that was cancelled
	Run        string // run directory
	Checkpoint string // path of the checkpoint that was written, or empty
	Step       int    // steps done
}

func (e *StoppedError) Error() string {
	if e.Checkpoint == "" {
		return fmt.Sprintf("stopped before anything was written (%v)", e.Cause)
	}
	return fmt.Sprintf("stopped at step %d (%v); saved %s: continue with --out %s --resume", e.Step, e.Cause, e.Checkpoint, e.Run)
}

// Unwrap returns the cause.
func (e *StoppedError) Unwrap() error { return e.Cause }

// DivergedError reports a loss, gradient or weight that is no longer a finite
// number. Nothing was written since the checkpoint it names.
type DivergedError struct {
	Step       int    // step, counted from 0, in which it happened
	What       string // "loss", or the name of a parameter and "gradient" or "value"
	Checkpoint string // last good checkpoint
	LR         float64
}

func (e *DivergedError) Error() string {
	return fmt.Sprintf("step %d: %s is not finite (learning rate %.3g); the last good checkpoint is %s: try a smaller --lr or check the data for outliers",
		e.Step, e.What, e.LR, e.Checkpoint)
}
