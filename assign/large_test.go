package assign

import (
	"context"
	"math/rand/v2"
	"testing"
)

func TestLargeAgreesWithMatrix(t *testing.T) {
	for _, n := range []int{0, 1, 2, 5, 33, 300} {
		const d = 8
		r := rand.New(rand.NewPCG(6, uint64(n)))
		x, y := uniformPoints(r, n, d), uniformPoints(r, n, d)
		cost := make([]float64, n*n)
		for i := range n {
			for j := range n {
				cost[i*n+j] = squaredDistance(x[i*d:(i+1)*d], y[j*d:(j+1)*d])
			}
		}
		var s Solver
		want, err := s.Matrix(cost, n, n, Options{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := Large(context.Background(), x, y, n, d, LargeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if !same(got.Cost, want.Cost) || !got.Optimal {
			t.Errorf("n=%d: cost %v (optimal %v), want %v", n, got.Cost, got.Optimal, want.Cost)
		}
		if err := Verify(&got.Result, func(i, j int) float64 { return cost[i*n+j] }, n, n, 1e-12); err != nil {
			t.Errorf("n=%d: %v", n, err)
		}
	}
}
