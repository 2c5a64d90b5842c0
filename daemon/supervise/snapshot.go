package supervise

import "time"

// Status is what the user sees, in pm2's words.
type Status string

const (
	StatusLaunching Status = "launching"
	StatusOnline    Status = "online"
	StatusStopping  Status = "stopping"
	StatusStopped   Status = "stopped"
	StatusWaiting   Status = "waiting restart"
	StatusErrored   Status = "errored"
)

// Snapshot is an immutable picture of a process, replaced at every transition.
type Snapshot struct {
	Status       Status
	Incarnation  uint64        // counts spawns; 0 = never spawned
	Run                        // zero = no process
	Conduct                    // of the present run
	Restarts     int           // automatic and by hand, as pm2 counts them; Reset sets 0
	Unstable     int           // unstable exits in a row
	Backoff      time.Duration // the delay in force while waiting
	NextTry      time.Time     // zero: none due
	LastExit     *Exit         // nil: none yet
	Clearing     bool          // the leftovers of the last incarnation are being ended
	Killed       bool          // SIGKILL was sent and the process is still there
	Want         bool          // desired: running
	Settled      bool          // it is online, and has lived for min_uptime
	Generation   uint64        // grows with every snapshot
	RestartCause string        // why the last restart by us happened: "memory 210 MB > 200 MB"
}

// Snapshot is the machine as the user sees it.
func (m Machine) Snapshot() Snapshot { return m.snapshot() }

func (m Machine) snapshot() Snapshot {
	s := Snapshot{
		Status:       m.status(),
		Incarnation:  m.Inc,
		Run:          m.Run,
		Restarts:     m.Count.Restarts,
		Unstable:     m.Count.Unstable,
		LastExit:     m.LastExit,
		Clearing:     m.State == Clearing,
		Killed:       m.Killed,
		Want:         m.Want,
		RestartCause: m.Cause,
		Conduct:      m.Conduct,
		Settled:      m.State == Online,
	}
	if s.Status == StatusWaiting || s.Status == StatusErrored && m.Timer.Armed {
		s.Backoff, s.NextTry = m.Plan.Delay, m.Plan.Due
	}
	return s
}

func (m Machine) status() Status {
	switch m.State {
	case Spawning:
		if m.Recycle {
			return StatusStopping
		}
		return StatusLaunching
	case Starting:
		if m.Ready == Reached {
			return StatusOnline
		}
		return StatusLaunching
	case Unready:
		return StatusLaunching
	case Online:
		return StatusOnline
	case Clearing:
		if m.Plan.Then == thenRun && !m.wasAsked() {
			return StatusWaiting
		}
		return StatusStopping
	case Parting, Stopping, Killing:
		return StatusStopping
	case Backoff:
		return StatusWaiting
	case Errored:
		return StatusErrored
	}
	return StatusStopped
}

// wasAsked says that the run before was told to end. A damaged note may know of none.
func (m Machine) wasAsked() bool { return m.LastExit != nil && m.LastExit.Requested }
