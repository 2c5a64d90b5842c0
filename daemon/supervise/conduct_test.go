package supervise

import (
	"testing"
	"time"
)

// TestReady: who has to say that it is ready is online when it does, and not before; its
// end before min_uptime is unstable all the same.
func TestReady(t *testing.T) {
	t.Parallel()
	status := func(l *life, want Status) {
		t.Helper()
		if s := l.m.snapshot(); s.Status != want || s.Settled != (l.m.State == Online) {
			t.Errorf("in %v it is %+v, want %s", l.m.State, s, want)
		}
	}
	asked := func() *life {
		l := newLife(t)
		l.pol.Ready = time.Minute
		return l.on(EvStart)
	}
	l := asked().on(EvSpawned)
	status(l, StatusLaunching)
	status(l.on(EvReady).is(Starting), StatusOnline)
	l.exit(1).is(Backoff)
	if l.m.Count.Unstable != 1 {
		t.Errorf("an end before min_uptime: %+v", l.m.Count)
	}
	l.on(EvTimer).on(EvSpawned)
	status(l, StatusLaunching)
	status(l.on(EvTimer).is(Unready), StatusLaunching)
	status(l.on(EvReady).is(Online), StatusOnline)
	l.on(EvReady).exit(1).is(Spawning)

	l.on(EvReady).on(EvSpawned) // it was faster than the news of it
	status(l, StatusOnline)
	status(l.on(EvTimer).is(Online), StatusOnline)

	l = asked().on(EvSpawned).on(EvTimer).is(Unready).exit(0).is(Backoff)
	if l.m.Count.Unstable != 1 || l.m.Ready != NotAsked {
		t.Errorf("one that was never ready: %+v", l.m)
	}
	l = asked().on(EvReady).on(EvStop).on(EvSpawned).is(Stopping).on(EvReady).is(Stopping).exit(0).is(Stopped)
	if l.m.Conduct != (Conduct{}) {
		t.Errorf("a stopped one: %+v", l.m)
	}
	l = newLife(t).on(EvStart).on(EvReady).on(EvSpawned).on(EvReady)
	status(l.is(Starting), StatusLaunching) // nobody has asked
}

// TestReadyTooLate: it is ended, which is an unstable end, but if a person wants it
// otherwise meanwhile.
func TestReadyTooLate(t *testing.T) {
	t.Parallel()
	tooLate := func() *life {
		l := newLife(t)
		l.pol.Ready = time.Minute
		l.on(EvStart).on(EvSpawned).on(EvTimer)
		if l.m.Timer.Delay != 59*time.Second {
			t.Errorf("it waits for another %v", l.m.Timer.Delay)
		}
		return l.on(EvTimer).is(Stopping)
	}
	const why = "not ready within 1m0s"
	l := tooLate().exit(0).is(Backoff)
	if e := l.m.LastExit; e.Fault != why || e.Requested || l.m.Cause != why || l.m.Count.Unstable != 1 {
		t.Errorf("exit %+v, %+v", e, l.m)
	}
	l.on(EvTimer).on(EvSpawned).exit(1)
	if l.m.LastExit.Fault != "" || l.m.Cause != "" {
		t.Errorf("a crash afterwards: %+v", l.m.LastExit)
	}
	l = tooLate().on(EvTimer).is(Killing).exit(0).is(Backoff)
	if l.m.LastExit.Fault != why {
		t.Errorf("killed: %+v", l.m.LastExit)
	}
	for kind, want := range map[EventKind]State{EvStop: Stopped, EvRestart: Spawning} {
		if l := tooLate().on(kind).exit(0).is(want); l.m.LastExit.Fault != "" || !l.m.LastExit.Requested || l.m.Count.Unstable != 0 {
			t.Errorf("%v meanwhile: %+v", kind, l.m)
		}
	}
	l = newLife(t)
	l.pol.Autorestart = false
	l.up().ev(Event{Kind: EvFail, Cause: "no answer"}).is(Stopping).exit(0).is(Errored)
	if l.m.LastExit.Fault != "no answer" || l.m.Timer.Armed {
		t.Errorf("not to be restarted: %+v", l.m)
	}
	l = newLife(t)
	l.pol.Ready = time.Millisecond
	l.on(EvStart).on(EvSpawned).on(EvTimer).is(Unready)
	if l.m.Timer.Delay != 0 {
		t.Errorf("less than min_uptime: %+v", l.m.Timer)
	}
	l.on(EvTimer).is(Stopping)
	if l.m.Fault != "not ready within 1s" {
		t.Errorf("less than min_uptime: %q", l.m.Fault)
	}
}

// TestParting: what has to be done before the signal is done, whoever asks for the end.
func TestParting(t *testing.T) {
	t.Parallel()
	with := func() *life {
		l := newLife(t)
		l.pol.PreStop = 3 * time.Second
		return l.up()
	}
	for _, ev := range []Event{{Kind: EvStop}, {Kind: EvRestart}, {Kind: EvFail, Cause: "no answer"}} {
		l := with().ev(ev).is(Parting)
		if got := words(l.acc); got != "part arm(4s)" {
			t.Errorf("%v: %s", ev.Kind, got)
		}
		if s := l.m.snapshot(); s.Status != StatusStopping {
			t.Errorf("%v: %s", ev.Kind, s.Status)
		}
		for _, next := range []EventKind{EvParted, EvTimer} {
			l := with().ev(ev).on(next).is(Stopping)
			if got := words(l.acc); got != "signal(SIGINT) arm(5s)" {
				t.Errorf("%v, %v: %s", ev.Kind, next, got)
			}
			l.on(EvParted).is(Stopping) // once more, too late
		}
	}
	with().on(EvStop).exit(0).is(Stopped)
	with().on(EvRestart).exit(0).is(Spawning).on(EvParted).is(Spawning)
	with().on(EvRestart).on(EvStop).on(EvParted).exit(0).is(Stopped)
	with().on(EvStop).on(EvRestart).on(EvParted).exit(0).is(Spawning)
	with().ev(Event{Kind: EvFail, Cause: "no answer"}).exit(0).is(Backoff)
	l := newLife(t)
	l.pol.PreStop = time.Second
	l.on(EvStart).on(EvStop).on(EvSpawned).is(Stopping) // a newcomer that nobody wants
}
