package probe

import (
	"context"
	"math"
	"slices"
	"sort"
	"testing"
)

// Five training rows at the cosines 1, .96, .6, 0 and -1 with the first query,
// so that both rankings can be read off.
func TestRetrievalByHand(t *testing.T) {
	d := Data{
		Train: []float32{2, 0, .96, .28, .6, .8, 0, 3, -1, 0}, TrainY: []int{1, 0, 0, 1, 0},
		Test: []float32{5, 0, -1, 0, 1, 1}, TestY: []int{0, 0, 2}, Dim: 2, Classes: 3,
	}
	got, err := Retrieval(context.Background(), newPool(t, 1), d, RetrievalOptions{})
	if err != nil {
		t.Fatal(err)
	}
	first, second := (1./2+2./3+3./5)/3, (1./1+2./3+3./4)/3
	want := RetrievalResult{Queries: 2, MAP: (first + second) / 2, MAPError: math.Abs(first-second) / 2, Recall1: .5, Recall5: 1, Recall10: 1}
	if got.Queries != want.Queries || math.Abs(got.MAP-want.MAP) > 1e-12 || math.Abs(got.MAPError-want.MAPError) > 1e-12 ||
		got.Recall1 != want.Recall1 || got.Recall5 != want.Recall5 || got.Recall10 != want.Recall10 {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// Rows that are equally near come in their order, and a row of zeros has the
// cosine 0, of whatever sign.
func TestRetrievalTies(t *testing.T) {
	d := Data{
		Train: []float32{0, 1, 0, 0, 0, -1, float32(math.Copysign(0, -1)), 1}, TrainY: []int{1, 0, 1, 1},
		Test: []float32{1, 0}, TestY: []int{0}, Dim: 2, Classes: 2,
	}
	got, err := Retrieval(context.Background(), newPool(t, 1), d, RetrievalOptions{})
	if err != nil || got.MAP != .5 || got.MAPError != 0 || got.Recall1 != 0 || got.Recall5 != 1 {
		t.Errorf("%+v (%v), want the second of four", got, err)
	}
}

func TestDescendingOrdersAsNumbers(t *testing.T) {
	inf := float32(math.Inf(1))
	x := []float32{inf, 3e38, 1, .5, 1e-40, 0, -1e-40, -.5, -1, -3e38, -inf}
	for i := range x[1:] {
		if descending(x[i]) >= descending(x[i+1]) {
			t.Errorf("%v does not come before %v", x[i], x[i+1])
		}
	}
	if descending(0) != descending(float32(math.Copysign(0, -1))) {
		t.Error("the two zeros differ")
	}
}

// Beside a plain implementation, for any number of workers and over more than a
// block of queries and of training rows.
func TestRetrievalAgainstPlain(t *testing.T) {
	d := blobData(21, 600, 5, 3, 1)
	var maps []float64
	for i, y := range d.TestY {
		q := d.Test[i*d.Dim : (i+1)*d.Dim]
		order := make([]int, len(d.TrainY))
		cos := make([]float64, len(order))
		for j := range order {
			order[j] = j
			var dot, square float64
			for c, v := range d.Train[j*d.Dim : (j+1)*d.Dim] {
				dot += float64(v) * float64(q[c])
				square += float64(v) * float64(v)
			}
			cos[j] = dot / math.Sqrt(square)
		}
		sort.SliceStable(order, func(a, b int) bool { return cos[order[a]] > cos[order[b]] })
		var ap, found float64
		for at, j := range order {
			if d.TrainY[j] == y {
				found++
				ap += found / float64(at+1)
			}
		}
		maps = append(maps, ap/found)
	}
	want := 0.
	for _, m := range maps {
		want += m / float64(len(maps))
	}
	ctx := context.Background()
	got, err := Retrieval(ctx, newPool(t, 1), d, RetrievalOptions{})
	if err != nil || got.Queries != 300 || math.Abs(got.MAP-want) > 1e-5 {
		t.Errorf("%+v (%v), want a mean average precision of %v", got, err, want)
	}
	if again, err := Retrieval(ctx, newPool(t, 3), d, RetrievalOptions{}); err != nil || again != got {
		t.Errorf("%+v (%v) with 3 workers, %+v with 1", again, err, got)
	}
	few, err := Retrieval(ctx, newPool(t, 2), d, RetrievalOptions{Queries: 100})
	want = 0
	for i := range 100 {
		want += maps[3*i] / 100
	}
	if err != nil || few.Queries != 100 || math.Abs(few.MAP-want) > 1e-5 {
		t.Errorf("%+v (%v), want %v for every third row", few, err, want)
	}
}

func TestRetrievalAgainstSklearn(t *testing.T) {
	g, d := digits(t)
	got, err := Retrieval(context.Background(), newPool(t, 2), d, RetrievalOptions{Queries: -1})
	if err != nil || got.Queries != len(d.TestY) || math.Abs(got.MAP-g.RetrievalMAP) > 1e-5 {
		t.Errorf("%+v (%v), sklearn's mean average precision %v", got, err, g.RetrievalMAP)
	}
	if !slices.Equal([]float64{got.Recall1, got.Recall5, got.Recall10}, g.RetrievalRecall) {
		t.Errorf("recall %+v, NumPy %v", got, g.RetrievalRecall)
	}
}

// A random ranking of many rows has about the share of the class, and separate
// classes are found whole.
func TestRetrievalLimits(t *testing.T) {
	ctx, pool := context.Background(), newPool(t, 2)
	got, err := Retrieval(ctx, pool, blobData(22, 600, 8, 4, 0), RetrievalOptions{})
	if err != nil || math.Abs(got.MAP-.26) > .02 {
		t.Errorf("%+v (%v) on labels without relation to the features", got, err)
	}
	got, err = Retrieval(ctx, pool, blobData(23, 600, 8, 4, 60), RetrievalOptions{})
	if err != nil || got.MAP != 1 || got.Recall1 != 1 || got.MAPError != 0 {
		t.Errorf("%+v (%v) on separate classes", got, err)
	}
	strange := Data{Train: []float32{1}, TrainY: []int{0}, Test: []float32{1}, TestY: []int{1}, Dim: 1, Classes: 2}
	if _, err := Retrieval(ctx, pool, strange, RetrievalOptions{}); err == nil {
		t.Error("a test row of a class that has no training rows asks")
	}
}
