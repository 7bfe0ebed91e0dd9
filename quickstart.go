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

// quickEpochs is less than the default for so few rows: features still improve
// a little up to three times as many, but these leave everything within half a
// minute on two idle cores. Chosen on a part of the training digits.
const quickEpochs = 60

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
	settings := Options{Data: EmbeddedDigits, Out: out, Workers: opt.Workers, Seed: opt.Seed, Epochs: quickEpochs}
	if err := settings.Validate(); err != nil {
		return nil, err
	}
	sum, err := trainOn(ctx, disk{}, settings, observe, nil) // the report comes last, with the probes
	if err != nil {
		return nil, err
	}
	run, err := OpenRun(out)
	if err != nil {
		return nil, err
	}
	res := &QuickstartResult{Summary: sum}
	res.Eval, err = Evaluate(ctx, run, "", EvalOptions{Workers: opt.Workers, PerClass: []int{10}, Seed: opt.Seed}, observe)
	if err != nil {
		return nil, err
	}
	if err := writeEval(filepath.Join(run.Dir, EvalFile), res.Eval); err != nil {
		return nil, err
	}
	files, err := run.Report(ctx, "", ReportOptions{Evals: []*EvalResult{res.Eval}, Workers: opt.Workers}, observe)
	if err != nil {
		return nil, err
	}
	res.Report = files.Report
	res.Seconds = time.Since(began).Seconds()
	return res, nil
}
