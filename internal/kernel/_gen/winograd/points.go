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

// strided returns the transforms of F(m, 3) with stride 2, as those of
// F(m, 2) for the even inputs with the outer taps, and plain products for the
// odd ones with the middle tap.
func strided(points []float64, m int) (input, filter, output matrix) {
	in, f, out := toomCook(points, m, 2)
	n := m + 1
	zeros := func(rows, cols int) matrix {
		a := make(matrix, rows)
		for i := range a {
			a[i] = make([]float64, cols)
		}
		return a
	}
	input, filter, output = zeros(n+m, 2*m+1), zeros(n+m, 3), zeros(m, n+m)
	for i := range n {
		for j := range n {
			input[i][2*j] = in[i][j]
		}
		filter[i][0], filter[i][2] = f[i][0], f[i][1]
		for j := range m {
			output[j][i] = out[j][i]
		}
	}
	for i := range m {
		input[n+i][2*i+1], filter[n+i][1], output[i][n+i] = 1, 1, 1
	}
	return input, filter, output
}

func (m matrix) transposed() matrix {
	t := make(matrix, len(m[0]))
	for j := range t {
		for i := range m {
			t[j] = append(t[j], m[i][j])
		}
	}
	return t
}
