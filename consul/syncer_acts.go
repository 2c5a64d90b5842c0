package consul

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
)

// outcome is what has come of an act.
type outcome struct {
	act
	err error
}

// carryOut does things, some at a time. When the agent doesn't answer it stops.
func (r *session) carryOut(acts []act) error {
	var down error
	for len(acts) > 0 && down == nil {
		const batch = 32 // of them are looked at together
		some := acts[:min(batch, len(acts))]
		acts = acts[len(some):]
		for _, o := range r.parallel(some) {
			if o.err != nil && (isUnheard(o.err) || r.ctx.Err() != nil) {
				down = o.err
				continue
			}
			r.note(o)
		}
	}
	return down
}

// isUnheard says that the agent hasn't answered at all. What it can't do for one service it
// may do for others.
func isUnheard(err error) bool {
	var status api.StatusError
	return IsDown(err) && !errors.As(err, &status)
}

// parallel does things at the same time, those of one service in order.
func (r *session) parallel(acts []act) []outcome {
	all := make([]outcome, len(acts))
	var workers sync.WaitGroup
	var mu sync.Mutex
	at := 0
	take := func() (from, to int) { // the next service's
		mu.Lock()
		defer mu.Unlock()
		from = at
		for at < len(acts) && acts[at].id == acts[from].id {
			at++
		}
		return from, at
	}
	for range min(parallel, len(acts)) {
		workers.Go(func() { // ends when nothing is left to do
			for {
				from, to := take()
				if from == to {
					return
				}
				for i := from; i < to; i++ {
					all[i] = outcome{acts[i], r.client.do(r.ctx, 0, func(ctx context.Context) error { return r.client.perform(ctx, acts[i]) })}
					if all[i].err != nil {
						for j := i + 1; j < to; j++ {
							all[j] = outcome{acts[j], all[i].err}
						}
						break
					}
				}
			}
		})
	}
	workers.Wait()
	return all
}

// perform asks the agent to do one thing.
func (c *Client) perform(ctx context.Context, a act) error {
	q, agent := (&api.QueryOptions{}).WithContext(ctx), c.api.Agent()
	tell := func() error { return agent.UpdateTTLOpts(CheckID(a.id), a.Output, a.Status, q) }
	switch a.do {
	case enter: // a check that was there keeps what it says. To have the agent replace them all would end somebody's maintenance
		if err := agent.ServiceRegisterOpts(a.registration(), api.ServiceRegisterOpts{}.WithContext(ctx)); err != nil {
			return err
		}
		for n := len(a.Checks) + 1; n <= a.surplus; n++ {
			_ = agent.CheckDeregisterOpts(numbered(a.id, n), q) // an error: it is gone already, or the next look shows it
		}
		return tell()
	case say:
		return tell()
	case leave:
		return agent.EnableServiceMaintenanceOpts(a.id, leavingMark+a.Leaving, q)
	case back:
		return agent.DisableServiceMaintenanceOpts(a.id, q)
	}
	return agent.ServiceDeregisterOpts(a.id, q)
}

// note remembers what has come of an act.
func (r *session) note(o outcome) {
	if o.err != nil {
		r.refuse(o)
		return
	}
	if was := r.troubleOf(o.id); was != "" {
		r.trouble(o.id, "")
	}
	delete(r.refused, o.id)
	e := r.have[o.id]
	switch o.do {
	case enter:
		e.name, e.tags, e.meta, e.address, e.port, e.weights = o.Name, o.Tags, o.Meta, o.Address, o.Port, o.weights()
		e.checks, e.last, e.silent = len(o.Checks)+1, len(o.Checks), false
		r.mine[o.id] = true
		fallthrough
	case say:
		e.Status, e.Output, e.next = o.Status, o.Output, time.Now().Add(o.renewal())
	case leave:
		e.Leaving, e.maint = o.Leaving, true
	case back:
		e.Leaving, e.maint = "", false
	case deregister:
		delete(r.have, o.id)
		delete(r.mine, o.id)
		return
	}
	r.have[o.id] = e
}

// renewal is when a check is to be told again: not all at the same time, and twice before the
// agent stops believing it.
func (s Service) renewal() time.Duration { return s.ttl/2 - rand.N(s.ttl/16) }

// refuse is for what the agent doesn't do. That it doesn't know a check says that it has
// lost what it had. What it doesn't allow is asked for again with the next look at what it
// has, all else sooner: an agent that has just started has not all that it needs.
func (r *session) refuse(o outcome) {
	if o.do == say && !IsDenied(o.err) && time.Since(r.puzzled) > puzzledFor {
		r.surveyed, r.puzzled = time.Time{}, time.Now()
		r.poke()
	}
	if o.do == deregister && IsMissing(o.err) {
		delete(r.have, o.id)
		return
	}
	row := r.refused[o.id].row + 1
	wait := Pause(row)
	if IsDenied(o.err) {
		wait = surveyEvery
	}
	r.refused[o.id] = refusal{time.Now().Add(wait), row}
	r.trouble(o.id, o.err.Error())
}

// unheard is for an agent that answers, but not even tells what it has. Of one that is
// down its client tells.
func (r *session) unheard(w Wanted, err error) {
	if IsDown(err) || r.ctx.Err() != nil {
		return
	}
	for _, s := range w.Services {
		r.trouble(s.ID, err.Error())
	}
}
