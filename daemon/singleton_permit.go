package daemon

import (
	"slices"

	"gopm/consul"
	"gopm/daemon/api"
	"gopm/daemon/keeper"
	"gopm/daemon/supervise"
	"gopm/ecosystem"
)

// What is seen of a singleton's instances, and until when they may run.

// permit is what an instance runs under. As JSON the next daemon, which goes on with the
// lock, has it.
type permit struct {
	Lock string `json:"lock"`
	Inc  uint64 `json:"inc,omitempty"` // of the only one that runs under it; 0: none, or any
	consul.LockLeft
}

// viewOf is a lock as it counts: who has slept over its end doesn't hold it, whatever was
// noted before.
func viewOf(state consul.LockState) lockView {
	v := lockView{held: state.Held, lost: state.Lost, term: state.Term}
	if v.held && keeper.Boottime() >= state.Until {
		v.held, v.lost = false, false // it is going to be said to be lost
	}
	return v
}

// claims are what there is to see of an app's instances, and of the one that runs under the
// lock wherever it is.
func (s *singletons) claims(h *holding) (all []claim[*instance]) {
	them := s.instances(h.app)
	if h.has && !slices.Contains(them, h.who) {
		them = append(them, h.who)
	}
	for _, in := range them {
		c := in.claim(h)
		if s.d.ending.reason() != "" {
			c.waits = false
		}
		all = append(all, c)
	}
	return all
}

func (in *instance) claim(h *holding) claim[*instance] {
	p := in.proc.Snapshot()
	c := claim[*instance]{stint: stint[*instance]{in, p.Incarnation}, alive: p.Pid != 0 || p.Clearing}
	c.begun = p.Status == supervise.StatusLaunching || p.Status == supervise.StatusStopping
	switch h.manner {
	case mannerGate:
		c.waits = in.entrance.Load().isOf(p)
	case mannerRole:
		c.waits = p.Status == supervise.StatusOnline
		c.alive = c.alive && h.has && h.who == in
	case mannerLicense:
		in.claimLicense(&c, p)
	}
	return c
}

// claimLicense is about one that is booted, or scheduled.
func (in *instance) claimLicense(c *claim[*instance], p supervise.Snapshot) {
	if in.isJob() {
		c.waits, c.begun = in.isArmed(), c.begun && p.Pid == 0
		return
	}
	c.begun = false
	slot := in.slot.Load()
	if slot == nil {
		return // it was started before there was anything to hold it back
	}
	v := slot.View()
	c.waits = v.Held && v.Inc == p.Incarnation && p.Status != supervise.StatusStopping
	c.alive = c.alive && (!v.Standby || v.Asked != 0 && v.Asked == p.Incarnation || v.Trouble != "")
}

// extend lets what runs under the lock, or may be about to, live until the lock is over.
// Keeper and state know before it runs.
func (s *singletons) extend(h *holding, state consul.LockState) {
	switch {
	case !state.Held:
	case h.manner == mannerLicense && h.license.on:
		for _, in := range s.instances(h.app) {
			s.permit(h, in, 0, state)
		}
	case h.manner != mannerLicense && h.has:
		s.permit(h, h.who, h.inc, state)
	}
}

func (s *singletons) permit(h *holding, in *instance, inc uint64, state consul.LockState) {
	next := permit{Lock: h.spec.Lock, Inc: inc, LockLeft: state.Left()}
	if old := in.permit.Load(); old != nil && *old == next {
		return
	}
	in.permit.Store(&next)
	if h.spec.OnLost != ecosystem.OnLostKeep {
		s.d.trust.lease(in, s.d.cfg.Home.Dir, state.Until)
	}
	in.proc.Renew()
}

// revokeAll is for a lock under which nothing runs any more.
func (s *singletons) revokeAll(h *holding, before tenure[*instance]) {
	them := s.instances(h.app)
	if before.has && !slices.Contains(them, before.who) {
		them = append(them, before.who)
	}
	for _, in := range them {
		if in.permit.Swap(nil) != nil {
			s.d.trust.lease(in, s.d.cfg.Home.Dir, 0)
			in.proc.Renew()
		}
	}
}

// admit lets an instance in, or tells it that it leads.
func (s *singletons) admit(h *holding, in *instance, inc uint64, state consul.LockState) {
	if h.manner == mannerRole {
		s.lead(h, stint[*instance]{in, inc}, state.Fence)
		return
	}
	if e := in.entrance.Load(); e != nil && e.inc == inc {
		e.admit(in, state.Fence)
	}
}

// standing is what is known of an app's lock, and of an instance's part in it.
type standing struct {
	key   string
	state consul.LockState
	leads bool
}

// looksLike says that there is nothing else to be seen: renewals are no news.
func (s standing) looksLike(o standing) bool {
	s.state.Until, o.state.Until = 0, 0
	return s == o
}

// show has what there is to see of the lock shown with the app's instances.
func (s *singletons) show(h *holding, state consul.LockState, all []claim[*instance]) {
	s.showAll(h.app, func(in *instance) standing {
		v := standing{key: h.spec.Lock, state: state, leads: h.has && h.who == in}
		if h.manner == mannerLicense && h.license.on {
			v.leads = in.isJob() || slices.ContainsFunc(all, func(c claim[*instance]) bool { return c.who == in && c.alive })
		}
		return v
	})
}

func (s *singletons) showAll(app string, what func(*instance) standing) {
	for _, in := range s.instances(app) {
		v, old := what(in), in.standing.Load()
		if old != nil && *old == v {
			continue
		}
		in.standing.Store(&v)
		if old == nil || !old.looksLike(v) {
			s.d.hub.tell(in)
		}
	}
}

// holder is who has the lock of an app that has none here.
func (in *instance) lockHolder() string {
	s := in.standing.Load()
	switch {
	case s == nil:
		return "its lock is not known yet"
	case s.state.Holder != "":
		return s.state.Holder + " has the lock " + s.key
	case s.state.Why != "":
		return "the lock " + s.key + ": " + s.state.Why
	}
	return "this machine doesn't have the lock " + s.key
}

// tellSkipped says that a job is due and another machine's.
func (d *Daemon) tellSkipped(in *instance) {
	d.tell(in.event(api.EventJob, "is due, and skipped: %s", in.lockHolder()))
}
