package kernel

import (
	"fmt"
	"testing"
)

func TestGemm(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		p := NewPool(2)
		defer p.Close()
		r := seeded(1)
		sizes := []int{1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 40, 65, 97, 130}
		for i := range 400 {
			pick := func() int { return sizes[r.IntN(len(sizes))] }
			k := pick()
			if i%40 == 0 {
				k = 2*kBlock + pick()
			}
			checkGemm(t, p, pick(), pick(), k, r.IntN(5), r.IntN(5), r.IntN(5), i&1 != 0, i&2 != 0, i&4 != 0, r)
		}
		for i, m := range []int{1, 6, 8, 13, 16} { // B in place
			checkGemm(t, p, m, 32*(1+i%3), 3+300*i, i%2, i%3, i%4, i&1 != 0, false, i&2 != 0, r)
			checkGemm(t, p, m, 32*(1+i%3), 3+300*i, i%3, i%2, i%4, i&1 == 0, false, i&2 == 0, r)
		}
		checkGemm(t, p, 200, 70, 300, 1, 2, 3, true, true, true, r)
		checkGemm(t, p, 3, 2100, 5, 0, 1, 0, false, false, true, r)
		checkGemm(t, p, 3, 5, 2100, 0, 1, 0, false, true, true, r)
	})
}

func TestGemmEmpty(t *testing.T) {
	p := NewPool(1)
	defer p.Close()
	c := []float32{1, 2, 3, 4}
	p.Gemm(c, 2, nil, 0, false, nil, 2, false, 2, 2, 0, true)
	if c[0] != 1 {
		t.Error("k = 0 with accumulate changed C")
	}
	p.Gemm(c, 2, nil, 0, false, nil, 2, false, 2, 1, 0, false)
	if c[0] != 0 || c[1] != 2 || c[2] != 0 || c[3] != 4 {
		t.Errorf("k = 0 gives %v, want the first column cleared", c)
	}
	p.Gemm(nil, 0, nil, 5, false, nil, 5, false, 0, 5, 5, false)
	mustPanic(t, "short C", func() { p.Gemm(c, 3, c, 2, false, c, 2, false, 2, 2, 2, false) })
	mustPanic(t, "lda < k", func() { p.Gemm(c, 2, c, 1, false, c, 2, false, 2, 2, 2, false) })
}

func TestGemmWorkers(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		r := seeded(2)
		const m, n, k = 230, 70, 600
		a, b := normal(m*k, r), normal(k*n, r)
		sameForWorkers(t, func(p *Pool) [][]float32 {
			var out [][]float32
			for i := range 4 {
				c := make([]float32, m*n)
				lda, ldb := k, n
				if i&1 != 0 {
					lda = m
				}
				if i&2 != 0 {
					ldb = k
				}
				p.Gemm(c, n, a.s, lda, i&1 != 0, b.s, ldb, i&2 != 0, m, n, k, false)
				out = append(out, c)
			}
			return out
		})
	})
}

func FuzzGemm(f *testing.F) {
	f.Add(uint64(1), uint16(9), uint16(33), uint16(300), uint8(0))
	f.Add(uint64(2), uint16(100), uint16(1), uint16(8), uint8(7))
	pools := []*Pool{NewPool(1), NewPool(3)}
	f.Fuzz(func(t *testing.T, seed uint64, m, n, k uint16, mode uint8) {
		for _, k0 := range tiers {
			undo := useTier(k0)
			checkGemm(t, pools[mode&1], int(m)%130, int(n)%130, int(k)%600, int(mode>>2)%3, int(mode>>4)%3, int(mode>>6), mode&2 != 0, mode&4 != 0, mode&8 != 0, seeded(seed))
			undo()
		}
	})
}

func BenchmarkGemm(b *testing.B) {
	for _, s := range []struct {
		m, n, k        int
		transA, transB bool
	}{
		{1024, 1024, 1024, false, false}, {1024, 1024, 1024, false, true}, {1024, 1024, 1024, true, false}, {1024, 1024, 1024, true, true},
		{512, 256, 2048, false, false}, {512, 2048, 256, false, true}, {2048, 256, 512, true, false}, // dense layers and their gradients
		{512, 64, 256, false, false}, {256, 256, 64, false, true}, // embedding, costs of assignment
		{10000, 10, 512, false, false}, {512, 10, 10000, true, false}, // linear probe
		{4, 1024, 1024, false, false}, {8, 1000, 512, false, true}, // few rows
	} {
		for _, workers := range []int{1, 2} {
			b.Run(fmt.Sprintf("%dx%dx%d/%s%s/workers=%d", s.m, s.n, s.k, nt(s.transA), nt(s.transB), workers), func(b *testing.B) {
				p := NewPool(workers)
				defer p.Close()
				r := seeded(1)
				x, y, c := normal(s.m*s.k, r), normal(s.k*s.n, r), make([]float32, s.m*s.n)
				lda, ldb := s.k, s.n
				if s.transA {
					lda = s.m
				}
				if s.transB {
					ldb = s.k
				}
				for b.Loop() {
					p.Gemm(c, s.n, x.s, lda, s.transA, y.s, ldb, s.transB, s.m, s.n, s.k, false)
				}
				reportRate(b, 2*float64(s.m)*float64(s.n)*float64(s.k))
			})
		}
	}
}

func nt(trans bool) string {
	if trans {
		return "T"
	}
	return "N"
}

// reportRate reports the rate of an operation of so many floating-point operations.
func reportRate(b *testing.B, flops float64) {
	b.ReportMetric(flops*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
	b.ReportMetric(0, "ns/op")
}
