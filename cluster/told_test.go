package cluster

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

func toldApp() App {
	a := app("flows")
	a.Told = true
	return a
}

// twoTold are two instances that run and listen, none of them active.
func twoTold(t *testing.T, s *scene, at string) (a, b *program) {
	t.Helper()
	a = start(t, s.Open(toldApp(), 0), 1, "listen", at, "accept", "serve")
	b = start(t, s.Open(toldApp(), 1), 1, "listen", at, "accept", "serve")
	for _, p := range []*program{a, b} {
		p.expect("listen " + at)
		p.expect("serving")
		eventually(t, "it is ready for the place", p.isHeld)
	}
	return a, b
}

// askFrom connects from a port of its own choice that tap is told of before.
func askFrom(t *testing.T, slot *Slot, at string) int {
	t.Helper()
	pid, err := tapAndAsk(slot, at)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func tapAndAsk(slot *Slot, at string) (pid int, err error) {
	port, untap := 0, func() {}
	d := net.Dialer{Timeout: 10 * time.Second, Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		return errors.Join(c.Control(func(fd uintptr) { port, err = bindAny(int(fd), strings.HasPrefix(at, "[")) }), err, func() error {
			untap = slot.Tap(uint16(port))
			return nil
		}())
	}}
	defer func() { untap() }()
	c, err := d.Dial("tcp", at)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	_, err = fmt.Fscan(c, &pid)
	return pid, err
}

// bindAny gives a socket a port before it connects.
func bindAny(fd int, six bool) (int, error) {
	var to syscall.Sockaddr = &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	if six {
		to = &syscall.SockaddrInet6{Addr: [16]byte{15: 1}}
	}
	if err := syscall.Bind(fd, to); err != nil {
		return 0, err
	}
	return int(boundPort(fd)), nil
}

// TestOneIsActive: all run, one gets the connections, and each can be reached by us.
func TestOneIsActive(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "[::1]"} {
		s := newScene(t)
		at := fmt.Sprintf("%s:%d", host, freePort(t))
		a, b := twoTold(t, s, at)
		if !b.slot.Activate(1) {
			t.Fatal("it can't be active")
		}
		for range 10 {
			if pid := ask(t, at); pid != b.pid {
				t.Fatalf("answered by %d, want the active one, %d", pid, b.pid)
			}
			if pid := askFrom(t, a.slot, at); pid != a.pid {
				t.Fatalf("told %d, want %d", pid, a.pid)
			}
		}
		if a.slot.Activate(2) {
			t.Error("an incarnation that isn't there is active")
		}
	}
}

// TestWaitingForTheNextActiveOne: what connects while nobody is active isn't answered
// by who is not, not even by the successor of the one that was.
func TestWaitingForTheNextActiveOne(t *testing.T) {
	s := newScene(t)
	at := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	a, b := twoTold(t, s, at)
	a.slot.Activate(1)
	a.crash()
	if !a.slot.View().Standby {
		t.Error("it is active though it is dead")
	}
	c := start(t, a.slot, 2, "listen", at, "accept", "serve")
	c.expect("listen")
	answers := make(chan int)
	for range 3 {
		go func() { answers <- ask(t, at) }() // their first packets are not answered
	}
	unreached(t, at)
	b.slot.Activate(1)
	for range 3 {
		if pid := <-answers; pid != b.pid {
			t.Errorf("who had waited is answered by %d, want %d", pid, b.pid)
		}
	}
	if pid := ask(t, at); pid != b.pid {
		t.Errorf("answered by %d, want %d", pid, b.pid)
	}
	if n := len(s.keys(keySocket)); n != 2 {
		t.Errorf("the keeper has %d sockets, want 2: %q", n, s.keys(keySocket))
	}
}

func isTimeout(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}

// TestOneLeaves: the active one keeps what it has, but nobody else gets to it, while it is
// drained and told; its successor is told after its end, and has all who have tried.
func TestOneLeaves(t *testing.T) {
	s := newScene(t)
	at := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	a, b := twoTold(t, s, at)
	a.slot.Activate(1)
	a.slot.Leave()
	unreached(t, at)
	if pid := askFrom(t, a.slot, at); pid != a.pid {
		t.Errorf("told %d, want %d", pid, a.pid)
	}
	unreached(t, at)
	answer := make(chan int)
	go func() { answer <- ask(t, at) }() // its first packet is not answered
	a.slot.Retire()
	unreached(t, at)
	a.crash()
	unreached(t, at)
	b.slot.Activate(1)
	if pid := <-answer; pid != b.pid {
		t.Errorf("who had waited is answered by %d, want %d", pid, b.pid)
	}
}

// TestNobodyIsToBeActive: when all are stopped, who connects is refused.
func TestNobodyIsToBeActive(t *testing.T) {
	s := newScene(t)
	at := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	a, b := twoTold(t, s, at)
	a.slot.Activate(1)
	for _, p := range []*program{a, b} {
		p.kill()
		p.slot.Follow(Condition{Inc: 1, Down: true})
	}
	if _, err := net.Dial("tcp", at); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got %v, want it refused", err)
	}
	if k := s.keys(keySocket); len(k) > 0 {
		t.Errorf("the keeper still has %q", k)
	}
}
