package nat

import (
	"context"
	"fmt"
	"slices"

	"nat/dataset"
	"nat/encoder"
	"nat/infomax"
	"nat/internal/rng"
	"nat/probe"
)

// CodeTable compares representations as codes of the rows that they are made of,
// without labels. The original space is that of the rows as the data have them, not
// normalised.
type CodeTable struct {
	Searched int `json:"searched"` // rows that a query searches; one that is itself a row of them does not count
	Queries  int `json:"queries"`
	// Measured is the number of rows that information is about: it compares only at equal numbers.
	Measured int       `json:"measured"`
	Rows     []CodeRow `json:"rows"`
}

// CodeRow is one code. Its rows are compared by cosine, but for those of pca-lengths and
// projection-lengths, by Euclidean distance. What was not asked for is nil.
type CodeRow struct {
	// Name is run or random, or of the original rows: pca, their principal components;
	// pca-whitened, these divided by their deviations; pca-lengths; projection, to a random
	// subspace; projection-lengths; and pca-directions, the components of rows of unit length, not
	// centred, which keep cosines best of all that is linear.
	Name        string           `json:"name"`
	Layer       string           `json:"layer"` // original for all but the first two
	Dim         int              `json:"dim"`
	Neighbours  *CodeNeighbours  `json:"neighbours,omitempty"`
	Information *CodeInformation `json:"information,omitempty"`
}

// CodeNeighbours is what a code keeps of the nearest rows in the original space.
type CodeNeighbours struct {
	Cosine   probe.Recall `json:"cosine"`   // of those nearest by cosine
	Distance probe.Recall `json:"distance"` // of those nearest by Euclidean distance
}

// CodeInformation is what the code, on the unit sphere, says through noise about which row
// it is of, (6) of docs/math.md, at the noise of infomax.HalfNoise.
type CodeInformation struct {
	Noise      float64 `json:"noise"`
	Nats       float64 `json:"nats"`
	Error      float64 `json:"error"`      // standard error of Nats
	Uniform    float64 `json:"uniform"`    // of as many uniform points
	Efficiency float64 `json:"efficiency"` // Nats / Uniform, (8)
	Recovered  float64 `json:"recovered"`  // share of noisy codes that are nearest to their own row's
}

// originalLayer is the layer of codes that are linear in the original rows.
const originalLayer = "original"

// Limits of the probes without labels: a query more changes nothing but the standard error,
// and information takes time in the square of the rows.
const (
	codeQueries      = 1000
	codeMeasured     = 4096
	fewestInformed   = 16 // rows whose information says anything
	codeQueriesIndex = 1  // of the stream of queries
)

// codes judges codes for an evaluation.
type codes struct {
	ev       *evaluation
	asked    []string                 // of codeProbes
	rows     []int                    // of ev.train.set, which are searched
	queries  []int                    // of ev.testSet()
	self     []int                    // where the queries are in rows; nil if they are of the test split
	measured []int                    // positions in rows
	uniform  map[int]infomax.Estimate // by dimension

	cosine, distance *probe.Neighbours // in the original space
	table            CodeTable
}

// newCodes chooses the rows: the queries are of the test split if there is one, and
// otherwise of the rows that they search.
func newCodes(ev *evaluation, data string, rec Record) (*codes, error) {
	c := &codes{ev: ev, asked: asked(ev.opt.Probes, codeProbes), uniform: map[int]infomax.Estimate{}}
	set, width := ev.train.set, max(ev.widest(), ev.model.Input.Size()+1)
	c.rows = upTo(set.Len())
	if most := max(1, evalTrainBytes/4/width); len(c.rows) > most {
		ev.warnf("all %d rows would need more than %d MiB for one representation: %d of them are searched, in every row of the table",
			len(c.rows), evalTrainBytes>>20, most)
		c.rows = spread(c.rows, most)
	}
	from := c.rows
	if ev.test.set != nil {
		from = upTo(ev.test.set.Len())
	}
	picked := rng.New(ev.opt.Seed, rng.Probe, codeQueriesIndex).Perm(len(from))
	picked = picked[:min(len(from), codeQueries, max(1, evalTestBytes/4/width))]
	slices.Sort(picked)
	for _, p := range picked {
		c.queries = append(c.queries, from[p])
	}
	c.measured = spread(upTo(len(c.rows)), codeMeasured)
	c.table = CodeTable{Searched: len(c.rows), Queries: len(c.queries), Measured: len(c.measured)}
	if ev.test.set == nil {
		c.self = picked
		c.table.Searched--
		ev.warnf("%s has no test split: %d of its rows search all the others, %s", data, len(c.queries), seen(set, c.queries, rec))
	}
	if n := len(c.rows); n < fewestInformed || len(c.queries) == 0 {
		return nil, failf(ErrInput, "%s: %d rows and %d queries: %d and 1 are the fewest that say anything", data, n, len(c.queries), fewestInformed)
	}
	return c, c.findOriginal()
}

// original reads rows of a set as the data have them.
func (c *codes) original(set *dataset.Set, rows []int) ([]float32, error) {
	ev := c.ev
	channels := len(ev.model.Norm.Mean)
	plain := dataset.Normalizer{Mean: make([]float32, channels), Std: make([]float32, channels)}
	for i := range plain.Std {
		plain.Std[i] = 1
	}
	x := make([]float32, len(rows)*ev.model.Input.Size())
	return x, dataset.Plain(ev.ctx, set, plain, ev.model.Input, rows, x, ev.opt.Workers)
}

