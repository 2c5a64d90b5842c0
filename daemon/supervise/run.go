package supervise

// What is asked of one run, not of the process whatever it is doing by then: who asks has
// looked at it before, and a person may have asked for something else meanwhile.

// Replace restarts incarnation inc, if it is up: one that is down, or was told to end,
// stays so.
func (p *Process) Replace(inc uint64, cause string) {
	p.ofRun(inc, Event{Kind: EvRestart, Cause: cause})
}

// End stops incarnation inc, if it is up; what comes after it goes on.
func (p *Process) End(inc uint64) { p.ofRun(inc, Event{Kind: EvStop}) }

func (p *Process) ofRun(inc uint64, ev Event) {
	p.mail.post(func() {
		if !p.closing && !p.leaving && p.m.isUp(inc) {
			p.step(ev)
		}
	})
}

// isUp says that incarnation inc lives, and nobody wants its end.
func (m Machine) isUp(inc uint64) bool {
	return m.Inc == inc && m.Want && (m.State == Starting || m.State == Unready || m.State == Online)
}

// IsUp says that there is a process which nobody wants to end.
func (s Snapshot) IsUp() bool {
	return s.Pid != 0 && s.Want && (s.Status == StatusLaunching || s.Status == StatusOnline)
}
