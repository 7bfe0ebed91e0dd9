package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"nat/encoder"
	"nat/internal/kernel"
)

// ConvOptions of [Conv]; the zero value measures the convolutions of the
// presets resnet18, dcgan32 and convnet with all processors.
type ConvOptions struct {
	Encoder  string // a preset with convolutions; "": those three
	Batch    int    // images; 0: 64 for resnet18 and alexnet, 256 for the others
	Size     int    // side of the images in pixels; 0: that of Input
	Steps    int    // repeats; 0: 9
	Workers  int    // 0: all processors
	Winograd bool   // measure Winograd's algorithms, too
}

// networks are the options for each network.
func (o ConvOptions) networks() []NetworkOptions {
	presets := []string{o.Encoder}
	if o.Encoder == "" {
		presets = []string{"resnet18", "dcgan32", "convnet"}
	}
	list := make([]NetworkOptions, len(presets))
	for i, name := range presets {
		list[i] = NetworkOptions{Encoder: name, Batch: o.Batch, Size: o.Size, Steps: o.Steps, Workers: o.Workers}
	}
	return list
}

// Validate reports everything that is wrong.
func (o ConvOptions) Validate() error {
	if o.Encoder == "" && o.Size != 0 {
		return errors.New("size needs an encoder: the three of the default have inputs of their own")
	}
	for _, n := range o.networks() {
		spec, err := n.resolve()
		if err != nil {
			return err
		}
		if len(convs(spec, n)) == 0 {
			return fmt.Errorf("encoder %s has no convolution", n.Encoder)
		}
	}
	return nil
}

// The directions of a convolution.
const (
	forward = "forward" // the output
	input   = "input"   // the gradient of the input
	weight  = "weight"  // the gradient of the weights
)

// ConvRow is one direction of one shape of convolution. Its name is
// NxHxWxC-OutC KHxKW/Stride and the direction.
type ConvRow struct {
	Name      string `json:"name"`
	Algorithm string `json:"algorithm"`         // direct or winograd
	Variant   string `json:"variant,omitempty"` // of Winograd's, such as F(4x4,3x3)
	Encoder   string `json:"encoder"`
	Direction string `json:"direction"`
	Count     int    `json:"count"`  // times in a training step; 0 for the gradient of the network's input
	Chosen    bool   `json:"chosen"` // whether training uses this algorithm
	Flops     int64  `json:"flops"`  // of the definition
	Timing
	GFLOPS    float64 `json:"gflops"` // Flops over time
	Fraction  float64 `json:"fraction_of_peak"`
	Effective bool    `json:"effective,omitempty"` // gflops counts more than was computed
	True      float64 `json:"true_gflops"`         // of the products that are computed
	TrueShare float64 `json:"true_fraction_of_peak"`
	// Bytes is the size of the three arrays, which must move at least once.
	Bytes       int64   `json:"bytes"`
	GBps        float64 `json:"gbytes_per_second"`
	CopyShare   float64 `json:"fraction_of_copy"`
	MemoryBound bool    `json:"memory_bound"` // moving Bytes takes over a quarter of the time that Flops take at the peak
}

// memoryBound is how much of the time of the arithmetic the moving of data may
// take before a row counts as bound by memory.
const memoryBound = 0.25

// ConvTotal is the time that all convolutions of a network take in a step,
// one direction or, with direction all, the three of them.
type ConvTotal struct {
	Encoder   string  `json:"encoder"`
	Batch     int     `json:"batch"`
	Direction string  `json:"direction"`
	Algorithm string  `json:"algorithm"` // direct: everywhere; chosen: what training uses
	Flops     int64   `json:"flops"`
	Seconds   float64 `json:"seconds"`
	GFLOPS    float64 `json:"gflops"`
	Fraction  float64 `json:"fraction_of_peak"`
}

// ConvResult is what [Conv] measured.
type ConvResult struct {
	Rows   []ConvRow   `json:"rows"`
	Totals []ConvTotal `json:"totals"`
	Copy   float64     `json:"copy_gbytes_per_second"`
	Machine
}

