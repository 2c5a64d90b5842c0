package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"gopm/daemon/api"
)

// rolls are the reloads and scalings that are under way, one of an app at most, and of
// each app the last one that has ended, for who asks what came of it.
type rolls struct {
	running sync.WaitGroup

	mu    sync.Mutex // guards what follows
	last  uint64
	of    map[string]*roll
	aside map[*instance]bool // what runs and isn't in the table: new processes that have no place yet, old ones that have none any more
}

// errEnding is why rolls are given up at the daemon's end.
var errEnding = errors.New("gopm is ending")

// begin runs a roll of an app, which must not have one that is running, unless that
// begins this one as its last act. It is called by who has the turn to change the table.
func (rs *rolls) begin(r *roll) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.of == nil {
		rs.of = map[string]*roll{}
	}
	rs.last = max(rs.last+1, uint64(time.Now().UnixMicro())) // who asks for one of the daemon before must not find ours
	r.number = rs.last
	r.done = make(chan struct{})
	r.ctx, r.cancel = context.WithCancelCause(context.Background())
	if before := rs.of[r.name]; before != nil && !before.isOver() {
		r.former = before
	}
	rs.of[r.name] = r
	rs.running.Go(func() { // ends by itself, or soon after cancel; close waits for it
		defer r.d.hub.wakeAll() // for those who leave its app alone as long as it runs
		defer close(r.done)
		defer r.cancel(nil)
		r.run()
		r.seats, r.next, r.then = nil, ready{}, nil // only its story is kept
	})
}

// find is the roll that runs for an app; nil: none.
func (rs *rolls) find(app string) *roll {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if r := rs.of[app]; r != nil && !r.isOver() {
		return r
	}
	return nil
}

func (r *roll) isOver() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// refusal is for who wants to change an app that is being rolled.
func (rs *rolls) refusal(app string) error {
	r := rs.find(app)
	if r == nil {
		return nil
	}
	return api.Errorf(api.KindBusy, "%s: a %s is under way (since %s): wait for its end, or break it off with gopm restart %s or gopm stop %s",
		app, r.what, r.begun.Format(time.TimeOnly), app, app)
}

// any is some roll that runs; nil: none.
func (rs *rolls) any() *roll {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for _, r := range rs.of {
		if !r.isOver() {
			return r
		}
	}
	return nil
}

// breakOff ends the rolls of the apps that some instances are of, and waits: their new
// processes are stopped, and what drains is cut.
func (rs *rolls) breakOff(ctx context.Context, picked []*instance, by string) error {
	var names []string
	for _, in := range picked {
		if !slices.Contains(names, in.name) {
			names = append(names, in.name)
		}
	}
	for _, name := range names {
		r := rs.find(name)
		if r == nil {
			continue
		}
		r.cancel(fmt.Errorf("broken off by gopm %s", by))
		select {
		case <-r.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// cancelAll ends all rolls, without waiting.
func (rs *rolls) cancelAll() {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for _, r := range rs.of {
		r.cancel(errEnding)
	}
}

// nextID is the id of the next new instance: those that are on their way out have theirs
// still.
func (d *Daemon) nextID() int {
	next := d.table.Load().nextID()
	d.rolls.mu.Lock()
	defer d.rolls.mu.Unlock()
	for in := range d.rolls.aside {
		next = max(next, in.id+1)
	}
	return next
}

// besides notes an instance that runs without being in the table.
func (rs *rolls) besides(in *instance) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.aside == nil {
		rs.aside = map[*instance]bool{}
	}
	rs.aside[in] = true
}

// settle is for one that has ended, or has its place in the table.
func (rs *rolls) settle(in *instance) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	delete(rs.aside, in)
}

// everyone is all instances: those of the table, and those that a roll has beside it. An
// instance is noted beside the table before it leaves that, and until after it has come
// into it, so that with the lock held nobody is missed.
func (d *Daemon) everyone() []*instance {
	d.rolls.mu.Lock()
	defer d.rolls.mu.Unlock()
	all := d.table.Load().all()
	for in := range d.rolls.aside {
		if !slices.Contains(all, in) {
			all = append(all, in)
		}
	}
	return all
}

// forget lets go of what is known of an app that is gone.
func (rs *rolls) forget(app string) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if r := rs.of[app]; r != nil && r.isOver() {
		delete(rs.of, app)
	}
}

// story is what a roll has done so far.
type story struct {
	mu    sync.Mutex // guards what follows
	steps []api.RollStep
	more  chan struct{}  // closed and replaced when there is one more
	now   map[int]string // where each instance is, by id, for people
}

func (s *story) tell(step api.RollStep) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.steps = append(s.steps, step)
	if s.more != nil {
		close(s.more)
		s.more = nil
	}
}

// since is what was told after the first n steps, and what is closed when there is more.
func (s *story) since(n int) ([]api.RollStep, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.more == nil {
		s.more = make(chan struct{})
	}
	return slices.Clone(s.steps[n:]), s.more
}

func (s *story) note(id int, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now == nil {
		s.now = map[int]string{}
	}
	s.now[id] = text
}

func (s *story) of(id int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now[id]
}

// followRoll streams the steps of a roll, up to its end.
func (d *Daemon) followRoll(req *http.Request, send func(any) error) error {
	number, err := strconv.ParseUint(req.URL.Query().Get("number"), 10, 64)
	if err != nil {
		return api.Errorf(api.KindInvalid, "want the number of a roll")
	}
	r := d.rolls.numbered(number)
	if r == nil {
		return api.Errorf(api.KindNotFound, "what came of it is not known any more; gopm ls shows what runs")
	}
	for told := 0; ; {
		steps, more := r.story.since(told)
		for _, step := range steps {
			if err := send(step); err != nil || step.IsEnd() {
				return err
			}
		}
		told += len(steps)
		select {
		case <-more:
		case <-req.Context().Done():
			return nil
		}
	}
}

func (rs *rolls) numbered(n uint64) *roll {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for _, r := range rs.of {
		for ; r != nil; r = r.former {
			if r.number == n {
				return r
			}
		}
	}
	return nil
}
