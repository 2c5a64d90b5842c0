package supervise

import (
	"context"
	"os"
	"syscall"
	"time"
)

// Policy is what the machine decides by.
type Policy struct {
	Autorestart   bool
	StopExitCodes []int
	MinUptime     time.Duration // an exit before it is unstable
	MaxRestarts   int           // unstable exits in a row until errored
	MaxExplicit   bool          // errored is final; else retried each 30 s
	RestartDelay  time.Duration // fixed delay; 0 = backoff rules
	BackoffStart  time.Duration // 0 = none: RestartDelay after unstable exits too
	KillSignal    syscall.Signal
	KillTimeout   time.Duration
	TreeKill      bool
	Ready         time.Duration // it has to be ready within that; less than MinUptime means that. 0: to have lived is enough
	PreStop       time.Duration // something is to be done before it is signalled, which takes no longer; 0: nothing
}

// Command is what is spawned. It is replaced as a whole by Configure.
type Command struct {
	Argv    []string // Argv[0] is the path that is executed
	Env     []string
	Dir     string
	Umask   *int // nil: the daemon's own
	User    *Credential
	Bounds  *Bounds  // nil: none
	Edition uint64   // tells a run by which command it was begun: see Run
	Session bool     // in a session of its own, for what is no incarnation: it is no stray (see Strays)
	Marker  []string // environment entries ("pm_id=3", "GOPM_HOME=/x") that a descendant which left the group is known by
}

// Launch is what one incarnation is given besides its command. The files are closed
// after the spawn.
type Launch struct {
	In       *os.File   // nil: /dev/null
	Out, Err *os.File   // nil: /dev/null
	Inherit  []*os.File // descriptors 3 and up
	Groups   []string   // files of the kernel that put a process into a cgroup by its number: it is in there before it begins
	Env      []string   // besides the command's, or in the place of an entry of that
	// Thread is called on the thread that is going to fork the program, which ends
	// afterwards: what it changes of the thread (a system call filter) the program
	// inherits. Its error fails the spawn; nil: nothing is to be changed.
	Thread func() error
	// Before is done before the spawn, which its error fails; nil: nothing. It has all
	// the time that it takes, unless ctx ends: then nobody wants the spawn any more.
	Before func(ctx context.Context) error
}

func (l Launch) close() {
	for _, f := range append([]*os.File{l.In, l.Out, l.Err}, l.Inherit...) {
		if f != nil {
			f.Close()
		}
	}
}

// Credential is the user a process runs as; nil means the daemon's own.
type Credential struct {
	UID, GID uint32
	Groups   []uint32
}

// Exit is how an incarnation ended.
type Exit struct {
	At        time.Time      `json:"at"`
	Code      int            `json:"code,omitempty"`   // meaningful when Signal is 0 and Err is empty; Unknown
	Signal    syscall.Signal `json:"signal,omitempty"` // 0: it exited by itself
	CoreDump  bool           `json:"core_dump,omitempty"`
	OOM       bool           `json:"oom,omitempty"`   // the kernel's OOM killer did it, as far as that can be known
	Hang      string         `json:"hang,omitempty"`  // we killed it because it was stuck: how that was seen
	Fault     string         `json:"fault,omitempty"` // we ended it because it was of no use: "not ready within 1m0s"
	Err       string         `json:"err,omitempty"`   // the spawn failed: nothing ran ("permission denied: /x/app")
	Uptime    time.Duration  `json:"uptime_ns,omitempty"`
	Requested bool           `json:"requested,omitempty"` // we had asked it to end

	Incarnation uint64 `json:"incarnation,omitempty"` // whose end it was
}

// Unknown is the code of an exit that nobody could see: it happened when neither a
// daemon nor the keeper was there, or was seen by another parent. It is never 0.
const Unknown = -1
