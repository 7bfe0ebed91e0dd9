package probe

import (
	"context"
	"fmt"
	"math"

	"nat/index"
	"nat/internal/kernel"
)

// KNNOptions are the choices of KNN. The zero value is the usual protocol.
type KNNOptions struct {
	K           int     // neighbours that vote; 0 = 20, at most the training rows
	Temperature float64 // 0 = 0.07
}

// KNN returns the accuracy of the weighted nearest-neighbour vote of Wu et
// al. (2018): each of the k training rows with the largest cosine s to a test
// row gives its class exp(s/temperature) votes; ties go to the lower class.
// Rows are brought to unit length here and not centred first, so features that share a
// large mean should be centred by the caller (as [Projection.Apply] does); a
// row of zeros has cosine 0 with every row. The search is exact.
func KNN(ctx context.Context, pool *kernel.Pool, data Data, opt KNNOptions) (accuracy float64, err error) {
	if err := data.check(pool); err != nil {
		return 0, err
	}
	if opt.K == 0 {
		opt.K = 20
	}
	if opt.Temperature == 0 {
		opt.Temperature = .07
	}
	if opt.K < 0 || !(opt.Temperature > 0) {
		return 0, fmt.Errorf("probe: kNN needs k > 0 and a temperature > 0, got %d and %g", opt.K, opt.Temperature)
	}
	idx, sim, err := neighbours(ctx, pool, data, min(opt.K, len(data.TrainY)))
	if err != nil {
		return 0, err
	}
	k := len(idx) / len(data.TestY)
	hits := 0
	votes := make([]float64, data.Classes)
	for i, y := range data.TestY {
		if vote(votes, idx[i*k:(i+1)*k], sim[i*k:(i+1)*k], data.TrainY, opt.Temperature) == y {
			hits++
		}
	}
	return float64(hits) / float64(len(data.TestY)), nil
}

// neighbours searches the training rows, normalised piece by piece.
func neighbours(ctx context.Context, pool *kernel.Pool, data Data, k int) (idx []int32, sim []float32, err error) {
	const piece = 4 * blockRows
	d, n, nt := data.Dim, len(data.TrainY), len(data.TestY)
	norm := make([]float32, max(piece, nt))
	queries := make([]float32, nt*d)
	pool.NormalizeRows(queries, norm, data.Test, nt, d)
	search := index.NewTopK(queries, nt, d, k, false)
	unit := make([]float32, min(piece, n)*d)
	for lo := 0; lo < n; lo += piece {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		rows := min(piece, n-lo)
		pool.NormalizeRows(unit, norm, data.Train[lo*d:], rows, d)
		search.Add(pool, unit, rows)
	}
	idx, sim = search.Result()
	return idx, sim, nil
}

// vote returns the class with the most votes. Weights are relative to the
// nearest neighbour's, so that no temperature overflows.
func vote(votes []float64, idx []int32, sim []float32, labels []int, temperature float64) int {
	clear(votes)
	for j, i := range idx {
		votes[labels[i]] += math.Exp(float64(sim[j]-sim[0]) / temperature)
	}
	best := 0
	for c, v := range votes {
		if v > votes[best] {
			best = c
		}
	}
	return best
}
