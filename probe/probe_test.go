package probe

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"nat/dataset"
	"nat/internal/kernel"
	"nat/internal/rng"
)

func newPool(t *testing.T, workers int) *kernel.Pool {
	pool := kernel.NewPool(workers)
	t.Cleanup(pool.Close)
	return pool
}

// all runs the probes that are fitted, with their defaults but a small MLP.
func all(t *testing.T, pool *kernel.Pool, d Data) map[string]float64 {
	t.Helper()
	ctx := context.Background()
	got := map[string]float64{}
	var err [4]error
	var mlp MLPResult
	got["knn"], err[0] = KNN(ctx, pool, d, KNNOptions{})
	got["linear"], err[1] = Linear(ctx, pool, d, LinearOptions{})
	got["svm"], err[2] = SVM(ctx, pool, d, LinearOptions{})
	mlp, err[3] = MLP(ctx, pool, d, MLPOptions{Seed: 1, Hidden: 40, Epochs: 60})
	got["mlp"] = mlp.Accuracy
	if e := errors.Join(err[:]...); e != nil {
		t.Fatal(e)
	}
	return got
}

// blobs are n points of classes around centres that are spread apart.
func blobs(r *rand.Rand, n, dim, classes int, spread float64) ([]float32, []int) {
	x, y := make([]float32, n*dim), make([]int, n)
	for i := range n {
		y[i] = i % classes
		for j := range dim {
			x[i*dim+j] = float32(r.NormFloat64())
		}
		x[i*dim+y[i]] += float32(spread)
	}
	return x, y
}

func blobData(seed uint64, n, dim, classes int, spread float64) Data {
	r := rng.New(seed, "test")
	d := Data{Dim: dim, Classes: classes}
	d.Train, d.TrainY = blobs(r, n, dim, classes, spread)
	d.Test, d.TestY = blobs(r, n/2, dim, classes, spread)
	return d
}

func TestSeparableDataGiveOne(t *testing.T) {
	for name, acc := range all(t, newPool(t, 2), blobData(1, 600, 8, 4, 30)) {
		if acc != 1 {
			t.Errorf("%s reaches %v on separable data", name, acc)
		}
	}
}

func TestRandomLabelsGiveChance(t *testing.T) {
	d := blobData(2, 1200, 8, 4, 0)
	for name, acc := range all(t, newPool(t, 2), d) {
		// 600 test rows: a standard deviation of chance is .018.
		if math.Abs(acc-.25) > .075 {
			t.Errorf("%s reaches %v on labels without relation to the features, chance is .25", name, acc)
		}
	}
}

// XOR of two signs: a linear probe is blind to it and an MLP is not.
func TestWhatEachProbeCanRead(t *testing.T) {
	r := rng.New(3, "test")
	make2 := func(n int) ([]float32, []int) {
		x, y := make([]float32, 2*n), make([]int, n)
		for i := range n {
			a, b := 2*r.Float64()-1, 2*r.Float64()-1
			x[2*i], x[2*i+1] = float32(a), float32(b)
			if a*b > 0 {
				y[i] = 1
			}
		}
		return x, y
	}
	d := Data{Dim: 2, Classes: 2}
	d.Train, d.TrainY = make2(1000)
	d.Test, d.TestY = make2(500)
	got := all(t, newPool(t, 2), d)
	if got["linear"] > .65 || got["mlp"] < .93 {
		t.Errorf("on XOR linear reaches %v, MLP %v", got["linear"], got["mlp"])
	}
}

