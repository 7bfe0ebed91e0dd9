package probe

import (
	"context"
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/optimize"

	"nat/internal/kernel"
	"nat/internal/rng"
)

// LinearOptions are the choices of Linear and SVM. The zero value is the usual protocol.
type LinearOptions struct {
	// L2 is lambda in the penalty (lambda/2) |W|^2 added to the mean loss, on
	// standardised features; the intercepts are free.
	// 0 = chosen on training rows held out for that, see Linear; negative = none.
	L2 float64
	// Evaluations caps the evaluations of the objective in the final fit; 0 = 120.
	Evaluations int
	// Seed is that of the folds that choose L2 (stream rng.Probe).
	Seed uint64
}

// Linear returns the accuracy of a multinomial logistic regression on
// standardised features. L-BFGS minimises
//
//	(1/n) sum_i -log softmax(W x_i + b)[y_i] + (lambda/2) |W|^2
//
// and stops where the largest derivative is below 1e-4, at the cap on
// evaluations, or where float32 gradients show no further descent.
//
// How much penalty serves best depends on the features: 2,048 of them want
// thirty times what 64 do, and one constant would favour one row of a table
// over another. So lambda is chosen from 0.1 downwards in steps of sqrt(10), by
// accuracy on training rows left out of the fit (a fifth of the rows; every
// fifth in turn if there are few). Test rows are not looked at. The same data
// give the same bits for any number of workers.
func Linear(ctx context.Context, pool *kernel.Pool, data Data, opt LinearOptions) (accuracy float64, err error) {
	return linearAccuracy(ctx, pool, data, opt, logistic)
}

// SVM returns the accuracy of a linear support vector machine on standardised
// features: one against the rest, with the squared hinge (62), as LIBLINEAR has
// it by default (Fan et al. 2008; its C is 1/(lambda n), and there the
// intercepts are penalised too). The largest of the scores W x + b answers. It
// is fitted and lambda is chosen as in [Linear], from 1 downwards.
func SVM(ctx context.Context, pool *kernel.Pool, data Data, opt LinearOptions) (accuracy float64, err error) {
	return linearAccuracy(ctx, pool, data, opt, squaredHinge)
}

// A linearLoss is what a linear classifier is fitted by.
type linearLoss struct {
	name      string
	strongest float64 // penalty that the choice begins with
	// of returns the loss of a row of scores whose label is y and replaces the
	// row by the derivative.
	of func(row []float32, y int) float64
}

var (
	logistic     = linearLoss{"linear", .1, crossEntropy}
	squaredHinge = linearLoss{"svm", 1, hingeSquares}
)

