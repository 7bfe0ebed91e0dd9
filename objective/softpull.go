package objective

import (
	"math"
	"slices"

	"nat/internal/kernel"
)

// softPull is the softmax loss of [NAT] (44): every view has to find the target of its
// point among those of the batch,
//
//	L = -1/(VB) sum_vb log e^{<z_vb, c_pi(b)>/T} / sum_j e^{<z_vb, c_pi(j)>/T}
//
// The denominator does not depend on the pairing, so the best pairing is that of the
// squared distances, and what re-assignment wins is a difference of cosines over T.
type softPull struct {
	nat     *NAT
	scale   float32   // 1 / temperature
	targets []float32 // of the batch, B x d
	chance  []float64 // by view: loss if all targets were as likely to be its own
	pairs   similarity
	row     func(i int, s []float32) rowSoftmax
}

func newSoftPull(o *NAT) *softPull {
	p := &softPull{nat: o, pairs: similarity{pool: o.pool}}
	p.row = p.find
	return p
}

// pull writes the gradient, and puts its losses in the place of the squared distances.
func (p *softPull) pull(stats *Stats, temperature float64) {
	o := p.nat
	p.scale = float32(1 / temperature)
	b := len(o.step.rows)
	m := o.views * b
	p.targets = o.gatherTargets(p.targets)
	p.chance = slices.Grow(p.chance[:0], m)[:m]
	stats.Loss, stats.Accuracy = p.pairs.lossAndGrad(o.step.z, p.targets, m, b, o.d, p.row)
	p.pairs.toQueries(o.step.dz, p.targets, o.d, false)
	stats.Chance = 0
	for _, l := range p.chance {
		stats.Chance += l / float64(m)
	}
	stats.Information = math.Log(float64(b)) - stats.Loss
	stats.Reassignment = p.won() / float64(m)
	stats.LossBefore = stats.Loss + stats.Reassignment
}

// find is the guess of one view, in the row of its cosines with the batch's targets.
func (p *softPull) find(i int, s []float32) rowSoftmax {
	own := i % len(s)
	mean, mine := sum64(s)/float64(len(s)), float64(s[own])
	r := softmaxRow(s, own, p.scale, p.pairs.m)
	p.chance[i] = r.loss + float64(p.scale)*(mine-mean)
	return r
}

// won is the sum over views of what re-assignment took off the loss.
func (p *softPull) won() (sum float64) {
	o := p.nat
	for i, row := range o.step.rows {
		now := o.matching.Perm[row]
		if held := o.step.held[i]; held != now {
			c, before := o.target(now), o.target(held)
			for v := range o.views {
				z := o.view(v, i)
				sum += float64(p.scale) * (float64(kernel.Dot(z, c)) - float64(kernel.Dot(z, before)))
			}
		}
	}
	return sum
}
