package probe

import (
	"context"
	"fmt"
	"math"

	"gonum.org/v1/gonum/floats"

	"nat/assign"
	"nat/internal/kernel"
	"nat/internal/rng"
)

// ClusterOptions are the choices of Clusters.
type ClusterOptions struct {
	K        int    // clusters; 0 = the number of classes
	Restarts int    // 0 = 8
	Rows     int    // the most test rows that are clustered, spread evenly over them; 0 = 10,000, negative = all
	Seed     uint64 // of the first centres (stream rng.Probe)
}

// ClusterResult is what Clusters measures.
type ClusterResult struct {
	K        int     `json:"k"`        // clusters
	Rows     int     `json:"rows"`     // test rows that were clustered
	Cosine   float64 `json:"cosine"`   // mean cosine of a row with its centre, of the best restart
	NMI      float64 `json:"nmi"`      // normalised mutual information with the classes (64)
	ARI      float64 `json:"ari"`      // adjusted Rand index (65)
	Accuracy float64 `json:"accuracy"` // share of rows whose cluster is matched with their class
}

const (
	clusterRestarts   = 8
	clusterRows       = 10_000
	clusterIterations = 100
)

// Clusters finds clusters among the test rows without labels, by spherical
// k-means (63), and compares them with the classes: by [NMI], [AdjustedRand] and
// [ClusterAccuracy]. Of several starts that with the largest mean cosine is
// taken, which no label has a part in. The training rows are not used. Rows are
// brought to unit length as in [KNN]. The same seed gives the same bits for any
// number of workers.
func Clusters(ctx context.Context, pool *kernel.Pool, data Data, opt ClusterOptions) (ClusterResult, error) {
	if err := data.check(pool); err != nil {
		return ClusterResult{}, err
	}
	if opt.K == 0 {
		opt.K = data.Classes
	}
	if opt.Restarts == 0 {
		opt.Restarts = clusterRestarts
	}
	if opt.Rows == 0 {
		opt.Rows = clusterRows
	}
	if opt.K < 0 || opt.Restarts < 0 {
		return ClusterResult{}, fmt.Errorf("probe: clusters need k > 0 and restarts > 0, got %d and %d", opt.K, opt.Restarts)
	}
	rows := make([]int, len(data.TestY))
	for i := range rows {
		rows[i] = i
	}
	if opt.Rows > 0 && len(rows) > opt.Rows {
		rows = evenly(rows, opt.Rows)
	}
	z, y := make([]float32, len(rows)*data.Dim), make([]int, len(rows))
	for i, row := range rows {
		copy(z[i*data.Dim:(i+1)*data.Dim], data.Test[row*data.Dim:])
		y[i] = data.TestY[row]
	}
	pool.NormalizeRows(z, make([]float32, len(rows)), z, len(rows), data.Dim)
	cluster, cosine, err := sphericalKMeans(ctx, pool, z, data.Dim, min(opt.K, len(rows)), opt)
	if err != nil {
		return ClusterResult{}, err
	}
	accuracy, err := ClusterAccuracy(ctx, cluster, y)
	return ClusterResult{
		K: min(opt.K, len(rows)), Rows: len(rows), Cosine: cosine,
		NMI: NMI(cluster, y), ARI: AdjustedRand(cluster, y), Accuracy: accuracy,
	}, err
}

// kmeans is one run of spherical k-means on the n unit rows z.
type kmeans struct {
	pool    *kernel.Pool
	z       []float32
	n, d, k int
	centre  []float32 // k x d, unit rows
	sim     []float32 // n x k, cosines with the centres
	cluster []int     // of each row
	own     []float64 // cosine of each row with its centre
	sums    []float64 // k x d, of the rows of each cluster
}

// sphericalKMeans returns the clusters of the best of several runs, and their
// mean cosine.
func sphericalKMeans(ctx context.Context, pool *kernel.Pool, z []float32, d, k int, opt ClusterOptions) (best []int, cosine float64, err error) {
	n := len(z) / d
	m := &kmeans{
		pool: pool, z: z, n: n, d: d, k: k, centre: make([]float32, k*d), sim: make([]float32, n*k),
		cluster: make([]int, n), own: make([]float64, n), sums: make([]float64, k*d),
	}
	cosine = math.Inf(-1)
	for restart := range opt.Restarts {
		mean, err := m.run(ctx, opt.Seed, uint64(restart))
		if err != nil {
			return nil, 0, err
		}
		if mean > cosine {
			best, cosine = append(best[:0], m.cluster...), mean
		}
	}
	return best, cosine, nil
}

// run goes from fresh centres until no row changes its cluster, and returns the
// mean cosine of the rows with their centres.
func (m *kmeans) run(ctx context.Context, seed, restart uint64) (float64, error) {
	m.seed(seed, restart)
	for i := range m.cluster {
		m.cluster[i] = -1
	}
	for range clusterIterations {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if !m.assign() {
			break
		}
		m.move()
	}
	var sum float64
	for _, s := range m.own {
		sum += s
	}
	return sum / float64(m.n), nil
}

// seed chooses rows as centres as k-means++ does (Arthur & Vassilvitskii 2007):
// each with a probability in proportion to its squared distance to the nearest
// centre so far, which for unit vectors is twice 1 - cosine.
func (m *kmeans) seed(seed, restart uint64) {
	r := rng.New(seed, rng.Probe, restart)
	far := make([]float64, m.n)
	for i := range far {
		far[i] = 1
	}
	cos := make([]float32, m.n)
	for c := range m.k {
		var sum float64
		for _, f := range far {
			sum += f
		}
		at, rest := r.IntN(m.n), r.Float64()*sum
		for i, f := range far {
			if rest -= f; f > 0 && rest < 0 { // if all rows are centres already, any will do
				at = i
				break
			}
		}
		centre := m.centre[c*m.d : (c+1)*m.d]
		copy(centre, m.z[at*m.d:])
		m.pool.Gemm(cos, 1, m.z, m.d, false, centre, m.d, true, m.n, 1, m.d, false)
		for i, s := range cos {
			far[i] = max(0, min(far[i], 1-float64(s)))
		}
	}
}

