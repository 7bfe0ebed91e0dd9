package dataset

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/png"
	"math"
	"strings"
	"testing"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
)

// photo is a smooth colour image with some transparency if a < 255.
func photo(w, h int, a uint8) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.SetNRGBA(x, y, color.NRGBA{uint8(40 + 170*x/w), uint8(200 * y / h), uint8(90 + 100*(x+y)/(w+h)), a})
		}
	}
	return m
}

func pngBytes(t testing.TB, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestSpeed}).Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// encoded makes the same picture in every format that can be written.
func encoded(t testing.TB, m *image.NRGBA) map[string][]byte {
	t.Helper()
	out := map[string][]byte{"png": pngBytes(t, m), "jpg": jpegBytes(t, m)}
	for name, encode := range map[string]func(*bytes.Buffer) error{
		"gif":     func(b *bytes.Buffer) error { return gif.Encode(b, m, nil) },
		"bmp":     func(b *bytes.Buffer) error { return bmp.Encode(b, m) },
		"tiff":    func(b *bytes.Buffer) error { return tiff.Encode(b, m, nil) },
		"deflate": func(b *bytes.Buffer) error { return tiff.Encode(b, m, &tiff.Options{Compression: tiff.Deflate}) },
	} {
		var b bytes.Buffer
		if err := encode(&b); err != nil {
			t.Fatal(err)
		}
		out[name] = b.Bytes()
	}
	return out
}

