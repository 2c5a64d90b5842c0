package supervise

import (
	"context"
	"sync/atomic"
	"syscall"
	"time"
)

// Config is what a Process needs; every function is called from its goroutine
// only, must not block, and must not call back into the Process.
type Config struct {
	Command  Command
	Policy   Policy
	Kernel   Kernel
	Made     func(*Process)                    // by Restore, before any other is called: what was restored may change at once; nil: nothing
	Launch   func(inc uint64) (Launch, error)  // per spawn; nil: nothing is given
	Keep     func(Machine)                     // at every transition, before its effects: what Restore needs after the death of this daemon
	OnChange func(Snapshot)                    // after every transition, in order; a crash with an immediate restart is one
	Part     func(inc uint64, parted func())   // does what is to be done before a signal, and calls parted (once, from another goroutine); nil: nothing
	Ask      func(inc uint64) bool             // asks a process to end in another way than by KillSignal; false: there is none. nil: never
	Clock    Clock                             // nil: the system's
	Jitter   func(time.Duration) time.Duration // ±10 %; nil: random
}

// Kernel is the operating system as a Process sees it; tests bring a fake.
type Kernel interface {
	// Spawn starts c in a new process group; exited is called once, from
	// another goroutine, when the main process has ended (not yet reaped),
	// possibly before Spawn returns. Spawns are bounded: it may wait for its turn.
	Spawn(c Command, l Launch, exited func()) (Child, error)
	// Adopt takes over a process that an earlier daemon spawned, dead ones included
	// that nobody has reaped yet. ErrGone: there is no such process any more.
	Adopt(c Command, run Run, exited func()) (Child, error)
	// Inherit takes over what a process has left that is dead and reaped.
	Inherit(c Command, r Remains) Child
}

// Child is one incarnation, spawned or adopted. Its methods are called by one goroutine.
type Child interface {
	Identity() (pid int, start uint64)
	// Signal goes to the whole group, or with tree false to the main process alone.
	Signal(sig syscall.Signal, tree bool) error
	// Reap collects the exit and tells learned of it, if possible as long as it can
	// still be found out again. With tree it first sends SIGTERM to what is left
	// of the group (while the unreaped leader still pins its number), and says
	// what of the tree is still there.
	Reap(tree bool, learned func(Exit)) Remains
	// Clear signals everything left of the tree, descendants that left the group
	// included, and calls gone (once, from another goroutine) when nothing is left.
	// Calling it again with another signal replaces the signal only.
	Clear(sig syscall.Signal, gone func())
	// Release frees what is held for the child.
	Release()
}

// Process is the actor that keeps one program running. All fields but the
// mailbox, the snapshot and the noted machine belong to its goroutine.
type Process struct {
	cfg       Config
	mail      mailbox
	snap      atomic.Pointer[Snapshot]
	noted     atomic.Pointer[Machine]
	done      chan struct{} // closed when the goroutine has ended
	m         Machine
	policy    Policy // of the current incarnation; cfg has the next one's
	child     Child  // nil: none, or not known yet
	early     uint64 // an incarnation whose exit was seen before its Spawned
	unarm     func() bool
	cancel    context.CancelFunc // of what is done before the spawn that is under way
	watchers  []*watcher
	launching bool // the kernel has been asked to spawn and hasn't answered yet
	farewell
}

// farewell is about ends: that of the process, and our own.
type farewell struct {
	patience time.Duration // StopWithin's, until the process is signalled; 0: the policy's
	hurried  bool          // Kill was called for the present incarnation
	closing  bool
	leaving  bool // Abandon was called
	left     bool // nothing may be done any more
}

// New starts the actor's goroutine with nothing running and nothing wanted.
func New(cfg Config) *Process {
	p := create(cfg, Machine{})
	go p.run() // ended by Close or Abandon, which wait for it
	return p
}

func create(cfg Config, m Machine) *Process {
	if cfg.Clock == nil {
		cfg.Clock = SystemClock()
	}
	if cfg.Jitter == nil {
		cfg.Jitter = jitter
	}
	p := &Process{cfg: cfg, m: m, policy: cfg.Policy, done: make(chan struct{}), unarm: func() bool { return false }, cancel: func() {}}
	p.mail.init()
	first := m.snapshot()
	p.snap.Store(&first)
	p.noted.Store(&m)
	return p
}

// Start, Stop and Restart change the desired state and return at once; what
// comes of it is seen in snapshots. Start of a running process changes nothing.
func (p *Process) Start() { p.request(Event{Kind: EvStart}) }

