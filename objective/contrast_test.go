package objective

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"nat/internal/kernel"
	"nat/internal/tensorfile"
	"nat/sphere"
)

// inner is <a, b> in float64.
func inner(a, b []float64) (sum float64) {
	for k, x := range a {
		sum += x * b[k]
	}
	return sum
}

// rowsOf cuts values into rows of d, in float64.
func rowsOf(x []float32, d int) (rows [][]float64) {
	for r := range slices.Chunk(x, d) {
		row := make([]float64, d)
		for k, v := range r {
			row[k] = float64(v)
		}
		rows = append(rows, row)
	}
	return rows
}

// contrast is one of the objectives without targets in a test: how it is made, and its
// loss written as it is defined.
type contrast struct {
	views int
	make  func(d, views int, pool *kernel.Pool) (Objective, error)
	loss  func(o Objective, base, z [][]float64, views int) float64 // base: those of the step
}

var contrasts = map[string]contrast{
	"infonce, 2 views": {2, makeInfoNCE, infoNCELoss},
	"infonce, 3 views": {3, makeInfoNCE, infoNCELoss},
	"infomax, 1 view":  {1, makeInfoMax, infoMaxLoss},
	"infomax, 2 views": {2, makeInfoMax, infoMaxLoss},
	"infomax, 3 views": {3, makeInfoMax, infoMaxLoss},

	"align-uniform, 2 views": {2, makeAlignUniform, alignUniformLoss},
	"align-uniform, 3 views": {3, makeAlignUniform, alignUniformLoss},
	"classifier, 1 view":     {1, makeClassifier, classifierLoss},
	"classifier, 2 views":    {2, makeClassifier, classifierLoss},
}

func makeInfoNCE(d, views int, pool *kernel.Pool) (Objective, error) {
	return NewInfoNCE(d, InfoNCEOptions{Views: views}, pool)
}

func infoNCELoss(_ Objective, _, z [][]float64, views int) float64 {
	b := len(z) / views
	e := func(i, j int) float64 { return math.Exp(inner(z[i], z[j]) / DefaultTemperature) }
	var total float64
	for a := range z {
		var negatives float64
		for n := range z {
			if n%b != a%b {
				negatives += e(a, n)
			}
		}
		for p := a % b; p < len(z); p += b {
			if p != a {
				total -= math.Log(e(a, p) / (e(a, p) + negatives))
			}
		}
	}
	return total / float64(len(z)*(views-1))
}

func makeInfoMax(d, views int, pool *kernel.Pool) (Objective, error) {
	return NewInfoMax(d, InfoMaxOptions{Seed: 7, Views: views}, pool)
}

// infoMaxLoss has the noise of the objective's last step, which was on base.
func infoMaxLoss(obj Objective, base, z [][]float64, views int) float64 {
	o, b := obj.(*InfoMax), len(z)/views
	var total float64
	for i, noisy := range rowsOf(o.noisy, o.d) {
		for k := range noisy {
			noisy[k] += z[i][k] - base[i][k]
		}
		var own, all float64
		for j := range z {
			if views > 1 && j/b == i/b {
				continue
			}
			e := math.Exp(inner(noisy, z[j]) / (DefaultNoise * DefaultNoise))
			all += e
			if j%b == i%b {
				own += e
			}
		}
		total -= math.Log(own / all)
	}
	return total / float64(len(z))
}

func makeAlignUniform(d, views int, pool *kernel.Pool) (Objective, error) {
	return NewAlignUniform(d, AlignUniformOptions{Views: views, Weight: 1.5}, pool)
}

func alignUniformLoss(_ Objective, _, z [][]float64, views int) float64 {
	b := len(z) / views
	var align, uniform float64
	for v := range views {
		for w := range v {
			for i := range b {
				for k, x := range z[v*b+i] {
					align += (x - z[w*b+i][k]) * (x - z[w*b+i][k])
				}
			}
		}
		var potential float64
		for i := range b {
			for j := range b {
				if i != j { // of unit vectors, e^(-2 squared distances)
					potential += math.Exp(4*inner(z[v*b+i], z[v*b+j]) - 4)
				}
			}
		}
		uniform += math.Log(potential/float64(b*(b-1))) / float64(views)
	}
	return align/float64(b*views*(views-1)/2) + 1.5*uniform
}

