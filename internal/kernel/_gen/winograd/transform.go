package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	. "nat/internal/kernel/_gen/asm"
)

// transform writes the kernel that computes m d m' for n squares d, each
// element of which is a vector: transformGeneric. Along the first axis it goes
// in groups of rows of m that share work, and each row that is finished goes
// along the second axis in registers.
func transform(w Width, name string, m matrix, what string) {
	Begin(w, name, "(dst []float32, dstRow, dstCol, dstStep int, src []float32, srcRow, srcCol, srcStep, n int)",
		fmt.Sprintf("is transformGeneric with %s's %d x %d matrix, on one vector per element.", what, len(m), len(m[0])))
	dst, src := Base("dst"), Base("src")
	rows, cols := newAddresses("srcRow", len(m[0])), newAddresses("dstCol", len(m))
	srcCol, dstRow := Integer("srcCol"), Integer("dstRow")
	SHLQ(U8(2), srcCol)
	SHLQ(U8(2), dstRow)
	SHLQ(U8(2), Arg("srcStep"))
	SHLQ(U8(2), Arg("dstStep"))
	groups := m.groups(w)

	Label("next")
	for _, g := range groups {
		values := make([][]reg.VecVirtual, len(g))
		p := GP64()
		MOVQ(src, p)
		for j := range m[0] {
			out := m.apply(w, g, func(i int) reg.VecVirtual { return w.Load(rows.at(p, i)) }, true)
			for i, v := range out {
				values[i] = append(values[i], v)
			}
			if j+1 < len(m[0]) {
				ADDQ(srcCol, p)
			}
		}
		for i, r := range g {
			q := rowAddress(dst, dstRow, r)
			for _, h := range groups {
				out := m.apply(w, h, func(j int) reg.VecVirtual { return values[i][j] }, false)
				for l, v := range out {
					VMOVUPS(v, cols.at(q, h[l]))
				}
			}
		}
	}
	ADDQ(Arg("srcStep"), src)
	ADDQ(Arg("dstStep"), dst)
	DECQ(Arg("n"))
	JNZ(LabelRef("next"))
	Done()
}

// addresses gives the operands of up to nine places a stride apart.
type addresses struct{ one, three, five, seven reg.GPVirtual }

func newAddresses(stride string, n int) addresses {
	var a addresses
	a.one = Integer(stride)
	SHLQ(U8(2), a.one)
	if n > 3 {
		a.three = GP64()
		LEAQ(Mem{Base: a.one, Index: a.one, Scale: 2}, a.three)
	}
	if n > 5 {
		a.five = GP64()
		LEAQ(Mem{Base: a.one, Index: a.one, Scale: 4}, a.five)
	}
	if n > 7 {
		a.seven = GP64()
		LEAQ(Mem{Base: a.three, Index: a.one, Scale: 4}, a.seven)
	}
	return a
}

func (a addresses) at(p reg.GPVirtual, i int) Mem {
	switch i {
	case 0:
		return Mem{Base: p}
	case 3:
		return Mem{Base: p, Index: a.three, Scale: 1}
	case 5:
		return Mem{Base: p, Index: a.five, Scale: 1}
	case 6:
		return Mem{Base: p, Index: a.three, Scale: 2}
	case 7:
		return Mem{Base: p, Index: a.seven, Scale: 1}
	}
	return Mem{Base: p, Index: a.one, Scale: uint8(i)}
}

// rowAddress returns a register with p + i stride.
func rowAddress(p, stride reg.GPVirtual, i int) reg.GPVirtual {
	q := GP64()
	MOVQ(p, q)
	for scale := 8; scale > 0; scale /= 2 {
		if i&scale != 0 {
			LEAQ(Mem{Base: q, Index: stride, Scale: uint8(scale)}, q)
		}
	}
	return q
}

// groups cuts the rows into groups that share work: two that differ only in
// the signs of some columns, as those of points p and -p do, or, if columns
// pair up so, those rows that add the pairs and those that subtract them. Rows
// too long for the registers of AVX2 stay alone.
func (m matrix) groups(w Width) (g [][]int) {
	alone := w == AVX2 && len(m[0]) > 6
	if m.pairsColumns() && !alone {
		parts := [][]int{nil, nil}
		for i := range m {
			part := 0
			for _, j := range m.columnPairs() {
				if m[i][j] != m[i][j+1] {
					part = 1
				}
			}
			parts[part] = append(parts[part], i)
		}
		return parts
	}
	for i := 0; i < len(m); i++ {
		if i+1 < len(m) && paired(m[i], m[i+1]) && !alone {
			g = append(g, []int{i, i + 1})
			i++
		} else {
			g = append(g, []int{i})
		}
	}
	return g
}

// pairsColumns reports whether work is shared by pairs of columns, as it is
// when there are fewer rows than columns.
func (m matrix) pairsColumns() bool { return len(m) < len(m[0]) && len(m.columnPairs()) > 0 }

// paired reports whether two rows have the same magnitudes but other signs.
func paired(a, b []float64) bool {
	same, opposite := 0, 0
	for j := range a {
		switch {
		case a[j] == b[j] && a[j] != 0:
			same++
		case a[j] == -b[j] && a[j] != 0:
			opposite++
		case a[j] != b[j]:
			return false
		}
	}
	return same > 0 && opposite > 0
}

