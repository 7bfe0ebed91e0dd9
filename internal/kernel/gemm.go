package kernel

// Gemm computes C = op(A) op(B), or adds it to C if accumulate is set, where
// op(A) is m x k, op(B) is k x n and C is m x n. lda, ldb and ldc are the row
// strides of the matrices as stored: with transA, A is stored k x m, and with
// transB, B is stored n x k.
func (p *Pool) Gemm(c []float32, ldc int, a []float32, lda int, transA bool, b []float32, ldb int, transB bool, m, n, k int, accumulate bool) {
	if m < 0 || n < 0 || k < 0 {
		panic("kernel: negative matrix size")
	}
	if m == 0 || n == 0 {
		return
	}
	needMatrix(c, ldc, m, n)
	if k > 0 {
		needStored(a, lda, m, k, transA)
		needStored(b, ldb, k, n, transB)
	}
	p.DoChunks(m, 16, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			gemmRow(c[i*ldc:i*ldc+n], a, lda, transA, b, ldb, transB, i, k, accumulate)
		}
	})
}

// needMatrix panics unless s holds rows x cols with row stride ld.
func needMatrix(s []float32, ld, rows, cols int) {
	if ld < cols {
		panic("kernel: row stride less than the number of columns")
	}
	need(s, (rows-1)*ld+cols)
}

// needStored is needMatrix for a matrix that may be stored transposed.
func needStored(s []float32, ld, rows, cols int, trans bool) {
	if trans {
		rows, cols = cols, rows
	}
	needMatrix(s, ld, rows, cols)
}
