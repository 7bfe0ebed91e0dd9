package assign

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"nat/internal/kernel"
)

// A solve that is stopped, at whatever moment it looks, says so and how far it was; the
// solver is as good as new afterwards.
func TestSolveStops(t *testing.T) {
	pool := kernel.NewPool(1)
	defer pool.Close()
	const n, d = 700, 4
	r := rand.New(rand.NewPCG(3, 3))
	near, far := uniformPoints(r, n, d), uniformPoints(r, n, d)
	for k := range far {
		far[k] *= 3
	}
	equal := make([]float32, n*d)
	for i := range n {
		copy(equal[i*d:], far[:d])
	}
	c := uniformPoints(r, n, d)
	cost := generate(n*n, r.Float64)
	var s Solver
	for name, solve := range map[string]func(ctx context.Context) (*Result, error){
		"matrix": func(ctx context.Context) (*Result, error) { return s.Matrix(ctx, cost, n, n, Options{}) },
		"wide":   func(ctx context.Context) (*Result, error) { return s.Matrix(ctx, cost, n/2, 2*n, Options{}) },
		"tall":   func(ctx context.Context) (*Result, error) { return s.Matrix(ctx, cost, 2*n, n/2, Options{}) },
		"rows": func(ctx context.Context) (*Result, error) {
			return s.Rows(ctx, n, n, func(i int, dst []float64) { copy(dst, cost[i*n:]) }, Options{})
		},
		"points": func(ctx context.Context) (*Result, error) { return s.Points(ctx, pool, near, c, n, n, d, Options{}) },
		"few": func(ctx context.Context) (*Result, error) {
			return s.Points(ctx, pool, near, c, 300, 300, d, Options{})
		},
		"more":  func(ctx context.Context) (*Result, error) { return s.Points(ctx, pool, near, c, n, n/2, d, Options{}) },
		"far":   func(ctx context.Context) (*Result, error) { return s.Points(ctx, pool, far, c, n, n, d, Options{}) },
		"equal": func(ctx context.Context) (*Result, error) { return s.Points(ctx, pool, equal, c, n, n, d, Options{}) },
	} {
		t.Run(name, func(t *testing.T) {
			want, err := solve(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			asked := 0
			for after := 0; ; after += 1 + after/2 {
				ctx := &countdown{context.Background(), after}
				_, err := solve(ctx)
				if ctx.left >= 0 {
					if err != nil {
						t.Fatalf("never stopped: %v", err)
					}
					break
				}
				if asked++; err == nil {
					t.Fatalf("stopped when asked for the %dth time: no error", after+1)
				}
			}
			if asked < 2 {
				t.Errorf("the context was looked at %d times", asked)
			}
			if again, err := solve(t.Context()); err != nil || again.Cost != want.Cost || !again.Optimal {
				t.Errorf("after it was stopped: %+v, %v; want cost %v", again, err, want.Cost)
			}
		})
	}
}

// The error is the cause of the context, and it comes soon: the searches in a matrix of
// products grow over all columns.
func TestSolveStopsSoon(t *testing.T) {
	const n, soon = 3000, 2 * time.Second
	r := rand.New(rand.NewPCG(4, 4))
	a, b := generate(n, r.Float64), generate(n, r.Float64)
	ctx, cancel := context.WithCancelCause(t.Context())
	cause, stopped := errors.New("enough"), make(chan time.Time, 1)
	time.AfterFunc(100*time.Millisecond, func() {
		stopped <- time.Now()
		cancel(cause)
	})
	var s Solver
	_, err := s.Rows(ctx, n, n, func(i int, dst []float64) {
		for j := range dst {
			dst[j] = a[i] * b[j]
		}
	}, Options{})
	if !errors.Is(err, cause) {
		t.Fatalf("error %v", err)
	}
	if late := time.Since(<-stopped); late > soon {
		t.Errorf("stopped %v after the context", late)
	}
}
