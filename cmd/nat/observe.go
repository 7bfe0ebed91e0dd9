package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"nat"
)

// observe shows the events of a training, an evaluation or both on the meter.
func (a *app) observe(e nat.Event) {
	switch e.Kind {
	case nat.EventScan:
		a.progress.show(status{label: "scan", done: e.Done, total: e.Total, unit: "rows"}, false)
	case nat.EventStart:
		a.progress.note("%s", startLine(e))
	case nat.EventStep:
		a.progress.show(stepStatus(e), false)
	case nat.EventEpoch:
		a.progress.show(epochStatus(e), worthKeeping(e))
	case nat.EventWarning:
		a.warn([]string{e.Message})
	case nat.EventAssign:
		a.progress.show(status{label: e.Message, done: e.Done, total: e.Total, unit: "rows"}, false)
	case nat.EventProbe:
		a.progress.show(status{label: "probe: " + e.Message, done: e.Done, total: e.Total}, false)
	}
}

func startLine(e nat.Event) string {
	from := ""
	if e.Step > 0 {
		from = fmt.Sprintf(", going on from step %s", count(e.Step))
	}
	line := fmt.Sprintf("training for %s, %s steps%s", plural(e.Epochs, "epoch"), count(e.Steps), from)
	if e.Message != "" {
		line += ": " + e.Message
	}
	return line
}

// stepStatus is the redrawn line: loss and what re-assignment won of it, the cosine beside the level of chance.
func stepStatus(e nat.Event) status {
	s := status{label: fmt.Sprintf("epoch %d/%d", e.Epoch+1, e.Epochs), done: e.Step, total: e.Steps, unit: "steps", left: seconds(e.ETA)}
	if e.Stats != nil {
		s.fields = stepFields(e.Stats)
	}
	s.fields = append(s.fields, rate(e)...)
	return s
}

func stepFields(s *nat.Stats) []string {
	if s.Pairing == nil {
		return guessFields(s)
	}
	return []string{
		fmt.Sprintf("loss %.3f (-%.3f by re-assigning %.0f %%)", s.Loss, s.WonByReassignment, 100*s.Reassigned),
		fmt.Sprintf("cos %.2f/%.2f", s.Cosine, s.Level),
	}
}

func epochFields(s *nat.Stats) []string {
	if s.Pairing == nil {
		return guessFields(s)
	}
	return []string{
		fmt.Sprintf("loss %.3f", s.Loss),
		fmt.Sprintf("cos %.2f/%.2f", s.Cosine, s.Level),
		fmt.Sprintf("%.0f %% re-assigned", 100*s.Reassigned),
	}
}

// guessFields are the figures of an objective without targets: its loss, the information that this
// shows, and how often it guesses right; or the squared error of what is restored, and what a code
// may tell of its row.
func guessFields(s *nat.Stats) []string {
	fields := []string{fmt.Sprintf("loss %.3f", s.Loss)}
	if s.Information != nil {
		fields = append(fields, fmt.Sprintf("information %.2f", *s.Information))
	}
	if s.Accuracy != nil {
		fields = append(fields, fmt.Sprintf("%.0f %% right", 100**s.Accuracy))
	}
	if s.Uniformity != nil {
		fields = append(fields, fmt.Sprintf("alignment %.3f", *s.Alignment), fmt.Sprintf("uniformity %.2f", *s.Uniformity))
	}
	if s.Divergence != nil {
		fields = append(fields, fmt.Sprintf("error %.3f", *s.SquaredError), fmt.Sprintf("at most %.1f nats", *s.Divergence))
	}
	return fields
}

// epochStatus is the line that stays: the means over the epoch, and the gauges when there are any.
func epochStatus(e nat.Event) status {
	label := fmt.Sprintf("epoch %*d/%d done", len(fmt.Sprint(e.Epochs)), e.Epoch+1, e.Epochs)
	s := status{label: label, left: seconds(e.ETA)}
	if e.Stats != nil {
		s.fields = epochFields(e.Stats)
	}
	if e.Train != nil && e.Train.AssignmentGap != nil {
		s.fields = append(s.fields, "gap "+percent(*e.Train.AssignmentGap))
	}
	if e.Global != nil {
		s.fields = append(s.fields, fmt.Sprintf("all re-paired: %.3f -> %.3f", e.Global.LossBefore, e.Global.Loss))
	}
	if e.Stop != nil && e.Stop.Above > 0 {
		s.fields = append(s.fields, fmt.Sprintf("views part since epoch %d", e.Stop.Epoch+1))
	}
	s.fields = append(s.fields, gaugeFields(e.Train, e.HeldOut)...)
	s.fields = append(s.fields, rate(e)...)
	return s
}

// gaugeFields are the figures of the held-out rows, or of the training rows where none are held out.
func gaugeFields(train, held *nat.Gauge) []string {
	g, of := gauged(train, held)
	if g == nil {
		return nil
	}
	fields := []string{fmt.Sprintf("%s alignment %.3f", of, g.Alignment)}
	if g.Uniformity != nil {
		fields = append(fields, fmt.Sprintf("score %.3f", g.Score), fmt.Sprintf("information %.2f, %.0f %% of uniform", g.Information, 100*g.Efficiency))
	}
	return fields
}

// gauged picks the rows that tell most, and names them.
func gauged(train, held *nat.Gauge) (g *nat.Gauge, of string) {
	if held != nil && (held.Uniformity != nil || train == nil || train.Uniformity == nil) {
		return held, "held-out"
	}
	return train, "training-row"
}

// keptEpochs bounds, roughly, the epochs whose lines stay on the screen.
const keptEpochs = 20

// worthKeeping picks the first epoch, the last, and some evenly between.
func worthKeeping(e nat.Event) bool {
	n := e.Epoch + 1
	every := (e.Epochs + keptEpochs - 1) / keptEpochs
	return n == 1 || n == e.Epochs || n%max(every, 1) == 0
}

func rate(e nat.Event) []string {
	if e.Rate <= 0 {
		return nil
	}
	fields := []string{count(int(e.Rate)) + " images/s"}
	if e.Wait >= .01 {
		fields = append(fields, fmt.Sprintf("waiting for data %.0f %%", 100*e.Wait))
	}
	return fields
}

// warn shows each warning once, also to those who want quiet: it is about the result, not about the progress.
func (a *app) warn(warnings []string) {
	for _, w := range warnings {
		if !slices.Contains(a.warned, w) {
			a.warned = append(a.warned, w)
			a.progress.clear()
			fmt.Fprintln(a.stderr, "warning:", w)
		}
	}
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// percent writes a fraction: "3.2 %".
func percent(f float64) string { return fmt.Sprintf("%.1f %%", 100*f) }

// plural writes a count and its noun: "1 epoch", "20 epochs", "3 batches".
func plural(n int, noun string) string {
	switch {
	case n == 1:
	case strings.HasSuffix(noun, "ch") && noun != "epoch", strings.HasSuffix(noun, "ss"):
		noun += "es"
	default:
		noun += "s"
	}
	return count(n) + " " + noun
}
