package kernel

import (
	"fmt"
	"math"
	"testing"
)

// batchNorm is BatchNormStats and BatchNormApply in float64; add may be nil.
func batchNorm(x, add, gamma, beta []float64, rows, c int, eps float64, relu bool) (y, mean, variance []float64) {
	y, mean, variance = make([]float64, rows*c), make([]float64, c), make([]float64, c)
	for j := range c {
		for r := range rows {
			mean[j] += x[r*c+j] / float64(rows)
		}
		for r := range rows {
			d := x[r*c+j] - mean[j]
			variance[j] += d * d / float64(rows)
		}
		for r := range rows {
			v := (x[r*c+j]-mean[j])/math.Sqrt(variance[j]+eps)*gamma[j] + beta[j]
			if add != nil {
				v += add[r*c+j]
			}
			if relu {
				v = max(v, 0)
			}
			y[r*c+j] = v
		}
	}
	return y, mean, variance
}

func wide(s []float32) []float64 {
	d := make([]float64, len(s))
	for i, v := range s {
		d[i] = float64(v)
	}
	return d
}

func weighted(y []float64, dy []float32) (loss float64) {
	for i, v := range y {
		loss += v * float64(dy[i])
	}
	return loss
}

// slopes returns the central differences of f in each element of x.
func slopes(x []float64, f func() float64) []float64 {
	const h = 1e-5
	d := make([]float64, len(x))
	for i, v := range x {
		x[i] = v + h
		up := f()
		x[i] = v - h
		d[i] = (up - f()) / (2 * h)
		x[i] = v
	}
	return d
}

const testEps = 1e-3

func TestBatchNormApply(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		p := NewPool(2)
		defer p.Close()
		r := seeded(11)
		for c := 1; c <= 70; c++ {
			for i, rows := range []int{1, 7, 50 + c} {
				x, add, gamma, beta := normal(rows*c, r), normal(rows*c, r), normal(c, r), normal(c, r)
				y, mean, variance := newBuffer(rows*c), newBuffer(c), newBuffer(c)
				shortcut, add64, relu := add.s, wide(add.s), (c+rows)%2 == 0
				if (c+i)%3 == 0 {
					shortcut, add64 = nil, nil
				}
				p.BatchNormStats(mean.s, variance.s, x.s, rows, c)
				p.BatchNormApply(y.s, x.s, shortcut, gamma.s, beta.s, mean.s, variance.s, rows, c, testEps, relu)
				wantY, wantMean, wantVar := batchNorm(wide(x.s), add64, wide(gamma.s), wide(beta.s), rows, c, testEps, relu)
				what := fmt.Sprintf("rows %d c %d relu %v shortcut %v", rows, c, relu, shortcut != nil)
				near(t, what+" mean", mean.s, wantMean, nil, 1e-6)
				near(t, what+" variance", variance.s, wantVar, nil, 1e-6)
				near(t, what+" y", y.s, wantY, nil, 3e-6)
				if shortcut != nil {
					p.BatchNormApply(add.s, x.s, add.s, gamma.s, beta.s, mean.s, variance.s, rows, c, testEps, relu)
					near(t, what+" over the shortcut", add.s, wide(y.s), nil, 0)
				}
				p.BatchNormApply(x.s, x.s, nil, gamma.s, beta.s, mean.s, variance.s, rows, c, testEps, relu)
				if shortcut == nil {
					near(t, what+" in place", x.s, wide(y.s), nil, 0)
				}
				intact(t, what, x, add, gamma, beta, y, mean, variance)
			}
		}
	})
}

// The gradient passes through mean and variance: compared with differences of
// the float64 forward pass, in all that can be asked for.
func TestBatchNormBackward(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		p := NewPool(2)
		defer p.Close()
		for _, c := range []int{1, 3, 8, 16, 19, 33, 50, 70} {
			for _, v := range []struct{ relu, shortcut, output bool }{
				{}, {shortcut: true}, {relu: true}, {relu: true, output: true}, {relu: true, output: true, shortcut: true},
			} {
				checkBatchNormBackward(t, p, 5+c%3, c, v.relu, v.shortcut, v.output)
			}
		}
	})
}

