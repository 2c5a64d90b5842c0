package supervise

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// preparing is a stage whose runs are prepared (Launch.Before): by calls of which a test
// says how they end.
type preparing struct {
	*stage
	calls chan call
}

// call is a Before under way.
type call struct {
	ctx  context.Context
	done chan<- error
}

func newPreparing(t *testing.T) *preparing {
	s := &preparing{stage: &stage{t: t, policy: testPolicy(), kernel: &fakeKernel{}, clock: newFakeClock()}, calls: make(chan call, 10)}
	cfg := s.config()
	cfg.Launch = func(uint64) (Launch, error) { return Launch{Before: s.before}, nil }
	s.Process = New(cfg)
	return s
}

// before ends as the test says, or with its context.
func (s *preparing) before(ctx context.Context) error {
	done := make(chan error, 1)
	s.calls <- call{ctx, done}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return errors.New("broken off")
	}
}

// next is the next Before that begins.
func (s *preparing) next() call {
	s.t.Helper()
	select {
	case c := <-s.calls:
		return c
	case <-time.After(20 * time.Second):
		s.t.Fatalf("nothing is prepared; it is %+v", s.Snapshot())
		return call{}
	}
}

// TestBeforeASpawn: it is done before, and its failure is a crash like any other.
func TestBeforeASpawn(t *testing.T) {
	t.Parallel()
	s := newPreparing(t)
	t.Cleanup(s.end)
	s.Start()
	first := s.next()
	if n := s.until(StatusLaunching); n.Pid != 0 || s.kernel.spawns() != 0 {
		t.Errorf("spawned before it was prepared: %+v", n)
	}
	first.done <- errors.New("pre_start: exit code 3")
	n := s.until(StatusWaiting)
	if n.LastExit.Err != "pre_start: exit code 3" || n.Unstable != 1 || n.Backoff != 100*time.Millisecond || s.kernel.spawns() != 0 {
		t.Errorf("after the failure: %+v, exit %+v, %d spawns", n, n.LastExit, s.kernel.spawns())
	}
	s.clock.advance(100*time.Millisecond, func() {})
	s.next().done <- nil
	if n := s.alive(); n.Incarnation != 2 || n.Restarts != 1 {
		t.Errorf("prepared at last: %+v", n)
	}
}

// TestWhoAsksDuringBefore: a stop or a restart doesn't wait for it, and is no crash.
func TestWhoAsksDuringBefore(t *testing.T) {
	t.Parallel()
	s := newPreparing(t)
	s.Start()
	first := s.next()
	s.Restart("impatience")
	second := s.next()
	if first.ctx.Err() == nil || second.ctx.Err() != nil {
		t.Error("a restart has not broken off the first, or has the second")
	}
	if n := s.Snapshot(); n.Incarnation != 2 || n.Unstable != 0 || !n.LastExit.Requested || n.RestartCause != "impatience" {
		t.Errorf("restarted: %+v, exit %+v", n, n.LastExit)
	}
	s.Stop()
	n := s.until(StatusStopped)
	if second.ctx.Err() == nil || n.Unstable != 0 || !n.LastExit.Requested || s.kernel.spawns() != 0 {
		t.Errorf("stopped: %+v, exit %+v, %d spawns", n, n.LastExit, s.kernel.spawns())
	}
	s.Start()
	third := s.next()
	s.Close() // stops it as well
	if third.ctx.Err() == nil {
		t.Error("the third goes on")
	}
}

// TestStopAndStartDuringBefore: who stops and starts again gets a run that was prepared anew.
func TestStopAndStartDuringBefore(t *testing.T) {
	t.Parallel()
	s := newPreparing(t)
	t.Cleanup(s.end)
	s.Start()
	s.next()
	s.Stop()
	s.Start()
	s.next().done <- nil
	if n := s.alive(); s.kernel.spawns() != 1 || n.Unstable != 0 {
		t.Errorf("%+v, %d spawns", n, s.kernel.spawns())
	}
}

