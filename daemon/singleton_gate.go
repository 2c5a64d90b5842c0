package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"gopm/daemon/api"
	"gopm/daemon/keeper"
	"gopm/daemon/supervise"
)

// Every process of a singleton comes through here, whatever has it started: it waits at
// the entrance until its machine has the lock.

// alone is what an instance has to do with its app's lock.
type alone struct {
	entrance atomic.Pointer[entrance] // where it waits; nil: it doesn't
	permit   atomic.Pointer[permit]   // nil: it may not run
	standing atomic.Pointer[standing] // nil: it is of no singleton, or nothing is known yet
}

// entrance is one incarnation's wait.
type entrance struct {
	inc   uint64
	fence uint64 // set before open is closed
	open  chan struct{}
}

// isOf says that it is where the incarnation of a snapshot waits. The snapshot may be older than
// the entrance: then its process is alive, and is not the one that waits.
func (e *entrance) isOf(p supervise.Snapshot) bool { return e != nil && e.inc == p.Incarnation }

// admit lets it in. It is called once at most, by who has found it in the instance.
func (e *entrance) admit(in *instance, fence uint64) {
	if in.entrance.CompareAndSwap(e, nil) {
		e.fence = fence
		close(e.open)
	}
}

// Why one isn't started.
var (
	errNotAdmitted = errors.New("not started: it was to end before it had the lock")
	errLockOver    = errors.New("not started: its lock was over before")
)

// singly has a run wait for its app's lock, and know of it. What else comes before the
// spawn is done with the lock.
func (d *Daemon) singly(in *instance, inc uint64, l supervise.Launch) supervise.Launch {
	a := in.version.Load()
	if !a.spec.Singleton.IsSet() {
		return l
	}
	before, thread := l.Before, l.Thread
	if m := mannerOf(a.spec); m == mannerRole || m == mannerLicense && !a.spec.Times.IsJob() {
		l.Env = append(slices.Clip(l.Env), d.roleVariables(a, in)...)
		l.Before = func(ctx context.Context) error {
			if slot := in.slot.Load(); m == mannerLicense && slot != nil && slot.View().Trouble != "" {
				return fmt.Errorf("nothing would hold it back until it has its lock: %s; mode cold needs no cluster", slot.View().Trouble)
			}
			if err := d.writeRole(in, "standby"); err != nil {
				return err
			}
			return also(ctx, before)
		}
		return l
	}
	at := len(l.Env)
	l.Env = append(slices.Clip(l.Env), "GOPM_LOCK="+a.spec.Singleton.Lock, "GOPM_ROLE=leader", "GOPM_FENCE=0")
	env := l.Env[at:] // who spawns reads the same entries when before is done
	l.Before = func(ctx context.Context) error {
		fence, err := d.waitForLock(ctx, a, in, inc)
		if err != nil {
			return err
		}
		env[2] = "GOPM_FENCE=" + strconv.FormatUint(fence, 10)
		return also(ctx, before)
	}
	l.Thread = func() error {
		p := in.permit.Load()
		if p == nil || p.Inc != 0 && p.Inc != inc || keeper.Boottime() >= p.Until {
			return errLockOver
		}
		if thread != nil {
			return thread()
		}
		return nil
	}
	return l
}

func also(ctx context.Context, before func(context.Context) error) error {
	if before == nil {
		return nil
	}
	return before(ctx)
}

// waitForLock returns when an incarnation may be started. A job doesn't wait: where the
// lock is when it is due it is run.
func (d *Daemon) waitForLock(ctx context.Context, a *app, in *instance, inc uint64) (fence uint64, err error) {
	if a.spec.Times.IsJob() {
		p := in.permit.Load()
		if p == nil || !d.singletons.licensing(a.spec, func() {}) {
			return 0, errors.New(in.lockHolder())
		}
		return p.Fence, nil
	}
	e := &entrance{inc: inc, open: make(chan struct{})}
	in.entrance.Store(e)
	d.hub.tell(in)
	defer d.hub.tell(in)
	select {
	case <-e.open:
		return e.fence, nil
	case <-ctx.Done():
		in.entrance.CompareAndSwap(e, nil) // false: it was let in at the same time, and doesn't come
		return 0, errNotAdmitted
	}
}

// standsBy says that an instance is wanted, and waits for its app's lock.
func (in *instance) standsBy() bool { return in.entrance.Load() != nil }

// showLock says in a row what the instance has to do with a lock.
func (in *instance) showLock(p *api.Process) {
	s := in.standing.Load()
	if s == nil {
		return
	}
	p.Lock = &api.Lock{Key: s.key, Leads: s.leads, Holder: s.state.Holder, Why: s.state.Why}
	if s.leads {
		p.Lock.Fence = s.state.Fence
		if s.state.Held && s.state.Misses > 0 {
			p.Lock.Ends = time.Now().Add(s.state.Until - keeper.Boottime())
		}
	}
	if in.standsBy() && p.Status == string(supervise.StatusLaunching) {
		p.Status = api.StatusStandby
	}
}

func savedPermit(in *instance) json.RawMessage {
	if p := in.permit.Load(); p != nil {
		return encode(p)
	}
	return nil
}

func readPermit(text []byte) *permit {
	var p permit
	if len(text) == 0 || json.Unmarshal(text, &p) != nil {
		return nil
	}
	return &p
}

// restorePermit has an instance go on under the lock that the daemon before held.
func (in *instance) restorePermit(p *permit) {
	if p != nil {
		in.permit.Store(p)
	}
}
