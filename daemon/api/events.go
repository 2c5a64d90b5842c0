package api

import "time"

// Event is something that has happened, with the app or the instance that it happened
// to. Of the daemon itself there is neither.
type Event struct {
	Seq  uint64    `json:"seq"` // grows by one with each event of a daemon; that of a later daemon is greater
	Time time.Time `json:"time"`
	Kind string    `json:"kind"` // Event…
	App  string    `json:"app,omitempty"`
	*EventOf
	Text string `json:"text"` // for people
	Exit *Exit  `json:"exit,omitempty"`
}

// EventOf is the instance of an event.
type EventOf struct {
	ID    int `json:"id"`
	Index int `json:"index"`
	Pid   int `json:"pid,omitempty"` // of its process; 0: it has none
}

// Events is a part of a stream of events.
type Events struct {
	Missed int       `json:"missed,omitempty"` // so many before these are lost: the reader was too slow, or they are too old
	Since  time.Time `json:"since,omitzero"`   // in the first part: before that another daemon ran, or none
	Events []Event   `json:"events,omitempty"`
}

// What kinds of events there are.
const (
	EventStart     = "start"     // a process was started, or is taken over
	EventOnline    = "online"    // it has lived for min_uptime, or is ready
	EventReady     = "ready"     // it has shown that it is ready
	EventSays      = "says"      // what it says of itself by sd_notify
	EventExit      = "exit"      // it has ended, or could not be started
	EventRestart   = "restart"   // it is going to be started again, and why
	EventErrored   = "errored"   // it was given up, for good or for a while
	EventStop      = "stop"      // it was asked to end; it is stopped
	EventUnhealthy = "unhealthy" // its checks fail
	EventHealthy   = "healthy"   // they pass again
	EventHook      = "hook"      // what a hook has come to
	EventCron      = "cron"      // cron_restart
	EventJob       = "job"       // a run of a job: begun, skipped, ended
	EventWatch     = "watch"     // a file has changed
	EventReload    = "reload"    // the steps of a reload
	EventScale     = "scale"     // the steps of a change of the number of instances
	EventWaits     = "waits"     // it waits for another app, or does no more
	EventActive    = "active"    // of an app with standby: it is the active one
	EventConsul    = "consul"    // its agent is gone or there again, what it says, what is said to it
	EventLog       = "log"       // its log files have trouble
	EventDaemon    = "daemon"    // of the daemon itself, or what it could not do
)

// EventKinds are all of them.
var EventKinds = [...]string{
	EventStart, EventOnline, EventReady, EventSays, EventExit, EventRestart, EventErrored, EventStop, EventUnhealthy, EventHealthy, EventHook,
	EventCron, EventJob, EventWatch, EventReload, EventScale, EventWaits, EventActive, EventConsul, EventLog, EventDaemon,
}
