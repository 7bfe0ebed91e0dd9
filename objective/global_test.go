package objective

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"nat/assign"
	"nat/internal/tensorfile"
	"nat/sphere"
)

// After re-pairing all points no part of them is stuck, and what was won is what
// the losses say.
func TestRematchAllIsOptimal(t *testing.T) {
	const n, d = 300, 5
	o := newNAT(t, n, d, NATOptions{Seed: 2, Assign: AssignGlobal}, 2)
	z := sphere.Uniform(n, d, rand.New(rand.NewPCG(1, 2)))
	rows := make([]int32, n)
	for i := range rows {
		rows[i] = int32(i)
	}
	before := loss(o, rows, z)
	gap, err := o.AssignmentGap(rows, z)
	if err != nil {
		t.Fatal(err)
	}
	held := slices.Clone(o.Perm())
	settled := 0
	r, err := o.RematchAll(context.Background(), z, func(done, total int) {
		if done < settled || done > total || total != n {
			t.Errorf("%d of %d points settled, after %d", done, total, settled)
		}
		settled = done
	})
	if err != nil {
		t.Fatal(err)
	}
	changed := 0
	for i, j := range o.Perm() {
		if j != held[i] {
			changed++
		}
	}
	near(t, "loss before", r.Before, before, 1e-9)
	near(t, "loss after", r.After, loss(o, rows, z), 1e-9)
	near(t, "excess", r.Excess(), gap, 1e-9)
	near(t, "reassigned", r.Reassigned, float64(changed)/n, 0)
	if r.Gap < 0 || r.Gap > 1e-7 || settled != n {
		t.Errorf("certificate %g, %d points settled", r.Gap, settled)
	}
	if gap, err = o.AssignmentGap(rows, z); err != nil || gap > 1e-6 {
		t.Errorf("still %g above the best pairing, error %v", gap, err)
	}
	if err := o.matching.Check(); err != nil {
		t.Error(err)
	}
	again, err := o.RematchAll(context.Background(), z, nil)
	if err != nil || again.Reassigned != 0 {
		t.Errorf("re-paired once more: %+v, error %v", again, err)
	}
}

func TestRematchAllStops(t *testing.T) {
	const n, d = 40, 3
	o := newNAT(t, n, d, NATOptions{Assign: AssignGlobal}, 1)
	held := slices.Clone(o.Perm())
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := o.RematchAll(ctx, sphere.Uniform(n, d, rand.New(rand.NewPCG(1, 2))), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if !slices.Equal(o.Perm(), held) {
		t.Error("the pairing has changed")
	}
	ctx, stop := context.WithCancelCause(context.Background())
	cause := errors.New("interrupt")
	o.matching.Solved = func([]int32, []float32, *assign.Result) { stop(cause) }
	if _, err := o.RematchAll(ctx, sphere.Uniform(n, d, rand.New(rand.NewPCG(1, 2))), nil); !errors.Is(err, cause) {
		t.Errorf("stopped during the solve: error %v", err)
	}
	if !slices.Equal(o.Perm(), held) {
		t.Error("stopped during the solve: the pairing has changed")
	}
}

// Many points go another way, with the same result for any number of workers.
func TestRematchAllOfManyPoints(t *testing.T) {
	const n, d = denseRows + 10, 4
	fresh := func(workers int) *NAT { return newNAT(t, n, d, NATOptions{Seed: 2, Assign: AssignGlobal}, workers) }
	z := sphere.Uniform(n, d, rand.New(rand.NewPCG(5, 6)))
	dense, err := fresh(2).rematchDense(context.Background(), z, nil)
	if err != nil {
		t.Fatal(err)
	}
	o := fresh(2)
	held := slices.Clone(o.Perm())
	ctx, cancel := context.WithCancelCause(context.Background())
	cause := errors.New("interrupt")
	_, err = o.RematchAll(ctx, z, func(done, total int) { cancel(cause) })
	if !errors.Is(err, cause) || !slices.Equal(o.Perm(), held) {
		t.Fatalf("stopped on the way: error %v", err)
	}
	r, err := o.RematchAll(context.Background(), z, nil)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "loss before", r.Before, dense.CostBefore/n, 1e-9)
	near(t, "loss after", r.After, dense.CostAfter/n, 1e-7)
	if err := o.matching.Check(); err != nil {
		t.Fatal(err)
	}
	alone := fresh(1)
	again, err := alone.RematchAll(context.Background(), z, nil)
	if err != nil || again != r || !slices.Equal(alone.Perm(), o.Perm()) {
		t.Errorf("with one worker: %+v, error %v; want %+v", again, err, r)
	}
	// The next time begins with what this one learned, from a checkpoint too.
	resumed := fresh(2)
	if err := resumed.SetState(throughFile(t, o.State())); err != nil {
		t.Fatal(err)
	}
	for i, x := range sphere.Uniform(n, d, rand.New(rand.NewPCG(7, 8))) {
		z[i] += .1 * x
	}
	next, err := o.RematchAll(context.Background(), z, nil)
	if err != nil {
		t.Fatal(err)
	}
	again, err = resumed.RematchAll(context.Background(), z, nil)
	if err != nil || again != next || !slices.Equal(resumed.Perm(), o.Perm()) || !slices.Equal(resumed.learned, o.learned) {
		t.Errorf("resumed: %+v, error %v; want %+v", again, err, next)
	}
	o.learned[3] = float32(math.NaN())
	if err := resumed.SetState(o.State()); !errors.Is(err, tensorfile.ErrFormat) {
		t.Errorf("NaN among what was learned: error %v", err)
	}
}