// Stop asks for the end of the process and of its tree.
func (p *Process) Stop() { p.request(Event{Kind: EvStop}) }

// Restart stops it if it runs, then starts it; counts as a restart.
func (p *Process) Restart(cause string) { p.request(Event{Kind: EvRestart, Cause: cause}) }

// Hang says that an incarnation is stuck: it is killed at once, and that is a crash.
func (p *Process) Hang(inc uint64, how string) { p.request(Event{Kind: EvHang, Inc: inc, Cause: how}) }

// Ready says that an incarnation is ready; it matters if its policy asks for that.
func (p *Process) Ready(inc uint64) { p.request(Event{Kind: EvReady, Inc: inc}) }

// Fail says that an incarnation is of no use, and why: it is ended, and that is a crash.
func (p *Process) Fail(inc uint64, why string) {
	p.request(Event{Kind: EvFail, Inc: inc, Cause: why})
}

// Reset sets the counters to zero.
func (p *Process) Reset() { p.request(Event{Kind: EvReset}) }

// Signal sends a signal to the main process alone. It is no request to end: what
// the process makes of it is seen in snapshots.
func (p *Process) Signal(sig syscall.Signal) error {
	sent := make(chan error, 1)
	p.mail.post(func() {
		if p.child == nil {
			sent <- syscall.ESRCH
			return
		}
		sent <- p.child.Signal(sig, false)
	})
	select {
	case err := <-sent:
		return err
	case <-p.done:
		return ErrClosed
	}
}

// Configure replaces command and policy; a running incarnation keeps its own, but for
// what is done before it is signalled: that is the app's, not the program's.
func (p *Process) Configure(c Command, pol Policy) {
	p.mail.post(func() {
		p.cfg.Command, p.cfg.Policy = c, pol
		if p.m.Run.Pid == 0 && p.m.State != Spawning && p.m.State != Clearing {
			p.policy = pol
		}
		p.policy.PreStop = pol.PreStop
	})
}

// Snapshot is the current picture; never blocks.
func (p *Process) Snapshot() Snapshot { return *p.snap.Load() }

// Close ends the actor and waits for its goroutine. The process must be stopped
// or errored without a live child, else Close stops it first and waits for that.
func (p *Process) Close() {
	p.mail.post(func() {
		p.closing = true
		p.step(Event{Kind: EvStop})
	})
	<-p.done
}

func (p *Process) request(ev Event) {
	p.mail.post(func() {
		if !p.closing && !p.leaving {
			p.step(ev)
		}
	})
}

func (p *Process) run() {
	defer close(p.done)
	for !p.left && (!p.closing || p.m.State != Stopped) {
		p.mail.next()()
	}
	p.mail.close()
}

// step carries out one event: first the note for the next daemon, then the effects,
// because a successor is due now, then the news.
func (p *Process) step(ev Event) {
	if ev.At.IsZero() {
		ev.At = p.cfg.Clock.Now()
	}
	ev.Jitter = p.cfg.Jitter
	was := p.m
	m, acts := Step(was, p.policyFor(ev), ev)
	p.m = m
	if m != was {
		p.keep()
	}
	if m.Recycle {
		p.cancel() // what is done before the spawn needn't be done any more
	}
	for _, a := range acts {
		p.do(a)
	}
	if m != was {
		p.publish()
	}
}

// policyFor is the policy, with the time that somebody gave the process to end when it
// comes to be asked for that.
func (p *Process) policyFor(ev Event) Policy {
	pol := p.policy
	asking := ev.Kind == EvStop || p.m.State == Parting && (ev.Kind == EvParted || ev.Kind == EvTimer)
	if p.patience > 0 && asking {
		pol.KillTimeout = p.patience
	}
	if p.hurried {
		pol.KillTimeout, pol.PreStop = 0, 0
	}
	return pol
}

func (p *Process) do(a Action) {
	switch a.Kind {
	case ActSpawn:
		p.spawn(a.Inc)
	case ActPart:
		p.part(a.Inc)
	case ActSignal:
		p.signal(a.Sig)
	case ActClear:
		p.clear(a.Sig)
	case ActGone:
		p.child.Release()
		p.child = nil
	case ActArm:
		p.arm(a.Epoch, a.Delay)
	case ActDisarm:
		p.unarm()
	}
}

