package objective

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"nat/encoder"
	"nat/internal/kernel"
	"nat/internal/rng"
	"nat/internal/tensorfile"
	"nat/sphere"
)

// DefaultSharpness is the temperature of [Classifier]: low enough to tell thousands
// of classes apart by cosines.
const DefaultSharpness = .1

// ClassifierOptions of [NewClassifier].
type ClassifierOptions struct {
	Seed        uint64
	Views       int     // 0 = 1
	Temperature float64 // 0 = DefaultSharpness
}

// Classifier guesses the class of every view (43) by a linear decoder that learns with
// the encoder: row w_c of its weights is the prototype of class c,
//
//	L = -mean over z of log softmax_c(<z, w_c> / T)   at the class of z
//
// With labels as classes that is supervised learning. With every point a class of its
// own it is the exemplar network of Dosovitskiy et al. (2014): the bound (9) on the
// information about which point a view is of. The information is the entropy of the
// classes less the loss.
//
// Each of many classes is in few batches, and the mean over a batch moves its prototype but
// little. So the gradient of the prototypes is multiplied by classes/1000, where there are
// more than 1,000: that was best of 1, 8 and 30 times for 8,000 (docs/results/objectives.md);
// at 800 times they diverge.
type Classifier struct {
	stateless
	d, views, classes int
	labels            []int32 // of the points
	entropy           float64
	scale             float32   // 1 / temperature
	pace              float32   // factor of the prototypes' gradient
	weight, grad      []float32 // classes x d
	rows              []int32   // of the step in progress
	guesses           similarity
	guess             func(i int, s []float32) rowSoftmax
}

var _ Objective = (*Classifier)(nil)

// NewClassifier makes the objective for points with the given labels, from 0 on, and
// embeddings of dimension d. The prototypes begin uniform on the sphere (stream rng.Head).
func NewClassifier(labels []int32, d int, opt ClassifierOptions, pool *kernel.Pool) (*Classifier, error) {
	if opt.Views == 0 {
		opt.Views = 1
	}
	if opt.Temperature == 0 {
		opt.Temperature = DefaultSharpness
	}
	err := errors.Join(checkDim(d), checkTemperature(opt.Temperature), checkViews(opt.Views))
	if len(labels) == 0 || slices.Min(labels) < 0 {
		err = errors.Join(err, errors.New("every point needs a label of 0 or more"))
	}
	if err != nil {
		return nil, fmt.Errorf("classifier: %w", err)
	}
	classes := int(slices.Max(labels)) + 1
	o := &Classifier{d: d, views: opt.Views, classes: classes, labels: labels, entropy: entropy(labels, classes),
		scale: float32(1 / opt.Temperature), pace: max(1, float32(classes)/1000), weight: sphere.Uniform(classes, d, rng.New(opt.Seed, rng.Head)),
		grad: make([]float32, classes*d), guesses: similarity{pool: pool}}
	o.guess = o.guessRow
	return o, nil
}

// entropy is that of the classes of the points.
func entropy(labels []int32, classes int) (h float64) {
	counts := make([]int, classes)
	for _, c := range labels {
		counts[c]++
	}
	for _, count := range counts {
		if count > 0 {
			p := float64(count) / float64(len(labels))
			h -= p * math.Log(p)
		}
	}
	return h
}

// Step implements [Objective].
func (o *Classifier) Step(batch Batch, z, dz []float32) (Stats, error) {
	b := len(batch.Rows)
	checkStep(b, o.views, o.d, z, dz)
	o.rows = batch.Rows
	defer func() { o.rows = nil }()
	loss, accuracy := o.guesses.lossAndGrad(z, o.weight, o.views*b, o.classes, o.d, o.guess)
	o.guesses.toQueries(dz, o.weight, o.d, false)
	o.guesses.toKeys(o.grad, z, o.d, false)
	if o.pace != 1 {
		for i := range o.grad {
			o.grad[i] *= o.pace
		}
	}
	stats := untargeted(loss)
	stats.Accuracy, stats.Information = accuracy, o.entropy-loss
	if o.views > 1 {
		stats.Alignment = sphere.Alignment(z[:b*o.d], z[b*o.d:2*b*o.d], b, o.d)
	}
	return stats, nil
}

func (o *Classifier) guessRow(i int, s []float32) rowSoftmax {
	return softmaxRow(s, int(o.labels[o.rows[i%len(o.rows)]]), o.scale, o.guesses.m)
}

const tensorHead = "head.weight"

// Params implements [Objective]: the prototypes.
func (o *Classifier) Params() []encoder.Param {
	return []encoder.Param{{Name: tensorHead, Shape: []int{o.classes, o.d}, Value: o.weight, Grad: o.grad, Decay: true}}
}

// State is the prototypes. It shares memory with the Classifier: write it before the next step.
func (o *Classifier) State() []tensorfile.Tensor {
	return []tensorfile.Tensor{{Name: tensorHead, Shape: []int{o.classes, o.d}, Data: o.weight}}
}

// SetState takes over a State, copying it. Nothing changes on an error.
func (o *Classifier) SetState(ts []tensorfile.Tensor) error {
	t, ok := tensorfile.Find(ts, tensorHead)
	if !ok {
		return missing(tensorHead)
	}
	weight, err := t.Float32(o.classes, o.d)
	if err == nil {
		copy(o.weight, weight)
	}
	return err
}
