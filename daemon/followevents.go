package daemon

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopm/daemon/api"
	"gopm/daemon/supervise"
)

// eventPause is the least time between two parts for one follower of events.
const eventPause = 20 * time.Millisecond

// eventQuery is what a reader of events asks for.
type eventQuery struct {
	targets []string
	kinds   []string
	lines   int       // the newest that there were, at most
	since   time.Time // and none that is older
	after   uint64    // all that came after that one instead, which the daemon before may have told; 0: none
	follow  bool
}

func parseEventQuery(r *http.Request) (q eventQuery, err error) {
	v := r.URL.Query()
	q = eventQuery{targets: v["target"], kinds: v["kind"], lines: maxEvents, follow: v.Get("follow") != ""}
	for _, k := range q.kinds {
		if !slices.Contains(api.EventKinds[:], k) {
			return q, api.Errorf(api.KindInvalid, "there are no events of the kind %q; there are: %s", k, strings.Join(api.EventKinds[:], ", "))
		}
	}
	if text := v.Get("lines"); text != "" {
		if q.lines, err = strconv.Atoi(text); err != nil || q.lines < 0 {
			return q, api.Errorf(api.KindInvalid, "lines=%s: want a number from 0", text)
		}
	}
	if text := v.Get("since"); text != "" {
		if q.since, err = time.Parse(time.RFC3339Nano, text); err != nil {
			return q, api.Errorf(api.KindInvalid, "since=%s: want a time like 2026-11-22T10:00:00Z", text)
		}
	}
	if text := v.Get("after"); text != "" {
		if q.after, err = strconv.ParseUint(text, 10, 64); err != nil {
			return q, api.Errorf(api.KindInvalid, "after=%s: want the number of an event", text)
		}
	}
	return q, nil
}

// eventReader is one reader of events: what it asked for, and whose events it is shown.
// What once belonged to its targets does so for good.
type eventReader struct {
	*Daemon
	eventQuery
	names map[string]bool // apps that are targets as a whole
	ids   map[int]string  // instances, and whose they are
}

// followEvents sends the newest events, then those that come.
func (d *Daemon) followEvents(r *http.Request, send func(any) error) error {
	q, err := parseEventQuery(r)
	if err != nil {
		return err
	}
	f := &eventReader{Daemon: d, eventQuery: q, names: map[string]bool{}, ids: map[int]string{}}
	if err := f.find(); err != nil {
		return err
	}
	if q.follow {
		if d.events.readers.Add(1) > maxFollowers {
			d.events.readers.Add(-1)
			return api.Errorf(api.KindBusy, "too many followers of events: there are %d (the limit) already; end some of them", maxFollowers)
		}
		defer d.events.readers.Add(-1)
	}
	all, missed, next, more := d.events.since(q.after + 1)
	first := api.Events{Since: d.started, Events: f.newest(f.pick(all))}
	if q.after > 0 {
		first.Missed = missed
	}
	if err := send(first); err != nil || !q.follow {
		return err
	}
	return f.follow(r, next, more, send)
}

// follow sends what comes until the reader goes, or the daemon ends: then up to the ends
// of its apps.
func (f *eventReader) follow(r *http.Request, next uint64, more <-chan struct{}, send func(any) error) error {
	closing := f.ending.closing
	for {
		select {
		case <-r.Context().Done():
			return nil
		case <-more:
		case <-closing:
			if f.ending.reason() == handedOver {
				return f.ending.refusal()
			}
			closing = nil
		}
		_ = f.find() // an error: a target is gone; what it did is shown all the same
		ended := closing == nil && f.allStopped()
		var part api.Events
		part.Events, part.Missed, next, more = f.events.since(next)
		f.events.missed.Add(int64(part.Missed))
		if part.Events = f.pick(part.Events); part.Missed+len(part.Events) > 0 {
			if err := send(part); err != nil {
				return err
			}
		}
		if ended {
			return nil
		}
		select { // what happens meanwhile is told together
		case <-r.Context().Done():
		case <-time.After(eventPause):
		}
	}
}

// allStopped says that nothing more will happen to any app, at the daemon's end, and that
// all that has is told.
func (f *eventReader) allStopped() bool {
	all := f.table.Load().all()
	if slices.ContainsFunc(all, func(in *instance) bool { return !isStopped(in.proc.Snapshot()) }) {
		return false
	}
	for _, in := range all {
		_, _ = in.proc.Await(context.Background(), func(supervise.Snapshot) bool { return true }) // a snapshot can be seen before it is told; an error: it is closed
	}
	return true
}

// find looks what belongs to the targets now.
func (f *eventReader) find() error {
	t := f.table.Load()
	for _, target := range f.targets {
		picked, err := t.selection([]string{target})
		if gone := err != nil && f.events.knows(target); gone || t.app(target) != nil {
			f.names[target] = true
		} else if err != nil {
			return err
		}
		for _, in := range picked {
			f.ids[in.id] = in.name
		}
	}
	return nil
}

// pick leaves what the reader is to see.
func (f *eventReader) pick(all []api.Event) []api.Event {
	return slices.DeleteFunc(all, func(e api.Event) bool {
		return e.Time.Before(f.since) || len(f.kinds) > 0 && !slices.Contains(f.kinds, e.Kind) || len(f.targets) > 0 && !f.isMeant(e)
	})
}

func (f *eventReader) isMeant(e api.Event) bool {
	switch {
	case e.App == "":
		return false
	case f.names[e.App]:
		return true
	case e.EventOf != nil:
		return f.ids[e.ID] == e.App
	}
	for _, name := range f.ids { // one of its instances is a target
		if name == e.App {
			return true
		}
	}
	return false
}

// newest leaves as many as were asked for.
func (f *eventReader) newest(all []api.Event) []api.Event {
	if f.after > 0 {
		return all
	}
	return all[max(0, len(all)-f.lines):]
}
