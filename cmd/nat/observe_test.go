package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"nat"
)

// testApp shows events on a buffer as a pipe would get them; without an interval, so that every line is printed.
func testApp() (*app, *bytes.Buffer) {
	var out bytes.Buffer
	a := &app{stdout: &out, stderr: &out, env: func(string) string { return "" }}
	a.progress = a.newMeter()
	a.progress.every = 0
	return a, &out
}

func TestObserveShowsATraining(t *testing.T) {
	a, out := testApp()
	stats := &nat.Stats{Loss: 1.25, Pairing: &nat.Pairing{WonByReassignment: .03, Cosine: .375, Level: .341, Reassigned: .42}}
	gap := .108
	for _, e := range []nat.Event{
		{Kind: nat.EventScan, Done: 50, Total: 100},
		{Kind: nat.EventStart, Step: 0, Steps: 8, Epochs: 2},
		{Kind: nat.EventStep, Step: 3, Steps: 8, Epochs: 2, Stats: stats, Rate: 1234.5, Wait: .123, ETA: 65},
		{Kind: nat.EventWarning, Message: "few rows"},
		{Kind: nat.EventWarning, Message: "few rows"},
		{Kind: nat.EventEpoch, Step: 4, Steps: 8, Epochs: 2, Stats: stats, Train: &nat.Gauge{AssignmentGap: &gap},
			HeldOut: &nat.Gauge{Alignment: .2, Uniformity: &nat.Uniformity{Score: .8912, Information: 2.345, Efficiency: .847}}, Rate: 1234.5, ETA: .2},
		{Kind: nat.EventAssign, Message: "re-pairing all rows", Done: 3, Total: 60},
		{Kind: nat.EventCheckpoint, Path: "x"},
		{Kind: nat.EventDone},
		{Kind: nat.EventProbe, Message: "knn: run embedding", Done: 1, Total: 4},
	} {
		a.observe(e)
	}
	want := `scan  50/100 rows
training for 2 epochs, 8 steps
epoch 1/2  3/8 steps  loss 1.250 (-0.030 by re-assigning 42 %)  cos 0.38/0.34  1,234 images/s  waiting for data 12 %  ETA 1m05s
warning: few rows
epoch 1/2 done  loss 1.250  cos 0.38/0.34  42 % re-assigned  gap 10.8 %  held-out alignment 0.200  score 0.891  information 2.35, 85 % of uniform  1,234 images/s  ETA <1s
re-pairing all rows  3/60 rows
probe: knn: run embedding   25 %
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out, want)
	}
}

// Without held-out rows, or with too few of them to tell, the training rows speak.
func TestGaugeFields(t *testing.T) {
	some := &nat.Gauge{Alignment: .3, Uniformity: &nat.Uniformity{Score: .5, Information: 1, Efficiency: .25}}
	few := &nat.Gauge{Alignment: .4}
	for _, c := range []struct {
		train, held *nat.Gauge
		want        string
	}{
		{nil, nil, ""}, {some, nil, "training-row alignment 0.300|score 0.500|information 1.00, 25 % of uniform"},
		{some, few, "training-row alignment 0.300|score 0.500|information 1.00, 25 % of uniform"}, {few, few, "held-out alignment 0.400"},
	} {
		if got := strings.Join(gaugeFields(c.train, c.held), "|"); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestWarningsAreShownInQuiet(t *testing.T) {
	a, out := testApp()
	a.progress.quiet = true
	a.observe(nat.Event{Kind: nat.EventStart, Epochs: 1})
	a.observe(nat.Event{Kind: nat.EventWarning, Message: "a damaged checkpoint was passed over"})
	if got := out.String(); got != "warning: a damaged checkpoint was passed over\n" {
		t.Errorf("got %q", got)
	}
}

func TestManyEpochsLeaveFewLines(t *testing.T) {
	for epochs := 1; epochs < 300; epochs++ {
		kept := 0
		for e := range epochs {
			if worthKeeping(nat.Event{Epoch: e, Epochs: epochs}) {
				kept++
			}
		}
		if kept > keptEpochs+2 || kept < min(epochs, keptEpochs/2) {
			t.Errorf("%d epochs leave %d lines", epochs, kept)
		}
		if !worthKeeping(nat.Event{Epoch: epochs - 1, Epochs: epochs}) {
			t.Errorf("%d epochs: the last is lost", epochs)
		}
	}
}

func TestStartLineOfAResumedRun(t *testing.T) {
	got := startLine(nat.Event{Step: 1200, Steps: 4000, Epochs: 20})
	if want := "training for 20 epochs, 4,000 steps, going on from step 1,200"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestStopIsAnnouncedOnce(t *testing.T) {
	a, out := testApp()
	m := a.progress
	m.now = func() time.Time { return time.Unix(0, 0) }
	m.note("finishing")
	m.note("finishing")
	if n := strings.Count(out.String(), "finishing"); n != 1 {
		t.Errorf("%d times: %q", n, out)
	}
}
