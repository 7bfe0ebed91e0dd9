package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	. "nat/internal/kernel/_gen/asm"
)

// The shape of the windows, in the signature of every windowKernel.
const windowShape = "channels, count, dstStep, srcStep, height, width, rowStep, colStep int"

// prefetchBytes is how far ahead a window is asked for, from measurement.
const prefetchBytes = 4096

// A windowKernel computes each of count pixels of one image from a window of
// height x width pixels of another, for whole vectors of channels. The steps
// are in elements: to the next pixel, to the next window, and in a window to
// the next row and the next column.
type windowKernel struct {
	name, dst, src string // dst and src are the images' parameters
	signature      string
	arg            string                        // the image that places of maxima belong to, "dst", "src" or ""
	start          func(f *windows, vectors int) // of a pixel
	step           func(f *windows, i int)       // vector i of a pixel of the window
	finish         func(f *windows, i int)       // vector i of a pixel
}

// windows is the state of a windowKernel's loops.
type windows struct {
	w                  Width
	dst, src, arg      reg.GPVirtual // the current pixel, its window, and its places or those of its window
	channel            reg.GPVirtual
	at, argAt          reg.GPVirtual // the current channels of the current pixel of the window
	place, rowPlace    reg.VecVirtual
	placeCol, placeRow reg.VecVirtual
	scale              reg.VecVirtual
	acc, places        []reg.VecVirtual
}

func windowKernels(w Width) {
	f := &windows{w: w}
	for _, k := range []windowKernel{windowSums(), windowMax(), windowMaxPlaces(), windowPick()} {
		k.emit(f)
	}
}

func (k windowKernel) emit(f *windows) {
	Begin(f.w, k.name, k.signature, "is "+k.name+"Generic for whole vectors of channels.")
	f.dst, f.src, f.channel = Base(k.dst), Base(k.src), GP64()
	count, dstStep, srcStep := Integer("count"), Integer("dstStep"), Integer("srcStep")
	if k.arg != "" {
		f.arg, f.argAt = Base("arg"), GP64()
		f.placeCol, f.placeRow, f.place, f.rowPlace = f.integers("placeCol"), f.integers("placeRow"), f.w.Vec(), f.w.Vec()
	}
	if k.name == "windowSums" {
		f.scale = f.w.Spread("scale")
	}
	Label("pixel")
	XORQ(f.channel, f.channel)
	for vectors := 4; vectors > 0; vectors /= 2 {
		k.emitGroup(f, vectors)
	}
	LEAQ(Mem{Base: f.dst, Index: dstStep, Scale: 4}, f.dst)
	LEAQ(Mem{Base: f.src, Index: srcStep, Scale: 4}, f.src)
	switch k.arg {
	case "dst":
		ADDQ(dstStep, f.arg)
	case "src":
		ADDQ(srcStep, f.arg)
	}
	DECQ(count)
	JNZ(LabelRef("pixel"))
	Done()
}

// integers returns a register with the int parameter in every 32-bit lane.
func (f *windows) integers(param string) reg.VecVirtual {
	v := f.w.Vec()
	VPBROADCASTD(Arg(param), v)
	return v
}

// emitGroup writes the loop over groups of so many vectors of channels.
func (k windowKernel) emitGroup(f *windows, vectors int) {
	label := func(s string) string { return fmt.Sprint(s, vectors) }
	row, argRow, rows, cols := GP64(), GP64(), GP64(), GP64()
	Label(label("group"))
	LEAQ(Mem{Base: f.channel, Disp: vectors * f.w.Lanes()}, rows)
	CMPQ(rows, Arg("channels"))
	JG(LabelRef(label("end")))
	LEAQ(Mem{Base: f.src, Index: f.channel, Scale: 4}, row)
	if k.arg != "" {
		LEAQ(Mem{Base: f.arg, Index: f.channel, Scale: 1}, argRow)
		VPBROADCASTD(Arg("place"), f.rowPlace)
		VMOVAPS(f.rowPlace, f.place)
	}
	f.at = GP64()
	k.start(f, vectors)
	MOVQ(Arg("height"), rows)
	Label(label("row"))
	MOVQ(row, f.at)
	if k.arg == "src" {
		MOVQ(argRow, f.argAt)
	}
	MOVQ(Arg("width"), cols)
	Label(label("col"))
	for i := range vectors {
		k.step(f, i)
	}
	f.advance(f.at, "colStep", 4)
	if k.arg == "src" {
		f.advance(f.argAt, "colStep", 1)
	}
	if k.arg != "" {
		VPADDD(f.placeCol, f.place, f.place)
	}
	DECQ(cols)
	JNZ(LabelRef(label("col")))
	f.advance(row, "rowStep", 4)
	if k.arg == "src" {
		f.advance(argRow, "rowStep", 1)
	}
	if k.arg != "" {
		VPADDD(f.placeRow, f.rowPlace, f.rowPlace)
		VMOVAPS(f.rowPlace, f.place)
	}
	DECQ(rows)
	JNZ(LabelRef(label("row")))
	if k.arg == "dst" {
		MOVQ(argRow, f.argAt)
	}
	for i := range vectors {
		k.finish(f, i)
	}
	ADDQ(U32(vectors*f.w.Lanes()), f.channel)
	JMP(LabelRef(label("group")))
	Label(label("end"))
}

