package nat

import (
	"fmt"
	"runtime"

	"nat/dataset"
	"nat/encoder"
	"nat/probe"
)

// together embeds the rows that probes are fitted to and tested on for all layers
// in one pass, since most of the work of one is that of the deeper ones as well. It
// returns nothing for one layer, or if not all fit in the memory of one
// representation: then each is embedded when its turn comes.
func (ev *evaluation) together(name string, net *encoder.Network) (map[string]probe.Data, error) {
	total := 0
	for _, layer := range ev.opt.Layers {
		width, err := net.Width(layer)
		if err != nil {
			return nil, err
		}
		total += width
	}
	if len(ev.opt.Layers) < 2 || len(ev.train.rows) > evalTrainBytes/4/total || len(ev.test.rows) > evalTestBytes/4/total {
		return nil, nil
	}
	runtime.GC() // the last representations go before these come
	train, err := ev.embedAll(name, net, ev.train.set, ev.train.rows)
	if err != nil {
		return nil, err
	}
	test, err := ev.embedAll(name, net, ev.testSet(), ev.test.rows)
	if err != nil {
		return nil, err
	}
	all := map[string]probe.Data{}
	for i, layer := range ev.opt.Layers {
		data := ev.data(len(train[i]) / len(ev.train.rows))
		data.Train, data.Test = train[i], test[i]
		all[layer] = data
	}
	return all, nil
}

// embedAll returns the values of every layer for rows of set.
func (ev *evaluation) embedAll(name string, net *encoder.Network, set *dataset.Set, rows []int) ([][]float32, error) {
	all := make([][]float32, len(ev.opt.Layers))
	progress, done := ev.progress(fmt.Sprintf("embedding: %s, %d layers", name, len(all))), 0
	err := ev.model.each(ev.ctx, set, rows, func(part []int, x []float32) error {
		outs, err := net.Outputs(x, len(part), ev.opt.Layers)
		if err != nil {
			return err
		}
		for i, z := range outs {
			if all[i] == nil {
				all[i] = make([]float32, 0, len(z)/len(part)*len(rows))
			}
			all[i] = append(all[i], z...)
		}
		done += len(part)
		progress(done, len(rows))
		return nil
	})
	return all, err
}
