package daemon

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gopm/consul"
	"gopm/daemon/api"
	"gopm/ecosystem"
)

// registrar has Consul's agents show each instance of the apps that want it, as it is now.
// It decides what they are to show; that they do is a consul.Syncer's work, one for each
// connection. While no app wants it there is no goroutine.
type registrar struct {
	worker
	d    *Daemon
	scan chan struct{} // holds one: the table has changed
	own  atomic.Pointer[consul.Service]
	over atomic.Bool // it has been closed

	places, before map[*app]consul.Connection // of the apps at the last look, and at that before it; the goroutine's own

	mu      sync.Mutex // guards the rest
	syncers map[consul.Connection]*consul.Syncer
	named   map[string]string // app by ID of an entry
}

// listed is what Consul has to do with an instance. The registrar's goroutine sets entry.
type listed struct {
	entry   atomic.Pointer[listing] // nil: it is not to be registered
	leaving atomic.Uint64           // the incarnation that is going to be stopped, and still serves
	sight   atomic.Pointer[sighted] // the port that it was seen to listen on
}

// listing is the entry of an instance.
type listing struct {
	syncer  *consul.Syncer
	id      string
	service string
	fault   string // why there is no connection; "": there is one
	absence string // why it isn't registered, or not yet
	stands  bool   // the entry is about this life of the instance
}

func newRegistrar(d *Daemon) *registrar {
	return &registrar{d: d, scan: make(chan struct{}, 1), syncers: map[consul.Connection]*consul.Syncer{}, named: map[string]string{}}
}

// look begins or ends the work, after the table has changed.
func (r *registrar) look() {
	r.keep(!r.over.Load() && slices.ContainsFunc(r.d.everyone(), func(in *instance) bool { return r.wants(in.specNow()) }), r.run)
	r.poke()
}

// wants says whether an agent is to show something for an app.
func (r *registrar) wants(a *app) bool {
	return isListed(a) || a != nil && a.spec.Consul.On && r.own.Load() != nil
}

func (r *registrar) poke() {
	select {
	case r.scan <- struct{}{}:
	default:
	}
}

// describe has the agents that apps use show one entry more, which is the daemon's own.
func (r *registrar) describe(s *consul.Service) {
	r.own.Store(s)
	r.look()
}

// specNow is the version of its app that an instance is of.
func (in *instance) specNow() *app {
	if a := in.version.Load(); a != nil {
		return a
	}
	return in.app.Load()
}

// isListed says that an app's instances are to be registered. A job is nobody whom one
// could be sent to.
func isListed(a *app) bool {
	return a != nil && a.spec.Consul.On && !a.spec.Consul.Service.Off && !a.spec.Times.IsJob()
}

// fileRetry is when a connection's files are looked at again.
const fileRetry = 15 * time.Second

// settleTime is how long changes are left to come before they are looked at together.
const settleTime = 10 * time.Millisecond

func (r *registrar) run(stop <-chan struct{}) {
	if r.over.Load() {
		return // somebody has looked while it was being closed
	}
	changes := r.d.hub.subscribe()
	defer r.d.hub.unsubscribe(changes)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(r.show())
		for pending := true; pending; {
			select {
			case <-stop:
				r.withdraw()
				return
			case <-r.scan:
				pending = false
			case <-changes.wake:
				pending = !slices.ContainsFunc(changes.take(), concernsConsul)
			case <-timer.C:
				pending = false
			}
		}
		select {
		case <-time.After(settleTime):
			changes.take()
		case <-stop:
		}
	}
}

func concernsConsul(key any) bool {
	in, is := key.(*instance)
	return is && isListed(in.specNow())
}

