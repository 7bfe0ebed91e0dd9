// Command scan writes the loops of the assignment solver: over the reduced costs
// of a row, and the product that the costs come from.
//
//	go run -C internal/kernel/_gen ./scan
package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	. "nat/internal/kernel/_gen/asm"
)

func main() {
	Write("scan", func() {
		for _, w := range Widths {
			fixedTile(w)
			minTwo(w)
			relax(w)
			sqDist64(w)
			for _, e := range []element{ints, doubles} {
				classMinima(w, e)
				below(w, e)
				lower(w, e)
			}
		}
	})
}

// An element is what reduced costs are computed in.
type element struct {
	suffix, slice string
	size          int
}

var (
	ints    = element{"Int32", "[]int32", 4}
	doubles = element{"Float64", "[]float64", 8}
)

func (e element) lanes(w Width) int { return w.Bytes / e.size }

// reduced loads row and subtracts v.
func (e element) reduced(w Width, row, v Mem) reg.VecVirtual {
	r := w.Load(row)
	if e.size == 4 {
		VPSUBD(v, r, r)
	} else {
		VSUBPD(v, r, r)
	}
	return r
}

// lower sets b to the smaller of both.
func (e element) lower(a Op, b reg.VecVirtual) {
	if e.size == 4 {
		VPMINSD(a, b, b)
	} else {
		VMINPD(a, b, b)
	}
}

// spread returns a register with a parameter in every lane.
func (e element) spread(w Width, param string) reg.VecVirtual {
	if e.size == 4 {
		return w.Spread(param)
	}
	v := w.Vec()
	VBROADCASTSD(Arg(param), v)
	return v
}

// less returns a general register with a bit for every lane where a < b.
func (e element) less(w Width, a, b reg.VecVirtual) reg.GPVirtual {
	mask := GP64()
	if w.Bytes == 64 {
		k := K()
		if e.size == 4 {
			VPCMPGTD(a, b, k)
		} else {
			VCMPPD(U8(1), b, a, k)
		}
		KMOVW(k, mask.As32())
		return mask
	}
	m := w.Vec()
	if e.size == 4 {
		VPCMPGTD(a, b, m)
		VMOVMSKPS(m, mask.As32())
	} else {
		VCMPPD(U8(1), b, a, m)
		VMOVMSKPD(m, mask.As32())
	}
	return mask
}

// splatInt returns a register with x in every lane.
func splatInt(w Width, x uint32) reg.VecVirtual {
	g, low, v := GP32(), XMM(), w.Vec()
	MOVL(U32(x), g)
	VMOVD(g, low)
	VPBROADCASTD(low, v)
	return v
}

// classMinima keeps one accumulator for each vector of the 256 bytes of out.
func classMinima(w Width, e element) {
	Begin(w, "classMinima"+e.suffix, "(out, row, v "+e.slice+")", "is classMinimaGeneric for whole periods of out.")
	row, v, n, i := Base("row"), Base("v"), Load(Param("row").Len(), GP64()), GP64()
	vectors := 256 / w.Bytes
	at := func(base reg.GPVirtual, u int) Mem {
		return Mem{Base: base, Index: i, Scale: uint8(e.size), Disp: u * w.Bytes}
	}
	XORQ(i, i)
	least := make([]reg.VecVirtual, vectors)
	for u := range least {
		least[u] = e.reduced(w, at(row, u), at(v, u))
	}
	JMP(LabelRef("next"))
	Label("loop")
	for u := range least {
		e.lower(e.reduced(w, at(row, u), at(v, u)), least[u])
	}
	Label("next")
	ADDQ(U8(256/e.size), i)
	CMPQ(i, n)
	JL(LabelRef("loop"))
	out := Base("out")
	for u, x := range least {
		VMOVUPS(x, Mem{Base: out, Disp: u * w.Bytes})
	}
	Done()
}

// below tests four vectors at a time and takes the hits out of the mask one by one.
func below(w Width, e element) {
	name := "(cols []int32, row, v " + e.slice + ", threshold " + e.slice[2:] + ") int"
	Begin(w, "below"+e.suffix, name, "is belowGeneric for whole groups of four vectors.")
	row, v, cols, i, count := Base("row"), Base("v"), Base("cols"), GP64(), GP64()
	threshold := e.spread(w, "threshold")
	XORQ(i, i)
	XORQ(count, count)
	JMP(LabelRef("check"))
	Label("loop")
	hits := GP64()
	XORQ(hits, hits)
	for u := 3; u >= 0; u-- {
		at := func(base reg.GPVirtual) Mem {
			return Mem{Base: base, Index: i, Scale: uint8(e.size), Disp: u * w.Bytes}
		}
		SHLQ(U8(e.lanes(w)), hits)
		ORQ(e.less(w, e.reduced(w, at(row), at(v)), threshold), hits)
	}
	TESTQ(hits, hits)
	JZ(LabelRef("next"))
	Label("hit")
	bit := GP64()
	CMPQ(count, Length("cols"))
	JGE(LabelRef("full"))
	TZCNTQ(hits, bit)
	ADDQ(i, bit)
	MOVL(bit.As32(), Mem{Base: cols, Index: count, Scale: 4})
	INCQ(count)
	BLSRQ(hits, hits)
	JNZ(LabelRef("hit"))
	Label("next")
	ADDQ(U32(4*e.lanes(w)), i)
	Label("check")
	CMPQ(i, Length("row"))
	JL(LabelRef("loop"))
	Store(count, ReturnIndex(0))
	Done()
	Label("full")
	INCQ(count)
	Store(count, ReturnIndex(0))
	Done()
}

