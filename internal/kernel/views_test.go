package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestLerpEveryLength(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		for n := range 150 {
			dst, a, b := newBuffer(n), normal(n, r), normal(n, r)
			f := r.Float32()
			Lerp(dst.s, a.s, b.s, f)
			for i, v := range a.s {
				if want := v + float32(f*(b.s[i]-v)); dst.s[i] != want { // the same bits on every tier
					t.Fatalf("%d values: value %d is %v, want %v", n, i, dst.s[i], want)
				}
			}
			Lerp(a.s, a.s, b.s, f) // in place
			for i, v := range dst.s {
				if a.s[i] != v {
					t.Fatalf("%d values in place: value %d is %v, want %v", n, i, a.s[i], v)
				}
			}
			intact(t, "lerp", dst, a, b)
		}
	})
}

// The change of every pixel is what the formula says, in float64.
func TestTintEveryLength(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(3, 4))
		for pixels := range 110 {
			for _, c := range []int{1, 3} {
				tintCase(t, r, pixels, c)
			}
		}
	})
}

func tintCase(t *testing.T, r *rand.Rand, pixels, c int) {
	var tint Tint
	var m [9]float32
	var offset [3]float32
	mean, scale := make([]float32, c), make([]float32, c)
	for i := range m {
		m[i] = float32(r.NormFloat64())
	}
	for i := range mean {
		mean[i], scale[i], offset[i] = r.Float32(), 1+r.Float32(), r.Float32()
	}
	lo, hi := float32(0), float32(1)
	if pixels%3 == 0 {
		lo, hi = -math.MaxFloat32, math.MaxFloat32
	}
	tint.Normalize(mean, scale)
	tint.Change(&m, offset, lo, hi)
	n := pixels * c
	x, dst := normal(n+2*TintPad, r), newBuffer(n)
	tint.Apply(dst.s, x.s)
	intact(t, "tint", x, dst)
	want := make([]float64, n)
	for i := range want {
		pixel, ch := i/c*c, i%c
		y := float64(offset[ch])
		for k := range c {
			y += float64(m[3*ch+k]) * float64(x.s[TintPad+pixel+k])
		}
		want[i] = (min(max(y, float64(lo)), float64(hi)) - float64(mean[ch])) * float64(scale[ch])
	}
	near(t, "tint", dst.s, want, nil, 1e-5)
}

func TestTintRefusesOtherChannels(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("two channels were accepted")
		}
	}()
	new(Tint).Normalize(make([]float32, 2), make([]float32, 2))
}

func BenchmarkViews(b *testing.B) {
	x, dst := make([]float32, 3072+2*TintPad), make([]float32, 3072)
	var tint Tint
	tint.Normalize(make([]float32, 3), []float32{1, 1, 1})
	b.Run("tint", func(b *testing.B) {
		for b.Loop() {
			tint.Change(&[9]float32{0: 1, 4: 1, 8: 1}, [3]float32{}, 0, 1)
			tint.Apply(dst, x)
		}
	})
	b.Run("lerp", func(b *testing.B) {
		for b.Loop() {
			for y := range 32 {
				Lerp(dst[y*96:(y+1)*96], x[y*96:], x[y*96:], .5)
			}
		}
	})
}
