package main

import (
	"math/bits"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	. "nat/internal/kernel/_gen/asm"
)

// rowKernel multiplies tiles of mr rows of A by a packed panel of B. A lies in
// groups of as many columns as a vector has lanes, so that the addresses of a
// tile's elements are constants.
func rowKernel(w Width) {
	mr, lanes := 6, w.Lanes()
	if w == AVX512 {
		mr = 8
	}
	Begin(w, "winoRow", "(c, a []float32, aGroup int, b []float32, tiles, groups int, acc bool)",
		"is the row micro-kernel, winoRowGeneric, in tiles of 6 x 16 (AVX2) or 8 x 32 (AVX-512).")
	c, rows, aGroup := Base("c"), Base("a"), Integer("aGroup")
	SHLQ(U8(2), aGroup)

	Label("tile")
	sum := newTile(w, mr)
	a, b, groups := GP64(), Base("b"), Integer("groups")
	MOVQ(rows, a)
	Label("group")
	for u := range lanes {
		step(w, sum, []Mem{{Base: b, Disp: 2 * u * w.Bytes}, {Base: b, Disp: (2*u + 1) * w.Bytes}},
			func(i int) Mem { return Mem{Base: a, Disp: i*w.Bytes + 4*u} })
	}
	ADDQ(aGroup, a)
	ADDQ(U32(2*lanes*w.Bytes), b)
	DECQ(groups)
	JNZ(LabelRef("group"))
	storeTile(w, sum, c)
	ADDQ(U32(mr*w.Bytes), rows)
	DECQ(Arg("tiles"))
	JNZ(LabelRef("tile"))
	Done()
}

// colKernel multiplies the columns of A by B, both stored with k as their slow
// axis, in groups of as many columns as a vector has lanes: two of B, and each
// of A in two tiles.
func colKernel(w Width) {
	mr := w.Lanes() / 2
	Begin(w, "winoCol", "(c, a []float32, aGroup int, b []float32, bGroup, groups, k int, acc bool)",
		"is the column micro-kernel, winoColGeneric, in tiles of 4 x 16 (AVX2) or 8 x 32 (AVX-512).")
	c, group, half := Base("c"), Base("a"), GP64()
	bGroup := Integer("bGroup")
	SHLQ(U8(2), bGroup)
	SHLQ(U8(2), Arg("aGroup"))

	Label("group")
	XORQ(half, half)
	Label("tile")
	sum := newTile(w, mr)
	a, b, k := GP64(), Base("b"), Integer("k")
	LEAQ(Mem{Base: group, Index: half, Scale: 1}, a)
	one := func(u int) {
		step(w, sum, []Mem{{Base: b, Disp: u * w.Bytes}, {Base: b, Index: bGroup, Scale: 1, Disp: u * w.Bytes}},
			func(i int) Mem { return Mem{Base: a, Disp: u*w.Bytes + 4*i} })
	}
	SUBQ(U8(4), k)
	JL(LabelRef("tail"))
	Label("steps")
	for u := range 4 {
		one(u)
	}
	ADDQ(U32(4*w.Bytes), a)
	ADDQ(U32(4*w.Bytes), b)
	SUBQ(U8(4), k)
	JGE(LabelRef("steps"))
	Label("tail")
	ADDQ(U8(4), k)
	JZ(LabelRef("store"))
	Label("step")
	one(0)
	ADDQ(U8(w.Bytes), a)
	ADDQ(U8(w.Bytes), b)
	DECQ(k)
	JNZ(LabelRef("step"))
	Label("store")
	storeTile(w, sum, c)
	XORQ(U8(w.Bytes/2), half)
	JNZ(LabelRef("tile"))
	ADDQ(Arg("aGroup"), group)
	DECQ(Arg("groups"))
	JNZ(LabelRef("group"))
	Done()
}

func newTile(w Width, mr int) [][]reg.VecVirtual {
	sum := make([][]reg.VecVirtual, mr)
	for i := range sum {
		sum[i] = w.Zeros(2)
	}
	return sum
}

// step adds the products of one k to a tile.
func step(w Width, sum [][]reg.VecVirtual, b []Mem, a func(i int) Mem) {
	bv := []reg.VecVirtual{w.Load(b[0]), w.Load(b[1])}
	for i := range sum {
		v := w.Vec()
		VBROADCASTSS(a(i), v)
		for j := range bv {
			VFMADD231PS(bv[j], v, sum[i][j])
		}
	}
}

// storeTile writes a tile whose rows follow each other, or adds it to what is
// there if acc is set, and moves c past it.
func storeTile(w Width, sum [][]reg.VecVirtual, c reg.GPVirtual) {
	CMPB(Arg("acc"), U8(0))
	JEQ(LabelRef("write"))
	for i := range sum {
		for j, v := range sum[i] {
			VADDPS(Mem{Base: c, Disp: (2*i + j) * w.Bytes}, v, v)
		}
	}
	Label("write")
	for i := range sum {
		for j, v := range sum[i] {
			VMOVUPS(v, Mem{Base: c, Disp: (2*i + j) * w.Bytes})
		}
	}
	ADDQ(U32(2*len(sum)*w.Bytes), c)
}

// copyKernel copies pixels of whole vectors.
func copyKernel(w Width) {
	Begin(w, "winoCopy", "(dst []float32, dstStep int, src []float32, srcStep, vectors, n int)",
		"copies n pieces of that many vectors, a step apart.")
	dst, src, vectors := Base("dst"), Base("src"), Integer("vectors")
	SHLQ(U8(bits.TrailingZeros(uint(w.Bytes))), vectors)
	ADDQ(vectors, dst)
	ADDQ(vectors, src)
	NEGQ(vectors)
	dstStep, srcStep, n := Integer("dstStep"), Integer("srcStep"), Integer("n")
	Label("piece")
	i := GP64()
	MOVQ(vectors, i)
	Label("vector")
	VMOVUPS(w.Load(Mem{Base: src, Index: i, Scale: 1}), Mem{Base: dst, Index: i, Scale: 1})
	ADDQ(U8(w.Bytes), i)
	JNZ(LabelRef("vector"))
	LEAQ(Mem{Base: src, Index: srcStep, Scale: 4}, src)
	LEAQ(Mem{Base: dst, Index: dstStep, Scale: 4}, dst)
	DECQ(n)
	JNZ(LabelRef("piece"))
	Done()
}
