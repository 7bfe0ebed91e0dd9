package objective

import (
	"math"
	"testing"

	"nat/internal/kernel"
)

// values are printed by ref/objective_values.py, which writes the losses from their
// definitions: the loss, and the tangent part of its gradient.
var values = map[string]struct {
	loss float64
	grad []float64
}{
	"infonce":                {1.5525604218, []float64{-0.06943259, 0.10119190, -0.07715821, -0.02977595, -0.29738079, 0.43585490, 0.19472776, -0.25184205, -0.33456205, -0.67492440, 0.00594900, 0.36852659, -0.02409606, 0.00227156, 0.03578046, 0.54895942, 0.17343884, -0.02196640, -0.29522151, -0.08931760, 0.25129845, -0.07042304, 0.69324652, -0.42988926}},
	"infonce, temperature 1": {1.4595459267, []float64{0.01068784, 0.00968294, -0.04364794, -0.00322372, -0.04265182, 0.06196097, 0.06847572, -0.08832048, -0.11984102, -0.06737100, -0.00161897, 0.09534951, 0.02997753, -0.03825596, -0.00379297, 0.13814860, 0.04564319, -0.00692576, -0.04652406, -0.02317322, 0.04967169, 0.06036330, 0.16803882, -0.05877631}},
	"infomax":                {0.5005377665, []float64{0.27460788, -0.02160660, -0.52709067, -0.06308794, -0.19039167, 0.30223826, -0.11279857, 0.11052981, 0.51761889, -0.09450304, 0.02576248, -0.60817450, 0.00000000, 0.00000000, 0.00000000, 0.00000000, 0.00000000, 0.00000000, 0.00000000, 0.00000000, 0.00000000, 0.00000000, 0.00000000, 0.00000000}},
	"infomax, two views":     {1.1261378459, []float64{-0.04331488, -0.03083652, 0.15841571, 0.53255389, 0.17172282, -0.52316929, 0.16456724, -0.19611469, -0.43589804, -0.68919963, -0.00456232, 0.65784047, 0.39700422, 0.05716520, -0.69823241, 0.02065046, -0.18361967, 0.13230702, -0.73935716, -0.22207132, 0.62756584, 0.00301439, 0.42212066, -0.23483690}},
	"align-uniform":          {-1.7147121393, []float64{0.35287541, -0.10017241, -0.51815479, 0.03181807, -0.45060522, 0.61989882, -0.11096193, 0.14400747, 0.18606373, -0.52330476, 0.02270999, -0.19322192, -0.38415118, 0.22033062, 0.35881800, 0.73428103, 0.31538064, -0.08777000, 0.27767881, -0.16943300, 0.04415140, -0.33528368, 0.14975258, -0.28063269}},
	"classifier":             {2.3519674181, []float64{-1.06598675, 0.85077161, 0.36030705, 1.28929845, -0.06875498, -0.58204088, 1.35998171, -1.94611936, -0.62144368, -0.04159810, 0.00014502, 0.02857953, -0.24310238, 0.20056988, 0.15680256, 1.03400317, 0.20319747, 0.04508653, 0.03005572, -0.02949670, 0.01712821, -0.00000885, -0.00000276, -0.00000365}},
	"softmax":                {0.6333418092, []float64{-0.07397765, 0.03247706, 0.08339941, 0.03593280, -0.06378641, 0.07119492, 0.04516238, -0.05697316, -0.09074216, -0.04629516, 0.00479217, -0.09074988, -0.07618878, 0.03536586, 0.08074114, 0.04380691, -0.04749585, 0.04119296, 0.04047896, 0.00106349, -0.02207867, -0.11417986, 0.17212596, -0.16346287}},
}

const valueViews, valueRows, valueDim = 2, 4, 3

