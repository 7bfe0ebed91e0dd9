package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"nat"
	"nat/dataset"
	"nat/internal/tensorfile"
)

// The exit codes, as documented in the manual.
const (
	exitOK       = 0
	exitFailure  = 1
	exitUsage    = 2
	exitInput    = 3
	exitArtefact = 4
	exitResource = 5
)

// signalled is the cause of a context that a signal cancelled.
type signalled struct{ sig os.Signal }

func (s *signalled) Error() string {
	if s.sig == os.Interrupt {
		return "stopped by an interrupt (SIGINT)"
	}
	return "stopped by a request to terminate (SIGTERM)"
}

func (s *signalled) exitCode() int {
	if s.sig == os.Interrupt {
		return 128 + int(syscall.SIGINT)
	}
	return 128 + int(syscall.SIGTERM)
}

// stoppedBy replaces an error that only says that ctx was cancelled, or that a run was stopped before it had a
// checkpoint, by the cause.
func stoppedBy(cause, err error) error {
	var s *signalled
	var stop *nat.StoppedError
	switch {
	case errors.As(err, &stop) && stop.Checkpoint == "":
		return cause
	case !errors.Is(err, context.Canceled) || errors.As(err, &s):
		return err
	}
	return cause
}

// usageError is a mistake in the command line.
type usageError struct{ msg string }

func (e *usageError) Error() string { return e.msg }
func (e *usageError) Unwrap() error { return nat.ErrUsage }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

// classified gives an error the class of what it happened to: a path that does not exist is rejected data when it is
// DATA, and a missing artefact when it is RUN.
type classified struct{ err, class error }

func (e *classified) Error() string   { return e.err.Error() }
func (e *classified) Unwrap() []error { return []error{e.err, e.class} }

// classify gives class to a failure of the file system that nobody has classified yet.
func classify(err, class error) error {
	for _, kind := range []error{nat.ErrUsage, nat.ErrInput, nat.ErrArtefact, nat.ErrResource} {
		if errors.Is(err, kind) {
			return err
		}
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return &classified{err, class}
	}
	return err
}

// panicError is a bug of ours that reached the top.
type panicError struct{ msg string }

func (e *panicError) Error() string { return e.msg }

func internalError(p any, stack []byte, debug bool) error {
	msg := fmt.Sprintf("internal error: %v\nThis is a bug in nat, not in what you asked for.", p)
	if debug {
		return &panicError{msg + "\n" + strings.TrimSpace(string(stack))}
	}
	return &panicError{msg + " Run the command again with NAT_DEBUG=1 to see where it happened."}
}

// failure is how an error is reported: its name in JSON and its exit code.
type failure struct {
	kind string
	code int
}

func classOf(err error) failure {
	var s *signalled
	var p *panicError
	var c *classified
	switch {
	case errors.As(err, &s):
		return failure{"stopped", s.exitCode()}
	case errors.As(err, &p):
		return failure{"internal", exitFailure}
	case errors.As(err, &c):
		return classOf(c.class)
	case errors.Is(err, nat.ErrUsage):
		return failure{"usage", exitUsage}
	case errors.Is(err, nat.ErrResource), errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return failure{"resource", exitResource}
	case errors.Is(err, nat.ErrArtefact):
		return failure{"artefact", exitArtefact}
	case errors.Is(err, nat.ErrInput), errors.Is(err, dataset.ErrRejected), errors.Is(err, tensorfile.ErrFormat):
		return failure{"input", exitInput}
	}
	return failure{"runtime", exitFailure}
}

// errorJSON is the one object that a failing command prints on stdout under --json.
type errorJSON struct {
	Error errorFields `json:"error"`
}

type errorFields struct {
	Kind       string `json:"kind"`
	Message    string `json:"message"`
	ExitCode   int    `json:"exit_code"`
	Checkpoint string `json:"checkpoint,omitempty"`
	Resume     string `json:"resume,omitempty"`
}

// fail reports err on stderr, under --json also as an object on stdout, and returns the exit code.
func (a *app) fail(err error, cmd *cobra.Command) int {
	name := "nat"
	if cmd != nil {
		name = cmd.CommandPath()
	}
	class := classOf(err)
	fmt.Fprintf(a.stderr, "%s: %s\n", name, strings.TrimSpace(err.Error()))
	if a.json {
		fields := errorFields{Kind: class.kind, Message: err.Error(), ExitCode: class.code}
		var stop *stoppedTraining
		if errors.As(err, &stop) {
			fields.Checkpoint, fields.Resume = stop.checkpoint, stop.resume
		}
		b, _ := json.Marshal(errorJSON{fields})
		fmt.Fprintf(a.stdout, "%s\n", b)
	}
	return class.code
}
