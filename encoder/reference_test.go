package encoder

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// reference computes the output of a description in float64 by the plainest
// loops, with the statistics of the batch (train) or the running ones. weights
// are those of State, by name. It is the oracle of every gradient: central
// differences through it are exact to about eight digits.
func reference(spec Spec, weights map[string][]float64, x []float64, rows int, train bool) []float64 {
	return referenceLayers(spec, weights, x, rows, train, nil)
}

// referenceLayers is reference, and leaves the output of every layer in all,
// by name, unless it is nil.
func referenceLayers(spec Spec, weights map[string][]float64, x []float64, rows int, train bool, all map[string][]float64) []float64 {
	r := referenceRun{weights, rows, train, all}
	x, _ = r.list(spec.Layers, "", x, spec.Input)
	return x
}

type referenceRun struct {
	weights map[string][]float64
	rows    int
	train   bool
	all     map[string][]float64
}

func (r referenceRun) list(layers []Layer, prefix string, x []float64, in Shape) ([]float64, Shape) {
	for _, l := range layers {
		l.Name = prefix + l.Name
		x, in = r.layer(l, x, in)
		if r.all != nil {
			r.all[l.Name] = x
		}
	}
	return x, in
}

func (r referenceRun) layer(l Layer, x []float64, in Shape) ([]float64, Shape) {
	if l.Type == Residual {
		short, _ := r.list(l.Shortcut, l.Name+".shortcut.", x, in)
		y, out := r.list(l.Layers, l.Name+".", x, in)
		sum := make([]float64, len(y))
		for i := range sum {
			sum[i] = max(y[i]+short[i], 0)
		}
		return sum, out
	}
	out, err := l.output(in)
	if err != nil {
		panic(err)
	}
	w := func(role string) []float64 { return r.weights[l.Name+"."+role] }
	rows := r.rows
	y := make([]float64, rows*out.Size())
	switch l.Type {
	case Conv:
		referenceConv(y, x, w("weight"), w("bias"), l, in, out, rows)
	case Sobel:
		referenceSobel(y, x, in, rows)
	case Dense:
		for r := range rows {
			o := y[r*out.C : (r+1)*out.C]
			copy(o, w("bias"))
			for i, v := range x[r*in.C : (r+1)*in.C] {
				referenceAxpy(o, v, w("weight")[i*out.C:])
			}
		}
	case BatchNorm:
		referenceBatchNorm(y, x, w, in.C, r.train)
	case ReLU, LeakyReLU:
		for i, v := range x {
			y[i] = max(v, 0) + l.Slope*min(v, 0)
		}
	case MaxPool, AvgPool, GlobalPool:
		referencePool(y, x, l, in, out, rows)
	case Sigmoid:
		for i, v := range x {
			y[i] = 1 / (1 + math.Exp(-v))
		}
	case ConvTranspose:
		referenceConvTranspose(y, x, w("weight"), w("bias"), l, in, out, rows)
	case FirstHalf:
		for r := range rows {
			copy(y[r*out.C:(r+1)*out.C], x[r*in.C:])
		}
	case Flatten, Unflatten, Dropout:
		copy(y, x)
		if mask := w("mask"); r.train && mask != nil {
			for i := range y {
				y[i] *= mask[i]
			}
		}
	case L2Normalize:
		for r := range rows {
			s := 0.0
			for _, v := range x[r*in.C : (r+1)*in.C] {
				s += v * v
			}
			for c := range in.C {
				y[r*in.C+c] = x[r*in.C+c] / math.Sqrt(s)
			}
		}
	}
	return y, out
}

// referenceSobel takes the differences of the weighted neighbours of each
// pixel's grey value, which is 0 outside the image.
func referenceSobel(y, x []float64, in Shape, rows int) {
	for r := range rows {
		grey := func(iy, ix int) (s float64) {
			if iy < 0 || ix < 0 || iy >= in.H || ix >= in.W {
				return 0
			}
			for _, v := range x[((r*in.H+iy)*in.W+ix)*in.C:][:in.C] {
				s += v / float64(in.C)
			}
			return s
		}
		for i := range in.H * in.W {
			iy, ix := i/in.W, i%in.W
			column := func(dx int) float64 { return grey(iy-1, ix+dx) + 2*grey(iy, ix+dx) + grey(iy+1, ix+dx) }
			row := func(dy int) float64 { return grey(iy+dy, ix-1) + 2*grey(iy+dy, ix) + grey(iy+dy, ix+1) }
			o := y[(r*in.H*in.W+i)*2:]
			o[0], o[1] = column(-1)-column(1), row(-1)-row(1)
		}
	}
}

