package supervise

import "syscall"

// EndsBy changes the signal that a process is told to end by.
func (p *Process) EndsBy(sig syscall.Signal) {
	p.mail.post(func() { p.policy.KillSignal = sig })
}

// Kill ends incarnation inc at once, with all that it has left: it is not asked, and not
// waited for. If it is wanted it is started again, which is no crash.
func (p *Process) Kill(inc uint64, cause string) {
	p.mail.post(func() {
		if p.leaving || p.m.Inc != inc {
			return
		}
		p.hurried = true // every time that something is given to end is over
		switch {
		case p.m.Want && (p.m.isUp(inc) || p.m.State == Spawning && !p.m.Recycle):
			p.step(Event{Kind: EvRestart, Cause: cause})
		case p.m.State == Clearing:
			p.clear(syscall.SIGKILL)
		}
		if p.child != nil && p.m.Run.Pid != 0 {
			_ = p.child.Signal(syscall.SIGKILL, p.policy.TreeKill) // an error means it has ended: its exit is on the way
		}
	})
}
