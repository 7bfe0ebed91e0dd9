package nat

import (
	"fmt"
	"image"
	"image/color"
	"math"
	"slices"

	"nat/dataset"
	"nat/encoder"
	"nat/internal/tensorfile"
)

// ReportFilters are the weights of a network's first layer as pictures, trained and as
// they were before training.
type ReportFilters struct {
	Layer              string
	Note               string
	Trained, Untrained []image.Image // the same units in the same order
}

// Filters beyond these are not shown.
const reportFilters = 96

// filters draws the first layer of a network of images; nil for vectors, and where that
// layer has no weights for several pixels.
func (m *Model) filters(rec *Record) (*ReportFilters, error) {
	if m.Input.H < 2 && m.Input.W < 2 {
		return nil, nil
	}
	bank, ok := firstFilters(m.Network)
	if !ok {
		return nil, nil
	}
	untrained, err := encoder.New(m.Network.Spec(), rec.Options.Seed, m.pool)
	if err != nil {
		return nil, err
	}
	before, _ := firstFilters(untrained)
	f := &ReportFilters{Layer: bank.layer}
	shown := min(bank.count, reportFilters)
	for i := range shown {
		f.Trained = append(f.Trained, bank.picture(i, m.Norm))
		f.Untrained = append(f.Untrained, before.picture(i, m.Norm))
	}
	f.Note = bank.describe(shown)
	if rec.Options.Init != "" {
		f.Note += " Training began with the weights of another run, not with these untrained ones."
	} else {
		f.Note += fmt.Sprintf(" The median cosine between a unit's weights before training and after is %.2f.", bank.medianCosine(before))
	}
	return f, nil
}

// filterBank is the weights of a layer that looks at images: of unit o at pixel p and
// channel c weights[(p*shape.C+c)*count+o].
type filterBank struct {
	layer   string
	shape   dataset.Shape // of what a unit sees
	count   int
	weights []float32
	edges   bool // the channels are the two of a Sobel filter
	dense   bool
}

// firstFilters finds the first layer with weights, unless it is inside a block or sees
// no more than a pixel.
func firstFilters(net *encoder.Network) (filterBank, bool) {
	spec := net.Spec()
	in, edges := dataset.Shape(spec.Input), false
	for _, l := range spec.Layers {
		b := filterBank{layer: l.Name, shape: in, count: l.Out, edges: edges}
		switch l.Type {
		case encoder.Flatten, encoder.Dropout:
			continue
		case encoder.Sobel:
			in.C, edges = 2, true
			continue
		case encoder.Conv:
			b.shape.H, b.shape.W = l.Kernel, l.Kernel
		case encoder.Dense:
			b.dense = true
		default:
			return b, false
		}
		t, ok := tensorfile.Find(net.State(), l.Name+".weight")
		if !ok || b.shape.H*b.shape.W < 2 {
			return b, false
		}
		b.weights, ok = t.Data.([]float32)
		return b, ok
	}
	return filterBank{}, false
}

// describe says what the pictures are.
func (b *filterBank) describe(shown int) string {
	what, which := "filters", fmt.Sprintf("%d × %d", b.shape.H, b.shape.W)
	if b.dense {
		what = "units, whose weights have a pixel of the image each,"
	}
	text := fmt.Sprintf("%d of the %d %s of %s", shown, b.count, what, b.layer)
	if shown == b.count {
		text = fmt.Sprintf("The %d %s of %s", b.count, what, b.layer)
	}
	text += ", " + which + " pixels, each scaled by its largest weight: mid-grey is none."
	switch {
	case b.edges:
		text += " Behind a Sobel filter, they are drawn as what the two do to a grey image together, two pixels wider."
	case b.shape.C == 2:
		text += " Of the two channels the first is shown."
	case b.shape.C > 3:
		text += fmt.Sprintf(" Of the %d channels the first three are shown.", b.shape.C)
	}
	return text
}

// unit returns the weights of unit o, H x W x C.
func (b *filterBank) unit(o int) []float32 {
	w := make([]float32, b.shape.Size())
	for i := range w {
		w[i] = b.weights[i*b.count+o]
	}
	return w
}

// picture draws the weights of unit o for pixels, whose normalisation is part of them: a
// channel that varies little is weighted more.
func (b *filterBank) picture(o int, norm dataset.Normalizer) image.Image {
	w, s := b.unit(o), b.shape
	if b.edges {
		w, s = throughSobel(w, s)
	} else if len(norm.Std) == s.C {
		for i := range w {
			w[i] /= norm.Std[i%s.C]
		}
	}
	return signed(w, s)
}

// signed draws numbers of both signs: mid-grey is 0, and the largest of those that are
// shown is black or white, or full colour. Of two channels the first is shown, of more
// than three the first three, as in thumbnails.
func signed(w []float32, s dataset.Shape) image.Image {
	channels := 1
	if s.C >= 3 {
		channels = 3
	}
	var largest float64
	for i, v := range w {
		if i%s.C < channels {
			largest = max(largest, math.Abs(float64(v)))
		}
	}
	level := func(pixel, channel int) uint8 {
		if largest == 0 {
			return 128
		}
		return uint8(math.Round(127.5 + 127.5*float64(w[pixel*s.C+channel])/largest))
	}
	img := image.NewRGBA(image.Rect(0, 0, s.W, s.H))
	for p := range s.H * s.W {
		c := color.RGBA{level(p, 0), level(p, 0), level(p, 0), 255}
		if channels == 3 {
			c.G, c.B = level(p, 1), level(p, 2)
		}
		img.SetRGBA(p%s.W, p/s.W, c)
	}
	return img
}

// throughSobel returns the filter of grey pixels that a Sobel filter and then w make
// together, two pixels higher and wider: their full convolution, as both see a window
// around each pixel.
func throughSobel(w []float32, s dataset.Shape) ([]float32, dataset.Shape) {
	across, along := [3]float32{1, 0, -1}, [3]float32{1, 2, 1} // as package encoder has them
	out := dataset.Shape{H: s.H + 2, W: s.W + 2, C: 1}
	sum := make([]float32, out.Size())
	for p := range s.H * s.W {
		horizontal, vertical := w[p*s.C], w[p*s.C+1]
		for y := range 3 {
			for x := range 3 {
				sum[(p/s.W+y)*out.W+p%s.W+x] += horizontal*across[x]*along[y] + vertical*across[y]*along[x]
			}
		}
	}
	return sum, out
}

// medianCosine compares the units of two banks of one shape.
func (b *filterBank) medianCosine(other filterBank) float64 {
	cosines := make([]float64, b.count)
	for o := range cosines {
		var product, square, square2 float64
		v, w := b.unit(o), other.unit(o)
		for i := range v {
			product += float64(v[i]) * float64(w[i])
			square += float64(v[i]) * float64(v[i])
			square2 += float64(w[i]) * float64(w[i])
		}
		cosines[o] = product / max(math.Sqrt(square*square2), math.SmallestNonzeroFloat64)
	}
	slices.Sort(cosines)
	return (cosines[(b.count-1)/2] + cosines[b.count/2]) / 2
}
