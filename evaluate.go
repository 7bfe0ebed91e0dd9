package nat

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"nat/dataset"
	"nat/encoder"
	"nat/probe"
)

// EvalOptions choose what Evaluate measures. The zero value is the usual probes
// on embedding and features, with all labels.
type EvalOptions struct {
	Probes   []string // of ProbeNames; default knn, linear, mlp
	Layers   []string // default embedding, features; "all" alone: every layer, in order
	Labels   string   // file of labels, when the data carry none
	Workers  int      // default one per core
	Limit    int      // use only so many rows of each split, chosen by a hash of their identity
	PerClass []int    // besides all labels, also with each of these numbers of labels a class (5 draws)
	Seed     uint64   // of the probes' own randomness; default 1

	// NoBaselines leaves out raw input, PCA and the untrained network, which for
	// several runs of one encoder on one data set are the same, and most of the work.
	NoBaselines bool
}

// AllLayers, as the only layer of EvalOptions, stands for every layer of the
// network that changes what it is given.
const AllLayers = "all"

// EvalResult compares a run's representations with raw input, PCA and the same
// network untrained, under the same probes, unless these were left out.
type EvalResult struct {
	Run        string      `json:"run"`
	Checkpoint string      `json:"checkpoint"` // its name
	Data       string      `json:"data"`
	TrainRows  int         `json:"train_rows"` // with a label; 0 like TestRows and Classes if no probe needs labels
	TestRows   int         `json:"test_rows"`  // with a label
	Classes    int         `json:"classes"`
	Rows       []EvalRow   `json:"rows"`                 // of the probes with labels
	Few        []FewLabels `json:"few_labels,omitempty"` // in the order of EvalOptions.PerClass
	Codes      *CodeTable  `json:"codes,omitempty"`      // of the probes without labels
	Warnings   []string    `json:"warnings,omitempty"`
}

// Validate tells what Evaluate would refuse before it opens the run: an error of
// kind ErrUsage.
func (o EvalOptions) Validate() error { return o.complete() }

func (o *EvalOptions) complete() error {
	if len(o.Probes) == 0 {
		o.Probes = []string{"knn", "linear", "mlp"}
	}
	if len(o.Layers) == 0 {
		o.Layers = []string{encoder.Embedding, encoder.Features}
	}
	if o.Seed == 0 {
		o.Seed = 1
	}
	for _, p := range o.Probes {
		if !slices.Contains(probeNames, p) {
			return failf(ErrUsage, "probes %q: choose among %s", p, strings.Join(probeNames, ", "))
		}
	}
	if o.Limit < 0 {
		return failf(ErrUsage, "limit %d: must not be negative", o.Limit)
	}
	if slices.Contains(o.Layers, AllLayers) && len(o.Layers) > 1 {
		return failf(ErrUsage, "layers %s: %q already stands for every layer", strings.Join(o.Layers, ","), AllLayers)
	}
	for i, n := range o.PerClass {
		if n < 1 || slices.Contains(o.PerClass[:i], n) {
			return failf(ErrUsage, "labels per class %d: give each number once, and none below 1", n)
		}
	}
	if o.Labels != "" && len(asked(o.Probes, labelProbes)) == 0 {
		return failf(ErrUsage, "labels %s: %s needs none: leave it out", o.Labels, strings.Join(o.Probes, " and "))
	}
	if len(o.PerClass) > 0 && len(asked(o.Probes, accuracyProbes)) == 0 {
		return failf(ErrUsage, "labels per class: few labels change nothing for %s; add one of %s",
			strings.Join(o.Probes, " and "), strings.Join(accuracyProbes, ", "))
	}
	return nil
}