// classLabels are three classes; point 1 is one more.
func classLabels(n int) []int32 {
	labels := make([]int32, n)
	for i := range labels {
		labels[i] = int32(i % 3)
	}
	labels[1] = 3
	return labels
}

// With thousands of classes a prototype has a larger gradient than that of the loss.
func TestPaceOfPrototypes(t *testing.T) {
	pool := kernel.NewPool(2)
	defer pool.Close()
	for classes, pace := range map[int]float64{2: 1, 1000: 1, 3000: 3} {
		labels := make([]int32, classes)
		for i := range labels {
			labels[i] = int32(i)
		}
		o := must(NewClassifier(labels, 2, ClassifierOptions{Seed: 7}, pool))
		clear(o.weight) // every class as likely
		if _, err := o.Step(Batch{Rows: []int32{0}}, []float32{1, 0}, make([]float32, 2)); err != nil {
			t.Fatal(err)
		}
		near(t, "own prototype", float64(o.grad[0]), pace*(1/float64(classes)-1)/DefaultSharpness, 1e-3)
		near(t, "another", float64(o.grad[2]), pace/float64(classes)/DefaultSharpness, 1e-5)
	}
}

func makeClassifier(d, views int, pool *kernel.Pool) (Objective, error) {
	return NewClassifier(classLabels(100), d, ClassifierOptions{Seed: 7, Views: views, Temperature: .5}, pool)
}

func classifierLoss(obj Objective, _, z [][]float64, views int) float64 {
	o, b := obj.(*Classifier), len(z)/views
	prototypes := rowsOf(o.weight, o.d)
	var total float64
	for i, row := range z {
		var all float64
		for _, w := range prototypes {
			all += math.Exp(inner(row, w) / .5)
		}
		total += math.Log(all) - inner(row, prototypes[o.labels[i%b]])/.5
	}
	return total / float64(len(z))
}

// The loss is what its definition says, and the gradient its differences.
func TestContrastAgainstDifferences(t *testing.T) {
	for name, c := range contrasts {
		t.Run(name, func(t *testing.T) {
			const b, d = 5, 4
			pool := kernel.NewPool(2)
			defer pool.Close()
			o, err := c.make(d, c.views, pool)
			if err != nil {
				t.Fatal(err)
			}
			z := sphere.Uniform(c.views*b, d, rand.New(rand.NewPCG(1, 2)))
			dz := make([]float32, len(z))
			s, err := o.Step(Batch{Rows: []int32{0, 1, 2, 3, 4}}, z, dz)
			if err != nil {
				t.Fatal(err)
			}
			base, moved := rowsOf(z, d), rowsOf(z, d)
			near(t, "loss", s.Loss, c.loss(o, base, moved, c.views), 1e-5)
			const h = 1e-5
			for i, row := range moved {
				for k, x := range row {
					row[k] = x + h
					up := c.loss(o, base, moved, c.views)
					row[k] = x - h
					down := c.loss(o, base, moved, c.views)
					row[k] = x
					near(t, "gradient", float64(dz[i*d+k]), (up-down)/(2*h), 2e-5)
				}
			}
		})
	}
}

// A classifier's prototypes have a gradient too.
func TestPrototypesAgainstDifferences(t *testing.T) {
	const b, d, views, h = 5, 4, 2, 1.0 / 256
	pool := kernel.NewPool(2)
	defer pool.Close()
	o := must(makeClassifier(d, views, pool)).(*Classifier)
	z := sphere.Uniform(views*b, d, rand.New(rand.NewPCG(1, 2)))
	s, err := o.Step(Batch{Rows: []int32{0, 1, 2, 3, 4}}, z, make([]float32, len(z)))
	if err != nil {
		t.Fatal(err)
	}
	p, rows := o.Params()[0], rowsOf(z, d)
	for i, x := range p.Value {
		p.Value[i] = x + h
		up := classifierLoss(o, nil, rows, views)
		p.Value[i] = x - h
		down := classifierLoss(o, nil, rows, views)
		p.Value[i] = x
		near(t, "gradient", float64(p.Grad[i]), (up-down)/(2*h), 1e-5)
	}
	near(t, "entropy", s.Information+s.Loss, -(.34*math.Log(.34) + .32*math.Log(.32) + .33*math.Log(.33) + .01*math.Log(.01)), 1e-12)
	if err := o.SetState(nil); !errors.Is(err, tensorfile.ErrFormat) {
		t.Errorf("no state: %v", err)
	}
}

