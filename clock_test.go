package nat

import (
	"math"
	"testing"
	"time"
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
