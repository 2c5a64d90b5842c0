package cmd

import (
	"slices"
	"time"
)

// Lines of several machines are merged by the times that the machines give them. A line
// is shown when no machine can be expected to have an earlier one: each has one to show,
// has ended, or has been waited for long enough. So one that is slow or dead holds up
// the others for a bounded time only.

// mergePatience is how long lines wait for a machine that has none to show.
type mergePatience struct {
	answer time.Duration // until it answers at all; and, unless it is followed, each time it is silent
	begin  time.Duration // followed: from its answer to its first line, for it may have none
	line   time.Duration // followed: from when the line that waits has come
}

func usualPatience() mergePatience {
	return mergePatience{answer: 10 * time.Second, begin: time.Second, line: 300 * time.Millisecond}
}

// merge is the lines of all machines that are not shown yet.
type merge struct {
	mergePatience
	follow bool
	lanes  []lane
}

// lane is one machine's.
type lane struct {
	host  string
	queue []mergeLine
	heard time.Time // when it was begun, has last said something, or had its last line shown
	last  time.Time // the time of its last line
	there bool      // it has answered
	begun bool      // it has had a line
	ended bool
	late  bool // it was said that it is silent
}

// mergeLine is a line with its time; came is when it reached us.
type mergeLine struct {
	time, came time.Time
	show       func() error
}

// next is the lane whose first line is to be shown now; -1: none, until something is
// heard or, unless that is zero, a time has come.
func (m *merge) next(now time.Time) (at int, until time.Time) {
	at = -1
	for i := range m.lanes {
		if l := &m.lanes[i]; len(l.queue) > 0 && (at < 0 || l.queue[0].time.Before(m.lanes[at].queue[0].time)) {
			at = i
		}
	}
	var came time.Time
	if at >= 0 {
		came = m.lanes[at].queue[0].came
	}
	for i := range m.lanes {
		l := &m.lanes[i]
		if l.ended || len(l.queue) > 0 {
			continue
		}
		limit, held := m.limit(l, came)
		if !now.Before(limit) || !held && at < 0 {
			continue
		}
		if until.IsZero() || limit.Before(until) {
			until = limit
		}
	}
	if at >= 0 && !until.IsZero() {
		return -1, until
	}
	return at, until
}

// limit is until when a line that came at a time waits for a lane. held: the time means
// something also while nothing waits, for it will be said that the lane is silent.
func (m *merge) limit(l *lane, came time.Time) (limit time.Time, held bool) {
	switch {
	case !l.there || !m.follow:
		return l.heard.Add(m.answer), true
	case !l.begun:
		return l.heard.Add(m.begin), false
	}
	return came.Add(m.line), false
}

// silent are the machines of which it has to be said that nobody waits for them any more.
func (m *merge) silent(now time.Time) (hosts []string) {
	for i := range m.lanes {
		l := &m.lanes[i]
		if l.ended || l.late || len(l.queue) > 0 || l.there && m.follow || now.Before(l.heard.Add(m.answer)) {
			continue
		}
		l.late = true
		hosts = append(hosts, l.host)
	}
	return hosts
}

// over says that nothing can come any more.
func (m *merge) over() bool {
	return !slices.ContainsFunc(m.lanes, func(l lane) bool { return !l.ended || len(l.queue) > 0 })
}

// hear notes that a lane has said something.
func (m *merge) hear(at int, now time.Time) *lane {
	l := &m.lanes[at]
	l.heard, l.there, l.late = now, true, false
	return l
}

// take notes a line.
func (m *merge) take(at int, line mergeLine) {
	l := m.hear(at, line.came)
	l.begun = true
	l.queue = append(l.queue, line)
}

// pop takes the first line of a lane, which is silent from the last one on: before it may
// have had no room.
func (m *merge) pop(at int, now time.Time) mergeLine {
	l := &m.lanes[at]
	line := l.queue[0]
	l.queue[0] = mergeLine{} // or it would live as long as the array
	if l.queue = l.queue[1:]; len(l.queue) == 0 {
		l.heard = now
	}
	return line
}
