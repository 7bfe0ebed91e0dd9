package probe_test

import (
	"context"
	"fmt"

	"nat/internal/kernel"
	"nat/probe"
)

// Two classes on two sides of a line.
func Example() {
	pool := kernel.NewPool(1)
	defer pool.Close()
	data := probe.Data{
		Train: []float32{2, 1, 3, 1, -2, 1, -3, 1}, TrainY: []int{0, 0, 1, 1},
		Test: []float32{1, 0, -1, 0}, TestY: []int{0, 1},
		Dim: 2, Classes: 2,
	}
	knn, err := probe.KNN(context.Background(), pool, data, probe.KNNOptions{K: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	linear, err := probe.Linear(context.Background(), pool, data, probe.LinearOptions{L2: 1e-3})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(knn, linear, probe.Majority(data))
	// Output: 1 1 0.5
}
