package cmd

import (
	"fmt"
	"strings"

	"gopm/daemon/api"
	"gopm/daemon/room"
)

// roomOf is what keeps an instance's program from using the whole machine; nothing if
// nothing does, or it doesn't run.
func roomOf(d api.Detail) string {
	if d.Process.Pid == 0 {
		return ""
	}
	return roomText(room.Of(d.Process.Pid))
}

// roomText says what is less than the machine has, and by which limit.
func roomText(r room.Limits) string {
	var parts []string
	if n := r.CPUs(); n < r.Online {
		text := fmt.Sprintf("%d of %s", n, counted(r.Online, "cpu"))
		if r.Time.Period > 0 && n < r.Allowed {
			text += fmt.Sprintf(" (%.4g of their time: %s)", r.Time.Processors(), r.Time.By)
		}
		parts = append(parts, text)
	} else if r.Time.Period > 0 && r.Time.Processors() < float64(r.Online) {
		parts = append(parts, fmt.Sprintf("%.4g of the time of %s (%s)", r.Time.Processors(), counted(r.Online, "cpu"), r.Time.By))
	}
	if r.Narrows() {
		parts = append(parts, fmt.Sprintf("%s of %s memory (%s)", bytesText(r.Bytes()), bytesText(r.Total), r.Memory.By))
	}
	return strings.Join(parts, ", ")
}
