// Package kernel holds the arithmetic that the time of training goes to:
// matrix product, convolution and its two gradients, batch normalisation,
// pooling, row normalisation, optimiser updates, and a few vector primitives.
//
//	p := kernel.NewPool(0)
//	defer p.Close()
//	p.Gemm(c, n, a, k, false, b, n, false, m, n, k, false) // C = A B
//
// Matrices are row-major []float32 with explicit row strides, images are NHWC
// and convolution weights HWIO. The destination comes first. Slices may be
// longer than needed; a slice too short, or a shape that makes no sense, is a
// bug of the caller and panics.
//
// The inner loops exist in plain Go and, on amd64, in assembly for AVX2 with
// FMA and for AVX-512. The best that the machine has is chosen at start; the
// environment variable NAT_KERNEL=generic, avx2 or avx512 asks for another, and
// Tier tells which is in use. The build tag purego leaves the assembly out. The
// three differ in rounding, as they add up in different orders, and so does
// plain Go on an architecture with an instruction for it, as arm64, where a
// product and a sum are rounded in one.
//
// Convolutions go by Winograd's method where it takes so many less
// multiplications that it is faster: two to three times for 3x3 filters. Its rounding errors are up to some times
// larger; see Pool.SetWinograd, which forbids it, and Pool.Algorithm.
//
// With one of them, on one architecture, every kernel gives the same bits for
// any number of workers: an output element is computed by one goroutine, and
// reductions over rows are cut into pieces of a fixed size whose results are
// added in order. A Pool's kernels share its scratch memory: call them from one
// goroutine at a time, and not from inside Do of the same Pool.
package kernel

//go:generate go run -C _gen ./gemm
//go:generate go run -C _gen ./layers
//go:generate go run -C _gen ./expsum
//go:generate go run -C _gen ./winograd
//go:generate go run -C _gen ./scan
//go:generate go run -C _gen ./peak
//go:generate go run -C _gen ./views

// need panics unless s has at least n elements.
func need(s []float32, n int) {
	if len(s) < n {
		panic("kernel: slice too short for its shape")
	}
}
