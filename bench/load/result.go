package load

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// unknown is the name of servers that don't say who they are.
const unknown = "?"

// Counts says how the requests ended: each is in exactly one of OK to Local.
type Counts struct {
	Requests    int // all that were begun
	OK          int
	Refused     int // no connection
	Reset       int // on a new connection: closed before the first byte of the answer
	ResetReused int // the same on a connection that had carried an answer before
	Cut         int // closed after the first byte and before the last one
	TimedOut    int
	Wrong       int // bad status, bad body, or another's answer
	Local       int // it couldn't be sent, by a fault on the client's side (no port was free)

	Connections int // that were opened
	IdleClosed  int // that the server closed while nothing was asked; no failure
}

// Failed is how many requests were not answered well.
func (c Counts) Failed() int { return c.Requests - c.OK }

func (c *Counts) add(end kind) {
	c.Requests++
	*map[kind]*int{ok: &c.OK, refused: &c.Refused, reset: &c.Reset, resetReused: &c.ResetReused, cut: &c.Cut,
		timedOut: &c.TimedOut, wrong: &c.Wrong, local: &c.Local}[end]++
}

func (c *Counts) merge(o Counts) {
	c.Requests += o.Requests
	c.OK += o.OK
	c.Refused += o.Refused
	c.Reset += o.Reset
	c.ResetReused += o.ResetReused
	c.Cut += o.Cut
	c.TimedOut += o.TimedOut
	c.Wrong += o.Wrong
	c.Local += o.Local
	c.Connections += o.Connections
	c.IdleClosed += o.IdleClosed
}

// Latency of the good answers.
type Latency struct{ P50, P99, Max time.Duration }

// Failure is one request that went wrong.
type Failure struct {
	ID, Path, Kind, Text string
	After                time.Duration // since the start of the run
	Begun, Ended         time.Time
}

func (f Failure) String() string {
	return fmt.Sprintf("%s %s at %.3f s: %s: %s", f.ID, f.Path, f.After.Seconds(), f.Kind, f.Text)
}

// Result is what came out of a plan.
type Result struct {
	Counts
	Took     time.Duration
	Fast     Latency        // of the requests to Path
	Slow     Latency        // of those to SlowPath
	Servers  map[string]int // good answers by the process that gave them, as far as it says so
	Failures []Failure      // all of them, in the order in which they failed

	run    string
	failed map[int]bool // the numbers of the failed requests
}

// sum brings the clients' counts together; they have ended.
func (d *Driver) sum() Result {
	r := Result{Took: time.Since(d.begun), Servers: map[string]int{}, run: d.run, failed: map[int]bool{}}
	var fast, slow []time.Duration
	for _, c := range d.clients {
		r.Counts.merge(c.counts)
		fast, slow = append(fast, c.fast...), append(slow, c.slow...)
		for pid, n := range c.of {
			r.Servers[pid] += n
		}
		for n, f := range c.failed {
			r.failed[n] = true
			r.Failures = append(r.Failures, f)
		}
	}
	slices.SortFunc(r.Failures, func(a, b Failure) int { return int(a.After - b.After) })
	r.Fast, r.Slow = latency(fast), latency(slow)
	return r
}

// latency sorts the values and picks.
func latency(values []time.Duration) Latency {
	n := len(values)
	if n == 0 {
		return Latency{}
	}
	slices.Sort(values)
	rank := func(percent int) time.Duration { return values[(n*percent+99)/100-1] }
	return Latency{P50: rank(50), P99: rank(99), Max: values[n-1]}
}

// PerSecond is the rate of the good answers.
func (r Result) PerSecond() float64 { return float64(r.OK) / r.Took.Seconds() }

// Text says it in one line, and in a second one what failed.
func (r Result) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d requests in %.1f s (%.0f/s): %d ok, %d failed", r.Requests, r.Took.Seconds(), r.PerSecond(), r.OK, r.Failed())
	if r.Fast != (Latency{}) {
		fmt.Fprintf(&b, "; %s", r.Fast)
	}
	if r.Slow != (Latency{}) {
		fmt.Fprintf(&b, "; slow ones %s", r.Slow)
	}
	if r.IdleClosed > 0 {
		fmt.Fprintf(&b, "; %d idle connections closed", r.IdleClosed)
	}
	if _, said := r.Servers[unknown]; len(r.Servers) > 0 && !said {
		fmt.Fprintf(&b, "; %d servers:%s", len(r.Servers), shares(r.Servers))
	}
	if r.Failed() == 0 {
		return b.String()
	}
	b.WriteString("\nfailed:")
	sep := " "
	for _, one := range []struct {
		n    int
		what kind
	}{{r.Refused, refused}, {r.Reset, reset}, {r.ResetReused, resetReused}, {r.Cut, cut}, {r.TimedOut, timedOut}, {r.Wrong, wrong}, {r.Local, local}} {
		if one.n > 0 {
			fmt.Fprintf(&b, "%s%d %s", sep, one.n, one.what)
			sep = ", "
		}
	}
	fmt.Fprintf(&b, " (the first: %s)", r.Failures[0])
	return b.String()
}

func (l Latency) String() string {
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	return fmt.Sprintf("p50 %.1f ms, p99 %.1f ms, max %.1f ms", ms(l.P50), ms(l.P99), ms(l.Max))
}

// shares names servers and their answers or connections, at most a few.
func shares(of map[string]int) string {
	const most = 8
	text := ""
	for i, pid := range slices.Sorted(maps.Keys(of)) {
		if i == most {
			return text + " ..."
		}
		text += fmt.Sprintf(" %s=%d", pid, of[pid])
	}
	return text
}