func referenceConv(y, x, w, bias []float64, l Layer, in, out Shape, rows int) {
	for r := range rows {
		for oy := range out.H {
			for ox := range out.W {
				o := y[((r*out.H+oy)*out.W+ox)*out.C:][:out.C]
				copy(o, bias)
				for ky := range l.Kernel {
					for kx := range l.Kernel {
						iy, ix := oy*l.Stride-l.Pad+ky, ox*l.Stride-l.Pad+kx
						if iy < 0 || ix < 0 || iy >= in.H || ix >= in.W {
							continue
						}
						for c := range in.C {
							v := x[((r*in.H+iy)*in.W+ix)*in.C+c]
							referenceAxpy(o, v, w[((ky*l.Kernel+kx)*in.C+c)*out.C:])
						}
					}
				}
			}
		}
	}
}

// referenceConvTranspose adds every input pixel, times the weights, to the output
// pixels of its window.
func referenceConvTranspose(y, x, w, bias []float64, l Layer, in, out Shape, rows int) {
	for i := range y {
		if y[i] = 0; bias != nil {
			y[i] = bias[i%out.C]
		}
	}
	for at, v := range x {
		c, ix, iy, r := at%in.C, at/in.C%in.W, at/in.C/in.W%in.H, at/in.Size()
		for ky := range l.Kernel {
			for kx := range l.Kernel {
				oy, ox := iy*l.Stride-l.Pad+ky, ix*l.Stride-l.Pad+kx
				if oy < 0 || ox < 0 || oy >= out.H || ox >= out.W {
					continue
				}
				for o := range out.C {
					y[((r*out.H+oy)*out.W+ox)*out.C+o] += v * w[((ky*l.Kernel+kx)*out.C+o)*in.C+c]
				}
			}
		}
	}
}

func referenceAxpy(y []float64, s float64, x []float64) {
	for i := range y {
		y[i] += s * x[i]
	}
}

func referenceBatchNorm(y, x []float64, w func(string) []float64, c int, train bool) {
	n := len(x) / c
	for j := range c {
		mean, variance := w("running_mean")[j], w("running_var")[j]
		if train {
			mean, variance = 0, 0
			for i := range n {
				mean += x[i*c+j] / float64(n)
			}
			for i := range n {
				variance += (x[i*c+j] - mean) * (x[i*c+j] - mean) / float64(n)
			}
		}
		for i := range n {
			y[i*c+j] = w("weight")[j]*(x[i*c+j]-mean)/math.Sqrt(variance+1e-5) + w("bias")[j]
		}
	}
}

func referencePool(y, x []float64, l Layer, in, out Shape, rows int) {
	if l.Type == GlobalPool {
		l.Kernel, l.Stride = max(in.H, in.W), 1
	}
	for r := range rows {
		for oy := range out.H {
			for ox := range out.W {
				for c := range out.C {
					sum, best, count := 0.0, math.Inf(-1), 0.0
					for ky := range l.Kernel {
						for kx := range l.Kernel {
							iy, ix := oy*l.Stride-l.Pad+ky, ox*l.Stride-l.Pad+kx
							if iy < 0 || ix < 0 || iy >= in.H || ix >= in.W {
								continue
							}
							v := x[((r*in.H+iy)*in.W+ix)*in.C+c]
							sum, best, count = sum+v, max(best, v), count+1
						}
					}
					at := ((r*out.H+oy)*out.W+ox)*out.C + c
					if y[at] = sum / count; l.Type == MaxPool {
						y[at] = best
					}
				}
			}
		}
	}
}

