package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"nat/encoder"
	"nat/internal/bench"
)

func (a *app) benchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "measure what this machine can do, and how much of it nat uses",
		Long: `Measure the kernels and whole training steps on this machine. The peak, fused multiplications and additions
on registers alone, is measured in the same run, and every rate is given as a share of it. Flops are counted as if
every product and convolution were computed by its definition; a rate of Winograd's algorithms, which need fewer, is
called effective. Let nothing else run meanwhile.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			var names []string
			for _, c := range cmd.Commands() {
				names = append(names, "nat bench "+c.Name())
			}
			known := strings.Join(names, ", ")
			if len(args) > 0 {
				return usagef("%q cannot be measured; there are %s", args[0], known)
			}
			return usagef("what is to be measured? %s", known)
		},
	}
	cmd.AddCommand(a.benchGemmCommand(), a.benchConvCommand(), a.benchTrainCommand(), a.benchEmbedCommand(), a.benchAssignCommand())
	return cmd
}

// addSteps adds the flag for the number of repeats.
func addSteps(cmd *cobra.Command, steps *int, auto string) {
	cmd.Flags().IntVar(steps, "steps", 0, "repeats that medians are taken of (0: "+auto+")")
}

// benchProgress shows how far a measurement is.
func (a *app) benchProgress() bench.Progress {
	start := time.Now()
	return func(done, total int) {
		took := time.Since(start)
		a.progress.show(status{label: "bench", done: done, total: total, unit: "repeats",
			left: time.Duration(float64(took) / float64(done) * float64(total-done))}, false)
	}
}

// printMachine says what the figures above or below it are shares of.
func (a *app) printMachine(m bench.Machine, more string) {
	if m.Handoff > 0 {
		more += fmt.Sprintf(", %.0f ns from core to core", m.Handoff)
	}
	fmt.Fprintf(a.stdout, "peak %.0f GFLOP/s of float32, best %.0f (%s, %s)%s; medians of %s\n",
		m.Peak, m.Best, m.Kernel, plural(m.Threads, "thread"), more, plural(m.Steps, "repeat"))
}

func (a *app) benchGemmCommand() *cobra.Command {
	var o bench.GemmOptions
	var sizes string
	cmd := &cobra.Command{
		Use:     "gemm",
		Short:   "matrix products",
		Example: "  nat bench gemm\n  nat bench gemm --sizes 1024,256x1024x784 --workers 1",
		Args:    a.arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if o.Sizes, err = parseSizes(sizes); err != nil {
				return err
			}
			if err := o.Validate(); err != nil {
				return usagef("%v", err)
			}
			r, err := bench.Gemm(cmd.Context(), o, a.benchProgress())
			a.progress.clear()
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(r)
			}
			a.printGemm(r)
			return nil
		},
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().StringVar(&sizes, "sizes", "", "products to measure: MxNxK, or M for MxMxM, separated by commas (default: those of the presets)")
	addSteps(cmd, &o.Steps, "15")
	addWorkers(cmd, &o.Workers)
	return cmd
}

// parseSizes reads MxNxK,...; nothing stands for the default.
func parseSizes(list string) (sizes []bench.Size, err error) {
	if list == "" {
		return nil, nil
	}
	for word := range strings.SplitSeq(list, ",") {
		sides := strings.Split(strings.TrimSpace(word), "x")
		if len(sides) == 1 {
			sides = []string{sides[0], sides[0], sides[0]}
		}
		var n [3]int
		for i := range n {
			if len(sides) != len(n) {
				break
			}
			if n[i], err = strconv.Atoi(sides[i]); err != nil {
				break
			}
		}
		if len(sides) != len(n) || err != nil {
			return nil, usagef("--sizes %q: wants sizes such as 1024 or 256x1024x784, separated by commas", word)
		}
		sizes = append(sizes, bench.Size{M: n[0], N: n[1], K: n[2]})
	}
	return sizes, nil
}

func (a *app) printGemm(r *bench.GemmResult) {
	rows := make([][]string, len(r.Rows))
	for i, row := range r.Rows {
		rows[i] = []string{row.Name, milliseconds(row.Seconds), spread(row.Spread), fmt.Sprintf("%.1f", row.GFLOPS), percent(row.Fraction)}
	}
	table(a.stdout, []string{"M x N x K", "ms", "spread", "GFLOP/s", "of peak"}, rows, 1)
	a.printMachine(r.Machine, "")
}

func (a *app) benchConvCommand() *cobra.Command {
	var o bench.ConvOptions
	cmd := &cobra.Command{
		Use:   "conv",
		Short: "convolutions: forward, and the gradients to input and weights",
		Long: `Time every shape of convolution of a network in its three directions, by the definition (direct) and, where
