// Package api is the wire between the command line and the daemon: request and
// response types, error kinds, where the socket is, and the client. It has no
// goroutines of its own.
//
// The API is HTTP with JSON over the unix socket $GOPM_HOME/gopm.sock. Streams are
// newline-delimited JSON: the present state first, then changes.
package api

import (
	"time"

	"gopm/ecosystem"
)

// Paths of the API, one constant per route.
const (
	PathPing      = "/v1/ping"      // GET  -> Ping
	PathInstances = "/v1/instances" // GET  ?target=… -> stream of []Instance, with an end
	PathDetails   = "/v1/details"   // GET  ?target=…&deep=1 -> []Detail
	PathApply     = "/v1/apply"     // POST Apply -> Outcome
	PathStart     = "/v1/start"     // POST Targets -> Outcome
	PathRestart   = "/v1/restart"   // POST Targets -> Outcome
	PathRun       = "/v1/run"       // POST Run -> Running, when it has begun
	PathRunning   = "/v1/running"   // GET  ?target=ID&inc=N -> stream of RunPart, up to the end of the run
	PathLock      = "/v1/lock"      // POST LockRequest -> stream of LockPart; its end is the lock's
	PathLocked    = "/v1/locked"    // POST LockUse -> LockFreed
	PathStop      = "/v1/stop"      // POST Targets -> Outcome, when all have stopped
	PathDelete    = "/v1/delete"    // POST Targets -> Outcome, when all are gone
	PathReset     = "/v1/reset"     // POST Targets -> Outcome
	PathReload    = "/v1/reload"    // POST Targets -> Outcome; what is exchanged is told by PathRoll
	PathRoll      = "/v1/roll"      // GET  ?number=N -> stream of RollStep
	PathSignal    = "/v1/signal"    // POST Signal -> Outcome
	PathSend      = "/v1/send"      // POST Send -> Sent
	PathScale     = "/v1/scale"     // POST Scale -> Outcome
	PathFlush     = "/v1/flush"     // POST Flush -> Flushed
	PathReopen    = "/v1/reopen"    // POST Targets -> Flushed: log files opened anew, for logrotate
	PathEnv       = "/v1/env"       // GET  ?target=… -> []Environment
	PathConfig    = "/v1/config"    // GET  ?target=… -> []Config, of the apps that Consul configures; POST Targets -> Outcome: values are tried again that they failed with
	PathKill      = "/v1/kill"      // POST -> Outcome, when all have stopped; then the daemon ends
	PathSave      = "/v1/save"      // POST -> Saved: a snapshot that later changes don't touch
	PathResurrect = "/v1/resurrect" // POST Resurrect -> Outcome
	PathUpdate    = "/v1/update"    // POST -> Update; then the daemon hands over to the binary that is now at its path
	PathWatch     = "/v1/watch"     // GET  ?target=… -> stream of Instance
	PathLogs      = "/v1/logs"      // GET  ?target=…&follow=1 -> stream of LogEvent
	PathEvents    = "/v1/events"    // GET  ?target=…&kind=…&lines=N&since=TIME&after=SEQ&follow=1 -> stream of Events
	PathMetrics   = "/metrics"      // GET  -> text for Prometheus, where Prometheus looks for it
	PathOutput    = "/v1/output"    // GET  ?target=ID&lines=N -> Output
)

// Ping identifies a daemon.
type Ping struct {
	Version   string    `json:"version"`
	Pid       int       `json:"pid"`
	KeeperPid int       `json:"keeper_pid"`
	Home      string    `json:"home"`
	Started   time.Time `json:"started"`
	Binary    string    `json:"binary"`            // the path that the first daemon of this keeper was started from; update looks there
	Before    string    `json:"before,omitempty"`  // how the daemon before this one ended: "was killed by SIGKILL", "handed over"; "" = there was none
	Refused   string    `json:"refused,omitempty"` // why the binary of the last update was given up
}

// Resurrect starts what should run and doesn't. With Saved the apps of the snapshot
// that `save` made are added first, those that are not there.
type Resurrect struct {
	Saved bool `json:"saved,omitempty"`
}

