package nat

import (
	"context"
	"path/filepath"
	"time"
)

// EmbeddedDigits is the path of the digits that are part of the program.
const EmbeddedDigits = "digits:"

// QuickstartOptions: the zero value is what `nat quickstart` runs.
type QuickstartOptions struct {
	Out     string // default ./nat-quickstart, or the next free name
	Workers int
	Seed    uint64
}

// QuickstartResult is what came of it.
type QuickstartResult struct {
	Summary *Summary    `json:"summary"`
	Eval    *EvalResult `json:"eval"`
	Report  string      `json:"report"`  // path of report.html
	Seconds float64     `json:"seconds"` // of everything
}

// Quickstart trains on the embedded digits, probes the result on their test
// split and writes a report.
func Quickstart(ctx context.Context, opt QuickstartOptions, observe func(Event)) (*QuickstartResult, error) {
	began := time.Now()
	out := opt.Out
	if out == "" {
		var err error
		if out, _, err = freeName("nat-quickstart"); err != nil {
			return nil, err
		}
	}
	sum, err := Train(ctx, Options{Data: EmbeddedDigits, Out: out, Workers: opt.Workers, Seed: opt.Seed}, observe)
	if err != nil {
		return nil, err
	}
	run, err := OpenRun(out)
	if err != nil {
		return nil, err
	}
	eval, err := Evaluate(ctx, run, "", EvalOptions{Workers: opt.Workers, PerClass: 10, Seed: opt.Seed}, observe)
	if err != nil {
		return nil, err
	}
	return &QuickstartResult{Summary: sum, Eval: eval, Report: filepath.Join(out, reportFile), Seconds: time.Since(began).Seconds()}, nil
}
