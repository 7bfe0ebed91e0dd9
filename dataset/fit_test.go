package dataset

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestShapes(t *testing.T) {
	for _, c := range []struct {
		native      Shape
		opt         Options
		stored, out Shape
	}{
		{Shape{28, 28, 1}, Options{}, Shape{28, 28, 1}, Shape{28, 28, 1}},
		{Shape{20, 30, 4}, Options{}, Shape{20, 30, 3}, Shape{20, 30, 3}},
		{Shape{65, 10, 3}, Options{}, Shape{74, 74, 3}, Shape{64, 64, 3}},
		{Shape{0, 0, 3}, Options{}, Shape{74, 74, 3}, Shape{64, 64, 3}},
		{Shape{28, 28, 1}, Options{Size: 28}, Shape{28, 28, 1}, Shape{28, 28, 1}},
		{Shape{28, 28, 1}, Options{Size: 32}, Shape{36, 36, 1}, Shape{32, 32, 1}},
		{Shape{0, 0, 3}, Options{Size: 224}, Shape{256, 256, 3}, Shape{224, 224, 3}},
		{Shape{32, 32, 3}, Options{Input: Shape{28, 28, 1}}, Shape{32, 32, 1}, Shape{28, 28, 1}},
		{Shape{28, 28, 3}, Options{Input: Shape{28, 28, 1}}, Shape{28, 28, 1}, Shape{28, 28, 1}},
		{Shape{28, 28, 3}, Options{Input: Shape{28, 28, 1}, Stored: Shape{32, 32, 1}}, Shape{32, 32, 1}, Shape{28, 28, 1}},
	} {
		if stored, out := shapes(c.native, autoSide, &c.opt); stored != c.stored || out != c.out {
			t.Errorf("%v with size %d, input %v: %v, %v, want %v, %v", c.native, c.opt.Size, c.opt.Input, stored, out, c.stored, c.out)
		}
	}
}

func resizeTo(src []float32, in Shape, h, w int) []float32 {
	dst := make([]float32, h*w*in.C)
	newResizer(in, h, w).run(dst, func(y int) []float32 { return src[y*in.W*in.C : (y+1)*in.W*in.C] })
	return dst
}

// The same size copies, a constant stays, shrinking keeps the mean, mirroring
// commutes.
func TestResizeProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		side := rapid.IntRange(1, 40)
		in := Shape{side.Draw(t, "h"), side.Draw(t, "w"), rapid.SampledFrom([]int{1, 3}).Draw(t, "c")}
		h, w := side.Draw(t, "outH"), side.Draw(t, "outW")
		src := rapid.SliceOfN(rapid.Float32Range(0, 1), in.Size(), in.Size()).Draw(t, "src")
		if same := resizeTo(src, in, in.H, in.W); !slices.Equal(same, src) {
			t.Fatalf("the same size changes %v to %v", src, same)
		}
		for i, v := range resizeTo(slices.Repeat([]float32{.25}, in.Size()), in, h, w) {
			if math.Abs(float64(v)-.25) > 1e-6 {
				t.Fatalf("value %d of a constant image is %v", i, v)
			}
		}
		mirrored := make([]float32, len(src))
		for p := range in.H * in.W {
			q := p/in.W*in.W + in.W - 1 - p%in.W
			copy(mirrored[q*in.C:(q+1)*in.C], src[p*in.C:])
		}
		a, b := resizeTo(src, in, h, w), resizeTo(mirrored, in, h, w)
		for p := range h * w {
			q := p/w*w + w - 1 - p%w
			for k := range in.C {
				if d := math.Abs(float64(a[p*in.C+k] - b[q*in.C+k])); d > 1e-5 {
					t.Fatalf("the mirror image differs by %g", d)
				}
			}
		}
	})
}

func TestResizeKeepsMeanAndDoesNotAlias(t *testing.T) {
	in := Shape{64, 64, 1}
	stripes := make([]float32, in.Size())
	for i := range stripes {
		stripes[i] = float32(i % 2)
	}
	for _, v := range resizeTo(stripes, in, 16, 16) {
		if v < .4 || v > .6 {
			t.Fatalf("stripes of one pixel become %v", v)
		}
	}
}

