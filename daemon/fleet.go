package daemon

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopm/consul"
	"gopm/daemon/api"
)

// fleetRoutes are those that are about other machines.
func (d *Daemon) fleetRoutes() []route {
	return []route{
		{http.MethodPost, api.PathFleet, posted(d.fleet), nil},
		{http.MethodPost, api.PathFleetEndpoints, posted(d.endpoints), nil},
		{http.MethodPost, api.PathFleetBegin, posted(d.beginRollout), nil},
		{http.MethodPost, api.PathFleetChange, posted(d.changeRollout), nil},
		{http.MethodPost, api.PathFleetRollout, posted(d.showRollout), nil},
	}
}

// fleetLimit is how long who asks for the fleet is left waiting for Consul.
const fleetLimit = 15 * time.Second

// fleetClient is the agent that is asked for the fleet: the one that the variables of who
// asks name, or the app's own, or that of some app, or the daemon's. done ends its use.
func (d *Daemon) fleetClient(app string, environ []string) (c *consul.Client, done func(), err error) {
	given := func(name string) string {
		for _, entry := range environ {
			if key, value, _ := strings.Cut(entry, "="); key == name {
				return value
			}
		}
		return ""
	}
	if given("CONSUL_HTTP_ADDR") == "" {
		t := d.table.Load()
		if a := t.app(app); a != nil && a.usesConsul() {
			c, err := d.agents.of(a)
			return c, func() {}, err
		}
		for _, a := range t.apps {
			if a.usesConsul() {
				c, err := d.agents.of(a)
				return c, func() {}, err
			}
		}
		given = func(name string) string { return d.agents.own[name] }
	}
	if c, err = consul.Open(consul.Connection{}.Filled(given), nil); err != nil {
		return nil, nil, err
	}
	return c, c.Close, nil
}

// fleet is all machines that run gopm.
func (d *Daemon) fleet(ctx context.Context, q api.FleetQuery) (f api.Fleet, err error) {
	ctx, cancel := context.WithTimeout(ctx, fleetLimit)
	defer cancel()
	c, done, err := d.fleetClient(q.App, q.Environ)
	if err != nil {
		return f, err
	}
	defer done()
	f = api.Fleet{Consul: c.Where(), Machines: []api.FleetMachine{}}
	machines, err := heardMachines(ctx, c)
	if err != nil {
		return f, err
	}
	missing := slices.Clone(q.Hosts)
	for _, m := range machines {
		missing = slices.DeleteFunc(missing, func(h string) bool { return h == m.Host })
		if len(q.Hosts) > 0 && !slices.Contains(q.Hosts, m.Host) {
			continue
		}
		if q.App != "" {
			m.Apps = slices.DeleteFunc(m.Apps, func(a api.FleetApp) bool { return a.Name != q.App })
			m.Instances = slices.DeleteFunc(m.Instances, func(r api.Instance) bool { return r.Name != q.App })
			if len(m.Apps) == 0 {
				continue
			}
		}
		m.Here = m.Host == nodeName() && m.Home == d.cfg.Home.Dir
		f.Machines = append(f.Machines, m)
	}
	if len(missing) > 0 {
		return f, api.Errorf(api.KindNotFound, "no machine of the fleet is called %s; there are: %s", strings.Join(missing, ", "), cmp.Or(hostNames(machines), "none"))
	}
	return f, nil
}

// heardMachines is what the catalog has of all daemons, by name.
func heardMachines(ctx context.Context, c *consul.Client) (all []api.FleetMachine, err error) {
	entries, err := c.Entries(ctx, fleetService)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if m := heardMachine(e); strings.HasPrefix(e.ID, fleetID("")) && m.Host != "" {
			all = append(all, m)
		}
	}
	slices.SortFunc(all, func(a, b api.FleetMachine) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Home, b.Home))
	})
	return all, nil
}

func hostNames(machines []api.FleetMachine) string {
	var names []string
	for _, m := range machines {
		names = append(names, m.Host)
	}
	return strings.Join(names, ", ")
}

