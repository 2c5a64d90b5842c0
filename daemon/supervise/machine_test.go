package supervise

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

var t0 = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func testPolicy() Policy {
	return Policy{
		Autorestart: true, MinUptime: time.Second, MaxRestarts: 16, BackoffStart: 100 * time.Millisecond,
		KillSignal: syscall.SIGINT, KillTimeout: 5 * time.Second, TreeKill: true,
	}
}

// in is a machine in a state as it comes about in life.
func in(s State) Machine {
	m := Machine{State: s, Want: true, Inc: 7, Timer: Timer{Epoch: 3}, LastExit: &Exit{}}
	switch s {
	case Stopped:
		m.Want = false
	case Starting, Unready, Online, Parting, Stopping, Killing:
		m.Run = Run{Pid: 42, StartTime: 9, Started: t0}
		m.Timer.Armed = true
		if s == Unready {
			m.Ready = Awaited
		}
	case Clearing:
		m.Timer.Armed = true
		m.Plan = Plan{Then: thenRun, Due: t0.Add(time.Second), Delay: time.Second, Again: true}
	case Backoff:
		m.Timer.Armed = true
		m.Plan = Plan{Then: thenRun, Due: t0, Again: true}
	case Errored:
		m.Timer.Armed = true
		m.Plan = Plan{Then: thenFail, Due: t0, Again: true}
	}
	return m
}

func event(k EventKind) Event {
	return Event{Kind: k, At: t0, Inc: 7, Epoch: 3, Run: Run{Pid: 43}, Exit: Exit{Code: 1}}
}

func words(acts []Action) string {
	names := []string{"spawn", "part", "signal", "clear", "gone", "arm", "disarm"}
	var w []string
	for _, a := range acts {
		text := names[a.Kind]
		if a.Sig != 0 {
			text += "(" + SignalName(a.Sig) + ")"
		}
		if a.Kind == ActArm {
			text += "(" + a.Delay.String() + ")"
		}
		w = append(w, text)
	}
	return strings.Join(w, " ")
}

