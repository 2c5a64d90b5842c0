package daemon

import "time"

// move is what is done about the values of an app.
type move int

const (
	moveNone    move = iota
	moveKept         // it gets those that were kept
	moveFirst        // it gets its first ones
	moveChange       // it gets other ones
	moveKeep         // those that it has are kept
	moveCatchUp      // what runs was begun with others than those that it has
)

// outlook is all that this is decided from.
type outlook struct {
	have   *values // those of the app; nil: none yet
	fresh  *values // those of the last answers; nil: something was never answered
	kept   *values // those in the home; nil: none
	bad    *values // with them the app has failed; nil: none
	failed bool    // the agent could not be asked
	behind bool    // something runs that was begun with other values than the app has
	begun  time.Time
	change changeTimes
	pardon time.Time // when the bad ones are tried again though nothing has changed; zero: never
	retry  time.Time // what could not be done is tried again then; zero: at once
}

// changeTimes say when values have changed.
type changeTimes struct {
	first, last time.Time // zero: before anybody looked
	debounce    time.Duration
}

const (
	keptPatience = 5 * time.Second // that the agent has to answer, before values are used that were kept
	mostDebounce = 10              // debounces after which it is done whatever still changes
)

// due is when a change has been followed by enough silence.
func (c changeTimes) due() time.Time {
	due, most := c.last.Add(c.debounce), c.first.Add(mostDebounce*c.debounce)
	if c.last.IsZero() {
		return c.last
	}
	if most.Before(due) {
		return most
	}
	return due
}

// next is what is to be done now, or when to look again; the zero time: when there is news.
func (o outlook) next(now time.Time) (m move, again time.Time) {
	at := func(m move, due time.Time) (move, time.Time) {
		if o.retry.After(due) {
			due = o.retry
		}
		if now.Before(due) {
			return moveNone, due
		}
		return m, time.Time{}
	}
	switch {
	case o.have == nil && o.fresh != nil:
		return at(moveFirst, time.Time{})
	case o.have == nil && o.kept != nil && o.failed:
		return at(moveKept, time.Time{})
	case o.have == nil && o.kept != nil:
		return at(moveKept, o.begun.Add(keptPatience))
	case o.have == nil || o.fresh == nil:
	case o.fresh.isSame(o.have) && o.behind:
		return at(moveCatchUp, time.Time{})
	case o.fresh.isSame(o.have) && !o.have.isSame(o.kept):
		return at(moveKeep, time.Time{})
	case o.fresh.isSame(o.have):
	case o.fresh.isSame(o.bad) && o.pardon.IsZero():
	case o.fresh.isSame(o.bad):
		return at(moveChange, o.pardon)
	default:
		return at(moveChange, o.change.due())
	}
	return moveNone, time.Time{}
}
