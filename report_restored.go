package nat

import (
	"context"
	"fmt"
	"image"
	"path/filepath"

	"nat/dataset"
	"nat/encoder"
	"nat/objective"
)

// ReportRestored shows what the decoder of a run of objective vae makes of codes.
type ReportRestored struct {
	Note  string
	Pairs []ReportPair
}

// ReportPair is a row as the network sees it, and as the decoder restores it from the
// mean of its code.
type ReportPair struct{ Original, Restored ReportItem }

// restored encodes and decodes rows of images; nil for vectors and for runs without a
// decoder.
func (m *Model) restored(ctx context.Context, run *Run, a asking, last *Event) (*ReportRestored, error) {
	if run.Record.Decoder == nil || a.set.Vector() || len(a.queries) == 0 {
		return nil, nil
	}
	decoder, err := m.decoder(run)
	if err != nil {
		return nil, err
	}
	n, size := len(a.queries), m.Input.Size()
	x := make([]float32, n*size)
	if err := dataset.Plain(ctx, a.set, m.Norm, m.Input, a.queries, x, m.workers); err != nil {
		return nil, err
	}
	codes, _, err := m.Network.Output(x, n, encoder.Mean)
	if err != nil {
		return nil, err
	}
	y := decoder.Forward(codes, n, false)
	r := &ReportRestored{Note: fmt.Sprintf("%d rows, %s: the image, and below it what the decoder makes of the mean of its code, %d numbers.",
		n, a.words, m.Network.Dim())}
	if last != nil && last.Stats != nil && last.SquaredError != nil {
		r.Note += fmt.Sprintf(" In the last epoch, with noise on the codes, the mean squared error was %.3f of the variance of pixels.", *last.SquaredError)
	}
	for i, row := range a.queries {
		item := ReportItem{ID: a.set.ID(row), Class: a.set.Label(row)}
		pair := ReportPair{item, item}
		pair.Original.Image = m.pixels(x[i*size : (i+1)*size])
		pair.Restored.Image = m.pixels(y[i*size : (i+1)*size])
		r.Pairs = append(r.Pairs, pair)
	}
	return r, nil
}

// decoder loads the decoder of the checkpoint that the model is of.
func (m *Model) decoder(run *Run) (*encoder.Network, error) {
	name := filepath.Base(m.Checkpoint)
	snap, err := loadCheckpoint(run.Dir, name, assignmentFile)
	if err != nil {
		return nil, failf(ErrArtefact, "%s: checkpoint %s: its decoder cannot be read: %w", run.Dir, name, err)
	}
	o := &run.Record.Options
	vae, err := objective.NewVAE(*run.Record.Decoder, objective.VAEOptions{Seed: o.Seed, Views: o.Views, Beta: o.Beta}, m.pool)
	if err == nil {
		err = vae.SetState(snap.assignment)
	}
	if err != nil {
		return nil, failf(ErrArtefact, "%s: checkpoint %s: %w", run.Dir, name, err)
	}
	return vae.Decoder(), nil
}

// pixels draws an input of the network, or what is to be one, with its normalisation
// undone.
func (m *Model) pixels(x []float32) image.Image {
	y := make([]float32, len(x))
	for i, v := range x {
		c := i % m.Input.C
		y[i] = v*m.Norm.Std[c] + m.Norm.Mean[c]
	}
	return thumbnail(y, m.Input)
}
