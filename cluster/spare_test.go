package cluster

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// spared is an app of which one instance is active at a time.
func spared() App {
	a := app("web")
	a.Active = 1
	return a
}

func (p *program) isHeld() bool { return p.slot.View().Held }

// restart has a slot's process end by a crash, and its successor due at once.
func (p *program) crash() {
	p.kill()
	p.slot.Follow(Condition{Inc: p.inc, Wait: time.Millisecond})
}

// TestASpareTakesOver: it has waited in its bind, and answers with the dead one's
// socket and what waits in it; the dead one's successor is the spare.
func TestASpareTakesOver(t *testing.T) {
	s := newScene(t)
	at := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	one, two := s.Open(spared(), 0), s.Open(spared(), 1)
	b := start(t, two, 7, "listen", at, "accept", "serve") // booted first; it is number 1 all the same
	eventually(t, "the spare waits", b.isHeld)
	a := start(t, one, 7, "listen", at, "serve") // what connects waits in its queue
	a.expect("listen " + at)
	if v := two.View(); v.Ready || v.Addresses != nil || one.View().Held {
		t.Errorf("the spare's view is %+v, the active's %+v", v, one.View())
	}
	waiting, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.Close()
	a.crash()
	b.expect("listen " + at)
	text, err := io.ReadAll(waiting)
	if err != nil || strings.TrimSpace(string(text)) != fmt.Sprint(b.pid) {
		t.Errorf("the connection that waited was answered %q, %v, want %d", text, err, b.pid)
	}
	c := start(t, one, 8, "listen", at, "accept", "serve")
	eventually(t, "the dead one's successor waits", c.isHeld)
	if pid := ask(t, at); pid != b.pid {
		t.Errorf("answered by %d, want %d", pid, b.pid)
	}
	eventually(t, "the keeper's keys are those of the new owner", func() bool {
		k := s.keys(keySocket)
		return len(k) == 1 && k[0] == keySocket+two.sockets[0].key()
	})
	b.crash() // and back again
	c.expect("listen " + at)
	if pid := ask(t, at); pid != c.pid {
		t.Errorf("answered by %d, want %d", pid, c.pid)
	}
}

// TestOneSpareForTwoDead: it takes one place, and the other waits for its own successor.
func TestOneSpareForTwoDead(t *testing.T) {
	s := newScene(t)
	at := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	web := app("web")
	web.Active = 2
	var all []*program
	for i := range 3 {
		p := start(t, s.Open(web, i), 1, "listen", at, "accept", "serve")
		if i < web.Active {
			p.expect("listen")
		}
		all = append(all, p)
	}
	spare := all[2]
	eventually(t, "the spare waits", spare.isHeld)
	all[0].kill()
	all[1].kill()
	for _, p := range all[:2] {
		p.slot.Follow(Condition{Inc: 1, Wait: time.Millisecond})
	}
	spare.expect("listen")
	if n := len(spare.slot.View().Addresses); n != 1 || !all[0].slot.View().Standby || all[1].slot.View().Standby {
		t.Errorf("it has %d sockets; views: %+v, %+v", n, all[0].slot.View(), all[1].slot.View())
	}
	for range 20 {
		if pid := ask(t, at); pid != spare.pid {
			t.Fatalf("answered by %d, want %d", pid, spare.pid)
		}
	}
	b := start(t, all[1].slot, 2, "listen", at, "accept", "serve")
	b.expect("listen")
	c := start(t, all[0].slot, 2, "listen", at, "serve")
	eventually(t, "the other one waits", c.isHeld)
}

// TestASpareThatDies is never promoted; its successor is.
func TestASpareThatDies(t *testing.T) {
	s := newScene(t)
	at := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	one, two := s.Open(spared(), 0), s.Open(spared(), 1)
	a := start(t, one, 1, "listen", at, "serve")
	a.expect("listen")
	b := start(t, two, 1, "listen", at, "serve")
	eventually(t, "the spare waits", b.isHeld)
	b.kill() // nobody has told so yet
	eventually(t, "its calls are gone", func() bool { return len(s.keys(keyTenant)) == 1 })
	a.crash()
	if two.View().Ready || len(one.View().Addresses) != 1 {
		t.Fatalf("views: %+v, %+v, want the place to be where it was", one.View(), two.View())
	}
	two.Follow(Condition{Inc: 1, Wait: time.Millisecond})
	c := start(t, two, 2, "listen", at, "accept", "serve")
	c.expect("listen " + at) // it is ready before the dead one's successor
	d := start(t, one, 2, "listen", at, "accept", "serve")
	eventually(t, "the dead one's successor waits", d.isHeld)
	if pid := ask(t, at); pid != c.pid {
		t.Errorf("answered by %d, want %d", pid, c.pid)
	}
}

