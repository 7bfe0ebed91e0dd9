package dataset

import (
	"image"
	"image/color"
)

// rowReader gives the rows of a decoded image, c values from 0 to 255 a pixel.
// Transparent pixels are laid over white.
type rowReader struct {
	c    int
	read func(dst []float32, y int)
}

// pixelRows chooses the reader for the type of the image. Each of the types that
// the decoders return has its own, because image.Image.At costs an allocation a
// pixel.
func pixelRows(img image.Image) rowReader {
	switch m := img.(type) {
	case *image.Gray:
		return rowReader{1, func(dst []float32, y int) {
			for i, v := range m.Pix[y*m.Stride:][:m.Rect.Dx()] {
				dst[i] = float32(v)
			}
		}}
	case *image.Gray16:
		return rowReader{1, func(dst []float32, y int) {
			row := m.Pix[y*m.Stride:]
			for i := range m.Rect.Dx() {
				dst[i] = wide(row[2*i], row[2*i+1])
			}
		}}
	case *image.YCbCr:
		return rowReader{3, func(dst []float32, y int) { readYCbCr(dst, m, y) }}
	case *image.NYCbCrA:
		return rowReader{3, func(dst []float32, y int) {
			readYCbCr(dst, &m.YCbCr, y)
			for i, a := range m.A[y*m.AStride:][:m.Rect.Dx()] {
				overWhite(dst[3*i:3*i+3], float32(a))
			}
		}}
	case *image.NRGBA:
		return packedRows(m.Pix, m.Stride, 4, m.Rect, readNRGBA)
	case *image.RGBA:
		return packedRows(m.Pix, m.Stride, 4, m.Rect, readRGBA)
	case *image.NRGBA64:
		return packedRows(m.Pix, m.Stride, 8, m.Rect, readNRGBA64)
	case *image.RGBA64:
		return packedRows(m.Pix, m.Stride, 8, m.Rect, readRGBA64)
	case *image.CMYK:
		return packedRows(m.Pix, m.Stride, 4, m.Rect, readCMYK)
	case *image.Paletted:
		return palettedRows(m)
	}
	return rowReader{3, func(dst []float32, y int) {
		b := img.Bounds()
		for i := range b.Dx() {
			setColour(dst[3*i:3*i+3], img.At(b.Min.X+i, b.Min.Y+y))
		}
	}}
}

// packedRows reads rows of pixels of size bytes with one function a pixel.
func packedRows(pix []byte, stride, size int, rect image.Rectangle, pixel func(q []float32, p []byte)) rowReader {
	return rowReader{3, func(dst []float32, y int) {
		row := pix[y*stride:]
		for i := range rect.Dx() {
			pixel(dst[3*i:3*i+3], row[size*i:size*i+size])
		}
	}}
}

func readNRGBA(q []float32, p []byte) {
	q[0], q[1], q[2] = float32(p[0]), float32(p[1]), float32(p[2])
	if p[3] != 255 {
		overWhite(q, float32(p[3]))
	}
}

// readRGBA adds the white behind; colours are already multiplied by the opacity.
func readRGBA(q []float32, p []byte) {
	white := float32(255 - p[3])
	q[0], q[1], q[2] = float32(p[0])+white, float32(p[1])+white, float32(p[2])+white
}

func readNRGBA64(q []float32, p []byte) {
	q[0], q[1], q[2] = wide(p[0], p[1]), wide(p[2], p[3]), wide(p[4], p[5])
	overWhite(q, wide(p[6], p[7]))
}

func readRGBA64(q []float32, p []byte) {
	white := 255 - wide(p[6], p[7])
	q[0], q[1], q[2] = wide(p[0], p[1])+white, wide(p[2], p[3])+white, wide(p[4], p[5])+white
}

func readCMYK(q []float32, p []byte) {
	r, g, b := color.CMYKToRGB(p[0], p[1], p[2], p[3])
	q[0], q[1], q[2] = float32(r), float32(g), float32(b)
}

// wide turns a big-endian 16-bit value into one from 0 to 255.
func wide(hi, lo byte) float32 { return float32(uint(hi)<<8|uint(lo)) / 257 }

// overWhite lays a pixel of opacity a (0 to 255) over white.
func overWhite(q []float32, a float32) {
	a /= 255
	for k, v := range q {
		q[k] = v*a + 255*(1-a)
	}
}

// setColour converts any colour, over white.
func setColour(q []float32, c color.Color) {
	r, g, b, a := c.RGBA()
	white := float32(0xffff - a)
	q[0], q[1], q[2] = (float32(r)+white)/257, (float32(g)+white)/257, (float32(b)+white)/257
}

// readYCbCr is what photographs go through, so it finds the rows of luma and
// chroma once instead of asking the image for every pixel.
func readYCbCr(dst []float32, m *image.YCbCr, y int) {
	shift := 0 // columns of luma to one of chroma, as a power of two
	switch m.SubsampleRatio {
	case image.YCbCrSubsampleRatio422, image.YCbCrSubsampleRatio420:
		shift = 1
	case image.YCbCrSubsampleRatio411, image.YCbCrSubsampleRatio410:
		shift = 2
	}
	x0, y0 := m.Rect.Min.X, m.Rect.Min.Y+y
	luma := m.Y[m.YOffset(x0, y0):][:m.Rect.Dx()]
	chroma := m.COffset(x0, y0)
	cb, cr := m.Cb[chroma:], m.Cr[chroma:]
	for i, v := range luma {
		k := (x0+i)>>shift - x0>>shift
		r, g, b := color.YCbCrToRGB(v, cb[k], cr[k])
		q := dst[3*i : 3*i+3]
		q[0], q[1], q[2] = float32(r), float32(g), float32(b)
	}
}

// palettedRows looks colours up once. An index beyond the palette is white.
func palettedRows(m *image.Paletted) rowReader {
	var table [256][3]float32
	for i := range table {
		table[i] = [3]float32{255, 255, 255}
		if i < len(m.Palette) {
			setColour(table[i][:], m.Palette[i])
		}
	}
	return rowReader{3, func(dst []float32, y int) {
		for i, v := range m.Pix[y*m.Stride:][:m.Rect.Dx()] {
			copy(dst[3*i:], table[v][:])
		}
	}}
}
