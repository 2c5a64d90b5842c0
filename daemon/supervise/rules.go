package supervise

import (
	"cmp"
	"fmt"
	"slices"
	"syscall"
	"time"
)

// The rules of the table, by what brings them about: requests, life, death, and
// what comes after it.

func ignore(*step) {}

func reset(s *step) { s.m.Count = Count{} }

// startFresh starts what was at rest; pm2 doesn't count that as a restart.
func startFresh(s *step) {
	s.byHand()
	s.m.Plan.Again = false
	s.spawn()
}

// startNow cuts a backoff short.
func startNow(s *step) {
	s.byHand()
	s.spawn()
}

func startDue(s *step) { s.spawn() }

// byHand notes a person's wish to see it run: what went wrong before is forgiven.
func (s *step) byHand() {
	s.m.Want = true
	s.m.Cause = s.ev.Cause
	s.m.Count.Unstable = 0
}

// A newcomer can't be signalled before it is there, so requests made meanwhile
// are noted and carried out by spawned.

func dropNewcomer(s *step) {
	unwant(s)
	s.m.Recycle = true
}

func recycleNewcomer(s *step) {
	wantAgain(s)
	s.m.Recycle = true
}

func stop(s *step) {
	unwant(s)
	s.part()
}

func restart(s *step) {
	wantAgain(s)
	s.part()
}

// fail ends one that lives and is of no use. Its end is a crash like any other, but if
// somebody asks for it meanwhile.
func fail(s *step) {
	s.m.Fault = s.ev.Cause
	s.m.Plan.Again = false
	s.part()
}

// late is for one that isn't ready when its time is over.
func late(s *step) {
	s.ev.Cause = fmt.Sprintf("not ready within %v", max(s.pol.Ready, s.pol.MinUptime))
	fail(s)
}

// killStuck is for one that lives and does nothing: it wouldn't hear a signal that asks.
// Its end is a crash like any other.
func killStuck(s *step) {
	s.m.Hang = s.ev.Cause
	s.act(Action{Kind: ActSignal, Sig: syscall.SIGKILL})
}

func want(s *step) { s.m.Want = true }

func unwant(s *step) {
	s.m.Want = false
	s.m.Plan.Again = false
}

// wantAgain asks for a successor. It leaves the count of unstable exits alone:
// being restarted is no proof of health.
func wantAgain(s *step) {
	s.m.Want = true
	s.m.Plan.Again = true
	s.m.Cause = s.ev.Cause
}

// rest ends the waiting for a next try.
func rest(s *step) {
	s.disarm()
	s.m.Want = false
	s.m.Plan = Plan{}
	s.m.State = Stopped
}

func spawned(s *step) {
	s.m.Run = s.ev.Run
	if s.m.Recycle {
		s.m.Recycle = false
		s.halt()
		return
	}
	if s.pol.Ready > 0 && s.m.Ready == NotAsked {
		s.m.Ready = Awaited
	}
	s.m.State = Starting
	if s.pol.MinUptime <= 0 {
		settled(s)
		return
	}
	s.arm(s.pol.MinUptime)
}

// settled is one that has lived for min_uptime.
func settled(s *step) {
	if s.m.Ready != Awaited {
		online(s)
		return
	}
	s.m.State = Unready
	s.arm(max(s.pol.Ready-s.pol.MinUptime, 0))
}

// readyEarly is news of one that hasn't lived for min_uptime: it is of use at once, but
// its end would be unstable. A newcomer may be faster than the news of its being there.
func readyEarly(s *step) {
	if s.m.Ready == Awaited || s.m.State == Spawning && !s.m.Recycle && s.pol.Ready > 0 {
		s.m.Ready = Reached
	}
}

func readyAtLast(s *step) {
	s.disarm()
	s.m.Ready = Reached
	online(s)
}

// online is reached by having lived for min_uptime, and being ready.
func online(s *step) {
	s.m.State = Online
	s.m.Count.Unstable /= 2
	if s.m.Count.Unstable > 0 {
		s.arm((stableFactor - 1) * s.pol.MinUptime)
	}
}

func forget(s *step) { s.m.Count.Unstable = 0 }

