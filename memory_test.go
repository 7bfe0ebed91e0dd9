package nat

import (
	"errors"
	"strings"
	"testing"

	"nat/dataset"
)

// planned is a job on a million vectors of 64 features.
func planned(t *testing.T, change func(*Options)) *job {
	t.Helper()
	opt := Options{Encoder: "linear"}
	change(&opt)
	info := DataInfo{Rows: 1_050_000, Train: 1_000_000, Shape: dataset.Shape{H: 1, W: 1, C: 64}, Input: dataset.Shape{H: 1, W: 1, C: 64}}
	spec, err := chooseEncoder(&opt, info.Input, nil)
	if err != nil {
		t.Fatal(err)
	}
	resolve(&opt, info.Train)
	return &job{plan: Plan{Options: opt, Data: info, Encoder: spec, Params: spec.ParamCount(), Steps: 1000}}
}

func TestMemoryCountsThePool(t *testing.T) {
	batch := planned(t, func(o *Options) { o.Batch = 1024 })
	pool := planned(t, func(o *Options) { o.Batch, o.Assign, o.Pool = 1024, "pool", 16 })
	const m = 16 * 1024
	extra := total(pool.memory()) - total(batch.memory())
	if least := int64(4*m*m - 4*gaugeRows*gaugeRows); extra < least || extra > least*5/4 {
		t.Errorf("a pool of %d points takes %d bytes more, its matrix alone %d", m, extra, least)
	}
	if extra := pool.disk() - batch.disk(); extra != 4*m*4*65 { // 3 checkpoints and the one being written
		t.Errorf("the pool takes %d bytes on disk", extra)
	}
}

func TestMemoryCountsTheWholeDataSet(t *testing.T) {
	batch := planned(t, func(*Options) {})
	global := planned(t, func(o *Options) { o.Assign = "global" })
	const n = 1_000_000
	if extra := total(global.memory()) - total(batch.memory()); extra < 1000*n || extra > 4000*n {
		t.Errorf("re-pairing a million points takes %d bytes more", extra)
	}
}

// Scratch memory is held by every worker: with resnet18 32 of them were found to
// hold 164 MiB more than 2.
func TestMemoryCountsTheWorkers(t *testing.T) {
	few := planned(t, func(o *Options) { o.Workers = 2 })
	many := planned(t, func(o *Options) { o.Workers = 32 })
	if extra := total(many.memory()) - total(few.memory()); extra < 164<<20 {
		t.Errorf("30 workers more take %d bytes more", extra)
	}
}

func TestTooLittleMemoryNamesTheFlag(t *testing.T) {
	for want, change := range map[string]func(*Options){
		"lower --dim":                func(o *Options) { o.Dim = 1024 },
		"lower --pool":               func(o *Options) { o.Batch, o.Assign, o.Pool = 1024, "pool", 64 },
		"re-pair with --assign pool": func(o *Options) { o.Assign = "global" },
		"lower --batch":              func(o *Options) { o.Batch = 1 << 18 },
	} {
		needs := planned(t, change).memory()
		if err := checkMemory(needs, total(needs)); err != nil {
			t.Errorf("%s: what just fits: %v", want, err)
		}
		err := checkMemory(needs, total(needs)-1)
		if !errors.Is(err, ErrResource) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestMeminfo(t *testing.T) {
	const file = "MemTotal:       24684000 kB\nMemFree:        17784000 kB\nMemAvailable:   23500000 kB\n"
	if bytes, ok := parseMeminfo(strings.NewReader(file)); !ok || bytes != 23_500_000<<10 {
		t.Errorf("%d %v", bytes, ok)
	}
	if _, ok := parseMeminfo(strings.NewReader("MemTotal: 24684000 kB\n")); ok {
		t.Error("found what is not there")
	}
}
