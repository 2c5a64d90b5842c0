package daemon

import (
	"context"
	"encoding/json"
	"time"

	"gopm/consul"
	"gopm/daemon/api"
)

// What concerns values besides the tuner's own rounds: those that a reload needs at once,
// and what machines that take turns, and people, say of such that an app has failed with.

// foreseePatience is how long a reload waits for the values of a new version.
const foreseePatience = 3 * time.Second

// foresee asks for the values of apps that are to be reloaded to a version which asks for
// others than before: their new processes are started while the old ones run, and can't wait
// for them. What it can't find out in time is missed when they are started, and said then.
// The returned function forgets it.
func (t *tuner) foresee(ctx context.Context, req api.Apply) (forget func()) {
	if !req.Reload {
		return func() {}
	}
	bounded, cancel := context.WithTimeout(ctx, foreseePatience)
	defer cancel()
	var sources []string
	for _, spec := range req.Apps {
		have := t.d.table.Load().app(spec.Name)
		if have == nil || !isConfigured(spec) {
			continue
		}
		next := &app{spec: spec, inherited: have.inherited}
		source := t.d.sourceOf(next)
		if have.values != nil && source == t.d.sourceOf(have) {
			continue
		}
		v, err := t.fetch(bounded, next)
		if err != nil {
			continue
		}
		t.mu.Lock()
		t.foreseen[source] = v
		t.mu.Unlock()
		sources = append(sources, source)
	}
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		for _, s := range sources {
			delete(t.foreseen, s)
		}
	}
}

// fetch asks once, and writes the files.
func (t *tuner) fetch(ctx context.Context, a *app) (*values, error) {
	client, err := t.d.agents.of(a)
	if err != nil {
		return nil, err
	}
	var got answers
	ask := func(key string, below bool) (all []consul.Record) {
		if err == nil {
			var index uint64
			all, index, err = client.Keys(ctx, key, below, 0, 0)
			got.index = max(got.index, index)
		}
		return all
	}
	c := a.spec.Consul.Config
	if c.Env != "" {
		key, _ := envKey(c)
		got.env = ask(key, true)
	}
	for _, f := range c.Files {
		got.files = append(got.files, ask(fileKey(f), false))
	}
	if err != nil {
		return nil, err
	}
	v, err := valuesOf(c, ownNames(a.spec), got, nil, time.Now())
	if err != nil {
		return nil, err
	}
	return v, t.d.install(a, v)
}

// valuesFor are those that an app has in its next version; nil: that asks for others, and
// what they are isn't known.
func (t *tuner) valuesFor(next, have *app) *values {
	if !isConfigured(next.spec) {
		return nil
	}
	source := t.d.sourceOf(next)
	if have.values != nil && source == t.d.sourceOf(have) {
		return have.values
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.foreseen[source]
}

// condemnation is what machines that take turns tell each other: with the values of that index the
// app has failed.
type condemnation struct {
	Index uint64 `json:"index"`
	Host  string `json:"host"`
	Why   string `json:"why"`
}

func verdictKey(app string) string { return "gopm/config/" + rolloutKey(app)[len(rolloutPrefix):] }

// condemned says with what fault another machine has given values up; "": none has. It is
// called in this machine's turn.
func (t *tuner) condemned(ctx context.Context, a *app, v *values) string {
	if !inFleet(a) || t.isForgiven(a.spec.Name) {
		return ""
	}
	client, err := t.d.agents.of(a)
	if err != nil {
		return ""
	}
	r, err := client.Record(ctx, verdictKey(a.spec.Name))
	if err != nil {
		return "" // then it is found out here
	}
	return verdictOf(r.Value, v.Number, nodeName())
}

// verdictOf reads what another machine has said, or anybody who may write there; "":
// nothing of values of that index.
func verdictOf(text []byte, index uint64, host string) string {
	var is condemnation
	if json.Unmarshal(text, &is) != nil || is.Index != index || is.Why == "" || is.Host == host {
		return ""
	}
	return "on " + printable(is.Host) + ": " + printable(is.Why)
}

// condemn tells the machines that come after this one what has come of its turn.
func (t *tuner) condemn(ctx context.Context, a *app, v *values, fault string) {
	if !inFleet(a) {
		return
	}
	client, err := t.d.agents.of(a)
	if err == nil {
		var r consul.Record
		if r, err = client.Record(ctx, verdictKey(a.spec.Name)); err == nil && (fault != "" || r.Index != 0) {
			_, err = client.Replace(ctx, r, encode(condemnation{v.Number, nodeName(), fault}))
		}
	}
	if err != nil && fault != "" {
		t.d.tell(appEvent(a.spec.Name, api.EventConsul, "cannot tell the other machines that it failed: %v", err))
	}
}

// retry gives apps values once more that they have failed with.
func (d *Daemon) retryValues(_ context.Context, req api.Targets) (api.Outcome, error) {
	picked, err := d.table.Load().selection(req.Targets)
	if err != nil {
		return api.Outcome{}, err
	}
	var out api.Outcome
	for _, name := range appNames(picked) {
		did := api.DidNothing
		if d.tuner.view(name).bad != nil {
			did = api.DidRetry
			d.tuner.once(name)
		}
		out.Apps = append(out.Apps, api.AppOutcome{Name: name, Did: did})
	}
	return out, nil
}

// once has values tried again.
func (t *tuner) once(app string) {
	t.mu.Lock()
	t.again[app] = true
	t.mu.Unlock()
	t.poke()
}

func (t *tuner) isForgiven(app string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.again[app]
}

// forgive forgets what an app has failed with, if somebody asks for that.
func (t *tuner) forgive(x *tuning) {
	if t.isForgiven(x.app) {
		x.bad, x.refused, x.gaveUp = nil, nil, nil
	}
}
