package cmd

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gopm/daemon/api"
	"gopm/ecosystem"
)

func (c *cli) infoCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "describe TARGET...",
		Aliases: []string{"info", "desc", "show"},
		Short:   "Tell everything about an app",
		Long:    "Tell everything about the instances of an app. A target is " + targetHelp,
		Args:    needTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			targets, err := c.targetNames(cmd.Context(), args)
			if err != nil {
				return err
			}
			query := api.Targeted(targets...)
			query.Set("deep", "1")
			details, err := c.details(cmd.Context(), query)
			if len(details) == 0 {
				return err
			}
			return cmp.Or(c.printInfos(details), err)
		},
	}
}

func (c *cli) printInfos(details []api.Detail) error {
	if c.json {
		for i := range details {
			details[i].App.Env.Vars = maskAll(details[i].App.Env.Vars)
		}
		return c.printJSON(details)
	}
	for _, d := range details {
		if err := c.printInfo(d); err != nil {
			return err
		}
	}
	return nil
}

// printInfo prints one instance; pm2's lines first, then ours.
func (c *cli) printInfo(d api.Detail) error {
	fmt.Fprintf(c.out, " Describing process with id %d - name %s\n", d.ID, d.Name)
	now := time.Now()
	rows := append(stateRows(d, now), programRows(d)...)
	rows = append(rows, policyRows(d.App)...)
	rows = append(rows, logRows(d)...)
	width, _ := terminalSize(c.out)
	var cells [][]string
	for _, r := range rows {
		if r[1] == "" {
			continue
		}
		value := clip(printable(r[1]), width-32)
		if r[0] == "status" {
			value = c.paint(statusColour(d.Process.Status), value)
		}
		cells = append(cells, []string{c.paint(bold, r[0]), value})
	}
	if err := render(c.out, cells); err != nil {
		return fmt.Errorf("cannot print: %v", err)
	}
	c.printLastWords(d)
	return nil
}

// clipped keeps a line of less weight on one line of the terminal.
func (c *cli) clipped(line string) string {
	width, _ := terminalSize(c.out)
	return clip(line, width)
}

// clip is cutText with a limit that makes sense; none given means no limit.
func clip(s string, columns int) string {
	const sensible = 20
	if columns < sensible {
		return s
	}
	return cutText(s, columns)
}

type infoRow = [2]string

func stateRows(d api.Detail, now time.Time) []infoRow {
	p := d.Process
	rows := []infoRow{
		{"status", statusText(p, now)},
		{"name", d.Name},
		{"namespace", d.Namespace},
		{"version", orElse(d.Version, "N/A")},
		{"restarts", fmt.Sprint(p.Restarts)},
		{"uptime", uptimeText(d.Instance)},
		{"pid", pidText(d.Instance)},
		{"cpu", cpuText(d.Usage)},
		{"memory", memoryText(d)},
		{"listens on", strings.Join(d.Ports, ", ")},
		{"unstable restarts", fmt.Sprint(p.Unstable)},
		{"last exit", lastExit(p.LastExit, now)},
		{"last restart because", p.Cause},
	}
	if !p.NextTry.IsZero() {
		rows = append(rows, infoRow{"next restart", fmt.Sprintf("in %s, at %s", duration(max(0, p.NextTry.Sub(now))), p.NextTry.Format(time.DateTime))})
	}
	return rows
}

func memoryText(d api.Detail) string {
	text := bytesText(d.Usage.Memory)
	if d.Tree.Processes > 1 {
		text += fmt.Sprintf(" (all %d processes of its tree: %s PSS)", d.Tree.Processes, bytesText(d.Tree.Memory))
	}
	return text
}

func lastExit(e *api.Exit, now time.Time) string {
	if e == nil {
		return ""
	}
	text := exitSentence(*e)
	if !e.At.IsZero() {
		text += fmt.Sprintf(", %s ago, at %s", uptime(now.Sub(e.At)), e.At.Local().Format(time.DateTime))
	}
	if e.Requested {
		text += " (by command)"
	}
	return text
}

