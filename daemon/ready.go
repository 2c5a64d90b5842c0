package daemon

import (
	"net"
	"slices"
	"strconv"
	"time"

	"gopm/cluster"
	"gopm/ecosystem"
)

// An instance is ready when it has lived for min_uptime, or when it shows in the way
// that its app names that it is: see ecosystem.Ready. Who sees that tells its process,
// with the incarnation that it was seen of.

// lookReady tells an instance's process that it is ready if what its place shows makes
// it so.
func (in *instance) lookReady() {
	a, slot := in.version.Load(), in.slot.Load()
	if a == nil || slot == nil || a.spec.Ready.By != ecosystem.ReadyPort {
		return
	}
	if v := slot.View(); listensEnough(a.spec, v) {
		in.proc.Ready(v.Inc)
	}
}

// listensEnough says whether a process listens on the ports that make it ready: the one
// that is named, all that are shared, or any. One that is held as a spare would.
func listensEnough(spec ecosystem.App, v cluster.View) bool {
	want := spec.Cluster.Ports
	if p := spec.Ready.Port; p != 0 {
		want = []int{p}
	}
	if v.Held || v.Ready && len(want) == 0 {
		return true
	}
	have := portsOf(v.Served)
	return v.Ready && !slices.ContainsFunc(want, func(p int) bool { return !slices.Contains(have, p) })
}

// portsOf are the ports of addresses.
func portsOf(addresses []string) (ports []int) {
	for _, a := range addresses {
		if _, text, err := net.SplitHostPort(a); err == nil {
			if port, err := strconv.Atoi(text); err == nil {
				ports = append(ports, port)
			}
		}
	}
	return ports
}

// readyLimit is how long a start of the app is waited for at least, in milliseconds: until
// it is ready, or has been ended because it was not. Of one that has to end before others
// are started it is the time for that.
func readyLimit(spec ecosystem.App) int64 {
	var limit time.Duration
	if spec.Ready.Given && (spec.Ready.By != ecosystem.ReadyUptime || !spec.Restart.Auto) {
		limit = spec.Ready.Timeout + spec.Stop.Timeout
	}
	if h := spec.Hooks.PreStart; h.IsSet() {
		limit = h.Timeout + max(limit, spec.Restart.MinUptime)
	}
	return limit.Milliseconds()
}
