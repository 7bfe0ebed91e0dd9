// Package rng gives every purpose its own stream of random numbers, derived
// from one seed:
//
//	r := rng.New(seed, "augment", epoch, row, view)
//	x := r.Float64()
//
// A stream is a pure function of (seed, name, indices). Nothing is shared
// between streams, so the numbers one consumer sees cannot depend on how many
// others ran before it, on how many workers there are, or on where a run was
// interrupted: the state to save in a checkpoint is the seed and a position.
package rng

import (
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
)

// Names of the streams a run draws from. Packages that need another purpose
// add its name here, so that two purposes never share one by accident.
const (
	Targets   = "targets"   // the N fixed points on the sphere
	Shuffle   = "shuffle"   // order of the rows in an epoch; index: epoch
	Augment   = "augment"   // views of a row; indices: epoch, row, view
	Init      = "init"      // weights before training; index: parameter
	Noise     = "noise"     // dropout, noise channels; index: step
	Channel   = "channel"   // noise on the embeddings of a training step; indices: step, chunk of rows
	Posterior = "posterior" // codes drawn from what a variational encoder gives; indices: step, chunk of rows
	Decoder   = "decoder"   // seed of the network of a decoder
	Head      = "head"      // weights of an objective's own decoder before training
	Assign    = "assign"    // starting permutation
	Probe     = "probe"     // evaluation: initial weights, batches, splits
	Axes      = "axes"      // of a random projection
	Map       = "map"       // two-dimensional map of a report
	Sample    = "sample"    // rows that a report shows
	Landscape = "landscape" // random points and targets; index: instance
	Measure   = "measure"   // fresh targets and uniform samples that embeddings are measured by; indices: purpose, draw
	Bench     = "bench"     // operands of measurements; index: operand
)

// New returns the stream called name at the given indices under seed.
func New(seed uint64, name string, indices ...uint64) *rand.Rand {
	return rand.New(rand.NewPCG(Seed(seed, name, indices...)))
}

// Seed returns the two seeds of the PCG generator of a stream, for a caller who
// visits many streams and wants to reuse one generator: New(...) is
// rand.New(rand.NewPCG(Seed(...))).
func Seed(seed uint64, name string, indices ...uint64) (uint64, uint64) {
	buf := make([]byte, 0, 64)
	buf = binary.LittleEndian.AppendUint64(buf, seed)
	buf = append(buf, name...)
	buf = append(buf, 0) // ends the name, so that indices cannot be read as part of it
	for _, i := range indices {
		buf = binary.LittleEndian.AppendUint64(buf, i)
	}
	sum := sha256.Sum256(buf)
	return binary.LittleEndian.Uint64(sum[:8]), binary.LittleEndian.Uint64(sum[8:16])
}