// TestWhoIsReadyFirst: without a spare that waits, the dead one's successor has its place.
func TestWhoIsReadyFirst(t *testing.T) {
	s := newScene(t)
	at := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	one, two := s.Open(spared(), 0), s.Open(spared(), 1)
	a := start(t, one, 1, "listen", at, "serve")
	a.expect("listen")
	a.crash()
	b := start(t, one, 2, "listen", at, "accept", "serve")
	b.expect("listen")
	c := start(t, two, 1, "listen", at, "serve")
	eventually(t, "the spare waits", c.isHeld)
	if pid := ask(t, at); pid != b.pid {
		t.Errorf("answered by %d, want %d", pid, b.pid)
	}
}

// TestASpareIsStopped: it ends by its own handler although it sat in a call, and tells
// nobody that it listens.
func TestASpareIsStopped(t *testing.T) {
	s := newScene(t)
	at := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	one, two := s.Open(spared(), 0), s.Open(spared(), 1)
	a := start(t, one, 1, "listen", at, "accept", "serve")
	a.expect("listen")
	b := startProgram(t, two, 1, []string{have(t, "python3"), "-c", `
import signal, socket, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
s = socket.socket()
s.bind(("127.0.0.1", int(sys.argv[1])))
s.listen()
signal.pause()`, at[strings.Index(at, ":")+1:]})
	eventually(t, "the spare waits", b.isHeld)
	_ = syscall.Kill(b.pid, syscall.SIGTERM)
	two.Follow(Condition{Inc: 1, Alive: true, Ending: true})
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(b.pid, &status, 0, nil); err != nil || status.ExitStatus() != 3 {
		t.Errorf("it ended with %v, %v, want its handler's 3", status, err)
	}
	b.ended = true
	c := start(t, two, 2, "listen", at, "serve")
	eventually(t, "the next spare waits", c.isHeld)
	two.Follow(Condition{Inc: 2, Alive: true, Ending: true})
	c.expect("listen 127.0.0.1:")
	c.expect("serving")
	if two.View().Ready {
		t.Error("it counts as listening")
	}
	if pid := ask(t, at); pid != a.pid {
		t.Errorf("answered by %d, want %d", pid, a.pid)
	}
}

// TestAnotherPlace: when more are to be active, or one is retired, a spare is.
func TestAnotherPlace(t *testing.T) {
	s := newScene(t)
	at := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	slots := []*Slot{s.Open(spared(), 0), s.Open(spared(), 1), s.Open(spared(), 2)}
	a := start(t, slots[0], 1, "listen", at, "accept", "serve")
	a.expect("listen")
	b := start(t, slots[1], 1, "listen", at, "accept", "serve")
	eventually(t, "the first spare waits", b.isHeld)
	c := start(t, slots[2], 1, "listen", at, "accept", "serve")
	eventually(t, "the second spare waits", c.isHeld)
	more := spared()
	more.Active = 2
	for _, slot := range slots {
		slot.Configure(more)
	}
	b.expect("listen")
	slots[0].Retire()
	c.expect("listen")
	a.kill()
	slots[0].Close()
	seen := map[int]int{}
	for range 60 {
		seen[ask(t, at)]++
	}
	if seen[b.pid] == 0 || seen[c.pid] == 0 || seen[b.pid]+seen[c.pid] != 60 {
		t.Errorf("answers by pid: %v, want both of %d and %d", seen, b.pid, c.pid)
	}
}

// TestASpareGetsNoDatagrams: it waits before it could get some that nobody reads.
func TestASpareGetsNoDatagrams(t *testing.T) {
	s := newScene(t)
	port := freePort(t)
	echo := []string{have(t, "python3"), "-c", `
import os, socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", int(sys.argv[1])))
print("bound", flush=True)
while True:
    _, who = s.recvfrom(9)
    s.sendto(b"%d" % os.getpid(), who)`, fmt.Sprint(port)}
	one, two := s.Open(spared(), 0), s.Open(spared(), 1)
	a := startProgram(t, one, 1, echo)
	a.expect("bound")
	b := startProgram(t, two, 1, echo)
	eventually(t, "the spare waits", b.isHeld)
	askAll := func(want int) {
		for range 20 {
			c, err := net.Dial("udp", fmt.Sprintf("127.0.0.1:%d", port))
			if err != nil {
				t.Fatal(err)
			}
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			_, _ = c.Write([]byte("who"))
			answer := make([]byte, 20)
			n, err := c.Read(answer)
			c.Close()
			if err != nil || string(answer[:n]) != fmt.Sprint(want) {
				t.Fatalf("answered %q, %v, want %d", answer[:n], err, want)
			}
		}
	}
	askAll(a.pid)
	a.crash()
	b.expect("bound")
	askAll(b.pid)
}

