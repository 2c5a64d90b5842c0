package cluster

import (
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// observed is a host that tells of hangs.
func observed(t *testing.T) (*Host, <-chan Hang) {
	t.Helper()
	hangs := make(chan Hang, 100)
	h := NewHost(Options{
		Log: t.Logf, Keep: func(string, []byte, ...int) {}, Changed: func(*Slot) {},
		Stuck: func(_ *Slot, h Hang) { hangs <- h },
	})
	t.Cleanup(h.Close)
	return h, hangs
}

// runs starts an actor that is up and known to its slot.
func runs(t *testing.T, s *Slot, inc uint64, words ...string) *program {
	t.Helper()
	p := start(t, s, inc, append(words, "serve")...)
	for _, w := range words {
		if w == "listen" {
			p.expect("listen")
		}
	}
	p.expect("serving")
	s.Follow(Condition{Inc: inc, Pid: p.pid, Alive: true, Settled: true})
	return p
}

// waitsIn connects and says what comes of it: who answers, or the end of the connection.
func waitsIn(t *testing.T, at string) <-chan string {
	t.Helper()
	c, err := net.DialTimeout("tcp", at, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	answer := make(chan string, 1)
	go func() { // ends with the connection, which has a deadline
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(30 * time.Second))
		text, err := io.ReadAll(c)
		if err != nil {
			text = []byte(err.Error())
		}
		answer <- strings.TrimSpace(string(text))
	}()
	return answer
}

// receive waits for what is sure to come.
func receive[T any](t *testing.T, what string, from <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(40 * time.Second):
		t.Fatalf("not within 40 s: %s", what)
	}
	return v
}

func TestOnlyWhatNeedsItIsWatched(t *testing.T) {
	h, _ := observed(t)
	at, alone := fmt.Sprintf("127.0.0.1:%d", freePort(t)), app("alone")
	one := h.Open(alone, 0)
	runs(t, one, 1, "listen", at)
	if all := h.glances(); len(all) > 0 {
		t.Errorf("one instance alone is watched: %+v", all)
	}
	alone.Hang = time.Hour
	one.Configure(alone)
	if all := h.glances(); len(all) != 1 || all[0].inc != 1 || all[0].even {
		t.Errorf("one with a hang_timeout: %+v", all)
	}
	alone.Hang = 0
	one.Configure(alone)
	two := h.Open(alone, 1)
	runs(t, two, 1, "listen", at)
	if all := h.glances(); len(all) != 2 || !all[0].even || !all[1].even {
		t.Errorf("two that share an address: %+v", all)
	}
	two.Retire()
	if all := h.glances(); len(all) != 0 {
		t.Errorf("one of two is retired: %+v", all)
	}
}

// The one that hangs gets nothing any more, and what waited is its successor's.
func TestAHangIsSeen(t *testing.T) {
	h, hangs := observed(t)
	at, web := fmt.Sprintf("127.0.0.1:%d", freePort(t)), app("web")
	web.Hang = 200 * time.Millisecond
	one, two := h.Open(web, 0), h.Open(web, 1)
	stuck := runs(t, one, 1, "listen", at)
	var waiting []<-chan string
	for range 3 { // they are the stuck one's, for there is no other yet
		waiting = append(waiting, waitsIn(t, at))
	}
	fine := runs(t, two, 1, "listen", at, "accept")
	hang := receive(t, "the hang", hangs)
	if hang.Inc != 1 || hang.Waiting < 3 || hang.GaveUp || hang.Stood < web.Hang {
		t.Errorf("the hang is %+v", hang)
	}
	for range 20 {
		if pid := ask(t, at); pid != fine.pid {
			t.Fatalf("answered by %d, want %d", pid, fine.pid)
		}
	}
	stuck.kill()
	one.Follow(Condition{Inc: 2, Alive: true})
	next := runs(t, one, 2, "listen", at, "accept")
	for _, answer := range waiting {
		if got := receive(t, "an answer", answer); got != fmt.Sprint(next.pid) {
			t.Errorf("one that waited got %q, want the successor %d", got, next.pid)
		}
	}
	if len(hangs) > 0 {
		t.Errorf("another hang: %v", <-hangs)
	}
}

