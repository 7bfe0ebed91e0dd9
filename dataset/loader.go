package dataset

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"nat/internal/rng"
)

// LoaderOptions describes the batches to make.
type LoaderOptions struct {
	Batch   int // rows per batch B
	Views   int // views per row V; 0 = 1
	Seed    uint64
	Workers int   // goroutines that read and augment; 0 = all processors
	Rows    []int // training rows of the set
	Augment Augment
	Norm    Normalizer
	Out     Shape // network input; zero = OutShape(set)
	// Prefetch is the number of batches made ahead; 0 = as many as fit in 64 MiB,
	// from 1 to 3.
	Prefetch int
}

// Batch is one step's input.
type Batch struct {
	Epoch, Index int
	Rows         []int32   // positions in LoaderOptions.Rows
	X            []float32 // Views*Batch x Out, normalised; view v of the b-th row is row v*Batch+b

	slot *slot // where it was made
}

// Loader makes batches on worker goroutines, a few ahead of their use. What a
// batch holds is a function of the options and its place (epoch, index) alone:
// neither the number of workers nor where loading started matters.
//
// Start, Next, Recycle and Close belong to one goroutine.
type Loader struct {
	set    *Set
	opt    LoaderOptions
	free   chan *slot
	waited time.Duration
	run    *loaderRun
}

// slot is a batch in the making.
type slot struct {
	Batch
	left atomic.Int32  // pieces still to be made
	done chan struct{} // receives once when left becomes 0
	mu   sync.Mutex
	at   int // lowest position in the batch that failed
	err  error
}

// piece is the unit of work: some rows of a batch.
type piece struct {
	s      *slot
	lo, hi int
}

// pieceRows is small, so that workers finish a batch together even when rows are
// slow, such as photographs to decode.
const pieceRows = 8

// loaderRun is the machinery between a Start and the next Start or Close.
type loaderRun struct {
	cancel context.CancelFunc
	ctx    context.Context
	room   chan struct{} // holds a token for each batch made ahead
	ready  chan *slot    // in order
	wg     sync.WaitGroup
	err    error // sticky
}

// prefetchBytes bounds the memory of batches made ahead, beyond the first.
const prefetchBytes = 64 << 20

// NewLoader checks the options. Nothing is loaded before Start.
func NewLoader(s *Set, opt LoaderOptions) (*Loader, error) {
	if opt.Views == 0 {
		opt.Views = 1
	}
	if opt.Out == (Shape{}) {
		opt.Out = s.out
	}
	if bytes := 4 * opt.Batch * opt.Views * opt.Out.Size(); opt.Prefetch == 0 && bytes > 0 {
		opt.Prefetch = min(max(prefetchBytes/bytes, 1), 3)
	}
	if err := checkOut(s, opt.Out, opt.Norm); err != nil {
		return nil, err
	}
	if err := opt.Augment.Validate(); err != nil {
		return nil, err
	}
	if opt.Batch < 1 || opt.Views < 1 || opt.Prefetch < 0 {
		return nil, fmt.Errorf("loader: batch %d, views %d and prefetch %d must be positive", opt.Batch, opt.Views, opt.Prefetch)
	}
	if len(opt.Rows) < opt.Batch {
		return nil, reject("%s: %d rows to train on, less than one batch of %d: choose a smaller batch", s.path, len(opt.Rows), opt.Batch)
	}
	return &Loader{set: s, opt: opt, free: make(chan *slot, opt.Prefetch+1)}, nil
}

// checkOut checks that rows of the set can become network inputs.
func checkOut(s *Set, out Shape, norm Normalizer) error {
	if out.C != s.shape.C || out.H > s.shape.H || out.W > s.shape.W || min(out.H, out.W) < 1 {
		return fmt.Errorf("dataset: rows of %v cannot become a network input of %v: open the set with Options.Input", s.shape, out)
	}
	if len(norm.Mean) != out.C || len(norm.Std) != out.C {
		return fmt.Errorf("dataset: a normalizer of %d channels does not fit an input of %v", len(norm.Mean), out)
	}
	return nil
}

// BatchesPerEpoch returns the number of batches in an epoch; the last, partial
// one is dropped.
func (l *Loader) BatchesPerEpoch() int { return len(l.opt.Rows) / l.opt.Batch }

// Start begins loading at a batch of an epoch, dropping what was made ahead. The
// order of epoch e is a shuffle by the stream rng.Shuffle at index e.
func (l *Loader) Start(ctx context.Context, epoch, batch int) {
	if epoch < 0 || batch < 0 || batch > l.BatchesPerEpoch() {
		panic("dataset: Start outside of the epoch")
	}
	l.stop()
	r := &loaderRun{room: make(chan struct{}, l.opt.Prefetch), ready: make(chan *slot, l.opt.Prefetch)}
	r.ctx, r.cancel = context.WithCancel(ctx)
	workers := workerCount(l.opt.Workers)
	pieces := make(chan piece, workers)
	r.wg.Go(func() { l.dispatch(r, pieces, epoch, batch) })
	for range workers {
		r.wg.Go(func() { l.work(r, pieces) })
	}
	l.run = r
}

