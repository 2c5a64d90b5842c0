package daemon

import (
	"cmp"
	"container/heap"
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gopm/daemon/api"
	"gopm/daemon/supervise"
	"gopm/ecosystem"
)

// health has instances checked, and carries out what follows from that. While no app asks
// for checks it has no goroutine.
//
// Goroutines: one that decides, and one for each check that is under way, which ends
// within its timeout. A check that hangs keeps nobody else waiting.
type health struct {
	worker
	d      *Daemon
	epoch  time.Time
	scan   chan struct{} // holds one: the table has changed
	heard  chan checked
	checks sync.WaitGroup
	places chan struct{} // of commands that begin at the same time

	// The goroutine's own.
	charts map[*instance]*chart
	due    charts
	cured  map[string]cured // by app: who was restarted last
}

// wellness is what checks have shown of an instance.
type wellness struct {
	vitals atomic.Pointer[vitals]
	tallied
}

// chart is an instance that runs and is to be checked.
type chart struct {
	in      *instance
	started time.Time
	vitals
	end  context.CancelFunc // of the check that is under way; nil: none is
	gone bool               // it isn't to be checked any more; the check is waited for
	at   int                // in the heap; -1: not there
}

// cured is the restart of an instance that was unhealthy.
type cured struct {
	who *instance
	inc uint64 // that was ended
}

// checked is what has come of a check.
type checked struct {
	in  *instance
	inc uint64
	finding
}

func newHealth(d *Daemon) *health {
	return &health{d: d, epoch: time.Now(), scan: make(chan struct{}, 1), heard: make(chan checked), places: make(chan struct{}, 2*runtime.GOMAXPROCS(0))}
}

// look begins or ends the work, after the table has changed.
func (h *health) look() {
	h.keep(slices.ContainsFunc(h.d.everyone(), (*instance).wantsChecks), h.run)
	select {
	case h.scan <- struct{}{}:
	default:
	}
}

func (in *instance) wantsChecks() bool {
	a := in.version.Load()
	return a != nil && a.spec.Health.IsChecked()
}

func (h *health) run(stop <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	defer h.checks.Wait()
	defer cancel()
	h.charts, h.due, h.cured = map[*instance]*chart{}, nil, map[string]cured{}
	changes := h.d.hub.subscribe()
	defer h.d.hub.unsubscribe(changes)
	timer := time.NewTimer(0)
	defer timer.Stop()
	h.rescan()
	for {
		timer.Reset(h.begin(ctx))
		select {
		case <-stop:
			h.leave()
			return
		case <-h.scan:
			h.rescan()
		case <-changes.wake:
			for _, key := range changes.take() {
				if in, is := key.(*instance); is {
					h.inspect(in)
				}
			}
		case c := <-h.heard:
			h.hear(c)
		case <-timer.C:
		}
	}
}

// leave is for the end: of the daemon, or of the last app with checks.
func (h *health) leave() {
	for in := range h.charts {
		if h.d.ending.reason() == "" {
			h.drop(in)
		}
	}
}

// rescan looks at everyone, after the table has changed.
func (h *health) rescan() {
	all := h.d.everyone()
	for in := range h.charts {
		if !slices.Contains(all, in) {
			h.drop(in)
		}
	}
	for _, in := range all {
		h.inspect(in)
	}
}

// inspect notes what has become of an instance.
func (h *health) inspect(in *instance) {
	s := in.proc.Snapshot()
	if !in.wantsChecks() || s.Pid == 0 || s.Status == supervise.StatusStopping {
		h.drop(in)
		h.treat(in)
		return
	}
	a := in.version.Load()
	if in.isMute() {
		if h.drop(in); a.spec.Ready.By == ecosystem.ReadyHealth {
			in.proc.Ready(s.Incarnation)
		}
		return
	}
	h.register(in, s, h.regimen(a.spec, in))
}

// isMute is for a spare that waits in its first bind: it can't answer anybody.
func (in *instance) isMute() bool {
	a := in.version.Load()
	return in.isHeld() && !isTold(a.spec)
}