// findOriginal finds the neighbours that codes are asked for.
func (c *codes) findOriginal() error {
	if !slices.Contains(c.asked, probeNeighbours) {
		return nil
	}
	x, q, err := c.read()
	if err != nil {
		return err
	}
	for _, truth := range []struct {
		found  **probe.Neighbours
		metric probe.Metric
	}{{&c.cosine, probe.Cosine}, {&c.distance, probe.Distance}} {
		if *truth.found, err = c.find(x, q, c.ev.model.Input.Size(), truth.metric); err != nil {
			return &kindError{ErrInput, err}
		}
	}
	return nil
}

// read returns the original rows, and the queries where they are not of them.
func (c *codes) read() (x, q []float32, err error) {
	if x, err = c.original(c.ev.train.set, c.rows); err == nil && c.self == nil {
		q, err = c.original(c.ev.testSet(), c.queries)
	}
	return x, q, err
}

// find searches; q is nil where the queries are among the rows z.
func (c *codes) find(z, q []float32, dim int, metric probe.Metric) (*probe.Neighbours, error) {
	if c.self != nil {
		q = take(z, c.self, dim)
	}
	return probe.FindNeighbours(c.ev.ctx, c.ev.model.pool, probe.NeighbourRows{Rows: z, Queries: q, Self: c.self, Dim: dim}, metric)
}

// take copies rows of z.
func take(z []float32, rows []int, dim int) []float32 {
	out := make([]float32, 0, len(rows)*dim)
	for _, i := range rows {
		out = append(out, z[i*dim:(i+1)*dim]...)
	}
	return out
}

// network judges a layer.
func (c *codes) network(name, layer string, net *encoder.Network, width int) error {
	z, err := c.ev.embed(name, layer, net, c.ev.train.set, c.rows)
	if err != nil {
		return err
	}
	var q []float32
	if c.self == nil {
		if q, err = c.ev.embed(name, layer, net, c.ev.testSet(), c.queries); err != nil {
			return err
		}
	}
	return c.judge(CodeRow{Name: name, Layer: layer, Dim: width}, z, q, probe.Cosine)
}

// inputs judges codes that are linear in the original rows.
func (c *codes) inputs() error {
	ev := c.ev
	x, q, err := c.read()
	if err != nil {
		return err
	}
	n, dim := len(c.rows), ev.model.Input.Size()
	k := min(ev.model.Network.Dim(), dim, n)
	pca, err := probe.PCA(ev.model.pool, x, n, dim, k)
	if err != nil {
		return err
	}
	random := probe.RandomProjection(ev.model.pool, x, n, dim, k, ev.opt.Seed)
	linear := func(name string, apply func(dst, x []float32, n int), metric probe.Metric) {
		if err == nil {
			z, zq := make([]float32, n*k), make([]float32, len(q)/dim*k)
			apply(z, x, n)
			apply(zq, q, len(q)/dim)
			err = c.judge(CodeRow{Name: name, Layer: originalLayer, Dim: k}, z, zq, metric)
		}
	}
	linear("pca", pca.Apply, probe.Cosine)
	linear("pca-whitened", pca.ApplyWhitened, probe.Cosine)
	linear("pca-lengths", pca.Apply, probe.Distance)
	linear("projection", random.Apply, probe.Cosine)
	linear("projection-lengths", random.Apply, probe.Distance)
	if err != nil {
		return err
	}
	for _, rows := range [][]float32{x, q} {
		m := len(rows) / dim
		ev.model.pool.NormalizeRows(rows, make([]float32, m), rows, m, dim)
	}
	directions, err := probe.UncentredPCA(ev.model.pool, x, n, dim, k)
	if err != nil {
		return err
	}
	linear("pca-directions", directions.Apply, probe.Cosine)
	return err
}

// judge adds a code to the table.
func (c *codes) judge(row CodeRow, z, q []float32, metric probe.Metric) error {
	for i, p := range c.asked {
		c.ev.progress(fmt.Sprintf("%s: %s %s", p, row.Name, row.Layer))(i, len(c.asked))
		var err error
		switch p {
		case probeNeighbours:
			var found *probe.Neighbours
			if found, err = c.find(z, q, row.Dim, metric); err == nil {
				row.Neighbours = &CodeNeighbours{Cosine: c.cosine.Recall(found), Distance: c.distance.Recall(found)}
			}
		case probeInformation:
			if metric == probe.Cosine && row.Dim > 1 {
				row.Information, err = c.information(c.ev.ctx, take(z, c.measured, row.Dim), row.Dim)
			}
		}
		if err != nil {
			return fmt.Errorf("probe %s of %s %s: %w", p, row.Name, row.Layer, err)
		}
	}
	c.table.Rows = append(c.table.Rows, row)
	return nil
}

// information measures the directions of the rows z, which it brings to unit length.
func (c *codes) information(ctx context.Context, z []float32, dim int) (*CodeInformation, error) {
	pool, n, seed := c.ev.model.pool, len(c.measured), c.ev.opt.Seed
	noise := []float64{infomax.HalfNoise(n, dim)}
	uniform, known := c.uniform[dim]
	if !known {
		estimates, err := infomax.Uniform(ctx, pool, n, dim, noise, seed)
		if err != nil {
			return nil, err
		}
		uniform = estimates[0]
		c.uniform[dim] = uniform
	}
	pool.NormalizeRows(z, make([]float32, n), z, n, dim)
	own, err := infomax.Information(ctx, pool, z, n, dim, noise, seed)
	if err != nil {
		return nil, err
	}
	return &CodeInformation{Noise: noise[0], Nats: own[0].Nats, Error: own[0].Stderr, Uniform: uniform.Nats,
		Efficiency: own[0].Nats / uniform.Nats, Recovered: own[0].Recovered}, nil
}
