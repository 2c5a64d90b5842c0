package consul

import (
	"cmp"
	"strings"
	"time"
)

// A lease is the wish to have a lock, and what has come of it, as a value. It decides
// (step); locker.go carries out. All times are of CLOCK_BOOTTIME.
//
// Safety: whoever uses a lock may run what it protects from when the lease is held until
// it is not any more, at the latest until its time `until`. It is over at once when the
// session is gone or the key is another's. It is given back only when its user has said
// that all that ran under it is dead (freed).

// leaseState is where a lease is.
type leaseState int

const (
	leaseOff       leaseState = iota // nobody wants it, and there is no session
	leaseOpening                     // a session is to be made
	leaseWatching                    // the key is read until it is free, or ours
	leasePausing                     // it is free, and others are to have their turn first
	leaseAsking                      // it is to be locked
	leaseHeld                        // it is ours
	leaseLost                        // it was ours; what ran under it may not be dead yet
	leaseReleasing                   // all is dead: it is to be unlocked
	leaseClosing                     // the session is to be ended
	leaseStates    = int(leaseClosing) + 1
)

// leaseEvent is what has happened.
type leaseEvent int

const (
	leaseWant     leaseEvent = iota // somebody wants it
	leaseUnwant                     // nobody does any more
	leaseFreed                      // all that ran under it is dead, or goes on without it
	leaseOpened                     // there is a session
	leaseSeen                       // the key was read
	leaseAnswered                   // the request to lock it was answered
	leaseReleased                   // it is unlocked
	leaseClosed                     // the session is ended
	leaseFailed                     // the request under way has failed
	leaseGone                       // there is no such session any more
	leaseTimer                      // something may be due
	leaseEvents   = int(leaseTimer) + 1
)

// leaseNews is an event with what belongs to it.
type leaseNews struct {
	event   leaseEvent
	now     time.Duration
	request uint64        // of which request it is the answer
	sent    time.Duration // when that was sent
	session string        // leaseOpened
	seen    sitting       // leaseSeen
	isOurs  bool          // leaseAnswered
	pause   time.Duration // leaseFreed: so long others have the first turn
	err     error         // leaseFailed
}

// leaseAct is what is to be asked of the agent.
type leaseAct int

const (
	leaseNothing leaseAct = iota
	leaseOpen
	leaseLook // from index on
	leaseLock
	leaseUnlock
	leaseEnd
)

// lease is the machine.
type lease struct {
	state leaseState
	terms
	want    bool
	session string
	sent    time.Duration // when the last good renewal was, or the session's creation
	request uint64        // the one under way; answers to others aren't heard
	retry   time.Duration // when what has failed is tried again; 0: nothing has
	fails   int           // failures in a row
	after   time.Duration // others come first until then
	index   uint64        // of the key
	fence   uint64
	term    uint64 // how often it was held
	holder  string // who has the lock
	renewal
	why string // why it isn't held, was lost, or could not be renewed lately
}

// renewal is that of the session.
type renewal struct {
	renews bool          // one is under way
	due    time.Duration // of the next
	misses int           // failures in a row
	astray bool          // a request to unlock by it was given up, and may arrive yet
}

const (
	leaseRetry  = time.Second            // after a failure
	leaseBusy   = 250 * time.Millisecond // after a refusal to lock what is free: a delay nobody tells the end of
	leaseSlow   = 30 * time.Second       // the longest pause after failures that are no missing agent
	leaseReads  = time.Minute            // how long a read waits for a change
	leaseGiveUp = 3                      // failures, after which the end of a session is left to its time
)

// until is when what runs under the lock has to be dead.
func (l lease) until() time.Duration { return l.sent + l.ttl }

// over is when the lease counts as lost.
func (l lease) over() time.Duration { return l.until() - l.margin }

// step is the whole of the decisions: what a lease becomes by news, and what is to be
// asked next. An answer to another request than the one under way changes nothing.
func (l lease) step(n leaseNews) (lease, leaseAct) {
	switch n.event {
	case leaseOpened, leaseSeen, leaseAnswered, leaseReleased, leaseClosed, leaseFailed:
		if n.request != l.request {
			return l, leaseNothing
		}
		if n.event != leaseFailed && n.event != leaseSeen { // who may read and not write isn't tried more often for that
			l.fails = 0
		}
	case leaseGone:
		if n.session != l.session {
			return l, leaseNothing
		}
	}
	act := leaseTable[l.state][n.event](&l, n)
	if act != leaseNothing {
		l.request++
		l.retry = 0
	}
	return l, act
}

