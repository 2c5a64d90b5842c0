package supervise

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"
)

func TestLifeOfAProcess(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	child := s.up()
	child.die(Exit{Code: 3}, false)
	n := s.await("again alive", func(n Snapshot) bool { return n.Incarnation == 2 && n.Pid != 0 })
	if n.LastExit.Code != 3 || n.LastExit.Uptime != time.Second || n.Restarts != 1 {
		t.Errorf("after the crash: %+v, exit %+v", n, n.LastExit)
	}
	s.Stop()
	s.until(StatusStopping)
	s.kernel.last().die(Exit{Signal: syscall.SIGINT}, false)
	n = s.until(StatusStopped)
	if n.Want || !n.LastExit.Requested || n.Pid != 0 {
		t.Errorf("after the stop: %+v", n)
	}
	s.Reset()
	if n := s.await("reset", func(n Snapshot) bool { return n.Restarts == 0 }); n.LastExit == nil {
		t.Error("Reset forgets more than the counters")
	}
	seen := s.history()
	var states []string
	for i, n := range seen {
		if n.Generation != uint64(i+1) {
			t.Errorf("snapshot %d has generation %d", i, n.Generation)
		}
		states = append(states, fmt.Sprintf("%s %d", n.Status, n.Pid))
	}
	want := []string{
		"launching 0", "launching 1000", "online 1000", "launching 0", "launching 1001", "stopping 1001", "stopped 0", "stopped 0",
	}
	if !slices.Equal(states, want) {
		t.Errorf("snapshots:\n got %q\nwant %q", states, want)
	}
}

func TestStopEscalates(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	child := s.up()
	s.Stop()
	s.sync()
	s.clock.advance(4*time.Second, s.sync)
	if got, _, _ := child.got(); !slices.Equal(got, []syscall.Signal{syscall.SIGINT}) {
		t.Errorf("within the kill timeout it got %v", got)
	}
	s.clock.advance(12*time.Second, s.sync)
	got, _, _ := child.got()
	if want := []syscall.Signal{syscall.SIGINT, syscall.SIGKILL, syscall.SIGKILL, syscall.SIGKILL}; !slices.Equal(got, want) {
		t.Errorf("it got %v, want %v", got, want)
	}
	if n := s.Snapshot(); n.Status != StatusStopping || !n.Killed || n.Pid == 0 {
		t.Errorf("claims to be %+v while the process lives", n)
	}
}

func TestLeftoversAreEndedFirst(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	child := s.up()
	child.die(Exit{Signal: syscall.SIGKILL}, true)
	n := s.await("clearing", func(n Snapshot) bool { return n.Clearing })
	s.clock.advance(5*time.Second, s.sync)
	_, clears, freed := child.got()
	if want := []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL}; !slices.Equal(clears, want) || freed {
		t.Errorf("clears %v, freed %v", clears, freed)
	}
	if n.Status != StatusWaiting || s.kernel.spawns() != 1 {
		t.Errorf("%s, %d spawns", n.Status, s.kernel.spawns())
	}
	child.gone()
	s.await("again alive", func(n Snapshot) bool { return n.Incarnation == 2 && n.Pid != 0 })
	if _, _, freed := child.got(); !freed {
		t.Error("the old child isn't freed")
	}
}

// TestFailedRespawnIsACrash: in pebble a command that could not be spawned when
// its backoff ended was shown in backoff for ever and never tried again.
func TestFailedRespawnIsACrash(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.Start()
	s.alive()
	s.kernel.set(func() { s.kernel.fail = errNoFile })
	s.kernel.last().die(Exit{Code: 1}, false)
	s.until(StatusWaiting)
	s.pass(100 * time.Millisecond)
	n := s.await("failed", func(n Snapshot) bool { return n.LastExit.Err != "" && n.Status == StatusWaiting })
	if n.LastExit.Err != errNoFile.Error() || n.Unstable != 2 || n.Backoff != 150*time.Millisecond {
		t.Errorf("after the failed spawn: %+v, exit %+v", n, n.LastExit)
	}
	s.kernel.set(func() { s.kernel.fail = nil })
	s.pass(150 * time.Millisecond)
	s.alive()
}

