package dataset

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"nat/internal/kernel"
)

// Augment describes the random changes that make a view of a row. The zero value
// changes nothing: the view is the centre of the image. All random numbers of a
// view are drawn in one fixed order, so that tuning one entry leaves what the
// others draw alone.
type Augment struct {
	// CropMin and CropMax bound the share of the image's area that a view shows;
	// CropRatio >= 1 bounds how much wider than high (or higher than wide) that
	// part is, relative to the image. CropMax = 0 takes the centre instead.
	CropMin   float64 `json:"crop_min,omitempty"`
	CropMax   float64 `json:"crop_max,omitempty"`
	CropRatio float64 `json:"crop_ratio,omitempty"`

	Flip   float64 `json:"flip,omitempty"`   // probability of a mirror image
	Rotate float64 `json:"rotate,omitempty"` // largest angle either way, in degrees
	Shift  float64 `json:"shift,omitempty"`  // largest displacement either way, as a share of the side

	// Jitter is the probability that the colours change at all; 0 means 1 if any
	// of the following is set. A factor is drawn from 1-x to 1+x.
	Jitter     float64 `json:"jitter,omitempty"`
	Brightness float64 `json:"brightness,omitempty"` // factor of all values
	Contrast   float64 `json:"contrast,omitempty"`   // factor of the distance to the mean
	Saturation float64 `json:"saturation,omitempty"` // factor of the distance to grey
	Hue        float64 `json:"hue,omitempty"`        // largest turn of the colour circle either way, in turns
	Grey       float64 `json:"grey,omitempty"`       // probability of a grey view of a colour image

	// Vectors, in units of each feature's standard deviation.
	Noise float64 `json:"noise,omitempty"` // standard deviation of Gaussian noise added to every feature
	Mask  float64 `json:"mask,omitempty"`  // probability that a feature is replaced by its mean
}

// Validate reports every entry that is out of its range.
func (a Augment) Validate() error {
	var bad []string
	for _, e := range augmentEntries {
		least, most := 0., e.most
		switch {
		case e.name == "crop_min":
			most = a.CropMax
		case e.name == "crop_ratio" && a.CropRatio != 0:
			least = 1
		}
		if v := *e.of(&a); !(v >= least && v <= most) {
			bad = append(bad, fmt.Sprintf("%s %v is not within %v to %v", e.name, v, least, most))
		}
	}
	if a.CropMax > 0 && a.CropMin == 0 {
		bad = append(bad, "crop_min is 0: a view needs some area")
	}
	if len(bad) == 0 {
		return nil
	}
	return fmt.Errorf("augmentation: %s", strings.Join(bad, "; "))
}

// warp maps a pixel of the view to a position in the stored image:
// x = ax*i + bx*j + cx, y = ay*i + by*j + cy for column i and row j, in pixels,
// where whole numbers are the centres of pixels.
type warp struct {
	ax, bx, cx float32
	ay, by, cy float32
}

// colour is a change of the values of an image, which may leave [0,1]: values
// are clipped afterwards, once.
type colour struct {
	change     bool
	brightness float32    // factor
	contrast   float32    // factor around the mean luminance
	mix        [9]float32 // 3x3 matrix of saturation, hue and grey
	mixed      bool       // mix is not the identity
}

// spread returns 1 + x*u for u uniform in [-1,1].
func spread(r *rand.Rand, x float64) float64 { return 1 + x*(2*r.Float64()-1) }

// draw draws the warp from a stored image to a view of size out, and the colour
// change.
func (a *Augment) draw(r *rand.Rand, stored, out Shape) (warp, colour) {
	area := a.CropMin + (a.CropMax-a.CropMin)*r.Float64()
	ratio := math.Exp(math.Log(max(a.CropRatio, 1)) * (2*r.Float64() - 1))
	u, v := r.Float64(), r.Float64()
	flip := r.Float64() < a.Flip
	angle := a.Rotate * math.Pi / 180 * (2*r.Float64() - 1)
	shiftX, shiftY := a.Shift*(2*r.Float64()-1), a.Shift*(2*r.Float64()-1)

	sw, sh := float64(stored.W), float64(stored.H)
	w, h := float64(out.W), float64(out.H) // the part shown, in stored pixels
	if a.CropMax > 0 {
		w = min(math.Sqrt(area*ratio), 1) * sw
		h = min(math.Sqrt(area/ratio), 1) * sh
	} else {
		u, v = .5, .5
	}
	x := w/2 + u*(sw-w) + shiftX*w
	y := h/2 + v*(sh-h) + shiftY*h
	return newWarp(x, y, w, h, angle, flip, out), a.drawColour(r, stored.C)
}

