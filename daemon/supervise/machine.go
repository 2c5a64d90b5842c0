package supervise

import (
	"syscall"
	"time"
)

// State is where a machine is. Only Stopped, Errored and Online may last for
// ever; Spawning ends with the spawn's result, all others have an armed timer.
type State int

const (
	Stopped  State = iota
	Spawning       // ordered, the result isn't there yet
	Starting       // lives, but not yet for min_uptime
	Unready        // has lived for min_uptime, and hasn't said yet that it is ready
	Online
	Parting  // is to end: what has to be done before it is signalled is under way
	Stopping // signalled, the kill timer is armed
	Killing  // SIGKILL was sent; repeated until the process is gone
	Clearing // the main process is gone, the rest of its tree is being ended
	Backoff  // waiting to be started again
	Errored  // final, or with a timer for the next try
	states   = int(Errored) + 1
)

var stateNames = [states]string{
	"stopped", "spawning", "starting", "unready", "online", "parting", "stopping", "killing", "clearing", "backoff", "errored",
}

func (s State) String() string { return stateNames[s] }

// EventKind is what happened.
type EventKind int

const (
	EvStart   EventKind = iota // asked for by the user
	EvStop                     // asked for by the user
	EvRestart                  // asked for, with a cause
	EvReset                    // set the counters to zero
	EvSpawned                  // incarnation Inc lives
	EvExited                   // incarnation Inc has ended, or could not be spawned
	EvCleared                  // nothing is left of incarnation Inc
	EvTimer                    // the timer of Epoch has run down
	EvFound                    // a process runs that an earlier daemon started and could not note any more
	EvHang                     // incarnation Inc lives, but is stuck; Cause says how that was seen
	EvReady                    // incarnation Inc is ready
	EvFail                     // incarnation Inc is of no use; Cause says why: it is ended, and that is a crash
	EvParted                   // what had to be done before incarnation Inc is signalled is done
	events    = int(EvParted) + 1
)

var eventNames = [events]string{"start", "stop", "restart", "reset", "spawned", "exited", "cleared", "timer", "found", "hang", "ready", "fail", "parted"}

func (k EventKind) String() string { return eventNames[k] }

// Event is one thing that happened, with the incarnation or epoch it belongs to.
type Event struct {
	Kind    EventKind
	At      time.Time
	Inc     uint64                            // all that are about one incarnation
	Epoch   uint64                            // EvTimer
	Cause   string                            // EvRestart, EvHang, EvFail
	Run     Run                               // EvSpawned, EvFound
	Exit    Exit                              // EvExited; EvFound: of the run before, if there was one
	Remains Remains                           // EvExited: what still lives of the tree
	Jitter  func(time.Duration) time.Duration // nil: none
}

// ActionKind is what the shell has to do.
type ActionKind int

const (
	ActSpawn  ActionKind = iota // spawn incarnation Inc; its result comes back as EvSpawned or EvExited
	ActPart                     // what is done before incarnation Inc is signalled; its end comes back as EvParted
	ActSignal                   // Sig to the process (its group with the policy's TreeKill)
	ActClear                    // Sig to what is left of the tree; its end comes back as EvCleared
	ActGone                     // the incarnation is gone with all its leftovers
	ActArm                      // EvTimer with Epoch after Delay, instead of any other timer
	ActDisarm
)

// Action is one thing to do.
type Action struct {
	Kind  ActionKind
	Inc   uint64
	Sig   syscall.Signal
	Epoch uint64
	Delay time.Duration
}

// Machine is one supervised process as a value. Want is the user's wish and
// changed by requests alone: a program that ended as it should (autorestart off,
// a stop exit code) is Stopped and still wanted. As JSON it outlives its daemon:
// Restore goes on from it.
type Machine struct {
	State   State  `json:"state"`
	Want    bool   `json:"want,omitempty"`
	Inc     uint64 `json:"inc,omitempty"` // spawns ordered so far
	Run     Run    `json:"run,omitzero"`  // zero without a live process
	Timer   Timer  `json:"timer,omitzero"`
	Count   Count  `json:"count,omitzero"`
	Plan    Plan   `json:"plan,omitzero"`
	Recycle bool   `json:"recycle,omitempty"` // Spawning: end the newcomer as soon as it is there
	Asked   bool   `json:"asked,omitempty"`   // Stopping: it was told to end
	Killed  bool   `json:"killed,omitempty"`  // SIGKILL was sent and something is still there
	Cause   string `json:"cause,omitempty"`
	Conduct
	LastExit *Exit   `json:"last_exit,omitempty"`
	Ended    *Exit   `json:"ended,omitempty"`  // how Run has ended, from when that is known to when it is judged
	Remains  Remains `json:"remains,omitzero"` // of the run before
}