// Evaluate probes the run's newest checkpoint with the labels of data (the
// run's own when empty): fitted on its training split, tested on its test split
// or, where it has none, on a fifth of the rows chosen by their identity. The probes
// neighbours and information need no labels: up to 1,000 rows of the test split or, where it has
// none, of all rows, chosen by the seed, search the (other) rows of the training split.
func Evaluate(ctx context.Context, run *Run, data string, opt EvalOptions, observe func(Event)) (*EvalResult, error) {
	if err := opt.complete(); err != nil {
		return nil, err
	}
	if observe == nil {
		observe = func(Event) {}
	}
	if data == "" {
		data = run.Record.Data.Path
	}
	model, err := run.Model(opt.Workers)
	if err != nil {
		return nil, err
	}
	defer model.Close()
	if opt.Layers[0] == AllLayers {
		opt.Layers = layersOf(model.Network.Spec())
	}
	for _, layer := range opt.Layers {
		if _, err := model.Network.Width(layer); err != nil {
			return nil, &kindError{ErrUsage, err}
		}
	}
	ev := &evaluation{ctx: ctx, model: model, opt: opt, observe: observe}
	defer ev.close()
	if err := ev.open(data, run.Record); err != nil {
		return nil, err
	}
	ev.result.Rows = []EvalRow{} // JSON wants a list
	ev.result.Run, ev.result.Data, ev.result.Checkpoint = run.Dir, data, filepath.Base(model.Checkpoint)
	for _, n := range opt.PerClass {
		ev.result.Few = append(ev.result.Few, FewLabels{PerClass: n, Draws: fewDraws})
	}
	ev.result.Warnings = append(ev.result.Warnings, model.Warnings...)
	if err := ev.layers("run", model.Network); err != nil {
		return nil, err
	}
	if !opt.NoBaselines {
		if err := ev.untrained(run.Record.Options.Seed); err != nil {
			return nil, err
		}
		if err := ev.inputs(); err != nil {
			return nil, err
		}
	}
	if ev.codes != nil {
		ev.result.Codes = &ev.codes.table
	}
	return &ev.result, nil
}

// layersOf names the layers in order, less those that leave every value as it
// is outside training.
func layersOf(spec encoder.Spec) (names []string) {
	for _, l := range spec.Layers {
		if l.Type != encoder.Flatten && l.Type != encoder.Unflatten && l.Type != encoder.Dropout {
			names = append(names, l.Name)
		}
	}
	return names
}

// part is the labelled rows of one split.
type part struct {
	set  *dataset.Set
	rows []int
	y    []int
}

// evaluation is the state of Evaluate.
type evaluation struct {
	ctx         context.Context
	model       *Model
	opt         EvalOptions
	observe     func(Event)
	train, test part
	classes     int
	codes       *codes                // nil unless a probe without labels is asked for
	ahead       map[string]probe.Data // by layer, where all of a network fit in memory
	result      EvalResult
}

// labelled tells whether a probe needs labels.
func (ev *evaluation) labelled() bool { return len(asked(ev.opt.Probes, labelProbes)) > 0 }

func (ev *evaluation) close() {
	for _, p := range []part{ev.train, ev.test} {
		if p.set != nil {
			p.set.Close()
		}
	}
}

// open opens the data and finds the rows that the probes need. The run's file of labels
// is that of its own data: rows of others would be given labels of these. Its
// limit holds for them too, unless another is given, but not for the test split.
func (ev *evaluation) open(data string, rec Record) error {
	opt := dataset.Options{Limit: ev.opt.Limit, Labels: ev.opt.Labels, MaxBad: rec.Options.MaxBad, Progress: scanProgress(ev.observe)}
	if abs, err := filepath.Abs(data); data == rec.Data.Path || err == nil && abs == rec.Data.Path {
		if ev.labelled() {
			setDefault(&opt.Labels, rec.Options.Labels)
		}
		setDefault(&opt.Limit, rec.Options.Limit)
	}
	set, err := ev.model.OpenData(ev.ctx, data, opt)
	if err != nil {
		return err
	}
	ev.train.set = set
	if set.HasTest() {
		opt.Split, opt.Limit = "test", ev.opt.Limit
		if ev.test.set, err = ev.model.OpenData(ev.ctx, data, opt); err != nil {
			return err
		}
	}
	if ev.labelled() {
		if err := ev.split(data, rec); err != nil {
			return err
		}
	}
	if len(asked(ev.opt.Probes, codeProbes)) > 0 {
		ev.codes, err = newCodes(ev, data, rec)
	}
	return err
}

// split finds the labelled rows to fit and to test on.
func (ev *evaluation) split(data string, rec Record) error {
	set := ev.train.set
	if ev.test.set != nil {
		ev.train.rows, ev.test.rows = upTo(set.Len()), upTo(ev.test.set.Len())
	} else {
		ev.train.rows, ev.test.rows = set.SplitTest()
		ev.warnf("%s has no test split: fitted on %d rows, tested on %d chosen by their identity, %s",
			data, len(ev.train.rows), len(ev.test.rows), seen(set, ev.test.rows, rec))
	}
	if !set.Labelled() {
		return failf(ErrInput, "%s has no labels of two or more classes, and a probe needs them: give a file with --labels", data)
	}
	ev.classes = len(set.Classes())
	ev.train.label(set)
	testSet := set
	if ev.test.set != nil {
		testSet = ev.test.set
		if !slices.Equal(testSet.Classes(), set.Classes()) {
			return failf(ErrInput, "%s: the test split has classes %v, the training split %v", data, testSet.Classes(), set.Classes())
		}
	}
	ev.test.label(testSet)
	if len(ev.train.rows) == 0 || len(ev.test.rows) == 0 {
		return failf(ErrInput, "%s: %d labelled rows to fit and %d to test on: both are needed", data, len(ev.train.rows), len(ev.test.rows))
	}
	ev.bound()
	for _, n := range ev.opt.PerClass {
		if fewest := slices.Min(ev.perClass()); fewest < n {
			ev.warnf("%d labels a class: the smallest class has %d labelled rows to fit on, and all are used where there are no more", n, fewest)
		}
	}
	ev.result.TrainRows, ev.result.TestRows, ev.result.Classes = len(ev.train.rows), len(ev.test.rows), ev.classes
	return nil
}

