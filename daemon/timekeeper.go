package daemon

import (
	"cmp"
	"context"
	"slices"
	"sync/atomic"
	"time"

	"gopm/daemon/api"
	"gopm/ecosystem"
)

// timekeeper does what apps ask to be done at times: see cronrestart.go and jobs.go.
// While no app does, it has no goroutine.
//
// Goroutines: one that looks at the clock, and one for each app that is being restarted,
// which ends when its instances are up again, or with the first.
type timekeeper struct {
	worker
	d      *Daemon
	wake   chan struct{} // one place: the table has changed
	agenda agenda        // the goroutine's own, and so is what rounds have
	rounds rounds
}

// timed is what the clock has to do with an instance.
type timed struct {
	due atomic.Pointer[time.Time] // when something is done with its app next; nil: not known. The timekeeper's
	job rota
}

// clockPause bounds how often jobs are looked at because something has changed.
const clockPause = 10 * time.Millisecond

func newTimekeeper(d *Daemon) *timekeeper {
	return &timekeeper{d: d, wake: make(chan struct{}, 1), rounds: newRounds()}
}

// timesOf is when something is done with an app; "": never.
func timesOf(spec ecosystem.App) string { return cmp.Or(spec.Times.Schedule, spec.Times.Restart) }

// look begins or ends the work, after the table has changed.
func (k *timekeeper) look() {
	k.keep(slices.ContainsFunc(k.d.table.Load().apps, func(a *app) bool { return timesOf(a.spec) != "" }), k.run)
	select {
	case k.wake <- struct{}{}:
	default: // it is going to look anyway
	}
}

func (k *timekeeper) run(stop <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	defer k.rounds.running.Wait()
	defer cancel()
	changes := k.d.hub.subscribe()
	defer k.d.hub.unsubscribe(changes)
	k.resume(time.Now())
	for {
		timer := time.NewTimer(k.tick(ctx, time.Now()))
		more := k.wait(stop, timer.C, changes)
		timer.Stop()
		if !more {
			return
		}
	}
}

// wait returns when there is something to look at; false: no more.
func (k *timekeeper) wait(stop <-chan struct{}, due <-chan time.Time, changes *follower) bool {
	for {
		select {
		case <-stop:
			return false
		case <-due:
			return true
		case <-k.wake:
			return true
		case name := <-k.rounds.over:
			delete(k.rounds.under, name)
			return true
		case <-changes.wake:
			if !slices.ContainsFunc(changes.take(), isOfJob) {
				continue
			}
			select { // what changes soon after it is seen with it
			case <-stop:
				return false
			case <-time.After(clockPause):
				return true
			}
		}
	}
}

// resume goes on with what was planned, by the daemon before this one, too.
func (k *timekeeper) resume(now time.Time) {
	k.agenda, k.rounds = agenda{}, newRounds()
	for _, a := range k.d.table.Load().apps {
		text, at := timesOf(a.spec), a.dueAt()
		if text == "" || at.IsZero() || a.spec.Times.IsJob() && a.instances[0].hasRunSince(at) {
			continue
		}
		k.agenda.resume(dated{a.spec.Name, text}, at, now)
		k.rounds.rest[a.spec.Name] = at
	}
}

// tick does what is due, and says when to look again.
func (k *timekeeper) tick(ctx context.Context, now time.Time) (next time.Duration) {
	if k.d.ending.reason() != "" {
		return clockNap
	}
	var list []dated
	apps := k.d.table.Load().apps
	for _, a := range apps {
		if text := timesOf(a.spec); text != "" && (!a.spec.Times.IsJob() || a.instances[0].isArmed()) {
			list = append(list, dated{a.spec.Name, text})
		}
	}
	due, next := k.agenda.due(list, now)
	for _, a := range apps {
		isDue := slices.Contains(due, a.spec.Name)
		switch {
		case a.spec.Times.IsJob():
			next = min(next, k.d.mindJob(a.spec, a.instances[0], isDue))
		case isDue:
			k.restart(ctx, a)
		}
	}
	k.publish(apps)
	return next
}

// publish shows when something is due next. That of an app which is being restarted
// stays, so that the next daemon goes on with it.
func (k *timekeeper) publish(apps []*app) {
	for _, a := range apps {
		at := k.agenda.next(a.spec.Name)
		if at.IsZero() || k.rounds.under[a.spec.Name] {
			continue
		}
		for _, in := range a.instances {
			if was := in.due.Load(); was == nil || !was.Equal(at) {
				in.due.Store(&at)
				k.d.hub.tell(in)
				k.d.store.changed()
			}
		}
	}
}

// dueAt is when something is done with an app next; zero: never, or not known yet.
func (a *app) dueAt() (first time.Time) {
	if timesOf(a.spec) == "" {
		return first
	}
	for _, in := range a.instances {
		if at := in.due.Load(); at != nil && (first.IsZero() || at.Before(first)) {
			first = *at
		}
	}
	return first
}

// times are what is shown of an instance, and saved.
func (in *instance) times() (t api.Timed) {
	a := in.app.Load()
	if a == nil || timesOf(a.spec) == "" {
		return t
	}
	if at := in.due.Load(); at != nil {
		t.Due = *at
	}
	if a.spec.Times.IsJob() {
		t.Job = true
		if in.job.tell(&t); !t.Scheduled {
			t.Due = time.Time{}
		}
	}
	return t
}

// restoreTimes goes on with what was saved; what rests isn't run.
func (in *instance) restoreTimes(t api.Timed, inc uint64) {
	if !t.Due.IsZero() {
		in.due.Store(&t.Due)
	}
	if t.Scheduled && in.restedBy() == "" {
		in.job.restore(t, inc)
	}
}
