package assign_test

import (
	"context"
	"fmt"

	"nat/assign"
	"nat/internal/kernel"
)

func ExampleSolver_Matrix() {
	cost := []float64{
		4, 1, 3,
		2, 0, 5,
		3, 2, 2,
	}
	var s assign.Solver
	r, err := s.Matrix(context.Background(), cost, 3, 3, assign.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(r.Perm, r.Cost, r.LowerBound, r.Optimal)
	// Output: [1 0 2] 5 5 true
}

// A batch of two points, each of which holds the other's target.
func ExampleMatching_Rematch() {
	pool := kernel.NewPool(1)
	defer pool.Close()
	targets := []float32{0, 1, 1, 0, -1, 0} // north, east, west
	m := assign.NewMatching(3, nil)
	var s assign.Solver
	got, err := m.Rematch(context.Background(), pool, &s, []int32{0, 1}, []float32{1, 0, 0, 1}, targets, 2)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(m.Perm, got.CostBefore, got.CostAfter, got.Changed)
	// Output: [1 0 2] 4 0 2
}
