package daemon

import (
	"fmt"
	"os"
	"syscall"

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
	a.spec.Complete()
	if err := checkScale(a.spec); err != nil {
		return ready{}, err
	}
	if err := d.checkLimits(a.spec); err != nil {
		return ready{}, err
	}
	acc, err := lookupAccount(a.spec.Command)
	if err != nil {
		return ready{}, fmt.Errorf("%s: %v", a.spec.Name, err)
	}
	pol, err := buildPolicy(a.spec)
	if err != nil {
		return ready{}, err
	}
	a.user, a.policy, a.node = acc.name, pol, a.spec.Command.RunsNode()
	return ready{app: a, account: acc}, nil
}

// processConfig is for an instance that was seen like that before.
func (d *Daemon) processConfig(r ready, in *instance, before supervise.Snapshot) supervise.Config {
	in.version.Store(r.app)
	in.warned = before.Status == supervise.StatusErrored
	policy := r.app.policy // not r.app: the closures below would keep its first version for ever
	return supervise.Config{
		Command: buildCommand(r.app, in, r.account, d.cfg.Home.Dir),
		Policy:  policy,
		Kernel:  d.kernel,
		Launch: func(inc uint64) (supervise.Launch, error) {
			groups, err := d.confine(in)
			if err != nil {
				return supervise.Launch{}, err
			}
			l, err := in.launchConfigured(d.host, inc)
			if err == nil {
				err = d.talk.connect(in, inc, &l)
			}
			l.Groups = groups
			l.Before = in.listenAfter(d.before(in, l), inc)
			return d.yielding(in, d.singly(in, inc, l)), err
		},
		Ask:  func(inc uint64) bool { return in.askToEnd(inc) },
		Part: func(inc uint64, parted func()) { d.part(in, inc, parted) },
		Keep: func(m supervise.Machine) {
			if m.State == supervise.Spawning {
				in.place(d.host) // or the next daemon won't know whose it is
			}
			in.follow(m.Snapshot()) // before the successor is started: a spare, or another instance, answers at once
			if err := d.trust.keep(in, m); err != nil {
				d.tell(in.event(api.EventDaemon, "%v", err))
			}
		},
		OnChange: func(s supervise.Snapshot) {
			in.follow(s) // once more, for an instance that has just got its place
			d.takeGiven(in, s)
			if isDown(s) && !isDown(before) {
				d.unconfine(in)
			}
			in.lookReady() // it may have listened before it was known
			d.talk.follow(in, s)
			in.heardEnough(s)
			in.count(before, s)
			d.tellTransition(in, before, s) // before anybody acts on it: what follows is told later
			d.hub.tell(in)
			d.store.changed()
			d.attend(in, before, s)
			if file := *in.pidFile.Load(); file != "" && s.Pid != before.Pid {
				if err := keepPidFile(file, s.Pid); err != nil {
					d.log("%s %v", in.label(), err)
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

// start carries out a person's wish to see it run; did is what comes of that.
func (in *instance) start() (did string) {
	in.rested.Store(nil)
	in.waits.Store(nil)
	if in.isJob() {
		return in.job.arm()
	}
	in.job.disarm() // it may have been one
	in.proc.Start()
	return api.DidStart
}

func (in *instance) stop() {
	in.rested.Store(nil)
	in.ordered.Store(0)
	in.job.disarm()
	in.halt()
}

// halt stops it without a word on whether it should run.
func (in *instance) halt() {
	in.halts.Lock()
	defer in.halts.Unlock()
	in.waits.Store(nil)
	in.doomed.Store(false)
	in.stops.Add(1) // who is about to start it sees that
	in.proc.Stop()
}

// restart is start, but that what runs is ended before. Of a job that is the run that is
// under way; with a cause, which is no person's wish, nothing else is meant.
func (in *instance) restart(cause string) (did string) {
	in.rested.Store(nil)
	in.waits.Store(nil)
	if s := in.proc.Snapshot(); in.isJob() {
		did = api.DidSchedule
		if cause == "" {
			in.job.arm()
		}
		if s.IsUp() {
			did = api.DidRestart
			in.proc.Replace(s.Incarnation, cause)
		}
		return did
	}
	in.job.disarm()
	in.proc.Restart(cause)
	return api.DidRestart
}

func (in *instance) setPidFile(spec ecosystem.App) {
	path := pidPath(spec.PidFile, in.index, spec.Scale.Total())
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

// retarget lets an instance log to where a new version of its app says.
func (d *Daemon) retarget(r ready, in *instance) error {
	outTo, errTo := targets(r.app.spec, in, r.account, d.logPlace())
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
	in.version.Store(r.app)
	in.setPidFile(r.app.spec)
	if slot := in.slot.Load(); slot != nil {
		slot.Configure(clusterApp(r.app.spec))
	}
	in.proc.Configure(buildCommand(r.app, in, r.account, d.cfg.Home.Dir), r.app.policy)
}

// dispose ends an instance for good: its program, then its streams.
func (d *Daemon) dispose(in *instance) {
	d.disposeProcess(in)
	_ = os.Remove(d.rolePath(in)) // it may have none
	if d.table.Load().app(in.name) == nil {
		d.host.Take(in.name, func() bool { return true })
	}
	for _, s := range []*logs.Stream{in.out, in.err} {
		s.Close()
		d.feed.forget(s)
	}
}

// isUp says whether an app has an instance that should be running and is not in
// trouble for good, or is a job that is scheduled.
func isUp(a *app) bool {
	for _, in := range a.instances {
		if in.isJob() {
			return in.isArmed()
		}
		if s := in.proc.Snapshot(); s.Status != supervise.StatusStopped && s.Status != supervise.StatusErrored {
			return true
		}
	}
	return false
}

// signalName is "SIGKILL" for 9.
func signalName(s syscall.Signal) string { return supervise.SignalName(s) }
