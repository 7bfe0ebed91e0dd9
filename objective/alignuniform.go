package objective

import (
	"errors"
	"fmt"
	"math"

	"nat/internal/kernel"
	"nat/sphere"
)

// AlignUniformOptions of [NewAlignUniform].
type AlignUniformOptions struct {
	Views  int     // 0 = 2
	Weight float64 // of the uniformity, that of the alignment being 1; 0 = 1
}

// AlignUniform pulls the views of a point together and pushes different points apart
// (42), as Wang and Isola (2020) took the contrastive loss to pieces, with their
// exponents alpha = 2 and t = 2:
//
//	L = mean over pairs of views ||z_a - z_b||^2 + w mean over views of log mean over i != j of e^{-2 ||z_i - z_j||^2}
//
// the alignment (25) and the uniformity (23) of a batch.
type AlignUniform struct {
	stateless
	d, views int
	weight   float64
	pairs    similarity
	push     func(i int, s []float32) rowSoftmax
}

var _ Objective = (*AlignUniform)(nil)

// NewAlignUniform makes the objective for embeddings of dimension d.
func NewAlignUniform(d int, opt AlignUniformOptions, pool *kernel.Pool) (*AlignUniform, error) {
	if opt.Views == 0 {
		opt.Views = 2
	}
	if opt.Weight == 0 {
		opt.Weight = 1
	}
	err := checkDim(d)
	if opt.Views < 2 {
		err = errors.Join(err, fmt.Errorf("%d views; want at least 2 to align", opt.Views))
	}
	if !(opt.Weight >= MinWeight && opt.Weight <= MaxWeight) {
		err = errors.Join(err, fmt.Errorf("weight %v; want %v to %v", opt.Weight, MinWeight, MaxWeight))
	}
	if err != nil {
		return nil, fmt.Errorf("alignment and uniformity: %w", err)
	}
	o := &AlignUniform{d: d, views: opt.Views, weight: opt.Weight, pairs: similarity{pool: pool}}
	o.push = o.pushRow
	return o, nil
}

// Weights of the uniformity between which neither term is lost beside the other.
const (
	MinWeight = 1e-3
	MaxWeight = 1e3
)

// Step implements [Objective].
func (o *AlignUniform) Step(batch Batch, z, dz []float32) (Stats, error) {
	b := len(batch.Rows)
	checkStep(b, o.views, o.d, z, dz)
	size := b * o.d
	var uniformity float64
	for v := range o.views {
		uniformity += o.spread(b, z[v*size:(v+1)*size], dz[v*size:(v+1)*size]) / float64(o.views)
	}
	alignment := o.align(b, z, dz)
	stats := untargeted(alignment + o.weight*uniformity)
	stats.Uniformity = uniformity
	stats.Alignment = sphere.Alignment(z[:size], z[size:2*size], b, o.d)
	return stats, nil
}

// spread is the uniformity of one view, and its part of the gradient.
func (o *AlignUniform) spread(b int, z, dz []float32) float64 {
	if b == 1 { // no pairs
		clear(dz)
		return 0
	}
	mean, _ := o.pairs.lossAndGrad(z, z, b, b, o.d, o.push)
	total := mean * float64(b)
	o.pairs.toQueries(dz, z, o.d, false)
	scaleRow(dz, float32(2*uniformScale*o.weight/(total*float64(o.views))))
	return math.Log(total / float64(b*(b-1)))
}

// uniformScale times a cosine, less itself, is -2 times a squared distance of unit vectors.
const uniformScale = 4

func (o *AlignUniform) pushRow(i int, s []float32) rowSoftmax {
	exponentiate(s, uniformScale, 1)
	s[i] = 0
	return rowSoftmax{loss: sum64(s)}
}

// align is the mean squared distance of all pairs of views, whose gradient it adds.
func (o *AlignUniform) align(b int, z, dz []float32) float64 {
	size, pairs := b*o.d, o.views*(o.views-1)/2
	step := 2 / float32(pairs*b)
	var total float64
	for v := range o.views {
		for w := range v {
			zv, zw := z[v*size:(v+1)*size], z[w*size:(w+1)*size]
			total += sphere.Alignment(zv, zw, b, o.d) / float64(pairs)
			dv, dw := dz[v*size:(v+1)*size], dz[w*size:(w+1)*size]
			for k, x := range zv {
				g := step * (x - zw[k])
				dv[k] += g
				dw[k] -= g
			}
		}
	}
	return total
}
