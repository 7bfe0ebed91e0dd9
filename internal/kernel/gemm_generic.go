package kernel

// gemmRow computes row i of op(A) op(B).
func gemmRow(c, a []float32, lda int, transA bool, b []float32, ldb int, transB bool, i, k int, accumulate bool) {
	if !accumulate {
		clear(c)
	}
	at := func(l int) float32 { return a[i*lda+l] }
	if transA {
		at = func(l int) float32 { return a[l*lda+i] }
	}
	if !transB {
		for l := range k {
			Axpy(c, at(l), b[l*ldb:l*ldb+len(c)])
		}
		return
	}
	for j := range c {
		row := b[j*ldb : j*ldb+k]
		var s float32
		for l, v := range row {
			s += at(l) * v
		}
		c[j] += s
	}
}
