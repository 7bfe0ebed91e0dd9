package main

import "testing"

// No sign before a zero.
func TestFour(t *testing.T) {
	for x, want := range map[float64]string{0: "0.0000", -1e-9: "0.0000", -.00004: "0.0000", -.00006: "-0.0001", 1.5: "1.5000", -2: "-2.0000"} {
		if got := four(x); got != want {
			t.Errorf("%v: %q", x, got)
		}
	}
}
