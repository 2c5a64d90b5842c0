package ecosystem

import "time"

// App is one validated app: defaults filled in, every path absolute, every unit
// parsed. It is what the daemon runs and what travels over the API as JSON.
// Two Apps are compared field by field (see Diff); nothing in it is private.
type App struct {
	Name      string  `json:"name"`
	Namespace string  `json:"namespace"`
	Version   string  `json:"version,omitempty"` // of the nearest package.json, for display only: never a change
	Command   Command `json:"command"`
	Env       Env     `json:"env"`
	Scale     Scale   `json:"scale"`
	Autostart bool    `json:"autostart"`
	Restart   Restart `json:"restart"`
	Stop      Stop    `json:"stop"`
	Logs      Logs    `json:"logs"`
	PidFile   string  `json:"pid_file,omitempty"` // absolute; "" = none
	Bounds
	Sharing
	Life
	Fleet
}

// Command is what is executed: Interpreter InterpreterArgs... Script Args..., or
// Script Args... when Interpreter is empty.
type Command struct {
	Script          string   `json:"script"` // absolute path, or the text for `bash -c`
	Args            []string `json:"args,omitempty"`
	Interpreter     string   `json:"interpreter,omitempty"` // absolute path; "" = the script runs as it is
	InterpreterArgs []string `json:"interpreter_args,omitempty"`
	Cwd             string   `json:"cwd"`             // absolute
	User            string   `json:"uid,omitempty"`   // name or number, as given
	Group           string   `json:"gid,omitempty"`   // name or number, as given
	Umask           *int     `json:"umask,omitempty"` // nil = the daemon's own
}

// Argv is the command line to execute; Argv[0] is an absolute path.
func (c Command) Argv() []string {
	if c.Interpreter == "" {
		return append([]string{c.Script}, c.Args...)
	}
	argv := append([]string{c.Interpreter}, c.InterpreterArgs...)
	return append(append(argv, c.Script), c.Args...)
}

// Env says what an app's environment is made of. Vars are layered over what is
// inherited from the shell that started the app first.
type Env struct {
	Vars     map[string]string `json:"vars,omitempty"`     // env_file < env < env_<name> < port
	Selected string            `json:"selected,omitempty"` // the env_<name> that is in Vars; "" = env alone
	Inherit  Inherit           `json:"inherit"`
	Secrets  []string          `json:"secrets,omitempty"` // variables whose values are hidden, besides those whose names say so
	Filter   []string          `json:"filter,omitempty"`  // inherited variables dropped: "KEY" by a part of the name, "=KEY=" by the whole name
}

// Inherit says which variables of the user's shell reach the app.
type Inherit struct {
	All   bool     `json:"all"`
	Names []string `json:"names,omitempty"` // when All is false: only these
}

// Scale says how many instances run.
type Scale struct {
	Instances    int    `json:"instances"` // at least 1
	ExecMode     string `json:"exec_mode"` // "fork" or "cluster", as the file asks for
	InstanceVar  string `json:"instance_var"`
	IncrementVar string `json:"increment_var,omitempty"` // its number is raised by the instance's; "" = none
	PortStep     int    `json:"port_step,omitempty"`     // instance i gets PORT + i × PortStep
	Spares       int    `json:"spares,omitempty"`        // cluster mode: instances kept booted for a crash
}

// Restart is the policy after an exit. Durations are nanoseconds in JSON.
type Restart struct {
	Auto           bool          `json:"autorestart"`
	StopExitCodes  []int         `json:"stop_exit_codes,omitempty"`
	MinUptime      time.Duration `json:"min_uptime"`
	MaxRestarts    int           `json:"max_restarts"`
	MaxExplicit    bool          `json:"max_restarts_explicit"` // given by the user: errored is final then
	Delay          time.Duration `json:"restart_delay"`
	BackoffInitial time.Duration `json:"exp_backoff_restart_delay"`
	MaxMemory      int64         `json:"max_memory_restart"` // bytes; 0 = no limit
}

// Stop says how an app is ended.
type Stop struct {
	Signal   string        `json:"kill_signal"`                 // "SIGTERM"
	Given    bool          `json:"kill_signal_given,omitempty"` // by the user; else it is the interpreter's
	Timeout  time.Duration `json:"kill_timeout"`
	TreeKill bool          `json:"treekill"`
}

// Logs says where output goes, in which form, and how long it is kept. An empty
// path means the default below $GOPM_HOME/logs, which only the daemon knows.
type Logs struct {
	Out            string `json:"out_file,omitempty"`
	Err            string `json:"error_file,omitempty"`
	Combined       string `json:"log_file,omitempty"`        // both streams once more; "" = none, DefaultLog = the daemon's default path
	Merge          bool   `json:"merge_logs,omitempty"`      // all instances write one file per stream
	Type           string `json:"log_type,omitempty"`        // "json", or "" for the lines as they are
	DateFormat     string `json:"log_date_format,omitempty"` // before each line, in the words of day.js; "" = nothing
	Time           bool   `json:"time,omitempty"`            // DateFormat was chosen by `time`; by itself it means nothing
	Buffered       bool   `json:"log_buffered,omitempty"`    // read and write instead of splice
	MaxSize        int64  `json:"max_size"`                  // bytes of one file; 0 = never rotated by size
	Retain         int    `json:"retain"`                    // rotated files kept; 0 = all
	MaxTotal       int64  `json:"max_total_size,omitempty"`  // bytes of all log files of the app; 0 = no limit
	Compress       bool   `json:"compress,omitempty"`        // rotated files
	RotateInterval string `json:"rotate_interval,omitempty"` // for ParseSchedule; "" = by size only
	Disabled       bool   `json:"disable_logs,omitempty"`
}

// DefaultLog stands for the default path in Logs.Combined (`log_file: true`).
// Every path there is absolute, so that it can't be one.
const DefaultLog = "default"

// defaults is an app of which nothing was said. What depends on the program
// (exec mode, stop signal) is left empty and decided when that is known.
func defaults() App {
	return App{
		Namespace: "default",
		Autostart: true,
		Env:       Env{Inherit: Inherit{All: true}},
		Scale:     Scale{Instances: 1, InstanceVar: "NODE_APP_INSTANCE"},
		Restart: Restart{
			Auto:           true,
			MinUptime:      time.Second,
			MaxRestarts:    16,
			BackoffInitial: 100 * time.Millisecond,
		},
		Stop: Stop{Timeout: 5 * time.Second, TreeKill: true},
		Logs: Logs{MaxSize: 10 << 20, Retain: 10},
		Sharing: Sharing{
			Cluster: Cluster{Balance: BalanceEven, Backlog: 1024, Hold: 10 * time.Second},
			Reload:  Reload{Surge: 1, Ready: 10 * time.Second},
			Drain:   Drain{Mode: DrainOutside, Timeout: 10 * time.Second, Idle: 2 * time.Second},
		},
		Life: Life{Ready: Ready{By: ReadyUptime, Timeout: time.Minute}},
	}
}