// renewed is the answer to the renewal of a session that is there, or why there is none.
func (l lease) renewed(session string, sent, now time.Duration, failed error) lease {
	if session != l.session {
		return l
	}
	l.renews = false
	if failed != nil {
		l.misses++
		l.due = now + leaseRetry
		if l.state == leaseHeld {
			l.why = failed.Error()
		}
		return l
	}
	l.misses = 0
	if l.state == leaseHeld {
		l.why = ""
	}
	l.sent = max(l.sent, sent)
	l.due = l.sent + l.ttl/3
	if l.state == leaseHeld { // whether the key is ours is asked, too: a server may have missed to tell
		l.retry, l.index = now, 0
	}
	return l
}

// renew says whether the session is to be renewed now.
func (l lease) renew(now time.Duration) (lease, bool) {
	if l.session == "" || l.renews || l.state == leaseClosing || now < l.due {
		return l, false
	}
	l.renews = true
	return l, true
}

// next is when something is due, 0 for nothing.
func (l lease) next() time.Duration {
	var all []time.Duration
	if l.session != "" && !l.renews && l.state != leaseClosing {
		all = append(all, l.due)
	}
	if l.state == leaseHeld {
		all = append(all, l.over())
	}
	if l.state == leasePausing {
		all = append(all, l.after)
	}
	all = append(all, l.retry)
	var first time.Duration
	for _, at := range all {
		if at != 0 && (first == 0 || at < first) {
			first = at
		}
	}
	return first
}

type leaseRule func(*lease, leaseNews) leaseAct

// leaseTable has a rule for every state and event.
var leaseTable = [leaseStates][leaseEvents]leaseRule{
	leaseOff: {
		leaseWant: leaseBegins, leaseUnwant: leaseUnwanted, leaseFreed: leaseNever, leaseOpened: leaseNever, leaseSeen: leaseNever,
		leaseAnswered: leaseNever, leaseReleased: leaseNever, leaseClosed: leaseNever, leaseFailed: leaseNever, leaseGone: leaseNever, leaseTimer: leaseNever,
	},
	leaseOpening: {
		leaseWant: leaseWanted, leaseUnwant: leaseDropsOpening, leaseFreed: leaseNever, leaseOpened: leaseHasOpened, leaseSeen: leaseNever,
		leaseAnswered: leaseNever, leaseReleased: leaseNever, leaseClosed: leaseNever, leaseFailed: leaseFails, leaseGone: leaseNever, leaseTimer: leaseAgain,
	},
	leaseWatching: {
		leaseWant: leaseWanted, leaseUnwant: leaseCloses, leaseFreed: leaseNever, leaseOpened: leaseNever, leaseSeen: leaseLooks,
		leaseAnswered: leaseNever, leaseReleased: leaseNever, leaseClosed: leaseNever, leaseFailed: leaseFails, leaseGone: leaseReopens, leaseTimer: leaseAgain,
	},
	leasePausing: {
		leaseWant: leaseWanted, leaseUnwant: leaseCloses, leaseFreed: leaseNever, leaseOpened: leaseNever, leaseSeen: leaseNever,
		leaseAnswered: leaseNever, leaseReleased: leaseNever, leaseClosed: leaseNever, leaseFailed: leaseNever, leaseGone: leaseReopens, leaseTimer: leaseAsks,
	},
	leaseAsking: {
		leaseWant: leaseWanted, leaseUnwant: leaseCloses, leaseFreed: leaseNever, leaseOpened: leaseNever, leaseSeen: leaseNever,
		leaseAnswered: leaseHears, leaseReleased: leaseNever, leaseClosed: leaseNever, leaseFailed: leaseDoubts, leaseGone: leaseReopens, leaseTimer: leaseNever,
	},
	leaseHeld: {
		leaseWant: leaseWanted, leaseUnwant: leaseUnwanted, leaseFreed: leaseReleases, leaseOpened: leaseNever, leaseSeen: leaseGuards,
		leaseAnswered: leaseNever, leaseReleased: leaseNever, leaseClosed: leaseNever, leaseFailed: leaseFails, leaseGone: leaseLoses, leaseTimer: leaseExpires,
	},
	leaseLost: {
		leaseWant: leaseWanted, leaseUnwant: leaseUnwanted, leaseFreed: leaseBuries, leaseOpened: leaseNever, leaseSeen: leaseNever,
		leaseAnswered: leaseNever, leaseReleased: leaseNever, leaseClosed: leaseNever, leaseFailed: leaseNever, leaseGone: leaseForgets, leaseTimer: leaseNever,
	},
	leaseReleasing: {
		leaseWant: leaseWanted, leaseUnwant: leaseUnwanted, leaseFreed: leaseNever, leaseOpened: leaseNever, leaseSeen: leaseNever,
		leaseAnswered: leaseNever, leaseReleased: leaseHasReleased, leaseClosed: leaseNever, leaseFailed: leaseFails, leaseGone: leaseReopens, leaseTimer: leaseAgain,
	},
	leaseClosing: {
		leaseWant: leaseWanted, leaseUnwant: leaseUnwanted, leaseFreed: leaseNever, leaseOpened: leaseNever, leaseSeen: leaseNever,
		leaseAnswered: leaseNever, leaseReleased: leaseNever, leaseClosed: leaseHasClosed, leaseFailed: leaseGivesUp, leaseGone: leaseNever, leaseTimer: leaseAgain,
	},
}