// signal sends the signal that the machine has decided on, and notes it: a program
// that hears the same request twice may take it for impatience.
func (p *Process) signal(sig syscall.Signal) {
	if p.child == nil {
		return // it couldn't be adopted yet; adoption makes up for it
	}
	if p.m.State != Stopping || p.cfg.Ask == nil || !p.cfg.Ask(p.m.Inc) {
		_ = p.child.Signal(sig, p.policy.TreeKill) // an error means it has ended: its exit is on the way
	}
	if p.m.State == Stopping {
		p.m.Asked = true
		p.keep()
	}
}

// part has done what comes before a signal.
func (p *Process) part(inc uint64) {
	parted := func() { p.mail.post(func() { p.step(Event{Kind: EvParted, Inc: inc}) }) }
	if p.cfg.Part == nil {
		parted()
		return
	}
	p.cfg.Part(inc, parted)
}

func (p *Process) clear(sig syscall.Signal) {
	inc := p.m.Inc
	p.child.Clear(sig, func() { p.mail.post(func() { p.step(Event{Kind: EvCleared, Inc: inc}) }) })
}

func (p *Process) arm(epoch uint64, d time.Duration) {
	p.unarm()
	p.unarm = p.cfg.Clock.AfterFunc(d, func() {
		p.mail.post(func() { p.step(Event{Kind: EvTimer, Epoch: epoch}) })
	})
}

// keep notes the machine for the next daemon.
func (p *Process) keep() {
	m := p.m
	p.noted.Store(&m)
	if p.cfg.Keep != nil {
		p.cfg.Keep(m)
	}
}

// spawn orders incarnation inc with the newest configuration.
func (p *Process) spawn(inc uint64) {
	p.policy, p.patience, p.hurried = p.cfg.Policy, 0, false
	var l Launch
	if p.cfg.Launch != nil {
		var e error
		if l, e = p.cfg.Launch(inc); e != nil {
			p.mail.post(func() { p.spawnFailed(inc, e) })
			return
		}
	}
	p.launching = true
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	go p.launch(ctx, inc, p.cfg.Command, l) // ends with the kernel's answer; Close waits for the event it posts
}

// launch waits for the kernel, and what is to be done before, so that the actor needn't.
func (p *Process) launch(ctx context.Context, inc uint64, c Command, l Launch) {
	var child Child
	var e error
	if l.Before != nil {
		e = l.Before(ctx)
	}
	if e == nil {
		c.Env = withEntries(c.Env, l.Env)
		child, e = p.cfg.Kernel.Spawn(c, l, func() {
			p.mail.post(func() { p.exited(inc) })
		})
	}
	l.close()
	p.mail.post(func() {
		p.launching = false
		p.cancel()
		switch {
		case e == nil:
			p.spawned(inc, child, c.Edition)
		case !p.leaving: // else the next daemon tries again
			p.spawnFailed(inc, e)
		}
		if p.leaving {
			p.letGo()
		}
	})
}

func (p *Process) spawnFailed(inc uint64, e error) {
	now := p.cfg.Clock.Now()
	p.step(Event{Kind: EvExited, At: now, Inc: inc, Exit: Exit{At: now, Err: e.Error()}})
}

func (p *Process) spawned(inc uint64, child Child, edition uint64) {
	pid, start := child.Identity()
	run := Run{Pid: pid, StartTime: start, Started: p.cfg.Clock.Now(), Edition: edition}
	p.child = child
	p.step(Event{Kind: EvSpawned, At: run.Started, Inc: inc, Run: run})
	if p.early == inc {
		p.exited(inc)
	}
}

// exited is the path of a crash: collect the exit, decide, spawn the successor.
func (p *Process) exited(inc uint64) {
	if inc != p.m.Inc || p.leaving {
		return
	}
	if p.child == nil {
		p.early = inc
		return
	}
	now := p.cfg.Clock.Now()
	var exit Exit
	remains := p.child.Reap(p.policy.TreeKill, func(e Exit) {
		if was := p.m.Ended; was != nil && e.Signal == 0 && e.Code == Unknown {
			e = *was // an earlier daemon had learned it
		} else {
			e.At, e.Uptime = now, max(now.Sub(p.m.Run.Started), 0)
		}
		exit = e
		p.m.Ended = &e
		p.keep() // as soon as it is reaped nobody else can find out
	})
	p.step(Event{Kind: EvExited, At: now, Inc: inc, Exit: exit, Remains: remains})
}

// publish makes the machine's state known: to readers, to OnChange, and then to those who
// wait, so that what follows from a state is done when they see it.
func (p *Process) publish() {
	s := p.m.snapshot()
	s.Generation = p.snap.Load().Generation + 1
	p.snap.Store(&s)
	if p.cfg.OnChange != nil {
		p.cfg.OnChange(s)
	}
	p.tell(s)
}
