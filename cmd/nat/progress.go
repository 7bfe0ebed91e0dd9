package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// status is one moment of a long piece of work.
type status struct {
	label       string        // what is going on: "scan", "epoch 3/20"
	done, total int           // total 0: the end is not known
	unit        string        // what is counted; "" leaves the counts out
	fields      []string      // the figures worth watching, the most telling first
	left        time.Duration // estimated time left; 0: not known
}

// meter shows progress on stderr: one line that redraws itself on a terminal, and otherwise plain lines, one at most
// every `every` unless they mark a milestone. Its methods may be called from any goroutine.
type meter struct {
	w      io.Writer
	redraw bool // a terminal that understands \r
	quiet  bool
	width  func() int // columns of the terminal
	every  time.Duration
	now    func() time.Time

	mu     sync.Mutex
	shown  int // columns that the line on the screen takes
	last   time.Time
	lasted string
}

const (
	redrawEvery = 100 * time.Millisecond
	plainEvery  = 10 * time.Second
	barWidth    = 24
)

// show draws s. A milestone (the end of an epoch) is always drawn, and on a terminal it stays on the screen.
func (m *meter) show(s status, milestone bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.quiet {
		return
	}
	interval := m.every
	if m.redraw {
		interval = redrawEvery
	}
	now := m.now()
	if !milestone && (now.Sub(m.last) < interval) {
		return
	}
	m.last = now
	switch {
	case m.redraw && milestone:
		m.keep(s.fit(m.width() - 1))
	case m.redraw:
		m.replace(s.fit(m.width() - 1))
	default:
		m.keep(s.plain())
	}
}

// note prints a line that stays.
func (m *meter) note(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.quiet {
		m.keep(fmt.Sprintf(format, args...))
	}
}

// clear takes the redrawn line off the screen, before something else is printed.
func (m *meter) clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.erase()
}

func (m *meter) keep(line string) {
	m.erase()
	if line != m.lasted {
		fmt.Fprintln(m.w, line)
	}
	m.lasted = line
}

func (m *meter) replace(line string) {
	n := utf8.RuneCountInString(line)
	fmt.Fprint(m.w, "\r", line, strings.Repeat(" ", max(0, m.shown-n)))
	m.shown = n
}

// erase blanks the redrawn line with spaces: no escape sequence, so it works on every console.
func (m *meter) erase() {
	if m.shown > 0 {
		fmt.Fprint(m.w, "\r", strings.Repeat(" ", m.shown), "\r")
		m.shown = 0
	}
}

// plain writes s without its bar, and with the unit, which the bar has no room for.
func (s status) plain() string {
	parts := []string{s.label}
	if c := s.counts(); c != "" {
		parts = append(parts, strings.TrimRight(c+" "+s.unit, " "))
	}
	return strings.Join(append(append(parts, s.fields...), s.eta()...), "  ")
}

// fit writes s in at most width columns: the bar shrinks to nothing before the figures leave, the last first.
func (s status) fit(width int) string {
	for keep := len(s.fields); keep >= 0; keep-- {
		tail := append(append([]string{}, s.fields[:keep]...), s.eta()...)
		if c := s.counts(); c != "" {
			tail = append([]string{c}, tail...)
		}
		rest := strings.Join(tail, "  ")
		room := width - utf8.RuneCountInString(s.label) - utf8.RuneCountInString(rest) - 4
		if s.total > 0 && room >= 10 {
			return s.label + "  " + bar(s.done, s.total, min(room, barWidth)) + "  " + rest
		}
		line := strings.TrimRight(s.label+"  "+rest, " ")
		if utf8.RuneCountInString(line) <= width {
			return line
		}
	}
	return cut(s.label, width)
}

func (s status) counts() string {
	switch {
	case s.unit == "" && s.total > 0 && s.done > 0:
		return fmt.Sprintf("%3d %%", 100*s.done/s.total)
	case s.unit == "":
		return ""
	case s.total > 0:
		return count(s.done) + "/" + count(s.total)
	}
	return count(s.done)
}

func (s status) eta() []string {
	if s.left <= 0 {
		return nil
	}
	if s.left < time.Second {
		return []string{"ETA <1s"}
	}
	return []string{"ETA " + duration(s.left)}
}

// bar draws done of total in ASCII, which no console garbles.
func bar(done, total, width int) string {
	inner := width - 2
	full := min(max(inner*done/total, 0), inner)
	return "[" + strings.Repeat("=", full) + strings.Repeat(".", inner-full) + "]"
}

func cut(s string, width int) string {
	r := []rune(s)
	return string(r[:max(0, min(len(r), width))])
}

// duration writes d with the two largest units that matter: "850ms", "4.2s", "3m05s", "2h10m", "3d4h".
func duration(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%dh", int(d.Hours())/24, int(d.Hours())%24)
}

// count writes n with thousands separated: "60,000".
func count[T ~int | ~int64 | ~int32](n T) string {
	s := fmt.Sprint(int64(n))
	sign := ""
	if s[0] == '-' {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// size writes a number of bytes: "512 B", "3.4 MB", in powers of 1000.
func size(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	v, units := float64(n), "kMGTPE"
	i := -1
	for v >= 999.5 && i < len(units)-1 {
		v /= 1000
		i++
	}
	if v < 9.95 {
		return fmt.Sprintf("%.1f %cB", v, units[i])
	}
	return fmt.Sprintf("%.0f %cB", v, units[i])
}
