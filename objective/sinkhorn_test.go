package objective

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"nat/sphere"
)

// entropicDistance is (45) of squared distances at temperature t, between the uniform laws on x
// and on y: in float64, by potentials, to convergence.
func entropicDistance(x, y [][]float64, t float64) float64 {
	distance := func(a, b []float64) float64 { return inner(a, a) + inner(b, b) - 2*inner(a, b) }
	f, g := make([]float64, len(x)), make([]float64, len(y))
	soften := func(to, from []float64, cost func(i, j int) float64) {
		for i := range to {
			var sum float64
			for j, p := range from {
				sum += math.Exp((p-cost(i, j))/(2*t)) / float64(len(from))
			}
			to[i] = -2 * t * math.Log(sum)
		}
	}
	for range 3000 {
		soften(f, g, func(i, j int) float64 { return distance(x[i], y[j]) })
		soften(g, f, func(j, i int) float64 { return distance(x[i], y[j]) })
	}
	var sum float64
	for _, p := range f {
		sum += p / float64(len(f))
	}
	for _, p := range g {
		sum += p / float64(len(g))
	}
	return sum
}

func sinkhornDivergence(x, y [][]float64, t float64) float64 {
	return entropicDistance(x, y, t) - (entropicDistance(x, x, t)+entropicDistance(y, y, t))/2
}

// sinkhornLoss is (46) as it is defined.
func sinkhornLoss(z, targets [][]float64, views int, t, weight float64) float64 {
	b := len(targets)
	var loss float64
	for v := range views {
		loss += weight / float64(views) * sinkhornDivergence(z[v*b:(v+1)*b], targets, t)
		for w := range views {
			for i := range b {
				if a, c := z[v*b+i], z[w*b+i]; v != w {
					loss += (inner(a, a) + inner(c, c) - 2*inner(a, c)) / float64(2*b*views*(views-1))
				}
			}
		}
	}
	return loss / (2 * t)
}

// targetsOf are those that the rows hold.
func targetsOf(o *NAT, rows []int32) (targets [][]float64) {
	for _, row := range rows {
		targets = append(targets, rowsOf(o.target(o.Perm()[row]), o.d)[0])
	}
	return targets
}

// The loss and its gradient are those of the definition, at the temperature of the step.
func TestSinkhornLossAgainstDifferences(t *testing.T) {
	for _, views := range []int{1, 2, 3} {
		const n, b, d, weight = 12, 5, 4, 1.7
		o := newNAT(t, n, d, NATOptions{Seed: 3, Views: views, Loss: LossSinkhorn, Temperature: .8, FinalTemperature: .2, UniformityWeight: weight}, 2)
		rows, z, dz := batch(rand.New(rand.NewPCG(1, uint64(views))), o, b)
		s, err := o.Step(Batch{Rows: rows, Progress: .5}, z, dz)
		if err != nil {
			t.Fatal(err)
		}
		const temperature = .4 // half the way, by equal factors
		moved, targets := rowsOf(z, d), targetsOf(o, rows)
		loss := func() float64 { return sinkhornLoss(moved, targets, views, temperature, weight) }
		near(t, "loss", s.Loss, loss(), 5e-4)
		near(t, "won", s.Reassignment, 0, 0)
		const h = 1e-4
		for i := range moved[:2] {
			row := moved[i*(len(moved)-1)] // the first, and the last
			for k, x := range row {
				row[k] = x + h
				up := loss()
				row[k] = x - h
				down := loss()
				row[k] = x
				near(t, "gradient", float64(dz[i*(len(moved)-1)*d+k]), (up-down)/(2*h), 5e-4)
			}
		}
	}
}

// A batch that lies on its targets has nothing to gain, whatever the temperature; a batch in one
// point has the loss of chance.
func TestSinkhornLossAtItsEnds(t *testing.T) {
	const n, b, d = 40, 30, 6
	for _, temperature := range []float64{.05, .2, 2} {
		o := newNAT(t, n, d, NATOptions{Seed: 2, Loss: LossSinkhorn, Temperature: temperature}, 1)
		rows, z, dz := batch(rand.New(rand.NewPCG(3, 1)), o, b)
		r := rand.New(rand.NewPCG(5, 5))
		for i, k := range r.Perm(b) { // in another order: no point need know which target is its own
			copy(z[i*d:(i+1)*d], o.target(o.Perm()[rows[k]]))
		}
		s, err := o.Step(Batch{Rows: rows}, z, dz)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "loss on the targets", s.Loss, 0, 1e-3/temperature)
		for _, g := range dz {
			near(t, "gradient on the targets", float64(g), 0, 1e-3/temperature)
		}
		point := sphere.Uniform(1, d, r)
		for i := range b {
			copy(z[i*d:(i+1)*d], point)
		}
		if s, err = o.Step(Batch{Rows: rows}, z, dz); err != nil {
			t.Fatal(err)
		}
		mean := make([]float64, d)
		for _, c := range targetsOf(o, rows) {
			for k, x := range c {
				mean[k] += x / b
			}
		}
		near(t, "loss of one point", s.Loss, s.Chance-2*inner(rowsOf(point, d)[0], mean)/(2*temperature), 1e-3/temperature)
	}
}