// lower emits the elementwise minimum.
func lower(w Width, e element) {
	Begin(w, "lower"+e.suffix, "(v, row "+e.slice+")", "is lowerGeneric for whole vectors.")
	v, row, n, i := Base("v"), Base("row"), Load(Param("v").Len(), GP64()), GP64()
	XORQ(i, i)
	JMP(LabelRef("check"))
	Label("loop")
	x := w.Load(Mem{Base: v, Index: i, Scale: uint8(e.size)})
	e.lower(Mem{Base: row, Index: i, Scale: uint8(e.size)}, x)
	VMOVUPS(x, Mem{Base: v, Index: i, Scale: uint8(e.size)})
	ADDQ(U8(e.lanes(w)), i)
	Label("check")
	CMPQ(i, n)
	JL(LabelRef("loop"))
	Done()
}

// sqDist64 emits 16 partial sums in float64, which are then added pairwise.
func sqDist64(w Width) {
	Begin(w, "sqDist64", "(a, b []float32) float64", "is sqDist64Generic for whole groups of 16.")
	a, b, n, i := Base("a"), Base("b"), Load(Param("a").Len(), GP64()), GP64()
	acc := w.Zeros(128 / w.Bytes)
	XORQ(i, i)
	JMP(LabelRef("check"))
	Label("loop")
	for u, sum := range acc {
		x, y := w.Vec(), w.Vec()
		VCVTPS2PD(Mem{Base: a, Index: i, Scale: 4, Disp: u * w.Bytes / 2}, x)
		VCVTPS2PD(Mem{Base: b, Index: i, Scale: 4, Disp: u * w.Bytes / 2}, y)
		VSUBPD(y, x, x)
		VFMADD231PD(x, x, sum)
	}
	ADDQ(U8(16), i)
	Label("check")
	CMPQ(i, n)
	JL(LabelRef("loop"))
	for half := len(acc) / 2; half > 0; half /= 2 {
		for u := range half {
			VADDPD(acc[u+half], acc[u], acc[u])
		}
	}
	if w.Bytes == 64 {
		h := YMM()
		VEXTRACTF64X4(U8(1), acc[0].AsZ(), h)
		VADDPD(h, acc[0].AsY(), acc[0].AsY())
	}
	x, t := XMM(), XMM()
	VEXTRACTF128(U8(1), acc[0].AsY(), x)
	VADDPD(x, acc[0].AsX(), x)
	VPERMILPD(U8(1), x, t)
	VADDSD(t, x, x)
	Store(x, ReturnIndex(0))
	Done()
}

// halves calls f with x and its upper half moved down, for ever smaller halves, so
// that the lowest lane ends up as the combination of all.
func halves(w Width, x []reg.VecVirtual, f func(low, high []reg.Register)) {
	pair := func(as func(reg.VecVirtual) reg.Register, move func(from reg.VecVirtual, to reg.VecVirtual)) {
		low, high := make([]reg.Register, len(x)), make([]reg.Register, len(x))
		for i, r := range x {
			t := YMM()
			move(r, t)
			low[i], high[i] = as(r), as(t)
		}
		f(low, high)
	}
	asX := func(r reg.VecVirtual) reg.Register { return r.AsX() }
	if w.Bytes == 64 {
		pair(func(r reg.VecVirtual) reg.Register { return r.AsY() }, func(from, to reg.VecVirtual) { VEXTRACTI64X4(U8(1), from.AsZ(), to) })
	}
	pair(asX, func(from, to reg.VecVirtual) { VEXTRACTI128(U8(1), from.AsY(), to.AsX()) })
	pair(asX, func(from, to reg.VecVirtual) { VPSHUFD(U8(0x4e), from.AsX(), to.AsX()) })
	pair(asX, func(from, to reg.VecVirtual) { VPSHUFD(U8(0xb1), from.AsX(), to.AsX()) })
}

