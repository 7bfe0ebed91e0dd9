package probe

import (
	"context"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"

	"nat/internal/kernel"
)

// RetrievalOptions are the choices of Retrieval.
type RetrievalOptions struct {
	// Queries is the most test rows that ask; they are spread evenly over the
	// test rows. 0 = 1,000, negative = all.
	Queries int
}

// RetrievalResult is what Retrieval measures. Its figures are means over the
// queries, fractions of 1.
type RetrievalResult struct {
	Queries  int     `json:"queries"`   // test rows that asked
	MAP      float64 `json:"map"`       // mean average precision (60)
	MAPError float64 `json:"map_error"` // its standard error over the queries
	// Shares of queries with a row of their class among the 1, 5 and 10 nearest;
	// the standard error of a share p is sqrt(p(1-p)/Queries).
	Recall1  float64 `json:"recall_1"`
	Recall5  float64 `json:"recall_5"`
	Recall10 float64 `json:"recall_10"`
}

const (
	retrievalQueries = 1000
	// So many queries are ranked at a time, or fewer, so that there are no more
	// cosines at a time than these: 64 MiB.
	queryRows    = 128
	queryCosines = 1 << 24
)

// Retrieval searches the training rows by test rows. For each query all training
// rows are ranked by their cosine with it, exactly, equals in the order of the
// rows. A training row is relevant if it has the query's class. The average
// precision of a query with R relevant rows at the ranks r_1 < ... < r_R is
//
//	AP = (1/R) sum_i i / r_i
//
// (60), and the mean average precision is its mean over the queries; a random
// ranking has about the share of the class. Recall at k is the share of queries
// with at least one relevant row among the k first, as is usual where metrics
// are learnt. Test rows of a class that has no training row are no queries. Rows
// are brought to unit length as in [KNN]. The same data give the same bits for
// any number of workers.
func Retrieval(ctx context.Context, pool *kernel.Pool, data Data, opt RetrievalOptions) (RetrievalResult, error) {
	if err := data.check(pool); err != nil {
		return RetrievalResult{}, err
	}
	rows := queries(data, opt)
	if len(rows) == 0 {
		return RetrievalResult{}, fmt.Errorf("probe: retrieval: no test row has a class of the training rows")
	}
	r := newRanking(pool, data)
	precision := make([]float64, len(rows))
	first := make([]int, len(rows)) // rank of the first relevant row, from 1
	for lo := 0; lo < len(rows); lo += r.block {
		hi := min(len(rows), lo+r.block)
		if err := r.compare(ctx, rows[lo:hi]); err != nil {
			return RetrievalResult{}, err
		}
		pool.DoChunks(hi-lo, 8, func(a, b int) {
			keys := make([]uint64, len(data.TrainY))
			for i := a; i < b; i++ {
				precision[lo+i], first[lo+i] = r.judge(keys, i, data.TestY[rows[lo+i]])
			}
		})
	}
	return summarise(precision, first), nil
}

// queries are the test rows that ask.
func queries(data Data, opt RetrievalOptions) []int {
	known := make([]bool, data.Classes)
	for _, y := range data.TrainY {
		known[y] = true
	}
	var rows []int
	for i, y := range data.TestY {
		if known[y] {
			rows = append(rows, i)
		}
	}
	most := opt.Queries
	if most == 0 {
		most = retrievalQueries
	}
	if most < 0 || len(rows) <= most {
		return rows
	}
	return evenly(rows, most)
}

// evenly takes n of the rows, spread over them.
func evenly(rows []int, n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = rows[i*len(rows)/n]
	}
	return out
}

// ranking holds the cosines of a block of queries with all training rows.
type ranking struct {
	pool  *kernel.Pool
	data  Data
	block int       // queries at a time
	asked []float32 // block x Dim, unit rows
	piece []float32 // blockRows of training rows, unit rows
	norm  []float32
	sim   []float32 // block x training rows
}

func newRanking(pool *kernel.Pool, data Data) *ranking {
	block := max(1, min(queryRows, queryCosines/len(data.TrainY)))
	return &ranking{
		pool: pool, data: data, block: block,
		asked: make([]float32, block*data.Dim), piece: make([]float32, blockRows*data.Dim),
		norm: make([]float32, max(block, blockRows)), sim: make([]float32, block*len(data.TrainY)),
	}
}

// compare fills sim for the test rows given, at most block of them.
func (r *ranking) compare(ctx context.Context, rows []int) error {
	d, n := r.data.Dim, len(r.data.TrainY)
	for i, row := range rows {
		copy(r.asked[i*d:(i+1)*d], r.data.Test[row*d:])
	}
	r.pool.NormalizeRows(r.asked, r.norm, r.asked, len(rows), d)
	for lo := 0; lo < n; lo += blockRows {
		if err := ctx.Err(); err != nil {
			return err
		}
		cols := min(blockRows, n-lo)
		r.pool.NormalizeRows(r.piece, r.norm, r.data.Train[lo*d:], cols, d)
		r.pool.Gemm(r.sim[lo:], n, r.asked, d, false, r.piece, d, true, len(rows), cols, d, false)
	}
	return nil
}

// judge ranks the training rows for query i of the block, whose class is y, and
// returns its average precision and the rank of its first relevant row. keys is
// room for one number a training row.
func (r *ranking) judge(keys []uint64, i, y int) (precision float64, first int) {
	n := len(keys)
	for j, s := range r.sim[i*n : (i+1)*n] {
		keys[j] = uint64(descending(s))<<32 | uint64(j)
	}
	slices.Sort(keys)
	found := 0
	for at, key := range keys {
		if r.data.TrainY[key&math.MaxUint32] != y {
			continue
		}
		if found++; found == 1 {
			first = at + 1
		}
		precision += float64(found) / float64(at+1)
	}
	return precision / float64(found), first
}

// descending maps numbers to integers that are the smaller the larger the
// number is; the two zeros are one.
func descending(s float32) uint32 {
	bits := math.Float32bits(s + 0) // -0 + 0 = 0
	if bits>>31 == 0 {
		return ^bits & math.MaxInt32
	}
	return bits
}

// summarise takes the means over the queries.
func summarise(precision []float64, first []int) RetrievalResult {
	n := float64(len(precision))
	within := func(k int) float64 {
		hits := 0
		for _, rank := range first {
			if rank <= k {
				hits++
			}
		}
		return float64(hits) / n
	}
	mean := floats.Sum(precision) / n
	res := RetrievalResult{Queries: len(precision), MAP: mean, Recall1: within(1), Recall5: within(5), Recall10: within(10)}
	if n > 1 {
		var square float64
		for _, p := range precision {
			square += (p - mean) * (p - mean)
		}
		res.MAPError = math.Sqrt(square / (n - 1) / n)
	}
	return res
}
