package objective

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"nat/internal/kernel"
	"nat/sphere"
)

// softLoss is (44), written as it is defined, with the pairing that holds.
func softLoss(o *NAT, perm []int32, rows []int32, z [][]float64, temperature float64) float64 {
	targets := rowsOf(o.Targets(), o.d)
	var total float64
	for i, row := range z {
		var all float64
		for _, point := range rows {
			all += math.Exp(inner(row, targets[perm[point]]) / temperature)
		}
		total += math.Log(all) - inner(row, targets[perm[rows[i%len(rows)]]])/temperature
	}
	return total / float64(len(z))
}

// Loss before and after the re-assignment, what a random pairing has, and the gradient.
func TestSoftmaxLossAgainstDifferences(t *testing.T) {
	for _, views := range []int{1, 2, 3} {
		const n, b, d, temperature = 12, 5, 4, .3
		o := newNAT(t, n, d, NATOptions{Seed: 3, Views: views, Loss: LossSoftmax, Temperature: temperature}, 2)
		rows, z, dz := batch(rand.New(rand.NewPCG(1, uint64(views))), o, b)
		held := slices.Clone(o.Perm())
		s, err := o.Step(Batch{Rows: rows}, z, dz)
		if err != nil {
			t.Fatal(err)
		}
		moved := rowsOf(z, d)
		loss := func() float64 { return softLoss(o, o.Perm(), rows, moved, temperature) }
		near(t, "loss", s.Loss, loss(), 1e-5)
		near(t, "loss before", s.LossBefore, softLoss(o, held, rows, moved, temperature), 1e-5)
		near(t, "won", s.Reassignment, s.LossBefore-s.Loss, 1e-12)
		near(t, "information", s.Information, math.Log(b)-s.Loss, 1e-12)
		// Every view with every target of the batch is what random pairings come to on average.
		var random float64
		turned := slices.Clone(o.Perm())
		for k := range b {
			for i, row := range rows {
				turned[row] = o.Perm()[rows[(i+k)%b]]
			}
			random += softLoss(o, turned, rows, moved, temperature) / b
		}
		near(t, "chance", s.Chance, random, 1e-5)
		const h = 1e-5
		for i, row := range moved {
			for k, x := range row {
				row[k] = x + h
				up := loss()
				row[k] = x - h
				down := loss()
				row[k] = x
				near(t, "gradient", float64(dz[i*d+k]), (up-down)/(2*h), 1e-5)
			}
		}
	}
}

func TestValuesOfSoftmaxLoss(t *testing.T) {
	o := newNAT(t, valueRows, valueDim, NATOptions{Views: valueViews, Loss: LossSoftmax}, 1)
	z := valueEmbeddings()
	for j := range valueRows { // the targets of the script, each with another point
		copy(o.Targets()[j*valueDim:], z[(j+1)%valueRows*valueDim:][:valueDim])
		o.Perm()[j] = int32(j)
	}
	dz := make([]float32, len(z))
	s, err := o.Step(Batch{Rows: []int32{0, 1, 2, 3}}, z, dz)
	if err != nil {
		t.Fatal(err)
	}
	checkValue(t, "softmax", s.Loss, z, dz)
}

// Both losses re-pair alike, in pools too, and neither workers nor an interruption count.
func TestSoftmaxLossPairsAlike(t *testing.T) {
	const n, d, b = 600, 16, 100
	opt := NATOptions{Seed: 1, Views: 2, Assign: AssignPool, Pool: 2}
	square := newNAT(t, n, d, opt, 1)
	epoch(t, square, 0, 0, n/b, b)
	opt.Loss = LossSoftmax
	one, two := newNAT(t, n, d, opt, 1), newNAT(t, n, d, opt, 2)
	_, grads := epoch(t, one, 0, 0, n/b, b)
	_, first := epoch(t, two, 0, 0, 3, b)
	three := newNAT(t, n, d, opt, 3)
	if err := three.SetState(throughFile(t, two.State())); err != nil {
		t.Fatal(err)
	}
	_, second := epoch(t, three, 0, 3, n/b, b)
	if !slices.Equal(square.Perm(), one.Perm()) || !slices.Equal(one.Perm(), three.Perm()) {
		t.Error("another pairing")
	}
	if !slices.Equal(grads, append(first, second...)) {
		t.Error("other gradients")
	}
}

func TestKindsOfTargets(t *testing.T) {
	const n, d = 10, 4
	discrete := newNAT(t, n, d, NATOptions{Targets: TargetsDiscrete}, 1)
	counts := make([]int, d)
	for row := range slices.Chunk(discrete.Targets(), d) {
		k := slices.Index(row, 1)
		counts[k]++
		if slices.Max(row) != 1 || slices.Min(row) != 0 {
			t.Errorf("target %v", row)
		}
	}
	if !slices.Equal(counts, []int{3, 3, 2, 2}) {
		t.Errorf("basis vectors are used %v times", counts)
	}
	rows, z, dz := batch(rand.New(rand.NewPCG(1, 2)), discrete, n)
	if _, err := discrete.Step(Batch{Rows: rows}, z, dz); err != nil {
		t.Error(err)
	}
	even := newNAT(t, 400, 2, NATOptions{Targets: TargetsEven}, 1)
	uniform := newNAT(t, 400, 2, NATOptions{}, 1)
	if a, b := sphere.WangIsola(even.Targets(), 400, 2), sphere.WangIsola(uniform.Targets(), 400, 2); a >= b {
		t.Errorf("potential of even targets %v, of random ones %v", a, b)
	}
}

// Fresh targets are those of the step, whatever came before.
func TestFreshTargets(t *testing.T) {
	const b, d, views = 40, 8, 2
	build := func(workers int, loss string) *Fresh {
		pool := kernel.NewPool(workers)
		t.Cleanup(pool.Close)
		return must(NewFresh(b, d, NATOptions{Seed: 5, Views: views, Loss: loss}, pool))
	}
	for _, loss := range []string{LossSquare, LossSoftmax} {
		whole, first, second := build(1, loss), build(2, loss), build(3, loss)
		stats, grads := steps(t, whole, views, b, d, 0, 6)
		_, g1 := steps(t, first, views, b, d, 0, 3)
		if err := second.SetState(throughFile(t, first.State())); err != nil {
			t.Fatal(err)
		}
		_, g2 := steps(t, second, views, b, d, 3, 6)
		if !slices.Equal(grads, append(g1, g2...)) {
			t.Errorf("%s: other gradients after an interruption", loss)
		}
		seen := map[float64]bool{}
		for _, s := range stats {
			if seen[s.Loss] || s.Reassigned < .5 {
				t.Errorf("%s: %+v", loss, s)
			}
			seen[s.Loss] = true
		}
	}
}
