package assign

import (
	"fmt"
	"math"

	"nat/internal/kernel"
)

const (
	// scale of the fixed-point costs: 2^26 steps per unit. Costs between points of
	// the unit ball reach 4 = 2^28 steps, potentials and path lengths six times
	// that, below 2^31.
	scale = 1 << 26
	// ballSlack is how far beyond 1 the norm of a unit vector may be.
	ballSlack = 1e-3
	// blockRows of inner products are computed at a time.
	blockRows = 256
	// bandLimit is how many costs per row are recomputed in float64 for the
	// certificate before a bound is used instead.
	bandLimit = 32
)

// pointBuffers are reused between solves of points.
type pointBuffers struct {
	dots          []float32
	zz, cc        []int32
	norms         []float64
	cost, initial []float64 // per row, in float64
	least         []float64 // lower bound of c_ij - v_j per row
	v             []float64
	tight         []bool // row passed the exact check
	floats        []float64
}

// Points assigns n points z to m targets c, both row-major in d dimensions, by
// squared Euclidean distance c_ij = ||z_i - c_j||^2.
//
// If all of them lie in the unit ball (norm at most 1.001, as unit vectors and
// their means do) the distances are computed in float32 by one matrix product
// and stored as int32 in steps of 2^-26 = 1.5e-8. On these the solver is exact:
// it ends, it is the same on every machine that rounds the matrix product the same
// way, and Optimal says that Perm is the best for the stored distances. Cost and
// the certificate are then recomputed in float64 from the points themselves:
// potentials are feasible for the true distances, and Gap is what float32 and the
// steps may have cost, some 1e-7 in all as a rule, at most
// n (4 (d+8) 2^-24 + 2^-23). Points beyond the unit ball are solved like a
// [Solver.Matrix] of their float64 distances, which takes longer.
//
// Errors: *EntryError for a coordinate that is not finite.
func (s *Solver) Points(pool *kernel.Pool, z, c []float32, n, m, d int, opt Options) (*Result, error) {
	if n < 0 || m < 0 || d < 0 || len(z) < n*d || len(c) < m*d {
		panic("assign: Points needs n*d and m*d coordinates")
	}
	checkStart(opt.Start, n, m)
	guess := s.guessOf(opt.Start, n, m)
	b := &s.points
	zMax, err := b.largestNorm("points", z, n, d)
	if err != nil {
		return nil, err
	}
	cMax, err := b.largestNorm("targets", c, m, d)
	if err != nil {
		return nil, err
	}
	if zMax > 1+ballSlack || cMax > 1+ballSlack {
		return s.farPoints(pool, z, c, n, m, d, opt)
	}
	if n <= m {
		return s.ballPoints(pool, z, c, n, m, d, guess, opt.V), nil
	}
	r := s.ballPoints(pool, c, z, m, n, d, invert(guess, m), nil)
	r.swap(n)
	return r, nil
}

// largestNorm checks the coordinates and returns the largest norm of a point.
func (b *pointBuffers) largestNorm(in string, x []float32, n, d int) (float64, error) {
	largest := 0.0
	for i := range n {
		largest = max(largest, squaredNorm(x[i*d:(i+1)*d]))
		if math.IsNaN(largest) || math.IsInf(largest, 0) {
			for k, value := range x[i*d : (i+1)*d] {
				if x := float64(value); math.IsNaN(x) || math.IsInf(x, 0) {
					return 0, &EntryError{In: in, Row: i, Col: k, Value: x}
				}
			}
		}
	}
	return math.Sqrt(largest), nil
}

func squaredNorm(x []float32) float64 {
	var total float64
	for _, v := range x {
		total += float64(v) * float64(v)
	}
	return total
}

// farPoints solves points outside the unit ball on their float64 distances.
func (s *Solver) farPoints(pool *kernel.Pool, z, c []float32, n, m, d int, opt Options) (*Result, error) {
	b := &s.points
	b.floats = grow(b.floats, n*m)
	pool.Do(n, func(i int) {
		for j := range m {
			b.floats[i*m+j] = squaredDistance(z[i*d:(i+1)*d], c[j*d:(j+1)*d])
		}
	})
	r, err := s.Matrix(b.floats, n, m, opt)
	if err != nil {
		return nil, fmt.Errorf("squared distances: %w", err)
	}
	return r, nil
}

func squaredDistance(a, b []float32) float64 {
	b = b[:len(a)]
	var total float64
	for k, x := range a {
		diff := float64(x) - float64(b[k])
		total += diff * diff
	}
	return total
}

// ballPoints solves n <= m points of the unit ball in fixed point.
func (s *Solver) ballPoints(pool *kernel.Pool, z, c []float32, n, m, d int, guess []int32, v []float64) *Result {
	p, b := &s.ints, &s.points
	p.reset(n, m, s.candidateCount(), math.MaxInt32)
	b.distances(pool, p.c, z, c, n, m, d)
	switch {
	case n < m:
		clear(p.v)
	case v != nil:
		p.quantise(v)
	default:
		pool.DoChunks(m, 256, p.columnMinima)
	}
	pool.DoChunks(n, 32, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			p.fill(i)
		}
	})
	p.scans += n
	if err := p.solve(guess); err != nil {
		panic("assign: a finite matrix has no assignment") // cannot happen: nothing is forbidden
	}
	p.undoIdle(guess, &s.walk)
	return s.pointResult(pool, z, c, d, guess)
}

