package cmd

import (
	"context"
	"encoding/json"
	"maps"

	"github.com/spf13/cobra"

	"gopm/daemon/api"
	"gopm/ecosystem"
)

// jlistEntry is pm2's envelope with the keys that tools read.
type jlistEntry struct {
	Pid   int        `json:"pid"`
	Name  string     `json:"name"`
	ID    int        `json:"pm_id"`
	Monit jlistMonit `json:"monit"`
	Env   jlistEnv   `json:"pm2_env"`
}

type jlistMonit struct {
	Memory int64   `json:"memory"` // bytes
	CPU    float64 `json:"cpu"`    // percent of one core
}

// jlistEnv is what pm2 calls the environment of a process: its state and its
// settings. Times are milliseconds since 1970.
type jlistEnv struct {
	jlistState
	jlistProgram
	jlistPlace
	jlistLife
	jlistTimes
	Env map[string]string `json:"env"` // declared in the file; what was inherited is not shown
}

type jlistState struct {
	Status      string      `json:"status"`
	RestartTime int         `json:"restart_time"`
	Unstable    int         `json:"unstable_restarts"`
	Uptime      int64       `json:"pm_uptime"`
	Created     int64       `json:"created_at"`
	ExitCode    *int        `json:"exit_code,omitempty"`
	ExitSignal  string      `json:"exit_signal,omitempty"`
	NextTry     int64       `json:"next_restart_at,omitempty"`
	Health      *api.Health `json:"gopm_health,omitempty"`
}

type jlistProgram struct {
	Script          string   `json:"pm_exec_path"`
	Cwd             string   `json:"pm_cwd"`
	Args            []string `json:"args"`
	Interpreter     string   `json:"exec_interpreter"`
	InterpreterArgs []string `json:"node_args"`
	ExecMode        string   `json:"exec_mode"`
	Autorestart     bool     `json:"autorestart"`
	Version         string   `json:"version,omitempty"`
}

// jlistLife are the settings that tools look at; times are milliseconds. What an app
// doesn't use is left out, but for watch.
type jlistLife struct {
	Watch         bool     `json:"watch"`
	IgnoreWatch   []string `json:"ignore_watch,omitempty"`
	WatchDelay    int64    `json:"watch_delay,omitempty"`
	CronRestart   string   `json:"cron_restart,omitempty"`
	WaitReady     bool     `json:"wait_ready,omitempty"`
	ByMessage     bool     `json:"shutdown_with_message,omitempty"`
	KillTimeout   int64    `json:"kill_timeout"`
	MinUptime     int64    `json:"min_uptime"`
	ListenTimeout int64    `json:"listen_timeout"`
	RestartDelay  int64    `json:"restart_delay,omitempty"`
	MaxMemory     int64    `json:"max_memory_restart,omitempty"` // bytes
}

// lifeOf is what jlist tells of an app's settings.
func lifeOf(a ecosystem.App) jlistLife {
	l := jlistLife{
		Watch: len(a.Watch.Paths) > 0, CronRestart: a.Times.Restart, WaitReady: a.Ready.By == ecosystem.ReadyMessage, ByMessage: a.Talk.ShutdownMessage,
		KillTimeout: a.Stop.Timeout.Milliseconds(), MinUptime: a.Restart.MinUptime.Milliseconds(), ListenTimeout: a.Reload.Ready.Milliseconds(),
		RestartDelay: a.Restart.Delay.Milliseconds(), MaxMemory: a.Restart.MaxMemory,
	}
	if l.Watch {
		l.IgnoreWatch, l.WatchDelay = a.Watch.Ignore, a.Watch.Delay.Milliseconds()
	}
	return l
}

type jlistPlace struct {
	Name      string `json:"name"`
	ID        int    `json:"pm_id"`
	Namespace string `json:"namespace"`
	Instances int    `json:"instances"`
	Instance  int    `json:"NODE_APP_INSTANCE"`
	Out       string `json:"pm_out_log_path"`
	Err       string `json:"pm_err_log_path"`
	PidFile   string `json:"pm_pid_path,omitempty"`
	Origin    string `json:"origin,omitempty"`
	User      string `json:"username"`
	Dropped   int64  `json:"log_dropped_bytes,omitempty"`
}

func (c *cli) jlistCmd() *cobra.Command {
	show := false
	cmd := &cobra.Command{
		Use:   "jlist",
		Short: "List what runs as JSON, in pm2's form",
		Long: `List what runs as JSON, in pm2's form. Of variables it has what the files declare; values
that look like secrets are hidden, as by gopm env; --show-secrets shows them.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.printJlist(cmd.Context(), show, func(v any) error { return json.NewEncoder(c.out).Encode(v) })
		},
	}
	showFlags(cmd, &show)
	return cmd
}

func (c *cli) prettylistCmd() *cobra.Command {
	show := false
	cmd := &cobra.Command{
		Use:   "prettylist",
		Short: "List what runs as JSON, in pm2's form, indented",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.printJlist(cmd.Context(), show, c.printJSON)
		},
	}
	showFlags(cmd, &show)
	return cmd
}

func (c *cli) printJlist(ctx context.Context, show bool, print func(any) error) error {
	details, err := c.details(ctx, nil)
	if err != nil && !noDaemon(err) {
		return err
	}
	if !show {
		hideInDetails(details)
	}
	entries := []jlistEntry{}
	for _, d := range details {
		entries = append(entries, jlist(d))
	}
	if err := print(entries); err != nil {
		return err
	}
	return c.absence(err, len(entries) > 0)
}

func jlist(d api.Detail) jlistEntry {
	p, cmd := d.Process, d.App.Command
	e := jlistEntry{Pid: p.Pid, Name: d.Name, ID: d.ID, Monit: jlistMonit{Memory: d.Usage.Memory, CPU: d.Usage.CPU}}
	e.Env.jlistState = jlistState{
		Status: p.Status, RestartTime: p.Restarts, Unstable: p.Unstable, Created: d.Created.UnixMilli(), Health: d.Health,
	}
	if !p.Started.IsZero() {
		e.Env.Uptime = p.Started.UnixMilli()
	}
	if !p.NextTry.IsZero() {
		e.Env.NextTry = p.NextTry.UnixMilli()
	}
	if x := p.LastExit; x != nil && x.Error == "" && !x.Unknown() {
		if e.Env.ExitSignal = x.Signal; x.Signal == "" {
			e.Env.ExitCode = &x.Code
		}
	}
	e.Env.jlistProgram = jlistProgram{
		Script: cmd.Script, Cwd: cmd.Cwd, Args: orEmpty(cmd.Args), Interpreter: orElse(cmd.Interpreter, "none"),
		InterpreterArgs: orEmpty(cmd.InterpreterArgs), ExecMode: d.Mode + "_mode",
		Autorestart: d.App.Restart.Auto, Version: d.Version,
	}
	e.Env.jlistPlace = jlistPlace{
		Name: d.Name, ID: d.ID, Namespace: d.Namespace, Instances: d.App.Scale.Instances, Instance: d.Index,
		Out: d.Out.Path, Err: d.Err.Path, PidFile: d.App.PidFile, Origin: d.Origin, User: d.User,
		Dropped: d.Out.Dropped + d.Err.Dropped,
	}
	e.Env.jlistLife = lifeOf(d.App)
	e.Env.jlistTimes = timesInJlist(d)
	e.Env.Env = map[string]string{}
	maps.Copy(e.Env.Env, d.App.Env.Vars)
	return e
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
