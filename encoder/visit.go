package encoder

// Visit calls f for every layer of a valid description in the order in which
// they run, those inside blocks included, with the shapes of one row before and
// after it. Names are filled in, and full, as in block1.conv1. A residual block
// itself comes after its layers.
func (s Spec) Visit(f func(l Layer, in, out Shape)) {
	for _, l := range s.named().place() {
		f(l.Layer, l.in, l.out)
	}
}
