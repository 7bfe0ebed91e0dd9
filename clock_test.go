package nat

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"nat/dataset"
)

// The rate is that of all steps until a window is full, pauses left out, and
// then that of the last whole window.
func TestClockAveragesFromTheStart(t *testing.T) {
	var c clock
	now, waited := time.Unix(0, 0), time.Duration(0)
	step := func(took, wait time.Duration, want float64) {
		t.Helper()
		now, waited = now.Add(took), waited+wait
		c.step(now, waited)
		if math.Abs(c.stepTime-want) > 1e-9 {
			t.Errorf("%v a step, want %v", c.stepTime, want)
		}
	}
	step(time.Minute, time.Minute, 0) // only starts the watch
	step(100*time.Millisecond, 0, .1)
	step(300*time.Millisecond, 200*time.Millisecond, .2)
	if c.wait != .5 {
		t.Errorf("waited %v of the time", c.wait)
	}
	c.pause()
	step(time.Hour, time.Hour, .2)
	step(200*time.Millisecond, 0, .2)
	step(1400*time.Millisecond, 0, .5) // a window of 2 s is full
	step(time.Second, 0, .5)
	step(time.Second, 0, 1)
}

// What the loader kept steps waiting is counted over all sittings, and only data
// that are slow for long are called so.
func TestClockCountsWaiting(t *testing.T) {
	var c clock
	c.start(&state{Elapsed: 60, Stepping: 3, Waiting: 1})
	now := time.Unix(0, 0)
	c.step(now, 0)
	c.step(now.Add(time.Second), 0)
	if c.waitShare() != .25 || c.starved() {
		t.Errorf("waited %v of 4 s, starved %v", c.waitShare(), c.starved())
	}
	c.step(now.Add(2*time.Second), 100*time.Millisecond)
	if !c.starved() {
		t.Errorf("waited %v of 5 s, which is not called slow", c.waitShare())
	}
	var st state
	c.save(&st)
	if st.Stepping != 5 || st.Waiting != 1.1 || st.Elapsed < 60 {
		t.Errorf("saved %+v", st)
	}
	e := Event{Kind: EventEpoch}
	c.fill(&e, &Plan{})
	if math.Abs(e.Wait-.22) > 1e-12 {
		t.Errorf("an epoch reports %v", e.Wait)
	}
}

// Slow data are told once, with what helps.
func TestStarvationIsAWarning(t *testing.T) {
	images, _ := writeImages(t, smallRows, 6)
	opt := small(images, filepath.Join(t.TempDir(), "run"))
	s, err := trainOn(context.Background(), unsynced{}, opt, nil, nil)
	if err != nil || len(s.Warnings) > 0 || s.Wait < 0 || s.Wait > 1 {
		t.Fatalf("%+v, error %v", s, err)
	}
	opt.Out = filepath.Join(t.TempDir(), "slow")
	j, _, err := prepare(context.Background(), opt, func(Event) {})
	if err != nil {
		t.Fatal(err)
	}
	defer j.close()
	if err := os.Mkdir(opt.Out, 0o755); err != nil {
		t.Fatal(err)
	}
	tr, err := newTrainer(unsynced{}, j, func(Event) {})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.close()
	if err := tr.begin(); err != nil {
		t.Fatal(err)
	}
	tr.clock.stepping, tr.clock.waiting = time.Hour, 30*time.Minute
	if err := tr.run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if w := tr.summary().Warnings; len(w) != 1 || !strings.HasPrefix(w[0], "training waits for data 50 % of the time: ") {
		t.Errorf("warnings %q", w)
	}
}

func TestRemedies(t *testing.T) {
	shape := dataset.Shape{H: 74, W: 70, C: 3}
	for want, d := range map[string]DataInfo{
		"--cache 15 keeps all":                                 {Kind: dataset.Folder, Rows: 1000, Shape: shape},
		"copy the images once at 70 x 74 pixels":               {Kind: dataset.Folder, Rows: 1 << 40, Shape: shape},
		"reading and augmenting takes longer than the network": {Kind: dataset.NPY, Rows: 1000, Shape: shape},
	} {
		if got := d.remedy(&Options{Cache: 2}); !strings.Contains(got, want) {
			t.Errorf("%q does not say %q", got, want)
		}
	}
	if runtime.GOMAXPROCS(0) > 1 {
		if got := (&DataInfo{}).remedy(&Options{Workers: 1}); !strings.Contains(got, "leave --workers out") {
			t.Errorf("%q with one worker", got)
		}
	}
}
