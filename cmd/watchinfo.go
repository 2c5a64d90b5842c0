package cmd

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gopm/daemon/api"
	"gopm/ecosystem"
)

// watchText is pm2's word in the list.
func watchText(r api.Instance) string {
	if r.Watch {
		return "enabled"
	}
	return "disabled"
}

// watchMark is pm2's line of describe.
func watchMark(d api.Detail) string {
	if d.Watch {
		return "✔"
	}
	return "✘"
}

// watchRows say how the files of an app are watched; none: they are not.
func watchRows(d api.Detail, now time.Time) []infoRow {
	w, a := d.Files, d.App.Watch
	if w == nil {
		return nil
	}
	rows := []infoRow{
		{"watched paths", strings.Join(a.Paths, ", ")},
		{"watch ignores", ignoredText(a)},
		{"watched by", watchedBy(w)},
		{"watch trouble", w.Trouble},
	}
	if len(w.Missing) > 0 {
		rows = append(rows, infoRow{"watch misses", strings.Join(w.Missing, ", ") + ": watched again as soon as it is there"})
	}
	if w.Last != "" {
		rows = append(rows, infoRow{"last change", fmt.Sprintf("%s, %s ago", w.Last, uptime(now.Sub(w.LastAt)))})
	}
	return append(rows, infoRow{"watch delay", duration(a.Delay)})
}

func ignoredText(a ecosystem.Watch) string {
	text := "dotfiles, node_modules, logs and what editors leave"
	if a.Gitignore {
		text += "; what .gitignore says"
	}
	if len(a.Ignore) > 0 {
		text += "; " + strings.Join(a.Ignore, " ")
	}
	return text
}

func watchedBy(w *api.Watching) string {
	switch {
	case !w.Now:
		return "nothing, for it does not run"
	case w.PollMS > 0:
		return fmt.Sprintf("a look each %s at %s", duration(time.Duration(w.PollMS)*time.Millisecond), folderCount(w.Folders))
	}
	return "the kernel (inotify), " + folderCount(w.Folders)
}

func folderCount(n int) string {
	if n == 1 {
		return "1 folder"
	}
	return fmt.Sprintf("%d folders", n)
}

const stopWatch = "watch"

// takeStopWatch has stop take pm2's --watch, which ends the watching there for good.
func takeStopWatch(stop *cobra.Command) {
	stop.Flags().Bool(stopWatch, false, "")
	_ = stop.Flags().MarkHidden(stopWatch) // there is such a flag
}

func (c *cli) noteStopWatch(stop *cobra.Command) {
	if stop.Flags().Changed(stopWatch) {
		c.warn("note: --watch: what is stopped is not watched, and with its start it is watched again; gopm restart TARGET --watch=false ends that")
	}
}
