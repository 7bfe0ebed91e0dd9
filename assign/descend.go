package assign

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"nat/internal/kernel"
)

// Standstills of Descend.
const (
	// Proven: no batch of that size can gain (20). For a batch of all points their
	// exact assignment shows it, for two all exchanges that were tried, and for
	// sizes between IsLocalMinimum.
	Proven = "proven"
	// Idle: 20 passes over the points, each cut into batches at random, gained
	// nothing; some batch may still, see Descent.Improvable.
	Idle = "20N/B idle"
	// Stopped: the context ended, or the limit of steps was reached.
	Stopped = "stopped"
)

// idlePasses is the number of passes over all points without a gain after
// which a descent stands still.
const idlePasses = 20

// DescentOptions steer Descend.
type DescentOptions struct {
	Batch int
	// Tolerance is the gain up to which a batch, or an exchange in a proof, gains
	// nothing; 0 means 1e-6. Sums of squared distances are computed in float64, but
	// of more than two points a batch is matched by distances in steps of 1.5e-8
	// that float32 rounds (see Solver.Points): of points in the unit ball a batch
	// may miss gains of some 1e-7 a row.
	Tolerance float64
	// ProofCost is the number of additions that proofs of a minimum may take
	// together (see MinimumProofCost); 0 means that none is tried.
	ProofCost float64
	MaxSteps  int                // 0: no limit
	Progress  func(DescentPoint) // called with every point of the trace; may be nil
}

// DescentPoint is a moment of a descent.
type DescentPoint struct {
	Step    int
	Cost    float64
	Seconds float64 // since the start, without the proofs
}

// A Descent is a run of the stochastic Hungarian method with fixed points.
type Descent struct {
	Batch      int
	Cost       float64 // sum of squared distances at the end
	Steps      int     // batches solved
	LastGain   int     // the step that gained last
	Seconds    float64
	Standstill string         // Proven, Idle or Stopped
	Improvable bool           // Idle, but a proof found that some batch would gain
	Trace      []DescentPoint // the start, the end, and steps 5 % apart
}

// Descend improves m, whose points are z and targets c (both N x d), by
// batches of opt.Batch rows until it stands still: it shuffles the points with
// r, cuts them into batches, matches each exactly, and starts over; points left
// over when N is no multiple of the batch sit a pass out, others each time. After
// 20 passes without a gain (one, if all points are in the batch) it tries to prove
// that there is none to be had. If there is one, pairs go on until they find it;
// larger batches might try for ages, as one exchange of 7 rows among 60 is in one
// batch of 8 out of 300 million. A proof takes four matrices of N x N float64; for
// pairs it takes one, of up to 4,096 points, or none, and for all points none. The
// context ends it early, without an error; the error is that of a batch that could
// not be solved.
func (m *Matching) Descend(ctx context.Context, pool *kernel.Pool, z, c []float32, d int, r *rand.Rand, opt DescentOptions) (Descent, error) {
	n := len(m.Perm)
	if opt.Batch < 2 || opt.Batch > n {
		panic("assign: Descend needs a batch of 2 to N")
	}
	if opt.Tolerance == 0 {
		opt.Tolerance = 1e-6
	}
	t := &descentRun{Matching: m, pool: pool, z: z, c: c, d: d, opt: opt, order: make([]int32, n), began: time.Now()}
	for i := range t.order {
		t.order[i] = int32(i)
	}
	t.Batch, t.cost = opt.Batch, m.matchedCost(z, c, d)
	t.record()
	for idle := 0; t.Standstill == ""; {
		gained, err := t.pass(ctx, r)
		if err != nil {
			return Descent{}, err
		}
		if last := t.Trace[len(t.Trace)-1].Step; t.Steps >= last+last/20 {
			t.record()
		}
		if idle++; gained {
			idle = 0
		}
		switch {
		case ctx.Err() != nil || opt.MaxSteps > 0 && t.Steps >= opt.MaxSteps:
			t.Standstill = Stopped
		case idle == idlePasses, idle > 0 && opt.Batch == n:
			idle = 0
			t.Standstill = t.prove(ctx)
		}
	}
	t.record()
	t.Cost, t.Seconds = m.matchedCost(z, c, d), t.seconds()
	return t.Descent, nil
}

// descentRun is a Descent in progress.
type descentRun struct {
	Descent
	*Matching
	pool     *kernel.Pool
	solver   Solver
	z, c     []float32
	d        int
	opt      DescentOptions
	order    []int32   // of the points in this pass
	points   []float32 // of the batch
	cost     float64
	matrix   []float64 // of all costs, once a proof needs it
	spent    float64   // additions of proofs
	began    time.Time
	proofing time.Duration
}

func (t *descentRun) seconds() float64 { return (time.Since(t.began) - t.proofing).Seconds() }