// newWarp shows the w x h pixels around (x, y), turned by angle.
func newWarp(x, y, w, h, angle float64, flip bool, out Shape) warp {
	sin, cos := math.Sincos(angle)
	stepX, stepY := w/float64(out.W), h/float64(out.H)
	// Position of the centre of the view's first pixel relative to its middle.
	left, top := -w/2+stepX/2, -h/2+stepY/2
	if flip {
		stepX, left = -stepX, -left
	}
	return warp{
		ax: float32(cos * stepX), bx: float32(-sin * stepY), cx: float32(x + cos*left - sin*top - .5),
		ay: float32(sin * stepX), by: float32(cos * stepY), cy: float32(y + sin*left + cos*top - .5),
	}
}

func (a *Augment) drawColour(r *rand.Rand, channels int) (c colour) {
	jitter := a.Jitter
	if jitter == 0 {
		jitter = 1
	}
	change := r.Float64() < jitter
	brightness, contrast := spread(r, a.Brightness), spread(r, a.Contrast)
	saturation, hue := spread(r, a.Saturation), a.Hue*(2*r.Float64()-1)
	grey := r.Float64() < a.Grey
	c.brightness, c.contrast = 1, 1
	if change {
		c.brightness, c.contrast = float32(brightness), float32(contrast)
	} else {
		saturation, hue = 1, 0
	}
	if channels == 3 && (saturation != 1 || hue != 0 || grey) {
		if grey {
			saturation = 0
		}
		c.mix, c.mixed = mixing(saturation, hue), true
	}
	c.change = c.mixed || c.brightness != 1 || c.contrast != 1
	return c
}

// mixing is the matrix that keeps luminance, scales chrominance by saturation and
// turns it by hue turns, in the YIQ space of colour television.
func mixing(saturation, hue float64) (m [9]float32) {
	toYIQ := [9]float64{lumaR, lumaG, lumaB, .595716, -.274453, -.321263, .211456, -.522591, .311135}
	toRGB := [9]float64{1, .9563, .6210, 1, -.2721, -.6474, 1, -1.1070, 1.7046}
	sin, cos := math.Sincos(2 * math.Pi * hue)
	turn := [9]float64{1, 0, 0, 0, saturation * cos, -saturation * sin, 0, saturation * sin, saturation * cos}
	p := product3(toRGB, product3(turn, toYIQ))
	for i, v := range p {
		m[i] = float32(v)
	}
	return m
}

func product3(a, b [9]float64) (c [9]float64) {
	for i := range 3 {
		for j := range 3 {
			for k := range 3 {
				c[3*i+j] += a[3*i+k] * b[3*k+j]
			}
		}
	}
	return c
}

// tap is where one pixel of a view lies in the stored image: between pixel p (the
// index of its first channel), its right neighbour and the two below.
type tap struct {
	p      int
	fx, fy float32 // distance from p, 0 to 1
}

// row finds the taps of row j of a view. Beyond the edge the nearest pixel is
// repeated.
func (w *warp) row(taps []tap, j int, in Shape) {
	xEnd, yEnd := float32(in.W-1), float32(in.H-1)
	xLast, yLast := max(in.W-2, 0), max(in.H-2, 0)
	rowX, rowY := w.bx*float32(j)+w.cx, w.by*float32(j)+w.cy
	for i := range taps {
		x, y := clamp(w.ax*float32(i)+rowX, xEnd), clamp(w.ay*float32(i)+rowY, yEnd)
		x0, y0 := min(int(x), xLast), min(int(y), yLast)
		taps[i] = tap{(y0*in.W + x0) * in.C, x - float32(x0), y - float32(y0)}
	}
}

// columns finds the taps of every row of a view that is not turned, relative to
// the row.
func (w *warp) columns(taps []tap, in Shape) {
	xEnd, xLast := float32(in.W-1), max(in.W-2, 0)
	for i := range taps {
		x := clamp(w.ax*float32(i)+w.cx, xEnd)
		x0 := min(int(x), xLast)
		taps[i] = tap{x0 * in.C, x - float32(x0), 0}
	}
}

// sampleScratch is what sampling needs beside the images.
type sampleScratch struct {
	taps  []tap     // a row of the view
	lines []float32 // the rows of the stored image, as wide as the view
}

func newSampleScratch(in, out Shape) sampleScratch {
	return sampleScratch{taps: make([]tap, out.W), lines: make([]float32, in.H*out.W*in.C)}
}

