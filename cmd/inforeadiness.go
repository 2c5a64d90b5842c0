package cmd

import (
	"fmt"

	"gopm/ecosystem"
)

// readyText says what makes an instance ready; nothing where that is only its age, which
// has a row of its own.
func readyText(a ecosystem.App) string {
	var text string
	switch r := a.Ready; r.By {
	case ecosystem.ReadyMessage:
		text = "it says so: READY=1 by sd_notify"
		if a.Command.RunsNode() {
			text = "it says so: process.send('ready'), or READY=1 by sd_notify"
		}
	case ecosystem.ReadyPort:
		text = "it listens on its port"
		if r.Port > 0 {
			text = fmt.Sprintf("it listens on port %d", r.Port)
		}
	case ecosystem.ReadyLog:
		text = fmt.Sprintf("it writes a line that matches %q", r.Log)
	case ecosystem.ReadyHealth:
		text = "its first health check passes"
	default:
		return ""
	}
	return fmt.Sprintf("%s; within %s", text, duration(a.Ready.Timeout))
}

// stopText says how an instance is asked to end, and for how long.
func stopText(a ecosystem.App) string {
	how := a.Stop.Signal
	if a.Talk.ShutdownMessage && a.Command.RunsNode() {
		how = "the message 'shutdown'"
	}
	return fmt.Sprintf("%s, SIGKILL after %s", how, duration(a.Stop.Timeout))
}

// hookRows are the commands around an app's processes.
func hookRows(h ecosystem.Hooks) []infoRow {
	var rows []infoRow
	for _, r := range []struct {
		name string
		hook ecosystem.Hook
	}{{"pre_start", h.PreStart}, {"post_start", h.PostStart}, {"pre_stop", h.PreStop}, {"on_errored", h.OnErrored}} {
		if r.hook.Exec != "" {
			rows = append(rows, infoRow{r.name, fmt.Sprintf("%s; within %s", r.hook.Exec, duration(r.hook.Timeout))})
		}
	}
	return rows
}
