package assign

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"nat/internal/kernel"
)

const (
	// scale of the fixed-point costs: 2^26 steps per unit. Costs between points of
	// the unit ball reach 4 = 2^28 steps, potentials and path lengths six times
	// that, below 2^31.
	scale = 1 << 26
	// ballSlack is how far beyond 1 the norm of a unit vector may be.
	ballSlack = 1e-3
)

// pointBuffers are reused between solves of points, so that a solve in every
// training step allocates nothing.
type pointBuffers struct {
	p    *lap[int32]
	fix  kernel.FixedCosts
	into *Result

	zz, cc []float64 // squared norms
	cost   []float64 // of the pair of each row, in float64
	tight  []bool    // row passed the exact check

	// The parallel loops, over chunks of rows.
	fill, certify func(chunk int)
	fillRows      func(lo, hi int)
}

// prepare sets the buffers to a solve.
func (b *pointBuffers) prepare(p *lap[int32], z, c []float32, d int, into *Result) {
	if b.fill == nil {
		b.fill, b.certify, b.fillRows = b.fillChunk, b.certifyChunk, b.fillRange
	}
	b.p, b.into = p, into
	f := &b.fix
	f.N, f.M, f.D, f.Z, f.C, f.Scale, f.Dst = p.n, p.m, d, z, c, 2*scale, p.c
	f.ZZ, f.CC = inSteps(f.ZZ, b.zz), inSteps(f.CC, b.cc)
}

// release lets go of the caller's memory.
func (b *pointBuffers) release() { b.fix.Z, b.fix.C, b.into, b.p.ctx = nil, nil, nil, nil }

func chunks(n, size int) int { return (n + size - 1) / size }

// Points assigns n points z to m targets c, both row-major in d dimensions, by
// squared Euclidean distance c_ij = ||z_i - c_j||^2.
//
// If all of them lie in the unit ball (norm at most 1.001, as unit vectors and
// their means do) the distances are computed in float32 by one matrix product, summed in
// one order on every machine, and stored as int32 in steps of 2^-26 = 1.5e-8. A stored
// distance is within 2 (d+8) 2^-24 + 2^-24 of the true one. On these the solver is exact:
// it ends, the result is the same everywhere, and Optimal says that Perm is the best for
// the stored distances; points that all lie near 0 are enlarged first. Cost and the certificate are computed in float64 from the points
// themselves, for every pair that might have the least reduced cost of its row:
// potentials are feasible for the true distances, and Gap, some 1e-8 to 1e-7 a row, is
// what float32 and the steps may have cost. Points beyond the unit ball are solved like a
// [Solver.Matrix] of their float64 distances, which takes several times longer.
//
// The matrix of distances is held, 4 n m bytes (8 beyond the unit ball), which is also
// the way for many points of which there are more on one side: [Large] wants as many on
// both.
//
// Errors: *ShapeError for d < 1 or a number of coordinates that does not fit n, m and d,
// *EntryError for a coordinate that is not finite; the cause of ctx, wrapped, if that is
// done before the end.
func (s *Solver) Points(ctx context.Context, pool *kernel.Pool, z, c []float32, n, m, d int, opt Options) (*Result, error) {
	r := new(Result)
	if err := s.pointsInto(ctx, r, pool, z, c, n, m, d, opt); err != nil {
		return nil, err
	}
	return r, nil
}

// pointsInto is Points with a result to reuse.
func (s *Solver) pointsInto(ctx context.Context, r *Result, pool *kernel.Pool, z, c []float32, n, m, d int, opt Options) error {
	if err := checkPoints(z, c, n, m, d); err != nil {
		return err
	}
	if err := s.check(&opt, n, m); err != nil {
		return err
	}
	b := &s.points
	b.zz, b.cc = grow(b.zz, n), grow(b.cc, m)
	zMax, err := largestNorm("points", z, n, d, b.zz)
	if err != nil {
		return err
	}
	cMax, err := largestNorm("targets", c, m, d, b.cc)
	if err != nil {
		return err
	}
	guess := s.guessOf(opt.Start, n, m)
	largest := max(zMax, cMax)
	if largest > 1+ballSlack {
		return s.farPoints(ctx, r, pool, z, c, n, m, d, opt)
	}
	unit := 1.0
	if 0 < largest && largest < smallBall {
		z, c, opt.V, unit = b.enlarge(z[:n*d], c[:m*d], opt.V, largest)
	}
	if n <= m {
		err = s.ballPoints(ctx, r, pool, z, c, n, m, d, guess, opt.V)
	} else {
		b.zz, b.cc = b.cc, b.zz
		err = s.ballPoints(ctx, r, pool, c, z, m, n, d, invert(guess, m), nil)
	}
	if err != nil {
		return err
	}
	if n > m {
		r.swap(n)
	}
	r.rescale(unit)
	return nil
}

// smallBall is the radius below which points are enlarged, so that steps are fine enough.
const smallBall = 1.0 / 8

