//go:build !purego

package kernel

import "golang.org/x/sys/cpu"

func machineTiers() []*tier {
	var t []*tier
	if cpu.X86.HasAVX512F && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VL && cpu.X86.HasFMA {
		t = append(t, avx512Tier)
	}
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA {
		t = append(t, avx2Tier)
	}
	return t
}

var avx512Tier = &tier{
	name: "avx512", lanes: 16, mr: 8, nr: 32,
	row: rowAVX512, rowHalf: rowHalfAVX512, col: colAVX512, colHalf: colHalfAVX512,
	gatherRows: gatherRowsAVX512, splitRows: splitRowsAVX512, transpose8: transpose8AVX2, finish: finishAVX512,
	dot: dotAVX512, sqDist: sqDistAVX512, axpy: axpyAVX512, exp: expAVX512, expSum: expSumAVX512,
	relu: reluAVX512, reluGrad: reluGradAVX512, leaky: leakyAVX512, leakyGrad: leakyGradAVX512,
	dotDoubles: dotDoublesAVX512, scaleDoubles: scaleDoublesAVX512, tangent: tangentAVX512,
	columnSums: columnSumsAVX512, columnMoments: columnMomentsAVX512, addDoubles: addDoublesAVX512,
	columnGrads: columnGradsAVX512, columnGradsMasked: columnGradsMaskedAVX512, columnGradsReLU: columnGradsReLUAVX512,
	normColumns: normColumnsAVX512, normColumnsAdd: normColumnsAddAVX512,
	normColumnsGrad: normColumnsGradAVX512, normColumnsGradReLU: normColumnsGradReLUAVX512,
	windowSums: windowSumsAVX512, windowMax: windowMaxAVX512, windowMaxPlaces: windowMaxPlacesAVX512, windowPick: windowPickAVX512,
	sgd: sgdAVX512, momentum: momentumAVX512, adamW: adamWAVX512,
	scan:     avx512Scans,
	fma:      fmaAVX512,
	lerp:     lerpAVX512,
	tint:     tintAVX512,
	winograd: winogradAVX512,
}

var avx2Tier = &tier{
	name: "avx2", lanes: 8, mr: 6, nr: 16,
	row: rowAVX2, rowHalf: rowHalfAVX2, col: colAVX2, colHalf: colHalfAVX2,
	gatherRows: gatherRowsAVX2, splitRows: splitRowsAVX2, transpose8: transpose8AVX2, finish: finishAVX2,
	dot: dotAVX2, sqDist: sqDistAVX2, axpy: axpyAVX2, exp: expAVX2, expSum: expSumAVX2,
	relu: reluAVX2, reluGrad: reluGradAVX2, leaky: leakyAVX2, leakyGrad: leakyGradAVX2,
	dotDoubles: dotDoublesAVX2, scaleDoubles: scaleDoublesAVX2, tangent: tangentAVX2,
	columnSums: columnSumsAVX2, columnMoments: columnMomentsAVX2, addDoubles: addDoublesAVX2,
	columnGrads: columnGradsAVX2, columnGradsMasked: columnGradsMaskedAVX2, columnGradsReLU: columnGradsReLUAVX2,
	normColumns: normColumnsAVX2, normColumnsAdd: normColumnsAddAVX2,
	normColumnsGrad: normColumnsGradAVX2, normColumnsGradReLU: normColumnsGradReLUAVX2,
	windowSums: windowSumsAVX2, windowMax: windowMaxAVX2, windowMaxPlaces: windowMaxPlacesAVX2, windowPick: windowPickAVX2,
	sgd: sgdAVX2, momentum: momentumAVX2, adamW: adamWAVX2,
	scan:     avx2Scans,
	fma:      fmaAVX2,
	lerp:     lerpAVX2,
	tint:     tintAVX2,
	winograd: winogradAVX2,
}
