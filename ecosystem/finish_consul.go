package ecosystem

import (
	"cmp"
	"os/user"
	"slices"
	"strconv"
	"strings"
)

// topConsul takes what the file says at its top about Consul, which is the default of
// all of its apps. The paths of an agent that is named there count from the file's folder.
func (r *reader) topConsul(m member) {
	if m.value.kind == kindNull {
		return
	}
	top, err := parseConsul(m.value, Consul{})
	r.parts(m.name, m.value.place, err)
	if err != nil { // else each app has it once more
		top = Consul{}
	}
	r.agentPaths(&top.Agent, r.dir)
	r.consul = top
}

// agentPaths makes the paths of an agent's files absolute.
func (r *reader) agentPaths(a *ConsulAgent, dir string) {
	for _, path := range []*string{&a.TokenFile, &a.CAFile, &a.CAPath, &a.CertFile, &a.KeyFile} {
		if *path != "" {
			*path = r.world.abs(dir, *path)
		}
	}
}

// fleet settles and checks the fields about Consul and about other machines.
func (r *reader) fleet(d *draft) {
	a := &d.app
	r.agentPaths(&a.Consul.Agent, a.Command.Cwd)
	r.consulFiles(d)
	if s := a.Consul.Service; a.Consul.On && !s.Off && s.Name == "" && a.Name != "" {
		switch name := serviceName(a.Name); {
		case name == "":
			r.wrong(d, "consul", "a name in DNS can't be made of %s: give service, like {\"service\": \"web\"}", quote(a.Name))
		case name != a.Name:
			r.add(SeverityNote, d.where("consul"), r.label(d, d.written("consul")), "%s is registered as %s, since a name in DNS has letters, digits and dashes; service may name another", a.Name, name)
		}
	}
	r.singleton(d)
}

// consulFiles makes the paths of files absolute.
func (r *reader) consulFiles(d *draft) {
	c := &d.app.Consul.Config
	c.Files = slices.Clone(c.Files) // several apps may have those of the file's top
	for i := range c.Files {
		f := &c.Files[i]
		path := r.world.abs(d.app.Command.Cwd, f.Path)
		if slices.ContainsFunc(c.Files[:i], func(o ConsulFile) bool { return o.Path == path }) {
			r.wrong(d, "consul", "files: %s is in it twice", path)
		}
		f.Path = path
		if _, err := strconv.ParseUint(f.Owner, 10, 32); f.Owner != "" && err != nil {
			if _, err := user.Lookup(f.Owner); err != nil {
				r.wrong(d, "consul", "files: no user %q on this machine", f.Owner)
			}
		}
		if _, err := strconv.ParseUint(f.Group, 10, 32); f.Group != "" && err != nil {
			if _, err := user.LookupGroup(f.Group); err != nil {
				r.wrong(d, "consul", "files: no group %q on this machine", f.Group)
			}
		}
	}
	slices.SortFunc(c.Files, func(a, b ConsulFile) int { return cmp.Compare(a.Path, b.Path) })
}

// singleton settles what the machines do that have no lock.
func (r *reader) singleton(d *draft) {
	a := &d.app
	s := &a.Singleton
	if !s.IsSet() {
		return
	}
	if !a.Consul.On && d.has("consul") { // its own `consul: false` is about the registration
		a.Consul.Agent = r.consul.Agent
	}
	if !d.has("singleton") {
		return
	}
	if s.Mode == "" {
		s.Mode = a.usualMode()
	}
	switch {
	case s.Mode == SingletonHot && a.Times.IsJob():
		r.wrong(d, "singleton", "mode hot: a job (schedule) is only there while it runs: leave mode out")
	case s.Mode == SingletonHot && !a.IsCluster() && !a.Standby.Promote.IsSet():
		r.wrong(d, "singleton", `mode hot: what is booted has to be kept from working until it has the lock: set exec_mode: "cluster" (it gets no connections then), or standby.promote, or mode: "cold"`)
	case s.Mode == SingletonRole && s.Signal == "" && !a.Standby.Promote.IsSet():
		r.warnf(d.where("singleton"), r.label(d, d.written("singleton")), "mode role: nobody tells a program that its role has changed; give signal, or standby.promote and demote")
	case s.Mode == SingletonCold && s.Signal != "":
		r.warnf(d.where("singleton"), r.label(d, d.written("singleton")), "no effect with mode cold: signal; there a program only runs with the lock")
	}
}

// usualMode is what the machines do that have no lock when nobody said it.
func (a *App) usualMode() string {
	if !a.Times.IsJob() && (a.Standby.Promote.IsSet() || a.IsCluster() && a.Scale.Spares > 0) {
		return SingletonHot
	}
	return SingletonCold
}

// completeFleet fills in what an App lacks that has not been through Read, and what
// follows from its name.
func (a *App) completeFleet() {
	if c := &a.Consul; c.On {
		usual := usualConsul()
		if c.Config.OnChange == "" {
			c.Config.OnChange, c.Config.Debounce = usual.Config.OnChange, cmp.Or(c.Config.Debounce, usual.Config.Debounce)
		}
		if c.Service.WeightPassing == 0 {
			c.Service.WeightPassing, c.Service.WeightWarning = usual.Service.WeightPassing, cmp.Or(c.Service.WeightWarning, usual.Service.WeightWarning)
		}
		c.Service.DeregisterAfter = cmp.Or(c.Service.DeregisterAfter, usual.Service.DeregisterAfter)
		if c.Service.Name == "" {
			c.Service.Name = cmp.Or(serviceName(a.Name), strings.TrimSpace(a.Name))
		}
	}
	if s := &a.Singleton; s.IsSet() {
		s.Mode, s.OnLost, s.TTL = cmp.Or(s.Mode, a.usualMode()), cmp.Or(s.OnLost, OnLostStop), cmp.Or(s.TTL, minSessionTTL)
	}
}

// keepFleet lets a service's name follow its app's, if it is that.
func (d *draft) keepFleet(was App) {
	if s := &d.app.Consul.Service; s.Name == serviceName(was.Name) && d.app.Name != was.Name {
		s.Name = ""
	}
}
