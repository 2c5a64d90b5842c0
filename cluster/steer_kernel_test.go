package cluster

import (
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// These tests ask the kernel itself, over loopback. They need no privileges.

// peers are real listening sockets that share one address, in the order that we
// believe in.
type peers struct {
	t     *testing.T
	v6    bool
	at    unix.Sockaddr // of all
	order []int         // descriptors
}

// newPeers has a port of the kernel's choice; listen adds the members.
func newPeers(t *testing.T, any netip.Addr) *peers {
	t.Helper()
	g := &peers{t: t, v6: any.Is6(), at: sockaddr(netip.AddrPortFrom(any, 0))}
	holder := g.socket() // bound, never listening: no member, but the port stays ours
	at, err := unix.Getsockname(holder)
	g.must("getsockname", err)
	g.at = at
	t.Cleanup(func() {
		for _, fd := range append(g.order, holder) {
			_ = unix.Close(fd)
		}
	})
	return g
}

func (g *peers) must(what string, err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatalf("%s: %v", what, err)
	}
}

// socket is bound and shares its address.
func (g *peers) socket() int {
	g.t.Helper()
	family := unix.AF_INET
	if g.v6 {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	g.must("socket", err)
	g.must("SO_REUSEPORT", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
	if g.v6 {
		g.must("IPV6_V6ONLY", unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0))
	}
	g.must("bind", unix.Bind(fd, g.at))
	return fd
}

func (g *peers) listen() {
	g.t.Helper()
	fd := g.socket()
	g.must("listen", unix.Listen(fd, 128))
	g.order = join(g.order, fd)
}

// close takes a member out, in one of the two ways there are.
func (g *peers) close(i int, shutdown bool) {
	g.t.Helper()
	fd := g.order[i]
	if shutdown {
		g.must("shutdown", unix.Shutdown(fd, unix.SHUT_RD))
	}
	g.must("close", unix.Close(fd))
	g.order = leave(g.order, fd)
}

func (g *peers) attach(p chooser) {
	g.t.Helper()
	g.must("attach", attach(g.order[0], p))
}

// visit connects from an address and gives the index of the member that got it. Both
// ends are gone afterwards, without a trace in TIME_WAIT.
func (g *peers) visit(from, to netip.Addr) int {
	g.t.Helper()
	family := unix.AF_INET6
	if to.Is4() {
		family = unix.AF_INET
	}
	c, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	g.must("socket", err)
	defer unix.Close(c)
	reset := &unix.Linger{Onoff: 1}
	g.must("SO_LINGER", unix.SetsockoptLinger(c, unix.SOL_SOCKET, unix.SO_LINGER, reset))
	g.must("bind the client to "+from.String(), unix.Bind(c, sockaddr(netip.AddrPortFrom(from, 0))))
	g.must("connect to "+to.String(), unix.Connect(c, sockaddr(netip.AddrPortFrom(to, g.port()))))
	return g.accept()
}

func (g *peers) accept() int {
	g.t.Helper()
	polls := make([]unix.PollFd, len(g.order))
	for i, fd := range g.order {
		polls[i] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	}
	for {
		n, err := unix.Poll(polls, 10000)
		if err == unix.EINTR {
			continue
		}
		g.must("poll", err)
		if n != 1 {
			g.t.Fatalf("%d members got the connection", n)
		}
		i := slices.IndexFunc(polls, func(p unix.PollFd) bool { return p.Revents != 0 })
		s, _, err := unix.Accept4(g.order[i], unix.SOCK_CLOEXEC)
		g.must("accept", err)
		g.must("close", unix.Close(s))
		return i
	}
}

func (g *peers) port() uint16 {
	switch at := g.at.(type) {
	case *unix.SockaddrInet4:
		return uint16(at.Port)
	case *unix.SockaddrInet6:
		return uint16(at.Port)
	}
	g.t.Fatalf("the group has the address %v", g.at)
	return 0
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

var (
	localhost  = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	localhost6 = netip.IPv6Loopback()
)

func TestKernelFollowsTheWeights(t *testing.T) {
	g := newPeers(t, localhost)
	for range 4 {
		g.listen()
	}
	for _, weights := range [][]int{{1, 1, 1, 1}, {0, 0, 1, 0}, {0, 3, 1, 0}, {0, 0, 0, 0}} {
		g.attach(randomProgram(weights))
		const tries = 200
		counts := make([]int, 4)
		for range tries {
			counts[g.visit(localhost, localhost)]++
		}
		sum := weights[0] + weights[1] + weights[2] + weights[3]
		for i, got := range counts {
			part := 0.25
			if sum > 0 {
				part = float64(weights[i]) / float64(sum)
			}
			if !within(got, tries, part) || part == 0 && got > 0 {
				t.Errorf("weights %v: %v of %d", weights, counts, tries)
			}
		}
	}
}

func TestKernelTakesLargePrograms(t *testing.T) {
	g := newPeers(t, localhost)
	g.listen()
	g.listen()
	weights := make([]int, 2047)
	for i := range weights {
		weights[i] = i % 2 * (1 + i%3) // of those that are there only the second
	}
	g.attach(randomProgram(append(weights[:2], make([]int, 300)...)))
	if got := g.visit(localhost, localhost); got != 1 {
		t.Errorf("the connection went to %d", got)
	}
	for i := range weights {
		weights[i] = 1 + i%2
	}
	g.attach(randomProgram(weights))
	g.attach(randomProgram(slices.Repeat([]int{1}, 5000)))
	if err := attach(g.order[0], randomProgram(append(weights, 3))); err == nil {
		t.Error("a program that is longer than the kernel takes was taken")
	}
}

// Which index a closed member's successor gets, and all the others, after any history.
func TestKernelOrderIsOurs(t *testing.T) {
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 7))
		g := newPeers(t, localhost)
		g.listen()
		for step := range 25 {
			switch n := len(g.order); {
			case n == 1 || n < 7 && rng.IntN(2) == 0:
				g.listen()
			default:
				g.close(rng.IntN(n), rng.IntN(2) == 0)
			}
			for i := range g.order {
				g.attach(chooser(nil).answer(uint32(i)))
				if got := g.visit(localhost, localhost); got != i {
					t.Fatalf("seed %d, step %d: of %d members the kernel's index %d is our %d", seed, step, len(g.order), i, got)
				}
			}
		}
	}
}

