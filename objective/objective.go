// Package objective has what training optimises. An objective looks at the
// embeddings of one batch and returns the gradient of its loss with respect to
// them; it knows nothing of the network that made them.
//
//	o, err := objective.NewNAT(n, d, objective.NATOptions{Seed: 1, Views: 2}, pool)
//	stats, err := o.Step(objective.Batch{Rows: rows}, z, dz) // z: 2*len(rows) unit vectors, dz is written
//
// [NAT] is the method of this program. The others are what it is compared with:
// [InfoMax], the information itself, [InfoNCE], [AlignUniform], [Classifier] and [VAE]; [Fresh] is NAT without memory.
// Equation numbers are those of docs/math.md.
package objective

import (
	"math"

	"nat/encoder"
	"nat/internal/tensorfile"
)

// Objective is what a trainer drives: forward, Step, backward. One is for one
// caller at a time, and its results do not depend on the number of workers.
type Objective interface {
	// Step takes the embeddings z of a batch, V*B x d with view v of the b-th of
	// its rows in row v*B+b, and writes dLoss/dz to dz, and the gradients of Params.
	Step(b Batch, z, dz []float32) (Stats, error)
	// EndEpoch is called when every row has been seen.
	EndEpoch() error
	// Params are what the objective itself learns, none for most. An optimiser
	// changes their values, which are part of State.
	Params() []encoder.Param
	// State is everything Step and the optimiser change, SetState puts it back bit for bit.
	State() []tensorfile.Tensor
	SetState([]tensorfile.Tensor) error
}

// Batch is what a step is taken on, besides the embeddings.
type Batch struct {
	Rows []int32   // the points, by their number among all
	X    []float32 // what the network saw, in the order of the embeddings; nil where no objective looks

	Epoch    int     // how often all rows have been seen before
	Progress float64 // share of the training that is done, 0 to 1
}

// Stats describes one step. Means are over the rows of the batch and its views.
// What does not apply to an objective is NaN.
type Stats struct {
	Loss float64 // what the gradient is of

	// Of objectives with targets.
	LossBefore   float64 // Loss with the pairing the step began with
	Reassignment float64 // (16): LossBefore - Loss, won by re-assignment
	Chance       float64 // Loss of a random pairing
	Reassigned   float64 // fraction of the batch that got another target
	Cosine       float64 // mean cosine with the target; compare with (24)
	Gap          float64 // certificate of the batch's assignment, per row: how far at most it is from the optimum; 0 where nothing was re-assigned

	Alignment   float64 // (25): mean squared distance of views 0 and 1; NaN with one view
	Information float64 // nats: of which of the candidates a point is, at least so much is kept
	Accuracy    float64 // share of the guesses at that which are right
	Uniformity  float64 // (23) of the batch, mean over views

	Divergence   float64 // of VAE: mean of KL(q(z|x) || N(0, I)), nats; the information in z is at most this
	SquaredError float64 // of VAE: mean over the values of the inputs, which are standardised

	Pooled           int     // rows of the pool re-paired at the end of this step; 0 in most
	PoolReassignment float64 // won by that, mean over these rows
	PoolReassigned   float64 // fraction of these rows that got another target
}

// untargeted are the statistics of a step of an objective without targets.
func untargeted(loss float64) Stats {
	nan := math.NaN()
	return Stats{Loss: loss, LossBefore: nan, Reassignment: nan, Chance: nan, Reassigned: nan, Cosine: nan, Gap: nan,
		Alignment: nan, Information: nan, Accuracy: nan, Uniformity: nan, Divergence: nan, SquaredError: nan}
}

// checkStep panics on a call of Step that makes no sense.
func checkStep(rows, views, d int, z, dz []float32) {
	if rows == 0 {
		panic("objective: Step needs a batch")
	}
	if len(z) != views*rows*d || len(dz) != len(z) {
		panic("objective: Step needs views*rows*d embeddings and as many gradients")
	}
}

// stateless is the part of an objective that remembers nothing between steps.
type stateless struct{}

// EndEpoch implements [Objective].
func (stateless) EndEpoch() error { return nil }

// Params implements [Objective].
func (stateless) Params() []encoder.Param { return nil }

// State implements [Objective].
func (stateless) State() []tensorfile.Tensor { return nil }

// SetState implements [Objective].
func (stateless) SetState([]tensorfile.Tensor) error { return nil }
