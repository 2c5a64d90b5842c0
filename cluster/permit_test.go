package cluster

import (
	"fmt"
	"net"
	"testing"
)

// TestOnlyWhoIsAllowedIsActive: a spare waits until it is allowed to be active; when that
// has ended, its successor waits again, and nobody listens meanwhile.
func TestOnlyWhoIsAllowedIsActive(t *testing.T) {
	s := newScene(t)
	at := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	of := app("web")
	of.Active, of.Permit = 1, true
	one, two := s.Open(of, 0), s.Open(of, 1)
	a := start(t, one, 1, "listen", at, "accept", "serve")
	eventually(t, "the first waits", a.isHeld)
	b := start(t, two, 1, "listen", at, "accept", "serve")
	eventually(t, "the second waits", b.isHeld)

	s.Allow("web", true)
	eventually(t, "one is active", func() bool { return !one.View().Standby || !two.View().Standby })
	first, second := a, b
	if one.View().Standby {
		first, second = b, a
	}
	eventually(t, "it answers", func() bool { return ask(t, at) == first.pid })
	first.crash() // still allowed: the other takes over
	eventually(t, "the other is active", func() bool { return !second.slot.View().Standby })
	eventually(t, "it answers", func() bool { return ask(t, at) == second.pid })
	third := start(t, first.slot, 2, "listen", at, "accept", "serve")
	eventually(t, "the successor waits", third.isHeld)

	s.Allow("web", false)
	eventually(t, "who was not told to end answers", func() bool { return ask(t, at) == second.pid })
	second.crash()
	if !third.isHeld() || !second.slot.View().Standby {
		t.Error("another is active though none may be")
	}
	if conn, err := net.Dial("tcp", at); err == nil {
		conn.Close()
		t.Error("somebody listens")
	}
	fourth := start(t, second.slot, 2, "listen", at, "accept", "serve")
	eventually(t, "its successor waits", fourth.isHeld)
	s.Allow("web", true)
	eventually(t, "one is active again", func() bool { return !one.View().Standby || !two.View().Standby })
	eventually(t, "who has waited longest answers", func() bool { return ask(t, at) == third.pid })
}