// TestASignalTakesTheCallBack: before Linux 5.19 a spare's handler interrupts its call,
// which is then made again, under another number.
func TestASignalTakesTheCallBack(t *testing.T) {
	s := newScene(t)
	at := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	one, two := s.Open(spared(), 0), s.Open(spared(), 1)
	a := start(t, one, 1, "listen", at, "serve")
	a.expect("listen")
	b := startUnder(t, two, 1, enterAsBefore519(two, 1), []string{have(t, "python3"), "-c", `
import os, signal, socket, sys
signal.signal(signal.SIGUSR1, lambda *_: None)
signal.siginterrupt(signal.SIGUSR1, False) # as most programs do: the call is made again
s = socket.socket()
s.bind(("127.0.0.1", int(sys.argv[1])))
s.listen()
while True:
    c, _ = s.accept()
    c.sendall(b"%d\n" % os.getpid())
    c.close()`, at[strings.Index(at, ":")+1:]})
	eventually(t, "the spare waits", b.isHeld)
	number := func() uint64 {
		s.Host.mu.Lock()
		defer s.Host.mu.Unlock()
		if t := two.tenants[1]; t != nil && len(t.held) == 1 {
			return t.held[0].n.id
		}
		return 0
	}
	for range 3 {
		before := number()
		_ = syscall.Kill(b.pid, syscall.SIGUSR1)
		eventually(t, "it calls again", func() bool { now := number(); return now != 0 && now != before })
	}
	a.crash()
	if pid := ask(t, at); pid != b.pid {
		t.Errorf("answered by %d, want %d", pid, b.pid)
	}
}

// enterAsBefore519 is Enter with the filter that such a kernel has.
func enterAsBefore519(s *Slot, inc uint64) func() error {
	return func() error {
		program := filterProgram(runtime.GOARCH, false)
		_ = unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) // an error: then the next call tells
		p := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
		fd, _, e := unix.Syscall(unix.SYS_SECCOMP, 1, newListener|specAllow, uintptr(unsafe.Pointer(&p)))
		if e != 0 {
			return e
		}
		calls, err := newNotifier(int(fd))
		if err != nil {
			return err
		}
		return s.admit(&tenant{slot: s, inc: inc, calls: calls, bound: map[*socket]bool{}}, int(fd))
	}
}

// TestASpareThatAsksForNoPort is running, and that is said once.
func TestASpareThatAsksForNoPort(t *testing.T) {
	s := newScene(t)
	worker := spared()
	worker.Patience = time.Millisecond
	slots := []*Slot{s.Open(worker, 0), s.Open(worker, 1)}
	for round := range uint64(2) {
		for _, slot := range slots {
			p := start(t, slot, 1+round, "serve")
			p.expect("serving")
			slot.Follow(Condition{Inc: 1 + round, Alive: true, Settled: true})
			if slot == slots[1] && round == 0 {
				eventually(t, "it is said", func() bool { return s.log() != "" })
			}
			p.crash()
		}
	}
	if got := s.log(); strings.Count(got, "\n") > 0 || !strings.Contains(got, "web:1 is a spare, but has not asked for a port") {
		t.Errorf("the log says %q", got)
	}
}

func TestRelief(t *testing.T) {
	active, dead := berth{}, berth{vacant: true}
	deadWithQueues := berth{vacant: true, queues: true}
	spare := func(since uint64) berth { return berth{standby: true, held: since} }
	booting := berth{standby: true}
	for name, c := range map[string]struct {
		all          []berth
		active       int
		place, spare int
	}{
		"all is well":                    {[]berth{active, active, spare(1)}, 2, -1, -1},
		"no spare waits":                 {[]berth{active, dead, booting}, 2, 1, -1},
		"the oldest":                     {[]berth{dead, spare(3), spare(2), spare(4)}, 1, 0, 2},
		"first where connections wait":   {[]berth{dead, deadWithQueues, spare(1)}, 2, 1, 2},
		"a new place":                    {[]berth{active, spare(1)}, 2, -1, 1},
		"a retired one has no place":     {[]berth{{gone: true, vacant: true}, spare(1)}, 1, -1, 1},
		"a retired one is no spare":      {[]berth{dead, {standby: true, gone: true, held: 1}}, 1, 0, -1},
		"more than there should be":      {[]berth{active, active, spare(1)}, 1, -1, -1},
		"one of them is on its way out":  {[]berth{active, dead, spare(1)}, 1, -1, -1},
		"none is active, and none waits": {[]berth{booting, booting}, 1, -1, -1},
	} {
		if place, spare := relief(c.all, c.active); spare != c.spare || spare >= 0 && place != c.place {
			t.Errorf("%s: %d in the place of %d, want %d in that of %d", name, spare, place, c.spare, c.place)
		}
	}
}

// TestASpareThatCanHaveNoPort is told at once, not when it is needed.
func TestASpareThatCanHaveNoPort(t *testing.T) {
	s := newScene(t)
	at := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	one, two := s.Open(spared(), 0), s.Open(spared(), 1)
	a := start(t, one, 1, "listen", at, "serve")
	a.expect("listen")
	stranger, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	b := start(t, two, 1, "listen", stranger.Addr().String(), "serve")
	b.expect("in use")
	if v := two.View(); v.Held || !strings.Contains(v.Refused, "is taken") {
		t.Errorf("the spare's view: %+v", v)
	}
}