func leaseNever(*lease, leaseNews) leaseAct { return leaseNothing }

func leaseWanted(l *lease, _ leaseNews) leaseAct {
	l.want = true
	return leaseNothing
}

func leaseUnwanted(l *lease, _ leaseNews) leaseAct {
	l.want = false
	return leaseNothing
}

func leaseBegins(l *lease, _ leaseNews) leaseAct {
	l.want = true
	return l.open()
}

func (l *lease) open() leaseAct {
	l.state, l.session, l.renewal, l.index = leaseOpening, "", renewal{}, 0
	return leaseOpen
}

// leaseDropsOpening doesn't wait for a session that fails to be made; one that is on its
// way is ended when it is there.
func leaseDropsOpening(l *lease, _ leaseNews) leaseAct {
	l.want = false
	if l.retry != 0 {
		l.state, l.retry = leaseOff, 0
	}
	return leaseNothing
}

func leaseHasOpened(l *lease, n leaseNews) leaseAct {
	l.session, l.sent = n.session, n.sent
	l.due = l.sent + l.ttl/3
	if !l.want {
		return l.close()
	}
	return l.watch(0)
}

func (l *lease) watch(index uint64) leaseAct {
	l.state, l.index = leaseWatching, index
	return leaseLook
}

// leaseLooks decides about a key that isn't known to be ours.
func leaseLooks(l *lease, n leaseNews) leaseAct {
	if l.holder != "" && n.seen.isNothing() { // whoever had it has to hear of that, and to end what runs
		l.after = max(l.after, n.now+l.ttl)
	}
	l.see(n.seen)
	switch {
	case n.seen.session == l.session && n.now < l.over():
		l.state, l.fence, l.why = leaseHeld, n.seen.modify, ""
		l.term++
		return leaseLook
	case n.seen.session == l.session: // it may be over already: that is asked first
		l.due = min(l.due, n.now)
		l.retry = n.now + leaseBusy
		l.index = 0
		return leaseNothing
	case n.seen.session != "":
		l.after = 0 // another has had its turn
		return leaseLook
	case n.now < l.after:
		l.state = leasePausing
		return leaseNothing
	}
	return l.ask()
}

// see notes what was seen. A server that has lost its memory counts from the beginning.
func (l *lease) see(s sitting) {
	if s.index < l.index {
		s.index = 0
	}
	l.index, l.holder = s.index, ""
	if s.session != "" {
		l.holder = cmp.Or(s.holder, "another session")
	}
}

func (l *lease) ask() leaseAct {
	l.state = leaseAsking
	return leaseLock
}

func leaseAsks(l *lease, n leaseNews) leaseAct {
	if n.now < l.after {
		return leaseNothing
	}
	return l.ask()
}

// leaseHears looks at the key again, whatever the answer: it says with which index it is
// ours, or whose it is.
func leaseHears(l *lease, n leaseNews) leaseAct {
	if !n.isOurs {
		l.after = max(l.after, n.now+leaseBusy)
		l.due = min(l.due, n.now) // its session may have ended
	}
	return l.watch(0)
}

// leaseDoubts is for a request to lock that may have been heard, or not.
func leaseDoubts(l *lease, n leaseNews) leaseAct {
	l.state, l.index = leaseWatching, 0
	l.due = min(l.due, n.now) // the session may be the reason
	return leaseFails(l, n)
}

