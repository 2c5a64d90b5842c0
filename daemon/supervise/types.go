package supervise

import (
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
}

// Command is what is spawned. It is replaced as a whole by Configure.
type Command struct {
	Argv   []string // Argv[0] is the path that is executed
	Env    []string
	Dir    string
	Umask  *int // nil: the daemon's own
	User   *Credential
	Marker []string // environment entries ("pm_id=3", "GOPM_HOME=/x") that a descendant which left the group is known by
}

// Credential is the user a process runs as; nil means the daemon's own.
type Credential struct {
	UID, GID uint32
	Groups   []uint32
}

// Exit is how an incarnation ended.
type Exit struct {
	At        time.Time
	Code      int            // meaningful when Signal is 0 and Err is empty; -1: not known
	Signal    syscall.Signal // 0: it exited by itself
	CoreDump  bool
	OOM       bool   // the kernel's OOM killer did it, as far as that can be known
	Err       string // the spawn failed: nothing ran ("permission denied: /x/app")
	Uptime    time.Duration
	Requested bool // we had asked it to end

	Incarnation uint64 // whose end it was
}
