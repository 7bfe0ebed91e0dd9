package assign

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
)

// Potentials to begin with come from a coarse picture of the rows. They are put into
// groups (k-means); row i of group k is the centre z_k and a rest that is as good as
// random. Which of very many columns is best for it then follows the logit law, as
// maxima of random numbers do: the expected demand of group k for column j is
//
//	P_kj = exp((u_k + v_j - c_kj) / eps)
//
// where eps is the scale of the extremes of the rest, and potentials at which all
// columns are in equal demand are those of entropic optimal transport between groups
// and columns, found by Sinkhorn's iteration. Points spread evenly have v near 0;
// a common drift of all rows, or a few tight clusters, give everything but what
// the neighbourhood of a column adds.

const (
	groupCount  = 64   // groups at most
	groupSample = 8192 // rows that the groups are chosen by
	groupRounds = 8    // of k-means

	restShare = 1.0 / 3 // eps at the end, in standard deviations of the rest
	coolBy    = 0.7     // factor from one eps to the next
	coolSteps = 6       // iterations at each
	lastSteps = 30      // iterations at the end
	overshoot = 1.8     // of a step of u: successive over-relaxation, 3 times fewer rows are left to searches
)

// seeder is the coarse problem.
type seeder struct {
	p       *pricer // of the whole problem
	centres []float32
	weights []float64 // rows of each group
	groups  int
	rest    float64 // standard deviation of the cost that the centre leaves open
}

// coarsePotentials returns potentials for the columns of p.
func coarsePotentials(ctx context.Context, p *pricer) ([]float64, error) {
	s := &seeder{p: p, groups: min(groupCount, p.n/32)}
	if s.groups < 1 {
		return make([]float64, p.m), nil
	}
	if err := s.cluster(ctx); err != nil {
		return nil, err
	}
	return s.transport(ctx)
}

// beyond is v less coarse, with mean 0.
func beyond(v, coarse []float64) []float64 {
	rest := make([]float64, len(v))
	var mean float64
	for j := range v {
		rest[j] = v[j] - coarse[j]
		mean += rest[j] / float64(len(v))
	}
	for j := range rest {
		rest[j] -= mean
	}
	return rest
}

// blend adds half of the learned potentials to the coarse ones if all of them would give
// a better bound than none, else nothing: half, because a column whose potential is too
// low is worse than one whose is too high, which a search lowers. learned may be nil.
func blend(ctx context.Context, p *pricer, coarse, learned []float64) ([]float64, error) {
	if learned == nil || p.n == 0 {
		return coarse, nil
	}
	half, all := slices.Clone(coarse), slices.Clone(coarse)
	for j, x := range learned {
		half[j] += x / 2
		all[j] += x
	}
	without, err := sampledBound(ctx, p, coarse)
	if err != nil {
		return nil, err
	}
	with, err := sampledBound(ctx, p, all)
	if err != nil || !(with > without) {
		return coarse, err
	}
	return half, nil
}

// sampledBound estimates the lower bound that v gives, a row: the mean of v and that of
// the least reduced costs of some rows.
func sampledBound(ctx context.Context, p *pricer, v []float64) (float64, error) {
	const most = 512
	rows := make([]int32, min(most, p.n))
	for k := range rows {
		rows[k] = int32(k * p.n / len(rows))
	}
	least := make([]float64, p.n)
	p.setPotentials(fixed(v, p.scale))
	if err := p.soften(ctx, rows, 0, func(i int32, x float64) { least[i] = x }); err != nil {
		return 0, err
	}
	var total, mean sum
	for _, i := range rows {
		total.add(least[i])
	}
	for _, x := range v {
		mean.add(x)
	}
	return total.value()/float64(len(rows)) + mean.value()/float64(p.m), nil
}

// cluster chooses the groups.
func (s *seeder) cluster(ctx context.Context) error {
	p, d := s.p, s.p.d
	r := rand.New(rand.NewPCG(7, uint64(p.n)))
	sample := r.Perm(p.n)[:min(p.n, groupSample)]
	s.centres = spreadOut(r, p.x, sample, s.groups, d)
	x := make([]float32, 0, len(sample)*d)
	for _, i := range sample {
		x = append(x, p.x[i*d:(i+1)*d]...)
	}
	of := make([]int32, len(sample))
	for range groupRounds {
		if err := nearestCentres(ctx, p, x, len(sample), s.centres, of); err != nil {
			return err
		}
		recentre(s.centres, x, of, d)
	}
	of = make([]int32, p.n)
	if err := nearestCentres(ctx, p, p.x, p.n, s.centres, of); err != nil {
		return err
	}
	recentre(s.centres, p.x, of, d)
	s.weights = make([]float64, s.groups)
	for _, k := range of {
		s.weights[k]++
	}
	s.dropEmpty(d)
	s.measure(r, of)
	return nil
}

// dropEmpty removes groups without rows.
func (s *seeder) dropEmpty(d int) {
	kept := 0
	for k, w := range s.weights {
		if w > 0 {
			copy(s.centres[kept*d:(kept+1)*d], s.centres[k*d:])
			s.weights[kept] = w
			kept++
		}
	}
	s.groups, s.weights, s.centres = kept, s.weights[:kept], s.centres[:kept*d]
}

