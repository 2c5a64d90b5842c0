package cluster

import (
	"testing"
	"time"
)

func TestPhaseInTheLightOfEarlierLooks(t *testing.T) {
	t.Parallel()
	// One look after the other: bytes received and sent, bare packets, and for how long it
	// has been quiet; unclear each time as far as the look alone shows.
	type look struct{ received, sent, bare, quiet uint32 }
	for _, test := range []struct {
		name  string
		looks []look
		want  phase
	}{
		{"seen once", []look{{80, 200, 3, 900}}, unclear},
		{"nothing has happened since", []look{{80, 200, 3, 880}, {80, 200, 3, 900}}, unclear},
		{"answered, and acknowledged by that", []look{{80, 200, 3, 880}, {160, 400, 3, 10}, {160, 400, 3, 250}}, idle},
		{"the acknowledgement may be due", []look{{80, 200, 3, 880}, {160, 400, 3, 10}, {160, 400, 3, 249}}, unclear},
		{"acknowledged by itself at once", []look{{80, 200, 3, 880}, {160, 400, 4, 10}, {160, 400, 4, 900}}, unclear},
		{"acknowledged by itself later", []look{{80, 200, 3, 880}, {160, 400, 3, 10}, {160, 400, 4, 900}}, unclear},
		{"and then answered", []look{{80, 200, 3, 880}, {160, 400, 4, 10}, {240, 600, 4, 300}}, idle},
	} {
		var h history
		for i, l := range test.looks {
			h = h.next(connection{state: established, cookie: 1, inode: 7, received: uint64(l.received), sent: uint64(l.sent),
				bare: l.bare, lastSent: l.quiet, lastRecv: l.quiet, lastAck: l.quiet}, i == 0)
		}
		if got := h.phase(); got != test.want {
			t.Errorf("%s: phase %d, want %d", test.name, got, test.want)
		}
	}
}

func TestServersThatSpeakUnasked(t *testing.T) {
	t.Parallel()
	at := func(received, sent uint64, quiet uint32) connection {
		return connection{state: established, cookie: 1, inode: 7, received: received, sent: sent, lastSent: quiet, lastRecv: quiet + 8, lastAck: quiet}
	}
	for _, test := range []struct {
		name   string
		before connection
		now    connection
		want   bool // may be ended after a short pause in the last stretch
	}{
		{"an answer after a request", at(80, 200, 60), at(160, 400, 120), true},
		{"an answer in pieces", at(80, 200, 49), at(80, 400, 120), true},
		{"more after a pause", at(80, 200, 50), at(80, 400, 120), false},
	} {
		h := history{}.next(test.before, true).next(test.now, false)
		if got := (DrainOptions{}).withDefaults().ripe(h, time.Second); got != test.want {
			t.Errorf("%s: ripe %v, want %v", test.name, got, test.want)
		}
		h.last.lastSent, h.last.lastRecv = 2000, 2008
		if !(DrainOptions{}).withDefaults().ripe(h, time.Second) {
			t.Errorf("%s: not ripe after the whole idle time", test.name)
		}
	}
}
