package supervise

import (
	"errors"
	"syscall"
	"time"
)

// ErrGone says that a process which was to be adopted isn't there any more, not
// even as a zombie.
var ErrGone = errors.New("the process is gone")

// errNotSpawned is for an incarnation that was to end before it was there.
var errNotSpawned = errors.New("not started: it was to end before that")

// adoptAgain is the pause before another try when a process lives and can't be
// watched, for want of descriptors or memory.
const adoptAgain = time.Second

// Restore is New for a machine that an earlier daemon kept: it goes on where that
// was. The process that m knows is adopted, timers have what was left of their
// time, clearing and stopping go on; an exit that nobody has seen is one of code
// Unknown, and then policy decides as for any other. Restoring by itself changes
// no count; OnChange and Keep aren't called for what is as it was, so a keeper that
// knows nothing yet is told by Renew.
//
// found is a live process of this instance that m doesn't know, spawned after m
// was kept; zero: none. It counts only if m's own process is dead, and not if it is
// older than that death: then it is a leftover, not a successor. A Command and a
// Policy changed since the incarnation was started are its own from now on.
func Restore(cfg Config, m Machine, found Run) *Process {
	p := create(cfg, m)
	if cfg.Made != nil {
		cfg.Made(p)
	}
	p.mail.post(func() { p.resume(found) })
	go p.run() // ended by Close or Abandon, which wait for it
	return p
}

// Machine is what was kept last; never blocks.
func (p *Process) Machine() Machine { return *p.noted.Load() }

// Renew calls Keep again with the machine as it is: a new keeper has to be told.
func (p *Process) Renew() {
	p.mail.post(func() {
		if !p.leaving {
			p.keep()
		}
	})
}

// Abandon ends the actor, waits for its goroutine, and leaves the process to the
// next daemon: it isn't signalled and not reaped, and nothing is kept any more. A
// spawn under way is waited for, so that its process is known, but not for long: a
// process not yet known is found by who looks for strays.
func (p *Process) Abandon() {
	const patience = 2 * time.Second
	p.mail.post(func() {
		p.leaving = true
		p.unarm()
		p.cancel()
		if !p.launching {
			p.letGo()
			return
		}
		p.unarm = p.cfg.Clock.AfterFunc(patience, func() { p.mail.post(p.letGo) })
	})
	<-p.done
}

// letGo is the last thing that is done before the goroutine ends.
func (p *Process) letGo() {
	p.unarm()
	p.left = true
	if p.child != nil {
		p.child.Release()
		p.child = nil
	}
}

// resume does what the earlier daemon's death has interrupted. What it did between
// its last note and its death isn't known, so what is done twice must do no harm.
func (p *Process) resume(found Run) {
	if p.leaving {
		return
	}
	if found.StartTime < p.m.Remains.Reaped {
		found = Run{}
	}
	switch st := p.m.State; {
	case st == Starting || st == Unready || st == Online || st == Parting || st == Stopping || st == Killing:
		p.resumeRun(found)
	case found.Pid != 0:
		p.takeOver(found)
	case st == Spawning && p.m.Recycle: // nobody wants it, and what is done before a spawn may take long
		p.spawnFailed(p.m.Inc, errNotSpawned)
	case st == Spawning:
		p.spawn(p.m.Inc)
	case st == Clearing:
		p.child = p.cfg.Kernel.Inherit(p.cfg.Command, p.m.Remains)
		p.clear(p.clearSignal())
		p.rearm()
	default:
		p.rearm()
	}
}

func (p *Process) clearSignal() syscall.Signal {
	if p.m.Killed {
		return syscall.SIGKILL
	}
	return syscall.SIGTERM
}

// resumeRun goes on with the process that the machine knows, be it alive or dead.
func (p *Process) resumeRun(found Run) {
	inc := p.m.Inc
	child, err := p.adopt(inc, p.m.Run)
	switch {
	case errors.Is(err, ErrGone) && found.Pid != 0:
		p.takeOver(found)
		return
	case errors.Is(err, ErrGone):
		p.child = p.cfg.Kernel.Inherit(p.cfg.Command, Remains{Pid: p.m.Run.Pid, StartTime: p.m.Run.StartTime})
		p.exited(inc)
		return
	case err != nil:
		p.rearm()
		p.cfg.Clock.AfterFunc(adoptAgain, func() { p.mail.post(func() { p.retry(inc, found) }) })
		return
	}
	p.child = child
	p.rearm()
	switch {
	case p.m.State == Parting:
		p.step(Event{Kind: EvParted, Inc: inc}) // what was under way has died with the daemon before
	case p.m.State == Killing:
		p.signal(syscall.SIGKILL)
	case p.m.State == Stopping && !p.m.Asked:
		p.signal(p.policy.killSignal())
	}
}

// retry is another try to adopt the process of an incarnation.
func (p *Process) retry(inc uint64, found Run) {
	if p.child == nil && p.m.Inc == inc && !p.leaving {
		p.resumeRun(found)
	}
}

// takeOver makes found the incarnation that the machine goes on with.
func (p *Process) takeOver(found Run) {
	now := p.cfg.Clock.Now()
	if found.Started.IsZero() {
		found.Started = now
	}
	e := Exit{At: now, Code: Unknown, Uptime: max(found.Started.Sub(p.m.Run.Started), 0)}
	if p.m.Ended != nil {
		e = *p.m.Ended
	}
	p.step(Event{Kind: EvFound, At: now, Inc: p.m.Inc, Run: found, Exit: e})
	p.resumeRun(Run{})
}

// adopt asks the kernel for a process of an earlier daemon.
func (p *Process) adopt(inc uint64, run Run) (Child, error) {
	return p.cfg.Kernel.Adopt(p.cfg.Command, run, func() {
		p.mail.post(func() { p.exited(inc) })
	})
}

// rearm sets the timer that ran when the machine was kept. A state that must have
// one and was kept without, by whatever mistake, gets one that is due.
func (p *Process) rearm() {
	now := p.cfg.Clock.Now()
	t := &p.m.Timer
	switch p.m.State {
	case Starting, Unready, Parting, Stopping, Killing, Clearing, Backoff:
		if !t.Armed {
			*t = Timer{Epoch: t.Epoch + 1, Armed: true, Due: now}
		}
	}
	if t.Armed {
		p.arm(t.Epoch, t.left(now))
	}
}