// TestAbandonDuringBefore: the next daemon prepares it again, and spawns it.
func TestAbandonDuringBefore(t *testing.T) {
	t.Parallel()
	s := newPreparing(t)
	s.Start()
	first := s.next()
	s.Abandon()
	if first.ctx.Err() == nil {
		t.Error("it is still being prepared")
	}
	m := s.Machine()
	if m.State != Spawning || s.kernel.spawns() != 0 {
		t.Fatalf("left as %+v, %d spawns", m, s.kernel.spawns())
	}
	next := &preparing{stage: &stage{t: t, policy: testPolicy(), kernel: &fakeKernel{}, clock: s.clock}, calls: make(chan call, 10)}
	cfg := next.config()
	cfg.Launch = func(uint64) (Launch, error) { return Launch{Before: next.before}, nil }
	next.Process = Restore(cfg, m, Run{})
	t.Cleanup(next.end)
	next.next().done <- nil
	if n := next.alive(); n.Incarnation != m.Inc || n.Unstable != 0 || n.Restarts != 0 {
		t.Errorf("restored: %+v", n)
	}
}

// TestBeforeThatFailsClosesTheFiles, which no program has got.
func TestBeforeThatFailsClosesTheFiles(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	s := &stage{t: t, policy: testPolicy(), kernel: &fakeKernel{}, clock: newFakeClock()}
	cfg := s.config()
	cfg.Launch = func(uint64) (Launch, error) {
		return Launch{Out: w, Before: func(context.Context) error { return errNoFile }}, nil
	}
	s.Process = New(cfg)
	t.Cleanup(s.end)
	s.Start()
	s.until(StatusWaiting)
	if n, err := r.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the pipe says %d, %v", n, err)
	}
}

// parts are the Part calls of a stage.
type parts struct {
	mu     sync.Mutex // guards the rest
	incs   []uint64
	parted []func()
}

func (p *parts) part(inc uint64, parted func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.incs, p.parted = append(p.incs, inc), append(p.parted, parted)
}

func (p *parts) all() ([]uint64, []func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.incs), slices.Clone(p.parted)
}

func newParting(t *testing.T) (*stage, *parts) {
	p := &parts{}
	s := &stage{t: t, policy: testPolicy(), kernel: &fakeKernel{}, clock: newFakeClock()}
	s.policy.PreStop = 3 * time.Second
	cfg := s.config()
	cfg.Part = p.part
	s.Process = New(cfg)
	t.Cleanup(func() {
		s.Stop()
		s.sync()
		_, parted := p.all()
		for _, f := range parted {
			f()
		}
		s.end()
	})
	return s, p
}

// signals are those that a child got.
func (c *fakeChild) signalled() []syscall.Signal {
	got, _, _ := c.got()
	return got
}

// TestPart: the signal comes when what is done before it is done, once.
func TestPart(t *testing.T) {
	t.Parallel()
	s, p := newParting(t)
	child := s.up()
	s.Restart("")
	s.until(StatusStopping)
	incs, parted := p.all()
	if !slices.Equal(incs, []uint64{1}) || len(child.signalled()) != 0 {
		t.Fatalf("parting of %v, signals %v", incs, child.signalled())
	}
	parted[0]()
	parted[0]()
	s.sync()
	if got := child.signalled(); !slices.Equal(got, []syscall.Signal{syscall.SIGINT}) {
		t.Errorf("after it has parted it got %v", got)
	}
	child.die(Exit{Signal: syscall.SIGINT}, false)
	s.await("again alive", func(n Snapshot) bool { return n.Incarnation == 2 && n.Pid != 0 })
	second := s.kernel.last()
	parted[0]() // of another incarnation
	s.Stop()
	s.sync()
	parted[0]()
	s.sync()
	if got := second.signalled(); len(got) != 0 {
		t.Errorf("the second got %v by what was done for the first", got)
	}
}

