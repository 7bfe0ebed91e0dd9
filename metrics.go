package nat

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"time"
)

// metricsLog appends events to metrics.jsonl.
type metricsLog struct {
	path   string
	f      file
	offset int64
}

// openMetrics opens a run's metrics for writing after the first offset bytes;
// what follows them was written by steps that a resumed run does again. A file
// shorter than that has lost lines, and goes on after its last whole one.
func openMetrics(fsys files, run string, offset int64) (*metricsLog, error) {
	path := filepath.Join(run, metricsFile)
	whole, err := wholeLines(path, offset)
	if err != nil {
		return nil, err
	}
	f, err := fsys.Append(path, whole)
	if err != nil {
		return nil, failf(ErrResource, "opening %s: %w", path, err)
	}
	return &metricsLog{path: path, f: f, offset: whole}, nil
}

// wholeLines returns how many of the first limit bytes of a file are there and
// make up whole lines.
func wholeLines(path string, limit int64) (int64, error) {
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		return 0, nil
	} else if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	end := min(limit, info.Size())
	for buf := make([]byte, 4096); end > 0; {
		start := max(0, end-int64(len(buf)))
		chunk := buf[:end-start]
		if _, err := f.ReadAt(chunk, start); err != nil && err != io.EOF {
			return 0, err
		}
		if i := bytes.LastIndexByte(chunk, '\n'); i >= 0 {
			return start + int64(i) + 1, nil
		}
		end = start
	}
	return 0, nil
}

func (l *metricsLog) write(e Event) error {
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	n, err := l.f.Write(append(b, '\n'))
	l.offset += int64(n)
	if err == nil && n <= len(b) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return failf(ErrResource, "writing %s at byte %d: %w", l.path, l.offset, reason(err))
	}
	return nil
}

// sync makes what was written durable and returns its length.
func (l *metricsLog) sync() (int64, error) {
	if err := l.f.Sync(); err != nil {
		return 0, failf(ErrResource, "writing %s at byte %d: %w", l.path, l.offset, reason(err))
	}
	return l.offset, nil
}

func (l *metricsLog) close() { l.f.Close() } // everything that counts was synced

// epochMeans accumulates the statistics of an epoch's steps. It is part of a
// checkpoint, so that a resumed epoch has the means of an uninterrupted one.
type epochMeans struct {
	Steps int   `json:"steps"`
	Pools int   `json:"pools"`
	Sum   Stats `json:"sum"`
}

func (m *epochMeans) add(s *Stats) {
	m.Steps++
	a := &m.Sum
	a.Loss += s.Loss
	a.GradNorm += s.GradNorm
	a.LR = s.LR
	if s.Pairing != nil {
		if s.WonByPool != 0 {
			m.Pools++
		}
		if a.Pairing == nil {
			a.Pairing = new(Pairing)
		}
		from := s.Pairing.figures()
		for i, v := range a.Pairing.figures() {
			*v += *from[i]
		}
	}
	from := s.optional()
	for i, sum := range a.optional() {
		if v := *from[i]; v != nil {
			if *sum == nil {
				*sum = new(float64)
			}
			**sum += *v
		}
	}
}

// figures are the fields that are averaged over an epoch as they are.
func (p *Pairing) figures() [7]*float64 {
	return [...]*float64{&p.LossBefore, &p.WonByReassignment, &p.WonByNetwork, &p.Reassigned, &p.Cosine, &p.Gap, &p.WonByPool}
}

// optional are the figures that some objectives do not have.
func (s *Stats) optional() [6]**float64 {
	return [...]**float64{&s.Alignment, &s.Information, &s.Accuracy, &s.Uniformity, &s.Divergence, &s.SquaredError}
}

