package daemon

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"time"

	"gopm/cluster"
	"gopm/daemon/api"
	"gopm/daemon/supervise"
	"gopm/ecosystem"
)

// boot starts a new process for a seat, beside the old one: an instance of its own
// with the same id and streams, which isn't in the table yet.
func (r *roll) boot(s *seat) {
	old, spec := s.old, r.next.app.spec
	r.lookAround(s)
	s.trial.awaited = spec.Ready.By != ecosystem.ReadyUptime
	s.trial.patience, s.trial.deadline = spec.Reload.Ready, time.Now().Add(spec.Reload.Ready)
	if h := spec.Hooks.PreStart; h.IsSet() {
		s.trial.prepares, s.trial.deadline = true, s.trial.deadline.Add(h.Timeout)
	}
	if !slices.ContainsFunc(r.seats, func(o *seat) bool { return o.phase == cluster.SeatDraining || o.phase == cluster.SeatNew }) {
		s.trial.prove, s.trial.watch = true, spec.Reload.Canary
	}
	s.new = r.d.successor(r.next, old)
	if !s.empty { // the old one serves
		s.new.slot.Load().Receive(true)
	}
	s.trial.inc = s.new.proc.Snapshot().Incarnation + 1
	s.phase = map[cluster.Seat]cluster.Seat{cluster.SeatOld: cluster.SeatBooting, cluster.SeatVacant: cluster.SeatRefilling}[s.phase]
	r.d.rolls.besides(s.new)
	r.d.upkeep.look()
	r.d.tell(old.event(r.kind(), "reload: starting %s beside it", s.new.label()))
	s.new.because(firstOf(r.reason, byReload), s.trial.inc-1)
	s.new.proc.Restart(r.cause) // it has never run: that is its first start
	r.story.tell(r.step(s, api.RollBegan))
	r.story.note(old.id, "a new process is starting")
}

// look notes what the old process is, and what it does: its successor must do the same.
// It may begin to do so late.
func (s *seat) look() {
	s.before = s.old.proc.Snapshot().Pid
	slot := s.old.slot.Load()
	if slot == nil {
		return
	}
	v := slot.View()
	if len(v.Addresses) > 0 {
		s.trial.needs = v.Addresses
	}
	s.trial.listens = s.trial.listens || len(v.Addresses) > 0 || v.Ready || v.Held
}

// lookAround has a new process listen if any of the app's did: the old one of its own
// place may still be booting, or be down.
func (r *roll) lookAround(s *seat) {
	for _, o := range r.seats {
		if o.phase == cluster.SeatOld || o.phase == cluster.SeatBooting {
			o.look()
		}
		s.trial.listens = s.trial.listens || o.trial.listens
	}
}

// receive has the new process get connections from now on.
func (s *seat) receive() {
	if slot := s.new.slot.Load(); slot != nil {
		slot.Receive(false)
	}
}

// successor makes the next life of an instance, with nothing started.
func (d *Daemon) successor(next ready, old *instance) *instance {
	in := &instance{id: old.id, index: old.index, life: old.life + 1, name: old.name, out: old.out, err: old.err}
	in.tally = old.tally
	in.pidFile.Store(new(string)) // the old one's until it has the place
	in.slot.Store(d.host.Open(clusterApp(next.app.spec), in.index))
	before := old.proc.Machine()
	in.proc = supervise.Succeed(d.processConfig(next, in, before.Snapshot()), before)
	return in
}

// swap gives the new process the place of the old one in the table, and has that one
// drained and ended.
func (r *roll) swap(s *seat) error {
	if err := r.exchange(s); err != nil {
		return fmt.Errorf("the new process cannot take its place: %w", err)
	}
	s.new.proven.Store(s.new.proc.Snapshot().Incarnation)
	s.receive()
	r.d.store.commit() // no death of ours brings the old one back now
	r.d.hub.tell(s.new)
	r.story.tell(r.step(s, api.RollReplaced))
	r.d.tell(s.new.event(r.kind(), "reload: it takes over from %s", s.old.label()))
	if s.phase == cluster.SeatRefilling { // the old one has ended already
		r.finish(s)
		return nil
	}
	s.phase = cluster.SeatDraining
	r.story.note(s.old.id, fmt.Sprintf("replaced; the old process (pid %d) is being drained and ended", s.before))
	r.retire(s)
	return nil
}

// exchange is the change of the table.
func (r *roll) exchange(s *seat) error {
	d := r.d
	end, err := d.begin(r.ctx)
	if err != nil {
		return err
	}
	defer end()
	t := d.table.Load()
	have := t.app(r.name)
	if have == nil || !slices.Contains(have.instances, s.old) {
		return fmt.Errorf("%s:%d is not in the list any more", r.name, s.old.index)
	}
	if err := d.retarget(r.next, s.new); err != nil {
		return err
	}
	next := *r.next.app
	next.created = have.created
	next.instances = slices.Clone(have.instances)
	next.instances[slices.Index(next.instances, s.old)] = s.new
	d.rolls.besides(s.old)
	d.put(t.with(&next), &next)
	s.old.app.Store(nil)
	d.rolls.settle(s.new)
	r.handOverPidFile(s, next.spec)
	d.upkeep.look()
	return nil
}

