package kernel

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The assembly is what the generators in _gen write: see asm.Write there.
func TestAssemblyIsUpToDate(t *testing.T) {
	glob := func(pattern string) []string {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("no %s: %v", pattern, err)
		}
		return files
	}
	read := func(file string) []byte {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
	}
	for _, assembly := range glob("asm_*_amd64.s") {
		name := strings.TrimSuffix(strings.TrimPrefix(assembly, "asm_"), "_amd64.s")
		files := append(glob("_gen/"+name+"/*.go"), glob("_gen/asm/*.go")...)
		h := sha256.New()
		for _, file := range append(files, "asm_"+name+"_amd64.go", assembly) {
			h.Write(read(file))
		}
		if got := fmt.Sprintf("%x", h.Sum(nil)); got != strings.TrimSpace(string(read("_gen/"+name+"/sum.txt"))) {
			t.Errorf("asm_%s_amd64.go and .s are not what the generator writes: go run -C internal/kernel/_gen ./%s", name, name)
		}
	}
}

// useTier switches to a tier and returns the undo.
func useTier(t *tier) (undo func()) {
	old := active
	active = t
	return func() { active = old }
}

// eachTier runs f once for every tier this machine has.
func eachTier(t *testing.T, f func(t *testing.T)) {
	for _, k := range tiers {
		t.Run(k.name, func(t *testing.T) {
			defer useTier(k)()
			f(t)
		})
	}
}

func TestChooseTier(t *testing.T) {
	if got := chooseTier("generic"); got != genericTier {
		t.Errorf("generic gives %s", got.name)
	}
	for _, name := range []string{"", "sse9"} {
		if got := chooseTier(name); got != tiers[0] {
			t.Errorf("%q gives %s, want the best, %s", name, got.name, tiers[0].name)
		}
	}
	defer useTier(genericTier)()
	if Tier() != "generic" {
		t.Errorf("Tier() = %s", Tier())
	}
}

const guard = 64

// A buffer is a slice between zones of NaN: a read outside poisons the
// result, and a write outside is seen by intact.
type buffer struct{ all, s []float32 }

func newBuffer(n int) buffer {
	all := make([]float32, n+2*guard)
	for i := range all {
		all[i] = float32(math.NaN())
	}
	return buffer{all, all[guard : guard+n : guard+n]}
}

// normal returns a buffer of n standard normal numbers.
func normal(n int, r *rand.Rand) buffer {
	b := newBuffer(n)
	for i := range b.s {
		b.s[i] = float32(r.NormFloat64())
	}
	return b
}

func (b buffer) clone() buffer {
	c := newBuffer(len(b.s))
	copy(c.s, b.s)
	return c
}

func intact(t *testing.T, what string, bs ...buffer) {
	t.Helper()
	for i, b := range bs {
		for _, zone := range [][]float32{b.all[:guard], b.all[len(b.all)-guard:]} {
			for _, v := range zone {
				if v == v {
					t.Fatalf("%s: buffer %d was written outside", what, i)
				}
			}
		}
	}
}

// near compares with a tolerance of tol times the size of the terms that were
// added up, or of the value itself when scale is nil.
func near(t *testing.T, what string, got []float32, want, scale []float64, tol float64) {
	t.Helper()
	for i, w := range want {
		s := 1 + math.Abs(w)
		if scale != nil {
			s = scale[i]
		}
		if d := math.Abs(float64(got[i]) - w); !(d <= tol*s+1e-30) {
			t.Fatalf("%s: element %d is %g, want %g (off by %.2g, allowed %.2g)", what, i, got[i], w, d, tol*s)
		}
	}
}

// sameForWorkers runs f with several numbers of workers and compares bits.
func sameForWorkers(t *testing.T, f func(p *Pool) [][]float32) {
	t.Helper()
	var first [][]float32
	for _, workers := range []int{1, 2, 3, 5} {
		p := NewPool(workers)
		got := f(p)
		p.Close()
		if first == nil {
			first = got
		}
		for i := range got {
			if !slices.EqualFunc(got[i], first[i], func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }) {
				t.Fatalf("result %d differs between 1 and %d workers", i, workers)
			}
		}
	}
}

func mustPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s did not panic", what)
		}
	}()
	f()
}

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

// gemmOracle adds up in float64; scale gets the sums of the absolute terms.
func gemmOracle(c []float32, ldc int, a []float32, lda int, transA bool, b []float32, ldb int, transB bool, m, n, k int, acc bool) (want, scale []float64) {
	want, scale = make([]float64, m*n), make([]float64, m*n)
	for i := range m {
		for j := range n {
			if acc {
				want[i*n+j] = float64(c[i*ldc+j])
				scale[i*n+j] = math.Abs(want[i*n+j])
			}
			for l := range k {
				v := float64(a[at(i, l, lda, transA)]) * float64(b[at(l, j, ldb, transB)])
				want[i*n+j] += v
				scale[i*n+j] += math.Abs(v)
			}
		}
	}
	return want, scale
}

// checkGemm runs one product between guard zones and compares.
func checkGemm(t *testing.T, p *Pool, m, n, k, padA, padB, padC int, transA, transB, acc bool, r *rand.Rand) {
	t.Helper()
	stored := func(rows, cols, pad int, trans bool) (buffer, int) {
		if trans {
			rows, cols = cols, rows
		}
		ld := cols + pad
		b := newBuffer(max((rows-1)*ld+cols, 0))
		for i := range rows {
			for j := range cols {
				b.s[i*ld+j] = float32(r.NormFloat64())
			}
		}
		return b, ld // what lies between the rows stays NaN
	}
	a, lda := stored(m, k, padA, transA)
	b, ldb := stored(k, n, padB, transB)
	c, ldc := stored(m, n, padC, false)
	want, scale := gemmOracle(c.s, ldc, a.s, lda, transA, b.s, ldb, transB, m, n, k, acc)
	p.Gemm(c.s, ldc, a.s, lda, transA, b.s, ldb, transB, m, n, k, acc)
	what := fmt.Sprintf("m %d n %d k %d transA %v transB %v accumulate %v", m, n, k, transA, transB, acc)
	got := make([]float32, 0, m*n)
	for i := range m {
		got = append(got, c.s[i*ldc:i*ldc+n]...)
		if i < m-1 {
			for _, v := range c.s[i*ldc+n : (i+1)*ldc] {
				if v == v {
					t.Fatalf("%s: written between the rows of C", what)
				}
			}
		}
	}
	near(t, what, got, want, scale, 1e-6)
	intact(t, what, a, b, c)
}
