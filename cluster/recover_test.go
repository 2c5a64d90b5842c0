package cluster

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestRecover: without a keeper the sockets of what lives are had from the processes,
// and the order of the group from the kernel.
func TestRecover(t *testing.T) {
	first := newScene(t)
	at := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	var programs []*program
	for i := range 3 {
		p := start(t, first.Open(app("web"), i), 1, "listen", at, "accept", "serve")
		p.expect("listen")
		programs = append(programs, p)
	}
	for _, e := range first.die() { // and the keeper
		for _, fd := range e.fds {
			unix.Close(fd)
		}
	}
	second := newScene(t)
	second.Adopt(nil)
	var slots []*Slot
	for _, i := range []int{2, 0, 1} {
		s, err := second.Recover(app("web"), i, Survivor{Inc: 7, Pid: programs[i].pid})
		if err != nil {
			t.Fatal(err)
		}
		s.Follow(Condition{Inc: 7, Pid: programs[i].pid, Alive: true, Settled: true})
		slots = append(slots, s)
	}
	second.Resume()
	second.inOrder()
	for i, s := range slots {
		if v := s.View(); !v.Ready || fmt.Sprint(v.Addresses) != "["+at+"]" {
			t.Errorf("slot %d is %+v", i, v)
		}
	}
	programs[2].kill()
	slots[0].Follow(Condition{Inc: 8, Alive: true})
	programs[0].kill()
	slots[1].Follow(Condition{Inc: 8, Alive: true})
	for range 20 {
		if pid := ask(t, at); pid != programs[1].pid {
			t.Fatalf("answered by %d, want %d", pid, programs[1].pid)
		}
	}
	p := start(t, slots[0], 8, "listen", at, "accept", "serve")
	p.expect("listen " + at)
	eventually(t, "the successor answers", func() bool { return ask(t, at) == p.pid })
	second.inOrder()

	// And one more host goes on from the new keeper.
	numbers := []uint64{slots[0].Number(), slots[1].Number(), slots[2].Number()}
	third := newSceneWith(t, second.die())
	for _, problem := range third.Adopt(third.kept.left()) {
		t.Error(problem)
	}
	for i, n := range numbers {
		inc := []uint64{8, 8, 7}[i]
		third.Reopen(n, app("web"), i).Follow(Condition{Inc: inc, Alive: i != 1, Wait: time.Second})
	}
	third.Resume()
	third.inOrder()
	seen := map[int]bool{}
	for range 40 {
		seen[ask(t, at)] = true
	}
	if !seen[p.pid] || !seen[programs[1].pid] || len(seen) != 2 {
		t.Errorf("%v answered, want %d and %d", seen, p.pid, programs[1].pid)
	}
}

// TestRecoverGiven: what instances have in common is had back from one of them.
func TestRecoverGiven(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sock")
	for _, g := range []Given{{"unix", path}, {"tcp4", fmt.Sprintf("127.0.0.1:%d", freePort(t))}} {
		web := app("web")
		web.Given = []Given{g}
		web.Owner = Owner{Umask: -1}
		first := newScene(t)
		theirs, err := first.share(web, g) // as the program has it
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(theirs)
		first.die()
		second := newScene(t)
		if fd, err := second.share(web, g); err == nil {
			unix.Close(fd)
			t.Errorf("%s could be opened again: nothing is to be recovered", g)
		}
		second.RecoverGiven(web, false, os.Getpid())
		second.RecoverGiven(web, false, os.Getpid())
		fd, err := second.share(web, g)
		if err != nil {
			t.Fatal(err)
		}
		if cookie(fd) != cookie(theirs) || len(second.keys(keyCommon)) != 1 {
			t.Errorf("%s: it is another socket, or kept as %q", g, second.keys(keyCommon))
		}
		unix.Close(fd)
		second.Retain([]string{"web"})
		if n := len(second.keys(keyCommon)); n != 1 {
			t.Errorf("%s: %d are kept of an app that is there", g, n)
		}
		second.Retain([]string{"other"})
		if n := len(second.keys(keyCommon)); n != 0 {
			t.Errorf("%s: %d are kept of an app that is gone", g, n)
		}
		if c, err := net.Dial(g.Network, g.Address); err == nil {
			c.Close()
			t.Errorf("%s takes connections of an app that is gone", g)
		}
	}
}

