package consul

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestLeaseWalk has some leases compete for one key of a Consul that is slow, loses
// requests and answers, ends sessions when it may, and has a malicious user. Daemons
// freeze for any time. Whoever holds the lock runs a program; a keeper kills it when the
// lease's time is over. Never may two run.
func TestLeaseWalk(t *testing.T) {
	for seed := range uint64(400) {
		w := newWorld(seed)
		for range 4000 {
			w.advance()
			if w.fault != "" {
				t.Fatalf("seed %d at %v: %s\n%s", seed, w.now, w.fault, w.story())
			}
		}
		if w.terms == 0 {
			t.Errorf("seed %d: nobody has ever held it", seed)
		}
	}
}

// TestLeaseTable shows that each state has a rule for each event, and that most are ever
// reached is TestLeaseWalk's.
func TestLeaseTable(t *testing.T) {
	for s, row := range leaseTable {
		for e, rule := range row {
			if rule == nil {
				t.Errorf("%v has no rule for event %d", leaseState(s), e)
			}
		}
		if leaseState(s).String() == "" {
			t.Errorf("state %d has no name", s)
		}
	}
}

// TestLeaseIsNotSharedAcrossRequests shows that the answer to a request that was given up
// is not heard.
func TestLeaseHearsNoOldAnswer(t *testing.T) {
	l := newLease(LockOptions{TTL: 10 * time.Second}, 0)
	l, _ = l.step(leaseNews{event: leaseWant})
	old := l.request
	l, _ = l.step(leaseNews{event: leaseOpened, request: old, session: "s"})
	l, _ = l.step(leaseNews{event: leaseSeen, request: old, seen: sitting{session: "s", modify: 3, index: 3}})
	if l.state != leaseWatching {
		t.Errorf("it is %v by an answer to the request before", l.state)
	}
}

var leaseNames = [leaseStates]string{"off", "opening", "watching", "pausing", "asking", "held", "lost", "releasing", "closing"}

func (s leaseState) String() string { return leaseNames[s] }

// world is a Consul, and machines that use it.
type world struct {
	*rand.Rand
	now      time.Duration
	due      []happening
	index    uint64
	key      sitting
	sessions map[string]time.Duration // when each may end
	made     int
	all      []*machine
	terms    int
	fence    uint64   // of the last term
	last     *machine // whose that was
	fault    string
	log      []string
}

type happening struct {
	at time.Duration
	do func()
}

// machine is one with a daemon, a keeper and a program.
type machine struct {
	w      *world
	name   string
	lease  lease
	runs   bool
	kill   time.Duration // what its keeper knows
	frozen time.Duration // its daemon does nothing until then
	dying  bool
}

const walkTTL = 10 * time.Second

func newWorld(seed uint64) *world {
	w := &world{Rand: rand.New(rand.NewPCG(seed, 7)), sessions: map[string]time.Duration{}, index: 10}
	for i := range 2 + w.IntN(2) {
		m := &machine{w: w, name: string(rune('a' + i)), lease: newLease(LockOptions{TTL: walkTTL}, 0)}
		w.all = append(w.all, m)
		m.hear(leaseNews{event: leaseWant})
		m.tick()
	}
	w.mischief()
	return w
}

func (w *world) after(d time.Duration, do func()) { w.due = append(w.due, happening{w.now + d, do}) }

func (w *world) upTo(d time.Duration) time.Duration { return time.Duration(w.Int64N(int64(d))) }

// advance does what is due next.
func (w *world) advance() {
	first := 0
	for i, h := range w.due {
		if h.at < w.due[first].at {
			first = i
		}
	}
	h := w.due[first]
	w.due = slices.Delete(w.due, first, first+1)
	for _, m := range w.all { // keepers don't depend on daemons
		if m.runs && h.at >= m.kill {
			m.runs = false
			w.say("%s is killed by its keeper", m.name)
		}
	}
	w.now = max(w.now, h.at)
	h.do()
	running := ""
	for _, m := range w.all {
		if m.runs {
			running += m.name
		}
	}
	if len(running) > 1 {
		w.fault = "two run: " + running
	}
}

func (w *world) say(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf("%v: ", w.now)+fmt.Sprintf(format, args...))
}

func (w *world) story() (text string) {
	for _, line := range w.log[max(0, len(w.log)-40):] {
		text += line + "\n"
	}
	return text
}

// mischief is what nobody asked for.
func (w *world) mischief() {
	w.after(w.upTo(20*time.Second), w.mischief)
	m := w.all[w.IntN(len(w.all))]
	switch w.IntN(6) {
	case 0:
		m.frozen = w.now + w.upTo(3*walkTTL)
		w.say("%s is frozen until %v", m.name, m.frozen)
	case 1:
		if m.runs && !m.dying { // it dies by itself
			m.runs, m.dying = false, true // no other is begun before its daemon knows
			m.later(func() { m.freed() })
		}
	case 2:
		m.later(func() { m.hear(leaseNews{event: leaseUnwant}) })
		m.later(func() { m.stop() })
		w.after(w.upTo(walkTTL), func() { m.later(func() { m.hear(leaseNews{event: leaseWant}) }) })
	}
}

// later gives news to the daemon, when it isn't frozen.
func (m *machine) later(do func()) {
	if m.w.now < m.frozen {
		m.w.after(m.frozen-m.w.now, func() { m.later(do) })
		return
	}
	do()
}

