package supervise

import (
	"encoding/json"
	"errors"
	"slices"
	"syscall"
	"testing"
	"time"
)

// dies plays the death of the daemon: the actor ends, and its machine goes through
// JSON to a new one on the same kernel and clock.
func (s *stage) dies(found Run) {
	s.t.Helper()
	s.Process.Abandon()
	note, err := json.Marshal(s.Process.Machine())
	if err != nil {
		s.t.Fatal(err)
	}
	s.restore(note, found)
}

func (s *stage) restore(note []byte, found Run) {
	s.t.Helper()
	var m Machine
	if err := json.Unmarshal(note, &m); err != nil {
		s.t.Fatalf("%v in %s", err, note)
	}
	s.Process = Restore(s.config(), m, found)
	s.sync()
}

func TestRestoreOnline(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	child := s.up()
	before := s.history()
	s.dies(Run{})
	n := s.Snapshot()
	if n.Status != StatusOnline || n.Pid != child.pid || n.Restarts != 0 {
		t.Errorf("restored as %+v", n)
	}
	if after := s.history(); len(after) != len(before) {
		t.Errorf("changes told although nothing has: %+v", after[len(before):])
	}
	if got, _, _ := child.got(); len(got) > 0 || child.reaps > 0 {
		t.Errorf("it was touched: %v, %d reaps", got, child.reaps)
	}
	child.die(Exit{Code: 3}, false)
	n = s.await("again alive", func(n Snapshot) bool { return n.Incarnation == 2 && n.Pid != 0 })
	if n.LastExit.Code != 3 || n.Restarts != 1 || n.LastExit.Uptime != time.Second {
		t.Errorf("after a crash: %+v, exit %+v", n, n.LastExit)
	}
}

// TestRestoreAfterAnUnseenExit: nobody knows how it ended, and it is counted once.
func TestRestoreAfterAnUnseenExit(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	child := s.up()
	s.Process.Abandon()
	m := s.Process.Machine()
	child.reaps++ // by somebody else
	s.Process = Restore(s.config(), m, Run{})
	n := s.await("again alive", func(n Snapshot) bool { return n.Incarnation == 2 && n.Pid != 0 })
	if n.LastExit.Code != Unknown || n.LastExit.Requested || n.Restarts != 1 || n.LastExit.Incarnation != 1 {
		t.Errorf("%+v, exit %+v", n, n.LastExit)
	}
	s.dies(Run{})
	if again := s.Snapshot(); again.Restarts != 1 || again.LastExit == nil || again.LastExit.Code != Unknown {
		t.Errorf("after another death: %+v, exit %+v", again, again.LastExit)
	}
}

// TestRestoredIsKnownBeforeItChanges: what has happened meanwhile is told at once, and who
// is told may want to ask something of it.
func TestRestoredIsKnownBeforeItChanges(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.up()
	s.Process.Abandon()
	m := s.Process.Machine()
	s.kernel.last().reaps++ // by somebody else: its end is told
	cfg, early := s.config(), make(chan bool, 1)
	var made *Process
	cfg.Made = func(p *Process) { made = p }
	change := cfg.OnChange
	cfg.OnChange = func(n Snapshot) {
		select {
		case early <- made == nil:
		default:
		}
		change(n)
	}
	s.Process = Restore(cfg, m, Run{})
	if <-early || made != s.Process {
		t.Error("a change was told before anybody had the process")
	}
}

// TestRestoreKnowsAnExitThatWasNoted: the daemon reaped the process and died before
// it had decided what follows.
func TestRestoreKnowsAnExitThatWasNoted(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	child := s.up()
	s.Process.Abandon()
	m := s.Process.Machine()
	m.Ended = &Exit{At: t0, Code: 7, Uptime: time.Minute}
	child.reaps++
	s.Process = Restore(s.config(), m, Run{})
	n := s.await("again alive", func(n Snapshot) bool { return n.Incarnation == 2 && n.Pid != 0 })
	if n.LastExit.Code != 7 || n.LastExit.Uptime != time.Minute || s.Machine().Ended != nil {
		t.Errorf("exit %+v, machine %+v", n.LastExit, s.Machine())
	}
}

