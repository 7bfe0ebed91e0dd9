// Package asm is what the generators of this module share: the vector width as
// a parameter, parameters by name, and the writing of the result. A generator
// is a command beside it that writes one assembly file of package kernel:
//
//	func main() {
//		asm.Write("gemm", func() {
//			for _, w := range asm.Widths {
//				asm.Begin(w, "name", "(y, x []float32)", "is nameGeneric for whole vectors.")
//				...
//				asm.Done()
//			}
//		})
//	}
package asm

import (
	"crypto/sha256"
	"fmt"
	"log"
	"math"
	"os"
	"path/filepath"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A Width is one instruction set: the suffix of its functions and the size of
// its vectors.
type Width struct {
	Name  string
	Bytes int // 32 or 64
}

// The instruction sets: AVX2 with FMA, and AVX-512 F, DQ, BW and VL.
var (
	AVX2   = Width{"AVX2", 32}
	AVX512 = Width{"AVX512", 64}
	Widths = []Width{AVX2, AVX512}
)

// Lanes returns the number of float32 in a vector.
func (w Width) Lanes() int { return w.Bytes / 4 }

// Vec returns a fresh vector register.
func (w Width) Vec() reg.VecVirtual {
	if w.Bytes == 64 {
		return ZMM()
	}
	return YMM()
}

// Half returns a fresh register of half the width.
func (w Width) Half() reg.VecVirtual {
	if w.Bytes == 64 {
		return YMM()
	}
	return XMM()
}

// Vecs returns n fresh vector registers.
func (w Width) Vecs(n int) []reg.VecVirtual {
	v := make([]reg.VecVirtual, n)
	for i := range v {
		v[i] = w.Vec()
	}
	return v
}

// Zeros returns n registers set to zero.
func (w Width) Zeros(n int) []reg.VecVirtual {
	v := w.Vecs(n)
	for _, r := range v {
		if w.Bytes == 64 {
			VPXORD(r, r, r)
		} else {
			VXORPS(r, r, r)
		}
	}
	return v
}

// Load returns a register with the vector at m.
func (w Width) Load(m Mem) reg.VecVirtual {
	v := w.Vec()
	VMOVUPS(m, v)
	return v
}

// Spread returns a register with the float32 parameter in every lane.
func (w Width) Spread(param string) reg.VecVirtual {
	v := w.Vec()
	m, err := Param(param).Resolve()
	if err != nil {
		panic(err)
	}
	VBROADCASTSS(m.Addr, v)
	return v
}

// Arg returns the memory of a parameter.
func Arg(param string) Mem {
	m, err := Param(param).Resolve()
	if err != nil {
		panic(err)
	}
	return m.Addr
}

// Length returns the memory of the length of a slice parameter.
func Length(param string) Mem {
	m, err := Param(param).Len().Resolve()
	if err != nil {
		panic(err)
	}
	return m.Addr
}

// Base returns a register with the address of a slice parameter.
func Base(param string) reg.GPVirtual {
	return Load(Param(param).Base(), GP64()).(reg.GPVirtual)
}

// Integer returns a register with an int parameter.
func Integer(param string) reg.GPVirtual {
	return Load(Param(param), GP64()).(reg.GPVirtual)
}

// Begin begins a function of the given Go signature.
func Begin(w Width, name, signature, doc string) {
	TEXT(name+w.Name, NOSPLIT, "func"+signature)
	Doc(name + w.Name + " " + doc)
}

// Done ends a function.
func Done() {
	VZEROUPPER()
	RET()
}

// Elements emits a loop over vectors: body gets the operand of the current
// vector of each slice.
func Elements(w Width, slices []string, body func(at map[string]Mem)) {
	n := Load(Param(slices[0]).Len(), GP64())
	i := GP64()
	XORQ(i, i)
	at := map[string]Mem{}
	for _, s := range slices {
		at[s] = Mem{Base: Base(s), Index: i, Scale: 4}
	}
	JMP(LabelRef("check"))
	Label("loop")
	body(at)
	ADDQ(U8(w.Lanes()), i)
	Label("check")
	CMPQ(i, n)
	JL(LabelRef("loop"))
}

// Splat returns a register with f in every lane.
func Splat(w Width, f float64) reg.VecVirtual {
	g, x, v := GP32(), XMM(), w.Vec()
	MOVL(U32(math.Float32bits(float32(f))), g)
	VMOVD(g, x)
	VBROADCASTSS(x, v)
	return v
}

// Write writes what emit emits to ../asm_NAME_amd64.s and its declarations to
// ../asm_NAME_amd64.go, and to NAME/sum.txt a checksum of both and of the
// sources of the generator, in NAME and here, which a test of package kernel
// compares: neither can change without the other. It runs in the module's root.
func Write(name string, emit func()) {
	out := "../asm_" + name + "_amd64"
	os.Args = append(os.Args[:1], "-out", out+".s", "-stubs", out+".go", "-pkg", "kernel")
	ConstraintExpr("!purego")
	emit()
	Generate()
	var files []string
	for _, dir := range []string{name, "asm"} {
		sources, err := filepath.Glob(dir + "/*.go")
		if err != nil {
			log.Fatal(err)
		}
		files = append(files, sources...)
	}
	h := sha256.New()
	for _, file := range append(files, out+".go", out+".s") {
		data, err := os.ReadFile(file)
		if err != nil {
			log.Fatal(err)
		}
		h.Write(data)
	}
	if err := os.WriteFile(name+"/sum.txt", fmt.Appendf(nil, "%x\n", h.Sum(nil)), 0o644); err != nil {
		log.Fatal(err)
	}
}