// TestOldBackoffTimerIsDead: in pebble the timer of an earlier backoff restarted a
// service that was stopped, started and had crashed again meanwhile.
func TestOldBackoffTimerIsDead(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.Start()
	crash := func() {
		s.alive()
		s.kernel.last().die(Exit{Code: 1}, false)
		s.until(StatusWaiting)
	}
	crash()
	var old *fakeTimer // the stop function loses its race: the timer fires although it was stopped
	s.clock.mu.Lock()
	old = s.clock.timers[len(s.clock.timers)-1]
	s.clock.mu.Unlock()
	s.Stop()
	s.until(StatusStopped)
	s.Start()
	crash()
	spawns := s.kernel.spawns()
	old.f()
	s.sync()
	if n := s.Snapshot(); n.Status != StatusWaiting || s.kernel.spawns() != spawns {
		t.Errorf("the old timer made it %s, %d spawns more", n.Status, s.kernel.spawns()-spawns)
	}
}

func TestCrashLoopAfter20Seconds(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.up()
	s.pass(20 * time.Second)
	before := s.kernel.spawns()
	s.kernel.set(func() { s.kernel.early = true }) // from now on it dies at once
	s.kernel.last().die(Exit{Code: 1}, false)
	rest := func() {
		s.await("at rest", func(n Snapshot) bool { return n.Status == StatusWaiting || n.Status == StatusErrored })
	}
	rest()
	s.clock.advance(3200*time.Millisecond, rest)
	if n := s.kernel.spawns() - before; n > 8 { // pm2: 550
		t.Errorf("%d restarts in 3.2 s", n)
	}
	s.clock.advance(2*time.Minute, rest)
	if n := s.Snapshot(); n.Status != StatusErrored || n.NextTry.IsZero() {
		t.Errorf("it is %s, next try %v", n.Status, n.NextTry)
	}
}

func TestExitSeenBeforeTheSpawnReturns(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.kernel.early = true
	s.Start()
	n := s.until(StatusWaiting)
	if n.LastExit == nil || n.Unstable != 1 {
		t.Errorf("%+v", n)
	}
	s.kernel.set(func() { s.kernel.early = false })
}

func TestStaleExitOfALivingSuccessor(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	first := s.up()
	first.die(Exit{Code: 1}, false)
	s.await("again alive", func(n Snapshot) bool { return n.Incarnation == 2 && n.Pid != 0 })
	first.exited()
	s.sync()
	if n := s.Snapshot(); n.Incarnation != 2 || n.Pid == 0 {
		t.Errorf("an old exit ended the successor: %+v", n)
	}
	if s.kernel.last().reaps > 0 {
		t.Error("the successor was reaped because of an old exit") // and its group signalled
	}
}

func TestStopDuringASlowSpawn(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	gate := make(chan struct{})
	s.kernel.gate = gate
	s.Start()
	s.Stop()
	n := s.until(StatusStopping)
	if n.Pid != 0 || n.Want {
		t.Errorf("%+v", n)
	}
	close(gate)
	s.await("signalled", func(n Snapshot) bool { return n.Pid != 0 && n.Status == StatusStopping })
}

func TestConfigureIsForTheNextIncarnation(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	old := s.up()
	pol := testPolicy()
	pol.KillSignal = syscall.SIGUSR2
	s.Configure(Command{Argv: []string{"two"}}, pol)
	s.Restart("changed")
	s.until(StatusStopping)
	if got, _, _ := old.got(); !slices.Equal(got, []syscall.Signal{syscall.SIGINT}) {
		t.Errorf("the old incarnation got %v", got)
	}
	old.die(Exit{}, false)
	n := s.await("again alive", func(n Snapshot) bool { return n.Incarnation == 2 && n.Pid != 0 })
	if s.kernel.last().command.Argv[0] != "two" || n.RestartCause != "changed" {
		t.Errorf("runs %v because of %q", s.kernel.last().command.Argv, n.RestartCause)
	}
	s.Stop()
	s.until(StatusStopping)
	if got, _, _ := s.kernel.last().got(); !slices.Equal(got, []syscall.Signal{syscall.SIGUSR2}) {
		t.Errorf("the new incarnation got %v", got)
	}
}

func TestStdioThatCannotBeMade(t *testing.T) {
	t.Parallel()
	p := New(Config{
		Command: Command{Argv: []string{"one"}}, Policy: testPolicy(), Kernel: &fakeKernel{}, Clock: newFakeClock(),
		Launch: func(uint64) (Launch, error) { return Launch{}, errors.New("cannot open its log") },
	})
	defer p.Close()
	p.Start()
	n := await(t, p, "failed", func(n Snapshot) bool { return n.Status == StatusWaiting })
	if n.LastExit.Err != "cannot open its log" {
		t.Errorf("exit %+v", n.LastExit)
	}
}