// Saved says where a snapshot was written.
type Saved struct {
	Path string `json:"path"`
	Apps int    `json:"apps"`
}

// Update is the daemon's answer before it hands over to the binary at Binary.
type Update struct {
	Pid     int    `json:"pid"`     // of the daemon that answers
	Version string `json:"version"` // of the new binary
	Binary  string `json:"binary"`
}

// Instance is one row of the process list.
type Instance struct {
	ID        int     `json:"id"`
	Name      string  `json:"name"`
	Namespace string  `json:"namespace"`
	Version   string  `json:"version,omitempty"`
	Mode      string  `json:"mode"`            // "fork" or "cluster"
	Index     int     `json:"index,omitempty"` // the instance's number in its app
	User      string  `json:"user"`
	Origin    string  `json:"origin,omitempty"` // absolute path of the file; "" = command line
	EnvName   string  `json:"env_name,omitempty"`
	Watch     bool    `json:"watch,omitempty"` // its files are
	Process   Process `json:"process"`
	Usage     Usage   `json:"usage"`
	LogStatus string  `json:"log_status,omitempty"` // "" = fine; else what is wrong with its log
	Dropped   int64   `json:"dropped_bytes,omitempty"`
	Repute
}

// Repute is how well an instance is, and what others are told of that.
type Repute struct {
	Health *Health       `json:"health,omitempty"` // nil: it isn't checked, or doesn't run
	Consul *Registration `json:"consul,omitempty"` // nil: it isn't to be registered
}

// Process is the state of an instance's program.
type Process struct {
	Status      string    `json:"status"` // pm2's words: online, launching, stopping, stopped, waiting restart, errored
	Pid         int       `json:"pid,omitempty"`
	Incarnation uint64    `json:"incarnation"`
	Started     time.Time `json:"started,omitzero"`
	Restarts    int       `json:"restarts,omitempty"`
	Unstable    int       `json:"unstable_restarts,omitempty"`
	NextTry     time.Time `json:"next_try,omitzero"`
	Clearing    bool      `json:"clearing,omitempty"` // leftovers of the last run are being ended
	Killed      bool      `json:"killed,omitempty"`   // SIGKILL was sent and it is still there
	LastExit    *Exit     `json:"last_exit,omitempty"`
	Cause       string    `json:"restart_cause,omitempty"`
	Standby     bool      `json:"standby,omitempty"`   // it runs, as a spare
	Unhealthy   bool      `json:"unhealthy,omitempty"` // it runs, and its checks fail: see Health
	Delay
	Timed
}

// StatusStandby is the status of an instance of a singleton that is to run and doesn't:
// another machine has the lock, or this one hasn't got it yet.
const StatusStandby = "standby"

// Lock is what an instance has to do with the lock of its app, a singleton.
type Lock struct {
	Key    string    `json:"key"`
	Leads  bool      `json:"leads,omitempty"`  // it is the active one, over all machines
	Holder string    `json:"holder,omitempty"` // who has the lock: "host-b:cron"; "" = nobody, or it isn't known
	Fence  uint64    `json:"fence,omitempty"`  // of the active one: GOPM_FENCE
	Ends   time.Time `json:"ends,omitzero"`    // when it is lost if Consul doesn't answer before; zero: it is renewed
	Why    string    `json:"why,omitempty"`    // why this machine can't have it; "" = another has it, or it has
}

// Wait is what an instance waits for that depends on others.
type Wait struct {
	Waits   string   `json:"waits,omitempty"`    // what has to be there before it is started, or restarted if it runs: "db (launching)"
	WaitsOn []string `json:"waits_on,omitempty"` // the names in that
	Stuck   bool     `json:"stuck,omitempty"`    // and these do not come by themselves
}

// Delay is what keeps an instance from being up, or down, as it is to be.
type Delay struct {
	Proven   bool   `json:"proven,omitempty"`    // it serves in the place of the process before it, by a reload, though it may be launching still
	NotReady bool   `json:"not_ready,omitempty"` // it runs, and is to show yet that it is ready
	Hook     string `json:"hook,omitempty"`      // that it waits for: pre_start, pre_stop
	Off      bool   `json:"off,omitempty"`       // it is not to run: a command has stopped it, or none has started it yet
	Rested   string `json:"rested,omitempty"`    // why it is down though it should run: "kill", "shutdown", "reboot"
	Lock     *Lock  `json:"lock,omitempty"`      // nil: its app is no singleton
	Wait
}

