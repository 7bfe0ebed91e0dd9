package kernel

import "math"

// ConvPass is one of the three computations of a convolution in training.
type ConvPass int

// The passes: the output, and the gradients to the input and to the weights.
const (
	Forward ConvPass = iota
	InputGrad
	WeightGrad
)

// SetWinograd allows Winograd's method where it is faster than the direct
// convolution, as it is on a new pool, or forbids it: its rounding errors are
// some times larger. The choice between the two depends on the shape, and on
// this, only.
func (p *Pool) SetWinograd(on bool) { p.direct, p.anyway = !on, false }

// ForceWinograd makes the pool use Winograd's method for every convolution that
// it can compute, faster or not, until SetWinograd: for measurements.
func (p *Pool) ForceWinograd() { p.direct, p.anyway = false, true }

// Winograd reports whether that pass of a convolution of shape s uses
// Winograd's method on this pool.
func (p *Pool) Winograd(s ConvShape, pass ConvPass) bool { return p.winogradFor(s, pass) != nil }

// Algorithm names how the pool computes that pass of a convolution of shape s:
// "direct", "winograd F(2x2,3x3)", "winograd F(4x4,3x3)", "winograd
// F(2x2,2x2)", "winograd F(4x4,2x2)" or "winograd F(4x4,3x3/2)", the last one
// with stride 2.
func (p *Pool) Algorithm(s ConvShape, pass ConvPass) string {
	if v := p.winogradFor(s, pass); v != nil {
		return "winograd " + v.name
	}
	return "direct"
}

// winogradFor returns the variant that the pool uses, or nil for the direct
// convolution.
func (p *Pool) winogradFor(s ConvShape, pass ConvPass) *winogradVariant {
	switch {
	case p.direct:
		return nil
	case p.anyway:
		return winogradBelow(s, pass, math.Inf(1))
	}
	return winogradRule(s, pass)
}

const (
	winogradChannels = 16  // fewer are for the direct convolution
	winogradGain     = 1.5 // less multiplications by this, at least, and transforms pay
)

// winogradRule is the choice for a shape on a pool that allows all: of the
// variants, the one with the least multiplications, where tiles stick out of
// the result too, if they are few enough against those of the direct
// convolution, which leaves out the padding. The number of images does not
// count, so that the results for one do not depend on those with it; to
// transform the filters for a single one costs up to as much again. Measured,
// per core of a Zen 5 with AVX-512 (GFLOP/s of the direct convolution over the
// time):
//
//	images x pixels, channels    direct         F(2x2)         F(4x4)
//	64 x 32x32, 64 to 64         209 206 187    360 355 324    578 566 515
//	64 x 16x16, 128 to 128       210 211 198    406 403 372    645 645 600
//	64 x 8x8, 256 to 256         255 254 220    398 397 379    606 580 625
//	64 x 4x4, 512 to 512         291 290 273    383 375 365    633 606 582
//	64 x 32x32/2, 64 to 128      206 209 195                   279 -   248
//	256 x 16x16/2, 64 to 128     234 229 200    278 258 263    362 354 341
//	256 x 8x8/2, 128 to 256      269 266 241    285 288 270    402 373 364
//
// for output, input gradient and weight gradient; the last two are 4x4/2. The
// benchmarks Conv and Winograd with workers=1 measure them again.
func winogradRule(s ConvShape, pass ConvPass) *winogradVariant {
	if min(s.C, s.OutC) < winogradChannels {
		return nil
	}
	direct := tapsInside(s.OutH(), s.H, s.KH, s) * tapsInside(s.OutW(), s.W, s.KW, s)
	return winogradBelow(s, pass, float64(direct)/winogradGain)
}

// winogradBelow returns the variant with the least multiplications per image and
// pair of channels if they are fewer than least, or nil.
func winogradBelow(s ConvShape, pass ConvPass, least float64) (best *winogradVariant) {
	rows, cols := s.OutH(), s.OutW()
	for _, v := range winogradVariants {
		if !v.fits(s, pass) {
			continue
		}
		tiles := ceilDiv(rows, v.m) * ceilDiv(cols, v.m)
		if cost := float64(tiles * v.n * v.n * v.fold * v.fold); cost < least {
			best, least = v, cost
		}
	}
	return best
}

// tapsInside counts the pairs of an output and a tap of one axis that meet a
// pixel, not the padding.
func tapsInside(outputs, pixels, taps int, s ConvShape) (n int) {
	for i := range outputs {
		first := i*s.Stride - s.Pad
		n += max(min(first+taps, pixels)-max(first, 0), 0)
	}
	return n
}

// A winogradVariant is F(m x m, r x r): m x m outputs of a filter of r x r
// taps by n x n multiplications, n = m + r - 1, per pair of channels, instead
// of m m r r:
//
//	y = A ((G g G') * (B d B')) A'
//
// with g the filter, d an n x n tile of the input and * elementwise. Summed
// over channels, the elementwise product is n x n matrix products. The weight
// gradient is F(r x r, m x m), with tiles of dy as the filter, summed over
// tiles; B is the same.
//
// With stride 2, an even r is folded to stride 1 and r/2 (see winograd_conv.go).
// r = 3 has matrices of its own: the even inputs and the two outer taps are
// F(m, 2), the odd inputs and the middle tap m plain products, together
// n = 2 m + 1 instead of 3 m in each axis. There is no such input gradient.
type winogradVariant struct {
	name      string
	index     int // in winogradVariants and the tables of the tiers
	m, r, n   int
	fold      int     // stride that is folded
	stride    int     // stride that is left
	bound     float64 // of the error, see winogradVariants
	transform winogradMatrices
}

