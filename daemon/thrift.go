package daemon

import (
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"gopm/daemon/keeper"
)

// thrift says how often garbage is collected. While apps are being changed the
// daemon allocates much, and time counts; once that is over it allocates little,
// and memory counts for more than the collector's time.
type thrift struct {
	mu    sync.Mutex // guards the rest
	calm  *time.Timer
	ended bool
}

const (
	busyPercent = 400
	calmPercent = 40
	calmAfter   = 2 * time.Second
)

// spend is called when a change begins. The calm comes by itself, one collection
// later: what the change has used is given back.
func (t *thrift) spend() {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.ended:
	case t.calm == nil:
		debug.SetGCPercent(busyPercent)
		t.calm = time.AfterFunc(calmAfter, t.save)
	case !t.calm.Reset(calmAfter):
		debug.SetGCPercent(busyPercent)
	}
}

func (t *thrift) save() {
	debug.SetGCPercent(calmPercent)
	debug.FreeOSMemory()
	keeper.UnmapProgram() // three fifths of what the daemon has are pages of it that only the start needed
	endIdleThreads()
}

func (t *thrift) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	if t.calm != nil {
		t.calm.Stop()
	}
}

// endIdleThreads ends the threads that a change has left behind: Go makes one for
// each system call that takes long, and never ends it. A thread ends with a
// goroutine that was bound to it. Those stay that were made beforehand: see
// keeper.ReserveThreads.
func endIdleThreads() {
	names, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return
	}
	for range len(names) - keeper.DaemonThreads {
		done := make(chan struct{})
		go func() { // ends at once, and its thread with it
			defer close(done)
			runtime.LockOSThread()
			if unix.Gettid() == os.Getpid() { // the main thread would stay, and be of no more use
				runtime.UnlockOSThread()
			}
		}()
		<-done
	}
}
