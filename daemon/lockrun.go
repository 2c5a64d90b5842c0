package daemon

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gopm/consul"
	"gopm/daemon/api"
	"gopm/daemon/keeper"
)

// gopm lock runs a command by itself; its daemon has the lock. The request is what holds
// it: with its end, for whatever reason, the command is ended and then the lock given
// back. The keeper knows from before the command exists until when it may live.

// lockRuns are the requests for locks that are under way, by the word of who asks.
type lockRuns struct {
	mu  sync.Mutex
	all map[string]*lockRun
}

// lockRun is one of them, owned by the goroutine of its request.
type lockRun struct {
	d   *Daemon
	req api.LockRequest

	lock    *consul.Lock
	state   atomic.Pointer[consul.LockState] // the present one, of which the keeper knows
	main    atomic.Pointer[keeper.Main]      // the command; nil: not yet
	changed chan struct{}                    // capacity 1: the state is another
	done    chan struct{}                    // closed by finish: the command has ended
	finish  func()
	freed   chan struct{} // closed when all is over
	ended   int           // processes that the command had left; set before freed is closed
}

const (
	lockMinTTL, lockMaxTTL = 10 * time.Second, 24 * time.Hour // what Consul lets a session have
	lockGrace              = 5 * time.Second                  // for what a command has left behind
	lockAnswer             = 10 * time.Second                 // for the first word of Consul, for who doesn't want to wait
	lockKey                = "lock/"                          // + ID: in the keeper
)

// lockFor answers a request for a lock.
func (d *Daemon) lockFor(r *http.Request, send func(any) error) error {
	var req api.LockRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		return api.Errorf(api.KindInvalid, "cannot read the request: %v; is the command line of another version than the daemon?", err)
	}
	_, _ = io.Copy(io.Discard, r.Body) // to its end: from then on the end of the connection is seen
	if err := checkLock(req); err != nil {
		return api.Errorf(api.KindInvalid, "%v", err)
	}
	client, err := consul.Open(d.agents.asked(req.Agent), nil)
	if err != nil {
		return api.Errorf(api.KindInvalid, "%v", err)
	}
	defer client.Close()
	run, err := d.beginLock(req, client)
	if err != nil {
		return err
	}
	defer d.endLock(run)
	if err := send(api.LockPart{}); err != nil { // it has been heard
		run.release()
		return err
	}
	return run.follow(r.Context(), send)
}

