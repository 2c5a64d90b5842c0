package cluster

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What programs bind that isn't one TCP port.

// TestDatagrams: instances share a UDP port, and the kernel spreads senders over them.
func TestDatagrams(t *testing.T) {
	s := newScene(t)
	at := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	var pids []int
	for index := range 2 {
		slot := s.Open(app("echo"), index)
		p := start(t, slot, 1, "udp", at, "serve")
		p.expect("udp " + at)
		pids = append(pids, p.pid)
		if v := slot.View(); len(v.Addresses) != 0 || v.Trouble != "" {
			t.Errorf("its view is %+v", v)
		}
	}
	seen := map[int]int{}
	eventually(t, "both have answered", func() bool {
		seen[askDatagram(t, at)]++
		return seen[pids[0]] > 0 && seen[pids[1]] > 0
	})
	if len(seen) != 2 {
		t.Errorf("answers by pid: %v, want only those of %v", seen, pids)
	}
	if len(s.keys("c/s")) != 0 || s.log() != "" {
		t.Errorf("the keeper has %v, the log says %q", s.keys("c/s"), s.log())
	}
}

// askDatagram asks from a port of its own, which the program may bind, too.
func askDatagram(t *testing.T, at string) (pid int) {
	t.Helper()
	c, err := net.Dial("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprint(c, "who?")
	b := make([]byte, 20)
	n, err := c.Read(b)
	if err == nil {
		pid, err = strconv.Atoi(string(b[:n]))
	}
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// TestDatagramsOfAClient: a program that binds the port it asks from gets its answers.
func TestDatagramsOfAClient(t *testing.T) {
	s := newScene(t)
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() { // ends with the socket
		b := make([]byte, 100)
		for {
			n, from, err := server.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = server.WriteTo(b[:n], from)
		}
	}()
	for index, from := range []string{"127.0.0.1:0", fmt.Sprintf("127.0.0.1:%d", freePort(t))} {
		p := start(t, s.Open(app("client"), index), 1, "udpask", from, server.LocalAddr().String(), "serve")
		p.expect("answered")
	}
}

// TestUnixSocket is the program's own: the second instance doesn't get it.
func TestUnixSocket(t *testing.T) {
	s := newScene(t)
	path := t.TempDir() + "/s"
	a := start(t, s.Open(app("web"), 0), 1, "unix", path, "serve")
	a.expect("unix " + path)
	b := start(t, s.Open(app("web"), 1), 1, "unix", path, "serve")
	b.expect("address already in use")
	if s.log() != "" {
		t.Errorf("the log says %q", s.log())
	}
}

// TestSeveralAddresses: a program with several ports, of both families, keeps all.
func TestSeveralAddresses(t *testing.T) {
	s := newScene(t)
	one, two := freePort(t), freePort(t)
	words := []string{
		"plain", fmt.Sprintf("0.0.0.0:%d", one), "plain6only", fmt.Sprintf("[::]:%d", one),
		"listen", fmt.Sprintf("127.0.0.1:%d", two), "listen", fmt.Sprintf("[::1]:%d", two), "accept", "serve",
	}
	slots := []*Slot{s.Open(app("web"), 0), s.Open(app("web"), 1)}
	var running []*program
	for _, slot := range slots {
		p := start(t, slot, 1, words...)
		for range 4 {
			p.expect("listen ")
		}
		running = append(running, p)
	}
	check := func(pids ...int) {
		t.Helper()
		for _, at := range []string{"127.0.0.1", "[::1]"} {
			for _, port := range []int{one, two} {
				seen := map[int]bool{}
				eventually(t, "all have answered", func() bool {
					seen[ask(t, fmt.Sprintf("%s:%d", at, port))] = true
					for _, pid := range pids {
						if !seen[pid] {
							return false
						}
					}
					return true
				})
				if len(seen) != len(pids) {
					t.Errorf("%s:%d: answered by %v, want %v", at, port, seen, pids)
				}
			}
		}
	}
	check(running[0].pid, running[1].pid)
	running[0].kill()
	slots[0].Follow(Condition{Inc: 2, Alive: true})
	check(running[1].pid)
	p := start(t, slots[0], 2, words...)
	for range 4 {
		p.expect("listen ")
	}
	check(p.pid, running[1].pid)
	if n := len(s.keys(keySocket)); n != 8 {
		t.Errorf("the keeper has %d sockets, want 8", n)
	}
}

// TestDualStackIsInTheWay of a second socket of the same program, as without us.
func TestDualStackIsInTheWay(t *testing.T) {
	s := newScene(t)
	port := freePort(t)
	p := start(t, s.Open(app("web"), 0), 1, "listen", fmt.Sprintf("[::]:%d", port), "plain", fmt.Sprintf("0.0.0.0:%d", port), "serve")
	p.expect("listen [::]")
	p.expect("address already in use")
}

// TestDescendants count as the instance: a shell that starts a server, and one that
// starts it in the background.
func TestDescendants(t *testing.T) {
	s := newScene(t)
	at := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	line := strings.Join([]string{self, "actor", "listen", at, "accept", "serve"}, " ")
	for index, script := range []string{"exec " + line, line + "; exit 1", line + " & wait"} {
		slot := s.Open(app("web"), index)
		p := startProgram(t, slot, 1, []string{"/bin/sh", "-c", script}, &syscall.SysProcAttr{Setpgid: true})
		t.Cleanup(func() { _ = syscall.Kill(-p.pid, syscall.SIGKILL) })
		p.expect("listen " + at)
		if v := slot.View(); !v.Ready || len(v.Addresses) != 1 {
			t.Errorf("%s: its view is %+v", script, v)
		}
	}
	gate := t.TempDir() + "/gate"
	if err := syscall.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	slot := s.Open(app("web"), 3)
	script := line + " & read go < " + gate + "; " + line + " & wait"
	p := startProgram(t, slot, 1, []string{"/bin/sh", "-c", script}, &syscall.SysProcAttr{Setpgid: true})
	t.Cleanup(func() { _ = syscall.Kill(-p.pid, syscall.SIGKILL) })
	p.expect("listen " + at)
	p.expect("serving")
	slot.Follow(Condition{Inc: 1, Alive: true, Pid: p.pid})
	if err := os.WriteFile(gate, []byte("go\n"), 0); err != nil {
		t.Fatal(err)
	}
	p.expect("address already in use") // as without us
}
