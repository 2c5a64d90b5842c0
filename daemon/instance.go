package daemon

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"gopm/daemon/api"
	"gopm/daemon/supervise"
	"gopm/ecosystem"
	"gopm/logs"
)

// ready is an app's new version with everything worked out that can fail before
// anything is started or stopped.
type ready struct {
	app     *app
	account account
}

func (d *Daemon) prepare(a *app) (ready, error) {
	acc, err := lookupAccount(a.spec.Command)
	if err != nil {
		return ready{}, fmt.Errorf("%s: %v", a.spec.Name, err)
	}
	pol, err := buildPolicy(a.spec)
	if err != nil {
		return ready{}, err
	}
	a.user, a.policy = acc.name, pol
	return ready{app: a, account: acc}, nil
}

// processConfig is for an instance that was seen like that before.
func (d *Daemon) processConfig(r ready, in *instance, before supervise.Snapshot) supervise.Config {
	policy := r.app.policy // not r.app: the closures below would keep its first version for ever
	return supervise.Config{
		Command: buildCommand(r.app, in, r.account, d.cfg.Home.Dir),
		Policy:  policy,
		Kernel:  d.kernel,
		Stdio:   in.stdio,
		Keep: func(m supervise.Machine) {
			if err := d.trust.keep(in, m); err != nil {
				d.log("%s:%d (id %d) %v", in.name, in.index, in.id, err)
			}
		},
		OnChange: func(s supervise.Snapshot) {
			d.hub.tell(in)
			d.store.changed()
			if line := describe(before, s); line != "" {
				d.log("%s:%d (id %d) %s", in.name, in.index, in.id, line)
			}
			if file := *in.pidFile.Load(); file != "" && s.Pid != before.Pid {
				if err := keepPidFile(file, s.Pid); err != nil {
					d.log("%s:%d (id %d) %v", in.name, in.index, in.id, err)
				}
			}
			before = s
		},
	}
}

// rest notes that the instance is down, or is going to be, though it should run.
func (in *instance) rest(why string) { in.rested.Store(&why) }

// restedBy is what rest has noted, until a user says otherwise.
func (in *instance) restedBy() string {
	if why := in.rested.Load(); why != nil {
		return *why
	}
	return ""
}

func (in *instance) start() {
	in.rested.Store(nil)
	in.proc.Start()
}

func (in *instance) stop() {
	in.rested.Store(nil)
	in.ordered.Store(0)
	in.proc.Stop()
}

func (in *instance) restart(cause string) {
	in.rested.Store(nil)
	in.proc.Restart(cause)
}

func (in *instance) setPidFile(spec ecosystem.App) {
	path := pidPath(spec.PidFile, in.index, spec.Scale.Instances)
	in.pidFile.Store(&path)
}

// stdio gives a new run its pipes, and remembers where its output begins.
func (in *instance) stdio() (out, err *os.File, e error) {
	if a := in.app.Load(); a != nil && a.fault != nil {
		return nil, nil, a.fault
	}
	in.before.Store(in.marks.Swap(&marks{out: in.out.Mark(), err: in.err.Mark()}))
	if out, e = in.out.ChildFile(); e != nil {
		return nil, nil, e
	}
	if err, e = in.err.ChildFile(); e != nil {
		out.Close()
		return nil, nil, e
	}
	return out, err, nil
}

// lastWords are the last lines on stderr of the run that ended last.
func (in *instance) lastWords(p api.Process) []string {
	const most = 5
	now, before := in.marks.Load(), in.before.Load()
	var lines []string
	switch {
	case p.LastExit == nil || now == nil:
	case p.LastExit.Incarnation == p.Incarnation:
		lines, _ = in.err.Since(now.err, most) // an error: it is not kept in a file
	case before != nil:
		lines, _ = in.err.Between(before.err, now.err, most)
	}
	return lines
}

// describe is the daemon's log line for a transition, "" for one that says nothing.
func describe(before, s supervise.Snapshot) string {
	var parts []string
	if s.LastExit != nil && s.LastExit != before.LastExit {
		parts = append(parts, exitText(*s.LastExit))
	}
	if s.Status != before.Status || s.Incarnation != before.Incarnation || s.Clearing && !before.Clearing {
		parts = append(parts, statusText(before, s))
	}
	if s.Killed && !before.Killed {
		parts = append(parts, "did not end in time: SIGKILL sent")
	}
	return strings.Join(parts, "; ")
}

func statusText(before, s supervise.Snapshot) string {
	switch {
	case s.Clearing && !before.Clearing:
		return "ending what it left behind"
	case s.Status == supervise.StatusWaiting:
		return fmt.Sprintf("restart in %v (%d unstable exits in a row)", s.Backoff.Round(time.Millisecond), s.Unstable)
	case s.Status == supervise.StatusErrored && !s.NextTry.IsZero():
		return fmt.Sprintf("errored after %d unstable exits in a row; next try at %s", s.Unstable, s.NextTry.Format(time.TimeOnly))
	case s.Status == supervise.StatusErrored:
		return fmt.Sprintf("errored after %d unstable exits in a row; it stays down", s.Unstable)
	case s.Pid != 0 && s.Pid != before.Pid:
		return fmt.Sprintf("%s, pid %d", s.Status, s.Pid)
	}
	return string(s.Status)
}

func exitText(e supervise.Exit) string {
	why := fmt.Sprintf("exited with code %d", e.Code)
	switch {
	case e.Err != "":
		return "cannot be started: " + e.Err
	case e.Code == supervise.Unknown && e.Signal == 0:
		return "has ended while nobody watched; how is not known"
	case e.OOM:
		why = "was killed by the kernel: out of memory"
	case e.Signal != 0:
		why = "was ended by " + signalName(e.Signal)
	}
	return fmt.Sprintf("%s after %v", why, e.Uptime.Round(time.Millisecond))
}

// retarget lets an instance log to where a new version of its app says.
func (d *Daemon) retarget(r ready, in *instance) error {
	outTo, errTo := targets(r.app.spec, in, r.account, d.cfg.Home.Logs())
	if err := in.out.Retarget(outTo); err != nil {
		return fmt.Errorf("%s: cannot log stdout: %v", in.name, err)
	}
	if err := in.err.Retarget(errTo); err != nil {
		return fmt.Errorf("%s: cannot log stderr: %v", in.name, err)
	}
	return nil
}

// configure gives an instance a new version of its app; a running program keeps
// what it was started with until it is restarted.
func (d *Daemon) configure(r ready, in *instance) {
	in.setPidFile(r.app.spec)
	in.proc.Configure(buildCommand(r.app, in, r.account, d.cfg.Home.Dir), r.app.policy)
}

// dispose ends an instance for good: its program, then its streams.
func (d *Daemon) dispose(in *instance) {
	in.proc.Close()
	for _, s := range []*logs.Stream{in.out, in.err} {
		s.Close()
		d.feed.forget(s)
	}
	d.usage.forget(in)
	d.trust.forget(in)
}

// isUp says whether an app has an instance that should be running and is not in
// trouble for good.
func isUp(a *app) bool {
	for _, in := range a.instances {
		if s := in.proc.Snapshot(); s.Status != supervise.StatusStopped && s.Status != supervise.StatusErrored {
			return true
		}
	}
	return false
}

// signalName is "SIGKILL" for 9.
func signalName(s syscall.Signal) string { return supervise.SignalName(s) }
