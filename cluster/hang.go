package cluster

import "time"

// Hang detection from outside. A program that is stuck stops accepting, and the
// queue of its socket stands. Nobody waits in the queue of an idle one, and that of
// a slow one moves, so neither is ever meant.
//
// The length of the queue is all that is cheap to know. It went down: somebody was
// accepted. But where more come than are accepted it only grows, and a full one is
// full whenever one looks. So the connections of the tenant are noted before a queue's
// time begins to count, and compared until it is over: one that it hadn't before was
// accepted meanwhile.

// standing is what is known about the queue of one kept socket. Its methods give the
// next one.
type standing struct {
	tenant  uint64    // the incarnation that should accept; another one gets its own time
	waiting int       // at the last look
	since   time.Time // since when it hasn't been seen to move; zero: nobody waits
	noted   bool      // what the tenant has was noted then
}

// finding is what a look at a queue says.
type finding int

const (
	moving  finding = iota // or idle
	closely                // it stands: compare the tenant's connections, where that isn't too costly
	overdue                // it stood for too long: stuck, unless comparing them says otherwise
)

// look goes on with the length of the queue at a moment. tenant is 0 when nobody
// serves it: those who wait then wait for a successor. timeout is for how long the
// queue may stand.
func (s standing) look(at time.Time, tenant uint64, waiting int, timeout time.Duration) (standing, finding) {
	last := s
	s.tenant, s.waiting = tenant, waiting
	switch {
	case waiting == 0 || tenant == 0:
		s.since, s.noted = time.Time{}, false
		return s, moving
	case tenant != last.tenant || waiting < last.waiting || s.since.IsZero():
		s.since, s.noted = at, false
		return s, moving
	case s.noted && at.Sub(s.since) >= timeout:
		return s, overdue
	}
	return s, closely
}

// note begins the queue's time: the tenant's connections are known for the first time
// since the queue stands, or it has one that it hadn't before.
func (s standing) note(at time.Time) standing {
	s.since, s.noted = at, true
	return s
}

// A queue hands on what it holds: where a request stops every program that takes it,
// the successor of a killed one takes it next. So one slot's hangs are counted.

const (
	hangsInARow   = 3
	forgivenAfter = 10 // times the timeout
)

// poison counts the hangs of one slot in a row.
type poison struct {
	hangs  int
	tenant uint64    // the last one that hung
	well   time.Time // since when a later one has served; zero: it hasn't yet
}

// hung notes that a tenant hangs and says whether the queue is to be given up: who
// waits in it is told so by a reset, and the next tenant finds it empty. A tenant is
// counted once, however many of its sockets stand.
func (p poison) hung(tenant uint64) (next poison, giveUp bool) {
	if tenant == p.tenant {
		return p, false
	}
	p = poison{hangs: p.hangs + 1, tenant: tenant}
	if p.hangs < hangsInARow {
		return p, false
	}
	return poison{tenant: tenant}, true
}

// served notes that a tenant was seen in order: it is there, and nobody has waited for
// long. After some time of that the hangs before it are forgotten.
func (p poison) served(at time.Time, tenant uint64, timeout time.Duration) poison {
	switch {
	case p.hangs == 0 || tenant == p.tenant || tenant == 0:
		return p
	case p.well.IsZero():
		p.well = at
	case at.Sub(p.well) >= forgivenAfter*timeout:
		return poison{}
	}
	return p
}
