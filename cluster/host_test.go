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

// TestTwoShareAPort: both answer, and the death of one is not to be noticed.
func TestTwoShareAPort(t *testing.T) {
	s := newScene(t)
	at := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	one, two := s.Open(app("web"), 0), s.Open(app("web"), 1)
	a := start(t, one, 1, "listen", at, "accept", "serve")
	b := start(t, two, 1, "listen", at, "accept", "serve")
	for _, p := range []*program{a, b} {
		p.expect("listen " + at)
		p.expect("serving")
	}
	seen := map[int]int{}
	for range 60 {
		seen[ask(t, at)]++
	}
	if seen[a.pid] == 0 || seen[b.pid] == 0 || seen[a.pid]+seen[b.pid] != 60 {
		t.Fatalf("answers by pid: %v, want both of %d and %d", seen, a.pid, b.pid)
	}
	a.kill()
	one.Follow(Condition{Inc: 2, Alive: true}) // the successor is on its way
	for range 20 {
		if pid := ask(t, at); pid != b.pid {
			t.Fatalf("answered by %d, want %d", pid, b.pid)
		}
	}
	c := start(t, one, 2, "listen", at, "accept", "serve")
	c.expect("listen " + at)
	eventually(t, "the successor answers", func() bool { return ask(t, at) == c.pid })
	if v := one.View(); !v.Ready || v.Inc != 2 || len(v.Addresses) != 1 || v.Addresses[0] != at {
		t.Errorf("its view is %+v", v)
	}
	if n := len(s.keys(keySocket)); n != 2 {
		t.Errorf("the keeper has %d sockets, want 2: %q", n, s.keys(keySocket))
	}
}

// TestQueueWaitsForTheSuccessor: with one instance a connection waits.
func TestQueueWaitsForTheSuccessor(t *testing.T) {
	s := newScene(t)
	at := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	slot := s.Open(app("web"), 0)
	a := start(t, slot, 1, "listen", at, "accept", "serve")
	a.expect("listen")
	a.kill()
	slot.Follow(Condition{Inc: 1, Wait: time.Second})
	answer := make(chan int)
	go func() { answer <- ask(t, at) }()
	b := start(t, slot, 2, "listen", at, "accept", "serve")
	b.expect("listen")
	if pid := <-answer; pid != b.pid {
		t.Errorf("answered by %d, want the successor %d", pid, b.pid)
	}
}

// TestStoppedIsRefused: nobody is due, so nobody is made to wait.
func TestStoppedIsRefused(t *testing.T) {
	for name, c := range map[string]Condition{
		"stopped":          {Inc: 1, Down: true},
		"a longer backoff": {Inc: 1, Wait: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			at := fmt.Sprintf("127.0.0.1:%d", freePort(t))
			slot := s.Open(app("web"), 0)
			a := start(t, slot, 1, "listen", at, "serve")
			a.expect("listen")
			a.kill()
			slot.Follow(c)
			if _, err := net.Dial("tcp", at); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("got %v, want it refused", err)
			}
			if k := s.keys("c/s"); len(k) > 0 {
				t.Errorf("the keeper still has %q", k)
			}
			b := start(t, slot, 2, "listen", at, "accept", "serve")
			b.expect("listen")
			if pid := ask(t, at); pid != b.pid {
				t.Errorf("started again, it is answered by %d, want %d", pid, b.pid)
			}
		})
	}
}

