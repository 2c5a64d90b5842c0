package cluster

import (
	"fmt"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestAloofSpareIsNotReached: with no active one on this machine, who connects isn't
// answered by a spare; who taps it is; and when it is active, who has tried again is, too.
func TestAloofSpareIsNotReached(t *testing.T) {
	for _, at := range []string{"127.0.0.1:%d", "[::1]:%d"} {
		s := newScene(t)
		at = fmt.Sprintf(at, freePort(t))
		aloof := toldApp()
		aloof.Aloof = true
		a := start(t, s.Open(aloof, 0), 1, "listen", at, "accept", "serve")
		b := start(t, s.Open(aloof, 1), 1, "listen", at, "accept", "serve")
		for _, p := range []*program{a, b} {
			p.expect("listen " + at)
			p.expect("serving")
			eventually(t, "it is ready for the place", p.isHeld)
		}
		unreached(t, at)
		for _, p := range []*program{a, b} {
			if pid := askFrom(t, p.slot, at); pid != p.pid {
				t.Errorf("%s: %d answers who has tapped %d", at, pid, p.pid)
			}
		}
		unreached(t, at)
		a.slot.Activate(1)
		for range 20 {
			if pid := ask(t, at); pid != a.pid {
				t.Errorf("%s: answered by %d, want %d", at, pid, a.pid)
			}
		}
		a.crash()
		c := start(t, a.slot, 2, "listen", at, "accept", "serve")
		c.expect("listen")
		for range 5 {
			unreached(t, at)
		}
		b.slot.Activate(1)
		if pid := ask(t, at); pid != b.pid {
			t.Errorf("%s: answered by %d, want %d", at, pid, b.pid)
		}
		plain := toldApp()
		c.slot.Configure(plain)
		b.slot.Configure(plain)
		c.slot.Activate(2)
		eventually(t, "both are reached when the app is none of several machines any more", func() bool {
			return ask(t, at) == c.pid
		})
	}
}

// unreached shows that nobody answers at an address.
func unreached(t *testing.T, at string) {
	t.Helper()
	c, err := net.DialTimeout("tcp", at, 200*time.Millisecond)
	if err != nil {
		return
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(200 * time.Millisecond))
	if n, err := c.Read(make([]byte, 1)); n > 0 || !isTimeout(err) && err != unix.ECONNRESET {
		t.Errorf("%s: answered, or %v", at, err)
	}
}

// TestOnlyFrom: the filter lets through what comes from its ports, over both kinds of IP.
func TestOnlyFrom(t *testing.T) {
	for _, ports := range [][]uint16{nil, {80}, {80, 4000, 80}} {
		p := onlyFrom(ports)
		for _, from := range []uint16{80, 81, 4000} {
			want := uint32(0)
			for _, port := range ports {
				if port == from {
					want = ^uint32(0)
				}
			}
			for _, six := range []bool{false, true} {
				if got := (machine{t: t, packet: packetFromPort(from, six)}).run(p); got != want {
					t.Errorf("%v: from %d, IPv6 %v: %#x, want %#x", ports, from, six, got, want)
				}
			}
		}
	}
}

// packetFromPort is as much of a packet as a filter reads.
func packetFromPort(port uint16, six bool) []byte {
	length, first := 20, byte(0x45)
	if six {
		length, first = 40, 0x60
	}
	p := make([]byte, length+20)
	p[0], p[length], p[length+1] = first, byte(port>>8), byte(port)
	return p
}
