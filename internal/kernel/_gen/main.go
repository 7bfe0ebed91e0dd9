// Command _gen writes the amd64 assembly of package kernel, with the vector
// width as a parameter: every kernel is emitted once for AVX2 with FMA and
// once for AVX-512. It writes its output, and a checksum that ties it to these
// sources, to the directory above:
//
//	cd internal/kernel/_gen && go run .
package main

import (
	"crypto/sha256"
	"fmt"
	"log"
	"os"
	"path/filepath"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A width is one instruction set: the suffix of its functions and the size of
// its vectors.
type width struct {
	name  string
	bytes int // 32 or 64
}

var (
	avx2   = width{"AVX2", 32}
	avx512 = width{"AVX512", 64}
)

// lanes returns the number of float32 in a vector.
func (w width) lanes() int { return w.bytes / 4 }

// vec returns a fresh vector register.
func (w width) vec() reg.VecVirtual {
	if w.bytes == 64 {
		return ZMM()
	}
	return YMM()
}

// half returns a fresh register of half the width.
func (w width) half() reg.VecVirtual {
	if w.bytes == 64 {
		return YMM()
	}
	return XMM()
}

// vecs returns n fresh vector registers.
func (w width) vecs(n int) []reg.VecVirtual {
	v := make([]reg.VecVirtual, n)
	for i := range v {
		v[i] = w.vec()
	}
	return v
}

// zeros returns n registers set to zero.
func (w width) zeros(n int) []reg.VecVirtual {
	v := w.vecs(n)
	for _, r := range v {
		if w.bytes == 64 {
			VPXORD(r, r, r)
		} else {
			VXORPS(r, r, r)
		}
	}
	return v
}

// load returns a register with the vector at m.
func (w width) load(m Mem) reg.VecVirtual {
	v := w.vec()
	VMOVUPS(m, v)
	return v
}

// spread returns a register with the float32 parameter in every lane.
func (w width) spread(param string) reg.VecVirtual {
	v := w.vec()
	m, err := Param(param).Resolve()
	if err != nil {
		panic(err)
	}
	VBROADCASTSS(m.Addr, v)
	return v
}

// arg returns the memory of a parameter.
func arg(param string) Mem {
	m, err := Param(param).Resolve()
	if err != nil {
		panic(err)
	}
	return m.Addr
}

// length returns the memory of the length of a slice parameter.
func length(param string) Mem {
	m, err := Param(param).Len().Resolve()
	if err != nil {
		panic(err)
	}
	return m.Addr
}

// base returns a register with the address of a slice parameter.
func base(param string) reg.GPVirtual {
	return Load(Param(param).Base(), GP64()).(reg.GPVirtual)
}

// integer returns a register with an int parameter.
func integer(param string) reg.GPVirtual {
	return Load(Param(param), GP64()).(reg.GPVirtual)
}

// function begins a function of the given Go signature.
func function(w width, name, signature, doc string) {
	TEXT(name+w.name, NOSPLIT, "func"+signature)
	Doc(name + w.name + " " + doc)
}

// done ends a function.
func done() {
	VZEROUPPER()
	RET()
}

func main() {
	os.Args = append(os.Args[:1], "-out", "../asm_amd64.s", "-stubs", "../asm_amd64.go", "-pkg", "kernel")
	ConstraintExpr("!purego")
	for _, w := range []width{avx2, avx512} {
		mr := 6 // accumulators 6x2 of 16 registers, or 8x2 of 32
		if w == avx512 {
			mr = 8
		}
		rowKernel(w, mr, 2)
		colKernel(w, mr, 2)
		vectorKernels(w)
		columnKernels(w)
		updateKernels(w)
	}
	transpose8()
	Generate()
	if err := writeSum(); err != nil {
		log.Fatal(err)
	}
}

// writeSum records the checksum of the generator and of what it wrote, which
// a test of package kernel compares: neither can change without the other.
func writeSum() error {
	names, err := filepath.Glob("*.go")
	if err != nil {
		return err
	}
	h := sha256.New()
	for _, name := range append(names, "../asm_amd64.go", "../asm_amd64.s") {
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		h.Write(data)
	}
	return os.WriteFile("sum.txt", fmt.Appendf(nil, "%x\n", h.Sum(nil)), 0o644)
}
