package main

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"

	"nat/internal/rng"
	"nat/internal/tensorfile"
	"nat/sphere"
)

// generate makes small data for the transcripts:
//
//	photos DIR CLASSES EACH [SIDE]   a folder a class with PNGs whose colour tells the class
//	flat DIR N                       N PNGs in one folder
//	idx DIR TRAIN TEST               the four files of the MNIST family, 12x12
//	npy FILE ROWS DIM                float32 vectors
//	labels FILE ROWS CLASSES         int64
//	nan FILE ROW DIM                 put a NaN into a row
//	zero FILE ROW DIM                make a row all zeros
//	rank FILE ROWS DIM RANK          float32 unit vectors, uniform in the first RANK coordinates
//	costs FILE C ...                 a square matrix of float64, inf for -1
//	cut FILE BYTES                   remove bytes from the end
//	flip FILE OFFSET                 invert a byte (negative: from the end)
func generate(kind, path string, args []string) error {
	if kind == "costs" {
		return writeCosts(path, args)
	}
	n := make([]int, len(args))
	for i, a := range args {
		v, err := strconv.Atoi(a)
		if err != nil {
			return err
		}
		n[i] = v
	}
	arg := func(i, def int) int {
		if i < len(n) {
			return n[i]
		}
		return def
	}
	switch kind {
	case "photos":
		return writePhotos(path, n[0], n[1], arg(2, 16))
	case "flat":
		return writeFlat(path, n[0])
	case "idx":
		return writeIDX(path, n[0], n[1])
	case "npy":
		return writeVectors(path, n[0], n[1])
	case "labels":
		return writeLabels(path, n[0], n[1])
	case "nan":
		return patch(path, func(b []byte) []byte {
			header := 10 + int(binary.LittleEndian.Uint16(b[8:]))
			binary.LittleEndian.PutUint32(b[header+4*n[0]*n[1]:], math.Float32bits(float32(math.NaN())))
			return b
		})
	case "zero":
		return patch(path, func(b []byte) []byte {
			header := 10 + int(binary.LittleEndian.Uint16(b[8:]))
			clear(b[header+4*n[0]*n[1] : header+4*(n[0]+1)*n[1]])
			return b
		})
	case "rank":
		return writeRank(path, n[0], n[1], n[2])
	case "cut":
		return patch(path, func(b []byte) []byte { return b[:len(b)-n[0]] })
	case "flip":
		return patch(path, func(b []byte) []byte {
			b[(n[0]+len(b))%len(b)] ^= 0xff
			return b
		})
	}
	return fmt.Errorf("gen: unknown kind %q", kind)
}

func patch(path string, change func([]byte) []byte) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path, change(b), 0o644)
}

// blob is a picture whose hue and position depend on the class.
func blob(r *rand.Rand, side, class int) image.Image {
	img := image.NewRGBA(image.Rect(0, 0, side, side))
	cx, cy := r.IntN(side), (class*5+r.IntN(3))%side
	for y := range side {
		for x := range side {
			d := (x-cx)*(x-cx) + (y-cy)*(y-cy)
			v := uint8(255 / (1 + d/8))
			img.Set(x, y, color.RGBA{v, uint8(class * 60), uint8(r.IntN(40)), 255})
		}
	}
	return img
}

func writePNG(path string, img image.Image) error {
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

func writePhotos(dir string, classes, each, side int) error {
	r := rand.New(rand.NewPCG(1, 2))
	for c := range classes {
		for i := range each {
			name := filepath.Join(dir, fmt.Sprintf("class%d", c), fmt.Sprintf("%03d.png", i))
			if err := writePNG(name, blob(r, side, c)); err != nil {
				return err
			}
		}
	}
	return nil
}

func writeFlat(dir string, n int) error {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		if err := writePNG(filepath.Join(dir, fmt.Sprintf("%03d.png", i)), blob(r, 16, i%4)); err != nil {
			return err
		}
	}
	return nil
}

func writeIDX(dir string, train, test int) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(3, 4))
	const side = 12
	for _, part := range []struct {
		name string
		n    int
	}{{"train", train}, {"t10k", test}} {
		pixels := make([]byte, 0, part.n*side*side)
		labels := make([]byte, part.n)
		for i := range part.n {
			labels[i] = byte(i % 3)
			img := blob(r, side, i%3)
			for p := range side * side {
				red, _, _, _ := img.At(p%side, p/side).RGBA()
				pixels = append(pixels, byte(red>>8))
			}
		}
		images := binary.BigEndian.AppendUint32(nil, 0x803)
		for _, d := range []int{part.n, side, side} {
			images = binary.BigEndian.AppendUint32(images, uint32(d))
		}
		head := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 0x801), uint32(part.n))
		if err := writeGzip(filepath.Join(dir, part.name+"-images-idx3-ubyte.gz"), append(images, pixels...)); err != nil {
			return err
		}
		if err := writeGzip(filepath.Join(dir, part.name+"-labels-idx1-ubyte.gz"), append(head, labels...)); err != nil {
			return err
		}
	}
	return nil
}

func writeGzip(path string, b []byte) error {
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	if _, err := w.Write(b); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(path, z.Bytes(), 0o644)
}

func writeVectors(path string, rows, dim int) error {
	r := rand.New(rand.NewPCG(5, 6))
	z := make([]float32, rows*dim)
	for i := range z {
		z[i] = float32(r.NormFloat64()) + float32((i/dim)%3*2*(i%2))
	}
	return writeArray(path, []int{rows, dim}, z)
}

func writeRank(path string, rows, dim, rank int) error {
	z := make([]float32, rows*dim)
	for i, x := range sphere.Uniform(rows, rank, rng.New(7, rng.Bench)) {
		z[i/rank*dim+i%rank] = x
	}
	return writeArray(path, []int{rows, dim}, z)
}

func writeCosts(path string, args []string) error {
	var costs []float64
	for _, arg := range args {
		x, err := strconv.ParseFloat(arg, 64)
		if err != nil {
			return err
		}
		if x == -1 {
			x = math.Inf(1)
		}
		costs = append(costs, x)
	}
	side := int(math.Sqrt(float64(len(costs))))
	return writeArray(path, []int{side, side}, costs)
}

func writeLabels(path string, rows, classes int) error {
	y := make([]int64, rows)
	for i := range y {
		y[i] = int64(i % classes)
	}
	return writeArray(path, []int{rows}, y)
}

func writeArray(path string, shape []int, data any) error {
	var b bytes.Buffer
	if err := tensorfile.WriteNPY(&b, shape, data); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}
