package infomax

import (
	"math"
	"slices"
	"testing"

	"gonum.org/v1/gonum/mat"

	"nat/internal/kernel"
	"nat/internal/rng"
	"nat/sphere"
)

// A twist keeps lengths, and its derivative has the determinant 1: it keeps volumes of
// the space, hence those of every sphere.
func TestTwistKeepsLengthsAndVolumes(t *testing.T) {
	pool := kernel.NewPool(2)
	defer pool.Close()
	for _, d := range []int{3, 4, 7} {
		z := sphere.Uniform(20, d, rng.New(8, rng.Targets))
		twisted := slices.Clone(z)
		Twist(pool, twisted, 20, d, .5, 1, 1)
		for i := range 20 {
			row := twisted[i*d : (i+1)*d]
			within(t, "norm", math.Sqrt(float64(kernel.Dot(row, row))), 1, 1e-5)
			const h = 5e-3
			jacobian := mat.NewDense(d, d, nil)
			for k := range d {
				pair := slices.Concat(z[i*d:(i+1)*d], z[i*d:(i+1)*d])
				pair[k] += h
				pair[d+k] -= h
				Twist(pool, pair, 2, d, .5, 1, 1)
				for j := range d {
					jacobian.Set(j, k, float64(pair[j]-pair[d+j])/(2*h))
				}
			}
			within(t, "determinant", mat.Det(jacobian), 1, 1e-3)
		}
	}
}

// Strength 0 is the identity, growing strengths tear neighbours apart, and uniform points stay
// uniform with the information they had.
func TestTwistEntangles(t *testing.T) {
	pool := kernel.NewPool(2)
	defer pool.Close()
	const n, d = 2000, 5
	z := sphere.Uniform(n, d, rng.New(8, rng.Targets))
	for k := range d { // two neighbours
		z[d+k] = z[k]
	}
	z[d] += .02
	before := exact(t, pool, z, n, d, .2)
	last := 0.0
	for _, strength := range []float64{0, .5, 2} {
		w := slices.Clone(z)
		Twist(pool, w, n, d, strength, 6, 1)
		if strength == 0 && !slices.Equal(w, z) {
			t.Error("strength 0 moves points")
		}
		apart := sphere.Geodesic(w[:d], w[d:2*d])
		if strength > 0 && apart < last {
			t.Errorf("strength %v: neighbours are %v apart, %v before", strength, apart, last)
		}
		last = apart
		after := exact(t, pool, w, n, d, .2)
		within(t, "information", after.Nats, before.Nats, 4*math.Hypot(after.Stderr, before.Stderr))
		for _, test := range []sphere.Test{sphere.Rayleigh(w, n, d), sphere.Bingham(w, n, d)} {
			dof := float64(test.DoF)
			within(t, "uniform", test.Statistic, dof, 5*math.Sqrt(2*dof))
		}
	}
	if last < .2 {
		t.Errorf("neighbours are still %v apart", last)
	}
}

func TestTwistIsTheSameForAnyWorkers(t *testing.T) {
	var want []float32
	for _, workers := range []int{1, 3} {
		pool := kernel.NewPool(workers)
		z := sphere.Uniform(600, 4, rng.New(8, rng.Targets))
		Twist(pool, z, 600, 4, 1, 4, 2)
		pool.Close()
		if want == nil {
			want = z
		}
		if !slices.Equal(z, want) {
			t.Errorf("%d workers differ", workers)
		}
	}
}