// TestExitIsNotedBeforeItIsReaped, and judged once it is.
func TestExitIsNotedBeforeItIsReaped(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.up().die(Exit{Code: 3}, false)
	s.await("again alive", func(n Snapshot) bool { return n.Incarnation == 2 && n.Pid != 0 })
	var story []string
	for _, m := range s.notes() {
		text := m.State.String()
		if m.Ended != nil {
			text += " ended"
		}
		story = append(story, text)
	}
	want := []string{"spawning", "starting", "online", "online ended", "spawning", "starting"}
	if !slices.Equal(story, want) {
		t.Errorf("kept %q, want %q", story, want)
	}
}

// TestTimersKeepTheirMeaning: what had run before the death counts.
func TestTimersKeepTheirMeaning(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.Start()
	s.alive()
	s.clock.advance(600*time.Millisecond, s.calm)
	s.dies(Run{})
	s.clock.advance(399*time.Millisecond, s.calm)
	if n := s.Snapshot(); n.Status != StatusLaunching {
		t.Errorf("%s before its min_uptime", n.Status)
	}
	s.clock.advance(time.Millisecond, s.calm)
	s.until(StatusOnline)

	s.kernel.last().die(Exit{Code: 1}, false) // stable: at once
	s.await("again alive", func(n Snapshot) bool { return n.Incarnation == 2 && n.Pid != 0 })
	s.kernel.last().die(Exit{Code: 1}, false)
	s.until(StatusWaiting)
	spawns := s.kernel.spawns()
	s.clock.advance(60*time.Millisecond, s.calm)
	s.dies(Run{})
	if n := s.until(StatusWaiting); n.Backoff != 100*time.Millisecond {
		t.Errorf("backoff %v", n.Backoff)
	}
	s.clock.advance(39*time.Millisecond, s.calm)
	if s.kernel.spawns() != spawns {
		t.Error("the backoff was cut short")
	}
	s.clock.advance(time.Millisecond, s.calm)
	s.alive()
}

// TestTimersAfterTheClockWasSet: at most what they were armed with, at least nothing.
func TestTimersAfterTheClockWasSet(t *testing.T) {
	t.Parallel()
	timer := Timer{Armed: true, Due: t0.Add(time.Second), Delay: time.Second}
	for now, want := range map[time.Time]time.Duration{
		t0: time.Second, t0.Add(700 * time.Millisecond): 300 * time.Millisecond,
		t0.Add(time.Hour): 0, t0.Add(-time.Hour): time.Second,
	} {
		if got := timer.left(now); got != want {
			t.Errorf("at %v: %v left, want %v", now, got, want)
		}
	}
}

func TestRestoreStopping(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	child := s.up()
	s.Stop()
	s.sync()
	s.clock.advance(4*time.Second, s.sync)
	s.dies(Run{})
	if got, _, _ := child.got(); !slices.Equal(got, []syscall.Signal{syscall.SIGINT}) {
		t.Errorf("it was asked to end: %v, want once", got)
	}
	s.clock.advance(time.Second, s.sync)
	s.await("killed", func(n Snapshot) bool { return n.Killed })
	s.dies(Run{})
	got, _, _ := child.got()
	if want := []syscall.Signal{syscall.SIGINT, syscall.SIGKILL, syscall.SIGKILL}; !slices.Equal(got, want) {
		t.Errorf("it got %v, want %v", got, want)
	}
	child.die(Exit{Signal: syscall.SIGKILL}, false)
	if n := s.until(StatusStopped); !n.LastExit.Requested || n.Want {
		t.Errorf("%+v, exit %+v", n, n.LastExit)
	}
}

