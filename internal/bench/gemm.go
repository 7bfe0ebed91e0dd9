package bench

import (
	"context"
	"errors"
	"fmt"

	"nat/internal/kernel"
)

// Size is the shape of a matrix product: C is M x N, and K is summed over.
type Size struct{ M, N, K int }

// String returns MxNxK.
func (s Size) String() string { return fmt.Sprintf("%dx%dx%d", s.M, s.N, s.K) }

// Sizes are what [Gemm] measures by default: the usual square ones, and the
// dense layers of the presets mlp, convnet and dcgan32 at batch 256.
func Sizes() []Size {
	return []Size{{1024, 1024, 1024}, {512, 512, 512}, {2048, 2048, 2048},
		{256, 1024, 784}, {256, 1024, 1024}, {256, 256, 2048}, {256, 1024, 4096}}
}

// maxSize bounds each side of a product, so that operands fit a machine.
const maxSize = 16384

// GemmOptions of [Gemm]; the zero value measures [Sizes] with all processors.
type GemmOptions struct {
	Sizes   []Size // nil: Sizes()
	Steps   int    // repeats; 0: 15
	Workers int    // 0: all processors
}

// Validate reports everything that is wrong.
func (o GemmOptions) Validate() error {
	errs := checkCommon(o.Steps, o.Workers)
	for _, s := range o.Sizes {
		if min(s.M, s.N, s.K) < 1 || max(s.M, s.N, s.K) > maxSize {
			errs = append(errs, fmt.Errorf("size %v: sides from 1 to %d are possible", s, maxSize))
		}
	}
	return errors.Join(errs...)
}

// Bounds of what may be asked for.
const (
	maxSteps   = 1_000_000
	maxWorkers = 4096
)

func checkCommon(steps, workers int) (errs []error) {
	if steps < 0 || steps > maxSteps {
		errs = append(errs, fmt.Errorf("steps %d: must be from 0 to %d", steps, maxSteps))
	}
	if workers < 0 || workers > maxWorkers {
		errs = append(errs, fmt.Errorf("workers %d: must be from 0 to %d", workers, maxWorkers))
	}
	return errs
}

// GemmRow is one product. Name is MxNxK for C = A B; NT, TN and TT behind it
// say which operand is stored transposed.
type GemmRow struct {
	Name      string `json:"name"`
	Algorithm string `json:"algorithm"` // direct
	Transpose string `json:"transpose"` // NN, NT, TN, TT
	Flops     int64  `json:"flops"`
	Timing
	GFLOPS   float64 `json:"gflops"`
	Fraction float64 `json:"fraction_of_peak"`
}

// GemmResult is what [Gemm] measured.
type GemmResult struct {
	Rows []GemmRow `json:"rows"`
	Machine
}

// Gemm times matrix products, each with every combination of transposes.
func Gemm(ctx context.Context, o GemmOptions, progress Progress) (*GemmResult, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if o.Sizes == nil {
		o.Sizes = Sizes()
	}
	if o.Steps == 0 {
		o.Steps = 15
	}
	b := &bench{pool: kernel.NewPool(o.Workers)}
	defer b.pool.Close()
	var rows []GemmRow
	var loads []*load
	operands := newOperands(o.Sizes)
	for _, s := range o.Sizes {
		for _, transpose := range []string{"NN", "NT", "TN", "TT"} {
			row := GemmRow{Name: s.String(), Algorithm: "direct", Transpose: transpose, Flops: 2 * int64(s.M) * int64(s.N) * int64(s.K)}
			if transpose != "NN" {
				row.Name += " " + transpose
			}
			rows = append(rows, row)
			loads = append(loads, &load{run: operands.product(b.pool, s, transpose)})
		}
	}
	if err := b.measure(ctx, loads, o.Steps, false, progress); err != nil {
		return nil, err
	}
	m := b.machine(o.Steps)
	for i := range rows {
		rows[i].Timing = loads[i].timing()
		rows[i].GFLOPS = rate(rows[i].Flops, rows[i].Seconds)
		rows[i].Fraction = rows[i].GFLOPS / m.Peak
	}
	return &GemmResult{Rows: rows, Machine: m}, nil
}

// rate is billions of operations a second.
func rate(flops int64, seconds float64) float64 { return float64(flops) / seconds / 1e9 }

// operands are memory for the largest of several products.
type operands struct{ c, a, b []float32 }

func newOperands(sizes []Size) operands {
	var c, a, b int
	for _, s := range sizes {
		c, a, b = max(c, s.M*s.N), max(a, s.M*s.K), max(b, s.K*s.N)
	}
	return operands{make([]float32, c), numbers(a, 0), numbers(b, 1)}
}

func (o operands) product(p *kernel.Pool, s Size, transpose string) func() {
	transA, transB := transpose[0] == 'T', transpose[1] == 'T'
	lda, ldb := s.K, s.N
	if transA {
		lda = s.M
	}
	if transB {
		ldb = s.K
	}
	return func() { p.Gemm(o.c, s.N, o.a, lda, transA, o.b, ldb, transB, s.M, s.N, s.K, false) }
}
