// Package nat learns representations of images and vectors without labels, by
// predicting noise: every training point owns a fixed random target on the unit
// sphere, an encoder is trained to hit it, and a permutation decides, batch by
// batch, which point owns which target.
//
//	sum, err := nat.Train(ctx, nat.Options{Data: "photos"}, nil)
//	run, err := nat.OpenRun(sum.Run)
//	model, err := run.Model(0)
//
// Train writes a run directory; everything else reads one. The packages below
// are the parts: dataset, encoder, assign, objective, sphere, probe, index.
package nat
