package dataset

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"image/jpeg"
	"testing"
)

// exifSegment makes an APP1 segment whose first directory holds some other tag
// and the orientation.
func exifSegment(order binary.AppendByteOrder, orientation uint16) []byte {
	body := append([]byte("Exif\x00\x00"), tiffHeader(order, orientation)...)
	seg := []byte{0xff, 0xe1}
	seg = binary.BigEndian.AppendUint16(seg, uint16(len(body)+2))
	return append(seg, body...)
}

func tiffHeader(order binary.AppendByteOrder, orientation uint16) []byte {
	b := []byte("II*\x00")
	if order == binary.AppendByteOrder(binary.BigEndian) {
		b = []byte("MM\x00*")
	}
	b = order.AppendUint32(b, 8)
	b = order.AppendUint16(b, 2)
	for _, e := range [][2]uint16{{0x0103, 6}, {0x0112, orientation}} {
		b = order.AppendUint16(b, e[0])
		b = order.AppendUint16(b, 3)
		b = order.AppendUint32(b, 1)
		b = order.AppendUint16(b, e[1])
		b = order.AppendUint16(b, 0)
	}
	return order.AppendUint32(b, 0)
}

// withSegment inserts a segment right after the start of a JPEG.
func withSegment(jpg, segment []byte) []byte {
	return append(append(append([]byte{}, jpg[:2]...), segment...), jpg[2:]...)
}

// quadrants is a grey image of 32x16 whose corners have the brightnesses 0 (top
// left), 80 (top right), 160 (bottom left) and 240 (bottom right).
func quadrants() *image.Gray {
	m := image.NewGray(image.Rect(0, 0, 32, 16))
	for y := range 16 {
		for x := range 32 {
			m.SetGray(x, y, color.Gray{uint8(160*(y/8) + 80*(x/16))})
		}
	}
	return m
}

func jpegBytes(t testing.TB, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 95}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// The corners, read as top left, top right, bottom left, bottom right, of the
// upright image for each orientation: what the EXIF standard says row 0 and
// column 0 of the stored image are.
var uprightCorners = [9][4]int{
	1: {0, 80, 160, 240}, 2: {80, 0, 240, 160}, 3: {240, 160, 80, 0}, 4: {160, 240, 0, 80},
	5: {0, 160, 80, 240}, 6: {160, 0, 240, 80}, 7: {240, 80, 160, 0}, 8: {80, 240, 0, 160},
}

func TestEXIFOrientations(t *testing.T) {
	plain := jpegBytes(t, quadrants())
	for o := 1; o <= 8; o++ {
		for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
			b := withSegment(plain, exifSegment(order, uint16(o)))
			head, err := readHeader(b)
			if err != nil {
				t.Fatal(err)
			}
			h, w := head.upright()
			if turned := o >= 5; turned != (h == 32) || h*w != 512 {
				t.Errorf("orientation %d: upright %d x %d", o, w, h)
			}
			p, err := (&decoder{}).decode(b, &head, h, w)
			if err != nil {
				t.Fatal(err)
			}
			for k, want := range uprightCorners[o] {
				y, x := k/2*(h-1), k%2*(w-1)
				if got := int(p.pix[y*w+x]); got < want-3 || got > want+3 {
					t.Errorf("orientation %d: corner %d is %d, want %d", o, k, got, want)
				}
			}
		}
	}
}

func TestEXIFDamagedIsUpright(t *testing.T) {
	plain := jpegBytes(t, quadrants())
	segment := exifSegment(binary.LittleEndian, 6)
	for n := range segment {
		if got := readJPEGInfo(withSegment(plain, segment)[:2+n]).orientation; got != 1 {
			t.Errorf("cut after %d bytes of EXIF: orientation %d", n, got)
		}
	}
	for _, o := range []uint16{0, 9, 0xffff} {
		if got := readJPEGInfo(withSegment(plain, exifSegment(binary.BigEndian, o))).orientation; got != 1 {
			t.Errorf("orientation %d is read as %d", o, got)
		}
	}
	far := bytes.Clone(segment)
	binary.LittleEndian.PutUint32(far[14:], 0xfffffff0) // directory beyond the end
	if got := readJPEGInfo(withSegment(plain, far)).orientation; got != 1 {
		t.Errorf("directory out of range: orientation %d", got)
	}
}

func FuzzEXIF(f *testing.F) {
	f.Add(withSegment(jpegBytes(f, quadrants()), exifSegment(binary.LittleEndian, 6)))
	f.Add(append([]byte{0xff, 0xd8, 0xff, 0xff, 0x01}, exifSegment(binary.BigEndian, 8)...))
	f.Add(tiffHeader(binary.LittleEndian, 3))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, o := range []int{readJPEGInfo(b).orientation, tiffOrientation(b)} {
			if o < 1 || o > 8 {
				t.Fatalf("orientation %d", o)
			}
		}
	})
}
