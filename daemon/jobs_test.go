package daemon

import (
	"testing"

	"gopm/daemon/api"
)

// A job that waits for the end of a run waits for it under the next daemon, too; unless its
// own run had begun when the daemon died, and only that it waited was written down.
func TestWhoWasQueuedRunsOnce(t *testing.T) {
	t.Parallel()
	var r rota
	r.arm()
	if !r.enqueue(7) || r.enqueue(7) {
		t.Fatal("it is queued once")
	}
	var left api.Timed
	r.tell(&left)
	if !left.Scheduled || !left.Queued || left.Behind != 7 {
		t.Fatalf("%+v", left)
	}
	for inc, want := range map[uint64]bool{7: true, 8: false} {
		var next rota
		next.restore(left, inc)
		if armed, queued := next.state(); !armed || queued != want {
			t.Errorf("incarnation %d: armed %v, queued %v", inc, armed, queued)
		}
	}
}
