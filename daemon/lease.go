package daemon

import (
	"strconv"
	"sync"
	"time"

	"gopm/daemon/keeper"
)

// leases are what may run until a certain time only, by the keys that the keeper knows
// them under: it kills whatever outlives its lease, and needs no daemon for that. They are
// remembered for a keeper that takes the place of one that has died.
type leases struct {
	mu  sync.Mutex // held also while the keeper is told: what is told last must be what counts
	all map[string]granted
}

type granted struct {
	main   keeper.Main
	ends   time.Duration
	marker []string
}

// lease lets all that belongs to an instance live until CLOCK_BOOTTIME is ends, and 0 for
// ever. It may be told before there is a process: the first one is meant as well.
func (t *trust) lease(in *instance, home string, ends time.Duration) {
	t.leaseOf(in.lifeID().key(), keeper.Main{}, ends, in.marker(in.name, home))
}

// leaseOf is the same for anything: main, or what is under the key, and what is marked.
func (t *trust) leaseOf(key string, main keeper.Main, ends time.Duration, marker []string) {
	t.leases.mu.Lock()
	defer t.leases.mu.Unlock()
	if t.leases.all == nil {
		t.leases.all = map[string]granted{}
	}
	t.leases.all[key] = granted{main, ends, marker}
	if ends == 0 {
		delete(t.leases.all, key)
	}
	if l := t.link.Load(); l != nil {
		l.DeadlineAt(key, main, ends, marker...)
	}
}

// endLease is for a key that means nothing any more.
func (t *trust) endLease(key string) {
	t.leases.mu.Lock()
	defer t.leases.mu.Unlock()
	delete(t.leases.all, key) // the keeper does the same
}

// retellLeases is for a keeper that knows nothing.
func (t *trust) retellLeases() {
	t.leases.mu.Lock()
	defer t.leases.mu.Unlock()
	for key, g := range t.leases.all {
		t.link.Load().DeadlineAt(key, g.main, g.ends, g.marker...)
	}
}

// marker is the entries of the environment by which all that belongs to an instance
// is known, whatever group or session it has made itself.
func (in *instance) marker(name, home string) []string {
	return []string{"name=" + name, "pm_id=" + strconv.Itoa(in.id), "GOPM_HOME=" + home, in.lifeEntry()}
}
