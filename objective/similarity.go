package objective

import (
	"math"
	"slices"

	"nat/internal/kernel"
)

// similarity is a matrix of inner products of queries with keys, and then of the
// derivatives of a loss with respect to these: three products and one pass over
// the rows are all that a contrastive loss takes.
type similarity struct {
	pool   *kernel.Pool
	m, n   int       // queries, keys
	s      []float32 // m x n
	rows   []rowSoftmax
	row    func(i int, s []float32) rowSoftmax
	pieces func(chunk int)
}

// rowSoftmax is what one query contributes.
type rowSoftmax struct {
	loss  float64
	right bool // its most similar candidate is one it should find
}

// lossAndGrad fills the matrix, and hands each row to row, which turns it from
// inner products into derivatives. It returns the means over the rows, added in
// their order.
func (c *similarity) lossAndGrad(q, k []float32, m, n, d int, row func(i int, s []float32) rowSoftmax) (loss, accuracy float64) {
	c.m, c.n, c.row = m, n, row
	c.s = slices.Grow(c.s[:0], m*n)[:m*n]
	c.rows = slices.Grow(c.rows[:0], m)[:m]
	c.pool.Gemm(c.s, n, q, d, false, k, d, true, m, n, d, false)
	if c.pieces == nil {
		c.pieces = c.piece
	}
	c.pool.Do((m+rowChunk-1)/rowChunk, c.pieces)
	right := 0
	for _, r := range c.rows {
		loss += r.loss
		if r.right {
			right++
		}
	}
	return loss / float64(m), float64(right) / float64(m)
}

func (c *similarity) piece(chunk int) {
	for i := chunk * rowChunk; i < min((chunk+1)*rowChunk, c.m); i++ {
		c.rows[i] = c.row(i, c.s[i*c.n:(i+1)*c.n])
	}
}

// toQueries writes the gradient of the queries, or adds it to dq.
func (c *similarity) toQueries(dq, k []float32, d int, add bool) {
	c.pool.Gemm(dq, d, c.s, c.n, false, k, d, false, c.m, d, c.n, add)
}

// toKeys writes the gradient of the keys, or adds it to dk.
func (c *similarity) toKeys(dk, q []float32, d int, add bool) {
	c.pool.Gemm(dk, d, c.s, c.n, true, q, d, false, c.n, d, c.m, add)
}

// exponentiate turns s into e^(scale (s - top)).
func exponentiate(s []float32, scale, top float32) {
	for i, x := range s {
		s[i] = scale * (x - top)
	}
	kernel.Exp(s, s)
}

// sum64 adds up s in float64, in four parts.
func sum64(s []float32) float64 {
	var a, b, c, d float64
	for ; len(s) >= 4; s = s[4:] {
		a += float64(s[0])
		b += float64(s[1])
		c += float64(s[2])
		d += float64(s[3])
	}
	for _, x := range s {
		a += float64(x)
	}
	return a + b + (c + d)
}

func scaleRow(s []float32, f float32) {
	for i := range s {
		s[i] *= f
	}
}

// softmaxRow is the cross-entropy of a guess among all keys, the right one being own, and
// turns the row into its derivatives, of a mean over m rows.
func softmaxRow(s []float32, own int, scale float32, m int) rowSoftmax {
	top := kernel.Highest(s)
	logit := scale * (s[own] - top)
	exponentiate(s, scale, top)
	all := sum64(s)
	weight := scale / float32(m)
	scaleRow(s, weight/float32(all))
	s[own] -= weight
	return rowSoftmax{loss: math.Log(all) - float64(logit), right: logit == 0}
}