func checkLock(req api.LockRequest) error {
	switch {
	case req.Name == "" || strings.HasPrefix(req.Name, "/") || strings.ContainsFunc(req.Name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fmt.Errorf("the name of a lock is a key of Consul, as in locks/cron: %q is none", req.Name)
	case req.TTL < lockMinTTL || req.TTL > lockMaxTTL:
		return fmt.Errorf("--ttl %s: Consul wants something from %s to %s", req.TTL, lockMinTTL, lockMaxTTL)
	case req.Wait < 0:
		return fmt.Errorf("--wait %s: want 0 or more", req.Wait)
	case req.ID == "" || len(req.ID) > 64 || strings.Trim(req.ID, "0123456789abcdef") != "":
		return fmt.Errorf("id %q: want a word of hexadecimal digits", req.ID)
	}
	return nil
}

// asked is the connection of somebody with these variables; where they don't say
// which agent is meant, it is the daemon's.
func (g *agents) asked(vars map[string]string) consul.Connection {
	return consul.Connection{}.Filled(func(name string) string {
		if vars["CONSUL_HTTP_ADDR"] != "" {
			return vars[name]
		}
		return cmp.Or(vars[name], g.own[name])
	})
}

func (d *Daemon) beginLock(req api.LockRequest, client *consul.Client) (*lockRun, error) {
	run := &lockRun{d: d, req: req, changed: make(chan struct{}, 1), done: make(chan struct{}), freed: make(chan struct{})}
	run.finish = sync.OnceFunc(func() { close(run.done) })
	d.locks.mu.Lock()
	defer d.locks.mu.Unlock()
	if d.locks.all[req.ID] != nil {
		return nil, api.Errorf(api.KindAgain, "the request before this one is just ending: ask again")
	}
	if d.locks.all == nil {
		d.locks.all = map[string]*lockRun{}
	}
	d.locks.all[req.ID] = run
	run.runs(req.Pid)
	o := consul.LockOptions{Key: req.Name, Session: "gopm lock " + req.Name, Holder: nodeName() + ":" + req.Holder, TTL: req.TTL, Changed: run.hear}
	if left := req.Left; left != nil {
		o.Left = &consul.LockLeft{Session: left.Session, Fence: left.Fence, Until: left.Until}
	}
	run.state.Store(new(consul.LockState))
	run.lock = client.Lock(o)
	run.lock.Want(true)
	return run, nil
}

func (d *Daemon) endLock(run *lockRun) {
	d.locks.mu.Lock()
	delete(d.locks.all, run.req.ID)
	d.locks.mu.Unlock()
	close(run.freed)
}

// hear is told of each change of the lock, and tells the keeper before anybody else.
func (run *lockRun) hear(s consul.LockState) {
	if s.Held {
		run.lend(s.Until)
	}
	run.state.Store(&s)
	select {
	case run.changed <- struct{}{}:
	default: // it is going to look anyway
	}
}

// lend lets the command live until a time.
func (run *lockRun) lend(until time.Duration) {
	var main keeper.Main
	if m := run.main.Load(); m != nil {
		main = *m
	}
	run.d.trust.leaseOf(lockKey+run.req.ID, main, until, run.marker())
}

func (run *lockRun) marker() []string { return []string{api.LockMarker(run.req.ID)} }

// runs says what process the command is.
func (run *lockRun) runs(pid int) {
	if main, there := keeper.MainOf(pid); there && pid > 1 {
		run.main.Store(&main)
	}
}

// follow tells who asked of the lock until one of the two goes.
func (run *lockRun) follow(ctx context.Context, send func(any) error) error {
	limit := max(run.req.Wait, time.Nanosecond)
	if run.req.Wait == 0 {
		limit = lockAnswer
	}
	patience := time.NewTimer(limit)
	defer patience.Stop()
	var told api.LockPart
	for {
		s := *run.state.Load()
		part := run.part(s)
		switch {
		case s.Lost:
			return run.lost(s, send)
		case s.Held || run.req.Left != nil:
			patience.Stop()
		case run.req.Wait == 0 && part.Waiting != "":
			return run.refuse(part.Waiting, send)
		}
		if !sameNews(part, told) {
			if told = part; send(part) != nil {
				return run.release()
			}
		}
		select {
		case <-run.changed:
		case <-patience.C:
			if !run.state.Load().Held {
				return run.refuse(part.Waiting, send)
			}
		case <-run.done:
			return run.release()
		case <-run.d.ending.closing:
			return run.leave(send)
		case <-ctx.Done():
			select {
			case <-run.d.ending.closing:
				return run.leave(send)
			default:
			}
			return run.release()
		}
	}
}

// part is what is to be said of a state.
func (run *lockRun) part(s consul.LockState) (p api.LockPart) {
	switch {
	case s.Held:
		p.Held = &api.LockLeft{Session: s.Session, Fence: s.Fence, Until: s.Until}
	case s.Why != "":
		p.Waiting = s.Why
	case s.Holder != "":
		p.Waiting = "it is held by " + s.Holder
	}
	return p
}

// sameNews says whether there is nothing new to be said.
func sameNews(a, told api.LockPart) bool {
	if a.Held != nil && told.Held != nil {
		return *a.Held == *told.Held
	}
	return a.Held == nil && (a.Waiting == "" || a.Waiting == told.Waiting)
}

// refuse says that the lock can't be had in time.
func (run *lockRun) refuse(why string, send func(any) error) error {
	run.quit()
	text := run.req.Name + " is not to be had"
	if run.req.Wait > 0 {
		text += " within " + run.req.Wait.String()
	}
	return send(api.LockPart{Refused: api.Errorf(api.KindBusy, "%s: %s", text, cmp.Or(why, "Consul has not answered"))})
}

// lost kills the command: another may have the lock soon.
func (run *lockRun) lost(s consul.LockState, send func(any) error) error {
	_ = run.clear(0)
	run.quit()
	return send(api.LockPart{Lost: s.Why})
}

// release gives the lock back once the command and all that it has started are dead. What
// is left of them has time to end; the lock is ours for that long.
func (run *lockRun) release() error {
	if run.clear(lockGrace) {
		run.quit()
	}
	return nil
}

// leave is for a daemon that ends. The next one goes on; if there is none, it is over.
func (run *lockRun) leave(send func(any) error) error {
	if run.d.ending.reason() == handedOver {
		run.lock.Abandon()
		return run.d.ending.refusal()
	}
	if run.clear(0) {
		run.quit()
	}
	return send(api.LockPart{Lost: "the daemon is ending"})
}

// clear ends all that runs under the lock, gently for as long as the lock is ours, and
// says whether all is dead.
func (run *lockRun) clear(grace time.Duration) (dead bool) {
	gentle, hurry := context.WithTimeout(context.Background(), grace)
	defer hurry()
	over := make(chan struct{})
	go func() { // ended by hurry
		defer close(over)
		for gentle.Err() == nil {
			select {
			case <-run.changed:
				if run.state.Load().Lost {
					hurry()
				}
			case <-run.d.ending.closing:
				hurry()
			case <-gentle.Done():
			}
		}
	}()
	var main keeper.Main
	if m := run.main.Load(); m != nil {
		main = *m
	}
	for {
		n, err := keeper.End(gentle, main, run.marker(), os.Getppid(), run.d.trust.pid())
		if err == nil {
			run.ended = n
			hurry()
			<-over
			return true
		}
		run.d.log("gopm lock %s: what ran under it cannot be ended, and the lock stays taken: %v", run.req.Name, err)
		if run.d.ending.reason() != "" || run.state.Load().Lost {
			hurry()
			<-over
			return false
		}
	}
}

// quit gives back what Consul has of us; nothing runs any more.
func (run *lockRun) quit() {
	run.lock.Leave()
	const patience = 2 * time.Second
	select {
	case <-run.lock.Done():
	case <-time.After(patience): // its session ends by its time
		run.lock.Abandon()
	}
	run.d.trust.leaseOf(lockKey+run.req.ID, keeper.Main{}, 0, nil)
}

// useLock is told of the command of a lock.
func (d *Daemon) useLock(ctx context.Context, use api.LockUse) (freed api.LockFreed, err error) {
	d.locks.mu.Lock()
	run := d.locks.all[use.ID]
	d.locks.mu.Unlock()
	if run == nil {
		return freed, api.Errorf(api.KindNotFound, "there is no such lock")
	}
	if !use.Done {
		run.runs(use.Pid)
		if s := run.state.Load(); s.Held {
			run.lend(s.Until)
		}
		return freed, nil
	}
	run.finish()
	select {
	case <-run.freed:
		freed.Ended = run.ended
	case <-ctx.Done():
	}
	return freed, nil
}
