package daemon

import (
	"time"

	"gopm/daemon/api"
)

// Whether an instance is well, by its checks. This file decides; health.go carries it
// out. Whatever is known is known of one run: of another nothing is believed.

// vitals is what the checks of one run have shown, and when the next one is due.
type vitals struct {
	inc     uint64
	state   string // api.Health…
	since   time.Time
	why     string // what was wrong at the last check; "" = nothing, or there was none
	checks  int    // that have ended, less the failures that don't count
	failed  int    // of these
	row     int    // failures in a row that count
	counted time.Time
	due     time.Time
	seen    bool // this daemon has looked itself: nothing is done because of what another has seen
}

// regimen is how an app's instances are checked.
type regimen struct {
	interval time.Duration
	grace    time.Duration // failures so soon after the start don't count
	retries  int
	phase    float64   // 0 to 1: where in the interval the checks of this instance are
	epoch    time.Time // where the first interval begins
}

// finding is what one check has come to.
type finding struct {
	began, ended time.Time

	why    string // "" = it has passed
	unsure bool   // gopm itself could not look: this says nothing of the instance
}

// turn is what a finding has changed.
type turn int

const (
	asBefore turn = iota
	nowHealthy
	nowUnhealthy
)

// phaseOf is far apart for numbers that follow each other, however many there are: n
// times the golden ratio.
func phaseOf(id int) float64 {
	const golden = 2654435769 // of 2^32
	return float64(uint32(id)*golden) / (1 << 32)
}

// newVitals is for a run that nobody has checked yet. One that has just begun is looked
// at at once, for somebody may wait for it.
func newVitals(inc uint64, started, now time.Time, r regimen) vitals {
	v := vitals{inc: inc, state: api.HealthUnknown, since: started, counted: started, due: now}
	if now.Sub(started) > r.interval {
		v.due = r.slot(now)
	}
	return v
}

// recalled is what another daemon has left: it is shown, and looked at again in its turn.
func (v vitals) recalled(now time.Time, r regimen) vitals {
	v.due, v.seen = r.slot(now), false
	return v
}

// slot is the first time from then on that is the instance's.
func (r regimen) slot(from time.Time) time.Time {
	first := r.epoch.Add(time.Duration(r.phase * float64(r.interval)))
	n := from.Sub(first) / r.interval
	if at := first.Add(n * r.interval); !at.Before(from) {
		return at
	}
	return first.Add((n + 1) * r.interval)
}

// quickest is the least time from one check to the next, while a run is young.
const quickest = 100 * time.Millisecond

// next is when to look again after a check that began then and ended now. A run that has
// not passed yet may do so at any moment: it is looked at the sooner the younger it is.
func (v vitals) next(started, began, now time.Time, r regimen) time.Time {
	at := r.slot(began.Add(r.interval / 2))
	if soon := began.Add(max(began.Sub(started)/4, quickest)); v.state == api.HealthUnknown && soon.Before(at) {
		at = soon
	}
	if at.Before(now) {
		return now
	}
	return at
}

// early is how much before its time a regular check may begin.
func (v vitals) early(interval time.Duration) time.Duration {
	const most = 250 * time.Millisecond
	if v.state == api.HealthUnknown {
		return 0
	}
	return min(interval/20, most)
}

// after is what becomes of vitals by a check.
func (v vitals) after(f finding, started time.Time, awaited bool, r regimen) (vitals, turn) {
	turned := asBefore
	if v.why = f.why; !f.unsure {
		v.seen = true
		turned = v.judge(f, started, awaited, r)
	}
	switch turned {
	case nowHealthy:
		v.state, v.since = api.HealthHealthy, f.ended
	case nowUnhealthy:
		v.state, v.since = api.HealthUnhealthy, f.ended
	}
	v.due = v.next(started, f.began, f.ended, r)
	return v, turned
}

// judge counts. A failure counts if the run had time for its start, and one of them in each
// interval: what is looked at often is not worse for that. One that has not said yet that
// it is ready has its own limit.
func (v *vitals) judge(f finding, started time.Time, awaited bool, r regimen) turn {
	if f.why == "" {
		v.row = 0
		v.checks++
		if v.state == api.HealthHealthy {
			return asBefore
		}
		return nowHealthy
	}
	switch {
	case awaited:
		v.counted = f.began
		return asBefore
	case f.began.Sub(started) < r.grace, v.state == api.HealthUnknown && f.began.Sub(v.counted) < r.interval:
		return asBefore
	}
	v.row, v.counted = v.row+1, f.began
	v.checks++
	v.failed++
	if v.row < r.retries || v.state == api.HealthUnhealthy {
		return asBefore
	}
	return nowUnhealthy
}

// patient is an instance of an app that restarts those that are unhealthy.
type patient struct {
	ill   bool      // unhealthy, as this daemon has seen itself, and fit to be restarted
	since time.Time // when it became so
	away  bool      // it was restarted for that, or is being, and is neither healthy again nor down for good
	back  bool      // it was restarted for that, and is unhealthy again
}

// cure is which of an app's instances is restarted now; -1: none. They are restarted one
// at a time, the one that has been ill longest first; and the others only when that has
// helped.
func cure(all []patient) (first int) {
	first = -1
	for i, p := range all {
		switch {
		case p.away:
			return -1
		case !p.ill:
		case first < 0, p.back && !all[first].back, p.back == all[first].back && p.since.Before(all[first].since):
			first = i
		}
	}
	return first
}
