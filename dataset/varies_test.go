package dataset

import (
	"context"
	"math"
	"testing"
)

// Features whose spread cannot be inverted count as constant.
func TestDataWithoutVariation(t *testing.T) {
	tiny := []float32{1e-40, 2e-40, 3e-40, 4e-40, 0, 1e-40, 2e-40, 9e-40}
	for name, c := range map[string]struct {
		x    []float32
		want bool
	}{
		"ramp": {ramp(8), true}, "zero": {make([]float32, 8), false}, "subnormal": {tiny, false},
		"last": {[]float32{5, 5, 5, 5, 5, 5, 5, 6}, true}, "one row repeated": {[]float32{1, 2, 1, 2, 1, 2, 1, 2}, false},
	} {
		s := mustOpen(t, write(t, npyBytes(t, []int{4, 2}, c.x), t.TempDir(), "x.npy"), Options{})
		if got, err := Varies(s, []int{0, 1, 2, 3}); err != nil || got != c.want {
			t.Errorf("%s: varies %v, error %v", name, got, err)
		}
		norm, err := FitNormalizer(context.Background(), s, []int{0, 1, 2, 3})
		if err != nil {
			t.Fatal(err)
		}
		for _, scale := range norm.inverse() {
			if math.IsInf(float64(scale), 0) || math.IsNaN(float64(scale)) {
				t.Errorf("%s: scale %v", name, scale)
			}
		}
	}
}
