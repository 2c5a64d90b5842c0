package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"gopm/consul"
	"gopm/daemon/api"
)

// rollouts has the apps that say fleet: true take their turns. While there is none it has
// no goroutine.
//
// Goroutines: one that starts and ends the others; one per agent that looks at its records,
// in one request that waits for a change; and one for each turn.
type rollouts struct {
	worker
	d    *Daemon
	wake chan struct{} // one place: the table has changed

	book *releaseBook

	mu   sync.Mutex      // guards busy
	busy map[string]bool // apps whose turn is under way here
}

func newRollouts(d *Daemon) *rollouts {
	return &rollouts{d: d, wake: make(chan struct{}, 1), busy: map[string]bool{}, book: &releaseBook{path: filepath.Join(d.cfg.Home.Dir, "releases.json")}}
}

func inFleet(a *app) bool { return a.spec.Consul.On && a.spec.Consul.Fleet }

// look begins or ends the work, after the table has changed.
func (o *rollouts) look() {
	o.keep(slices.ContainsFunc(o.d.table.Load().apps, inFleet), o.run)
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// run has one spotter per agent that an app of the fleet uses.
func (o *rollouts) run(stop <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	spotters := map[*consul.Client]*spotter{}
	for {
		used := map[*consul.Client]bool{}
		for _, a := range o.d.table.Load().apps {
			if client, err := o.d.agents.of(a); inFleet(a) && err == nil { // an error is told with the registration
				used[client] = true
			}
		}
		for client, s := range spotters {
			if !used[client] {
				s.end()
				delete(spotters, client)
				continue
			}
			s.poke()
		}
		for client := range used {
			if spotters[client] == nil {
				s := &spotter{o: o, client: client, me: nodeName(), seen: map[string]sighting{}, wake: make(chan struct{}, 1)}
				spotters[client] = s
				own, end := context.WithCancel(ctx)
				s.end = end
				all.Go(func() { s.run(own) })
			}
		}
		select {
		case <-stop:
			return
		case <-o.wake:
		}
	}
}

// spotter looks at the records of one agent. All of it is its goroutine's but wake.
type spotter struct {
	o      *rollouts
	client *consul.Client
	me     string
	end    context.CancelFunc
	wake   chan struct{}       // one place: look again, whatever the records say
	seen   map[string]sighting // by app
	turns  sync.WaitGroup
}

// sighting is since when a record is as it is.
type sighting struct {
	index uint64
	since time.Time
	told  string // what is wrong with it
}

// complain tells what is wrong, once.
func (s *spotter) complain(app string, was *sighting, format string, args ...any) {
	if text := fmt.Sprintf(format, args...); was.told != text {
		was.told = text
		s.o.d.tell(appEvent(app, api.EventConsul, "%s", text))
	}
}

// recordWait is how long a look waits for a change.
const recordWait = 2 * time.Minute

func (s *spotter) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *spotter) run(ctx context.Context) {
	defer s.turns.Wait()
	var index uint64
	wait := recordWait
	for failures := 0; ctx.Err() == nil; {
		records, next, err := s.ask(ctx, index, wait)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errPoked):
			index = 0
			continue
		case err != nil:
			if failures++; failures == 1 && !consul.IsDown(err) { // that it is down is told with the registration
				s.o.d.tell(event{kind: api.EventConsul, text: "rollouts can't be seen: " + err.Error()})
			}
			index = 0
			_ = s.client.Rest(ctx, time.Now().Add(consul.Pause(failures)), nil) // ctx is looked at
			continue
		}
		failures, index = 0, next
		if wait = s.consider(ctx, records); wait < recordWait {
			wait = max(wait, 50*time.Millisecond)
		}
	}
}

// errPoked says that a look was broken off to begin another.
var errPoked = errors.New("poked")

