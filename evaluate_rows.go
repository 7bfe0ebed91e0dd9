package nat

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"

	"nat/probe"
)

// accuracyProbes are the probes that are fitted to labels and tested by their
// accuracy, in the order of the tables; labelProbes are these and the others that need
// labels, codeProbes those that need none, and probeNames all.
var (
	accuracyProbes = []string{"knn", "knn200", "linear", "svm", "mlp"}
	labelProbes    = append(slices.Clone(accuracyProbes), "retrieval", "clusters")
	codeProbes     = []string{probeNeighbours, probeInformation}
	probeNames     = slices.Concat(labelProbes, codeProbes)
)

const (
	probeNeighbours  = "neighbours"
	probeInformation = "information"
)

// ProbeNames are the probes that Evaluate can use, in the order of its tables.
func ProbeNames() []string { return slices.Clone(probeNames) }

// AccuracyProbes are those of ProbeNames that are fitted to labels and give an
// accuracy, for EvalRow.Accuracy. Only they are used with few labels.
func AccuracyProbes() []string { return slices.Clone(accuracyProbes) }

// EvalRow is one representation; accuracies are fractions of the test rows. What
// was not asked for is nil.
type EvalRow struct {
	Name   string   `json:"name"`  // run, random, pca, raw
	Layer  string   `json:"layer"` // embedding, features, a layer's name; input for raw and pca
	Dim    int      `json:"dim"`
	KNN    *float64 `json:"knn,omitempty"`    // 20 neighbours
	KNN200 *float64 `json:"knn200,omitempty"` // 200 neighbours
	Linear *float64 `json:"linear,omitempty"`
	SVM    *float64 `json:"svm,omitempty"`
	MLP    *float64 `json:"mlp,omitempty"`

	// MLPEpochs is the number of accuracies that MLP is the mean of, each after
	// one of the last epochs.
	MLPEpochs int                    `json:"mlp_epochs,omitempty"`
	Retrieval *probe.RetrievalResult `json:"retrieval,omitempty"`
	Clusters  *probe.ClusterResult   `json:"clusters,omitempty"`

	// HalfWidth is, by the probe's name, half the width of the 95 % interval of an
	// accuracy that is a mean over draws of labels.
	HalfWidth map[string]float64 `json:"half_width,omitempty"`
}

// Accuracy returns the accuracy of one of AccuracyProbes, nil if it was not
// measured.
func (r EvalRow) Accuracy(probe string) *float64 { return *r.field(probe) }

func (r *EvalRow) field(probe string) **float64 {
	switch probe {
	case "knn":
		return &r.KNN
	case "knn200":
		return &r.KNN200
	case "linear":
		return &r.Linear
	case "svm":
		return &r.SVM
	case "mlp":
		return &r.MLP
	}
	panic("nat: no probe of accuracies has that name")
}

// FewLabels is the table with few labels. Its accuracies are means over draws of
// the labelled rows, the same draws for every representation.
type FewLabels struct {
	PerClass int       `json:"labels_per_class"`
	Draws    int       `json:"draws"`
	Rows     []EvalRow `json:"rows"`
}

// fewDraws is the number of draws that few-label accuracies are the mean of.
const fewDraws = 5

// asked returns those of names that are in probes, in the order of names.
func asked(probes, names []string) (out []string) {
	for _, p := range names {
		if slices.Contains(probes, p) {
			out = append(out, p)
		}
	}
	return out
}

// probe adds the rows of one representation to the tables of probes with labels.
func (ev *evaluation) probe(name, layer string, data probe.Data) error {
	row, err := ev.row(name, layer, data, asked(ev.opt.Probes, labelProbes))
	if err != nil {
		return err
	}
	ev.result.Rows = append(ev.result.Rows, row)
	for i := range ev.result.Few {
		few := &ev.result.Few[i]
		draws := make([]EvalRow, few.Draws)
		for d := range draws {
			part := data.Take(probe.Subset(data.TrainY, few.PerClass, ev.opt.Seed+uint64(d)))
			if draws[d], err = ev.row(name, layer, part, asked(ev.opt.Probes, accuracyProbes)); err != nil {
				return err
			}
		}
		few.Rows = append(few.Rows, meanOf(draws))
	}
	return nil
}

// meanOf takes the means of the accuracies of draws and their 95 % intervals,
// (66) of docs/math.md.
func meanOf(draws []EvalRow) EvalRow {
	mean := draws[0]
	mean.HalfWidth = map[string]float64{}
	n := float64(len(draws))
	quantile := distuv.StudentsT{Sigma: 1, Nu: n - 1}.Quantile(.975)
	for _, p := range accuracyProbes {
		if mean.Accuracy(p) == nil {
			continue
		}
		values := make([]float64, len(draws))
		for i, d := range draws {
			values[i] = *d.Accuracy(p)
		}
		m, deviation := stat.MeanStdDev(values, nil)
		*mean.field(p) = &m
		mean.HalfWidth[p] = quantile * deviation / math.Sqrt(n)
	}
	return mean
}

// row runs the given probes.
func (ev *evaluation) row(name, layer string, data probe.Data, probes []string) (EvalRow, error) {
	row := EvalRow{Name: name, Layer: layer, Dim: data.Dim}
	for i, p := range probes {
		ev.progress(fmt.Sprintf("%s: %s %s", p, name, layer))(i, len(probes))
		if err := ev.measure(&row, p, data, probes); err != nil {
			return row, fmt.Errorf("probe %s of %s %s: %w", p, name, layer, err)
		}
	}
	return row, nil
}

// measure writes to row what one of the probes finds.
func (ev *evaluation) measure(row *EvalRow, name string, data probe.Data, probes []string) (err error) {
	ctx, pool, seed := ev.ctx, ev.model.pool, ev.opt.Seed
	switch name {
	case "knn", "knn200":
		if *row.field(name) == nil { // one search serves both
			err = ev.neighbours(row, data, asked(probes, []string{"knn", "knn200"}))
		}
	case "linear":
		row.Linear, err = measured(probe.Linear(ctx, pool, data, probe.LinearOptions{Seed: seed}))
	case "svm":
		row.SVM, err = measured(probe.SVM(ctx, pool, data, probe.LinearOptions{Seed: seed}))
	case "mlp":
		var m probe.MLPResult
		m, err = probe.MLP(ctx, pool, data, probe.MLPOptions{Seed: seed})
		row.MLP, row.MLPEpochs = &m.Accuracy, m.Tests
	case "retrieval":
		row.Retrieval, err = measured(probe.Retrieval(ctx, pool, data, probe.RetrievalOptions{}))
	case "clusters":
		row.Clusters, err = measured(probe.Clusters(ctx, pool, data, probe.ClusterOptions{Seed: seed}))
	}
	return err
}

func measured[T any](v T, err error) (*T, error) { return &v, err }

// neighbours fills the given nearest-neighbour votes.
func (ev *evaluation) neighbours(row *EvalRow, data probe.Data, votes []string) error {
	size := map[string]int{"knn": 20, "knn200": 200}
	ks := make([]int, len(votes))
	for i, p := range votes {
		ks[i] = size[p]
	}
	accuracies, err := probe.KNNs(ev.ctx, ev.model.pool, data, ks, 0)
	if err != nil {
		return err
	}
	for i, p := range votes {
		*row.field(p) = &accuracies[i]
	}
	return nil
}