// Conduct is what the present incarnation was found to be.
type Conduct struct {
	Ready Readiness `json:"ready,omitempty"`
	Hang  string    `json:"hang,omitempty"`  // it is stuck, and SIGKILL was sent for that
	Fault string    `json:"fault,omitempty"` // it is of no use, and is being ended for that
}

// Readiness is whether a run has said that it is ready.
type Readiness int

const (
	NotAsked Readiness = iota // who has lived for min_uptime is ready
	Awaited
	Reached
)

// Run is the live process.
type Run struct {
	Pid       int       `json:"pid"`
	StartTime uint64    `json:"start_time"` // clock ticks since boot (/proc/PID/stat field 22)
	Started   time.Time `json:"started"`
	Edition   uint64    `json:"edition,omitempty"` // of the command that it was spawned with; 0: not known
}

// Remains is what a main process has left that is dead and reaped.
type Remains struct {
	Pid       int    `json:"pid,omitempty"` // of the tree that is to be cleared; 0: nothing is left
	StartTime uint64 `json:"start_time,omitempty"`
	Reaped    uint64 `json:"reaped,omitempty"` // when, in clock ticks since boot; 0: not known
}

// Timer is the machine's only timer; a later epoch makes an earlier one stale.
type Timer struct {
	Epoch uint64        `json:"epoch"`
	Armed bool          `json:"armed,omitempty"`
	Due   time.Time     `json:"due,omitzero"`
	Delay time.Duration `json:"delay_ns,omitempty"`
}

// left is how long the timer has to run at now. The wall clock may have been set
// since it was armed, so it is never more than it was armed with.
func (t Timer) left(now time.Time) time.Duration {
	return min(max(t.Due.Sub(now), 0), t.Delay)
}

// Count is what the user may reset.
type Count struct {
	Restarts int `json:"restarts,omitempty"` // spawns but for the first, and those by which a stopped or errored app was started
	Unstable int `json:"unstable,omitempty"` // unstable exits in a row, never above MaxRestarts
}

// Plan says what follows once the tree is gone.
type Plan struct {
	Then  then          `json:"then"`
	Due   time.Time     `json:"due,omitzero"`       // when the successor may start
	Delay time.Duration `json:"delay_ns,omitempty"` // from the exit to Due
	Again bool          `json:"again,omitempty"`    // the next spawn counts as a restart
}

type then int

const (
	thenRest then = iota // stopped
	thenRun              // a successor, at Due
	thenFail             // errored
)

var thenNames = [...]string{"rest", "run", "fail"}

const (
	retryErrored = 30 * time.Second
	backoffCap   = 15 * time.Second
	killAgain    = time.Second // the least pause between two SIGKILLs
	stableFactor = 10          // lived this many min_uptimes: past failures are forgotten
)

// Step is the whole of the supervision's decisions: what machine m becomes by
// event ev, and what has to be done. A timer of another epoch and news of
// another incarnation change nothing.
func Step(m Machine, pol Policy, ev Event) (Machine, []Action) {
	switch ev.Kind {
	case EvTimer:
		if !m.Timer.Armed || ev.Epoch != m.Timer.Epoch {
			return m, nil
		}
		m.Timer = Timer{Epoch: m.Timer.Epoch}
	case EvHang, EvReady, EvFail, EvParted, EvSpawned, EvExited, EvCleared:
		if ev.Inc != m.Inc {
			return m, nil
		}
	}
	s := step{m: m, pol: pol, ev: ev}
	table[m.State][ev.Kind](&s)
	return s.m, s.acts
}

