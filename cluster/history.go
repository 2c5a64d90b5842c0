package cluster

import "time"

// history is what earlier looks of a draining have shown of a connection.
type history struct {
	last    connection
	before  uint32 // its bare packets at the look before its last bytes came in
	known   bool   // before is
	unasked bool   // it was quiet for a while, and then the server spoke: streams, websockets
	early   bool   // it was there at the first look
}

// next is the history with one more look.
func (h history) next(c connection, first bool) history {
	const while = 50 * time.Millisecond
	if h.last.cookie == 0 {
		return history{last: c, early: first}
	}
	if c.received != h.last.received {
		h.before, h.known = h.last.bare, true
	} else if c.sent != h.last.sent && h.last.phase() == idle && h.last.quiet() >= while {
		h.unasked = true
	}
	h.last = c
	return h
}

// phase is what the last look showed, in the light of earlier ones. The kernel has to
// acknowledge what comes in within 200 ms. If it has sent no packet without data since
// before the last request, the acknowledgement was in an answer.
func (h history) phase() phase {
	const acknowledged = 250 * time.Millisecond
	p := h.last.phase()
	if p == unclear && h.known && h.last.bare == h.before && h.last.quiet() >= acknowledged {
		return idle
	}
	return p
}