func checkBatchNormBackward(t *testing.T, p *Pool, rows, c int, relu, shortcut, output bool) {
	t.Helper()
	r := seeded(uint64(12 + c))
	x, add, gamma, beta, dy := normal(rows*c, r), normal(rows*c, r), normal(c, r), normal(c, r), normal(rows*c, r)
	y, mean, variance := newBuffer(rows*c), newBuffer(c), newBuffer(c)
	dx, dadd, dgamma, dbeta := newBuffer(rows*c), newBuffer(rows*c), newBuffer(c), newBuffer(c)
	to, x64, a64, g64, b64 := dadd.s, wide(x.s), wide(add.s), wide(gamma.s), wide(beta.s)
	p.BatchNormStats(mean.s, variance.s, x.s, rows, c)
	if shortcut {
		p.BatchNormApply(y.s, x.s, add.s, gamma.s, beta.s, mean.s, variance.s, rows, c, testEps, relu)
	} else {
		p.BatchNormApply(y.s, x.s, nil, gamma.s, beta.s, mean.s, variance.s, rows, c, testEps, relu)
		to, a64 = nil, nil
	}
	from := y.s
	if !output {
		from = nil
	}
	backward := func(dx, dadd []float32) {
		p.BatchNormBackward(dx, dadd, dgamma.s, dbeta.s, dy.s, x.s, from, gamma.s, beta.s, mean.s, variance.s, rows, c, testEps, relu)
	}
	backward(dx.s, to)
	f := func() float64 {
		v, _, _ := batchNorm(x64, a64, g64, b64, rows, c, testEps, relu)
		return weighted(v, dy.s)
	}
	what := fmt.Sprintf("rows %d c %d relu %v shortcut %v from the output %v", rows, c, relu, shortcut, output)
	near(t, what+" dx", dx.s, slopes(x64, f), nil, 1e-4)
	near(t, what+" dgamma", dgamma.s, slopes(g64, f), nil, 1e-4)
	near(t, what+" dbeta", dbeta.s, slopes(b64, f), nil, 1e-4)
	before := dy.clone()
	if shortcut {
		near(t, what+" dadd", dadd.s, slopes(a64, f), nil, 1e-4)
		keep := dadd.clone()
		backward(dx.s, dy.s)
		near(t, what+" dadd in place", dy.s, wide(keep.s), nil, 0)
		copy(dy.s, before.s)
	}
	want := dx.clone()
	backward(dy.s, to)
	near(t, what+" in place", dy.s, wide(want.s), nil, 0)
	intact(t, what, x, add, gamma, beta, dy, y, mean, variance, dx, dadd, dgamma, dbeta)
}

// The mask that is computed again from x is that of y, bit for bit.
func TestBatchNormMask(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		p := NewPool(1)
		defer p.Close()
		const rows, c = 4000, 19
		r := seeded(15)
		x, gamma, beta, dy := normal(rows*c, r).s, normal(c, r).s, make([]float32, c), normal(rows*c, r).s
		mean, variance := make([]float32, c), make([]float32, c)
		p.BatchNormStats(mean, variance, x, rows, c)
		for i := range x { // many outputs next to zero
			if i%3 == 0 {
				x[i] = mean[i%c] + float32(i%7-3)*1e-8
			}
		}
		y, v := make([]float32, rows*c), make([]float32, 4*c)
		dx, again := make([]float32, rows*c), make([]float32, rows*c)
		p.BatchNormApply(y, x, nil, gamma, beta, mean, variance, rows, c, testEps, true)
		p.BatchNormBackward(dx, nil, v, v[c:], dy, x, y, gamma, beta, mean, variance, rows, c, testEps, true)
		p.BatchNormBackward(again, nil, v[2*c:], v[3*c:], dy, x, nil, gamma, beta, mean, variance, rows, c, testEps, true)
		for i := range dx {
			if dx[i] != again[i] {
				t.Fatalf("element %d: %g with y, %g without", i, dx[i], again[i])
			}
		}
		near(t, "sums", v[2*c:], wide(v[:2*c]), nil, 0)
	})
}

func TestBatchNormWorkers(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		const rows, c = 5000, 37
		r := seeded(13)
		x, dy := normal(rows*c, r).s, normal(rows*c, r).s
		gamma, beta := normal(c, r).s, normal(c, r).s
		sameForWorkers(t, func(p *Pool) [][]float32 {
			y, dx, v := make([]float32, rows*c), make([]float32, rows*c), make([]float32, 5*c)
			p.BatchNormStats(v, v[c:], x, rows, c)
			p.BatchNormApply(y, x, nil, gamma, beta, v[:c], v[c:], rows, c, testEps, true)
			p.BatchNormBackward(dx, nil, v[2*c:], v[3*c:], dy, x, y, gamma, beta, v[:c], v[c:], rows, c, testEps, true)
			p.BiasGrad(v[4*c:], dy, rows, c)
			return [][]float32{y, dx, v}
		})
	})
}

