package assign

import (
	"context"
	"math"

	"nat/internal/kernel"
)

const (
	priceRows = 256 // rows of a block of products
	priceCols = 512 // columns of a tile: block and tile stay in the second-level cache

	// unit is the relative rounding error of float32.
	unit = 1.0 / (1 << 24)
	// costBits is how many bits the largest cost has in fixed point; the rest of an
	// int64 is room for potentials and lengths of paths.
	costBits = 48
)

// pricer evaluates reduced costs c_ij - v_j of n points x and m points y, squared
// distances, by matrix products of blocks: memory O(n + m). With m and q the means,
//
//	c_ij = A_i + B_j - 2 <x_i - m, y_j - q>
//	A_i  = ||x_i||^2 - 2 <x_i - m, q>,   B_j = ||y_j||^2 - 2 <m, y_j>
//
// A and B are float64, the product float32: its error shrinks with the spread of
// the points, so that embeddings that have nearly collapsed are told apart. What the
// error could decide wrongly is decided by cost, in fixed point from float64.
type pricer struct {
	x, y    []float32
	n, m, d int
	pool    *kernel.Pool
	idle    chan *tile
	mid     []float64 // m
	spread  []float32 // y - q, or y itself where q is small
	rowBase []float64 // A
	colBase []float64 // B
	rowNorm []float64 // ||x_i - m||
	colNorm float64   // the largest ||y_j - q||
	scale   float64   // fixed-point steps per unit of cost
	slop    float64   // error of A_i + B_j in float64, and of a step

	offset []float32 // B_j - v_j - shift
	shift  float64
}

// tile is the scratch memory of one worker.
type tile struct {
	pool *kernel.Pool
	rows []float32 // -2 (x_i - m)
	dots []float32
	hits []int32
	best []nearest
}

// newPricer prepares the n x m problem; scale is 0 to have it chosen.
func newPricer(pool *kernel.Pool, x, y []float32, n, m, d int, scale float64) *pricer {
	p := &pricer{x: x[:n*d], y: y[:m*d], n: n, m: m, d: d, pool: pool, scale: scale}
	p.idle = make(chan *tile, pool.Workers())
	for range pool.Workers() {
		p.idle <- &tile{pool: kernel.NewPool(1)}
	}
	p.mid = meanIfFar(p.x, n, d)
	q := meanIfFar(p.y, m, d)
	p.spread = p.y
	if squaredLength(q) > 0 {
		p.spread = make([]float32, m*d)
		for k, value := range p.y {
			p.spread[k] = float32(float64(value) - q[k%d])
		}
	}
	p.rowBase, p.rowNorm = make([]float64, n), make([]float64, n)
	p.colBase, p.offset = make([]float64, m), make([]float32, m)
	reach := p.norms(q)
	if p.scale == 0 {
		_, exponent := math.Frexp(reach)
		p.scale = math.Ldexp(1, costBits-exponent)
	}
	return p
}

// norms fills the bases and returns a bound of the largest cost.
func (p *pricer) norms(q []float64) (reach float64) {
	d := p.d
	var largest, base float64
	for i := range p.n {
		row := p.x[i*d : (i+1)*d]
		var square, product, apart float64
		for k, value := range row {
			x := float64(value)
			square += x * x
			product += (x - p.mid[k]) * q[k]
			apart += (x - p.mid[k]) * (x - p.mid[k])
		}
		p.rowBase[i], p.rowNorm[i] = square-2*product, math.Sqrt(apart)
		largest, base = max(largest, p.rowNorm[i]), max(base, math.Abs(p.rowBase[i]))
	}
	var far float64
	for j := range p.m {
		row := p.y[j*d : (j+1)*d]
		var square, product, apart, away float64
		for k, value := range row {
			y := float64(value)
			square += y * y
			product += y * p.mid[k]
			apart += (y - q[k]) * (y - q[k])
			away += (y - p.mid[k]) * (y - p.mid[k])
		}
		p.colBase[j] = square - 2*product
		p.colNorm, far = max(p.colNorm, math.Sqrt(apart)), max(far, math.Sqrt(away))
		base = max(base, math.Abs(p.colBase[j]))
	}
	reach = (largest + far) * (largest + far)
	p.slop = float64(d+16) * 0x1p-52 * (base + reach)
	return reach
}

// meanIfFar returns the mean of the points if it is a good part of their length,
// else 0: there is nothing to gain from subtracting it.
func meanIfFar(x []float32, n, d int) []float64 {
	mean := make([]float64, d)
	var square float64
	for k, value := range x {
		mean[k%d] += float64(value)
		square += float64(value) * float64(value)
	}
	for k := range mean {
		mean[k] /= float64(max(n, 1))
	}
	if squaredLength(mean) < square/float64(max(n, 1))/8 {
		clear(mean)
	}
	return mean
}