// The square loss with a temperature pulls to the mean of the targets weighed by the plan:
// cold, to the point's own; hot, to the mean of all.
func TestSoftTargets(t *testing.T) {
	const n, b, d, views = 8, 4, 4, 2
	hard := newNAT(t, n, d, NATOptions{Seed: 6, Views: views}, 1)
	cold := newNAT(t, n, d, NATOptions{Seed: 6, Views: views, Temperature: .025}, 1)
	hot := newNAT(t, n, d, NATOptions{Seed: 6, Views: views, Temperature: 1000}, 1)
	rows, z, want := batch(rand.New(rand.NewPCG(8, 8)), hard, b)
	r := rand.New(rand.NewPCG(9, 9))
	for i := range b { // near the targets they hold, so that the best pairing is far ahead of others
		for v := range views {
			for k, c := range hard.target(hard.Perm()[rows[i]]) {
				z[(v*b+i)*d+k] = c + .1*float32(r.NormFloat64())
			}
		}
	}
	got, warm := make([]float32, len(z)), make([]float32, len(z))
	s, err := hard.Step(Batch{Rows: rows}, z, want)
	if err != nil {
		t.Fatal(err)
	}
	c, err := cold.Step(Batch{Rows: rows}, z, got)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "cold loss", c.Loss, s.Loss, 1e-3)
	if _, err := hot.Step(Batch{Rows: rows}, z, warm); err != nil {
		t.Fatal(err)
	}
	targets := targetsOf(hard, rows)
	for i, x := range z {
		near(t, "cold gradient", float64(got[i]), float64(want[i]), 1e-3)
		var mean float64
		for _, c := range targets {
			mean += c[i%d] / b
		}
		near(t, "hot gradient", float64(warm[i]), 2*(float64(x)-mean)/float64(views*b), 1e-3)
	}
}

// Neither workers nor an interruption count, and the pairing is that of the square loss.
func TestPlannedLossesPairAlike(t *testing.T) {
	const n, d, b = 600, 16, 100
	for _, opt := range []NATOptions{
		{Loss: LossSinkhorn},
		{Loss: LossSquare, Temperature: .1, FinalTemperature: .03},
		{Loss: LossSquare, Temperature: .1, Match: MatchAverage},
	} {
		opt.Seed, opt.Views, opt.Assign, opt.Pool = 1, 2, AssignPool, 2
		plain := opt
		plain.Loss, plain.Temperature, plain.FinalTemperature = LossSquare, 0, 0
		square := newNAT(t, n, d, plain, 1)
		epoch(t, square, 0, 0, n/b, b)
		one, two, three := newNAT(t, n, d, opt, 1), newNAT(t, n, d, opt, 2), newNAT(t, n, d, opt, 3)
		_, grads := epoch(t, one, 0, 0, n/b, b)
		_, first := epoch(t, two, 0, 0, 3, b)
		if err := three.SetState(throughFile(t, two.State())); err != nil {
			t.Fatal(err)
		}
		_, second := epoch(t, three, 0, 3, n/b, b)
		if !slices.Equal(square.Perm(), one.Perm()) || !slices.Equal(one.Perm(), three.Perm()) {
			t.Errorf("%+v: another pairing", opt)
		}
		if !slices.Equal(grads, append(first, second...)) {
			t.Errorf("%+v: other gradients", opt)
		}
	}
}

func TestTemperaturesAreValidated(t *testing.T) {
	for _, opt := range []NATOptions{
		{Temperature: .01},
		{Loss: LossSinkhorn, Temperature: .2, FinalTemperature: .02},
		{Loss: LossSoftmax, FinalTemperature: 1e9},
		{FinalTemperature: .1},
		{UniformityWeight: 1},
		{Loss: LossSinkhorn, Views: 2, Match: MatchAverage},
		{Loss: LossSinkhorn, UniformityWeight: -1},
		{Loss: LossSinkhorn, UniformityWeight: math.NaN()},
		{Loss: LossSinkhorn, UniformityWeight: math.Inf(1)},
	} {
		if o, err := NewNAT(4, 3, opt, nil); err == nil {
			t.Errorf("%+v: %v", opt, o)
		}
	}
}
