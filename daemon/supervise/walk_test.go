package supervise

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"syscall"
	"testing"
	"time"
)

// world is a kernel and a clock for one machine: it knows what lives, which
// timer runs, and what is out of date.
type world struct {
	r       *rand.Rand
	m       Machine
	pol     Policy
	now     time.Time
	pending bool // a spawn is under way
	live    bool // the main process lives
	left    bool // it is dead, part of its tree lives
	timer   bool
	due     time.Time
	seen    map[[2]int]bool // pairs reached
	story   []string
}

func newWorld(seed uint64) *world {
	r := rand.New(rand.NewPCG(seed, 1))
	return &world{r: r, now: t0, seen: map[[2]int]bool{}, pol: Policy{
		Autorestart: r.IntN(4) > 0, StopExitCodes: []int{7}, MinUptime: time.Duration(r.IntN(3)) * time.Second,
		MaxRestarts: r.IntN(5), MaxExplicit: r.IntN(2) == 0, RestartDelay: time.Duration(r.IntN(2)) * time.Second,
		BackoffStart: time.Duration(r.IntN(2)) * 100 * time.Millisecond,
		Ready:        time.Duration(r.IntN(3)) * time.Second, PreStop: time.Duration(r.IntN(2)) * time.Second,
		KillSignal: syscall.SIGINT, KillTimeout: time.Duration(r.IntN(3)) * time.Second, TreeKill: r.IntN(2) == 0,
	}}
}

// next is something that may happen now.
func (w *world) next() Event {
	ev := Event{At: w.now, Inc: w.m.Inc, Epoch: w.m.Timer.Epoch}
	pick := w.r.IntN(10)
	switch {
	case w.r.IntN(30) == 0: // the daemon has died, and the next one reads an old note
		ev.Kind, ev.Run, ev.Exit = EvFound, Run{Pid: 500, Started: w.now}, Exit{Code: Unknown}
	case w.r.IntN(20) == 0:
		ev.Kind, ev.Cause = EvHang, "stuck"
	case w.r.IntN(20) == 0:
		ev.Kind, ev.Cause = EvFail, "no answer"
	case w.r.IntN(8) == 0:
		ev.Kind = EvReady
	case w.r.IntN(20) == 0 || w.m.State == Parting && pick > 7 && w.r.IntN(2) == 0:
		ev.Kind = EvParted
	case pick < 3:
		ev.Kind = []EventKind{EvStart, EvStop, EvRestart, EvReset}[w.r.IntN(4)]
	case pick < 8 && w.pending:
		ev.Kind, ev.Run = EvSpawned, Run{Pid: 1 + int(w.m.Inc), Started: w.now}
		if w.r.IntN(4) == 0 {
			ev.Kind, ev.Run, ev.Exit = EvExited, Run{}, Exit{Err: "no"}
		}
	case pick < 6 && w.live:
		ev.Kind, ev.Exit, ev.Remains = EvExited, Exit{Code: 7 * w.r.IntN(2)}, Remains{Pid: w.r.IntN(3) / 2}
	case pick < 6 && w.left:
		ev.Kind = EvCleared
	case pick < 9 && w.timer:
		w.now = w.due
		ev.Kind, ev.At = EvTimer, w.now
	default:
		return w.stale()
	}
	return ev
}

// stale is news of the past, or of a timer that doesn't run.
func (w *world) stale() Event {
	ev := Event{Kind: []EventKind{EvSpawned, EvExited, EvCleared, EvTimer, EvHang, EvReady, EvFail, EvParted}[w.r.IntN(8)], At: w.now, Inc: w.m.Inc - 1, Epoch: w.m.Timer.Epoch}
	if w.timer {
		ev.Epoch -= 1 + uint64(w.r.IntN(2))
	}
	return ev
}

func (w *world) isStale(ev Event) bool {
	if ev.Kind == EvTimer {
		return ev.Epoch != w.m.Timer.Epoch || !w.timer
	}
	return ev.Kind >= EvSpawned && ev.Kind != EvFound && ev.Inc != w.m.Inc
}

// happen takes the event into the world, then carries out the machine's answer.
func (w *world) happen(ev Event) error {
	stale, was := w.isStale(ev), w.m
	w.seen[[2]int{int(was.State), int(ev.Kind)}] = true
	w.story = append(w.story, fmt.Sprintf("%v/%v", was.State, ev.Kind))
	if !stale {
		switch ev.Kind {
		case EvSpawned:
			w.pending, w.live = false, true
		case EvExited:
			w.pending, w.live, w.left = false, false, ev.Remains.Pid != 0
		case EvCleared:
			w.left = false
		case EvTimer:
			w.timer = false
		case EvFound:
			w.pending, w.live, w.left, w.timer = false, true, false, false
			was = w.throughJSON(was)
		}
	}
	m, acts := Step(was, w.pol, ev)
	if stale && (m != was || len(acts) > 0) {
		return fmt.Errorf("stale %v changed %+v to %+v", ev.Kind, was, m)
	}
	w.m = m
	for _, a := range acts {
		if err := w.do(a); err != nil {
			return err
		}
	}
	return w.check()
}