// register has a run checked from now on, if it isn't yet.
func (h *health) register(in *instance, s supervise.Snapshot, r regimen) {
	c, now := h.charts[in], time.Now()
	switch {
	case c == nil:
		c = &chart{in: in, at: -1}
		h.charts[in] = c
	case c.inc == s.Incarnation && !c.gone:
		if c.at >= 0 && c.vitals.due.Sub(now) > 2*r.interval { // the interval has become shorter
			c.vitals.due = r.slot(now)
			heap.Fix(&h.due, c.at)
		}
		return
	}
	c.started, c.gone = s.Started, false
	if v := in.vitals.Load(); v != nil && v.inc == s.Incarnation {
		c.vitals = v.recalled(now, r)
	} else {
		c.vitals = newVitals(s.Incarnation, s.Started, now, r)
	}
	switch {
	case c.end != nil: // the check of a run that is over; the next begins after it
		c.end()
	case c.at >= 0:
		heap.Fix(&h.due, c.at)
	default:
		heap.Push(&h.due, c)
	}
	h.publish(c)
}

// drop ends the checks of an instance.
func (h *health) drop(in *instance) {
	c := h.charts[in]
	switch {
	case c == nil || c.gone:
		return
	case c.end != nil:
		c.gone = true
		c.end()
	default:
		delete(h.charts, in)
	}
	if c.at >= 0 {
		heap.Remove(&h.due, c.at)
	}
	in.vitals.Store(nil)
	in.avoid(0)
}

// regimen is that of an instance. An app that was not made from a file may lack something.
func (h *health) regimen(spec ecosystem.App, in *instance) regimen {
	return regimen{interval: h.interval(in), grace: spec.Health.StartPeriod, retries: max(spec.Health.Retries, 1), phase: phaseOf(in.id), epoch: h.epoch}
}

func (h *health) interval(in *instance) time.Duration {
	return max(in.version.Load().spec.Health.Interval, quickest)
}

// begin starts the checks that are due, and is how long there is to wait for the next.
// To wake up costs more than a check: those that are due soon after one begin with it.
func (h *health) begin(ctx context.Context) time.Duration {
	const nothing = time.Hour
	awake := false
	for len(h.due) > 0 {
		c := h.due[0]
		wait := time.Until(c.vitals.due)
		if awake {
			wait -= c.vitals.early(h.interval(c.in))
		}
		if wait > 0 {
			return time.Until(c.vitals.due)
		}
		awake = true
		heap.Pop(&h.due)
		bounded, end := context.WithCancel(ctx)
		c.end = end
		in, inc := c.in, c.inc
		h.checks.Go(func() { h.check(ctx, bounded, in, inc) })
	}
	return nothing
}

// check looks at one instance. What it finds comes back through heard, also if nobody
// wants to know it any more (bounded has ended), but not when all is over.
func (h *health) check(ctx, bounded context.Context, in *instance, inc uint64) {
	k := h.examine(bounded, in, inc)
	select {
	case h.heard <- k:
	case <-ctx.Done():
	}
}

// hear goes on with what a check has found. That of an earlier run changes nothing.
func (h *health) hear(k checked) {
	c := h.charts[k.in]
	c.end()
	c.end = nil
	a, s := k.in.version.Load(), k.in.proc.Snapshot()
	switch {
	case c.gone:
		delete(h.charts, k.in)
		return
	case k.inc != c.inc || s.Incarnation != k.inc:
		heap.Push(&h.due, c)
		return
	}
	was, awaited := c.why, s.Ready == supervise.Awaited
	v, turn := c.vitals.after(k.finding, c.started, awaited, h.regimen(a.spec, k.in))
	c.vitals = v
	heap.Push(&h.due, c)
	h.publish(c)
	if v.why == "" && awaited && a.spec.Ready.By == ecosystem.ReadyHealth {
		k.in.proc.Ready(k.inc)
	}
	switch {
	case turn != asBefore:
		h.tell(c, turn)
	case was != c.why:
		h.d.hub.tell(k.in)
	}
	h.treat(k.in)
}

// tell makes it known that an instance has become healthy or unhealthy.
func (h *health) tell(c *chart, t turn) {
	var e event
	if t == nowUnhealthy {
		c.in.avoid(c.inc)
		e = c.in.event(api.EventUnhealthy, "unhealthy: %s (%s)", c.why, failedChecks(c.row))
	} else {
		c.in.avoid(0)
		e = c.in.event(api.EventHealthy, "healthy")
	}
	e.pid = c.in.proc.Snapshot().Pid
	h.d.tell(e)
	h.d.hub.tell(c.in)
	h.d.store.changed()
}

// faultUnhealthy begins the reason for which an instance was restarted.
const faultUnhealthy = "unhealthy: "