// show tells the syncers what is wanted now, and is the time until the next look.
func (r *registrar) show() (again time.Duration) {
	r.before, r.places = r.places, map[*app]consul.Connection{}
	p := r.picture(time.Now())
	w := wishlist{}
	for _, c := range p.cards {
		w.add(c.at, c.service)
	}
	if own := r.own.Load(); own != nil {
		for _, a := range r.d.table.Load().apps {
			if a.spec.Consul.On {
				w.add(r.connection(a), *own)
			}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range p.cards {
		r.named[c.service.ID] = c.in.name
	}
	for at := range w {
		r.syncer(at)
	}
	for at, s := range r.syncers {
		s.Set(w.of(at))
		if len(w[at]) == 0 && s.IsIdle() {
			delete(r.syncers, at)
		}
	}
	for in, l := range p.listings {
		if l != nil && l.fault == "" {
			l.syncer = r.syncers[p.at[in]]
		}
		if before := in.entry.Swap(l); l != nil && l.fault != "" && (before == nil || before.fault != l.fault) {
			r.d.tell(in.event(api.EventConsul, "it can't be registered: %s", l.fault))
		}
	}
	return p.again
}

// connection is an app's, worked out once for each version of it.
func (r *registrar) connection(a *app) consul.Connection {
	at, known := r.places[a]
	if !known {
		if at, known = r.before[a]; !known {
			at = r.d.agents.connection(a)
		}
		r.places[a] = at
	}
	return at
}

// wishlist is what is wanted by connection and ID.
type wishlist map[consul.Connection]map[string]consul.Service

func (w wishlist) add(at consul.Connection, s consul.Service) {
	if w[at] == nil {
		w[at] = map[string]consul.Service{}
	}
	w[at][s.ID] = s
}

// of is what is wanted of one connection. What others see to is theirs.
func (w wishlist) of(at consul.Connection) consul.Wanted {
	want := consul.Wanted{Others: map[string][]string{}}
	for _, s := range w[at] {
		want.Services = append(want.Services, s)
	}
	for other, all := range w {
		for id := range all {
			if _, is := w[at][id]; !is {
				want.Others[id] = append(want.Others[id], other.Address)
			}
		}
	}
	return want
}

// syncer is the one of a connection; nil: there can't be one.
func (r *registrar) syncer(at consul.Connection) *consul.Syncer {
	if s := r.syncers[at]; s != nil {
		return s
	}
	client, err := r.d.agents.client(at)
	if err != nil {
		return nil // it is shown with the instances
	}
	s := consul.NewSyncer(client, consul.Owner{Prefix: "gopm:" + nodeName(), Mark: r.d.cfg.Home.Dir}, r.told)
	r.syncers[at] = s
	return s
}

// told tells what an agent refuses.
func (r *registrar) told(id, trouble string) {
	r.mu.Lock()
	name := r.named[id]
	r.mu.Unlock()
	if trouble == "" {
		trouble = "as it should be again"
	}
	r.d.tell(appEvent(name, api.EventConsul, "%s: %s", id, trouble))
}

// picture is what is wanted of all agents at a moment.
type picture struct {
	cards    []card
	listings map[*instance]*listing
	at       map[*instance]consul.Connection
	again    time.Duration // until there is something to look for
}

// card is the entry of one instance.
type card struct {
	in      *instance
	at      consul.Connection
	service consul.Service
}

// picture looks at everyone. Of the lives of one instance the one of most use counts, and
// of those the one in the table.
func (r *registrar) picture(now time.Time) picture {
	p := picture{listings: map[*instance]*listing{}, at: map[*instance]consul.Connection{}, again: time.Hour}
	best, host := map[string]int{}, nodeName()
	for _, in := range r.d.everyone() {
		a := in.specNow()
		if !isListed(a) {
			p.listings[in] = nil
			continue
		}
		id := entryID(host, in.name, in.index)
		at := r.connection(a)
		l := &listing{id: id, service: cmp.Or(a.spec.Consul.Service.Name, in.name)}
		p.listings[in], p.at[in] = l, at
		if _, err := r.d.agents.client(at); err != nil {
			l.fault = err.Error()
			p.again = min(p.again, fileRetry)
			continue
		}
		b := bearingOf(a, in)
		h, is := b.standing()
		if !is {
			l.absence = b.absence()
			continue
		}
		port, again := in.portNow(a.spec, b.Snapshot, now)
		if port == consul.PortUnknown {
			l.absence = "it hasn't been seen to listen on a port yet"
		}
		p.again = min(p.again, again)
		c := card{in, at, serviceOf(a.spec.Consul.Service, in, id, port, h)}
		i, known := best[id]
		switch {
		case !known:
			best[id] = len(p.cards)
			p.cards = append(p.cards, c)
			l.stands = true
		case rank(h) > rank(p.cards[i].service.Health):
			p.listings[p.cards[i].in].stands = false
			p.cards[i] = c
			l.stands = true
		}
	}
	return p
}

// withdraw is for the end: of the daemon, or of the last app that is listed. What the next
// daemon goes on with stays.
func (r *registrar) withdraw() {
	if r.d.ending.reason() == handedOver {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.syncers {
		s.Set(consul.Wanted{})
	}
	for _, in := range r.d.everyone() {
		in.entry.Store(nil)
	}
}

// farewell is how long the daemon waits at its end for the agents to forget its entries.
const farewell = time.Second

// close ends everything. What was withdrawn has a moment to be gone.
func (r *registrar) close() {
	r.over.Store(true)
	r.worker.close()
	r.mu.Lock()
	syncers := make([]*consul.Syncer, 0, len(r.syncers))
	for _, s := range r.syncers {
		syncers = append(syncers, s)
	}
	r.mu.Unlock() // what they tell needs it
	if r.d.ending.reason() != handedOver {
		late := time.After(farewell)
		for _, s := range syncers {
			if s.Client().Status().Down {
				continue // it finds out by itself, when the time of what it was told is over
			}
			select {
			case <-s.Ended():
			case <-late:
				late = time.After(0)
			}
		}
	}
	for _, s := range syncers {
		s.Close()
	}
}

// leave has the agent send nobody any more to an instance that is going to be stopped, and
// gives those who listen to it the time to hear of that. Consul is not waited for.
func (d *Daemon) leave(ctx context.Context, in *instance, inc uint64) {
	delay := deregisterDelay(in.specNow().spec)
	if in.leaving.Load() == inc || delay <= 0 || !in.isKnownAround() || in.proc.Snapshot().Fault != "" { // of no use: nobody is sent to it
		return
	}
	in.leaving.Store(inc)
	_ = d.holdUp(in, "deregister_delay", func() error {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		return nil
	})
}

// deregisterDelay is how long before its end an instance of an app is out of the catalog.
func deregisterDelay(spec ecosystem.App) time.Duration {
	if !spec.Consul.On || spec.Consul.Service.Off {
		return 0
	}
	return spec.Consul.Service.DeregisterDelay
}

// isKnownAround says that others may be sent to this life of the instance by an agent that
// can be told that it leaves.
func (in *instance) isKnownAround() bool {
	l := in.entry.Load()
	if l == nil || !l.stands || l.syncer == nil {
		return false
	}
	state, _ := l.syncer.Of(l.id)
	return state.Registered && !l.syncer.Client().Status().Down
}

// registration is what is shown of that; nil: the instance is not to be registered.
func (in *instance) registration() *api.Registration {
	l := in.entry.Load()
	if l == nil {
		return nil
	}
	shown := &api.Registration{Service: l.service, ID: l.id, Trouble: l.fault, Absence: l.absence}
	if l.syncer == nil {
		return shown
	}
	state, next := l.syncer.Of(l.id)
	shown.Agent, shown.Trouble = l.syncer.Client().Where(), state.Trouble
	if state.Registered {
		shown.Status, shown.Output, shown.Leaving, shown.Port = state.Status, state.Output, state.Leaving, state.Port
		shown.Absence = ""
	}
	if s := l.syncer.Client().Status(); s.Down {
		now := time.Now()
		shown.Down, shown.Error, shown.NextTry = asOf(now, s.Since), s.Error, asOf(now, next)
	}
	return shown
}

// asOf is a time by the clock that there is now: whoever reads it elsewhere knows nothing of
// how the clock was set since.
func asOf(now, t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return now.Round(0).Add(t.Sub(now)) // measured by the clock that nobody sets
}
