package cluster

import "time"

// A connection as the kernel shows it to anybody.
type connection struct {
	state          byte
	port           uint16   // ours
	ends           [36]byte // the ports and addresses of both, the same from the first packet on
	cookie         uint64   // of the socket: no other ever has it
	inode          uint32   // 0: half open, or not accepted yet
	unread, unsent uint32   // bytes in the kernel's queues; unsent: or not acknowledged
	lastSent       uint32   // milliseconds ago, in steps of a jiffy
	lastRecv       uint32
	lastAck        uint32 // any packet from the client
	sent, received uint64 // bytes
	only           bool   // of a listening socket: IPV6_V6ONLY
	bare           uint32 // packets without data that we have sent
}

// States of a connection, by the kernel's numbers.
const (
	established = 1
	synRecv     = 3
	closeWait   = 8
)

// phase is how far a connection is, seen from outside.
type phase byte

const (
	halfOpen phase = iota // the handshake isn't over: in no queue yet
	queued                // not accepted yet
	busy                  // somebody owes somebody bytes
	unclear               // idle, or a request is being worked on: not to be seen
	idle
)

// phase finds it out. A request that was read and not answered shows only in the
// order of the last bytes: theirs are younger than ours. But ages come in jiffies
// (4 ms), so with clients on the same host the order is often not to be seen; then a
// bare acknowledgement after the last request proves that it was answered. A client
// that has sent nothing waits for nothing. All this is about protocols where one
// side speaks at a time.
func (c connection) phase() phase {
	received, unread := c.received, c.unread
	if c.state == closeWait { // the end that the client has sent is counted as a byte
		received, unread = received-min(received, 1), unread-min(unread, 1)
	}
	switch {
	case c.state == synRecv:
		return halfOpen
	case c.inode == 0:
		return queued
	case unread > 0, c.unsent > 0:
		return busy
	case received == 0:
		return idle
	case c.sent == 0, c.lastRecv < c.lastSent:
		return busy
	case c.lastRecv == c.lastSent && c.lastAck >= c.lastRecv:
		return unclear
	}
	return idle
}

// quiet is how long no data has gone either way.
func (c connection) quiet() time.Duration {
	return time.Duration(min(c.lastSent, c.lastRecv)) * time.Millisecond
}
