package nat

import "context"

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
	return nil, failf(ErrUsage, "not yet")
}
