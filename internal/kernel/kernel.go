// Package kernel holds the arithmetic that the time of training goes to:
// matrix product, convolution and its two gradients, batch normalisation,
// row normalisation, optimiser updates, and a few vector primitives.
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
// Every kernel gives the same bits for any number of workers: an output
// element is computed by one goroutine, and reductions over rows are cut into
// pieces of a fixed size whose results are added in order.
package kernel

// need panics unless s has at least n elements.
func need(s []float32, n int) {
	if len(s) < n {
		panic("kernel: slice too short for its shape")
	}
}
