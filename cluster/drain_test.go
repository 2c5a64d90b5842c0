package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A stage plays looks to a drainer; the last is repeated. Time is what it waited.
type stage struct {
	looks []sight
	at    time.Time
	waits []time.Duration
	cost  time.Duration // of a look
	hung  []uint64      // cookies
	hang  func(connection) error
	ctx   context.Context
}

func (s *stage) drain(o DrainOptions) DrainReport {
	n := 0
	d := &drainer{options: o.withDefaults(), now: func() time.Time { return s.at }}
	d.look = func() sight {
		s.at = s.at.Add(s.cost)
		n++
		return s.looks[min(n, len(s.looks))-1]
	}
	d.wait = func(_ context.Context, d time.Duration) { s.at, s.waits = s.at.Add(d), append(s.waits, d) }
	d.hangUp = func(_ holder, c connection) error {
		s.hung = append(s.hung, c.cookie)
		if s.hang != nil {
			return s.hang(c)
		}
		return nil
	}
	if s.ctx == nil {
		s.ctx = context.Background()
	}
	return d.run(s.ctx)
}

// live is a look at a living instance to which all these connections belong.
func live(waiting int, cs ...connection) sight {
	s := sight{waiting: waiting, census: census{alive: true, sockets: map[uint32]holder{}}, connections: cs}
	for _, c := range cs {
		if c.inode != 0 {
			s.sockets[c.inode] = holder{1, int(c.inode)}
		}
	}
	return s
}

func conn(n int, phase phase, quiet uint32) connection {
	c := connection{state: established, cookie: uint64(n), inode: uint32(n), received: 9, sent: 9,
		lastSent: quiet, lastRecv: quiet + 8, lastAck: quiet}
	c.ends[0] = byte(n)
	switch phase {
	case halfOpen:
		c.state, c.inode = synRecv, 0
	case queued:
		c.inode = 0
	case busy:
		c.unsent = 1
	case unclear:
		c.lastRecv = quiet
	}
	return c
}

func TestNothingToDrain(t *testing.T) {
	t.Parallel()
	s := stage{looks: []sight{live(0)}}
	r := s.drain(DrainOptions{})
	if r.Took != 20*time.Millisecond || r.Text() != "drained in 20ms" || len(s.waits) != 1 {
		t.Errorf("report %+v, text %q after waits %v", r, r.Text(), s.waits)
	}
}

func TestDrainWaitsForEveryStation(t *testing.T) {
	t.Parallel()
	half, other := conn(1, halfOpen, 0), conn(2, halfOpen, 0)
	accepted := conn(1, busy, 0)
	s := stage{looks: []sight{
		live(0, half), live(0, half, other), // begun later: another instance's
		live(0, conn(1, queued, 0), other), // finished after the queue was read
		live(1, conn(1, queued, 0), other),
		live(0, accepted), live(0, conn(1, idle, 8)), live(0, conn(1, idle, 1990)), live(0, conn(1, idle, 2010)),
		live(0),
	}}
	r := s.drain(DrainOptions{})
	want := DrainReport{Took: 8 * 20 * time.Millisecond, Closed: 1}
	if r != want || !slices.Equal(s.hung, []uint64{1}) {
		t.Errorf("report %+v, want %+v; hung up %v", r, want, s.hung)
	}
}

func TestHandshakeAcceptedBetweenTheParts(t *testing.T) {
	t.Parallel()
	// Half open when the queue was read, in nobody's hands when /proc was, accepted
	// when the connections were: the look must not count as a calm one.
	lost := live(0, conn(1, busy, 0))
	clear(lost.sockets)
	s := stage{looks: []sight{live(0, conn(1, halfOpen, 0)), lost, live(0)}}
	if r := s.drain(DrainOptions{}); r.Took != 60*time.Millisecond || r.Cut != 0 {
		t.Errorf("report %+v, want a third and a fourth look", r)
	}
}

func TestDrainIsNotEndedByOneCalmLook(t *testing.T) {
	t.Parallel()
	s := stage{looks: []sight{live(0), live(0, conn(1, busy, 0)), live(0)}}
	if r := s.drain(DrainOptions{}); r.Took != 60*time.Millisecond {
		t.Errorf("took %v, want two calm looks in a row", r.Took)
	}
}

func TestDrainLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	look := live(0, conn(1, idle, 9000), conn(2, busy, 0), conn(3, queued, 0))
	clear(look.sockets)
	s := stage{looks: []sight{look}}
	if r := s.drain(DrainOptions{}); r != (DrainReport{Took: 20 * time.Millisecond}) || s.hung != nil {
		t.Errorf("report %+v, hung up %v", r, s.hung)
	}
}

func TestDrainEndsAtTheTimeout(t *testing.T) {
	t.Parallel()
	s := stage{cost: 100 * time.Millisecond, looks: []sight{
		live(2, conn(1, halfOpen, 0), conn(2, busy, 50), conn(3, idle, 50), conn(4, unclear, 3000), conn(5, idle, 2500))}}
	r := s.drain(DrainOptions{Timeout: 3 * time.Second})
	if r.Cut != 4 || r.Waiting != 1 || r.Took < 3*time.Second || r.Took > 3100*time.Millisecond {
		t.Errorf("report %+v", r)
	}
	if s.waits[0] != 500*time.Millisecond {
		t.Errorf("first wait %v, want 5 times the cost of the look", s.waits[0])
	}
	for _, part := range []string{"draining ended after 3.", "4 requests cut", "1 kept connection left to end", "1 request of these had not finished"} {
		if !strings.Contains(r.Text(), part) {
			t.Errorf("%q isn't in %q", part, r.Text())
		}
	}
}

func TestDrainSaysWhatMayHaveBeenCut(t *testing.T) {
	t.Parallel()
	s := stage{looks: []sight{live(0, conn(4, unclear, 100))}}
	r := s.drain(DrainOptions{Timeout: time.Second})
	if want := "draining ended after 1s: 1 kept connection left to end with the program; 1 kept connection may have had a request in flight"; r.Text() != want {
		t.Errorf("text %q, want %q", r.Text(), want)
	}
}

