package daemon

import (
	"maps"
	"strings"
	"sync"
	"sync/atomic"

	"gopm/daemon/supervise"
)

// Why an instance was started again, as metrics count it.
const (
	byExit       = "exit"         // it ended by itself with code 0, or with one of its stop codes
	byCrash      = "crash"        // it ended by itself otherwise
	byOOM        = "oom"          // the kernel killed it: out of memory
	byHang       = "hang"         // it didn't accept connections, or its watchdog was silent
	byHealth     = "unhealthy"    // its health checks failed
	byNotReady   = "not_ready"    // it was not ready in time
	bySpawn      = "failed_start" // it could not be started
	byUnknown    = "unknown"      // nobody saw how it ended
	byMemory     = "memory_limit"
	byCron       = "cron"
	byWatch      = "watch"
	byReload     = "reload"
	byConsul     = "consul"     // values in Consul changed
	byDependency = "dependency" // what it depends on went and came back
	byHand       = "manual"     // a command
)

// restartReasons are all of them: each has a series from the first scrape on, for a
// counter that begins at 1 has never grown.
var restartReasons = [...]string{
	byExit, byCrash, byOOM, byHang, byHealth, byNotReady, bySpawn, byUnknown, byMemory, byCron, byWatch, byReload, byConsul, byDependency, byHand,
}

// How a run ended, as metrics count it.
const (
	endedWell    = "ok"
	endedBadly   = "error"
	endedBySig   = "signal"
	endedByUs    = "requested"
	endedUnseen  = "unknown"
	neverStarted = "not_started"
)

var exitResults = [...]string{endedWell, endedBadly, endedBySig, endedByUs, endedUnseen, neverStarted}

// tally counts what has become of an instance, over all its lives and daemons. It is kept
// with the state.
type tally struct {
	mu     sync.Mutex // guards counts
	counts map[string]uint64
}

// In counts, restarts are under their reasons, exits under their results behind this.
const exitPrefix = "exit:"

func newTally(was map[string]uint64) *tally {
	t := &tally{counts: maps.Clone(was)}
	if t.counts == nil {
		t.counts = map[string]uint64{}
	}
	return t
}

func (t *tally) add(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts[key]++
}

// all is a copy; nil if there is nothing.
func (t *tally) all() map[string]uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.counts) == 0 {
		return nil
	}
	return maps.Clone(t.counts)
}

// tallied is what is counted of an instance.
type tallied struct {
	tally *tally // its successors' too
	again atomic.Pointer[again]
}

// again is why an instance is about to be restarted.
type again struct {
	after  uint64 // the incarnation that is there, or was
	reason string
}

// because says why the next restart is going to be, after that incarnation. A crash that
// comes before has a reason of its own.
func (in *instance) because(reason string, after uint64) {
	in.again.Store(&again{after, reason})
}

// count adds a transition to the tally.
func (in *instance) count(before, s supervise.Snapshot) {
	if e := s.LastExit; e != nil && e != before.LastExit {
		in.tally.add(exitPrefix + resultOf(*e))
	}
	if s.Restarts > before.Restarts {
		in.tally.add(reasonOf(s, in.again.Load()))
	}
}

func resultOf(e supervise.Exit) string {
	switch {
	case e.Err != "":
		return neverStarted
	case e.Requested:
		return endedByUs
	case e.Signal != 0, e.OOM:
		return endedBySig
	case e.Code == supervise.Unknown:
		return endedUnseen
	case e.Code != 0:
		return endedBadly
	}
	return endedWell
}

// reasonOf is why an incarnation was begun that is not the first.
func reasonOf(s supervise.Snapshot, asked *again) string {
	e := s.LastExit
	if e == nil || e.Requested || e.Incarnation+1 != s.Incarnation {
		if asked != nil && asked.after+1 == s.Incarnation {
			return asked.reason
		}
		return byHand
	}
	switch {
	case e.Err != "":
		return bySpawn
	case strings.HasPrefix(e.Fault, faultUnhealthy):
		return byHealth
	case e.Hang != "", strings.HasPrefix(e.Fault, faultWatchdog):
		return byHang
	case e.Fault != "":
		return byNotReady
	case e.OOM:
		return byOOM
	case e.Signal != 0:
		return byCrash
	case e.Code == supervise.Unknown:
		return byUnknown
	case e.Code != 0:
		return byCrash
	}
	return byExit
}
