package keeper

import (
	"os"
	"testing"
)

func TestReservedThreadsStay(t *testing.T) {
	t.Parallel()
	const n = 40
	ReserveThreads(n)
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil || len(tasks) < n {
		t.Errorf("%d threads (%v), want %d", len(tasks), err, n)
	}
}
