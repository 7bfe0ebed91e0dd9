package dataset

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// viewOf draws one view of an image.
func viewOf(a Augment, src []float32, in, out Shape, seed uint64) []float32 {
	v := testViewer(in, out, src)
	w, c := a.draw(rand.New(rand.NewPCG(seed, 1)), in, out)
	dst := make([]float32, out.Size())
	v.show(dst, &w, &c)
	return dst
}

// testViewer shows one image, not normalised.
func testViewer(in, out Shape, src []float32) *viewer {
	s := &Set{opened: opened{shape: in, out: out}}
	v := newViewer(s, out, Normalizer{Mean: make([]float32, in.C), Std: slices.Repeat([]float32{1}, in.C)})
	copy(v.row, src)
	return v
}

// recoloured changes the colours of a row of pixels of c channels.
func recoloured(k colour, x []float32, c int) []float32 {
	shape := Shape{1, len(x) / c, c}
	v := testViewer(shape, shape, x)
	w := newWarp(float64(shape.W)/2, .5, float64(shape.W), 1, 0, false, shape)
	dst := make([]float32, len(x))
	v.show(dst, &w, &k)
	return dst
}

func randomImage(s Shape, seed uint32) []float32 {
	x := make([]float32, s.Size())
	for i, b := range noise(len(x), seed) {
		x[i] = byteScale[b]
	}
	return x
}

func TestNoAugmentationIsTheCentre(t *testing.T) {
	in, out := Shape{12, 10, 3}, Shape{8, 6, 3}
	src := randomImage(in, 1)
	s := &Set{opened: opened{shape: in, out: out}}
	v := newViewer(s, out, Normalizer{Mean: make([]float32, 3), Std: []float32{1, 1, 1}})
	copy(v.row, src)
	plain := make([]float32, out.Size())
	v.plain(plain)
	if got := viewOf(Augment{}, src, in, out, 5); !slices.Equal(got, plain) {
		t.Error("a view without changes is not the centre of the image")
	}
	if plain[0] != src[(2*10+2)*3] {
		t.Error("the centre does not begin at row 2, column 2")
	}
}

func TestFlipAlone(t *testing.T) {
	in := Shape{5, 7, 1}
	src := randomImage(in, 2)
	got := viewOf(Augment{Flip: 1}, src, in, in, 1)
	for y := range 5 {
		for x := range 7 {
			if d := got[y*7+x] - src[y*7+6-x]; d > 1e-5 || d < -1e-5 {
				t.Fatalf("pixel %d,%d is %v, not that of the other side %v", x, y, got[y*7+x], src[y*7+6-x])
			}
		}
	}
}

func TestQuarterTurn(t *testing.T) {
	in := Shape{6, 6, 1}
	src := randomImage(in, 3)
	w := newWarp(3, 3, 6, 6, math.Pi/2, false, in)
	got := make([]float32, 36)
	scratch := newSampleScratch(in, in)
	w.sample(got, in, src, in, &scratch)
	for y := range 6 {
		for x := range 6 {
			if d := got[y*6+x] - src[x*6+5-y]; d > 1e-4 || d < -1e-4 {
				t.Fatalf("pixel %d,%d is %v, want %v", x, y, got[y*6+x], src[x*6+5-y])
			}
		}
	}
}

// Whatever is drawn, a view stays within the range of the image when colours are
// left alone, and within [0,1] always.
func TestViewsStayInRange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		unit := rapid.Float64Range(0, 1)
		a := Augment{
			CropMin: rapid.Float64Range(.01, 1).Draw(t, "min"), CropMax: 1, CropRatio: rapid.Float64Range(1, 4).Draw(t, "ratio"),
			Flip: unit.Draw(t, "flip"), Rotate: 180 * unit.Draw(t, "rotate"), Shift: unit.Draw(t, "shift"),
		}
		if err := a.Validate(); err != nil {
			t.Fatal(err)
		}
		side := rapid.IntRange(1, 12)
		in := Shape{side.Draw(t, "h"), side.Draw(t, "w"), rapid.SampledFrom([]int{1, 3}).Draw(t, "c")}
		out := Shape{side.Draw(t, "oh"), side.Draw(t, "ow"), in.C}
		seed := rapid.Uint64().Draw(t, "seed")
		src := randomImage(in, uint32(seed))
		lo, hi := slices.Min(src), slices.Max(src)
		for _, v := range viewOf(a, src, in, out, seed) {
			if v < lo-1e-6 || v > hi+1e-6 {
				t.Fatalf("value %v is outside of %v to %v", v, lo, hi)
			}
		}
		a.Brightness, a.Contrast, a.Saturation, a.Hue, a.Grey = 1, 1, 1, .5, .3
		for _, v := range viewOf(a, src, in, out, seed) {
			if !(v >= 0 && v <= 1) {
				t.Fatalf("value %v", v)
			}
		}
	})
}

// The shortcut for views that are not turned agrees with the general way.
func TestStraightViewsAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		side := rapid.IntRange(1, 12)
		in := Shape{side.Draw(t, "h"), side.Draw(t, "w"), rapid.SampledFrom([]int{1, 3}).Draw(t, "c")}
		out := Shape{side.Draw(t, "oh"), side.Draw(t, "ow"), in.C}
		src := randomImage(in, rapid.Uint32().Draw(t, "seed"))
		at := rapid.Float64Range(-3, 15)
		size := rapid.Float64Range(.5, 14)
		x, y, sw, sh, flip := at.Draw(t, "x"), at.Draw(t, "y"), size.Draw(t, "sw"), size.Draw(t, "sh"), rapid.Bool().Draw(t, "flip")
		straight, turned := newWarp(x, y, sw, sh, 0, flip, out), newWarp(x, y, sw, sh, 1e-9, flip, out)
		turned.ay = 1e-30 // for certain the general way
		a, b := make([]float32, out.Size()), make([]float32, out.Size())
		scratch := newSampleScratch(in, out)
		straight.sample(a, out, src, in, &scratch)
		turned.sample(b, out, src, in, &scratch)
		for i := range a {
			if d := a[i] - b[i]; d > 1e-4 || d < -1e-4 {
				t.Fatalf("value %d is %v, the general way gives %v", i, a[i], b[i])
			}
		}
	})
}

