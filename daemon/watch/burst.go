package watch

import "time"

// burst is the changes of a tree that were not told yet.
type burst struct {
	first, last time.Time
	names       map[string]bool
	files       []string // the first few
	held        bool     // until the roots are there again
}

const (
	fewFiles  = 5
	mostNames = 10000 // are told apart: more are that many

	// A stream of changes without a pause is told of after so many delays, and not sooner
	// than after a while: the longest burst is a checkout.
	mostDelays  = 10
	longestWait = 30 * time.Second
)

func (b *burst) add(now time.Time, name string) {
	if b.names == nil {
		*b = burst{first: now, names: map[string]bool{}}
	}
	b.last = now
	if b.names[name] || len(b.names) >= mostNames {
		return
	}
	b.names[name] = true
	if len(b.files) < fewFiles {
		b.files = append(b.files, name)
	}
}

// due is when it is over; zero: there is none, or it waits for something else.
func (b *burst) due(delay time.Duration) time.Time {
	if b.names == nil || b.held {
		return time.Time{}
	}
	at, end := b.last.Add(delay), b.first.Add(max(mostDelays*delay, longestWait))
	if at.After(end) {
		return end
	}
	return at
}

// report tells a burst that is over.
func (t *tree) report(now time.Time) {
	if t.burst.held {
		t.burst.held = !t.isWhole(now)
	}
	if at := t.burst.due(t.spec.Delay); at.IsZero() || now.Before(at) {
		return
	}
	t.check(now) // or it would be seen later, and be another burst
	if !t.isWhole(now) {
		t.burst.held = true
		return
	}
	b := Burst{Files: t.burst.files, Count: len(t.burst.names)}
	t.burst = burst{}
	t.w.o.Changed(t.name, b)
}

// due is when a tree has something to do.
func (t *tree) due() time.Time {
	at := t.burst.due(t.spec.Delay)
	if t.poller != nil {
		at = sooner(at, t.poller.at)
	}
	return sooner(at, t.stale)
}

// sooner is the first of two times, of which zero is none.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
