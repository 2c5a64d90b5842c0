package cluster

import (
	"context"
	"errors"
	"time"
)

// DrainOptions bound the draining of an instance; zero values stand for the defaults.
type DrainOptions struct {
	Timeout time.Duration // 10 s: then what is in flight is cut
	Idle    time.Duration // 2 s: how long a kept connection must be quiet before it is ended
	// Accepted leaves to the program what it has accepted: one that ends its connections
	// by itself when it is told to needs only that nobody waits in its queue then.
	Accepted bool
	// Kept leaves connections without a request to the end of the program: nobody waits
	// until they are idle.
	Kept bool
}

func (o DrainOptions) withDefaults() DrainOptions {
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Idle <= 0 {
		o.Idle = 2 * time.Second
	}
	return o
}

// ripe says that a connection may be ended from outside when so much time is left. One
// that may be inside a request for all we see is protected for as long as most
// requests take. Clients that are never quiet for long would have their requests cut
// at the end; so in the last stretch a pause between two of them is enough. It is long
// enough for some pauses of each: of a fast server on the same host it takes 250 ms to
// be sure that it is one.
func (o DrainOptions) ripe(h history, left time.Duration) bool {
	const pause = 100 * time.Millisecond
	if o.Kept {
		return false
	}
	quiet := h.last.quiet()
	switch h.phase() {
	case idle:
		if stretch := 2 * o.Timeout / 5; left <= stretch && !h.unasked {
			return quiet >= min(o.Idle, pause)
		}
		return quiet >= o.Idle
	case unclear:
		return quiet >= max(o.Idle, min(o.Timeout, max(4*time.Second, 2*o.Idle)))
	}
	return false
}

// What came of ending a connection from outside, besides success and a refusal.
var (
	errMoved = errors.New("bytes have come in since it was listed")
	errLate  = errors.New("a request came in at the last moment and was cut")
	errGone  = errors.New("the connection isn't there any more")
)

// sight is one look at an instance. Its parts are taken in this order, so that a
// connection which is accepted meanwhile is seen in one of them at least.
type sight struct {
	waiting     int // in the accept queues
	census          // whose is what
	connections []connection
	troubles    []error // what can't be seen, besides hidden descriptors
	blind       bool    // that is: the connections
}

// mine says that a connection is the instance's, and where it is open.
func (s sight) mine(c connection) (holder, bool) {
	if c.inode == 0 {
		return holder{}, false
	}
	h, is := s.sockets[c.inode]
	return h, is
}

// drainer drains one instance: effects and time are given to it.
type drainer struct {
	options DrainOptions
	look    func() sight
	hangUp  func(holder, connection) error // nil: ended
	now     func() time.Time
	wait    func(context.Context, time.Duration)

	handshakes map[[36]byte]bool  // half open at the first look and since
	histories  map[uint64]history // of the port's connections, by cookie
	refused    error              // why the last connection couldn't be ended from outside
	report     DrainReport
}

// run drains. The instance gets no new connections any more, so what it has can only
// become less: half-open connections, its queues, requests that it works on, and
// connections that are kept for the next request.
func (d *drainer) run(ctx context.Context) DrainReport {
	const least = 20 * time.Millisecond
	begin := d.now()
	for calm := 0; ; {
		from := d.now()
		s := d.look()
		cost := d.now().Sub(from)
		t := d.judge(s, d.options.Timeout-d.now().Sub(begin))
		d.hangUpRipe(ctx, s, &t)
		// What passes from one place to another may be missed once, not twice in a row.
		if calm++; !(d.options.Kept && !s.blind && t.inFlight() == 0) && !t.done(s, d.refused) {
			calm = 0
		}
		left := d.options.Timeout - d.now().Sub(begin)
		if calm == 2 || !s.alive || left <= 0 || ctx.Err() != nil {
			d.report.Took = d.now().Sub(begin)
			d.conclude(s, t, ctx.Err())
			return d.report
		}
		d.wait(ctx, min(left, max(least, 5*cost)))
	}
}

// tally is what is left at one look.
type tally struct {
	halfOpen, queued, busy, unclear, idle int
	ripe                                  []history // the idle and unclear ones that may be ended
}

func (t tally) inFlight() int { return t.halfOpen + t.queued + t.busy }

// done says that nothing is left to wait for. What can't be ended from outside ends
// with the process; it is waited for only as long as it might be inside a request.
func (t tally) done(s sight, refused error) bool {
	if s.blind || t.inFlight() > 0 {
		return false
	}
	rest := t.idle + t.unclear
	return rest == 0 || (refused != nil || s.hidden != nil) && rest == len(t.ripe)
}

// judge sorts what was seen with so much time left.
func (d *drainer) judge(s sight, left time.Duration) (t tally) {
	handshakes, histories := d.handshakes, d.histories
	d.handshakes, d.histories = map[[36]byte]bool{}, make(map[uint64]history, len(s.connections))
	first, arrived := histories == nil, 0
	for _, c := range s.connections {
		if c.phase() == halfOpen {
			// Those begun later are for others. So may some of the first look be: they are
			// waited for, because nobody says whose they are.
			if first || handshakes[c.ends] {
				d.handshakes[c.ends] = true
				t.halfOpen++
			}
			continue
		}
		h := histories[c.cookie].next(c, first)
		d.histories[c.cookie] = h
		_, mine := s.mine(c)
		switch {
		case mine && d.options.Accepted:
		case mine:
			d.count(&t, h, left)
		case s.hidden != nil && c.inode != 0 && h.early && !d.options.Accepted: // perhaps; later ones are not
			d.count(&t, h, left)
		case handshakes[c.ends]:
			arrived++ // after the queues were read: the next look finds where
		}
	}
	t.queued = max(s.waiting, arrived)
	return t
}

func (d *drainer) count(t *tally, h history, left time.Duration) {
	switch h.phase() {
	case busy:
		t.busy++
	case unclear:
		t.unclear++
	case idle:
		t.idle++
	}
	if d.options.ripe(h, left) {
		t.ripe = append(t.ripe, h)
	}
}

// hangUpRipe ends what may be ended, one by one, and keeps the tally. After a refusal
// it tries no more, until the next look.
func (d *drainer) hangUpRipe(ctx context.Context, s sight, t *tally) {
	d.refused = nil
	var left []history
	for _, h := range t.ripe {
		at, known := s.mine(h.last)
		if !known || d.refused != nil || ctx.Err() != nil {
			left = append(left, h)
			continue
		}
		err := d.hangUp(at, h.last)
		switch {
		case err == nil:
			d.report.Closed++
		case errors.Is(err, errLate):
			d.report.Cut++
		case errors.Is(err, errMoved), errors.Is(err, errGone): // the next look shows what it does
			t.busy++
		default:
			d.refused = err
			left = append(left, h)
			continue
		}
		if h.phase() == idle {
			t.idle--
		} else {
			t.unclear--
		}
	}
	t.ripe = left
}
