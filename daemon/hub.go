package daemon

import (
	"slices"
	"sync"
)

// hub tells followers which instances or streams have changed. It never blocks
// the teller and never queues more than one remark per thing: a slow follower
// sees the latest state, not every one in between.
type hub struct {
	mu        sync.Mutex // guards followers
	followers []*follower
}

// follower is one reader of changes. Wake has room for one signal.
type follower struct {
	wake  chan struct{}
	mu    sync.Mutex // guards dirty
	dirty []any
}

func (h *hub) subscribe() *follower {
	f := &follower{wake: make(chan struct{}, 1)}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.followers = append(h.followers, f)
	return f
}

func (h *hub) unsubscribe(f *follower) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.followers = slices.DeleteFunc(h.followers, func(x *follower) bool { return x == f })
}

// tell marks key (an *instance, a *logs.Stream) as changed for every follower.
func (h *hub) tell(key any) {
	h.mu.Lock()
	followers := h.followers // replaced on change only by append/DeleteFunc under the lock
	followers = slices.Clone(followers)
	h.mu.Unlock()
	for _, f := range followers {
		f.mark(key)
	}
}

func (f *follower) mark(key any) {
	f.mu.Lock()
	if !slices.Contains(f.dirty, key) {
		f.dirty = append(f.dirty, key)
	}
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// take empties the list of what has changed, oldest first.
func (f *follower) take() []any {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.dirty
	f.dirty = nil
	return d
}

// wakeAll makes every follower look up, at the daemon's end.
func (h *hub) wakeAll() {
	h.mu.Lock()
	followers := slices.Clone(h.followers)
	h.mu.Unlock()
	for _, f := range followers {
		select {
		case f.wake <- struct{}{}:
		default:
		}
	}
}