// TestRestoreOfAStopNotYetSignalled: the daemon died between its note and the signal.
func TestRestoreOfAStopNotYetSignalled(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	child := s.up()
	s.Process.Abandon()
	m, _ := Step(s.Process.Machine(), testPolicy(), Event{Kind: EvStop, At: t0})
	s.Process = Restore(s.config(), m, Run{})
	s.sync()
	if got, _, _ := child.got(); !slices.Equal(got, []syscall.Signal{syscall.SIGINT}) {
		t.Errorf("it got %v", got)
	}
}

func TestRestoreClearing(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.up().die(Exit{Signal: syscall.SIGKILL}, true)
	s.await("clearing", func(n Snapshot) bool { return n.Clearing })
	s.clock.advance(4*time.Second, s.sync)
	s.dies(Run{})
	heir := s.kernel.heir()
	if _, clears, _ := heir.got(); !slices.Equal(clears, []syscall.Signal{syscall.SIGTERM}) || heir.pid != 1000 {
		t.Errorf("clears %v of %d", clears, heir.pid)
	}
	s.clock.advance(time.Second, s.sync)
	if _, clears, _ := heir.got(); !slices.Equal(clears, []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL}) {
		t.Errorf("clears %v", clears)
	}
	heir.gone()
	s.await("again alive", func(n Snapshot) bool { return n.Incarnation == 2 && n.Pid != 0 })
	if m := s.Machine(); m.Remains.Pid != 0 {
		t.Errorf("kept %+v", m.Remains)
	}
}

// TestRestoreSpawning: the daemon died before it knew whether its spawn had come about.
func TestRestoreSpawning(t *testing.T) {
	t.Parallel()
	for _, there := range []bool{false, true} {
		s := newStage(t)
		child := s.up()
		m := Machine{State: Spawning, Want: true, Inc: 4, Count: Count{Restarts: 3}}
		s.Process.Abandon()
		found := Run{}
		if there {
			found = Run{Pid: child.pid, StartTime: 10 * uint64(child.pid), Started: t0}
		} else {
			child.reaps++
		}
		s.Process = Restore(s.config(), m, found)
		n := s.alive()
		if n.Incarnation != 4 || n.Restarts != 3 || (n.Pid == child.pid) != there {
			t.Errorf("there %v: %+v", there, n)
		}
	}
}

// TestRestoreOfOneThatWasToEndBeforeItWasThere: it was stopped, or is to be restarted, while
// pre_start ran. The stopped one is not started for that.
func TestRestoreOfOneThatWasToEndBeforeItWasThere(t *testing.T) {
	t.Parallel()
	for _, isWanted := range []bool{false, true} {
		s := newStage(t)
		s.Process.Abandon()
		s.Process = Restore(s.config(), Machine{State: Spawning, Want: isWanted, Inc: 4, Recycle: true}, Run{})
		s.sync()
		if n := s.Snapshot(); !isWanted && (n.Status != StatusStopped || n.Incarnation != 4 || !n.LastExit.Requested) {
			t.Errorf("it was stopped: %+v", n)
		}
		if isWanted {
			if n := s.alive(); n.Incarnation != 5 {
				t.Errorf("it is wanted: %+v", n)
			}
		}
	}
}

// TestRestoreWithAnUnknownSuccessor: the note on the disk was older than the death.
func TestRestoreWithAnUnknownSuccessor(t *testing.T) {
	t.Parallel()
	for _, st := range []State{Stopped, Starting, Online, Stopping, Killing, Clearing, Backoff, Errored} {
		s := newStage(t)
		child := s.up()
		s.Process.Abandon()
		m := in(st)
		s.Process = Restore(s.config(), m, Run{Pid: child.pid, StartTime: 10 * uint64(child.pid), Started: t0})
		n := s.alive()
		restarts := 1
		if st == Stopped || st == Stopping || st == Killing { // started by hand, or nobody knows
			restarts = 0
		}
		if n.Pid != child.pid || n.Incarnation != m.Inc+1 || !n.Want || n.Restarts != restarts || s.kernel.spawns() != 1 {
			t.Errorf("from %v: %+v, %d spawns", st, n, s.kernel.spawns())
		}
	}
}