// partGrace is how long after its own limit what is done before a signal is given up.
const partGrace = time.Second

// part does what has to be done before the process is asked to end.
func (s *step) part() {
	if s.pol.PreStop <= 0 {
		s.halt()
		return
	}
	s.m.State = Parting
	s.act(Action{Kind: ActPart, Inc: s.m.Inc})
	s.arm(s.pol.PreStop + partGrace)
}

func parted(s *step) { s.halt() }

// halt asks the process to end.
func (s *step) halt() {
	s.m.State = Stopping
	s.m.Asked = false
	s.act(Action{Kind: ActSignal, Sig: s.pol.killSignal()})
	s.arm(s.pol.KillTimeout)
}

func (pol Policy) killSignal() syscall.Signal {
	if pol.KillSignal == 0 {
		return syscall.SIGTERM
	}
	return pol.KillSignal
}

// kill is repeated until the process is gone: it may hang in the kernel, and
// while it does "stopped" would be a lie and a successor a double.
func kill(s *step) {
	s.m.State = Killing
	s.m.Killed = true
	s.act(Action{Kind: ActSignal, Sig: syscall.SIGKILL})
	s.arm(max(s.pol.KillTimeout, killAgain))
}

// spawnFailed is a crash like any other, or the end of a newcomer nobody wants.
func spawnFailed(s *step) {
	if s.m.Recycle {
		requestedExit(s)
		return
	}
	unstableExit(s)
}

func unstableExit(s *step) {
	s.record(false)
	switch {
	case s.ended():
		s.m.Plan = Plan{Then: thenRest}
	case !s.pol.Autorestart: // it could not run, or was of no use: "stopped" would hide it
		s.m.Plan = Plan{Then: thenFail}
	default:
		s.m.Count.Unstable = min(s.m.Count.Unstable+1, max(s.pol.MaxRestarts, 1))
		if s.m.Count.Unstable >= s.pol.MaxRestarts {
			s.m.Plan = Plan{Then: thenFail, Again: true}
		} else {
			s.planRestart(s.unstableDelay())
		}
	}
	s.bury()
}

func stableExit(s *step) {
	s.record(false)
	if s.ended() {
		s.m.Plan = Plan{Then: thenRest}
	} else {
		s.planRestart(s.pol.RestartDelay)
	}
	s.bury()
}

func requestedExit(s *step) {
	if s.m.Fault != "" && s.m.Want && !s.m.Plan.Again { // nobody but we asked for it
		unstableExit(s)
		return
	}
	s.record(true)
	s.m.Plan.Then = thenRest
	if s.m.Want {
		s.m.Plan.Then = thenRun
	}
	s.bury()
}

// record notes how the incarnation ended.
func (s *step) record(requested bool) {
	e := s.ev.Exit
	e.Requested, e.Incarnation, e.Hang = requested, s.ev.Inc, s.m.Hang
	if !requested {
		e.Fault = s.m.Fault
	}
	s.m.LastExit = &e
	s.m.Run = Run{}
	s.m.Ended = nil
	s.m.Asked = false
	s.m.Killed = false
	s.m.Recycle = false
	if !requested {
		s.m.Cause = cmp.Or(s.m.Hang, s.m.Fault)
	}
	s.m.Conduct = Conduct{}
}

// ended says whether this exit is the program's proper end. Death by signal is
// never code 0, and what never ran can't have ended, nor what was of no use.
func (s *step) ended() bool {
	e := s.ev.Exit
	if e.Err != "" || s.m.LastExit.Fault != "" {
		return false
	}
	return !s.pol.Autorestart || e.Signal == 0 && slices.Contains(s.pol.StopExitCodes, e.Code)
}

func (s *step) planRestart(d time.Duration) {
	s.m.Plan = Plan{Then: thenRun, Due: s.ev.At.Add(d), Delay: d, Again: true}
}

// unstableDelay grows by half with every unstable exit in a row.
func (s *step) unstableDelay() time.Duration {
	if s.pol.BackoffStart <= 0 {
		return s.pol.RestartDelay
	}
	d, most := s.pol.BackoffStart, max(backoffCap, s.pol.BackoffStart)
	for i := 1; i < s.m.Count.Unstable && d < most; i++ {
		d = min(d+d/2, most)
	}
	if s.ev.Jitter != nil {
		d = max(s.ev.Jitter(d), 0)
	}
	return d
}

