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
	show := false
	cmd := &cobra.Command{
		Use:     "describe TARGET...",
		Aliases: []string{"info", "desc", "show"},
		Short:   "Tell everything about an app",
		Long: `Tell everything about the instances of an app. Values that look like secrets are hidden, as
by gopm env; --show-secrets shows them. A target is ` + targetHelp,
		Args: needTargets,
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
			if !show {
				hideInDetails(details)
			}
			return cmp.Or(c.printInfos(details), err)
		},
	}
	showFlags(cmd, &show)
	return cmd
}

// hideInDetails hides what looks like a secret in what was set for apps.
func hideInDetails(details []api.Detail) {
	for i := range details {
		d := &details[i]
		d.Argv = d.App.Veil().Words(d.Argv)
		d.App = d.App.Masked()
		d.App.Consul = maskConsul(d.App.Consul)
	}
}

func (c *cli) printInfos(details []api.Detail) error {
	if c.json {
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
	rows = append(rows, boundRows(d)...)
	rows = append(rows, hookRows(d.App.Hooks)...)
	rows = append(rows, orderRows(d)...)
	rows = append(rows, timeRows(d, now)...)
	rows = append(rows, watchRows(d, now)...)
	rows = append(rows, configRows(d, now)...)
	rows = append(rows, logRows(d)...)
	width, _ := terminalSize(c.out)
	var cells [][]string
	for _, r := range rows {
		if r[1] == "" {
			continue
		}
		value := clip(printable(r[1]), width-32)
		if r[0] == "status" {
			value = c.paint(statusColour(d.Process), value)
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
		{"may use", roomOf(d)},
		{"listens on", strings.Join(d.Ports, ", ")},
		{"shares", shares(d.Place)},
		{"refused", refused(d.Place)},
		{"lent", lent(d.Place)},
		{"says", d.Says},
		{"unstable restarts", fmt.Sprint(p.Unstable)},
		{"last exit", lastExit(p.LastExit, now)},
		{"last restart because", p.Cause},
	}
	rows = append(rows, lockRows(p.Lock, now)...)
	rows = append(rows, healthRows(d, now)...)
	rows = append(rows, infoRow{"consul", registrationText(d.Consul, now)})
	if !p.NextTry.IsZero() {
		rows = append(rows, infoRow{"next restart", fmt.Sprintf("in %s, at %s", duration(max(0, p.NextTry.Sub(now))), p.NextTry.Format(time.DateTime))})
	}
	return rows
}

// instanceText is an instance's number. Which of them are spares changes.
func instanceText(d api.Detail) string {
	text := fmt.Sprintf("%d of %d", d.Index, d.App.Scale.Total())
	if spares := d.App.Scale.Total() - d.App.Scale.Instances; spares > 0 {
		text += fmt.Sprintf(" (%d active, %d standby)", d.App.Scale.Instances, spares)
	}
	return text
}

// shares is what an instance has together with the others of its app.
func shares(p *api.Place) string {
	switch {
	case p == nil:
		return ""
	case p.Trouble != "":
		return "nothing: " + p.Trouble
	}
	text := orElse(strings.Join(p.Addresses, ", "), "no port (it listens on none)")
	switch {
	case p.Standby && p.Ready:
		text += "; standby: others get the connections"
	case p.Standby:
		text = "standby: held before it listens"
	}
	if p.Roll != "" {
		text += "; reload: " + p.Roll
	}
	if p.NoNewPrivs {
		text += "; no_new_privs is set: setuid programs have no effect in it"
	}
	return text
}

// refused is why its program could not have a port.
func refused(p *api.Place) string {
	if p == nil {
		return ""
	}
	return p.Refused
}

// lent is why its program has sockets of gopm's.
func lent(p *api.Place) string {
	if p == nil {
		return ""
	}
	return p.Lent
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
		{"instance", instanceText(d)},
		{"user", d.User},
		{"watch & reload", watchMark(d)},
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
		{"ready when", readyText(a)},
		{"stop", stopText(a)},
	}
	if a.Talk.Stdin {
		rows = append(rows, infoRow{"standard input", "what gopm send writes"})
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

// boundRows are what the program may do and use.
func boundRows(d api.Detail) []infoRow {
	b := d.App.Bounds
	var rows []infoRow
	if b.NoNewPrivs {
		rows = append(rows, infoRow{"no_new_privs", "yes"})
	}
	if b.Nice != nil {
		rows = append(rows, infoRow{"nice", fmt.Sprint(*b.Nice)})
	}
	var rlimits []string
	for _, r := range b.Rlimits {
		rlimits = append(rlimits, r.String())
	}
	rows = append(rows, infoRow{"rlimits", strings.Join(rlimits, ", ")})
	if b.Limits.IsSet() {
		rows = append(rows, infoRow{"limits", strings.TrimSuffix(b.Limits.String()+": "+d.Limited, ": ")})
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
