package assign

import (
	"errors"
	"fmt"
	"math"
)

// ErrInfeasible is wrapped by the error of a matrix whose forbidden pairs leave
// no complete assignment: see [InfeasibleError].
var ErrInfeasible = errors.New("no complete assignment avoids the forbidden pairs")

// EntryError names the entry of the input that is no number to compute with.
type EntryError struct {
	In       string // "cost matrix", "points", "targets" or "potentials"
	Row, Col int    // of the matrix; point and coordinate of points and targets
	Value    float64
}

func (e *EntryError) Error() string {
	return fmt.Sprintf("assign: %s: row %d, column %d is %v; want a finite number%s", e.In, e.Row, e.Col, e.Value, e.hint())
}

func (e *EntryError) hint() string {
	switch {
	case (e.In == "cost matrix" || e.In == "potentials") && !math.IsNaN(e.Value) && !math.IsInf(e.Value, 0):
		return fmt.Sprintf(" below %g in magnitude", maxEntry)
	case e.In == "cost matrix":
		return " (+Inf forbids a pair)"
	}
	return ""
}

// ShapeError is an input whose length does not fit the number of rows and columns.
type ShapeError struct {
	In         string // "cost matrix", "points", "targets", "start" or "potentials"
	Rows, Cols int    // asked for; of points and targets, their number and dimension
	Len        int    // entries there are
}

func (e *ShapeError) Error() string {
	return fmt.Sprintf("assign: %s: %d numbers do not make %d rows of %d", e.In, e.Len, e.Rows, e.Cols)
}

// checkShape returns a *ShapeError unless there are rows x cols entries.
func checkShape(in string, rows, cols, entries int) error {
	if rows < 0 || cols < 0 || rows > math.MaxInt32 || cols > math.MaxInt32 || cols > 0 && rows > entries/cols {
		return &ShapeError{in, rows, cols, entries}
	}
	return nil
}

// StartError is a pairing to begin with that is none: Row has a column that does not
// exist, or that a row before it has too.
type StartError struct {
	Row, Col int
	Cols     int // columns there are
}

func (e *StartError) Error() string {
	if e.Col >= 0 && e.Col < e.Cols {
		return fmt.Sprintf("assign: start: row %d is paired with column %d, and so is a row before it", e.Row, e.Col)
	}
	return fmt.Sprintf("assign: start: row %d is paired with column %d; want 0 to %d, and none twice", e.Row, e.Col, e.Cols-1)
}

// InfeasibleError proves that there is no complete assignment. The longer of Rows and
// Cols are permitted with the shorter only, which are too few for them. It wraps
// [ErrInfeasible].
type InfeasibleError struct {
	Rows, Cols []int32
}

func (e *InfeasibleError) Error() string {
	many, few, sides := e.Rows, e.Cols, [2]string{"row", "column"}
	if len(e.Cols) > len(e.Rows) {
		many, few, sides = e.Cols, e.Rows, [2]string{"column", "row"}
	}
	return fmt.Sprintf("assign: %s permitted with %s only: %v", naming(sides[0], many)+" may be", naming(sides[1], few), ErrInfeasible)
}

// Unwrap returns ErrInfeasible.
func (e *InfeasibleError) Unwrap() error { return ErrInfeasible }

// naming names rows or columns, not more than a few of them.
func naming(side string, which []int32) string {
	const few = 6
	switch len(which) {
	case 0:
		return "no " + side
	case 1:
		return fmt.Sprintf("%s %d", side, which[0])
	}
	text := fmt.Sprintf("%d %ss (", len(which), side)
	for k, i := range which[:min(few, len(which))] {
		if k > 0 {
			text += ", "
		}
		text += fmt.Sprint(i)
	}
	if len(which) > few {
		text += ", ..."
	}
	return text + ")"
}