// TestEveryPair walks all pairs of state and event: "state wanted?: actions".
func TestEveryPair(t *testing.T) {
	t.Parallel()
	want := [states][events]string{
		Stopped: {
			"spawning true: spawn", "stopped false: ", "spawning true: spawn", "stopped false: ",
			"stopped false: ", "stopped false: ", "stopped false: ", "stopped false: ",
			"starting true: arm(1s)", "stopped false: ",
			"stopped false: ", "stopped false: ", "stopped false: ",
		},
		Spawning: {
			"spawning true: ", "spawning false: ", "spawning true: ", "spawning true: ",
			"starting true: arm(1s)", "backoff true: arm(100ms)", "spawning true: ", "spawning true: ",
			"starting true: arm(1s)", "spawning true: ",
			"spawning true: ", "spawning true: ", "spawning true: ",
		},
		Starting: {
			"starting true: ", "stopping false: signal(SIGINT) arm(5s)", "stopping true: signal(SIGINT) arm(5s)", "starting true: ",
			"starting true: ", "backoff true: gone disarm arm(100ms)", "starting true: ", "online true: ",
			"starting true: arm(1s)", "starting true: signal(SIGKILL)",
			"starting true: ", "stopping true: signal(SIGINT) arm(5s)", "starting true: ",
		},
		Unready: {
			"unready true: ", "stopping false: signal(SIGINT) arm(5s)", "stopping true: signal(SIGINT) arm(5s)", "unready true: ",
			"unready true: ", "backoff true: gone disarm arm(100ms)", "unready true: ", "stopping true: signal(SIGINT) arm(5s)",
			"starting true: arm(1s)", "unready true: signal(SIGKILL)",
			"online true: disarm", "stopping true: signal(SIGINT) arm(5s)", "unready true: ",
		},
		Online: {
			"online true: ", "stopping false: signal(SIGINT) arm(5s)", "stopping true: signal(SIGINT) arm(5s)", "online true: ",
			"online true: ", "spawning true: gone disarm spawn", "online true: ", "online true: ",
			"starting true: arm(1s)", "online true: signal(SIGKILL)",
			"online true: ", "stopping true: signal(SIGINT) arm(5s)", "online true: ",
		},
		Parting: {
			"parting true: ", "parting false: ", "parting true: ", "parting true: ",
			"parting true: ", "spawning true: gone disarm spawn", "parting true: ", "stopping true: signal(SIGINT) arm(5s)",
			"starting true: arm(1s)", "parting true: signal(SIGKILL)",
			"parting true: ", "parting true: ", "stopping true: signal(SIGINT) arm(5s)",
		},
		Stopping: {
			"stopping true: ", "stopping false: ", "stopping true: ", "stopping true: ",
			"stopping true: ", "spawning true: gone disarm spawn", "stopping true: ", "killing true: signal(SIGKILL) arm(5s)",
			"starting true: arm(1s)", "stopping true: ",
			"stopping true: ", "stopping true: ", "stopping true: ",
		},
		Killing: {
			"killing true: ", "killing false: ", "killing true: ", "killing true: ",
			"killing true: ", "spawning true: gone disarm spawn", "killing true: ", "killing true: signal(SIGKILL) arm(5s)",
			"starting true: arm(1s)", "killing true: ",
			"killing true: ", "killing true: ", "killing true: ",
		},
		Clearing: {
			"clearing true: ", "clearing false: ", "clearing true: ", "clearing true: ",
			"clearing true: ", "clearing true: ", "backoff true: gone disarm arm(1s)", "clearing true: clear(SIGKILL) arm(5s)",
			"starting true: arm(1s)", "clearing true: ",
			"clearing true: ", "clearing true: ", "clearing true: ",
		},
		Backoff: {
			"spawning true: disarm spawn", "stopped false: disarm", "spawning true: disarm spawn", "backoff true: ",
			"backoff true: ", "backoff true: ", "backoff true: ", "spawning true: spawn",
			"starting true: arm(1s)", "backoff true: ",
			"backoff true: ", "backoff true: ", "backoff true: ",
		},
		Errored: {
			"spawning true: disarm spawn", "stopped false: disarm", "spawning true: disarm spawn", "errored true: ",
			"errored true: ", "errored true: ", "errored true: ", "spawning true: spawn",
			"starting true: arm(1s)", "errored true: ",
			"errored true: ", "errored true: ", "errored true: ",
		},
	}
	for st := range State(states) {
		for k := range EventKind(events) {
			if table[st][k] == nil {
				t.Fatalf("no rule for %v in %v", k, st)
			}
			ev := event(k)
			if st == Spawning {
				ev.Exit = Exit{Err: "no such file"}
			}
			m, acts := Step(in(st), testPolicy(), ev)
			if got := fmt.Sprintf("%v %v: %s", m.State, m.Want, words(acts)); got != want[st][k] {
				t.Errorf("%v in %v:\n got %q\nwant %q", k, st, got, want[st][k])
			}
		}
	}
}

// TestStaleNewsChangesNothing covers every state: news of another incarnation and
// timers of another epoch, or of the same epoch but disarmed.
func TestStaleNewsChangesNothing(t *testing.T) {
	t.Parallel()
	for st := range State(states) {
		for _, k := range []EventKind{EvSpawned, EvExited, EvCleared, EvTimer, EvHang, EvReady, EvFail, EvParted} {
			for _, off := range []int{-1, +1} {
				ev := event(k)
				ev.Inc, ev.Epoch = uint64(7+off), uint64(3+off)
				unchanged(t, in(st), ev)
			}
		}
		disarmed := in(st)
		disarmed.Timer.Armed = false
		unchanged(t, disarmed, event(EvTimer))
	}
}

