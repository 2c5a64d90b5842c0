package cluster

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// DrainReport says how the draining of an instance went.
type DrainReport struct {
	Took    time.Duration
	Closed  int // idle connections that were ended from outside
	Cut     int // requests that were in flight at the end: half open, queued or being worked on
	Waiting int // connections kept for a next request that were left to end with the process
	Note    string
}

// Text is one line for the log: "drained in 2.31s: 12 idle connections closed".
func (r DrainReport) Text() string {
	var parts []string
	if r.Cut > 0 {
		parts = append(parts, counted(r.Cut, "request")+" cut")
	}
	if r.Closed > 0 {
		parts = append(parts, counted(r.Closed, "idle connection")+" closed")
	}
	if r.Waiting > 0 {
		parts = append(parts, counted(r.Waiting, "kept connection")+" left to end with the program")
	}
	if r.Note != "" {
		parts = append(parts, r.Note)
	}
	text := "drained in "
	if r.Cut > 0 || r.Waiting > 0 {
		text = "draining ended after "
	}
	text += r.Took.Round(10 * time.Millisecond).String()
	if len(parts) == 0 {
		return text
	}
	return text + ": " + strings.Join(parts, "; ")
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// conclude writes what was left at the last look into the report.
func (d *drainer) conclude(s sight, t tally, interrupted error) {
	r := &d.report
	r.Cut += t.inFlight()
	r.Waiting = t.idle + t.unclear
	var notes []string
	if !s.alive {
		notes = append(notes, "the program had ended by itself")
	}
	if interrupted != nil {
		notes = append(notes, "draining was broken off")
	}
	if t.halfOpen > 0 {
		notes = append(notes, counted(t.halfOpen, "request")+" of these had not finished the TCP handshake")
	}
	if t.unclear > 0 {
		notes = append(notes, counted(t.unclear, "kept connection")+" may have had a request in flight")
	}
	if d.refused != nil {
		notes = append(notes, fmt.Sprintf("connections can't be ended from outside (%v)", d.refused))
	}
	if s.alive && s.hidden != nil {
		notes = append(notes, fmt.Sprintf("the program's descriptors can't be read (%v), so connections of other instances may be counted", s.hidden))
	}
	if err := errors.Join(s.troubles...); err != nil {
		notes = append(notes, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	r.Note = strings.Join(notes, "; ")
}
