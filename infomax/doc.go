// Package infomax measures the information that a representation keeps, counted
// through a noisy channel: how well a data point can be told from its
// embedding after Gaussian noise of a given size has been added to it.
//
//	est, err := infomax.Information(ctx, pool, z, n, d, []float64{.1, .2, .5}, seed)
//	// est[1].Nats of at most est[1].Ceiling = log n; est[1].Recovered of the points are told right
//	c := infomax.Capacity(d, .2) // the most that any encoder to S^(d-1) can keep
//
// Embeddings are row-major float32, n rows of d; they need not be of unit length,
// though capacity is that of the unit sphere. Noise is the deviation sigma per
// coordinate, in the same unit. Information is in nats. Equation numbers are
// those of docs/math.md.
package infomax
