package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"gopm/cluster"
	"gopm/daemon/api"
	"gopm/daemon/supervise"
	"gopm/ecosystem"
)

// roll exchanges the processes of an app, or ends some of them. Its goroutine owns the
// seats; begin sets what is not set by who makes it.
type roll struct {
	d    *Daemon
	name string
	purpose
	next    ready // what the new processes are of
	seats   []*seat
	then    func() error // what is to be done when all are exchanged; nil: nothing
	begun   time.Time
	leaving int // processes that are being ended

	number uint64
	ctx    context.Context // ends when the roll is to be given up
	cancel context.CancelCauseFunc
	done   chan struct{}
	gone   chan *seat // one of whose processes has ended
	story  story
	former *roll // whose last act this one is; nil: it has no such origin
}

// purpose is what a roll is for.
type purpose struct {
	what   string // "reload" or "scaling", for people
	cause  string // why the new processes are started, if it was not a person's wish
	reason string // the same, as it is counted; "" = a reload
}

// seat is one instance of a roll.
type seat struct {
	phase  cluster.Seat
	old    *instance
	new    *instance // nil: none yet
	trial  trial
	before int  // the old one's pid when its exchange began
	empty  bool // the old one was ended before there was a new one
	drain  cluster.DrainReport
}

// newRoll is a roll of some instances of an app.
func (d *Daemon) newRoll(what string, next ready, olds []*instance) *roll {
	r := &roll{d: d, name: next.app.spec.Name, purpose: purpose{what: what}, next: next, begun: time.Now(), gone: make(chan *seat, 2*len(olds))}
	for _, old := range olds {
		r.seats = append(r.seats, &seat{old: old})
	}
	slices.SortFunc(r.seats, func(a, b *seat) int { return inRollOrder(a.old, b.old) })
	return r
}

// run exchanges one instance after the other until all are, one fails, or it is given up.
func (r *roll) run() {
	changes := r.d.hub.subscribe()
	defer r.d.hub.unsubscribe(changes)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for _, s := range r.seats {
		if s.phase == cluster.SeatDraining { // nobody comes after it
			r.retire(s)
		}
	}
	var fault error
	given := r.ctx.Done()
	for {
		now := time.Now()
		if fault == nil {
			fault = r.proceed(now)
		}
		if fault != nil {
			r.giveUp()
		}
		if r.isSettled(fault) {
			break
		}
		timer.Reset(r.nextLook(now))
		select {
		case <-changes.wake:
			changes.take()
		case <-timer.C:
		case s := <-r.gone:
			r.vacated(s)
		case <-given:
			given, fault = nil, errors.Join(fault, context.Cause(r.ctx))
		}
	}
	r.end(fault)
}

