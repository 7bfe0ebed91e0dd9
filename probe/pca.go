package probe

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"

	"nat/internal/kernel"
	"nat/internal/rng"
)

// Limits of the search for principal axes: the iteration ends when the
// variance found grows by less than pcaTolerance of itself in a round.
const (
	pcaOversample = 32
	pcaRounds     = 40
	pcaTolerance  = 1e-7
)

// Projection maps rows to their first principal components.
type Projection struct {
	Dim, K     int       // from Dim features to K components
	Mean       []float32 // Dim
	Components []float32 // Dim x K, orthonormal columns, largest variance first; zero beyond the rank of the data
	Variance   []float64 // K, variance along each component
	Total      float64   // variance of all features together

	pool *kernel.Pool
}

// PCA finds the k directions of largest variance of train (n x d); k is cut
// to min(n, d). It is a randomised subspace iteration (Halko, Martinsson &
// Tropp 2011) over the data themselves, so that no d x d matrix is ever
// needed; products are float32, sums over blocks of rows float64. A fixed
// stream starts it and the sign of a component makes its largest loading positive:
// the same data give the same bits.
func PCA(pool *kernel.Pool, train []float32, n, d, k int) (*Projection, error) {
	if err := checkPCA(pool, train, n, d, k); err != nil {
		return nil, err
	}
	train = train[:n*d]
	std := standardise(pool, train, d)
	p := &Projection{Dim: d, K: min(k, n, d), Mean: std.mean, pool: pool}
	for _, s := range std.square {
		p.Total += s / float64(n)
	}
	return p, p.find(train, n)
}

// UncentredPCA is [PCA] about 0 instead of the mean: the k directions that hold most of
// the mean square, whose mean is taken for 0. Of rows of unit length they keep inner products,
// the cosines, best among all projections.
func UncentredPCA(pool *kernel.Pool, train []float32, n, d, k int) (*Projection, error) {
	if err := checkPCA(pool, train, n, d, k); err != nil {
		return nil, err
	}
	p := &Projection{Dim: d, K: min(k, n, d), Mean: make([]float32, d), pool: pool}
	for _, s := range columnSums(pool, train[:n*d], d, make([]float64, d), true) {
		p.Total += s / float64(n)
	}
	return p, p.find(train[:n*d], n)
}

// find searches the principal axes of n rows about the mean, and their variances.
func (p *Projection) find(train []float32, n int) error {
	s := newSubspace(p, train, n, min(p.Dim, p.K+pcaOversample))
	if err := s.iterate(); err != nil {
		return err
	}
	s.finish()
	return nil
}

// checkPCA panics if the rows do not have the shape, and returns an error if they cannot be used.
func checkPCA(pool *kernel.Pool, train []float32, n, d, k int) error {
	if n < 0 || d < 1 || k < 1 || len(train) < n*d {
		panic("probe: PCA input does not have the given shape, or k < 1")
	}
	if n == 0 {
		return fmt.Errorf("probe: PCA of no rows")
	}
	if i := notFinite(pool, train[:n*d], d); i >= 0 {
		return fmt.Errorf("probe: row %d has a feature that is not finite", i)
	}
	return nil
}

// subspace is an orthonormal basis, the l rows of q (l x d), on its way to
// the span of the first l principal axes of the n rows x.
type subspace struct {
	p     *Projection
	x     []float32
	n, l  int
	q     []float32
	image []float64 // l x d: q X^T X
	gram  []float64 // l x l: q X^T X q^T

	values  []float64  // eigenvalues of gram, largest first
	vectors *mat.Dense // their eigenvectors, l x l
}

func newSubspace(p *Projection, x []float32, n, l int) *subspace {
	s := &subspace{p: p, x: x, n: n, l: l}
	s.image = make([]float64, l*p.Dim)
	s.gram = make([]float64, l*l)
	s.q = make([]float32, l*p.Dim)
	r := rng.New(0, rng.Probe)
	for i := range s.image {
		s.image[i] = r.NormFloat64()
	}
	return s
}

// iterate multiplies the basis by the covariance until the variance that its
// K best directions hold stands still.
func (s *subspace) iterate() error {
	last := math.Inf(-1)
	for range pcaRounds {
		s.orthonormalise()
		s.multiply()
		if err := s.eigen(); err != nil {
			return err
		}
		var found float64
		for _, v := range s.values[:s.p.K] {
			found += v
		}
		if found <= last*(1+pcaTolerance) {
			break
		}
		last = found
	}
	return nil
}