// leaseGuards looks whether a key that is ours stays so. What is older than that is news
// of a server that doesn't know it yet.
func leaseGuards(l *lease, n leaseNews) leaseAct {
	switch {
	case n.seen.session == l.session:
		l.see(n.seen)
	case n.seen.index >= l.fence || n.seen.modify >= l.fence:
		l.see(n.seen)
		l.why = "its key was deleted, or unlocked, by somebody"
		if n.seen.session != "" {
			l.why = "it was given to " + cmp.Or(n.seen.holder, "another session")
		}
		l.state = leaseLost
		return leaseNothing
	default:
		l.retry = n.now + leaseBusy
		l.index = 0
		return leaseNothing
	}
	return leaseLook
}

func leaseLoses(l *lease, _ leaseNews) leaseAct {
	l.state, l.why = leaseLost, "its session has ended"
	l.session, l.renewal = "", renewal{}
	return leaseNothing
}

func leaseForgets(l *lease, _ leaseNews) leaseAct {
	l.session, l.renewal = "", renewal{}
	return leaseNothing
}

// leaseExpires is for one that could not be renewed in time.
func leaseExpires(l *lease, n leaseNews) leaseAct {
	if n.now >= l.over() {
		l.state, l.why = leaseLost, strings.TrimSuffix("it could not be renewed: "+l.why, ": ")
		return leaseNothing
	}
	return leaseAgain(l, n)
}

func leaseReleases(l *lease, n leaseNews) leaseAct {
	l.state, l.after = leaseReleasing, n.now+n.pause
	return leaseUnlock
}

// leaseBuries goes on after a loss. A session that couldn't be renewed may be there.
func leaseBuries(l *lease, n leaseNews) leaseAct {
	l.after = n.now + n.pause
	switch {
	case !l.want && l.session == "":
		l.state = leaseOff
		return leaseNothing
	case !l.want:
		return l.close()
	case l.session == "":
		return l.open()
	}
	return l.watch(0)
}

// leaseHasReleased goes on with another session if a request to unlock may arrive yet: it
// would unlock what the same session has locked again.
func leaseHasReleased(l *lease, _ leaseNews) leaseAct {
	l.holder = ""
	if !l.want || l.astray {
		return l.close()
	}
	return l.watch(0)
}

func leaseCloses(l *lease, _ leaseNews) leaseAct {
	l.want = false
	return l.close()
}

func (l *lease) close() leaseAct {
	l.state, l.holder, l.why = leaseClosing, "", ""
	return leaseEnd
}

func leaseHasClosed(l *lease, _ leaseNews) leaseAct {
	l.state, l.session, l.renewal = leaseOff, "", renewal{}
	if l.want {
		return l.open()
	}
	return leaseNothing
}

// leaseGivesUp leaves a session to its time: nobody renews it.
func leaseGivesUp(l *lease, n leaseNews) leaseAct {
	if l.fails+1 >= leaseGiveUp {
		l.fails = 0
		return leaseHasClosed(l, n)
	}
	return leaseFails(l, n)
}

// leaseReopens makes another session in the place of one that has ended.
func leaseReopens(l *lease, _ leaseNews) leaseAct {
	l.session, l.renewal = "", renewal{}
	if !l.want {
		l.state = leaseOff
		l.request++ // nobody waits for what is under way
		return leaseNothing
	}
	return l.open()
}

// leaseFails has the same request made again later. An agent that isn't there is asked
// each second: it costs little, and it is to be noticed when it is back.
func leaseFails(l *lease, n leaseNews) leaseAct {
	l.fails++
	l.astray = l.astray || l.state == leaseReleasing
	pause := leaseRetry
	if n.err != nil && !IsDown(n.err) {
		pause = min(leaseSlow, leaseRetry<<min(l.fails-1, 5))
	}
	l.retry = n.now + pause
	if l.state != leaseHeld && n.err != nil {
		l.why = n.err.Error()
	}
	return leaseNothing
}

// leaseAgain makes the request of a state again when it is due.
func leaseAgain(l *lease, n leaseNews) leaseAct {
	if l.retry == 0 || n.now < l.retry {
		return leaseNothing
	}
	switch l.state {
	case leaseOpening:
		return leaseOpen
	case leaseReleasing:
		return leaseUnlock
	case leaseClosing:
		return leaseEnd
	}
	return leaseLook
}
