package daemon

import (
	"slices"
	"sync"
	"time"

	"gopm/consul"
	"gopm/daemon/api"
	"gopm/ecosystem"
)

// singletons keep the locks of the apps of which one instance may be active over all
// machines, and let the instance in that may be. Without such an app it has no goroutine.
//
// Goroutines: one that decides, and those of the locks. A lock's ends when it is given
// back, or can't be, which takes no longer than some requests.
type singletons struct {
	worker
	d       *Daemon
	wake    chan struct{}       // room for one: a lock is another
	held    map[string]*holding // by app; the goroutine's own
	going   []*consul.Lock      // that are being given back; the goroutine's own
	parting sync.WaitGroup      // for these

	mu       sync.Mutex      // held also while somebody is made active
	licensed map[string]bool // the apps of which one may be active here, among those that need a license
}

// holding is an app's lock.
type holding struct {
	app    string
	spec   ecosystem.Singleton
	manner manner
	at     consul.Connection
	lock   *consul.Lock
	tenure[*instance]
	license license
	seen    consul.LockState // when it was looked at last
	wants   bool             // what the lock was told
}

// manner is how an app is kept from working without the lock.
type manner int

const (
	mannerGate    manner = iota // its instances are started with the lock only
	mannerRole                  // they run, and one is told that it leads
	mannerLicense               // they are booted and held back, or scheduled
)

func mannerOf(spec ecosystem.App) manner {
	switch {
	case spec.Times.IsJob():
		return mannerLicense
	case spec.Singleton.Mode == ecosystem.SingletonRole, spec.Singleton.Mode == ecosystem.SingletonHot && !isClustered(spec):
		return mannerRole
	case spec.Singleton.Mode == ecosystem.SingletonHot:
		return mannerLicense
	}
	return mannerGate
}

// needsPermit says that an app's instances are booted, and may be active with the lock only.
func needsPermit(spec ecosystem.App) bool {
	return spec.Singleton.IsSet() && isClustered(spec) && mannerOf(spec) == mannerLicense
}

const (
	othersFirst = 500 * time.Millisecond // in which other machines may take a lock that was given back
	partingWait = time.Second            // for what is given back at the daemon's end
)

func newSingletons(d *Daemon) *singletons {
	return &singletons{d: d, wake: make(chan struct{}, 1), held: map[string]*holding{}, licensed: map[string]bool{}}
}

// look begins or ends the work, after the table has changed.
func (s *singletons) look() {
	s.keep(slices.ContainsFunc(s.d.table.Load().apps, func(a *app) bool { return a.spec.Singleton.IsSet() }), s.run)
}

func (s *singletons) run(stop <-chan struct{}) {
	defer s.end()
	changes := s.d.hub.subscribe()
	defer s.d.hub.unsubscribe(changes)
	for {
		s.inspect()
		select {
		case <-stop:
			return
		case <-changes.wake:
			changes.take()
		case <-s.wake:
		}
	}
}

// again has all looked at once more.
func (s *singletons) again() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// inspect looks at all apps that it is about, and at those that were.
func (s *singletons) inspect() {
	t := s.d.table.Load()
	for _, a := range t.apps {
		if a.spec.Singleton.IsSet() && s.held[a.spec.Name] == nil {
			s.take(a)
		}
	}
	for name, h := range s.held {
		if a := t.app(name); a == nil || a.spec.Singleton != h.spec || mannerOf(a.spec) != h.manner || s.d.agents.connection(a) != h.at {
			s.leave(h)
			continue
		}
		s.attend(h)
	}
}

// take begins to keep the lock of an app, where the daemon before has left it.
func (s *singletons) take(a *app) {
	client, err := s.d.agents.of(a)
	if err != nil { // its files have gone: it waits
		s.showAll(a.spec.Name, func(*instance) standing {
			return standing{key: a.spec.Singleton.Lock, state: consul.LockState{Why: err.Error()}}
		})
		return
	}
	h := &holding{app: a.spec.Name, spec: a.spec.Singleton, manner: mannerOf(a.spec), at: s.d.agents.connection(a)}
	o := consul.LockOptions{Key: h.spec.Lock, Session: "gopm " + h.app, Holder: nodeName() + ":" + h.app, TTL: h.spec.TTL, Changed: func(consul.LockState) { s.again() }}
	for _, in := range s.instances(h.app) {
		if p := in.permit.Load(); p != nil && p.Lock == h.spec.Lock {
			o.Left = &p.LockLeft
			if p.Inc != 0 {
				h.stint, h.has = stint[*instance]{in, p.Inc}, true
			}
		}
	}
	h.lock, h.wants = client.Lock(o), o.Left != nil
	s.held[h.app] = h
}

// instances are an app's, those included that are beside the table.
func (s *singletons) instances(app string) []*instance {
	return slices.DeleteFunc(s.d.everyone(), func(in *instance) bool { return in.name != app })
}

// attend looks at one app, and does what is to be done.
func (s *singletons) attend(h *holding) {
	state := h.lock.State()
	all := s.claims(h)
	before, keeps := h.tenure, h.spec.OnLost == ecosystem.OnLostKeep
	var motions []motion[*instance]
	if h.manner == mannerLicense {
		h.license, motions = h.license.look(viewOf(state), all, keeps)
	} else {
		h.tenure, motions = h.tenure.look(viewOf(state), all, keeps)
	}
	s.remark(h, state)
	s.extend(h, state)
	for _, m := range motions {
		s.carryOut(h, m, before, state)
	}
	s.want(h, h.isWanted(all))
	s.show(h, state, all)
}

