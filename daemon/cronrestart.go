package daemon

import (
	"context"
	"sync"
	"time"

	"gopm/daemon/api"
	"gopm/daemon/supervise"
)

// At the times of cron_restart the instances of an app that are online are restarted, one
// after the other; of a clustered one they are exchanged, so that nobody notices. What is
// stopped, or waits for its next try, stays so, and what is just being started is new.

// rounds are the apps that are being restarted.
type rounds struct {
	running *sync.WaitGroup
	over    chan string          // whose is over
	under   map[string]bool      // whose is under way
	rest    map[string]time.Time // what the daemon before this one was to begin, or to finish, and when it was due
}

func newRounds() rounds {
	return rounds{running: new(sync.WaitGroup), over: make(chan string), under: map[string]bool{}, rest: map[string]time.Time{}}
}

// restart begins a round.
func (k *timekeeper) restart(ctx context.Context, a *app) {
	name, cause := a.spec.Name, "cron_restart "+a.spec.Times.Restart
	if k.rounds.under[name] {
		k.d.tell(appEvent(name, api.EventCron, "%s: left out, the one before is under way", cause))
		return
	}
	var up []*instance
	at, isRest := k.rounds.rest[name]
	delete(k.rounds.rest, name)
	for _, in := range a.instances {
		if s := in.proc.Snapshot(); isOnline(s) && (!isRest || s.Started.Before(at)) {
			up = append(up, in)
		}
	}
	if len(up) == 0 {
		return
	}
	k.rounds.under[name] = true
	k.rounds.running.Go(func() { // ends when all are up again, or have failed, or with ctx; run waits for it
		if reloadable(a) {
			k.d.reloadBecause(ctx, name, cause, up)
		} else {
			k.d.restartInTurn(ctx, up, cause)
		}
		select {
		case k.rounds.over <- name:
		case <-ctx.Done():
		}
	})
}

func isOnline(s supervise.Snapshot) bool { return s.IsUp() && s.Status == supervise.StatusOnline }

// restartInTurn restarts instances one after the other: the next when the one before is
// online, or has failed.
func (d *Daemon) restartInTurn(ctx context.Context, up []*instance, cause string) {
	for _, in := range up {
		was := in.proc.Snapshot()
		if !isOnline(was) || in.app.Load() == nil || ctx.Err() != nil {
			continue
		}
		d.tell(in.event(api.EventCron, "restarting: %s", cause))
		in.because(byCron, was.Incarnation)
		in.proc.Replace(was.Incarnation, cause)
		_, _ = in.proc.Await(ctx, func(s supervise.Snapshot) bool { // an error: it is deleted, or we are to end
			return isDown(s) || s.Incarnation > was.Incarnation &&
				(s.Status == supervise.StatusOnline || s.LastExit != nil && s.LastExit.Incarnation > was.Incarnation)
		})
	}
}

// reloadBecause begins the exchange of those instances of an app that are up still.
func (d *Daemon) reloadBecause(ctx context.Context, name, cause string, up []*instance) {
	err := func() error {
		end, err := d.begin(ctx)
		if err != nil {
			return err
		}
		defer end()
		if err := d.rolls.refusal(name); err != nil {
			return err
		}
		var olds []*instance
		for _, in := range up {
			if in.app.Load() != nil && isOnline(in.proc.Snapshot()) {
				olds = append(olds, in)
			}
		}
		a := d.table.Load().app(name)
		if a == nil || len(olds) == 0 {
			return nil
		}
		next, _, err := d.updated(a, api.Targets{})
		if err != nil {
			return err
		}
		r := d.newRoll(doReload, next, olds)
		r.cause, r.reason = cause, byCron
		d.tell(appEvent(name, api.EventCron, "reloading %d instances: %s", len(olds), cause))
		d.rolls.begin(r)
		return nil
	}()
	if err != nil && ctx.Err() == nil {
		d.tell(appEvent(name, api.EventCron, "%s: left out: %v", cause, err))
	}
}
