package supervise

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"testing"
	"time"
)

// fakeClock moves when told to.
type fakeClock struct {
	mu     sync.Mutex
	now    time.Time
	timers []*fakeTimer
}

type fakeTimer struct {
	at time.Time
	f  func()
}

func newFakeClock() *fakeClock { return &fakeClock{now: t0} }

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) AfterFunc(d time.Duration, f func()) func() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &fakeTimer{at: c.now.Add(d), f: f}
	c.timers = append(c.timers, t)
	return func() bool { return c.take(func(o *fakeTimer) bool { return o == t }) != nil }
}

// take removes and returns the earliest timer that is meant.
func (c *fakeClock) take(meant func(*fakeTimer) bool) *fakeTimer {
	c.mu.Lock()
	defer c.mu.Unlock()
	best := -1
	for i, t := range c.timers {
		if meant(t) && (best < 0 || t.at.Before(c.timers[best].at)) {
			best = i
		}
	}
	if best < 0 {
		return nil
	}
	t := c.timers[best]
	c.timers = append(c.timers[:best], c.timers[best+1:]...)
	return t
}

// advance moves on by d and runs what comes due on the way; settle is called
// after each step, so that what a timer leads to may set the next one.
func (c *fakeClock) advance(d time.Duration, settle func()) {
	end := c.Now().Add(d)
	for {
		t := c.take(func(t *fakeTimer) bool { return !t.at.After(end) })
		if t == nil {
			break
		}
		c.set(t.at)
		t.f()
		settle()
	}
	c.set(end)
}

func (c *fakeClock) set(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = at
}

// fakeKernel spawns nothing; tests say how spawns and processes end.
type fakeKernel struct {
	mu        sync.Mutex
	fail      error         // of the next spawns
	gate      chan struct{} // non-nil: a spawn waits for it
	early     bool          // exits come before Spawn returns
	all       []*fakeChild
	inherited []*fakeChild
	left      bool // inherited children have left something
	clearing  *fakeChild
	live      int
	most      int // lives at the same time, ever
}

type fakeChild struct {
	k       *fakeKernel
	pid     int
	exited  func()
	command Command

	mu      sync.Mutex
	signals []syscall.Signal
	clears  []syscall.Signal
	gone    func()
	exit    Exit
	left    bool
	dead    bool
	freed   bool
	reaps   int
}

func (k *fakeKernel) Spawn(c Command, _ Launch, exited func()) (Child, error) {
	k.mu.Lock()
	gate := k.gate
	k.mu.Unlock()
	if gate != nil {
		<-gate
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fail != nil {
		return nil, k.fail
	}
	ch := &fakeChild{k: k, pid: 1000 + len(k.all), exited: exited, command: c}
	k.all = append(k.all, ch)
	k.live++
	k.most = max(k.most, k.live)
	if k.early {
		exited()
	}
	return ch, nil
}

// Adopt gives the child that an earlier Process had, which may have died.
func (k *fakeKernel) Adopt(_ Command, run Run, exited func()) (Child, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fail != nil {
		return nil, k.fail
	}
	for _, ch := range k.all {
		if ch.pid == run.Pid && ch.adopt(exited) {
			k.live++
			k.most = max(k.most, k.live)
			return ch, nil
		}
	}
	return nil, ErrGone
}

func (c *fakeChild) adopt(exited func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reaps > 0 {
		return false
	}
	c.exited, c.freed = exited, false
	if c.dead {
		exited()
	}
	return true
}

// Inherit gives what is left of a process: nothing, or what left says.
func (k *fakeKernel) Inherit(_ Command, r Remains) Child {
	k.mu.Lock()
	defer k.mu.Unlock()
	ch := &fakeChild{k: k, pid: r.Pid, exit: Exit{Code: Unknown}, left: k.left}
	k.inherited = append(k.inherited, ch)
	k.live++
	return ch
}

func (k *fakeKernel) set(f func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f()
}

func (k *fakeKernel) spawns() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.all)
}

// cleared is the child that is being cleared.
func (k *fakeKernel) cleared() *fakeChild {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.clearing
}

// alive is how many processes there are.
func (k *fakeKernel) alive() (n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, ch := range k.all {
		ch.mu.Lock()
		if !ch.dead && ch.reaps == 0 {
			n++
		}
		ch.mu.Unlock()
	}
	return n
}

// lost is an end that nobody sees.
func (c *fakeChild) lost() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reaps++
	c.dead = true
}

func (k *fakeKernel) heir() *fakeChild {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.inherited[len(k.inherited)-1]
}

func (k *fakeKernel) last() *fakeChild {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.all[len(k.all)-1]
}

