package daemon

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"

	"gopm/consul"
	"gopm/daemon/api"
)

// beginRollout writes the record of a rollout; the machines do the rest.
func (d *Daemon) beginRollout(ctx context.Context, o api.FleetOrder) (r api.Rollout, err error) {
	ctx, cancel := context.WithTimeout(ctx, fleetLimit)
	defer cancel()
	if !isOneOf(o.Verb, api.VerbReload, api.VerbRestart, api.VerbStart, api.VerbStop) || o.Max < 0 || o.Max > maxMachines {
		return r, api.Errorf(api.KindInvalid, "a rollout is a reload, restart, start or stop, on 1 to %d machines at once", maxMachines)
	}
	if o.Rollback && o.Verb == api.VerbStop {
		return r, api.Errorf(api.KindInvalid, "a stop replaces nothing that could be rolled back")
	}
	c, done, err := d.fleetClient(o.App, o.Environ)
	if err != nil {
		return r, err
	}
	defer done()
	found, err := heardMachines(ctx, c)
	if err != nil {
		return r, err
	}
	r = api.Rollout{
		Format: rolloutFormat, ID: rand.Text()[:12], App: o.App, Verb: o.Verb, Max: max(o.Max, 1), Rollback: o.Rollback,
		State: api.RolloutRunning, By: printable(o.By), Began: time.Now(),
	}
	if r.Machines, err = takingPart(found, o); err != nil {
		return r, err
	}
	record, before, err := d.recordOf(ctx, c, o.App)
	if err != nil {
		return r, err
	}
	if record.Index != 0 && (!before.IsOver() || slices.ContainsFunc(before.Machines, isAtWork)) {
		return r, api.Errorf(api.KindConflict, "%s: a %s is under way, begun by %s at %s: gopm fleet status %s; gopm fleet abort %s",
			o.App, before.Verb, before.By, before.Began.Local().Format(time.DateTime), o.App, o.App)
	}
	return d.writeRollout(ctx, c, record, r)
}

// takingPart are the machines of a rollout, in the order of their turns. Those that are
// down are skipped.
func takingPart(found []api.FleetMachine, o api.FleetOrder) (all []api.RolloutMachine, err error) {
	var others, inPlace []string
	up := 0
	for _, m := range found {
		at := slices.IndexFunc(m.Apps, func(a api.FleetApp) bool { return a.Name == o.App })
		if at < 0 || len(o.Hosts) > 0 && !slices.Contains(o.Hosts, m.Host) {
			continue
		}
		if twice := slices.IndexFunc(all, func(o api.RolloutMachine) bool { return o.Host == m.Host }); twice >= 0 {
			return nil, api.Errorf(api.KindConflict, "two gopms call themselves %s (homes %s and %s, the second at %s): give one another name (GOPM_NODE in the environment of its daemon)",
				m.Host, all[twice].Home, m.Home, m.Address)
		}
		a := m.Apps[at]
		if !a.Fleet {
			others = append(others, m.Host)
			continue
		}
		one := api.RolloutMachine{Host: m.Host, Home: m.Home, State: api.TurnWaiting, Before: a.Release}
		if m.Down != "" {
			one.State, one.Result, one.Before = api.TurnSkipped, printable("it was down when this began: "+m.Down), ""
		} else {
			up++
			if a.Release == "" {
				inPlace = append(inPlace, m.Host)
			}
		}
		all = append(all, one)
	}
	for _, host := range o.Hosts {
		if !slices.ContainsFunc(all, func(m api.RolloutMachine) bool { return m.Host == host }) {
			return nil, api.Errorf(api.KindNotFound, "%s has no app %s with consul.fleet: true", host, o.App)
		}
	}
	switch {
	case len(all) == 0 && len(others) > 0:
		return nil, api.Errorf(api.KindNotFound, "%s does not say consul.fleet: true on %s: it takes no part in rollouts", o.App, strings.Join(others, ", "))
	case len(all) == 0:
		return nil, api.Errorf(api.KindNotFound, "no machine of the fleet has an app %s (there are %d machines)", o.App, len(found))
	case up == 0:
		return nil, api.Errorf(api.KindConflict, "all machines that have %s are down", o.App)
	case o.Rollback && len(inPlace) > 0:
		return nil, api.Errorf(api.KindConflict, "--rollback: on %s the processes of %s are of no release that could be told: its working directory is not below gopm deploy's link current, or its code is replaced in place; without --rollback it goes",
			strings.Join(inPlace, ", "), o.App)
	}
	return all, nil
}

// recordOf reads an app's record. One that is no rollout is an error.
func (d *Daemon) recordOf(ctx context.Context, c *consul.Client, app string) (consul.Record, api.Rollout, error) {
	record, err := c.Record(ctx, rolloutKey(app))
	if err != nil || record.Index == 0 {
		return record, api.Rollout{}, err
	}
	r, err := parseRollout(app, record.Value)
	if err != nil {
		return record, r, api.Errorf(api.KindConflict, "the key %s of Consul's KV is there, but %v; consul kv delete %s", record.Key, err, record.Key)
	}
	r.Index = record.Index
	return record, r, nil
}

