package kernel

// rowGeneric multiplies rows of A by one packed panel of B, [k][nr]. Row i of
// the result, i < tiles*mr, goes to c[cOff[i]:cOff[i]+nr] and is added to what
// is there if acc is set. ahead is memory that will be needed next: an
// implementation may ask for a line of it now and then, step bytes apart. Row i
// of A consists of runs pieces of runLen consecutive elements, the first at
// a[aOff[i]], each runStride further on; the rows of the panel for two runs are
// bGap elements apart.
//
// The inner loop's conditions leave no bounds to check: half again as fast.
func rowGeneric(c []float32, cOff []int, a []float32, aOff []int, b []float32, tiles, runs, runLen, runStride, bGap int, acc bool, _ []float32, _ int) {
	for i := 0; i < 2*tiles; i += 2 {
		var s, t [4]float32
		panel := b
		for r := range runs {
			a0 := a[aOff[i]+r*runStride:][:runLen]
			a1 := a[aOff[i+1]+r*runStride:][:runLen]
			s0, s1, s2, s3, t0, t1, t2, t3 := s[0], s[1], s[2], s[3], t[0], t[1], t[2], t[3]
			rows := panel[:4*runLen]
			for l := 0; l < len(a0) && l < len(a1) && len(rows) >= 4; l++ {
				x, y, v0, v1, v2, v3 := a0[l], a1[l], rows[0], rows[1], rows[2], rows[3]
				rows = rows[4:]
				s0, s1, s2, s3 = s0+x*v0, s1+x*v1, s2+x*v2, s3+x*v3
				t0, t1, t2, t3 = t0+y*v0, t1+y*v1, t2+y*v2, t3+y*v3
			}
			panel = panel[4*runLen:]
			s, t = [4]float32{s0, s1, s2, s3}, [4]float32{t0, t1, t2, t3}
			if r < runs-1 {
				panel = panel[bGap:]
			}
		}
		store4((*[4]float32)(c[cOff[i]:]), &s, acc)
		store4((*[4]float32)(c[cOff[i+1]:]), &t, acc)
	}
}

// rowHalfGeneric is rowGeneric for the left half of a panel: b is still
// [k][nr], but only nr/2 columns are computed.
func rowHalfGeneric(c []float32, cOff []int, a []float32, aOff []int, b []float32, tiles, runs, runLen, runStride, bGap int, acc bool, _ []float32, _ int) {
	for i := range 2 * tiles {
		var s [2]float32
		panel := b
		for r := range runs {
			for _, x := range a[aOff[i]+r*runStride:][:runLen] {
				s[0], s[1] = s[0]+x*panel[0], s[1]+x*panel[1]
				panel = panel[4:]
			}
			if r < runs-1 {
				panel = panel[bGap:]
			}
		}
		store2((*[2]float32)(c[cOff[i]:]), &s, acc)
	}
}

// colGeneric multiplies rows of a matrix by rows of one packed panel of B:
// element (i, l) of A, i < tiles*mr, is at a[iOff[i]+pairs[2*l]], and row l of
// B at b[pairs[2*l+1]]. The result has the row stride ldc.
func colGeneric(c []float32, ldc int, a []float32, iOff, pairs []int, b []float32, tiles, k int, acc bool, _ []float32, _ int) {
	for i := 0; i < 2*tiles; i += 2 {
		var s0, s1, s2, s3, t0, t1, t2, t3 float32
		a0, a1 := a[iOff[i]:], a[iOff[i+1]:]
		for at := pairs[:2*k]; len(at) >= 2; at = at[2:] {
			x, y, v := a0[at[0]], a1[at[0]], (*[4]float32)(b[at[1]:])
			s0, s1, s2, s3 = s0+x*v[0], s1+x*v[1], s2+x*v[2], s3+x*v[3]
			t0, t1, t2, t3 = t0+y*v[0], t1+y*v[1], t2+y*v[2], t3+y*v[3]
		}
		store4((*[4]float32)(c[i*ldc:]), &[4]float32{s0, s1, s2, s3}, acc)
		store4((*[4]float32)(c[(i+1)*ldc:]), &[4]float32{t0, t1, t2, t3}, acc)
	}
}

// colHalfGeneric is colGeneric for the left half of a panel.
func colHalfGeneric(c []float32, ldc int, a []float32, iOff, pairs []int, b []float32, tiles, k int, acc bool, _ []float32, _ int) {
	for i := range 2 * tiles {
		var s [2]float32
		for l := 0; l < 2*k; l += 2 {
			x, row := a[iOff[i]+pairs[l]], b[pairs[l+1]:]
			s[0], s[1] = s[0]+x*row[0], s[1]+x*row[1]
		}
		store2((*[2]float32)(c[i*ldc:]), &s, acc)
	}
}

func store2(c, s *[2]float32, acc bool) {
	if acc {
		s[0], s[1] = s[0]+c[0], s[1]+c[1]
	}
	*c = *s
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

// gatherRowsGeneric copies nr elements of each of rows rows, ld apart, to
// dst, [rows][nr].
func gatherRowsGeneric(dst, src []float32, ld, rows int) {
	for r := range rows {
		copy(dst[4*r:4*r+4], src[r*ld:])
	}
}

// splitRowsGeneric copies tiles x mr elements of each of rows rows, ld apart,
// to tiles of [rows][mr] that are tile elements apart.
func splitRowsGeneric(dst []float32, tile int, src []float32, ld, tiles, rows int) {
	for r := range rows {
		for i := range tiles {
			copy(dst[i*tile+2*r:][:2], src[r*ld+2*i:])
		}
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
