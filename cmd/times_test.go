package cmd

import (
	"testing"
	"time"

	"gopm/daemon/api"
)

func TestClockText(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC) // a Sunday
	for want, at := range map[string]time.Time{
		"13:05":            now.Add(5 * time.Minute),
		"13:00:07":         now.Add(7 * time.Second),
		"Mon 03:00":        now.Add(14 * time.Hour),
		"Sat 12:00":        now.Add(6*24*time.Hour - time.Hour),
		"2026-11-29 13:00": now.Add(7 * 24 * time.Hour),
		"2026-11-21 13:00": now.Add(-24 * time.Hour),
	} {
		if got := clockText(at, now); got != want {
			t.Errorf("%v: %q, want %q", at, got, want)
		}
	}
	for want, d := range map[string]time.Duration{"0s": -time.Second, "1.5s": 1500 * time.Millisecond, "12m5s": 725 * time.Second, "13h37m": 13*time.Hour + 37*time.Minute + 36*time.Second, "3d": 80 * time.Hour} {
		if got := untilText(d); got != want {
			t.Errorf("until %v: %q, want %q", d, got, want)
		}
	}
}

func TestScheduledText(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC)
	due := api.Timed{Job: true, Scheduled: true, Due: now.Add(2 * time.Hour)}
	for want, p := range map[string]api.Process{
		"scheduled, next run 15:00":                             {Status: "stopped", Timed: due, LastExit: &api.Exit{Expected: true}},
		"scheduled":                                             {Status: "stopped", Timed: api.Timed{Job: true, Scheduled: true}},
		"scheduled, next run 15:00 (last: exit 3)":              {Status: "stopped", Timed: due, LastExit: &api.Exit{Code: 3}},
		"scheduled, next run 15:00 (last: timed out after 10m)": {Status: "errored", Timed: due, LastExit: &api.Exit{Fault: "timed out after 10m", Signal: "SIGTERM"}},
		"online":                             {Status: "online", Timed: due},
		"stopped (exit 3)":                   {Status: "stopped", Timed: api.Timed{Job: true}, LastExit: &api.Exit{Code: 3}},
		"stopped (before reboot: scheduled)": {Status: "stopped", Delay: api.Delay{Rested: "reboot"}, Timed: api.Timed{Job: true}},
		"stopped (before reboot: online)":    {Status: "stopped", Delay: api.Delay{Rested: "reboot"}},
	} {
		if got := statusText(p, now); got != want {
			t.Errorf("%+v: %q, want %q", p, got, want)
		}
	}
}
