package cluster

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// keeper is what the keeper is to a host: it outlives it.
type keeper map[string]entry

type entry struct {
	note []byte
	fds  []int
}

func (k keeper) keep(key string, note []byte, fds []int) {
	e := k[key]
	if note == nil || len(fds) > 0 {
		for _, fd := range e.fds {
			unix.Close(fd)
		}
		e.fds = nil
	}
	if note == nil && len(fds) == 0 {
		delete(k, key)
		return
	}
	for _, fd := range fds {
		own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			panic(err)
		}
		e.fds = append(e.fds, own)
	}
	e.note = slices.Clone(note)
	k[key] = e
}

// left is everything, as the next host gets it.
func (k keeper) left() (all []Left) {
	for key, e := range k {
		l := Left{Key: key, Note: e.note}
		for _, fd := range e.fds {
			own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				panic(err)
			}
			l.Files = append(l.Files, os.NewFile(uintptr(own), key))
		}
		all = append(all, l)
	}
	return all
}

// die ends the host as a death would: nothing is told to the keeper any more.
func (s *scene) die() keeper {
	s.mu.Lock()
	kept := maps.Clone(s.kept)
	s.kept = keeper{}
	s.mu.Unlock()
	s.close()
	return kept
}

// heir is the host after one that has died. Its slots are those of the numbers, each
// with a process of incarnation 1 that lives.
func heir(t *testing.T, kept keeper, numbers ...uint64) (*scene, []*Slot) {
	t.Helper()
	s := newSceneWith(t, kept)
	for _, problem := range s.Adopt(kept.left()) {
		t.Error(problem)
	}
	var slots []*Slot
	for i, n := range numbers {
		slot := s.Reopen(n, app("web"), i)
		slot.Follow(Condition{Inc: 1, Alive: true})
		slots = append(slots, slot)
	}
	s.Resume()
	return s, slots
}

// TestTheNextHostGoesOn: the death of a host is not to be noticed, nor is that of an
// instance after it.
func TestTheNextHostGoesOn(t *testing.T) {
	first := newScene(t)
	at := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	one, two := first.Open(app("web"), 0), first.Open(app("web"), 1)
	a := start(t, one, 1, "listen", at, "accept", "serve")
	b := start(t, two, 1, "listen", at, "accept", "serve")
	a.expect("listen")
	b.expect("listen")
	kept := first.die()
	if said := first.log(); said != "" {
		t.Errorf("its end was worth saying: %s", said)
	}
	seen := map[int]bool{}
	for range 40 {
		seen[ask(t, at)] = true
	}
	if !seen[a.pid] || !seen[b.pid] || len(seen) != 2 {
		t.Errorf("without a host %v answered, want %d and %d", seen, a.pid, b.pid)
	}

	second, slots := heir(t, kept, one.Number(), two.Number())
	for i, slot := range slots {
		if v := slot.View(); !v.Ready || v.Inc != 1 || fmt.Sprint(v.Addresses) != "["+at+"]" {
			t.Errorf("slot %d is %+v", i, v)
		}
	}
	a.kill()
	slots[0].Follow(Condition{Inc: 2, Alive: true})
	for range 20 {
		if pid := ask(t, at); pid != b.pid {
			t.Fatalf("answered by %d, want %d", pid, b.pid)
		}
	}
	b.kill()
	slots[1].Follow(Condition{Inc: 1, Down: true})
	answer := make(chan int)
	go func() { answer <- ask(t, at) }()
	c := start(t, slots[0], 2, "listen", at, "accept", "serve")
	c.expect("listen " + at)
	if pid := <-answer; pid != c.pid {
		t.Errorf("who waited was answered by %d, want %d", pid, c.pid)
	}
	if fresh := second.Open(app("web"), 2); fresh.Number() <= two.Number() {
		t.Errorf("a new slot has the number %d, and there was %d", fresh.Number(), two.Number())
	}
}

// TestDeathOfAnInstanceWithoutHost: what waits in its queue is served by the successor.
func TestDeathOfAnInstanceWithoutHost(t *testing.T) {
	first := newScene(t)
	at := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	slot := first.Open(app("web"), 0)
	a := start(t, slot, 1, "listen", at, "serve")
	a.expect("listen")
	kept := first.die()
	a.kill()
	answer := make(chan int)
	go func() { answer <- ask(t, at) }()
	_, slots := heir(t, kept, slot.Number())
	b := start(t, slots[0], 2, "listen", at, "accept", "serve")
	b.expect("listen " + at)
	if pid := <-answer; pid != b.pid {
		t.Errorf("answered by %d, want %d", pid, b.pid)
	}
}

