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
	PathStop      = "/v1/stop"      // POST Targets -> Outcome, when all have stopped
	PathDelete    = "/v1/delete"    // POST Targets -> Outcome, when all are gone
	PathReset     = "/v1/reset"     // POST Targets -> Outcome
	PathSignal    = "/v1/signal"    // POST Signal -> Outcome
	PathScale     = "/v1/scale"     // POST Scale -> Outcome
	PathFlush     = "/v1/flush"     // POST Flush -> Flushed
	PathReopen    = "/v1/reopen"    // POST Targets -> Flushed: log files opened anew, for logrotate
	PathEnv       = "/v1/env"       // GET  ?target=… -> []Environment
	PathKill      = "/v1/kill"      // POST -> Outcome, when all have stopped; then the daemon ends
	PathSave      = "/v1/save"      // POST -> Saved: a snapshot that later changes don't touch
	PathResurrect = "/v1/resurrect" // POST Resurrect -> Outcome
	PathUpdate    = "/v1/update"    // POST -> Update; then the daemon hands over to the binary that is now at its path
	PathWatch     = "/v1/watch"     // GET  ?target=… -> stream of Instance
	PathLogs      = "/v1/logs"      // GET  ?target=…&follow=1 -> stream of LogEvent
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
	Process   Process `json:"process"`
	Usage     Usage   `json:"usage"`
	LogStatus string  `json:"log_status,omitempty"` // "" = fine; else what is wrong with its log
	Dropped   int64   `json:"dropped_bytes,omitempty"`
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
	Rested      string    `json:"rested,omitempty"` // why it is down though it should run: "kill", "shutdown", "reboot"
}

// Exit is how a run ended. Signal and Code are never both meaningful.
type Exit struct {
	At          time.Time `json:"at"`
	Code        int       `json:"code"`             // -1: nobody saw how it ended, if there is no Signal or Error either
	Signal      string    `json:"signal,omitempty"` // "SIGKILL"; "" = it exited with Code
	Core        bool      `json:"core,omitempty"`
	OOM         bool      `json:"oom,omitempty"`
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
	Tree    Tree          `json:"tree"`
	Last    []string      `json:"last_stderr,omitempty"` // written before the last exit
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
	Names    []string        `json:"names,omitempty"` // all names of the file, also those not applied (--only)
	Environ  []string        `json:"environ"`         // the user's environment, for apps that are new
	Act      bool            `json:"act,omitempty"`   // restart also what is unchanged (restart, startOrRestart)
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
	DidNothing   = "unchanged"
	DidScale     = "scaled"
	DidReset     = "counters reset"
	DidSignal    = "signal sent"
	IsDown       = "not running, no signal sent"
	IsRunning    = "running already"
	IsStopped    = "stopped already"
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
}

// Environment is the environment of an instance's program, of its present run or,
// when it is down, of the next.
type Environment struct {
	ID    int        `json:"id"`
	Name  string     `json:"name"`
	Index int        `json:"index"`
	Vars  []Variable `json:"vars"` // by name
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