// valueEmbeddings are those of the script.
func valueEmbeddings() []float32 {
	z := make([]float32, valueViews*valueRows*valueDim)
	for i := range valueViews * valueRows {
		var row [valueDim]float64
		var square float64
		for k := range row {
			row[k] = math.Sin(float64(1+3*i+k)) + math.Cos(float64(i*k))/2
			square += row[k] * row[k]
		}
		for k, x := range row {
			z[i*valueDim+k] = float32(x / math.Sqrt(square))
		}
	}
	return z
}

// checkValue compares a loss and the tangent part of its gradient with the script's.
func checkValue(t *testing.T, name string, loss float64, z, dz []float32) {
	t.Helper()
	want, ok := values[name]
	if !ok {
		t.Fatalf("no value %q", name)
	}
	near(t, name, loss, want.loss, 2e-6)
	for i := 0; i < len(z); i += valueDim {
		var radial float64
		for k := range valueDim {
			radial += float64(z[i+k]) * float64(dz[i+k])
		}
		for k := range valueDim {
			near(t, name+": gradient", float64(dz[i+k])-radial*float64(z[i+k]), want.grad[i+k], 5e-6)
		}
	}
}

func TestValuesOfInfoNCE(t *testing.T) {
	pool := kernel.NewPool(1)
	defer pool.Close()
	for name, temperature := range map[string]float64{"infonce": .2, "infonce, temperature 1": 1} {
		o, err := NewInfoNCE(valueDim, InfoNCEOptions{Temperature: temperature}, pool)
		if err != nil {
			t.Fatal(err)
		}
		z := valueEmbeddings()
		dz := make([]float32, len(z))
		s, err := o.Step(Batch{Rows: make([]int32, valueRows)}, z, dz)
		if err != nil {
			t.Fatal(err)
		}
		checkValue(t, name, s.Loss, z, dz)
		near(t, "information", s.Information, math.Log(7)-s.Loss, 1e-12)
	}
}

func TestValuesOfInfoMax(t *testing.T) {
	pool := kernel.NewPool(1)
	defer pool.Close()
	for name, views := range map[string]int{"infomax": 1, "infomax, two views": 2} {
		o, err := NewInfoMax(valueDim, InfoMaxOptions{Views: views, Noise: .4}, pool)
		if err != nil {
			t.Fatal(err)
		}
		z := valueEmbeddings()[:views*valueRows*valueDim]
		for i, x := range z { // the noise of the script
			o.noisy = append(o.noisy, x+.4*float32(math.Cos(float64(2+5*(i/valueDim)+2*(i%valueDim)))))
		}
		dz := make([]float32, len(z))
		s := o.decode(valueRows, z, dz)
		checkValue(t, name, s.Loss, z, dz)
		near(t, "information", s.Information, math.Log(valueRows)-s.Loss, 1e-12)
	}
}

func TestValuesOfAlignUniform(t *testing.T) {
	pool := kernel.NewPool(1)
	defer pool.Close()
	o := must(NewAlignUniform(valueDim, AlignUniformOptions{Weight: 1.5}, pool))
	z := valueEmbeddings()
	dz := make([]float32, len(z))
	s, err := o.Step(Batch{Rows: make([]int32, valueRows)}, z, dz)
	if err != nil {
		t.Fatal(err)
	}
	checkValue(t, "align-uniform", s.Loss, z, dz)
}

func TestValuesOfClassifier(t *testing.T) {
	pool := kernel.NewPool(1)
	defer pool.Close()
	o := must(NewClassifier([]int32{0, 1, 2, 0}, valueDim, ClassifierOptions{Views: valueViews, Temperature: .1}, pool))
	for i := range o.weight {
		o.weight[i] = float32(math.Cos(float64(1 + i/valueDim + 2*(i%valueDim))))
	}
	z := valueEmbeddings()
	dz := make([]float32, len(z))
	s, err := o.Step(Batch{Rows: []int32{0, 1, 2, 3}}, z, dz)
	if err != nil {
		t.Fatal(err)
	}
	checkValue(t, "classifier", s.Loss, z, dz)
}
