package kernel

import (
	"math"
	"unsafe"
)

// The scans work on the reduced costs row - v of one row of an assignment problem, of
// int32 or float64. Unlike the rest of the package they give the same result on every
// tier, bit for bit: integers are exact, comparisons do not round, and ties go to the
// first column.

// A Scalar is what costs of an assignment problem are computed in.
type Scalar interface{ int32 | float64 }

// MinTwo returns the least of row - v and the first column that has it, the second
// least (the same if two columns tie; math.MaxInt32 if there is one column), and the
// next column that ties with the first, -1 if none does. There is at least one column;
// no difference may overflow.
func MinTwo(row, v []int32) (first, second int, low, high int32) {
	n := active.whole(len(row))
	if n == 0 {
		return minTwoGeneric(row, v)
	}
	first, second, low, high = active.scan.minTwo(row[:n], v[:n])
	return minTwoFrom(row, v, n, first, second, low, high)
}

// Relax is a step of Dijkstra's algorithm on arrays: every column is offered a path of
// length row - v + offset through row from, and where that is shorter than dist, dist
// and pred take it over. It returns the column with the least distance, the first of
// several. All lengths must be at least 0 and at most math.MaxInt32. dist is
// math.MinInt32 for a column that is done with: it is left alone, and returned (with
// that distance) only if there is no other.
func Relax(dist, pred, row, v []int32, offset, from int32) (nearest int, least int32) {
	m := len(dist)
	n := active.whole(m)
	nearest, least = 0, -1
	if n > 0 {
		nearest, least = active.scan.relax(dist[:n], pred[:n], row[:n], v[:n], offset, from)
	}
	if n < m {
		at, d := relaxGeneric(dist[n:], pred[n:m], row[n:m], v[n:m], offset, from)
		if uint32(d) < uint32(least) {
			return n + at, d
		}
	}
	return nearest, least
}

// Classes is the length of the out of ClassMinima for int32, and half of it for
// float64 (256 bytes).
const Classes = 64

// ClassMinima sets out[k] to the least of row - v among the columns j with
// j mod len(out) = k. len(out) is Classes for int32 and Classes/2 for float64, and there
// are at least that many columns.
func ClassMinima[T Scalar](out, row, v []T) {
	if len(out)*int(unsafe.Sizeof(out[0])) != 4*Classes || len(row) < len(out) {
		panic("kernel: ClassMinima needs 256 bytes of classes, and a column for each")
	}
	n := len(row) / len(out) * len(out)
	switch row := any(row).(type) {
	case []int32:
		active.scan.classMinimaInt32(any(out).([]int32), row[:n], any(v).([]int32)[:n])
	case []float64:
		active.scan.classMinimaFloat64(any(out).([]float64), row[:n], any(v).([]float64)[:n])
	}
	lowerClasses(out, row, v, n)
}

// Below writes the columns with row - v < threshold to cols, in order. It returns how
// many there are, or len(cols) + 1 if they are more than fit.
func Below[T Scalar](cols []int32, row, v []T, threshold T) int {
	n := len(row) &^ (4*active.lanes - 1)
	count := 0
	switch row := any(row).(type) {
	case []int32:
		count = active.scan.belowInt32(cols, row[:n], any(v).([]int32)[:n], int32(threshold))
	case []float64:
		count = active.scan.belowFloat64(cols, row[:n], any(v).([]float64)[:n], float64(threshold))
	}
	if count > len(cols) {
		return count
	}
	more := belowGeneric(cols[count:], row[n:], v[n:], threshold)
	for k := count; k < min(count+more, len(cols)); k++ {
		cols[k] += int32(n)
	}
	return count + more
}

// Lower sets v to the elementwise minimum of v and row.
func Lower[T Scalar](v, row []T) {
	n := active.whole(len(v))
	switch v := any(v).(type) {
	case []int32:
		active.scan.lowerInt32(v[:n], any(row).([]int32)[:n])
	case []float64:
		active.scan.lowerFloat64(v[:n], any(row).([]float64)[:n])
	}
	lowerGeneric(v[n:], row[n:])
}

// SqDist64 returns the sum of (a[i] - b[i])^2 in float64, with a relative error below
// len(a)/16 + 24 roundings of 2^-53; the same bits on every tier.
func SqDist64(a, b []float32) float64 {
	n := len(a) &^ 15
	sum := active.scan.sqDist64(a[:n], b[:n])
	b = b[:len(a)]
	for i := n; i < len(a); i++ {
		diff := float64(a[i]) - float64(b[i])
		sum = math.FMA(diff, diff, sum)
	}
	return sum
}

// FixedCosts are the arguments of [Pool.FixedCosts] that stay with the caller, so
// that it can reuse them: n points z and m points c, row-major in d dimensions.
type FixedCosts struct {
	N, M, D int
	Z, C    []float32
	ZZ, CC  []int32 // squared norms in steps
	Scale   float32 // 2 x steps per unit
	Dst     []int32 // n x m costs
	Low     []int32 // nil, or m: receives the least cost of each column
	Done    func(lo, hi int)
}

// fixedTask is a product for costs in progress.
type fixedTask struct {
	FixedCosts
	tier    *tier
	scan    *scanKernels // of the tier
	packing bool
	panel   []float32 // C in panels as wide as a tile
	cc      []int32   // CC, padded to whole panels
	rows    int       // of an item of work
	scratch []fixedScratch
}

