package cmd

import (
	"strings"
	"testing"
	"time"

	"gopm/daemon/api"
)

func TestUptime(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0s", -time.Second: "0s", 59 * time.Second: "59s", 60 * time.Second: "60s", 72 * time.Second: "1m",
		time.Hour: "60m", 61 * time.Minute: "1h", 25 * time.Hour: "1D", 45 * 24 * time.Hour: "1M", 800 * 24 * time.Hour: "2Y",
	} {
		if got := uptime(d); got != want {
			t.Errorf("uptime(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestDuration(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0s", 32 * time.Millisecond: "32ms", 1234 * time.Millisecond: "1.2s", 12 * time.Second: "12s",
		200 * time.Second: "3m20s", 10 * time.Minute: "10m", time.Hour: "1h", 70 * time.Minute: "1h10m", time.Hour + time.Second: "1h0m1s",
	} {
		if got := duration(d); got != want {
			t.Errorf("duration(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestCutText(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text    string
		columns int
		want    string
	}{{"short", 5, "short"}, {"longer", 5, "long…"}, {"日本語", 6, "日本語"}, {"日本語", 5, "日本…"}, {"日本語", 4, "日…"}} {
		if got := cutText(tt.text, tt.columns); got != tt.want {
			t.Errorf("cutText(%q, %d) = %q, want %q", tt.text, tt.columns, got, tt.want)
		}
	}
}

func TestStatusText(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	killed := &api.Exit{Signal: "SIGKILL"}
	three := &api.Exit{Code: 3}
	for want, p := range map[string]api.Process{
		"online":                                {Status: "online", LastExit: killed},
		"waiting 1.2s (SIGKILL)":                {Status: "waiting restart", LastExit: killed, NextTry: now.Add(1200 * time.Millisecond)},
		"errored (exit 3), next try 12s":        {Status: "errored", LastExit: three, NextTry: now.Add(12 * time.Second)},
		"errored (exit 3)":                      {Status: "errored", LastExit: three},
		"errored (permission denied: /x)":       {Status: "errored", LastExit: &api.Exit{Error: "permission denied: /x"}},
		"stopped":                               {Status: "stopped", LastExit: &api.Exit{Signal: "SIGINT", Requested: true}},
		"stopped (exit 3)":                      {Status: "stopped", LastExit: three},
		"stopping (SIGKILL sent)":               {Status: "stopping", Killed: true},
		"standby (locks/x: held by b:x)":        {Status: api.StatusStandby, Delay: api.Delay{Lock: &api.Lock{Key: "locks/x", Holder: "b:x"}}},
		"standby (locks/x: can't be asked for)": {Status: api.StatusStandby, Delay: api.Delay{Lock: &api.Lock{Key: "locks/x", Holder: "b:x", Why: "no answer"}}},
		"standby (locks/x: held by c:x)":        {Status: "online", Standby: true, Delay: api.Delay{Lock: &api.Lock{Key: "locks/x", Holder: "c:x"}}},
		"waiting 0s (out of memory)":            {Status: "waiting restart", LastExit: &api.Exit{Signal: "SIGKILL", OOM: true}, NextTry: now.Add(-time.Second)},
	} {
		if got := statusText(p, now); got != want {
			t.Errorf("statusText = %q, want %q", got, want)
		}
	}
}

func TestFitDropsColumnsByRank(t *testing.T) {
	t.Parallel()
	rows := []api.Instance{{Name: "web", Namespace: "default", Mode: "fork", User: "root", Process: api.Process{Status: "online", Pid: 1234}}}
	cols := columns(time.Unix(0, 0))
	cells := layout(cols, rows)
	titles := func(width int) string {
		kept, _ := fit(cols, cells, width)
		var all []string
		for _, c := range kept {
			all = append(all, c.title)
		}
		return strings.Join(all, " ")
	}
	for width, want := range map[int]string{
		200: "id name namespace version mode pid uptime ↺ status cpu mem user watching",
		80:  "id name mode pid uptime ↺ status cpu mem",
		60:  "id name mode ↺ status cpu mem",
		40:  "id name status cpu mem",
		10:  "id name status",
	} {
		if got := titles(width); got != want {
			t.Errorf("at %d columns %q, want %q", width, got, want)
		}
	}
}

func TestPrintableHoldsTheTerminal(t *testing.T) {
	t.Parallel()
	if got := printable("a\x1b[31mé\tb\x00"); got != "a·[31mé\tb·" {
		t.Errorf("printable = %q", got)
	}
}
