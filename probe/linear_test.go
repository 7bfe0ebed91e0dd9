package probe

import (
	"context"
	"slices"
	"testing"

	"nat/internal/rng"
)

// noisy returns rows of dim features of which only the first tells the class.
func noisy(n, dim int, seed uint64) (x []float32, y []int) {
	r := rng.New(seed, "noisy")
	for i := range n {
		y = append(y, i%2)
		for j := range dim {
			v := r.NormFloat64()
			if j == 0 {
				v += 2.5 * (float64(i%2) - .5)
			}
			x = append(x, float32(v))
		}
	}
	return x, y
}

// With more features than rows a fit without penalty answers its own rows and
// little else; the penalty chosen on left-out rows must see that.
func TestLinearChoosesPenalty(t *testing.T) {
	const n, dim = 120, 150
	d := Data{Dim: dim, Classes: 2}
	d.Train, d.TrainY = noisy(n, dim, 1)
	d.Test, d.TestY = noisy(2000, dim, 2)
	pool := newPool(t, 2)
	ctx := context.Background()
	lambda, _, err := newLinear(pool, d, LinearOptions{}, logistic).choose(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	if lambda < .009 {
		t.Errorf("chose %g for %d rows of %d features, want a strong penalty", lambda, n, dim)
	}
	chosen, err1 := Linear(ctx, pool, d, LinearOptions{})
	weak, err2 := Linear(ctx, pool, d, LinearOptions{L2: 1e-5})
	if err1 != nil || err2 != nil || chosen < weak {
		t.Errorf("accuracy %v with the chosen penalty, %v with a weak one (%v, %v)", chosen, weak, err1, err2)
	}
}

// Rows that are left out must have no part in the fit: with every label of
// theirs changed the solution is the same to the bit.
func TestLeftOutRowsDoNotCount(t *testing.T) {
	d := Data{Dim: 6, Classes: 2}
	d.Train, d.TrainY = noisy(300, 6, 3)
	d.Test, d.TestY = d.Train, d.TrainY
	order := rng.New(1, "order").Perm(300)
	fit := func(d Data) []float64 {
		m := newLinear(newPool(t, 1), d, LinearOptions{L2: .01}, logistic)
		m.leave(order, 2)
		w, err := m.fit(context.Background(), make([]float64, len(m.grad)), 50)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	want := fit(d)
	d.TrainY = slices.Clone(d.TrainY)
	for i, place := range order {
		if place%folds == 2 {
			d.TrainY[i] = 1 - d.TrainY[i]
		}
	}
	if !slices.Equal(fit(d), want) {
		t.Error("labels of rows left out changed the fit")
	}
	for i, place := range order {
		if place%folds != 2 {
			d.TrainY[i] = 1 - d.TrainY[i]
			break
		}
	}
	if slices.Equal(fit(d), want) {
		t.Error("a label that counts did not change the fit: the test sees nothing")
	}
}