// A mean far from zero must not cost the variance its digits: compared with
// two passes in float64. The first row of some tiles is an outlier.
func TestBatchNormStatsOffset(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		p := NewPool(2)
		defer p.Close()
		r := seeded(18)
		for _, shift := range []float32{0, 1, 1e2, 1e4, -1e4} {
			for _, rows := range []int{3, 31, 33, 100, 5000} {
				const c = 85 // every number of vectors of a tile, and columns left over
				x, mean, variance := normal(rows*c, r), newBuffer(c), newBuffer(c)
				for i := range x.s {
					x.s[i] += shift
					if i%(640*c) == i%c && i%c < 3 {
						x.s[i] = 0
					}
				}
				p.BatchNormStats(mean.s, variance.s, x.s, rows, c)
				_, wantMean, wantVar := batchNorm(wide(x.s), nil, make([]float64, c), make([]float64, c), rows, c, 1, false)
				what := fmt.Sprintf("mean %g, %d rows", shift, rows)
				near(t, what+" mean", mean.s, wantMean, nil, 3e-7)
				near(t, what+" variance", variance.s, wantVar, nil, 2e-6)
				intact(t, what, x, mean, variance)
			}
		}
	})
}

// Less columns than a vector has lanes, and so many rows that they come in pieces.
func TestFewColumns(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		p := NewPool(2)
		defer p.Close()
		r := seeded(19)
		for c := 1; c < 18; c++ {
			rows := 2*statFloats/c + 3
			x, sum, mean, variance := normal(rows*c, r), newBuffer(c), newBuffer(c), newBuffer(c)
			p.BatchNormStats(mean.s, variance.s, x.s, rows, c)
			p.BiasGrad(sum.s, x.s, rows, c)
			_, wantMean, wantVar := batchNorm(wide(x.s), nil, make([]float64, c), make([]float64, c), rows, c, 1, false)
			for j, v := range wantMean {
				if d := math.Abs(float64(sum.s[j]) - v*float64(rows)); d > 1e-6*float64(rows) {
					t.Fatalf("%d columns: sum %d is off by %g", c, j, d)
				}
			}
			near(t, fmt.Sprint("mean, columns ", c), mean.s, wantMean, nil, 3e-7)
			near(t, fmt.Sprint("variance, columns ", c), variance.s, wantVar, nil, 2e-6)
			intact(t, fmt.Sprint("columns ", c), x, sum, mean, variance)
		}
	})
}

func TestNoRows(t *testing.T) {
	p := NewPool(1)
	defer p.Close()
	v := make([]float32, 3)
	p.BatchNormApply(nil, nil, nil, v, v, v, v, 0, 3, testEps, true)
	p.NormalizeRows(nil, nil, nil, 0, 3)
	p.Add(nil, v)
	mustPanic(t, "statistics of no rows", func() { p.BatchNormStats(v, v, nil, 0, 3) })
	mustPanic(t, "gradient of a shortcut without the output", func() {
		p.BatchNormBackward(v, v[1:], v, v, v, v, nil, v, v, v, v, 1, 1, testEps, true)
	})
	mustPanic(t, "no columns", func() { p.BiasGrad(nil, nil, 3, 0) })
	mustPanic(t, "AdamW step 0", func() { p.AdamW(v, v, v, v, 0, .1, .9, .99, 1e-8, 0) })
}

// The sums are kept between calls: those of the call before must not show.
func TestBiasGradOfNoRows(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		p := NewPool(2)
		defer p.Close()
		for _, c := range []int{1, 7, 8, 70} {
			db := newBuffer(c)
			p.BiasGrad(db.s, normal(100*c, seeded(15)).s, 100, c)
			p.BiasGrad(db.s, nil, 0, c)
			for i, v := range db.s {
				if v != 0 {
					t.Fatalf("%d columns: gradient %d of no rows is %g", c, i, v)
				}
			}
			intact(t, fmt.Sprint("c ", c), db)
		}
	})
}

func TestBiasGrad(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		p := NewPool(2)
		defer p.Close()
		r := seeded(14)
		for c := 1; c <= 70; c++ {
			rows := 1 + c*7%40
			x, db, sum, scale := normal(rows*c, r), newBuffer(c), make([]float64, c), make([]float64, c)
			for i, v := range x.s {
				sum[i%c] += float64(v)
				scale[i%c] += math.Abs(float64(v))
			}
			p.BiasGrad(db.s, x.s, rows, c)
			near(t, fmt.Sprint("c ", c), db.s, sum, scale, 2e-7)
			intact(t, fmt.Sprint("c ", c), x, db)
		}
	})
}

// Every length of the last piece.
func TestAdd(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		p := NewPool(2)
		defer p.Close()
		r := seeded(16)
		for n := range 71 {
			n += n % 3 * elemChunk
			x, y := normal(n, r), normal(n, r)
			got := y.clone()
			p.Add(got.s, x.s)
			for i, v := range got.s {
				if want := y.s[i] + x.s[i]; v != want {
					t.Fatalf("length %d: element %d is %g, want %g", n, i, v, want)
				}
			}
			intact(t, fmt.Sprint("length ", n), x, y, got)
		}
	})
}

