package daemon

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"gopm/daemon/supervise"
)

// TestTenureWalk has one machine's instances start, crash, be stopped and appear from
// nowhere, while a lock comes and goes, and what is seen of it is late. Nobody runs who
// wasn't let in while the lock was held; never do two; and the lock is given back only
// when all are dead.
func TestTenureWalk(t *testing.T) {
	for seed := range uint64(300) {
		w := &tenureWalk{Rand: rand.New(rand.NewPCG(seed, 3)), keeps: seed%4 == 3}
		for range 1 + w.IntN(3) {
			w.all = append(w.all, &actor{inc: 1})
		}
		for range 5000 {
			w.move()
			if w.fault != "" {
				t.Fatalf("seed %d: %s", seed, w.fault)
			}
		}
		if w.runs < 10 {
			t.Errorf("seed %d: only %d runs", seed, w.runs)
		}
	}
}

// actor is an instance.
type actor struct {
	inc    uint64
	waits  bool // at the entrance
	begun  bool
	alive  bool
	stray  bool // it is there without having been let in
	doomed bool
}

type tenureWalk struct {
	*rand.Rand
	keeps bool
	all   []*actor
	lock  lockView // as it is
	seen  lockView // as it was last seen
	tenure[int]
	runs  int
	fault string
}

func (w *tenureWalk) move() {
	a := w.all[w.IntN(len(w.all))]
	switch w.IntN(9) {
	case 0: // somebody starts it, or it starts again
		if !a.alive && !a.begun && !a.waits {
			a.inc++
			a.waits = true
		}
	case 1: // it gives up waiting
		a.waits = false
	case 2: // what was let in is there
		if a.begun {
			a.begun, a.alive, a.doomed = false, true, false
			w.runs++
		}
	case 3: // it can't be started
		a.begun = false
	case 4, 5:
		if a.alive && (a.doomed || w.IntN(4) == 0) {
			a.alive, a.stray = false, false
		}
	case 6:
		w.change()
	case 7:
		w.seen = w.lock
	case 8:
		if w.IntN(20) == 0 && !a.alive && !a.begun {
			a.inc++
			a.alive, a.stray, a.waits = true, true, false
		}
	}
	w.look()
	w.check()
}

// change is what Consul does.
func (w *tenureWalk) change() {
	switch {
	case w.lock.held && w.IntN(3) == 0:
		w.lock.held, w.lock.lost = false, true
	case !w.lock.held && !w.lock.lost:
		w.lock.held = true
		w.lock.term++
	}
}

func (w *tenureWalk) look() {
	var all []claim[int]
	for i, a := range w.all {
		all = append(all, claim[int]{stint: stint[int]{i, a.inc}, waits: a.waits, begun: a.begun, alive: a.alive})
	}
	next, motions := w.tenure.look(w.seen, all, w.keeps)
	w.tenure = next
	for _, m := range motions {
		a := w.all[m.who.who]
		switch m.do {
		case admit:
			if !a.waits || a.inc != m.who.inc || !w.seen.held {
				w.fault = fmt.Sprintf("%+v is let in with %+v", *a, w.seen)
			}
			a.waits, a.begun = false, true
		case dismiss:
			if w.keeps && !w.seen.held {
				w.fault = "what should go on is killed"
			}
			a.doomed = true
			if a.begun {
				a.begun = false
			}
		case yield:
			for _, a := range w.all {
				if (a.alive || a.begun) && !w.keeps {
					w.fault = fmt.Sprintf("the lock is given back while %+v is there", *a)
				}
			}
			if w.seen.term == w.lock.term {
				w.lock.held, w.lock.lost = false, false
			}
		}
	}
}

func (w *tenureWalk) check() {
	n := 0
	for _, a := range w.all {
		if (a.alive || a.begun) && !a.stray && !a.doomed {
			n++
		}
	}
	if n > 1 && !w.keeps {
		w.fault = fmt.Sprintf("%d run", n)
	}
}

