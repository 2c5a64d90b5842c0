package cmd

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
	"unicode"

	"golang.org/x/sys/unix"

	"gopm/daemon/api"
)

// uptime is pm2's: one unit, the largest of which there is more than one.
func uptime(d time.Duration) string {
	s := int64(d / time.Second)
	units := []struct {
		seconds int64
		name    string
	}{{365 * 86400, "Y"}, {30 * 86400, "M"}, {86400, "D"}, {3600, "h"}, {60, "m"}}
	for _, u := range units {
		if s > u.seconds {
			return fmt.Sprintf("%d%s", s/u.seconds, u.name)
		}
	}
	return fmt.Sprintf("%ds", max(s, 0))
}

// duration is short and exact enough to read: 32ms, 1.2s, 12s, 3m20s.
func duration(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	}
	text := d.Round(time.Second).String()
	if rest, whole := strings.CutSuffix(text, "m0s"); whole {
		text = rest + "m"
	}
	if rest, whole := strings.CutSuffix(text, "h0m"); whole {
		text = rest + "h"
	}
	return text
}

// bytesText is pm2's: 50.5mb.
func bytesText(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1fgb", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1fmb", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1fkb", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%db", n)
}

func cpuText(u api.Usage) string {
	mark := ""
	if u.SinceStart {
		mark = "~"
	}
	if u.CPU > 0 && u.CPU < 10 {
		return fmt.Sprintf("%s%.1f%%", mark, u.CPU)
	}
	return fmt.Sprintf("%s%.0f%%", mark, u.CPU)
}

// statusText is a status with its reason where it is not online.
func statusText(p api.Process, now time.Time) string {
	if len(p.WaitsOn) > 0 {
		return fmt.Sprintf("%s (waits for %s)", p.Status, abbreviate(p.WaitsOn, 2))
	}
	why := exitShort(p.LastExit)
	if p.Scheduled && (p.Status == "stopped" || p.Status == "errored") {
		return scheduledText(p, now)
	}
	switch p.Status {
	case api.StatusStandby:
		return standbyText(p.Lock)
	case "online":
		switch {
		case p.Lock != nil && !p.Lock.Ends.IsZero():
			return fmt.Sprintf("online (lock lost in %s)", duration(max(0, p.Lock.Ends.Sub(now))))
		case p.Unhealthy && p.Standby:
			return "standby (unhealthy)"
		case p.Unhealthy:
			return "online (unhealthy)"
		case p.Standby:
			return standbyText(p.Lock)
		}
	case "waiting restart":
		return strings.TrimSpace(fmt.Sprintf("waiting %s %s", duration(max(0, p.NextTry.Sub(now))), why))
	case "errored":
		text := strings.TrimSpace("errored " + why)
		if !p.NextTry.IsZero() {
			text += ", next try " + duration(max(0, p.NextTry.Sub(now)))
		}
		return text
	case "stopped":
		if p.Rested != "" {
			return fmt.Sprintf("stopped (before %s: %s)", p.Rested, map[bool]string{false: "online", true: "scheduled"}[p.Job])
		}
		if p.LastExit != nil && !p.LastExit.Requested {
			return strings.TrimSpace("stopped " + why)
		}
	case "stopping":
		switch {
		case p.Killed:
			return "stopping (SIGKILL sent)"
		case p.Clearing:
			return "stopping (leftovers)"
		case p.Hook != "":
			return fmt.Sprintf("stopping (%s)", p.Hook)
		}
	case "launching":
		if p.Clearing {
			return "launching (leftovers)"
		}
		if p.Hook != "" {
			return fmt.Sprintf("launching (%s)", p.Hook)
		}
		if p.NotReady {
			return fmt.Sprintf("launching (not ready %s)", duration(max(0, now.Sub(p.Started))))
		}
	}
	return p.Status
}

// standbyText says why one stands by.
func standbyText(l *api.Lock) string {
	switch {
	case l == nil:
		return api.StatusStandby
	case l.Why != "": // what was known before may not be true any more
		return fmt.Sprintf("standby (%s: can't be asked for)", l.Key)
	case l.Holder != "":
		return fmt.Sprintf("standby (%s: held by %s)", l.Key, l.Holder)
	}
	return fmt.Sprintf("standby (%s)", l.Key)
}

// exitShort is the reason in brackets: (exit 3), (SIGKILL), (out of memory).
func exitShort(e *api.Exit) string {
	switch {
	case e == nil:
		return ""
	case e.Error != "":
		return "(" + e.Error + ")"
	case e.Fault != "":
		return "(" + e.Fault + ")"
	case e.Hang != "":
		return "(hang)"
	case e.OOM:
		return "(out of memory)"
	case e.Signal != "":
		return "(" + e.Signal + ")"
	case e.Unknown():
		return "(exit unknown)"
	}
	return fmt.Sprintf("(exit %d)", e.Code)
}

// printable keeps a program's output from driving the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return '·'
	}, s)
}

func asAPIError(err error) (*api.Error, bool) {
	var e *api.Error
	ok := errors.As(err, &e)
	return e, ok
}

// isTerminal says whether w is a terminal.
func isTerminal(w any) bool {
	_, ok := terminalSize(w)
	return ok
}

// terminalSize is the number of columns of the terminal w.
func terminalSize(w any) (columns int, ok bool) {
	size, ok := windowSize(w)
	return int(size.Col), ok
}

// terminalHeight is its number of lines; 0 if that is not known.
func terminalHeight(w any) int {
	size, _ := windowSize(w)
	return int(size.Row)
}

func windowSize(w any) (size unix.Winsize, ok bool) {
	if f, ours := w.(*frame); ours {
		w = f.screen
	}
	if o, ours := w.(*output); ours {
		w = o.Writer
	}
	f, isFile := w.(*os.File)
	if !isFile {
		return size, false
	}
	found, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return size, false
	}
	return *found, true
}

// colours says whether escape sequences are wanted on the output.
func (c *cli) colours() bool {
	return !c.noColor && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && isTerminal(c.out)
}

const (
	red    = "31"
	green  = "32"
	yellow = "33"
	blue   = "34"
	cyan   = "36"
	dim    = "2"
	bold   = "1"
)

// paint colours text where colours are wanted.
func (c *cli) paint(colour, text string) string {
	if !c.colours() {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}