// dispatch lays out batch after batch in order and hands out their pieces.
func (l *Loader) dispatch(r *loaderRun, pieces chan<- piece, epoch, batch int) {
	defer close(r.ready)
	defer close(pieces)
	order := make([]int32, len(l.opt.Rows))
	for ; ; epoch, batch = epoch+1, 0 {
		for i := range order {
			order[i] = int32(i)
		}
		rng.New(l.opt.Seed, rng.Shuffle, uint64(epoch)).Shuffle(len(order), func(i, j int) {
			order[i], order[j] = order[j], order[i]
		})
		for ; batch < l.BatchesPerEpoch(); batch++ {
			select {
			case r.room <- struct{}{}:
			case <-r.ctx.Done():
				return
			}
			s := l.newSlot()
			s.Epoch, s.Index = epoch, batch
			copy(s.Rows, order[batch*l.opt.Batch:])
			r.ready <- s // there is room
			for lo := 0; lo < l.opt.Batch; lo += pieceRows {
				select {
				case pieces <- piece{s, lo, min(lo+pieceRows, l.opt.Batch)}:
				case <-r.ctx.Done():
					return
				}
			}
		}
	}
}

// newSlot takes a recycled batch, or makes one.
func (l *Loader) newSlot() *slot {
	var s *slot
	select {
	case s = <-l.free:
	default:
		b := l.opt.Batch
		s = &slot{done: make(chan struct{}, 1)}
		s.Batch.slot, s.Batch.Rows, s.X = s, make([]int32, b), make([]float32, l.opt.Views*b*l.opt.Out.Size())
	}
	s.left.Store(int32((l.opt.Batch + pieceRows - 1) / pieceRows))
	s.err = nil
	return s
}

// work makes pieces until there are none.
func (l *Loader) work(r *loaderRun, pieces <-chan piece) {
	v := newViewer(l.set, l.opt.Out, l.opt.Norm)
	for p := range pieces {
		for b := p.lo; b < p.hi && r.ctx.Err() == nil; b++ {
			if err := l.makeRow(v, p.s, b); err != nil {
				p.s.fail(b, err)
			}
		}
		if p.s.left.Add(-1) == 0 {
			p.s.done <- struct{}{}
		}
	}
}

// makeRow fills all views of one row of a batch.
func (l *Loader) makeRow(v *viewer, s *slot, b int) error {
	row := l.opt.Rows[s.Rows[b]]
	if err := v.load(row); err != nil {
		return err
	}
	size := l.opt.Out.Size()
	for view := range l.opt.Views {
		at := (view*l.opt.Batch + b) * size
		v.augment(s.X[at:at+size], &l.opt.Augment, l.opt.Seed, uint64(s.Epoch), uint64(row), uint64(view))
	}
	return nil
}

// fail keeps the error of the first row, so that it does not depend on timing.
func (s *slot) fail(at int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil || at < s.at {
		s.at, s.err = at, err
	}
}

// Next returns the next batch in order. It belongs to the caller until it is
// recycled. An error names the row that could not be read, or is that of the
// context; it ends loading until the next Start.
func (l *Loader) Next() (*Batch, error) {
	r := l.run
	if r == nil {
		panic("dataset: Next before Start")
	}
	if r.err != nil {
		return nil, r.err
	}
	s, err := l.await(r)
	if err == nil && s.err != nil {
		err = fmt.Errorf("epoch %d, batch %d: %w", s.Epoch, s.Index, s.err)
	}
	if err != nil {
		r.err = err
		r.cancel()
		return nil, err
	}
	return &s.Batch, nil
}

// await waits for the next batch to be complete.
func (l *Loader) await(r *loaderRun) (*slot, error) {
	begin := time.Now()
	defer func() { l.waited += time.Since(begin) }()
	select {
	case s, ok := <-r.ready:
		if !ok {
			return nil, r.ctx.Err()
		}
		select {
		case <-s.done:
			<-r.room
			return s, nil
		case <-r.ctx.Done():
			return nil, r.ctx.Err()
		}
	case <-r.ctx.Done():
		return nil, r.ctx.Err()
	}
}

// Recycle gives a batch back for reuse. The caller must not use it any more.
func (l *Loader) Recycle(b *Batch) {
	select {
	case l.free <- b.slot:
	default: // more batches than the loader ever needs at once
	}
}

// Waited returns the total time that Next was blocked.
func (l *Loader) Waited() time.Duration { return l.waited }

// stop ends the current run and waits for its goroutines.
func (l *Loader) stop() {
	if l.run == nil {
		return
	}
	l.run.cancel()
	l.run.wg.Wait()
	l.run = nil
}

// Close stops loading and waits for the goroutines. The loader can be started
// again.
func (l *Loader) Close() { l.stop() }

// Plain writes rows of a set to x, len(rows) x out: normalised, not augmented,
// the centre of each image.
func Plain(ctx context.Context, s *Set, norm Normalizer, out Shape, rows []int, x []float32, workers int) error {
	if err := checkOut(s, out, norm); err != nil {
		return err
	}
	size := out.Size()
	if len(x) < len(rows)*size {
		panic("dataset: x is too short for the rows")
	}
	viewers := sync.Pool{New: func() any { return newViewer(s, out, norm) }}
	pieces := (len(rows) + pieceRows - 1) / pieceRows
	return forEach(ctx, workers, pieces, func(p int) error {
		v := viewers.Get().(*viewer)
		defer viewers.Put(v)
		for k := p * pieceRows; k < min(len(rows), (p+1)*pieceRows); k++ {
			if err := v.load(rows[k]); err != nil {
				return err
			}
			v.plain(x[k*size : (k+1)*size])
		}
		return nil
	})
}