func programRows(d api.Detail) []infoRow {
	cmd := d.App.Command
	rows := []infoRow{
		{"script path", cmd.Script},
		{"script args", orElse(strings.Join(cmd.Args, " "), "N/A")},
		{"interpreter", orElse(cmd.Interpreter, "none")},
		{"interpreter args", orElse(strings.Join(cmd.InterpreterArgs, " "), "N/A")},
		{"script id", fmt.Sprint(d.ID)},
		{"exec cwd", cmd.Cwd},
		{"exec mode", d.Mode + "_mode"},
		{"instance", fmt.Sprintf("%d of %d", d.Index, d.App.Scale.Instances)},
		{"user", d.User},
		{"watch & reload", "✘"},
		{"created at", d.Created.Format(time.RFC3339)},
		{"from", orElse(d.Origin, "command line")},
	}
	if d.EnvName != "" {
		rows = append(rows, infoRow{"environment", "env_" + d.EnvName})
	}
	return rows
}

func policyRows(a ecosystem.App) []infoRow {
	r := a.Restart
	restart := "no"
	if r.Auto {
		restart = fmt.Sprintf("yes; errored after %d unstable exits in a row", r.MaxRestarts)
		if !r.MaxExplicit {
			restart += ", then tried every 30s"
		}
	}
	rows := []infoRow{
		{"autorestart", restart},
		{"min uptime", duration(r.MinUptime)},
		{"stop", fmt.Sprintf("%s, SIGKILL after %s", a.Stop.Signal, duration(a.Stop.Timeout))},
	}
	if r.Delay > 0 {
		rows = append(rows, infoRow{"restart delay", duration(r.Delay)})
	}
	if len(r.StopExitCodes) > 0 {
		rows = append(rows, infoRow{"stop exit codes", strings.Trim(fmt.Sprint(r.StopExitCodes), "[]")})
	}
	if r.MaxMemory > 0 {
		rows = append(rows, infoRow{"max memory restart", bytesText(r.MaxMemory)})
	}
	return rows
}

func logRows(d api.Detail) []infoRow {
	rows := []infoRow{
		{"error log path", logText(d.Err)},
		{"out log path", logText(d.Out)},
	}
	if d.Out.Also != "" {
		rows = append(rows, infoRow{"entire log path", d.Out.Also})
	}
	if form := logForm(d.App.Logs); form != "" {
		rows = append(rows, infoRow{"log lines", form})
	}
	return append(rows, infoRow{"log rotation", rotationText(d.App.Logs)}, infoRow{"pid path", d.App.PidFile})
}

// logForm is how lines are written; empty: as they come.
func logForm(l ecosystem.Logs) string {
	var form []string
	switch {
	case l.Type == "json":
		form = append(form, "JSON objects")
	case l.DateFormat != "":
		form = append(form, "with the time, as "+l.DateFormat)
	}
	if l.Merge {
		form = append(form, "all instances in one file")
	}
	if l.Buffered {
		form = append(form, "through memory (log_buffered)")
	}
	return strings.Join(form, "; ")
}

func logText(l api.LogInfo) string {
	text := orElse(l.Path, "/dev/null")
	if l.Dropped > 0 {
		text += fmt.Sprintf(" (%s dropped)", bytesText(l.Dropped))
	}
	if l.Error != "" {
		text += " (" + l.Error + ")"
	}
	return text
}

func rotationText(l ecosystem.Logs) string {
	var when, parts []string
	if l.MaxSize > 0 {
		when = append(when, "at "+bytesText(l.MaxSize))
	}
	if l.RotateInterval != "" {
		when = append(when, "at the times of "+l.RotateInterval)
	}
	if len(when) == 0 {
		return "off"
	}
	parts = append(parts, strings.Join(when, " and "), "all files kept")
	if l.Retain > 0 {
		parts[1] = fmt.Sprintf("%d files kept", l.Retain)
	}
	if l.Compress {
		parts = append(parts, "compressed")
	}
	if l.MaxTotal > 0 {
		parts = append(parts, "at most "+bytesText(l.MaxTotal)+" in all")
	}
	return strings.Join(parts, ", ")
}

// printLastWords shows what the program wrote to stderr before its last end.
func (c *cli) printLastWords(d api.Detail) {
	if len(d.Last) == 0 {
		return
	}
	fmt.Fprintln(c.out, " Last lines on stderr before the last exit")
	for _, line := range d.Last {
		fmt.Fprintf(c.out, "   %s\n", printable(line))
	}
}
