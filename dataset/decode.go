package dataset

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"sync"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
	"golang.org/x/image/webp"
)

const (
	maxPixels    = 50_000_000 // images larger than this are refused before they are decoded
	maxFileBytes = 256 << 20  // and so are files
	bigFile      = 8 << 20    // files from this size on are read one at a time
	decodeBudget = 192 << 20  // memory that images being decoded may take together
)

// imageFormat is a decoder and how its files begin; '?' stands for any byte.
type imageFormat struct {
	name, magic string
	config      func(io.Reader) (image.Config, error)
	decode      func(io.Reader) (image.Image, error)
}

var imageFormats = []imageFormat{
	{"PNG", "\x89PNG\r\n\x1a\n", png.DecodeConfig, png.Decode},
	{"JPEG", "\xff\xd8", jpeg.DecodeConfig, jpeg.Decode},
	{"GIF", "GIF8?a", gif.DecodeConfig, gif.Decode},
	{"BMP", "BM", bmp.DecodeConfig, bmp.Decode},
	{"TIFF", "II*\x00", tiff.DecodeConfig, tiff.Decode},
	{"TIFF", "MM\x00*", tiff.DecodeConfig, tiff.Decode},
	{"WebP", "RIFF????WEBP", webp.DecodeConfig, webp.Decode},
}

// sniff recognises a file by its first bytes.
func sniff(b []byte) *imageFormat {
	for i := range imageFormats {
		magic := imageFormats[i].magic
		match := len(b) >= len(magic)
		for k := 0; match && k < len(magic); k++ {
			match = magic[k] == '?' || magic[k] == b[k]
		}
		if match {
			return &imageFormats[i]
		}
	}
	return nil
}

// header is what is known of an image before it is decoded.
type header struct {
	format      *imageFormat
	h, w        int // as stored
	orientation int
	cost        int64 // estimate of the memory decoding takes, in bytes
}

// readHeader recognises an image and checks its size.
func readHeader(b []byte) (head header, err error) {
	defer contain(&err)
	if len(b) == 0 {
		return head, fmt.Errorf("empty file (0 bytes)")
	}
	head.format = sniff(b)
	if head.format == nil {
		return head, fmt.Errorf("not an image that can be read: begins with %q", b[:min(12, len(b))])
	}
	cfg, err := head.format.config(bytes.NewReader(b))
	if err != nil {
		return head, fmt.Errorf("damaged %s: %w", head.format.name, err)
	}
	head.h, head.w, head.orientation = cfg.Height, cfg.Width, 1
	if min(head.h, head.w) < 1 {
		return head, fmt.Errorf("%s of %d x %d pixels", head.format.name, head.w, head.h)
	}
	pixels := int64(head.h) * int64(head.w)
	if head.h > maxPixels || head.w > maxPixels || pixels > maxPixels {
		return head, fmt.Errorf("%s of %d x %d = %d megapixels, more than the %d allowed", head.format.name, head.w, head.h, pixels/1_000_000, maxPixels/1_000_000)
	}
	perPixel := int64(4)
	switch cfg.ColorModel {
	case color.RGBA64Model, color.NRGBA64Model:
		perPixel = 8
	}
	switch head.format.name {
	case "JPEG":
		info := readJPEGInfo(b)
		head.orientation = info.orientation
		if info.progressive {
			perPixel += 12 // three components of 32-bit coefficients
		}
	case "TIFF":
		head.orientation = tiffOrientation(b)
		perPixel *= 2 // strips are unpacked before pixels are made of them
	}
	head.cost = pixels * perPixel
	return head, nil
}

// upright returns the size of the image once turned upright.
func (h *header) upright() (height, width int) {
	if turned(h.orientation) {
		return h.w, h.h
	}
	return h.h, h.w
}

// contain turns a panic of a decoder into an error of its file.
func contain(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("the decoder failed on this file: %v", p)
	}
}

// picture is a decoded, cut and resized image: rows of pixels of 1 or 3 bytes.
type picture struct {
	pix []byte
	c   int
}

// decoder reads image files, one at a time, reusing its buffers.
type decoder struct {
	file []byte
	line []float32
	out  []float32
}