// seen says how many rows of set training has seen.
func seen(set *dataset.Set, rows []int, rec Record) string {
	if set.Fingerprint() != rec.Data.Fingerprint {
		return "which training may have seen without labels"
	}
	unseen := map[int]bool{}
	if rec.Options.Val == "" {
		_, held := set.HoldOut()
		for _, i := range held {
			unseen[i] = true
		}
	}
	how := "without labels"
	if rec.Options.Objective == objectiveSupervised {
		how = "with labels"
		_, test := set.SplitTest() // trainingRows
		for _, i := range test {
			unseen[i] = true
		}
	}
	trained := 0
	for _, i := range rows {
		if !unseen[i] {
			trained++
		}
	}
	if how == "with labels" && trained == 0 {
		return "which training has not seen"
	}
	return fmt.Sprintf("of which training has seen %d %s", trained, how)
}

// perClass counts the rows to fit on.
func (ev *evaluation) perClass() []int {
	n := make([]int, ev.classes)
	for _, y := range ev.train.y {
		n[y]++
	}
	return n
}

// The rows of the widest representation may take this much memory. A probe
// copies the test rows once; with that, evaluation stays within 2 GB.
const (
	evalTrainBytes = 1 << 30
	evalTestBytes  = 1 << 28
)

// bound leaves as many rows as memory allows, the same for every
// representation, or the comparison would be unfair.
func (ev *evaluation) bound() {
	width := ev.widest()
	for _, b := range []struct {
		part        *part
		bytes       int
		which, done string
	}{
		{&ev.train, evalTrainBytes, "training", "fitted"},
		{&ev.test, evalTestBytes, "test", "tested"},
	} {
		most := max(1, b.bytes/4/width)
		if n := len(b.part.rows); n > most {
			ev.warnf("all %d %s rows would need more than %d MiB for one representation: %s on %d of them, in every row of the table",
				n, b.which, b.bytes>>20, b.done, most)
			b.part.rows, b.part.y = spread(b.part.rows, most), spread(b.part.y, most)
		}
	}
}

// widest is how many values of a row are held at a time, at most: a layer's, or
// those of the input and of its principal components.
func (ev *evaluation) widest() (widest int) {
	if !ev.opt.NoBaselines {
		size := ev.model.Input.Size()
		widest = size + min(size, ev.model.Network.Dim())
	}
	for _, layer := range ev.opt.Layers {
		if width, err := ev.model.Network.Width(layer); err == nil { // Evaluate has checked the names
			widest = max(widest, width)
		}
	}
	return widest
}

func (ev *evaluation) warnf(format string, args ...any) {
	w := fmt.Sprintf(format, args...)
	ev.result.Warnings = append(ev.result.Warnings, w)
	ev.observe(Event{Kind: EventWarning, Time: time.Now(), Message: w})
}

// label keeps the rows that have a label, and their labels.
func (p *part) label(set *dataset.Set) {
	p.rows = slices.DeleteFunc(p.rows, func(i int) bool { return set.Label(i) < 0 })
	p.y = make([]int, len(p.rows))
	for k, i := range p.rows {
		p.y[k] = set.Label(i)
	}
}

// testSet is where the test rows are.
func (ev *evaluation) testSet() *dataset.Set {
	if ev.test.set != nil {
		return ev.test.set
	}
	return ev.train.set
}

// layers probes the layers asked for.
func (ev *evaluation) layers(name string, net *encoder.Network) (err error) {
	if ev.labelled() {
		if ev.ahead, err = ev.together(name, net); err != nil {
			return err
		}
		defer func() { ev.ahead = nil }()
	}
	for _, layer := range ev.opt.Layers {
		if err := ev.network(name, layer, net); err != nil {
			return err
		}
	}
	return nil
}