// writeRollout writes a record over what was read.
func (d *Daemon) writeRollout(ctx context.Context, c *consul.Client, record consul.Record, r api.Rollout) (api.Rollout, error) {
	switch done, err := c.Replace(ctx, record, encodeRollout(r)); {
	case err != nil:
		return r, err
	case !done:
		return r, errRaced
	}
	return r, nil
}

// errRaced is for who has changed a record that others have changed, too.
var errRaced = api.Errorf(api.KindConflict, "somebody else has changed the rollout at this moment: see gopm fleet status, and try again")

// changeRollout continues, aborts, or rolls back.
func (d *Daemon) changeRollout(ctx context.Context, o api.FleetChange) (r api.Rollout, err error) {
	ctx, cancel := context.WithTimeout(ctx, fleetLimit)
	defer cancel()
	c, done, err := d.fleetClient(o.App, o.Environ)
	if err != nil {
		return r, err
	}
	defer done()
	for range 20 { // machines write at the same time
		record, r, err := d.recordOf(ctx, c, o.App)
		if err != nil {
			return r, err
		}
		if record.Index == 0 {
			return r, noRollout(o.App)
		}
		if r, err = changed(r, o.Do, cmpBy(o.By), time.Now()); err != nil {
			return r, api.Errorf(api.KindConflict, "%v", err)
		}
		if r, err = d.writeRollout(ctx, c, record, r); err != errRaced {
			return r, err
		}
	}
	return r, errRaced
}

func cmpBy(by string) string { return firstOf(printable(by), "somebody") }

func noRollout(app string) error {
	return api.Errorf(api.KindNotFound, "there was no rollout of %s yet", app)
}

// followWait is how long who follows a rollout is left waiting for a change.
const followWait = 10 * time.Second

// showRollout answers when the record is another than the one that the asker has seen.
func (d *Daemon) showRollout(ctx context.Context, q api.FleetFollow) (r api.Rollout, err error) {
	c, done, err := d.fleetClient(q.App, q.Environ)
	if err != nil {
		return r, err
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, 2*fleetLimit)
	defer cancel()
	enough := time.Now().Add(followWait)
	go func() { // ends with ctx, which ends with the answer: an update isn't kept waiting
		select {
		case <-d.ending.closing:
			cancel()
		case <-ctx.Done():
		}
	}()
	for index := uint64(0); ; {
		records, next, err := c.Records(ctx, rolloutKey(q.App), index, time.Until(enough))
		switch {
		case d.ending.reason() != "":
			return r, d.ending.refusal()
		case err != nil:
			return r, err
		}
		index = next
		at := slices.IndexFunc(records, func(r consul.Record) bool { return r.Key == rolloutKey(q.App) })
		if at < 0 {
			return r, noRollout(q.App)
		}
		if r, err = parseRollout(q.App, records[at].Value); err != nil {
			return r, fmt.Errorf("the key %s of Consul's KV is there, but %v", records[at].Key, err)
		}
		if r.Index = records[at].Index; r.Index != q.After || !time.Now().Before(enough) {
			return r, nil
		}
	}
}

// takeTurn does something with an app when it is this machine's turn: one machine of the
// fleet after the other. An app that takes no part in that doesn't wait for anybody. An
// error that is not do's says that there was no turn.
func (d *Daemon) takeTurn(ctx context.Context, a *app, do func() error) error {
	if !inFleet(a) {
		return do()
	}
	c, err := d.agents.of(a)
	if err != nil {
		return err
	}
	key := "gopm/turns/" + rolloutKey(a.spec.Name)[len(rolloutPrefix):]
	for {
		mark, ok, err := c.TakeMark(ctx, key, nodeName(), turnTTL)
		if err != nil {
			return err
		}
		if ok {
			return d.duringTurn(ctx, c, mark, do)
		}
		if err := awaitFree(ctx, c, key); err != nil {
			return err
		}
	}
}

// awaitFree returns when nobody holds a key.
func awaitFree(ctx context.Context, c *consul.Client, key string) error {
	for index := uint64(0); ; {
		records, next, err := c.Records(ctx, key, index, recordWait)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(records, func(r consul.Record) bool { return r.Key == key && r.Session != "" }) {
			return nil
		}
		index = next
	}
}

// duringTurn does it while the mark is held.
func (d *Daemon) duringTurn(ctx context.Context, c *consul.Client, mark consul.Mark, do func() error) error {
	working, done := context.WithCancel(ctx)
	renewed := make(chan struct{})
	go func() { // ends with working; waited for below
		defer close(renewed)
		c.KeepAlive(working, mark, turnRenew)
	}()
	err := do()
	done()
	<-renewed
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = c.DropMark(last, mark) // else it ends by its TTL
	return err
}