func TestAQueueIsGivenUp(t *testing.T) {
	h, hangs := observed(t)
	at, web := fmt.Sprintf("127.0.0.1:%d", freePort(t)), app("web")
	web.Hang = 200 * time.Millisecond
	slot := h.Open(web, 0)
	var answer <-chan string
	for inc := uint64(1); inc <= hangsInARow; inc++ {
		slot.Follow(Condition{Inc: inc, Alive: true})
		p := runs(t, slot, inc, "listen", at)
		if inc == 1 {
			answer = waitsIn(t, at)
		}
		hang := receive(t, "a hang", hangs)
		if last := inc == hangsInARow; hang.Inc != inc || hang.GaveUp != last || strings.Contains(hang.String(), "refused") != last {
			t.Fatalf("hang of %d: %v %+v", inc, hang, hang)
		}
		p.kill()
	}
	if got := receive(t, "the end of who waited", answer); !strings.Contains(got, "reset") {
		t.Errorf("who waited got %q", got)
	}
}

// A program that closes its socket can't accept what waits, though the socket is kept.
func TestAClosedSocketIsClosed(t *testing.T) {
	h, _ := observed(t)
	at, web := fmt.Sprintf("127.0.0.1:%d", freePort(t)), app("web")
	one, two := h.Open(web, 0), h.Open(web, 1)
	runs(t, one, 1, "listen", at, "close")
	lost := waitsIn(t, at)
	fine := runs(t, two, 1, "listen", at, "accept")
	if got := receive(t, "the end of who waited", lost); !strings.Contains(got, "reset") {
		t.Errorf("who waited got %q", got)
	}
	for range 20 {
		if pid := ask(t, at); pid != fine.pid {
			t.Fatalf("answered by %d, want %d", pid, fine.pid)
		}
	}
	if v := one.View(); len(v.Addresses) != 0 {
		t.Errorf("it still has %v", v.Addresses)
	}
}

// A program looks for a free port: what it has only tried is closed, before anybody who
// connects is told to wait there, and though it is alone.
func TestPortsThatWereTried(t *testing.T) {
	h, _ := observed(t)
	port := freePort(t)
	at := fmt.Sprintf("127.0.0.1:%d", port)
	slot := h.Open(app("web"), 0)
	p := runs(t, slot, 1, "listen", at, "close", "listen", fmt.Sprintf("0.0.0.0:%d", port), "close", "listen", fmt.Sprintf("[::]:%d", port), "accept")
	eventually(t, "only the last one is kept", func() bool { return len(slot.View().Addresses) == 1 })
	if pid := ask(t, at); pid != p.pid {
		t.Errorf("answered by %d, want %d", pid, p.pid)
	}
	p.kill() // and its successor does the same
	slot.Follow(Condition{Inc: 2, Alive: true})
	next := runs(t, slot, 2, "listen", at, "close", "listen", fmt.Sprintf("[::]:%d", port), "accept")
	eventually(t, "only the last one is kept", func() bool { return len(slot.View().Addresses) == 1 })
	if pid := ask(t, at); pid != next.pid {
		t.Errorf("answered by %d, want the successor %d", pid, next.pid)
	}
}

