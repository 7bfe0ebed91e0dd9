package nat

import (
	"context"
	"math"
	"path/filepath"
	"testing"

	"nat/assign"
	"nat/encoder"
	"nat/internal/kernel"
	"nat/internal/rng"
	"nat/sphere"
)

// gaugePlan is a job of which only what the gauges plan by is filled in.
func gaugePlan(t *testing.T, o Options, train, held int) *job {
	t.Helper()
	spec, err := encoder.Preset("convnet", encoder.Shape{C: 1, H: 28, W: 28}, o.Dim)
	if err != nil {
		t.Fatal(err)
	}
	return &job{src: &source{rows: upTo(train), held: upTo(held)}, plan: Plan{Options: o, Encoder: spec}}
}

// However long a training, the first and the last epoch are read, and all readings
// together keep to the budget wherever these two leave a choice.
func TestGaugesKeepToTheirBudget(t *testing.T) {
	for _, c := range []struct{ train, held, epochs, views int }{
		{100, 5, 200, 2}, {1900, 100, 100, 2}, {9500, 500, 40, 1}, {57952, 2048, 6, 2}, {57952, 2048, 200, 2}, {1200000, 2048, 20, 2}, {300, 0, 1, 2}, {5000, 250, 2, 1},
	} {
		j := gaugePlan(t, Options{Epochs: c.epochs, Views: c.views, Dim: 64}, c.train, c.held)
		g := newGauges(j)
		read := 0
		for epoch := range c.epochs {
			if g.due(epoch) {
				read++
			}
		}
		if !g.due(0) || !g.due(c.epochs-1) {
			t.Errorf("%+v: the first or the last epoch is not read", c)
		}
		if want := readings(c.epochs, g.every); read > want || read < want-1 {
			t.Errorf("%+v: %d readings, counted on %d", c, read, want)
		}
		share := float64(read) * g.readingCost(len(g.probe), len(g.held)) / float64(3*c.train*c.views*c.epochs)
		t.Logf("%+v: %d rows, every %d, %d readings, %.2f %%", c, len(g.probe), g.every, read, 100*share)
		if share > gaugeBudget && read > 2 {
			t.Errorf("%+v: %d readings of %d rows are %.1f %% of the arithmetic", c, read, len(g.probe), 100*share)
		}
		if len(g.probe) < min(c.train, fewestRows) || share > gaugeBudget && len(g.probe) > max(fewestRows, min(c.train, 2*fewestRows-1)) {
			t.Errorf("%+v: a probe of %d rows", c, len(g.probe))
		}
	}
	g := newGauges(gaugePlan(t, Options{Epochs: 9, Views: 1, Dim: 64, GaugeEvery: 4}, 50000, 2048))
	if g.every != 4 || len(g.probe) != gaugeRows {
		t.Errorf("asked for every 4: every %d, %d rows", g.every, len(g.probe))
	}
}

// Uniform embeddings are as uniform as uniform ones, and a cluster is not.
func TestUniformity(t *testing.T) {
	pool := kernel.NewPool(2)
	defer pool.Close()
	const n, d = 400, 8
	j := gaugePlan(t, Options{Epochs: 1, Views: 1, Dim: d, Seed: 5}, n, 0)
	j.pool = pool
	g := newGauges(j)
	at := func(z []float32) *Uniformity {
		t.Helper()
		fresh := sphere.Uniform(n, d, rng.New(9, rng.Probe))
		match, err := g.solver.Points(t.Context(), pool, z, fresh, n, n, d, assign.Options{})
		if err != nil {
			t.Fatal(err)
		}
		u, err := g.uniformity(context.Background(), z, n, 1-match.Cost/(2*n))
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	u := at(sphere.Uniform(n, d, rng.New(7, rng.Probe)))
	if math.Abs(u.Score-1) > 4*u.ScoreSD || math.Abs(u.Information-u.Uniform) > 4*math.Hypot(u.Error, u.UniformError) || u.Ceiling != math.Log(n) {
		t.Errorf("uniform: %+v", u)
	}
	if share := u.Uniform / u.Ceiling; share < .4 || share > .51 {
		t.Errorf("a uniform sample keeps %v of the ceiling", share)
	}
	var cluster []float32
	for range n {
		cluster = append(cluster, sphere.VonMisesFisher(1, []float32{1, 0, 0, 0, 0, 0, 0, 0}, 20, rng.New(uint64(len(cluster)), rng.Probe))...)
	}
	if c := at(cluster); c.Score > .8 || c.Efficiency > .8 {
		t.Errorf("a cluster: %+v", c)
	}
	if few, err := g.uniformity(context.Background(), cluster, uniformityRows-1, .5); few != nil || err != nil {
		t.Errorf("of few rows: %+v, %v", few, err)
	}
}

// What the gauges took is in the metrics, the summary and the info.
func TestGaugeTime(t *testing.T) {
	images, _ := writeImages(t, smallRows, 4)
	opt := small(images, filepath.Join(t.TempDir(), "run"))
	sum := mustTrain(t, opt)
	run, err := OpenRun(opt.Out)
	if err != nil {
		t.Fatal(err)
	}
	info, err := run.Info()
	if err != nil {
		t.Fatal(err)
	}
	e := info.LastEpoch
	if sum.GaugeShare <= 0 || sum.GaugeShare > 1 || info.GaugeShare <= 0 || e.GaugeTime <= 0 || e.GaugeShare < e.GaugeTime/e.Elapsed/2 {
		t.Errorf("share %v, %v, %+v", sum.GaugeShare, info.GaugeShare, e)
	}
	if e.Train.Uniformity == nil || e.Train.Score <= 0 || e.Train.Efficiency <= 0 || e.Train.Noise <= 0 {
		t.Errorf("%+v", e.Train)
	}
}

// Alignment is measured between views even where training has none: there it tells
// memory from learning.
func TestAlignmentWithoutViews(t *testing.T) {
	images, _ := writeImages(t, smallRows, 4)
	opt := small(images, filepath.Join(t.TempDir(), "run"))
	opt.Augment, opt.Views, opt.Epochs = augmentNone, 0, 1
	if sum := mustTrain(t, opt); sum.Train.Alignment < 1e-3 {
		t.Errorf("alignment %v", sum.Train.Alignment)
	}
}
