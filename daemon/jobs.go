package daemon

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"gopm/daemon/api"
	"gopm/daemon/supervise"
	"gopm/ecosystem"
)

// A job is an app that runs at the times of its schedule, as one process. To start it is
// to schedule it; the timekeeper runs it when it is due. A run that fails is over: the
// next one is at its time.

// rota is whether a job is to be run. Its lock is held while a run is ordered, so that
// nothing is run after it was stopped.
type rota struct {
	mu     sync.Mutex // guards the rest
	armed  bool       // it runs when it is due
	queued bool       // it was due while a run went on, and runs after that
	behind uint64     // the incarnation of that run
}

// arm has the job run when it is due.
func (r *rota) arm() (did string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.armed {
		return api.IsScheduled
	}
	r.armed = true
	return api.DidSchedule
}

// disarm ends that.
func (r *rota) disarm() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.armed, r.queued = false, false
}

// restore arms the job as it was. If the process has had another incarnation than what it
// was queued behind, that has been its run.
func (r *rota) restore(t api.Timed, inc uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.armed, r.queued, r.behind = true, t.Queued && (t.Behind == 0 || t.Behind == inc), t.Behind
}

// tell says what there is to show, and to save.
func (r *rota) tell(t *api.Timed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t.Scheduled, t.Queued = r.armed, r.queued
	if t.Behind = 0; r.queued {
		t.Behind = r.behind
	}
}

func (r *rota) state() (armed, queued bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.armed, r.queued
}

// enqueue has it run once more after the run that is under way; false: that was so.
func (r *rota) enqueue(inc uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.queued
	r.queued, r.behind = r.armed, inc
	return !was
}

// dequeue gives up the run that waits.
func (r *rota) dequeue() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queued = false
}

// begin runs the job now, if it is armed.
func (in *instance) begin() bool {
	in.job.mu.Lock()
	defer in.job.mu.Unlock()
	if !in.job.armed {
		return false
	}
	in.job.queued = false
	in.proc.Start()
	return true
}

func (in *instance) isJob() bool {
	a := in.version.Load()
	return a != nil && a.spec.Times.IsJob()
}

func (in *instance) isArmed() bool {
	armed, _ := in.job.state()
	return armed && in.isJob()
}

// isWanted is what the user wishes, for the next daemon: a job isn't running all the time.
func (in *instance) isWanted(s supervise.Snapshot) bool {
	if in.isJob() {
		return in.isArmed() || in.restedBy() != ""
	}
	return s.Want || in.restedBy() != "" || in.waits.Load() != nil
}

// isOfJob says whether a change that the hub tells of is one of a job.
func isOfJob(key any) bool {
	in, is := key.(*instance)
	return is && in.isJob()
}

// hasRunSince says that a run has begun at a time or after it.
func (in *instance) hasRunSince(at time.Time) bool {
	s := in.proc.Snapshot()
	switch {
	case s.Pid != 0:
		return !s.Started.Before(at)
	case !isDown(s):
		return true // it is being started
	}
	e := s.LastExit
	return e != nil && !e.At.Add(-e.Uptime).Before(at)
}

// mindJob runs a job that is due, and ends a run that takes too long. It returns how long
// that can wait.
func (d *Daemon) mindJob(spec ecosystem.App, in *instance, isDue bool) (next time.Duration) {
	t, s := spec.Times, in.proc.Snapshot()
	_, queued := in.job.state()
	switch {
	case (isDue || queued) && isDown(s):
		if lacks := d.lacksOf(in); len(lacks) > 0 {
			in.job.dequeue()
			d.tell(in.event(api.EventJob, "is due, and skipped: it needs %s", lackText(lacks)))
		} else if !d.singletons.licensing(spec, func() {}) {
			in.job.dequeue()
			d.tellSkipped(in)
		} else if in.begin() {
			d.tell(in.event(api.EventJob, "is due: it is run"))
			d.store.changed()
		}
		return clockNap
	case isDue:
		d.overlap(t, in, s)
	case queued && t.Overlap == ecosystem.OverlapKill:
		in.proc.End(s.Incarnation) // it wasn't there yet when its successor was due
	}
	if t.Timeout <= 0 || !s.IsUp() {
		return clockNap
	}
	left := min(time.Until(s.Started.Add(t.Timeout)), t.Timeout) // the clock may have been set
	if left <= 0 {
		in.proc.Fail(s.Incarnation, "timed out after "+shortText(t.Timeout))
		return clockNap
	}
	return min(left, clockNap)
}

