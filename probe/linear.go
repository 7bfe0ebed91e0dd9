package probe

import (
	"context"
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/optimize"

	"nat/internal/kernel"
)

// LinearOptions are the choices of Linear. The zero value is the usual protocol.
type LinearOptions struct {
	// L2 is lambda in the penalty (lambda/2) |W|^2 added to the mean
	// cross-entropy, on standardised features; the intercepts are free.
	// 0 = 5e-7 x Dim: weights drawn from a prior of variance 1/lambda then give
	// logits of one spread whatever the dimension, and wide features are not
	// left nearly unpenalised. Negative = none.
	L2 float64
	// Evaluations caps the evaluations of the objective; 0 = 100.
	Evaluations int
}

// Linear returns the accuracy of a multinomial logistic regression on
// standardised features. L-BFGS minimises, from zero weights,
//
//	(1/n) sum_i -log softmax(W x_i + b)[y_i] + (lambda/2) |W|^2
//
// and stops where the largest derivative is below 1e-4, at the cap on
// evaluations, or where float32 gradients show no further descent. The same
// data give the same bits for any number of workers.
func Linear(ctx context.Context, pool *kernel.Pool, data Data, opt LinearOptions) (accuracy float64, err error) {
	if err := data.check(pool); err != nil {
		return 0, err
	}
	if opt.Evaluations == 0 {
		opt.Evaluations = 100
	}
	if opt.Evaluations < 0 || math.IsNaN(opt.L2) {
		return 0, fmt.Errorf("probe: linear needs evaluations > 0 and a number for l2, got %d and %g", opt.Evaluations, opt.L2)
	}
	m := newLogistic(pool, data, opt)
	w, err := m.fit(ctx, opt.Evaluations)
	if err != nil {
		return 0, err
	}
	hits := 0
	for lo := 0; lo < len(data.TestY); lo += blockRows {
		hi := min(len(data.TestY), lo+blockRows)
		m.logits(w, data.Test, lo, hi)
		hits += accuracyOf(m.score, data.TestY[lo:hi], data.Classes)
	}
	return float64(hits) / float64(len(data.TestY)), nil
}

// logistic is the objective of Linear. Its parameters are one vector: W as
// Dim x Classes, then b.
type logistic struct {
	pool   *kernel.Pool
	data   Data
	lambda float64
	std    standardiser

	x     []float32 // one block of standardised rows
	score []float32 // its logits, then their residuals
	w     []float32 // W in float32
	gw    []float32 // gradient of W from one block
	loss  []float64 // loss of each row of a block

	// gonum asks for the value and the gradient at one point by separate
	// calls; they are computed together and kept.
	at    []float64
	value float64
	grad  []float64
}

func newLogistic(pool *kernel.Pool, data Data, opt LinearOptions) *logistic {
	m := &logistic{pool: pool, data: data, lambda: opt.L2}
	switch {
	case opt.L2 == 0:
		m.lambda = 5e-7 * float64(data.Dim)
	case opt.L2 < 0:
		m.lambda = 0
	}
	m.std = standardise(pool, data.Train, data.Dim)
	m.x = make([]float32, blockRows*data.Dim)
	m.score = make([]float32, blockRows*data.Classes)
	m.w = make([]float32, data.Dim*data.Classes)
	m.gw = make([]float32, data.Dim*data.Classes)
	m.loss = make([]float64, blockRows)
	m.grad = make([]float64, (data.Dim+1)*data.Classes)
	return m
}

// fit runs the optimiser and returns the parameters.
func (m *logistic) fit(ctx context.Context, evaluations int) ([]float64, error) {
	problem := optimize.Problem{
		Func: func(w []float64) float64 { m.evaluate(w); return m.value },
		Grad: func(grad, w []float64) { m.evaluate(w); copy(grad, m.grad) },
		Status: func() (optimize.Status, error) {
			return optimize.NotTerminated, ctx.Err()
		},
	}
	settings := &optimize.Settings{
		GradientThreshold: 1e-4,
		FuncEvaluations:   evaluations,
		Converger:         optimize.NeverTerminate{},
	}
	start := make([]float64, len(m.grad))
	result, err := optimize.Minimize(problem, start, settings, &optimize.LBFGS{Linesearcher: &optimize.MoreThuente{}})
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	// A line search that finds no descent has met the rounding of the float32
	// gradient: the point is as good as this objective can tell.
	for _, end := range []error{optimize.ErrLinesearcherFailure, optimize.ErrNoProgress, optimize.ErrNonDescentDirection} {
		if errors.Is(err, end) {
			return result.X, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("probe: linear: %w", err)
	}
	return result.X, nil
}

// evaluate computes value and gradient at w, block by block: a block is
// standardised while it is in cache and serves both matrix products. The
// gradients of blocks are added in float64, in order.
func (m *logistic) evaluate(w []float64) {
	if m.at != nil && equal(m.at, w) {
		return
	}
	m.at = append(m.at[:0], w...)
	d, c, n := m.data.Dim, m.data.Classes, len(m.data.TrainY)
	clear(m.grad)
	m.value = 0
	for lo := 0; lo < n; lo += blockRows {
		hi := min(n, lo+blockRows)
		m.logits(w, m.data.Train, lo, hi)
		m.residuals(lo, hi)
		m.pool.Gemm(m.gw, c, m.x, d, true, m.score, c, false, d, c, hi-lo, false)
		for i, v := range m.gw {
			m.grad[i] += float64(v)
		}
		for i := range hi - lo {
			m.value += m.loss[i]
			for j, v := range m.score[i*c : (i+1)*c] {
				m.grad[d*c+j] += float64(v)
			}
		}
	}
	m.value /= float64(n)
	for i := range m.grad {
		m.grad[i] /= float64(n)
	}
	for i, v := range w[:d*c] {
		m.value += m.lambda / 2 * v * v
		m.grad[i] += m.lambda * v
	}
}

func equal(a, b []float64) bool {
	for i, v := range a {
		if v != b[i] {
			return false
		}
	}
	return true
}

// logits writes the scores of rows lo..hi-1 of x to m.score and leaves their
// standardised features in m.x.
func (m *logistic) logits(w []float64, x []float32, lo, hi int) {
	d, c := m.data.Dim, m.data.Classes
	for i := range m.w {
		m.w[i] = float32(w[i])
	}
	m.std.apply(m.pool, m.x, x[lo*d:], hi-lo)
	m.pool.Gemm(m.score, c, m.x, d, false, m.w, c, false, hi-lo, c, d, false)
	for i := range hi - lo {
		for j := range c {
			m.score[i*c+j] += float32(w[d*c+j])
		}
	}
}

// residuals turns m.score into softmax(score) - onehot(y) and fills m.loss.
func (m *logistic) residuals(lo, hi int) {
	c := m.data.Classes
	m.pool.DoChunks(hi-lo, 64, func(a, b int) {
		for i := a; i < b; i++ {
			m.loss[i] = crossEntropy(m.score[i*c:(i+1)*c], m.data.TrainY[lo+i])
		}
	})
}

// crossEntropy returns -log softmax(row)[y] and replaces row by its
// derivative, softmax(row) - onehot(y).
func crossEntropy(row []float32, y int) float64 {
	top := row[0]
	for _, v := range row {
		top = max(top, v)
	}
	loss := -float64(row[y] - top)
	var sum float64
	for j, v := range row {
		e := math.Exp(float64(v - top))
		sum += e
		row[j] = float32(e)
	}
	for j := range row {
		row[j] = float32(float64(row[j]) / sum)
	}
	row[y]--
	return loss + math.Log(sum)
}