// enlarge multiplies points, their norms and the potentials by the power of 2 that brings the
// largest norm near 1; unit is what a cost of 1 is then worth.
func (b *pointBuffers) enlarge(z, c []float32, v []float64, largest float64) (nearZ, nearC []float32, nearV []float64, unit float64) {
	_, exponent := math.Frexp(largest)
	factor, unit := math.Ldexp(1, -exponent), math.Ldexp(1, 2*exponent)
	for _, squares := range [][]float64{b.zz, b.cc} {
		for i := range squares {
			squares[i] /= unit
		}
	}
	nearV = slices.Clone(v)
	for j, x := range nearV {
		nearV[j] = min(max(x/unit, -maxEntry), maxEntry)
	}
	return times(factor, z), times(factor, c), nearV, unit
}

// times returns the coordinates multiplied by a power of 2.
func times(factor float64, x []float32) []float32 {
	out := make([]float32, len(x))
	for k, value := range x {
		out[k] = float32(float64(value) * factor)
	}
	return out
}

// checkPoints returns an error unless there are coordinates for n points and m targets.
func checkPoints(x, y []float32, n, m, d int) error {
	if d < 1 {
		return &ShapeError{"points", n, d, len(x)}
	}
	return errors.Join(checkShape("points", n, d, len(x)), checkShape("targets", m, d, len(y)))
}

