package nat

import "fmt"

// Stop is what tells, without labels, that more training does harm: the alignment (25)
// of two views of held-out rows, or of training rows where none are held out. Uniformity and
// information rise while a network learns as well as while it learns its rows by heart;
// views of one row come together in the one case and part in the other. What this was seen
// on: docs/results/stop-signal.md.
type Stop struct {
	Least float64 `json:"least"` // least alignment so far
	Epoch int     `json:"epoch"` // when it was read, from 0
	Above int     `json:"above"` // readings in a row, up to now, that are more than a tenth above it
}

const (
	parting      = 1.1 // times the least alignment: more than readings scatter
	patientReads = 2
)

// read takes in a reading after an epoch and returns what is known then. Data without
// views that differ have alignment 0, and no signal.
func (s Stop) read(epoch int, train, held *Gauge) Stop {
	g := train
	if held != nil && held.Rows >= uniformityRows {
		g = held
	}
	switch {
	case g.Alignment <= 0:
	case s.Least == 0 || g.Alignment < s.Least:
		s = Stop{Least: g.Alignment, Epoch: epoch}
	case g.Alignment > parting*s.Least:
		s.Above++
	default:
		s.Above = 0
	}
	return s
}

// Memorising tells that two readings in a row were clearly above the least.
func (s Stop) Memorising() bool { return s.Above >= patientReads }

// String says what to make of it.
func (s Stop) String() string {
	return fmt.Sprintf("views of one row were nearest after epoch %d (alignment %.3f) and part since: the network learns its rows by heart, "+
		"and earlier checkpoints are probably worth more; more augmentation, more rows or fewer epochs help", s.Epoch+1, s.Least)
}
