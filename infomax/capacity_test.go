package infomax

import (
	"math"
	"testing"
)

// The table of equation (7).
func TestCapacityTable(t *testing.T) {
	sigmas := []float64{.05, .1, .2, .5, 1}
	for d, want := range map[int][]float64{
		2:   {3.41404, 2.71899, 2.01780, 1.03751, 0.40348},
		3:   {5.68586, 4.30334, 2.93246, 1.24201, 0.43085},
		8:   {14.56576, 9.85475, 5.52870, 1.61897, 0.47110},
		16:  {25.2272, 15.5372, 7.48221, 1.78478, 0.48499},
		64:  {63.0833, 30.0651, 10.5505, 1.93998, 0.49613},
		128: {90.5526, 36.9376, 11.4179, 1.96939, 0.49806},
	} {
		for i, sigma := range sigmas {
			if got := Capacity(d, sigma); math.Abs(got-want[i]) > 1e-5*want[i]+6e-6 {
				t.Errorf("d=%d sigma=%v: %.6f, want %.5f", d, sigma, got, want[i])
			}
		}
	}
}

// Values computed with mpmath at 40 digits from the densities with Bessel functions.
func TestCapacityPrecision(t *testing.T) {
	for _, c := range []struct {
		d           int
		sigma, want float64
	}{
		{2, .01, 5.024083716067}, {2, .1, 2.718991412859}, {2, 1, .4034755189072}, {2, 10, .004987541434451},
		{3, .01, 8.903537555037}, {3, .1, 4.303342886435}, {3, 1, .4308530545574}, {3, 10, .004991685120738},
		{5, .01, 16.01571561584}, {5, .1, 6.85467407116}, {5, 1, .4556585327338}, {5, 10, .004995006653848},
		{64, .01, 160.1580225506}, {64, .1, 30.06512660357}, {64, 1, .4961339555674}, {64, 10, .004999609415685},
		{9, .01, 28.883147698428}, {9, .1, 10.713787637109}, {9, 10, .0049972242778107}, {257, .03, 214.65707684741}, {257, 1, .49902975333611},
		{4096, .01, 2530.9843893939}, {4096, .03, 491.54880323668}, {4096, .1, 49.399404047297}, {4096, 1, .49993897477604}, {4096, 10, .0049999938964943},
		{1000, .01, 1198.48514908}, {1000, .1, 47.65507276472}, {1000, 1, .4997501665415}, {1000, 10, .004999975000167},
	} {
		if got := Capacity(c.d, c.sigma); math.Abs(got/c.want-1) > 1e-8 {
			t.Errorf("d=%d sigma=%v: %.12g, want %.12g (relative error %.1e)", c.d, c.sigma, got, c.want, got/c.want-1)
		}
	}
}

// Capacity falls with the noise, grows with the dimension, and stays below the
// Gaussian of the same power, which it approaches where the noise is large.
func TestCapacityBounds(t *testing.T) {
	for _, sigma := range []float64{.01, .03, .2, 1, 3, 10} {
		last := 0.0
		for _, d := range []int{2, 3, 4, 7, 20, 100, 500, 4096} {
			c, bound := Capacity(d, sigma), CapacityBound(d, sigma)
			if !(c > last) || c > bound*(1+1e-9) || Capacity(d, 1.1*sigma) >= c {
				t.Errorf("d=%d sigma=%v: %v after %v, bound %v", d, sigma, c, last, bound)
			}
			if d > 1 && sigma == 10 && c < bound*(1-1e-2/float64(d)) {
				t.Errorf("d=%d sigma=%v: %v is far below %v", d, sigma, c, bound)
			}
			last = c
		}
	}
}

func FuzzCapacity(f *testing.F) {
	f.Add(uint16(64), .1)
	f.Fuzz(func(t *testing.T, d uint16, sigma float64) {
		if d < 2 || d > 4096 || !(sigma >= .01 && sigma <= 10) {
			t.Skip()
		}
		if c := Capacity(int(d), sigma); !(c > 0) || c > CapacityBound(int(d), sigma)*(1+1e-9) {
			t.Errorf("capacity of d=%d, sigma=%v: %v", d, sigma, c)
		}
	})
}

func BenchmarkCapacity(b *testing.B) {
	for b.Loop() {
		Capacity(64, .1)
	}
}
