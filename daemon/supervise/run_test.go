package supervise

import (
	"syscall"
	"testing"
	"time"
)

// What is asked of a run that was looked at before comes too late if a person has stopped
// it, or if another run has come: then nothing happens.
func TestReplaceAndEndMeanOneRun(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	child := s.up()
	s.Replace(7, "not this one")
	s.End(7)
	s.sync()
	if n := s.Snapshot(); n.Status != StatusOnline || n.Incarnation != 1 || !n.IsUp() {
		t.Fatalf("another run's fate has become this one's: %+v", n)
	}
	s.Replace(1, "its time has come")
	s.until(StatusStopping)
	s.Replace(1, "again")
	child.die(Exit{Signal: syscall.SIGINT}, false)
	n := s.await("its successor", func(n Snapshot) bool { return n.Incarnation == 2 && n.Pid != 0 })
	if n.RestartCause != "its time has come" || n.Restarts != 1 {
		t.Errorf("restarted %d times because %q", n.Restarts, n.RestartCause)
	}
	s.Stop()
	s.Replace(2, "after a stop")
	s.kernel.last().die(Exit{}, false)
	if n = s.until(StatusStopped); n.Want || n.IsUp() {
		t.Errorf("it was stopped: %+v", n)
	}
	s.Replace(2, "of one that is stopped")
	s.End(2)
	s.sync()
	if n := s.Snapshot(); n.Status != StatusStopped || n.Incarnation != 2 {
		t.Errorf("what is stopped was started: %+v", n)
	}
}

func TestEndStopsARun(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	child := s.up()
	s.End(1)
	s.until(StatusStopping)
	child.die(Exit{Signal: syscall.SIGINT}, false)
	n := s.until(StatusStopped)
	s.clock.advance(time.Minute, s.sync)
	if n.Want || !n.LastExit.Requested || s.kernel.spawns() != 1 {
		t.Errorf("after its end: %+v, %d spawns", n, s.kernel.spawns())
	}
}
