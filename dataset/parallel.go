package dataset

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
)

// workerCount resolves 0 to all processors.
func workerCount(workers int) int {
	if workers <= 0 {
		return runtime.GOMAXPROCS(0)
	}
	return workers
}

// forEach calls f(0) to f(n-1), each once, on the given number of goroutines,
// and returns the error of the lowest index that failed. Every index below a
// failing one is still run, so that the answer does not depend on timing.
func forEach(ctx context.Context, workers, n int, f func(i int) error) error {
	var (
		wg     sync.WaitGroup
		next   atomic.Int64
		failed atomic.Int64 // lowest index that failed so far
		mu     sync.Mutex
		first  error
	)
	failed.Store(int64(n))
	for range min(workerCount(workers), n) {
		wg.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if int64(i) >= failed.Load() {
					return
				}
				if err := f(i); err != nil {
					mu.Lock()
					if int64(i) < failed.Load() {
						failed.Store(int64(i))
						first = err
					}
					mu.Unlock()
					return
				}
			}
		})
	}
	wg.Wait()
	if first == nil {
		first = ctx.Err()
	}
	return first
}

// progress serialises calls of [Options].Progress, at most about 1000 of them.
type progress struct {
	mu          sync.Mutex
	done, total int
	shown       int
	report      func(done, total int)
}

func (p *progress) add(n int) {
	if p.report == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += n
	if p.done == p.total || p.done-p.shown >= max(p.total/1000, 1) {
		p.shown = p.done
		p.report(p.done, p.total)
	}
}
