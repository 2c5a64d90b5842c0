package cluster

import (
	"fmt"
	"sync"
	"testing"
)

// answering is which of some programs answer a number of connections.
func answering(t *testing.T, at string, times int) map[int]bool {
	t.Helper()
	pids := map[int]bool{}
	for range times {
		pids[ask(t, at)] = true
	}
	return pids
}

// TestWhoIsUnwellIsAvoided: by every way of spreading connections, as long as another is
// well; and its successor is.
func TestWhoIsUnwellIsAvoided(t *testing.T) {
	for _, balance := range []Balance{Even, Random, Source} {
		s := newScene(t)
		a := app("web")
		a.Balance = balance
		at := fmt.Sprintf("127.0.0.1:%d", freePort(t))
		var all []*program
		for i := range 3 {
			p := start(t, s.Open(a, i), 1, "listen", at, "accept", "serve")
			p.expect("listen " + at)
			p.expect("serving")
			all = append(all, p)
		}
		const many = 40 // by chance one of three is left out by so many once in 10,000,000 times
		all[1].slot.Unwell(1)
		if got := answering(t, at, many); got[all[1].pid] {
			t.Errorf("balance %d: who is unwell answers", balance)
		}
		all[0].slot.Unwell(1)
		all[2].slot.Unwell(1)
		if balance != Source {
			awaitAnswers(t, at, all[0], all[1], all[2])
		}
		all[0].slot.Unwell(0)
		if got := answering(t, at, many); len(got) != 1 || !got[all[0].pid] {
			t.Errorf("balance %d: %v answer, and only %d is well", balance, got, all[0].pid)
		}
		all[2].slot.Unwell(7) // of another incarnation
		if got := answering(t, at, many); got[all[1].pid] {
			t.Errorf("balance %d: who is unwell answers", balance)
		}
		if balance != Source {
			awaitAnswers(t, at, all[0], all[2])
		}
	}
}

// awaitAnswers connects until each of some programs has answered.
func awaitAnswers(t *testing.T, at string, who ...*program) {
	t.Helper()
	missing := map[int]bool{}
	for _, p := range who {
		missing[p.pid] = true
	}
	eventually(t, "all of them answer", func() bool {
		delete(missing, ask(t, at))
		return len(missing) == 0
	})
}

// TestManyTaps: each instance is reached by whoever wants it, at the same time as others;
// and when nobody wants that any more nothing is left of it.
func TestManyTaps(t *testing.T) {
	s := newScene(t)
	at := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	var all []*program
	for i := range 3 {
		p := start(t, s.Open(app("web"), i), 1, "listen", at, "accept", "serve")
		p.expect("listen " + at)
		p.expect("serving")
		all = append(all, p)
	}
	all[0].slot.Unwell(1) // it is reached all the same
	var asking sync.WaitGroup
	for _, p := range all {
		for range 3 {
			asking.Go(func() { // ends with its connections, which are waited for
				for range 10 {
					if pid, err := tapAndAsk(p.slot, at); err != nil || pid != p.pid {
						t.Errorf("%d answers, %v, want %d", pid, err, p.pid)
					}
				}
			})
		}
	}
	asking.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range all {
		if len(p.slot.taps) > 0 {
			t.Errorf("left over: %v", p.slot.taps)
		}
	}
}
