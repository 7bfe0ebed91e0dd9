// Package objective has what training optimises. An objective looks at the
// embeddings of one batch and returns the gradient of its loss with respect to
// them; it knows nothing of the network that made them.
//
//	o, err := objective.NewNAT(n, d, objective.NATOptions{Seed: 1, Views: 2}, pool)
//	stats, err := o.Step(rows, z, dz) // z: 2*len(rows) unit vectors, dz is written
//
// Equation numbers are those of docs/math.md.
package objective

import "nat/internal/tensorfile"

// Objective is what a trainer drives: forward, Step, backward.
type Objective interface {
	// Step takes the embeddings z of a batch, V*B x d with view v of the b-th of
	// rows in row v*B+b, and writes dLoss/dz to dz.
	Step(rows []int32, z, dz []float32) (Stats, error)
	// EndEpoch is called when every row has been seen.
	EndEpoch() error
	// State is everything Step changes, SetState puts it back bit for bit.
	State() []tensorfile.Tensor
	SetState([]tensorfile.Tensor) error
}

// Stats describes one step. Means are over the rows of the batch and its views.
type Stats struct {
	Loss         float64 // (15): mean squared distance to the targets, after re-assignment
	LossBefore   float64 // with the pairing the step began with
	Reassignment float64 // (16): LossBefore - Loss, won by re-assignment
	Reassigned   float64 // fraction of the batch that got another target
	Cosine       float64 // mean cosine with the target; compare with (24)
	Alignment    float64 // (25): mean squared distance of views 0 and 1; NaN with one view
	Gap          float64 // certificate of the batch's assignment, per row: how far at most it is from the optimum

	Pooled           int     // rows of the pool re-paired at the end of this step; 0 in most
	PoolReassignment float64 // won by that, mean over these rows
	PoolReassigned   float64 // fraction of these rows that got another target
}
