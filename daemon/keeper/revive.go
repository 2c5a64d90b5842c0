package keeper

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxRow    = 5           // daemons that died at once in a row are enough
	atOnce    = time.Second // what is meant by "at once"
	firstWait = 100 * time.Millisecond
	longWait  = time.Minute // what keeps a daemon from living may pass, as a lack of processes
	maxWait   = time.Hour
)

// ending is all that counts about the end of a daemon.
type ending struct {
	how     string // as a sentence's verb: "was killed by SIGKILL"
	clean   bool   // it exited with code 0
	code    int    // the keeper's, if that ends, too
	lived   time.Duration
	ready   bool // it had served
	leaving bool // it had said that it ends on purpose
	estate  bool // it has left something behind
	ours    bool // it was our child, and its children are now
}

// epitaph is what the next daemon is told about those before it.
type epitaph struct {
	how       string // how the last one ended; "": there was none
	elsewhere bool   // what it had started fell to another process than us
}

// next is the epitaph after another ending. What fell elsewhere stays to be found
// until a daemon has served.
func (p epitaph) next(e ending) epitaph {
	return epitaph{e.how, !e.ours || p.elsewhere && !e.ready}
}

// after says how long it lived, if it did.
func (e ending) after() string {
	if e.lived == 0 {
		return ""
	}
	return " after " + e.lived.Round(time.Millisecond).String()
}

// verdict is what to do about it.
type verdict int

const (
	follow verdict = iota // the keeper ends as well
	again                 // start it again
	giveUp                // leave everything as it is, for long
)

// reviver counts how many daemons in a row came to nothing.
type reviver struct{ row int }

// hasGivenUp says that the next one is tried long after the last.
func (r *reviver) hasGivenUp() bool { return r.row >= maxRow }

// judge decides. A daemon that never served and left nothing behind has told its
// starter why; there is nothing to go on with.
func (r *reviver) judge(e ending) (v verdict, wait time.Duration) {
	if e.leaving || !e.ready && !e.estate {
		return follow, 0
	}
	if e.ready && e.lived >= atOnce {
		r.row = 0
		return again, 0
	}
	r.row++
	switch {
	case r.hasGivenUp():
		return giveUp, min(maxWait, longWait<<min(r.row-maxRow, maxRow+1))
	case r.row == 1:
		return again, 0
	}
	return again, firstWait << (r.row - 2)
}

// describe says how a process ended, as a sentence's verb.
func describe(status unix.WaitStatus) string {
	if status.Signaled() {
		return "was killed by " + signalName(status.Signal())
	}
	return fmt.Sprintf("exited with code %d", status.ExitStatus())
}

func signalName(sig unix.Signal) string {
	if name := unix.SignalName(sig); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", int(sig)) // the real-time ones have no names
}

// exitCode is the keeper's when it follows a daemon; 0 only for one that said that
// it leaves and ended well.
func exitCode(status unix.WaitStatus, leaving bool) int {
	switch {
	case status.Signaled():
		return 128 + int(status.Signal())
	case leaving:
		return status.ExitStatus()
	}
	return max(status.ExitStatus(), 1)
}
