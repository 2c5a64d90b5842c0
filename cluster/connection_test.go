package cluster

import (
	"testing"
	"time"
)

func TestPhaseOfAConnection(t *testing.T) {
	t.Parallel()
	answered := connection{state: established, inode: 7, received: 80, sent: 200, lastRecv: 900, lastSent: 890, lastAck: 850}
	with := func(change func(*connection)) connection {
		c := answered
		change(&c)
		return c
	}
	for _, test := range []struct {
		name string
		c    connection
		want phase
	}{
		{"half open", connection{state: synRecv}, halfOpen},
		{"not accepted", connection{state: established, received: 10, unread: 10}, queued},
		{"answered and acknowledged", answered, idle},
		{"a request that wasn't read", with(func(c *connection) { c.unread = 5 }), busy},
		{"an answer on its way", with(func(c *connection) { c.unsent = 5 }), busy},
		{"the first request, no answer", with(func(c *connection) { c.sent = 0 }), busy},
		{"a later request, no answer", with(func(c *connection) { c.lastRecv = 100 }), busy},
		{"a tie", with(func(c *connection) { c.lastRecv, c.lastSent, c.lastAck = 900, 900, 900 }), unclear},
		{"a tie, but acknowledged later", with(func(c *connection) { c.lastRecv, c.lastSent, c.lastAck = 900, 900, 896 }), idle},
		{"nothing was ever sent", connection{state: established, inode: 7}, idle},
		{"the server speaks first", connection{state: established, inode: 7, sent: 30, lastSent: 50, lastRecv: 60}, idle},
		{"the client closed without a word, nobody looked", connection{state: closeWait, inode: 7, received: 1, unread: 1}, idle},
		{"the client closed after the answer, nobody looked", with(func(c *connection) { c.state, c.unread = closeWait, 1 }), idle},
		{"the client closed behind a request", with(func(c *connection) { c.state, c.unread = closeWait, 2 }), busy},
		{"the client closed and waits for its answer", with(func(c *connection) { c.state, c.lastRecv = closeWait, 100 }), busy},
	} {
		if got := test.c.phase(); got != test.want {
			t.Errorf("%s: phase %d, want %d", test.name, got, test.want)
		}
	}
}

func TestRipeConnections(t *testing.T) {
	t.Parallel()
	calm := func(ms uint32) connection {
		return connection{state: established, inode: 7, received: 1, sent: 1, lastRecv: ms + 40, lastSent: ms}
	}
	tie := func(ms uint32) connection {
		return connection{state: established, inode: 7, received: 1, sent: 1, lastRecv: ms, lastSent: ms, lastAck: ms}
	}
	seconds := func(timeout, idle time.Duration) DrainOptions {
		return DrainOptions{Timeout: timeout * time.Second, Idle: idle * time.Second}.withDefaults()
	}
	for _, test := range []struct {
		name string
		o    DrainOptions
		left time.Duration
		c    connection
		want bool
	}{
		{"too young", seconds(0, 0), 5 * time.Second, calm(1999), false},
		{"old enough", seconds(0, 0), 5 * time.Second, calm(2000), true},
		{"unclear, too young", seconds(0, 0), 5 * time.Second, tie(3999), false},
		{"unclear, old enough", seconds(0, 0), 5 * time.Second, tie(4000), true},
		{"unclear, a longer idle", seconds(0, 3), 5 * time.Second, tie(5999), false},
		{"unclear, never longer than the timeout", seconds(3, 2), 5 * time.Second, tie(3000), true},
		{"unclear, but never shorter than idle", seconds(1, 2), 5 * time.Second, tie(1999), false},
		{"the last stretch, a pause", seconds(0, 0), time.Second, calm(100), true},
		{"the last stretch, no pause", seconds(0, 0), time.Second, calm(99), false},
		{"the last stretch, a short idle", DrainOptions{Idle: 20 * time.Millisecond}.withDefaults(), 0, calm(20), true},
		{"before the last stretch", seconds(0, 0), 4001 * time.Millisecond, calm(1999), false},
		{"before the last stretch of a short time", seconds(2, 2), 801 * time.Millisecond, calm(300), false},
		{"the last stretch of a short time", seconds(2, 2), 800 * time.Millisecond, calm(300), true},
		{"the last stretch, unclear", seconds(0, 0), 0, tie(3999), false},
		{"busy for ever", seconds(0, 0), 5 * time.Second, connection{state: established, inode: 7, received: 1, lastRecv: 90000, lastSent: 90000}, false},
		{"queued for ever", seconds(0, 0), 5 * time.Second, connection{state: established, received: 1, lastRecv: 90000, lastSent: 90000}, false},
	} {
		if got := test.o.ripe(history{}.next(test.c, true), test.left); got != test.want {
			t.Errorf("%s: ripe %v, want %v", test.name, got, test.want)
		}
	}
}