// distances fills dst with the fixed-point squared distances: products in float32,
// norms in float64, everything else in integers.
func (b *pointBuffers) distances(pool *kernel.Pool, dst []int32, z, c []float32, n, m, d int) {
	b.zz = fixedNorms(b.zz, z, n, d)
	b.cc = fixedNorms(b.cc, c, m, d)
	b.dots = grow(b.dots, min(n, blockRows)*m)
	for lo := 0; lo < n; lo += blockRows {
		rows := min(blockRows, n-lo)
		pool.Gemm(b.dots, m, z[lo*d:], d, false, c, d, true, rows, m, d, false)
		pool.DoChunks(rows, 32, func(from, to int) {
			for i := from; i < to; i++ {
				fixedDistances(dst[(lo+i)*m:(lo+i+1)*m], b.dots[i*m:(i+1)*m], b.cc, b.zz[lo+i])
			}
		})
	}
}

func fixedNorms(dst []int32, x []float32, n, d int) []int32 {
	dst = grow(dst, n)
	for i := range dst {
		dst[i] = int32(math.RoundToEven(squaredNorm(x[i*d:(i+1)*d]) * scale))
	}
	return dst
}

// fixedDistances is zz + cc_j - 2 dot_j; a float32 product of 2^27 is exact, and
// so is its conversion unless it is small enough to have steps below 1.
func fixedDistances(dst []int32, dots []float32, cc []int32, zz int32) {
	dots = dots[:len(dst)]
	cc = cc[:len(dst)]
	for j := range dst {
		dst[j] = zz + cc[j] - int32(dots[j]*(2*scale))
	}
}

// quantise takes over potentials, shifted so that the largest is 0 and none is
// further below it than costs can differ.
func (p *lap[T]) quantise(v []float64) {
	if len(v) != len(p.v) {
		panic("assign: Options.V must have one entry per column")
	}
	largest := math.Inf(-1)
	for _, x := range v {
		largest = max(largest, x)
	}
	for j, x := range v {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			panic("assign: Options.V must be finite")
		}
		p.v[j] = T(max((x-largest)*scale, -4*scale))
	}
}

// pointResult recomputes cost and certificate in float64 from the points.
//
// The stored distance of a pair is within delta of the true one. So a column whose
// stored reduced cost exceeds the least of its row by 2 delta cannot have the least
// true one, and only the few that do not are recomputed.
func (s *Solver) pointResult(pool *kernel.Pool, z, c []float32, d int, guess []int32) *Result {
	p, b := &s.ints, &s.points
	r := &Result{
		Perm: make([]int32, p.n), U: make([]float64, p.n), V: make([]float64, p.m),
		Method: "jv-int32", RowScans: p.scans, Augmentations: p.augmentations,
	}
	copy(r.Perm, p.colOf)
	for j, x := range p.v {
		r.V[j] = float64(x) / scale
	}
	b.cost, b.initial, b.tight = grow(b.cost, p.n), grow(b.initial, p.n), grow(b.tight, p.n)
	pool.DoChunks(p.n, 32, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			zi := z[i*d : (i+1)*d]
			at := func(j int32) float64 { return squaredDistance(zi, c[int(j)*d:int(j+1)*d]) }
			b.cost[i] = at(p.colOf[i])
			b.initial[i] = 0
			if g := guess[i]; g != free {
				b.initial[i] = at(g)
			}
			r.U[i], b.tight[i] = p.certify(i, at, r.V, b.cost[i], d)
		}
	})
	var cost, initial, gap sum
	r.Optimal = true
	for i, j := range p.colOf {
		cost.add(b.cost[i])
		initial.add(b.initial[i])
		gap.add(b.cost[i] - r.V[j] - r.U[i])
		r.Optimal = r.Optimal && b.tight[i]
	}
	r.Cost, r.InitialCost, r.Gap = cost.value(), initial.value(), gap.value()
	r.close()
	return r
}

// certify returns the least true reduced cost of row i (or a bound below it where
// very many are close), and whether the pair of the row is the least of the stored
// ones, exactly.
func (p *lap[T]) certify(i int, at func(j int32) float64, v []float64, paired float64, d int) (least float64, tight bool) {
	row := p.c[i*p.m : (i+1)*p.m]
	pair := p.colOf[i]
	slack := row[pair] - p.v[pair]
	delta := storedError(d)
	band := slack + T(math.Ceil(2*delta*scale))
	least = paired - v[pair]
	tight = true
	recomputed := 0
	pv := p.v[:len(row)]
	for j, cost := range row {
		r := cost - pv[j]
		if r > band || int32(j) == pair {
			continue
		}
		tight = tight && r >= slack
		if recomputed++; recomputed > bandLimit {
			least = min(least, float64(r)/scale-delta)
		} else {
			least = min(least, at(int32(j))-v[j])
		}
	}
	return least, tight
}

// storedError bounds the difference of a stored distance of points in the unit
// ball and the true one: twice the error of a float32 inner product of d terms,
// summed in any order, and three roundings to a step of 2^-26.
func storedError(d int) float64 {
	const ball = (1 + ballSlack) * (1 + ballSlack)
	terms := float64(d+8) / (1 << 24)
	return 2*ball*terms/(1-terms) + 3.0/scale
}
