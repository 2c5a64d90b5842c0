package daemon

import "time"

// An app with `standby` has programs that must be told that they are active, and of
// which one may be at a time. This file decides; officer.go carries it out. Whatever
// is known of a process goes by its incarnation: what is told of another is not heard.

// stint is one process of an instance.
type stint[K comparable] struct {
	who K
	inc uint64
}

// seen is what there is to see of an instance.
type seen[K comparable] struct {
	stint[K]
	alive  bool // a process of it lives, or is about to
	active bool // it has the connections, or had them before anybody was to be told
	asked  bool // it was told by an earlier daemon, who didn't hear what came of it
	fit    bool // it could be active at once
}

// phase is where a duty is.
type phase int

const (
	vacant    phase = iota // nobody is active
	promoting              // one is being told: nobody else may be before it has ended
	active
	failing // it could not be told, or may have understood it all the same: it is being ended
)

// duty is being the active one of an app.
type duty[K comparable] struct {
	phase
	stint[K]
	failures int       // promotions that have failed in a row
	refused  K         // whose was the last of them
	next     time.Time // not before that is another begun
}

// order is what is to be done.
type order[K comparable] struct {
	do  act
	who stint[K]
}

type act int

const (
	promote  act = iota // tell it that it is active
	activate            // give it the connections
	renew               // end it: only one may be active
)

// look goes on with what is seen of all instances.
func (d duty[K]) look(now time.Time, all []seen[K]) (duty[K], []order[K]) {
	if d.phase != vacant && !isAlive(all, d.stint) {
		d.phase, d.stint = vacant, stint[K]{}
	}
	if d.phase != vacant {
		return d, d.others(all)
	}
	if first, is := claimant(all); is {
		d.stint = first.stint
		if d.phase = active; !first.active {
			d.phase = promoting // once more: it may not have heard it
			return d, append(d.others(all), order[K]{promote, d.stint})
		}
		return d, d.others(all)
	}
	if s, is := d.candidate(all); is && !now.Before(d.next) {
		d.phase, d.stint = promoting, s.stint
		return d, []order[K]{{promote, s.stint}}
	}
	return d, nil
}

// candidate is the first that is fit, or after a failure the first after the one that
// has failed: it may go on failing, and each has its turn.
func (d duty[K]) candidate(all []seen[K]) (first seen[K], is bool) {
	behind := false
	for _, s := range all {
		if s.fit && (!is || behind) {
			first, is = s, true
			if behind || d.failures == 0 {
				return first, true
			}
		}
		behind = behind || d.failures > 0 && s.who == d.refused
	}
	return first, is
}

// claimant is one that is active, or may be, without our having told it.
func claimant[K comparable](all []seen[K]) (first seen[K], is bool) {
	for _, s := range all {
		if s.mayBeActive() && (!is || s.active && !first.active) {
			first, is = s, true
		}
	}
	return first, is
}

func (s seen[K]) mayBeActive() bool { return s.alive && (s.active || s.asked) }

// others has those end that may be active beside the one that is.
func (d duty[K]) others(all []seen[K]) (orders []order[K]) {
	for _, s := range all {
		if s.mayBeActive() && s.stint != d.stint {
			orders = append(orders, order[K]{renew, s.stint})
		}
	}
	return orders
}

// told goes on with what has come of promoting a process.
func (d duty[K]) told(now time.Time, p stint[K], ok bool) (duty[K], []order[K]) {
	switch {
	case d.phase != promoting || d.stint != p:
		return d, nil
	case ok:
		d.phase, d.failures = active, 0
		return d, []order[K]{{activate, p}}
	}
	d.phase = failing
	d.failures++
	d.refused = p.who
	d.next = now.Add(pauseAfter(d.failures))
	return d, []order[K]{{renew, p}}
}

// pauseAfter some failures in a row. After the first another instance is tried at once.
func pauseAfter(failures int) time.Duration {
	const most = time.Minute
	if failures < 2 {
		return 0
	}
	return min(most, time.Second<<min(failures-2, 6))
}

// comesSoon says that none is active, and one is being told, or could be.
func comesSoon[K comparable](all []seen[K]) bool {
	soon := false
	for _, s := range all {
		if s.alive && s.active {
			return false
		}
		soon = soon || s.fit || s.alive && s.asked
	}
	return soon
}

func isAlive[K comparable](all []seen[K], p stint[K]) bool {
	for _, s := range all {
		if s.stint == p && s.alive {
			return true
		}
	}
	return false
}
