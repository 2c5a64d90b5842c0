package cluster

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// stormy are system calls that a program may make without end.
var stormy = []func() error{
	func() error { return bindOnce(unix.AF_INET, unix.SOCK_STREAM) },
	func() error { return bindOnce(unix.AF_INET6, unix.SOCK_STREAM) },
	func() error { return bindOnce(unix.AF_INET, unix.SOCK_DGRAM) },
	func() error { return rawBind(8, 16) },      // a wild pointer
	func() error { return rawBind(8, 1<<31-1) }, // a huge length
	func() error { return unix.Bind(-1, &unix.SockaddrInet4{Port: 1}) },
	func() error { return unix.Bind(0, &unix.SockaddrInet4{Port: 1}) }, // no socket
	func() error { return unix.Listen(-1, 1) },
}

func bindOnce(family, kind int) error {
	fd, err := unix.Socket(family, kind, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if family == unix.AF_INET6 {
		return unix.Bind(fd, &unix.SockaddrInet6{Addr: [16]byte{15: 1}})
	}
	return unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
}

func rawBind(at, length uintptr) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if _, _, e := unix.Syscall(unix.SYS_BIND, uintptr(fd), at, length); e != 0 {
		return e
	}
	return nil
}

// storm makes all of them for ever in some threads, and in as many processes as it says
// how often; it tells of each hundred calls that were answered.
func storm(processes string) {
	say := func(text string) { _, _ = os.Stdout.WriteString(text + "\n") } // a line of many threads is whole
	n, err := strconv.Atoi(processes)
	if err != nil {
		say("what is " + processes + "?")
		return
	}
	for range n {
		_, err := syscall.ForkExec("/proc/self/exe", []string{"actor", "actor", "storm", "0"}, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}})
		if err != nil {
			say("fork: " + err.Error())
		}
	}
	var answered atomic.Int64
	for range 8 {
		go func() { // ends with the program
			for {
				for _, call := range stormy {
					_ = call()
					if answered.Add(1)%100 == 0 && n > 0 {
						say("hundred")
					}
				}
			}
		}()
	}
	select {}
}

// TestStorm: a program that makes calls without end, with threads and descendants, gets
// a small share of a processor, and others are answered as ever.
func TestStorm(t *testing.T) {
	s := newScene(t)
	s.burst = time.Millisecond
	bad := startProgram(t, s.Open(app("bad"), 0), 1, actor("storm", "2"), &syscall.SysProcAttr{Setpgid: true})
	defer func() { _ = syscall.Kill(-bad.pid, syscall.SIGKILL) }() // its descendants
	bad.expect("hundred")
	used, began := cpuTime(t), time.Now()
	for range 2 {
		bad.expect("hundred")
	}
	if share := float64(cpuTime(t)-used) / float64(time.Since(began)); share > 0.3 {
		t.Errorf("we used %.2f of a processor in the storm", share)
	}
	good := s.Open(app("good"), 0)
	at := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	for inc := range uint64(5) {
		p := start(t, good, inc+1, "listen", at, "accept", "serve")
		p.expect("listen " + at)
		if pid := ask(t, at); pid != p.pid {
			t.Fatalf("answered by %d, want %d", pid, p.pid)
		}
		p.kill()
	}
	if n := len(strings.Split(s.log(), "\n")); n > 2*mostTold {
		t.Errorf("the log has %d lines", n)
	}
}

// cpuTime is what this process has used.
func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestManyAddresses: a slot keeps only so many sockets.
func TestManyAddresses(t *testing.T) {
	s := newScene(t)
	slot := s.Open(app("web"), 0)
	p := start(t, slot, 1, "many", fmt.Sprint(mostSockets+50), "serve")
	p.expect("bound all")
	if v := slot.View(); len(v.Addresses) != mostSockets {
		t.Errorf("%d sockets are kept, want %d", len(v.Addresses), mostSockets)
	}
	if !strings.Contains(s.log(), "further ones are not shared") {
		t.Errorf("the log says %q", s.log())
	}
}

// bindMany binds so many addresses of this machine, all with ports that the kernel gave.
func bindMany(count string) string {
	n, err := strconv.Atoi(count)
	for i := 0; err == nil && i < n; i++ {
		var fd int
		if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0); err != nil {
			break
		}
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
		if err == nil {
			var sa unix.Sockaddr
			sa, err = unix.Getsockname(fd)
			unix.Close(fd)
			if err == nil {
				err = bindOnceKept(sa.(*unix.SockaddrInet4).Port)
			}
		}
	}
	if err != nil {
		return err.Error()
	}
	return "bound all"
}

func bindOnceKept(port int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	return unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: port})
}