// ask is one look, that ends early when the spotter is woken.
func (s *spotter) ask(ctx context.Context, index uint64, wait time.Duration) ([]consul.Record, uint64, error) {
	asking, cancel := context.WithCancel(ctx)
	over := make(chan struct{})
	poked := make(chan bool, 1)
	go func() { // ends when the answer is there; waited for through poked
		select {
		case <-s.wake:
			cancel()
			poked <- true
		case <-over:
			poked <- false
		}
	}()
	records, next, err := s.client.Records(asking, rolloutPrefix, index, wait)
	close(over)
	was := <-poked
	cancel()
	if was && err != nil {
		err = errPoked
	}
	return records, next, err
}

// consider does what is to be done about all apps, and is the time until the next look.
func (s *spotter) consider(ctx context.Context, records []consul.Record) (again time.Duration) {
	again = recordWait
	now := time.Now()
	for _, a := range s.o.d.table.Load().apps {
		if client, err := s.o.d.agents.of(a); !inFleet(a) || err != nil || client != s.client {
			continue
		}
		name := a.spec.Name
		at := slices.IndexFunc(records, func(r consul.Record) bool { return r.Key == rolloutKey(name) })
		if at < 0 {
			continue
		}
		again = min(again, s.attend(ctx, name, records[at], turnsHeld(name, records), now))
	}
	return again
}

// turnsHeld has the sessions that hold turns of an app, by host.
func turnsHeld(app string, records []consul.Record) map[string]string {
	held := map[string]string{}
	for _, r := range records {
		if name, is := strings.CutPrefix(r.Key, rolloutKey(app)+"/"); is && r.Session != "" {
			if host, err := url.PathUnescape(name); err == nil {
				held[host] = r.Session
			}
		}
	}
	return held
}

// attend does what is to be done about one app's record.
func (s *spotter) attend(ctx context.Context, app string, record consul.Record, held map[string]string, now time.Time) (again time.Duration) {
	was := s.seen[app]
	if was.index != record.Index {
		was = sighting{index: record.Index, since: now}
	}
	defer func() { s.seen[app] = was }()
	r, err := parseRollout(app, record.Value)
	if err != nil {
		s.complain(app, &was, "the record %s is left alone: %v", record.Key, err)
		return recordWait
	}
	me := s.me
	if own := turnOf(&r, me); own != nil && own.Home != s.o.d.cfg.Home.Dir {
		me = "" // it is of another gopm that has the same name
	}
	step := nextStep(r, me, held, s.o.isBusy(app))
	if due := was.since.Add(step.after); step.after > 0 && now.Before(due) {
		return due.Sub(now)
	}
	switch step.do {
	case deedClose:
		next := settled(r, step.host, turnResult{fault: lostTurn}, now)
		_, _ = s.client.Replace(ctx, record, encodeRollout(next)) // else somebody else has, or the next look does it
		return time.Second
	case deedTake, deedUndo, deedGoOn:
		if err := s.start(ctx, step.do, r, record.Index); err != nil && ctx.Err() == nil {
			s.complain(app, &was, "rollout: its turn can't begin: %v; it is tried again", err)
			return consul.Pause(4)
		}
		return time.Second // another was quicker; or who is at work wakes us
	}
	return recordWait
}

// start begins a turn, or goes on with one.
func (s *spotter) start(ctx context.Context, do rolloutDeed, r api.Rollout, index uint64) error {
	t := &machineTurn{d: s.o.d, book: s.o.book, client: s.client, app: r.App, host: s.me, verb: r.Verb, backed: r.Rollback, undo: do == deedUndo, alone: r.Max == 1 || do == deedUndo}
	if do == deedGoOn {
		own := turnOf(&r, s.me)
		t.id, t.began, t.resume, t.undo = r.ID, own.Began, true, own.State == api.TurnUndoing
		t.mark = consul.Mark{Key: turnKey(r.App, s.me), Session: own.Session}
	} else if begun, err := t.begin(ctx, r, index); err != nil || !begun {
		return err
	}
	s.o.setBusy(r.App, true)
	s.turns.Go(func() { // ends with ctx, or when it is done; run waits for it
		defer s.poke()
		defer s.o.setBusy(r.App, false)
		t.run(ctx)
	})
	return nil
}

func (o *rollouts) isBusy(app string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.busy[app]
}

func (o *rollouts) setBusy(app string, is bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if delete(o.busy, app); is {
		o.busy[app] = true
	}
}
