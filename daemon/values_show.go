package daemon

import (
	"cmp"
	"net/http"
	"slices"
	"time"

	"gopm/daemon/api"
)

// tuningView is what others may know of a tuning.
type tuningView struct {
	trouble string // why its keys can't be read, or used; "": they are
	mute    time.Time
	never   bool
	fresh   *values
	bad     *badValue
	asked   bool // all has been answered, and nothing was wrong with the last try
}

// show lets others see how it is; nil: nobody is configured any more.
func (t *tuner) show(all map[string]*tuning) {
	now := make(map[string]tuningView, len(all))
	for name, x := range all {
		v := tuningView{mute: x.mute, never: x.at.IsZero(), fresh: x.fresh, bad: x.refused, asked: !slices.Contains(x.answers, false)}
		for _, err := range x.errs {
			if err != nil {
				v.asked, v.trouble = false, err.Error()
			}
		}
		v.trouble = cmp.Or(v.trouble, x.said["document"], x.said["round"])
		now[name] = v
	}
	t.mu.Lock()
	before := t.shown
	t.shown = now
	t.mu.Unlock()
	for name, v := range now {
		if v.trouble != before[name].trouble {
			t.d.hub.wakeAll() // what waits for the values says why
			return
		}
	}
}

func (t *tuner) view(app string) tuningView {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.shown[app]
}

// configs is what the targets' apps are configured with.
func (d *Daemon) configs(r *http.Request) (any, error) {
	picked, err := d.targeted(r)
	if err != nil {
		return nil, err
	}
	found := []api.Config{}
	for _, name := range appNames(picked) {
		if a := d.table.Load().app(name); a != nil && isConfigured(a.spec) {
			found = append(found, d.config(a))
		}
	}
	return found, nil
}

func (d *Daemon) config(a *app) api.Config {
	v := d.tuner.view(a.spec.Name)
	c := api.Config{App: a.spec.Name, Agent: d.agents.connection(a).Address, Env: a.spec.Consul.Config.Env, OnChange: a.spec.Consul.Config.OnChange, Secrets: a.spec.Env.Secrets, ConfigNow: d.doubted(a, configNow(a, v))}
	if v.fresh != nil {
		c.Missing = v.fresh.missing
		for _, r := range v.fresh.refused {
			c.Refused = append(c.Refused, api.ConfigRefusal{Name: r.Name, Key: r.Key, Why: r.why})
		}
	}
	has := a.values
	if has == nil {
		has = &values{}
	}
	for _, s := range has.Vars {
		shown := api.ConfigVar{Name: s.Name, Value: string(s.Value), Key: s.Key, Index: s.Index}
		if over, is := a.spec.Env.Vars[s.Name]; is {
			shown.Over = &over
		}
		c.Vars = append(c.Vars, shown)
	}
	for _, f := range a.spec.Consul.Config.Files {
		shown := api.ConfigFile{Path: f.Path, Key: f.Key}
		if s := find(has.Files, f.Path); s != nil {
			shown.Index, shown.Bytes = s.Index, len(s.Value)
		}
		c.Files = append(c.Files, shown)
	}
	for _, in := range a.instances {
		if s := in.proc.Snapshot(); s.Pid != 0 {
			c.Running = append(c.Running, api.ConfigRun{ID: in.id, Index: in.index, Number: s.Edition})
		}
	}
	return c
}

// configOf is how it is with the values of an app; nil: it asks for none.
func (d *Daemon) configOf(a *app) *api.ConfigNow {
	if !isConfigured(a.spec) {
		return nil
	}
	now := d.doubted(a, configNow(a, d.tuner.view(a.spec.Name)))
	return &now
}

// doubted says of an agent that is down that it may have other values meanwhile: the
// question that waits for them may be open for long.
func (d *Daemon) doubted(a *app, now api.ConfigNow) api.ConfigNow {
	client, err := d.agents.of(a)
	if err != nil || a.values == nil || now.Stale {
		return now
	}
	if s := client.Status(); s.Down {
		now.Stale, now.Trouble = true, cmp.Or(now.Trouble, "consul at "+client.Where()+": "+s.Error)
	}
	return now
}

// configNow is how it is with the values of an app.
func configNow(a *app, v tuningView) api.ConfigNow {
	now := api.ConfigNow{Number: a.edition(), Trouble: v.trouble, Stale: a.values != nil && !v.asked, Mute: v.mute, Never: v.never}
	if a.values != nil {
		now.Read = a.values.Read
	}
	if v.bad != nil {
		now.Failed = &api.ConfigBad{Number: v.bad.Values.Number, At: v.bad.At, Why: v.bad.Why}
	}
	if v.fresh != nil && a.values != nil && !v.fresh.isSame(a.values) && (v.bad == nil || !v.fresh.isSame(v.bad.Values)) {
		now.Pending = v.fresh.Number
	}
	return now
}
