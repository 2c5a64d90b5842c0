package keeper

import (
	"bytes"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// A lease is a deadline in CLOCK_BOOTTIME: what was granted until a certain time is over
// then, however long the daemon, this keeper or the whole machine stood still meanwhile. It is
// for what must be dead before another machine may take its place, so it names more
// than a group: whatever main process the key's entry has, or gets while the time is
// over, and all that carries the marker in its environment, or descends from those.

// Boottime is the time since the machine was started, with the time that it slept.
func Boottime() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) // can't fail: the clock is older than pidfds
	return time.Duration(ts.Nano())
}

type lease struct {
	main   Main // none: only the entry's, and what is marked
	marker []string
	ends   time.Duration
	over   bool // enforced; who gets the key's entry now is late
}

// deadMan is who has to be dead by when.
type deadMan struct {
	groups map[string]deadline
	leases map[string]lease
	alarm  *alarm        // nil: there is no lease
	guard  *watchman     // nil: there is no lease, or no guard could be started
	lag    time.Duration // so long after its end a lease is over
	news   func()        // takes in what has been said of them and not been heard
}

func newDeadMan() deadMan {
	return deadMan{groups: map[string]deadline{}, leases: map[string]lease{}}
}

// grant sets the lease of a key, or with no time takes it back.
func (d *deadMan) grant(m message) {
	if m.number == 0 {
		d.forget(m.key)
		return
	}
	l := lease{main: m.main, ends: time.Duration(m.number) * time.Millisecond}
	if len(m.note) > 0 {
		l.marker = splitMarker(m.note)
	}
	d.leases[m.key] = l
	d.wind()
}

// forget a key that means nothing any more.
func (d *deadMan) forget(key string) {
	delete(d.groups, key)
	delete(d.leases, key)
	d.wind()
}

// late says that the key's entry has another main process now.
func (d *deadMan) late(key string) {
	if l, is := d.leases[key]; is && l.over {
		l.over = false
		d.leases[key] = l
	}
}

// next is when the first lease is over; 0: there is none.
func (d *deadMan) next() (at time.Duration) {
	for _, l := range d.leases {
		if !l.over && (at == 0 || l.ends+d.lag < at) {
			at = l.ends + d.lag
		}
	}
	return at
}

// ended are the keys whose lease is over now; each is told once.
func (d *deadMan) ended(now time.Duration) (keys []string) {
	for key, l := range d.leases {
		if l.over || now < l.ends+d.lag {
			continue
		}
		keys = append(keys, key)
		l.over = true
		d.leases[key] = l
	}
	slices.Sort(keys)
	return keys
}

// wind sets the alarm. It is beside the keeper's timer, which doesn't count while the
// machine sleeps.
func (d *deadMan) wind() {
	next := d.next()
	if next == 0 {
		d.alarm.close()
		d.alarm = nil
		return
	}
	if d.alarm == nil {
		d.alarm = newAlarm() // nil without descriptors: the timer is there
	}
	d.alarm.set(next)
}

// evict ends all that a lease was for.
func (k *keeper) evict(key string) {
	l := k.deadMan.leases[key]
	h := hunt{mains: []Main{l.main}, marker: l.marker, spared: []int{1, os.Getpid()}}
	if e := k.store.byKey[key]; e != nil && e.main != l.main {
		h.mains = append(h.mains, e.main)
	}
	if h.spared = append(h.spared, os.Getppid()); k.daemon != nil {
		h.spared = append(h.spared, k.daemon.pid)
	}
	for _, m := range h.mains {
		_ = signalGroup(m, unix.SIGSTOP) // it does nothing more while its descendants are looked for
	}
	for quiet, n := 0, 0; quiet < 2 && n < maxRounds; n++ { // who was killed has no more children, but may have had one just now
		if n > 0 {
			time.Sleep(tick)
		}
		h.before = uint64(Boottime() / tick)
		if k.deadMan.news(); k.deadMan.leases[key].ends != l.ends {
			break // whoever is started from now on is there by right
		}
		if quiet++; h.strike(unix.SIGKILL) > 0 {
			quiet = 0
		}
	}
	if len(h.struck) > 0 {
		k.logf("%s: its time is over, and the daemon has not extended it: killed (pid %d, %d in all)", key, h.mains[len(h.mains)-1].Pid, len(h.struck))
	}
	if h.err != nil {
		k.logf("%s: its time is over, but not all can be killed: %v", key, h.err)
	}
	if l.main.Pid != 0 && k.daemon != nil { // what it was for is no more
		k.forgetLease(key)
	}
}

func (k *keeper) forgetLease(key string) {
	_, leased := k.deadMan.leases[key]
	k.deadMan.forget(key)
	if leased {
		k.alert(key)
	}
}

// A marker travels as a note, its entries separated as in /proc/PID/environ.
func joinMarker(marker []string) []byte {
	var note []byte
	for _, entry := range marker {
		note = append(append(note, entry...), 0)
	}
	return note
}

func splitMarker(note []byte) (marker []string) {
	for entry := range bytes.SplitSeq(bytes.TrimSuffix(note, []byte{0}), []byte{0}) {
		marker = append(marker, string(entry))
	}
	return marker
}
