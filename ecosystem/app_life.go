package ecosystem

import "time"

// This file has the part of an App that is about its life between start and stop:
// when it is ready and well, what it waits for, what is done around it, and when.

// Life is what an App says about that.
type Life struct {
	Ready     Ready     `json:"ready"`
	Health    Health    `json:"health,omitzero"`
	DependsOn DependsOn `json:"depends_on,omitzero"`
	Hooks     Hooks     `json:"hooks,omitzero"`
	Times     Times     `json:"times,omitzero"`
	Watch     Watch     `json:"watch,omitzero"`
	Talk      Talk      `json:"talk,omitzero"`
}

// Ready says what makes an instance ready, and by when it has to be.
type Ready struct {
	By      string        `json:"by,omitempty"`      // Ready…; never "" in an App that is complete
	Log     string        `json:"log,omitempty"`     // ReadyLog: a regular expression that a line of its output matches
	Port    int           `json:"port,omitempty"`    // ReadyPort: this one; 0 = in cluster mode all that are named, or any, else PORT
	Timeout time.Duration `json:"timeout,omitempty"` // ready_timeout; never 0 in an App that is complete
	Given   bool          `json:"given,omitempty"`   // Timeout was given by the user: start waits so long, too
}

// What makes an instance ready.
const (
	ReadyUptime  = "uptime"  // it has lived for min_uptime
	ReadyMessage = "message" // process.send('ready') of node, or READY=1 by sd_notify
	ReadyPort    = "port"    // it listens
	ReadyLog     = "log"     // a line of its output
	ReadyHealth  = "health"  // the first health check that passes
)

// Health says how a running instance is checked. At most one of HTTP, TCP and Exec is
// set; without any there are no checks.
type Health struct {
	HTTP        Hook          `json:"http,omitzero"`          // of which URL, Method, Body and Headers count; an answer below 400 is good
	TCP         string        `json:"tcp,omitempty"`          // "127.0.0.1:{port}": to be connected with
	Exec        string        `json:"exec,omitempty"`         // for a shell, in the app's folder; code 0 is good
	Interval    time.Duration `json:"interval,omitempty"`     // from the begin of one check to that of the next
	Timeout     time.Duration `json:"timeout,omitempty"`      // of one check
	Retries     int           `json:"retries,omitempty"`      // failures in a row that make it unhealthy
	StartPeriod time.Duration `json:"start_period,omitempty"` // failures so soon after the start don't count
	OnFail      string        `json:"on_fail,omitempty"`      // OnFail…
	Watchdog    time.Duration `json:"watchdog,omitempty"`     // WATCHDOG=1 has to come by sd_notify at least so often; 0 = it needn't. It can stand alone
}

// What is done about an unhealthy instance.
const (
	OnFailMark    = "mark"    // nothing but that it is shown, and avoided in cluster mode
	OnFailRestart = "restart" // it is restarted, one instance of an app at a time
)

// IsChecked says whether there is a check that gopm makes.
func (h Health) IsChecked() bool { return h.HTTP.URL != "" || h.TCP != "" || h.Exec != "" }

// DependsOn are the apps that an app needs.
type DependsOn struct {
	Apps   []Dependency `json:"apps,omitempty"`    // by name
	OnExit string       `json:"on_exit,omitempty"` // on_dependency_exit: OnExit…; "" = ignore
}

// Dependency is an app, and what it has to be before the dependent is started.
type Dependency struct {
	App   string `json:"app"`
	Until string `json:"until"` // Until…
}

// What a dependency has to be.
const (
	UntilStarted   = "started"   // its process runs
	UntilReady     = "ready"     // it is online
	UntilHealthy   = "healthy"   // and its checks pass
	UntilCompleted = "completed" // it has ended as it should: exit code 0, or one of stop_exit_codes
)

// What is done when a dependency has ended for good: it is stopped or errored.
const (
	OnExitIgnore  = "ignore"
	OnExitStop    = "stop"    // stopped with it; started with it again
	OnExitRestart = "restart" // restarted when it is there again
)

// Hooks are commands around an instance's process. Of each Exec and Timeout count.
type Hooks struct {
	PreStart  Hook `json:"pre_start,omitzero"`  // before each start, which its failure fails
	PostStart Hook `json:"post_start,omitzero"` // when it is online
	PreStop   Hook `json:"pre_stop,omitzero"`   // before it is asked to end
	OnErrored Hook `json:"on_errored,omitzero"` // when it is errored
}

// Times say when something is done by the clock: texts for ParseSchedule, which may
// begin with CRON_TZ=Europe/Berlin.
type Times struct {
	Schedule string        `json:"schedule,omitempty"`     // the app is a job, run at these times; "" = it is none
	Overlap  string        `json:"overlap,omitempty"`      // of a job: Overlap…; "" = skip
	Timeout  time.Duration `json:"timeout,omitempty"`      // of a run of a job; 0 = none
	Restart  string        `json:"cron_restart,omitempty"` // "" = never
}

// What becomes of a run that is due while the one before still runs.
const (
	OverlapSkip  = "skip"
	OverlapQueue = "queue" // it begins when that has ended; at most one waits
	OverlapKill  = "kill"  // that is ended, and it begins
)

// IsJob says whether the app runs at times, and not always.
func (t Times) IsJob() bool { return t.Schedule != "" }

// Watch says which files make an app restart, or reload, when they change.
type Watch struct {
	Paths     []string      `json:"paths,omitempty"`        // absolute; none = nothing is watched
	Ignore    []string      `json:"ignore,omitempty"`       // patterns as in .gitignore in the app's folder, in the order in which they count; besides dotfiles, node_modules and the app's own logs
	Gitignore bool          `json:"gitignore,omitempty"`    // what the .gitignore files say, too
	Delay     time.Duration `json:"delay,omitempty"`        // of silence after a change
	Poll      time.Duration `json:"poll,omitempty"`         // look so often instead of being told; 0 = be told
	Follow    bool          `json:"follow_links,omitempty"` // symbolic links to folders
}

// Talk says how gopm and the process talk besides signals.
type Talk struct {
	Stdin           bool `json:"stdin,omitempty"`                 // gopm send writes to it; else it is /dev/null
	ShutdownMessage bool `json:"shutdown_with_message,omitempty"` // node is asked to end by a message
}