func TestDrainEndsWithTheProcessAndWithItsContext(t *testing.T) {
	t.Parallel()
	gone := live(3, conn(1, halfOpen, 0)) // begun later: not ours
	gone.alive = false
	s := stage{looks: []sight{live(3), gone}}
	if r := s.drain(DrainOptions{}); r.Cut != 3 || r.Took != 20*time.Millisecond || !strings.Contains(r.Note, "ended by itself") {
		t.Errorf("report %+v", r)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s = stage{looks: []sight{live(0, conn(1, busy, 0), conn(2, idle, 3000))}, ctx: ctx}
	if r := s.drain(DrainOptions{}); r.Cut != 1 || r.Waiting != 1 || s.hung != nil || !strings.Contains(r.Note, "broken off") {
		t.Errorf("report %+v, hung up %v", r, s.hung)
	}
}

func TestHangingUpIsRefused(t *testing.T) {
	t.Parallel()
	s := stage{hang: func(connection) error { return unix.EPERM }, looks: []sight{
		live(0, conn(1, idle, 3000), conn(2, idle, 3000), conn(3, idle, 100)),
		live(0, conn(1, idle, 3000), conn(2, idle, 3000), conn(3, idle, 2100)),
	}}
	r := s.drain(DrainOptions{})
	if r.Closed != 0 || r.Waiting != 3 || r.Took != 40*time.Millisecond || !strings.Contains(r.Note, "operation not permitted") {
		t.Errorf("report %+v", r)
	}
	if len(s.hung) != 3 { // one a look: the others would be refused, too
		t.Errorf("tried %v", s.hung)
	}
}

func TestHiddenDescriptors(t *testing.T) {
	t.Parallel()
	hidden := func(cs ...connection) sight {
		s := live(0, cs...)
		clear(s.sockets)
		s.hidden = unix.EACCES
		return s
	}
	s := stage{looks: []sight{
		hidden(conn(1, busy, 0), conn(9, queued, 0)),
		hidden(conn(1, idle, 2000), conn(2, busy, 0), conn(9, busy, 0)), // 2 has come since: another's
		hidden(conn(1, idle, 2000), conn(2, busy, 0), conn(9, idle, 4000)),
	}}
	r := s.drain(DrainOptions{})
	if r.Took != 60*time.Millisecond || r.Waiting != 2 || s.hung != nil || !strings.Contains(r.Note, "permission denied") {
		t.Errorf("report %+v, hung up %v", r, s.hung)
	}
}

func TestBlindDrainWaitsToTheEnd(t *testing.T) {
	t.Parallel()
	look := live(0)
	look.blind, look.troubles = true, []error{fmt.Errorf("no sock_diag")}
	s := stage{looks: []sight{look}}
	if r := s.drain(DrainOptions{Timeout: time.Second}); r.Took != time.Second || !strings.Contains(r.Note, "no sock_diag") {
		t.Errorf("report %+v", r)
	}
}

func TestConnectionMovesWhenItIsHungUp(t *testing.T) {
	t.Parallel()
	for _, err := range []error{errMoved, errGone} {
		s := stage{hang: func(connection) error { return err }, looks: []sight{live(0, conn(1, idle, 3000)), live(0)}}
		if r := s.drain(DrainOptions{}); r != (DrainReport{Took: 40 * time.Millisecond}) {
			t.Errorf("%v: report %+v", err, r)
		}
	}
	s := stage{hang: func(connection) error { return fmt.Errorf("x: %w", errLate) }, looks: []sight{live(0, conn(1, unclear, 5000)), live(0)}}
	if r := s.drain(DrainOptions{}); r.Cut != 1 || r.Closed != 0 {
		t.Errorf("late request: report %+v", r)
	}
}

func TestDrainOfClientsThatAreNeverQuietForLong(t *testing.T) {
	t.Parallel()
	// Between two requests there are 150 ms at most.
	var looks []sight
	for i := range uint32(1000) {
		looks = append(looks, live(0, conn(1, idle, i%8*20), conn(2, unclear, i%8*20)))
	}
	s := stage{looks: looks}
	var at time.Time
	s.hang = func(connection) error {
		at = s.at
		for i := range looks {
			looks[i] = live(0, conn(2, unclear, 20))
		}
		return nil
	}
	r := s.drain(DrainOptions{Timeout: 4 * time.Second})
	if last := at.Sub(time.Time{}); last < 2400*time.Millisecond {
		t.Errorf("hung up after %v, before the last stretch", last)
	}
	if r.Closed != 1 || r.Cut != 0 || r.Waiting != 1 || r.Took != 4*time.Second || !slices.Equal(s.hung, []uint64{1}) {
		t.Errorf("report %+v, hung up %v", r, s.hung)
	}
}

// TestDrainOfRequestsOnly: what is kept for a next request is left to the end of the program.
func TestDrainOfRequestsOnly(t *testing.T) {
	t.Parallel()
	s := stage{looks: []sight{
		live(1, conn(1, busy, 0), conn(2, unclear, 9000), conn(3, idle, 9000)),
		live(0, conn(1, busy, 0), conn(2, unclear, 9000), conn(3, idle, 9000)),
		live(0, conn(1, idle, 0), conn(2, unclear, 9000), conn(3, idle, 9000)),
	}}
	if r := s.drain(DrainOptions{Kept: true}); r != (DrainReport{Took: 60 * time.Millisecond, Waiting: 3, Note: "1 kept connection may have had a request in flight"}) || s.hung != nil {
		t.Errorf("report %+v, hung up %v", r, s.hung)
	}
	s = stage{looks: []sight{live(0, conn(1, busy, 0))}}
	if r := s.drain(DrainOptions{Kept: true, Timeout: time.Second}); r.Cut != 1 || r.Took != time.Second {
		t.Errorf("report %+v", r)
	}
}

func TestDrainOfTheQueueOnly(t *testing.T) {
	t.Parallel()
	s := stage{looks: []sight{
		live(1, conn(1, halfOpen, 0), conn(2, busy, 0), conn(3, idle, 9000)),
		live(1, conn(2, busy, 0), conn(3, idle, 9000)),
		live(0, conn(2, busy, 0), conn(3, idle, 9000)),
	}}
	if r := s.drain(DrainOptions{Accepted: true}); r != (DrainReport{Took: 60 * time.Millisecond}) || s.hung != nil {
		t.Errorf("report %+v, hung up %v", r, s.hung)
	}
	s = stage{looks: []sight{live(2, conn(2, busy, 0))}}
	if r := s.drain(DrainOptions{Accepted: true, Timeout: time.Second}); r.Cut != 2 || r.Waiting != 0 {
		t.Errorf("report %+v", r)
	}
}
