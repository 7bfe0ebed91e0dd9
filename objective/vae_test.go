package objective

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"nat/encoder"
	"nat/infomax"
	"nat/internal/kernel"
	"nat/internal/tensorfile"
)

// normals are n numbers from the normal distribution.
func normals(n int, scale float64, seed uint64) []float32 {
	r := rand.New(rand.NewPCG(seed, 17))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(scale * r.NormFloat64())
	}
	return x
}

// The divergence of two known distributions, and of random ones against draws from
// them: the mean of log q - log p.
func TestDivergence(t *testing.T) {
	near(t, "N(0, I)", divergence(make([]float32, 3), make([]float32, 3), []float32{1, 1, 1}), 0, 0)
	near(t, "N(2, 1/4)", divergence([]float32{2}, []float32{float32(math.Log(.25))}, []float32{.5}), (4+.25-1+math.Log(4))/2, 1e-6)
	r := rand.New(rand.NewPCG(5, 5))
	const d, draws = 4, 100_000
	mean, logVariance, deviation := normals(d, 1, 1), normals(d, 1, 2), make([]float32, d)
	for k, v := range logVariance {
		deviation[k] = float32(math.Exp(float64(v) / 2))
	}
	var sum, squares float64
	for range draws {
		var x float64
		for k := range d {
			eps := r.NormFloat64()
			z := float64(mean[k]) + float64(deviation[k])*eps
			x += (z*z - eps*eps - float64(logVariance[k])) / 2
		}
		sum += x
		squares += x * x
	}
	sum /= draws
	near(t, "Monte Carlo", divergence(mean, logVariance, deviation), sum, 4*math.Sqrt((squares/draws-sum*sum)/draws))
}

// linearDecoder is one dense layer.
func linearDecoder(d, width int) encoder.Spec {
	return encoder.Spec{Name: "linear decoder", Input: encoder.Shape{H: 1, W: 1, C: d}, Layers: []encoder.Layer{{Type: encoder.Dense, Out: width, Bias: true}}}
}

// elbo is the loss of a VAE with a linear decoder as it is defined, for the noise eps.
func elbo(mean, logVariance, eps, x [][]float64, weight [][]float64, bias []float64, beta float64) float64 {
	m, width := float64(len(x)), float64(len(bias))
	var squares, kl float64
	for i := range x {
		out := slices.Clone(bias)
		for k := range mean[i] {
			z := mean[i][k] + math.Exp(logVariance[i][k]/2)*eps[i][k]
			for j := range out {
				out[j] += z * weight[k][j]
			}
			kl += (mean[i][k]*mean[i][k] + math.Exp(logVariance[i][k]) - 1 - logVariance[i][k]) / 2
		}
		for j, v := range out {
			squares += (v - x[i][j]) * (v - x[i][j])
		}
	}
	variance := squares / (m * width)
	logLikelihood := -m*width/2*math.Log(2*math.Pi*variance) - squares/(2*variance)
	return -(logLikelihood - beta*kl) / (m * width)
}