func TestSameBitsForAnyWorkers(t *testing.T) {
	d := blobData(4, 700, 6, 3, 1.5) // hard enough that accuracies would move
	want := all(t, newPool(t, 1), d)
	for _, workers := range []int{2, 5} {
		for name, acc := range all(t, newPool(t, workers), d) {
			if acc != want[name] {
				t.Errorf("%s: %v with %d workers, %v with 1", name, acc, workers, want[name])
			}
		}
	}
	fit := func(workers int) []float64 {
		w, err := newLinear(newPool(t, workers), d, LinearOptions{}, logistic).fit(context.Background(), make([]float64, (d.Dim+1)*d.Classes), 30)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	if !slices.Equal(fit(1), fit(3)) {
		t.Error("the weights of the linear probe depend on the number of workers")
	}
}

// The order of the training rows is of no consequence to kNN and, beyond
// rounding, to the linear probe.
func TestPermutationOfRows(t *testing.T) {
	pool := newPool(t, 2)
	d := blobData(5, 400, 6, 3, 2)
	p := d
	p.Train, p.TrainY = nil, nil
	for _, i := range rng.New(6, "test").Perm(len(d.TrainY)) {
		p.Train = append(p.Train, d.Train[i*d.Dim:(i+1)*d.Dim]...)
		p.TrainY = append(p.TrainY, d.TrainY[i])
	}
	ctx := context.Background()
	a, errA := KNN(ctx, pool, d, KNNOptions{})
	b, errB := KNN(ctx, pool, p, KNNOptions{})
	if a != b || errA != nil || errB != nil {
		t.Errorf("kNN: %v (%v), permuted %v (%v)", a, errA, b, errB)
	}
	a, errA = Linear(ctx, pool, d, LinearOptions{})
	b, errB = Linear(ctx, pool, p, LinearOptions{})
	if math.Abs(a-b) > .006 || errA != nil || errB != nil {
		t.Errorf("linear: %v (%v), permuted %v (%v)", a, errA, b, errB)
	}
}

// Cosines do not change with the length of rows, nor with a rotation: here a
// quarter turn of every pair of coordinates, exact in float32.
func TestKNNInvariances(t *testing.T) {
	pool := newPool(t, 1)
	d := blobData(7, 300, 6, 3, 2)
	turn := func(x []float32) []float32 {
		y := make([]float32, len(x))
		for i := 0; i < len(x); i += 2 {
			s := float32(int(1) << (i / d.Dim % 5)) // one scale a row
			y[i], y[i+1] = -s*x[i+1], s*x[i]
		}
		return y
	}
	e := d
	e.Train, e.Test = turn(d.Train), turn(d.Test)
	a, errA := KNN(context.Background(), pool, d, KNNOptions{})
	b, errB := KNN(context.Background(), pool, e, KNNOptions{})
	if a != b || errA != nil || errB != nil {
		t.Errorf("%v (%v), turned and scaled %v (%v)", a, errA, b, errB)
	}
}

func TestKNNVotes(t *testing.T) {
	pool := newPool(t, 1)
	// The nearest neighbour is of class 1, the next two of class 0 with cosine .8.
	d := Data{
		Train: []float32{1, 0, .8, .6, .8, -.6}, TrainY: []int{1, 0, 0},
		Test: []float32{2, 0}, TestY: []int{1}, Dim: 2, Classes: 2,
	}
	for _, c := range []struct {
		opt  KNNOptions
		want float64
	}{
		{KNNOptions{}, 1},                        // exp(1/.07) > 2 exp(.8/.07)
		{KNNOptions{Temperature: 1}, 0},          // e < 2 exp(.8)
		{KNNOptions{Temperature: 1, K: 1}, 1},    // only the nearest votes
		{KNNOptions{Temperature: 1e-9, K: 3}, 1}, // and no weight overflows
	} {
		got, err := KNN(context.Background(), pool, d, c.opt)
		if got != c.want || err != nil {
			t.Errorf("%+v: %v (%v), want %v", c.opt, got, err, c.want)
		}
	}
}

func TestLinearGradients(t *testing.T) {
	for _, loss := range []linearLoss{logistic, squaredHinge} {
		t.Run(loss.name, func(t *testing.T) { linearGradient(t, loss) })
	}
}

func linearGradient(t *testing.T, loss linearLoss) {
	d := blobData(8, 600, 5, 3, 1) // two blocks
	for i := range d.Train {
		d.Train[i] = 100 + 7*d.Train[i] // standardised away
	}
	m := newLinear(newPool(t, 2), d, LinearOptions{L2: .1}, loss)
	r := rng.New(9, "test")
	w := make([]float64, len(m.grad))
	for i := range w {
		w[i] = r.NormFloat64()
	}
	m.evaluate(w)
	grad := slices.Clone(m.grad)
	const h = 1e-2
	near := 5e-5
	if loss.name == squaredHinge.name {
		near = 1e-3 // its second derivative jumps
	}
	for i := range w {
		w[i] += h
		m.evaluate(w)
		up := m.value
		w[i] -= 2 * h
		m.evaluate(w)
		down := m.value
		w[i] += h
		if want := (up - down) / (2 * h); math.Abs(grad[i]-want) > near {
			t.Errorf("parameter %d: %v, differences say %v", i, grad[i], want)
		}
	}
}

// One feature of values -1 and 1, labels that agree with its sign with
// probability 3/4 exactly: at the optimum the difference of the logits is
// log 3 one way and -log 3 the other, and the loss is the entropy.
func TestLogisticClosedForm(t *testing.T) {
	d := Data{Dim: 1, Classes: 2}
	for i := range 80 {
		side := i % 2
		y := side
		if i%8 < 2 {
			y = 1 - side
		}
		d.Train = append(d.Train, float32(2*side-1))
		d.TrainY = append(d.TrainY, y)
	}
	d.Test, d.TestY = d.Train, d.TrainY
	m := newLinear(newPool(t, 1), d, LinearOptions{L2: -1}, logistic)
	w, err := m.fit(context.Background(), make([]float64, len(m.grad)), 100)
	if err != nil {
		t.Fatal(err)
	}
	m.evaluate(w)
	if got := w[1] - w[0]; math.Abs(got-math.Log(3)) > 1e-3 {
		t.Errorf("slope %v, want log 3", got)
	}
	if got := w[3] - w[2]; math.Abs(got) > 1e-3 {
		t.Errorf("intercept %v, want 0", got)
	}
	if want := -.75*math.Log(.75) - .25*math.Log(.25); math.Abs(m.value-want) > 1e-6 {
		t.Errorf("loss %v, want the entropy %v", m.value, want)
	}
	if acc, err := Linear(context.Background(), newPool(t, 1), d, LinearOptions{}); acc != .75 || err != nil {
		t.Errorf("accuracy %v (%v), want .75", acc, err)
	}
}

// The same data under the squared hinge, without a penalty: 3/4 (1-s)^2 + 1/4
// (1+s)^2 is least, 3/4, for a score s of 1/2 for the class of the side.
func TestSVMClosedForm(t *testing.T) {
	d := Data{Dim: 1, Classes: 2}
	for i := range 80 {
		y := i % 2
		if i%8 < 2 {
			y = 1 - y
		}
		d.Train = append(d.Train, float32(2*(i%2)-1))
		d.TrainY = append(d.TrainY, y)
	}
	d.Test, d.TestY = d.Train, d.TrainY
	m := newLinear(newPool(t, 1), d, LinearOptions{L2: -1}, squaredHinge)
	w, err := m.fit(context.Background(), make([]float64, len(m.grad)), 100)
	if err != nil {
		t.Fatal(err)
	}
	m.evaluate(w)
	for i, want := range []float64{-.5, .5, 0, 0} {
		if math.Abs(w[i]-want) > 1e-3 {
			t.Errorf("parameter %d: %v, want %v", i, w[i], want)
		}
	}
	if math.Abs(m.value-1.5) > 1e-6 { // of two classes
		t.Errorf("loss %v, want 1.5", m.value)
	}
	if acc, err := SVM(context.Background(), newPool(t, 1), d, LinearOptions{}); acc != .75 || err != nil {
		t.Errorf("accuracy %v (%v), want .75", acc, err)
	}
}

// The gradients of the network are the encoder's and tested there; this is
// the loss on top: raising a parameter changes it as its gradient says.
func TestMLPGradient(t *testing.T) {
	d := blobData(10, 40, 4, 3, 1)
	m, err := newMLP(newPool(t, 1), d, MLPOptions{Hidden: 6, Dropout: .2, Seed: 2})
	if err != nil {
		t.Fatal(err)
	}
	rows := rng.New(11, "test").Perm(40)
	for _, p := range m.network.Params() {
		m.gradient(rows)
		grad := slices.Clone(p.Grad)
		const h = 5e-4
		for i := range p.Value {
			keep := p.Value[i]
			p.Value[i] = keep + h
			up := m.gradient(rows)
			p.Value[i] = keep - h
			down := m.gradient(rows)
			p.Value[i] = keep
			if want := (up - down) / (2 * h); math.Abs(float64(grad[i])-want) > 2e-3 {
				t.Errorf("%s[%d]: %v, differences say %v", p.Name, i, grad[i], want)
			}
		}
	}
}

// golden are the numbers of ref/sklearn_probes.py.
type golden struct {
	Train          int
	Lambda         float64
	Objective      float64   `json:"linear_objective"`
	LinearAccuracy float64   `json:"linear_accuracy"`
	FirstTestRow   []float64 `json:"linear_first_test_row"`
	WeightsOf3     []float64 `json:"linear_weights_class_3"`
	SVMObjective   float64   `json:"svm_objective"`
	SVMAccuracy    float64   `json:"svm_accuracy"`
	SVMWeightsOf3  []float64 `json:"svm_weights_class_3"`
	KNNAccuracy    float64   `json:"knn_accuracy"`
	Variance       []float64 `json:"pca_variance"`
	Scores         []float64 `json:"pca_first_test_row"`

	RetrievalMAP    float64   `json:"retrieval_map"`
	RetrievalRecall []float64 `json:"retrieval_recall"`
	Clusters        []int     `json:"clusters"`
	ClusterLabels   []int     `json:"cluster_labels"`
	ClusterNMI      float64   `json:"cluster_nmi"`
	ClusterARI      float64   `json:"cluster_ari"`
}

// digits returns the numbers and the data they were computed from: the
// UCI test part, split in two.
func digits(t *testing.T) (golden, Data) {
	var g golden
	b, err := os.ReadFile("testdata/sklearn.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &g); err != nil {
		t.Fatal(err)
	}
	set := dataset.Digits("test")
	defer set.Close()
	d := Data{Dim: 64, Classes: 10}
	for i := range set.Len() {
		x := make([]float32, 64)
		if err := set.Read(i, x); err != nil {
			t.Fatal(err)
		}
		if i < g.Train {
			d.Train, d.TrainY = append(d.Train, x...), append(d.TrainY, set.Label(i))
		} else {
			d.Test, d.TestY = append(d.Test, x...), append(d.TestY, set.Label(i))
		}
	}
	return g, d
}

func TestAgainstSklearn(t *testing.T) {
	g, d := digits(t)
	pool := newPool(t, 2)
	ctx := context.Background()

	knn, err := KNN(ctx, pool, d, KNNOptions{})
	if err != nil || math.Abs(knn-g.KNNAccuracy) > 1e-12 {
		t.Errorf("kNN %v (%v), sklearn %v", knn, err, g.KNNAccuracy)
	}
	opt := LinearOptions{L2: g.Lambda, Evaluations: 500}
	linear, err := Linear(ctx, pool, d, opt)
	if err != nil || math.Abs(linear-g.LinearAccuracy) > 1.5/float64(len(d.TestY)) {
		t.Errorf("linear %v (%v), sklearn %v", linear, err, g.LinearAccuracy)
	}

	m, w := fitted(t, d, opt, logistic, g.Objective, g.WeightsOf3)
	m.logits(w, d.Test, 0, 1)
	row := m.score[:10]
	crossEntropy(row, 0)
	row[0]++
	for c, want := range g.FirstTestRow {
		if math.Abs(float64(row[c])-want) > 2e-3 {
			t.Errorf("probability of class %d: %v, sklearn %v", c, row[c], want)
		}
	}
}

func TestSVMAgainstSciPy(t *testing.T) {
	g, d := digits(t)
	opt := LinearOptions{L2: g.Lambda, Evaluations: 1000}
	svm, err := SVM(context.Background(), newPool(t, 2), d, opt)
	if err != nil || math.Abs(svm-g.SVMAccuracy) > 1.5/float64(len(d.TestY)) {
		t.Errorf("SVM %v (%v), SciPy %v", svm, err, g.SVMAccuracy)
	}
	fitted(t, d, opt, squaredHinge, g.SVMObjective, g.SVMWeightsOf3)
}

// fitted compares a fit with the known minimum and some weights there.
func fitted(t *testing.T, d Data, opt LinearOptions, loss linearLoss, minimum float64, weightsOf3 []float64) (*linear, []float64) {
	t.Helper()
	m := newLinear(newPool(t, 2), d, opt, loss)
	w, err := m.fit(context.Background(), make([]float64, len(m.grad)), opt.Evaluations)
	if err != nil {
		t.Fatal(err)
	}
	m.evaluate(w)
	if m.value < minimum-1e-6 || m.value > minimum+1e-5 {
		t.Errorf("%s: objective %.8f, the minimum is %.8f", loss.name, m.value, minimum)
	}
	for j, want := range weightsOf3 {
		if got := w[j*10+3]; math.Abs(got-want) > 5e-3 {
			t.Errorf("%s: weight %d of class 3: %v, want %v", loss.name, j, got, want)
		}
	}
	return m, w
}

func TestKNNsIsOneSearchForSeveral(t *testing.T) {
	ctx, pool := context.Background(), newPool(t, 2)
	d := blobData(13, 500, 6, 3, 1)
	ks := []int{200, 1, 20, 9999}
	got, err := KNNs(ctx, pool, d, ks, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, k := range ks {
		if want, err := KNN(ctx, pool, d, KNNOptions{K: k}); err != nil || got[i] != want {
			t.Errorf("k = %d: %v beside others, %v (%v) alone", k, got[i], want, err)
		}
	}
	if _, err := KNNs(ctx, pool, d, []int{20, 0}, 0); err == nil {
		t.Error("0 neighbours are accepted")
	}
}

func TestTestedEpochs(t *testing.T) {
	for epochs, want := range map[int][]int{1: {0}, 12: {10, 11}, 30: {27, 28, 29}, 500: {459, 469, 479, 489, 499}} {
		if got := testedEpochs(epochs); !slices.Equal(got, want) {
			t.Errorf("of %d epochs: after %v, want %v", epochs, got, want)
		}
	}
}

// The result is the mean over the last epochs, and testing does not disturb
// training.
func TestMLPIsAMeanOverEpochs(t *testing.T) {
	ctx := context.Background()
	d := blobData(14, 300, 4, 3, 1)
	opt := MLPOptions{Hidden: 20, Epochs: 25, Seed: 3, Dropout: .1}
	got, err := MLP(ctx, newPool(t, 1), d, opt)
	if err != nil {
		t.Fatal(err)
	}
	m, err := newMLP(newPool(t, 1), d, opt)
	if err != nil {
		t.Fatal(err)
	}
	var want float64
	for epoch := range opt.Epochs {
		if err := m.epoch(ctx, epoch); err != nil {
			t.Fatal(err)
		}
		if epoch >= 22 {
			want += float64(m.hits()) / float64(3*len(d.TestY))
		}
	}
	if math.Abs(got.Accuracy-want) > 1e-12 || got.Tests != 3 || got.Epochs != 25 {
		t.Errorf("%+v, want the mean %v of 3 accuracies", got, want)
	}
}

func TestErrors(t *testing.T) {
	pool := newPool(t, 1)
	ctx := context.Background()
	good := blobData(12, 40, 2, 2, 3)
	nan := good
	nan.Test = slices.Clone(good.Test)
	nan.Test[9] = float32(math.NaN())
	label := good
	label.TrainY = slices.Clone(good.TrainY)
	label.TrainY[7] = 2
	empty := good
	empty.Train, empty.TrainY = nil, nil
	for _, c := range []struct {
		data Data
		want string
	}{{nan, "test row 4"}, {label, "training row 7 has label 2"}, {empty, "0 training rows"}} {
		_, err := KNN(ctx, pool, c.data, KNNOptions{})
		_, err2 := Linear(ctx, pool, c.data, LinearOptions{})
		_, err3 := MLP(ctx, pool, c.data, MLPOptions{})
		_, err4 := SVM(ctx, pool, c.data, LinearOptions{})
		_, err5 := Retrieval(ctx, pool, c.data, RetrievalOptions{})
		_, err6 := Clusters(ctx, pool, c.data, ClusterOptions{})
		for _, err := range []error{err, err2, err3, err4, err5, err6} {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got error %v, want %q", err, c.want)
			}
		}
	}
	stopped, cancel := context.WithCancel(ctx)
	cancel()
	_, err := KNN(stopped, pool, good, KNNOptions{})
	_, err2 := Linear(stopped, pool, good, LinearOptions{})
	_, err3 := MLP(stopped, pool, good, MLPOptions{})
	_, err4 := SVM(stopped, pool, good, LinearOptions{})
	_, err5 := Retrieval(stopped, pool, good, RetrievalOptions{})
	_, err6 := Clusters(stopped, pool, good, ClusterOptions{})
	for i, err := range []error{err, err2, err3, err4, err5, err6} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("probe %d, cancelled, returns %v", i, err)
		}
	}
	if _, err := KNN(ctx, pool, good, KNNOptions{Temperature: -1}); err == nil {
		t.Error("a negative temperature is accepted")
	}
	if _, err := MLP(ctx, pool, good, MLPOptions{Dropout: 1}); err == nil {
		t.Error("a dropout of 1 is accepted")
	}
}