// die ends the main process.
func (c *fakeChild) die(e Exit, left bool) {
	c.mu.Lock()
	c.exit, c.left, c.dead = e, left, true
	exited := c.exited
	c.mu.Unlock()
	exited()
}

func (c *fakeChild) Identity() (pid int, start uint64) { return c.pid, uint64(c.pid) * 10 }

func (c *fakeChild) Signal(sig syscall.Signal, _ bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.signals = append(c.signals, sig)
	return nil
}

func (c *fakeChild) Reap(_ bool, learned func(Exit)) Remains {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reaps++
	learned(c.exit)
	if c.left {
		return Remains{Pid: c.pid, StartTime: uint64(c.pid) * 10, Reaped: 1}
	}
	return Remains{Reaped: 1}
}

func (c *fakeChild) Clear(sig syscall.Signal, gone func()) {
	c.k.set(func() { c.k.clearing = c })
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clears = append(c.clears, sig)
	c.gone = gone
}

func (c *fakeChild) Release() {
	c.mu.Lock()
	c.freed = true
	c.mu.Unlock()
	c.k.mu.Lock()
	defer c.k.mu.Unlock()
	c.k.live--
}

func (c *fakeChild) got() (signals, clears []syscall.Signal, freed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]syscall.Signal(nil), c.signals...), append([]syscall.Signal(nil), c.clears...), c.freed
}

// stage is a Process on a fake kernel and a fake clock.
type stage struct {
	*Process
	t      *testing.T
	policy Policy
	kernel *fakeKernel
	clock  *fakeClock
	mu     sync.Mutex
	seen   []Snapshot
	kept   []Machine
}

func newStage(t *testing.T) *stage { return newStageWith(t, testPolicy()) }

func newStageWith(t *testing.T, pol Policy) *stage {
	s := &stage{t: t, policy: pol, kernel: &fakeKernel{}, clock: newFakeClock()}
	s.Process = New(s.config())
	t.Cleanup(s.end)
	return s
}

func (s *stage) config() Config {
	return Config{
		Command: Command{Argv: []string{"one"}}, Policy: s.policy, Kernel: s.kernel, Clock: s.clock,
		Keep:     func(m Machine) { s.mu.Lock(); s.kept = append(s.kept, m); s.mu.Unlock() },
		Jitter:   func(d time.Duration) time.Duration { return d },
		OnChange: func(n Snapshot) { s.mu.Lock(); s.seen = append(s.seen, n); s.mu.Unlock() },
	}
}

func (s *stage) notes() []Machine {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Machine(nil), s.kept...)
}

func (s *stage) history() []Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Snapshot(nil), s.seen...)
}

// end closes it, obeying whatever it is told to signal.
func (s *stage) end() {
	s.Stop()
	s.await("at rest", func(n Snapshot) bool {
		if n.Pid != 0 && n.Status == StatusStopping {
			go s.kernel.last().die(Exit{}, false)
		}
		if n.Clearing {
			go s.kernel.cleared().gone()
		}
		return n.Status == StatusStopped
	})
	s.Close()
	if s.kernel.most > 1 {
		s.t.Errorf("%d incarnations at the same time", s.kernel.most)
	}
}

// await fails the test when it takes too long.
func (s *stage) await(what string, cond func(Snapshot) bool) Snapshot {
	s.t.Helper()
	return await(s.t, s.Process, what, cond)
}

func await(t *testing.T, p *Process, what string, cond func(Snapshot) bool) Snapshot {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	n, err := p.Await(ctx, cond)
	if err != nil {
		t.Fatalf("not %s: %v; it is %+v", what, err, n)
	}
	return n
}

func (s *stage) until(st Status) Snapshot {
	s.t.Helper()
	return s.await(string(st), func(n Snapshot) bool { return n.Status == st })
}

// up starts it and lets it live for min_uptime.
func (s *stage) up() *fakeChild {
	s.t.Helper()
	s.Start()
	s.alive()
	s.pass(time.Second)
	s.until(StatusOnline)
	return s.kernel.last()
}

// alive waits for a live process.
func (s *stage) alive() Snapshot {
	s.t.Helper()
	return s.await("alive", func(n Snapshot) bool { return n.Pid != 0 })
}

// sync waits until everything posted so far has been done.
func (s *stage) sync() {
	s.t.Helper()
	s.await("served", func(Snapshot) bool { return true })
}

// calm waits until no spawn is under way.
func (s *stage) calm() {
	s.t.Helper()
	s.await("calm", func(n Snapshot) bool { return n.Status != StatusLaunching || n.Pid != 0 })
}

func (s *stage) pass(d time.Duration) { s.clock.advance(d, s.calm) }

var errNoFile = errors.New("no such file or directory: /x/app")