// TestHoldEnds: a successor that doesn't come is not waited for without end.
func TestHoldEnds(t *testing.T) {
	s := newScene(t)
	at := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	web := app("web")
	web.Hold = 50 * time.Millisecond
	slot := s.Open(web, 0)
	a := start(t, slot, 1, "listen", at, "serve")
	a.expect("listen")
	a.kill()
	slot.Follow(Condition{Inc: 2, Alive: true})
	eventually(t, "it is refused", func() bool {
		_, err := net.Dial("tcp", at)
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	if !strings.Contains(s.log(), "web:0: nobody has listened again within 50ms") {
		t.Errorf("the log says %q", s.log())
	}
}

// TestASecondBindOfOneProgram gets what it would get without us.
func TestASecondBindOfOneProgram(t *testing.T) {
	s := newScene(t)
	at := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	a := start(t, s.Open(app("web"), 0), 1, "bind", at, "listen", at, "listen", at, "serve")
	a.expect("bind " + at)
	a.expect("listen " + at)
	a.expect("address already in use")
}

// TestForeignAndOtherApps: a port that somebody else has is not to be had.
func TestForeignAndOtherApps(t *testing.T) {
	s := newScene(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a := start(t, s.Open(app("web"), 0), 1, "listen", l.Addr().String(), "serve")
	a.expect("address already in use")

	port := freePort(t)
	b := start(t, s.Open(app("shop"), 0), 1, "listen", fmt.Sprintf("127.0.0.1:%d", port), "serve")
	b.expect("listen")
	c := start(t, s.Open(app("api"), 0), 1, "listen", fmt.Sprintf(":%d", port), "serve")
	c.expect("address already in use")
	if !strings.Contains(s.log(), "the app shop's") {
		t.Errorf("the log says %q", s.log())
	}
}

// TestPortZero: each instance has a port of its own, and nothing is kept.
func TestPortZero(t *testing.T) {
	s := newScene(t)
	slot := s.Open(app("web"), 0)
	a := start(t, slot, 1, "listen", "127.0.0.1:0", "serve")
	a.expect("listen 127.0.0.1:")
	if v := slot.View(); !v.Ready || v.Addresses != nil {
		t.Errorf("its view is %+v", v)
	}
}

// TestOnlyClusterPorts: another port is the program's own.
func TestOnlyClusterPorts(t *testing.T) {
	s := newScene(t)
	port := freePort(t)
	web := app("web")
	web.Ports = []int{1}
	a := start(t, s.Open(web, 0), 1, "listen", fmt.Sprintf("127.0.0.1:%d", port), "serve")
	a.expect("listen")
	b := start(t, s.Open(web, 1), 1, "listen", fmt.Sprintf("127.0.0.1:%d", port), "serve")
	b.expect("address already in use")
}

// TestSuccessorWithAnotherPort: what nobody asks for any more is closed.
func TestSuccessorWithAnotherPort(t *testing.T) {
	s := newScene(t)
	old, now := fmt.Sprintf("127.0.0.1:%d", freePort(t)), fmt.Sprintf("[::1]:%d", freePort(t))
	slot := s.Open(app("web"), 0)
	a := start(t, slot, 1, "listen", old, "serve")
	a.expect("listen")
	a.kill()
	b := start(t, slot, 2, "listen", now, "accept", "serve")
	b.expect("listen")
	slot.Follow(Condition{Inc: 2, Alive: true, Settled: true})
	if _, err := net.Dial("tcp", old); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the old port: %v, want it refused", err)
	}
	if pid := ask(t, now); pid != b.pid {
		t.Errorf("answered by %d, want %d", pid, b.pid)
	}
}

// TestUnmodifiedPython: no program of ours.
func TestUnmodifiedPython(t *testing.T) {
	s := newScene(t)
	port := freePort(t)
	argv := []string{have(t, "python3"), "-m", "http.server", "--bind", "127.0.0.1", fmt.Sprint(port), "--directory", t.TempDir()}
	one, two := s.Open(app("py"), 0), s.Open(app("py"), 1)
	startProgram(t, one, 1, argv)
	startProgram(t, two, 1, argv)
	for _, slot := range []*Slot{one, two} {
		eventually(t, "it listens", func() bool { return slot.View().Ready })
	}
}

func TestOverlaps(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"0.0.0.0:80", "127.0.0.1:80", true},
		{"0.0.0.0:80", "127.0.0.1:81", false},
		{"127.0.0.2:80", "127.0.0.1:80", false},
		{"[::]:80", "127.0.0.1:80", true},
		{"[::]:80/only", "127.0.0.1:80", false},
		{"[::]:80/only", "0.0.0.0:80", false},
		{"[::]:80", "0.0.0.0:80", true},
		{"[::1]:80", "0.0.0.0:80", false},
		{"[::1]:80", "[::]:80/only", true},
		{"[::1]:80", "[::1]:80", true},
		{"[::ffff:127.0.0.1]:80", "127.0.0.1:80", true},
		{"[::ffff:127.0.0.1]:80", "127.0.0.2:80", false},
		{"[::ffff:127.0.0.1]:80", "0.0.0.0:80", true},
		{"[::ffff:127.0.0.1]:80", "[::]:80", true},
		{"[::ffff:127.0.0.1]:80", "[::]:80/only", false},
	} {
		a, err := parseKey(c.a)
		if err != nil {
			t.Fatal(err)
		}
		b, err := parseKey(c.b)
		if err != nil {
			t.Fatal(err)
		}
		if a.overlaps(b) != c.want || b.overlaps(a) != c.want {
			t.Errorf("%s and %s: %v, want %v", c.a, c.b, !c.want, c.want)
		}
		if a.key() != c.a {
			t.Errorf("the key of %s is %s", c.a, a.key())
		}
	}
}
