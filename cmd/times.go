package cmd

import (
	"fmt"
	"time"

	"gopm/daemon/api"
	"gopm/ecosystem"
)

// scheduledText is the status of a job between two runs; how the last one ended is said
// if that was not as it should.
func scheduledText(p api.Process, now time.Time) string {
	text := "scheduled"
	if !p.Due.IsZero() {
		text += ", next run " + clockText(p.Due, now)
	}
	if hasFailed(p.LastExit) {
		text += " (last: " + reasonOf(p.LastExit) + ")"
	}
	return text
}

// hasFailed says that a run of a job has ended as it should not have.
func hasFailed(e *api.Exit) bool { return e != nil && !e.Expected && !e.Requested }

// reasonOf is exitShort without its brackets.
func reasonOf(e *api.Exit) string {
	text := exitShort(e)
	return text[1 : len(text)-1]
}

// clockText is a time as short as it is clear now: 03:00, tomorrow and within a week with
// the day, else with the date.
func clockText(at, now time.Time) string {
	at = at.In(now.Location())
	clock := at.Format("15:04")
	if at.Second() != 0 {
		clock = at.Format(time.TimeOnly)
	}
	switch {
	case at.Format(time.DateOnly) == now.Format(time.DateOnly):
		return clock
	case at.After(now) && at.Sub(now) < 6*24*time.Hour:
		return at.Format("Mon ") + clock
	}
	return at.Format(time.DateOnly) + " " + clock
}

// untilText is how long it is until then, as exactly as it matters.
func untilText(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d > 2*day:
		return fmt.Sprintf("%dd", d/day)
	case d > time.Hour:
		return duration(d.Truncate(time.Minute))
	}
	return duration(max(0, d))
}

// timeRows are what is done with an app by the clock.
func timeRows(d api.Detail, now time.Time) []infoRow {
	t := d.App.Times
	next := "not scheduled: gopm start " + d.Name
	if !d.Process.Due.IsZero() {
		next = fmt.Sprintf("%s (in %s)", clockText(d.Process.Due, now), untilText(d.Process.Due.Sub(now)))
	}
	if !t.IsJob() {
		if t.Restart == "" {
			return nil
		}
		return []infoRow{{"cron restart", t.Restart}, {"next cron restart", next}}
	}
	if d.Process.Queued {
		next = "when the present one has ended"
	}
	rows := []infoRow{{"schedule", t.Schedule}, {"next run", next}, {"overlap", orElse(t.Overlap, ecosystem.OverlapSkip)}}
	if t.Timeout > 0 {
		rows = append(rows, infoRow{"timeout", duration(t.Timeout)})
	}
	return rows
}

// jlistTimes are what pm2 doesn't have.
type jlistTimes struct {
	Schedule  string `json:"schedule,omitempty"`
	Scheduled bool   `json:"scheduled,omitempty"`
	Due       int64  `json:"due_at,omitempty"` // of the next run, or cron_restart
}

func timesInJlist(d api.Detail) jlistTimes {
	t := jlistTimes{Schedule: d.App.Times.Schedule, Scheduled: d.Process.Scheduled}
	if !d.Process.Due.IsZero() {
		t.Due = d.Process.Due.UnixMilli()
	}
	return t
}