// itemCosts is how many costs an item of work computes: few enough to stay in the
// second-level cache for Done.
const itemCosts = 1 << 16

// aloneWork is up to how many multiplications one worker makes all costs: it scans them
// afterwards, and would have to fetch the others' from their caches.
const aloneWork = 1 << 22

// fixedScratch is what one worker needs.
type fixedScratch struct {
	low, tile, zz []int32
	a             []float32
}

// FixedCosts computes
//
//	dst_ij = max(0, zz_i + cc_j - trunc(scale <z_i, c_j>)),
//
// the squared distances of points in fixed point, and the column minima in the same
// pass. An inner product is summed in the order of the coordinates with one rounding a
// term (fused multiplication and addition, from 0), on every tier, so that costs are
// the same everywhere. Neither scale <z_i, c_j> nor the sum may reach 2^31.
//
// Done, unless nil, is called with every range of rows, which begins at a multiple of
// 16, as soon as its costs are there, by the worker that made them, and so from several
// goroutines.
func (p *Pool) FixedCosts(f *FixedCosts) {
	if f.N == 0 || f.M == 0 {
		return
	}
	if f.N < 0 || f.M < 0 || f.D < 1 || len(f.ZZ) < f.N || len(f.CC) < f.M || len(f.Dst) < f.N*f.M || f.Low != nil && len(f.Low) < f.M {
		panic("kernel: slice too short for its shape")
	}
	need(f.Z, f.N*f.D)
	need(f.C, f.M*f.D)
	t := &p.fixed
	t.FixedCosts, t.tier, t.scan = *f, active, &active.scan
	t.prepare(p.workers)
	panels := len(t.cc) / t.tier.nr
	small := f.N*f.M*f.D <= aloneWork
	t.packing = true
	p.loopUnless(small, panels, t)
	t.packing = false
	p.loopUnless(small, ceilDiv(f.N, t.rows), t)
	t.collectLow()
	t.FixedCosts = FixedCosts{}
}

// prepare makes room and chooses the rows of an item, by shape alone.
func (t *fixedTask) prepare(workers int) {
	width := t.tier.nr
	t.panel = grow(t.panel, ceilDiv(t.M, width)*width*t.D)
	t.cc = grow(t.cc, ceilDiv(t.M, width)*width)
	clear(t.cc[copy(t.cc, t.CC[:t.M]):])
	t.rows = min(64, max(16, itemCosts/t.M&^15))
	t.scratch = grow(t.scratch, workers)
	for w := range t.scratch {
		s := &t.scratch[w]
		s.low = grow(s.low, len(t.cc))
		for j := range s.low {
			s.low[j] = math.MaxInt32
		}
		s.tile = grow(s.tile, t.scan.rows*width)
		s.a = grow(s.a, t.scan.rows*t.D)
		s.zz = grow(s.zz, t.scan.rows)
	}
}

func (t *fixedTask) run(worker, i int) {
	if t.packing {
		width := t.tier.nr
		packPanel(t.tier, t.panel[i*width*t.D:], t.C[i*width*t.D:], t.D, true, min(width, t.M-i*width), t.D)
		return
	}
	lo, hi := i*t.rows, min((i+1)*t.rows, t.N)
	whole := (hi - lo) / t.scan.rows * t.scan.rows
	s := &t.scratch[worker]
	for j := 0; j < t.M; j += t.tier.nr {
		if whole > 0 && j+t.tier.nr <= t.M {
			t.scan.fixedTile(t.Dst[lo*t.M+j:], t.M, t.Z[lo*t.D:], t.panel[j*t.D:], t.ZZ[lo:], t.cc[j:], s.low[j:], t.D, whole/t.scan.rows, t.Scale)
		} else {
			t.edge(s, lo, lo+whole, j)
		}
		t.edge(s, lo+whole, hi, j)
	}
	if t.Done != nil {
		t.Done(lo, hi)
	}
}

// edge computes rows lo..hi of a panel through scratch memory: tiles at the lower and
// the right edge.
func (t *fixedTask) edge(s *fixedScratch, lo, hi, j int) {
	width := min(t.tier.nr, t.M-j)
	for ; lo < hi; lo += t.scan.rows {
		rows := min(t.scan.rows, hi-lo)
		for r := range t.scan.rows {
			i := lo + min(r, rows-1) // the last row again where there is none
			copy(s.a[r*t.D:(r+1)*t.D], t.Z[i*t.D:])
			s.zz[r] = t.ZZ[i]
		}
		t.scan.fixedTile(s.tile, t.tier.nr, s.a, t.panel[j*t.D:], s.zz, t.cc[j:], s.low[j:], t.D, 1, t.Scale)
		for r := range rows {
			copy(t.Dst[(lo+r)*t.M+j:][:width], s.tile[r*t.tier.nr:])
		}
	}
}

// collectLow combines the minima of the workers; which of them saw a row is no matter.
func (t *fixedTask) collectLow() {
	if t.Low == nil {
		return
	}
	low := t.Low[:t.M]
	copy(low, t.scratch[0].low)
	for w := range t.scratch[1:] {
		Lower(low, t.scratch[w+1].low)
	}
}
