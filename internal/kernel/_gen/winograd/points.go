package main

import (
	"math"
	"slices"
)

// matrix is one axis of a transform: out = matrix in.
type matrix [][]float64

// toomCook returns the transforms of F(m, r), m outputs of a filter of r taps:
// y = out ((filter g) * (input d)), with the given finite interpolation points
// and infinity. They are those of package kernel, rounded to float32.
func toomCook(points []float64, m, r int) (input, filter, output matrix) {
	n := m + r - 1
	for i, p := range points {
		others := slices.Delete(slices.Clone(points), i, i+1)
		scale := 1.0
		for _, q := range others {
			scale /= p - q
		}
		input = append(input, append(polynomial(others), 0))
		filter = append(filter, powers(p, r, scale))
	}
	input = append(input, polynomial(points))
	filter = append(filter, make([]float64, r))
	filter[n-1][r-1] = 1
	for i := range m {
		row := make([]float64, n)
		for j, p := range points {
			row[j] = math.Pow(p, float64(i))
		}
		output = append(output, row)
	}
	output[m-1][n-1] = 1
	return rounded(input), rounded(filter), rounded(output)
}

// polynomial returns the coefficients of the product of x - root, lowest first.
func polynomial(roots []float64) []float64 {
	c := []float64{1}
	for _, root := range roots {
		next := make([]float64, len(c)+1)
		for i, v := range c {
			next[i+1] += v
			next[i] -= root * v
		}
		c = next
	}
	return c
}

func powers(p float64, n int, scale float64) []float64 {
	row := make([]float64, n)
	for i := range row {
		row[i] = scale
		scale *= p
	}
	return row
}

func rounded(m matrix) matrix {
	for _, row := range m {
		for j, v := range row {
			if math.Abs(v) < 1e-9 {
				v = 0
			}
			row[j] = float64(float32(v))
		}
	}
	return m
}