// mean returns means over the steps, and the learning rate of the last one.
func (m *epochMeans) mean(level float64) *Stats {
	s, n := m.Sum, float64(m.Steps)
	s.Loss /= n
	s.GradNorm /= n
	if m.Sum.Pairing != nil {
		p := *m.Sum.Pairing
		pools := p.WonByPool / float64(max(m.Pools, 1))
		for _, v := range p.figures() {
			*v /= n
		}
		p.WonByPool, p.Level, s.Pairing = pools, level, &p
	}
	for _, v := range s.optional() {
		if *v != nil {
			mean := **v / n
			*v = &mean
		}
	}
	return &s
}

// lastEpoch is what a summary tells of the last epoch that was completed.
type lastEpoch struct {
	Stats   *Stats `json:"stats,omitempty"`
	Train   *Gauge `json:"train,omitempty"` // newest reading
	HeldOut *Gauge `json:"held_out,omitempty"`
}

// clock measures training time over all sittings, and the current rate.
type clock struct {
	began time.Time
	base  float64 // seconds of earlier sittings

	stepping, waiting time.Duration // over all sittings: steps, and of that time what the loader kept them waiting
	gauging           float64       // seconds of the gauges, over all sittings

	last     time.Time     // end of the last step, zero after a pause
	loaded   time.Duration // the loader's waiting until then
	steps    int           // in the window
	spent    time.Duration // on them
	waited   time.Duration // of it, for the loader
	full     bool          // a whole window has been measured
	stepTime float64       // seconds, of the last window
	wait     float64       // share, of the last window
}

// start begins a sitting after those that st remembers.
func (c *clock) start(st *state) {
	c.began, c.base = time.Now(), st.Elapsed
	c.stepping, c.waiting, c.gauging = time.Duration(st.Stepping*1e9), time.Duration(st.Waiting*1e9), st.Gauging
}

// save writes what start takes up.
func (c *clock) save(st *state) {
	st.Elapsed, st.Stepping, st.Waiting, st.Gauging = c.elapsed(), c.stepping.Seconds(), c.waiting.Seconds(), c.gauging
}

// gaugeShare is the share of the training's time that the gauges took.
func (c *clock) gaugeShare() float64 {
	if elapsed := c.elapsed(); elapsed > 0 {
		return min(1, c.gauging/elapsed)
	}
	return 0
}

// waitShare is the share of the time of all steps that the loader kept them waiting.
func (c *clock) waitShare() float64 {
	if c.stepping == 0 {
		return 0
	}
	return min(1, c.waiting.Seconds()/c.stepping.Seconds())
}

func (c *clock) elapsed() float64 {
	if c.began.IsZero() {
		return c.base
	}
	return c.base + time.Since(c.began).Seconds()
}

// rateWindow is how long steps are averaged over for the displayed rate. Until
// the first window is full, all steps since the start are.
const rateWindow = 2 * time.Second

// step counts a step that ends now. The first one, and the first after a pause,
// only starts the watch: it also fills caches and memory.
func (c *clock) step(now time.Time, waited time.Duration) {
	if !c.last.IsZero() {
		spent := max(now.Sub(c.last), 1)
		c.steps++
		c.spent += spent
		c.waited += waited - c.loaded
		c.stepping += spent
		c.waiting += waited - c.loaded
		if !c.full || c.spent >= rateWindow {
			c.stepTime = c.spent.Seconds() / float64(c.steps)
			c.wait = min(1, c.waited.Seconds()/c.spent.Seconds())
		}
		if c.spent >= rateWindow {
			c.full = true
			c.steps, c.spent, c.waited = 0, 0, 0
		}
	}
	c.last, c.loaded = now, waited
}

// pause stops the watch: what comes next is not a step.
func (c *clock) pause() { c.last = time.Time{} }

// fill sets the time fields of an event.
func (c *clock) fill(e *Event, p *Plan) {
	if c.stepTime > 0 {
		e.Rate = float64(p.Options.Batch*p.Options.Views) / c.stepTime
		e.ETA = c.stepTime * float64(p.Steps-e.Step)
	}
	e.Wait = c.wait
	if e.Kind != EventStep {
		e.Wait, e.GaugeShare = c.waitShare(), c.gaugeShare()
	}
}