// readFile reads a file into the reused buffer, which the result shares.
func (d *decoder) readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	size := info.Size()
	switch {
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("not a regular file any more")
	case size > maxFileBytes:
		return nil, fmt.Errorf("file of %d bytes, more than the %d allowed", size, maxFileBytes)
	}
	if int64(cap(d.file)) < size {
		d.file = make([]byte, size+size/4)
	}
	b := d.file[:size]
	if cap(d.file) > bigFile {
		d.file = nil // do not hold on to it
	}
	n, err := io.ReadFull(f, b)
	if err != nil {
		return nil, fmt.Errorf("read %d of %d bytes: %w", n, size, noEOF(err))
	}
	return b, nil
}

// decode decodes an image and makes it h x w pixels, upright.
func (d *decoder) decode(b []byte, head *header, h, w int) (p picture, err error) {
	defer contain(&err)
	img, err := head.format.decode(bytes.NewReader(b))
	if err != nil {
		return p, fmt.Errorf("damaged %s: %w", head.format.name, err)
	}
	bounds := img.Bounds()
	src := Shape{bounds.Dy(), bounds.Dx(), 3}
	if min(src.H, src.W) < 1 {
		return p, fmt.Errorf("%s without pixels", head.format.name)
	}
	if turned(head.orientation) {
		h, w = w, h
	}
	rows := pixelRows(img)
	src.C = rows.c
	d.line, d.out = room(d.line, src.W*src.C), room(d.out, h*w*src.C)
	if src.H == h && src.W == w {
		for y := range h {
			rows.read(d.out[y*w*src.C:(y+1)*w*src.C], y)
		}
	} else {
		newResizer(src, h, w).run(d.out, func(y int) []float32 {
			rows.read(d.line, y)
			return d.line
		})
	}
	p = picture{pix: make([]byte, len(d.out)), c: src.C}
	for i, v := range d.out {
		p.pix[i] = byte(min(max(v, 0), 255) + .5)
	}
	p.dropColour()
	p.pix = orient(p.pix, h, w, p.c, head.orientation)
	return p, nil
}

// room returns s with length n.
func room(s []float32, n int) []float32 {
	if cap(s) < n {
		return make([]float32, n)
	}
	return s[:n]
}

// dropColour makes a colour image without any colour a grey one.
func (p *picture) dropColour() {
	if p.c != 3 {
		return
	}
	for i := 0; i < len(p.pix); i += 3 {
		if p.pix[i] != p.pix[i+1] || p.pix[i] != p.pix[i+2] {
			return
		}
	}
	grey := make([]byte, len(p.pix)/3)
	for i := range grey {
		grey[i] = p.pix[3*i]
	}
	p.pix, p.c = grey, 1
}

// write converts the picture to c channels in [0,1].
func (p *picture) write(dst []float32, c int) {
	switch {
	case p.c == c:
		for i, v := range p.pix {
			dst[i] = byteScale[v]
		}
	case p.c == 1:
		for i, v := range p.pix {
			x := byteScale[v]
			dst[3*i], dst[3*i+1], dst[3*i+2] = x, x, x
		}
	default:
		for i := range len(p.pix) / 3 {
			dst[i] = lumaR*byteScale[p.pix[3*i]] + lumaG*byteScale[p.pix[3*i+1]] + lumaB*byteScale[p.pix[3*i+2]]
		}
	}
}

// gate bounds the memory that images being decoded take together.
type gate struct {
	mu   sync.Mutex
	cond *sync.Cond
	free int64
	big  sync.Mutex // held while a big file is in memory
}

func newGate() *gate {
	g := &gate{free: decodeBudget}
	g.cond = sync.NewCond(&g.mu)
	return g
}

// enter waits until n bytes are free, or everything is, and returns what leave
// must be given.
func (g *gate) enter(n int64) int64 {
	n = min(n, decodeBudget)
	g.mu.Lock()
	for g.free < n {
		g.cond.Wait()
	}
	g.free -= n
	g.mu.Unlock()
	return n
}

func (g *gate) leave(n int64) {
	g.mu.Lock()
	g.free += n
	g.mu.Unlock()
	g.cond.Broadcast()
}