func (t *descentRun) record() {
	p := DescentPoint{t.Steps, t.cost, t.seconds()}
	t.Trace = append(t.Trace, p)
	if t.opt.Progress != nil {
		t.opt.Progress(p)
	}
}

// pass matches all points once, a batch at a time; a rest smaller than a batch
// sits the pass out. It reports whether any batch gained.
func (t *descentRun) pass(ctx context.Context, r *rand.Rand) (gained bool, err error) {
	r.Shuffle(len(t.order), func(i, j int) { t.order[i], t.order[j] = t.order[j], t.order[i] })
	for lo := 0; lo+t.Batch <= len(t.order) && ctx.Err() == nil; lo += t.Batch {
		gain, err := t.match(ctx, t.order[lo:lo+t.Batch])
		if err != nil {
			if ctx.Err() != nil {
				return gained, nil
			}
			return false, err
		}
		t.Steps++
		if gain > t.opt.Tolerance {
			gained, t.LastGain = true, t.Steps
			t.cost -= gain
		}
	}
	return gained, nil
}

// match re-pairs one batch and returns what that gained.
func (t *descentRun) match(ctx context.Context, rows []int32) (gain float64, err error) {
	if len(rows) == 2 {
		return t.swap(rows[0], rows[1]), nil
	}
	t.points = t.points[:0]
	for _, row := range rows {
		t.points = append(t.points, t.z[int(row)*t.d:int(row+1)*t.d]...)
	}
	r, err := t.Rematch(ctx, t.pool, &t.solver, rows, t.points, t.c, t.d)
	return r.CostBefore - r.CostAfter, err
}

// swap is match for two rows, where a solver would only be overhead.
func (t *descentRun) swap(a, b int32) float64 {
	gain := t.swapGain(a, b)
	if gain <= t.opt.Tolerance {
		return 0
	}
	t.Perm[a], t.Perm[b] = t.Perm[b], t.Perm[a]
	return gain
}

// swapGain is what exchanging the targets of two rows would gain.
func (t *descentRun) swapGain(a, b int32) float64 {
	p, q := t.Perm[a], t.Perm[b]
	return t.at(a, p) + t.at(b, q) - t.at(a, q) - t.at(b, p)
}

func (t *descentRun) at(i, j int32) float64 {
	if t.matrix != nil {
		return t.matrix[int(i)*len(t.Perm)+int(j)]
	}
	return squaredDistance(t.z[int(i)*t.d:int(i+1)*t.d], t.c[int(j)*t.d:int(j+1)*t.d])
}

// prove returns the standstill that idle passes amount to, "" if it is none.
func (t *descentRun) prove(ctx context.Context) string {
	n := len(t.Perm)
	if t.Batch == n {
		return Proven
	}
	if t.spent += MinimumProofCost(n, t.Batch); t.spent > t.opt.ProofCost {
		return Idle
	}
	start := time.Now()
	defer func() { t.proofing += time.Since(start) }()
	minimal, err := t.minimal(ctx)
	switch {
	case err != nil:
		return Stopped
	case minimal:
		return Proven
	case t.Batch == 2:
		return ""
	}
	t.Improvable = true
	return Idle
}

// minimal decides whether some batch would gain.
func (t *descentRun) minimal(ctx context.Context) (bool, error) {
	n := len(t.Perm)
	if t.Batch == 2 {
		if n <= pairMatrixRows {
			t.fillMatrix()
		}
		return !t.anySwapGains(ctx), ctx.Err()
	}
	t.fillMatrix()
	return IsLocalMinimum(ctx, t.pool, t.matrix, t.Perm, t.Batch, t.opt.Tolerance)
}

// fillMatrix computes all costs, once.
func (t *descentRun) fillMatrix() {
	if t.matrix != nil {
		return
	}
	n := len(t.Perm)
	matrix := make([]float64, n*n)
	t.pool.Do(n, func(i int) {
		for j := range n {
			matrix[i*n+j] = t.at(int32(i), int32(j))
		}
	})
	t.matrix = matrix
}

// pairMatrixRows is up to how many rows all costs are kept to try all pairs, which
// may take several times: 128 MiB.
const pairMatrixRows = 4096

// anySwapGains tries all pairs of rows.
func (t *descentRun) anySwapGains(ctx context.Context) bool {
	var gains atomic.Bool
	t.pool.Do(len(t.Perm), func(row int) {
		i := int32(row)
		for j := int32(0); j < i && !gains.Load() && ctx.Err() == nil; j++ {
			if t.swapGain(i, j) > t.opt.Tolerance {
				gains.Store(true)
			}
		}
	})
	return gains.Load()
}

// matchedCost is the sum of squared distances under Perm.
func (m *Matching) matchedCost(z, c []float32, d int) (total float64) {
	for i, j := range m.Perm {
		total += squaredDistance(z[i*d:(i+1)*d], c[int(j)*d:int(j+1)*d])
	}
	return total
}
