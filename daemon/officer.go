package daemon

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"gopm/daemon/api"
	"gopm/daemon/supervise"
	"gopm/ecosystem"
)

// officer tells the programs of apps with `standby` which of them is active. While there
// is no such app it has no goroutine.
//
// Goroutines: one that decides, and one for each program that is being told, which ends
// within its hook's timeout.
type officer struct {
	worker
	d      *Daemon
	duties map[string]duty[*instance] // by app; the goroutine's own
	heard  chan verdict
	hooks  sync.WaitGroup
}

// verdict is what has come of telling a process that it is active.
type verdict struct {
	app  string
	who  stint[*instance]
	took time.Duration
	err  error
}

func newOfficer(d *Daemon) *officer {
	return &officer{d: d, duties: map[string]duty[*instance]{}, heard: make(chan verdict)}
}

// isTold says that the programs of an app are told which of them is active.
func isTold(spec ecosystem.App) bool { return isClustered(spec) && spec.Standby.Promote.IsSet() }

// look begins or ends the work, after the table has changed.
func (o *officer) look() {
	o.keep(slices.ContainsFunc(o.d.table.Load().apps, func(a *app) bool { return isTold(a.spec) }), o.run)
}

// officerNap is how often it looks without being told of a change: some things are a
// matter of time.
const officerNap = time.Second

func (o *officer) run(stop <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	defer o.hooks.Wait()
	defer cancel()
	changes := o.d.hub.subscribe()
	defer o.d.hub.unsubscribe(changes)
	nap := time.NewTicker(officerNap)
	defer nap.Stop()
	for {
		o.inspect(ctx)
		select {
		case <-stop:
			return
		case <-changes.wake:
			changes.take()
		case <-nap.C:
		case v := <-o.heard:
			o.hear(ctx, v)
		}
	}
}

// inspect looks at all apps that it is about.
func (o *officer) inspect(ctx context.Context) {
	if o.d.ending.reason() != "" {
		return
	}
	known := o.duties
	o.duties = map[string]duty[*instance]{}
	for _, a := range o.d.table.Load().apps {
		if !isTold(a.spec) {
			continue
		}
		next, orders := known[a.spec.Name].look(time.Now(), o.d.seen(a))
		o.duties[a.spec.Name] = next
		o.carryOut(ctx, a, orders, "only one may be active")
	}
}

// hear goes on with what a program has said.
func (o *officer) hear(ctx context.Context, v verdict) {
	a := o.d.table.Load().app(v.app)
	if a == nil {
		return
	}
	next, orders := o.duties[v.app].told(time.Now(), v.who, v.err == nil)
	o.duties[v.app] = next
	why := ""
	if v.err != nil {
		why = fmt.Sprintf("promote: %v", v.err)
	} else if len(orders) > 0 {
		o.d.tell(v.who.who.event(api.EventActive, "is active: it was told within %v", v.took.Round(time.Millisecond)))
	}
	o.carryOut(ctx, a, orders, why)
}

func (o *officer) carryOut(ctx context.Context, a *app, orders []order[*instance], why string) {
	for _, ord := range orders {
		in := ord.who.who
		slot := in.slot.Load()
		switch {
		case ord.do == renew && in.app.Load() != nil && in.proc.Snapshot().Status != supervise.StatusStopping:
			in.proc.Restart(why)
		case slot == nil:
		case ord.do == promote:
			if !o.d.singletons.licensing(a.spec, func() { slot.Ask(ord.who.inc) }) { // since it was chosen
				delete(o.duties, a.spec.Name)
				continue
			}
			o.d.store.commit() // or after the death of keeper and daemon another could be told, too
			o.promote(ctx, a, ord.who)
		case ord.do == activate:
			slot.Activate(ord.who.inc) // false: it has died; that is seen by itself
			o.d.placeChanged(slot)
		}
	}
}

// promote tells a process that it is active, in a goroutine that run waits for.
func (o *officer) promote(ctx context.Context, a *app, who stint[*instance]) {
	o.hooks.Go(func() {
		began := time.Now()
		err := o.d.runHook(ctx, a, who.who, a.spec.Standby.Promote)
		select {
		case o.heard <- verdict{a.spec.Name, who, time.Since(began), err}:
		case <-ctx.Done():
		}
	})
}

// seen is what there is to see of an app's instances, those included that a reload has
// taken out of the table, or not put there yet: these are fit for nothing.
func (d *Daemon) seen(a *app) (all []seen[*instance]) {
	for _, in := range d.everyone() {
		if in.name == a.spec.Name {
			s := in.seen(a.spec)
			s.fit = s.fit && slices.Contains(a.instances, in) && d.singletons.licensing(a.spec, func() {})
			all = append(all, s)
		}
	}
	return all
}

func (in *instance) seen(spec ecosystem.App) seen[*instance] {
	p := in.proc.Snapshot()
	s := seen[*instance]{stint: stint[*instance]{in, p.Incarnation}}
	s.alive = p.Pid != 0 || p.Clearing || p.Status == supervise.StatusLaunching
	slot := in.slot.Load()
	if slot == nil {
		s.active = s.alive // it was started before there was anything to be told
		return s
	}
	v := slot.View()
	s.active, s.asked = !v.Standby, v.Asked != 0 && v.Asked == p.Incarnation
	silent := p.Status == supervise.StatusOnline && len(v.Addresses) == 0 && time.Since(p.Started) > spec.Reload.Ready
	s.fit = v.Inc == p.Incarnation && p.Status != supervise.StatusStopping && (v.Held || v.Standby && silent)
	return s
}

// demote tells an instance that is about to be ended that it is not active any more. An
// error changes nothing: it is ended.
func (d *Daemon) demote(ctx context.Context, in *instance, spec ecosystem.App) {
	slot := in.slot.Load()
	if !isTold(spec) || !spec.Standby.Demote.IsSet() || slot == nil || slot.View().Standby {
		return
	}
	a := &app{spec: spec}
	if now := d.table.Load().app(in.name); now != nil {
		a.inherited = now.inherited
	}
	if err := d.runHook(ctx, a, in, spec.Standby.Demote); err != nil {
		d.tell(in.event(api.EventHook, "demote: %v; it is ended all the same", err))
	}
}
