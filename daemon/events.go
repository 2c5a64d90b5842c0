package daemon

import (
	"fmt"
	"time"

	"gopm/daemon/api"
)

// event is what is told: to the daemon's log, and to those who follow events. One is
// made by event, appEvent or daemonEvent.
type event struct {
	kind   string    // api.Event…
	app    string    // "" = it is of the daemon itself
	in     *instance // nil: it is of the app as a whole
	text   string
	pid    int
	exit   *api.Exit
	logged bool // the daemon's log has it already
}

// event is of an instance.
func (in *instance) event(kind, format string, args ...any) event {
	return event{kind: kind, app: in.name, in: in, text: fmt.Sprintf(format, args...)}
}

// appEvent is of an app as a whole.
func appEvent(app, kind, format string, args ...any) event {
	return event{kind: kind, app: app, text: fmt.Sprintf(format, args...)}
}

// daemonEvent is of the daemon itself.
func daemonEvent(format string, args ...any) event {
	return event{kind: api.EventDaemon, text: fmt.Sprintf(format, args...)}
}

// tell writes an event into the daemon's log, and keeps it for those who follow events.
// It never blocks.
func (d *Daemon) tell(e event) {
	e.text = cutText(e.text, maxEventText)
	if !e.logged {
		d.log("%s", e.line())
	}
	told := api.Event{Time: time.Now(), Kind: e.kind, App: e.app, Text: e.text, Exit: e.exit}
	if e.in != nil {
		told.EventOf = &api.EventOf{ID: e.in.id, Index: e.in.index, Pid: e.pid}
	}
	d.events.add(told)
}

// line is the event in the daemon's log.
func (e event) line() string {
	switch {
	case e.in != nil:
		return e.in.label() + " " + e.text
	case e.app != "":
		return e.app + ": " + e.text
	}
	return e.text
}

// tellOfDaemon is for those who know nothing of events.
func (d *Daemon) tellOfDaemon(format string, args ...any) { d.tell(daemonEvent(format, args...)) }