// orthonormalise takes q from the rows of image by Gram-Schmidt in float64,
// each row projected twice (once is not enough for rows that are nearly
// dependent). A row without a part of its own becomes zero.
func (s *subspace) orthonormalise() {
	d := s.p.Dim
	for i := range s.l {
		row := s.image[i*d : (i+1)*d]
		before := floats.Norm(row, 2)
		for range 2 {
			for j := range i {
				other := s.image[j*d : (j+1)*d]
				floats.AddScaled(row, -floats.Dot(row, other), other)
			}
		}
		if after := floats.Norm(row, 2); after > 1e-10*before {
			floats.Scale(1/after, row)
		} else {
			clear(row)
		}
	}
	for i, v := range s.image {
		s.q[i] = float32(v)
	}
}

// multiply computes image and gram in one pass over the data.
func (s *subspace) multiply() {
	const block = 4 * blockRows
	d, l := s.p.Dim, s.l
	centred := make([]float32, min(block, s.n)*d)
	scores := make([]float32, min(block, s.n)*l)
	image := make([]float32, l*d)
	gram := make([]float32, l*l)
	clear(s.image)
	clear(s.gram)
	for lo := 0; lo < s.n; lo += block {
		rows := min(block, s.n-lo)
		s.p.centre(centred, s.x[lo*d:], rows)
		s.p.pool.Gemm(scores, l, centred, d, false, s.q, d, true, rows, l, d, false)
		s.p.pool.Gemm(image, d, scores, l, true, centred, d, false, l, d, rows, false)
		s.p.pool.Gemm(gram, l, scores, l, true, scores, l, false, l, l, rows, false)
		for i, v := range image {
			s.image[i] += float64(v)
		}
		for i, v := range gram {
			s.gram[i] += float64(v)
		}
	}
}

// eigen diagonalises gram, largest eigenvalue first.
func (s *subspace) eigen() error {
	var e mat.EigenSym
	if !e.Factorize(mat.NewSymDense(s.l, s.gram), true) {
		return fmt.Errorf("probe: PCA: the eigenvalues of %d directions do not converge", s.l)
	}
	s.values = e.Values(nil)
	var ascending mat.Dense
	e.VectorsTo(&ascending)
	slices.Reverse(s.values)
	s.vectors = mat.NewDense(s.l, s.l, nil)
	for j := range s.l {
		s.vectors.SetCol(j, mat.Col(nil, s.l-1-j, &ascending))
	}
	return nil
}

// finish rotates the basis to the principal axes and fixes their signs.
func (s *subspace) finish() {
	d, k := s.p.Dim, s.p.K
	s.p.Components = make([]float32, d*k)
	column := make([]float64, d)
	for c := range k {
		largest := 0
		for i := range column {
			column[i] = 0
			for j := range s.l {
				column[i] += float64(s.q[j*d+i]) * s.vectors.At(j, c)
			}
			if math.Abs(column[i]) > math.Abs(column[largest]) {
				largest = i
			}
		}
		for i, v := range column {
			s.p.Components[i*k+c] = float32(math.Copysign(1, column[largest]) * v)
		}
		s.p.Variance = append(s.p.Variance, max(0, s.values[c])/float64(s.n))
	}
}

// centre writes rows of x less the mean to dst.
func (p *Projection) centre(dst, x []float32, rows int) {
	p.pool.DoChunks(rows, 16, func(a, b int) {
		for i := a; i < b; i++ {
			row, out := x[i*p.Dim:(i+1)*p.Dim], dst[i*p.Dim:(i+1)*p.Dim]
			for j, m := range p.Mean {
				out[j] = row[j] - m
			}
		}
	})
}

// Apply writes the components of the n rows of x (n x Dim), less the training
// mean, to dst (n x K).
func (p *Projection) Apply(dst, x []float32, n int) {
	if len(dst) < n*p.K || len(x) < n*p.Dim {
		panic("probe: rows do not have the given shape")
	}
	centred := make([]float32, min(blockRows, n)*p.Dim)
	for lo := 0; lo < n; lo += blockRows {
		rows := min(blockRows, n-lo)
		p.centre(centred, x[lo*p.Dim:], rows)
		p.pool.Gemm(dst[lo*p.K:], p.K, centred, p.Dim, false, p.Components, p.K, false, rows, p.K, p.Dim, false)
	}
}