func unchanged(t *testing.T, m Machine, ev Event) {
	t.Helper()
	if got, acts := Step(m, testPolicy(), ev); got != m || len(acts) > 0 {
		t.Errorf("stale %v in %v: became %v, actions %q", ev.Kind, m.State, got.State, words(acts))
	}
}

// life drives a machine through a story, keeping the timers in mind.
type life struct {
	t   *testing.T
	m   Machine
	pol Policy
	now time.Time
	acc []Action // of the last event
}

func newLife(t *testing.T) *life { return &life{t: t, pol: testPolicy(), now: t0} }

func (l *life) on(k EventKind) *life { return l.ev(Event{Kind: k}) }

func (l *life) ev(ev Event) *life {
	ev.At, ev.Inc, ev.Epoch = l.now, l.m.Inc, l.m.Timer.Epoch
	if ev.Kind == EvSpawned {
		ev.Run = Run{Pid: 100 + int(ev.Inc), Started: l.now}
	}
	l.m, l.acc = Step(l.m, l.pol, ev)
	return l
}

func (l *life) exit(code int) *life { return l.ev(Event{Kind: EvExited, Exit: Exit{Code: code}}) }

func (l *life) after(d time.Duration) *life { l.now = l.now.Add(d); return l }

// up brings it online.
func (l *life) up() *life {
	return l.on(EvStart).on(EvSpawned).after(time.Second).on(EvTimer).is(Online)
}

func (l *life) is(s State) *life {
	l.t.Helper()
	if l.m.State != s {
		l.t.Fatalf("is %v, want %v", l.m.State, s)
	}
	return l
}

func (l *life) armed() time.Duration {
	for _, a := range l.acc {
		if a.Kind == ActArm {
			return a.Delay
		}
	}
	return -1
}

func TestBackoffGrowsAndEndsErrored(t *testing.T) {
	t.Parallel()
	l := newLife(t).on(EvStart)
	want := []time.Duration{100, 150, 225, 337, 506, 759, 1139, 1708, 2562, 3844, 5766, 8649, 12974, 15000, 15000}
	for _, ms := range want {
		l.on(EvSpawned).exit(1).is(Backoff)
		if got := l.armed().Truncate(time.Millisecond); got != ms*time.Millisecond {
			t.Fatalf("after %d unstable exits: %v, want %v", l.m.Count.Unstable, got, ms*time.Millisecond)
		}
		l.on(EvTimer).is(Spawning)
	}
	l.on(EvSpawned).exit(1).is(Errored)
	if l.m.Count.Restarts != 15 || l.armed() != retryErrored {
		t.Errorf("restarts %d (pm2 shows 15), next try in %v", l.m.Count.Restarts, l.armed())
	}
	if s := l.m.snapshot(); !s.NextTry.Equal(l.now.Add(retryErrored)) {
		t.Errorf("next try %v", s.NextTry)
	}
	l.on(EvTimer).on(EvSpawned).exit(1).is(Errored) // still as sick as before
	l.on(EvTimer).on(EvSpawned).on(EvTimer).is(Online)
	if l.m.Count.Unstable != 8 {
		t.Errorf("surviving min_uptime leaves %d of 16 unstable exits, want 8", l.m.Count.Unstable)
	}
	if l.armed() != 9*time.Second {
		t.Errorf("stable after %v more, want 9s", l.armed())
	}
	if l.on(EvTimer); l.m.Count.Unstable != 0 {
		t.Errorf("10 x min_uptime leaves %d unstable exits", l.m.Count.Unstable)
	}
}

