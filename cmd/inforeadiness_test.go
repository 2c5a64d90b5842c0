package cmd

import (
	"slices"
	"testing"
	"time"

	"gopm/ecosystem"
)

func TestReadyAndStopText(t *testing.T) {
	t.Parallel()
	app := func(interpreter string, ready ecosystem.Ready, message bool) ecosystem.App {
		var a ecosystem.App
		a.Command.Interpreter, a.Command.Script = interpreter, "/srv/web"
		a.Stop.Signal, a.Stop.Timeout = "SIGINT", 5*time.Second
		a.Ready, a.Talk.ShutdownMessage = ready, message
		a.Ready.Timeout = time.Minute
		return a
	}
	for _, c := range []struct {
		app         ecosystem.App
		ready, stop string
	}{
		{app("", ecosystem.Ready{By: ecosystem.ReadyUptime}, false), "", "SIGINT, SIGKILL after 5s"},
		{app("/bin/sh", ecosystem.Ready{By: ecosystem.ReadyMessage}, true), "it says so: READY=1 by sd_notify; within 1m", "SIGINT, SIGKILL after 5s"},
		{app("/usr/bin/node", ecosystem.Ready{By: ecosystem.ReadyMessage}, true), "it says so: process.send('ready'), or READY=1 by sd_notify; within 1m", "the message 'shutdown', SIGKILL after 5s"},
		{app("", ecosystem.Ready{By: ecosystem.ReadyPort}, false), "it listens on its port; within 1m", "SIGINT, SIGKILL after 5s"},
		{app("", ecosystem.Ready{By: ecosystem.ReadyPort, Port: 3000}, false), "it listens on port 3000; within 1m", "SIGINT, SIGKILL after 5s"},
		{app("", ecosystem.Ready{By: ecosystem.ReadyLog, Log: "^up"}, false), `it writes a line that matches "^up"; within 1m`, "SIGINT, SIGKILL after 5s"},
		{app("", ecosystem.Ready{By: ecosystem.ReadyHealth}, false), "its first health check passes; within 1m", "SIGINT, SIGKILL after 5s"},
	} {
		if got := readyText(c.app); got != c.ready {
			t.Errorf("ready: %q, want %q", got, c.ready)
		}
		if got := stopText(c.app); got != c.stop {
			t.Errorf("stop: %q, want %q", got, c.stop)
		}
	}
}

func TestHookRows(t *testing.T) {
	t.Parallel()
	got := hookRows(ecosystem.Hooks{PreStart: ecosystem.Hook{Exec: "./migrate", Timeout: time.Minute}, OnErrored: ecosystem.Hook{Exec: "./tell", Timeout: 2 * time.Second}})
	want := []infoRow{{"pre_start", "./migrate; within 1m"}, {"on_errored", "./tell; within 2s"}}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
