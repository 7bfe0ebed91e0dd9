package kernel

// A transformFunc computes m d m', with m one of the matrices of a variant,
// for n squares d in turn. The elements of d and of the result are vectors of
// as many channels as the tier has lanes; element (i, j) of the first is at
// src[i*srcRow+j*srcCol], and that of the result at dst[i*dstRow+j*dstCol]. A
// square is srcStep, and its result dstStep, past the one before.
type transformFunc func(dst []float32, dstRow, dstCol, dstStep int, src []float32, srcRow, srcCol, srcStep, n int)

// winogradTier has the inner loops of Winograd's method. Channels come in
// groups of lanes, and tiles of the micro-kernels are 2 lanes wide.
type winogradTier struct {
	lanes, mr int

	row        func(c, a []float32, aGroup int, b []float32, tiles, groups int, acc bool)
	col        func(c, a []float32, aGroup int, b []float32, bGroup, groups, k int, acc bool)
	copy       func(dst []float32, dstStep int, src []float32, srcStep, vectors, n int)
	transforms [len(winogradVariants)]winogradTransforms
}

// winogradTransforms are the transforms of a variant, by winogradMatrices.
type winogradTransforms struct{ input, filter, output, gradFilter, gradOutput transformFunc }

const genericLanes = 4 // of the plain Go loops

var winogradGeneric = newWinogradGeneric()

func newWinogradGeneric() *winogradTier {
	t := &winogradTier{lanes: genericLanes, mr: 2, row: winoRowPlain, col: winoColPlain}
	t.copy = func(dst []float32, dstStep int, src []float32, srcStep, vectors, n int) {
		winoCopyGeneric(t.lanes, dst, dstStep, src, srcStep, vectors, n)
	}
	for i, v := range winogradVariants {
		m := &v.transform
		t.transforms[i] = winogradTransforms{
			genericTransform(t.lanes, m.input), genericTransform(t.lanes, m.filter), genericTransform(t.lanes, m.output),
			genericTransform(t.lanes, m.gradFilter), genericTransform(t.lanes, m.gradOutput),
		}
	}
	return t
}

// genericTransform returns the transform with the matrix m.
func genericTransform(lanes int, m [][]float32) transformFunc {
	return func(dst []float32, dstRow, dstCol, dstStep int, src []float32, srcRow, srcCol, srcStep, n int) {
		for i := range n {
			for l := range lanes {
				transformGeneric(m, dst[i*dstStep+l:], dstRow, dstCol, src[i*srcStep+l:], srcRow, srcCol)
			}
		}
	}
}

// transformGeneric computes m d m' for one square of numbers.
func transformGeneric(m [][]float32, dst []float32, dstRow, dstCol int, src []float32, srcRow, srcCol int) {
	var half [9][9]float32
	for j := range m[0] {
		for k := range m[0] {
			d := src[k*srcRow+j*srcCol]
			for i := range m {
				half[i][j] += m[i][k] * d
			}
		}
	}
	for i := range m {
		for j, row := range m {
			var sum float32
			for k, v := range row {
				sum += v * half[i][k]
			}
			dst[i*dstRow+j*dstCol] = sum
		}
	}
}

// winoRowGeneric multiplies rows of A by one packed panel of B, [k][2 lanes],
// where k = groups*lanes; the result has rows of 2 lanes elements, and is
// added to what is there if acc is set. Element (i, k) of A is at
// a[k/lanes*aGroup + i*lanes + k%lanes].
func winoRowGeneric(lanes int, c, a []float32, aGroup int, b []float32, rows, groups int, acc bool) {
	nr := 2 * lanes
	for i := range rows {
		row := c[i*nr:][:nr]
		if !acc {
			clear(row)
		}
		for g := range groups {
			for l, v := range a[g*aGroup+i*lanes:][:lanes] {
				panel := b[(g*lanes+l)*nr:][:nr]
				for j, w := range panel {
					row[j] += v * w
				}
			}
		}
	}
}

// winoColGeneric multiplies the columns of A, in groups of lanes, by two such
// groups of columns of B: element (k, i) of A is at
// a[i/lanes*aGroup + k*lanes + i%lanes], and that of B likewise. Row i of the
// result is at c[i*2*lanes], and is added to what is there if acc is set.
func winoColGeneric(lanes int, c, a []float32, aGroup int, b []float32, bGroup, groups, k int, acc bool) {
	if !acc {
		clear(c[:groups*lanes*2*lanes])
	}
	for g := range groups {
		for l := range k {
			b0, b1 := b[l*lanes:][:lanes], b[bGroup+l*lanes:][:lanes]
			for i, v := range a[g*aGroup+l*lanes:][:lanes] {
				row := c[(g*lanes+i)*2*lanes:][:2*lanes]
				for j, w := range b0 {
					row[j] += v * w
				}
				for j, w := range b1 {
					row[lanes+j] += v * w
				}
			}
		}
	}
}

// winoRowPlain is winoRowGeneric for genericLanes, in tiles of 2 x 4 that fit
// into registers.
func winoRowPlain(c, a []float32, aGroup int, b []float32, tiles, groups int, acc bool) {
	for i := range 2 * tiles {
		half := i % 2 * 4
		var s0, s1, s2, s3, t0, t1, t2, t3 float32
		for g := range groups {
			x := (*[8]float32)(a[g*aGroup+i/2*8:])
			panel := (*[32]float32)(b[g*32:])
			for l := range 4 {
				v := (*[4]float32)(panel[8*l+half:])
				s0, s1, s2, s3 = s0+x[l]*v[0], s1+x[l]*v[1], s2+x[l]*v[2], s3+x[l]*v[3]
				t0, t1, t2, t3 = t0+x[4+l]*v[0], t1+x[4+l]*v[1], t2+x[4+l]*v[2], t3+x[4+l]*v[3]
			}
		}
		row := c[i/2*16+half:]
		store4((*[4]float32)(row), &[4]float32{s0, s1, s2, s3}, acc)
		store4((*[4]float32)(row[8:]), &[4]float32{t0, t1, t2, t3}, acc)
	}
}

// winoColPlain is winoColGeneric for genericLanes, in tiles of 2 x 4.
func winoColPlain(c, a []float32, aGroup int, b []float32, bGroup, groups, k int, acc bool) {
	for i := range 4 * groups {
		tile, half := i/4*aGroup+i/2%2*2, i%2*bGroup
		var s0, s1, s2, s3, t0, t1, t2, t3 float32
		for l := range k {
			x, v := (*[2]float32)(a[tile+4*l:]), (*[4]float32)(b[half+4*l:])
			s0, s1, s2, s3 = s0+x[0]*v[0], s1+x[0]*v[1], s2+x[0]*v[2], s3+x[0]*v[3]
			t0, t1, t2, t3 = t0+x[1]*v[0], t1+x[1]*v[1], t2+x[1]*v[2], t3+x[1]*v[3]
		}
		row := c[i/2*16+i%2*4:]
		store4((*[4]float32)(row), &[4]float32{s0, s1, s2, s3}, acc)
		store4((*[4]float32)(row[8:]), &[4]float32{t0, t1, t2, t3}, acc)
	}
}

// winoCopyGeneric copies n pieces of that many vectors, a step apart.
func winoCopyGeneric(lanes int, dst []float32, dstStep int, src []float32, srcStep, vectors, n int) {
	for i := range n {
		copy(dst[i*dstStep:][:vectors*lanes], src[i*srcStep:])
	}
}
