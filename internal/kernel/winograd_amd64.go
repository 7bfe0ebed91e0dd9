//go:build !purego

package kernel

var winogradAVX512 = &winogradTier{
	lanes: 16, mr: 8,
	row: winoRowAVX512, col: winoColAVX512, copy: winoCopyAVX512,
	transforms: [...]winogradTransforms{
		{winoInput2x3AVX512, winoFilter2x3AVX512, winoOutput2x3AVX512, winoFilter3x2AVX512, winoOutput3x2AVX512},
		{winoInput4x3AVX512, winoFilter4x3AVX512, winoOutput4x3AVX512, winoFilter3x4AVX512, winoOutput3x4AVX512},
		{winoInput2x2AVX512, winoFilter2x2AVX512, winoOutput2x2AVX512, winoFilter2x2AVX512, winoOutput2x2AVX512},
		{winoInput4x2AVX512, winoFilter4x2AVX512, winoOutput4x2AVX512, winoFilter2x4AVX512, winoOutput2x4AVX512},
		{winoInputStridedAVX512, winoFilterStridedAVX512, winoOutputStridedAVX512, winoGradFilterStridedAVX512, winoGradOutputStridedAVX512},
	},
}

var winogradAVX2 = &winogradTier{
	lanes: 8, mr: 6,
	row: winoRowAVX2, col: winoColAVX2, copy: winoCopyAVX2,
	transforms: [...]winogradTransforms{
		{winoInput2x3AVX2, winoFilter2x3AVX2, winoOutput2x3AVX2, winoFilter3x2AVX2, winoOutput3x2AVX2},
		{winoInput4x3AVX2, winoFilter4x3AVX2, winoOutput4x3AVX2, winoFilter3x4AVX2, winoOutput3x4AVX2},
		{winoInput2x2AVX2, winoFilter2x2AVX2, winoOutput2x2AVX2, winoFilter2x2AVX2, winoOutput2x2AVX2},
		{winoInput4x2AVX2, winoFilter4x2AVX2, winoOutput4x2AVX2, winoFilter2x4AVX2, winoOutput2x4AVX2},
		{winoInputStridedAVX2, winoFilterStridedAVX2, winoOutputStridedAVX2, winoGradFilterStridedAVX2, winoGradOutputStridedAVX2},
	},
}
