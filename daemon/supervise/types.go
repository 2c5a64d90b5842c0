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
	At        time.Time      `json:"at"`
	Code      int            `json:"code,omitempty"`   // meaningful when Signal is 0 and Err is empty; Unknown
	Signal    syscall.Signal `json:"signal,omitempty"` // 0: it exited by itself
	CoreDump  bool           `json:"core_dump,omitempty"`
	OOM       bool           `json:"oom,omitempty"` // the kernel's OOM killer did it, as far as that can be known
	Err       string         `json:"err,omitempty"` // the spawn failed: nothing ran ("permission denied: /x/app")
	Uptime    time.Duration  `json:"uptime_ns,omitempty"`
	Requested bool           `json:"requested,omitempty"` // we had asked it to end

	Incarnation uint64 `json:"incarnation,omitempty"` // whose end it was
}

// Unknown is the code of an exit that nobody could see: it happened when neither a
// daemon nor the keeper was there, or was seen by another parent. It is never 0.
const Unknown = -1