func decodeTo(t testing.TB, b []byte, h, w int) picture {
	t.Helper()
	head, err := readHeader(b)
	if err != nil {
		t.Fatal(err)
	}
	p, err := (&decoder{}).decode(b, &head, h, w)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestFormatsAgree(t *testing.T) {
	m := photo(48, 40, 255)
	want := decodeTo(t, pngBytes(t, m), 20, 24)
	for name, b := range encoded(t, m) {
		got := decodeTo(t, b, 20, 24)
		tolerance := map[string]float64{"jpg": 8, "gif": 30}[name] // lossy, 256 colours
		for i := range want.pix {
			if d := math.Abs(float64(got.pix[i]) - float64(want.pix[i])); got.c != 3 || d > tolerance {
				t.Fatalf("%s: value %d of %d channels is %d, want %d", name, i, got.c, got.pix[i], want.pix[i])
			}
		}
	}
}

// The pixel types that decoders return, each against image.Image.At over white.
func TestPixelTypes(t *testing.T) {
	const w, h = 5, 3
	bounds := image.Rect(0, 0, w, h)
	palette := color.Palette{color.NRGBA{10, 20, 30, 255}, color.NRGBA{200, 100, 50, 128}, color.NRGBA{0, 0, 0, 0}}
	paletted := image.NewPaletted(image.Rect(2, 1, 2+w, 1+h), palette)
	for i := range paletted.Pix {
		paletted.Pix[i] = uint8(i % 3)
	}
	alpha := image.NewNYCbCrA(bounds, image.YCbCrSubsampleRatio420)
	for _, p := range [][]byte{alpha.Y, alpha.Cb, alpha.Cr, alpha.A} {
		copy(p, noise(len(p), uint32(len(p))))
	}
	images := map[string]image.Image{
		"paletted": paletted, "nycbcra": alpha,
		"gray": image.NewGray(bounds), "gray16": image.NewGray16(bounds), "rgba": image.NewRGBA(bounds), "nrgba": image.NewNRGBA(bounds),
		"rgba64": image.NewRGBA64(bounds), "nrgba64": image.NewNRGBA64(bounds), "cmyk": image.NewCMYK(bounds), "alpha": image.NewAlpha(bounds),
	}
	for ratio := image.YCbCrSubsampleRatio444; ratio <= image.YCbCrSubsampleRatio410; ratio++ {
		m := image.NewYCbCr(image.Rect(3, 2, 3+w, 2+h), ratio)
		for _, p := range [][]byte{m.Y, m.Cb, m.Cr} {
			copy(p, noise(len(p), uint32(len(p))))
		}
		images[ratio.String()] = m
	}
	seed := noise(w*h*4, 5)
	for name, m := range images {
		if d, ok := m.(interface{ Set(x, y int, c color.Color) }); ok && name != "paletted" {
			for i := range w * h {
				d.Set(i%w, i/w, color.NRGBA{seed[4*i], seed[4*i+1], seed[4*i+2], seed[4*i+3]})
			}
		}
		rows := pixelRows(m)
		line, want := make([]float32, rows.c*w), make([]float32, 3)
		for y := range h {
			rows.read(line, y)
			for x := range w {
				setColour(want, m.At(m.Bounds().Min.X+x, m.Bounds().Min.Y+y))
				for k := range rows.c {
					if d := line[x*rows.c+k] - want[k]; d > 1.01 || d < -1.01 {
						t.Errorf("%s: pixel %d,%d channel %d is %v, want %v", name, x, y, k, line[x*rows.c+k], want[k])
					}
				}
			}
		}
	}
}

// tinyJPEG makes an 8x8 JPEG by hand whose blocks have only a first coefficient,
// which the standard encoder does not write: progressive, or of four components.
func tinyJPEG(t testing.TB, components int, progressive bool) []byte {
	gray := jpegBytes(t, image.NewGray(image.Rect(0, 0, 8, 8)))
	b := []byte{0xff, 0xd8}
	for at := 2; gray[at+1] != 0xda; { // keep the tables of the standard encoder
		size := 2 + int(binary.BigEndian.Uint16(gray[at+2:]))
		if marker := gray[at+1]; marker == 0xdb || marker == 0xc4 {
			b = append(b, gray[at:at+size]...)
		}
		at += size
	}
	if components == 4 { // Adobe: CMYK stored inverted
		b = append(b, 0xff, 0xee, 0, 14, 'A', 'd', 'o', 'b', 'e', 0, 100, 0, 0, 0, 0, 0)
	}
	frame := byte(0xc0)
	if progressive {
		frame = 0xc2
	}
	b = append(b, 0xff, frame, 0, byte(8+3*components), 8, 0, 8, 0, 8, byte(components))
	for i := range components {
		b = append(b, byte(i+1), 0x11, 0)
	}
	b = append(b, 0xff, 0xda, 0, byte(6+2*components), byte(components))
	for i := range components {
		b = append(b, byte(i+1), 0)
	}
	last := byte(63)
	if progressive {
		last = 0
	}
	b = append(b, 0, last, 0)
	// Standard luminance tables: difference 0 is 00, end of block 1010.
	switch {
	case progressive:
		b = append(b, 0x3f)
	case components == 4:
		b = append(b, 0b00101000, 0b10100010, 0b10001010)
	}
	return append(b, 0xff, 0xd9)
}

func TestRareImages(t *testing.T) {
	wide16 := image.NewNRGBA64(image.Rect(0, 0, 8, 8))
	for i := range 64 {
		wide16.SetNRGBA64(i%8, i/8, color.NRGBA64{0x1234, 0xabcd, 0x8000, 0xffff})
	}
	interlaced := pngBytes(t, photo(8, 8, 128))
	webp, _ := base64.StdEncoding.DecodeString("UklGRhoAAABXRUJQVlA4TA0AAAAvAAAAEAcQERGIiP4HAA==")
	for _, c := range []struct {
		name string
		data []byte
		c    int
		want []byte // first pixel; nil = any
	}{
		{"progressive JPEG", tinyJPEG(t, 1, true), 1, []byte{128}},
		{"CMYK JPEG", tinyJPEG(t, 4, false), 1, []byte{64}},
		{"16 bits", pngBytes(t, wide16), 3, []byte{0x12, 0xab, 0x80}},
		{"transparent", interlaced, 3, nil},
		{"lossless WebP", webp, 0, nil},
		{"colour image of grey pixels", pngBytes(t, image.NewNRGBA(image.Rect(0, 0, 9, 9))), 1, []byte{255}},
	} {
		p := decodeTo(t, c.data, 8, 8)
		if c.c != 0 && p.c != c.c {
			t.Errorf("%s: %d channels, want %d", c.name, p.c, c.c)
		}
		for k, v := range c.want {
			if d := int(p.pix[k]) - int(v); d < -1 || d > 1 {
				t.Errorf("%s: first pixel %v, want %v", c.name, p.pix[:p.c], c.want)
			}
		}
	}
	head, err := readHeader(tinyJPEG(t, 1, true))
	if err != nil || head.cost < 64*12 {
		t.Errorf("a progressive JPEG is estimated at %d bytes (%v)", head.cost, err)
	}
}

// bombPNG promises a size but holds next to nothing.
func bombPNG(w, h uint32) []byte {
	b := []byte("\x89PNG\r\n\x1a\n")
	chunk := func(kind string, data []byte) {
		b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
		body := append([]byte(kind), data...)
		b = append(b, body...)
		b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(body))
	}
	ihdr := binary.BigEndian.AppendUint32(nil, w)
	ihdr = binary.BigEndian.AppendUint32(ihdr, h)
	chunk("IHDR", append(ihdr, 8, 0, 0, 0, 0))
	chunk("IDAT", []byte{0x78, 0x9c, 0x03, 0, 0, 0, 0, 1})
	chunk("IEND", nil)
	return b
}