// TestRecoverWhatWasLeft: a host that has recovered a slot dies before anybody was told
// whose it is.
func TestRecoverWhatWasLeft(t *testing.T) {
	first := newScene(t)
	at := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	slot := first.Open(app("web"), 0)
	p := start(t, slot, 1, "listen", at, "accept", "serve")
	p.expect("listen")
	second := newSceneWith(t, first.die())
	second.Adopt(second.kept.left())
	s, err := second.Recover(app("web"), 0, Survivor{Inc: 1, Pid: p.pid})
	if err != nil || s.Number() != slot.Number() {
		t.Fatalf("the slot %d (%v), want %d", s.Number(), err, slot.Number())
	}
	s.Follow(Condition{Inc: 1, Pid: p.pid, Alive: true})
	second.Resume()
	second.inOrder()
	if pid := ask(t, at); pid != p.pid || !s.View().Ready {
		t.Errorf("answered by %d, want %d; %+v", pid, p.pid, s.View())
	}
}

// inOrder asks the kernel whether the order of all groups is what the host thinks.
func (s *scene) inOrder() {
	s.t.Helper()
	s.Host.mu.Lock()
	defer s.Host.mu.Unlock()
	for a, g := range s.groups {
		var fds []int
		for _, k := range g.members {
			fds = append(fds, k.fd)
		}
		sorted := slices.Sorted(slices.Values(fds))
		order, err := kernelOrder(a, sorted)
		if err != nil || !slices.Equal(order, fds) || g.lost {
			s.t.Fatalf("%s: the kernel's order is %v (%v), ours %v (lost: %v)", a, order, err, fds, g.lost)
		}
		s.apply(g)
	}
}

// TestOrderOutlivesHosts: instances come, crash and go, and hosts die in between and
// meanwhile; the order is always the kernel's.
func TestOrderOutlivesHosts(t *testing.T) {
	at := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	type seat struct {
		number uint64
		index  int
		inc    uint64
		p      *program // nil: it has crashed
	}
	s := newScene(t)
	var all []*seat
	slots := map[uint64]*Slot{}
	run := func(o *seat) {
		o.inc++
		o.p = start(t, slots[o.number], o.inc, "listen", at, "serve")
		o.p.expect("listen " + at)
	}
	for step := range 40 {
		var o *seat
		if len(all) > 0 {
			o = all[rand.IntN(len(all))]
		}
		switch what := rand.IntN(6); {
		case o == nil || what == 0 && len(all) < 5:
			slot := s.Open(app("web"), step)
			o = &seat{number: slot.Number(), index: step}
			slots[o.number] = slot
			all = append(all, o)
			run(o)
		case what == 1 && o.p != nil:
			o.p.kill()
			slots[o.number].Follow(Condition{Inc: o.inc, Wait: time.Second})
			o.p = nil
		case what == 2 && o.p == nil:
			run(o)
		case what == 3:
			if o.p != nil {
				o.p.kill()
			}
			slots[o.number].Close()
			all = slices.DeleteFunc(all, func(other *seat) bool { return other == o })
		default:
			kept := s.die()
			if o.p != nil && what == 4 {
				o.p.kill()
				o.p = nil
			}
			s = newSceneWith(t, kept)
			for _, problem := range s.Adopt(kept.left()) {
				t.Fatal(problem)
			}
			for _, o := range all {
				slots[o.number] = s.Reopen(o.number, app("web"), o.index)
				slots[o.number].Follow(Condition{Inc: o.inc, Alive: o.p != nil, Wait: time.Second})
			}
			s.Resume()
		}
		s.inOrder()
	}
}
