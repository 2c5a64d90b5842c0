package cmd

import (
	"fmt"
	"strings"

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
		return fmt.Sprintf("App [%s] launched (%d instances)", a.Name, len(a.Instances))
	case api.DidRestart:
		return fmt.Sprintf("%s: restarted%s", a.Name, because(a.Changes))
	}
	return fmt.Sprintf("%s: %s%s", a.Name, a.Did, because(a.Changes))
}

func because(changes []string) string {
	if len(changes) == 0 {
		return ""
	}
	return " (changed: " + strings.Join(changes, ", ") + ")"
}
