package daemon

import (
	"runtime/debug"
	"sync"
	"time"
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
}

func (t *thrift) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	if t.calm != nil {
		t.calm.Stop()
	}
}
