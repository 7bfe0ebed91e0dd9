package encoder

// Visit calls f for every layer of a valid description in the order in which
// they run, with the shapes of one row before and after it. Names are filled in.
func (s Spec) Visit(f func(l Layer, in, out Shape)) {
	s = s.named()
	shapes := s.shapes()
	for i, l := range s.Layers {
		f(l, s.inputOf(i, shapes), shapes[i])
	}
}