// treat restarts the next instance of an app that is unhealthy, if its app asks for that.
func (h *health) treat(of *instance) {
	a := of.version.Load()
	if a == nil || a.spec.Health.OnFail != ecosystem.OnFailRestart || h.d.ending.reason() != "" || h.d.rolls.find(of.name) != nil {
		return
	}
	var all []*instance
	var patients []patient
	for _, in := range h.d.everyone() {
		if in.name == of.name {
			all, patients = append(all, in), append(patients, h.patient(in))
		}
	}
	i := cure(patients)
	if i < 0 {
		return
	}
	c := h.charts[all[i]]
	h.cured[of.name] = cured{c.in, c.inc}
	c.in.proc.Fail(c.inc, faultUnhealthy+c.why)
}

// patient is what of an instance decides whether it is restarted.
func (h *health) patient(in *instance) (p patient) {
	s, c := in.proc.Snapshot(), h.charts[in]
	if s.Status == supervise.StatusErrored || s.Status == supervise.StatusStopped {
		return p
	}
	var ended uint64 // the last run that was ended because it was unhealthy
	if last := h.cured[in.name]; last.who == in {
		ended = last.inc
	}
	if e := s.LastExit; e != nil && strings.HasPrefix(e.Fault, faultUnhealthy) { // another daemon may have seen to it
		ended = max(ended, e.Incarnation)
	}
	known := c != nil && !c.gone && c.inc == s.Incarnation && c.inc > ended
	p.since = s.Started
	p.ill = known && c.state == api.HealthUnhealthy && c.vitals.seen && s.Ready != supervise.Awaited
	if p.ill {
		p.since = c.since
	}
	p.back = ended > 0 && p.ill
	p.away = ended > 0 && !p.ill && !(known && c.state == api.HealthHealthy)
	return p
}

// publish lets others see what is known.
func (h *health) publish(c *chart) {
	v := c.vitals
	c.in.vitals.Store(&v)
}

// avoid has new connections go to other instances as long as one of them is well; 0: it
// is well itself.
func (in *instance) avoid(inc uint64) {
	if slot := in.slot.Load(); slot != nil {
		slot.Unwell(inc)
	}
}

// avoidStill has those who were found unhealthy by another daemon be avoided by this one,
// until a check passes.
func (in *instance) avoidStill() {
	if v := in.vitals.Load(); v != nil && v.state == api.HealthUnhealthy {
		in.avoid(v.inc)
	}
}

// healthOf is what is known of the health of an instance's present run; nil: it is not
// checked, doesn't run, or is a spare that can't answer.
func healthOf(in *instance) *api.Health {
	s := in.proc.Snapshot()
	if !in.wantsChecks() || s.Pid == 0 || in.isMute() {
		return nil
	}
	v := in.vitals.Load()
	if v == nil || v.inc != s.Incarnation {
		return &api.Health{State: api.HealthUnknown, Since: s.Started, Incarnation: s.Incarnation}
	}
	return &api.Health{State: v.state, Since: v.since, Error: v.why, Checks: v.checks, Failures: v.failed, InARow: v.row, Incarnation: v.inc}
}

// isHealthy says that the present run's checks pass, or that it is a spare without any.
func (in *instance) isHealthy() bool {
	v := healthOf(in)
	return v != nil && v.State == api.HealthHealthy || in.isMute()
}

// recall is what another daemon has known of an instance's health.
func (in *instance) recall(was *api.Health) {
	if was != nil {
		in.vitals.Store(&vitals{inc: was.Incarnation, state: cmp.Or(was.State, api.HealthUnknown), since: was.Since, counted: was.Since,
			why: was.Error, checks: was.Checks, failed: was.Failures, row: was.InARow})
	}
}

// charts is a heap: the one that is due first is in front.
type charts []*chart

func (q charts) Len() int           { return len(q) }
func (q charts) Less(i, j int) bool { return q[i].vitals.due.Before(q[j].vitals.due) }
func (q charts) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].at, q[j].at = i, j
}

// Push and Pop are for container/heap alone.
func (q *charts) Push(x any) {
	c := x.(*chart)
	c.at = len(*q)
	*q = append(*q, c)
}

func (q *charts) Pop() any {
	last := len(*q) - 1
	c := (*q)[last]
	(*q)[last] = nil
	*q, c.at = (*q)[:last], -1
	return c
}

func failedChecks(n int) string {
	if n == 1 {
		return "1 check has failed"
	}
	return fmt.Sprintf("%d checks in a row have failed", n)
}
