package kernel

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// A task is one parallel loop: run(worker, i) does item i. The worker number
// only selects scratch memory; results must not depend on it. Items that are
// near each other are for the same worker as far as possible, see share.
type task interface {
	run(worker, i int)
}

// funcTask lets a plain function be a task.
type funcTask func(i int)

func (f funcTask) run(_, i int) { f(i) }

// A chunkTask cuts 0..n-1 into pieces of a fixed length.
type chunkTask struct {
	n, chunk int
	f        func(lo, hi int)
}

func (t *chunkTask) run(_, i int) {
	lo := i * t.chunk
	t.f(lo, min(lo+t.chunk, t.n))
}

// Pool is a fixed set of goroutines that the kernels spread their work over,
// with the scratch memory they reuse. One goroutine may use a Pool at a time.
// How many workers a Pool has never changes the result of a kernel: every
// output element is computed by one worker in a fixed order of summation.
type Pool struct {
	workers int
	wake    []chan struct{} // one per helper; helper w+1 waits on wake[w]
	parked  []atomic.Bool
	done    chan struct{}

	// The loop in progress. Written by the caller while no helper is inside.
	task     task
	shares   []share // one per worker
	backward bool    // the last item of a share first

	// state holds the loop's number, whether helpers may still enter, whether
	// the caller sleeps until they have left, and how many are inside.
	state  atomic.Uint64
	closed atomic.Bool

	panicOnce sync.Mutex
	panicked  any

	// Scratch memory and the arguments of the kernel in progress, kept so that
	// a kernel allocates nothing once it has seen its largest shape.
	space    []workspace // one per worker
	packed   []float32   // B or the weights of a convolution, in panels
	partial  []float32   // weight gradients of pieces of the batch
	gemm     gemmTask
	conv     convTask
	then     epilogue
	direct   bool // no Winograd
	anyway   bool // Winograd even where it does not pay
	winograd winogradTask
	pass     passTask
	pooling  poolTask
	fixed    fixedTask
}

const (
	stateCount   = 1<<16 - 1 // helpers inside
	stateOpen    = 1 << 16   // helpers may enter
	stateWaiting = 1 << 17   // the caller is parked on done
	stateEpoch   = 1 << 18   // one loop

	spins = 40000 // polls before a goroutine parks: some tens of microseconds, as waking one takes longer
)

// NewPool starts a pool of the given number of workers, the caller of Do
// included; 0 means runtime.GOMAXPROCS(0). Close ends its goroutines.
func NewPool(workers int) *Pool {
	if workers < 0 {
		panic("kernel: negative number of workers")
	}
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	p := &Pool{
		workers: workers,
		wake:    make([]chan struct{}, workers-1),
		parked:  make([]atomic.Bool, workers-1),
		done:    make(chan struct{}, 1),
		shares:  make([]share, workers),
		space:   make([]workspace, workers),
	}
	for w := range p.wake {
		p.wake[w] = make(chan struct{}, 1)
		go p.help(w)
	}
	return p
}

// Workers returns the number of workers.
func (p *Pool) Workers() int { return p.workers }

// Close ends the pool's goroutines. The pool must not be in use.
func (p *Pool) Close() {
	if p.closed.Swap(true) {
		return
	}
	for w := range p.wake {
		select {
		case p.wake[w] <- struct{}{}:
		default: // already signalled
		}
	}
}

// Do calls f(0), ..., f(n-1), each once, on up to Workers goroutines, and
// returns when all are done. A panic in f is raised again in the caller, and
// items not yet started are then left out. A Do inside f runs its items in place.
func (p *Pool) Do(n int, f func(i int)) { p.loop(n, funcTask(f)) }

// DoChunks calls f(lo, hi) for the pieces [0,chunk), [chunk,2*chunk), ... of
// 0..n-1, like Do. The pieces depend on n and chunk only, so a reduction that
// adds one partial result per piece in order is the same for any worker count.
func (p *Pool) DoChunks(n, chunk int, f func(lo, hi int)) {
	if chunk <= 0 {
		panic("kernel: chunk must be positive")
	}
	p.loop((n+chunk-1)/chunk, &chunkTask{n, chunk, f})
}

