package nat

import (
	"context"

	"nat/objective"
)

// globalDue tells whether all rows are re-matched at the end of an epoch: every
// AssignEvery epochs, but not after the last, when no step would profit.
func (o *Options) globalDue(epoch int) bool {
	return o.Assign == objective.AssignGlobal && (epoch+1)%o.AssignEvery == 0 && epoch+1 < o.Epochs
}

// rematchAll embeds all rows that own a target, unaugmented and in evaluation
// mode, and gives them the targets that fit best. It begins with the present
// pairing. All of it depends on nothing but what a checkpoint holds, so that it
// may be interrupted and done again. A row that cannot be read is an error of
// kind ErrInput.
func (t *trainer) rematchAll(ctx context.Context) (*Global, error) {
	n := len(t.src.rows)
	z := make([]float32, n*t.plan.Options.Dim)
	if err := t.embed(ctx, t.net, t.src.set, t.src.rows, z, t.assignProgress("embedding all rows")); err != nil {
		return nil, &kindError{ErrInput, err}
	}
	r, err := t.nat.RematchAll(ctx, z, t.assignProgress("re-pairing all rows"))
	if err != nil {
		return nil, err
	}
	return &Global{Rows: n, LossBefore: r.Before, Loss: r.After, Excess: r.Excess(), Reassigned: r.Reassigned, Gap: r.Gap}, nil
}

// assignProgress tells the observer how far a part of the re-matching is.
func (t *trainer) assignProgress(what string) func(done, total int) {
	return func(done, total int) {
		e := t.event(EventAssign)
		e.Message, e.Done, e.Total = what, done, total
		t.observe(e)
	}
}