// Timed is what is done with an instance by the clock.
type Timed struct {
	Due       time.Time `json:"due,omitzero"`        // when a job runs next, or cron_restart restarts it
	Job       bool      `json:"job,omitempty"`       // it runs at times, and not always
	Scheduled bool      `json:"scheduled,omitempty"` // and runs when it is due
	Queued    bool      `json:"queued,omitempty"`    // and once more as soon as the run that is under way has ended
	Behind    uint64    `json:"behind,omitempty"`    // the incarnation of that
}

// Health is what the checks of the present run have shown.
type Health struct {
	State       string    `json:"state"` // Health…
	Since       time.Time `json:"since"`
	Error       string    `json:"error,omitempty"` // what was wrong at the last check; "" = nothing, or there was none
	Checks      int       `json:"checks"`          // but for those that failed while it was starting
	Failures    int       `json:"failures"`
	InARow      int       `json:"failures_in_a_row,omitempty"`
	Incarnation uint64    `json:"incarnation"`
}

// What an instance's health is.
const (
	HealthUnknown   = "unknown" // no check has passed, nor have enough failed
	HealthHealthy   = "healthy"
	HealthUnhealthy = "unhealthy"
)

// Exit is how a run ended. Signal and Code are never both meaningful.
type Exit struct {
	At          time.Time `json:"at"`
	Code        int       `json:"code"`             // -1: nobody saw how it ended, if there is no Signal or Error either
	Signal      string    `json:"signal,omitempty"` // "SIGKILL"; "" = it exited with Code
	Core        bool      `json:"core,omitempty"`
	OOM         bool      `json:"oom,omitempty"`
	Hang        string    `json:"hang,omitempty"`  // it was stuck, and gopm killed it: how that was seen
	Fault       string    `json:"fault,omitempty"` // it was of no use, and gopm ended it: "not ready within 1m0s"
	Error       string    `json:"error,omitempty"` // it could not be started at all
	UptimeMS    int64     `json:"uptime_ms"`
	Requested   bool      `json:"requested,omitempty"` // by a command of the user
	Expected    bool      `json:"expected,omitempty"`  // code 0 or a stop exit code
	Incarnation uint64    `json:"incarnation"`
}

// Unknown says that nobody saw how the run ended: its parent, a daemon or keeper, had
// died before it. It is never taken for code 0.
func (e Exit) Unknown() bool { return e.Code < 0 && e.Signal == "" && e.Error == "" && !e.OOM }

// Usage is what an instance's main process takes.
type Usage struct {
	CPU        float64 `json:"cpu,omitempty"`         // percent of one core
	SinceStart bool    `json:"since_start,omitempty"` // CPU is the average since the start, not since the last look
	Memory     int64   `json:"memory,omitempty"`      // resident bytes
}

// Detail is everything about one instance.
type Detail struct {
	Instance
	App     ecosystem.App `json:"app"`
	Argv    []string      `json:"argv"`
	Created time.Time     `json:"created"`
	Out     LogInfo       `json:"out"`
	Err     LogInfo       `json:"err"`
	Ports   []string      `json:"ports,omitempty"` // with deep=1, as Tree and Last: "tcp 0.0.0.0:3000", listened on by the process and its descendants
	Place   *Place        `json:"place,omitempty"` // nil: not clustered
	Says    string        `json:"says,omitempty"`  // what its process says of itself by sd_notify
	Tree    Tree          `json:"tree"`
	Files   *Watching     `json:"files,omitempty"`       // nil: they are not watched
	Config  *ConfigNow    `json:"config,omitempty"`      // nil: Consul configures it with nothing
	Limited string        `json:"limited,omitempty"`     // whether its limits are in force, or why they aren't; "": it has none
	Last    []string      `json:"last_stderr,omitempty"` // written before the last exit
	Order
}

// Order is what an app depends on, and what depends on it.
type Order struct {
	Needs    []Need   `json:"needs,omitempty"`
	NeededBy []string `json:"needed_by,omitempty"`
}

