package cmd

import (
	"fmt"
	"strings"
	"time"

	"gopm/daemon/api"
)

// report prints what a command did, a line per app; with --json it is kept for the end.
func (c *cli) report(out api.Outcome) {
	if c.json {
		c.done.Apps = append(c.done.Apps, out.Apps...)
		c.done.Warnings = append(c.done.Warnings, out.Warnings...)
		return
	}
	for _, a := range out.Apps {
		c.say("%s", outcomeLine(a))
	}
	for _, w := range out.Warnings {
		c.warn("warning: %s", w)
	}
}

func outcomeLine(a api.AppOutcome) string {
	switch a.Did {
	case api.DidNothing:
		return fmt.Sprintf("%s: unchanged, left running; new code? gopm restart %s", a.Name, a.Name)
	case api.IsOrphan:
		return fmt.Sprintf("%s: not in the file any more, left as it is; gopm delete %s, or --prune", a.Name, a.Name)
	case api.IsRunning:
		return fmt.Sprintf("%s: runs already; gopm restart %s starts it anew", a.Name, a.Name)
	case api.DidStart:
		return fmt.Sprintf("App [%s] launched (%d instances)%s%s", a.Name, len(a.Instances), neededBy(a.For), waitsFor(a.Waits))
	case api.DidSchedule:
		return fmt.Sprintf("App [%s] scheduled%s%s", a.Name, nextText(a.NextRun), because(a.Changes))
	case api.IsScheduled:
		return fmt.Sprintf("%s: scheduled already%s; gopm run %s runs it now", a.Name, nextText(a.NextRun), a.Name)
	case api.DidReload:
		return fmt.Sprintf("%s: reloading %d instances%s", a.Name, len(a.Instances), because(a.Changes))
	case api.DidRestart:
		did := "restarted"
		if a.Waits != "" {
			did = "to be restarted"
		}
		return fmt.Sprintf("%s: %s%s%s", a.Name, did, because(a.Changes), waitsFor(a.Waits))
	}
	return fmt.Sprintf("%s: %s%s", a.Name, a.Did, because(a.Changes))
}

func because(changes []string) string {
	if len(changes) == 0 {
		return ""
	}
	return " (changed: " + strings.Join(changes, ", ") + ")"
}

// nextText says when a job runs next.
func nextText(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	now := time.Now()
	return fmt.Sprintf(", next run %s (in %s)", clockText(at, now), untilText(at.Sub(now)))
}

// neededBy says for whom an app was started.
func neededBy(dependent string) string {
	if dependent == "" {
		return ""
	}
	return " as " + dependent + " needs it"
}

// waitsFor says what has to be there before an app is started.
func waitsFor(what string) string {
	if what == "" {
		return ""
	}
	return "; it waits for " + what
}