// gated is a program that begins to listen when its gate is opened.
func gated(t *testing.T, slot *Slot, at string) (p *program, open func()) {
	t.Helper()
	gate := filepath.Join(t.TempDir(), "gate")
	p = start(t, slot, 1, "bind", "127.0.0.1:0", "wait", gate, "listen", at, "accept", "serve")
	p.expect("bind")
	return p, func() {
		if err := os.WriteFile(gate, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// sitsIn waits until a thread of a process sits in a call.
func sitsIn(t *testing.T, pid, call int) {
	t.Helper()
	eventually(t, fmt.Sprintf("process %d is in the call %d", pid, call), func() bool {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", pid))
		return slices.ContainsFunc(tasks, func(path string) bool {
			text, _ := os.ReadFile(path)
			return strings.HasPrefix(string(text), strconv.Itoa(call)+" ")
		})
	})
}

// TestACallWithoutHost waits for the next one.
func TestACallWithoutHost(t *testing.T) {
	first := newScene(t)
	at := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	slot := first.Open(app("web"), 0)
	p, open := gated(t, slot, at)
	kept := first.die()
	open()
	sitsIn(t, p.pid, unix.SYS_BIND)
	_, slots := heir(t, kept, slot.Number())
	p.expect("listen " + at)
	if pid := ask(t, at); pid != p.pid {
		t.Errorf("answered by %d, want %d", pid, p.pid)
	}
	if v := slots[0].View(); !v.Ready {
		t.Errorf("its view is %+v", v)
	}
}

// TestACallThatWasReceived is nobody's any more but for its number, which was noted.
// How far the dead host had got with it makes no difference.
func TestACallThatWasReceived(t *testing.T) {
	for name, done := range map[string]func(t *testing.T, s *scene, tn *tenant, n *notification){
		"nothing was done": func(*testing.T, *scene, *tenant, *notification) {},
		"it was bound": func(t *testing.T, _ *scene, tn *tenant, n *notification) {
			c := tn.look(n)
			defer c.close()
			_ = unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
			if err := bindTo(c.fd, c.sockaddr); err != nil {
				t.Fatal(err)
			}
		},
		"it was decided": func(t *testing.T, _ *scene, tn *tenant, n *notification) {
			c := tn.look(n)
			defer c.close()
			if v := tn.decide(n, c); v.errno != 0 || v.proceed {
				t.Fatalf("the verdict is %+v", v)
			}
			tn.remember()
		},
	} {
		t.Run(name, func(t *testing.T) {
			at := fmt.Sprintf("127.0.0.1:%d", freePort(t))
			first := newScene(t)
			slot := first.Open(app("web"), 0)
			p, open := gated(t, slot, at)
			key := fmt.Sprintf("%s%d/1", keyTenant, slot.Number())
			kept := first.die()

			// A second host gets as far as that and dies.
			second := newSceneWith(t, kept)
			second.Adopt(kept.left())
			reopened := second.Reopen(slot.Number(), app("web"), 0)
			reopened.Follow(Condition{Inc: 1, Alive: true})
			tn := reopened.tenants[1]
			open()
			var n notification
			if err := tn.calls.receive(&n); err != nil {
				t.Fatal(err)
			}
			tn.take(n)
			done(t, second, tn, &n)
			if note := string(kept[key].note); !strings.Contains(note, fmt.Sprint(n.id)) {
				t.Errorf("the keeper's note is %s, want the call %d in it", note, n.id)
			}
			kept = second.die()

			_, slots := heir(t, kept, slot.Number())
			p.expect("listen " + at)
			if pid := ask(t, at); pid != p.pid {
				t.Errorf("answered by %d, want %d", pid, p.pid)
			}
			if v := slots[0].View(); !v.Ready || len(v.Addresses) != 1 {
				t.Errorf("its view is %+v", v)
			}
		})
	}
}

// TestACallThatNobodyKnows: it was received, and the host died before it noted that.
func TestACallThatNobodyKnows(t *testing.T) {
	at := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	first := newScene(t)
	slot := first.Open(app("web"), 0)
	p, open := gated(t, slot, at)
	second := newSceneWith(t, first.die())
	second.Adopt(second.kept.left())
	tn := second.Reopen(slot.Number(), app("web"), 0).tenants[1]
	open()
	var n notification
	if err := tn.calls.receive(&n); err != nil {
		t.Fatal(err)
	}
	third := newSceneWith(t, second.die())
	third.Adopt(third.kept.left())
	third.Reopen(slot.Number(), app("web"), 0).Follow(Condition{Inc: 1, Pid: p.pid, Alive: true})
	third.Resume()
	eventually(t, "it is to be replaced", func() bool {
		third.mu.Lock()
		defer third.mu.Unlock()
		return slices.ContainsFunc(third.stuck, func(h Hang) bool { return h.Inc == 1 && h.Lost })
	})
}

// TestWhatNobodyReopens is closed, and the keeper forgets it.
func TestWhatNobodyReopens(t *testing.T) {
	first := newScene(t)
	at := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	a := start(t, first.Open(app("web"), 0), 1, "listen", at, "serve")
	a.expect("listen")
	kept := first.die()
	second, _ := heir(t, kept)
	if _, err := net.Dial("tcp", at); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got %v, want it refused", err)
	}
	a.kill()
	eventually(t, "the keeper has nothing more", func() bool { return len(second.keys("")) == 0 })
}

// TestRetell: a new keeper has what the first one had.
func TestRetell(t *testing.T) {
	s := newScene(t)
	at := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	slot := s.Open(app("web"), 0)
	a := start(t, slot, 1, "listen", at, "accept", "serve")
	a.expect("listen")
	s.mu.Lock()
	before := s.kept
	s.kept = keeper{}
	s.mu.Unlock()
	s.Retell()
	for key, was := range before {
		if now := s.kept[key]; len(now.fds) != len(was.fds) || now.note == nil {
			t.Errorf("%s: %s with %d descriptors, was %s with %d", key, now.note, len(now.fds), was.note, len(was.fds))
		}
	}
	_, slots := heir(t, s.die(), slot.Number())
	a.kill()
	slots[0].Follow(Condition{Inc: 1, Wait: time.Second})
	b := start(t, slots[0], 2, "listen", at, "accept", "serve")
	b.expect("listen")
	if pid := ask(t, at); pid != b.pid {
		t.Errorf("answered by %d, want %d", pid, b.pid)
	}
}

func TestSettled(t *testing.T) {
	for _, c := range []struct{ noted, listening, want string }{
		{"", "", ""},
		{"abc", "abc", "abc"},
		{"abc", "ab", "ab"}, // c was about to listen, or was the last and has ended
		{"abc", "bc", "cb"}, // a has ended
		{"abcd", "acd", "adc"},
		{"a", "", ""},
	} {
		got := settled(strings.Split(c.noted, ""), func(k string) bool { return strings.Contains(c.listening, k) })
		if strings.Join(got, "") != c.want {
			t.Errorf("%s of which %s listen: %q, want %q", c.noted, c.listening, got, c.want)
		}
	}
}

// TestAdoptWhatMakesNoSense: each is an error that names its key, and the rest goes on.
func TestAdoptWhatMakesNoSense(t *testing.T) {
	first := newScene(t)
	at := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	slot := first.Open(app("web"), 0)
	p := start(t, slot, 1, "listen", at, "accept", "serve")
	p.expect("listen")
	kept := first.die()
	left := kept.left()
	var bad []string
	for _, prefix := range []string{keySlot, keySocket, keyTenant, keyGroup, keyCommon} {
		for _, l := range []Left{{Key: prefix + "x", Note: []byte("{}")}, {Key: prefix + "7/x"}, {Key: prefix + "8/8", Note: []byte(`"no"`)}, {Key: prefix, Note: []byte(`{"address": 1}`)}} {
			left, bad = append(left, l), append(bad, l.Key)
		}
	}
	second := newSceneWith(t, kept)
	problems := second.Adopt(append(left, Left{Key: "c/other/1"}))
	for _, key := range bad {
		if !slices.ContainsFunc(problems, func(err error) bool { return strings.Contains(err.Error(), "go on with "+key+":") }) {
			t.Errorf("no error names %q: %v", key, problems)
		}
	}
	s := second.Reopen(slot.Number(), app("web"), 0)
	s.Follow(Condition{Inc: 1, Pid: p.pid, Alive: true})
	second.Resume()
	second.inOrder()
	if pid := ask(t, at); pid != p.pid || !s.View().Ready {
		t.Errorf("answered by %d, want %d; %+v", pid, p.pid, s.View())
	}
}
