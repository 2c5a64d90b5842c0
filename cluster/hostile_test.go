package cluster

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// bindFromNowhere binds to an address in memory that nobody ever fills: who reads it
// waits until the program ends.
func bindFromNowhere(say func(string, ...any)) {
	uffd, _, e := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC, 0, 0)
	if e != 0 {
		say("cannot: %v", e)
		return
	}
	const apiCall, registerCall, api, missing = 0xc018aa3f, 0xc020aa00, 0xaa, 1
	hello := struct{ api, features, ioctls uint64 }{api: api}
	if err := ioctl(uffd, apiCall, unsafe.Pointer(&hello)); err != nil {
		say("cannot: %v", err)
		return
	}
	memory, err := unix.Mmap(-1, 0, unix.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		say("cannot: %v", err)
		return
	}
	at := uintptr(unsafe.Pointer(unsafe.SliceData(memory)))
	register := struct {
		start, length, mode, ioctls uint64
	}{start: uint64(at), length: uint64(len(memory)), mode: missing}
	if err := ioctl(uffd, registerCall, unsafe.Pointer(&register)); err != nil {
		say("cannot: %v", err)
		return
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		say("cannot: %v", err)
		return
	}
	say("binding")
	_, _, e = unix.Syscall(unix.SYS_BIND, uintptr(fd), at, unix.SizeofSockaddrInet4)
	say("bound: %v", e)
}

// TestMemoryThatNeverComes: a program that has us wait for its memory makes only itself
// wait, and its end sets us free.
func TestMemoryThatNeverComes(t *testing.T) {
	s := newScene(t)
	slot := s.Open(app("bad"), 0)
	bad := start(t, slot, 1, "nowhere", "serve")
	bad.expect("binding")
	keepsUs(t, slot)
	at := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	good := start(t, s.Open(app("good"), 0), 1, "listen", at, "accept", "serve")
	good.expect("listen " + at)
	if pid := ask(t, at); pid != good.pid {
		t.Errorf("answered by %d, want %d", pid, good.pid)
	}
	slot.Follow(Condition{Inc: 1, Alive: true, Ending: true})
	if v := slot.View(); v.Ready {
		t.Errorf("its view is %+v", v)
	}
	bad.kill()
	eventually(t, "its end is seen", func() bool { return len(s.keys(keyTenant)) == 1 })
	slot.Close()
}

// TestCloseWithMemoryThatNeverComes: an update of gopm isn't held up either.
func TestCloseWithMemoryThatNeverComes(t *testing.T) {
	s := newScene(t)
	slot := s.Open(app("bad"), 0)
	bad := start(t, slot, 1, "nowhere", "serve")
	bad.expect("binding")
	keepsUs(t, slot)
	reading := make(chan struct{})
	go func() { // ends with Close
		s.close()
		close(reading)
	}()
	eventually(t, "it is closed", func() bool {
		select {
		case <-reading:
			return true
		default:
			return false
		}
	})
	if err := syscall.Kill(bad.pid, 0); err != nil {
		t.Errorf("the program is gone: %v", err)
	}
	if !strings.Contains(s.log(), "left to itself") {
		t.Errorf("the log says %q", s.log())
	}
}

// keepsUs waits until a call of a slot's program is being worked on.
func keepsUs(t *testing.T, slot *Slot) {
	t.Helper()
	eventually(t, "its call is being answered", func() bool {
		slot.h.mu.Lock()
		defer slot.h.mu.Unlock()
		return len(slot.tenants[1].hand) > 0
	})
}

func FuzzSockaddr(f *testing.F) {
	f.Add([]byte{2, 0, 31, 144, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{10, 0, 31, 144, 0, 0, 0, 0, 15: 1, 27: 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		ip, port, err := parseSockaddr(b)
		if err != nil {
			return
		}
		a := address{ip: ip, port: port}
		if back, err := parseKey(a.key()); err != nil || back != a {
			t.Errorf("%x is %s, and that is %v (%v)", b, a, back, err)
		}
		if !a.overlaps(a) {
			t.Errorf("%s doesn't overlap with itself", a)
		}
	})
}

func FuzzOccupants(f *testing.F) {
	f.Add("  0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 71 1 00 100 0 0 10 0\n")
	a, err := parseKey("0.0.0.0:8080")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, table string) {
		for _, o := range occupants([]byte(table), a) {
			if o.address.port != a.port {
				t.Errorf("%s is in the way of %s", o.address, a)
			}
		}
	})
}