// TestPartThatTakesTooLong: the signal comes all the same, and then SIGKILL as ever.
func TestPartThatTakesTooLong(t *testing.T) {
	t.Parallel()
	s, _ := newParting(t)
	child := s.up()
	s.Stop()
	s.sync()
	s.clock.advance(3900*time.Millisecond, s.sync)
	if got := child.signalled(); len(got) != 0 {
		t.Errorf("within its time it got %v", got)
	}
	s.clock.advance(200*time.Millisecond, s.sync)
	s.clock.advance(4800*time.Millisecond, s.sync)
	if got := child.signalled(); !slices.Equal(got, []syscall.Signal{syscall.SIGINT}) {
		t.Errorf("after it, it got %v", got)
	}
	s.clock.advance(200*time.Millisecond, s.sync)
	if got := child.signalled(); !slices.Equal(got, []syscall.Signal{syscall.SIGINT, syscall.SIGKILL}) {
		t.Errorf("and after the kill timeout %v", got)
	}
	child.die(Exit{Signal: syscall.SIGKILL}, false)
	s.until(StatusStopped)
}

// TestPartOfOneThatDies meanwhile is of no interest any more.
func TestPartOfOneThatDies(t *testing.T) {
	t.Parallel()
	s, p := newParting(t)
	child := s.up()
	s.Stop()
	s.sync()
	child.die(Exit{Code: 1}, false)
	n := s.until(StatusStopped)
	_, parted := p.all()
	parted[0]()
	s.sync()
	if got := child.signalled(); len(got) != 0 || !n.LastExit.Requested {
		t.Errorf("signals %v, exit %+v", got, n.LastExit)
	}
}

// TestStopWithinAfterParting: the time that somebody gives a process counts from the signal.
func TestStopWithinAfterParting(t *testing.T) {
	t.Parallel()
	s, p := newParting(t)
	child := s.up()
	s.StopWithin(20 * time.Second)
	s.sync()
	_, parted := p.all()
	parted[0]()
	s.sync()
	s.clock.advance(19*time.Second, s.sync)
	if got := child.signalled(); !slices.Equal(got, []syscall.Signal{syscall.SIGINT}) {
		t.Errorf("within its time it got %v", got)
	}
	s.clock.advance(2*time.Second, s.sync)
	if got := child.signalled(); !slices.Equal(got, []syscall.Signal{syscall.SIGINT, syscall.SIGKILL}) {
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

// TestPreStopOfARunningOne: what is to be done before the signal is the app's, so that a
// change of it is for the run that there is.
func TestPreStopOfARunningOne(t *testing.T) {
	t.Parallel()
	s, p := newParting(t)
	child := s.up()
	without := s.policy
	without.PreStop = 0
	s.Configure(Command{Argv: []string{"one"}}, without)
	s.Stop()
	s.sync()
	if incs, _ := p.all(); len(incs) != 0 || len(child.signalled()) != 1 {
		t.Errorf("parting of %v, signals %v", incs, child.signalled())
	}
	child.die(Exit{}, false)
	s.until(StatusStopped)
}

// TestAsk: a process that can be asked in another way gets no signal, but SIGKILL.
func TestAsk(t *testing.T) {
	t.Parallel()
	for _, can := range []bool{true, false} {
		s := &stage{t: t, policy: testPolicy(), kernel: &fakeKernel{}, clock: newFakeClock()}
		asked := make(chan uint64, 10)
		cfg := s.config()
		cfg.Ask = func(inc uint64) bool {
			asked <- inc
			return can
		}
		s.Process = New(cfg)
		t.Cleanup(s.end)
		child := s.up()
		s.Stop()
		s.until(StatusStopping)
		s.sync()
		want := []syscall.Signal{syscall.SIGINT}
		if can {
			want = nil
		}
		if got := child.signalled(); !slices.Equal(got, want) || len(asked) != 1 || <-asked != 1 {
			t.Errorf("it can be asked %v: it got %v", can, got)
		}
		if m := s.Machine(); !m.Asked {
			t.Errorf("it can be asked %v: that it was isn't noted", can)
		}
		s.clock.advance(6*time.Second, s.sync)
		if got := child.signalled(); !slices.Equal(got, append(want, syscall.SIGKILL)) || len(asked) != 0 {
			t.Errorf("it can be asked %v: after its time it got %v and was asked %d times more", can, got, len(asked))
		}
		child.die(Exit{Signal: syscall.SIGKILL}, false)
		s.until(StatusStopped)
	}
}