// step is one Step under way.
type step struct {
	m    Machine
	pol  Policy
	ev   Event
	acts []Action
}

type rule func(*step)

// table has a rule for every state and event; ignore is written down as well.
var table = [states][events]rule{
	Stopped: {
		EvStart: startFresh, EvStop: unwant, EvRestart: startFresh, EvReset: reset,
		EvSpawned: ignore, EvExited: ignore, EvCleared: ignore, EvTimer: ignore, EvFound: takeOver,
		EvHang: ignore, EvReady: ignore, EvFail: ignore, EvParted: ignore,
	},
	Spawning: {
		EvStart: want, EvStop: dropNewcomer, EvRestart: recycleNewcomer, EvReset: reset,
		EvSpawned: spawned, EvExited: spawnFailed, EvCleared: ignore, EvTimer: ignore, EvFound: spawned,
		EvHang: ignore, EvReady: readyEarly, EvFail: ignore, EvParted: ignore,
	},
	Starting: {
		EvStart: ignore, EvStop: stop, EvRestart: restart, EvReset: reset,
		EvSpawned: ignore, EvExited: unstableExit, EvCleared: ignore, EvTimer: settled, EvFound: unstableThenFound,
		EvHang: killStuck, EvReady: readyEarly, EvFail: fail, EvParted: ignore,
	},
	Unready: {
		EvStart: ignore, EvStop: stop, EvRestart: restart, EvReset: reset,
		EvSpawned: ignore, EvExited: unstableExit, EvCleared: ignore, EvTimer: late, EvFound: unstableThenFound,
		EvHang: killStuck, EvReady: readyAtLast, EvFail: fail, EvParted: ignore,
	},
	Online: {
		EvStart: ignore, EvStop: stop, EvRestart: restart, EvReset: reset,
		EvSpawned: ignore, EvExited: stableExit, EvCleared: ignore, EvTimer: forget, EvFound: stableThenFound,
		EvHang: killStuck, EvReady: ignore, EvFail: fail, EvParted: ignore,
	},
	Parting: {
		EvStart: want, EvStop: unwant, EvRestart: wantAgain, EvReset: reset,
		EvSpawned: ignore, EvExited: requestedExit, EvCleared: ignore, EvTimer: parted, EvFound: requestedThenFound,
		EvHang: killStuck, EvReady: ignore, EvFail: ignore, EvParted: parted,
	},
	Stopping: {
		EvStart: want, EvStop: unwant, EvRestart: wantAgain, EvReset: reset,
		EvSpawned: ignore, EvExited: requestedExit, EvCleared: ignore, EvTimer: kill, EvFound: requestedThenFound,
		EvHang: ignore, EvReady: ignore, EvFail: ignore, EvParted: ignore,
	},
	Killing: {
		EvStart: want, EvStop: unwant, EvRestart: wantAgain, EvReset: reset,
		EvSpawned: ignore, EvExited: requestedExit, EvCleared: ignore, EvTimer: kill, EvFound: requestedThenFound,
		EvHang: ignore, EvReady: ignore, EvFail: ignore, EvParted: ignore,
	},
	Clearing: {
		EvStart: startAfterClearing, EvStop: stopAfterClearing, EvRestart: restartAfterClearing, EvReset: reset,
		EvSpawned: ignore, EvExited: ignore, EvCleared: cleared, EvTimer: killLeftovers, EvFound: takeOver,
		EvHang: ignore, EvReady: ignore, EvFail: ignore, EvParted: ignore,
	},
	Backoff: {
		EvStart: startNow, EvStop: rest, EvRestart: startNow, EvReset: reset,
		EvSpawned: ignore, EvExited: ignore, EvCleared: ignore, EvTimer: startDue, EvFound: takeOver,
		EvHang: ignore, EvReady: ignore, EvFail: ignore, EvParted: ignore,
	},
	Errored: {
		EvStart: startFresh, EvStop: rest, EvRestart: startFresh, EvReset: reset,
		EvSpawned: ignore, EvExited: ignore, EvCleared: ignore, EvTimer: startDue, EvFound: takeOver,
		EvHang: ignore, EvReady: ignore, EvFail: ignore, EvParted: ignore,
	},
}
