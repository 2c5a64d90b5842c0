package supervise

import (
	"context"
	"errors"
	"slices"
)

// ErrClosed is what Await returns when the Process was closed.
var ErrClosed = errors.New("the process is no longer supervised")

// watcher is one Await under way.
type watcher struct {
	cond  func(Snapshot) bool
	found chan Snapshot // one place, so that the actor never waits
}

// Await returns when cond holds for a snapshot (the current one included), or
// with ctx's error. It sees what the caller asked for before it: Start, then
// Await never judges the snapshot from before the Start. Every snapshot is
// judged, however short its life; cond is called from the actor's goroutine.
func (p *Process) Await(ctx context.Context, cond func(Snapshot) bool) (Snapshot, error) {
	w := &watcher{cond: cond, found: make(chan Snapshot, 1)}
	p.mail.post(func() {
		if now := p.Snapshot(); cond(now) {
			w.found <- now
			return
		}
		p.watchers = append(p.watchers, w)
	})
	select {
	case s := <-w.found:
		return s, nil
	case <-p.done:
		select {
		case s := <-w.found: // it was the last thing that happened
			return s, nil
		default:
			return p.Snapshot(), ErrClosed
		}
	case <-ctx.Done():
		p.mail.post(func() {
			p.watchers = slices.DeleteFunc(p.watchers, func(o *watcher) bool { return o == w })
		})
		return p.Snapshot(), ctx.Err()
	}
}

// tell shows a snapshot to all who wait and lets go those who were waiting for it.
func (p *Process) tell(s Snapshot) {
	if len(p.watchers) == 0 {
		return
	}
	p.watchers = slices.DeleteFunc(p.watchers, func(w *watcher) bool {
		if !w.cond(s) {
			return false
		}
		w.found <- s
		return true
	})
}
