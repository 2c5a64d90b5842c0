package consul

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// LockOptions say what is locked.
type LockOptions struct {
	Key     string
	Session string          // the session's name, for people
	Holder  string          // what is written into the key while it is ours
	TTL     time.Duration   // of the session
	Left    *LockLeft       // nil: nothing was left
	Changed func(LockState) // is told of each change, in order; it must not block
}

// LockLeft is what whoever used the lock before has left, when that is to go on. Until is
// on the clock of Boottime.
type LockLeft struct {
	Session string        `json:"session"`
	Fence   uint64        `json:"fence,omitempty"` // 0: the lock wasn't ours
	Until   time.Duration `json:"until_ns,omitempty"`
}

// LockState is what there is to know of a lock.
type LockState struct {
	Held    bool          // what it protects may run, until Until at the latest
	Lost    bool          // it was held and is not any more: what runs under it is to be ended, and then Freed called
	Idle    bool          // nobody wants it, and Consul knows nothing of us
	Until   time.Duration // on the clock of Boottime; zero if it is not held
	Fence   uint64        // grows from one holder to the next, unless Consul loses its memory; 0: it was never held
	Term    uint64        // grows from one time that it is held to the next
	Session string
	Holder  string // who has it, as that has written it; "" = nobody, or it isn't known
	Misses  int    // renewals that have failed in a row
	Why     string // why it isn't held, was lost, or could not be renewed lately; "" = another has it, or all is well
}

// Lock is one key that is locked whenever that is possible, as long as somebody wants it.
// Its goroutine ends with Leave, when all is given back, or with Abandon.
type Lock struct {
	client *Client
	LockOptions
	mail  chan leaseNews
	state atomic.Pointer[LockState]
	done  chan struct{}

	ctx    context.Context // of its requests
	cancel context.CancelFunc
	asking sync.WaitGroup

	// The goroutine's own.
	lease   lease
	drop    context.CancelFunc // of the request under way
	leaving bool
}

// leaseLeave and leaseRenewed are news for the goroutine, not for the machine.
const (
	leaseLeave leaseEvent = iota + leaseEvent(leaseEvents)
	leaseRenewed
)

// LockMargin is how long before its time is over a lock counts as lost: what runs under
// it is ended by its user then, and by others if that doesn't.
func LockMargin(ttl time.Duration) time.Duration { return min(max(ttl/10, time.Second), 2*time.Second) }

// Lock begins the work on a lock. Nobody wants it yet, unless it was left.
func (c *Client) Lock(o LockOptions) *Lock {
	l := &Lock{client: c, LockOptions: o, mail: make(chan leaseNews), done: make(chan struct{}), drop: func() {}}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.lease = newLease(o, Boottime())
	l.state.Store(new(LockState))
	l.publish()
	go l.run() // ended by Leave or Abandon
	return l
}

// terms are what never changes of a lease.
type terms struct {
	ttl    time.Duration
	margin time.Duration // it counts as lost that long before its time is over
}

// newLease is one that goes on with what was left, if anything was.
func newLease(o LockOptions, now time.Duration) lease {
	l := lease{terms: terms{ttl: o.TTL, margin: LockMargin(o.TTL)}}
	if o.Left == nil || o.Left.Session == "" {
		return l
	}
	l.session, l.fence, l.want = o.Left.Session, o.Left.Fence, true
	l.sent = o.Left.Until - o.TTL
	l.due, l.retry = now, now
	l.state = leaseWatching
	if l.fence != 0 {
		l.state, l.term = leaseHeld, 1
	}
	return l
}

// Want says whether somebody wants the lock. One that is held stays so until Freed.
func (l *Lock) Want(want bool) {
	n := leaseNews{event: leaseUnwant}
	if want {
		n.event = leaseWant
	}
	l.post(n)
}

// Freed says that nothing runs any more that the lock protects, or that it runs without:
// the lock is given back. So long as pause others have the first turn.
func (l *Lock) Freed(pause time.Duration) { l.post(leaseNews{event: leaseFreed, pause: pause}) }

// Leave has the goroutine end when nothing of ours is left in Consul, or can't be taken
// back in time. What the lock protects has to be dead.
func (l *Lock) Leave() { l.post(leaseNews{event: leaseLeave}) }

// Abandon ends the goroutine, and leaves lock and session as they are.
func (l *Lock) Abandon() {
	l.cancel()
	<-l.done
}

