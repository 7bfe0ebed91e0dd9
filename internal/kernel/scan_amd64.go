//go:build !purego

package kernel

var avx512Scans = scanKernels{
	rows:      8,
	fixedTile: fixedTileAVX512, minTwo: minTwoAVX512, relax: relaxAVX512,
	classMinimaInt32: classMinimaInt32AVX512, classMinimaFloat64: classMinimaFloat64AVX512,
	belowInt32: belowInt32AVX512, belowFloat64: belowFloat64AVX512,
	sqDist64:   sqDist64AVX512,
	lowerInt32: lowerInt32AVX512, lowerFloat64: lowerFloat64AVX512,
}

var avx2Scans = scanKernels{
	rows:      4,
	fixedTile: fixedTileAVX2, minTwo: minTwoAVX2, relax: relaxAVX2,
	classMinimaInt32: classMinimaInt32AVX2, classMinimaFloat64: classMinimaFloat64AVX2,
	belowInt32: belowInt32AVX2, belowFloat64: belowFloat64AVX2,
	sqDist64:   sqDist64AVX2,
	lowerInt32: lowerInt32AVX2, lowerFloat64: lowerFloat64AVX2,
}