func weightsOf(n *Network) map[string][]float64 {
	w := map[string][]float64{}
	for _, t := range n.State() {
		w[t.Name] = doubles(t.Data.([]float32))
	}
	return w
}

func doubles(x []float32) []float64 {
	d := make([]float64, len(x))
	for i, v := range x {
		d[i] = float64(v)
	}
	return d
}

// perturb moves every weight, batch norm included, away from its start.
func perturb(n *Network, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 99))
	for _, p := range n.Params() {
		for i := range p.Value {
			p.Value[i] += 0.1 * float32(r.NormFloat64())
		}
	}
}

// checkNetwork compares outputs in both modes and every gradient of a network
// with the reference, the gradients being those of a random linear functional
// of the output. At most entries values of each parameter are differentiated.
func checkNetwork(t *testing.T, spec Spec, rows, entries int) {
	t.Helper()
	net, err := New(spec, 5, testPool(t, 2))
	if err != nil {
		t.Fatal(err)
	}
	spec = net.Spec()
	perturb(net, 3)
	x := randomRows(rows*spec.Input.Size(), 11)
	functional := randomRows(rows*net.Dim(), 12)

	weights, xd := weightsOf(net), doubles(x)
	dropoutMasks(net, rows, weights)
	loss := func() float64 {
		s := 0.0
		for i, v := range reference(spec, weights, xd, rows, true) {
			s += float64(functional[i]) * v
		}
		return s
	}
	z := net.Forward(x, rows, true)
	compare(t, "training output", z, reference(spec, weights, xd, rows, true), 2e-5)
	net.Backward(functional)
	r := rand.New(rand.NewPCG(1, 2))
	for _, p := range net.Params() {
		w := weights[p.Name]
		picks := r.Perm(len(w))[:min(entries, len(w))]
		got, want := make([]float32, len(picks)), make([]float64, len(picks))
		for k, i := range picks {
			const h = 1e-6
			old := w[i]
			w[i] = old + h
			up := loss()
			w[i] = old - h
			want[k] = (up - loss()) / (2 * h)
			w[i], got[k] = old, p.Grad[i]
		}
		compare(t, p.Name, got, want, 1e-4)
	}
	compare(t, "inference output", net.Forward(x, rows, false), reference(spec, weightsOf(net), xd, rows, false), 2e-5)
}

// dropoutMasks adds to weights what the dropout layers multiply rows rows by in
// the present step, as NAME.mask.
func dropoutMasks(n *Network, rows int, weights map[string][]float64) {
	for _, d := range n.prog.nodes {
		if _, ok := d.op.(*dropoutOp); !ok {
			continue
		}
		ones, mask := make([]float32, rows*d.in), make([]float32, rows*d.in)
		for i := range ones {
			ones[i] = 1
		}
		d.op.forward(&n.env, &tensors{rows: rows, x: ones, y: mask})
		weights[n.prog.layers[d.last].Name+".mask"] = doubles(mask)
	}
}

// compare wants every difference below tol times the largest magnitude, so
// that entries that cancel to almost nothing do not ask for digits that
// float32 does not have; an absolute part covers gradients that are zero.
func compare(t *testing.T, what string, got []float32, want []float64, tol float64) {
	t.Helper()
	scale := 1e-2
	for _, v := range want {
		scale = max(scale, math.Abs(v))
	}
	for i, v := range want {
		if d := math.Abs(float64(got[i]) - v); !(d <= tol*scale) {
			t.Errorf("%s[%d] = %g, want %g (off by %.2g of the largest)", what, i, got[i], v, d/scale)
			return
		}
	}
}