// The loss is what its definition says, and all gradients its differences: those of the
// posteriors and those of the decoder, with one view and with two.
func TestVAEAgainstDifferences(t *testing.T) {
	const b, d, width, beta = 5, 3, 7, 2.5
	pool := kernel.NewPool(2)
	defer pool.Close()
	for _, views := range []int{1, 2} {
		m := views * b
		o := must(NewVAE(linearDecoder(d, width), VAEOptions{Seed: 3, Views: views, Beta: beta}, pool))
		z, x := normals(2*m*d, .7, 1), normals(m*width, 1, 2)
		dz := make([]float32, len(z))
		s, err := o.Step(Batch{Rows: make([]int32, b), X: x}, z, dz)
		if err != nil {
			t.Fatal(err)
		}
		posterior, inputs, eps := rowsOf(z, 2*d), rowsOf(x, width), rowsOf(o.batch.eps[:m*d], d)
		if views == 2 { // alignment has used the place of the noise
			again := must(NewVAE(linearDecoder(d, width), VAEOptions{Seed: 3, Views: views}, pool))
			again.begin(Batch{Rows: make([]int32, b), X: x}, z, dz)
			again.each(again.batch.sample)
			eps = rowsOf(again.batch.eps[:m*d], d)
		}
		weight, bias := rowsOf(o.params[0].Value, width), rowsOf(o.params[1].Value, width)
		loss := func() float64 {
			var mean, logVariance [][]float64
			for _, row := range posterior {
				mean, logVariance = append(mean, row[:d]), append(logVariance, row[d:])
			}
			return elbo(mean, logVariance, eps, inputs, weight, bias[0], beta)
		}
		near(t, "loss", s.Loss, loss(), 1e-6)
		check := func(what string, rows [][]float64, grad []float32) {
			const h = 1e-5
			for i, row := range rows {
				for k, v := range row {
					row[k] = v + h
					up := loss()
					row[k] = v - h
					down := loss()
					row[k] = v
					near(t, what, float64(grad[i*len(row)+k]), (up-down)/(2*h), 1e-6)
				}
			}
		}
		check("gradient of the posterior", posterior, dz)
		check("gradient of the weights", weight, o.params[0].Grad)
		check("gradient of the bias", bias, o.params[1].Grad)
	}
}

// With a linear decoder and encoder the best bound is known, and is the likelihood
// itself: probabilistic principal components (Tipping and Bishop, 1999; Lucas et al.,
// NeurIPS 2019). For data of variances 4, 2, .5, ..., .5 and two latent dimensions the
// decoder is diag(sqrt(4 - .5), sqrt(2 - .5)) with s^2 = .5, and the posterior has mean
// x_k w_k / (w_k^2 + .5) and variance .5 / (w_k^2 + .5).
func TestVAEOfPrincipalComponents(t *testing.T) {
	const rows, d, width, rest = 20_000, 2, 6, .5
	variances := []float64{4, 2, rest, rest, rest, rest}
	x := normals(rows*width, 1, 4)
	var likelihood float64
	for i := range x {
		v := variances[i%width]
		x[i] *= float32(math.Sqrt(v))
		likelihood -= (math.Log(2*math.Pi*v) + float64(x[i])*float64(x[i])/v) / 2
	}
	pool := kernel.NewPool(2)
	defer pool.Close()
	o := must(NewVAE(linearDecoder(d, width), VAEOptions{}, pool))
	clear(o.params[0].Value)
	clear(o.params[1].Value)
	z := make([]float32, 2*rows*d)
	for k := range d {
		w := math.Sqrt(variances[k] - rest)
		o.params[0].Value[k*width+k] = float32(w)
		for i := range rows {
			z[2*i*d+k] = x[i*width+k] * float32(w/(w*w+rest))
			z[(2*i+1)*d+k] = float32(math.Log(rest / (w*w + rest)))
		}
	}
	s, err := o.Step(Batch{Rows: make([]int32, rows), X: x}, z, make([]float32, len(z)))
	if err != nil {
		t.Fatal(err)
	}
	near(t, "bound over the likelihood", s.Loss*rows*width/-likelihood, 1, 2e-3)
	near(t, "squared error", s.SquaredError, rest, .01)
	near(t, "divergence", s.Divergence, math.Log(4/rest)/2+math.Log(2/rest)/2, .02) // all of the information
	for _, p := range o.params {
		for _, g := range p.Grad { // the error of a mean of 20,000, over 6 values
			near(t, "gradient of "+p.Name, float64(g), 0, .01)
		}
	}
}

// vaeRun is a small encoder with its objective, and an optimiser of both.
type vaeRun struct {
	net    *encoder.Network
	o      *VAE
	params []encoder.Param
	opt    encoder.Optimizer
}