// minTwo finds the two least values in one pass and their places in a second one,
// which ends when it has them.
func minTwo(w Width) {
	Begin(w, "minTwo", "(row, v []int32) (first, second int, low, high int32)", "is minTwoGeneric for whole vectors, of which there is at least one.")
	row, v, n, i := Base("row"), Base("v"), Load(Param("row").Len(), GP64()), GP64()
	at := func(base reg.GPVirtual) Mem { return Mem{Base: base, Index: i, Scale: 4} }
	low, high := splatInt(w, math.MaxInt32), splatInt(w, math.MaxInt32)
	XORQ(i, i)
	Label("value")
	r, t := ints.reduced(w, at(row), at(v)), w.Vec()
	VPMAXSD(low, r, t)
	VPMINSD(t, high, high)
	VPMINSD(r, low, low)
	ADDQ(U8(w.Lanes()), i)
	CMPQ(i, n)
	JL(LabelRef("value"))
	halves(w, []reg.VecVirtual{low, high}, func(a, b []reg.Register) {
		t := YMM()
		as := reg.Register(t)
		if a[0].Size() == 16 {
			as = t.AsX()
		}
		VPMAXSD(a[0], b[0], as)
		VPMINSD(a[1], b[1], a[1])
		VPMINSD(as, a[1], a[1])
		VPMINSD(a[0], b[0], a[0])
	})
	lowest, next := GP32(), GP32()
	VMOVD(low.AsX(), lowest)
	VMOVD(high.AsX(), next)
	Store(lowest, Return("low"))
	Store(next, Return("high"))
	VPBROADCASTD(low.AsX(), low)
	XORQ(i, i)
	mask, bit := GP64(), GP64()
	Label("place")
	equal(w, ints.reduced(w, at(row), at(v)), low, mask)
	ADDQ(U8(w.Lanes()), i)
	TESTQ(mask, mask)
	JZ(LabelRef("place"))
	TZCNTQ(mask, bit)
	LEAQ(Mem{Base: bit, Index: i, Scale: 1, Disp: -w.Lanes()}, bit)
	Store(bit, Return("first"))
	MOVQ(I32(-1), bit)
	CMPL(lowest, next)
	JNE(LabelRef("found"))
	BLSRQ(mask, mask)
	JNZ(LabelRef("tie"))
	Label("other")
	equal(w, ints.reduced(w, at(row), at(v)), low, mask)
	ADDQ(U8(w.Lanes()), i)
	TESTQ(mask, mask)
	JZ(LabelRef("other"))
	Label("tie")
	TZCNTQ(mask, bit)
	LEAQ(Mem{Base: bit, Index: i, Scale: 1, Disp: -w.Lanes()}, bit)
	Label("found")
	Store(bit, Return("second"))
	Done()
}

// equal sets a bit of mask for every lane where a = b.
func equal(w Width, a, b reg.VecVirtual, mask reg.GPVirtual) {
	if w.Bytes == 64 {
		k := K()
		VPCMPEQD(b, a, k)
		KMOVW(k, mask.As32())
		return
	}
	VPCMPEQD(b, a, a)
	VMOVMSKPS(a, mask.As32())
}

// relax compares distances as unsigned numbers when it looks for the nearest, so
// that columns marked as done, whose distance is the least signed one, come last. The
// place of the nearest is found in a second pass, which ends there.
func relax(w Width) {
	Begin(w, "relax", "(dist, pred, row, v []int32, offset, from int32) (nearest int, least int32)", "is relaxGeneric for whole vectors, of which there is at least one.")
	dist, pred, row, v := Base("dist"), Base("pred"), Base("row"), Base("v")
	n, i := Load(Param("dist").Len(), GP64()), GP64()
	at := func(base reg.GPVirtual) Mem { return Mem{Base: base, Index: i, Scale: 4} }
	offset, from, best := ints.spread(w, "offset"), ints.spread(w, "from"), splatInt(w, math.MaxUint32)
	XORQ(i, i)
	Label("loop")
	r, d, p := ints.reduced(w, at(row), at(v)), w.Load(at(dist)), w.Load(at(pred))
	VPADDD(offset, r, r)
	if w.Bytes == 64 {
		shorter := K()
		VPCMPGTD(r, d, shorter)
		VMOVDQA32(r, shorter, d)
		VMOVDQA32(from, shorter, p)
	} else {
		shorter := w.Vec()
		VPCMPGTD(r, d, shorter)
		VPBLENDVB(shorter, r, d, d)
		VPBLENDVB(shorter, from, p, p)
	}
	VMOVUPS(d, at(dist)) // masked stores take several times as long
	VMOVUPS(p, at(pred))
	VPMINUD(d, best, best)
	ADDQ(U8(w.Lanes()), i)
	CMPQ(i, n)
	JL(LabelRef("loop"))
	halves(w, []reg.VecVirtual{best}, func(a, b []reg.Register) { VPMINUD(a[0], b[0], a[0]) })
	least := GP32()
	VMOVD(best.AsX(), least)
	Store(least, Return("least"))
	VPBROADCASTD(best.AsX(), best)
	XORQ(i, i)
	mask, bit := GP64(), GP64()
	Label("place")
	equal(w, w.Load(at(dist)), best, mask)
	ADDQ(U8(w.Lanes()), i)
	TESTQ(mask, mask)
	JZ(LabelRef("place"))
	TZCNTQ(mask, bit)
	LEAQ(Mem{Base: bit, Index: i, Scale: 1, Disp: -w.Lanes()}, bit)
	Store(bit, Return("nearest"))
	Done()
}