// Sockets that are open are kept, and those of a process that is just ending, too.
func TestOpenSocketsAreKept(t *testing.T) {
	h, _ := observed(t)
	one, two := fmt.Sprintf("127.0.0.1:%d", freePort(t)), fmt.Sprintf("127.0.0.1:%d", freePort(t))
	slot := h.Open(app("web"), 0)
	p := runs(t, slot, 1, "listen", one, "listen", two, "accept")
	eventually(t, "it was looked at", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return !slot.tenants[1].recheck
	})
	if ask(t, one) != p.pid || ask(t, two) != p.pid {
		t.Error("one of two does not answer")
	}
	h.mu.Lock()
	k := slot.at(address{ip: netip.MustParseAddr("127.0.0.1"), port: netip.MustParseAddrPort(one).Port()})
	seen := suspect{slot, k, k.lent, p.pid}
	h.mu.Unlock()
	p.kill()
	if !isOpen(k.inode, p.pid) {
		t.Error("the socket of a process that has just ended is given up")
	}
	slot.Follow(Condition{Inc: 2, Alive: true})
	next := runs(t, slot, 2, "listen", one, "accept")
	h.closeUnlent([]suspect{seen}) // what was seen before it was lent again
	if pid := ask(t, one); pid != next.pid {
		t.Errorf("answered by %d, want the successor %d", pid, next.pid)
	}
}

// A stopped process has its socket open: it is stuck, and not gone.
func TestAStoppedOneKeepsItsSocket(t *testing.T) {
	h, _ := observed(t)
	at, web := fmt.Sprintf("127.0.0.1:%d", freePort(t)), app("web")
	one, two := h.Open(web, 0), h.Open(web, 1)
	p := runs(t, one, 1, "listen", at, "accept")
	if err := syscall.Kill(p.pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	answer := waitsIn(t, at)
	runs(t, two, 1, "listen", at, "accept")
	begun := time.Now()
	eventually(t, "its queue has stood for long enough to be looked at", func() bool { return time.Since(begun) > 2*abandonedFor })
	if v := one.View(); len(v.Addresses) != 1 {
		t.Errorf("its socket was closed: %+v", v)
	}
	if isOpen(1, p.pid) {
		t.Error("a socket that isn't there is open")
	}
	if err := syscall.Kill(p.pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, "the answer", answer); got != fmt.Sprint(p.pid) {
		t.Errorf("answered by %q, want %d", got, p.pid)
	}
}

func TestPortsOfSockets(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := uint16(l.Addr().(*net.TCPAddr).Port)
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	has := proc.owners([]int{syscall.Getpid()})
	for name, ask := range map[string]func(map[uint32]holder, []uint16) (map[uint32]uint16, error){"asked one by one": portsOf, "listed": portsListed} {
		ports, err := ask(has.sockets, []uint16{port})
		if err != nil {
			t.Fatal(err)
		}
		of := slices.Collect(maps.Values(ports))
		of = slices.DeleteFunc(of, func(p uint16) bool { return p != port })
		if len(of) != 1 || len(ports) != len(has.sockets) {
			t.Errorf("%s: %d of %d sockets are known, %d of the port", name, len(ports), len(has.sockets), len(of))
		}
	}
	if ports, err := portsOf(map[uint32]holder{1: {syscall.Getpid(), 1 << 20}, 2: {1 << 30, 0}}, nil); err != nil || len(ports) > 0 {
		t.Errorf("closed ones: %v, %v", ports, err)
	}
}

// A look at all processes takes its time: by then the program may have been given its
// socket again, or another slot may have it.
func TestAbandonedMeansStillAbandoned(t *testing.T) {
	h, _ := observed(t)
	at, web := fmt.Sprintf("127.0.0.1:%d", freePort(t)), app("web")
	web.Hang = time.Hour
	slot := h.Open(web, 0)
	runs(t, slot, 1, "listen", at)
	seen := h.glances()[0]
	h.mu.Lock()
	v := slot.tenants[1].lend(seen.socket)
	h.mu.Unlock()
	defer syscall.Close(v.install)
	h.closeAbandoned(seen)
	if v := slot.View(); len(v.Addresses) != 1 {
		t.Fatal("a socket that is open again was closed")
	}
	seen = h.glances()[0]
	heir := h.Open(web, 1)
	h.mu.Lock()
	h.move(slot, heir)
	h.mu.Unlock()
	h.closeAbandoned(seen)
	if v := heir.View(); len(v.Addresses) != 1 || !listens(seen.socket.fd) {
		t.Errorf("the socket of another slot was closed: %+v", v)
	}
}
