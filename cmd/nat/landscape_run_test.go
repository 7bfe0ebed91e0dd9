package main

import (
	"slices"
	"strings"
	"testing"

	"nat/assign"
)

func TestLinearTicks(t *testing.T) {
	for high, want := range map[float64]int{.17: 5, .2: 5, .24: 6, .4: 5, .5: 6, .51: 4, 1: 3, .0103: 4} {
		ticks := linearTicks(high)
		if last := ticks[len(ticks)-1]; len(ticks) != want || last < high || last > 1.5*high || ticks[0] != 0 {
			t.Errorf("up to %v: %v, want %d ticks", high, ticks, want)
		}
	}
}

func TestFittingBatches(t *testing.T) {
	for n, want := range map[int][]int{5000: {64, 256, 1024}, 256: {64, 256}, 10: {10}} {
		if got := fitting([]int{64, 256, 1024}, n); !slices.Equal(got, want) {
			t.Errorf("%d points: %v, want %v", n, got, want)
		}
	}
}

func TestExcessOf(t *testing.T) {
	for _, c := range [][3]float64{{3, 2, .5}, {2, 2, 0}, {2 - 1e-12, 2, 0}, {2 + 1e-12, 2, 0}, {0, 0, 0}} {
		if got := excessOf(c[0], c[1]); got != c[2] {
			t.Errorf("cost %v, optimum %v: excess %v", c[0], c[1], got)
		}
	}
}

// Each setting is a curve with its label, and labels do not lie on one another.
func TestMovingSVG(t *testing.T) {
	res := descendResult{N: 300}
	add := func(batch int, assigned, theta string, standstill string, excess ...float64) {
		for e, x := range excess {
			r := descendRow{Batch: batch, Assign: assigned, Theta: theta, Epoch: float64(e), Excess: x}
			if e == len(excess)-1 {
				r.Standstill = standstill
			}
			res.Rows = append(res.Rows, r)
		}
	}
	add(8, "batch", thetaFixed, assign.Proven, .2, .1, .05)
	add(64, "batch", thetaFixed, assign.Idle, .2, .1, 0)
	add(8, "batch", thetaMoving, "", .2, .18)
	add(64, "batch", thetaMoving, "", .2, .18)
	add(64, "pool", thetaMoving, "", .2, .18)
	add(64, "global", thetaMoving, "", .2, .18)
	svg := movingSVG(res)
	if got := strings.Count(svg, "<polyline"); got != 6 {
		t.Errorf("%d curves", got)
	}
	contains(t, svg, ">8<", ">64<", ">64, pools<", ">64, global<", "300 rows")
	var d drawing
	labels := []label{{y: 50}, {y: 10}, {y: 12}}
	d.labels(labels)
	if got := []float64{labels[0].y, labels[1].y, labels[2].y}; !slices.Equal(got, []float64{10, 24, 50}) {
		t.Errorf("labels at %v", got)
	}
}