// handOverPidFile is done by the actors themselves, or it might meet a crash.
func (r *roll) handOverPidFile(s *seat, spec ecosystem.App) {
	_, _ = s.old.proc.Await(r.ctx, func(supervise.Snapshot) bool { // an error: it is given up, and so is the file
		s.old.pidFile.Store(new(string))
		return true
	})
	_, _ = s.new.proc.Await(r.ctx, func(now supervise.Snapshot) bool {
		s.new.setPidFile(spec)
		if file := *s.new.pidFile.Load(); file != "" {
			if err := keepPidFile(file, now.Pid); err != nil {
				r.d.log("%s %v", s.new.label(), err)
			}
		}
		return true
	})
}

// retire has an instance end that is not to get connections any more: it is drained as
// its app says, told to end, and waited for. When ctx ends there is no more draining.
func (d *Daemon) retire(ctx context.Context, in *instance, spec ecosystem.App) (report cluster.DrainReport) {
	slot := in.slot.Load()
	switch {
	case slot == nil:
	case isTold(spec):
		report = d.resign(ctx, in, slot, spec)
	default:
		slot.Retire()
		if spec.Drain.Mode != ecosystem.DrainOff {
			report = drainOf(ctx, in, slot, drainOptions(spec.Drain))
		}
	}
	if spec.Drain.Mode != ecosystem.DrainSignal {
		in.proc.Stop()
		_, _ = in.proc.Await(context.Background(), isStopped) // bounded by its kill_timeout; an error: it is closed
		return report
	}
	in.proc.StopWithin(spec.Drain.Timeout + spec.Stop.Timeout)
	if _, err := in.proc.Await(ctx, isStopped); err != nil {
		d.hurry(in, spec.Stop.Timeout)
	}
	return report
}

// resign ends the duty of an instance that may be the active one. Nobody else is active
// until its process has ended. So who connects from now on is held back, which costs a
// second, for then they try again; three, if requests that it works on take so long.
func (d *Daemon) resign(ctx context.Context, in *instance, slot *cluster.Slot, spec ecosystem.App) (report cluster.DrainReport) {
	const most = 2500 * time.Millisecond
	if !slot.View().Standby {
		slot.Leave()
		if spec.Drain.Mode != ecosystem.DrainOff {
			report = drainOf(ctx, in, slot, cluster.DrainOptions{Timeout: min(most, spec.Drain.Timeout), Kept: true})
		}
		d.demote(ctx, in, spec)
	}
	slot.Retire()
	return report
}

// hurry waits for an instance that was told to end no longer than usual.
func (d *Daemon) hurry(in *instance, patience time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := in.proc.Await(ctx, isStopped); err != nil {
		_ = in.proc.Signal(syscall.SIGKILL) // an error: it has just ended
		_, _ = in.proc.Await(context.Background(), isStopped)
	}
}

// drainOf waits for the connections of an instance. If its process dies meanwhile, what
// waits in its queue is its successor's.
func drainOf(ctx context.Context, in *instance, slot *cluster.Slot, o cluster.DrainOptions) (sum cluster.DrainReport) {
	pids := func() []int {
		if pid := in.proc.Snapshot().Pid; pid != 0 {
			return []int{pid}
		}
		return nil
	}
	began, all := time.Now(), o.Timeout
	for {
		inc := in.proc.Snapshot().Incarnation
		one := slot.Drain(ctx, pids, o)
		one.Took, one.Closed = time.Since(began), one.Closed+sum.Closed
		sum = one
		s := in.proc.Snapshot()
		left := all - time.Since(began)
		waited := one.Cut > 0 && len(slot.View().Addresses) > 0 // else nobody waits for a successor
		if ctx.Err() != nil || left <= 0 || !waited || s.Pid != 0 && s.Incarnation == inc || !s.Want || isDown(s) {
			return sum
		}
		bounded, cancel := context.WithTimeout(ctx, left)
		_, err := in.proc.Await(bounded, func(s supervise.Snapshot) bool { return s.Status == supervise.StatusOnline || isDown(s) })
		cancel()
		if err != nil {
			return sum
		}
		o.Timeout = max(all-time.Since(began), time.Millisecond)
	}
}

// disposeProcess ends one life of an instance: the streams are the next one's.
func (d *Daemon) disposeProcess(in *instance) {
	in.proc.Close()
	if slot := in.slot.Load(); slot != nil {
		slot.Close()
	}
	d.unconfine(in)
	d.confiner.forget(in)
	d.usage.forget(in)
	d.talk.forget(in)
	d.trust.forget(in)
}

// finalWords are the last lines on stderr of a process that is given up.
func (in *instance) finalWords() []string {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = in.err.Flush(ctx) // an error: then without what is on its way
	const most = 10
	from := in.before.Load()
	if from == nil {
		from = in.marks.Load()
	}
	if from == nil {
		return nil // it never began
	}
	lines, _ := in.err.Since(from.err, most) // an error: it is not kept in a file
	return lines
}

// label names an instance in the daemon's log.
func (in *instance) label() string {
	if in.life == 0 {
		return fmt.Sprintf("%s:%d (id %d)", in.name, in.index, in.id)
	}
	return fmt.Sprintf("%s:%d (id %d, life %d)", in.name, in.index, in.id, in.life)
}
