package supervise

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"
)

// lives is a Process whose daemon dies now and then.
type lives struct {
	*stage
	r     *rand.Rand
	story []string
}

// TestDeathsInAnyState: whatever happens between the deaths of daemons, there is
// never a second process, no state without its timer, and nothing that a death by
// itself has changed.
func TestDeathsInAnyState(t *testing.T) {
	t.Parallel()
	seeds, steps := 60, 60
	if testing.Short() {
		seeds = 10
	}
	died := map[State]int{}
	pol := testPolicy()
	pol.MaxRestarts, pol.Ready, pol.PreStop = 3, 2*time.Second, time.Second
	for seed := range seeds {
		l := &lives{stage: newStageWith(t, pol), r: rand.New(rand.NewPCG(uint64(seed), 3))}
		for range steps {
			if l.r.IntN(3) > 0 {
				l.live()
			} else {
				died[l.Machine().State]++
				l.die()
			}
			l.calm()
			if err := l.check(); err != nil {
				t.Fatalf("seed %d: %v in %+v\n%q", seed, err, l.Machine(), l.story[max(0, len(l.story)-12):])
			}
		}
	}
	for _, st := range []State{Stopped, Starting, Unready, Online, Stopping, Killing, Clearing, Backoff, Errored} {
		if died[st] == 0 && !testing.Short() {
			t.Errorf("no daemon died with a %v process", st)
		}
	}
}

// live lets something happen.
func (l *lives) live() {
	m := l.Machine()
	pick := l.r.IntN(10)
	l.story = append(l.story, fmt.Sprintf("%v %d", m.State, pick))
	switch {
	case pick == 0:
		l.Stop()
	case pick == 1:
		l.Restart("")
	case pick < 3:
		l.Start()
	case pick < 4:
		l.Ready(m.Inc)
	case pick < 6 && m.Run.Pid != 0:
		l.kernel.last().die(Exit{Code: 1}, l.r.IntN(3) == 0)
	case pick < 7 && m.State == Clearing:
		l.kernel.cleared().gone()
	default:
		l.clock.advance(time.Duration(l.r.IntN(3000))*time.Millisecond, l.calm)
	}
	l.sync()
}

// die ends the daemon in one of the ways it may end.
func (l *lives) die() {
	l.t.Helper()
	l.Abandon()
	m, found, untouched := l.Machine(), Run{}, false
	pick := l.r.IntN(4)
	switch {
	case pick == 0 && m.Run.Pid != 0: // its process ends too, and somebody else reaps it
		l.kernel.last().lost()
	case pick == 1 && m.Run.Pid != 0: // it had just decided, and not yet done anything
		m, _ = Step(m, l.policy, Event{Kind: []EventKind{EvStop, EvRestart}[l.r.IntN(2)], At: l.clock.Now()})
	case pick == 2: // the note is an old one
		notes := l.notes()
		if n := len(notes); n > 1 {
			old := notes[n-2]
			if m.Run.Pid != 0 && m.Run != old.Run {
				m, found = old, m.Run
			}
		}
	default:
		untouched = true
	}
	l.story = append(l.story, fmt.Sprintf("%v dies %d, found %d", m.State, pick, found.Pid))
	note, err := json.Marshal(m)
	if err != nil {
		l.t.Fatal(err)
	}
	l.restore(note, found)
	if now := l.Machine(); untouched && m.State != Clearing && !reflect.DeepEqual(now, m) && m.State != Killing {
		l.t.Errorf("a death made\n%+v of\n%+v", now, m)
	}
}

func (l *lives) check() error {
	m := l.Machine()
	if n := l.kernel.alive(); n > 1 {
		return fmt.Errorf("%d processes", n)
	} else if n == 1 != (m.Run.Pid != 0) {
		return fmt.Errorf("%d processes", n)
	}
	l.clock.mu.Lock()
	timers := len(l.clock.timers)
	l.clock.mu.Unlock()
	if armed := m.Timer.Armed; armed != (timers == 1) || timers > 1 {
		return fmt.Errorf("%d timers", timers)
	}
	switch m.State {
	case Starting, Unready, Parting, Stopping, Killing, Clearing, Backoff:
		if !m.Timer.Armed {
			return fmt.Errorf("no timer")
		}
	}
	return nil
}
