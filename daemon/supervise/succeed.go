package supervise

import "time"

// Succeed is New for the successor of a process that still runs, or did: its
// incarnations go on from that one's, and its first start counts as a restart.
func Succeed(cfg Config, before Machine) *Process {
	m := Machine{Inc: before.Inc, Count: Count{Restarts: before.Count.Restarts + 1}, LastExit: before.LastExit}
	p := create(cfg, m)
	go p.run() // ended by Close or Abandon, which wait for it
	return p
}

// StopWithin is Stop for a process that is to have more time, or less, than its
// policy's kill timeout until it is killed. What it leaves behind has the usual one.
func (p *Process) StopWithin(patience time.Duration) {
	p.mail.post(func() {
		if p.closing || p.leaving {
			return
		}
		p.patience = patience
		p.step(Event{Kind: EvStop})
	})
}
