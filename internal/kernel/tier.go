package kernel

import "os"

// A tier is one implementation of the inner loops. The vector loops are only
// called with whole vectors of lanes elements; their plain Go forms, which
// are also their specification, do the rest.
type tier struct {
	name   string
	lanes  int
	mr, nr int // tile of the micro-kernels

	row, rowHalf func(c []float32, cOff []int, a []float32, aOff []int, b []float32, tiles, runs, runLen, runStride, bGap int, acc bool, ahead []float32, step int)
	col, colHalf func(c []float32, ldc int, a []float32, iOff, pairs []int, b []float32, tiles, k int, acc bool, ahead []float32, step int)
	gatherRows   func(dst, src []float32, ld, rows int)
	splitRows    func(dst []float32, tile int, src []float32, ld, tiles, rows int)
	transpose8   func(dst []float32, dstStride int, src []float32, srcStride, blocks int)
	finish       func(y, add, bias []float32, rows, c int, floor float32)

	dot, sqDist func(a, b []float32) float32
	axpy        func(dst []float32, s float32, x []float32)
	exp         func(dst, x []float32)
	expSum      func(a, h, e []float32, alpha, beta, gamma float32) (sum, largest float32)
	relu        func(y, x []float32)
	reluGrad    func(dx, dy, y []float32)
	leaky       func(y, x []float32, slope float32)
	leakyGrad   func(dx, dy, y []float32, slope float32)

	dotDoubles   func(a, b []float32) float64
	scaleDoubles func(z, x []float32, s float64)
	tangent      func(dx, dz, z []float32, dot, inverse float32)

	columnSums          func(sum []float64, x []float32, rows, c int)
	columnMoments       func(sum, sq []float64, x []float32, rows, c int)
	columnGrads         func(sum, dot []float64, dy, x, mean []float32, rows, c int)
	columnGradsMasked   func(sum, dot []float64, d, dy, x, y, mean []float32, rows, c int)
	columnGradsReLU     func(sum, dot []float64, dy, x, mean, scale, beta []float32, rows, c int)
	addDoubles          func(dst, x []float64)
	normColumns         func(y, x, mean, scale, shift []float32, rows, c int, floor float32)
	normColumnsAdd      func(y, x, add, mean, scale, shift []float32, rows, c int, floor float32)
	normColumnsGrad     func(dx, dy, x, mean, scale, slope, shift []float32, rows, c int)
	normColumnsGradReLU func(dx, dy, x, mean, scale, beta, slope, shift []float32, rows, c int)

	windowSums      func(dst, src []float32, channels, count, dstStep, srcStep, height, width, rowStep, colStep int, scale float32)
	windowMax       func(y, x []float32, channels, count, dstStep, srcStep, height, width, rowStep, colStep int)
	windowMaxPlaces func(y []float32, arg []uint8, x []float32, channels, count, dstStep, srcStep, height, width, rowStep, colStep, place, placeCol, placeRow int)
	windowPick      func(dx, dy []float32, arg []uint8, channels, count, dstStep, srcStep, height, width, rowStep, colStep, place, placeCol, placeRow int)

	sgd      func(w, g []float32, lr, decay float32)
	momentum func(w, g, v []float32, lr, mu, decay, a, b float32)
	adamW    func(w, g, m, v []float32, lr, beta1, beta2, eps, decay, c1, c2 float32)

	scan scanKernels

	fma func(x []float32, rounds int) // peak.go

	lerp func(dst, a, b []float32, f float32) // views.go
	tint func(dst, x, table []float32, lo, hi float32)

	winograd *winogradTier

	kSeq   []int // 0, 0, mr, nr, 2 mr, 2 nr, ...: a packed block of A and a panel of B, for col
	rowSeq []int // 0, nr, 2 nr, ...: a tile in scratch memory, for row
}

var genericTier = &tier{
	name: "generic", lanes: 1, mr: 2, nr: 4,
	row: rowGeneric, rowHalf: rowHalfGeneric, col: colGeneric, colHalf: colHalfGeneric,
	gatherRows: gatherRowsGeneric, splitRows: splitRowsGeneric, transpose8: transpose8Generic, finish: finishGeneric,
	dot: dotGeneric, sqDist: sqDistGeneric, axpy: axpyGeneric, exp: expGeneric, expSum: expSumGeneric,
	relu: reluGeneric, reluGrad: reluGradGeneric, leaky: leakyGeneric, leakyGrad: leakyGradGeneric,
	dotDoubles: dotDoublesGeneric, scaleDoubles: scaleDoublesGeneric, tangent: tangentGeneric,
	columnSums: columnSumsGeneric, columnMoments: columnMomentsGeneric, addDoubles: addDoublesGeneric,
	columnGrads: columnGradsGeneric, columnGradsMasked: columnGradsMaskedGeneric, columnGradsReLU: columnGradsReLUGeneric,
	normColumns: normColumnsGeneric, normColumnsAdd: normColumnsAddGeneric,
	normColumnsGrad: normColumnsGradGeneric, normColumnsGradReLU: normColumnsGradReLUGeneric,
	windowSums: windowSumsGeneric, windowMax: windowMaxGeneric, windowMaxPlaces: windowMaxPlacesGeneric, windowPick: windowPickGeneric,
	sgd: sgdGeneric, momentum: momentumGeneric, adamW: adamWGeneric,
	scan:     genericScans,
	fma:      fmaGeneric,
	lerp:     lerpGeneric,
	tint:     tintGeneric,
	winograd: winogradGeneric,
}

// tiers lists what this machine can run, best first.
var tiers = append(machineTiers(), genericTier)

// active is the tier in use.
var active = chooseTier(os.Getenv("NAT_KERNEL"))

// chooseTier returns the tier of that name or, if there is none, the best.
func chooseTier(name string) *tier {
	chosen := tiers[0]
	for _, t := range tiers {
		t.kSeq, t.rowSeq = pairs(kBlock, t.mr, t.nr), sequence(t.mr, t.nr)
		if t.name == name {
			chosen = t
		}
	}
	return chosen
}

// sequence returns 0, step, ..., (n-1) step.
func sequence(n, step int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = i * step
	}
	return s
}

// pairs returns 0, 0, a, b, 2 a, 2 b, ... of n pairs.
func pairs(n, a, b int) []int {
	s := make([]int, 0, 2*n)
	for i := range n {
		s = append(s, i*a, i*b)
	}
	return s
}

// Tier names the instructions in use: "avx512", "avx2" or "generic".
func Tier() string { return active.name }