func normalize(x []float64, d int) []float64 {
	z := make([]float64, len(x))
	for lo := 0; lo < len(x); lo += d {
		var s float64
		for _, v := range x[lo : lo+d] {
			s += v * v
		}
		for i := lo; i < lo+d; i++ {
			z[i] = x[i] / math.Sqrt(s)
		}
	}
	return z
}

func TestNormalizeRows(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	r := seeded(15)
	for _, d := range []int{1, 2, 7, 64, 65} {
		const rows = 5
		x, dz, z, norm, dx := normal(rows*d, r), normal(rows*d, r), newBuffer(rows*d), newBuffer(rows), newBuffer(rows*d)
		p.NormalizeRows(z.s, norm.s, x.s, rows, d)
		p.NormalizeRowsGrad(dx.s, dz.s, z.s, norm.s, rows, d)
		x64 := wide(x.s)
		near(t, fmt.Sprint("z d ", d), z.s, normalize(x64, d), nil, 1e-6)
		near(t, fmt.Sprint("dx d ", d), dx.s, slopes(x64, func() float64 { return weighted(normalize(x64, d), dz.s) }), nil, 1e-4)
		intact(t, fmt.Sprint("d ", d), x, dz, z, norm, dx)
	}
}

func TestNormalizeRowsExtremes(t *testing.T) {
	p := NewPool(1)
	defer p.Close()
	x := []float32{0, 0, 3e38, 3e38, 1e-40, 0}
	z, norm, dx := make([]float32, 6), make([]float32, 3), []float32{1, 1, 1, 1, 1, 1}
	p.NormalizeRows(z, norm, x, 3, 2)
	p.NormalizeRowsGrad(dx, dx, z, norm, 3, 2)
	for i, want := range []float64{0, 0, math.Sqrt2 / 2, math.Sqrt2 / 2, 1, 0} {
		if math.Abs(float64(z[i])-want) > 1e-6 {
			t.Errorf("z[%d] = %g, want %g", i, z[i], want)
		}
	}
	if norm[0] != 0 || dx[0] != 0 || dx[1] != 0 {
		t.Errorf("row of zeros: norm %g, gradient %v", norm[0], dx[:2])
	}
}

func TestSGD(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		p := NewPool(2)
		defer p.Close()
		r := seeded(16)
		for n := range 71 {
			for mode := range 3 {
				w, g, v := normal(n, r), normal(n, r), normal(n, r)
				const lr, decay = .1, .01
				mu := []float64{0, .9, .9}[mode]
				wantW, wantV := wide(w.s), wide(v.s)
				for i := range wantW {
					h := float64(g.s[i]) + decay*wantW[i]
					if mode > 0 {
						wantV[i] = mu*wantV[i] + h
						if mode == 1 {
							h = wantV[i]
						} else {
							h += mu * wantV[i]
						}
					}
					wantW[i] -= lr * h
				}
				p.SGD(w.s, g.s, v.s, lr, float32(mu), decay, mode == 2)
				what := fmt.Sprintf("n %d mode %d", n, mode)
				near(t, what+" w", w.s, wantW, nil, 1e-6)
				near(t, what+" v", v.s, wantV, nil, 1e-6)
				intact(t, what, w, g, v)
			}
		}
	})
	p := NewPool(1)
	defer p.Close()
	w := []float32{1}
	p.SGD(w, []float32{2}, nil, .5, 0, 0, false)
	if w[0] != 0 {
		t.Errorf("plain step without velocity gives %g, want 0", w[0])
	}
}

func TestAdamW(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		p := NewPool(2)
		defer p.Close()
		r := seeded(17)
		for n := range 71 {
			w, g, m, v := normal(n, r), normal(n, r), newBuffer(n), newBuffer(n)
			clear(m.s)
			clear(v.s)
			wantW, wantM, wantV := wide(w.s), make([]float64, n), make([]float64, n)
			const lr, b1, b2, eps, decay = .01, .9, .99, 1e-6, .1
			for step := 1; step <= 3; step++ {
				p.AdamW(w.s, g.s, m.s, v.s, step, lr, b1, b2, eps, decay)
				for i := range n {
					gi := float64(g.s[i])
					wantM[i] = b1*wantM[i] + (1-b1)*gi
					wantV[i] = b2*wantV[i] + (1-b2)*gi*gi
					mh, vh := wantM[i]/(1-math.Pow(b1, float64(step))), wantV[i]/(1-math.Pow(b2, float64(step)))
					wantW[i] -= lr * (mh/(math.Sqrt(vh)+eps) + decay*wantW[i])
				}
			}
			what := fmt.Sprint("n ", n)
			near(t, what+" w", w.s, wantW, nil, 2e-6)
			near(t, what+" m", m.s, wantM, nil, 2e-6)
			near(t, what+" v", v.s, wantV, nil, 2e-6)
			intact(t, what, w, g, m, v)
		}
	})
}
