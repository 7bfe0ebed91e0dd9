package objective

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"nat/internal/kernel"
	"nat/sphere"
)

// DefaultTemperature is that of [InfoNCE] and of the softmax loss of [NAT].
const DefaultTemperature = .2

// Temperatures for which exponentials of differences of cosines stay in the range of
// floating point, and still differ from each other.
const (
	MinTemperature = .005
	MaxTemperature = 1000
)

// InfoNCEOptions of [NewInfoNCE].
type InfoNCEOptions struct {
	Views       int     // 0 = 2
	Temperature float64 // 0 = DefaultTemperature
}

// InfoNCE is the contrastive loss (41): every view of every point has to find the
// other views of its point among all embeddings of the batch,
//
//	L = -mean over views a and p of a point of log e^{<a,p>/T} / (e^{<a,p>/T} + sum over negatives n of e^{<a,n>/T})
//
// whose negatives are the embeddings of all other points, in every view (van den
// Oord et al. 2018; with two views that is the loss of Chen et al. 2020, SimCLR). (10)
// bounds the information that one view keeps of the other by log K - L, K = 1 + V(B-1).
type InfoNCE struct {
	stateless
	d, views int
	scale    float32 // 1 / temperature
	pairs    similarity
	mine     []float32 // m x views
	find     func(i int, s []float32) rowSoftmax
}

var _ Objective = (*InfoNCE)(nil)

// NewInfoNCE makes the objective for embeddings of dimension d.
func NewInfoNCE(d int, opt InfoNCEOptions, pool *kernel.Pool) (*InfoNCE, error) {
	if opt.Views == 0 {
		opt.Views = 2
	}
	if opt.Temperature == 0 {
		opt.Temperature = DefaultTemperature
	}
	err := errors.Join(checkDim(d), checkTemperature(opt.Temperature))
	if opt.Views < 2 {
		err = errors.Join(err, fmt.Errorf("%d views; want at least 2, of which one has to find the others", opt.Views))
	}
	if err != nil {
		return nil, fmt.Errorf("InfoNCE: %w", err)
	}
	o := &InfoNCE{d: d, views: opt.Views, scale: float32(1 / opt.Temperature), pairs: similarity{pool: pool}}
	o.find = o.findViews
	return o, nil
}

func checkDim(d int) error {
	if d < 2 {
		return fmt.Errorf("dimension %d; want at least 2", d)
	}
	return nil
}

func checkViews(views int) error {
	if views < 1 {
		return fmt.Errorf("%d views; want at least 1", views)
	}
	return nil
}

func checkTemperature(t float64) error {
	if !(t >= MinTemperature && t <= MaxTemperature) {
		return fmt.Errorf("temperature %v; want %v to %v", t, MinTemperature, MaxTemperature)
	}
	return nil
}

// Step implements [Objective].
func (o *InfoNCE) Step(batch Batch, z, dz []float32) (Stats, error) {
	b := len(batch.Rows)
	checkStep(b, o.views, o.d, z, dz)
	m := o.views * b
	o.mine = slices.Grow(o.mine[:0], m*o.views)[:m*o.views]
	loss, accuracy := o.pairs.lossAndGrad(z, z, m, m, o.d, o.find)
	o.pairs.toQueries(dz, z, o.d, false)
	o.pairs.toKeys(dz, z, o.d, true)
	stats := untargeted(loss)
	stats.Accuracy = accuracy
	stats.Information = math.Log(float64(1+o.views*(b-1))) - loss
	stats.Alignment = sphere.Alignment(z[:b*o.d], z[b*o.d:2*b*o.d], b, o.d)
	return stats, nil
}

// findViews is one anchor: the i-th embedding, which is no candidate itself. Its
// positives stand B apart.
func (o *InfoNCE) findViews(i int, s []float32) rowSoftmax {
	b := o.pairs.m / o.views
	s[i] = float32(math.Inf(-1))
	top := kernel.Highest(s)
	mine := o.mine[i*o.views : (i+1)*o.views] // logits of its point's views, then their derivatives
	for v := range mine {
		mine[v] = o.scale * (s[v*b+i%b] - top)
	}
	exponentiate(s, o.scale, top)
	for v := range mine {
		s[v*b+i%b] = 0
	}
	var r rowSoftmax
	others := sum64(s)
	terms := 1 / float64(o.views-1)
	weight := float64(o.scale) * terms / float64(o.pairs.m)
	var negative float64
	for v, logit := range mine {
		if v == i/b {
			mine[v] = 0
			continue
		}
		all := math.Exp(float64(logit)) + others
		r.loss += terms * (math.Log(all) - float64(logit))
		r.right = r.right || logit == 0 // the top
		negative += weight / all
		mine[v] = float32(-weight * others / all)
	}
	scaleRow(s, float32(negative))
	for v, g := range mine {
		s[v*b+i%b] = g
	}
	return r
}
