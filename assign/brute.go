package assign

import "math"

// BruteForce tries every permutation of an n x n matrix, n <= 9, in lexicographic
// order and returns the first of least cost. It is the oracle of the tests.
// +Inf forbids a pair; best is +Inf if nothing is left.
func BruteForce(cost []float64, n int) (perm []int32, best float64) {
	if n < 0 || n > 9 || len(cost) < n*n {
		panic("assign: BruteForce needs an n x n matrix with n <= 9")
	}
	best = math.Inf(1)
	perm = make([]int32, n)
	trial := make([]int32, n)
	found := false
	var visit func(i int, used uint, total float64)
	visit = func(i int, used uint, total float64) {
		if i == n {
			if total < best || !found {
				found = true
				best = total
				copy(perm, trial)
			}
			return
		}
		for j := range n {
			if used&(1<<j) == 0 {
				trial[i] = int32(j)
				visit(i+1, used|1<<j, total+cost[i*n+j])
			}
		}
	}
	visit(0, 0, 0)
	return perm, best
}