// TestLateCrashLoopIsBraked: pm2 counts unstable exits only in the first 16 s of
// an app's life, so one that began to crash after 17 s was restarted 170 times a second.
func TestLateCrashLoopIsBraked(t *testing.T) {
	t.Parallel()
	l := newLife(t).up().after(20 * time.Second)
	l.exit(1).is(Spawning) // the first restart of a stable app is immediate
	l.on(EvSpawned).after(5 * time.Millisecond).exit(1).is(Backoff)
	if l.armed() != 100*time.Millisecond {
		t.Errorf("second restart after %v", l.armed())
	}
	for range 15 {
		l.on(EvTimer).on(EvSpawned).exit(1)
	}
	l.is(Errored)
}

func TestDelays(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name             string
		restart, backoff time.Duration
		stable, unstable time.Duration
	}{
		{"backoff", 0, 100 * time.Millisecond, 0, 100 * time.Millisecond},
		{"restart_delay alone", 3 * time.Second, 0, 3 * time.Second, 3 * time.Second},
		{"both: backoff wins", 3 * time.Second, 200 * time.Millisecond, 3 * time.Second, 200 * time.Millisecond},
		{"neither", 0, 0, 0, 0},
		{"a long first step isn't cut", 0, 20 * time.Second, 0, 20 * time.Second},
	}
	for _, c := range cases {
		l := newLife(t)
		l.pol.RestartDelay, l.pol.BackoffStart = c.restart, c.backoff
		l.up().exit(1)
		if got := max(l.armed(), 0); got != c.stable {
			t.Errorf("%s: stable app restarted after %v, want %v", c.name, got, c.stable)
		}
		l = newLife(t)
		l.pol.RestartDelay, l.pol.BackoffStart = c.restart, c.backoff
		l.on(EvStart).on(EvSpawned).exit(1)
		if got := max(l.armed(), 0); got != c.unstable {
			t.Errorf("%s: unstable app restarted after %v, want %v", c.name, got, c.unstable)
		}
	}
}

func TestJitterIsInjected(t *testing.T) {
	t.Parallel()
	l := newLife(t).on(EvStart).on(EvSpawned)
	l.ev(Event{Kind: EvExited, Jitter: func(d time.Duration) time.Duration { return d * 2 }})
	if l.armed() != 200*time.Millisecond {
		t.Errorf("waits %v", l.armed())
	}
}

func TestProperEnds(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name  string
		auto  bool
		codes []int
		exit  Exit
		want  State
	}{
		{"autorestart off", false, nil, Exit{Code: 1}, Stopped},
		{"autorestart off, by signal", false, nil, Exit{Signal: syscall.SIGKILL}, Stopped},
		{"autorestart off, cannot be spawned", false, nil, Exit{Err: "permission denied: /x"}, Errored},
		{"a stop code", true, []int{0, 3}, Exit{Code: 3}, Stopped},
		{"another code", true, []int{0, 3}, Exit{Code: 2}, Backoff},
		{"a signal is never code 0", true, []int{0}, Exit{Signal: syscall.SIGKILL}, Backoff},
		{"a failed spawn is never code 0", true, []int{0}, Exit{Err: "no such file"}, Backoff},
	}
	for _, c := range cases {
		l := newLife(t)
		l.pol.Autorestart, l.pol.StopExitCodes = c.auto, c.codes
		l.on(EvStart)
		if c.exit.Err == "" {
			l.on(EvSpawned)
		}
		l.ev(Event{Kind: EvExited, Exit: c.exit})
		if l.m.State != c.want {
			t.Errorf("%s: %v, want %v", c.name, l.m.State, c.want)
		}
		if !l.m.Want {
			t.Errorf("%s: the user's wish is gone", c.name)
		}
		if c.want != Backoff && l.m.Timer.Armed {
			t.Errorf("%s: not final", c.name)
		}
		if l.on(EvStart); l.m.State != Spawning {
			t.Errorf("%s: a later start leaves it %v", c.name, l.m.State)
		}
	}
}

