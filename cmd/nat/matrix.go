package main

import (
	"fmt"
	"math"
	"os"
	"slices"

	"nat"
	"nat/internal/tensorfile"
)

// withMatrix opens a two-dimensional .npy file.
func withMatrix(path string, use func(arr *tensorfile.Array) error) error {
	file, err := os.Open(path)
	if err != nil {
		return classify(err, nat.ErrInput)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if info.IsDir() {
		return &classified{fmt.Errorf("%s is a folder: wants an .npy file", path), nat.ErrInput}
	}
	arr, err := tensorfile.OpenNPY(file, info.Size(), path)
	if err != nil {
		return err
	}
	if len(arr.Shape) != 2 {
		return &classified{fmt.Errorf("%s has shape %v: wants two dimensions", path, arr.Shape), nat.ErrInput}
	}
	return use(arr)
}

// readPoints reads an .npy matrix whole, as float32: n rows of d finite values.
func readPoints(path string) (x []float32, n, d int, err error) {
	err = withMatrix(path, func(arr *tensorfile.Array) error {
		if n, d = arr.Rows(), arr.RowLen(); d == 0 {
			return &classified{fmt.Errorf("%s has shape %v: points without coordinates", path, arr.Shape), nat.ErrInput}
		}
		x = make([]float32, n*d)
		if err := arr.ReadRows(x, 0, n); err != nil {
			return err
		}
		bad := func(v float32) bool { return math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) }
		if i := slices.IndexFunc(x, bad); i >= 0 {
			return &classified{fmt.Errorf("%s: row %d, column %d is %v in float32: wants finite values only", path, i/d, i%d, x[i]), nat.ErrInput}
		}
		return nil
	})
	return x, n, d, err
}