// endpoints are where the instances of a service listen that are passing.
func (d *Daemon) endpoints(ctx context.Context, q api.FleetQuery) (e api.Endpoints, err error) {
	if q.Here {
		return d.endpointsHere(q.App)
	}
	ctx, cancel := context.WithTimeout(ctx, fleetLimit)
	defer cancel()
	c, done, err := d.fleetClient(q.App, q.Environ)
	if err != nil {
		return e, err
	}
	defer done()
	e = api.Endpoints{Service: q.App, Consul: c.Where(), Passing: []api.Endpoint{}}
	if a := d.table.Load().app(q.App); a != nil && a.spec.Consul.Service.Name != "" {
		e.Service = a.spec.Consul.Service.Name
	}
	entries, err := c.Entries(ctx, e.Service)
	if err != nil {
		return e, err
	}
	for _, one := range entries {
		if !one.IsPassing() || one.Port <= 0 {
			e.Others++
			continue
		}
		e.Passing = append(e.Passing, api.Endpoint{ID: printable(one.ID), Node: printable(one.Node), Address: printable(one.Address), Port: one.Port, Weight: one.Weight})
	}
	slices.SortFunc(e.Passing, func(a, b api.Endpoint) int { return cmp.Compare(a.ID, b.ID) })
	return e, nil
}

// crier says in Consul what runs here, through an entry that the registrar sees to. While
// no app has to do with Consul there is no goroutine.
type crier struct {
	worker
	d    *Daemon
	wake chan struct{} // one place: the table has changed
	said string        // the goroutine's own: what was said last
}

func newCrier(d *Daemon) *crier { return &crier{d: d, wake: make(chan struct{}, 1)} }

// look begins or ends the work, after the table has changed.
func (c *crier) look() {
	c.keep(slices.ContainsFunc(c.d.table.Load().apps, func(a *app) bool { return a.spec.Consul.On }), c.run)
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// cryPause bounds how often the catalog is written because something has changed here.
const cryPause = time.Second

func (c *crier) run(stop <-chan struct{}) {
	changes := c.d.hub.subscribe()
	defer c.d.hub.unsubscribe(changes)
	c.said = ""
	for {
		c.say()
		select {
		case <-stop:
			return
		case <-time.After(cryPause):
		}
		select {
		case <-stop:
			return
		case <-c.wake:
		case <-changes.wake:
			changes.take()
		}
	}
}

// say has the registrar show what is now, if it is anything new.
func (c *crier) say() {
	own := c.d.ownEntry()
	if text := fmt.Sprint(own.Meta); text != c.said { // maps are printed in order
		c.said = text
		c.d.registrar.describe(&own)
	}
}

// ownEntry is the daemon's own service.
func (d *Daemon) ownEntry() consul.Service {
	var apps []api.FleetApp
	var rows []api.Instance
	for _, a := range d.table.Load().apps {
		said := api.FleetApp{Name: a.spec.Name, Fleet: a.spec.Consul.Fleet, Spec: specSum(a.spec)}
		if _, err := releasesOf(a.spec); err == nil {
			said.Release = releaseUnknown
			if dir, err := a.runningRelease(); err == nil {
				said.Release = releaseName(dir)
			}
		}
		apps = append(apps, said)
		for _, in := range a.instances {
			rows = append(rows, row(a, in, api.Usage{}))
		}
	}
	meta, unlisted := sayFleet(apps, rows)
	meta[saidHost], meta[saidVersion] = clip(nodeName(), maxSaid), clip(d.cfg.Version, 64)
	meta[saidSSH] = clip(cmp.Or(os.Getenv("GOPM_SSH"), sshName()), maxSaid)
	if unlisted > 0 {
		meta[saidUnlisted] = strconv.Itoa(unlisted)
	}
	return consul.Service{ID: fleetID(nodeName()), Name: fleetService, Meta: meta, DeregisterAfter: fleetForgotten,
		Health: consul.Health{Status: consul.Passing, Output: "gopm " + d.cfg.Version + " runs"}}
}

// fleetForgotten is when a machine that is down is not shown any more: as long as Consul
// itself remembers one.
const fleetForgotten = 72 * time.Hour

// sshName is how others reach this machine if nobody says: by its host name.
func sshName() string {
	name, _ := os.Hostname() // an error: ""
	return name
}
