package kernel

// rowGeneric multiplies rows of A by one packed panel of B, [k][nr]. Row i of
// the result, i < tiles*mr, goes to c[cOff[i]:cOff[i]+nr] and is added to what
// is there if acc is set. Row i of A consists of runs pieces of runLen
// consecutive elements, the first at a[aOff[i]], each runStride further on.
func rowGeneric(c []float32, cOff []int, a []float32, aOff []int, b []float32, tiles, runs, runLen, runStride int, acc bool) {
	for i := 0; i < 2*tiles; i += 2 {
		var s [2][4]float32
		panel := b
		for r := range runs {
			a0 := a[aOff[i]+r*runStride:][:runLen]
			a1 := a[aOff[i+1]+r*runStride:][:runLen]
			for l, x := range a0 {
				accumulate2x4(&s, x, a1[l], (*[4]float32)(panel[4*l:]))
			}
			panel = panel[4*runLen:]
		}
		store4((*[4]float32)(c[cOff[i]:]), &s[0], acc)
		store4((*[4]float32)(c[cOff[i+1]:]), &s[1], acc)
	}
}

// colGeneric multiplies columns of a matrix stored with k as its slow axis by
// one packed panel of B, [k][nr]: element (i, l) of A, i < mr, is at
// a[kOff[l]+i] for the first tile and aTile further on for each one after it.
// The result has the row stride ldc.
func colGeneric(c []float32, ldc int, a []float32, aTile int, kOff []int, b []float32, tiles, k int, acc bool) {
	for i := range tiles {
		var s [2][4]float32
		for l, off := range kOff[:k] {
			x := (*[2]float32)(a[i*aTile+off:])
			accumulate2x4(&s, x[0], x[1], (*[4]float32)(b[4*l:]))
		}
		store4((*[4]float32)(c[2*i*ldc:]), &s[0], acc)
		store4((*[4]float32)(c[(2*i+1)*ldc:]), &s[1], acc)
	}
}

func accumulate2x4(s *[2][4]float32, x, y float32, b *[4]float32) {
	s[0][0] += x * b[0]
	s[0][1] += x * b[1]
	s[0][2] += x * b[2]
	s[0][3] += x * b[3]
	s[1][0] += y * b[0]
	s[1][1] += y * b[1]
	s[1][2] += y * b[2]
	s[1][3] += y * b[3]
}

func store4(c, s *[4]float32, acc bool) {
	if !acc {
		*c = *s
		return
	}
	for j, v := range s {
		c[j] += v
	}
}

// transpose8Generic sets dst[j*dstStride+i] = src[i*srcStride+j] for i < 8 and
// j < 8*blocks.
func transpose8Generic(dst []float32, dstStride int, src []float32, srcStride, blocks int) {
	for i := range 8 {
		for j, v := range src[i*srcStride:][:8*blocks] {
			dst[j*dstStride+i] = v
		}
	}
}