const vaeRows = 40

func newVAERun(t *testing.T, workers int) *vaeRun {
	t.Helper()
	pool := kernel.NewPool(workers)
	t.Cleanup(pool.Close)
	spec, err := encoder.Preset("convnet", encoder.Shape{H: 6, W: 6, C: 1}, 4)
	if err != nil {
		t.Fatal(err)
	}
	spec = must(encoder.Stochastic(spec))
	r := &vaeRun{net: must(encoder.New(spec, 7, pool)), o: must(NewVAE(must(encoder.Decoder(spec)), VAEOptions{Seed: 7}, pool))}
	r.params = slices.Concat(r.net.Params(), r.o.Params())
	r.opt = encoder.NewAdamW(r.params, .9, .999, 1e-8, 0, pool)
	return r
}

// gradient takes the k-th batch, of images that one number describes.
func (r *vaeRun) gradient(t *testing.T, k int) Stats {
	t.Helper()
	x := normals(vaeRows*36, .3, uint64(k))
	for i := range vaeRows {
		for p := range 36 {
			x[i*36+p] += float32(math.Sin(float64(i) + float64(p%6)))
		}
	}
	z := r.net.Forward(x, vaeRows, true)
	dz := make([]float32, len(z))
	s, err := r.o.Step(Batch{Rows: make([]int32, vaeRows), X: x}, z, dz)
	if err != nil {
		t.Fatal(err)
	}
	r.net.Backward(dz)
	return s
}

func (r *vaeRun) train(t *testing.T, from, to int) (stats []Stats, values []float32) {
	t.Helper()
	for k := from; k < to; k++ {
		stats = append(stats, r.gradient(t, k))
		r.opt.Step(r.params, .003)
	}
	for _, p := range r.params {
		values = append(values, p.Value...)
	}
	return stats, values
}

// A step along the gradient of all parameters, of encoder and decoder, changes the loss
// by what the gradient says.
func TestVAEGradientOfTheWhole(t *testing.T) {
	r := newVAERun(t, 2)
	r.train(t, 0, 20)
	noise := r.o.State()[0].Data.([]int64)[0]
	r.gradient(t, 30)
	var square float64
	grads := make([][]float32, len(r.params))
	for i, p := range r.params {
		grads[i] = slices.Clone(p.Grad)
		square += float64(kernel.Dot(p.Grad, p.Grad))
	}
	h := float32(.002 / math.Sqrt(square))
	at := func(by float32) float64 {
		for i, p := range r.params {
			kernel.Axpy(p.Value, by, grads[i])
		}
		r.o.step = noise // the same noise each time
		return r.gradient(t, 30).Loss
	}
	up := at(h)
	down := at(-2 * h)
	near(t, "slope", (up-down)/(2*float64(h)*square), 1, .01)
}

// Training finds what the images have in common.
func TestVAELearns(t *testing.T) {
	stats, _ := newVAERun(t, 2).train(t, 0, 150)
	first, last := stats[0], stats[len(stats)-1]
	// Noise of deviation .3 is all that is left to be told; the best bound is near its entropy.
	if last.Loss > first.Loss-.5 || last.SquaredError > .15 || last.SquaredError < .08 || last.Divergence < 1 {
		t.Errorf("from %+v to %+v", first, last)
	}
}