// assign gives every row to the centre with the largest cosine, the first of
// equals, and tells whether any row has changed.
func (m *kmeans) assign() bool {
	m.pool.Gemm(m.sim, m.k, m.z, m.d, false, m.centre, m.d, true, m.n, m.k, m.d, false)
	changed := false
	for i := range m.n {
		row := m.sim[i*m.k : (i+1)*m.k]
		best := 0
		for c, s := range row {
			if s > row[best] {
				best = c
			}
		}
		changed = changed || m.cluster[i] != best
		m.cluster[i], m.own[i] = best, float64(row[best])
	}
	return changed
}

// move puts each centre on the mean direction of its rows. A cluster without
// rows, or whose rows cancel, starts again from the row that is farthest from
// its own centre.
func (m *kmeans) move() {
	// One column of the sums belongs to one worker, which adds the rows in order.
	clear(m.sums)
	m.pool.DoChunks(m.d, 64, func(lo, hi int) {
		for i, c := range m.cluster {
			sum := m.sums[c*m.d+lo : c*m.d+hi]
			for j, v := range m.z[i*m.d+lo : i*m.d+hi] {
				sum[j] += float64(v)
			}
		}
	})
	for c := range m.k {
		sum := m.sums[c*m.d : (c+1)*m.d]
		norm := floats.Norm(sum, 2)
		if norm < 1e-6 {
			at := floats.MinIdx(m.own)
			m.own[at] = 1 // the next goes elsewhere
			copy(m.centre[c*m.d:(c+1)*m.d], m.z[at*m.d:(at+1)*m.d])
			continue
		}
		for j, v := range sum {
			m.centre[c*m.d+j] = float32(v / norm)
		}
	}
}

// contingency counts the rows of each pair of values; the values are numbered
// from 0 in the order in which they appear.
func contingency(a, b []int) (joint [][]int, rows, cols []int) {
	if len(a) != len(b) {
		panic("probe: two clusterings of different numbers of rows")
	}
	number := func(x []int) ([]int, int) {
		seen := map[int]int{}
		out := make([]int, len(x))
		for i, v := range x {
			if _, ok := seen[v]; !ok {
				seen[v] = len(seen)
			}
			out[i] = seen[v]
		}
		return out, len(seen)
	}
	ia, na := number(a)
	ib, nb := number(b)
	joint, rows, cols = make([][]int, na), make([]int, na), make([]int, nb)
	for i := range joint {
		joint[i] = make([]int, nb)
	}
	for i := range a {
		joint[ia[i]][ib[i]]++
		rows[ia[i]]++
		cols[ib[i]]++
	}
	return joint, rows, cols
}

// NMI is the mutual information of two clusterings of the same rows, divided by
// the mean of their entropies (64): 1 if they are the same but for the names of
// the clusters, about 0 if they have nothing to do with each other (a little
// more for few rows). Two clusterings of one cluster each are the same.
func NMI(a, b []int) float64 {
	joint, rows, cols := contingency(a, b)
	n := float64(len(a))
	entropy := func(counts []int) (h float64) {
		for _, c := range counts {
			h -= float64(c) / n * math.Log(float64(c)/n)
		}
		return h
	}
	if len(rows) <= 1 && len(cols) <= 1 {
		return 1
	}
	var mutual float64
	for i, row := range joint {
		for j, c := range row {
			if c > 0 {
				mutual += float64(c) / n * math.Log(float64(c)*n/(float64(rows[i])*float64(cols[j])))
			}
		}
	}
	return max(0, mutual) / ((entropy(rows) + entropy(cols)) / 2)
}

// AdjustedRand is the Rand index of two clusterings of the same rows, the share
// of pairs of rows that both keep together or both keep apart, corrected for
// chance (65): 1 if they are the same but for names, 0 on average for
// independent ones with the same sizes.
func AdjustedRand(a, b []int) float64 {
	joint, rows, cols := contingency(a, b)
	pairs := func(c int) float64 { return float64(c) * float64(c-1) / 2 }
	var both, first, second float64
	for _, row := range joint {
		for _, c := range row {
			both += pairs(c)
		}
	}
	for _, c := range rows {
		first += pairs(c)
	}
	for _, c := range cols {
		second += pairs(c)
	}
	if both == first && both == second {
		return 1
	}
	expected := first * second / pairs(len(a))
	return (both - expected) / ((first+second)/2 - expected)
}

// ClusterAccuracy is the share of rows whose cluster is the one matched with
// their class, under the matching of clusters with classes, one with one, for
// which that share is largest; it is found exactly. The error is ctx's.
func ClusterAccuracy(ctx context.Context, clusters, classes []int) (float64, error) {
	if len(clusters) == 0 {
		return 1, nil // as with the other two
	}
	joint, rows, cols := contingency(clusters, classes)
	cost := make([]float64, 0, len(rows)*len(cols))
	for _, row := range joint {
		for _, c := range row {
			cost = append(cost, -float64(c))
		}
	}
	var s assign.Solver
	r, err := s.Matrix(ctx, cost, len(rows), len(cols), assign.Options{})
	if err != nil {
		return 0, fmt.Errorf("probe: matching of clusters with classes: %w", err)
	}
	return -r.Cost / float64(len(clusters)), nil
}