// sample writes the view w of src with bilinear interpolation.
func (w *warp) sample(dst []float32, out Shape, src []float32, in Shape, scratch *sampleScratch) {
	if w.ay == 0 && w.bx == 0 && w.by >= 0 {
		w.sampleStraight(dst, src, in, scratch)
		return
	}
	right, down := in.C, in.W*in.C
	if in.W == 1 {
		right = 0
	}
	if in.H == 1 {
		down = 0
	}
	width := out.W * in.C
	for j := range out.H {
		w.row(scratch.taps, j, in)
		blend(dst[j*width:(j+1)*width], src, scratch.taps, right, down)
	}
}

// sampleStraight is sample for a view that is not turned: every row of the image
// that it shows is interpolated to the columns of the view, once, and the rows of
// the view between two of these.
func (w *warp) sampleStraight(dst, src []float32, in Shape, scratch *sampleScratch) {
	taps, lines := scratch.taps, scratch.lines
	w.columns(taps, in)
	width, stored := len(taps)*in.C, in.W*in.C
	yEnd, yLast := float32(in.H-1), max(in.H-2, 0)
	ready := 0 // rows before this one are done, or not needed any more
	for j := range len(dst) / width {
		y := clamp(w.by*float32(j)+w.cy, yEnd)
		y0 := min(int(y), yLast)
		y1 := min(y0+1, in.H-1)
		for ready = max(ready, y0); ready <= y1; ready++ {
			stretch(lines[ready*width:(ready+1)*width], src[ready*stored:(ready+1)*stored], taps, in.C)
		}
		kernel.Lerp(dst[j*width:(j+1)*width], lines[y0*width:(y0+1)*width], lines[y1*width:(y1+1)*width], y-float32(y0))
	}
}

// stretch interpolates along one line of the image.
func stretch(dst, line []float32, taps []tap, c int) {
	if len(line) == c { // a single pixel
		for i := range dst {
			dst[i] = line[i%c]
		}
		return
	}
	switch c {
	case 1:
		for i, t := range taps {
			p := line[t.p : t.p+2]
			dst[i] = p[0] + t.fx*(p[1]-p[0])
		}
	case 3:
		for _, t := range taps {
			p, d, f := (*[6]float32)(line[t.p:]), (*[3]float32)(dst), t.fx
			d[0] = p[0] + f*(p[3]-p[0])
			d[1] = p[1] + f*(p[4]-p[1])
			d[2] = p[2] + f*(p[5]-p[2])
			dst = dst[3:]
		}
	}
}

// blend interpolates a row of pixels of any number of channels.
func blend(dst, src []float32, taps []tap, right, down int) {
	c := len(dst) / len(taps)
	for i, t := range taps {
		for k := range c {
			p := t.p + k
			a, b := src[p], src[p+down]
			a += t.fx * (src[p+right] - a)
			b += t.fx * (src[p+down+right] - b)
			dst[i*c+k] = a + t.fy*(b-a)
		}
	}
}

// clamp limits v to [0, top]. The built-in min and max cost three times as much,
// for the sake of NaN and signed zeros.
func clamp(v, top float32) float32 {
	if v < 0 {
		return 0
	}
	if v > top {
		return top
	}
	return v
}

// tint sets t to the change of colours of an image of the given mean luminance,
// which only counts if the contrast changes.
func (k *colour) tint(t *kernel.Tint, luminance float32) {
	m, lo, hi := [9]float32{0: 1, 4: 1, 8: 1}, float32(0), float32(1)
	if !k.change {
		t.Change(&m, [3]float32{}, -math.MaxFloat32, math.MaxFloat32)
		return
	}
	if k.mixed {
		m = k.mix
	}
	factor, shift := k.brightness*k.contrast, (1-k.contrast)*luminance*k.brightness
	var offset [3]float32
	for c := range offset {
		offset[c] = shift * (m[3*c] + m[3*c+1] + m[3*c+2])
	}
	for i := range m {
		m[i] *= factor
	}
	t.Change(&m, offset, lo, hi)
}

// luminanceWeights are what the values of an image are multiplied with to add up
// to its mean luminance.
func luminanceWeights(s Shape) []float32 {
	w := make([]float32, s.Size())
	pixels := float32(s.H * s.W)
	for i := range w {
		w[i] = 1 / pixels
		if s.C == 3 {
			w[i] = [3]float32{lumaR, lumaG, lumaB}[i%3] / pixels
		}
	}
	return w
}