// Neither the number of workers nor an interruption changes a bit.
func TestVAEIsDeterministic(t *testing.T) {
	stats, values := newVAERun(t, 1).train(t, 0, 6)
	first, second := newVAERun(t, 2), newVAERun(t, 3)
	s1, _ := first.train(t, 0, 3)
	for _, err := range []error{
		second.o.SetState(throughFile(t, first.o.State())),
		second.net.SetState(throughFile(t, first.net.State())),
		second.opt.SetState(throughFile(t, first.opt.State())),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	s2, other := second.train(t, 3, 6)
	if !cmp.Equal(stats, append(s1, s2...), cmpopts.EquateNaNs()) || !slices.Equal(values, other) {
		t.Error("other bits after an interruption and with other workers")
	}
}

func TestVAEStepAllocatesNothing(t *testing.T) {
	r := newVAERun(t, 2)
	x, z := normals(vaeRows*36, 1, 1), normals(vaeRows*8, 1, 2)
	batch, dz := Batch{Rows: make([]int32, vaeRows), X: x}, make([]float32, len(z))
	step := func() {
		if _, err := r.o.Step(batch, z, dz); err != nil {
			t.Fatal(err)
		}
	}
	n := testing.AllocsPerRun(1, step)
	for range 5 { // the pool's scratch memory may still grow
		n = min(n, testing.AllocsPerRun(1, step))
	}
	if n > 0 {
		t.Errorf("%g allocations in a step", n)
	}
}

func TestVAEIsValidated(t *testing.T) {
	_, err := NewVAE(encoder.Spec{Name: "empty"}, VAEOptions{Views: -1, Beta: math.Inf(1)}, nil)
	for _, part := range []string{"variational autoencoder", "-1 views", "beta +Inf", "no layers"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not mention %q", err, part)
		}
	}
	o := newVAERun(t, 1).o
	before := slices.Clone(o.params[0].Value)
	without := func(name string) error {
		state := throughFile(t, o.State())
		for _, s := range state {
			if v, ok := s.Data.([]float32); ok {
				v[0]++
			}
		}
		return o.SetState(slices.DeleteFunc(state, func(s tensorfile.Tensor) bool { return s.Name == name }))
	}
	if err := without(tensorStep); !errors.Is(err, tensorfile.ErrFormat) {
		t.Errorf("without the step: %v", err)
	}
	if err := without("decoder.bn1.bias"); err == nil || !strings.Contains(err.Error(), "bn1.bias is missing") {
		t.Errorf("without a tensor: %v", err)
	}
	if !slices.Equal(o.params[0].Value, before) {
		t.Error("a refused state changed the decoder")
	}
}

// Draws have the mean and the variance they are drawn with, and information is that of
// the channel: of n far points with narrow posteriors all, of n equal ones none.
func TestDrawPosterior(t *testing.T) {
	const n, d, draws = 2, 3, 50_000
	posterior := []float32{1, -2, .5, 0, -2, 1, 0, 3, -1, .5, .2, -.3}
	z := DrawPosterior(posterior, n, d, draws, false, rand.New(rand.NewPCG(1, 1)))
	for i := range n {
		for k := range d {
			var sum, squares float64
			for j := range draws {
				v := float64(z[(i*draws+j)*d+k])
				sum += v / draws
				squares += v * v / draws
			}
			variance := math.Exp(float64(posterior[2*i*d+d+k]))
			near(t, "mean", sum, float64(posterior[2*i*d+k]), 5*math.Sqrt(variance/draws))
			near(t, "variance", squares-sum*sum, variance, .03*variance)
		}
	}
	for row := range slices.Chunk(DrawPosterior(posterior, n, d, 10, true, rand.New(rand.NewPCG(1, 1))), d) {
		near(t, "norm", float64(kernel.Dot(row, row)), 1, 1e-6)
	}
	pool := kernel.NewPool(1)
	defer pool.Close()
	for i, want := range []float64{math.Log(4), 0} {
		rows := make([]float32, 4*4)
		for r := range 4 {
			rows[4*r], rows[4*r+1], rows[4*r+2], rows[4*r+3] = float32((1-i)*20*r), 1, -3, -3
		}
		codes := DrawPosterior(rows, 4, 2, 20, false, rand.New(rand.NewPCG(2, 2)))
		e, err := infomax.Stochastic(t.Context(), pool, codes, 4, 20, 2, []float64{.5}, 1)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "information", e[0].Nats, want, .1)
	}
}