// TestLicenseWalk has instances that are held back become active by themselves as long as
// that is allowed, and die, while a lock comes and goes. The lock is given back only when
// nobody is active, nor may become it; and who is active without it is ended.
func TestLicenseWalk(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 5))
		keeps := seed%4 == 3
		all := make([]*actor, 1+r.IntN(3)) // begun: allowed to be active, and not seen to be yet
		for i := range all {
			all[i] = &actor{inc: 1}
		}
		var l license
		var lock lockView
		allowed, runs := false, 0
		for move := range 5000 {
			a := all[r.IntN(len(all))]
			switch r.IntN(7) {
			case 0:
				if !a.alive && !a.begun {
					a.waits = true // booted
				}
			case 1: // who may be active becomes it: a job is begun before it is there
				isFree := true
				for _, o := range all {
					isFree = isFree && !o.alive && !o.begun
				}
				if allowed && a.waits && isFree {
					a.waits, a.begun = false, true
				}
			case 2:
				if a.begun {
					a.begun, a.alive, a.doomed = false, true, false
					runs++
				}
			case 3:
				if a.alive && (a.doomed || r.IntN(3) == 0) {
					a.alive = false
					a.inc++
				}
			case 4:
				if lock.held && r.IntN(4) == 0 {
					lock.held, lock.lost = false, true
				}
			case 5:
				if !lock.held && !lock.lost {
					lock.held = true
					lock.term++
				}
			case 6:
				a.waits = a.waits && r.IntN(4) > 0
			}
			var seen []claim[*instance]
			for _, a := range all {
				seen = append(seen, claim[*instance]{stint: stint[*instance]{nil, a.inc}, waits: a.waits, begun: a.begun, alive: a.alive})
			}
			next, motions := l.look(lock, seen, keeps)
			l = next
			for _, m := range motions {
				switch m.do {
				case allow:
					if allowed = lock.held; !allowed {
						t.Fatalf("seed %d, move %d: allowed without the lock", seed, move)
					}
				case forbid:
					allowed = false
				case dismiss:
					if lock.held || keeps {
						t.Fatalf("seed %d, move %d: killed, with %+v", seed, move, lock)
					}
					for _, a := range all {
						a.doomed = a.doomed || a.alive
					}
				case yield:
					for _, a := range all {
						if allowed || (a.alive || a.begun) && !keeps {
							t.Fatalf("seed %d, move %d: given back while one may be active: %+v", seed, move, *a)
						}
					}
					lock.held, lock.lost = false, false
				}
			}
		}
		if runs < 10 {
			t.Errorf("seed %d: only %d runs", seed, runs)
		}
	}
}

// TestOthersTurn: other machines have the first turn, unless a peer is booted here that has
// just not led.
func TestOthersTurn(t *testing.T) {
	had, other := stint[*instance]{&instance{}, 3}, stint[*instance]{&instance{}, 1}
	for _, tt := range []struct {
		manner manner
		all    []claim[*instance]
		first  bool
	}{
		{mannerRole, []claim[*instance]{{stint: had}, {stint: other, waits: true}}, false},
		{mannerRole, []claim[*instance]{{stint: had}, {stint: other}}, true},              // it isn't ready
		{mannerRole, []claim[*instance]{{stint: had, waits: true}, {stint: other}}, true}, // it has lost the lock and goes on
		{mannerRole, []claim[*instance]{{stint: had}}, true},
		{mannerGate, []claim[*instance]{{stint: had}, {stint: other, waits: true}}, true}, // it has to boot
	} {
		h := &holding{manner: tt.manner}
		if turn := h.othersTurn(tt.all, had); turn > 0 != tt.first {
			t.Errorf("%v, %+v: others have %v", tt.manner, tt.all, turn)
		}
	}
}

// TestClaimIsOfOneIncarnation: an entrance is newer than the snapshot that was read before it. Its
// incarnation isn't alive because the one before is: it was dismissed for that.
func TestClaimIsOfOneIncarnation(t *testing.T) {
	in := &instance{proc: supervise.New(supervise.Config{})}
	t.Cleanup(in.proc.Abandon)
	h := &holding{manner: mannerGate}
	now := in.proc.Snapshot().Incarnation
	for inc, waits := range map[uint64]bool{now: true, now + 1: false} {
		in.entrance.Store(&entrance{inc: inc, open: make(chan struct{})})
		if c := in.claim(h); c.inc != now || c.waits != waits {
			t.Errorf("the process's incarnation is %d, %d waits: claim %+v, want that of %d, waits: %v", now, inc, c, now, waits)
		}
	}
}