func squaredLength(x []float64) float64 {
	var total float64
	for _, v := range x {
		total += v * v
	}
	return total
}

// close ends the goroutines and lets go of the scratch memory.
func (p *pricer) close() {
	for range cap(p.idle) {
		(<-p.idle).pool.Close()
	}
}

// cost is the distance of a pair in fixed point.
func (p *pricer) cost(i, j int32) int64 { return p.steps(p.distance(i, j)) }

func (p *pricer) steps(cost float64) int64 { return int64(math.RoundToEven(cost * p.scale)) }

func (p *pricer) distance(i, j int32) float64 {
	d := p.d
	return kernel.SqDist64(p.x[int(i)*d:(int(i)+1)*d], p.y[int(j)*d:(int(j)+1)*d])
}

// setPotentials takes over column potentials for the products to come.
func (p *pricer) setPotentials(v []int64) {
	var total float64
	for j, x := range v {
		total += p.colBase[j] - float64(x)/p.scale
	}
	p.shift = total / float64(max(len(v), 1))
	for j, x := range v {
		p.offset[j] = float32(p.colBase[j] - float64(x)/p.scale - p.shift)
	}
}

// doubt bounds the error of a float32 reduced cost of row i that comes out near r,
// where r counts from A_i + shift.
func (p *pricer) doubt(i int32, r float64) float64 {
	return unit*(float64(p.d+10)*2*p.rowNorm[i]*p.colNorm+4*math.Abs(r)) + p.slop
}

// blocks calls f for blocks of the rows, in parallel, each with scratch memory, until
// ctx is done. Blocks depend on the number of rows only.
func (p *pricer) blocks(ctx context.Context, rows []int32, f func(t *tile, rows []int32)) error {
	size := min(priceRows, (len(rows)/8+16)&^15)
	p.pool.Do((len(rows)+size-1)/size, func(b int) {
		if ctx.Err() != nil {
			return
		}
		t := <-p.idle
		f(t, rows[b*size:min((b+1)*size, len(rows))])
		p.idle <- t
	})
	return ctx.Err()
}

// tiles calls scan for every row of a block and every tile of columns from lo on;
// the reduced cost of column lo+k is A_i + shift + dots[k] + offset[lo+k].
func (p *pricer) tiles(t *tile, rows []int32, scan func(r, lo int, dots, offset []float32)) {
	d := p.d
	t.rows = grow(t.rows, len(rows)*d)
	for r, i := range rows {
		for k, value := range p.x[int(i)*d : (int(i)+1)*d] {
			t.rows[r*d+k] = float32(-2 * (float64(value) - p.mid[k]))
		}
	}
	t.dots = grow(t.dots, len(rows)*priceCols)
	t.hits = grow(t.hits, priceCols)
	for lo := 0; lo < p.m; lo += priceCols {
		width := min(priceCols, p.m-lo)
		t.pool.Gemm(t.dots, priceCols, t.rows, d, false, p.spread[lo*d:], d, true, len(rows), width, d, false)
		for r := range rows {
			scan(r, lo, t.dots[r*priceCols:r*priceCols+width], p.offset[lo:lo+width])
		}
	}
}

// below lists the k for which dots[k] + offset[k] < limit.
func below(hits []int32, dots, offset []float32, limit float32) []int32 {
	offset, hits = offset[:len(dots)], hits[:len(dots)]
	count := 0
	for k, x := range dots {
		if x+offset[k] < limit {
			hits[count] = int32(k)
			count++
		}
	}
	return hits[:count]
}

// nearest holds the columns of least reduced cost of one row seen so far.
type nearest struct {
	limit float32 // what is not held is not below
	keys  []float32
	cols  []int32
}

func (b *nearest) reset() {
	b.limit = float32(math.Inf(1))
	b.keys, b.cols = b.keys[:0], b.cols[:0]
}

// offer takes the columns of a tile that are below the limit.
func (b *nearest) offer(hits []int32, lo int, dots, offset []float32, k int) {
	for _, h := range below(hits, dots, offset, b.limit) {
		key := dots[h] + offset[h]
		if key >= b.limit {
			continue
		}
		b.keys, b.cols = append(b.keys, key), append(b.cols, int32(lo)+h)
		if len(b.keys) == 2*k+16 {
			b.trim(k)
		}
	}
}

