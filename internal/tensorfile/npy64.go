package tensorfile

import (
	"fmt"
	"math"
)

// Float64s reads the whole array as float64, in C order: f8 as it is, everything else
// without loss but for 64-bit integers beyond 2^53.
func (a *Array) Float64s() ([]float64, error) {
	out := make([]float64, a.rows*a.rowLen)
	if len(out) == 0 {
		return out, nil
	}
	var err error
	switch {
	case a.Fortran && len(a.Shape) > 2:
		err = formatError("Fortran order with %d dimensions; save it in C order: np.save(path, np.ascontiguousarray(a))", len(a.Shape))
	case a.Fortran && len(a.Shape) == 2:
		columns := make([]float64, len(out))
		err = a.readRun(0, len(out), func(at int, b []byte) { a.widen(columns[at:], b) })
		for k, x := range columns {
			out[k%a.rows*a.rowLen+k/a.rows] = x
		}
	default:
		err = a.readRun(0, len(out), func(at int, b []byte) { a.widen(out[at:], b) })
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.Path, err)
	}
	return out, nil
}

// widen decodes len(src)/size elements into dst.
func (a *Array) widen(dst []float64, src []byte) {
	n := len(src) / a.size
	switch {
	case a.kind == 'f' && a.size == 8:
		for i := range n {
			dst[i] = math.Float64frombits(a.order.Uint64(src[8*i:]))
		}
	case a.kind == 'f' || a.size < 4:
		narrow := make([]float32, n)
		a.convert(narrow, src)
		for i, x := range narrow {
			dst[i] = float64(x)
		}
	default:
		for i := range n {
			dst[i] = a.whole(src[i*a.size:])
		}
	}
}

// whole decodes one integer of four or eight bytes.
func (a *Array) whole(b []byte) float64 {
	if a.kind == 'u' {
		return float64(a.unsigned(b))
	}
	return float64(a.signed(b))
}
