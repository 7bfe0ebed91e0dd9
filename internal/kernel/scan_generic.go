package kernel

import "math"

// scanKernels are the loops of the assignment solver.
type scanKernels struct {
	rows int // of a tile of fixedTile, which has the columns of the tier's tiles

	fixedTile          func(dst []int32, stride int, a, b []float32, zz, cc, low []int32, d, tiles int, scale float32)
	minTwo             func(row, v []int32) (first, second int, low, high int32)
	relax              func(dist, pred, row, v []int32, offset, from int32) (nearest int, least int32)
	classMinimaInt32   func(out, row, v []int32)
	classMinimaFloat64 func(out, row, v []float64)
	belowInt32         func(cols, row, v []int32, threshold int32) int
	belowFloat64       func(cols []int32, row, v []float64, threshold float64) int
	sqDist64           func(a, b []float32) float64
	lowerInt32         func(v, row []int32)
	lowerFloat64       func(v, row []float64)
}

var genericScans = scanKernels{
	rows:      2,
	fixedTile: fixedTileGeneric, minTwo: minTwoGeneric, relax: relaxGeneric,
	classMinimaInt32: classMinimaGeneric[int32], classMinimaFloat64: classMinimaGeneric[float64],
	belowInt32: belowGeneric[int32], belowFloat64: belowGeneric[float64],
	sqDist64:   sqDist64Generic,
	lowerInt32: lowerGeneric[int32], lowerFloat64: lowerGeneric[float64],
}

// fixedTileGeneric computes tiles of costs one below the other. A tile is as high and
// wide as the generic tier's; the assembly has other sizes. a are rows of d numbers, b
// the panel of columns, coordinate by coordinate. Each cost is
// max(0, zz_i + cc_j - int(scale <a_i, b_j>)), the product rounded towards zero and
// summed by fused multiplication and addition in the order of the coordinates, and low
// is lowered to the least cost of each column.
func fixedTileGeneric(dst []int32, stride int, a, b []float32, zz, cc, low []int32, d, tiles int, scale float32) {
	const rows, columns = 2, 4
	for i := range rows * tiles {
		for j := range columns {
			var sum float32
			for l, x := range a[i*d : (i+1)*d] {
				sum = fma32(x, b[l*columns+j], sum)
			}
			cost := max(0, zz[i]+cc[j]-int32(scale*sum))
			dst[i*stride+j] = cost
			low[j] = min(low[j], cost)
		}
	}
}

// fma32 is a b + c rounded once, for numbers whose result neither overflows nor is
// denormal. The product is exact in float64; rounding the sum there to an odd last
// bit, and not to the nearest, makes the rounding to float32 that of the exact sum.
func fma32(a, b, c float32) float32 {
	x, y := float64(a)*float64(b), float64(c)
	sum := x + y
	part := sum - x
	lost := (x - (sum - part)) + (y - part)
	if bits := math.Float64bits(sum); lost != 0 && bits&1 == 0 {
		if (lost > 0) == (sum > 0) {
			bits++
		} else {
			bits--
		}
		sum = math.Float64frombits(bits)
	}
	return float32(sum)
}

// minTwoGeneric returns the least reduced cost row - v and the first column that has
// it, the second least, which may be the same, and then also the next column that has
// it; else second is -1.
func minTwoGeneric(row, v []int32) (first, second int, low, high int32) {
	return minTwoFrom(row, v, 0, -1, -1, math.MaxInt32, math.MaxInt32)
}

// minTwoFrom is minTwoGeneric from column lo on, with what the columns before it gave.
func minTwoFrom(row, v []int32, lo, first, second int, low, high int32) (int, int, int32, int32) {
	v = v[:len(row)]
	for j := lo; j < len(row); j++ {
		switch r := row[j] - v[j]; {
		case r < low:
			first, second, low, high = j, -1, r, low
		case r == low && high > low:
			second, high = j, r
		case r < high:
			high = r
		}
	}
	return first, second, low, high
}

// relaxGeneric offers every column a path through row from, of length
// row - v + offset, and returns the nearest column, the first if there are several.
// A column is done when its distance is math.MinInt32: it never gets nearer, and is
// nearest, with no meaning, only if all columns are done.
func relaxGeneric(dist, pred, row, v []int32, offset, from int32) (nearest int, least int32) {
	pred, row, v = pred[:len(dist)], row[:len(dist)], v[:len(dist)]
	best := uint32(math.MaxUint32)
	for j, d := range dist {
		if r := row[j] - v[j] + offset; r < d {
			dist[j], pred[j], d = r, from, r
		}
		if uint32(d) < best {
			best, nearest = uint32(d), j
		}
	}
	return nearest, int32(best)
}

// classMinimaGeneric sets out[k] to the least reduced cost among columns k,
// k + len(out), k + 2 len(out) and so on. There are at least len(out) columns.
func classMinimaGeneric[T int32 | float64](out, row, v []T) {
	for j := range out {
		out[j] = row[j] - v[j]
	}
	lowerClasses(out, row, v, len(out))
}

// lowerClasses goes on from column lo, a multiple of len(out).
func lowerClasses[T int32 | float64](out, row, v []T, lo int) {
	v = v[:len(row)]
	for j := lo; j < len(row); j++ {
		k := j % len(out)
		out[k] = min(out[k], row[j]-v[j])
	}
}

// belowGeneric writes the columns whose reduced cost is below the threshold to cols,
// in order, and returns how many there are, or len(cols) + 1 if there is no room.
func belowGeneric[T int32 | float64](cols []int32, row, v []T, threshold T) int {
	v = v[:len(row)]
	count := 0
	for j, x := range row {
		if x-v[j] < threshold {
			if count == len(cols) {
				return count + 1
			}
			cols[count] = int32(j)
			count++
		}
	}
	return count
}

// lowerGeneric sets v to the elementwise minimum of v and row.
func lowerGeneric[T int32 | float64](v, row []T) {
	row = row[:len(v)]
	for j, x := range v {
		v[j] = min(x, row[j])
	}
}

// sqDist64Generic adds up the squares of a - b for whole groups of 16: the terms of
// place k of every group in order, each by one fused multiplication and addition, then
// the 16 sums pairwise, k with k + 8, and so on.
func sqDist64Generic(a, b []float32) float64 {
	var sums [16]float64
	b = b[:len(a)]
	for i, x := range a {
		diff := float64(x) - float64(b[i])
		sums[i%16] = math.FMA(diff, diff, sums[i%16])
	}
	for half := 8; half > 0; half /= 2 {
		for k := range half {
			sums[k] += sums[k+half]
		}
	}
	return sums[0]
}