func TestAwait(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Await(ctx, func(Snapshot) bool { return false }); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled wait ends with %v", err)
	}
	s.Start() // what Await sees begins with it
	s.await("launching", func(n Snapshot) bool { return n.Status == StatusLaunching })
	s.calm()
	s.pass(time.Second)
	s.await("online", func(n Snapshot) bool { return n.Status == StatusOnline })
}

func TestAwaitSeesEverySnapshot(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.up()
	var seen []Status
	done := make(chan error, 1)
	waiting := make(chan struct{})
	go func() { // ends when the process is stopped; waited for through done
		_, err := s.Await(context.Background(), func(n Snapshot) bool {
			if len(seen) == 0 {
				close(waiting)
			}
			seen = append(seen, n.Status)
			return n.Status == StatusStopped
		})
		done <- err
	}()
	<-waiting
	s.Stop()
	s.until(StatusStopping)
	s.kernel.last().die(Exit{}, false)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if want := []Status{StatusOnline, StatusStopping, StatusStopped}; !slices.Equal(seen, want) {
		t.Errorf("saw %q, want %q", seen, want)
	}
}

func TestClose(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	child := s.up()
	closed := make(chan struct{})
	go func() { s.Close(); close(closed) }() // ends when the process has; waited for through closed
	s.until(StatusStopping)
	s.Start() // comes too late to change anything
	s.sync()
	select {
	case <-closed:
		t.Fatal("closed while the process lives")
	default:
	}
	child.die(Exit{}, false)
	<-closed
	s.Close()
	if _, err := s.Await(context.Background(), func(Snapshot) bool { return false }); !errors.Is(err, ErrClosed) {
		t.Errorf("Await after Close: %v", err)
	}
	s.Process = New(Config{Policy: testPolicy(), Kernel: s.kernel}) // for the clean-up
}

// TestSignalIsNoRequest: a signal by hand changes nothing by itself, and goes to
// nobody when nothing runs.
func TestSignalIsNoRequest(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	if err := s.Signal(syscall.SIGUSR1); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("a signal to nobody: %v", err)
	}
	s.up()
	before := s.Snapshot()
	if err := s.Signal(syscall.SIGUSR1); err != nil {
		t.Error(err)
	}
	if after := s.Snapshot(); after != before {
		t.Errorf("the signal made %+v of %+v", after, before)
	}
}

// TestSucceed: a successor counts on from the process whose place it takes.
func TestSucceed(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.up().die(Exit{Code: 3}, false)
	s.await("again alive", func(n Snapshot) bool { return n.Incarnation == 2 && n.Pid != 0 })
	others := &fakeKernel{}
	p := Succeed(Config{Command: s.cfg.Command, Policy: testPolicy(), Kernel: others, Clock: s.clock}, s.Machine())
	defer func() {
		p.Stop()
		if _, err := p.Await(context.Background(), func(n Snapshot) bool { return n.Status == StatusStopping }); err != nil {
			t.Error(err)
		}
		others.last().die(Exit{Signal: syscall.SIGINT}, false)
		p.Close()
	}()
	if n := p.Snapshot(); n.Incarnation != 2 || n.Restarts != 2 || n.Want || n.LastExit == nil || n.LastExit.Code != 3 {
		t.Errorf("before its start it is %+v", n)
	}
	p.Start()
	n, err := p.Await(context.Background(), func(n Snapshot) bool { return n.Pid != 0 })
	if err != nil || n.Incarnation != 3 || n.Restarts != 2 {
		t.Errorf("it is %+v (%v)", n, err)
	}
}

// TestStopWithin: a process may be given more time than usual to end; what it leaves has
// the usual one.
func TestStopWithin(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	child := s.up()
	s.StopWithin(20 * time.Second)
	s.sync()
	s.clock.advance(19*time.Second, s.sync)
	if got, _, _ := child.got(); !slices.Equal(got, []syscall.Signal{syscall.SIGINT}) {
		t.Errorf("within its time it got %v", got)
	}
	s.clock.advance(2*time.Second, s.sync)
	if got, _, _ := child.got(); !slices.Equal(got, []syscall.Signal{syscall.SIGINT, syscall.SIGKILL}) {
		t.Errorf("after it, it got %v", got)
	}
	child.die(Exit{Signal: syscall.SIGKILL}, true)
	s.await("clearing", func(n Snapshot) bool { return n.Clearing })
	s.clock.advance(6*time.Second, s.sync)
	if _, clears, _ := child.got(); !slices.Equal(clears, []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL}) {
		t.Errorf("what it left got %v", clears)
	}
	s.kernel.cleared().gone()
	s.until(StatusStopped)
}