// spreadOut draws centres among the sample, each with probability proportional to
// the squared distance from those drawn before (k-means++).
func spreadOut(r *rand.Rand, x []float32, sample []int, count, d int) []float32 {
	far := make([]float64, len(sample))
	for t := range far {
		far[t] = math.Inf(1)
	}
	var centres []float32
	next := sample[0]
	for range count {
		centre := x[next*d : (next+1)*d]
		centres = append(centres, centre...)
		var total float64
		for t, i := range sample {
			far[t] = min(far[t], squaredDistance(x[i*d:(i+1)*d], centre))
			total += far[t]
		}
		left := r.Float64() * total
		for t, i := range sample {
			next = i
			if left -= far[t]; left < 0 {
				break
			}
		}
	}
	return centres
}

// nearestCentres finds the group of each row.
func nearestCentres(ctx context.Context, p *pricer, x []float32, n int, centres []float32, of []int32) error {
	near := newPricer(p.pool, x, centres, n, len(centres)/p.d, p.d, p.scale)
	defer near.close()
	near.setPotentials(make([]int64, near.m))
	return near.fill(ctx, allOf(n), 1, func(i int32, cols []int32, _ int64) { of[i] = cols[0] })
}

// recentre moves the centres to the means of their groups; an empty one stays.
func recentre(centres, x []float32, of []int32, d int) {
	sums, counts := make([]float64, len(centres)), make([]float64, len(centres)/d)
	for i, k := range of {
		counts[k]++
		sum := sums[int(k)*d : (int(k)+1)*d]
		for t, value := range x[i*d : (i+1)*d] {
			sum[t] += float64(value)
		}
	}
	for t := range centres {
		if c := counts[t/d]; c > 0 {
			centres[t] = float32(sums[t] / c)
		}
	}
}

// measure estimates how much the costs of a row vary among columns beyond those of
// its group's centre.
func (s *seeder) measure(r *rand.Rand, of []int32) {
	d := s.p.d
	const rows, cols = 256, 32
	var total float64
	for range rows {
		i := r.IntN(s.p.n)
		x, z := s.p.x[i*d:(i+1)*d], s.centres[:d]
		if k := int(of[i]); k < s.groups {
			z = s.centres[k*d : (k+1)*d]
		}
		var sum, square float64
		for range cols {
			j := r.IntN(s.p.m)
			y := s.p.y[j*d : (j+1)*d]
			diff := squaredDistance(x, y) - squaredDistance(z, y)
			sum += diff
			square += diff * diff
		}
		total += max(0, square/cols-(sum/cols)*(sum/cols))
	}
	s.rest = math.Sqrt(total / rows)
}

// transport runs Sinkhorn's iteration from a coarse eps down to that of the rest.
func (s *seeder) transport(ctx context.Context) ([]float64, error) {
	p := s.p
	across := newPricer(p.pool, s.centres, p.y, s.groups, p.m, p.d, p.scale)
	defer across.close()
	down := newPricer(p.pool, p.y, s.centres, p.m, s.groups, p.d, p.scale)
	defer down.close()
	u, v := make([]float64, s.groups), make([]float64, p.m)
	finest := max(s.rest*restShare, 1e-6*math.Sqrt(p.slop))
	for eps := max(s.between(), finest); ; eps = max(eps*coolBy, finest) {
		steps := coolSteps
		if eps == finest {
			steps = lastSteps
		}
		for range steps {
			down.setPotentials(fixed(u, p.scale))
			if err := down.soften(ctx, allOf(p.m), eps, func(j int32, x float64) { v[j] = x }); err != nil {
				return nil, err
			}
			across.setPotentials(fixed(v, p.scale))
			if err := across.soften(ctx, allOf(s.groups), eps, func(k int32, x float64) {
				u[k] += overshoot * (x + eps*math.Log(s.weights[k]) - u[k])
			}); err != nil {
				return nil, err
			}
		}
		if eps == finest {
			return v, nil
		}
	}
}

// between is the standard deviation of the costs of centres over columns.
func (s *seeder) between() float64 {
	d := s.p.d
	r := rand.New(rand.NewPCG(8, uint64(s.p.n)))
	const cols = 256
	var total float64
	for k := range s.groups {
		z := s.centres[k*d : (k+1)*d]
		var sum, square float64
		for range cols {
			j := r.IntN(s.p.m)
			c := squaredDistance(z, s.p.y[j*d:(j+1)*d])
			sum += c
			square += c * c
		}
		total += max(0, square/cols-(sum/cols)*(sum/cols))
	}
	return math.Sqrt(total / float64(s.groups))
}

// fixed turns potentials into fixed point.
func fixed(x []float64, scale float64) []int64 {
	out := make([]int64, len(x))
	for i, value := range x {
		out[i] = int64(value * scale)
	}
	return out
}

func allOf(n int) []int32 {
	rows := make([]int32, n)
	for i := range rows {
		rows[i] = int32(i)
	}
	return rows
}