// largestNorm checks the coordinates and returns the largest norm of a point. squares
// receives the squared norms, unless it is nil.
func largestNorm(in string, x []float32, n, d int, squares []float64) (float64, error) {
	largest := 0.0
	for i := range n {
		square := squaredNorm(x[i*d : (i+1)*d])
		if squares != nil {
			squares[i] = square
		}
		largest = max(largest, square)
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

// origin is what norms are distances from, in pieces.
var origin [256]float32

// squaredNorm is ||x||^2 in float64.
func squaredNorm(x []float32) float64 {
	var total float64
	for len(x) > len(origin) {
		total += kernel.SqDist64(x[:len(origin)], origin[:])
		x = x[len(origin):]
	}
	return total + kernel.SqDist64(x, origin[:len(x)])
}

// farPoints solves points outside the unit ball on their float64 distances.
func (s *Solver) farPoints(ctx context.Context, into *Result, pool *kernel.Pool, z, c []float32, n, m, d int, opt Options) error {
	r, err := s.dense(ctx, n, m, opt, func(dst []float64) {
		pool.Do(n, func(i int) {
			if ctx.Err() != nil {
				return
			}
			for j := range m {
				dst[i*m+j] = squaredDistance(z[i*d:(i+1)*d], c[j*d:(j+1)*d])
			}
		})
	})
	if err != nil {
		return fmt.Errorf("squared distances: %w", err)
	}
	*into = *r
	return nil
}

// squaredDistance is ||a - b||^2 in float64.
func squaredDistance(a, b []float32) float64 { return kernel.SqDist64(a, b) }

// ballPoints solves n <= m points of the unit ball in fixed point.
func (s *Solver) ballPoints(ctx context.Context, r *Result, pool *kernel.Pool, z, c []float32, n, m, d int, guess []int32, v []float64) error {
	p, b := &s.ints, &s.points
	p.minTwo, p.relax, p.done = kernel.MinTwo, kernel.Relax, math.MinInt32
	p.auctions = n == m
	if s.candidates > 0 {
		p.minTwo = nil
	}
	p.reset(ctx, n, m, s.candidateCount(), math.MaxInt32)
	b.prepare(p, z, c, d, r)
	defer b.release()
	if n < m || v != nil {
		clear(p.v)
		if v != nil && n == m {
			p.quantise(v)
		}
		b.fix.Low, b.fix.Done = nil, b.fillRows
		pool.FixedCosts(&b.fix)
	} else {
		b.fix.Low, b.fix.Done = p.v, nil
		pool.FixedCosts(&b.fix)
		b.each(pool, b.fill)
	}
	p.scans += n
	if err := p.solve(guess); err != nil {
		return err // ctx is done: nothing is forbidden
	}
	p.undoIdle(guess, &s.walk)
	s.pointResult(pool, guess)
	return nil
}

// each calls f for every chunk of rows; few rows are not worth waking workers for.
func (b *pointBuffers) each(pool *kernel.Pool, f func(chunk int)) {
	const few = 1 << 16 // costs
	count := chunks(b.p.n, rowChunk)
	if b.p.n*b.p.m > few {
		pool.Do(count, f)
		return
	}
	for k := range count {
		f(k)
	}
}

func (b *pointBuffers) fillChunk(k int) { b.fillRange(k*rowChunk, min((k+1)*rowChunk, b.p.n)) }

// fillRange finds the candidates of rows whose costs are there.
func (b *pointBuffers) fillRange(lo, hi int) {
	for i := lo; i < hi; i++ {
		b.p.fill(i)
	}
}

// inSteps writes squared norms in steps to dst.
func inSteps(dst []int32, squares []float64) []int32 {
	dst = grow(dst, len(squares))
	for i, x := range squares {
		dst[i] = int32(math.RoundToEven(x * scale))
	}
	return dst
}

// quantise takes over potentials, shifted so that the largest is 0 and none is
// further below it than costs can differ.
func (p *lap[T]) quantise(v []float64) {
	largest := math.Inf(-1)
	for _, x := range v {
		largest = max(largest, x)
	}
	for j, x := range v {
		p.v[j] = T(max((x-largest)*scale, -4*scale))
	}
}

// pointResult recomputes cost and certificate in float64 from the points.
//
// The stored distance of a pair is within delta of the true one. So a column whose
// stored reduced cost exceeds that of the pair by 2 delta cannot have the least true
// one of its row, and only the few that do not are recomputed.
func (s *Solver) pointResult(pool *kernel.Pool, guess []int32) {
	p, b := &s.ints, &s.points
	r := b.into
	*r = Result{
		Perm: grow(r.Perm, p.n), U: grow(r.U, p.n), V: grow(r.V, p.m),
		Method: "jv-int32", RowScans: p.scans, Augmentations: p.augmentations,
	}
	copy(r.Perm, p.colOf)
	for j, x := range p.v {
		r.V[j] = float64(x) / scale
	}
	b.cost, b.tight = grow(b.cost, p.n), grow(b.tight, p.n)
	b.each(pool, b.certify)
	var cost, initial, gap sum
	r.Optimal = true
	for i, j := range p.colOf {
		cost.add(b.cost[i])
		if g := guess[i]; g == j {
			initial.add(b.cost[i])
		} else if g != free {
			initial.add(b.distance(i, int(g)))
		}
		gap.add(b.cost[i] - r.V[j] - r.U[i])
		r.Optimal = r.Optimal && b.tight[i]
	}
	r.Cost, r.InitialCost = cost.value(), initial.value()
	r.Gap = min(gap.value(), r.Cost) // no distance is negative
	r.close()
}

// distance is the true squared distance, in float64.
func (b *pointBuffers) distance(i, j int) float64 {
	d := b.fix.D
	return squaredDistance(b.fix.Z[i*d:(i+1)*d], b.fix.C[j*d:(j+1)*d])
}

func (b *pointBuffers) certifyChunk(k int) {
	for i := k * rowChunk; i < min((k+1)*rowChunk, b.p.n); i++ {
		b.certifyRow(i)
	}
}

// certifyRow finds the least true reduced cost of row i, and whether the pair of the
// row is the least of the stored ones, exactly.
func (b *pointBuffers) certifyRow(i int) {
	p := b.p
	row, pair := p.row(i), p.colOf[i]
	slack := row[pair] - p.v[pair]
	band := slack + int32(math.Ceil(2*storedError(b.fix.D)*scale))
	b.cost[i] = b.distance(i, int(pair))
	c := rowCheck{b: b, i: i, pair: pair, slack: slack, band: band, tight: true,
		least: b.cost[i] - float64(p.v[pair])/scale}
	if !p.whole && p.limit[i] > band { // no other column can matter
		costs := p.candC[i*p.k:]
		for t, j := range p.cand[i*p.k : i*p.k+int(p.candN[i])] {
			c.column(j, costs[t])
		}
	} else {
		c.allColumns()
	}
	b.tight[i], b.into.U[i] = c.tight, c.least
}

// rowCheck looks through the columns that may be the best of one row.
type rowCheck struct {
	b           *pointBuffers
	i           int
	pair        int32
	slack, band int32
	tight       bool
	least       float64
}

func (c *rowCheck) column(j, cost int32) {
	p := c.b.p
	r := cost - p.v[j]
	if r > c.band || j == c.pair {
		return
	}
	c.tight = c.tight && r >= c.slack
	c.least = min(c.least, c.b.distance(c.i, int(j))-float64(p.v[j])/scale)
}

// storedError bounds the difference of a stored distance of points in the unit
// ball and the true one: twice the error of a float32 inner product of d terms,
// summed in any order, and three roundings to a step of 2^-26.
func storedError(d int) float64 {
	const ball = (1 + ballSlack) * (1 + ballSlack)
	terms := float64(d+8) / (1 << 24)
	return 2*ball*terms/(1-terms) + 3.0/scale
}

// allColumns looks through the columns in the band, or through all if they are many.
func (c *rowCheck) allColumns() {
	p := c.b.p
	row, cols := p.row(c.i), p.scratch[c.i/rowChunk].cols[:]
	count := kernel.Below(cols, row, p.v, c.band+1)
	for _, j := range cols[:min(count, len(cols))] {
		c.column(j, row[j])
	}
	for j := cols[len(cols)-1] + 1; count > len(cols) && int(j) < p.m; j++ {
		c.column(j, row[j])
	}
}
