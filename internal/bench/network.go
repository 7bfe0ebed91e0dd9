package bench

import (
	"errors"
	"fmt"
	"runtime"
	"strings"

	"nat/encoder"
	"nat/internal/kernel"
)

// NetworkOptions choose a network with the size of its batch, and how it is
// measured.
type NetworkOptions struct {
	Encoder  string // a preset
	Batch    int    // rows; 0: 256, or 64 for resnet18 and alexnet
	Size     int    // side of the images in pixels; 0: that of Input
	Dim      int    // of the embedding; 0: 64
	Steps    int    // repeats; 0: as many as fit in five seconds, from 10 to 200
	Workers  int    // 0: all processors
	Winograd bool   // whether convolutions may use Winograd's algorithms
}

// Input is the shape of the inputs that a preset is measured with: that of the
// data it was made for. size replaces the side of images, unless it is 0.
func Input(preset string, size int) encoder.Shape {
	in := encoder.Shape{H: 32, W: 32, C: 3}
	switch preset {
	case "linear", "mlp":
		return encoder.Shape{H: 1, W: 1, C: 784}
	case "convnet":
		in = encoder.Shape{H: 28, W: 28, C: 1}
	case "alexnet":
		in.H, in.W = 224, 224
	}
	if size > 0 {
		in.H, in.W = size, size
	}
	return in
}

// Validate reports everything that is wrong.
func (o NetworkOptions) Validate() error {
	_, err := o.resolve()
	return err
}

// resolve fills in what was left open; the error is all that is wrong.
func (o *NetworkOptions) resolve() (encoder.Spec, error) {
	if o.Batch == 0 {
		o.Batch = 256
		if o.Encoder == "resnet18" || o.Encoder == "alexnet" {
			o.Batch = 64
		}
	}
	if o.Dim == 0 {
		o.Dim = 64
	}
	errs := checkCommon(o.Steps, o.Workers)
	if o.Batch < 1 || o.Batch > 1<<16 {
		errs = append(errs, fmt.Errorf("batch %d: must be from 1 to %d", o.Batch, 1<<16))
	}
	in := Input(o.Encoder, o.Size)
	switch {
	case o.Size < 0 || o.Size > 1024:
		errs = append(errs, fmt.Errorf("size %d: must be from 1 to 1024", o.Size))
	case o.Size > 0 && in.Vector():
		errs = append(errs, fmt.Errorf("size %d: encoder %s takes vectors", o.Size, o.Encoder))
	}
	if len(errs) > 0 {
		return encoder.Spec{}, errors.Join(errs...)
	}
	return encoder.Preset(o.Encoder, in, o.Dim)
}

// work counts the multiplications and additions of matrix products and
// convolutions: Forward, and in a whole training Step, in which nobody wants
// the gradient of the first layer's input. The True ones are of the products
// that are computed, by Winograd's algorithms where the pool uses them.
type work struct{ Forward, Step, TrueForward, TrueStep int64 }

// workOf counts the work for rows inputs of a network.
func workOf(spec encoder.Spec, rows int, pool *kernel.Pool) (n work) {
	add := func(direct int64, product func(pass kernel.ConvPass) int64) {
		first := n.Forward == 0
		n.Forward += direct
		n.TrueForward += product(kernel.Forward)
		for _, pass := range []kernel.ConvPass{kernel.Forward, kernel.InputGrad, kernel.WeightGrad} {
			if !first || pass != kernel.InputGrad {
				n.Step += direct
				n.TrueStep += product(pass)
			}
		}
	}
	spec.Visit(func(l encoder.Layer, in, out encoder.Shape) {
		switch l.Type {
		case encoder.Conv:
			s := convShape(l, in, rows)
			add(int64(s.Flops()), func(pass kernel.ConvPass) int64 {
				return productFlops(s, pass, strings.TrimPrefix(pool.Algorithm(s, pass), "winograd "))
			})
		case encoder.Dense:
			direct := 2 * int64(rows) * int64(in.Size()) * int64(out.Size())
			add(direct, func(kernel.ConvPass) int64 { return direct })
		}
	})
	return n
}

// convShape is the shape of a convolution over rows images.
func convShape(l encoder.Layer, in encoder.Shape, rows int) kernel.ConvShape {
	return kernel.ConvShape{N: rows, H: in.H, W: in.W, C: in.C, OutC: l.Out, KH: l.Kernel, KW: l.Kernel, Stride: l.Stride, Pad: l.Pad}
}

// liveHeap returns the bytes of memory that are reachable.
func liveHeap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// allocations counts the heap objects that n calls of f make, per call.
func allocations(n int, f func()) float64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range n {
		f()
	}
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / float64(n)
}

// Network is what the results of [Train] and [Embed] have in common.
type Network struct {
	Encoder    string `json:"encoder"`
	Input      string `json:"input"`
	Batch      int    `json:"batch"`
	Dim        int    `json:"dim"`
	Parameters int    `json:"parameters"`
	Winograd   bool   `json:"winograd"` // allowed
	Flops      int64  `json:"flops_per_image"`
	Machine
	Timing                  // of a step
	ImagesPerSecond float64 `json:"images_per_second"`
	GFLOPS          float64 `json:"gflops"`
	Fraction        float64 `json:"fraction_of_peak"`
	Effective       bool    `json:"effective"` // gflops counts more than was computed
	True            float64 `json:"true_gflops"`
	TrueShare       float64 `json:"true_fraction_of_peak"`
	Allocs          float64 `json:"step_allocs"` // heap objects per step after the first
	Bytes           int64   `json:"peak_bytes"`  // memory held, inputs not counted
}

// fill computes the rates from the times of steps over a number of images
// each, with the flops of the definition and those of the computed products.
func (n *Network) fill(o NetworkOptions, spec encoder.Spec, b *bench, seconds []float64, images int, flops, products int64) {
	n.Encoder, n.Input, n.Batch, n.Dim = o.Encoder, spec.Input.String(), o.Batch, o.Dim
	n.Parameters, n.Winograd, n.Flops = spec.ParamCount(), o.Winograd, flops/int64(images)
	n.Machine, n.Timing = b.machine(len(seconds)), newTiming(seconds)
	n.ImagesPerSecond = float64(images) / n.Seconds
	n.GFLOPS, n.True = rate(flops, n.Seconds), rate(products, n.Seconds)
	n.Fraction, n.TrueShare = n.GFLOPS/n.Peak, n.True/n.Peak
	n.Effective = products != flops
}

// newBench starts a pool for a network.
func (o NetworkOptions) newBench() *bench {
	b := &bench{pool: kernel.NewPool(o.Workers)}
	b.pool.SetWinograd(o.Winograd)
	return b
}