// loop runs a task of n items.
func (p *Pool) loop(n int, t task) {
	if n <= 0 {
		return
	}
	s := p.state.Load()
	if n == 1 || p.workers == 1 || s&(stateOpen|stateCount) != 0 || p.closed.Load() {
		p.alone(n, t)
		return
	}
	p.task, p.panicked = t, nil
	for w := range p.shares {
		p.shares[w].set(n*w/p.workers, n*(w+1)/p.workers)
	}
	p.state.Store(s&^(stateEpoch-1) + stateEpoch + stateOpen)
	for w := range min(len(p.wake), n-1) {
		if p.parked[w].Swap(false) {
			p.wake[w] <- struct{}{}
		}
	}
	p.work(0)
	p.leave()
	p.task = nil
	if v := p.panicked; v != nil {
		panic(v)
	}
}

// loopUnless is loop, or the same in place if small is set.
func (p *Pool) loopUnless(small bool, n int, t task) {
	if !small {
		p.loop(n, t)
		return
	}
	p.alone(n, t)
}

// alone runs a task of n items on the goroutine of the caller.
func (p *Pool) alone(n int, t task) {
	for i := range n {
		if p.backward {
			i = n - 1 - i
		}
		t.run(0, i)
	}
}

// work does the worker's share, and then what the others have left.
func (p *Pool) work(worker int) {
	defer p.catch()
	own, others := (*share).first, (*share).last
	if p.backward {
		own, others = others, own
	}
	for w, take := worker, own; w < worker+p.workers; w, take = w+1, others {
		s := &p.shares[w%p.workers]
		for i, ok := take(s); ok; i, ok = take(s) {
			p.task.run(worker, i)
		}
	}
}

// A share is the items lo..hi-1 that nobody has taken yet of those that a worker
// should do, as lo + hi<<32. A worker gets the same part of every loop, so that
// it finds in its own cache what it has written in the loop before: to fetch
// it from another core takes several times as long, in particular where the
// two share no cache at all. Those who have finished take from the other end.
type share struct {
	left atomic.Uint64
	_    [120]byte // no other share in the same or the adjacent line
}

func (s *share) set(lo, hi int) { s.left.Store(uint64(hi)<<32 | uint64(lo)) }

// first takes the first item.
func (s *share) first() (i int, ok bool) {
	v := s.left.Load()
	for uint32(v) < uint32(v>>32) {
		if s.left.CompareAndSwap(v, v+1) {
			return int(uint32(v)), true
		}
		v = s.left.Load()
	}
	return 0, false
}

// last takes the last item.
func (s *share) last() (i int, ok bool) {
	v := s.left.Load()
	for uint32(v) < uint32(v>>32) {
		if s.left.CompareAndSwap(v, v-1<<32) {
			return int(v>>32) - 1, true
		}
		v = s.left.Load()
	}
	return 0, false
}

// catch keeps the first panic for the caller and cancels the items not started.
func (p *Pool) catch() {
	v := recover()
	if v == nil {
		return
	}
	p.panicOnce.Lock()
	if p.panicked == nil {
		p.panicked = v
	}
	p.panicOnce.Unlock()
	for w := range p.shares {
		p.shares[w].set(0, 0)
	}
}

// leave closes the loop to helpers that have not entered, so that one that the
// system has not scheduled cannot delay it, and waits for those inside.
func (p *Pool) leave() {
	s := p.state.Add(^uint64(stateOpen - 1)) // clears the open bit
	for i := 0; s&stateCount != 0; i++ {
		if i >= spins && p.state.CompareAndSwap(s, s|stateWaiting) {
			<-p.done
			return
		}
		s = p.state.Load()
	}
}

// help is the life of helper w.
func (p *Pool) help(w int) {
	for last := uint64(0); ; {
		s := p.await(w, last)
		if p.closed.Load() {
			return
		}
		if s&stateOpen == 0 || !p.state.CompareAndSwap(s, s+1) {
			continue
		}
		last = s / stateEpoch
		p.work(w + 1)
		if p.state.Add(^uint64(0))&(stateCount|stateWaiting) == stateWaiting {
			p.done <- struct{}{}
		}
	}
}

// await returns the state once a loop other than the last one is open,
// polling for a while and then sleeping until it is woken.
func (p *Pool) await(w int, last uint64) uint64 {
	for i := 0; ; i++ {
		s := p.state.Load()
		if s&stateOpen != 0 && s/stateEpoch != last || p.closed.Load() {
			return s
		}
		if i < spins {
			continue
		}
		p.parked[w].Store(true)
		s = p.state.Load()
		if (s&stateOpen == 0 || s/stateEpoch == last) && !p.closed.Load() {
			<-p.wake[w]
		} else if !p.parked[w].Swap(false) {
			<-p.wake[w] // the caller has sent, or is about to
		}
		i = 0
	}
}
