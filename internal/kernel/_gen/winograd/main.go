// Command winograd writes the transforms and the micro-kernels of convolutions
// by Winograd's method:
//
//	go run -C internal/kernel/_gen ./winograd
package main

import (
	"fmt"
	"math"

	. "nat/internal/kernel/_gen/asm"
)

func main() {
	Write("winograd", func() {
		for _, w := range Widths {
			rowKernel(w)
			colKernel(w)
			copyKernel(w)
			for _, v := range variants {
				v.emit(w)
			}
			emitStrided(w)
		}
	})
}

// A variant is F(m x m, r x r) with its interpolation points, infinity apart.
type variant struct {
	m, r   int
	points []float64
}

var variants = []variant{
	{2, 3, []float64{0, 1, -1}},
	{4, 3, []float64{0, math.Sqrt(.5), -math.Sqrt(.5), math.Sqrt(2), -math.Sqrt(2)}},
	{2, 2, []float64{1, -1}},
	{4, 2, []float64{1, -1, .5, -.5}},
}

// emit writes the transforms of the variant, and of F(r x r, m x m) with the
// same points, which is its weight gradient: the input transform is the same.
func (v variant) emit(w Width) {
	name := fmt.Sprintf("%dx%d", v.m, v.r)
	input, filter, output := toomCook(v.points, v.m, v.r)
	transform(w, "winoInput"+name, input, "the input")
	transform(w, "winoFilter"+name, filter, "the filter")
	transform(w, "winoOutput"+name, output, "the output")
	if v.m == v.r {
		return
	}
	_, filter, output = toomCook(v.points, v.r, v.m)
	name = fmt.Sprintf("%dx%d", v.r, v.m)
	transform(w, "winoFilter"+name, filter, "the filter")
	transform(w, "winoOutput"+name, output, "the output")
}

// emitStrided writes those of F(4 x 4, 3 x 3) with stride 2, whose weight
// gradient has the same transforms, transposed.
func emitStrided(w Width) {
	input, filter, output := strided([]float64{1, -1, .5, -.5}, 4)
	transform(w, "winoInputStrided", input, "the input")
	transform(w, "winoFilterStrided", filter, "the filter")
	transform(w, "winoOutputStrided", output, "the output")
	transform(w, "winoGradFilterStrided", output.transposed(), "the filter")
	transform(w, "winoGradOutputStrided", filter.transposed(), "the output")
}