// conv is a shape of convolution that a network has.
type conv struct {
	shape kernel.ConvShape
	count int  // layers
	first bool // one of them is the first layer, whose input has no gradient
}

// convs returns the convolutions of a network, each shape once, in order.
func convs(spec encoder.Spec, o NetworkOptions) (list []conv) {
	index := map[kernel.ConvShape]int{}
	spec.Visit(func(l encoder.Layer, in, out encoder.Shape) {
		if l.Type != encoder.Conv {
			return
		}
		s := convShape(l, in, o.Batch)
		if _, seen := index[s]; !seen {
			index[s] = len(list)
			list = append(list, conv{shape: s, first: len(list) == 0})
		}
		list[index[s]].count++
	})
	return list
}

// Conv times every convolution of some presets in its three directions.
func Conv(ctx context.Context, o ConvOptions, progress Progress) (*ConvResult, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	steps := o.Steps
	if steps == 0 {
		steps = 9
	}
	m := &convBench{bench: bench{pool: kernel.NewPool(o.Workers)}, batch: map[string]int{}}
	defer m.pool.Close()
	for _, n := range o.networks() {
		spec, err := n.resolve()
		if err != nil {
			return nil, err
		}
		for _, c := range convs(spec, n) {
			m.add(n.Encoder, c, o.Winograd)
		}
	}
	m.allocate()
	if err := m.measure(ctx, m.loads, steps, true, progress); err != nil {
		return nil, err
	}
	r := &ConvResult{Copy: m.copy, Machine: m.machine(steps)}
	m.finish(r.Peak)
	r.Rows, r.Totals = m.rows, m.totals(r.Peak)
	return r, nil
}

// convBench is a measurement of convolutions.
type convBench struct {
	bench
	rows   []ConvRow
	shapes []kernel.ConvShape // of the rows
	passes []kernel.ConvPass
	batch  map[string]int // of each encoder
	loads  []*load

	x, w, y, result []float32 // memory for the largest
}

var directions = []struct {
	name string
	pass kernel.ConvPass
}{{forward, kernel.Forward}, {input, kernel.InputGrad}, {weight, kernel.WeightGrad}}

// add appends the rows of a convolution.
func (m *convBench) add(preset string, c conv, winograd bool) {
	s := c.shape
	x, w, y := int64(s.N*s.H*s.W*s.C), int64(s.KH*s.KW*s.C*s.OutC), int64(s.N*s.OutH()*s.OutW()*s.OutC)
	for _, d := range directions {
		row := ConvRow{
			Name:    fmt.Sprintf("%dx%dx%dx%d-%d %dx%d/%d %s", s.N, s.H, s.W, s.C, s.OutC, s.KH, s.KW, s.Stride, d.name),
			Encoder: preset, Direction: d.name, Count: c.count, Flops: int64(s.Flops()), Bytes: 4 * (x + w + y),
		}
		if c.first && d.name == input {
			row.Count--
		}
		m.pool.SetWinograd(winograd)
		chosen := m.pool.Algorithm(s, d.pass)
		row.Algorithm, row.Chosen = "direct", chosen == "direct"
		m.append(row, s, d.pass)
		if winograd {
			m.pool.ForceWinograd()
		}
		if algorithm := m.pool.Algorithm(s, d.pass); algorithm != "direct" {
			row.Algorithm, row.Variant, row.Chosen, row.Effective = "winograd", strings.TrimPrefix(algorithm, "winograd "), algorithm == chosen, true
			m.append(row, s, d.pass)
		}
	}
	m.batch[preset] = s.N
}

