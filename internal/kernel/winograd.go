package kernel

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
func (p *Pool) SetWinograd(on bool) { p.direct = !on }

// Winograd reports whether that pass of a convolution of shape s uses
// Winograd's method on this pool.
func (p *Pool) Winograd(s ConvShape, pass ConvPass) bool { return p.winogradFor(s, pass) != nil }

// Algorithm names how the pool computes that pass of a convolution of shape s:
// "direct", "winograd F(2x2,3x3)", "winograd F(4x4,3x3)", "winograd
// F(2x2,2x2)" or "winograd F(4x4,2x2)".
func (p *Pool) Algorithm(s ConvShape, pass ConvPass) string {
	if v := p.winogradFor(s, pass); v != nil {
		return "winograd " + v.name
	}
	return "direct"
}

// winogradFor returns the variant that the pool uses, or nil for the direct
// convolution.
func (p *Pool) winogradFor(s ConvShape, pass ConvPass) *winogradVariant {
	if p.direct {
		return nil
	}
	return winogradRule(s, pass)
}

// winogradRule is the choice for a shape on a pool that allows all.
func winogradRule(s ConvShape, pass ConvPass) *winogradVariant { return nil }

// A winogradVariant is F(m x m, r x r): m x m outputs of a filter of r x r
// taps at a time.
type winogradVariant struct {
	name string
	m, r int
}
