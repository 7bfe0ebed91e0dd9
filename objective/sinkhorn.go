package objective

import (
	"math"
	"slices"

	"nat/assign"
	"nat/internal/kernel"
)

// plannedPull is what takes the place of one target for each point: a plan (45) between
// the embeddings of the batch and the targets that the batch holds.
//
// With LossSquare every point is pulled to the mean of the targets, weighed by its row of
// the plan: the barycentric projection of the transport. With LossSinkhorn the loss is
//
//	L = (W mean_v S_T(views v, targets) + 1/2 mean over pairs of views ||z_v - z_w||^2) / 2T
//
// where S_T is the Sinkhorn divergence (46), the entropic distance less what it is between
// equals. Its gradient moves a point away from its neighbours, weighed by the plan of the
// batch with itself, and towards the targets, weighed by the plan with these.
type plannedPull struct {
	nat    *NAT
	weight float64 // W; 0 means LossSquare
	plan   assign.Softener

	targets  []float32 // of the batch, B x d
	products []float32 // B x B
	to, from []float32 // B x d: means of the targets and of the embeddings
}

func newPlannedPull(o *NAT, opt *NATOptions) *plannedPull {
	p := &plannedPull{nat: o}
	if opt.Loss == LossSinkhorn {
		p.weight = opt.UniformityWeight
	}
	return p
}

// pull writes the gradient and the loss, of which re-assignment wins nothing. Chance is the
// loss of a batch in one point.
func (p *plannedPull) pull(stats *Stats, matched []float32, temperature float64) {
	o := p.nat
	size := len(o.step.rows) * o.d
	p.targets = o.gatherTargets(p.targets)
	p.to, p.from = slices.Grow(p.to[:0], size)[:size], slices.Grow(p.from[:0], size)[:size]
	if p.weight == 0 {
		p.project(p.to, matched, p.targets, temperature)
		stats.Loss, stats.Chance = p.pullTo(), 1+p.meanTarget()
	} else {
		stats.Loss, stats.Chance = p.diverge(matched, temperature)
	}
	stats.LossBefore, stats.Reassignment = stats.Loss, 0
}

// meanTarget is the squared length of the mean target.
func (p *plannedPull) meanTarget() float64 {
	d := p.nat.d
	mean := p.from[:d] // there is no divergence to need it
	clear(mean)
	for at := 0; at < len(p.targets); at += d {
		kernel.Axpy(mean, float32(d)/float32(len(p.targets)), p.targets[at:at+d])
	}
	return float64(kernel.Dot(mean, mean))
}

// project writes to dst the means of the y that the plan of the x with them gives each x,
// all B x d, and returns the entropic distance less the squared lengths.
func (p *plannedPull) project(dst, x, y []float32, temperature float64) float64 {
	o := p.nat
	b := len(o.step.rows)
	distance := p.planOf(x, y, temperature)
	o.pool.Gemm(dst, o.d, p.products, b, false, y, o.d, false, b, o.d, b, false)
	return distance
}

// planOf leaves the plan in products.
func (p *plannedPull) planOf(x, y []float32, temperature float64) float64 {
	o := p.nat
	b := len(o.step.rows)
	p.products = slices.Grow(p.products[:0], b*b)[:b*b]
	o.pool.Gemm(p.products, b, x, o.d, false, y, o.d, true, b, b, o.d, false)
	return p.plan.Plan(o.pool, p.products, b, b, temperature).Distance
}

// pullTo is the squared distance of every view to p.to.
func (p *plannedPull) pullTo() (loss float64) {
	o := p.nat
	size := len(p.to)
	step := 2 / float32(o.views*len(o.step.rows))
	for v := range o.views {
		z, dz := o.step.z[v*size:(v+1)*size], o.step.dz[v*size:(v+1)*size]
		for i, x := range z {
			dz[i] = step * (x - p.to[i])
		}
		loss += kernel.SqDist64(z, p.to)
	}
	return loss / float64(o.views*len(o.step.rows))
}

// diverge is LossSinkhorn; mean are the means of the views. Between a point and the targets the distance is the mean squared
// one, whatever the temperature.
func (p *plannedPull) diverge(mean []float32, temperature float64) (loss, chance float64) {
	o := p.nat
	size := len(mean)
	unit := 1 / (2 * temperature)
	among := p.planOf(p.targets, p.targets, temperature)
	for v := range o.views {
		z := o.step.z[v*size : (v+1)*size]
		to := p.project(p.to, z, p.targets, temperature)
		loss += (to - (p.project(p.from, z, z, temperature)+among)/2) / float64(o.views)
		p.push(o.step.dz[v*size:(v+1)*size], p.weight*unit)
	}
	return p.weight*unit*loss + p.align(mean, unit), p.weight * unit * (1 - among/2)
}

// push writes the gradient of the divergence of one view, times a factor.
func (p *plannedPull) push(dz []float32, factor float64) {
	o := p.nat
	step := 2 * float32(factor) / float32(o.views*len(o.step.rows))
	for i := range dz {
		dz[i] = step * (p.from[i] - p.to[i])
	}
}

// align adds the gradient of the alignment, times a factor, and returns that: the mean over
// pairs of views is that of the distances to their mean, but for a constant.
func (p *plannedPull) align(mean []float32, factor float64) (loss float64) {
	o := p.nat
	if o.views == 1 {
		return 0
	}
	size := len(mean)
	each := float64(o.views*len(o.step.rows)) * (1 - 1/float64(o.views)) / factor
	step := float32(2 / each)
	for v := range o.views {
		z, dz := o.step.z[v*size:(v+1)*size], o.step.dz[v*size:(v+1)*size]
		for i, m := range mean {
			dz[i] += step * (z[i] - m)
		}
		loss += kernel.SqDist64(z, mean)
	}
	return loss / each
}

// gatherTargets copies the targets of the batch, in the order of its rows.
func (o *NAT) gatherTargets(dst []float32) []float32 {
	dst = slices.Grow(dst[:0], len(o.step.rows)*o.d)[:0]
	for _, row := range o.step.rows {
		dst = append(dst, o.target(o.matching.Perm[row])...)
	}
	return dst
}

// temperatureAt is that of a step, when a share of the training is done: from the first
// to the last by the same factor in every step.
func (opt *NATOptions) temperatureAt(progress float64) float64 {
	if opt.FinalTemperature == 0 {
		return opt.Temperature
	}
	return opt.Temperature * math.Pow(opt.FinalTemperature/opt.Temperature, progress)
}