// TestLeftoverIsNoSuccessor: what is older than the death of the run before was there
// then; in its backoff the app has no process.
func TestLeftoverIsNoSuccessor(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	child := s.up()
	s.Process.Abandon()
	m := in(Backoff)
	m.Remains.Reaped = 10*uint64(child.pid) + 1
	m.Timer.Due, m.Timer.Delay = s.clock.Now().Add(time.Second), time.Second
	s.Process = Restore(s.config(), m, Run{Pid: child.pid, StartTime: 10 * uint64(child.pid), Started: t0})
	s.sync()
	if n := s.Snapshot(); n.Pid != 0 || n.Status != StatusWaiting {
		t.Errorf("%+v", n)
	}
	child.lost()
}

// TestRestoreOfOneThatCantBeWatched: without descriptors a live process is not
// taken for dead; stopping it works as soon as there are some.
func TestRestoreOfOneThatCantBeWatched(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	child := s.up()
	s.kernel.set(func() { s.kernel.fail = errors.New("too many open files") })
	s.dies(Run{})
	s.Stop()
	s.sync()
	s.clock.advance(900*time.Millisecond, s.sync)
	if n := s.Snapshot(); n.Pid != child.pid || n.LastExit != nil {
		t.Errorf("%+v", n)
	}
	s.kernel.set(func() { s.kernel.fail = nil })
	s.clock.advance(100*time.Millisecond, s.sync)
	if got, _, _ := child.got(); !slices.Equal(got, []syscall.Signal{syscall.SIGINT}) {
		t.Errorf("it got %v", got)
	}
}

// TestAbandonWaitsForASpawn, so that its process is known to the next daemon.
func TestAbandonWaitsForASpawn(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	gate := make(chan struct{})
	s.kernel.gate = gate
	s.Start()
	s.sync()
	ended := make(chan struct{})
	old := s.Process
	go func() { old.Abandon(); close(ended) }() // ends with the spawn; waited for below
	for !waiting(old) {
	}
	close(gate)
	<-ended
	if m := old.Machine(); m.State != Starting || m.Run.Pid == 0 {
		t.Errorf("kept %+v", m)
	}
	s.dies(Run{})
	s.alive()
}

// waiting says whether an Abandon waits for a spawn.
func waiting(p *Process) bool {
	told := make(chan bool, 1)
	p.mail.post(func() { told <- p.leaving })
	return <-told
}

// TestAbandonTouchesNothing, and nothing is done any more.
func TestAbandonTouchesNothing(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	child := s.up()
	kept := len(s.notes())
	s.Process.Abandon()
	child.die(Exit{Code: 1}, false)
	s.Process.Stop()
	s.Process.Renew()
	if err := s.Process.Signal(syscall.SIGUSR1); !errors.Is(err, ErrClosed) {
		t.Errorf("Signal: %v", err)
	}
	signals, _, freed := child.got()
	if len(signals) > 0 || child.reaps > 0 || !freed || len(s.notes()) != kept {
		t.Errorf("signals %v, %d reaps, freed %v, kept %d times more", signals, child.reaps, freed, len(s.notes())-kept)
	}
	s.restore(mustJSON(t, s.Process.Machine()), Run{})
	s.until(StatusLaunching)
}

// TestRenewTellsANewKeeper the machine as it is.
func TestRenewTellsANewKeeper(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.up()
	kept := len(s.notes())
	s.Renew()
	s.sync()
	if notes := s.notes(); len(notes) != kept+1 || notes[kept] != s.Machine() {
		t.Errorf("kept %+v", notes[kept:])
	}
}

func mustJSON(t *testing.T, m Machine) []byte {
	t.Helper()
	note, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return note
}
