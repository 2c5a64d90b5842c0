package cmd

import (
	"fmt"
	"strings"

	"gopm/daemon/api"
)

// orderRows are what an app depends on, and what depends on it.
func orderRows(d api.Detail) []infoRow {
	var needs []string
	for _, n := range d.Needs {
		text := fmt.Sprintf("%s (%s)", n.App, n.Until)
		if n.State != "" {
			text = fmt.Sprintf("%s (%s; now %s)", n.App, n.Until, n.State)
		}
		needs = append(needs, text)
	}
	rows := []infoRow{{"depends on", strings.Join(needs, ", ")}, {"needed by", strings.Join(d.NeededBy, ", ")}}
	if on := d.App.DependsOn.OnExit; on != "" && len(needs) > 0 {
		rows = append(rows, infoRow{"on dependency exit", on})
	}
	return rows
}