one exists, by an algorithm of Winograd; + marks the one that training uses. Rows are named batch x height x width x channels - output channels,
kernel / stride and direction. GB/s is what moving input, weights and output once makes of the time; it stands beside
the rate of a copy for those marked *, in which moving takes over a quarter of what the arithmetic takes at the peak.`,
		Example: "  nat bench conv\n  nat bench conv --encoder dcgan32 --batch 64 --winograd=false",
		Args:    a.arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.Validate(); err != nil {
				return usagef("%v", err)
			}
			r, err := bench.Conv(cmd.Context(), o, a.benchProgress())
			a.progress.clear()
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(r)
			}
			a.printConv(r)
			return nil
		},
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVar(&o.Encoder, "encoder", "", "a preset with convolutions (default: resnet18, dcgan32 and convnet)")
	fs.IntVar(&o.Batch, "batch", 0, "images (0: 64 for resnet18 and alexnet, 256 for the others)")
	fs.IntVar(&o.Size, "size", 0, "side of the images in pixels (0: what the encoder is made for)")
	addWinograd(cmd, &o.Winograd)
	addSteps(cmd, &o.Steps, "9")
	addWorkers(cmd, &o.Workers)
	completeWords(cmd, "encoder", encoder.Presets()...)
	return cmd
}

// addWinograd adds the flag that forbids Winograd's algorithms.
func addWinograd(cmd *cobra.Command, winograd *bool) {
	cmd.Flags().BoolVar(winograd, "winograd", true, "allow Winograd's algorithms for convolutions")
}

func (a *app) printConv(r *bench.ConvResult) {
	var rows [][]string
	encoder := ""
	for _, row := range r.Rows {
		if row.Encoder != encoder {
			encoder = row.Encoder
			rows = append(rows, []string{encoder, "", "", "", "", "", "", "", "", "", ""})
		}
		algorithm, gflops, bound := row.Algorithm, fmt.Sprintf("%.1f", row.GFLOPS), ""
		if row.Effective {
			algorithm, gflops = row.Variant, gflops+" eff."
		}
		if row.MemoryBound {
			bound = "*"
		}
		if row.Chosen {
			algorithm += " +"
		}
		rows = append(rows, []string{"  " + row.Name, fmt.Sprint(row.Count), algorithm, milliseconds(row.Seconds), spread(row.Spread), gflops,
			percent(row.Fraction), fmt.Sprintf("%.1f", row.True), percent(row.TrueShare), fmt.Sprintf("%.1f", row.GBps), percent(row.CopyShare) + bound})
	}
	table(a.stdout, []string{"shape and direction", "times", "algorithm", "ms", "spread", "GFLOP/s", "of peak", "computed", "of peak", "GB/s", "of copy"}, rows, 1)
	fmt.Fprintln(a.stdout)
	rows = nil
	for _, t := range r.Totals {
		rows = append(rows, []string{fmt.Sprintf("%s, batch %d", t.Encoder, t.Batch), t.Direction, t.Algorithm, milliseconds(t.Seconds),
			fmt.Sprintf("%.1f", t.GFLOPS), percent(t.Fraction)})
	}
	table(a.stdout, []string{"all convolutions of a step", "direction", "algorithm", "ms", "GFLOP/s", "of peak"}, rows, 3)
	a.printMachine(r.Machine, fmt.Sprintf(", copy %.1f GB/s", r.Copy))
}

// networkFlags are those of the commands that measure a whole network.
func networkFlags(cmd *cobra.Command, o *bench.NetworkOptions) {
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVar(&o.Encoder, "encoder", "convnet", strings.Join(encoder.Presets(), ", "))
	fs.IntVar(&o.Batch, "batch", 0, "rows in a step (0: 256, and 64 for resnet18 and alexnet)")
	fs.IntVar(&o.Size, "size", 0, "side of the images in pixels (0: what the encoder is made for)")
	fs.IntVar(&o.Dim, "dim", 0, "dimension of the embedding (0: 64)")
	addWinograd(cmd, &o.Winograd)
	addSteps(cmd, &o.Steps, "as many as fit in five seconds, from 10 to 200")
	addWorkers(cmd, &o.Workers)
	completeWords(cmd, "encoder", encoder.Presets()...)
}

func (a *app) benchTrainCommand() *cobra.Command {
	o := bench.TrainOptions{}
	cmd := &cobra.Command{
		Use:   "train",
		Short: "whole training steps: forward, assignment, backward, optimiser",
		Long: `Time training steps of a network on random inputs that are in memory already: forward, assignment, backward,