// Need is an app that another depends on.
type Need struct {
	App   string `json:"app"`
	Until string `json:"until"`           // what it has to be: ready, healthy, started, completed
	State string `json:"state,omitempty"` // what it is instead; "" = it is that
}

// Place is an instance's place in its cluster.
type Place struct {
	Ready      bool     `json:"ready"`               // its process listens
	Standby    bool     `json:"standby,omitempty"`   // or is held before it listens: a spare
	Addresses  []string `json:"addresses,omitempty"` // "0.0.0.0:3000": kept when the process ends
	NoNewPrivs bool     `json:"no_new_privs,omitempty"`
	Trouble    string   `json:"trouble,omitempty"` // why it runs as in fork mode; "": it doesn't
	Roll       string   `json:"roll,omitempty"`    // where its exchange by a reload is; "": there is none
	Refused    string   `json:"refused,omitempty"` // why its program could not have a port
	Lent       string   `json:"lent,omitempty"`    // why its sockets are gopm's, and what it lacks so
}

// Tree is the process and its descendants together.
type Tree struct {
	Processes int   `json:"processes"`
	Memory    int64 `json:"memory"` // PSS in bytes: shared pages counted in part
}

// LogInfo is where a stream goes.
type LogInfo struct {
	Path      string `json:"path"`
	Also      string `json:"also,omitempty"` // log_file
	Bytes     int64  `json:"bytes"`
	Dropped   int64  `json:"dropped_bytes"`
	Error     string `json:"error,omitempty"`
	Rotations int    `json:"rotations"`
}

// Apply brings apps to what a file (or command line) says.
type Apply struct {
	Apps     []ecosystem.App `json:"apps"`
	Origin   string          `json:"origin,omitempty"`
	Names    []string        `json:"names,omitempty"`  // all names of the file, also those not applied (--only)
	Needed   []string        `json:"needed,omitempty"` // names of Apps that are meant only if they are not in the list yet: others need them
	Environ  []string        `json:"environ"`          // the user's environment, for apps that are new
	Act      bool            `json:"act,omitempty"`    // restart also what is unchanged (restart, startOrRestart)
	Reload   bool            `json:"reload,omitempty"` // exchange what is clustered instead of restarting it
	Prune    bool            `json:"prune,omitempty"`
	Takeover bool            `json:"takeover,omitempty"`
	Update   bool            `json:"update_env,omitempty"` // take Environ over for apps that exist, too
}

// Targets name instances: id, name, namespace, "all", /regex/.
type Targets struct {
	Targets []string          `json:"targets"`
	Set     map[string]string `json:"set,omitempty"` // fields given as options (restart only)
	Update  bool              `json:"update_env,omitempty"`
	Environ []string          `json:"environ,omitempty"`
	Cwd     string            `json:"cwd,omitempty"`
}

// Signal sends a signal to the main processes of the targets.
type Signal struct {
	Targets []string `json:"targets"`
	Signal  string   `json:"signal"` // "SIGUSR2", "USR2", "12"
}

// Send writes lines to the standard input of one instance.
type Send struct {
	Target string   `json:"target"`
	Lines  []string `json:"lines"`
}

// Sent says who has got them.
type Sent struct {
	ID    int    `json:"id"`
	Name  string `json:"name"`
	Lines int    `json:"lines"`
}

// Scale changes the number of an app's instances.
type Scale struct {
	Name     string `json:"name"`
	Count    int    `json:"count"`
	Relative bool   `json:"relative,omitempty"` // Count is added to the present number
}

// Outcome is what a command did, app by app, in the order asked for.
type Outcome struct {
	Apps     []AppOutcome `json:"apps"`
	Warnings []string     `json:"warnings,omitempty"`
}

// What happened to an app.
const (
	DidStart     = "started"
	DidRestart   = "restarted"
	DidStop      = "stopped"
	DidDelete    = "deleted"
	DidSchedule  = "scheduled"
	DidNothing   = "unchanged"
	DidScale     = "scaled"
	DidReload    = "reloading"
	DidApply     = "changed, left running"
	DidReset     = "counters reset"
	DidRetry     = "given the newest values again"
	DidSignal    = "signal sent"
	IsDown       = "not running, no signal sent"
	IsRunning    = "running already"
	IsStopped    = "stopped already"
	IsScheduled  = "scheduled already"
	IsOrphan     = "not in the file any more"
	IsNotStarted = "not started (autostart: false)"
)

