package daemon

import (
	"time"

	"gopm/ecosystem"
)

// agenda is when things are due next, each known by a name. It goes by the clock on the
// wall, which may be set and, while the machine sleeps, stands still for whoever waits:
// its owner looks at least each clockNap.
type agenda struct {
	planned map[string]appointment
	looked  time.Time // by the clock on the wall
}

// dated is something that is due at times.
type dated struct{ name, schedule string }

// appointment is when it is due next.
type appointment struct {
	text     string
	schedule ecosystem.Schedule
	at       time.Time // zero: never
}

const clockNap = time.Minute

// due is what of a list is due, in its order, and how long it is to what is due next.
// What was missed, because the machine slept or the clock was put forward, is made up for
// once. What is new, or has another schedule than before, is planned from now on.
func (g *agenda) due(list []dated, now time.Time) (due []string, next time.Duration) {
	now = now.Round(0) // the clock on the wall alone
	back := g.looked.Sub(now)
	before := g.planned
	g.planned, g.looked = make(map[string]appointment, len(list)), now
	next = clockNap
	for _, item := range list {
		p := before[item.name]
		if p.text != item.schedule {
			schedule, err := ecosystem.ParseSchedule(item.schedule)
			if err != nil {
				continue // a file with that is refused
			}
			p = appointment{item.schedule, schedule, schedule.Next(now)}
		}
		switch {
		case p.at.IsZero():
			p.at = p.schedule.Next(now)
		case !now.Before(p.at):
			due = append(due, item.name)
			p.at = p.schedule.Next(now)
		case back > 0 && back > p.distance():
			p.at = p.schedule.Next(now)
		}
		g.planned[item.name] = p
		if !p.at.IsZero() {
			next = min(next, p.at.Sub(now))
		}
	}
	return due, next
}

// distance is the time from what is due next to what is due after that. A clock that is
// set back by less changes nothing: what was done would be done again. By more, what is
// planned may be far away.
func (p appointment) distance() time.Duration {
	return p.schedule.Next(p.at).Sub(p.at)
}

// resume plans something as it was planned before. If its time came while nobody looked,
// and that is not long ago, it is due now.
func (g *agenda) resume(item dated, at, now time.Time) {
	const long = 5 * time.Minute
	schedule, err := ecosystem.ParseSchedule(item.schedule)
	p := appointment{item.schedule, schedule, at}
	if err != nil || at.IsZero() || now.Sub(at) > long || at.Sub(now) > p.distance() {
		return // it is planned anew
	}
	if g.planned == nil {
		g.planned = map[string]appointment{}
	}
	g.planned[item.name] = p
}

// next is when something is due, by name; zero: never.
func (g *agenda) next(name string) time.Time { return g.planned[name].at }
