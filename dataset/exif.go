package dataset

import (
	"bytes"
	"encoding/binary"
)

// jpegInfo is what the headers of a JPEG say beyond its size.
type jpegInfo struct {
	orientation int  // 1 to 8, as in EXIF; 1 = upright
	progressive bool // decoding keeps all coefficients in memory
}

// readJPEGInfo walks over the segments of a JPEG up to its image data. Whatever is
// damaged counts as absent: the decoder is the judge of the file.
func readJPEGInfo(b []byte) jpegInfo {
	info := jpegInfo{orientation: 1}
	for at := 2; at+4 <= len(b) && b[at] == 0xff; {
		marker := b[at+1]
		if marker == 0xff { // fill byte
			at++
			continue
		}
		if marker == 0xd8 || marker == 0x01 || marker >= 0xd0 && marker <= 0xd7 { // without a length
			at += 2
			continue
		}
		size := int(binary.BigEndian.Uint16(b[at+2:]))
		if marker == 0xda || marker == 0xd9 || size < 2 || at+2+size > len(b) { // image data, end
			break
		}
		body := b[at+4 : at+2+size]
		switch {
		case marker == 0xc2:
			info.progressive = true
		case marker == 0xe1 && bytes.HasPrefix(body, []byte("Exif\x00\x00")):
			info.orientation = tiffOrientation(body[6:])
		}
		at += 2 + size
	}
	return info
}

// tiffOrientation returns the orientation tag (0x0112) of the first directory of
// a TIFF structure, which is also how EXIF is laid out; 1 if there is none.
func tiffOrientation(b []byte) int {
	if len(b) < 8 {
		return 1
	}
	var order binary.ByteOrder = binary.LittleEndian
	switch string(b[:4]) {
	case "II*\x00":
	case "MM\x00*":
		order = binary.BigEndian
	default:
		return 1
	}
	start := int64(order.Uint32(b[4:]))
	if start+2 > int64(len(b)) {
		return 1
	}
	entries := b[start+2:]
	for n := order.Uint16(b[start:]); n > 0 && len(entries) >= 12; n-- {
		// tag, type (3 = 16 bits), count, value in the first bytes of the field
		if order.Uint16(entries) == 0x0112 && order.Uint16(entries[2:]) == 3 {
			if o := int(order.Uint16(entries[8:])); o >= 1 && o <= 8 {
				return o
			}
			return 1
		}
		entries = entries[12:]
	}
	return 1
}

// turned reports whether an orientation exchanges height and width.
func turned(orientation int) bool { return orientation >= 5 }

// orient returns the pixels of an h x w image turned upright.
func orient(pix []byte, h, w, c, orientation int) []byte {
	if orientation <= 1 {
		return pix
	}
	out := make([]byte, len(pix))
	oh, ow := h, w
	if turned(orientation) {
		oh, ow = w, h
	}
	for y := range oh {
		for x := range ow {
			sy, sx := y, x
			if turned(orientation) {
				sy, sx = x, y
			}
			switch orientation { // which stored row or column comes first
			case 2, 7, 3, 8:
				sx = w - 1 - sx
			}
			switch orientation {
			case 3, 4, 6, 7:
				sy = h - 1 - sy
			}
			copy(out[(y*ow+x)*c:][:c], pix[(sy*w+sx)*c:])
		}
	}
	return out
}
