package kernel

import "math"

// ExpSum adds up e^t over t_i = alpha (a_i - h_i) + beta e_i + gamma, over the
// length of a, and returns the largest t_i as well: the weights of all points
// in the decoding of one noisy point. An empty sum is 0, its maximum -Inf. The
// sum is float32 in sixteen parts: keep to some hundred terms. Terms below
// e^-104 count as zero, those above e^89 as infinity.
func ExpSum(a, h, e []float32, alpha, beta, gamma float32) (sum, largest float32) {
	need(h, len(a))
	need(e, len(a))
	n := active.whole(len(a))
	sum, largest = expSumGeneric(a[n:], h[n:], e[n:], alpha, beta, gamma)
	if n > 0 {
		s, m := active.expSum(a[:n], h[:n], e[:n], alpha, beta, gamma)
		sum, largest = sum+s, max(largest, m)
	}
	return sum, largest
}

// expSumGeneric is ExpSum in plain Go: what the assembly does for whole vectors.
func expSumGeneric(a, h, e []float32, alpha, beta, gamma float32) (sum, largest float32) {
	largest = float32(math.Inf(-1))
	for i, v := range a {
		t := alpha*(v-h[i]) + beta*e[i] + gamma
		largest = max(largest, t)
		sum += float32(math.Exp(float64(t)))
	}
	return sum, largest
}
