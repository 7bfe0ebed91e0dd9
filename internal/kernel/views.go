package kernel

// Lerp writes a + f (b - a) over the length of dst. Every tier gives the same bits.
func Lerp(dst, a, b []float32, f float32) {
	n := active.whole(len(dst))
	a, b = a[:len(dst)], b[:len(dst)]
	active.lerp(dst[:n], a[:n], b[:n], f)
	lerpGeneric(dst[n:], a[n:], b[n:], f)
}

func lerpGeneric(dst, a, b []float32, f float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i, v := range a {
		dst[i] = v + float32(f*(b[i]-v)) // the conversion forbids to fuse
	}
}

const (
	tintPeriod = 48 // channels repeat after three vectors of any tier
	tintPad    = 2
)

// Rows of a Tint's table.
const (
	tintOffset = 5 + iota
	tintMean
	tintScale
	tintRows
)

// Tint is a change of the colours of an image of one or three channels: a matrix
// and an offset in the space of colours, clipping, and the normalisation
//
//	y = (min(max(M x + offset, lo), hi) - mean) scale
//
// of every pixel. The zero value becomes one by Normalize and Change.
type Tint struct {
	channels int
	lo, hi   float32
	// What is multiplied with the values from two before to two after, then
	// offset, mean and scale: every row repeats its three values.
	table [tintRows * tintPeriod]float32
}

// TintPad is how many values an image needs before and after it for Apply. They
// are read and do not count, but must be finite.
const TintPad = tintPad

// Normalize sets mean and scale of the channels, of which there are one or three.
func (t *Tint) Normalize(mean, scale []float32) {
	if len(mean) != len(scale) || len(mean) != 1 && len(mean) != 3 {
		panic("kernel: Tint is for one channel or three")
	}
	t.channels = len(mean)
	t.setRow(tintMean, mean)
	t.setRow(tintScale, scale)
}

// Change sets the matrix, row-major (of one channel: m[0]), the offset of every
// channel, and the limits.
func (t *Tint) Change(m *[9]float32, offset [3]float32, lo, hi float32) {
	t.lo, t.hi = lo, hi
	t.setRow(tintOffset, offset[:t.channels])
	for k := range 2*tintPad + 1 {
		var w [3]float32
		for c := range t.channels {
			if from := c + k - tintPad; from >= 0 && from < t.channels {
				w[c] = m[3*c+from]
			}
		}
		t.setRow(k, w[:t.channels])
	}
}

func (t *Tint) setRow(k int, v []float32) {
	row := t.table[k*tintPeriod : (k+1)*tintPeriod]
	row[0], row[1], row[2] = v[0], v[len(v)/2], v[len(v)-1]
	for n := 3; n < tintPeriod; n *= 2 {
		copy(row[n:], row[:n])
	}
}

// Apply writes the changed image x to dst, which is shorter by 2 TintPad than x:
// pixel values follow each other, channels last.
func (t *Tint) Apply(dst, x []float32) {
	need(x, len(dst)+2*tintPad)
	n := len(dst) - len(dst)%(3*active.lanes)
	active.tint(dst[:n], x[:n+2*tintPad], t.table[:], t.lo, t.hi)
	tintGeneric(dst[n:], x[n:], t.table[:], t.lo, t.hi)
}

// tintGeneric begins at the first channel.
func tintGeneric(dst, x, table []float32, lo, hi float32) {
	for c := range min(3, len(dst)) {
		var row [tintRows]float32
		for k := range row {
			row[k] = table[k*tintPeriod+c]
		}
		for i := c; i < len(dst); i += 3 {
			v := x[i : i+2*tintPad+1]
			y := row[0]*v[0] + row[1]*v[1] + row[2]*v[2] + row[3]*v[3] + row[4]*v[4] + row[tintOffset]
			dst[i] = (min(max(y, lo), hi) - row[tintMean]) * row[tintScale]
		}
	}
}