// untrained probes the network as training with that seed began it.
func (ev *evaluation) untrained(seed uint64) error {
	random, err := encoder.New(ev.model.Network.Spec(), seed, ev.model.pool)
	if err != nil {
		return err
	}
	if err := ev.calibrate(random); err != nil {
		return err
	}
	return ev.layers("random", random)
}

// calibratePasses are made in training mode by the untrained network so that
// its batch norms know the statistics of the data, as a trained network's do:
// the comparison is about the weights. Running averages that keep .9 of
// themselves in a pass then hold a thousandth of what they began with.
const calibratePasses = 64

// calibrate goes round the training rows, block by block, without a remainder
// too small for good statistics unless it is all there is.
func (ev *evaluation) calibrate(net *encoder.Network) error {
	rows := ev.train.rows
	if len(rows) == 0 { // without labels
		rows = ev.codes.rows
	}
	rows = spread(rows, calibratePasses*embedRows)
	size := min(embedRows, len(rows))
	x := make([]float32, size*ev.model.Input.Size())
	for pass := range calibratePasses {
		lo := pass % (len(rows) / size) * size
		if err := dataset.Plain(ev.ctx, ev.train.set, ev.model.Norm, ev.model.Input, rows[lo:lo+size], x, ev.opt.Workers); err != nil {
			return err
		}
		net.Forward(x, size, true)
	}
	return nil
}

// network embeds the rows that the probes need and probes the result.
func (ev *evaluation) network(name, layer string, net *encoder.Network) error {
	width, err := net.Width(layer)
	if err != nil {
		return err
	}
	if ev.codes != nil {
		if err := ev.codes.network(name, layer, net, width); err != nil {
			return err
		}
	}
	if !ev.labelled() {
		return nil
	}
	if data, ok := ev.ahead[layer]; ok {
		return ev.probe(name, layer, data)
	}
	data := ev.data(width)
	if data.Train, err = ev.embed(name, layer, net, ev.train.set, ev.train.rows); err != nil {
		return err
	}
	if data.Test, err = ev.embed(name, layer, net, ev.testSet(), ev.test.rows); err != nil {
		return err
	}
	return ev.probe(name, layer, data)
}

// embed returns a layer's values for rows of set. The representation before should not be
// needed any more.
func (ev *evaluation) embed(name, layer string, net *encoder.Network, set *dataset.Set, rows []int) (z []float32, err error) {
	runtime.GC()
	err = ev.model.embed(ev.ctx, net, set, rows, layer, func(_ []int, values []float32, width int) error {
		if z == nil {
			z = make([]float32, 0, len(rows)*width)
		}
		z = append(z, values...)
		return nil
	}, ev.progress("embedding: "+name+" "+layer))
	return z, err
}

func (ev *evaluation) data(dim int) probe.Data {
	return probe.Data{TrainY: ev.train.y, TestY: ev.test.y, Dim: dim, Classes: ev.classes}
}

// inputs probes PCA, to the dimension of the embedding, and the raw input.
func (ev *evaluation) inputs() error {
	if ev.codes != nil {
		if err := ev.codes.inputs(); err != nil {
			return err
		}
	}
	if !ev.labelled() {
		return nil
	}
	dim := ev.model.Input.Size()
	raw := ev.data(dim)
	runtime.GC() // the last representation goes before this one comes
	var err error
	read := func(set *dataset.Set, rows []int) []float32 {
		x := make([]float32, len(rows)*dim)
		if err == nil {
			err = dataset.Plain(ev.ctx, set, ev.model.Norm, ev.model.Input, rows, x, ev.opt.Workers)
		}
		return x
	}
	raw.Train, raw.Test = read(ev.train.set, ev.train.rows), read(ev.testSet(), ev.test.rows)
	if err != nil {
		return err
	}
	k := min(ev.model.Network.Dim(), dim, len(ev.train.rows))
	pca, err := probe.PCA(ev.model.pool, raw.Train, len(ev.train.rows), dim, k)
	if err != nil {
		return err
	}
	low := ev.data(k)
	low.Train, low.Test = make([]float32, len(ev.train.rows)*k), make([]float32, len(ev.test.rows)*k)
	pca.Apply(low.Train, raw.Train, len(ev.train.rows))
	pca.Apply(low.Test, raw.Test, len(ev.test.rows))
	if err := ev.probe("pca", "input", low); err != nil {
		return err
	}
	return ev.probe("raw", "input", raw)
}

func (ev *evaluation) progress(what string) func(done, total int) {
	return func(done, total int) {
		ev.observe(Event{Kind: EventProbe, Time: time.Now(), Message: what, Done: done, Total: total})
	}
}
