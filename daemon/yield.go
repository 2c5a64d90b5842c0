package daemon

import (
	"context"
	"errors"
	"slices"
	"time"

	"gopm/daemon/supervise"
)

// Where an active program has died and another is to be told that it is active, clients
// wait for that. To boot the dead one's successor would take the processors for its
// whole length, and it is needed by nobody yet: it comes after.

var errNotNeeded = errors.New("not started: it was to end before another was active")

// mostYield is for who is told and doesn't answer soon.
const mostYield = time.Second

// yielding has a run wait until another process of its app is active, if one is about to be.
func (d *Daemon) yielding(in *instance, l supervise.Launch) supervise.Launch {
	if !isTold(in.version.Load().spec) {
		return l
	}
	before := l.Before
	l.Before = func(ctx context.Context) error {
		d.yield(ctx, in)
		if ctx.Err() != nil {
			return errNotNeeded
		}
		return also(ctx, before)
	}
	return l
}

func (d *Daemon) yield(ctx context.Context, in *instance) {
	ctx, cancel := context.WithTimeout(ctx, mostYield)
	defer cancel()
	changes := d.hub.subscribe()
	defer d.hub.unsubscribe(changes)
	for d.isPromoting(in) {
		select {
		case <-changes.wake:
			changes.take()
		case <-ctx.Done():
			return
		}
	}
}

// isPromoting says that nobody but perhaps in is active, and another may be soon.
func (d *Daemon) isPromoting(in *instance) bool {
	a := d.table.Load().app(in.name)
	if a == nil {
		return false
	}
	all := slices.DeleteFunc(d.seen(a), func(s seen[*instance]) bool { return s.who == in })
	return comesSoon(all)
}