// Done is closed when the goroutine has ended.
func (l *Lock) Done() <-chan struct{} { return l.done }

// State is the present one.
func (l *Lock) State() LockState { return *l.state.Load() }

// Left is what another may go on with.
func (s LockState) Left() LockLeft {
	left := LockLeft{Session: s.Session}
	if s.Held {
		left.Fence, left.Until = s.Fence, s.Until
	}
	return left
}

func (l *Lock) post(n leaseNews) {
	select {
	case l.mail <- n:
	case <-l.done:
	}
}

func (l *Lock) run() {
	defer close(l.done)
	defer l.asking.Wait()
	defer l.cancel()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for !l.leaving || l.lease.state != leaseOff {
		select {
		case n := <-l.mail:
			l.hear(n)
		case <-timer.C:
			l.hear(leaseNews{event: leaseTimer})
		case <-l.ctx.Done():
			return
		}
		l.renew()
		l.publish()
		timer.Stop()
		if at := l.lease.next(); at != 0 {
			pause := max(at-Boottime(), 0)
			timer.Reset(pause + time.Duration(rand.Int64N(int64(pause/20)+int64(time.Millisecond))))
		}
	}
}

// hear gives news to the machine, and does what that decides.
func (l *Lock) hear(n leaseNews) {
	n.now = Boottime()
	switch n.event {
	case leaseRenewed:
		if n.err == nil && !n.isOurs {
			l.hear(leaseNews{event: leaseGone, session: n.session})
			return
		}
		l.lease = l.lease.renewed(n.session, n.sent, n.now, n.err)
		return
	case leaseLeave:
		l.leaving = true
		l.hear(leaseNews{event: leaseUnwant})
		l.hear(leaseNews{event: leaseFreed})
		return
	}
	next, act := l.lease.step(n)
	l.lease = next
	if act != leaseNothing {
		l.drop()
		l.ask(act)
	}
}

// publish tells of the state if it is another.
func (l *Lock) publish() {
	m := l.lease
	s := LockState{Held: m.state == leaseHeld, Lost: m.state == leaseLost, Idle: m.state == leaseOff, Fence: m.fence, Term: m.term, Session: m.session, Holder: m.holder, Misses: m.misses, Why: m.why}
	if s.Held {
		s.Until = m.until()
	}
	if s == *l.state.Load() {
		return
	}
	l.state.Store(&s)
	if l.Changed != nil {
		l.Changed(s)
	}
}

// ask makes a request in a goroutine of its own, and has the answer come back as news.
func (l *Lock) ask(act leaseAct) {
	ctx, drop := context.WithCancel(l.ctx)
	l.drop = drop
	m := l.lease
	l.asking.Go(func() { // ends within the limit of a request, or soon after drop; run waits for it
		defer drop()
		n := l.request(ctx, act, m)
		n.request = m.request
		if n.err != nil {
			n.event = leaseFailed
		}
		if ctx.Err() == nil {
			l.send(n)
		}
	})
}

func (l *Lock) request(ctx context.Context, act leaseAct, m lease) (n leaseNews) {
	n.sent = Boottime()
	switch act {
	case leaseOpen:
		n.event = leaseOpened
		n.session, n.err = l.client.openSession(ctx, l.Session, l.TTL)
	case leaseLook:
		n.event = leaseSeen
		n.seen, n.err = l.client.see(ctx, l.Key, m.index, leaseReads)
	case leaseLock:
		n.event = leaseAnswered
		n.isOurs, n.err = l.client.lockKey(ctx, l.Key, m.session, l.Holder)
	case leaseUnlock:
		n.event = leaseReleased
		n.err = l.client.unlockKey(ctx, l.Key, m.session, "")
	case leaseEnd:
		n.event = leaseClosed
		n.err = l.client.endSession(ctx, m.session)
	}
	return n
}

// renew renews the session when that is due.
func (l *Lock) renew() {
	next, is := l.lease.renew(Boottime())
	l.lease = next
	if !is {
		return
	}
	session := next.session
	l.asking.Go(func() { // ends within a part of the session's time, or with run, which waits for it
		n := leaseNews{event: leaseRenewed, session: session, sent: Boottime()}
		n.isOurs, n.err = l.client.renewSession(l.ctx, session, l.TTL)
		l.send(n)
	})
}

// send is post for those whom run waits for.
func (l *Lock) send(n leaseNews) {
	select {
	case l.mail <- n:
	case <-l.ctx.Done():
	}
}
