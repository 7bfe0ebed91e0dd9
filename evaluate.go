package nat

import "context"

// EvalOptions choose what Evaluate measures. The zero value is all probes on
// embedding and features, with all labels.
type EvalOptions struct {
	Probes   []string // of knn, linear, mlp; default all
	Layers   []string // default embedding, features
	Labels   string   // file of labels, when the data carry none
	Workers  int      // default one per core
	Limit    int      // use only the first rows
	PerClass int      // besides all labels, also with this many per class (mean of 5 draws); 0: not
	Seed     uint64   // of the probes' own randomness; default 1
}

// EvalResult compares a run's representations with raw input, PCA and the same
// network untrained, under the same probes.
type EvalResult struct {
	Run       string    `json:"run"`
	Data      string    `json:"data"`
	TrainRows int       `json:"train_rows"`
	TestRows  int       `json:"test_rows"`
	Classes   int       `json:"classes"`
	Rows      []EvalRow `json:"rows"`
	PerClass  int       `json:"labels_per_class,omitempty"`
	FewRows   []EvalRow `json:"few_label_rows,omitempty"` // the same table with PerClass labels a class
	Warnings  []string  `json:"warnings,omitempty"`
}

// EvalRow is one representation; accuracies are fractions, nil when that
// probe was not asked for.
type EvalRow struct {
	Name   string   `json:"name"`  // run, random, pca, raw
	Layer  string   `json:"layer"` // embedding, features, a layer's name; input for raw and pca
	Dim    int      `json:"dim"`
	KNN    *float64 `json:"knn,omitempty"`
	Linear *float64 `json:"linear,omitempty"`
	MLP    *float64 `json:"mlp,omitempty"`
}

// Evaluate probes the run's newest checkpoint with the labels of data (the
// run's own when empty): fitted on its training split, tested on its test split
// or, where it has none, on a fifth of the rows chosen by their identity.
func Evaluate(ctx context.Context, run *Run, data string, opt EvalOptions, observe func(Event)) (*EvalResult, error) {
	return nil, failf(ErrUsage, "not yet")
}