func TestFitterConvertsChannels(t *testing.T) {
	load := func(x []float32) error { copy(x, []float32{1, 0, 0, .5, .5, .5}); return nil }
	got := make([]float32, 2)
	if err := newFitter(Shape{1, 2, 3}, Shape{1, 2, 1}).fit(got, load); err != nil || math.Abs(float64(got[0])-lumaR) > 1e-6 || math.Abs(float64(got[1])-.5) > 1e-6 {
		t.Errorf("grey of red and grey is %v (%v)", got, err)
	}
	got = make([]float32, 6)
	f := newFitter(Shape{1, 2, 1}, Shape{1, 2, 3})
	f.fit(got, func(x []float32) error { copy(x, []float32{.2, .7}); return nil })
	if !slices.Equal(got, []float32{.2, .2, .2, .7, .7, .7}) {
		t.Errorf("colour of grey is %v", got)
	}
}

// crowd are rows whose first readers wait until as many are reading at once.
type crowd struct {
	n       int
	arrived chan struct{}
	all     atomic.Int64
}

func (c *crowd) rows() int                       { return c.n }
func (c *crowd) appendID(b []byte, i int) []byte { return numbered(b, "", i) }
func (c *crowd) close() error                    { return nil }

func (c *crowd) read(i int, dst []float32) error {
	if i > 0 && c.all.Add(1) <= int64(cap(c.arrived)) {
		c.arrived <- struct{}{}
		for began := time.Now(); len(c.arrived) < cap(c.arrived); time.Sleep(time.Millisecond) {
			if time.Since(began) > 5*time.Second {
				return errors.New("nobody else reads")
			}
		}
	}
	for k := range dst {
		dst[k] = float32(math.Sqrt(float64(i*len(dst) + k)))
	}
	return nil
}

func TestNormalizerIsParallelWithTheSameBits(t *testing.T) {
	var want Normalizer
	for _, workers := range []int{1, 2, 3, 16} {
		rows := make([]int, 5001)
		for i := range rows {
			rows[i] = i
		}
		source := &crowd{n: len(rows), arrived: make(chan struct{}, workers)}
		s := &Set{opened: opened{src: source, shape: Shape{2, 2, 3}}, workers: workers}
		got, err := FitNormalizer(context.Background(), s, rows)
		if err != nil {
			t.Fatalf("%d workers: %v", workers, err)
		}
		if want.Mean == nil {
			want = got
		}
		if !slices.Equal(got.Mean, want.Mean) || !slices.Equal(got.Std, want.Std) {
			t.Errorf("%d workers: %v, with one %v", workers, got, want)
		}
	}
}

func TestNormalizer(t *testing.T) {
	const n = 5000
	x := make([]float32, n*3)
	for i := range n {
		x[3*i], x[3*i+1], x[3*i+2] = float32(1e6+i%2*2), 7, float32(i%4)
	}
	s := mustOpen(t, write(t, npyBytes(t, []int{n, 3}, x), t.TempDir(), "x.npy"), Options{})
	rows, _ := s.divide(0, "none")
	norm, err := FitNormalizer(context.Background(), s, rows)
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(float64(norm.Std[0])-1) > 1e-3 || norm.Mean[0] != 1e6+1 || norm.Mean[1] != 7 || norm.Std[1] != 1 || math.Abs(float64(norm.Mean[2])-1.5) > .01 {
		t.Errorf("mean %v, std %v", norm.Mean, norm.Std)
	}
	plain := make([]float32, 2*3)
	if err := Plain(context.Background(), s, norm, OutShape(s), []int{4, 7}, plain, 2); err != nil {
		t.Fatal(err)
	}
	if plain[1] != 0 || math.Abs(float64(plain[0])+1) > 1e-2 || math.Abs(float64(plain[3])-1) > 1e-2 {
		t.Errorf("normalised rows %v", plain)
	}
}