// winogradMatrices are B, G and A of F(m x m, r x r), and G and A of
// F(r x r, m x m).
type winogradMatrices struct{ input, filter, output, gradFilter, gradOutput [][]float32 }

// winogradVariants are the variants, by index. The interpolation points are
// infinity and those given: among a few sets of the same cost, those with the
// least error. Points p and -p save arithmetic, p and 1/p lose least; zero is
// left out where the number of points is odd without.
//
// The last number is what the error of any pass stays below, relative to the
// largest result, for standard normal inputs; the test that checks it, with 64
// channels, finds about half of that, and 1e-6 for the direct convolution.
var winogradVariants = [...]*winogradVariant{
	newVariant("F(2x2,3x3)", 0, 2, 3, 1, 1e-6, 0, 1, -1),
	newVariant("F(4x4,3x3)", 1, 4, 3, 1, 4e-6, 0, math.Sqrt(.5), -math.Sqrt(.5), math.Sqrt2, -math.Sqrt2),
	newVariant("F(2x2,2x2)", 2, 2, 2, 2, 2e-6, 1, -1),
	newVariant("F(4x4,2x2)", 3, 4, 2, 2, 5e-6, 1, -1, .5, -.5),
	newStrided("F(4x4,3x3/2)", 4, 4, 2e-6, 1, -1, .5, -.5),
}

// fits reports whether the variant can compute that pass of convolutions of
// shape s.
func (v *winogradVariant) fits(s ConvShape, pass ConvPass) bool {
	k := v.r * v.fold
	return s.KH == k && s.KW == k && s.Stride == v.fold*v.stride && s.Pad < k && (v.stride == 1 || pass != InputGrad)
}

func newVariant(name string, index, m, r, fold int, bound float64, points ...float64) *winogradVariant {
	v := &winogradVariant{name: name, index: index, m: m, r: r, n: m + r - 1, fold: fold, stride: 1, bound: bound}
	t := &v.transform
	t.input, t.filter, t.output = toomCook(points, m, r)
	_, t.gradFilter, t.gradOutput = toomCook(points, r, m)
	return v
}

// newStrided returns F(m x m, 3 x 3) with stride 2. Its weight gradient takes
// the same sums of products with x, of (A' dy) * (B d), to G': transposition.
func newStrided(name string, index, m int, bound float64, points ...float64) *winogradVariant {
	v := &winogradVariant{name: name, index: index, m: m, r: 3, n: 2*m + 1, fold: 1, stride: 2, bound: bound}
	in, f, out := toomCook(points, m, 2)
	input, filter, output := matrix(v.n, v.n), matrix(v.n, 3), matrix(m, v.n)
	for i := range m + 1 {
		for j, c := range in[i] {
			input[i][2*j] = c
		}
		filter[i][0], filter[i][2] = f[i][0], f[i][1]
		for j := range m {
			output[j][i] = out[j][i]
		}
	}
	for i := range m {
		input[m+1+i][2*i+1], filter[m+1+i][1], output[i][m+1+i] = 1, 1, 1
	}
	v.transform = winogradMatrices{input, filter, output, transposed(output), transposed(filter)}
	return v
}

func matrix(rows, cols int) [][]float32 {
	a := make([][]float32, rows)
	for i := range a {
		a[i] = make([]float32, cols)
	}
	return a
}

func transposed(a [][]float32) [][]float32 {
	t := matrix(len(a[0]), len(a))
	for i, row := range a {
		for j, c := range row {
			t[j][i] = c
		}
	}
	return t
}

// toomCook returns B, G and A of F(m, r) with the given points and infinity:
// row i of B has the coefficients of the product of x - q over the other
// points q, row i of G the powers of the point over that product at it, and A
// the powers of the points. After Lavin and Gray, Fast Algorithms for
// Convolutional Neural Networks, 2015, section 5.
func toomCook(points []float64, m, r int) (input, filter, output [][]float32) {
	n := m + r - 1
	input, filter, output = matrix(n, n), matrix(n, r), matrix(m, n)
	for i, p := range points {
		scale := 1.0
		var others []float64
		for j, q := range points {
			if j != i {
				scale /= p - q
				others = append(others, q)
			}
		}
		copy(input[i], polynomial(others))
		for j := range r {
			filter[i][j] = float32(scale * math.Pow(p, float64(j)))
		}
		for j := range m {
			output[j][i] = float32(math.Pow(p, float64(j)))
		}
	}
	copy(input[n-1], polynomial(points))
	filter[n-1][r-1], output[m-1][n-1] = 1, 1
	return input, filter, output
}

// polynomial returns the coefficients of the product of x - root, lowest
// first, with what should cancel set to zero.
func polynomial(roots []float64) []float32 {
	c := []float64{1}
	for _, root := range roots {
		next := make([]float64, len(c)+1)
		for i, v := range c {
			next[i+1] += v
			next[i] -= root * v
		}
		c = next
	}
	out := make([]float32, len(c))
	for i, v := range c {
		if math.Abs(v) > 1e-9 {
			out[i] = float32(v)
		}
	}
	return out
}
