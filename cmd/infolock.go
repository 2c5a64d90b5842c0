package cmd

import (
	"fmt"
	"time"

	"gopm/daemon/api"
)

// lockRows are about the lock of a singleton.
func lockRows(l *api.Lock, now time.Time) []infoRow {
	if l == nil {
		return nil
	}
	rows := []infoRow{{"lock", l.Key}}
	if l.Leads {
		rows = append(rows, infoRow{"fence", fmt.Sprint(l.Fence)})
	}
	holder := l.Holder
	if l.Leads {
		holder += " (this instance)"
	}
	if l.Holder == "" {
		holder = "nobody, or it isn't known"
	}
	if l.Why != "" && !l.Leads && l.Holder != "" {
		holder += " when that was known last"
	}
	rows = append(rows, infoRow{"lock held by", holder})
	if !l.Ends.IsZero() {
		rows = append(rows, infoRow{"lock lost in", duration(max(0, l.Ends.Sub(now))) + ", if Consul doesn't answer before"})
	}
	if l.Why != "" {
		rows = append(rows, infoRow{"lock trouble", l.Why})
	}
	return rows
}