// trim keeps the k least, and lowers the limit to the least that it drops.
func (b *nearest) trim(k int) {
	if len(b.keys) <= k {
		return
	}
	lo, hi := 0, len(b.keys)-1
	for lo < hi { // the element of rank k comes to place k
		pivotKey, pivotCol := b.keys[(lo+hi)/2], b.cols[(lo+hi)/2]
		i, j := lo, hi
		for i <= j {
			for b.keys[i] < pivotKey || b.keys[i] == pivotKey && b.cols[i] < pivotCol {
				i++
			}
			for b.keys[j] > pivotKey || b.keys[j] == pivotKey && b.cols[j] > pivotCol {
				j--
			}
			if i <= j {
				b.keys[i], b.keys[j] = b.keys[j], b.keys[i]
				b.cols[i], b.cols[j] = b.cols[j], b.cols[i]
				i++
				j--
			}
		}
		switch {
		case k <= j:
			hi = j
		case k >= i:
			lo = i
		default:
			lo, hi = k, k
		}
	}
	b.limit = b.keys[k]
	b.keys, b.cols = b.keys[:k], b.cols[:k]
}

// fill finds the k columns of least reduced cost of each of the rows under the
// potentials set, with a value that no other column is below.
func (p *pricer) fill(ctx context.Context, rows []int32, k int, take func(i int32, cols []int32, limit int64)) error {
	return p.blocks(ctx, rows, func(t *tile, rows []int32) {
		for len(t.best) < len(rows) {
			t.best = append(t.best, nearest{})
		}
		for r := range rows {
			t.best[r].reset()
		}
		p.tiles(t, rows, func(r, lo int, dots, offset []float32) {
			t.best[r].offer(t.hits, lo, dots, offset, k)
		})
		for r, i := range rows {
			b := &t.best[r]
			b.trim(k)
			limit := int64(unreachable)
			if at := float64(b.limit); !math.IsInf(at, 1) {
				limit = int64(math.Floor((p.rowBase[i] + p.shift + at - p.doubt(i, at)) * p.scale))
			}
			take(i, b.cols, limit)
		}
	})
}

// proof is the least reduced cost of a row, in steps and in float64.
type proof struct {
	steps int64
	exact float64
}

// least finds for each of the rows the least reduced cost if it is at most bound, in
// steps; else bound is what comes out, less the rounding to a step.
func (p *pricer) least(ctx context.Context, rows []int32, v, bound []int64, take func(i int32, least proof)) error {
	return p.blocks(ctx, rows, func(t *tile, rows []int32) {
		limit, found := make([]float32, len(rows)), make([]proof, len(rows))
		for r, i := range rows {
			at := float64(bound[i])/p.scale - p.rowBase[i] - p.shift
			limit[r] = math.Nextafter32(float32(at+2*p.doubt(i, at)), float32(math.Inf(1)))
			found[r] = proof{bound[i], math.Inf(1)}
		}
		p.tiles(t, rows, func(r, lo int, dots, offset []float32) {
			for _, h := range below(t.hits, dots, offset, limit[r]) {
				j := int32(lo) + h
				distance := p.distance(rows[r], j)
				found[r].steps = min(found[r].steps, p.steps(distance)-v[j])
				found[r].exact = min(found[r].exact, distance-float64(v[j])/p.scale)
			}
		})
		for r, i := range rows {
			if math.IsInf(found[r].exact, 1) {
				found[r].exact = float64(bound[i]-1) / p.scale
			}
			take(i, found[r])
		}
	})
}

// soften finds for each of the rows the least reduced cost, or with eps > 0 a smooth
// form of it: -eps log sum_j exp(-r_j / eps), to the precision of float32.
func (p *pricer) soften(ctx context.Context, rows []int32, eps float64, take func(i int32, least float64)) error {
	return p.blocks(ctx, rows, func(t *tile, rows []int32) {
		least, sum := make([]float32, len(rows)), make([]float64, len(rows))
		for r := range rows {
			least[r] = float32(math.Inf(1))
		}
		exps := make([]float32, priceCols)
		p.tiles(t, rows, func(r, lo int, dots, offset []float32) {
			low := least[r]
			for k, x := range dots {
				low = min(low, x+offset[k])
			}
			if eps > 0 {
				if low < least[r] {
					sum[r] *= math.Exp(float64(low-least[r]) / eps)
				}
				scale := float32(-1 / eps)
				for k, x := range dots {
					exps[k] = (x + offset[k] - low) * scale
				}
				kernel.Exp(exps[:len(dots)], exps[:len(dots)])
				for _, e := range exps[:len(dots)] {
					sum[r] += float64(e)
				}
			}
			least[r] = low
		})
		for r, i := range rows {
			x := p.rowBase[i] + p.shift + float64(least[r])
			if eps > 0 {
				x -= eps * math.Log(sum[r])
			}
			take(i, x)
		}
	})
}
