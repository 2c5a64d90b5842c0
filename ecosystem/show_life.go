package ecosystem

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// showLife is show for the fields of Life that hold more than one value.
func showLife(at any) string {
	switch t := at.(type) {
	case *Ready:
		return t.show()
	case *Health:
		if !t.IsChecked() && t.Watchdog == 0 {
			return ""
		}
		b, _ := json.Marshal(t) // texts and numbers always marshal
		return string(b)
	case *[]Dependency:
		var all []string
		for _, d := range *t {
			all = append(all, d.App+" ("+d.Until+")")
		}
		return strings.Join(all, ", ")
	case *Hook:
		if !t.IsSet() {
			return ""
		}
		return fmt.Sprintf("%s (timeout %v)", t.Exec, t.Timeout)
	case *Times:
		return t.show()
	case *Watch:
		return t.show()
	case *Singleton:
		return t.show()
	}
	return showBounds(at)
}

func (r *Ready) show() string {
	switch {
	case r.By == ReadyLog:
		return "log " + strconv.Quote(r.Log)
	case r.Port != 0:
		return r.By + " " + strconv.Itoa(r.Port)
	}
	return r.By
}

// show is a job's times; cron_restart is another field.
func (t *Times) show() string {
	if !t.IsJob() {
		return ""
	}
	text := t.Schedule + ", overlap " + cmp.Or(t.Overlap, OverlapSkip)
	if t.Timeout > 0 {
		text += ", timeout " + t.Timeout.String()
	}
	return text
}

// show is what is watched; what is ignored and the delay are other fields.
func (w *Watch) show() string {
	if len(w.Paths) == 0 && !w.Gitignore && w.Poll == 0 && !w.Follow {
		return ""
	}
	text := joinWords(w.Paths)
	if w.Gitignore {
		text += ", gitignore"
	}
	if w.Poll > 0 {
		text += ", poll " + w.Poll.String()
	}
	if w.Follow {
		text += ", follow_links"
	}
	return text
}