func linearAccuracy(ctx context.Context, pool *kernel.Pool, data Data, opt LinearOptions, loss linearLoss) (float64, error) {
	if err := data.check(pool); err != nil {
		return 0, err
	}
	if opt.Evaluations == 0 {
		opt.Evaluations = 120
	}
	if opt.Evaluations < 0 || math.IsNaN(opt.L2) {
		return 0, fmt.Errorf("probe: %s needs evaluations > 0 and a number for l2, got %d and %g", loss.name, opt.Evaluations, opt.L2)
	}
	m := newLinear(pool, data, opt, loss)
	start := make([]float64, len(m.grad))
	if opt.L2 == 0 {
		var err error
		if m.lambda, start, err = m.choose(ctx, opt.Seed); err != nil {
			return 0, err
		}
	}
	w, err := m.fit(ctx, start, opt.Evaluations)
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

const (
	folds           = 5
	allFoldsBelow   = 2000 // rows: with fewer, one fold is too small to tell
	pathEvaluations = 40   // each penalty starts from the solution of the one before
	weakestPenalty  = 1e-4 // the last of the path
	fewestPenalty   = .01  // with fewer rows than folds there is nothing to choose by
)

// choose returns the penalty whose fits answer most left-out rows, the strongest
// of equals, and the solution it found on the first fold to start from. It goes
// from strong to weak and stops when two in a row have not been better.
func (m *linear) choose(ctx context.Context, seed uint64) (lambda float64, start []float64, err error) {
	n := len(m.data.TrainY)
	if n < folds {
		return fewestPenalty, make([]float64, len(m.grad)), nil
	}
	turns := 1
	if n < allFoldsBelow {
		turns = folds
	}
	order := rng.New(seed, rng.Probe, uint64(n)).Perm(n)
	defer func() { m.leftOut, m.at = nil, nil }()
	at := make([][]float64, turns)
	best, worse := -1, 0
	for step := 0; ; step++ {
		m.lambda = m.kind.strongest * math.Pow(10, -float64(step)/2)
		hits := 0
		for f := range turns {
			if at[f] == nil {
				at[f] = make([]float64, len(m.grad))
			}
			m.leave(order, f)
			if at[f], err = m.fit(ctx, at[f], pathEvaluations); err != nil {
				return 0, nil, err
			}
			hits += m.leftOutHits(at[f])
		}
		if worse++; hits > best {
			best, worse = hits, 0
			lambda, start = m.lambda, at[0]
		}
		if worse == 2 || m.lambda < 1.5*weakestPenalty {
			return lambda, start, nil
		}
	}
}

// leave takes fold f of the rows, in the given order, out of the objective.
func (m *linear) leave(order []int, f int) {
	m.at = nil
	m.leftOut = make([]bool, len(order))
	for i, place := range order {
		m.leftOut[i] = place%folds == f
	}
}

// leftOutHits counts the rows out of the objective that w classifies rightly.
func (m *linear) leftOutHits(w []float64) (hits int) {
	c := m.data.Classes
	for lo := 0; lo < len(m.leftOut); lo += blockRows {
		hi := min(len(m.leftOut), lo+blockRows)
		m.logits(w, m.data.Train, lo, hi)
		for i := lo; i < hi; i++ {
			if m.leftOut[i] {
				hits += accuracyOf(m.score[(i-lo)*c:], m.data.TrainY[i:i+1], c)
			}
		}
	}
	return hits
}

// linear is the objective of Linear and SVM. Its parameters are one vector: W
// as Dim x Classes, then b.
type linear struct {
	pool    *kernel.Pool
	data    Data
	kind    linearLoss
	lambda  float64
	leftOut []bool // training rows that do not count; nil: all count
	std     standardiser

	x     []float32 // one block of standardised rows
	score []float32 // its logits, then their residuals
	w     []float32 // W in float32
	gw    []float32 // gradient of W from one block, transposed: by rows as long as those of x the product is twice as fast
	sum   []float64 // of gw over the blocks
	loss  []float64 // loss of each row of a block

	// gonum asks for the value and the gradient at one point by separate
	// calls; they are computed together and kept.
	at    []float64
	value float64
	grad  []float64
}

func newLinear(pool *kernel.Pool, data Data, opt LinearOptions, loss linearLoss) *linear {
	m := &linear{pool: pool, data: data, kind: loss, lambda: max(opt.L2, 0)}
	m.std = standardise(pool, data.Train, data.Dim)
	m.x = make([]float32, blockRows*data.Dim)
	m.score = make([]float32, blockRows*data.Classes)
	m.w = make([]float32, data.Dim*data.Classes)
	m.gw = make([]float32, data.Dim*data.Classes)
	m.sum = make([]float64, data.Dim*data.Classes)
	m.loss = make([]float64, blockRows)
	m.grad = make([]float64, (data.Dim+1)*data.Classes)
	return m
}

// fit runs the optimiser from start and returns the parameters.
func (m *linear) fit(ctx context.Context, start []float64, evaluations int) ([]float64, error) {
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
		return nil, fmt.Errorf("probe: %s: %w", m.kind.name, err)
	}
	return result.X, nil
}

// evaluate computes value and gradient at w, block by block: a block is
// standardised while it is in cache and serves both matrix products. The
// gradients of blocks are added in float64, in order.
func (m *linear) evaluate(w []float64) {
	if m.at != nil && equal(m.at, w) {
		return
	}
	m.at = append(m.at[:0], w...)
	d, c, n := m.data.Dim, m.data.Classes, len(m.data.TrainY)
	counted := n
	for _, out := range m.leftOut {
		if out {
			counted--
		}
	}
	clear(m.grad)
	clear(m.sum)
	m.value = 0
	for lo := 0; lo < n; lo += blockRows {
		hi := min(n, lo+blockRows)
		m.logits(w, m.data.Train, lo, hi)
		m.residuals(lo, hi)
		m.pool.Gemm(m.gw, d, m.score, c, true, m.x, d, false, c, d, hi-lo, false)
		for i, v := range m.gw {
			m.sum[i] += float64(v)
		}
		for i := range hi - lo {
			m.value += m.loss[i]
			for j, v := range m.score[i*c : (i+1)*c] {
				m.grad[d*c+j] += float64(v)
			}
		}
	}
	m.value /= float64(counted)
	for i, v := range m.sum {
		m.grad[i%d*c+i/d] = v
	}
	for i := range m.grad {
		m.grad[i] /= float64(counted)
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
func (m *linear) logits(w []float64, x []float32, lo, hi int) {
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

// residuals turns m.score into the derivatives of the loss and fills m.loss;
// rows that are left out get zeros.
func (m *linear) residuals(lo, hi int) {
	c := m.data.Classes
	m.pool.DoChunks(hi-lo, 64, func(a, b int) {
		for i := a; i < b; i++ {
			row := m.score[i*c : (i+1)*c]
			m.loss[i] = m.kind.of(row, m.data.TrainY[lo+i])
			if m.leftOut != nil && m.leftOut[lo+i] {
				m.loss[i] = 0
				clear(row)
			}
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

// hingeSquares returns the sum over classes of max(0, 1 - t s)^2, with t = 1 for
// the class y and -1 for the others, and replaces the scores by its derivative.
func hingeSquares(row []float32, y int) (loss float64) {
	for j, s := range row {
		t := float32(-1)
		if j == y {
			t = 1
		}
		short := max(0, 1-t*s)
		loss += float64(short) * float64(short)
		row[j] = -2 * t * short
	}
	return loss
}
