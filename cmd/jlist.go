package cmd

import (
	"context"
	"encoding/json"
	"maps"

	"github.com/spf13/cobra"

	"gopm/daemon/api"
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
	Env map[string]string `json:"env"` // declared in the file; what was inherited is not shown
}

type jlistState struct {
	Status      string `json:"status"`
	RestartTime int    `json:"restart_time"`
	Unstable    int    `json:"unstable_restarts"`
	Uptime      int64  `json:"pm_uptime"`
	Created     int64  `json:"created_at"`
	ExitCode    *int   `json:"exit_code,omitempty"`
	ExitSignal  string `json:"exit_signal,omitempty"`
	NextTry     int64  `json:"next_restart_at,omitempty"`
}

type jlistProgram struct {
	Script          string   `json:"pm_exec_path"`
	Cwd             string   `json:"pm_cwd"`
	Args            []string `json:"args"`
	Interpreter     string   `json:"exec_interpreter"`
	InterpreterArgs []string `json:"node_args"`
	ExecMode        string   `json:"exec_mode"`
	Autorestart     bool     `json:"autorestart"`
	Watch           bool     `json:"watch"`
	Version         string   `json:"version,omitempty"`
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
	return &cobra.Command{
		Use:   "jlist",
		Short: "List what runs as JSON, in pm2's form",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.printJlist(cmd.Context(), func(v any) error { return json.NewEncoder(c.out).Encode(v) })
		},
	}
}

func (c *cli) prettylistCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "prettylist",
		Short: "List what runs as JSON, in pm2's form, indented",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.printJlist(cmd.Context(), c.printJSON)
		},
	}
}

func (c *cli) printJlist(ctx context.Context, print func(any) error) error {
	details, err := c.details(ctx, nil)
	if err != nil && !noDaemon(err) {
		return err
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
		Status: p.Status, RestartTime: p.Restarts, Unstable: p.Unstable, Created: d.Created.UnixMilli(),
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
