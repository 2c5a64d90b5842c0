package daemon

import (
	"cmp"
	"fmt"
	"slices"

	"gopm/consul"
	"gopm/daemon/api"
	"gopm/ecosystem"
)

// endpointsHere are where the instances of an app listen, or those of a namespace, as
// this daemon knows by itself: for a balancer on the same machine, without Consul. Who
// is passing is who would be in Consul.
func (d *Daemon) endpointsHere(name string) (e api.Endpoints, err error) {
	e = api.Endpoints{Service: name, Passing: []api.Endpoint{}}
	known := false
	for _, a := range d.table.Load().apps {
		if a.spec.Name != name && a.spec.Namespace != name || a.spec.Times.IsJob() {
			continue
		}
		known = true
		for _, in := range a.instances {
			h, is := bearingOf(a, in).standing()
			port := in.portHere(a.spec)
			if !is || h.Status != consul.Passing || port == 0 {
				e.Others++
				continue
			}
			id := fmt.Sprintf("%s:%d", in.name, in.index)
			e.Passing = append(e.Passing, api.Endpoint{ID: id, Address: "127.0.0.1", Port: port, Weight: 1})
		}
	}
	if !known {
		return e, api.Errorf(api.KindNotFound, "no app or namespace named %q here%s", name, d.table.Load().known())
	}
	slices.SortFunc(e.Passing, func(a, b api.Endpoint) int { return cmp.Compare(a.ID, b.ID) })
	return e, nil
}

// portHere is the port by which an instance is reached: the one that it is said to have,
// for a program may have others besides, else what it listens on. 0 = none.
func (in *instance) portHere(spec ecosystem.App) int {
	declared := spec.Port(in.index)
	if p := cmp.Or(in.sharedPort(declared), declared); p != 0 {
		return p
	}
	if pid := in.proc.Snapshot().Pid; pid != 0 {
		if ports := listeningPorts(pid, 0); len(ports) > 0 {
			return ports[0]
		}
	}
	return 0
}
