package probe

import (
	"slices"

	"nat/internal/rng"
)

// Subset chooses, for a probe with few labels, perClass rows of every class
// at random: all rows of a class that has no more, none without a label
// (y < 0). It returns row numbers in ascending order; the choice depends on y
// and seed only.
func Subset(y []int, perClass int, seed uint64) []int {
	if perClass < 0 {
		panic("probe: perClass < 0")
	}
	taken := map[int]int{}
	var rows []int
	for _, i := range rng.New(seed, rng.Probe).Perm(len(y)) {
		if y[i] >= 0 && taken[y[i]] < perClass {
			taken[y[i]]++
			rows = append(rows, i)
		}
	}
	slices.Sort(rows)
	return rows
}

// Take returns the part of d whose training rows are rows; the test rows stay
// as they are.
func (d Data) Take(rows []int) Data {
	sub := Data{Test: d.Test, TestY: d.TestY, Dim: d.Dim, Classes: d.Classes}
	sub.Train = make([]float32, 0, len(rows)*d.Dim)
	for _, i := range rows {
		sub.Train = append(sub.Train, d.Train[i*d.Dim:(i+1)*d.Dim]...)
		sub.TrainY = append(sub.TrainY, d.TrainY[i])
	}
	return sub
}