// columnPairs lists the first columns of pairs of neighbours that are the same
// up to the signs of some rows.
func (m matrix) columnPairs() (pairs []int) {
	for j := 0; j+1 < len(m[0]); j++ {
		a, b := make([]float64, len(m)), make([]float64, len(m))
		for i := range m {
			a[i], b[i] = m[i][j], m[i][j+1]
		}
		if paired(a, b) {
			pairs = append(pairs, j)
			j++
		}
	}
	return pairs
}

// A term is a coefficient times a register, which may be overwritten if owned.
type term struct {
	coef  float64
	v     reg.VecVirtual
	owned bool
}

// apply emits the rows of a group, given the inputs.
func (m matrix) apply(w Width, rows []int, in func(j int) reg.VecVirtual, owned bool) []reg.VecVirtual {
	if m.pairsColumns() {
		return m.applyPairedColumns(w, rows, in, owned)
	}
	terms := func(row []float64, use func(j int) bool) (t []term) {
		for j, c := range row {
			if c != 0 && use(j) {
				t = append(t, term{c, in(j), owned})
			}
		}
		return t
	}
	a := m[rows[0]]
	if len(rows) == 1 {
		return []reg.VecVirtual{sum(w, terms(a, func(int) bool { return true }))}
	}
	b := m[rows[1]]
	even := terms(a, func(j int) bool { return a[j] == b[j] })
	odd := terms(a, func(j int) bool { return a[j] != b[j] })
	factor := odd[len(odd)-1].coef // of the highest power: leaves 1 there
	for i := range odd {
		odd[i].coef = float64(float32(odd[i].coef / factor))
	}
	e, o := sum(w, even), sum(w, odd)
	return []reg.VecVirtual{sum(w, []term{{1, e, false}, {factor, o, false}}), sum(w, []term{{1, e, false}, {-factor, o, false}})}
}

// applyPairedColumns emits rows of one parity: pairs of inputs are added, or
// subtracted, once for all of them.
func (m matrix) applyPairedColumns(w Width, rows []int, in func(j int) reg.VecVirtual, owned bool) []reg.VecVirtual {
	shared := map[int]term{}
	skip := map[int]bool{}
	for _, j := range m.columnPairs() {
		skip[j+1] = true
		sign := 0.0
		for _, r := range rows {
			if m[r][j] != 0 {
				sign = m[r][j+1] / m[r][j]
			}
		}
		if sign == 0 {
			continue
		}
		a, b := in(j), in(j+1)
		v := a
		if !owned {
			v = w.Vec()
		}
		if sign > 0 {
			VADDPS(b, a, v)
		} else {
			VSUBPS(b, a, v)
		}
		shared[j] = term{v: v}
	}
	out := make([]reg.VecVirtual, len(rows))
	for i, r := range rows {
		var terms []term
		for j, c := range m[r] {
			if c == 0 || skip[j] {
				continue
			}
			t, ok := shared[j]
			if !ok {
				t = term{v: in(j), owned: owned}
			}
			t.coef = c
			terms = append(terms, t)
		}
		out[i] = sum(w, terms)
	}
	return out
}

// sum emits the sum of the terms.
func sum(w Width, terms []term) reg.VecVirtual {
	first := 0
	for i, t := range terms {
		if t.coef == 1 && (terms[first].coef != 1 || t.owned) {
			first = i
		}
	}
	t := terms[first]
	rest := append(append([]term{}, terms[:first]...), terms[first+1:]...)
	acc := t.v
	switch {
	case t.coef != 1:
		if !t.owned {
			acc = w.Vec()
		}
		multiply(w, t.coef, t.v, acc)
	case t.owned:
	case len(rest) > 0 && math.Abs(rest[0].coef) == 1:
		acc = w.Vec()
		addOrSubtract(rest[0], t.v, acc)
		rest = rest[1:]
	default:
		acc = w.Vec()
		VMOVAPS(t.v, acc)
	}
	for _, t := range rest {
		if math.Abs(t.coef) == 1 {
			addOrSubtract(t, acc, acc)
		} else {
			addScaled(w, t.coef, t.v, acc)
		}
	}
	return acc
}

// addOrSubtract sets dst = a + t for a coefficient of 1 or -1.
func addOrSubtract(t term, a, dst reg.VecVirtual) {
	if t.coef == 1 {
		VADDPS(t.v, a, dst)
	} else {
		VSUBPS(t.v, a, dst)
	}
}

// multiply sets dst = c v, addScaled dst += c v.
func multiply(w Width, c float64, v, dst reg.VecVirtual) {
	if w == AVX512 {
		VMULPS_BCST(constant(c), v, dst)
	} else {
		VMULPS(constant(c), v, dst)
	}
}

func addScaled(w Width, c float64, v, dst reg.VecVirtual) {
	if w == AVX512 {
		VFMADD231PS_BCST(constant(c), v, dst)
	} else {
		VFMADD231PS(constant(c), v, dst)
	}
}

var constants = map[uint32]Mem{}

// constant returns a read-only vector of eight copies of c.
func constant(c float64) Mem {
	bits := math.Float32bits(float32(c))
	if m, ok := constants[bits]; ok {
		return m
	}
	m := GLOBL(fmt.Sprintf("wino%08x", bits), RODATA|NOPTR)
	for i := range 8 {
		DATA(4*i, U32(bits))
	}
	constants[bits] = m
	return m
}
