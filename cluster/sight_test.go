package cluster

import (
	"errors"
	"math"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// listenOn makes a listening socket as the daemon holds one.
func listenOn(t *testing.T, family int, v6only, deferAccept bool) (fd int, port uint16) {
	t.Helper()
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	only := 0
	if v6only {
		only = 1
	}
	var address unix.Sockaddr = &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	if family == unix.AF_INET6 {
		address = &unix.SockaddrInet6{}
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only)
	}
	if deferAccept {
		err = errors.Join(err, unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 30))
	}
	err = errors.Join(err, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1), unix.Bind(fd, address), unix.Listen(fd, 64))
	if err != nil {
		t.Fatal(err)
	}
	return fd, boundPort(fd)
}

func dial(t *testing.T, ip string, port uint16) *net.TCPConn {
	t.Helper()
	c, err := net.DialTCP("tcp", nil, &net.TCPAddr{IP: net.ParseIP(ip), Port: int(port)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// accepted takes the next connection of a socket: its descriptor.
func accepted(t *testing.T, listener int) int {
	t.Helper()
	fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func TestAcceptQueue(t *testing.T) {
	t.Parallel()
	fd, port := listenOn(t, unix.AF_INET, false, false)
	for range 3 {
		dial(t, "127.0.0.1", port)
	}
	eventually(t, "3 of 64 wait", func() bool {
		waiting, limit, err := acceptQueue(fd)
		return waiting == 3 && limit == 64 && err == nil
	})
	if err := unix.Shutdown(fd, unix.SHUT_RD); err != nil {
		t.Fatal(err)
	}
	if _, _, err := acceptQueue(fd); err != errNotListening {
		t.Errorf("after shutdown: %v", err)
	}
	if _, _, err := acceptQueue(math.MaxInt32); !errors.Is(err, unix.EBADF) {
		t.Errorf("not a descriptor: %v", err)
	}
}

// seen lists the connections of ports, and fails if it can't.
func seen(t *testing.T, ports ...uint16) []connection {
	t.Helper()
	all, err := connections(ports)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestConnectionsOfAllKinds(t *testing.T) {
	t.Parallel()
	l4, port4 := listenOn(t, unix.AF_INET, false, false)
	l6, port6 := listenOn(t, unix.AF_INET6, true, false)
	both, portBoth := listenOn(t, unix.AF_INET6, false, false)
	_, other := listenOn(t, unix.AF_INET, false, false)
	dial(t, "127.0.0.1", other)
	dial(t, "127.0.0.1", port4)
	accepted(t, l4)
	dial(t, "::1", port6)
	accepted(t, l6)
	dial(t, "127.0.0.1", portBoth)
	dial(t, "::1", portBoth)
	accepted(t, both)
	ports := []uint16{port4, port6, portBoth, portBoth}
	many := append([]uint16{}, ports...)
	for p := uint16(1); len(many) <= mostPorts+len(ports); p++ {
		many = append(many, p)
	}
	for _, ask := range [][]uint16{ports, many} {
		perPort, waiting := map[uint16]int{}, 0
		for _, c := range seen(t, ask...) {
			perPort[c.port]++
			if c.phase() == queued {
				waiting++
			}
		}
		if perPort[port4] != 1 || perPort[port6] != 1 || perPort[portBoth] != 2 || perPort[other] != 0 || waiting != 1 {
			t.Errorf("asked for %d ports: connections %v, %d not accepted", len(ask), perPort, waiting)
		}
	}
	if none, err := connections(nil); none != nil || err != nil {
		t.Errorf("no ports: %v, %v", none, err)
	}
}

func TestStationsOfARealConnection(t *testing.T) {
	t.Parallel()
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} { // the second takes IPv4, too
		l, port := listenOn(t, family, false, true)
		client := dial(t, "127.0.0.1", port)
		is := func(p phase) func() bool {
			return func() bool { all := seen(t, port); return len(all) == 1 && all[0].phase() == p }
		}
		eventually(t, "half open", is(halfOpen))
		ends := seen(t, port)[0].ends
		if waiting, _, err := acceptQueue(l); waiting != 0 || err != nil {
			t.Errorf("half open, and %d wait (%v)", waiting, err)
		}
		if _, err := client.Write([]byte("request")); err != nil {
			t.Fatal(err)
		}
		eventually(t, "queued", is(queued))
		if got := seen(t, port)[0].ends; got != ends {
			t.Errorf("the ends have changed from %x to %x", ends, got)
		}
		fd := accepted(t, l)
		eventually(t, "unread", is(busy))
		buf := make([]byte, 100)
		if n, err := unix.Read(fd, buf); n != 7 || err != nil {
			t.Fatal(n, err)
		}
		if !is(busy)() {
			t.Error("an unanswered request doesn't show")
		}
		if _, err := unix.Write(fd, []byte("answer")); err != nil {
			t.Fatal(err)
		}
		eventually(t, "answered", func() bool { return is(idle)() || is(unclear)() })
		if err := client.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the client's end", func() bool { all := seen(t, port); return len(all) == 1 && all[0].state == closeWait })
		if c := seen(t, port)[0]; c.received != 8 || c.unread != 1 || c.phase() == busy {
			t.Errorf("answered and closed by the client: %+v", c)
		}
	}
}

// pair is a connection of which the test has both ends, and what the list says of it.
func pair(t *testing.T) (server int, client *net.TCPConn, c connection) {
	t.Helper()
	l, port := listenOn(t, unix.AF_INET, false, false)
	client = dial(t, "127.0.0.1", port)
	server = accepted(t, l)
	all := seen(t, port)
	if len(all) != 1 {
		t.Fatalf("connections %+v", all)
	}
	return server, client, all[0]
}

func TestMutedConnection(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, ip string
		family   int
	}{{"IPv4", "127.0.0.1", unix.AF_INET}, {"IPv6", "::1", unix.AF_INET6}, {"IPv4 of a dual-stack socket", "127.0.0.1", unix.AF_INET6}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l, port := listenOn(t, test.family, false, false)
			client := dial(t, test.ip, port)
			server := accepted(t, l)
			unmute := mute(server)
			if _, err := client.Write([]byte("late")); err != nil {
				t.Fatal(err)
			}
			if received, _, err := progress(server); received != 0 || err != nil {
				t.Errorf("a muted connection received %d bytes (%v)", received, err)
			}
			unmute()
			buf := make([]byte, 10)
			if n, err := unix.Read(server, buf); err != nil || string(buf[:n]) != "late" {
				t.Errorf("afterwards: %q, %v", buf[:n], err)
			}
			if least, err := unix.GetsockoptInt(server, unix.IPPROTO_IP, unix.IP_MINTTL); least != 0 || err != nil {
				t.Errorf("left behind: %d, %v", least, err)
			}
		})
	}
}

func TestHangUp(t *testing.T) {
	t.Parallel()
	server, client, c := pair(t)
	here := holder{os.Getpid(), server}
	for name, change := range map[string]func(*connection, *holder){
		"another descriptor by now": func(c *connection, _ *holder) { c.cookie++ },
		"no descriptor any more":    func(_ *connection, h *holder) { h.fd = 1 << 20 },
		"not a socket":              func(_ *connection, h *holder) { h.fd = 0 },
		"no process":                func(_ *connection, h *holder) { h.pid = math.MaxInt32 },
	} {
		c, h := c, here
		change(&c, &h)
		if err := hangUp(h, c); err != errGone {
			t.Errorf("%s: %v", name, err)
		}
	}
	moved := c
	moved.received++
	if err := hangUp(here, moved); err != errMoved {
		t.Errorf("bytes have come in: %v", err)
	}
	if err := hangUp(here, c); err != nil {
		t.Fatal(err)
	}
	_ = client.SetReadDeadline(time.Now().Add(20 * time.Second))
	if n, err := client.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the client read %d bytes, %v; want the end", n, err)
	}
	_, _ = client.Write([]byte("late"))
	if n, _ := unix.Read(server, make([]byte, 10)); n > 0 {
		t.Errorf("the program read %d bytes that came after the end", n)
	}
	if err := hangUp(here, c); err != errGone && err != errMoved {
		t.Errorf("twice: %v", err)
	}
}

func TestRequestAgainstHangUp(t *testing.T) {
	t.Parallel()
	l, port := listenOn(t, unix.AF_INET, false, false)
	const rounds = 300
	closed := 0
	for i := range rounds {
		client := dial(t, "127.0.0.1", port)
		server := accepted(t, l)
		var c connection
		for _, one := range seen(t, port) {
			if one.inode == uint32(inode(server)) {
				c = one
			}
		}
		sent := make(chan struct{})
		go func() { // now a little before, now a little after
			defer close(sent)
			for range i * 10 {
				runtime.Gosched()
			}
			_, _ = client.Write([]byte("request"))
		}()
		err := hangUp(holder{os.Getpid(), server}, c)
		<-sent
		n := 0
		if err == nil {
			closed++
			n, _ = unix.Read(server, make([]byte, 10))
		}
		if n > 0 {
			t.Fatalf("round %d: ended while idle, and a request was read", i)
		}
		client.Close()
		unix.Shutdown(server, unix.SHUT_RDWR)
	}
	if closed == 0 {
		t.Error("never ended while idle")
	}
	t.Logf("%d of %d ended while idle", closed, rounds)
}