and SGD with momentum. images/s counts every view.`,
		Example: "  nat bench train\n  nat bench train --encoder resnet18 --batch 64 --workers 2",
		Args:    a.arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.Validate(); err != nil {
				return usagef("%v", err)
			}
			r, err := bench.Train(cmd.Context(), o, a.benchProgress())
			a.progress.clear()
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(r)
			}
			a.printNetwork(&r.Network, fmt.Sprintf("%d x %s", r.Batch, plural(r.Views, "view")),
				"parts", fmt.Sprintf("forward %s, assignment %s, backward %s, optimiser %s",
					percent(r.Forward), percent(r.Assignment), percent(r.Backward), percent(r.Optimizer)))
			return nil
		},
	}
	networkFlags(cmd, &o.NetworkOptions)
	cmd.Flags().IntVar(&o.Views, "views", 1, "inputs of each row in a step")
	return cmd
}

func (a *app) benchEmbedCommand() *cobra.Command {
	o := bench.NetworkOptions{}
	cmd := &cobra.Command{
		Use:     "embed",
		Short:   "embedding with a trained network",
		Long:    "Time the inference of a network on random inputs that are in memory already.",
		Example: "  nat bench embed --encoder dcgan32",
		Args:    a.arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.Validate(); err != nil {
				return usagef("%v", err)
			}
			r, err := bench.Embed(cmd.Context(), o, a.benchProgress())
			a.progress.clear()
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(r)
			}
			a.printNetwork(&r.Network, fmt.Sprint(r.Batch))
			return nil
		},
	}
	networkFlags(cmd, &o)
	return cmd
}

// printNetwork prints the figures of a network, and more pairs of name and value.
func (a *app) printNetwork(n *bench.Network, batch string, more ...string) {
	computed := ""
	if n.Effective {
		computed = fmt.Sprintf(" (effective); computed %.0f GFLOP/s, %s", n.True, percent(n.TrueShare))
	}
	pairs(a.stdout, append([]string{
		"encoder", fmt.Sprintf("%s, input %s, d = %d, %s parameters", n.Encoder, n.Input, n.Dim, count(n.Parameters)),
		"batch", batch,
		"rate", fmt.Sprintf("%s images/s", count(int(n.ImagesPerSecond))),
		"step", fmt.Sprintf("%s ms, %s", milliseconds(n.Seconds), spread(n.Spread)),
		"arithmetic", fmt.Sprintf("%.1f MFLOP an image, %.0f GFLOP/s, %s of peak%s", float64(n.Flops)/1e6, n.GFLOPS, percent(n.Fraction), computed),
		"memory", fmt.Sprintf("%s, %.4g allocations a step", size(n.Bytes), n.Allocs),
	}, more...)...)
	a.printMachine(n.Machine, "")
}

func milliseconds(seconds float64) string { return fmt.Sprintf("%.3g", 1000*seconds) }

// spread writes the distance of the quartiles.
func spread(of float64) string { return fmt.Sprintf("+-%.1f%%", 100*of/2) }
