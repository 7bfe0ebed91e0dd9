package nat

import (
	"fmt"
	"runtime"
	"time"

	"nat/dataset"
)

// Data are called the bottleneck when they keep the steps waiting for so large a
// share of so much time.
const (
	starvedShare = .2
	starvedAfter = 5 * time.Second
)

// starved tells whether data are the bottleneck of the training so far.
func (c *clock) starved() bool { return c.stepping >= starvedAfter && c.waitShare() >= starvedShare }

// starvation says that data are the bottleneck and what can be done.
func (t *trainer) starvation() string {
	return fmt.Sprintf("training waits for data %.0f %% of the time: %s", 100*t.clock.waitShare(), t.src.info.remedy(&t.plan.Options))
}

// remedy names what would make reading the data faster.
func (d *DataInfo) remedy(o *Options) string {
	all := (int64(d.Rows)*int64(d.Shape.Size()) + 1<<20 - 1) >> 20 // MiB of bytes
	available, known := availableMemory()
	switch cores := runtime.GOMAXPROCS(0); {
	case o.Workers > 0 && o.Workers < cores:
		return fmt.Sprintf("%s at work on %d cores: leave --workers out", counted(o.Workers, "worker"), cores)
	case d.Kind == dataset.Folder && all > int64(o.Cache) && (!known || all<<20 < available/2):
		return fmt.Sprintf("decoding takes longer than the network; --cache %d keeps all images decoded", all)
	case d.Kind == dataset.Folder && all > int64(o.Cache):
		return fmt.Sprintf("decoding takes longer than the network; copy the images once at %d x %d pixels, as they are trained, or raise --cache above %d", d.Shape.W, d.Shape.H, o.Cache)
	}
	return "reading and augmenting takes longer than the network; a faster disk helps, and a larger --encoder costs nothing"
}