// TestGradients differentiates every layer type in small networks: even and
// odd kernels, strides that leave pixels over, odd sides, padding, several
// batch sizes. The first layer is dense or conv so that gradients also pass
// through the layers after it into its weights.
func TestGradients(t *testing.T) {
	conv := func(out, k, s, p int, bias bool) Layer {
		return Layer{Type: Conv, Out: out, Kernel: k, Stride: s, Pad: p, Bias: bias}
	}
	up := func(out, k, s, p, h, w int, bias bool) Layer {
		return Layer{Type: ConvTranspose, Out: out, Kernel: k, Stride: s, Pad: p, H: h, W: w, Bias: bias}
	}
	image := func(h, w, c int) Layer { return Layer{Type: Unflatten, H: h, W: w, Out: c} }
	pool := func(kind string, k, s, p int) Layer { return Layer{Type: kind, Kernel: k, Stride: s, Pad: p} }
	bn, relu, flat := Layer{Type: BatchNorm}, Layer{Type: ReLU}, Layer{Type: Flatten}
	dense := func(out int, bias bool) Layer { return Layer{Type: Dense, Out: out, Bias: bias} }
	unit := Layer{Type: L2Normalize}
	cases := map[string]struct {
		in     Shape
		layers []Layer
	}{
		"dense":            {Shape{1, 1, 7}, []Layer{dense(5, true), dense(3, false)}},
		"normalize":        {Shape{1, 1, 7}, []Layer{dense(5, true), unit}},
		"batchnorm":        {Shape{1, 1, 7}, []Layer{dense(5, false), bn, dense(4, true)}},
		"batchnorm first":  {Shape{1, 1, 7}, []Layer{bn, dense(4, true), unit}},
		"batchnorm last":   {Shape{1, 1, 7}, []Layer{dense(5, false), bn}},
		"batchnorm relu":   {Shape{1, 1, 7}, []Layer{dense(9, false), bn, relu, dense(4, true), unit}},
		"batchnorm twice":  {Shape{1, 1, 7}, []Layer{dense(9, false), bn, bn, relu, relu, dense(4, true)}},
		"relu":             {Shape{1, 1, 7}, []Layer{dense(9, true), relu, dense(4, true)}},
		"relu first":       {Shape{1, 1, 7}, []Layer{relu, dense(4, true), relu}},
		"leakyrelu":        {Shape{1, 1, 7}, []Layer{dense(9, true), {Type: LeakyReLU, Slope: 0.2}, dense(4, true)}},
		"bn leakyrelu":     {Shape{1, 1, 7}, []Layer{dense(9, true), bn, {Type: LeakyReLU, Slope: 0.2}, dense(4, true)}},
		"conv 3/1":         {Shape{5, 4, 2}, []Layer{conv(3, 3, 1, 1, true), conv(2, 3, 1, 0, false), flat, unit}},
		"conv 3/2":         {Shape{7, 6, 2}, []Layer{conv(3, 3, 2, 1, false), bn, relu, conv(4, 3, 2, 1, true), flat}},
		"conv 4/2":         {Shape{8, 9, 2}, []Layer{conv(3, 4, 2, 1, false), bn, relu, conv(4, 4, 2, 1, true), flat, dense(3, true)}},
		"conv 2/1":         {Shape{5, 5, 1}, []Layer{conv(3, 2, 1, 0, true), conv(4, 2, 1, 1, true), flat}},
		"conv 5/3":         {Shape{9, 11, 2}, []Layer{conv(3, 1, 1, 0, true), conv(4, 5, 3, 2, true), flat}},
		"conv 6/4":         {Shape{11, 13, 1}, []Layer{conv(2, 1, 1, 0, true), conv(3, 6, 4, 3, true), flat}},
		"conv 1/2":         {Shape{5, 6, 3}, []Layer{conv(4, 1, 2, 0, true), conv(4, 1, 2, 0, true), flat}},
		"conv whole input": {Shape{4, 4, 2}, []Layer{conv(3, 1, 1, 0, true), conv(5, 4, 1, 0, true)}},
		"conv bn":          {Shape{5, 5, 2}, []Layer{conv(3, 3, 1, 1, false), bn, conv(3, 3, 2, 1, false), bn, relu, flat, unit}},
		"conv padded":      {Shape{3, 3, 2}, []Layer{conv(3, 4, 1, 3, true), conv(2, 3, 3, 2, true), flat}},
		"sigmoid":          {Shape{1, 1, 7}, []Layer{dense(9, true), {Type: Sigmoid}, dense(4, true), {Type: Sigmoid}}},
		"first half":       {Shape{1, 1, 7}, []Layer{dense(8, true), {Type: FirstHalf}, unit}},
		"unflatten":        {Shape{1, 1, 7}, []Layer{dense(24, false), image(3, 4, 2), bn, relu, conv(3, 3, 1, 1, true), flat}},
		"transpose 3/1":    {Shape{5, 4, 2}, []Layer{up(3, 3, 1, 1, 0, 0, true), up(2, 3, 1, 0, 0, 0, false), flat, unit}},
		"transpose 3/2":    {Shape{3, 4, 2}, []Layer{up(4, 3, 2, 1, 6, 7, false), bn, relu, up(3, 3, 2, 1, 11, 14, true), flat}},
		"transpose 4/2":    {Shape{3, 2, 4}, []Layer{up(5, 4, 2, 1, 0, 0, false), bn, relu, up(3, 4, 2, 1, 0, 0, true), flat}},
		"transpose 5/3":    {Shape{3, 4, 2}, []Layer{conv(3, 1, 1, 0, true), up(4, 5, 3, 2, 8, 12, true), flat}},
		"transpose 2/2":    {Shape{3, 4, 2}, []Layer{up(3, 2, 2, 0, 7, 8, true), {Type: LeakyReLU, Slope: 0.2}, up(2, 1, 2, 0, 0, 0, true), flat}},
		"transpose 4/1":    {Shape{5, 6, 1}, []Layer{up(8, 4, 1, 3, 0, 0, true), flat}},
		"decoder-like": {Shape{1, 1, 6}, []Layer{dense(8, false), bn, relu, dense(16, false), bn, relu, image(2, 2, 4),
			up(3, 4, 2, 1, 0, 0, false), bn, relu, up(2, 4, 2, 1, 0, 0, true), flat}},
		"maxpool 2/2":     {Shape{6, 7, 2}, []Layer{conv(3, 3, 1, 1, true), pool(MaxPool, 2, 2, 0), flat}},
		"maxpool 3/2":     {Shape{7, 7, 2}, []Layer{conv(3, 3, 1, 1, true), pool(MaxPool, 3, 2, 1), flat}},
		"avgpool 2/2":     {Shape{6, 7, 2}, []Layer{conv(3, 3, 1, 1, true), pool(AvgPool, 2, 2, 0), flat}},
		"avgpool 3/2":     {Shape{7, 7, 2}, []Layer{conv(3, 3, 1, 1, true), pool(AvgPool, 3, 2, 1), flat}},
		"avgpool first":   {Shape{7, 7, 2}, []Layer{pool(AvgPool, 2, 1, 1), conv(3, 3, 1, 1, true), flat}},
		"maxpool first":   {Shape{7, 7, 2}, []Layer{pool(MaxPool, 3, 3, 0), conv(3, 3, 1, 1, true), flat}},
		"globalpool":      {Shape{4, 6, 2}, []Layer{conv(5, 3, 1, 1, true), relu, {Type: GlobalPool}, dense(3, true), unit}},
		"globalpool tall": {Shape{6, 3, 2}, []Layer{conv(5, 3, 2, 1, true), bn, relu, {Type: GlobalPool}, unit}},
		"flatten only":    {Shape{2, 3, 2}, []Layer{flat}},
		"normalize only":  {Shape{1, 1, 6}, []Layer{unit}},
		"dropout":         {Shape{1, 1, 7}, []Layer{dense(9, true), relu, {Type: Dropout, Rate: 0.4}, dense(5, true), {Type: Dropout, Rate: 0.2}, unit}},
		"bn dropout":      {Shape{5, 5, 2}, []Layer{conv(6, 3, 2, 1, false), bn, relu, {Type: Dropout, Rate: 0.4}, flat, dense(4, true)}},
		"sobel":           {Shape{6, 5, 3}, []Layer{{Type: Sobel}, conv(3, 3, 2, 1, false), bn, relu, flat, unit}},
		"sobel inside":    {Shape{6, 5, 2}, []Layer{conv(3, 3, 1, 1, true), {Type: Sobel}, bn, relu, flat, dense(3, true)}},
		"identity": {Shape{6, 5, 2}, []Layer{conv(3, 3, 1, 1, false), bn, relu,
			{Type: Residual, Layers: []Layer{conv(3, 3, 1, 1, false), bn, relu, conv(3, 3, 1, 1, false), bn}}, {Type: GlobalPool}, dense(4, true), unit}},
		"identities": {Shape{6, 5, 2}, []Layer{conv(3, 3, 1, 1, true),
			{Type: Residual, Layers: []Layer{conv(4, 3, 1, 1, false), bn, relu, conv(3, 3, 1, 1, false), bn}},
			{Type: Residual, Layers: []Layer{conv(3, 3, 1, 1, false), bn}}, flat}},
		"projection": {Shape{7, 6, 2}, []Layer{conv(3, 3, 1, 1, false), bn, relu,
			{Type: Residual, Layers: []Layer{conv(5, 3, 2, 1, false), bn, relu, conv(5, 3, 1, 1, false), bn}, Shortcut: []Layer{conv(5, 1, 2, 0, false), bn}},
			flat, dense(4, true), unit}},
		"block first": {Shape{6, 5, 2}, []Layer{
			{Type: Residual, Layers: []Layer{conv(2, 3, 1, 1, false), bn}}, conv(3, 3, 2, 1, true), flat}},
		"projection first": {Shape{6, 5, 2}, []Layer{
			{Type: Residual, Layers: []Layer{conv(4, 3, 1, 1, false), bn}, Shortcut: []Layer{conv(4, 1, 1, 0, true)}}, flat, unit}},
		"block of relu": {Shape{6, 5, 2}, []Layer{conv(3, 3, 1, 1, false), bn,
			{Type: Residual, Layers: []Layer{relu, conv(3, 3, 1, 1, false), bn}}, {Type: GlobalPool}}},
		"resnet-like": {Shape{15, 16, 3}, []Layer{conv(4, 7, 2, 3, false), bn, relu, pool(MaxPool, 3, 2, 1),
			{Type: Residual, Layers: []Layer{conv(4, 3, 1, 1, false), bn, relu, conv(4, 3, 1, 1, false), bn}},
			{Type: Residual, Layers: []Layer{conv(6, 3, 2, 1, false), bn, relu, conv(6, 3, 1, 1, false), bn}, Shortcut: []Layer{conv(6, 1, 2, 0, false), bn}},
			{Type: GlobalPool}, dense(4, true), unit}},
		"pooled shortcut": {Shape{6, 6, 2}, []Layer{conv(4, 3, 1, 1, false), bn, relu,
			{Type: Residual, Layers: []Layer{conv(4, 3, 2, 1, false), bn}, Shortcut: []Layer{pool(AvgPool, 2, 2, 0)}}, flat}},
		"dense block": {Shape{1, 1, 6}, []Layer{dense(5, true),
			{Type: Residual, Layers: []Layer{dense(8, true), bn, relu, dense(5, true), bn}}, dense(3, true), unit}},
		"alexnet-like": {Shape{16, 14, 3}, []Layer{{Type: Sobel}, conv(3, 3, 2, 1, false), bn, relu, pool(MaxPool, 3, 2, 0),
			conv(5, 3, 1, 1, false), bn, relu, pool(MaxPool, 3, 2, 1), flat, dense(6, true), relu, dense(4, true), unit}},
	}
	names := make([]string, 0, len(cases))
	for name := range cases {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		c := cases[name]
		t.Run(name, func(t *testing.T) {
			for _, rows := range []int{2, 5, 9} {
				checkNetwork(t, Spec{Name: name, Input: c.in, Layers: c.layers}, rows, 12)
			}
		})
	}
}

// TestPresetGradients differentiates the presets whole, on the smallest inputs
// that keep their structure.
func TestPresetGradients(t *testing.T) {
	for name, in := range map[string]Shape{
		"linear": {3, 3, 2}, "mlp": {1, 1, 5}, "convnet": {5, 6, 1}, "dcgan32": {16, 16, 1},
	} {
		t.Run(name, func(t *testing.T) {
			spec, err := Preset(name, in, 4)
			if err != nil {
				t.Fatal(err)
			}
			checkNetwork(t, spec, 3, 1)
		})
	}
}