func TestHopelessImages(t *testing.T) {
	whole := jpegBytes(t, photo(40, 40, 255))
	for _, c := range []struct {
		name, want string
		data       []byte
	}{
		{"empty", "empty file", nil},
		{"text", "not an image", []byte("this is a text file called .jpg")},
		{"bomb", "400 megapixels", bombPNG(20000, 20000)},
		{"bomb 2", "damaged PNG", bombPNG(1<<31-1, 1<<31-1)},
		{"no height", "PNG", bombPNG(5, 0)},
		{"cut off", "damaged JPEG", whole[:len(whole)/2]},
		{"header only", "damaged PNG", []byte("\x89PNG\r\n\x1a\n")},
		{"nothing inside", "damaged PNG", bombPNG(10, 10)},
		{"bitmap", "damaged BMP", []byte("BM not a bitmap at all")},
		{"TIFF", "damaged TIFF", []byte("II*\x00\xff\xff\xff\xff")},
	} {
		head, err := readHeader(c.data)
		if err == nil {
			_, err = (&decoder{}).decode(c.data, &head, 8, 8)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
}

func TestPanicsAreContained(t *testing.T) {
	head := header{format: &imageFormat{name: "odd"}, h: 1, w: 1} // no decode function: a nil call
	if _, err := (&decoder{}).decode([]byte{1}, &head, 1, 1); err == nil || !strings.Contains(err.Error(), "decoder failed") {
		t.Errorf("error %v", err)
	}
}

// FuzzImage runs whatever looks like an image through header, decoder and resizing.
func FuzzImage(f *testing.F) {
	for _, b := range encoded(f, photo(12, 9, 200)) {
		f.Add(b)
	}
	f.Add(tinyJPEG(f, 1, true))
	f.Add(tinyJPEG(f, 4, false))
	f.Add(withSegment(jpegBytes(f, quadrants()), exifSegment(binary.LittleEndian, 6)))
	f.Add(bombPNG(20000, 20000))
	f.Fuzz(func(t *testing.T, b []byte) {
		head, err := readHeader(b)
		if err != nil || head.h*head.w > 1<<20 {
			return
		}
		p, err := (&decoder{}).decode(b, &head, 7, 5)
		if err == nil && len(p.pix) != 7*5*p.c {
			t.Fatalf("%d bytes for 7 x 5 of %d channels", len(p.pix), p.c)
		}
	})
}
