package nat

import (
	"fmt"

	"nat/encoder"
)

// addDecoder describes the decoder that objective vae needs.
func (p *Plan) addDecoder() error {
	if p.Options.objectiveName() != objectiveVAE {
		return nil
	}
	d, err := encoder.Decoder(p.Encoder)
	if err != nil {
		return &kindError{ErrUsage, err}
	}
	p.Decoder = &d
	return nil
}

// checkDecoder wants the run of a vae, and no other, to have a decoder, from the code
// that its encoder gives to the rows it was trained on.
func (r *Record) checkDecoder() error {
	d := r.Decoder
	if needed := r.Options.objectiveName() == objectiveVAE; needed != (d != nil) {
		return fmt.Errorf("objective %s has a decoder: %v; want %v", r.Options.objectiveName(), d != nil, needed)
	}
	if d == nil {
		return nil
	}
	if err := d.Validate(); err != nil {
		return err
	}
	if code := r.Encoder.Dim(); d.Input.Size() != code || d.Dim() != r.Encoder.Input.Size() || r.Encoder.TrainDim() != 2*code {
		return fmt.Errorf("the decoder takes %d values to %d, and the encoder %d to %d, of which training sees %d: they do not fit",
			d.Input.Size(), d.Dim(), r.Encoder.Input.Size(), code, r.Encoder.TrainDim())
	}
	return nil
}

func (p *Plan) decoderParams() int {
	if p.Decoder == nil {
		return 0
	}
	return p.Decoder.ParamCount()
}

// decoderBytes is the memory of training the decoder: itself, the state of its optimizer,
// and the gradient of what it gives.
func (p *Plan) decoderBytes(rows int) int64 {
	if p.Decoder == nil {
		return 0
	}
	return p.Decoder.MemoryBytes(rows, true) + 8*int64(p.decoderParams()) + 4*int64(rows*p.Decoder.Dim())
}
