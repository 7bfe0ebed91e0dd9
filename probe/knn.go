package probe

import (
	"context"
	"fmt"
	"math"
	"slices"

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
	if opt.K == 0 {
		opt.K = 20
	}
	accuracies, err := KNNs(ctx, pool, data, []int{opt.K}, opt.Temperature)
	if err != nil {
		return 0, err
	}
	return accuracies[0], nil
}

// KNNs is [KNN] for several numbers of neighbours, by one search: the accuracy
// for each of ks. Published tables have k = 20 and k = 200. A temperature of 0
// means 0.07.
func KNNs(ctx context.Context, pool *kernel.Pool, data Data, ks []int, temperature float64) (accuracies []float64, err error) {
	if err := data.check(pool); err != nil {
		return nil, err
	}
	if temperature == 0 {
		temperature = .07
	}
	if len(ks) == 0 || slices.Min(ks) < 1 || !(temperature > 0) {
		return nil, fmt.Errorf("probe: kNN needs k > 0 and a temperature > 0, got %d and %g", ks, temperature)
	}
	idx, sim, err := neighbours(ctx, pool, data, min(slices.Max(ks), len(data.TrainY)))
	if err != nil {
		return nil, err
	}
	found := len(idx) / len(data.TestY)
	votes := make([]float64, data.Classes)
	for _, k := range ks {
		hits, k := 0, min(k, found)
		for i, y := range data.TestY {
			lo := i * found
			if vote(votes, idx[lo:lo+k], sim[lo:lo+k], data.TrainY, temperature) == y {
				hits++
			}
		}
		accuracies = append(accuracies, float64(hits)/float64(len(data.TestY)))
	}
	return accuracies, nil
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
