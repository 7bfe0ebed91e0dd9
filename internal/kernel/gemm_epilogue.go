package kernel

import "math"

// Epilogue is what a product does to its output y, rows x columns, while that
// is in cache: y = max(y + Bias + Add, 0), or as much of it as is asked for.
// The columns of a convolution are its output channels, its rows the pixels.
type Epilogue struct {
	Bias []float32 // added to every row; nil: none
	Add  []float32 // of the shape of y, added to it; nil: none
	ReLU bool      // then max(y, 0)

	// Mean and Variance, if not nil, receive the mean and the biased variance
	// of each column of the product, for a batch norm that follows; Bias, Add
	// and ReLU must then be unset.
	Mean, Variance []float32
}

// epilogue is the Epilogue of the product in progress. An item of work calls
// apply on the block of the output that it has finished.
type epilogue struct {
	Epilogue
	y       []float32
	rows, c int
	moments []float64 // per part: sums and sums of squares of the columns
	zeros   []float32 // stands for a bias that is not there
}

// start checks what is to be done to y, rows x c, in parts blocks of rows.
// The moments of the parts are added up in their order.
func (e *epilogue) start(todo Epilogue, y []float32, rows, c, parts int) {
	if todo.Bias != nil {
		needColumns(c, todo.Bias)
	}
	if todo.Add != nil {
		need(todo.Add, rows*c)
	}
	*e = epilogue{Epilogue: todo, y: y, rows: rows, c: c, moments: e.moments, zeros: e.zeros}
	if len(e.zeros) < c {
		e.zeros = make([]float32, c)
	}
	if todo.Mean == nil && todo.Variance == nil {
		return
	}
	if todo.Bias != nil || todo.Add != nil || todo.ReLU {
		panic("kernel: moments of an output that is changed after the product")
	}
	if rows < 1 {
		panic("kernel: batch norm needs rows to take statistics of")
	}
	needColumns(c, todo.Mean, todo.Variance)
	e.moments = grow(e.moments, parts*2*c)
}

// idle reports whether apply has nothing to do.
func (e *epilogue) idle() bool { return e.Mean == nil && e.Bias == nil && e.Add == nil && !e.ReLU }

// apply finishes columns [j0, j1) of rows [row, row+rows), which are columns
// of that part. It may run in several goroutines, for different blocks.
func (e *epilogue) apply(t *tier, part, row, rows, j0, j1 int) {
	if e.idle() || rows < 1 || j0 >= j1 {
		return
	}
	first := row*e.c + j0
	y, whole := e.y[first:], t.whole(j1-j0)
	if e.Mean != nil {
		sum := e.moments[part*2*e.c:]
		sum, sq := sum[j0:j1], sum[e.c+j0:e.c+j1]
		if whole > 0 {
			t.columnMoments(sum[:whole], sq[:whole], y, rows, e.c)
		}
		columnMomentsGeneric(sum[whole:], sq[whole:], y[whole:], rows, e.c)
		return
	}
	var add, rest []float32
	if e.Add != nil {
		add = e.Add[first:]
		rest = add[whole:]
	}
	bias, floor := e.bias(j0, j1), float32(math.Inf(-1))
	if e.ReLU {
		floor = 0
	}
	if whole > 0 {
		t.finish(y, add, bias[:whole], rows, e.c, floor)
	}
	if whole < len(bias) {
		finishGeneric(y[whole:], rest, bias[whole:], rows, e.c, floor)
	}
}

// bias returns the bias of columns [j0, j1).
func (e *epilogue) bias(j0, j1 int) []float32 {
	if e.Bias == nil {
		return e.zeros[j0:j1]
	}
	return e.Bias[j0:j1]
}

// end adds up the moments and drops the caller's slices.
func (e *epilogue) end() {
	if e.Mean != nil {
		sums := sumPieces(e.moments, 2*e.c)
		setMoments(e.Mean, e.Variance, sums[:e.c], sums[e.c:], e.rows)
	}
	e.Epilogue, e.y = Epilogue{}, nil
}

// finishGeneric sets y = max(y + bias + add, floor) in the first len(bias)
// columns of rows x c; add may be empty.
func finishGeneric(y, add, bias []float32, rows, c int, floor float32) {
	for r := range rows {
		yr := y[r*c:][:len(bias)]
		for j, b := range bias {
			v := yr[j] + b
			if len(add) > 0 {
				v += add[r*c+j]
			}
			if v < floor {
				v = floor
			}
			yr[j] = v
		}
	}
}