// tick is the daemon's timer.
func (m *machine) tick() {
	m.later(func() { m.hear(leaseNews{event: leaseTimer}) })
	m.w.after(100*time.Millisecond+m.w.upTo(500*time.Millisecond), m.tick)
}

// stop ends the program, if it runs, in some time.
func (m *machine) stop() {
	if m.dying {
		return
	}
	m.dying = true
	m.w.after(m.w.upTo(2*time.Second), func() {
		m.runs = false
		m.later(func() { m.freed() })
	})
}

func (m *machine) freed() {
	m.dying = false
	if m.runs {
		m.w.fault = "it says that a program is dead which runs"
	}
	m.hear(leaseNews{event: leaseFreed, pause: m.w.upTo(time.Second)})
}

func (m *machine) hear(n leaseNews) {
	n.now = m.w.now
	was := m.lease.state
	next, act := m.lease.step(n)
	m.lease = next
	if act != leaseNothing {
		m.ask(act, next)
	}
	var is bool
	if m.lease, is = m.lease.renew(m.w.now); is {
		m.renew()
	}
	if m.lease.state != was {
		m.w.say("%s: %v → %v", m.name, was, m.lease.state)
	}
	m.follow()
}

// follow is what a daemon does with its lock.
func (m *machine) follow() {
	switch {
	case m.lease.state == leaseHeld && !m.runs && !m.dying && m.lease.want:
		m.kill = m.lease.until()
		if m.runs = m.w.now < m.kill; !m.runs {
			return
		}
		if f := m.lease.fence; f < m.w.fence || f == m.w.fence && m.w.last != m {
			m.w.fault = fmt.Sprintf("the fence goes from %d to %d", m.w.fence, f)
		}
		m.w.fence, m.w.last = m.lease.fence, m
		m.w.terms++
		m.w.say("%s runs, until %v", m.name, m.kill)
	case m.lease.state == leaseHeld && !m.runs && !m.dying:
		m.stop()
	case m.lease.state == leaseHeld && m.runs:
		m.kill = m.lease.until()
	case m.lease.state == leaseLost && !m.dying:
		m.stop()
	}
}

// call sends a request that may be lost, arrive late, or whose answer may.
func (m *machine) call(serve func() leaseNews, hear func(leaseNews)) {
	w, sent := m.w, m.w.now
	fate := w.IntN(20)
	way := w.upTo(50 * time.Millisecond)
	if fate == 0 {
		way = w.upTo(2 * walkTTL)
	}
	failed := leaseNews{sent: sent, err: errors.New("lost")}
	if fate == 1 {
		w.after(w.upTo(5*time.Second), func() { m.later(func() { hear(failed) }) })
		return
	}
	if fate == 3 { // it is given up, and arrives all the same
		w.after(w.upTo(5*time.Second), func() { m.later(func() { hear(failed) }) })
		w.after(w.upTo(2*walkTTL), func() { serve() })
		return
	}
	w.after(way, func() {
		n := serve()
		n.sent = sent
		if fate == 2 {
			n = failed
		}
		w.after(w.upTo(50*time.Millisecond), func() { m.later(func() { hear(n) }) })
	})
}

func (m *machine) ask(act leaseAct, l lease) {
	m.call(func() leaseNews { return m.w.serve(act, l, m.name) }, func(n leaseNews) {
		n.request = l.request
		if n.err != nil {
			n.event = leaseFailed
		}
		m.hear(n)
	})
}

func (m *machine) renew() {
	session := m.lease.session
	m.call(func() leaseNews { return leaseNews{isOurs: m.w.touch(session)} }, func(n leaseNews) {
		if n.err == nil && !n.isOurs {
			m.hear(leaseNews{event: leaseGone, session: session})
			return
		}
		m.lease = m.lease.renewed(session, n.sent, m.w.now, n.err)
		m.hear(leaseNews{event: leaseTimer})
	})
}

// touch gives a session its time again, from when the request has arrived.
func (w *world) touch(session string) bool {
	if _, is := w.sessions[session]; !is {
		return false
	}
	ends := w.now + walkTTL + w.upTo(walkTTL)
	w.sessions[session] = ends
	w.after(ends-w.now, func() {
		if w.sessions[session] == ends {
			w.end(session)
		}
	})
	return true
}

func (w *world) end(session string) {
	delete(w.sessions, session)
	if w.key.session == session {
		w.index++
		w.key.session, w.key.modify = "", w.index
	}
}

func (w *world) serve(act leaseAct, l lease, name string) (n leaseNews) {
	_, isThere := w.sessions[l.session]
	switch act {
	case leaseOpen:
		w.made++
		n.event, n.session = leaseOpened, fmt.Sprintf("%s%d", name, w.made)
		w.sessions[n.session] = 0
		w.touch(n.session)
	case leaseLook: // a change isn't waited for: it is asked again
		n.event, n.seen = leaseSeen, w.key
		n.seen.index = w.index
	case leaseLock:
		n.event = leaseAnswered
		if !isThere {
			n.err = errors.New("invalid session")
			return n
		}
		if w.key.session == "" {
			w.index++
			w.key = sitting{session: l.session, holder: name, modify: w.index}
		}
		n.isOurs = w.key.session == l.session
	case leaseUnlock:
		n.event = leaseReleased
		if w.key.session == l.session {
			w.index++
			w.key.session, w.key.modify = "", w.index
		}
	case leaseEnd:
		n.event = leaseClosed
		w.end(l.session)
	}
	return n
}
