package index_test

import (
	"fmt"

	"nat/index"
	"nat/internal/kernel"
)

// The two rows most similar to each of three unit vectors, other than itself.
func ExampleSearch() {
	pool := kernel.NewPool(1)
	defer pool.Close()
	z := []float32{1, 0, 0, 1, .6, .8}
	idx, sim := index.Search(pool, z, z, 3, 3, 2, 2, true)
	for i := range 3 {
		fmt.Println(i, idx[2*i:2*i+2], sim[2*i:2*i+2])
	}
	// Output:
	// 0 [2 1] [0.6 0]
	// 1 [2 0] [0.8 0]
	// 2 [1 0] [0.8 0.6]
}
