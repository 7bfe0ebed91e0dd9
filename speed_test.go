package nat

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"nat/dataset"
	"nat/internal/rng"
)

// writePixels makes an array of n images of smooth random blobs, as bytes.
func writePixels(t testing.TB, n int, shape dataset.Shape) string {
	t.Helper()
	r := rng.New(7, "test pixels")
	pixels := make([]uint8, n*shape.Size())
	for i := range n {
		image := pixels[i*shape.Size() : (i+1)*shape.Size()]
		cx, cy := r.Float64()*float64(shape.W), r.Float64()*float64(shape.H)
		for k := range image {
			x, y := float64(k/shape.C%shape.W)-cx, float64(k/shape.C/shape.W)-cy
			image[k] = uint8(max(0, 200-2*(x*x+y*y)) + 50*r.Float64())
		}
	}
	path := filepath.Join(t.TempDir(), "pixels.npy")
	writeNPY(t, path, []int{n, shape.H, shape.W, shape.C}, pixels)
	return path
}

// BenchmarkTrain compares training on data with the bare step on one batch that
// stays in memory, in turns. "step" and "train" are images a second, each view
// counted; "train/step" is what reading, augmenting, reporting and all else leave
// of the speed. "cpu" is the same from processor times, which a busy machine
// disturbs less, and "input" is the processor time of making batches over that of the
// bare steps.
func BenchmarkTrain(b *testing.B) {
	for _, c := range []struct {
		name, encoder string
		shape         dataset.Shape
		rows          int
	}{
		{"convnet28", "convnet", dataset.Shape{H: 28, W: 28, C: 1}, 12000},
		{"convnet32", "convnet", dataset.Shape{H: 32, W: 32, C: 3}, 6000},
		{"mlp28", "mlp", dataset.Shape{H: 28, W: 28, C: 1}, 12000},
	} {
		b.Run(c.name, func(b *testing.B) {
			t := testTrainer(b, Options{Data: writePixels(b, c.rows, c.shape), Encoder: c.encoder, Batch: 256, Epochs: 1000, Workers: 0})
			compareRates(b, t)
		})
	}
}

// A step allocates nothing; what is reported of it, a little.
func TestStepAllocatesNothing(t *testing.T) {
	for _, c := range []Options{{Encoder: "convnet"}, {Encoder: "mlp", Assign: "pool", Pool: 2}, {Encoder: "convnet", Views: 1, Optimizer: "adamw"}} {
		c.Data, c.Batch, c.Epochs, c.Workers, c.CheckpointEvery = writePixels(t, 600, dataset.Shape{H: 12, W: 12, C: 3}), 32, 100, 2, "1000steps"
		tr := testTrainer(t, c)
		tr.loader.Start(context.Background(), 0, 0)
		b, err := tr.loader.Next()
		if err != nil {
			t.Fatal(err)
		}
		stats := newStats()
		step := func() {
			if err := tr.step(b, stats); err != nil {
				t.Fatal(err)
			}
			if err := tr.obj.EndEpoch(); err != nil { // a pool takes each row once an epoch
				t.Fatal(err)
			}
		}
		// A worker makes its tables with its first item of a kind, which on a busy
		// machine may come late.
		n := testing.AllocsPerRun(10, step)
		for tries := 0; n > 0 && tries < 20; tries++ {
			n = testing.AllocsPerRun(10, step)
		}
		if n > 0 {
			t.Errorf("%s, %s: %v allocations in every step", c.Encoder, c.Assign, n)
		}
		tr.plan.StepsPerEpoch = 1000 // no end of an epoch
		if n := testing.AllocsPerRun(10, func() { tr.oneStep() }); n > 20 {
			t.Errorf("%s, %s: %v allocations in a step and its report", c.Encoder, c.Assign, n)
		}
	}
}

func testTrainer(b testing.TB, opt Options) *trainer {
	opt.Out = filepath.Join(b.TempDir(), "run")
	if err := choosePaths(&opt); err != nil {
		b.Fatal(err)
	}
	j, _, err := prepare(context.Background(), opt, func(Event) {})
	if err != nil {
		b.Fatal(err)
	}
	var c claim
	if err := c.take(opt); err != nil {
		b.Fatal(err)
	}
	t, err := newTrainer(unsynced{}, j, func(Event) {})
	if err != nil {
		b.Fatal(err)
	}
	if err := t.begin(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		t.close()
		j.close()
		c.release()
	})
	return t
}

// spent is time on the wall and of the processor.
type spent struct{ wall, cpu time.Duration }

// measured adds what f takes.
func (s *spent) measured(b *testing.B, f func() error) {
	wall, cpu := time.Now(), cpuTime()
	if err := f(); err != nil {
		b.Fatal(err)
	}
	s.wall += time.Since(wall)
	s.cpu += cpuTime() - cpu
}

// compareRates runs blocks of steps, on one batch that stays and on those of the
// loader, in turns, and blocks of batches that are only made.
func compareRates(b *testing.B, t *trainer) {
	const idle, steps = 4, 12 // idle: uncounted, those that the loader has ready
	ctx := context.Background()
	t.loader.Start(ctx, 0, 0)
	first, err := t.loader.Next()
	if err != nil {
		b.Fatal(err)
	}
	repeat := func(n int, f func() error) func() error {
		return func() error {
			for range n {
				if err := f(); err != nil {
					return err
				}
			}
			return nil
		}
	}
	var bare, whole, input spent
	stats := newStats()
	step := func() error { return t.step(first, stats) }
	take := func() error {
		batch, err := t.loader.Next()
		if err == nil {
			t.loader.Recycle(batch)
		}
		return err
	}
	for b.Loop() {
		t.loader.Close()
		repeat(idle, step)()
		bare.measured(b, repeat(steps, step))
		t.st.Batch = 0
		t.loader.Start(ctx, t.st.Epoch, 0)
		repeat(idle, t.oneStep)()
		whole.measured(b, repeat(steps, t.oneStep))
		t.loader.Start(ctx, t.st.Epoch, 0)
		repeat(idle, take)()
		input.measured(b, repeat(steps, take))
	}
	images := float64(b.N * steps * t.plan.Options.Batch * t.plan.Options.Views)
	b.ReportMetric(images/bare.wall.Seconds(), "step")
	b.ReportMetric(images/whole.wall.Seconds(), "train")
	b.ReportMetric(bare.wall.Seconds()/whole.wall.Seconds(), "train/step")
	if bare.cpu > 0 {
		b.ReportMetric(bare.cpu.Seconds()/whole.cpu.Seconds(), "cpu")
		b.ReportMetric(input.cpu.Seconds()/bare.cpu.Seconds(), "input")
	}
}