// advance adds an int parameter times the scale to p.
func (f *windows) advance(p reg.GPVirtual, param string, scale uint8) {
	step := Integer(param)
	LEAQ(Mem{Base: p, Index: step, Scale: scale}, p)
}

// in is vector i of the current pixel of the window.
func (f *windows) in(i int) Mem { return Mem{Base: f.at, Disp: i * f.w.Bytes} }

// ahead asks for what will be read soon: windows are read too slowly and in too
// short pieces for the hardware to do so.
func (f *windows) ahead(i int) {
	PREFETCHT0(Mem{Base: f.at, Disp: prefetchBytes + i*f.w.Bytes})
}

// store writes the result's vector i.
func (f *windows) store(i int) {
	VMOVUPS(f.acc[i], Mem{Base: f.dst, Index: f.channel, Scale: 4, Disp: i * f.w.Bytes})
}

func (f *windows) zero(vectors int) { f.acc = f.w.Zeros(vectors) }

func windowSums() windowKernel {
	return windowKernel{
		name: "windowSums", dst: "dst", src: "src",
		signature: "(dst, src []float32, " + windowShape + ", scale float32)",
		start:     (*windows).zero,
		step: func(f *windows, i int) {
			f.ahead(i)
			VADDPS(f.in(i), f.acc[i], f.acc[i])
		},
		finish: func(f *windows, i int) {
			VMULPS(f.scale, f.acc[i], f.acc[i])
			f.store(i)
		},
	}
}

// lowest fills the accumulators with what every number and NaN replaces.
func (f *windows) lowest(vectors int) {
	f.acc = nil
	for range vectors {
		f.acc = append(f.acc, Splat(f.w, math.Inf(-1)))
	}
}

// larger keeps v where it is larger than the maximum so far, or a NaN, and
// with it its place.
func (f *windows) larger(i int, withPlace bool) {
	f.ahead(i)
	v := f.w.Load(f.in(i))
	if f.w.Bytes == 64 {
		larger, nan := K(), K()
		VCMPPS(U8(1), v, f.acc[i], larger) // maximum < v
		VCMPPS(U8(3), v, v, nan)
		KORW(nan, larger, larger)
		VMOVAPS(v, larger, f.acc[i])
		if withPlace {
			VMOVDQA32(f.place, larger, f.places[i])
		}
		return
	}
	larger, nan := f.w.Vec(), f.w.Vec()
	VCMPPS(U8(1), v, f.acc[i], larger)
	VCMPPS(U8(3), v, v, nan)
	VORPS(nan, larger, larger)
	VBLENDVPS(larger, v, f.acc[i], f.acc[i])
	if withPlace {
		VBLENDVPS(larger, f.place, f.places[i], f.places[i])
	}
}

func windowMax() windowKernel {
	return windowKernel{
		name: "windowMax", dst: "y", src: "x",
		signature: "(y, x []float32, " + windowShape + ")",
		start:     (*windows).lowest,
		step:      func(f *windows, i int) { f.larger(i, false) },
		finish:    (*windows).store,
	}
}

func windowMaxPlaces() windowKernel {
	return windowKernel{
		name: "windowMaxPlaces", dst: "y", src: "x", arg: "dst",
		signature: "(y []float32, arg []uint8, x []float32, " + windowShape + ", place, placeCol, placeRow int)",
		start: func(f *windows, vectors int) {
			f.lowest(vectors)
			f.places = f.w.Vecs(vectors)
			for _, p := range f.places {
				VMOVAPS(f.place, p)
			}
		},
		step: func(f *windows, i int) { f.larger(i, true) },
		finish: func(f *windows, i int) {
			f.store(i)
			m := Mem{Base: f.argAt, Disp: i * f.w.Lanes()}
			if f.w.Bytes == 64 {
				VPMOVDB(f.places[i], m)
				return
			}
			lo, hi := f.places[i].AsX(), XMM()
			VEXTRACTI128(U8(1), f.places[i], hi)
			VPACKUSDW(hi, lo, lo)
			VPACKUSWB(lo, lo, lo)
			VMOVQ(lo, m)
		},
	}
}

// windowPick adds up the elements of the window whose place is asked for.
func windowPick() windowKernel {
	return windowKernel{
		name: "windowPick", dst: "dx", src: "dy", arg: "src",
		signature: "(dx, dy []float32, arg []uint8, " + windowShape + ", place, placeCol, placeRow int)",
		start:     (*windows).zero,
		step: func(f *windows, i int) {
			p := f.w.Vec()
			VPMOVZXBD(Mem{Base: f.argAt, Disp: i * f.w.Lanes()}, p)
			if f.w.Bytes == 64 {
				k := K()
				VPCMPEQD(f.place, p, k)
				VADDPS(f.in(i), f.acc[i], k, f.acc[i])
				return
			}
			VPCMPEQD(f.place, p, p)
			VANDPS(f.in(i), p, p)
			VADDPS(p, f.acc[i], f.acc[i])
		},
		finish: (*windows).store,
	}
}
