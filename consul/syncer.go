package consul

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
)

// Syncer has an agent show the services that it was given. While there are some it has a
// goroutine, and that one a second that sees at once when the agent goes away.
type Syncer struct {
	client *Client
	owner  Owner
	told   func(id, trouble string)

	wake chan struct{} // one place: what is wanted has changed

	mu     sync.Mutex // guards the rest
	wanted Wanted
	done   chan struct{} // closed when the goroutine has ended; nil: there is none
	view   map[string]State
	next   time.Time // of the next try, while the agent is down
	ctx    context.Context
	cancel context.CancelFunc
}

// Wanted is what an agent is to show.
type Wanted struct {
	Services []Service
	Others   map[string][]string // ID → agents' addresses: entries of ours that other Syncers see to
}

// State is what an agent knows of a service.
type State struct {
	Registered bool
	Status     string // as the agent was told; "" = nothing yet
	Output     string
	Leaving    bool
	Port       int
	Trouble    string // why it isn't as it should be, for people; "": it is
}

// NewSyncer makes one that does nothing until something is wanted. told hears of what the
// agent refuses, and with no trouble that it doesn't any more; it must not block.
func NewSyncer(c *Client, o Owner, told func(id, trouble string)) *Syncer {
	s := &Syncer{client: c, owner: o, told: told, wake: make(chan struct{}, 1), view: map[string]State{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Client is whom it talks with.
func (s *Syncer) Client() *Client { return s.client }

// Set says what is wanted from now on. It never waits.
func (s *Syncer) Set(w Wanted) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	was := map[string]Service{}
	for _, old := range s.wanted.Services {
		was[old.ID] = old
	}
	for i := range w.Services {
		n := &w.Services[i]
		*n = n.marked(s.owner)
		n.since = now
		if old, is := was[n.ID]; is && old.Status == n.Status {
			n.since = old.since
		}
	}
	s.wanted = w
	if s.done == nil && len(w.Services) > 0 && s.ctx.Err() == nil {
		s.done = make(chan struct{})
		go s.run(s.done) // ended by itself when nothing is wanted nor there, or by Close, which waits for it
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// IsIdle says that it has nothing to do any more.
func (s *Syncer) IsIdle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.done == nil
}

// Ended is closed when all that isn't wanted is gone from the agent and nothing is wanted.
func (s *Syncer) Ended() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done != nil {
		return s.done
	}
	none := make(chan struct{})
	close(none)
	return none
}

// Close ends the goroutine and waits for it. What the agent has stays.
func (s *Syncer) Close() {
	s.cancel()
	<-s.Ended()
}

// Of is what the agent knows of a service, and when it is asked again if it is down.
func (s *Syncer) Of(id string) (State, time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.next
	if soon := time.Now().Add(knockEvery); s.client.isKnockedAt() && next.After(soon) {
		next = soon
	}
	return s.view[id], next
}

// How often the agent is asked what it has.
const (
	surveyEvery = 30 * time.Second
	together    = time.Second // what is due so soon is told with what is due now
	parallel    = 8           // requests at a time
)

// session is what the goroutine knows.
type session struct {
	*Syncer
	have     map[string]entry
	mine     map[string]bool // what we have registered ourselves
	refused  map[string]refusal
	surveyed time.Time // the zero value: what the agent has isn't known
	puzzled  time.Time // when it was asked last because it knew less than we thought
	failures int
}

const puzzledFor = 2 * time.Second

// refusal is of an agent that answers, and doesn't do what it is asked for.
type refusal struct {
	until time.Time // when it is asked again
	row   int       // how often it has refused without a look at what it has
}

func (s *Syncer) run(done chan struct{}) {
	defer close(done)
	r := &session{Syncer: s, mine: map[string]bool{}, refused: map[string]refusal{}}
	eye := &watch{client: s.client, seen: make(chan error, 1)}
	defer eye.close()
	for {
		w, began := s.wantedNow(), time.Now()
		err := r.turn(w)
		switch {
		case s.ctx.Err() != nil:
			return
		case err != nil:
			eye.close()
			r.surveyed = time.Time{}
			r.failures++
			r.unheard(w, err)
			if len(w.Services) == 0 && r.failures > enough && s.retire() {
				return // it has not heard of us for long, and forgets by itself
			}
			due := began.Add(Pause(r.failures)) // an agent that doesn't answer has taken its time already
			s.nextTry(due)
			if s.client.Rest(s.ctx, due, nil) != nil {
				return
			}
			continue
		}
		r.failures = 0
		s.nextTry(time.Time{})
		if len(w.Services) == 0 && s.retire() {
			return
		}
		if !r.wait(eye) {
			return
		}
	}
}

// enough failures in a row are some 15 minutes: an entry that was not renewed is gone then.
const enough = 30

// wantedNow takes the wish, and the remark that there is one.
func (s *Syncer) wantedNow() Wanted {
	select {
	case <-s.wake:
	default:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wanted
}

// retire ends the goroutine if nothing has come meanwhile.
func (s *Syncer) retire() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.wanted.Services) > 0 {
		return false
	}
	s.done, s.view = nil, map[string]State{}
	return true
}

func (s *Syncer) nextTry(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = at
}

// wait returns when there is something to do, or false at the end.
func (r *session) wait(eye *watch) bool {
	eye.on(r.ctx, r.have, r.owner)
	timer := time.NewTimer(time.Until(r.due()))
	defer timer.Stop()
	select {
	case <-r.ctx.Done():
		return false
	case <-r.wake:
	case <-eye.seen:
		eye.close()
		r.surveyed = time.Time{}
	case <-timer.C:
	}
	return true
}

func (s *Syncer) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// due is when something is to be done at the latest.
func (r *session) due() time.Time {
	due, now := r.surveyed.Add(surveyEvery), time.Now()
	for id, e := range r.have {
		if !e.foreign && !e.next.IsZero() && e.next.Before(due) && !r.refused[id].until.After(now) {
			due = e.next
		}
	}
	for _, x := range r.refused {
		if x.until.After(now) && x.until.Before(due) {
			due = x.until
		}
	}
	return due
}

// turn does what there is to do. Its error is one for which nothing more can be done now.
func (r *session) turn(w Wanted) error {
	if time.Since(r.surveyed) >= surveyEvery {
		if err := r.survey(); err != nil {
			return err
		}
	}
	want := map[string]Service{}
	for _, s := range w.Services {
		want[s.ID] = s
	}
	now := time.Now()
	spared := func(id string) bool {
		at, is := w.Others[id]
		return is && (slices.Contains(at, r.client.where) || !r.mine[id])
	}
	acts := slices.DeleteFunc(plan(want, r.have, spared, now.Add(together)), func(a act) bool { return r.refused[a.id].until.After(now) })
	err := r.carryOut(acts)
	r.publish(want)
	return err
}

// survey asks what the agent has.
func (r *session) survey() error {
	now, err := r.client.look(r.ctx, r.owner)
	if err != nil {
		return err
	}
	for id, e := range now {
		if before, is := r.have[id]; is && e.Status == before.Status {
			e.next = before.next
			now[id] = e
		}
	}
	r.have, r.surveyed = now, time.Now()
	clear(r.refused)
	return nil
}

// look asks what the agent has of an owner.
func (c *Client) look(ctx context.Context, o Owner) (have map[string]entry, err error) {
	prefix := strconv.Quote(o.Prefix)
	err = c.do(ctx, 0, func(ctx context.Context) error {
		q := (&api.QueryOptions{}).WithContext(ctx)
		services, err := c.api.Agent().ServicesWithFilterOpts(prefix+" in ID", q)
		if err != nil {
			return err
		}
		checks, err := c.api.Agent().ChecksWithFilterOpts(prefix+" in ServiceID", q)
		if err == nil {
			have = entries(o, services, checks)
		}
		return err
	})
	return have, err
}

func (s *Syncer) troubleOf(id string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.view[id].Trouble
}

// trouble tells of what is wrong with a service, if that is news: others may have the same.
func (s *Syncer) trouble(id, text string) {
	s.mu.Lock()
	v := s.view[id]
	before := v.Trouble
	v.Trouble = text
	s.view[id] = v
	about := cmp.Or(text, before)
	is := before != text
	for other, o := range s.view {
		is = is && (other == id || o.Trouble != about)
	}
	s.mu.Unlock()
	if is {
		s.told(id, text)
	}
}

// publish lets others see what the agent knows.
func (r *session) publish(want map[string]Service) {
	r.mu.Lock()
	view := map[string]State{}
	news := map[string]string{}
	for id := range want {
		e, is := r.have[id]
		v := State{Registered: is, Status: e.Status, Output: e.Output, Leaving: e.maint, Port: e.port, Trouble: r.view[id].Trouble}
		if e.foreign {
			v = State{Trouble: "the ID " + id + " is in use by somebody else" + whose(e.whose) + ": GOPM_NODE gives this gopm another name"}
			if r.view[id].Trouble != v.Trouble {
				news[id] = v.Trouble
			}
		}
		view[id] = v
	}
	r.view = view
	r.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(news)) {
		r.told(id, news[id])
	}
}

func whose(mark string) string {
	if mark == "" {
		return ""
	}
	return " (the gopm with the home " + mark + ")"
}
