package cmd

import (
	"cmp"
	"fmt"
	"time"

	"gopm/daemon/api"
	"gopm/ecosystem"
)

// healthRows is what `info` shows of an instance's checks.
func healthRows(d api.Detail, now time.Time) []infoRow {
	h := d.App.Health
	if !h.IsChecked() {
		return nil
	}
	rows := []infoRow{{"health check", checkText(h)}}
	v := d.Health
	switch {
	case v == nil && d.Process.Standby:
		return append(rows, infoRow{"health", "not checked: it waits for a place, and answers nobody"})
	case v == nil:
		return append(rows, infoRow{"health", "not checked: it doesn't run"})
	}
	text := fmt.Sprintf("%s for %s", v.State, uptime(now.Sub(v.Since)))
	if v.Checks > 0 {
		text += fmt.Sprintf("; %d of %d checks of this run failed", v.Failures, v.Checks)
	}
	if v.State == api.HealthUnhealthy && d.Place != nil && d.Place.Trouble == "" {
		text += "; new connections go to instances that are healthy, if there are any"
	}
	return append(rows, infoRow{"health", text}, infoRow{"last check", v.Error})
}

// checkText says what is checked, and what follows.
func checkText(h ecosystem.Health) string {
	what := h.Exec
	switch {
	case h.HTTP.URL != "":
		what = cmp.Or(h.HTTP.Method, "GET") + " " + ecosystem.MaskURL(h.HTTP.URL)
	case h.TCP != "":
		what = "tcp " + h.TCP
	}
	text := fmt.Sprintf("%s, each %s, within %s; unhealthy after %d failures in a row", what, duration(h.Interval), duration(h.Timeout), h.Retries)
	if h.OnFail == ecosystem.OnFailRestart {
		text += ", and restarted"
	}
	return text
}

// failingCheck is what is wrong with an instance's health, for the end of a sentence.
func failingCheck(r api.Instance) string {
	if r.Health == nil || r.Health.Error == "" {
		return ""
	}
	return ": its health check says " + r.Health.Error
}
