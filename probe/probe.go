// Package probe measures, with labels, what frozen features have kept: the
// accuracy of simple classifiers fitted to the features of the training rows
// and tested on other rows. It works on any features, whoever made them:
//
//	data := probe.Data{Train: z, TrainY: y, Test: zt, TestY: yt, Dim: 64, Classes: 10}
//	accuracy, err := probe.KNN(ctx, pool, data, probe.KNNOptions{})
//
// Accuracies are fractions of the test rows. Without labels, [Neighbours] found among
// rows and among their codes tell what the codes keep. No probe changes the features,
// and none copies them whole: they are normalised or standardised block by
// block, so a probe needs little memory beside its data.
package probe

import (
	"fmt"
	"math"

	"nat/internal/kernel"
)

// Data are features with labels: Train is len(TrainY) x Dim, Test is
// len(TestY) x Dim, labels are 0..Classes-1.
type Data struct {
	Train, Test   []float32
	TrainY, TestY []int
	Dim, Classes  int
}

// blockRows is the number of rows handled at a time by everything in this
// package; it is part of the order of summation, so it is fixed.
const blockRows = 512

// check panics if the slices do not fit together and returns an error if the
// contents cannot be used.
func (d Data) check(pool *kernel.Pool) error {
	if d.Dim < 1 || len(d.Train) != len(d.TrainY)*d.Dim || len(d.Test) != len(d.TestY)*d.Dim {
		panic("probe: features and labels do not have the same number of rows")
	}
	if d.Classes < 1 || len(d.TrainY) == 0 || len(d.TestY) == 0 {
		return fmt.Errorf("probe: %d classes, %d training rows and %d test rows; need at least one of each",
			d.Classes, len(d.TrainY), len(d.TestY))
	}
	for _, part := range []struct {
		name string
		x    []float32
		y    []int
	}{{"training", d.Train, d.TrainY}, {"test", d.Test, d.TestY}} {
		for i, y := range part.y {
			if y < 0 || y >= d.Classes {
				return fmt.Errorf("probe: %s row %d has label %d, outside 0..%d", part.name, i, y, d.Classes-1)
			}
		}
		if i := notFinite(pool, part.x, d.Dim); i >= 0 {
			return fmt.Errorf("probe: %s row %d has a feature that is not finite", part.name, i)
		}
	}
	return nil
}

// notFinite returns the first row of x (rows x dim) that holds an infinity or
// a NaN, or -1.
func notFinite(pool *kernel.Pool, x []float32, dim int) int {
	rows := len(x) / dim
	bad := make([]int, (rows+blockRows-1)/blockRows)
	pool.Do(len(bad), func(b int) {
		bad[b] = -1
		lo, hi := b*blockRows*dim, min(rows, (b+1)*blockRows)*dim
		for i, v := range x[lo:hi] {
			if v-v != 0 {
				bad[b] = (lo + i) / dim
				return
			}
		}
	})
	for _, i := range bad {
		if i >= 0 {
			return i
		}
	}
	return -1
}

// Majority returns the accuracy of always answering the commonest training
// label: what a probe reaches without looking at the features.
func Majority(d Data) float64 {
	count := make([]int, d.Classes)
	for _, y := range d.TrainY {
		count[y]++
	}
	best := 0
	for y, c := range count {
		if c > count[best] {
			best = y
		}
	}
	hits := 0
	for _, y := range d.TestY {
		if y == best {
			hits++
		}
	}
	return float64(hits) / float64(len(d.TestY))
}

// accuracyOf returns the share of rows of score (len(y) x classes) whose
// largest entry, the first of equals, is the label's.
func accuracyOf(score []float32, y []int, classes int) (hits int) {
	for i, want := range y {
		row := score[i*classes : (i+1)*classes]
		best := 0
		for c, s := range row {
			if s > row[best] {
				best = c
			}
		}
		if best == want {
			hits++
		}
	}
	return hits
}

// standardiser maps features to mean 0 and variance 1 on the training rows.
// A feature that does not vary is only centred.
type standardiser struct {
	mean, scale []float32
	square      []float64 // sums of squared deviations
	one, zero   []float32 // constants as long as a row
}

// standardise measures x (rows x dim), in float64: sums of fixed blocks,
// added in the order of the blocks, first for the mean and then for the
// squared deviations from it.
func standardise(pool *kernel.Pool, x []float32, dim int) standardiser {
	rows := len(x) / dim
	s := standardiser{mean: make([]float32, dim), scale: make([]float32, dim), one: make([]float32, dim), zero: make([]float32, dim)}
	mean := columnSums(pool, x, dim, make([]float64, dim), false)
	for j := range mean {
		mean[j] /= float64(rows)
	}
	s.square = columnSums(pool, x, dim, mean, true)
	for j := range mean {
		s.mean[j], s.scale[j], s.one[j] = float32(mean[j]), 1, 1
		// Below the rounding of float32 around the mean there is no signal.
		if sd := math.Sqrt(s.square[j] / float64(rows)); sd > 1e-6*math.Abs(mean[j]) {
			s.scale[j] = float32(1 / sd)
		}
	}
	return s
}

// columnSums returns the sums over rows of x - centre, squared if asked.
func columnSums(pool *kernel.Pool, x []float32, dim int, centre []float64, squared bool) []float64 {
	rows := len(x) / dim
	blocks := (rows + blockRows - 1) / blockRows
	part := make([]float64, blocks*dim)
	pool.Do(blocks, func(b int) {
		sum := part[b*dim : (b+1)*dim]
		for i := b * blockRows; i < min(rows, (b+1)*blockRows); i++ {
			for j, v := range x[i*dim : (i+1)*dim] {
				e := float64(v) - centre[j]
				if squared {
					e *= e
				}
				sum[j] += e
			}
		}
	})
	for b := 1; b < blocks; b++ {
		for j, v := range part[b*dim : (b+1)*dim] {
			part[j] += v
		}
	}
	return part[:dim]
}

// apply writes the standardised rows of x (rows x dim) to dst, which may be
// x: it is the inference step of a batch norm.
func (s standardiser) apply(pool *kernel.Pool, dst, x []float32, rows int) {
	pool.BatchNormApply(dst, x, nil, s.scale, s.zero, s.mean, s.one, rows, len(s.mean), 0, false)
}
