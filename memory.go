package nat

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"runtime"

	"nat/objective"
)

// need is one part of the memory that training takes.
type need struct {
	what  string
	bytes int64
	flags string // what lowers it; empty: nothing
}

func total(needs []need) (bytes int64) {
	for _, n := range needs {
		bytes += n.bytes
	}
	return bytes
}

// pooled is the number of points matched at once while training, at most.
func (p *Plan) pooled() int64 {
	matched := p.Options.Batch
	if p.Options.Assign == objective.AssignPool {
		matched *= p.Options.Pool
	}
	return int64(min(matched, p.Data.Train))
}

// memory is an upper estimate of the peak of training and of the report.
func (j *job) memory() []need {
	p := &j.plan
	o := &p.Options
	rows, dim, points := int64(o.Batch*o.Views), int64(o.Dim), int64(p.Data.Train)
	input := 4 * int64(p.Data.Input.Size())
	matched := max(p.pooled(), min(gaugeRows, points)) // the gap is read with the same solver
	matching := map[string]string{objective.AssignBatch: "--batch", objective.AssignPool: "--pool or --batch",
		objective.AssignGlobal: "--limit, or re-pair with --assign pool"}[o.Assign]
	targets := 4 * points * dim
	if !o.hasTargets() {
		targets = 0
	}
	var whole int64 // all rows at once
	if o.Assign == objective.AssignGlobal {
		whole = objective.RematchAllBytes(p.Data.Train, o.Dim)
	}
	inference := p.Encoder.MemoryBytes(embedRows, false) - 4*int64(p.Encoder.ParamCount()) // of the gauges
	network := p.Encoder.MemoryBytes(int(rows), true) + 4*int64(p.Params) + inference + p.decoderBytes(int(rows))
	const program, scratch = 40 << 20, 6 << 20 // runtime and code; of the kernels, for each worker
	const reporting = 220 << 20                // the report's maps and images
	workers := int64(cmp.Or(o.Workers, runtime.GOMAXPROCS(0)))
	return []need{
		{"the program and its report", program + reporting, ""},
		{"the kernels' workers", workers * scratch, "--workers"},
		{"the data", 24*points + min(int64(o.Cache)<<20, 4*int64(p.Data.Rows)*int64(p.Data.Shape.Size())), "--cache or --limit"},
		{"the targets", targets + p.averageBytes(), "--dim or --limit"},
		{"the similarities of a batch", p.similarityBytes(), "--batch or --views"},
		{"the network and its optimizer", network, "--batch, --views or --size, or choose a smaller --encoder"},
		{"the batches read ahead", 6 * rows * input, "--batch, --views or --size"},
		{"the assignment", whole + solverBytes(matched, dim) + solverBytes(min(gaugeRows, points), dim), matching},
	}
}

// solverBytes is what an assignment of m points takes: a matrix of int32, 256
// rows of products, and points and targets, whose buffers grow by doubling.
func solverBytes(m, dim int64) int64 { return 4*m*m + 4*256*m + 3*4*m*dim }

// disk is an upper estimate of the size of the run directory.
func (j *job) disk() int64 {
	p := &j.plan
	points, params, dim := int64(p.Data.Train), int64(p.Params), int64(p.Options.Dim)
	checkpoint := 8*params + 8*points
	if p.Options.Optimizer == "adamw" {
		checkpoint += 4 * params
	}
	if p.Options.Assign == objective.AssignPool {
		checkpoint += p.pooled() * 4 * (dim + 1) // gathered points and their rows
	}
	checkpoint += 12 * int64(p.decoderParams())
	checkpoint += p.averageBytes()
	const lineBytes, report = 600, 4 << 20
	return int64(p.Options.Keep+1)*checkpoint + 4*points*dim + lineBytes*int64(p.Steps) + report
}

// checkMemory estimates what the job takes and refuses it if it does not fit.
func (j *job) checkMemory() error {
	needs := j.memory()
	j.plan.MemoryBytes, j.plan.DiskBytes = total(needs), j.disk()
	if available, ok := availableMemory(); ok {
		return checkMemory(needs, available)
	}
	return nil
}

// checkMemory refuses what does not fit, naming the flags of the largest part.
func checkMemory(needs []need, available int64) error {
	sum := total(needs)
	if sum <= available {
		return nil
	}
	var largest need
	for _, n := range needs {
		if n.flags != "" && n.bytes > largest.bytes {
			largest = n
		}
	}
	return failf(ErrResource, "training would take about %d MB of memory, and %d MB are available; %s would take %d MB of it: lower %s",
		sum>>20, available>>20, largest.what, largest.bytes>>20, largest.flags)
}

// AvailableMemory returns the bytes that can be had without swapping and within the
// limits set for this process, if they can be found out.
func AvailableMemory() (bytes int64, ok bool) { return availableMemory() }

// parseMeminfo finds what Linux says can be had without swapping.
func parseMeminfo(r io.Reader) (bytes int64, ok bool) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		var kib int64
		if _, err := fmt.Sscanf(lines.Text(), "MemAvailable: %d kB", &kib); err == nil {
			return kib << 10, true
		}
	}
	return 0, false
}
