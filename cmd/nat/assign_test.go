package main

import (
	"math/rand/v2"
	"testing"

	"nat/assign"
	"nat/internal/kernel"
)

// Points and targets that are all near one point of the sphere, as far as float32 goes.
func TestAssignPointsCloseTogether(t *testing.T) {
	pool := kernel.NewPool(1)
	defer pool.Close()
	const n, d = 40, 4
	r := rand.New(rand.NewPCG(1, 2))
	cloud := func(n int) []float32 {
		x := make([]float32, n*d)
		for k := range x {
			x[k] = .5 + float32(r.IntN(64))/(1<<22)
		}
		return x
	}
	for _, m := range []int{n, n + 9, n - 9} {
		z, c := cloud(n), cloud(m)
		got, err := assignPoints(t.Context(), pool, new(assign.Solver), z, c, n, m, d, assign.LargeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if !got.Optimal || got.RelativeGap > 1e-12 {
			t.Errorf("%d points, %d targets: optimal %v, relative gap %g", n, m, got.Optimal, got.RelativeGap)
		}
		distance := func(i, j int) float64 { return kernel.SqDist64(z[i*d:(i+1)*d], c[j*d:(j+1)*d]) }
		if err := assign.Verify(&got.Result, distance, n, m, 1e-22); err != nil {
			t.Error(err)
		}
	}
}
