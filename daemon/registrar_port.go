package daemon

import (
	"cmp"
	"slices"
	"time"

	"gopm/consul"
	"gopm/daemon/supervise"
	"gopm/ecosystem"
)

// sighted is the port on which a run was seen to listen.
type sighted struct {
	inc  uint64    // of what was looked at
	port int       // 0 = none so far
	next time.Time // when it is looked at again; the zero value: never
}

// portless is how old a run is that listens on nothing and is registered all the same.
const portless = 10 * time.Second

// portNow is the port by which an instance is reached, and when there is news to be had. A
// run that isn't seen to listen yet is not known to have any.
func (in *instance) portNow(spec ecosystem.App, s supervise.Snapshot, now time.Time) (port int, again time.Duration) {
	const never = time.Hour
	if p := spec.Consul.Service.Port; p != 0 {
		return p, never
	}
	declared := spec.Port(in.index)
	if p := in.sharedPort(declared); p != 0 {
		return p, never
	}
	seen := in.sight.Load()
	if seen == nil {
		seen = &sighted{}
	}
	if s.Pid == 0 || s.Status == supervise.StatusStopping {
		return cmp.Or(seen.port, consul.PortUnknown), never
	}
	if seen.inc == s.Incarnation && (seen.next.IsZero() || now.Before(seen.next)) {
		return in.portAt(seen, s, now)
	}
	next := &sighted{inc: s.Incarnation, port: seen.port}
	if ports := listeningPorts(s.Pid, 0); len(ports) > 0 {
		next.port = firstPort(ports, declared)
	} else {
		next.next = now.Add(lookForPort(now.Sub(s.Started)))
	}
	in.sight.Store(next)
	return in.portAt(next, s, now)
}

// sharedPort is the one that an instance shares with others, if it is in a cluster and has any; 0: none.
func (in *instance) sharedPort(declared int) int {
	slot := in.slot.Load()
	if slot == nil {
		return 0
	}
	v := slot.View()
	if ports := portsOf(v.Addresses); v.Trouble == "" && len(ports) > 0 {
		return firstPort(ports, declared)
	}
	return 0
}

func (in *instance) portAt(seen *sighted, s supervise.Snapshot, now time.Time) (port int, again time.Duration) {
	again = time.Hour
	if !seen.next.IsZero() {
		again = max(seen.next.Sub(now), soonestLook)
	}
	switch {
	case seen.port != 0:
		return seen.port, again
	case now.Sub(s.Started) >= portless:
		return 0, again
	}
	return consul.PortUnknown, again
}

// lookForPort is the time until the next look at a run of that age which doesn't listen.
func lookForPort(age time.Duration) time.Duration {
	const most = 5 * time.Minute
	return min(max(age/8, soonestLook), most)
}

// firstPort is the one that is wanted, or else the smallest.
func firstPort(ports []int, wanted int) int {
	if slices.Contains(ports, wanted) {
		return wanted
	}
	return slices.Min(ports)
}
