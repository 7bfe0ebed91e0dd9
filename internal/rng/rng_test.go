package rng

import "testing"

// The first draws are fixed for ever: a change here would silently change
// every run and every checkpoint that is resumed.
func TestStreamsAreFixed(t *testing.T) {
	for _, c := range []struct {
		name    string
		indices []uint64
		want    uint64
	}{
		{Targets, nil, 0x4b90a22a5544b853},
		{Augment, []uint64{1, 2, 3}, 0x5eb9b6d202ab734d},
	} {
		if got := New(1, c.name, c.indices...).Uint64(); got != c.want {
			t.Errorf("New(1, %q, %v) starts with %#x, want %#x", c.name, c.indices, got, c.want)
		}
	}
}

func TestStreamsDiffer(t *testing.T) {
	seen := map[uint64]string{}
	add := func(label string, v uint64) {
		if other, ok := seen[v]; ok {
			t.Errorf("streams %s and %s start alike", label, other)
		}
		seen[v] = label
	}
	add("seed 1", New(1, "a").Uint64())
	add("seed 2", New(2, "a").Uint64())
	add("name b", New(1, "b").Uint64())
	add("index 0", New(1, "a", 0).Uint64())
	add("index 0 0", New(1, "a", 0, 0).Uint64())
	add("index 0 1", New(1, "a", 0, 1).Uint64())
	add("index 1 0", New(1, "a", 1, 0).Uint64())
}