// append appends a row with its load, which runs once allocate has been called.
func (m *convBench) append(row ConvRow, s kernel.ConvShape, pass kernel.ConvPass) {
	m.rows, m.shapes, m.passes = append(m.rows, row), append(m.shapes, s), append(m.passes, pass)
	winograd := row.Algorithm != "direct"
	m.loads = append(m.loads, &load{run: func() {
		m.pool.SetWinograd(false)
		if winograd {
			m.pool.ForceWinograd()
		}
		switch pass {
		case kernel.Forward:
			m.pool.ConvForward(m.result, m.x, m.w, s)
		case kernel.InputGrad:
			m.pool.ConvInputGrad(m.result, m.y, m.w, s)
		case kernel.WeightGrad:
			m.pool.ConvWeightGrad(m.result, m.x, m.y, s)
		}
	}})
}

// allocate makes operands that are large enough for every row.
func (m *convBench) allocate() {
	var x, w, y int
	for _, s := range m.shapes {
		x, w, y = max(x, s.N*s.H*s.W*s.C), max(w, s.KH*s.KW*s.C*s.OutC), max(y, s.N*s.OutH()*s.OutW()*s.OutC)
	}
	m.x, m.w, m.y, m.result = numbers(x, 0), numbers(w, 1), numbers(y, 2), make([]float32, max(x, w, y))
}

// finish computes the figures of the rows on a machine with that peak.
func (m *convBench) finish(peak float64) {
	for i := range m.rows {
		r := &m.rows[i]
		r.Timing = m.loads[i].timing()
		r.GFLOPS = rate(r.Flops, r.Seconds)
		r.Fraction = r.GFLOPS / peak
		r.True = rate(productFlops(m.shapes[i], m.passes[i], r.Variant), r.Seconds)
		r.TrueShare = r.True / peak
		r.GBps = rate(r.Bytes, r.Seconds)
		r.CopyShare = r.GBps / m.copy
		r.MemoryBound = float64(r.Bytes)/m.copy > memoryBound*float64(r.Flops)/peak
	}
}

// productFlops are the multiplications and additions of the products that an
// algorithm computes. F(m x m, r x r/t) turns a tile of m x m outputs at stride t
// (1 unless it is said) into ((m-1)t+r)^2 products of matrices of channels; where
// the convolution's stride is t times another one, into as many for each of the
// phases of the input or, for its gradient, of the output.
func productFlops(s kernel.ConvShape, pass kernel.ConvPass, variant string) int64 {
	var m, r, t int
	if n, _ := fmt.Sscanf(variant, "F(%dx%d,%dx%d/%d)", &m, &m, &r, &r, &t); n < 4 {
		return int64(s.Flops())
	}
	t = max(t, 1)
	h, w := s.OutH(), s.OutW()
	if pass == kernel.InputGrad {
		h, w = ceilDiv(s.H, s.Stride), ceilDiv(s.W, s.Stride)
	}
	side, phases := (m-1)*t+r, s.Stride/t
	tiles := int64(s.N * ceilDiv(h, m) * ceilDiv(w, m))
	return 2 * tiles * int64(side*side*phases*phases) * int64(s.C) * int64(s.OutC)
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// totals adds up the rows of each network.
func (m *convBench) totals(peak float64) (list []ConvTotal) {
	var presets []string
	for _, r := range m.rows {
		if !slices.Contains(presets, r.Encoder) {
			presets = append(presets, r.Encoder)
		}
	}
	for _, preset := range presets {
		for _, algorithm := range []string{"direct", "chosen"} {
			for _, direction := range []string{forward, input, weight, "all"} {
				t := ConvTotal{Encoder: preset, Batch: m.batch[preset], Direction: direction, Algorithm: algorithm}
				list = append(list, m.total(t, peak))
			}
		}
	}
	return list
}

// total adds up the rows that t is about.
func (m *convBench) total(t ConvTotal, peak float64) ConvTotal {
	for _, r := range m.rows {
		if r.Encoder != t.Encoder || t.Direction != "all" && r.Direction != t.Direction {
			continue
		}
		if t.Algorithm == r.Algorithm || t.Algorithm == "chosen" && r.Chosen {
			t.Flops += int64(r.Count) * r.Flops
			t.Seconds += float64(r.Count) * r.Seconds
		}
	}
	t.GFLOPS = rate(t.Flops, t.Seconds)
	t.Fraction = t.GFLOPS / peak
	return t
}