// bury follows every exit: first the rest of the tree, then the plan.
func (s *step) bury() {
	s.m.Remains = s.ev.Remains
	if s.m.Remains.Pid != 0 {
		s.m.State = Clearing
		s.act(Action{Kind: ActClear, Sig: syscall.SIGTERM})
		s.arm(s.pol.KillTimeout)
		return
	}
	if s.ev.Exit.Err == "" {
		s.act(Action{Kind: ActGone})
	}
	s.settle()
}

func cleared(s *step) {
	s.m.Killed = false
	s.m.Remains = Remains{Reaped: s.m.Remains.Reaped}
	s.act(Action{Kind: ActGone})
	s.settle()
}

func killLeftovers(s *step) {
	s.m.Killed = true
	s.act(Action{Kind: ActClear, Sig: syscall.SIGKILL})
	s.arm(max(s.pol.KillTimeout, killAgain))
}

func startAfterClearing(s *step) {
	again := s.m.Plan.Again && s.m.Plan.Then == thenRun
	s.runAfterClearing(again)
}

func restartAfterClearing(s *step) { s.runAfterClearing(true) }

func (s *step) runAfterClearing(again bool) {
	unstable := s.m.Count.Unstable
	s.byHand()
	if s.m.wasAsked() {
		s.m.Count.Unstable = unstable // nothing had failed that could be forgiven
	}
	s.m.Plan = Plan{Then: thenRun, Due: s.ev.At, Again: again}
}

func stopAfterClearing(s *step) {
	s.m.Want = false
	s.m.Plan = Plan{Then: thenRest}
}

// What an earlier daemon did after its last note is seen only by the process that
// runs: whatever we know of is over, and it is the successor.

func unstableThenFound(s *step) {
	unstableExit(s)
	takeOver(s)
}

func stableThenFound(s *step) {
	stableExit(s)
	takeOver(s)
}

func requestedThenFound(s *step) {
	requestedExit(s)
	takeOver(s)
}

func takeOver(s *step) {
	if s.m.State != Spawning {
		s.spawn()
	}
	s.m.Want, s.m.Killed, s.m.Remains = true, false, Remains{}
	s.acts = nil // all that had to be done for it to be there has been done
	spawned(s)
}

// settle carries out the plan now that nothing is left of the incarnation.
func (s *step) settle() {
	s.disarm()
	switch p := &s.m.Plan; p.Then {
	case thenRest:
		s.m.State = Stopped
		*p = Plan{}
	case thenFail:
		s.m.State = Errored
		if p.Again && !s.pol.MaxExplicit {
			p.Delay, p.Due = retryErrored, s.ev.At.Add(retryErrored)
			s.arm(retryErrored)
		}
	case thenRun:
		if wait := p.Due.Sub(s.ev.At); wait > 0 {
			s.m.State = Backoff
			s.arm(wait)
			return
		}
		s.spawn()
	}
}

// spawn orders the next incarnation.
func (s *step) spawn() {
	s.disarm()
	if s.m.Plan.Again {
		s.m.Count.Restarts++
	}
	s.m.Plan = Plan{}
	s.m.Conduct = Conduct{}
	s.m.State = Spawning
	s.m.Inc++
	s.act(Action{Kind: ActSpawn, Inc: s.m.Inc})
}

func (s *step) act(a Action) { s.acts = append(s.acts, a) }

// arm replaces whatever timer was running.
func (s *step) arm(d time.Duration) {
	s.m.Timer = Timer{Epoch: s.m.Timer.Epoch + 1, Armed: true, Due: s.ev.At.Add(d), Delay: d}
	s.act(Action{Kind: ActArm, Epoch: s.m.Timer.Epoch, Delay: d})
}

func (s *step) disarm() {
	if s.m.Timer.Armed {
		s.m.Timer = Timer{Epoch: s.m.Timer.Epoch}
		s.act(Action{Kind: ActDisarm})
	}
}