// Two views and one of them elsewhere, by hand: points at the ends of a diameter in view
// 0, both at one end in view 1.
func TestAlignUniformByHand(t *testing.T) {
	pool := kernel.NewPool(1)
	defer pool.Close()
	o := must(NewAlignUniform(2, AlignUniformOptions{Weight: 2}, pool))
	z := []float32{1, 0, -1, 0, 1, 0, 1, 0}
	dz := make([]float32, len(z))
	s, err := o.Step(Batch{Rows: make([]int32, 2)}, z, dz)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "alignment", s.Alignment, 2, 0) // 0 and 4
	near(t, "uniformity", s.Uniformity, -4, 1e-6)
	near(t, "loss", s.Loss, 2-2*4, 1e-5)
	one := must(NewAlignUniform(2, AlignUniformOptions{}, pool))
	if s, err := one.Step(Batch{Rows: make([]int32, 1)}, z[:4], dz[:4]); err != nil || s.Uniformity != 0 || s.Loss != 4 {
		t.Errorf("one point: %+v, error %v", s, err)
	}
}

// steps takes a few steps on made-up embeddings, from the given one on.
func steps(t *testing.T, o Objective, views, b, d, from, to int) (stats []Stats, grads []float32) {
	t.Helper()
	for k := from; k < to; k++ {
		z := sphere.Uniform(views*b, d, rand.New(rand.NewPCG(3, uint64(k))))
		rows := make([]int32, b)
		for i := range rows {
			rows[i] = int32(i)
		}
		dz := make([]float32, len(z))
		s, err := o.Step(Batch{Rows: rows}, z, dz)
		if err != nil {
			t.Fatal(err)
		}
		stats, grads = append(stats, s), append(grads, dz...)
	}
	return stats, grads
}

// Neither the number of workers nor an interruption changes a bit.
func TestContrastIsDeterministic(t *testing.T) {
	const b, d = 70, 16
	for name, c := range contrasts {
		t.Run(name, func(t *testing.T) {
			build := func(workers int) Objective {
				pool := kernel.NewPool(workers)
				t.Cleanup(pool.Close)
				o, err := c.make(d, c.views, pool)
				if err != nil {
					t.Fatal(err)
				}
				return o
			}
			stats, grads := steps(t, build(1), c.views, b, d, 0, 4)
			first, second := build(2), build(3)
			s1, g1 := steps(t, first, c.views, b, d, 0, 2)
			if err := second.SetState(throughFile(t, first.State())); err != nil {
				t.Fatal(err)
			}
			s2, g2 := steps(t, second, c.views, b, d, 2, 4)
			if !cmp.Equal(stats, append(s1, s2...), cmpopts.EquateNaNs()) || !slices.Equal(grads, append(g1, g2...)) {
				t.Error("other bits after an interruption and with other workers")
			}
		})
	}
}

// Views that coincide, of points far from each other: everything is known.
func TestContrastOfPerfectEmbeddings(t *testing.T) {
	const d = 8 // orthogonal points
	z := make([]float32, 2*d*d)
	for i := range 2 * d {
		z[i*d+i%d] = 1
	}
	pool := kernel.NewPool(1)
	defer pool.Close()
	for name, o := range map[string]Objective{
		"infonce": must(NewInfoNCE(d, InfoNCEOptions{Temperature: .02}, pool)),
		"infomax": must(NewInfoMax(d, InfoMaxOptions{Views: 2, Noise: .1}, pool)),
	} {
		s, err := o.Step(Batch{Rows: make([]int32, d)}, z, make([]float32, len(z)))
		if err != nil {
			t.Fatal(err)
		}
		near(t, name+": loss", s.Loss, 0, 1e-4)
		near(t, name+": accuracy", s.Accuracy, 1, 0)
		near(t, name+": alignment", s.Alignment, 0, 0)
		if !math.IsNaN(s.Cosine) || !math.IsNaN(s.Reassigned) {
			t.Errorf("%s has no targets, but %+v", name, s)
		}
	}
}

