package nat

import (
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/image/draw"
	"golang.org/x/image/font"
	"golang.org/x/image/font/basicfont"
	"golang.org/x/image/math/fixed"
)

// PictureNames are the files that [ReportOptions].Pictures makes, as far as a run has what
// they show: neighbours of some rows, filters of the first layer, and what a decoder restores.
func PictureNames() []string { return []string{"neighbours.png", "filters.png", "restored.png"} }

// writePictures writes the pictures of a report into dir, which it makes if need be, and
// returns their paths.
func writePictures(dir string, d *ReportData) (paths []string, err error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	names := PictureNames()
	for i, img := range []image.Image{nearestSheet(d.Nearest), filterSheet(d.Filters), restoredSheet(d.Restored)} {
		if img == nil {
			continue
		}
		path := filepath.Join(dir, names[i])
		_, err := replaceFile(disk{}, path, func(w io.Writer) error {
			return (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(w, img)
		})
		if err != nil {
			return paths, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// Measures of a sheet, pixels.
const (
	sheetCell   = 64 // longest side of an image
	sheetFrame  = 3  // around an image that has one
	sheetPitch  = sheetCell + 2*sheetFrame + 6
	sheetMargin = 10
	sheetGap    = 22 // between blocks of images
	sheetLine   = 20 // of text
)

// Colours of a sheet. Blue and orange differ for all kinds of colour vision.
var (
	sheetInk    = color.RGBA{0x5d, 0x66, 0x72, 255}
	sheetFrames = map[string]color.RGBA{"same": {0x3f, 0x74, 0xd8, 255}, "other": {0xea, 0x7a, 0x2a, 255}}
)

// sheet is a picture with images, frames and words on white.
type sheet struct{ *image.RGBA }

func newSheet(w, h int) sheet {
	s := sheet{image.NewRGBA(image.Rect(0, 0, w, h))}
	draw.Draw(s, s.Rect, image.White, image.Point{}, draw.Src)
	return s
}

// write puts words with their upper left corner at x, y.
func (s sheet) write(x, y int, words string) {
	d := font.Drawer{Dst: s, Src: image.NewUniform(sheetInk), Face: basicfont.Face7x13, Dot: fixed.P(x, y+basicfont.Face7x13.Ascent)}
	d.DrawString(words)
}

// put draws an image in the middle of a cell whose upper left corner is at x, y, with a
// frame, unless kind is neither same nor other.
func (s sheet) put(img image.Image, x, y int, kind string) {
	img = enlarge(img, sheetCell)
	size := img.Bounds().Size()
	corner := image.Pt(x+(sheetPitch-size.X)/2, y+(sheetPitch-size.Y)/2)
	at := image.Rectangle{corner, corner.Add(size)}
	if c, ok := sheetFrames[kind]; ok {
		draw.Draw(s, at.Inset(-sheetFrame), image.NewUniform(c), image.Point{}, draw.Src)
	}
	draw.Draw(s, at, img, img.Bounds().Min, draw.Over)
}

// enlarge brings the longest side of an image near to side: by a whole factor, pixels
// becoming squares, or down.
func enlarge(img image.Image, side int) image.Image {
	b := img.Bounds()
	factor := side / max(1, b.Dx(), b.Dy())
	switch {
	case factor == 0:
		return shrink(img, side)
	case factor == 1:
		return img
	}
	out := image.NewRGBA(image.Rect(0, 0, factor*b.Dx(), factor*b.Dy()))
	draw.NearestNeighbor.Scale(out, out.Rect, img, b, draw.Src, nil)
	return out
}

// nearestSheet has a line for each query: its image, what embeddings find, what pixels
// find. It is nil without images.
func nearestSheet(n *ReportNearest) image.Image {
	if n == nil || n.Groups[0].Query.Image == nil {
		return nil
	}
	k := len(n.Groups[0].Found)
	block := k*sheetPitch + sheetGap
	first := sheetMargin + sheetPitch + sheetGap
	s := newSheet(first+2*block-sheetGap+sheetMargin, 2*sheetMargin+sheetLine+len(n.Groups)*sheetPitch)
	s.write(sheetMargin+sheetFrame, sheetMargin, "query")
	for i, g := range n.Groups {
		y := sheetMargin + sheetLine + i*sheetPitch
		s.put(g.Query.Image, sheetMargin, y, "")
		for b, strip := range g.strips() {
			x := first + b*block
			if i == 0 {
				s.write(x+sheetFrame, sheetMargin, nearestTitle(n, strip.name, b))
			}
			for j, it := range strip.items {
				s.put(it.Image, x+j*sheetPitch, y, kinship(it, g.Query))
			}
		}
	}
	return s
}

// nearestTitle says what a block of neighbours is, and, with labels, how many of all of
// them have the class of their query.
func nearestTitle(n *ReportNearest, name string, block int) string {
	title := "nearest by " + name
	var same, labelled int
	for i := range n.Groups {
		s, l := sameClass(n.Groups[i].Query, n.Groups[i].strips()[block].items)
		same, labelled = same+s, labelled+l
	}
	if labelled > 0 {
		title += fmt.Sprintf(": %d of %d of the query's class", same, labelled)
	}
	return title
}

// filterSheet has the filters after training and before it side by side.
func filterSheet(f *ReportFilters) image.Image {
	if f == nil {
		return nil
	}
	banks := f.banks()
	left, right := tile(banks[0].images), tile(banks[1].images)
	size := left.Bounds().Size()
	s := newSheet(2*size.X+sheetGap+2*sheetMargin, size.Y+sheetLine+2*sheetMargin)
	for i, img := range []image.Image{left, right} {
		x := sheetMargin + i*(size.X+sheetGap)
		s.write(x, sheetMargin, f.Layer+" "+banks[i].name)
		corner := image.Pt(x, sheetMargin+sheetLine)
		draw.Draw(s, image.Rectangle{corner, corner.Add(size)}, img, image.Point{}, draw.Over)
	}
	return s
}

// restoredSheet has the originals in a line, and below each what the decoder restores.
func restoredSheet(r *ReportRestored) image.Image {
	if r == nil {
		return nil
	}
	const names = 70 // width of the words
	s := newSheet(2*sheetMargin+names+len(r.Pairs)*sheetPitch, 2*sheetMargin+2*sheetPitch)
	for line, name := range []string{"original", "restored"} {
		y := sheetMargin + line*sheetPitch
		s.write(sheetMargin, y+(sheetPitch-basicfont.Face7x13.Height)/2, name)
		for i, p := range r.Pairs {
			s.put([]image.Image{p.Original.Image, p.Restored.Image}[line], sheetMargin+names+i*sheetPitch, y, "")
		}
	}
	return s
}

// tile puts images of one size beside each other, eight or twelve in a row, on a
// transparent ground.
func tile(images []image.Image) image.Image {
	columns, side, gap := 8, 48, 4
	if len(images) > 64 {
		columns = 12
	}
	if b := images[0].Bounds(); max(b.Dx(), b.Dy()) > 16 {
		side = sheetCell
	}
	columns = min(columns, len(images))
	size := enlarge(images[0], side).Bounds().Size()
	rows := (len(images) + columns - 1) / columns
	out := image.NewRGBA(image.Rect(0, 0, columns*(size.X+gap)-gap, rows*(size.Y+gap)-gap))
	for i, img := range images {
		corner := image.Pt(i%columns*(size.X+gap), i/columns*(size.Y+gap))
		draw.Draw(out, image.Rectangle{corner, corner.Add(size)}, enlarge(img, side), image.Point{}, draw.Src)
	}
	return out
}
