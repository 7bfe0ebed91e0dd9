package objective

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"nat/encoder"
	"nat/internal/kernel"
	"nat/internal/rng"
	"nat/internal/tensorfile"
	"nat/sphere"
)

// DefaultNoise is the deviation of the noise of [InfoMax] in every coordinate.
const DefaultNoise = .4

// InfoMaxOptions of [NewInfoMax].
type InfoMaxOptions struct {
	Seed  uint64
	Views int     // 0 = 1
	Noise float64 // sigma; 0 = DefaultNoise
}

// InfoMax ascends the information that embeddings keep through noise (5b): the batch
// form of (6), whose loss is the cross-entropy of the best guess at which point a
// noisy embedding z~ = z + eps came from, eps normal with deviation sigma,
//
//	L = -mean over z~ of log r,   r = sum over own z of e^{<z~,z>/sigma^2} / sum over all z of e^{<z~,z>/sigma^2}
//
// which, as all z are unit vectors, is a guess by distances. With one view, own and all
// are the embeddings of the point and of the batch. With several views they are those in
// the *other* views (40): a guess that may look at the view it is made of learns nothing of
// what views have in common, and this one is still a bound (9) on what z~ says of the point.
// log B - L is the information.
//
// The noise of a step is drawn from the stream rng.Channel at the number of the step,
// which is the state.
type InfoMax struct {
	seed     uint64
	d, views int
	noise    float32
	step     int64 // steps taken

	z, noisy []float32 // of the step in progress
	sources  []*source // of its noise, chunk by chunk
	pairs    similarity
	own      []float32 // m x views
	find     func(i int, s []float32) rowSoftmax
	addNoise func(chunk int)
}

// source is a generator that is set anew for every piece of noise.
type source struct {
	pcg  rand.PCG
	rand *rand.Rand
}

var _ Objective = (*InfoMax)(nil)

// NewInfoMax makes the objective for embeddings of dimension d.
func NewInfoMax(d int, opt InfoMaxOptions, pool *kernel.Pool) (*InfoMax, error) {
	if opt.Views == 0 {
		opt.Views = 1
	}
	if opt.Noise == 0 {
		opt.Noise = DefaultNoise
	}
	err := errors.Join(checkDim(d), checkNoise(opt.Noise), checkViews(opt.Views))
	if err != nil {
		return nil, fmt.Errorf("InfoMax: %w", err)
	}
	o := &InfoMax{seed: opt.Seed, d: d, views: opt.Views, noise: float32(opt.Noise), pairs: similarity{pool: pool}}
	o.find, o.addNoise = o.findPoint, o.addNoiseTo
	return o, nil
}

// Noise for which the exponents of (6), of the order of 1/sigma^2, are of use in float32.
const (
	MinNoise = .02
	MaxNoise = 100
)

func checkNoise(sigma float64) error {
	if !(sigma >= MinNoise && sigma <= MaxNoise) {
		return fmt.Errorf("noise %v; want %v to %v", sigma, MinNoise, MaxNoise)
	}
	return nil
}

// Step implements [Objective].
func (o *InfoMax) Step(batch Batch, z, dz []float32) (Stats, error) {
	b := len(batch.Rows)
	checkStep(b, o.views, o.d, z, dz)
	o.channel(z)
	stats := o.decode(b, z, dz)
	o.step++
	return stats, nil
}

// decode is the guess at which points the noisy embeddings are of, and its gradient.
func (o *InfoMax) decode(b int, z, dz []float32) Stats {
	m := o.views * b
	o.own = slices.Grow(o.own[:0], m*o.views)[:m*o.views]
	loss, accuracy := o.pairs.lossAndGrad(o.noisy, z, m, m, o.d, o.find)
	o.pairs.toQueries(dz, z, o.d, false)
	o.pairs.toKeys(dz, o.noisy, o.d, true)
	stats := untargeted(loss)
	stats.Accuracy = accuracy
	stats.Information = math.Log(float64(b)) - loss
	if o.views > 1 {
		stats.Alignment = sphere.Alignment(z[:b*o.d], z[b*o.d:2*b*o.d], b, o.d)
	}
	return stats
}

// channel makes the noisy copies of the embeddings.
func (o *InfoMax) channel(z []float32) {
	o.z, o.noisy = z, slices.Grow(o.noisy[:0], len(z))[:len(z)]
	chunks := (len(z)/o.d + rowChunk - 1) / rowChunk
	for len(o.sources) < chunks {
		s := new(source)
		s.rand = rand.New(&s.pcg)
		o.sources = append(o.sources, s)
	}
	o.pairs.pool.Do(chunks, o.addNoise)
	o.z = nil
}

func (o *InfoMax) addNoiseTo(chunk int) {
	s := o.sources[chunk]
	s.pcg.Seed(rng.Seed(o.seed, rng.Channel, uint64(o.step), uint64(chunk)))
	lo, hi := chunk*rowChunk*o.d, min((chunk+1)*rowChunk*o.d, len(o.z))
	for i := lo; i < hi; i++ {
		o.noisy[i] = o.z[i] + o.noise*float32(s.rand.NormFloat64())
	}
}

// findPoint is the guess at the point of the i-th noisy embedding.
func (o *InfoMax) findPoint(i int, s []float32) rowSoftmax {
	b := o.pairs.m / o.views
	scale := 1 / (o.noise * o.noise)
	unseen := float32(math.Inf(-1))
	var hidden []float32 // the candidates that do not count
	if o.views > 1 {
		hidden = s[i/b*b:][:b]
	}
	for j := range hidden {
		hidden[j] = unseen
	}
	top := kernel.Highest(s)
	own := o.own[i*o.views : (i+1)*o.views]
	for v := range own {
		own[v] = scale * (s[v*b+i%b] - top)
	}
	exponentiate(s, scale, top)
	clear(hidden)
	all, ownTop := sum64(s), kernel.Highest(own)
	var ownSum float64
	for _, t := range own {
		ownSum += math.Exp(float64(t - ownTop))
	}
	weight := scale / float32(o.pairs.m)
	scaleRow(s, weight/float32(all))
	for v, t := range own {
		s[v*b+i%b] -= weight * float32(math.Exp(float64(t-ownTop))/ownSum)
	}
	return rowSoftmax{loss: math.Log(all) - float64(ownTop) - math.Log(ownSum), right: ownTop == 0}
}

// Params implements [Objective]: there are none.
func (o *InfoMax) Params() []encoder.Param { return nil }

// EndEpoch implements [Objective].
func (o *InfoMax) EndEpoch() error { return nil }

// tensorStep is how many steps an objective has taken.
const tensorStep = "step"

// State is the number of steps taken, by which the noise of the next is drawn.
func (o *InfoMax) State() []tensorfile.Tensor { return stepState(o.step) }

// SetState takes over a State. Nothing changes on an error.
func (o *InfoMax) SetState(ts []tensorfile.Tensor) error {
	step, err := findStep(ts)
	if err == nil {
		o.step = step
	}
	return err
}

func stepState(step int64) []tensorfile.Tensor {
	return []tensorfile.Tensor{{Name: tensorStep, Shape: []int{1}, Data: []int64{step}}}
}

func findStep(ts []tensorfile.Tensor) (int64, error) {
	t, ok := tensorfile.Find(ts, tensorStep)
	if !ok {
		return 0, missing(tensorStep)
	}
	step, ok := t.Data.([]int64)
	if !ok || len(step) != 1 || step[0] < 0 {
		return 0, fmt.Errorf("tensor %q: %w: want one count of steps", tensorStep, tensorfile.ErrFormat)
	}
	return step[0], nil
}
