package kernel

import (
	"cmp"
	"reflect"
	"slices"
)

// ScratchBytes returns how much scratch memory the pool's kernels hold: it only
// grows, to what the largest shapes so far have needed. It counts whatever
// slices the pool reaches, so that no kernel has to keep account.
func (p *Pool) ScratchBytes() int64 {
	p.startPass(0, 1) // the last pass and pooling may still have the caller's slices
	p.pooling.dst, p.pooling.src, p.pooling.arg = nil, nil, nil
	var held []extent
	reach(reflect.ValueOf(p).Elem(), &held)
	slices.SortFunc(held, func(a, b extent) int { return cmp.Compare(a.lo, b.lo) })
	total, end := int64(0), uintptr(0)
	for _, s := range held { // slices may be parts of others
		lo := max(s.lo, end)
		end = max(end, s.hi)
		total += int64(end - min(lo, end))
	}
	return total
}

// An extent is a range of addresses.
type extent struct{ lo, hi uintptr }

// reach lists the memory of the slices in v, and in structs, arrays and slices
// in it. Pointers, channels and functions lead elsewhere.
func reach(v reflect.Value, held *[]extent) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			reach(v.Field(i), held)
		}
	case reflect.Array, reflect.Slice:
		elem := v.Type().Elem()
		if v.Kind() == reflect.Slice && v.Cap() > 0 {
			at := v.Pointer()
			*held = append(*held, extent{at, at + uintptr(v.Cap())*elem.Size()})
		}
		if k := elem.Kind(); k == reflect.Struct || k == reflect.Array || k == reflect.Slice {
			for i := range v.Len() {
				reach(v.Index(i), held)
			}
		}
	}
}