// overlap is for a job that is due while a run goes on.
func (d *Daemon) overlap(t ecosystem.Times, in *instance, s supervise.Snapshot) {
	run := "the run before goes on"
	if s.Pid != 0 {
		run = fmt.Sprintf("the run before (pid %d) goes on since %v", s.Pid, time.Since(s.Started).Round(time.Second))
	}
	switch {
	case t.Overlap != ecosystem.OverlapQueue && t.Overlap != ecosystem.OverlapKill:
		d.tell(in.event(api.EventJob, "is due, and skipped: %s", run))
		return
	case !in.job.enqueue(s.Incarnation):
		d.tell(in.event(api.EventJob, "is due, and skipped: %s, and another waits for its end", run))
		return
	case t.Overlap == ecosystem.OverlapKill:
		d.tell(in.event(api.EventJob, "is due: %s, and is ended", run))
		in.proc.End(s.Incarnation)
	default:
		d.tell(in.event(api.EventJob, "is due: %s; it is run afterwards", run))
	}
	d.hub.tell(in)
	d.store.changed()
}

// runHasFailed says that a run has just ended as it should not have, and by itself: that
// of a job which is going to be run again isn't errored.
func runHasFailed(before, s supervise.Snapshot) bool {
	e := s.LastExit
	return e != nil && e != before.LastExit && !e.Requested && (e.Err != "" || e.Fault != "" || e.Signal != 0 || e.Code != 0)
}

// compareJob decides what a convergence does with a job.
func compareJob(d decision, have ecosystem.App, req api.Apply, running bool) decision {
	switch {
	case !running && !d.want.Autostart && !req.Act:
		d.did = api.IsNotStarted
	case !running || len(d.changes) > 0 || req.Act || req.Update:
		d.did = api.DidSchedule
	default:
		d.did = api.DidNothing
	}
	d.restart = !have.Times.IsJob() // what ran always is ended
	return d
}

// schedule does what was decided. A run that is under way goes on as it was begun.
func (in *instance) schedule(dec decision) bool {
	if dec.did != api.DidSchedule {
		return false
	}
	in.rested.Store(nil)
	if dec.restart {
		in.proc.Stop()
	}
	in.job.arm()
	return true
}

// nextRun is when a job that was scheduled just now runs next; zero: it was not.
func nextRun(spec ecosystem.App, did string) time.Time {
	schedule, err := ecosystem.ParseSchedule(spec.Times.Schedule)
	if err != nil || did != api.DidSchedule && did != api.IsScheduled {
		return time.Time{}
	}
	return schedule.Next(time.Now())
}

// ofJob is what there is to say about a run: one that has failed leaves nothing behind.
func ofJob(all []remark) []remark {
	for i, r := range all {
		if r.kind == api.EventErrored {
			all[i] = remark{kind: api.EventJob, text: "has failed; the next run is at its time"}
		}
	}
	return all
}

// shortText is a duration without the zeros at its end: 10m, 1h30m, 1.5s.
func shortText(d time.Duration) string {
	text := d.String()
	if rest, whole := strings.CutSuffix(text, "m0s"); whole {
		text = rest + "m"
	}
	if rest, whole := strings.CutSuffix(text, "h0m"); whole {
		text = rest + "h"
	}
	return text
}