func must[T any](o T, err error) T {
	if err != nil {
		panic(err)
	}
	return o
}

// Low temperatures and weak noise leave nothing that is not finite, even where the
// right guess is the least likely.
func TestContrastAtTheLimits(t *testing.T) {
	const d = 2
	east, west := []float32{1, 0}, []float32{-1, 0}
	z := slices.Concat(east, west, west, east) // each view is where the other point is
	pool := kernel.NewPool(1)
	defer pool.Close()
	for name, o := range map[string]Objective{
		"infonce": must(NewInfoNCE(d, InfoNCEOptions{Temperature: MinTemperature}, pool)),
		"infomax": must(NewInfoMax(d, InfoMaxOptions{Views: 2, Noise: MinNoise}, pool)),
	} {
		dz := make([]float32, len(z))
		s, err := o.Step(Batch{Rows: make([]int32, 2)}, z, dz)
		if err != nil || math.IsInf(s.Loss, 0) || math.IsNaN(s.Loss) || s.Loss < 100 || s.Accuracy != 0 {
			t.Errorf("%s: %+v, error %v", name, s, err)
		}
		for _, g := range dz {
			if math.IsNaN(float64(g)) || math.IsInf(float64(g), 0) {
				t.Errorf("%s: gradient %v", name, dz)
			}
		}
	}
}

func TestContrastOptionsAreValidated(t *testing.T) {
	_, nce := NewInfoNCE(1, InfoNCEOptions{Views: 1, Temperature: -1}, nil)
	_, max := NewInfoMax(1, InfoMaxOptions{Views: -1, Noise: math.NaN()}, nil)
	_, align := NewAlignUniform(1, AlignUniformOptions{Views: 1, Weight: -1}, nil)
	_, class := NewClassifier([]int32{0, -1}, 1, ClassifierOptions{Views: -1, Temperature: 1e9}, nil)
	for _, c := range []struct {
		err   error
		parts []string
	}{
		{align, []string{"alignment", "dimension 1", "1 views", "weight -1"}},
		{class, []string{"classifier", "dimension 1", "-1 views", "temperature 1e+09", "label"}},
		{nce, []string{"InfoNCE", "dimension 1", "1 views", "temperature -1"}},
		{max, []string{"InfoMax", "dimension 1", "-1 views", "noise NaN"}},
	} {
		for _, part := range c.parts {
			if c.err == nil || !strings.Contains(c.err.Error(), part) {
				t.Errorf("%v does not mention %q", c.err, part)
			}
		}
	}
	o := must(NewInfoMax(2, InfoMaxOptions{}, nil))
	for _, ts := range [][]tensorfile.Tensor{nil, {{Name: "step", Shape: []int{1}, Data: []int64{-1}}}, {{Name: "step", Shape: []int{1}, Data: []int32{1}}}} {
		if err := o.SetState(ts); !errors.Is(err, tensorfile.ErrFormat) {
			t.Errorf("state %v: %v", ts, err)
		}
	}
}

func BenchmarkContrast(b *testing.B) {
	const rows, views, d = 256, 2, 64
	pool := kernel.NewPool(0)
	defer pool.Close()
	z := sphere.Uniform(views*rows, d, rand.New(rand.NewPCG(1, 1)))
	dz := make([]float32, len(z))
	for name, c := range contrasts {
		if c.views != views {
			continue
		}
		b.Run(name, func(b *testing.B) {
			o := must(c.make(d, views, pool))
			for b.Loop() {
				if _, err := o.Step(Batch{Rows: make([]int32, rows)}, z, dz); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