// throughJSON is what the next daemon is told.
func (w *world) throughJSON(m Machine) (next Machine) {
	note, err := json.Marshal(m)
	if err == nil {
		err = json.Unmarshal(note, &next)
	}
	if err != nil || !reflect.DeepEqual(m, next) {
		panic(fmt.Sprintf("%+v became %+v in %s: %v", m, next, note, err))
	}
	return next
}

func (w *world) do(a Action) error {
	switch a.Kind {
	case ActSpawn:
		if w.pending || w.live || w.left {
			return fmt.Errorf("a second incarnation (pending %v, live %v, leftovers %v)", w.pending, w.live, w.left)
		}
		w.pending = true
	case ActSignal, ActPart:
		if !w.live {
			return fmt.Errorf("%v to nobody", a.Sig)
		}
	case ActClear:
		if !w.left {
			return fmt.Errorf("clearing nothing")
		}
	case ActGone:
		if w.live || w.left {
			return fmt.Errorf("gone, but it lives")
		}
	case ActArm:
		w.timer, w.due = true, w.now.Add(a.Delay)
	case ActDisarm:
		w.timer = false
	}
	return nil
}

// check holds the invariants.
func (w *world) check() error {
	m := w.m
	if w.timer != m.Timer.Armed {
		return fmt.Errorf("timer armed %v, runs %v", m.Timer.Armed, w.timer)
	}
	if most := max(w.pol.MaxRestarts, 1); m.Count.Unstable > most {
		return fmt.Errorf("%d unstable exits of %d", m.Count.Unstable, most)
	}
	if w.live != (m.Run.Pid != 0) {
		return fmt.Errorf("pid %d, lives %v", m.Run.Pid, w.live)
	}
	ok := false
	switch m.State {
	case Stopped, Errored:
		final := m.State == Stopped || w.pol.MaxExplicit || !w.pol.Autorestart
		ok = !w.live && !w.left && !w.pending && w.timer == !final
	case Spawning:
		ok = w.pending && !w.timer
	case Starting, Parting, Stopping, Killing:
		ok = w.live && w.timer
	case Unready:
		ok = w.live && w.timer && m.Ready == Awaited
	case Online:
		ok = w.live
	case Clearing:
		ok = w.left && w.timer
	case Backoff:
		ok = !w.live && !w.left && !w.pending && w.timer
	}
	if !ok {
		return fmt.Errorf("pending %v, live %v, left %v, timer %v", w.pending, w.live, w.left, w.timer)
	}
	return nil
}

// rest sees to it that a stop comes to its end whatever went before.
func (w *world) rest() error {
	err := w.happen(Event{Kind: EvStop, At: w.now})
	for n := 0; err == nil && w.m.State != Stopped; n++ {
		ev := Event{At: w.now, Inc: w.m.Inc, Epoch: w.m.Timer.Epoch}
		switch {
		case n > 10:
			return fmt.Errorf("never stops")
		case w.pending:
			ev.Kind, ev.Run = EvSpawned, Run{Pid: 1}
		case w.live:
			ev.Kind = EvExited
		case w.left:
			ev.Kind = EvCleared
		}
		err = w.happen(ev)
	}
	return err
}

// TestRandomWalks holds the invariants over many lives, and makes sure that the
// lives are rich enough to reach every pair of state and event.
func TestRandomWalks(t *testing.T) {
	t.Parallel()
	seeds := uint64(2000)
	if testing.Short() {
		seeds = 300
	}
	reached := map[[2]int]bool{}
	for seed := range seeds {
		w := newWorld(seed)
		var err error
		for n := 0; n < 300 && err == nil; n++ {
			err = w.happen(w.next())
		}
		if err == nil {
			err = w.rest()
		}
		if err != nil {
			t.Fatalf("seed %d: %v: %v\n%v", seed, w.m.State, err, w.story[max(0, len(w.story)-12):])
		}
		for p := range w.seen {
			reached[p] = true
		}
	}
	for s := range states {
		for k := range events {
			if !reached[[2]int{s, k}] {
				t.Errorf("%v in %v never happened", EventKind(k), State(s))
			}
		}
	}
}
