package probe

import (
	"context"
	"fmt"
	"testing"

	"nat/internal/kernel"
	"nat/internal/rng"
)

// rectified returns features as a ReLU leaves them, about half of them zero, with
// means that tell the class.
func rectified(n, dim, classes int, seed uint64) (x []float32, y []int) {
	r, centre := rng.New(seed, "rectified"), rng.New(1, "centre")
	mean := make([]float32, classes*dim)
	for i := range mean {
		mean[i] = .05 * float32(centre.NormFloat64())
	}
	x, y = make([]float32, n*dim), make([]int, n)
	for i := range y {
		y[i] = i % classes
		for j := range dim {
			x[i*dim+j] = max(0, mean[y[i]*dim+j]+float32(r.NormFloat64()))
		}
	}
	return x, y
}

// The widths are those of output, fc and conv of dcgan32. Times grow with the number
// of rows, that of kNN with its square: CIFAR-10 has 50,000 and 10,000.
func BenchmarkProbes(b *testing.B) {
	pool := kernel.NewPool(2)
	defer pool.Close()
	ctx := context.Background()
	for _, dim := range []int{64, 1024, 4096} {
		d := Data{Dim: dim, Classes: 10}
		d.Train, d.TrainY = rectified(2000, dim, d.Classes, 1)
		d.Test, d.TestY = rectified(400, dim, d.Classes, 2)
		for _, probe := range []struct {
			name string
			run  func() (float64, error)
		}{
			{"knn", func() (float64, error) { return KNN(ctx, pool, d, KNNOptions{}) }},
			{"linear", func() (float64, error) { return Linear(ctx, pool, d, LinearOptions{}) }},
			{"svm", func() (float64, error) { return SVM(ctx, pool, d, LinearOptions{}) }},
			{"mlp", func() (float64, error) {
				m, err := MLP(ctx, pool, d, MLPOptions{Epochs: 6})
				return m.Accuracy, err
			}},
		} {
			b.Run(fmt.Sprintf("%s/%d", probe.name, dim), func(b *testing.B) {
				var accuracy float64
				for b.Loop() {
					var err error
					if accuracy, err = probe.run(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(accuracy, "accuracy")
			})
		}
	}
}
