package daemon

import (
	"fmt"
	"strings"
	"time"

	"gopm/daemon/api"
	"gopm/daemon/supervise"
)

// remark is a part of what there is to say about a transition. One without a kind is for
// the daemon's log alone: it says nothing that another event doesn't.
type remark struct {
	kind, text string
	pid        int
	exit       *api.Exit
}

// tellTransition tells what has become of an instance's process: one line of the daemon's
// log, and an event for each thing that it says. It is called by the process's goroutine.
func (d *Daemon) tellTransition(in *instance, before, s supervise.Snapshot) {
	remarks := describe(before, s)
	if in.isJob() {
		remarks = ofJob(remarks)
	}
	if len(remarks) == 0 {
		return
	}
	var texts []string
	for _, r := range remarks {
		texts = append(texts, r.text)
	}
	d.log("%s %s", in.label(), strings.Join(texts, "; "))
	for _, r := range remarks {
		if r.kind != "" {
			d.tell(event{kind: r.kind, app: in.name, in: in, text: r.text, pid: r.pid, exit: r.exit, logged: true})
		}
	}
}

// describe is what there is to say about a transition.
func describe(before, s supervise.Snapshot) (all []remark) {
	if s.LastExit != nil && s.LastExit != before.LastExit {
		all = append(all, remark{kind: api.EventExit, text: exitText(*s.LastExit), pid: before.Pid, exit: exitOf(s.LastExit)})
	}
	if s.Ready == supervise.Reached && before.Ready != supervise.Reached && s.Pid != 0 {
		all = append(all, remark{kind: api.EventReady, text: "ready after " + time.Since(s.Started).Round(time.Millisecond).String(), pid: s.Pid})
	}
	if s.Status != before.Status || s.Incarnation != before.Incarnation || s.Clearing && !before.Clearing {
		all = append(all, statusRemark(before, s))
	} else if s.Pid != 0 && s.Pid != before.Pid {
		all = append(all, remark{kind: api.EventStart, text: pidText(s), pid: s.Pid})
	}
	if s.Killed && !before.Killed {
		all = append(all, remark{kind: api.EventStop, text: "did not end in time: SIGKILL sent", pid: s.Pid})
	}
	return all
}

func statusRemark(before, s supervise.Snapshot) remark {
	switch {
	case s.Clearing && !before.Clearing:
		return remark{kind: api.EventExit, text: "ending what it left behind"}
	case s.Status == supervise.StatusWaiting:
		return remark{kind: api.EventRestart, text: fmt.Sprintf("restart in %v (%s)", s.Backoff.Round(time.Millisecond), unstableExits(s.Unstable))}
	case s.Status == supervise.StatusErrored && !s.NextTry.IsZero():
		return remark{kind: api.EventErrored, text: fmt.Sprintf("errored after %s; next try at %s", unstableExits(s.Unstable), s.NextTry.Format(time.TimeOnly))}
	case s.Status == supervise.StatusErrored:
		return remark{kind: api.EventErrored, text: fmt.Sprintf("errored after %s; it stays down", unstableExits(s.Unstable))}
	case s.Status == supervise.StatusStopping:
		return remark{kind: api.EventStop, text: because("stopping", firstOf(s.Fault, toBeAgain(s))), pid: s.Pid}
	case s.Status == supervise.StatusLaunching && s.Pid == 0:
		if s.LastExit != nil && s.LastExit != before.LastExit {
			return remark{kind: api.EventRestart, text: because("restart at once", s.RestartCause)}
		}
		return remark{text: string(s.Status)}
	case s.Pid != 0 && s.Pid != before.Pid:
		return remark{kind: statusKind(s.Status), text: pidText(s), pid: s.Pid}
	}
	return remark{kind: statusKind(s.Status), text: string(s.Status), pid: s.Pid}
}

// statusKind is of what kind it is to have come to a status that has no other words.
func statusKind(s supervise.Status) string {
	switch s {
	case supervise.StatusLaunching:
		return api.EventStart
	case supervise.StatusOnline:
		return api.EventOnline
	}
	return api.EventStop
}

// toBeAgain is why one is being ended that is started again after it.
func toBeAgain(s supervise.Snapshot) string {
	if !s.Want {
		return ""
	}
	return firstOf(s.RestartCause, "restart")
}

func because(what, why string) string {
	if why == "" {
		return what
	}
	return what + ": " + why
}

func pidText(s supervise.Snapshot) string { return fmt.Sprintf("%s, pid %d", s.Status, s.Pid) }

func exitText(e supervise.Exit) string {
	why := fmt.Sprintf("exited with code %d", e.Code)
	switch {
	case e.Err != "" && e.Requested:
		return e.Err
	case e.Err != "":
		return "cannot be started: " + e.Err
	case e.Code == supervise.Unknown && e.Signal == 0:
		return "has ended while nobody watched; how is not known"
	case e.Fault != "":
		why = "was ended (" + e.Fault + ")"
	case e.Hang != "":
		why = "was killed, for it did not accept connections (" + e.Hang + "),"
	case e.OOM:
		why = "was killed by the kernel: out of memory"
	case e.Signal != 0:
		why = "was ended by " + signalName(e.Signal)
	}
	return fmt.Sprintf("%s after %v", why, e.Uptime.Round(time.Millisecond))
}

func unstableExits(n int) string {
	if n == 1 {
		return "1 unstable exit"
	}
	return fmt.Sprintf("%d unstable exits in a row", n)
}