// The kernel and our own machine agree on every client: so all that the machine's
// tests say is true of the kernel.
func TestKernelFollowsTheSource(t *testing.T) {
	for _, test := range []struct {
		name     string
		any, to  netip.Addr
		sources  []netip.Addr
		ownSpace bool // needs addresses that only a network of our own has
	}{
		{"IPv4", netip.IPv4Unspecified(), localhost, neighbours("127.0.0.1", 60), false},
		{"IPv4 on a dual-stack socket", netip.IPv6Unspecified(), localhost, neighbours("127.0.0.1", 60), false},
		{"IPv6 localhost", netip.IPv6Unspecified(), localhost6, []netip.Addr{localhost6}, false},
		{"IPv6", netip.IPv6Unspecified(), localhost6, neighbours("fd00:1:2:3:4:5:6:fff0", 60), true},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.ownSpace {
				if os.Getuid() != 0 {
					t.Log("without root there is no other IPv6 address than localhost, tested above")
					return
				}
				enterOwnNetwork(t, test.sources)
			}
			g := newPeers(t, test.any)
			for range 5 {
				g.listen()
			}
			for _, indexes := range [][]int{{0, 1, 2, 3, 4}, {4, 2, 0}, {1, -1, 3, -1, 0}, {3}} {
				p := sourceProgram(indexes)
				g.attach(p)
				for _, from := range test.sources {
					want := pickOf(t, p, from)
					if got := g.visit(from, test.to); got != want {
						t.Fatalf("%v: the client %s went to %d, not %d", indexes, from, got, want)
					}
				}
			}
		})
	}
}

// enterOwnNetwork moves the test's thread into an empty network of its own, where
// loopback has more addresses. The thread ends with the test, and the network with it.
func enterOwnNetwork(t *testing.T, addresses []netip.Addr) {
	t.Helper()
	runtime.LockOSThread() // never unlocked: no other goroutine may get this thread
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	must("a network of our own", unix.Unshare(unix.CLONE_NEWNET))
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	must("socket", err)
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	must("lo", err)
	lo.SetUint16(unix.IFF_UP)
	must("lo up", unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo))
	must("index of lo", unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, lo))
	for _, a := range addresses {
		request := struct { // in6_ifreq
			address [16]byte
			prefix  uint32
			index   uint32
		}{a.As16(), 128, lo.Uint32()}
		_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCSIFADDR, uintptr(unsafe.Pointer(&request)))
		if e != 0 {
			t.Fatalf("address %s: %v", a, e)
		}
	}
	awaitAddresses(t, addresses)
}

// awaitAddresses returns when all of them can be used: the kernel adds them a moment
// after it said so.
func awaitAddresses(t *testing.T, addresses []netip.Addr) {
	t.Helper()
	soon := time.NewTicker(time.Millisecond)
	defer soon.Stop()
	deadline := time.Now().Add(10 * time.Second)
	for _, a := range addresses {
		for {
			fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err == nil {
				err = unix.Bind(fd, sockaddr(netip.AddrPortFrom(a, 0)))
				_ = unix.Close(fd)
			}
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("address %s: %v", a, err)
			}
			<-soon.C
		}
	}
}
