package daemon

import (
	"testing"

	"gopm/daemon/supervise"
)

// TestClaimDead: a dead process that nobody knows goes to an instance that was being
// started and isn't there, if it may be its; each to one only.
func TestClaimDead(t *testing.T) {
	t.Parallel()
	starting := func(reaped uint64) *heir {
		return &heir{machine: supervise.Machine{State: supervise.Spawning, Remains: supervise.Remains{Reaped: reaped}}}
	}
	dead := func(pid int, start uint64) supervise.Stray {
		return supervise.Stray{Run: supervise.Run{Pid: pid, StartTime: start}, Dead: true, ID: -1}
	}
	there, young, old := starting(0), starting(50), starting(0)
	there.found = supervise.Run{Pid: 1}
	resting := &heir{}
	claimDead([]supervise.Stray{dead(40, 40), {Run: supervise.Run{Pid: 45, StartTime: 60}}, dead(60, 60), dead(70, 70)}, []*heir{there, resting, young, old})
	for h, want := range map[*heir]int{there: 1, resting: 0, young: 60, old: 40} {
		if h.found.Pid != want {
			t.Errorf("%v got %d, want %d", h.machine.State, h.found.Pid, want)
		}
	}
}