// isWanted says whether somebody has a use for the lock.
func (h *holding) isWanted(all []claim[*instance]) bool {
	return h.license.on || h.tenure.wants(all)
}

func (s *singletons) want(h *holding, want bool) {
	if want != h.wants {
		h.wants = want
		h.lock.Want(want)
	}
}

func (s *singletons) carryOut(h *holding, m motion[*instance], before tenure[*instance], state consul.LockState) {
	in := m.who.who
	switch m.do {
	case admit:
		s.d.store.changed()
		s.admit(h, in, m.who.inc, state)
		s.d.tell(in.event(api.EventConsul, "has the lock %s (fence %d)", h.spec.Lock, state.Fence))
	case allow:
		s.setLicense(h.app, true)
		s.d.tell(appEvent(h.app, api.EventConsul, "has the lock %s (fence %d): one may be active here", h.spec.Lock, state.Fence))
	case forbid:
		s.setLicense(h.app, false)
		s.again()
	case dismiss:
		in.proc.Kill(m.who.inc, because("the lock "+h.spec.Lock+" is lost", state.Why))
	case yield:
		if before.has && h.manner == mannerRole {
			s.demote(h, before.stint)
		}
		s.revokeAll(h, before)
		s.want(h, h.isWanted(s.claims(h)))
		h.lock.Freed(h.othersTurn(s.claims(h), before.stint))
	}
}

// othersTurn is how long other machines may take the lock first, which one has given back. A
// peer that is booted here is as good as one there, and nobody has to wait for it.
func (h *holding) othersTurn(all []claim[*instance], had stint[*instance]) time.Duration {
	if h.manner == mannerRole && slices.ContainsFunc(all, func(c claim[*instance]) bool { return c.waits && c.stint != had }) {
		return 0
	}
	return othersFirst
}

// setLicense says whether one of an app's instances may become active here.
func (s *singletons) setLicense(app string, may bool) {
	s.mu.Lock()
	if s.licensed[app] = may; !may {
		delete(s.licensed, app)
	}
	s.mu.Unlock()
	s.d.host.Allow(app, may)
}

// licensing does something that makes one active, if that may be; false: it may not.
func (s *singletons) licensing(spec ecosystem.App, do func()) bool {
	if !spec.Singleton.IsSet() || mannerOf(spec) != mannerLicense {
		do()
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.licensed[spec.Name] {
		do()
	}
	return s.licensed[spec.Name]
}

// remark tells what has become of the lock.
func (s *singletons) remark(h *holding, state consul.LockState) {
	was := h.seen
	h.seen = state
	switch {
	case state.Lost && !was.Lost:
		s.d.tell(appEvent(h.app, api.EventConsul, "the lock %s is lost: %s", h.spec.Lock, state.Why))
	case was.Held && !state.Held && !state.Lost:
		s.d.tell(appEvent(h.app, api.EventConsul, "the lock %s was given back", h.spec.Lock))
	case !state.Held && state.Holder != "" && state.Holder != was.Holder:
		s.d.tell(appEvent(h.app, api.EventConsul, "%s has the lock %s", state.Holder, h.spec.Lock))
	case state.Why != "" && state.Why != was.Why:
		s.d.tell(appEvent(h.app, api.EventConsul, "the lock %s: %s", h.spec.Lock, state.Why))
	}
}

// leave is for an app that is no singleton any more, or of another lock. What runs under
// the old one is ended first, if it isn't anyway.
func (s *singletons) leave(h *holding) {
	if h.license.on {
		h.license.on = false
		s.setLicense(h.app, false)
	}
	waits := false
	for _, c := range s.claims(h) {
		if h.runs(c) {
			c.who.proc.Kill(c.inc, "it is about another lock now")
			waits = true
		}
		waits = waits || h.mayRun(c)
	}
	if waits {
		return
	}
	s.revokeAll(h, h.tenure)
	delete(s.held, h.app)
	s.part(h)
	s.again() // it may have another lock now
}

// runs says that something runs under the lock, and mayRun that it may be about to.
func (h *holding) runs(c claim[*instance]) bool {
	return c.alive && (h.manner == mannerLicense || h.has && c.stint == h.stint)
}

func (h *holding) mayRun(c claim[*instance]) bool {
	return h.runs(c) || h.manner == mannerLicense && c.begun || h.has && c.who == h.who && !c.isOver(h.inc)
}

// part gives a lock back under which nothing runs any more.
func (s *singletons) part(h *holding) {
	s.going = append(slices.DeleteFunc(s.going, isDone), h.lock)
	s.parting.Go(func() { // ends with the lock's goroutine, which ends soon
		h.lock.Leave()
		<-h.lock.Done()
	})
}

func isDone(l *consul.Lock) bool {
	select {
	case <-l.Done():
		return true
	default:
		return false
	}
}

// end is that of the work. The next daemon goes on with the locks; else all that ran under
// them is dead, and they are given back.
func (s *singletons) end() {
	for _, h := range s.held {
		if s.d.ending.reason() == handedOver || slices.ContainsFunc(s.claims(h), h.mayRun) {
			h.lock.Abandon()
			continue
		}
		s.revokeAll(h, h.tenure)
		s.part(h)
	}
	clear(s.held)
	going := s.going
	late := time.AfterFunc(partingWait, func() {
		for _, l := range going {
			l.Abandon()
		}
	})
	defer late.Stop()
	s.parting.Wait()
}
