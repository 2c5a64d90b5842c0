// Package load drives an HTTP server over loopback and counts exactly: every request that was begun ends in one of the
// counts, none is tried again in secret. net/http's client can't be used for that: it repeats a request by itself when
// a kept connection turns out to be closed, which is just what has to be seen.
//
// Every request has an id of its own (header X-Id). The test servers echo it, say who they are (X-Pid) and write
// "ID begin" and "ID end" to their output when asked to, so that Audit can tell what was executed twice or half.
//
// Goroutines: one that begins the requests (an open loop) or one for each client (a closed one), and one for each
// request of an open loop. Wait returns when all of them have ended, at the latest Timeout after the last begin.
package load

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"sync"
	"sync/atomic"
	"time"
)

// Plan is what is asked of a server.
type Plan struct {
	Target string // "127.0.0.1:3000", "[::1]:3000" or the path of a unix socket
	Path   string // of the requests; "/" if empty

	// A share of the requests (0.05: every twentieth, evenly) goes to SlowPath ("/slow?ms=300").
	SlowPath  string
	SlowShare float64

	// Rate begins so many requests a second, each at its time, however slow the answers are: an open loop. Its
	// latencies count from the moment when a request was due. With 0 each of Clients begins its next request when
	// the last one is answered, and Think (called by all clients at once; may be nil) has passed: a closed loop.
	Rate    float64
	Clients int // of an open loop: how many are there at first; it gets more when all are busy
	Think   func() time.Duration

	KeepAlive bool          // else a connection for each request
	Timeout   time.Duration // of a request, dialling included; 10 s if 0
	Duration  time.Duration // until no more requests are begun; 0: until Count, Stop or the context says so
	Count     int           // the number of requests; 0: no limit
	From      []string      // client addresses ("127.0.0.2"), used in turn; empty: the kernel's choice
	Body      string        // what each answer's body must be; "": test servers' are checked by themselves, others not
}

const (
	defaultTimeout = 10 * time.Second
	slowestPace    = time.Second // between two looks whether an open loop is over
)

// Driver is a plan that is being carried out.
type Driver struct {
	plan  Plan
	run   string // begins all ids of this run
	begun time.Time
	stop  context.CancelFunc
	next  atomic.Int64 // the number of the next request
	oks   atomic.Int64
	ended chan struct{}

	mu      sync.Mutex
	clients []*client // all that were ever made
	free    []*client // of an open loop: those without a request, the one that waits longest first
	result  Result    // complete when ended is closed
}

// Run carries out a plan.
func Run(ctx context.Context, p Plan) Result { return Start(ctx, p).Wait() }

// Start begins a plan. It ends by itself, by Stop, or with the context; requests that are under way then get their
// answers or their timeouts, so that the counts are whole.
func Start(ctx context.Context, p Plan) *Driver {
	p.Timeout = orElse(p.Timeout, defaultTimeout)
	p.Path = orElse(p.Path, "/")
	p.Clients = max(p.Clients, 1)
	d := &Driver{plan: p, run: newRun(), begun: time.Now(), ended: make(chan struct{})}
	if p.Duration > 0 {
		ctx, d.stop = context.WithTimeout(ctx, p.Duration)
	} else {
		ctx, d.stop = context.WithCancel(ctx)
	}
	go d.drive(ctx)
	return d
}

// Stop begins no more requests.
func (d *Driver) Stop() { d.stop() }

// Answers is how many good answers there were so far.
func (d *Driver) Answers() int { return int(d.oks.Load()) }

// Wait waits for the end.
func (d *Driver) Wait() Result {
	<-d.ended
	return d.result
}

func (d *Driver) drive(ctx context.Context) {
	defer close(d.ended)
	defer d.stop()
	var all sync.WaitGroup
	for range d.plan.Clients {
		c := d.client()
		d.free = append(d.free, c)
		if d.plan.Rate <= 0 {
			all.Go(func() { d.closedLoop(ctx, c) })
		}
	}
	if d.plan.Rate > 0 {
		d.openLoop(ctx, &all)
	}
	all.Wait()
	d.result = d.sum()
}

// client makes one more.
func (d *Driver) client() *client {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := &client{d: d}
	if n := len(d.plan.From); n > 0 {
		c.from = d.plan.From[len(d.clients)%n]
	}
	d.clients = append(d.clients, c)
	return c
}

// take is the number of the next request; false when there are to be no more.
func (d *Driver) take(ctx context.Context) (int, bool) {
	if ctx.Err() != nil {
		return 0, false
	}
	n := int(d.next.Add(1)) - 1
	return n, d.plan.Count == 0 || n < d.plan.Count
}

func (d *Driver) closedLoop(ctx context.Context, c *client) {
	defer c.hangUp()
	for {
		n, ok := d.take(ctx)
		if !ok {
			return
		}
		c.request(n, time.Now())
		if d.plan.Think != nil && !pause(ctx, d.plan.Think()) {
			return
		}
	}
}

// openLoop begins each request when it is due; those that became due while this goroutine wasn't let run, at once.
func (d *Driver) openLoop(ctx context.Context, all *sync.WaitGroup) {
	for {
		due := d.begun.Add(time.Duration(float64(d.next.Load()) / d.plan.Rate * float64(time.Second)))
		if wait := time.Until(due); wait > 0 && !pause(ctx, min(wait, slowestPace)) {
			break
		}
		if time.Now().Before(due) {
			continue
		}
		n, ok := d.take(ctx)
		if !ok {
			break
		}
		c := d.borrow()
		all.Go(func() {
			c.request(n, due)
			d.giveBack(c)
		})
	}
	all.Wait()
	for _, c := range d.clients {
		c.hangUp()
	}
}

// borrow is the client that has waited longest, so that all connections are used alike, or a new one.
func (d *Driver) borrow() *client {
	d.mu.Lock()
	if len(d.free) == 0 {
		d.mu.Unlock()
		return d.client()
	}
	defer d.mu.Unlock()
	c := d.free[0]
	d.free = d.free[1:]
	return c
}

func (d *Driver) giveBack(c *client) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.free = append(d.free, c)
}

// path is where request n goes: the slow ones are spread evenly, without chance.
func (p *Plan) path(n int) (path string, slow bool) {
	if int(float64(n+1)*p.SlowShare) > int(float64(n)*p.SlowShare) {
		return p.SlowPath, true
	}
	return p.Path, false
}

// newRun is what ids begin with: unlike those of any other run against the same server.
func newRun() string {
	b := make([]byte, 4)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// pause sleeps; false when the context has ended meanwhile.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

func orElse[T comparable](value, other T) T {
	var zero T
	if value == zero {
		return other
	}
	return value
}