// isSettled says that nothing is under way any more, and nothing is to be begun.
func (r *roll) isSettled(fault error) bool {
	if r.leaving > 0 {
		return false
	}
	for _, s := range r.seats {
		switch s.phase {
		case cluster.SeatFailed:
		case cluster.SeatNew:
			if fault == nil && s.isSettling() {
				return false
			}
		case cluster.SeatOld:
			if fault == nil {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// isSettling says that the new process could still turn out to be unable to live.
func (s *seat) isSettling() bool {
	if s.new == nil {
		return false
	}
	snap := s.new.proc.Snapshot()
	return snap.Status == supervise.StatusLaunching || snap.Status == supervise.StatusOnline && !snap.Settled
}

// proceed judges the new processes and begins what may be begun. Its error ends the roll.
func (r *roll) proceed(now time.Time) error {
	phases := make([]cluster.Seat, len(r.seats))
	for i, s := range r.seats {
		if err := r.inspect(s, now); err != nil {
			return err
		}
		phases[i] = s.phase
	}
	limits := r.next.app.spec.Reload
	for _, m := range (cluster.Order{Surge: limits.Surge, Unavailable: limits.Unavailable}).Next(phases) {
		s := r.seats[m.Seat]
		if m.Vacate {
			r.vacate(s)
			continue
		}
		r.boot(s)
	}
	return nil
}

// inspect looks how a new process is doing, and gives it the place when it may have it.
// One that has it and dies while the others are still to be exchanged ends the roll.
func (r *roll) inspect(s *seat, now time.Time) error {
	if s.new == nil {
		return nil
	}
	snap := s.new.proc.Snapshot()
	switch s.phase {
	case cluster.SeatDraining, cluster.SeatNew:
		if fault := s.trial.died(snap); fault != "" {
			return fmt.Errorf("%s:%d, which was replaced already, %s", r.name, s.old.index, fault)
		}
		return nil
	case cluster.SeatBooting, cluster.SeatRefilling:
	default:
		return nil
	}
	r.lookAround(s)
	s.trial.begun(snap)
	passed, fault := s.trial.judge(now, snap, s.new.slot.Load().View())
	switch {
	case fault != "":
		r.refuse(s, fault)
		return fmt.Errorf("%s:%d: the new process %s", r.name, s.old.index, fault)
	case passed:
		return r.swap(s)
	case s.trial.isCanary(snap):
		s.receive()
	}
	return nil
}

// nextLook is when something is due that nobody tells.
func (r *roll) nextLook(now time.Time) time.Duration {
	const seldom = time.Minute
	wait := seldom
	for _, s := range r.seats {
		if due := s.trial.due(); s.isTrying() && due.After(now) {
			wait = min(wait, max(time.Until(due), 0))
		}
	}
	return wait
}

func (s *seat) isTrying() bool {
	return s.phase == cluster.SeatBooting || s.phase == cluster.SeatRefilling
}

// vacate ends an old process though there is no new one yet.
func (r *roll) vacate(s *seat) {
	s.phase = cluster.SeatVacating
	s.look()
	s.old.rest(restedForRoll) // it is wanted: no death of ours is to leave it down
	r.story.note(s.old.id, "its old process is being ended, then a new one is started")
	r.retire(s)
}

// restedForRoll is why an instance is down that a reload has stopped.
const restedForRoll = "reload"

// retire ends the old process of a seat, in a goroutine that run waits for.
func (r *roll) retire(s *seat) {
	r.leaving++
	phase := s.phase
	go func() { // ends when the process has; run waits for it through gone
		inc := s.old.proc.Snapshot().Incarnation
		if phase == cluster.SeatDraining && s.new != nil {
			s.old.leaving.Store(inc) // its entry is its successor's already
		} else {
			r.d.leave(r.ctx, s.old, inc)
		}
		s.drain = r.d.retire(r.ctx, s.old, r.next.app.spec)
		r.gone <- s
	}()
}

// vacated goes on when a process of a seat has ended.
func (r *roll) vacated(s *seat) {
	r.leaving--
	switch s.phase {
	case cluster.SeatVacating:
		s.phase, s.empty = cluster.SeatVacant, true
		return
	case cluster.SeatFailed:
		r.d.rolls.settle(s.new)
		if s.empty {
			r.refill(s)
		}
		return
	}
	r.finish(s)
}

// finish is the end of an old process whose place another has, or nobody.
func (r *roll) finish(s *seat) {
	s.phase = cluster.SeatNew
	if s.empty = false; s.new == nil {
		r.d.dispose(s.old)
	} else {
		r.d.disposeProcess(s.old)
	}
	r.d.rolls.settle(s.old)
	step := r.step(s, api.RollEnded)
	step.Drain = drained(s.drain)
	r.story.tell(step)
	r.story.note(s.old.id, "")
	r.d.tell(s.old.event(r.kind(), "the old process (pid %d) has ended: %s", s.before, s.drain.Text()))
}

// giveUp stops the new processes that don't have a place, and lets their places' old ones
// go on. Those that drain do so to their end.
func (r *roll) giveUp() {
	for _, s := range r.seats {
		switch {
		case s.isTrying():
			r.refuse(s, "is not needed any more")
		case s.phase == cluster.SeatVacant:
			s.phase = cluster.SeatFailed
			r.refill(s)
		}
	}
}

// refuse stops a new process that is not to have the place.
func (r *roll) refuse(s *seat, why string) {
	step := r.step(s, api.RollRefused)
	spec := r.next.app.spec
	if snap := s.new.proc.Snapshot(); !s.trial.isCanary(snap) || s.trial.died(snap) != "" {
		spec.Drain.Mode = ecosystem.DrainOff // it has had no connections, or has none any more
	}
	step.Why, step.Last = why, s.new.finalWords()
	s.phase = cluster.SeatFailed
	r.story.tell(step)
	r.story.note(s.old.id, "")
	r.leaving++
	go func() { // ends when the process has; run waits for it through gone
		r.d.retire(r.ctx, s.new, spec)
		r.d.disposeProcess(s.new)
		r.gone <- s
	}()
}

// refill has the old version take its place again.
func (r *roll) refill(s *seat) {
	if r.d.ending.reason() != "" {
		return // it is noted that it should run
	}
	if slot := s.old.slot.Swap(nil); slot != nil {
		slot.Close()
	}
	s.old.start()
}

// end tells what came of it.
func (r *roll) end(fault error) {
	if fault == nil && r.then != nil {
		fault = r.then()
	}
	last := api.RollStep{App: r.name, Did: api.RollDone}
	if fault != nil {
		last.Did, last.Why = api.RollFailed, r.outcome(fault)
		r.d.tell(appEvent(r.name, r.kind(), "the %s has failed: %s", r.what, last.Why))
	} else {
		r.d.tell(appEvent(r.name, r.kind(), "the %s is done, after %v", r.what, time.Since(r.begun).Round(time.Millisecond)))
	}
	r.d.store.changed()
	r.story.tell(last)
}

// outcome is a fault and what it means for the app.
func (r *roll) outcome(fault error) string {
	var fresh, stale []string
	for _, s := range r.seats {
		name := fmt.Sprintf("%s:%d", r.name, s.old.index)
		if s.phase == cluster.SeatNew {
			fresh = append(fresh, name)
		} else {
			stale = append(stale, name)
		}
	}
	switch {
	case r.what != doReload:
		return fault.Error()
	case fresh == nil:
		return fmt.Sprintf("%v; the old version goes on", fault)
	case stale == nil:
		return fmt.Sprintf("%v; all have been replaced", fault)
	}
	return fmt.Sprintf("%v; replaced: %s; of the old version: %s", fault, strings.Join(fresh, ", "), strings.Join(stale, ", "))
}

func (r *roll) step(s *seat, did string) api.RollStep {
	step := api.RollStep{App: r.name, Index: s.old.index, ID: s.old.id, Did: did, Before: s.before}
	if s.new != nil {
		step.Pid = s.new.proc.Snapshot().Pid
	}
	return step
}

// drained is a report as it travels.
func drained(d cluster.DrainReport) *api.Drain {
	return &api.Drain{TookMS: d.Took.Milliseconds(), Closed: d.Closed, Cut: d.Cut, Waiting: d.Waiting, Text: d.Text()}
}

// reloadable says whether an app's processes can be exchanged without a gap: it is
// clustered, and that was not refused.
func reloadable(a *app) bool {
	return isClustered(a.spec) && rollsGently(a.spec) && !slices.ContainsFunc(a.instances, func(in *instance) bool { return modeOf(a, in) != "cluster" })
}

// depart is a roll of instances that are beside the table now.
func (d *Daemon) depart(next ready, gone []*instance) *roll {
	r := d.newRoll(doScale, next, gone)
	for _, s := range r.seats {
		s.look()
		s.phase = cluster.SeatDraining
	}
	return r
}

// What rolls are, for people.
const (
	doReload = "reload"
	doScale  = "scaling"
)

// kind is of what kind its events are.
func (r *roll) kind() string {
	if r.what == doReload {
		return api.EventReload
	}
	return api.EventScale
}

// drainOptions are those of an app. One that ends its connections itself is told to when
// it has accepted what was waiting.
func drainOptions(d ecosystem.Drain) cluster.DrainOptions {
	return cluster.DrainOptions{Timeout: d.Timeout, Idle: d.Idle, Accepted: d.Mode == ecosystem.DrainSignal}
}