func TestExplicitMaximumIsFinal(t *testing.T) {
	t.Parallel()
	l := newLife(t)
	l.pol.MaxRestarts, l.pol.MaxExplicit = 3, true
	l.on(EvStart).on(EvSpawned).exit(1).on(EvTimer).on(EvSpawned).exit(1).on(EvTimer).on(EvSpawned).exit(1).is(Errored)
	if l.m.Timer.Armed || !l.m.snapshot().NextTry.IsZero() {
		t.Error("there is a next try")
	}
	l.on(EvStart).is(Spawning)
	if l.m.Count.Unstable != 0 || l.m.Count.Restarts != 2 {
		t.Errorf("after a start by hand: %+v", l.m.Count)
	}
}

func TestRequestedEndsAreNoCrashes(t *testing.T) {
	t.Parallel()
	l := newLife(t).on(EvStart).on(EvSpawned).exit(1).on(EvTimer).on(EvSpawned)
	l.ev(Event{Kind: EvRestart, Cause: "memory 210 MB > 200 MB"}).is(Stopping).exit(1).is(Spawning)
	if !l.m.LastExit.Requested || l.m.Count.Unstable != 1 || l.m.Count.Restarts != 2 {
		t.Errorf("after a restart by hand: %+v, exit %+v", l.m.Count, l.m.LastExit)
	}
	if s := l.m.snapshot(); s.RestartCause != "memory 210 MB > 200 MB" {
		t.Errorf("cause %q", s.RestartCause)
	}
	l.on(EvSpawned).on(EvStop).exit(0).is(Stopped)
	if l.m.Count.Unstable != 1 || l.m.Want {
		t.Errorf("after a stop: %+v", l.m)
	}
}

// TestHang: it is killed at once, and its end is a crash, with what was seen as its cause.
func TestHang(t *testing.T) {
	t.Parallel()
	l := newLife(t).up()
	l.ev(Event{Kind: EvHang, Cause: "9 waiting"}).is(Online).exit(0).is(Spawning)
	if l.m.LastExit.Hang != "9 waiting" || l.m.Cause != "9 waiting" || l.m.LastExit.Requested || l.m.Count != (Count{Restarts: 1}) {
		t.Errorf("after a hang: %+v, exit %+v", l.m, l.m.LastExit)
	}
	l.on(EvSpawned).ev(Event{Kind: EvHang, Cause: "8 waiting"}).is(Starting).exit(0).is(Backoff)
	if l.m.Count.Unstable != 1 {
		t.Errorf("a hang before min_uptime: %+v", l.m.Count)
	}
	l.on(EvTimer).on(EvSpawned).exit(1)
	if l.m.LastExit.Hang != "" || l.m.Cause != "" {
		t.Errorf("a crash after a hang: %+v, exit %+v", l.m, l.m.LastExit)
	}
	l = newLife(t).up().ev(Event{Kind: EvHang, Cause: "7 waiting"}).on(EvStop).is(Stopping).exit(0).is(Stopped)
	if l.m.Hang != "" {
		t.Errorf("stopped while it was killed: %+v", l.m)
	}
}

func TestRestartCounting(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		tell func(*life)
		want int
	}{
		{"first start", func(l *life) { l.on(EvStart) }, 0},
		{"restart of a stopped app is a start", func(l *life) { l.on(EvRestart) }, 0},
		{"crash", func(l *life) { l.up().exit(1) }, 1},
		{"by hand", func(l *life) { l.up().on(EvRestart).exit(0) }, 1},
		{"twice asked, once done", func(l *life) { l.up().on(EvRestart).on(EvRestart).exit(0) }, 1},
		{"stop, then start", func(l *life) { l.up().on(EvStop).on(EvStart).exit(0) }, 0},
		{"restart, then stop, then start", func(l *life) { l.up().on(EvRestart).on(EvStop).on(EvStart).exit(0) }, 0},
		{"start cuts a backoff short", func(l *life) { l.on(EvStart).on(EvSpawned).exit(1).on(EvStart) }, 1},
		{"restart while spawning", func(l *life) { l.on(EvStart).on(EvRestart).on(EvSpawned).is(Stopping).exit(0) }, 1},
	}
	for _, c := range cases {
		l := newLife(t)
		c.tell(l)
		if l.is(Spawning).m.Count.Restarts != c.want {
			t.Errorf("%s: %d restarts, want %d", c.name, l.m.Count.Restarts, c.want)
		}
		if l.on(EvReset); l.m.Count != (Count{}) {
			t.Errorf("%s: reset leaves %+v", c.name, l.m.Count)
		}
	}
}