func TestColourChanges(t *testing.T) {
	rgb := []float32{.8, .4, .2, .1, .3, .5}
	grey := recoloured(colour{change: true, mixed: true, brightness: 1, contrast: 1, mix: mixing(0, 0)}, rgb, 3)
	for i := 0; i < 6; i += 3 {
		want := lumaR*rgb[i] + lumaG*rgb[i+1] + lumaB*rgb[i+2]
		for k := range 3 {
			if d := grey[i+k] - want; d > 2e-3 || d < -2e-3 {
				t.Errorf("grey value %v, want %v", grey[i+k], want)
			}
		}
	}
	full := recoloured(colour{change: true, mixed: true, brightness: 1, contrast: 1, mix: mixing(1, 1)}, rgb, 3)
	for i, v := range full {
		if d := v - rgb[i]; d > 2e-3 || d < -2e-3 {
			t.Errorf("a full turn of hue changes %v to %v", rgb[i], v)
		}
	}
	x := recoloured(colour{change: true, brightness: .5, contrast: 2}, []float32{.2, .4}, 1)
	if math.Abs(float64(x[0])-.05) > 1e-6 || math.Abs(float64(x[1])-.25) > 1e-6 { // half: .1, .2; twice from the mean .15
		t.Errorf("contrast 2 and brightness .5 give %v", x)
	}
}

// Frequencies and ranges of what is drawn.
func TestDraws(t *testing.T) {
	a := Augment{CropMin: .4, CropMax: .9, CropRatio: 1.25, Flip: .5, Brightness: .4}
	r := rand.New(rand.NewPCG(1, 2))
	in := Shape{100, 100, 1}
	flips, n := 0, 4000
	lo, hi, dark, bright := 1., 0., float32(2), float32(0)
	for range n {
		w, c := a.draw(r, in, in)
		if w.ax < 0 {
			flips++
		}
		area := math.Abs(float64(w.ax * w.by))
		lo, hi = min(lo, area), max(hi, area)
		dark, bright = min(dark, c.brightness), max(bright, c.brightness)
		if x0, x1 := w.cx, w.ax*99+w.cx; min(x0, x1) < -.6 || max(x0, x1) > 99.6 {
			t.Fatalf("a crop without shift leaves the image: %v to %v", x0, x1)
		}
	}
	if flips < n*45/100 || flips > n*55/100 || lo < .399 || lo > .42 || hi > .901 || hi < .88 || dark < .6 || dark > .61 || bright > 1.4 || bright < 1.39 {
		t.Errorf("%d of %d flipped, area %v to %v, brightness %v to %v", flips, n, lo, hi, dark, bright)
	}
	r = rand.New(rand.NewPCG(1, 2))
	first, _ := a.draw(r, in, in)
	a.Brightness, a.Grey = .1, .5
	r = rand.New(rand.NewPCG(1, 2))
	if second, _ := a.draw(r, in, in); second != first {
		t.Error("tuning the colours moves the crop")
	}
}

func TestVectorAugmentation(t *testing.T) {
	a := Augment{Noise: .5, Mask: .25}
	const n = 20000
	x := slices.Repeat([]float32{1}, n)
	a.disturb(x, rand.New(rand.NewPCG(3, 4)))
	masked, sum, square := 0, 0., 0.
	for _, v := range x {
		if v == 0 {
			masked++
			continue
		}
		sum += float64(v) - 1
		square += (float64(v) - 1) * (float64(v) - 1)
	}
	k := float64(n - masked)
	if share := float64(masked) / n; math.Abs(share-.25) > .02 || math.Abs(sum/k) > .02 || math.Abs(math.Sqrt(square/k)-.5) > .02 {
		t.Errorf("%.3f masked, noise of mean %.3f and deviation %.3f", share, sum/k, math.Sqrt(square/k))
	}
}

func TestAugmentValidateAndJSON(t *testing.T) {
	bad := Augment{CropMin: .5, CropMax: .4, Flip: 2, Hue: 1, Noise: -1, CropRatio: .5}
	err := bad.Validate()
	for _, word := range []string{"crop_min", "flip", "hue", "noise", "crop_ratio"} {
		if err == nil || !contains(err.Error(), word) {
			t.Errorf("error does not report %s: %v", word, err)
		}
	}
	for _, s := range []*Set{
		{opened: opened{vector: true}}, {opened: opened{out: Shape{8, 8, 1}}}, {opened: opened{out: Shape{28, 28, 1}}},
		{opened: opened{shape: Shape{32, 32, 3}, out: Shape{32, 32, 3}}}, {opened: opened{shape: Shape{74, 74, 3}, out: Shape{64, 64, 3}}},
	} {
		a := DefaultAugment(s)
		if err := a.Validate(); err != nil {
			t.Errorf("preset: %v", err)
		}
		b, _ := json.Marshal(a)
		var back Augment
		if json.Unmarshal(b, &back); back != a {
			t.Errorf("%s does not survive JSON", b)
		}
	}
}