func TestMajority(t *testing.T) {
	d := Data{TrainY: []int{2, 0, 2, 1}, TestY: []int{2, 2, 0, 1}, Classes: 3}
	if got := Majority(d); got != .5 {
		t.Errorf("got %v, want .5", got)
	}
}

func TestSubset(t *testing.T) {
	y := []int{0, 1, -1, 0, 1, 0, 2, 0, -1, 1, 0}
	rows := Subset(y, 2, 1)
	count := map[int]int{}
	for _, i := range rows {
		count[y[i]]++
	}
	if !slices.IsSorted(rows) || len(rows) != 5 || count[0] != 2 || count[1] != 2 || count[2] != 1 {
		t.Errorf("chose rows %v with labels %v", rows, count)
	}
	if !slices.Equal(rows, Subset(y, 2, 1)) {
		t.Error("the same seed chooses other rows")
	}
	differs := false
	for seed := range uint64(20) {
		differs = differs || !slices.Equal(rows, Subset(y, 2, seed))
	}
	if !differs {
		t.Error("20 seeds choose the same rows")
	}
	d := Data{Train: []float32{1, 1, 2, 2, 3, 3}, TrainY: []int{0, 1, 0}, Dim: 2, Classes: 2}.Take([]int{0, 2})
	if !slices.Equal(d.Train, []float32{1, 1, 3, 3}) || !slices.Equal(d.TrainY, []int{0, 0}) {
		t.Errorf("took %v %v", d.Train, d.TrainY)
	}
}