// AppOutcome is what happened to one app.
type AppOutcome struct {
	Name      string    `json:"name"`
	Did       string    `json:"did"`
	Changes   []string  `json:"changes,omitempty"` // what differed: "args", "env.PORT"
	Instances []Started `json:"instances,omitempty"`
	MinUptime int64     `json:"min_uptime_ms,omitempty"` // what a start is waited for
	ReadyMS   int64     `json:"ready_ms,omitempty"`      // the ready_timeout that the user gave, and time to end: a start is waited for so long
	Roll      uint64    `json:"roll,omitempty"`          // the number of what goes on: see PathRoll
	For       string    `json:"for,omitempty"`           // it was started because this app needs it
	Waits     string    `json:"waits,omitempty"`         // what has to be there before: "db (launching)"
	Gap       bool      `json:"gap,omitempty"`           // it was up, and was ended before its successor began
	NextRun   time.Time `json:"next_run,omitzero"`       // of a job that is scheduled
}

// Started is an instance that was acted on; its run to wait for is the one after
// the incarnation After.
type Started struct {
	ID    int    `json:"id"`
	After uint64 `json:"after"`
}

// Output is what a program wrote last.
type Output struct {
	Err []string `json:"err,omitempty"`
	Out []string `json:"out,omitempty"`
	Why string   `json:"why,omitempty"` // what gopm knows of a failure
}

// Environment is the environment of an instance's program, of its present run or,
// when it is down, of the next.
type Environment struct {
	ID    int        `json:"id"`
	Name  string     `json:"name"`
	Index int        `json:"index"`
	Vars  []Variable `json:"vars"` // by name

	Secrets []string `json:"secrets,omitempty"` // names of those that the app calls so, besides those that look so
}

// Variable is one variable and who has given it.
type Variable struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	From  string `json:"from"`
}

// Who gives variables, the later over the earlier.
const (
	FromShell = "inherited" // by the first start, or -a, from the user's shell
	FromApp   = "declared"  // by the app: env, env_file, port
	FromKeys  = "consul"    // by keys in Consul
	FromGopm  = "gopm"      // who the instance is
)

// Flush empties the log files of the targets.
type Flush struct {
	Targets []string `json:"targets"`
	Own     bool     `json:"own,omitempty"`     // gopm's own log, too
	Rotated bool     `json:"rotated,omitempty"` // delete the rotated files, too
}

// Flushed says what became of log files, each named once.
type Flushed struct {
	Files []LogFile `json:"files"`
}

// LogFile is a file and the bytes that it had.
type LogFile struct {
	Path    string `json:"path"`
	Bytes   int64  `json:"bytes"`
	Rotated int64  `json:"rotated_bytes,omitempty"` // deleted in rotated files
	Error   string `json:"error,omitempty"`
}

// LogEvent is one line of the stream of PathLogs: first all Sources, then, with
// follow=1, the sources that have grown (by position) and sources that are new.
// Gone says that the targets have been deleted; it is the end of the stream.
type LogEvent struct {
	Sources []LogSource `json:"sources,omitempty"`
	Grown   []int       `json:"grown,omitempty"`
	Gone    bool        `json:"gone,omitempty"`
}

// LogSource is one log file with the time index the daemon keeps of it.
type LogSource struct {
	App    string     `json:"app"`
	ID     int        `json:"id"`
	Err    bool       `json:"err,omitempty"`
	Path   string     `json:"path"`
	Layout string     `json:"layout,omitempty"` // log_date_format
	Same   int        `json:"same,omitempty"`   // 1 + the position of an earlier source that is this file; it shows both
	Index  []LogIndex `json:"index,omitempty"`
}

// LogIndex says when a place in a file was written.
type LogIndex struct {
	Inode  uint64    `json:"inode"`
	Offset int64     `json:"offset"`
	Time   time.Time `json:"time"`
}
