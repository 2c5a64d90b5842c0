package cluster

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// listener is a socket that shares an address.
func listener(t *testing.T, a address) int {
	t.Helper()
	family := unix.AF_INET6
	if a.ip.Is4() {
		family = unix.AF_INET
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	only := 0
	if a.only {
		only = 1
	}
	if family == unix.AF_INET6 {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only)
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	if err := unix.Bind(fd, endpoint(a.ip, a.port)); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 16); err != nil {
		t.Fatal(err)
	}
	return fd
}

// TestKernelOrder: what the kernel has is what our mirror has, whoever came and went,
// and nobody gets a connection by it.
func TestKernelOrder(t *testing.T) {
	for _, ip := range []string{"127.0.0.1", "0.0.0.0", "[::1]", "[::]", "[::]only"} {
		t.Run(ip, func(t *testing.T) {
			key := fmt.Sprintf("%s:%d", ip, freePort(t))
			if ip == "[::]only" {
				key = fmt.Sprintf("[::]:%d/only", freePort(t))
			}
			a, err := parseKey(key)
			if err != nil {
				t.Fatal(err)
			}
			var mirror []int
			t.Cleanup(func() {
				for _, fd := range mirror {
					unix.Close(fd)
				}
			})
			for range 40 {
				if n := len(mirror); n > 1 && rand.IntN(2) == 0 || n == 8 {
					fd := mirror[rand.IntN(n)]
					mirror = leave(mirror, fd)
					unix.Close(fd)
				} else {
					mirror = join(mirror, listener(t, a))
				}
				given := slices.Clone(mirror)
				slices.Sort(given)
				got, err := kernelOrder(a, given)
				if err != nil || !slices.Equal(got, mirror) {
					t.Fatalf("the kernel has %v (%v), we %v", got, err, mirror)
				}
			}
			for _, fd := range mirror {
				if waiting, _, err := acceptQueue(fd); waiting != 0 || err != nil {
					t.Errorf("%d connections wait, %v", waiting, err)
				}
			}
		})
	}
}

// TestALeastHopCountOfTheProgram is left alone, and does no harm.
func TestALeastHopCountOfTheProgram(t *testing.T) {
	a, err := parseKey(fmt.Sprintf("127.0.0.1:%d", freePort(t)))
	if err != nil {
		t.Fatal(err)
	}
	fds := []int{listener(t, a), listener(t, a)}
	const its = 255
	for i, least := range []int{its, 0} {
		defer unix.Close(fds[i])
		if err := unix.SetsockoptInt(fds[i], unix.IPPROTO_IP, unix.IP_MINTTL, least); err != nil {
			t.Fatal(err)
		}
	}
	order, err := kernelOrder(a, fds)
	if err != nil || !slices.Equal(order, fds) {
		t.Errorf("the order is %v (%v), want %v", order, err, fds)
	}
	for i, want := range []int{its, 0} {
		if least, err := unix.GetsockoptInt(fds[i], unix.IPPROTO_IP, unix.IP_MINTTL); err != nil || least != want {
			t.Errorf("the least hop count is %d (%v), was %d", least, err, want)
		}
	}
}

// TestKernelOrderOnceMore: who asked before was killed in the middle of it.
func TestKernelOrderOnceMore(t *testing.T) {
	a, err := parseKey(fmt.Sprintf("127.0.0.1:%d", freePort(t)))
	if err != nil {
		t.Fatal(err)
	}
	mirror := []int{listener(t, a), listener(t, a)}
	for _, fd := range mirror {
		t.Cleanup(func() { unix.Close(fd) })
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MINTTL, probeHops+1); err != nil {
			t.Fatal(err)
		}
	}
	if err := attach(mirror[0], probe{family: unix.AF_INET, port: 4711}.chooses(1)); err != nil {
		t.Fatal(err)
	}
	if got, err := kernelOrder(a, mirror); err != nil || !slices.Equal(got, mirror) {
		t.Errorf("the kernel has %v (%v), we %v", got, err, mirror)
	}
}