// TestRequestsWhileSpawning: a newcomer that isn't there yet can't be signalled.
func TestRequestsWhileSpawning(t *testing.T) {
	t.Parallel()
	l := newLife(t).on(EvStart).on(EvStop).is(Spawning)
	if got := l.m.snapshot().Status; got != StatusStopping {
		t.Errorf("shown as %s", got)
	}
	l.on(EvSpawned).is(Stopping).exit(0).is(Stopped)
	l.on(EvStart).on(EvStop).ev(Event{Kind: EvExited, Exit: Exit{Err: "no"}}).is(Stopped)
	if l.m.Count.Unstable != 0 {
		t.Error("a newcomer that was no longer wanted counts as a crash")
	}
	l.on(EvStart).on(EvStop).on(EvStart).on(EvSpawned).is(Stopping).exit(0).is(Spawning)
}

func TestClearing(t *testing.T) {
	t.Parallel()
	dies := Event{Kind: EvExited, Exit: Exit{Signal: syscall.SIGKILL}, Remains: Remains{Pid: 42}}
	l := newLife(t).up().ev(dies).is(Clearing)
	if got := words(l.acc); got != "clear(SIGTERM) arm(5s)" {
		t.Errorf("begins with %q", got)
	}
	if s := l.m.snapshot(); s.Status != StatusWaiting || !s.Clearing {
		t.Errorf("shown as %q, clearing %v", s.Status, s.Clearing)
	}
	for range 3 { // never claims to be done
		if l.on(EvTimer).is(Clearing); words(l.acc) != "clear(SIGKILL) arm(5s)" || !l.m.Killed {
			t.Errorf("goes on with %q", words(l.acc))
		}
	}
	l.on(EvCleared).is(Spawning)

	l.on(EvSpawned).ev(dies).is(Clearing).after(60 * time.Millisecond).on(EvCleared).is(Backoff)
	if l.armed() != 40*time.Millisecond {
		t.Errorf("waits another %v: the clearing is part of the 100 ms", l.armed())
	}
	l.on(EvTimer).on(EvSpawned).on(EvStop).ev(dies).is(Clearing)
	if s := l.m.snapshot(); s.Status != StatusStopping {
		t.Errorf("shown as %q while stopping", s.Status)
	}
	l.on(EvCleared).is(Stopped)
}

func TestRequestsWhileClearing(t *testing.T) {
	t.Parallel()
	dies := Event{Kind: EvExited, Exit: Exit{Code: 1}, Remains: Remains{Pid: 42}}
	clearing := func() *life { return newLife(t).on(EvStart).on(EvSpawned).ev(dies).is(Clearing) }
	clearing().on(EvStop).on(EvCleared).is(Stopped)
	if l := clearing().on(EvStart).on(EvCleared).is(Spawning); l.m.Count.Unstable != 0 || l.m.Count.Restarts != 1 {
		t.Errorf("started: %+v", l.m.Count)
	}
	if l := clearing().on(EvStop).on(EvStart).on(EvCleared).is(Spawning); l.m.Count.Restarts != 0 {
		t.Errorf("stopped and started: %+v", l.m.Count)
	}
	if l := clearing().on(EvRestart).on(EvCleared).is(Spawning); l.m.Count.Restarts != 1 {
		t.Errorf("restarted: %+v", l.m.Count)
	}
}
